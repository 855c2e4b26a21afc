package client_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A logBook keeps what is logged.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBook) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.buf.String(), text)
}

// Ensure that a server under two names has one vote: with the only other server gone there is no quorum, and
// the error and the log say which names are one.
func TestSameServer(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		_, port, err := net.SplitHostPort(nodes[0].addr)
		require.NoError(t, err)
		twin := "localhost:" + port
		if conn, err := net.Dial("tcp", twin); err != nil {
			t.Skip("localhost is not 127.0.0.1 here")
		} else {
			conn.Close()
		}
		var log logBook
		open := func(addrs ...string) *client.Client {
			c, err := client.Open("redis://"+strings.Join(addrs, ","), client.WithTimeout(10*time.Second),
				client.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			require.NoError(t, err)
			t.Cleanup(func() { c.Close(ctx) })
			return c
		}
		c := open(nodes[0].addr, twin, nodes[1].addr)
		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		require.NoError(t, l.Renew(ctx))
		held, _ := l.Nodes()
		assert.Equal(t, 2, held)
		require.NoError(t, l.Unlock(ctx))
		var refusals int
		for _, h := range c.Health(ctx).Nodes {
			if h.Err != nil {
				refusals++
				assert.ErrorContains(t, h.Err, "are the same server")
			}
		}
		assert.Equal(t, 1, refusals)
		// The link of the second name may be slower than the majority that everything above waited for.
		logged := func(n int) {
			assert.Eventually(t, func() bool { return log.count("are the same server") >= n }, 10*time.Second, time.Millisecond)
			assert.Equal(t, n, log.count("are the same server"), "once for each client")
		}
		logged(1)

		c = open(nodes[0].addr, twin, "127.0.0.1:1") // nobody listens there
		for range 5 {
			_, err = c.TryLock(ctx, "x")
			require.ErrorIs(t, err, client.ErrQuorum)
			require.ErrorContains(t, err, "are the same server")
			require.ErrorContains(t, err, nodes[0].addr)
			require.ErrorContains(t, err, twin)
		}
		logged(2)
	})
}

// Ensure that a link that was refused since its server stood behind another link is accepted once that has
// another server, that a refused link takes over no vote meanwhile, and that one link is not given twice.
func TestSameServer_Recovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, started := memoryNodes(t, 3)
		ctx := context.Background()
		var mu sync.Mutex
		reached := []int{0, -1, 1} // by node of the client: the server that its name leads to; negative: none
		names := make(cluster, 3)
		for i := range names {
			names[i] = testNode{addr: nodes[i].addr, dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				if reached[i] < 0 {
					return nil, errRefused
				}
				return nodes[reached[i]].dial(ctx, network, addr)
			}}
		}
		var log logBook
		c := names.client(t, client.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		votes := func() int { // after a lease was renewed for a while
			l, err := c.Lock(ctx, "x")
			require.NoError(t, err)
			time.Sleep(time.Minute)
			require.NoError(t, l.Err())
			held, _ := l.Nodes()
			require.NoError(t, l.Unlock(ctx))
			return held
		}
		lead := func(name, to int) {
			mu.Lock()
			defer mu.Unlock()
			reached[name] = to
		}
		require.Equal(t, 2, votes())
		lead(1, 0)
		require.Equal(t, 2, votes())
		assert.Equal(t, 1, log.count("are the same server"))
		assert.Equal(t, 1, log.count("node has no vote"))
		assert.Equal(t, 1, log.count("node is down"), "before it had a server")

		// The server starts again: both names lead to a new run_id, and still there is one vote.
		lead(1, -1)
		started[0].Restart()
		require.Equal(t, 2, votes())
		lead(1, 0)
		require.Equal(t, 2, votes())

		// The first name, which has the vote, leads to another server: the second may have this one.
		lead(0, 2)
		require.NoError(t, nodes[0].rdb.Do(ctx, "client", "kill", "type", "normal", "skipme", "yes").Err())
		votes() // it begins before they are all connected
		require.Equal(t, 3, votes())
		time.Sleep(time.Second)
		nodes.assertClean(t, "x")

		n := nodes[0].node(t, nil)
		_, err := client.New([]redlock.Node{n, nodes[1].node(t, nil), n})
		require.ErrorIs(t, err, client.ErrInvalid)
	})
}
