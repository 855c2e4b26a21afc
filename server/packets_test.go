package server_test

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// A packet is bytes as no good client would send them.
type packet struct {
	name string
	send string
	// rest completes what send left incomplete. A server that had given the connection up would not
	// answer it. Without a rest the server must close the connection by itself.
	rest string
}

const (
	intMax    = "2147483647"
	overInt   = "2147483648"
	int64Max  = "9223372036854775807"
	overInt64 = "9223372036854775808"
)

// badPackets is what both servers must answer alike.
var badPackets = []packet{
	{name: "length panics redcon", send: "*1\r\n$9223372036854775807\r\n"},
	{name: "count spins redcon", send: "*9000000000000000000\r\n"},

	{name: "count is no number", send: "*x\r\n"},
	{name: "count is empty", send: "*\r\n"},
	{name: "count has a sign", send: "*+1\r\n"},
	{name: "count has a blank", send: "* 1\r\n"},
	{name: "count has a leading zero", send: "*01\r\n"},
	{name: "count is minus zero", send: "*-0\r\n"},
	{name: "count over int", send: "*" + overInt + "\r\n"},
	{name: "count is the largest int64", send: "*" + int64Max + "\r\n"},
	{name: "count over int64", send: "*" + overInt64 + "\r\n"},
	{name: "count of thirty digits", send: "*" + strings.Repeat("9", 30) + "\r\n"},
	{name: "count after a good command", send: "PING\r\n*x\r\n"},
	{name: "count zero", send: "*0\r\n", rest: "PING\r\n"},
	{name: "count negative", send: "*-1\r\n", rest: "PING\r\n"},
	{name: "count very negative", send: "*-9223372036854775808\r\n", rest: "PING\r\n"},
	{name: "count too negative", send: "*-9223372036854775809\r\n"},
	{name: "largest count", send: "*" + intMax + "\r\n$4\r\nPING\r\n$x\r\n"},
	{name: "count line too long", send: "*" + strings.Repeat("1", 64<<10)},
	{name: "count line long but not too long", send: "*" + strings.Repeat("1", 64<<10-1), rest: "\r\n"},
	{name: "count with a zero byte", send: "*1\x00\r\n$4\r\nPING\r\n" + strings.Repeat("x", 64<<10)},
	{name: "line feed alone after count", send: "*1\n$4\r\nPING\r\n"},
	{name: "any byte after the carriage return", send: "*1\rx$4\rxPING", rest: "xx"},

	{name: "length negative", send: "*1\r\n$-1\r\n"},
	{name: "length very negative", send: "*1\r\n$-9223372036854775808\r\n"},
	{name: "length is no number", send: "*1\r\n$x\r\n"},
	{name: "length is empty", send: "*1\r\n$\r\n"},
	{name: "length has a leading zero", send: "*1\r\n$04\r\nPING\r\n"},
	{name: "length over the limit", send: "*1\r\n$536870913\r\n"},
	{name: "length over int64", send: "*1\r\n$" + overInt64 + "\r\n"},
	{name: "length line too long", send: "*1\r\n$" + strings.Repeat("1", 64<<10)},
	{name: "length missing", send: "*1\r\nPING\r\n"},
	{name: "length line empty", send: "*1\r\n\r\nPING\r\n"},
	{name: "length starts with a line feed", send: "*1\r\n\n\r\nPING\r\n"},
	{name: "length starts with a zero byte", send: "*1\r\n\x00\r\n" + strings.Repeat("x", 64<<10)},
	{name: "length starts with a high byte", send: "*1\r\n\xff\r\n"},
	{name: "integer for a length", send: "*1\r\n:4\r\n"},
	{name: "array in an array", send: "*2\r\n*1\r\n$4\r\nPING\r\n"},
	{name: "second length bad", send: "*2\r\n$4\r\nECHO\r\n$a\r\n"},
	{name: "after a good multibulk", send: "*1\r\n$4\r\nPING\r\n*1\r\n$-5\r\n"},

	{name: "truncated in the count", send: "*1", rest: "\r\n$4\r\nPING\r\n"},
	{name: "truncated behind the carriage return", send: "*1\r", rest: "\n$4\r\nPING\r\n"},
	{name: "truncated in the length", send: "*1\r\n$", rest: "4\r\nPING\r\n"},
	{name: "truncated in the word", send: "*1\r\n$4\r\nPI", rest: "NG\r\n"},
	{name: "truncated behind the word", send: "*1\r\n$4\r\nPING", rest: "\r\n"},
	{name: "word without its end", send: "*1\r\n$4\r\nPINGab", rest: "PING\r\n"},
	{name: "word shorter than its length", send: "*1\r\n$6\r\nPING\r\n", rest: "ab"},
	{name: "word longer than its length", send: "*1\r\n$4\r\nPINGPONG\r\n", rest: "\r\n"},

	{name: "inline unknown", send: "nonsense\r\n", rest: "PING\r\n"},
	{name: "inline without carriage return", send: "PING\n", rest: "PING\n"},
	{name: "inline blank lines", send: "\r\n\n  \r\n\r\n", rest: "PING\r\n"},
	{name: "inline quotes open", send: "ECHO \"a\r\n"},
	{name: "inline single quotes open", send: "ECHO 'a\r\n"},
	{name: "inline text behind quotes", send: "ECHO \"a\"b\r\n"},
	{name: "inline quoting", send: `ECHO "\x41\n\r\t\b\a\"\z\\x\x4"` + "\r\n", rest: `ECHO 'a\'b\n'` + "\r\n"},
	{name: "inline quotes inside a word", send: `ECHO ab"c d"` + "\r\n", rest: `ECHO ab'c d'` + "\r\n"},
	{name: "inline empty word", send: `ECHO ""` + "\r\n", rest: "'' x\r\n"},
	{name: "inline blanks", send: "\t ECHO \v a \f\r\n", rest: "PING\r\n"},
	{name: "inline vertical blanks inside a word", send: "\x0bping\x0c\r\n", rest: "ECHO \x0b\"a\"\x0c\r\n"},
	{name: "inline two carriage returns", send: "PING\r\r\n", rest: "PING\r\n"},
	{name: "inline backslash at the end of quotes", send: `ECHO "a\` + "\r\n"},
	{name: "inline hexadecimal cut off", send: `ECHO "\x4` + "\r\n"},
	{name: "inline too long", send: strings.Repeat("a", 64<<10+1)},
	{name: "inline long but not too long", send: strings.Repeat("a", 64<<10), rest: "\r\n"},
	{name: "inline with a zero byte", send: "PI\x00NG\r\n" + strings.Repeat("x", 64<<10)},
	{name: "inline zero byte in the next line", send: "PING\r\n\x00", rest: "\r\nPING\r\n"},
	{name: "a reply instead of a command", send: "+OK\r\n-ERR\r\n:1\r\n$-1\r\n", rest: "PING\r\n"},
	{name: "dollar first", send: "$4\r\nPING\r\n", rest: "PING\r\n"},

	{name: "http post", send: "POST / HTTP/1.1\r\n"},
	{name: "http host", send: "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
	{name: "http host in capitals", send: "HOST: localhost\r\n"},
	{name: "http post as multibulk", send: "*1\r\n$4\r\npost\r\n"},
	{name: "http post behind a command", send: "PING\r\nPOST / HTTP/1.1\r\n"},
	{name: "tls hello", send: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n*x\r\n" + strings.Repeat("x", 64<<10)},
	{name: "binary noise", send: "\xff\xfe\x80\x01\x7f\n\xc3\x28\n", rest: "PING\r\n"},
	{name: "binary words", send: "*2\r\n$3\r\n\x00\xff\n\r\n$2\r\n'\"\r\n", rest: "PING\r\n"},
	{name: "empty command word", send: "*1\r\n$0\r\n\r\n", rest: "PING\r\n"},
	{name: "quit with more behind it", send: "QUIT\r\nPING\r\n"},
	{name: "kill oneself in a transaction", send: "MULTI\r\nCLIENT KILL TYPE normal SKIPME no\r\nPING\r\nGET x\r\nEXEC\r\nPING\r\n"},
	{name: "unknown command with many words", send: "*40\r\n" + strings.Repeat("$9\r\nabcdefghi\r\n", 40), rest: "PING\r\n"},
	{name: "unknown command with long words", send: "*3\r\n$200\r\n" + strings.Repeat("a", 200) + "\r\n$200\r\n" + strings.Repeat("b", 200) + "\r\n$1\r\nc\r\n", rest: "PING\r\n"},
	{name: "unknown command with a line break", send: "*2\r\n$3\r\na\r\n\r\n$3\r\nb\nc\r\n", rest: "PING\r\n"},
	{name: "unknown subcommand", send: "CLIENT nonsense x\r\n", rest: "CLIENT\r\n"},
}

// strangerPackets are sent before AUTH to servers that need a password.
var strangerPackets = []packet{
	{name: "ten words", send: "*10\r\n" + strings.Repeat("$1\r\na\r\n", 10), rest: "PING\r\n"},
	{name: "eleven words", send: "*11\r\n"},
	{name: "count over int", send: "*" + overInt + "\r\n"},
	{name: "longest word", send: "*2\r\n$4\r\nECHO\r\n$16384\r\n" + strings.Repeat("a", 16384), rest: "\r\n"},
	{name: "word too long", send: "*2\r\n$4\r\nECHO\r\n$16385\r\n"},
	{name: "any command", send: "GET a\r\nSET a\r\nnonsense\r\nQUIT\r\n"},
	{name: "subscribe", send: "SUBSCRIBE a\r\n", rest: "MULTI\r\nRESET\r\n"},
	{name: "wrong password", send: "AUTH x\r\nAUTH default x\r\nAUTH other secret\r\nAUTH a b c\r\n", rest: "PING\r\n"},
	{name: "hello", send: "HELLO\r\nHELLO 3\r\nHELLO 3 AUTH default x\r\nHELLO 9\r\n", rest: "PING\r\n"},
	{name: "limits fall with the password", send: "AUTH secret\r\n*12\r\n$3\r\nDEL\r\n" + strings.Repeat("$1\r\na\r\n", 11), rest: "PING\r\n"},
	{name: "limits stay without it", send: "AUTH wrong\r\n*12\r\n"},
	{name: "post", send: "POST / HTTP/1.1\r\n"},
}

// Ensure that bad input is answered byte for byte as redis-server does, and that it closes the connection
// when redis-server closes it.
func TestBadPackets(t *testing.T) {
	theirs, ours := startRedis(t), servertest.Start(t).Addr()
	for _, p := range badPackets {
		t.Run(p.name, func(t *testing.T) { comparePacket(t, theirs, ours, p) })
	}
}

// Ensure that the same holds before AUTH, where less is allowed.
func TestBadPackets_BeforeAuth(t *testing.T) {
	theirs, ours := startRedis(t), servertest.Start(t, servertest.WithPassword("secret")).Addr()
	w := dial(t, theirs, 2)
	require.Equal(t, "+OK\r\n", w.do("CONFIG", "SET", "requirepass", "secret"))
	w.close()
	for _, p := range strangerPackets {
		t.Run(p.name, func(t *testing.T) { comparePacket(t, theirs, ours, p) })
	}
}

// Ensure that the limits can be set under Redis's names and are kept.
func TestBadPackets_ConfiguredLimits(t *testing.T) {
	theirs, ours := startRedis(t), servertest.Start(t, servertest.WithConfig(server.Config{MaxBulk: 1 << 21, MaxQuery: 1 << 22})).Addr()
	set := func(directive, value string) {
		for _, addr := range []string{theirs, ours} {
			w := dial(t, addr, 2)
			require.Equal(t, "+OK\r\n", w.do("CONFIG", "SET", directive, value))
			w.close()
		}
	}
	mega := strings.Repeat("a", 1<<20)

	set("proto-max-bulk-len", "1mb")
	for _, p := range []packet{
		{name: "longest word", send: "*1\r\n$1048576\r\n", rest: mega + "\r\n"},
		{name: "word too long", send: "*1\r\n$1048577\r\n"},
	} {
		t.Run(p.name, func(t *testing.T) { comparePacket(t, theirs, ours, p) })
	}

	set("proto-max-bulk-len", "8mb")
	set("client-query-buffer-limit", "1mb")
	for name, addr := range map[string]string{"redis": theirs, "node": ours} {
		t.Run("query too long/"+name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer conn.Close()
			conn.SetDeadline(clock.Wall().Add(replyTimeout))
			// The server hangs up in the middle, so the write may fail, and no byte comes back.
			io.WriteString(conn, "*1\r\n$4000000\r\n"+mega+mega)
			got, err := io.ReadAll(conn)
			assert.Empty(t, got)
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		})
	}
}

// Ensure that random streams, put together from what the protocol is made of, get the same answers.
func TestBadPackets_Random(t *testing.T) {
	theirs, ours := startRedis(t), servertest.Start(t).Addr()
	pieces := []string{
		"*", "$", "+", "-", "0", "1", "2", "4", "9", "\r\n", "\r\n", "\r\n", "\r", "\n", "\x00", "\xff", " ", "\"", "'", "\\", "x41",
		"PING", "PING\r\n", "ECHO", "$4\r\n", "$1\r\n", "*1\r\n", "*2\r\n", "*1\r\n$4\r\nPING\r\n", "*2\r\n$4\r\nECHO\r\n$1\r\na\r\n", "ECHO \"a\"\r\n",
	}
	rapid.Check(t, func(rt *rapid.T) {
		stream := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 25).Draw(rt, "stream"), "")
		want, got := sendStream(t, theirs, stream), sendStream(t, ours, stream)
		if want != got {
			rt.Fatalf("%q\ntheirs %q\nours   %q", stream, want, got)
		}
	})
}

