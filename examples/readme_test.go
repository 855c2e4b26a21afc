package examples

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readmeBlocks returns the fenced blocks of the README, with the addresses of `holdfast dev` replaced by those
// of the one that the tests have started.
func readmeBlocks(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	readme := string(text)
	for i, node := range strings.Split(dev.nodes, ",") {
		readme = strings.ReplaceAll(readme, fmt.Sprintf("127.0.0.1:%d", 7001+i), node)
		_, port, _ := strings.Cut(node, ":")
		readme = strings.ReplaceAll(readme, fmt.Sprintf("redis-cli -p %d", 7001+i), "redis-cli -p "+port)
	}
	readme = strings.ReplaceAll(readme, "http://127.0.0.1:7080", dev.lockd)
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```([a-z]*)\n(.*?)```").FindAllStringSubmatch(readme, -1) {
		if m[1] == language {
			blocks = append(blocks, m[2])
		}
	}
	return blocks
}

// Ensure that the README's Go program compiles and does what it says.
func TestREADME_Go(t *testing.T) {
	blocks := readmeBlocks(t, "go")
	require.Len(t, blocks, 1)
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(blocks[0]), 0o600))
	assert.Regexp(t, `^shipping order 42 with token \d+\n$`, output(t, program(t, "go", "run", file)))
}

// Ensure that every command line of the README works when typed, in the order in which it stands there.
func TestREADME_Commands(t *testing.T) {
	// What the lines call that is not ours and that a machine need not have.
	place := t.TempDir()
	for _, name := range []string{"rsync", "report.sh"} {
		require.NoError(t, os.WriteFile(filepath.Join(place, name), []byte("#!/bin/sh\necho "+name+" under $LOCK_NAME\n"), 0o700))
	}
	lease := ""
	shell := func(line string) (string, func() string) {
		cmd := program(t, "sh", "-c", line)
		cmd.Dir = place
		cmd.Env = append(cmd.Env, "LEASE="+lease, "PATH="+place+":"+os.Getenv("PATH"))
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		lines.Scan()
		first := lines.Text()
		return first, func() string {
			for lines.Scan() {
			}
			if err := cmd.Wait(); err != nil {
				return err.Error()
			}
			return "exit 0"
		}
	}
	for _, tt := range []struct {
		begins, want string
		typed        string // how the line, %s, is run, if not alone
	}{
		{`curl -s -H`, `^\{"lease":"[0-9a-f]{32}","name":"orders/42","token":\d+,"ttl":"15s",.*"nodes":"[345]/5"\}$`, ``},
		{`curl -s -X PUT`, `"token":\d+,"ttl":"15s"`, ``},
		{`curl -s -X DELETE`, `^$`, ``},
		{`curl -s http`, `"name":"orders/42","held":false`, ``},
		{`holdfast lock backup`, `^rsync under backup$`, ``},
		{`holdfast lock --try`, `^report.sh under jobs/nightly$`, ``},
		{`holdfast lock --slots`, `^report.sh under thumbnails:slot:[012]$`, ``},
		{`holdfast lock --shared`, `^report.sh under documents$`, ``},
		{`holdfast locks ls`, `^NAME +OWNER`, ``},
		{`holdfast locks inspect`, `^name +backup$`, ``},
		{`holdfast locks watch`, ` held +backup by `, `holdfast lock backup -- timeout --foreground --preserve-status -s INT 2 %s`},
		{`holdfast locks evict`, `^evicted from backup: `, `holdfast lock backup -- sh -c "%s" || test $? -eq 76`},
		{`eval`, ``, `bash -c '%s && complete -p holdfast >/dev/null'`},
		{`redis-cli`, `^OK$`, ``},
	} {
		line := ""
		for _, block := range readmeBlocks(t, "") {
			for text := range strings.Lines(block) {
				if strings.HasPrefix(text, tt.begins) {
					line = strings.TrimSpace(text)
				}
			}
		}
		require.NotEmptyf(t, line, "the README has no line %q", tt.begins)
		if strings.HasPrefix(line, "redis-cli") {
			program(t, "redis-cli") // skips or fails where there is none
		}
		if tt.typed != "" {
			line = fmt.Sprintf(tt.typed, strings.TrimSpace(strings.Split(line, " #")[0]))
		}
		first, wait := shell(line)
		assert.Equal(t, "exit 0", wait(), line)
		assert.Regexp(t, tt.want, first, line)
		if lease == "" {
			var granted struct{ Lease string }
			require.NoError(t, json.Unmarshal([]byte(first), &granted))
			lease = granted.Lease
		}
	}
}

// Ensure that the README's stream begins with the lock, and that the lock is free when its reader has gone.
func TestREADME_Stream(t *testing.T) {
	line := ""
	for _, block := range readmeBlocks(t, "") {
		if strings.HasPrefix(block, "curl -sN") {
			line = strings.TrimSpace(block)
		}
	}
	require.NotEmpty(t, line)
	cmd := program(t, "sh", "-c", "exec "+line)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	assert.Contains(t, lines.Text(), `"event":"acquired"`)
	require.NoError(t, cmd.Process.Kill())
	cmd.Wait()
	assert.Equal(t, "free\n", output(t, program(t, "holdfast", "lock", "--wait", "10s", "orders/42", "--", "echo", "free")))
}
