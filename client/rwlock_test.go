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

	"github.com/holdfast-dev/holdfast/client"
)

// readingAt starts n RLocks and returns a channel with their leases.
func readingAt(c *client.Client, ctx context.Context, name string, n int) <-chan *client.Lease {
	got := make(chan *client.Lease, n)
	for range n {
		go func() {
			l, _ := c.RLock(ctx, name)
			got <- l
		}()
	}
	return got
}

func unlockAll(t *testing.T, leases ...*client.Lease) {
	t.Helper()
	for _, l := range leases {
		if assert.NotNil(t, l) {
			assert.NoError(t, l.Unlock(context.Background()))
		}
	}
}

// Ensure that readers share a lock, that a writer excludes them and is excluded, and that nothing is left.
func TestRLock(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		a, b := nodes.client(t, client.WithOwner("anna")), nodes.client(t)
		first, err := a.RLock(ctx, "x")
		require.NoError(t, err)
		second, err := b.TryRLock(ctx, "x")
		require.NoError(t, err)
		third, err := b.TryLock(ctx, "x", client.Shared())
		require.NoError(t, err)
		_, err = b.TryLock(ctx, "x")
		var held *client.HeldError
		require.ErrorAs(t, err, &held)
		assert.True(t, held.Shared)
		require.NoError(t, first.Renew(ctx))
		unlockAll(t, first, second, third)

		writer, err := a.Lock(ctx, "x")
		require.NoError(t, err)
		assert.Greater(t, writer.Token(), max(first.Token(), second.Token(), third.Token()))
		_, err = b.TryRLock(ctx, "x")
		require.ErrorAs(t, err, &held)
		assert.False(t, held.Shared)
		assert.Equal(t, "anna", held.Label)
		unlockAll(t, writer)
		later, err := b.RLock(ctx, "x")
		require.NoError(t, err)
		assert.Greater(t, later.Token(), writer.Token())
		unlockAll(t, later)
		nodes.assertClean(t, "x")
		require.NoError(t, a.Close(ctx))
		require.NoError(t, b.Close(ctx))
	})
}

// Ensure that readers that wait in one process, or in several, get the lock together when the writer is gone.
func TestRLock_Together(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b, c := nodes.client(t), nodes.client(t), nodes.client(t)
		writer, err := a.Lock(ctx, "x")
		require.NoError(t, err)
		got := readingAt(b, ctx, "x", 10)
		others := readingAt(c, ctx, "x", 10)
		time.Sleep(5 * time.Second)
		assert.Empty(t, got)
		assert.Empty(t, others)
		began := time.Now()
		require.NoError(t, writer.Unlock(ctx))
		var leases []*client.Lease
		for range 10 {
			leases = append(leases, <-got, <-others)
		}
		assert.Less(t, time.Since(began), 2*shortly)
		unlockAll(t, leases...)
		time.Sleep(time.Second)
		nodes.assertClean(t, "x")
	})
}

// Ensure that a writer that waits is not overtaken by readers that come later, of its own process or of another;
// and that they get the lock after it.
func TestRLock_WriterDoesNotStarve(t *testing.T) {
	for _, where := range []string{"here", "elsewhere"} {
		synctest.Test(t, func(t *testing.T) {
			nodes, _ := memoryNodes(t, 5)
			ctx := context.Background()
			a, b := nodes.client(t), nodes.client(t)
			reader, err := a.RLock(ctx, "x")
			require.NoError(t, err)
			written := waiting(t, b, ctx, "x")
			late := b
			if where == "elsewhere" {
				late = nodes.client(t)
			}
			_, err = late.TryRLock(ctx, "x")
			require.ErrorIs(t, err, client.ErrHeld)
			got := readingAt(late, ctx, "x", 5)
			time.Sleep(20 * time.Second)
			assert.Empty(t, got)
			began := time.Now()
			unlockAll(t, reader)
			writer := <-written
			require.NotNil(t, writer)
			assert.Less(t, time.Since(began), shortly)
			time.Sleep(10 * time.Second)
			assert.Empty(t, got)
			began = time.Now()
			unlockAll(t, writer)
			for range 5 {
				l := <-got
				require.NotNil(t, l)
				assert.Greater(t, l.Token(), writer.Token())
				defer unlockAll(t, l)
			}
			assert.Less(t, time.Since(began), 2*shortly)
		})
	}
}

