package fencing

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// A resource is what a recipe protects, as its test sees it.
type resource struct {
	write func(text string, token int64) error
	read  func() string
}

// tellStory checks what every recipe promises, with the tokens 1 and 2 and with those of real leases. open
// returns a new resource each time. Each story waits for a real lease to end, so they go on beside each other.
func tellStory(t *testing.T, open func(t *testing.T) resource) {
	t.Parallel()
	t.Run("numbers", func(t *testing.T) {
		r := open(t)
		require.NoError(t, r.write("by A", 1))
		require.NoError(t, r.write("by A again", 1), "a holder may write more than once")
		// A is paused here, and its lease ends.
		require.NoError(t, r.write("by B", 2))
		require.ErrorIs(t, r.write("by A, late", 1), ErrStale)
		assert.Equal(t, "by B", r.read())
		require.NoError(t, r.write("by B", 2), "not even when nothing changes")
		require.NoError(t, r.write("by C", 9_007_199_254_740_991))
		require.ErrorIs(t, r.write("by B, late", 9_007_199_254_740_990), ErrStale)
		assert.Equal(t, "by C", r.read())
	})
	t.Run("leases", func(t *testing.T) {
		ctx := t.Context()
		r := open(t)
		locks := newClient(t)
		// Not shorter: within its ttl a lock must be had, over connections that are new, on a machine that may be busy.
		a, err := locks.Lock(ctx, "orders/42", client.WithoutRenew(), client.TTL(time.Second))
		require.NoError(t, err)
		require.NoError(t, r.write("by A", a.Token()))
		// A is paused here: it neither renews nor releases. B has the lock when A's lease is over.
		b, err := locks.Lock(ctx, "orders/42")
		require.NoError(t, err)
		require.NoError(t, r.write("by B", b.Token()))
		require.ErrorIs(t, r.write("by A, late", a.Token()), ErrStale)
		assert.Equal(t, "by B", r.read())
		assert.ErrorIs(t, a.Err(), client.ErrExpired)
		require.NoError(t, b.Unlock(ctx))
	})
}

// newClient returns a client of three nodes.
func newClient(t *testing.T) *client.Client {
	url := "redis://"
	for i, node := range servertest.StartCluster(t, 3) {
		if i > 0 {
			url += ","
		}
		url += node.Addr()
	}
	c, err := client.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// dialRedis returns a client of one server.
func dialRedis(t *testing.T, addr string) *redis.Client {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}
