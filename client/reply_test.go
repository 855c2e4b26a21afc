package client

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that each kind of reply is read as what it is, and that what follows is left.
func TestParseReply(t *testing.T) {
	for text, want := range map[string]any{
		"+OK\r\n":                             "OK",
		"+\r\n":                               "",
		":-42\r\n":                            int64(-42),
		":9223372036854775807\r\n":            int64(1<<63 - 1),
		"$-1\r\n":                             nil,
		"*-1\r\n":                             nil,
		"$0\r\n\r\n":                          "",
		"$4\r\na\r\nb\r\n":                    "a\r\nb",
		"*0\r\n":                              []any{},
		"*3\r\n$1\r\na\r\n:7\r\n*1\r\n+b\r\n": []any{"a", int64(7), []any{"b"}},
		"*1\r\n-ERR no\r\n":                   []any{nodeError("ERR no")},
	} {
		v, n, err := parseReply([]byte(text + "+next"))
		require.NoError(t, err, "%q", text)
		assert.Equal(t, want, v, "%q", text)
		assert.Equal(t, len(text), n, "%q", text)
		for cut := range text {
			_, _, err := parseReply([]byte(text[:cut]))
			assert.ErrorIs(t, err, errPartial, "%q", text[:cut])
		}
	}
	_, n, err := parseReply([]byte("-NOSCRIPT none\r\n"))
	assert.Equal(t, nodeError("NOSCRIPT none"), err)
	assert.Equal(t, 16, n)
	assert.True(t, isNoScript(err))
	assert.True(t, isReply(err))
}

// Ensure that what is no reply is refused, and that no length above a limit is believed.
func TestParseReply_Malformed(t *testing.T) {
	for _, text := range []string{"\r\n", "\n", "x\r\n", "hello\n", "+OK\n", ":\r\n", ":1.5\r\n", ":9223372036854775808\r\n",
		"$x\r\n", "$-2\r\n", "*-2\r\n", "$1048577\r\n", "*65537\r\n", "$1\r\nabc", "*2\r\n:1\r\n$-7\r\n",
		strings.Repeat("*1\r\n", maxReplyDepth+1), "%1\r\n+a\r\n+b\r\n"} {
		_, _, err := parseReply([]byte(text))
		assert.ErrorIs(t, err, errMalformed, "%q", text)
	}
	_, _, err := parseReply([]byte(strings.Repeat("*1\r\n", maxReplyDepth) + ":1\r\n"))
	assert.NoError(t, err)
	_, _, err = parseReply([]byte("$1048576\r\n"))
	assert.ErrorIs(t, err, errPartial)
	_, _, err = parseReply([]byte("*65536\r\n"))
	assert.ErrorIs(t, err, errPartial)
	_, _, err = parseReply([]byte("+" + strings.Repeat("a", maxReplyBulk)))
	assert.ErrorIs(t, err, errMalformed)
}

// Ensure that no input makes the parser panic, or read beyond it.
func FuzzParseReply(f *testing.F) {
	for _, seed := range []string{"+OK\r\n", "-ERR x\r\n", ":1\r\n", "$3\r\nabc\r\n", "*2\r\n:1\r\n$-1\r\n", "*1\r\n*1\r\n*0\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, n, err := parseReply(b)
		var refused nodeError
		switch {
		case err == nil || errors.As(err, &refused):
			assert.Greater(t, n, 2)
			assert.LessOrEqual(t, n, len(b))
			_, again, _ := parseReply(b[:n])
			assert.Equal(t, n, again, "complete without what follows")
		default:
			assert.True(t, errors.Is(err, errPartial) || errors.Is(err, errMalformed))
		}
	})
}
