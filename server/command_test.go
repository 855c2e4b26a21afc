package server_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/server/servertest"
)

var record = flag.Bool("record", false, "record testdata/command-info.golden from redis-server")

const goldenCommands = "testdata/command-info.golden"

// newerCommands are ours and not Redis 7.0's: those of newer servers.
var newerCommands = []string{"client|setinfo", "delex", "delifeq"}

// Ensure that the rows of the command table say of each command what COMMAND INFO of redis-server 7.0.15
// says: arity, flags, key positions, categories, tips. The key specifications are not compared: the node
// has none. The golden file is recorded with
//
//	go test ./server -run TestCommandInfo_Golden -record
func TestCommandInfo_Golden(t *testing.T) {
	if *record {
		require.NoError(t, os.WriteFile(goldenCommands, []byte(strings.Join(commandInfo(t, startRedis(t)), "\n")+"\n"), 0o644))
	}
	golden := make(map[string]string)
	file, err := os.Open(goldenCommands)
	require.NoError(t, err)
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, _, _ := strings.Cut(lines.Text(), " ")
		golden[name] = lines.Text()
	}
	require.Greater(t, len(golden), 300)
	compared := 0
	for _, line := range commandInfo(t, servertest.Start(t).Addr()) {
		name, _, _ := strings.Cut(line, " ")
		want, known := golden[name]
		if slices.Contains(newerCommands, name) {
			assert.False(t, known, "%s is no newer command", name)
			continue
		}
		assert.Equal(t, want, line)
		compared++
	}
	assert.Greater(t, compared, 50)
}

// Ensure that the golden file is what redis-server says.
func TestCommandInfo_Live(t *testing.T) {
	text, err := os.ReadFile(goldenCommands)
	require.NoError(t, err)
	assert.Equal(t, strings.Split(strings.TrimSpace(string(text)), "\n"), commandInfo(t, startRedis(t)))
}

// commandInfo returns one line for each command and subcommand of a server, in alphabetical order.
func commandInfo(t *testing.T, addr string) []string {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2})
	defer rdb.Close()
	rows, err := rdb.Do(context.Background(), "COMMAND").Slice()
	require.NoError(t, err)
	var lines []string
	for _, row := range rows {
		lines = appendCommandLines(lines, row.([]any))
	}
	sort.Strings(lines)
	return lines
}

func appendCommandLines(lines []string, row []any) []string {
	lines = append(lines, fmt.Sprintf("%s arity=%d flags=%v keys=%d,%d,%d categories=%v tips=%v",
		row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7]))
	for _, sub := range row[9].([]any) {
		lines = appendCommandLines(lines, sub.([]any))
	}
	return lines
}
