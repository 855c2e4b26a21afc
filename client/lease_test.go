package client_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// drift is what the protocol takes off a ttl of 15 s, the client's default.
const drift = 15*time.Second/100 + 2*time.Millisecond

// Ensure that a lease is renewed until it is released, many times its ttl, with one token.
func TestLease_RenewedByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		c := nodes.client(t)
		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		token := l.Token()
		for range 100 {
			time.Sleep(5 * time.Second)
			synctest.Wait() // for the renewal of this very moment
			require.NoError(t, l.Err())
			require.GreaterOrEqual(t, l.Remaining(), 2*client.DefaultTTL/3-drift)
			assert.WithinDuration(t, time.Now().Add(l.Remaining()), l.Deadline(), time.Millisecond)
		}
		assert.Equal(t, token, l.Token())
		held, all := l.Nodes()
		assert.Equal(t, 5, held)
		assert.Equal(t, 5, all)
		require.NoError(t, l.Unlock(ctx))
		assert.Zero(t, l.Remaining())
		time.Sleep(time.Second)
		nodes.assertClean(t, "x")
	})
}

// Ensure that the wait's context is not the lease's life: its end ends nothing, its values are carried on.
func TestLease_OutlivesTheWaitsContext(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		c := nodes.client(t)
		wait, cancel := context.WithTimeout(context.WithValue(context.Background(), key{}, "trace"), time.Second)
		l, err := c.Lock(wait, "x")
		require.NoError(t, err)
		cancel()
		time.Sleep(time.Minute)
		require.NoError(t, l.Err())
		require.NoError(t, l.Context().Err())
		_, bounded := l.Context().Deadline()
		assert.False(t, bounded)
		assert.Equal(t, "trace", l.Context().Value(key{}))
		require.NoError(t, l.Unlock(wait), "Unlock needs no live context")
		time.Sleep(time.Second)
		nodes.assertClean(t, "x")
	})
}

// lossOf waits for the end of a lease and returns its cause and when it was.
func lossOf(t *testing.T, l *client.Lease) (cause error, after time.Duration) {
	t.Helper()
	began := time.Now()
	<-l.Lost()
	<-l.Context().Done()
	after = time.Since(began)
	cause = context.Cause(l.Context())
	require.Equal(t, cause, l.Err())
	var loss *client.LossError
	require.ErrorAs(t, cause, &loss)
	assert.Equal(t, l.Token(), loss.Token)
	// Unlock says that the lease was lost, as often as it is asked.
	require.Equal(t, cause, l.Unlock(context.Background()))
	require.Equal(t, cause, l.Unlock(context.Background()))
	return cause, after
}

// Ensure that a lease without renewal ends at its validity end, which its holder's own renewals move.
func TestLease_Expires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		c := nodes.client(t)
		l, err := c.Lock(ctx, "x", client.WithoutRenew())
		require.NoError(t, err)
		for range 5 {
			time.Sleep(10 * time.Second)
			require.NoError(t, l.Renew(ctx))
		}
		cause, after := lossOf(t, l)
		require.ErrorIs(t, cause, client.ErrExpired)
		assert.Equal(t, client.DefaultTTL-drift, after)
		require.ErrorIs(t, l.Renew(ctx), client.ErrExpired)
		next, err := c.TryLock(ctx, "x")
		require.NoError(t, err, "what was lost is released")
		require.NoError(t, next.Unlock(ctx))
		time.Sleep(time.Second)
		nodes.assertClean(t, "x")
	})
}

// Ensure that a holder learns at its next renewal that its lock is with somebody else.
func TestLease_Stolen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		l, err := nodes.client(t).Lock(ctx, "x")
		require.NoError(t, err)
		for _, n := range nodes[:3] {
			require.NoError(t, n.rdb.Set(ctx, "x", "thief", time.Hour).Err())
		}
		cause, after := lossOf(t, l)
		require.ErrorIs(t, cause, client.ErrStolen)
		assert.Equal(t, client.DefaultTTL/3, after)
		time.Sleep(time.Second)
		for _, n := range nodes {
			value, _ := n.rdb.Get(ctx, "x").Result()
			assert.Contains(t, []string{"thief", ""}, value)
		}
	})
}

// Ensure that a lease lives through the loss of a minority and ends in time with the loss of the quorum.
func TestLease_QuorumGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, started := memoryNodes(t, 5)
		ctx := context.Background()
		l, err := nodes.client(t).Lock(ctx, "x")
		require.NoError(t, err)
		started[0].Stop()
		started[1].Stop()
		time.Sleep(61 * time.Second) // not at the moment of a renewal
		require.NoError(t, l.Err())
		held, _ := l.Nodes()
		assert.GreaterOrEqual(t, held, 3)

		remaining := l.Remaining()
		started[2].Stop()
		cause, after := lossOf(t, l)
		require.ErrorIs(t, cause, client.ErrQuorum)
		assert.LessOrEqual(t, after, remaining)
		var node *client.NodeError
		require.ErrorAs(t, cause, &node, "the error of a node is reached")
	})
}

