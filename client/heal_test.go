package client_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// wounds are ways in which nodes come to lack a lock that a majority has.
var wounds = map[string]struct {
	missed int // so many nodes, the first, had it with somebody else when it was taken
	lost   int // so many, the last, have it no more
}{
	"a minority missed it":              {missed: 2},
	"a minority lost it":                {lost: 2},
	"some missed it, others lost it":    {missed: 1, lost: 1},
	"a majority lost it":                {lost: 3},
	"it is nowhere":                     {lost: 5},
	"a minority missed it, one lost it": {missed: 2, lost: 1},
}

// wound takes the lock where it can be had, and takes it away as told. asked waits until all nodes were asked.
func (c cluster) wound(t *testing.T, cl *client.Client, missed, lost int, asked func(), opts ...client.LockOption) *client.Lease {
	ctx := context.Background()
	for _, n := range c[:missed] {
		require.NoError(t, n.rdb.Set(ctx, "x", "somebody else", 0).Err())
	}
	l, err := cl.Lock(ctx, "x", opts...)
	require.NoError(t, err)
	asked()
	require.Eventually(t, func() bool { held, _ := l.Nodes(); return held == len(c)-missed }, 10*time.Second, time.Millisecond)
	for _, n := range c[:missed] {
		require.NoError(t, n.rdb.Del(ctx, "x").Err())
	}
	for _, n := range c[len(c)-lost:] {
		require.NoError(t, n.rdb.Del(ctx, "x", redlock.Keys("x").Holder, redlock.Keys("x").Fence).Err())
	}
	return l
}

// assertHealed checks that each node has the lock of the lease, for its ttl, and a fence that protects its token.
func (c cluster) assertHealed(t *testing.T, l *client.Lease) {
	t.Helper()
	ctx := context.Background()
	held, all := l.Nodes()
	assert.Equal(t, all, held)
	for _, n := range c {
		assert.Equal(t, l.Handle().Value, n.rdb.Get(ctx, "x").Val())
		assert.Greater(t, n.rdb.PTTL(ctx, "x").Val(), l.TTL()/2)
		fence, err := n.rdb.Get(ctx, redlock.Keys("x").Fence).Int64()
		require.NoError(t, err)
		assert.Equal(t, l.Token(), fence)
		assert.EqualValues(t, 1, n.rdb.Exists(ctx, redlock.Keys("x").Holder).Val(), "others are told who holds it")
	}
}

// Ensure that nodes that missed a lock, or lost it, get it back with the next renewal while a majority still has
// it; and with the one after that, if those who had it were no majority any more: who is healed has no vote in
// that round. The lease lives on, and says how many nodes have it.
func TestLease_Healed(t *testing.T) {
	for name, wound := range wounds {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes, _ := memoryNodes(t, 5)
				began := time.Now()
				l := nodes.wound(t, nodes.client(t), wound.missed, wound.lost, func() { time.Sleep(time.Second) })
				time.Sleep(client.DefaultTTL/3 - time.Since(began))
				synctest.Wait()
				nodes.assertHealed(t, l)
				require.NoError(t, l.Err())
				if wound.missed+wound.lost >= 3 {
					assert.Less(t, l.Remaining(), validity-client.DefaultTTL/3+time.Millisecond, "that was no round that counts")
					time.Sleep(client.DefaultTTL / 12)
					synctest.Wait()
				}
				assert.Equal(t, validity, l.Remaining())
				require.NoError(t, l.Unlock(context.Background()))
				time.Sleep(time.Second)
				nodes.assertClean(t, "x")
			})
		})
	}
}

// Ensure the same on redis-server, by renewals of the holder's own.
func TestLease_HealedOnRedis(t *testing.T) {
	nodes := redisNodes(t, 5)
	ctx := context.Background()
	for name, wound := range wounds {
		t.Run(name, func(t *testing.T) {
			c := nodes.client(t)
			for _, n := range nodes {
				require.NoError(t, n.rdb.ConfigResetStat(ctx).Err())
			}
			asked := func() {
				for _, n := range nodes {
					require.Eventually(t, func() bool {
						return strings.Contains(n.rdb.Info(ctx, "commandstats").Val(), "cmdstat_evalsha")
					}, 10*time.Second, time.Millisecond)
				}
			}
			l := nodes.wound(t, c, wound.missed, wound.lost, asked, client.WithoutRenew())
			err := l.Renew(ctx)
			if wound.missed+wound.lost >= 3 {
				require.ErrorIs(t, err, client.ErrQuorum)
				require.NoError(t, l.Renew(ctx))
			} else {
				require.NoError(t, err)
			}
			require.Eventually(t, func() bool { held, all := l.Nodes(); return held == all }, 10*time.Second, time.Millisecond)
			nodes.assertHealed(t, l)
			require.NoError(t, l.Unlock(ctx))
			nodes.assertClean(t, "x")
			require.NoError(t, c.Close(ctx))
		})
	}
}
