package client_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// Ensure that a guard is refused beyond its limits, by New for the client's ttl and by each call for its own, and
// that nothing was taken by a call that is refused.
func TestGuard_Limits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		c := nodes.client(t, client.WithTTL(10*time.Second), client.WithGuard(5*time.Second))
		for _, test := range []struct {
			ttl, guard time.Duration
			ok         bool
		}{
			{10 * time.Second, 0, true},
			{10 * time.Second, -1, false},
			{10 * time.Second, 5 * time.Second, true},
			{10 * time.Second, 5*time.Second + 1, false},
			{20 * time.Second, 10 * time.Second, true},
			{redlock.MinTTL, redlock.MinTTL / 2, true},
			{redlock.MinTTL, redlock.MinTTL/2 + 1, false},
		} {
			l, err := c.TryLock(ctx, "x", client.TTL(test.ttl), client.Guard(test.guard))
			if !test.ok {
				require.ErrorIs(t, err, client.ErrInvalid, test)
				_, err = c.Lock(ctx, "x", client.TTL(test.ttl), client.Guard(test.guard))
				require.ErrorIs(t, err, client.ErrInvalid, test)
				nodes.assertClean(t, "x")
				continue
			}
			require.NoError(t, err, test)
			if test.ttl > time.Second {
				assert.Equal(t, test.ttl-redlock.DefaultDrift(test.ttl)-test.guard, l.Remaining(), test)
			}
			l.Unlock(ctx)
			time.Sleep(time.Second)
		}
		_, err := c.Lock(ctx, "x", client.TTL(8*time.Second))
		require.ErrorIs(t, err, client.ErrInvalid, "the client's guard is too long for this ttl")

		var links []redlock.Node
		for _, n := range nodes {
			links = append(links, n.node(t, nil))
		}
		_, err = client.New(links, client.WithTTL(10*time.Second), client.WithGuard(5*time.Second+1))
		require.ErrorIs(t, err, client.ErrInvalid)
		sloppy := redlock.Options{Drift: func(ttl time.Duration) time.Duration { return ttl / 2 }}
		_, err = client.New(links, client.WithTTL(10*time.Second), client.WithGuard(5*time.Second), client.WithProtocol(sloppy))
		require.ErrorIs(t, err, client.ErrInvalid, "the drift leaves nothing")
	})
}

// Ensure that a longest hold is refused when it is none, shorter than any ttl, or no longer than the guard.
func TestWithMaxHold_Limits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		c := nodes.client(t)
		for _, test := range []struct {
			hold, guard time.Duration
			ok          bool
		}{
			{0, 0, false},
			{-time.Second, 0, false},
			{redlock.MinTTL - 1, 0, false},
			{redlock.MinTTL, 0, true},
			{time.Second, time.Second, false},
			{time.Second + 1, time.Second, true},
			{time.Hour, 0, true},
			{math.MaxInt64, 0, true},
			{math.MaxInt64, time.Second, true},
		} {
			l, err := c.TryLock(ctx, "x", client.WithMaxHold(test.hold), client.Guard(test.guard))
			if !test.ok {
				require.ErrorIs(t, err, client.ErrInvalid, test)
				nodes.assertClean(t, "x")
				continue
			}
			require.NoError(t, err, test)
			require.NoError(t, l.Err(), test)
			l.Unlock(ctx)
			time.Sleep(time.Second)
		}
	})
}

// Ensure that a lease with a longest hold is renewed for as long as that needs and not longer, ends then for its
// holder and at all nodes, with its own cause, and that a resumed one counts from its resumption.
func TestWithMaxHold(t *testing.T) {
	for name, test := range map[string]struct{ hold, ends time.Duration }{
		"shorter than the ttl":       {4 * time.Second, 4 * time.Second},
		"up to the validity end":     {client.DefaultTTL - drift, client.DefaultTTL - drift},
		"a moment longer":            {client.DefaultTTL - drift + 1, client.DefaultTTL - drift + 1},
		"between two renewals":       {client.DefaultTTL + 7*time.Second, client.DefaultTTL + 7*time.Second},
		"at the moment of a renewal": {20 * time.Second, 20 * time.Second},
		"many times the ttl":         {10 * time.Minute, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes, _ := memoryNodes(t, 5)
				ctx := context.Background()
				c := nodes.client(t)
				l, err := c.Lock(ctx, "x", client.WithMaxHold(test.hold))
				require.NoError(t, err)
				began := time.Now()
				var next *client.Lease
				got := waiting(t, nodes.client(t), ctx, "x")
				cause, _ := lossOf(t, l)
				assert.Equal(t, test.ends, time.Since(began))
				require.ErrorIs(t, cause, client.ErrMaxHold)
				require.ErrorIs(t, cause, client.ErrExpired)
				require.ErrorIs(t, l.Renew(ctx), client.ErrMaxHold)
				next = <-got
				require.NotNil(t, next)
				assert.Less(t, time.Since(began)-test.ends, shortly, "it was released, not left to its ttl")
				require.NoError(t, next.Unlock(ctx))
				time.Sleep(time.Second)
				nodes.assertClean(t, "x")
			})
		})
	}
	t.Run("resumed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			nodes, _ := memoryNodes(t, 5)
			ctx := context.Background()
			l, err := nodes.client(t).Lock(ctx, "x", client.WithoutRenew())
			require.NoError(t, err)
			time.Sleep(5 * time.Second)
			_, err = nodes.client(t).Resume(ctx, l.Handle(), client.WithMaxHold(0))
			require.ErrorIs(t, err, client.ErrInvalid)
			resumed, err := nodes.client(t).Resume(ctx, l.Handle(), client.WithMaxHold(time.Minute))
			require.NoError(t, err)
			cause, after := lossOf(t, resumed)
			require.ErrorIs(t, cause, client.ErrMaxHold)
			assert.Equal(t, time.Minute, after)
		})
	})
}

