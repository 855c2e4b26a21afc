package server_test

import (
	"bufio"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Ensure that a script's line is split as redis-cli would split it.
func TestSplitWords(t *testing.T) {
	tests := map[string][]string{
		``:                          nil,
		`SET k v`:                   {"SET", "k", "v"},
		"  SET \t k  ":              {"SET", "k"},
		`SET "" ''`:                 {"SET", "", ""},
		`SET "a b" 'c d'`:           {"SET", "a b", "c d"},
		`SET "\x00\xff\r\n\t\"\\"`:  {"SET", "\x00\xff\r\n\t\"\\"},
		`SET '\x00\n' 'it\'s'`:      {"SET", `\x00\n`, "it's"},
		`SET a"b "${x*3}" ${now+1}`: {"SET", `a"b`, "${x*3}", "${now+1}"},
	}
	for line, want := range tests {
		words, ok := splitWords(line)
		assert.True(t, ok, line)
		assert.Equal(t, want, words, line)
	}
	for _, line := range []string{`"`, `SET "a`, `SET 'a`, `SET "a"b`, `SET "\q"`} {
		_, ok := splitWords(line)
		assert.False(t, ok, line)
	}
}

// Ensure that one whole reply is read, of every type and however deep, and not a byte more.
func TestCopyReply(t *testing.T) {
	for _, reply := range []string{
		"+OK\r\n", "-ERR x\r\n", ":-5\r\n", "$-1\r\n", "$0\r\n\r\n", "$4\r\n\r\n:1\r\n", "*-1\r\n", "*0\r\n", "_\r\n", "#t\r\n", ",1.5\r\n",
		"(123\r\n", "=7\r\ntxt:abc\r\n", "*2\r\n*1\r\n:1\r\n$1\r\na\r\n", "%1\r\n+k\r\n~1\r\n:1\r\n", ">2\r\n+a\r\n+b\r\n", "|1\r\n+k\r\n+v\r\n:1\r\n",
	} {
		var b strings.Builder
		rest := bufio.NewReader(strings.NewReader(reply + "+NEXT\r\n"))
		assert.NoError(t, copyReply(&b, rest), "%q", reply)
		assert.Equal(t, reply, b.String())
		next, _ := rest.ReadString('\n')
		assert.Equal(t, "+NEXT\r\n", next, "%q", reply)
	}
	for _, reply := range []string{"", "+OK", "\r\n", "$x\r\n", "$5\r\nab", "*2\r\n:1\r\n"} {
		var b strings.Builder
		assert.Error(t, copyReply(&b, bufio.NewReader(strings.NewReader(reply))), "%q", reply)
	}
}

// Ensure that each comparison finds the difference that it is for, and only that.
func TestRun_Failure(t *testing.T) {
	tests := []struct {
		name      string
		directive string
		params    []string
		a, b      string
		equal     bool
	}{
		{"equal", "", nil, "+OK\r\n", "+OK\r\n", true},
		{"another type", "", nil, "$-1\r\n", "*-1\r\n", false},
		{"order", "", nil, "*2\r\n:1\r\n:2\r\n", "*2\r\n:2\r\n:1\r\n", false},
		{"any order", "unordered", nil, "*2\r\n:1\r\n:2\r\n", "*2\r\n:2\r\n:1\r\n", true},
		{"any order, other count", "unordered", nil, "*2\r\n:1\r\n:1\r\n", "*1\r\n:1\r\n", false},
		{"any order, other type", "unordered", nil, "*1\r\n:1\r\n", "~1\r\n:1\r\n", false},
		{"any order of pairs", "unordered", nil, "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n", "%2\r\n+b\r\n:2\r\n+a\r\n:1\r\n", true},
		{"pairs mixed up", "unordered", nil, "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n", "%2\r\n+a\r\n:2\r\n+b\r\n:1\r\n", false},
		{"near", "near", []string{"2"}, ":100\r\n", "$3\r\n102\r\n", true},
		{"not near", "near", []string{"2"}, ":100\r\n", ":103\r\n", false},
		{"near an error", "near", []string{"2"}, ":100\r\n", "-ERR\r\n", false},
		{"match", "match", []string{`^:\d+\r\n$`}, ":1\r\n", ":22\r\n", true},
		{"one does not match", "match", []string{`^:\d+\r\n$`}, ":1\r\n", "$1\r\n1\r\n", false},
		{"differs as told", "differs", []string{"reason", ":2\r\n"}, ":1\r\n", ":2\r\n", true},
		{"differs otherwise", "differs", []string{"reason", ":2\r\n"}, ":1\r\n", ":3\r\n", false},
		{"differs no longer", "differs", []string{"reason", ":2\r\n"}, ":2\r\n", ":2\r\n", false},
	}
	for _, tt := range tests {
		failure := new(run).failure(step{directive: tt.directive, params: tt.params}, tt.a, tt.b)
		assert.Equal(t, tt.equal, failure == "", "%s: %s", tt.name, failure)
	}
}