// sendStream sends bytes, says that no more will come, and returns all that the server answers.
func sendStream(t *testing.T, addr, stream string) string {
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	conn.SetDeadline(clock.Wall().Add(replyTimeout))
	_, err = io.WriteString(conn, stream)
	require.NoError(t, err)
	conn.(*net.TCPConn).CloseWrite() // fails if the server has closed already
	got, err := io.ReadAll(conn)
	require.NoError(t, err, "%s: after %q", addr, got)
	return string(got)
}

func comparePacket(t *testing.T, theirs, ours string, p packet) {
	want := sendPacket(t, theirs, p)
	got := sendPacket(t, ours, p)
	assert.Equal(t, want, got)
	if p.rest != "" {
		assert.NotEmpty(t, want, "the rest proves nothing if redis-server does not answer it")
	}
}

// sendPacket returns all that the server answers. It fails the test if the server keeps the connection
// of a packet without a rest open.
func sendPacket(t *testing.T, addr string, p packet) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	conn.SetDeadline(clock.Wall().Add(replyTimeout))
	_, err = io.WriteString(conn, p.send)
	require.NoError(t, err)
	if p.rest != "" {
		_, err = io.WriteString(conn, p.rest)
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	}
	got, err := io.ReadAll(conn)
	require.NoError(t, err, "%s: after %q", addr, got)
	return string(got)
}
