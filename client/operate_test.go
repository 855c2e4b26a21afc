package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A journal is a log that several goroutines write and a test reads.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() client.Option {
	return client.WithLogger(slog.New(slog.NewTextHandler(j, nil)))
}

// Ensure that an evicted holder learns of it, and why, at its next renewal, and that both sides log it.
func TestEvict(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		var theirs, ours journal
		holder := nodes.client(t, theirs.logger(), client.WithTTL(time.Minute))
		operator := nodes.client(t, ours.logger())
		l, err := holder.Lock(ctx, "x", client.Owner("w1"), client.Meta(map[string]string{"job": "j"}))
		require.NoError(t, err)
		began := time.Now()
		r, err := operator.Evict(ctx, "x", "stuck since noon")
		require.NoError(t, err)
		require.Len(t, r.Owners, 1)
		assert.Equal(t, "w1", r.Owners[0].Label)
		assert.Equal(t, `{"job":"j"}`, r.Owners[0].Meta)
		assert.Equal(t, l.Token(), r.Owners[0].Token)
		assert.True(t, r.Over.After(began) && r.Over.Before(time.Now().Add(time.Minute)), "by the holder's ttl, not the operator's")

		require.ErrorIs(t, l.Renew(ctx), client.ErrForced)
		cause := context.Cause(l.Context())
		require.ErrorIs(t, cause, client.ErrForced)
		var forced *client.ForcedError
		require.ErrorAs(t, cause, &forced)
		assert.Equal(t, client.ForcedError{Name: "x", Reason: "stuck since noon", Evicted: true}, *forced)
		next, err := operator.Lock(ctx, "x")
		require.NoError(t, err)
		assert.Greater(t, next.Token(), l.Token())
		require.NoError(t, next.Unlock(ctx))
		for _, log := range []*journal{&theirs, &ours} {
			assert.Eventually(t, func() bool { // a loss is logged aside
				return strings.Contains(log.String(), "stuck since noon") && strings.Contains(log.String(), "lock=x")
			}, 10*time.Second, time.Millisecond)
		}
		assert.Contains(t, ours.String(), "owner=w1")

		_, err = operator.Evict(ctx, "x", "")
		require.ErrorIs(t, err, client.ErrNotHeld)
		_, err = operator.ForceUnlock(ctx, "x", strings.Repeat("r", 256))
		require.ErrorIs(t, err, client.ErrNotHeld)
	})
}

// Ensure that a forced lock is free at once, and that its old holder learns of it at its next renewal.
func TestForceUnlock(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		l, err := nodes.client(t, client.WithTTL(time.Minute)).Lock(ctx, "x")
		require.NoError(t, err)
		operator := nodes.client(t)
		r, err := operator.ForceUnlock(ctx, "x", "now")
		require.NoError(t, err)
		next, err := operator.TryLock(ctx, "x")
		require.NoError(t, err)
		assert.Greater(t, next.Token(), l.Token())
		assert.True(t, r.Over.After(time.Now()), "it was told what it broke, and for how long")
		require.ErrorIs(t, l.Renew(ctx), client.ErrForced)
		require.NoError(t, next.Unlock(ctx))
	})
}

// Ensure the times of both: the evicted lock of a holder that is stopped stays exclusive until it expires, the
// forced one is free at once; and each holder's lease is over by what the operator was told.
func TestRevoke_PausedHolder(t *testing.T) {
	for name, force := range map[string]bool{"evict": false, "force": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes, _ := memoryNodes(t, 5)
				ctx := context.Background()
				paused := &valve{}
				holder := newClient(t, paused.nodes(t, nodes))
				l, err := holder.Lock(ctx, "x")
				require.NoError(t, err)
				time.Sleep(client.DefaultTTL/3 + time.Second) // it has renewed a second ago
				end := l.Deadline()
				paused.shut(true)
				operator := nodes.client(t)
				revoke := operator.Evict
				if force {
					revoke = operator.ForceUnlock
				}
				r, err := revoke(ctx, "x", "r")
				require.NoError(t, err)
				began := time.Now()
				next, err := operator.Lock(ctx, "x")
				require.NoError(t, err)
				if force {
					assert.Zero(t, time.Since(began))
					assert.NoError(t, l.Err(), "the old holder still believes: this is what force breaks")
				} else {
					assert.ErrorIs(t, l.Err(), client.ErrQuorum)
					assert.GreaterOrEqual(t, time.Since(began), end.Sub(began))
				}
				assert.False(t, r.Over.Before(end), "the lease is over by then")
				assert.LessOrEqual(t, time.Until(r.Over), client.DefaultTTL)
				paused.shut(false)
				<-l.Lost()
				assert.False(t, time.Now().After(r.Over))
				require.NoError(t, next.Unlock(ctx))
			})
		})
	}
}

