package client_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A muteConn lets everything through to the node and, while mute is set, nothing of what it answers.
type muteConn struct {
	net.Conn
	mute *atomic.Bool
	dead bool // an answer was lost: nothing sensible can follow
}

func (c *muteConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.dead && !c.mute.Load() {
			return n, err
		}
		c.dead = true
	}
}

// Ensure that what a client had at nodes that were cut off is cleaned when they are back, without anybody asking:
// a lock whose grant was not heard of and whose release was refused, and a place in a queue.
func TestLink_CleansWhenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		var mute atomic.Bool
		var all []redlock.Node
		for _, n := range nodes {
			all = append(all, n.node(t, func(conn net.Conn) net.Conn { return &muteConn{Conn: conn, mute: &mute} }))
		}
		c := newClient(t, all)
		other := nodes.client(t)
		warm, err := c.Lock(ctx, "warm")
		require.NoError(t, err)
		require.NoError(t, warm.Unlock(ctx))
		held, err := other.Lock(ctx, "y", client.TTL(4*time.Minute))
		require.NoError(t, err)
		wait, cancel := context.WithCancel(ctx)
		got := waiting(t, c, wait, "y")

		mute.Store(true)
		_, err = c.TryLock(ctx, "x", client.TTL(4*time.Minute))
		require.ErrorIs(t, err, client.ErrQuorum)
		cancel()
		require.Nil(t, <-got)
		time.Sleep(3 * time.Second)
		left := int64(0)
		for _, n := range nodes {
			left += n.rdb.Exists(ctx, "x").Val()
		}
		require.Positive(t, left, "the acquire was executed")
		mute.Store(false)
		time.Sleep(5 * time.Second) // the longest pause of a link
		for _, n := range nodes {
			assert.Zero(t, n.rdb.Exists(ctx, "x").Val(), "the lock was released")
			assert.Zero(t, n.rdb.ZCard(ctx, redlock.Keys("y").Waiters).Val(), "the queue was left")
		}
		require.NoError(t, held.Unlock(ctx))
	})
}