// Ensure that with a guard the context ends before the lock, which nobody gets before it would have ended
// without one, unless the holder unlocks it.
func TestGuard(t *testing.T) {
	const guard = 4 * time.Second
	for name, test := range map[string]struct {
		opts   []client.LockOption
		want   error
		over   time.Duration // when the lock is over
		unlock bool
	}{
		"expiry":   {[]client.LockOption{client.WithoutRenew()}, client.ErrExpired, client.DefaultTTL - drift, false},
		"max hold": {[]client.LockOption{client.WithMaxHold(time.Minute)}, client.ErrMaxHold, time.Minute, false},
		"unlocked": {[]client.LockOption{client.WithMaxHold(time.Minute)}, client.ErrMaxHold, time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes, _ := memoryNodes(t, 5)
				ctx := context.Background()
				l, err := nodes.client(t, client.WithGuard(guard)).Lock(ctx, "x", test.opts...)
				require.NoError(t, err)
				began := time.Now()
				assert.WithinDuration(t, began.Add(l.Remaining()), l.Deadline(), time.Millisecond)
				got := waiting(t, nodes.client(t), ctx, "x")
				<-l.Context().Done()
				assert.Equal(t, test.over-guard, time.Since(began))
				require.ErrorIs(t, context.Cause(l.Context()), test.want)
				require.ErrorIs(t, l.Renew(ctx), test.want, "a lease that is over stays over")
				if test.unlock {
					require.ErrorIs(t, l.Unlock(ctx), test.want)
				}
				next := <-got
				require.NotNil(t, next)
				switch after := time.Since(began); {
				case test.unlock:
					assert.Less(t, after, test.over-guard+shortly, "the work has stopped")
				default:
					assert.GreaterOrEqual(t, after, test.over)
					assert.Less(t, after, test.over+shortly)
				}
				require.ErrorIs(t, l.Unlock(ctx), test.want)
				require.NoError(t, next.Err(), "a late Unlock does not touch the next lease")
				require.NoError(t, next.Unlock(ctx))
				time.Sleep(time.Second)
				nodes.assertClean(t, "x")
			})
		})
	}
}

// Ensure that a renewal that succeeds within the guard, too late for the lease, does not keep the lock.
func TestGuard_LateRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		var v valve
		c := newClient(t, v.nodes(t, nodes), client.WithGuard(5*time.Second), client.WithTimeout(time.Minute))
		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		began := time.Now()
		time.Sleep(4 * time.Second)
		v.slow(6 * time.Second) // the renewal, sent after 5 s, is answered after 11 s
		<-l.Context().Done()
		assert.Equal(t, client.DefaultTTL-drift-5*time.Second, time.Since(began))
		v.slow(0)
		next, err := nodes.client(t).Lock(ctx, "x")
		require.NoError(t, err)
		assert.InDelta(t, client.DefaultTTL, time.Since(began), float64(500*time.Millisecond))
		require.NoError(t, next.Unlock(ctx))
		time.Sleep(time.Second)
		nodes.assertClean(t, "x")
	})
}

// Ensure that the lock of an evicted lease stays for the guard, in which its work stops, and no longer; that an
// Unlock, which says that it has stopped, frees it before; and that without a guard it is free at once.
func TestGuard_Evicted(t *testing.T) {
	const guard = 2 * time.Second
	for name, test := range map[string]struct {
		guard  time.Duration
		unlock bool
	}{"work goes on": {guard: guard}, "work stops": {guard: guard, unlock: true}, "no guard": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes, _ := memoryNodes(t, 5)
				ctx := context.Background()
				l, err := nodes.client(t).Lock(ctx, "x", client.Guard(test.guard))
				require.NoError(t, err)
				held := func() (n int64) {
					synctest.Wait()
					for _, node := range nodes {
						n += node.rdb.Exists(ctx, "x").Val()
					}
					return n
				}
				time.Sleep(time.Second)
				_, err = nodes.client(t).Evict(ctx, "x", "test")
				require.NoError(t, err)
				<-l.Context().Done()
				require.ErrorIs(t, l.Err(), client.ErrForced)
				if test.guard > 0 {
					time.Sleep(test.guard - time.Millisecond)
					assert.EqualValues(t, 5, held(), "its work may not have stopped")
				}
				if test.unlock {
					require.ErrorIs(t, l.Unlock(ctx), client.ErrForced)
				} else {
					time.Sleep(10 * time.Millisecond)
				}
				assert.Zero(t, held())
				require.ErrorIs(t, l.Unlock(ctx), client.ErrForced)
			})
		})
	}
}