// Ensure that of many readers and writers nobody who excludes another is in at the same time, and all get in.
func TestRLock_Flood(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		clients := []*client.Client{nodes.client(t), nodes.client(t), nodes.client(t)}
		var mu sync.Mutex
		readers, writers, most := 0, 0, 0
		count := func(r, w int) {
			mu.Lock()
			defer mu.Unlock()
			readers, writers = readers+r, writers+w
			most = max(most, readers)
			assert.True(t, writers == 0 || writers == 1 && readers == 0, "%d readers, %d writers", readers, writers)
		}
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				c := clients[i%len(clients)]
				for range 4 {
					r, w, opts := 0, 1, []client.LockOption(nil)
					if rand.IntN(4) > 0 {
						r, w, opts = 1, 0, []client.LockOption{client.Shared()}
					}
					assert.NoError(t, c.Do(ctx, "x", func(ctx context.Context, _ *client.Lease) error {
						count(r, w)
						c.Health(ctx) // some time
						count(-r, -w)
						return nil
					}, opts...))
				}
			})
		}
		wg.Wait()
		assert.Greater(t, most, 1, "readers never met")
		nodes.assertClean(t, "x")
		for _, c := range clients {
			require.NoError(t, c.Close(ctx))
		}
	})
}

// Ensure that the lock of a reader that died passes to a writer when its own ttl is over, whatever that of others.
func TestRLock_ReaderDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b, c := nodes.client(t), nodes.client(t), nodes.client(t)
		_, err := a.RLock(ctx, "x", client.TTL(20*time.Second))
		require.NoError(t, err)
		other, err := b.RLock(ctx, "x", client.TTL(2*time.Second)) // renewed
		require.NoError(t, err)
		began := time.Now()
		require.NoError(t, a.Detach(ctx))
		time.AfterFunc(10*time.Second, func() { other.Unlock(ctx) })
		writer, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		assert.InDelta(t, 20*time.Second, time.Since(began), float64(200*time.Millisecond))
		unlockAll(t, writer)
		time.Sleep(time.Second)
		nodes.assertClean(t, "x")
	})
}

// Ensure that a reader's cancelled wait leaves nothing behind and does not keep those behind it, and that closing
// the client ends one with ErrClosed.
func TestRLock_EndOfWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		a, b, c := nodes.client(t), nodes.client(t), nodes.client(t)
		writer, err := a.Lock(ctx, "x")
		require.NoError(t, err)
		bored := errors.New("bored")
		wait, cancel := context.WithCancelCause(ctx)
		errs := make(chan error, 2)
		go func() {
			_, err := b.RLock(wait, "x")
			errs <- err
		}()
		time.Sleep(time.Second)
		behind := readingAt(b, ctx, "x", 3)
		time.Sleep(time.Second)
		cancel(bored)
		err = <-errs
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, bored)
		go func() {
			_, err := c.RLock(ctx, "x")
			errs <- err
		}()
		time.Sleep(time.Second)
		require.NoError(t, c.Close(ctx))
		require.ErrorIs(t, <-errs, client.ErrClosed)
		began := time.Now()
		unlockAll(t, writer)
		unlockAll(t, <-behind, <-behind, <-behind)
		assert.Less(t, time.Since(began), 2*shortly)
		time.Sleep(time.Second)
		nodes.assertClean(t, "x")
	})
}

// Ensure that the readers of one process who stand together do not stand in line: once the first has the lock, the
// others get it within a round trip.
func TestRLock_NoLineOfReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const trip = 50 * time.Millisecond
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		v := &valve{delay: trip}
		c := newClient(t, v.nodes(t, nodes))
		warm, err := c.RLock(ctx, "warm")
		require.NoError(t, err)
		unlockAll(t, warm)
		time.Sleep(time.Second)
		began := time.Now()
		got := readingAt(c, ctx, "x", 20)
		var leases []*client.Lease
		for range 20 {
			leases = append(leases, <-got)
		}
		assert.LessOrEqual(t, time.Since(began), 4*trip)
		unlockAll(t, leases...)
	})
}