// Ensure that the context ends at the validity end although the renewal that could tell hangs.
func TestLease_EndsWhileCallsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		var valve valve
		c := newClient(t, valve.nodes(t, nodes), client.WithTimeout(time.Minute))
		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		valve.shut(true)
		cause, after := lossOf(t, l)
		assert.Equal(t, client.DefaultTTL-drift, after)
		require.Error(t, cause)
		valve.shut(false)
	})
}

// Ensure that an operator who revokes the owner ends the lease with ErrForced at its next renewal.
func TestLease_Forced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		c := nodes.client(t)
		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		state, err := c.Inspect(ctx, "x")
		require.NoError(t, err)
		var links []redlock.Node
		for _, n := range nodes {
			links = append(links, n.node(t, nil))
		}
		operator, err := redlock.New(links, redlock.Options{})
		require.NoError(t, err)
		_, err = operator.Force(ctx, "x", state.Holder.Digest, "")
		require.NoError(t, err)
		cause, after := lossOf(t, l)
		require.ErrorIs(t, cause, client.ErrForced)
		assert.Equal(t, client.DefaultTTL/3, after)
		for _, n := range links {
			n.(interface{ Close() error }).Close()
		}
	})
}

// Ensure that Unlock is idempotent, also for callers at the same time, and that the regular end is no loss.
func TestLease_UnlockIsIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		c := nodes.client(t)
		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { assert.NoError(t, l.Unlock(ctx)) })
		}
		wg.Wait()
		next, err := c.TryLock(ctx, "x")
		require.NoError(t, err)
		require.NoError(t, l.Unlock(ctx))
		require.NoError(t, next.Err(), "a late Unlock does not touch the next lease")
		require.ErrorIs(t, l.Err(), client.ErrReleased)
		require.ErrorIs(t, context.Cause(l.Context()), client.ErrReleased)
		require.ErrorIs(t, l.Renew(ctx), client.ErrReleased)
		select {
		case <-l.Lost():
			t.Error("a released lease is not lost")
		default:
		}
		require.NoError(t, next.Unlock(ctx))
	})
}

// Ensure that Unlock without a quorum ends the lease at once and says that nobody confirmed.
func TestLease_UnlockWithoutQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, started := memoryNodes(t, 3)
		l, err := nodes.client(t).Lock(context.Background(), "x")
		require.NoError(t, err)
		started[0].Stop()
		started[1].Stop()
		require.ErrorIs(t, l.Unlock(context.Background()), client.ErrQuorum)
		require.ErrorIs(t, l.Err(), client.ErrReleased)
	})
}

// Ensure that Do gives its function the lock, ends its context with the outer one or with the lease, joins a
// loss into its error, and releases when the function fails or panics.
func TestDo(t *testing.T) {
	work := errors.New("work failed")
	bored := errors.New("bored")
	for name, test := range map[string]struct {
		steal  bool
		cancel bool
		f      func(ctx context.Context, l *client.Lease) error
		want   []error
		panics bool
	}{
		"ok":     {f: func(_ context.Context, l *client.Lease) error { return l.Err() }},
		"error":  {f: func(context.Context, *client.Lease) error { return work }, want: []error{work}},
		"panic":  {f: func(context.Context, *client.Lease) error { panic("boom") }, panics: true},
		"cancel": {cancel: true, f: func(ctx context.Context, _ *client.Lease) error { <-ctx.Done(); return context.Cause(ctx) }, want: []error{bored}},
		"loss": {steal: true, f: func(ctx context.Context, _ *client.Lease) error { <-ctx.Done(); return context.Cause(ctx) },
			want: []error{client.ErrStolen}},
		"loss unnoticed": {steal: true, f: func(ctx context.Context, _ *client.Lease) error { time.Sleep(time.Minute); return work },
			want: []error{client.ErrStolen, work}},
		"loss swallowed": {steal: true, f: func(ctx context.Context, _ *client.Lease) error { <-ctx.Done(); return nil },
			want: []error{client.ErrStolen}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes, _ := memoryNodes(t, 5)
				c := nodes.client(t)
				ctx, cancel := context.WithCancelCause(context.Background())
				defer cancel(nil)
				var inner *client.Lease
				do := func() error {
					return c.Do(ctx, "x", func(ctx context.Context, l *client.Lease) error {
						inner = l
						if test.steal {
							for _, n := range nodes {
								n.rdb.Set(ctx, "x", "thief", 0)
							}
						}
						if test.cancel {
							time.AfterFunc(time.Second, func() { cancel(bored) })
						}
						return test.f(ctx, l)
					})
				}
				if test.panics {
					assert.PanicsWithValue(t, "boom", func() { do() })
				} else {
					err := do()
					for _, want := range test.want {
						require.ErrorIs(t, err, want)
					}
					if len(test.want) == 0 {
						require.NoError(t, err)
					}
				}
				require.Error(t, inner.Context().Err())
				if !test.steal {
					time.Sleep(time.Second)
					nodes.assertClean(t, "x")
				}
			})
		})
	}
}

