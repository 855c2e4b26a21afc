package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// section returns the part of docs/cli.md under the heading that begins so.
func section(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/cli.md")
	require.NoError(t, err)
	_, part, ok := strings.Cut(string(text), "\n"+heading)
	require.True(t, ok, heading)
	part, _, _ = strings.Cut(part, "\n#")
	return part
}

// Ensure that docs/cli.md names every field of what --json prints.
func TestDocs_JSON(t *testing.T) {
	for heading, value := range map[string]any{"### `lock --json`": lockEvent{}, "### `locks ls --json`": lockInfo{}, "### `locks watch --json`": watchEvent{},
		"### `locks evict --json`": revocationInfo{}, "### `version --json`": versionInfo{}} {
		text := section(t, heading)
		kind := reflect.TypeOf(value)
		for i := range kind.NumField() {
			name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
			assert.Contains(t, text, "| `"+name+"` |", heading)
		}
	}
	for heading, value := range map[string]any{"### `locks ls --json`": answer{}, "| `readers` | who": reader{}, "### `locks evict --json`": ownerInfo{}} {
		text := section(t, heading)
		kind := reflect.TypeOf(value)
		for i := range kind.NumField() {
			name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
			assert.Contains(t, text, "`"+name+"`")
		}
	}
}

// Ensure that docs/cli.md names every environment variable that a flag reads.
func TestDocs_Environment(t *testing.T) {
	text := section(t, "## Environment")
	seen := 0
	var visit func(*kong.Node)
	visit = func(node *kong.Node) {
		for _, flag := range node.Flags {
			for _, name := range flag.Envs {
				assert.Contains(t, text, "`"+name+"`")
				assert.Contains(t, text, "`--"+flag.Name+"`")
				seen++
			}
		}
		for _, child := range node.Children {
			visit(child)
		}
	}
	visit(newParser(&commandLine{}).Model.Node)
	assert.Greater(t, seen, 5)
}
