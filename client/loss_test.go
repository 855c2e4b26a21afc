package client_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/clock/clocktest"
	"github.com/holdfast-dev/holdfast/redlock"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// A lossGround is what a loss happens to: one lease of the lock "x" on five nodes.
type lossGround struct {
	nodes   cluster
	started []*servertest.Node
	valve   *valve // between the holder and all nodes
	client  *client.Client
	lease   *client.Lease
}

// A loss is one way in which a lease ends.
type loss struct {
	lock   []client.LockOption
	client []client.Option
	play   func(t *testing.T, g *lossGround) // makes it happen; nil: time does
	cause  error                             // that of the lease's context
	// by is when the lease is over at the latest, from play on; guard is how long its lock stays.
	by, guard time.Duration
	regular   bool // Unlock succeeds, and nothing was lost
	theirs    bool // the lock is somebody else's by then
	hangs     bool // nodes hear of nothing before their ttl
	down      int  // so many nodes, the first, do not run any more
	node      server.Config
}

// validity is for how long a lease of the default ttl lasts without a renewal.
const validity = client.DefaultTTL - drift

// losses are all ways in which a lease can end.
var losses = map[string]loss{
	"expired":            {lock: []client.LockOption{client.WithoutRenew()}, cause: client.ErrExpired, by: validity},
	"expired, guarded":   {lock: []client.LockOption{client.WithoutRenew(), client.Guard(4 * time.Second)}, cause: client.ErrExpired, by: validity - 4*time.Second, guard: 4 * time.Second},
	"held long enough":   {lock: []client.LockOption{client.WithMaxHold(time.Minute)}, cause: client.ErrMaxHold, by: time.Minute},
	"held long, guarded": {lock: []client.LockOption{client.WithMaxHold(time.Minute), client.Guard(time.Second)}, cause: client.ErrMaxHold, by: 59 * time.Second, guard: time.Second},
	"stolen": {cause: client.ErrStolen, by: client.DefaultTTL / 3, theirs: true, play: func(t *testing.T, g *lossGround) {
		for _, n := range g.nodes[1:4] {
			require.NoError(t, n.rdb.Set(context.Background(), "x", "thief", time.Hour).Err())
		}
	}},
	"stolen, guarded": {lock: []client.LockOption{client.Guard(5 * time.Second)}, cause: client.ErrStolen, by: client.DefaultTTL / 3, theirs: true,
		play: func(t *testing.T, g *lossGround) {
			for _, n := range g.nodes {
				require.NoError(t, n.rdb.Set(context.Background(), "x", "thief", time.Hour).Err())
			}
		}},
	"forced": {cause: client.ErrForced, by: client.DefaultTTL / 3, play: func(t *testing.T, g *lossGround) {
		g.operate(t, func(q *redlock.Quorum, digest string) error {
			_, err := q.Force(context.Background(), "x", digest, "")
			return err
		})
	}},
	"evicted": {cause: client.ErrForced, by: client.DefaultTTL / 3, play: func(t *testing.T, g *lossGround) {
		g.operate(t, func(q *redlock.Quorum, digest string) error {
			_, err := q.Evict(context.Background(), "x", digest, "")
			return err
		})
	}},
	"evicted, guarded": {lock: []client.LockOption{client.Guard(2 * time.Second)}, cause: client.ErrForced, by: client.DefaultTTL / 3, guard: 2 * time.Second,
		play: func(t *testing.T, g *lossGround) {
			g.operate(t, func(q *redlock.Quorum, digest string) error {
				_, err := q.Evict(context.Background(), "x", digest, "")
				return err
			})
		}},
	"quorum stopped": {cause: client.ErrQuorum, by: validity, down: 3, play: func(t *testing.T, g *lossGround) {
		for _, n := range g.started[:3] {
			n.Stop()
		}
	}},
	"quorum forgot": {cause: client.ErrQuorum, by: validity, node: server.Config{Quarantine: time.Minute}, play: func(t *testing.T, g *lossGround) {
		for _, n := range g.started[:3] {
			n.Restart()
		}
	}},
	"quorum hangs": {cause: client.ErrQuorum, by: validity, hangs: true, play: func(t *testing.T, g *lossGround) { g.valve.shut(true) }},
	"quorum hangs, guarded": {lock: []client.LockOption{client.Guard(6 * time.Second)}, cause: client.ErrQuorum, by: validity - 6*time.Second, guard: 6 * time.Second,
		hangs: true, play: func(t *testing.T, g *lossGround) { g.valve.shut(true) }},
	"suspended": {cause: client.ErrExpired, by: time.Second, play: func(t *testing.T, g *lossGround) {
		clocktest.Suspend(t, client.DefaultTTL)
		assert.ErrorIs(t, g.lease.Err(), client.ErrExpired, "who looks knows at once")
		assert.Zero(t, g.lease.Remaining())
	}},
	"suspended, guarded": {lock: []client.LockOption{client.Guard(time.Second)}, cause: client.ErrExpired, by: time.Second, play: func(t *testing.T, g *lossGround) {
		clocktest.Suspend(t, client.DefaultTTL)
	}},
	"unlocked": {cause: client.ErrReleased, regular: true, play: func(t *testing.T, g *lossGround) {
		require.NoError(t, g.lease.Unlock(context.Background()))
	}},
	"closed": {cause: client.ErrReleased, regular: true, play: func(t *testing.T, g *lossGround) {
		require.NoError(t, g.client.Close(context.Background()))
	}},
	"detached": {cause: client.ErrClosed, hangs: true, play: func(t *testing.T, g *lossGround) {
		require.NoError(t, g.client.Detach(context.Background()))
	}},
}