// Ensure that a lease can be taken up from its handle by another process, and only while it is whole.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		first, second := nodes.client(t), nodes.client(t)
		stored := ""
		l, err := first.Lock(ctx, "x", client.WithoutRenew(), client.BeforeSend(func(v string) error { stored = v; return nil }))
		require.NoError(t, err)
		h := l.Handle()
		assert.Equal(t, stored, h.Value)

		wrong := h
		wrong.Token++
		_, err = second.Resume(ctx, wrong)
		require.Error(t, err)

		l, err = first.Lock(ctx, "y", client.WithoutRenew())
		require.NoError(t, err)
		h = l.Handle()
		resumed, err := second.Resume(ctx, h)
		require.NoError(t, err)
		assert.Equal(t, h.Token, resumed.Token())
		time.Sleep(time.Minute)
		require.NoError(t, resumed.Err(), "it is renewed")
		require.NoError(t, resumed.Unlock(ctx))
		_, err = second.Resume(ctx, h)
		require.ErrorIs(t, err, redlock.ErrLost)
	})
}

// Ensure that Close releases what is held, ends what waits, and leaves no subscription; a second call and
// later use do no harm.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		l, err := a.Lock(ctx, "x")
		require.NoError(t, err)
		other, err := b.Lock(ctx, "y")
		require.NoError(t, err)
		waited := make(chan error, 2)
		for range 2 { // one on the nodes, one in the local line
			go func() {
				_, err := a.Lock(ctx, "y")
				waited <- err
			}()
		}
		time.Sleep(time.Second)
		require.NoError(t, a.Close(ctx))
		require.ErrorIs(t, context.Cause(l.Context()), client.ErrReleased)
		for range 2 {
			require.ErrorIs(t, <-waited, client.ErrClosed)
		}
		_, err = a.Lock(ctx, "x")
		require.ErrorIs(t, err, client.ErrClosed)
		_, err = a.TryLock(ctx, "x")
		require.ErrorIs(t, err, client.ErrClosed)
		_, err = a.List(ctx, "")
		require.ErrorIs(t, err, client.ErrClosed)
		require.NoError(t, a.Close(ctx))
		require.NoError(t, other.Unlock(ctx))
		synctest.Wait()
		for _, n := range nodes {
			channels, err := n.rdb.PubSubChannels(ctx, "*").Result()
			require.NoError(t, err)
			assert.Empty(t, channels)
		}
		nodes.assertClean(t, "x", "y")
	})
}

// Ensure that Detach leaves the locks to their ttl, takes waiters out of the queues, and ends all leases here.
func TestClient_Detach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		a, b := nodes.client(t), nodes.client(t)
		ctx := context.Background()
		renewed, err := a.Lock(ctx, "x", client.TTL(3*time.Second))
		require.NoError(t, err)
		other, err := b.Lock(ctx, "y")
		require.NoError(t, err)
		got := waiting(t, a, ctx, "y")
		time.Sleep(2 * time.Second) // it is in the queues, and x was renewed

		require.NoError(t, a.Detach(ctx))
		assert.Nil(t, <-got)
		assert.ErrorIs(t, context.Cause(renewed.Context()), client.ErrClosed)
		assert.ErrorIs(t, renewed.Err(), client.ErrClosed)
		state, err := b.Inspect(ctx, "y")
		require.NoError(t, err)
		assert.Zero(t, state.Waiting)
		_, err = b.TryLock(ctx, "x")
		require.ErrorIs(t, err, client.ErrHeld, "somebody believes in it")
		assert.NoError(t, a.Close(ctx))
		_, err = b.TryLock(ctx, "x")
		require.ErrorIs(t, err, client.ErrHeld, "a later Close releases nothing either")

		began := time.Now()
		l, err := b.Lock(ctx, "x")
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Since(began), 3*time.Second+shortly)
		require.NoError(t, l.Unlock(ctx))
		require.NoError(t, other.Unlock(ctx))
	})
}
