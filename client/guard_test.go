package client_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// A limbo stands in connections to a node. While it holds, what is written is on its way for as long as the
// test likes, also after the client has closed the connection.
type limbo struct {
	mu    sync.Mutex
	holds bool
	conns []*limboConn // that were used while it held
}

type limboConn struct {
	net.Conn
	limbo *limbo
	late  []byte // guarded by limbo.mu
}

func (c *limboConn) Write(b []byte) (int, error) {
	c.limbo.mu.Lock()
	defer c.limbo.mu.Unlock()
	if !c.limbo.holds {
		return c.Conn.Write(b)
	}
	if c.late == nil {
		c.limbo.conns = append(c.limbo.conns, c)
	}
	c.late = append(c.late, b...)
	return len(b), nil
}

// Close ends it for the client. The node learns nothing of that while something is on the way.
func (c *limboConn) Close() error {
	c.limbo.mu.Lock()
	defer c.limbo.mu.Unlock()
	if c.late == nil {
		return c.Conn.Close()
	}
	return c.Conn.SetReadDeadline(time.Now()) // for the client's reader
}

func (l *limbo) hold(holds bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holds = holds
}

// arrive lets everything that is on its way reach the node, if that still has the connection.
func (l *limbo) arrive() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Conn.SetDeadline(time.Time{}) // that of the client, which is over
		c.Conn.Write(c.late)
		synctest.Wait()
		c.Conn.Close()
	}
}

// Ensure that an acquire whose connection failed while it was on its way cannot arrive after its release: the
// next connection makes the node drop the one before.
func TestLink_LateAcquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 1)
		ctx := context.Background()
		var l limbo
		c := newClient(t, []redlock.Node{nodes[0].node(t, func(conn net.Conn) net.Conn { return &limboConn{Conn: conn, limbo: &l} })})
		warm, err := c.Lock(ctx, "warm")
		require.NoError(t, err)
		require.NoError(t, warm.Unlock(ctx))

		l.hold(true)
		_, err = c.TryLock(ctx, "x")
		require.ErrorIs(t, err, client.ErrQuorum)
		l.hold(false)
		time.Sleep(time.Second)
		require.Len(t, l.conns, 1)
		other, err := c.Lock(ctx, "y")
		require.NoError(t, err)
		l.arrive()
		assert.Zero(t, nodes[0].rdb.Exists(ctx, "x").Val(), "an acquire was executed after its release")
		require.NoError(t, other.Unlock(ctx))
	})
}

// Ensure that a lease that is lost before its first renewal leaves the queue of a node that had not granted
// it: the entry would be woken in the place of somebody who waits.
func TestLease_LostLeavesQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		held, err := a.Lock(ctx, "x")
		require.NoError(t, err)
		got := waiting(t, b, ctx, "x", client.WithoutRenew(), client.TTL(2*time.Second))
		queue := redlock.Keys("x").Waiters
		var odd *redis.Client // one of the nodes at which it waits
		for _, n := range nodes {
			if n.rdb.ZCard(ctx, queue).Val() == 1 {
				odd = n.rdb
			}
		}
		require.NotNil(t, odd)
		require.NoError(t, odd.Set(ctx, "x", "somebody else", 0).Err())
		require.NoError(t, held.Unlock(ctx))
		l := <-got
		require.NotNil(t, l)
		synctest.Wait()
		n, _ := l.Nodes()
		require.Less(t, n, 5)
		require.EqualValues(t, 1, odd.ZCard(ctx, queue).Val(), "it is still queued where it got nothing")
		cause, _ := lossOf(t, l)
		require.ErrorIs(t, cause, client.ErrExpired)
		synctest.Wait()
		assert.Zero(t, odd.ZCard(ctx, queue).Val())
	})
}

// Ensure that a wait that ends by its time says what the last attempt had met, whatever that was: a holder,
// no quorum, a quarantine, a node's error.
func TestWaitError_Last(t *testing.T) {
	for name, test := range map[string]struct {
		play func(t *testing.T, nodes cluster) // while the wait goes on
		want error
		not  []error
		text string
	}{
		"held": {want: client.ErrHeld, not: []error{client.ErrQuorum, client.ErrQuarantine}},
		"no quorum": {want: client.ErrQuorum, not: []error{client.ErrHeld, client.ErrQuarantine}, text: "refused by the test",
			play: func(_ *testing.T, nodes cluster) {
				for _, n := range nodes {
					n.rdb.Do(context.Background(), "client", "kill", "type", "normal", "skipme", "yes")
				}
			}},
		"fence": {want: client.ErrQuorum, not: []error{client.ErrHeld}, text: "FENCE",
			play: func(t *testing.T, nodes cluster) {
				for _, n := range nodes {
					require.NoError(t, n.rdb.Set(context.Background(), redlock.Keys("x").Fence, "no number", 0).Err())
					require.NoError(t, n.rdb.Del(context.Background(), "x").Err())
				}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes, _ := memoryNodes(t, 3)
				ctx := context.Background()
				for _, n := range nodes { // a holder that must be polled
					require.NoError(t, n.rdb.Set(ctx, "x", "somebody else", 0).Err())
				}
				var mu sync.Mutex
				down := false
				var all []redlock.Node
				for _, n := range nodes {
					direct := n.dial
					n.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
						mu.Lock()
						defer mu.Unlock()
						if down {
							return nil, errRefused
						}
						return direct(ctx, network, addr)
					}
					all = append(all, n.node(t, nil))
				}
				c := newClient(t, all)
				wait, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				time.AfterFunc(time.Second, func() {
					if test.play != nil {
						mu.Lock()
						down = name == "no quorum"
						mu.Unlock()
						test.play(t, nodes)
					}
				})
				_, err := c.Lock(wait, "x")
				var waited *client.WaitError
				require.ErrorAs(t, err, &waited)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorIs(t, waited.Last, test.want)
				for _, not := range test.not {
					require.NotErrorIs(t, err, not)
				}
				require.ErrorContains(t, waited.Last, test.text)
			})
		})
	}
	t.Run("quarantine", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			nodes := make(cluster, 3)
			for i, n := range servertest.StartCluster(t, 3, servertest.InMemory(), servertest.WithConfig(server.Config{Quarantine: time.Hour})) {
				nodes[i] = testNode{addr: n.Addr(), dial: n.Dial}
			}
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			_, err := nodes.client(t).Lock(ctx, "x")
			var waited *client.WaitError
			require.ErrorAs(t, err, &waited)
			require.ErrorIs(t, waited.Last, client.ErrQuarantine)
		})
	})
}