// Ensure that a minority of nodes that is down or hangs changes nothing, and that a majority is ErrQuorum.
func TestRevoke_NodesDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, started := memoryNodes(t, 5)
		ctx := context.Background()
		l, err := nodes.client(t).Lock(ctx, "x")
		require.NoError(t, err)
		time.Sleep(time.Second)
		started[4].Stop()
		hung := &valve{closed: true}
		operator := newClient(t, append(hung.nodes(t, nodes[:1]), (&valve{}).nodes(t, nodes[1:])...))
		began := time.Now()
		_, err = operator.Evict(ctx, "x", "r")
		require.NoError(t, err)
		assert.Less(t, time.Since(began), 2*time.Millisecond)
		<-l.Lost()
		require.ErrorIs(t, l.Err(), client.ErrForced)

		// Three of five nodes answer and two of them have the lock: with those that do not it is at a majority.
		l, err = nodes.client(t).Lock(ctx, "y")
		require.NoError(t, err)
		time.Sleep(time.Second)
		for _, n := range nodes[1:3] {
			require.NoError(t, n.rdb.Del(ctx, "y").Err())
		}
		r, err := operator.ForceUnlock(ctx, "y", "r")
		require.NoError(t, err)
		assert.Equal(t, l.Token(), r.Owners[0].Token)
		<-l.Lost()
		require.ErrorIs(t, l.Err(), client.ErrForced)

		started[1].Stop()
		started[2].Stop()
		_, err = operator.Evict(ctx, "x", "r")
		require.ErrorIs(t, err, client.ErrQuorum)
		_, err = operator.Evict(ctx, "", "r")
		require.ErrorIs(t, err, client.ErrInvalid)
		_, err = operator.Evict(ctx, "free", strings.Repeat("r", 257))
		require.ErrorIs(t, err, client.ErrInvalid)
		done, cancel := context.WithCancel(ctx)
		cancel()
		_, err = operator.ForceUnlock(done, "x", "r")
		require.ErrorIs(t, err, context.Canceled)
		operator.Close(ctx)
		_, err = operator.ForceUnlock(ctx, "x", "r")
		require.ErrorIs(t, err, client.ErrClosed)
	})
}

// Ensure that a holder which renews all the time, and one that releases meanwhile, are no trouble: whatever was
// told, the owner who was named is over in the end and another one never is.
func TestRevoke_Races(t *testing.T) {
	nodes, _ := memoryNodes(t, 3)
	ctx := context.Background()
	holder, operator := nodes.client(t), nodes.client(t)
	for i := range 60 {
		l, err := holder.Lock(ctx, "x")
		require.NoError(t, err)
		revoke := operator.Evict
		if i%2 == 0 {
			revoke = operator.ForceUnlock
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for l.Renew(ctx) == nil && i%3 > 0 {
			}
			if i%3 == 0 {
				l.Unlock(ctx)
			}
		})
		r, err := revoke(ctx, "x", "r")
		wg.Wait()
		if errors.Is(err, client.ErrNotHeld) {
			require.Zero(t, i%3, "only a release makes it so")
			require.Error(t, l.Err())
			continue
		}
		require.NoError(t, err)
		require.Len(t, r.Owners, 1)
		require.Equal(t, l.Token(), r.Owners[0].Token)
		if i%3 > 0 {
			require.ErrorIs(t, l.Err(), client.ErrForced)
		}
		require.Error(t, l.Err())
	}
	l, err := holder.Lock(ctx, "x")
	require.NoError(t, err)
	require.NoError(t, l.Renew(ctx), "those that came later are nobody's business")
	require.NoError(t, l.Unlock(ctx))
}

// Ensure that Only spares everybody else: who has taken the lock since.
func TestRevoke_Only(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		c, operator := nodes.client(t), nodes.client(t)
		first, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		state, err := operator.Inspect(ctx, "x")
		require.NoError(t, err)
		digest := state.Holder.Digest
		require.NoError(t, first.Unlock(ctx))
		second, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		for _, revoke := range []func(context.Context, string, string, ...client.RevokeOption) (*client.Revocation, error){
			operator.Evict, operator.ForceUnlock} {
			_, err = revoke(ctx, "x", "r", client.Only(digest))
			require.ErrorIs(t, err, client.ErrNotHeld)
		}
		time.Sleep(time.Minute)
		require.NoError(t, second.Err())
		state, err = operator.Inspect(ctx, "x")
		require.NoError(t, err)
		_, err = operator.ForceUnlock(ctx, "x", "r", client.Only(state.Holder.Digest))
		require.NoError(t, err)
		<-second.Lost()
	})
}

