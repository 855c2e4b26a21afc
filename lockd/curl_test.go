package lockd

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// A site is lockd on a real socket over five nodes on real sockets.
type site struct {
	t    *testing.T
	addr string // as Listen got it
	url  string
	curl string
}

// newSite starts a site at an address for Listen. It needs curl.
func newSite(t *testing.T, addr string) *site {
	t.Helper()
	curl, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is not installed")
		}
		t.Skip("curl is not installed")
	}
	var addrs []string
	for _, n := range servertest.StartCluster(t, 5) {
		addrs = append(addrs, n.Addr())
	}
	c, err := client.Open(strings.Join(addrs, ","))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close(context.Background())) })
	s, err := New(c, Config{})
	require.NoError(t, err)
	l, err := Listen(t.Context(), addr)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(t, s.Shutdown(ctx))
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	st := &site{t: t, addr: addr, url: "http://" + l.Addr().String(), curl: curl}
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		st.url, st.curl = "http://localhost", curl+" --unix-socket "+path
	}
	return st
}

// run runs a shell line, as a user would paste it, with curl for the one of this site and $URL for its address.
// The output ends with the status.
func (s *site) run(line string) (text, status string) {
	s.t.Helper()
	line = strings.Replace(line, "curl ", s.curl+` -w '\n%{http_code}' `, 1)
	cmd := exec.CommandContext(s.t.Context(), "sh", "-c", line)
	cmd.Env = append(os.Environ(), "URL="+s.url)
	out, err := cmd.Output()
	require.NoError(s.t, err, line)
	text, status, _ = cutLast(string(out))
	return text, status
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '\n')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// Ensure that real curl gets through a lock's whole life with the lines that the README shows, over TCP and over
// a unix socket.
func TestCurl_Classic(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "lockd.sock")} {
		s := newSite(t, addr)
		text, status := s.run(`curl -s -H 'Content-Type: application/json' -d '{"ttl": "15s", "wait": "30s", "owner": "me"}' $URL/v1/locks/orders%2F42`)
		require.Equal(t, "200", status, text)
		var info leaseInfo
		require.NoError(t, json.Unmarshal([]byte(text), &info))
		assert.Equal(t, "orders/42", info.Name)

		text, status = s.run(`curl -s --json '{}' $URL/v1/locks/orders%2F42`)
		assert.Equal(t, "409", status, text)
		assert.Contains(t, text, `"holder":"me"`)
		text, status = s.run(`curl -s -X PUT $URL/v1/leases/` + info.Lease)
		assert.Equal(t, "200", status, text)
		text, status = s.run(`curl -s $URL/v1/locks/orders%2F42`)
		assert.Equal(t, "200", status)
		assert.Contains(t, text, `"held":true`)
		text, status = s.run(`curl -s "$URL/v1/locks?prefix=orders/"`)
		assert.Equal(t, "200", status)
		assert.Contains(t, text, `"name":"orders/42"`)
		_, status = s.run(`curl -s -X DELETE $URL/v1/leases/` + info.Lease)
		assert.Equal(t, "204", status)
		text, status = s.run(`curl -s $URL/readyz`)
		assert.Equal(t, "200", status)
		assert.Contains(t, text, `"nodes":"5/5"`)

		// What people type first, and are told what is missing.
		text, status = s.run(`curl -s -d '{"ttl": "15s"}' $URL/v1/locks/orders%2F42`)
		assert.Equal(t, "415", status)
		assert.Contains(t, text, "Content-Type: application/json")
		text, status = s.run(`curl -s --json '{}' $URL/v1/locks/orders/42`)
		assert.Equal(t, "404", status)
		assert.Contains(t, text, "%2F")
	}
}

// Ensure that the lock of a stream is gone when the process that holds it is killed with SIGKILL, and that a
// waiter then has it.
func TestCurl_StreamKilled(t *testing.T) {
	s := newSite(t, "127.0.0.1:0")
	holder := exec.Command(s.curl, "-sN", "-H", "Content-Type: application/json", "-d", `{"ttl":"5m","owner":"holder"}`, s.url+"/v1/locks/job?hold=stream")
	out, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	t.Cleanup(func() { _ = holder.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	var acquired streamEvent
	require.NoError(t, json.Unmarshal([]byte(line), &acquired))
	require.Equal(t, "acquired", acquired.Event)
	text, status := s.run(`curl -s --json '{}' $URL/v1/locks/job`)
	require.Equal(t, "409", status, text)

	require.NoError(t, holder.Process.Kill())
	_ = holder.Wait()
	// Had the lock stayed, the holder's ttl would be far longer than this wait.
	text, status = s.run(`curl -s --json '{"wait":"1m"}' $URL/v1/locks/job`)
	require.Equal(t, "200", status, text)
	var next leaseInfo
	require.NoError(t, json.Unmarshal([]byte(text), &next))
	assert.Greater(t, next.Token, acquired.Token)
	_, status = s.run(`curl -s -X DELETE $URL/v1/leases/` + next.Lease)
	assert.Equal(t, "204", status)
}