// operate has an operator revoke the owner of the lock.
func (g *lossGround) operate(t *testing.T, revoke func(q *redlock.Quorum, digest string) error) {
	var links []redlock.Node
	for _, n := range g.nodes {
		links = append(links, n.node(t, nil))
	}
	q, err := redlock.New(links, redlock.Options{})
	require.NoError(t, err)
	require.NoError(t, revoke(q, redlock.Digest(g.lease.Handle().Value)))
	require.NoError(t, q.Close(context.Background()))
	for _, l := range links {
		l.(interface{ Close() error }).Close()
	}
}

// Ensure, for every way in which a lease can end, that its context ends in time and with the cause, Lost and
// Unlock say the same, and nothing is left at any node that can be reached, whether the lock was free or had to be
// waited for. A step of the wall clock, of client and nodes, changes nothing of that.
func TestLosses(t *testing.T) {
	type circumstances struct {
		waits bool
		step  time.Duration
	}
	for name, loss := range losses {
		for _, c := range []circumstances{{}, {waits: true}, {step: -time.Hour}, {waits: true, step: time.Hour}} {
			t.Run(fmt.Sprintf("%s/%+v", name, c), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { loss.happens(t, c.waits, c.step) })
			})
		}
	}
}

func (x loss) happens(t *testing.T, waits bool, step time.Duration) {
	ctx := context.Background()
	g := &lossGround{valve: &valve{}}
	g.nodes, g.started = memoryNodes(t, 5, servertest.WithConfig(x.node))
	time.Sleep(x.node.Quarantine)
	g.client = newClient(t, g.valve.nodes(t, g.nodes), x.client...)
	g.acquire(t, waits, x.lock)
	began := time.Now()
	clocktest.StepWall(t, step)
	if x.play != nil {
		x.play(t, g)
	}

	<-g.lease.Context().Done()
	assert.LessOrEqual(t, time.Since(began), x.by)
	cause := context.Cause(g.lease.Context())
	require.ErrorIs(t, cause, x.cause)
	assert.Equal(t, cause, g.lease.Err())
	assert.Zero(t, g.lease.Remaining())
	assert.ErrorIs(t, g.lease.Renew(ctx), x.cause)
	select {
	case <-g.lease.Lost():
		assert.False(t, x.regular, "a regular end is no loss")
	default:
		assert.True(t, x.regular, "Lost is closed")
	}
	time.Sleep(x.guard + 10*time.Millisecond)
	if x.guard == 0 && !x.hangs && !x.theirs {
		g.assertFree(t, x.down)
	}
	if x.regular {
		assert.NoError(t, g.lease.Unlock(ctx))
	} else {
		var lost *client.LossError
		require.ErrorAs(t, cause, &lost)
		assert.Equal(t, "x", lost.Name)
		assert.Equal(t, g.lease.Token(), lost.Token)
		assert.Equal(t, cause, g.lease.Unlock(ctx))
		assert.Equal(t, cause, g.lease.Unlock(ctx))
	}

	g.valve.shut(false)
	if x.hangs || x.theirs { // what a thief has not taken away of ours ends by itself
		time.Sleep(client.DefaultTTL)
	}
	time.Sleep(time.Second)
	g.assertFree(t, x.down)
}

// acquire takes the lock, after a wait in the nodes' queues if told so.
func (g *lossGround) acquire(t *testing.T, waits bool, opts []client.LockOption) {
	ctx := context.Background()
	if !waits {
		l, err := g.client.Lock(ctx, "x", opts...)
		require.NoError(t, err)
		g.lease = l
		return
	}
	before, err := g.nodes.client(t).Lock(ctx, "x")
	require.NoError(t, err)
	got := waiting(t, g.client, ctx, "x", opts...)
	require.NoError(t, before.Unlock(ctx))
	g.lease = <-got
	require.NotNil(t, g.lease)
}

// assertFree checks that no node that runs has anything of the lock but its fence, and of the thief what is his.
func (g *lossGround) assertFree(t *testing.T, down int) {
	t.Helper()
	synctest.Wait()
	ctx := context.Background()
	for _, n := range g.nodes[down:] {
		if n.rdb.Get(ctx, "x").Val() == "thief" {
			require.NoError(t, n.rdb.Del(ctx, "x").Err())
		}
		cluster{n}.assertClean(t, "x")
	}
}

