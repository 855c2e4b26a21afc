package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// startRedis starts the redis-server that compatibility is measured against and returns its address.
// Without one in PATH the test is skipped, in CI it fails.
func startRedis(t *testing.T) string {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		missing("needs redis-server 7.0: %v", err)
	}
	version, err := exec.Command(path, "--version").Output()
	require.NoError(t, err)
	if !strings.Contains(string(version), "v=7.0.") {
		missing("needs redis-server 7.0, found %s", version)
	}
	port := freePort(t)
	cmd := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	addr := net.JoinHostPort("127.0.0.1", port)
	until := clock.Wall().Add(10 * time.Second)
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return addr
		}
		require.True(t, clock.Wall().Before(until), "redis-server does not start: %v", err)
		time.Sleep(5 * time.Millisecond) // another process: nothing here to wait on
	}
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// startNode starts one of our nodes on a TCP port and returns its address.
func startNode(t *testing.T) string {
	t.Helper()
	return servertest.Start(t).Addr()
}

// A wire is a connection on which replies are kept as the bytes they are.
type wire struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// replyTimeout bounds the wait for a reply that does not come.
const replyTimeout = 10 * time.Second

func dial(t *testing.T, addr string, proto int) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	return newWire(t, conn, proto)
}

func newWire(t *testing.T, conn net.Conn, proto int) *wire {
	w := &wire{t: t, conn: conn, r: bufio.NewReader(conn)}
	if proto == 3 {
		w.do("HELLO", "3")
	}
	return w
}

func (w *wire) close() { w.conn.Close() }

func (w *wire) write(raw string) {
	// A server that has refused the connection's last bytes may have closed it already.
	w.conn.SetWriteDeadline(clock.Wall().Add(replyTimeout))
	io.WriteString(w.conn, raw)
}

// do sends a command and returns the raw reply.
func (w *wire) do(words ...string) string {
	w.t.Helper()
	w.write(encode(words))
	return w.read()
}

func encode(words []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	return b.String()
}

// read returns the next raw reply, or a text in angle brackets that says why there is none.
func (w *wire) read() string {
	w.conn.SetReadDeadline(clock.Wall().Add(replyTimeout))
	var b strings.Builder
	if err := copyReply(&b, w.r); err != nil {
		return fmt.Sprintf("%s<%v>", b.String(), err)
	}
	return b.String()
}

// readClosed reports whether the server closes the connection and sends nothing before it does.
func (w *wire) readClosed() (rest string, closed bool) {
	w.conn.SetReadDeadline(clock.Wall().Add(replyTimeout))
	all, err := io.ReadAll(w.r)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return string(all), false
	}
	return string(all), len(all) == 0
}

// copyReply copies one whole reply.
func copyReply(to *strings.Builder, from *bufio.Reader) error {
	line, err := from.ReadString('\n')
	to.WriteString(line)
	if err != nil {
		return err
	}
	if len(line) < 3 {
		return fmt.Errorf("no reply: %q", line)
	}
	n, isLength := strconv.Atoi(strings.TrimRight(line[1:], "\r\n"))
	switch line[0] {
	case '$', '=', '!':
		if isLength != nil || n < 0 {
			return isLength
		}
		_, err := io.CopyN(to, from, int64(n)+2)
		return err
	case '%', '|':
		n *= 2
		fallthrough
	case '*', '~', '>':
		if isLength != nil {
			return isLength
		}
		for range max(n, 0) {
			if err := copyReply(to, from); err != nil {
				return err
			}
		}
		if line[0] == '|' { // an attribute stands before the reply that it describes
			return copyReply(to, from)
		}
	}
	return nil
}

// elements returns the raw elements of a raw array, set, push or map; nil for anything else.
func elements(reply string) []string {
	if reply == "" || !strings.ContainsRune("*~>%", rune(reply[0])) {
		return nil
	}
	r := bufio.NewReader(strings.NewReader(reply))
	header, _ := r.ReadString('\n')
	n, _ := strconv.Atoi(strings.TrimRight(header[1:], "\r\n"))
	if header[0] == '%' {
		n *= 2
	}
	list := make([]string, 0, max(n, 0))
	for range max(n, 0) {
		var b strings.Builder
		if copyReply(&b, r) != nil {
			return nil
		}
		list = append(list, b.String())
	}
	return list
}

// sortedElements returns a reply in a form that does not tell the order of its elements: its header and
// the sorted elements, pairs of a map together.
func sortedElements(reply string) []string {
	list := elements(reply)
	if list == nil {
		return []string{reply}
	}
	if reply[0] == '%' {
		for i := 0; i+1 < len(list); i += 2 {
			list[i/2] = list[i] + list[i+1]
		}
		list = list[:len(list)/2]
	}
	slices.Sort(list)
	header, _, _ := strings.Cut(reply, "\n")
	return append(list, header)
}

// content returns what a raw reply says: a string without its length, a number or status without its type.
func content(reply string) string {
	if reply == "" {
		return ""
	}
	head, rest, _ := strings.Cut(reply[1:], "\r\n")
	switch reply[0] {
	case '$':
		return strings.TrimSuffix(rest, "\r\n")
	case '=':
		return strings.TrimSuffix(rest[min(4, len(rest)):], "\r\n")
	default:
		return head
	}
}

// number returns the integer that a raw reply is.
func number(reply string) (int64, bool) {
	n, err := strconv.ParseInt(content(reply), 10, 64)
	return n, err == nil
}
