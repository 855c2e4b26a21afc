package client_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
)

// Ensure that LockAll holds each name once, keeps others out of all of them, and leaves nothing behind.
func TestLockAll(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		m, err := a.LockAll(ctx, []string{"c", "a", "b", "a"})
		require.NoError(t, err)
		assert.Equal(t, []string{"a", "b", "c"}, m.Names())
		require.NoError(t, m.Err())
		require.NoError(t, m.Context().Err())
		tokens := m.Tokens()
		require.Len(t, tokens, 3)
		for i, l := range m.Leases() {
			assert.Equal(t, m.Names()[i], l.Name())
			assert.Equal(t, tokens[l.Name()], l.Token())
			_, err := b.TryLock(ctx, l.Name())
			require.ErrorIs(t, err, client.ErrHeld)
		}
		require.NoError(t, m.Unlock(ctx))
		require.NoError(t, m.Unlock(ctx))
		require.ErrorIs(t, m.Err(), client.ErrReleased)
		require.ErrorIs(t, context.Cause(m.Context()), client.ErrReleased)
		select {
		case <-m.Lost():
			t.Error("an Unlock is no loss")
		default:
		}
		for _, name := range m.Names() {
			l, err := b.TryLock(ctx, name)
			require.NoError(t, err)
			assert.Greater(t, l.Token(), tokens[name])
			require.NoError(t, l.Unlock(ctx))
		}
		nodes.assertClean(t, "a", "b", "c")
		require.NoError(t, a.Close(ctx))
		require.NoError(t, b.Close(ctx))
	})
}

// Ensure that callers that want overlapping sets of names, given in any order, all get them in the end and
// never share one.
func TestLockAll_NoDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		names := strings.Split("abcdef", "")
		counters := make([]int, len(names)) // each guarded by its lock only
		clients := []*client.Client{nodes.client(t), nodes.client(t), nodes.client(t)}
		var wg sync.WaitGroup
		want := make([]int, len(names))
		for i := range 30 {
			var mine []string
			var at []int
			for _, k := range rand.Perm(len(names))[:1+rand.IntN(4)] {
				mine, at = append(mine, names[k]), append(at, k)
				want[k]++
			}
			wg.Go(func() {
				m, err := clients[i%len(clients)].LockAll(ctx, mine)
				if !assert.NoError(t, err) {
					return
				}
				var seen []int
				for _, k := range at {
					seen = append(seen, counters[k])
				}
				time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
				for j, k := range at {
					counters[k] = seen[j] + 1
				}
				assert.NoError(t, m.Unlock(ctx))
			})
		}
		wg.Wait()
		assert.Equal(t, want, counters)
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, names...)
	})
}

// Ensure that a wait that is cancelled at a later name holds nothing, neither the earlier ones nor a place in
// any queue, and keeps the context's error and cause.
func TestLockAll_CancelledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t, client.WithOwner("anna")), nodes.client(t)
		held, err := a.Lock(ctx, "b")
		require.NoError(t, err)
		bored := errors.New("bored")
		wait, cancel := context.WithCancelCause(ctx)
		time.AfterFunc(40*time.Second, func() { cancel(bored) }) // longer than a's ttl: it is renewed meanwhile
		m, err := b.LockAll(wait, []string{"a", "b", "c"})
		require.Nil(t, m)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, bored)
		var inTheWay *client.HeldError
		require.ErrorAs(t, err, &inTheWay)
		assert.Equal(t, "b", inTheWay.Name)
		l, err := b.TryLock(ctx, "a")
		require.NoError(t, err)
		require.NoError(t, l.Unlock(ctx))
		require.NoError(t, held.Unlock(ctx))
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "a", "b", "c")
	})
}

// Ensure that the loss of one lock ends the whole at once, and that the others are held until Unlock, whose
// error says which was lost.
func TestLockAll_LosesOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		c := nodes.client(t)
		m, err := c.LockAll(ctx, []string{"a", "b", "c"})
		require.NoError(t, err)
		for _, n := range nodes {
			require.NoError(t, n.rdb.Set(ctx, "b", "a thief", 0).Err())
		}
		<-m.Lost()
		<-m.Context().Done()
		var loss *client.LossError
		require.ErrorAs(t, context.Cause(m.Context()), &loss)
		require.ErrorIs(t, loss, client.ErrStolen)
		assert.Equal(t, "b", loss.Name)
		require.ErrorIs(t, m.Err(), client.ErrStolen)
		assert.NoError(t, m.Leases()[0].Err())
		assert.NoError(t, m.Leases()[2].Err())
		err = m.Unlock(ctx)
		require.ErrorAs(t, err, &loss)
		assert.Equal(t, "b", loss.Name)
		for _, n := range nodes {
			require.NoError(t, n.rdb.Del(ctx, "b").Err())
		}
		time.Sleep(client.DefaultTTL) // the thief has left the record beside the lock
		nodes.assertClean(t, "a", "b", "c")
	})
}

// Ensure that a lock that is lost while others are waited for ends the wait with that loss.
func TestLockAll_LosesOneWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		held, err := a.Lock(ctx, "b")
		require.NoError(t, err)
		began := time.Now()
		_, err = b.LockAll(ctx, []string{"a", "b"}, client.WithoutRenew(), client.TTL(5*time.Second))
		var loss *client.LossError
		require.ErrorAs(t, err, &loss)
		assert.Equal(t, "a", loss.Name)
		require.ErrorIs(t, err, client.ErrExpired)
		assert.LessOrEqual(t, time.Since(began), 5*time.Second)
		require.NoError(t, held.Unlock(ctx))
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "a", "b")
	})
}

// Ensure that closing the client ends a LockAll that waits with ErrClosed, and that nothing is left.
func TestLockAll_Close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		held, err := a.Lock(ctx, "b")
		require.NoError(t, err)
		got := make(chan error, 1)
		go func() {
			_, err := b.LockAll(ctx, []string{"a", "b"})
			got <- err
		}()
		time.Sleep(time.Second)
		require.NoError(t, b.Close(ctx))
		require.ErrorIs(t, <-got, client.ErrClosed)
		require.NoError(t, held.Unlock(ctx))
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "a", "b")
	})
}

// Ensure that bad names are refused before anything is waited for.
func TestLockAll_Refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 1)
		ctx := context.Background()
		c := nodes.client(t)
		held, err := c.Lock(ctx, "a")
		require.NoError(t, err)
		for _, names := range [][]string{nil, {}, {"a", ""}, {"a", strings.Repeat("x", 513)}, {"a", "{a}:fence"}} {
			_, err := c.LockAll(ctx, names)
			require.ErrorIs(t, err, client.ErrInvalid)
		}
		require.NoError(t, held.Unlock(ctx))
	})
}