// Ensure that a step of the wall clock ends no lease, forwards or back, however often: leases are renewed through
// it and end when they would have ended, the nodes keep their locks for as long as they would have, and tokens
// rise across it.
func TestWallStep_IsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		c := nodes.client(t)
		token := int64(0)
		for _, step := range []time.Duration{time.Hour, -time.Hour, -time.Hour, 26 * time.Hour, -72 * time.Hour, 365 * 24 * time.Hour} {
			renewed, err := c.Lock(ctx, "x")
			require.NoError(t, err, step)
			require.Greater(t, renewed.Token(), token, step)
			token = renewed.Token()
			alone, err := c.Lock(ctx, "y", client.WithoutRenew())
			require.NoError(t, err, step)
			began := time.Now()
			time.Sleep(2 * time.Second)
			before := renewed.Deadline()
			var ttls []time.Duration
			for _, n := range nodes {
				ttls = append(ttls, n.rdb.PTTL(ctx, "y").Val())
			}
			clocktest.StepWall(t, step)
			assert.Equal(t, step, renewed.Deadline().Sub(before).Round(time.Millisecond), "what it shows follows the wall clock")
			for i, n := range nodes {
				assert.Equal(t, ttls[i], n.rdb.PTTL(ctx, "y").Val(), step)
				assert.Greater(t, ttls[i], client.DefaultTTL-3*time.Second)
			}
			<-alone.Lost()
			assert.Equal(t, validity, time.Since(began), step)
			time.Sleep(time.Minute)
			require.NoError(t, renewed.Err(), step)
			held, _ := renewed.Nodes()
			assert.Equal(t, 5, held)
			require.NoError(t, renewed.Unlock(ctx))
			time.Sleep(time.Second)
			nodes.assertClean(t, "x", "y")
		}
	})
}

// Ensure the same where only the client's clock is wrong: redis-server has one of its own.
func TestWallStep_OfTheClientAlone(t *testing.T) {
	nodes := redisNodes(t, 3)
	ctx := context.Background()
	c := nodes.client(t)
	token := int64(0)
	for _, step := range []time.Duration{time.Hour, -2 * time.Hour, 26 * time.Hour, -72 * time.Hour, 0} {
		clocktest.StepWall(t, step)
		l, err := c.Lock(ctx, "x")
		require.NoError(t, err, step)
		require.Greater(t, l.Token(), token, step)
		token = l.Token()
		require.NoError(t, l.Renew(ctx))
		assert.Greater(t, l.Remaining(), validity/2)
		for _, n := range nodes {
			assert.LessOrEqual(t, n.rdb.PTTL(ctx, "x").Val(), client.DefaultTTL)
		}
		require.NoError(t, l.Unlock(ctx))
	}
	require.NoError(t, c.Close(ctx))
	nodes.assertClean(t, "x")
}

// Ensure that at a node, too, a ttl knows no step of the wall clock, also one that was given as a moment of the
// wall clock; that a moment given after the step is one of the new clock; and that waiters are served through it.
func TestWallStep_AtTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		rdb := nodes[0].rdb
		wall := func() time.Time { return rdb.Time(ctx).Val() }
		for _, step := range []time.Duration{time.Hour, -2 * time.Hour} {
			require.NoError(t, rdb.Set(ctx, "for", "v", 10*time.Second).Err())
			require.NoError(t, rdb.Set(ctx, "until", "v", redis.KeepTTL).Err())
			require.NoError(t, rdb.PExpireAt(ctx, "until", wall().Add(10*time.Second)).Err())
			shown := rdb.PExpireTime(ctx, "until").Val()
			held, err := a.Lock(ctx, "x")
			require.NoError(t, err)
			got := waiting(t, b, ctx, "x")

			before := wall()
			clocktest.StepWall(t, step)
			assert.Equal(t, step, wall().Sub(before))
			for _, key := range []string{"for", "until"} {
				assert.InDelta(t, 10*time.Second, rdb.PTTL(ctx, key).Val(), float64(50*time.Millisecond), key)
			}
			assert.InDelta(t, step, rdb.PExpireTime(ctx, "until").Val()-shown, float64(time.Millisecond))
			require.NoError(t, rdb.Set(ctx, "after", "v", redis.KeepTTL).Err())
			require.NoError(t, rdb.PExpireAt(ctx, "after", wall().Add(10*time.Second)).Err())
			assert.InDelta(t, 10*time.Second, rdb.PTTL(ctx, "after").Val(), float64(2*time.Millisecond))

			released := time.Now()
			require.NoError(t, held.Unlock(ctx))
			l := <-got
			require.NotNil(t, l)
			assert.Less(t, time.Since(released), shortly, "the place in the queue is live")
			require.NoError(t, l.Unlock(ctx))
			time.Sleep(10 * time.Second)
			assert.Zero(t, rdb.Exists(ctx, "for", "until", "after").Val())
			nodes.assertClean(t, "x")
		}
	})
}
