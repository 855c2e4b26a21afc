package client_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// errBored is the cause of a wait that somebody ended.
var errBored = errors.New("bored")

// A crowd of waiters, each of a client of its own or of a shared one.
type waitPlan struct {
	Client int           // of which
	Begins time.Duration // from the start
	Waits  time.Duration // until it is cancelled
	Holds  time.Duration // if it gets the lock
}

type cancelPlan struct {
	Nodes, Hung int // the last Hung nodes hang all the time
	Holds       time.Duration
	Outlasts    bool // the holder outlasts all who wait: none of them is woken, which would make it tidy up
	Waiters     []waitPlan
}

// cancelPlans draws plans in which everything may meet everything: cancellations on the way to the first answer, in
// the local line, while the subscriptions are made, between attempts, in the moment of a release.
func cancelPlans() *rapid.Generator[cancelPlan] {
	return rapid.Custom(func(t *rapid.T) cancelPlan {
		moment := rapid.OneOf(
			rapid.Just(time.Duration(0)),
			rapid.Map(rapid.Int64Range(0, 5000), func(us int64) time.Duration { return time.Duration(us) * time.Microsecond }),
			rapid.Map(rapid.Int64Range(0, 4000), func(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }))
		waiter := rapid.Custom(func(t *rapid.T) waitPlan {
			return waitPlan{rapid.IntRange(0, 2).Draw(t, "client"), moment.Draw(t, "begins"), moment.Draw(t, "waits"), moment.Draw(t, "holds")}
		})
		p := cancelPlan{Nodes: rapid.SampledFrom([]int{1, 3, 5}).Draw(t, "nodes"), Holds: moment.Draw(t, "holds"),
			Outlasts: rapid.Bool().Draw(t, "outlasts")}
		p.Hung = rapid.IntRange(0, (p.Nodes-1)/2).Draw(t, "hung")
		p.Waiters = rapid.SliceOfN(waiter, 1, 5).Draw(t, "waiters")
		return p
	})
}

// run has the plan happen. Answers of nodes take a while, so that there is time for a cancellation to fall into.
func (p cancelPlan) run(t *testing.T) {
	ctx := context.Background()
	nodes, _ := memoryNodes(t, p.Nodes)
	well := p.Nodes - p.Hung
	slow, hung := &valve{delay: 700 * time.Microsecond}, &valve{closed: true}
	connect := func() *client.Client {
		return newClient(t, append(slow.nodes(t, nodes[:well]), hung.nodes(t, nodes[well:])...))
	}
	holder, clients := connect(), []*client.Client{connect(), connect(), connect()}
	var wg sync.WaitGroup
	held, err := holder.Lock(ctx, "x")
	require.NoError(t, err)
	if !p.Outlasts {
		wg.Go(func() {
			time.Sleep(p.Holds)
			assert.NoError(t, held.Unlock(ctx))
		})
	}
	for _, w := range p.Waiters {
		wg.Go(func() {
			time.Sleep(w.Begins)
			wait, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			time.AfterFunc(w.Waits, func() { cancel(errBored) })
			l, err := clients[w.Client].Lock(wait, "x")
			if err != nil {
				assert.Nil(t, l)
				assert.ErrorIs(t, err, context.Canceled)
				assert.ErrorIs(t, err, errBored)
				return
			}
			time.Sleep(w.Holds)
			assert.NoError(t, l.Unlock(ctx))
		})
	}
	wg.Wait()
	time.Sleep(shortly) // less than any ttl or heartbeat: what is gone by then was taken away
	for _, n := range nodes[:well] {
		assert.Zero(t, n.rdb.ZCard(ctx, redlock.Keys("x").Waiters).Val(), "a place in the queue is left")
	}
	assert.NoError(t, held.Unlock(ctx))
	time.Sleep(shortly)
	nodes[:well].assertClean(t, "x")
}

// Ensure that a wait that is cancelled at whatever moment returns the context's error and cause, or the lock, and
// leaves no lock and no place in a queue at any node that can be reached.
func TestLock_CancelledAnywhere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p, failed := cancelPlans().Draw(rt, "plan"), false
		synctest.Test(t, func(t *testing.T) {
			p.run(t)
			failed = t.Failed()
		})
		if failed {
			rt.FailNow()
		}
	})
}

// Ensure the same on redis-server, whose answers take the time that they take.
func TestLock_CancelledAnywhereOnRedis(t *testing.T) {
	nodes := redisNodes(t, 5)
	ctx := context.Background()
	holder, clients := nodes.client(t), []*client.Client{nodes.client(t), nodes.client(t)}
	k := redlock.Keys("x")
	left := func(keys ...string) (n int64) {
		for _, node := range nodes {
			n += node.rdb.Exists(ctx, keys...).Val()
		}
		return n
	}
	for round := range 30 {
		held, err := holder.Lock(ctx, "x")
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i := range 6 {
			wait, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(rand.N(8*time.Millisecond), func() { cancel(errBored) })
			wg.Go(func() {
				l, err := clients[i%2].Lock(wait, "x")
				if err != nil {
					assert.ErrorIs(t, err, context.Canceled)
					assert.ErrorIs(t, err, errBored)
					return
				}
				assert.NoError(t, l.Unlock(ctx))
			})
		}
		if round%2 == 0 {
			time.AfterFunc(rand.N(6*time.Millisecond), func() { held.Unlock(ctx) })
		}
		wg.Wait()
		// Sooner than the heartbeat, after which entries end by themselves.
		require.Eventually(t, func() bool { return left(k.Waiters) == 0 }, 3*time.Second, time.Millisecond)
		require.NoError(t, held.Unlock(ctx))
	}
	require.Eventually(t, func() bool { return left(k.Lock, k.Holder, k.Waiters) == 0 }, 3*time.Second, 5*time.Millisecond)
}
