package lockd

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that only addresses which no other machine can reach are listened on, and that the refusal tells the
// operator why and what to do.
func TestCheckBind(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:7080", "127.1.2.3:0", "[::1]:7080", "localhost:7080", "unix:/run/holdfast.sock", "[::ffff:127.0.0.1]:1"} {
		assert.NoError(t, CheckBind(addr), addr)
	}
	for _, addr := range []string{":7080", "0.0.0.0:7080", "[::]:7080", "10.0.0.1:7080", "example.com:80", "localhost.example.com:80", "*:7080"} {
		err := CheckBind(addr)
		assert.ErrorIs(t, err, ErrNotLoopback, addr)
		assert.ErrorContains(t, err, "127.0.0.1:7080")
		_, err = Listen(context.Background(), addr)
		assert.ErrorIs(t, err, ErrNotLoopback, addr)
	}
	for _, addr := range []string{"", "7080", "localhost", "unix:", "1:2:3", "127.0.0.1:", "127.0.0.1:web", "127.0.0.1:65536", "127.0.0.1:-1"} {
		assert.Error(t, CheckBind(addr), addr)
	}
}

// Ensure that accepted connections give up on a peer that acknowledges nothing.
func TestListen_UserTimeout(t *testing.T) {
	l, err := Listen(context.Background(), "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer out.Close()
	in, err := l.Accept()
	require.NoError(t, err)
	defer in.Close()
	raw, err := in.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	var timeout int
	require.NoError(t, raw.Control(func(fd uintptr) {
		timeout, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 18)
	}))
	require.NoError(t, err)
	assert.EqualValues(t, vanishedAfter.Milliseconds(), timeout)
}

// Ensure that a unix socket is its owner's only, that one which a dead process left is replaced, and that a
// living one and a file of another kind are not.
func TestListen_Unix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := Listen(context.Background(), "unix:"+path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	_, err = Listen(context.Background(), "unix:"+path)
	assert.ErrorIs(t, err, syscall.EADDRINUSE)

	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	l, err = Listen(context.Background(), "unix:"+path)
	require.NoError(t, err)
	require.NoError(t, l.Close())

	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err = Listen(context.Background(), "unix:"+path)
	assert.Error(t, err)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "precious", string(text))
}

// Ensure that a program on a unix socket may put any name into the Host header.
func TestServe_Unix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(context.Background(), "unix:"+path)
	require.NoError(t, err)
	s, err := newServer(newFake(), Config{})
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	res, err := (&http.Client{Transport: tr}).Get("http://whatever/healthz")
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	assert.Equal(t, 200, res.StatusCode)
	tr.CloseIdleConnections()
	require.NoError(t, s.Shutdown(t.Context()))
	assert.ErrorIs(t, <-served, http.ErrServerClosed)
}
