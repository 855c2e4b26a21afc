package fencing

import (
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/server/servertest"
)

// Ensure that a key refuses a stale writer, on a node of ours and on redis-server.
func TestSetKey(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) string{
		"holdfast":     func(t *testing.T) string { return servertest.Start(t).Addr() },
		"redis-server": startRedis,
	} {
		t.Run(name, func(t *testing.T) {
			addr := start(t)
			tellStory(t, func(t *testing.T) resource {
				rdb := dialRedis(t, addr)
				require.NoError(t, rdb.Del(t.Context(), "order:42").Err())
				return resource{
					write: func(text string, token int64) error { return SetKey(t.Context(), rdb, "order:42", text, token) },
					read:  func() string { return rdb.HGet(t.Context(), "order:42", "value").Val() },
				}
			})
		})
	}
}

func startRedis(t *testing.T) string {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed")
		}
		t.Skip("redis-server is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	rdb := dialRedis(t, addr)
	require.Eventually(t, func() bool { return rdb.Ping(t.Context()).Err() == nil }, 10*time.Second, 5*time.Millisecond)
	return addr
}
