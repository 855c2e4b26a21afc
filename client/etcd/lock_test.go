package etcd_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/etcd"
	"github.com/holdfast-dev/holdfast/redlock"
)

// Ensure that several clients under contention exclude each other, and that their tokens only rise.
func TestLock_Exclusion(t *testing.T) {
	c, name := lab(t)
	const clients, goroutines, rounds = 3, 4, 5
	var inside atomic.Int32
	var mu sync.Mutex
	var tokens []int64
	var wg sync.WaitGroup
	for range clients {
		locks := locksOf(t, shared.addr)
		for range goroutines {
			wg.Go(func() {
				for range rounds {
					err := locks.Do(t.Context(), name, func(ctx context.Context, l *etcd.Lease) error {
						if n := inside.Add(1); n != 1 {
							t.Errorf("%d holders", n)
						}
						mu.Lock()
						tokens = append(tokens, l.Token())
						mu.Unlock()
						inside.Add(-1)
						return ctx.Err()
					})
					assert.NoError(t, err)
				}
			})
		}
	}
	wg.Wait()
	require.Len(t, tokens, clients*goroutines*rounds)
	for i := 1; i < len(tokens); i++ {
		require.Greater(t, tokens[i], tokens[i-1], "token %d of those in the order of holding", i)
	}
	assertClean(t, c, name)
}

// Ensure that waiters of several clients get the lock in the order in which they came.
func TestLock_FIFO(t *testing.T) {
	c, name := lab(t)
	first, err := newLocks(t, c).Lock(t.Context(), name)
	require.NoError(t, err)

	const waiters = 8
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for i := range waiters {
		locks := newLocks(t, c)
		wg.Go(func() {
			l, err := locks.Lock(t.Context(), name)
			if !assert.NoError(t, err) {
				return
			}
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			assert.NoError(t, l.Unlock(t.Context()))
		})
		eventually(t, func() bool { return keys(t, c, name) == i+2 }, "the waiter does not queue")
	}
	require.NoError(t, first.Unlock(t.Context()))
	wg.Wait()
	assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7}, order)
}

// Ensure that a waiter that leaves the middle of the queue neither lets the one behind it in nor keeps it out.
func TestLock_NeighbourLeaves(t *testing.T) {
	c, name := lab(t)
	locks := newLocks(t, c)
	first, err := locks.Lock(t.Context(), name)
	require.NoError(t, err)
	leave, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := locks.Lock(leave, name)
		assert.ErrorIs(t, err, context.Canceled)
	})
	eventually(t, func() bool { return keys(t, c, name) == 2 }, "the waiter does not queue")
	got := make(chan *etcd.Lease, 1)
	wg.Go(func() {
		l, err := locks.Lock(t.Context(), name)
		assert.NoError(t, err)
		got <- l
	})
	eventually(t, func() bool { return keys(t, c, name) == 3 }, "the waiter does not queue")
	cancel()
	eventually(t, func() bool { return keys(t, c, name) == 2 }, "the one who left is still queued")
	select {
	case <-got:
		t.Fatal("two holders")
	case <-time.After(50 * time.Millisecond): // its neighbour's end has woken it
	}
	require.NoError(t, first.Err())
	require.NoError(t, first.Unlock(t.Context()))
	wg.Wait()
	require.NoError(t, (<-got).Unlock(t.Context()))
}

// Ensure that TryLock says by whom a lock is held, for how long, and how an operator would name it.
func TestTryLock_Held(t *testing.T) {
	c, name := lab(t)
	holder := newLocks(t, c, etcd.WithOwner("worker 7"))
	l, err := holder.TryLock(t.Context(), name, etcd.TTL(30*time.Second))
	require.NoError(t, err)
	assert.Equal(t, "worker 7", l.Owner())
	assert.Equal(t, 30*time.Second, l.TTL())

	_, err = newLocks(t, c).TryLock(t.Context(), name)
	require.ErrorIs(t, err, client.ErrHeld)
	var held *client.HeldError
	require.ErrorAs(t, err, &held)
	assert.Equal(t, name, held.Name)
	assert.Equal(t, "worker 7", held.Label)
	assert.Equal(t, l.Token(), held.Token)
	assert.Greater(t, held.Remaining, 20*time.Second)
	assert.LessOrEqual(t, held.Remaining, 30*time.Second)
	resp, err := c.Get(t.Context(), etcd.DefaultPrefix+"/"+name+"/"+held.Digest)
	require.NoError(t, err)
	assert.Len(t, resp.Kvs, 1, "the digest names the holder's key")

	require.NoError(t, l.Unlock(t.Context()))
	again, err := holder.TryLock(t.Context(), name)
	require.NoError(t, err)
	assert.Greater(t, again.Token(), l.Token())
}

