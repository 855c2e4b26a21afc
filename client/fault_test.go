package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A valve stands in connections to nodes. While it is shut, what a client writes vanishes and nothing comes
// back, as with a node that hangs; delay makes every answer late.
type valve struct {
	mu     sync.Mutex
	closed bool
	delay  time.Duration
}

func (v *valve) shut(shut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = shut
}

func (v *valve) slow(delay time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.delay = delay
}

func (v *valve) isShut() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.closed
}

func (v *valve) nodes(t testing.TB, nodes cluster) []redlock.Node {
	var all []redlock.Node
	for _, n := range nodes {
		all = append(all, n.node(t, func(c net.Conn) net.Conn { return &valveConn{Conn: c, valve: v} }))
	}
	return all
}

type valveConn struct {
	net.Conn
	valve *valve

	mu    sync.Mutex
	stuck bool // something was swallowed: nothing sensible can follow
}

func (c *valveConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stuck = c.stuck || c.valve.isShut(); c.stuck {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *valveConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.valve.mu.Lock()
		delay := c.valve.delay
		c.valve.mu.Unlock()
		time.Sleep(delay)
	}
	return n, err
}

// getToKnow lets a client ask each node once, and a second pass.
func getToKnow(t *testing.T, c *client.Client) {
	for i := range 10 { // each name asks another majority first
		l, err := c.Lock(context.Background(), fmt.Sprint("warm", i))
		require.NoError(t, err)
		require.NoError(t, l.Unlock(context.Background()))
	}
	time.Sleep(time.Second)
}

// Ensure that no call waits for more than a majority: with two of five nodes hung, slow or dead, taking,
// renewing and releasing take no time at all (the bubble's clock stands still unless somebody waits), once the
// client has found out; that costs a call a moment.
func TestMinority_CostsNothing(t *testing.T) {
	for name, minority := range map[string]func(t *testing.T, nodes cluster) []redlock.Node{
		"hung": func(t *testing.T, nodes cluster) []redlock.Node {
			v := &valve{closed: true}
			return v.nodes(t, nodes)
		},
		"slow": func(t *testing.T, nodes cluster) []redlock.Node {
			v := &valve{delay: 50 * time.Millisecond}
			return v.nodes(t, nodes)
		},
		"dead": func(t *testing.T, nodes cluster) []redlock.Node {
			var all []redlock.Node
			for _, n := range nodes {
				n.dial = refused
				all = append(all, n.node(t, nil))
			}
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes, _ := memoryNodes(t, 5)
				ctx := context.Background()
				all := minority(t, nodes[:2])
				for _, n := range nodes[2:] {
					all = append(all, n.node(t, nil))
				}
				c := newClient(t, all)
				began := time.Now()
				getToKnow(t, c)
				assert.Less(t, time.Since(began), time.Second+30*time.Millisecond)
				for range 50 {
					began := time.Now()
					l, err := c.Lock(ctx, "x")
					require.NoError(t, err)
					require.NoError(t, l.Renew(ctx))
					_, err = c.TryLock(ctx, "x")
					require.ErrorIs(t, err, client.ErrHeld)
					_, err = c.Inspect(ctx, "x")
					require.NoError(t, err)
					held, err := c.List(ctx, "")
					require.NoError(t, err)
					assert.Len(t, held, 1)
					require.NoError(t, l.Unlock(ctx))
					require.Zero(t, time.Since(began))
				}
				h := c.Health(ctx)
				assert.True(t, h.Quorum)
				state, err := c.InspectAll(ctx, "x")
				require.NoError(t, err)
				assert.Equal(t, map[bool]int{true: 5, false: 3}[name == "slow"], state.Answered)
				assert.Equal(t, name == "slow", h.Nodes[0].Err == nil)
				assert.NoError(t, h.Nodes[4].Err)

				got, err := c.Lock(ctx, "x")
				require.NoError(t, err)
				next := waiting(t, nodes[2:].client(t), ctx, "x")
				require.NoError(t, got.Unlock(ctx))
				l := <-next
				require.NotNil(t, l, "waiters are woken by a majority")
				require.NoError(t, l.Unlock(ctx))
				time.Sleep(30 * time.Second)
				nodes.assertClean(t, "x")
			})
		})
	}
}

var errRefused = errors.New("connection refused by the test")

func refused(context.Context, string, string) (net.Conn, error) { return nil, errRefused }

// Ensure that without a majority a call fails within its patience, and the error of every node is reached.
func TestNoQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		for i := range 3 {
			nodes[i].dial = refused
		}
		c := nodes.client(t)
		_, err := c.TryLock(ctx, "x")
		require.ErrorIs(t, err, client.ErrQuorum)
		require.ErrorIs(t, err, errRefused)
		var quorum *client.QuorumError
		require.ErrorAs(t, err, &quorum)
		assert.GreaterOrEqual(t, len(quorum.Errs), 3)

		began := time.Now()
		_, err = c.Lock(ctx, "x")
		require.ErrorIs(t, err, client.ErrQuorum)
		assert.InDelta(t, 2*time.Second, time.Since(began), float64(500*time.Millisecond))
		_, err = c.List(ctx, "")
		require.ErrorIs(t, err, client.ErrQuorum)
		require.ErrorIs(t, err, errRefused)
		assert.False(t, c.Health(ctx).Quorum)
		time.Sleep(time.Second)
		for _, n := range nodes {
			assert.Zero(t, n.rdb.Exists(ctx, "x").Val())
		}
	})
}

// Ensure that nodes that hang and come back are used again, and that what had been swallowed is gone.
func TestHungNodes_ComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		var v valve
		c := newClient(t, v.nodes(t, nodes))
		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		v.shut(true)
		_, err = c.TryLock(ctx, "y")
		require.ErrorIs(t, err, client.ErrQuorum)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		v.shut(false)
		time.Sleep(4 * time.Second)
		other, err := c.Lock(ctx, "y")
		require.NoError(t, err)
		require.NoError(t, l.Err(), "a renewal after the failure has saved it")
		require.NoError(t, other.Unlock(ctx))
		require.NoError(t, l.Unlock(ctx))
		time.Sleep(time.Second)
		nodes.assertClean(t, "x", "y")
	})
}

// Ensure that nodes that restart empty within a lease are repaired by its renewal, once quarantine is over.
func TestRestartedNodes_AreHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, started := memoryNodes(t, 5)
		ctx := context.Background()
		c := nodes.client(t)
		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		started[0].Restart()
		started[1].Restart()
		time.Sleep(10 * time.Minute)
		require.NoError(t, l.Err())
		held, _ := l.Nodes()
		assert.Equal(t, 5, held)
		require.NoError(t, l.Unlock(ctx))
		time.Sleep(time.Second)
		nodes.assertClean(t, "x")
	})
}
