package main

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that who runs dev with go run is shown lines with go run, and told that it hides a command's exit code;
// and that nobody else is.
func TestWhatToTry_GoRun(t *testing.T) {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer web.Close()
	nodes := []*embedded{{addr: "127.0.0.1:7001"}}
	for holdfast, want := range map[string]bool{goRun: true, "holdfast": false, "./bin/holdfast": false} {
		var out strings.Builder
		whatToTry(&out, holdfast, nodes, web)
		assert.Contains(t, out.String(), "\n  "+holdfast+" lock demo -- ")
		assert.Equal(t, want, strings.Contains(out.String(), "exit code"), holdfast)
	}
}