// Ensure that of many who try at the same moment exactly one succeeds, and the others learn who it is.
func TestTryLock_Race(t *testing.T) {
	c, name := lab(t)
	locks := newLocks(t, c)
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := locks.TryLock(t.Context(), name, etcd.Owner("one of us"))
			var held *client.HeldError
			switch {
			case err == nil:
				won.Add(1)
			case assert.ErrorAs(t, err, &held):
				assert.Equal(t, "one of us", held.Label)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, won.Load())
	assert.Equal(t, 1, keys(t, c, name), "those who failed have left nothing")
}

// Ensure that a wait that ends holds nothing, leaves no key, and says why it ended and who was in the way.
func TestLock_WaitEnds(t *testing.T) {
	c, name := lab(t)
	locks := newLocks(t, c)
	l, err := locks.Lock(t.Context(), name, etcd.Owner("in the way"))
	require.NoError(t, err)

	cause := errors.New("had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := locks.Lock(ctx, name)
		done <- err
	}()
	eventually(t, func() bool { return keys(t, c, name) == 2 }, "the waiter does not queue")
	cancel(cause)
	err = <-done
	require.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, err, cause)
	var wait *client.WaitError
	require.ErrorAs(t, err, &wait)
	assert.Equal(t, name, wait.Name)
	var held *client.HeldError
	require.ErrorAs(t, err, &held)
	assert.Equal(t, "in the way", held.Label)
	eventually(t, func() bool { return keys(t, c, name) == 1 }, "the waiter's key is left")
	require.NoError(t, l.Err())

	over, stop := context.WithCancel(t.Context())
	stop()
	_, err = locks.Lock(over, name)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, l.Unlock(t.Context()))
	assertClean(t, c, name)
}

// Ensure that Unlock needs no live context, ends the lease at once and as a release, and can be called again.
func TestUnlock_Twice(t *testing.T) {
	c, name := lab(t)
	l, err := newLocks(t, c).Lock(t.Context(), name)
	require.NoError(t, err)
	require.NoError(t, l.Context().Err())
	assert.Positive(t, l.Remaining())
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, l.Unlock(over))
	require.NoError(t, l.Unlock(t.Context()))
	assert.Zero(t, keys(t, c, name), "Unlock returns when the cluster has confirmed")
	assert.ErrorIs(t, l.Err(), client.ErrReleased)
	assert.ErrorIs(t, context.Cause(l.Context()), client.ErrReleased)
	assert.Zero(t, l.Remaining())
	select {
	case <-l.Lost():
		t.Fatal("a release is no loss")
	default:
	}
}

// Ensure that Do releases when its function panics, and ends the function's context with the caller's.
func TestDo(t *testing.T) {
	c, name := lab(t)
	locks := newLocks(t, c)
	assert.PanicsWithValue(t, "oops", func() {
		locks.Do(t.Context(), name, func(context.Context, *etcd.Lease) error { panic("oops") })
	})
	assert.Zero(t, keys(t, c, name))

	ctx, cancel := context.WithCancel(t.Context())
	err := locks.Do(ctx, name, func(ctx context.Context, l *etcd.Lease) error {
		cancel()
		<-ctx.Done()
		assert.NoError(t, l.Err())
		return context.Cause(ctx)
	})
	require.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, keys(t, c, name))
}

// Ensure that names with slashes, and names that begin like others, are locks of their own.
func TestLock_Names(t *testing.T) {
	c, name := lab(t)
	locks := newLocks(t, c)
	for _, n := range []string{name, name + "/b", name + "/", name + "b", name + "/b/c", name + "\x00\xff%2F ü"} {
		l, err := locks.TryLock(t.Context(), n)
		require.NoError(t, err, "%q", n)
		assert.Equal(t, n, l.Name())
		s, err := locks.Inspect(t.Context(), n)
		require.NoError(t, err)
		require.False(t, s.Free())
		assert.Equal(t, l.Token(), s.Holder.Token)
	}
}