// Ensure that a holder that is not ours is not evicted, which would mean nothing to it, and that force deletes its
// key, also one without a ttl, and also if it is at no majority.
func TestRevoke_Foreign(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		operator := nodes.client(t)
		set := func(n testNode, value string, ttl time.Duration) {
			require.NoError(t, n.rdb.Set(ctx, "x", value, ttl).Err())
		}
		left := func() (n int) {
			for _, node := range nodes {
				if err := node.rdb.Get(ctx, "x").Err(); !errors.Is(err, redis.Nil) {
					require.NoError(t, err)
					n++
				}
			}
			return n
		}
		for _, ttl := range []time.Duration{time.Hour, 0} {
			for _, n := range nodes {
				set(n, "redsync", ttl)
			}
			_, err := operator.Evict(ctx, "x", "r")
			require.ErrorIs(t, err, client.ErrForeign)
			assert.Equal(t, 5, left())
			r, err := operator.ForceUnlock(ctx, "x", "r")
			require.NoError(t, err)
			assert.Zero(t, r.Over, "nobody knows how long it goes on")
			assert.False(t, r.Owners[0].Recorded)
			require.Eventually(t, func() bool { return left() == 0 }, 10*time.Second, time.Millisecond)
		}
		// A key of its own at each node: nobody has the lock, and nobody can get it.
		for i, n := range nodes {
			set(n, string(rune('a'+i)), 0)
		}
		_, err := operator.TryLock(ctx, "x")
		require.ErrorIs(t, err, client.ErrHeld)
		r, err := operator.ForceUnlock(ctx, "x", "r")
		require.NoError(t, err)
		assert.Len(t, r.Owners, 5)
		l, err := operator.Lock(ctx, "x")
		require.NoError(t, err)
		require.NoError(t, l.Unlock(ctx))
	})
}

// Ensure that a lock that is shared is taken from all who share it, or only from the one who is named; that a
// reader who holds it at a majority with silent nodes only is found; and that each is told why.
func TestRevoke_Readers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, started := memoryNodes(t, 5)
		ctx := context.Background()
		var links []redlock.Node
		for _, n := range nodes {
			links = append(links, n.node(t, nil))
		}
		readers, err := redlock.New(links, redlock.Options{})
		require.NoError(t, err)
		defer func() {
			require.NoError(t, readers.Close(ctx))
			for _, n := range links {
				n.(io.Closer).Close()
			}
		}()
		read := func(label string) *redlock.Grant {
			g, err := readers.Acquire(ctx, redlock.Attempt{Name: "x", TTL: 15 * time.Second, Label: label, Shared: true})
			require.NoError(t, err)
			return g
		}
		operator := nodes.client(t)
		a, b, c := read("a"), read("b"), read("c")
		r, err := operator.ForceUnlock(ctx, "x", "one", client.Only(b.Digest()))
		require.NoError(t, err)
		require.Len(t, r.Owners, 1)
		assert.Equal(t, "b", r.Owners[0].Label)
		assert.True(t, r.Owners[0].Shared)
		var forced *client.ForcedError
		require.ErrorAs(t, readers.Renew(ctx, b), &forced)
		assert.Equal(t, client.ForcedError{Name: "x", Reason: "one"}, *forced)
		require.NoError(t, readers.Renew(ctx, a)) // which puts it at every node
		require.NoError(t, readers.Renew(ctx, c))
		time.Sleep(time.Second)

		started[0].Stop()
		for _, n := range nodes[1:3] { // a and c are at two nodes that answer, of five
			require.NoError(t, n.rdb.Del(ctx, redlock.Keys("x").Readers).Err())
		}
		r, err = operator.Evict(ctx, "x", "all")
		require.NoError(t, err)
		var labels []string
		for _, h := range r.Owners {
			labels = append(labels, h.Label)
		}
		assert.ElementsMatch(t, []string{"a", "c"}, labels)
		for _, g := range []*redlock.Grant{a, c} {
			require.ErrorAs(t, readers.Renew(ctx, g), &forced)
			assert.Equal(t, client.ForcedError{Name: "x", Reason: "all", Evicted: true}, *forced)
		}
		w, err := operator.TryLock(ctx, "x")
		require.NoError(t, err)
		require.NoError(t, w.Unlock(ctx))
	})
}