// Ensure that Inspect and List show holders and how many wait, and nothing of locks that are free.
func TestInspectAndList(t *testing.T) {
	c, name := lab(t)
	locks := newLocks(t, c, etcd.WithOwner("me"))
	free, err := locks.Inspect(t.Context(), name)
	require.NoError(t, err)
	assert.True(t, free.Free())
	b, err := locks.Lock(t.Context(), name+"/b")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, b.Token(), free.Fence)
	_, err = locks.Lock(t.Context(), name+"/a", etcd.Owner("you"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { locks.Lock(ctx, name+"/b") })
	eventually(t, func() bool { return keys(t, c, name) == 3 }, "the waiter does not queue")
	foreign := etcd.DefaultPrefix + "/" + name + "%2Fc/not-ours"
	_, err = c.Put(t.Context(), foreign, "x")
	require.NoError(t, err)
	defer c.Delete(t.Context(), foreign)

	s, err := locks.Inspect(t.Context(), name+"/b")
	require.NoError(t, err)
	assert.Equal(t, 1, s.Waiting)
	assert.Equal(t, "me", s.Holder.Label)
	assert.Equal(t, b.Token(), s.Fence)
	list, err := locks.List(t.Context(), name+"/")
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, []string{name + "/a", name + "/b"}, []string{list[0].Name, list[1].Name})
	assert.Equal(t, "you", list[0].Holder.Label)
	assert.Equal(t, 0, list[0].Waiting)
	assert.Equal(t, 1, list[1].Waiting)
	assert.Positive(t, list[1].Holder.Remaining)
	cancel()
	wg.Wait()
}

// Ensure that limits are checked before anything is sent: below, at and above each.
func TestLimits(t *testing.T) {
	c, name := lab(t)
	locks := newLocks(t, c)
	try := func(name string, opts ...etcd.LockOption) error {
		l, err := locks.TryLock(t.Context(), name, opts...)
		if err == nil {
			err = l.Unlock(t.Context())
		}
		return err
	}
	for _, bad := range []error{
		try(""), try(strings.Repeat("/", redlock.MaxName+1)), try(name, etcd.Owner(strings.Repeat("x", redlock.MaxLabel+1))),
		try(name, etcd.TTL(etcd.MinTTL-1)), try(name, etcd.TTL(etcd.MaxTTL+1)),
	} {
		assert.ErrorIs(t, bad, client.ErrInvalid)
	}
	assert.NoError(t, try("x"))
	assert.NoError(t, try(strings.Repeat("/", redlock.MaxName)))
	assert.NoError(t, try(name, etcd.Owner(strings.Repeat("x", redlock.MaxLabel))))
	assert.NoError(t, try(name, etcd.TTL(etcd.MinTTL)))
	assert.NoError(t, try(name, etcd.TTL(etcd.MaxTTL)))
	_, err := etcd.New(nil)
	assert.ErrorIs(t, err, client.ErrInvalid)
	_, err = etcd.New(c, etcd.WithTTL(0))
	assert.ErrorIs(t, err, client.ErrInvalid)
	_, err = locks.Inspect(t.Context(), "")
	assert.ErrorIs(t, err, client.ErrInvalid)
}

// Ensure that Close releases what is held, ends waits, and refuses later calls, whatever prefix the locks are under.
func TestClose(t *testing.T) {
	c, name := lab(t)
	locks := newLocks(t, c, etcd.WithPrefix(t.Name()+"/"))
	l, err := locks.Lock(t.Context(), name)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := locks.Lock(t.Context(), name)
		done <- err
	}()
	count := func() int64 {
		resp, err := c.Get(t.Context(), t.Name()+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		require.NoError(t, err)
		return resp.Count
	}
	eventually(t, func() bool { return count() == 2 }, "the waiter does not queue")
	require.NoError(t, locks.Close(t.Context()))
	err = <-done
	require.ErrorIs(t, err, client.ErrClosed)
	assert.NotErrorIs(t, err, context.Canceled, "it was not the caller who ended it")
	assert.ErrorIs(t, l.Err(), client.ErrReleased)
	assert.Zero(t, count())
	require.NoError(t, locks.Close(t.Context()))
	_, err = locks.Lock(t.Context(), name)
	assert.ErrorIs(t, err, client.ErrClosed)
	_, err = locks.TryLock(t.Context(), name)
	assert.ErrorIs(t, err, client.ErrClosed)
	_, err = locks.Inspect(t.Context(), name)
	assert.ErrorIs(t, err, client.ErrClosed)
	_, err = locks.List(t.Context(), "")
	assert.ErrorIs(t, err, client.ErrClosed)
}

// Ensure that both clients are one type to a program that wants either.
func TestAsLocker(t *testing.T) {
	c, name := lab(t)
	locks := client.AsLocker(newLocks(t, c), etcd.Owner("either"))
	l, err := locks.Lock(t.Context(), name)
	require.NoError(t, err)
	assert.Equal(t, "either", l.Owner())
	_, err = locks.TryLock(t.Context(), name)
	require.ErrorIs(t, err, client.ErrHeld)
	require.NoError(t, l.Unlock(t.Context()))
	err = locks.Do(t.Context(), name, func(ctx context.Context, again client.Held) error {
		assert.Greater(t, again.Token(), l.Token())
		return nil
	})
	require.NoError(t, err)
}
