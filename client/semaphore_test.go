package client_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
)

// semaphoreNames are all locks of which a semaphore is made.
func semaphoreNames(s *client.Semaphore, name string, k int) []string {
	names := []string{name, name + ":gate"}
	for i := range k {
		names = append(names, s.Slot(i))
	}
	return names
}

// permitting starts an Acquire and returns, once it waits, a channel with the permit, nil after a failure.
func permitting(t *testing.T, s *client.Semaphore, ctx context.Context) <-chan *client.Permit {
	t.Helper()
	got := make(chan *client.Permit, 1)
	go func() {
		p, _ := s.Acquire(ctx)
		got <- p
	}()
	time.Sleep(100 * time.Millisecond) // of the bubble
	select {
	case <-got:
		t.Fatal("Acquire did not wait")
	default:
	}
	return got
}

// Ensure that at no time more than k hold a permit, each slot once, and that everybody gets one in the end; the
// tokens of a slot rise.
func TestSemaphore(t *testing.T) {
	const k = 3
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		var clients []*client.Client
		for range 4 {
			clients = append(clients, nodes.client(t))
		}
		var mu sync.Mutex
		held := make(map[int]bool)
		tokens := make(map[int]int64)
		var most, done int
		var wg sync.WaitGroup
		for i := range 24 {
			wg.Go(func() {
				err := clients[i%4].Semaphore("pool", k).Do(ctx, func(_ context.Context, p *client.Permit) error {
					mu.Lock()
					assert.False(t, held[p.Slot()], "slot %d twice", p.Slot())
					held[p.Slot()] = true
					most = max(most, len(held))
					assert.Greater(t, p.Token(), tokens[p.Slot()])
					tokens[p.Slot()] = p.Token()
					done++
					mu.Unlock()
					clients[i%4].Health(ctx) // some time
					mu.Lock()
					delete(held, p.Slot())
					mu.Unlock()
					return nil
				})
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Equal(t, 24, done)
		assert.LessOrEqual(t, most, k)
		nodes.assertClean(t, semaphoreNames(clients[0].Semaphore("pool", k), "pool", k)...)
		for _, c := range clients {
			require.NoError(t, c.Close(ctx))
		}
	})
}

// Ensure that permits are had in the order of the calls, whichever permit is given back, and that a release
// wakes the first in line in a moment.
func TestSemaphore_Order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		clients := []*client.Client{nodes.client(t), nodes.client(t), nodes.client(t)}
		var held []*client.Permit
		slots := make(map[int]bool)
		for i := range 3 {
			p, err := clients[i].Semaphore("pool", 3).Acquire(ctx)
			require.NoError(t, err)
			assert.Equal(t, "pool", p.Semaphore())
			assert.Equal(t, clients[0].Semaphore("pool", 3).Slot(p.Slot()), p.Name())
			slots[p.Slot()] = true
			held = append(held, p)
		}
		assert.Len(t, slots, 3)
		var lines []<-chan *client.Permit
		for i := range 6 {
			lines = append(lines, permitting(t, clients[i%3].Semaphore("pool", 3), ctx))
		}
		time.Sleep(20 * time.Second)
		for i, line := range lines {
			began := time.Now()
			require.NoError(t, held[i].Unlock(ctx))
			p := <-line
			require.NotNil(t, p)
			assert.Less(t, time.Since(began), shortly)
			assert.Equal(t, held[i].Slot(), p.Slot())
			for _, later := range lines[i+1:] {
				assert.Empty(t, later)
			}
			held = append(held, p)
			time.Sleep(time.Second)
		}
		for _, p := range held[6:] {
			require.NoError(t, p.Unlock(ctx))
		}
		time.Sleep(time.Second)
		nodes.assertClean(t, semaphoreNames(clients[0].Semaphore("pool", 3), "pool", 3)...)
	})
}

// Ensure that the permit of a holder that died passes on at the end of its ttl, and that messages that are lost
// cost no more than the documented time.
func TestSemaphore_Unheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b, c := nodes.client(t), nodes.client(t), nodes.client(t)
		_, err := a.Semaphore("pool", 2).Acquire(ctx, client.WithoutRenew(), client.TTL(7*time.Second))
		require.NoError(t, err)
		second, err := b.Semaphore("pool", 2).Acquire(ctx)
		require.NoError(t, err)
		began := time.Now()
		require.NoError(t, a.Detach(ctx))
		p, err := c.Semaphore("pool", 2).Acquire(ctx)
		require.NoError(t, err)
		assert.InDelta(t, 7*time.Second, time.Since(began), float64(100*time.Millisecond))

		got := permitting(t, c.Semaphore("pool", 2), ctx)
		for _, n := range nodes {
			require.NoError(t, n.rdb.Do(ctx, "client", "kill", "type", "pubsub").Err())
		}
		began = time.Now()
		require.NoError(t, second.Unlock(ctx))
		third := <-got
		require.NotNil(t, third)
		assert.LessOrEqual(t, time.Since(began), 2*time.Second)
		require.NoError(t, p.Unlock(ctx))
		require.NoError(t, third.Unlock(ctx))
		time.Sleep(time.Second)
		nodes.assertClean(t, semaphoreNames(c.Semaphore("pool", 2), "pool", 2)...)
	})
}

// Ensure that the death of the first in line costs the others at most the ttl of the gate.
func TestSemaphore_DeadGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		var ghosts cluster
		var cut valve
		ghost := newClient(t, cut.nodes(t, append(ghosts, nodes...)), client.WithTimeout(time.Minute))
		held, err := a.Semaphore("pool", 1).Acquire(ctx)
		require.NoError(t, err)
		permitting(t, ghost.Semaphore("pool", 1), ctx)
		got := permitting(t, b.Semaphore("pool", 1), ctx)
		time.Sleep(10 * time.Second)
		assert.Empty(t, got)
		cut.shut(true) // nothing of the ghost arrives any more
		died := time.Now()
		require.NoError(t, held.Unlock(ctx))
		p := <-got
		require.NotNil(t, p)
		assert.LessOrEqual(t, time.Since(died), 3*time.Second+shortly)
		require.NoError(t, p.Unlock(ctx))
	})
}

// Ensure that a cancelled wait, at the gate or before the slots, keeps the context's error and cause, says who
// was in the way, and leaves nothing behind; and that closing the client ends both with ErrClosed.
func TestSemaphore_EndOfWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a := nodes.client(t, client.WithOwner("anna"))
		held, err := a.Semaphore("pool", 1).Acquire(ctx)
		require.NoError(t, err)
		for _, closes := range []bool{false, true} {
			b, c := nodes.client(t), nodes.client(t)
			bored := errors.New("bored")
			wait, cancel := context.WithCancelCause(ctx)
			errs := make(chan error, 2)
			for _, cl := range []*client.Client{b, c} {
				go func() {
					_, err := cl.Semaphore("pool", 1).Acquire(wait)
					errs <- err
				}()
				time.Sleep(time.Second)
			}
			if closes {
				require.NoError(t, c.Close(ctx))
				require.NoError(t, b.Close(ctx))
			} else {
				cancel(bored)
			}
			for range 2 {
				err := <-errs
				var waited *client.WaitError
				require.ErrorAs(t, err, &waited)
				assert.Equal(t, "pool", waited.Name)
				assert.Contains(t, err.Error(), `waiting for semaphore "pool"`)
				require.ErrorIs(t, err, client.ErrHeld)
				if closes {
					require.ErrorIs(t, err, client.ErrClosed)
				} else {
					require.ErrorIs(t, err, context.Canceled)
					require.ErrorIs(t, err, bored)
				}
			}
			cancel(nil)
			time.Sleep(time.Second)
			nodes.assertClean(t, "pool", "pool:gate")
			for _, n := range nodes {
				list, err := n.rdb.PubSubChannels(ctx, "holdfast:change:*").Result()
				require.NoError(t, err)
				assert.Empty(t, list)
			}
		}
		require.NoError(t, held.Unlock(ctx))
		time.Sleep(time.Second)
		nodes.assertClean(t, semaphoreNames(a.Semaphore("pool", 1), "pool", 1)...)
	})
}

// Ensure that TryAcquire takes what is free, also while others have the gate, and says who has the permits.
func TestSemaphore_TryAcquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		c := nodes.client(t)
		gate, err := c.Lock(ctx, "pool:gate")
		require.NoError(t, err)
		s := c.Semaphore("pool", 2)
		first, err := s.TryAcquire(ctx, client.Owner("anna"), client.TTL(5*time.Second), client.WithoutRenew())
		require.NoError(t, err)
		second, err := s.TryAcquire(ctx, client.Owner("bert"))
		require.NoError(t, err)
		_, err = s.TryAcquire(ctx)
		var held *client.HeldError
		require.ErrorAs(t, err, &held)
		require.ErrorIs(t, err, client.ErrHeld)
		assert.Equal(t, "pool", held.Name)
		assert.Equal(t, "anna", held.Label)
		require.NoError(t, second.Unlock(ctx))
		third, err := s.TryAcquire(ctx)
		require.NoError(t, err)
		assert.Equal(t, second.Slot(), third.Slot())
		for _, l := range []*client.Lease{first.Lease, third.Lease, gate} {
			require.NoError(t, l.Unlock(ctx))
		}
		done, cancel := context.WithCancel(ctx)
		cancel()
		_, err = s.TryAcquire(done)
		require.ErrorIs(t, err, context.Canceled)
		time.Sleep(time.Second)
		nodes.assertClean(t, semaphoreNames(s, "pool", 2)...)
		require.NoError(t, c.Close(ctx))
		_, err = s.TryAcquire(ctx)
		require.ErrorIs(t, err, client.ErrClosed)
		_, err = s.Acquire(ctx)
		require.ErrorIs(t, err, client.ErrClosed)
	})
}

// Ensure that a permit that TryAcquire has is returned and not lost, although the attempt at another slot failed or
// ctx ended in the same moment: nobody else could give it back, and it would be renewed for ever.
func TestSemaphore_TryAcquireLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		c := nodes.client(t)
		both := 0 // slots were tried at once, and one attempt failed
		for range 40 {
			s := c.Semaphore("pool", 3)
			first, err := s.Acquire(ctx)
			require.NoError(t, err)
			var sent atomic.Int32
			second, err := s.TryAcquire(ctx, client.BeforeSend(func(string) error {
				if sent.Add(1) == 3 {
					return errors.New("disk full")
				}
				return nil
			}))
			if sent.Load() == 3 {
				both++
			}
			require.NoError(t, err)
			require.NoError(t, second.Unlock(ctx))
			require.NoError(t, first.Unlock(ctx))
		}
		require.NotZero(t, both)

		hurried := nodes.client(t, client.WithObserver(client.Observer{
			LockAcquired: func(ctx context.Context, _ client.LockAcquired) context.Context { cancel(); return ctx },
		}))
		s := hurried.Semaphore("pool", 1)
		p, err := s.TryAcquire(ctx)
		require.NoError(t, err)
		require.ErrorIs(t, ctx.Err(), context.Canceled)
		require.NoError(t, p.Unlock(ctx))
		time.Sleep(time.Second)
		nodes.assertClean(t, semaphoreNames(s, "pool", 3)...)
	})
}

// Ensure that the permits of a large semaphore are all used, and no more of them.
func TestSemaphore_Large(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		c := nodes.client(t)
		var now, most, done atomic.Int32
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() {
				err := c.Semaphore("pool", 100).Do(ctx, func(context.Context, *client.Permit) error {
					n := now.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					time.Sleep(time.Minute)
					now.Add(-1)
					done.Add(1)
					return nil
				})
				assert.NoError(t, err)
			})
		}
		began := time.Now()
		wg.Wait()
		assert.EqualValues(t, 300, done.Load())
		assert.EqualValues(t, 100, most.Load())
		assert.Less(t, time.Since(began), 3*time.Minute+5*time.Second)
	})
}

// Ensure that sizes and names outside the limits are refused before anything is sent, and those at them are not.
func TestSemaphore_Refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 1)
		ctx := context.Background()
		c := nodes.client(t)
		longest := 512 - len(":slot:1023")
		for _, bad := range []*client.Semaphore{
			c.Semaphore("pool", 0), c.Semaphore("pool", -1), c.Semaphore("pool", client.MaxSlots+1), c.Semaphore("", 1),
			c.Semaphore(strings.Repeat("x", longest+1), client.MaxSlots),
		} {
			_, err := bad.Acquire(ctx)
			require.ErrorIs(t, err, client.ErrInvalid)
			_, err = bad.TryAcquire(ctx)
			require.ErrorIs(t, err, client.ErrInvalid)
		}
		for _, good := range []*client.Semaphore{
			c.Semaphore("pool", 1), c.Semaphore("pool", client.MaxSlots), c.Semaphore(strings.Repeat("x", longest), client.MaxSlots),
		} {
			p, err := good.Acquire(ctx)
			require.NoError(t, err)
			require.NoError(t, p.Unlock(ctx))
		}
		_, err := c.Semaphore("pool", 1).Acquire(ctx, client.TTL(time.Hour))
		require.ErrorIs(t, err, client.ErrInvalid)
		// A guard that is too long for the gate is not for the gate.
		p, err := c.Semaphore("pool", 1).Acquire(ctx, client.Guard(7*time.Second))
		require.NoError(t, err)
		require.NoError(t, p.Unlock(ctx))
		guarded := nodes.client(t, client.WithGuard(7*time.Second))
		p, err = guarded.Semaphore("pool", 1).Acquire(ctx)
		require.NoError(t, err)
		require.NoError(t, p.Unlock(ctx))
	})
}

// Ensure that what a permit costs the nodes is bounded, and that the number of those who wait does not multiply it.
func TestSemaphore_Requests(t *testing.T) {
	const nodesN, rounds = 5, 10
	for _, shape := range []struct{ k, clients, most int }{{3, 1, 5}, {3, 8, 12}, {3, 16, 12}} {
		synctest.Test(t, func(t *testing.T) {
			nodes, _ := memoryNodes(t, nodesN)
			ctx := context.Background()
			var requests atomic.Int64
			count := client.WithObserver(client.Observer{BatchEnded: func(e client.BatchEnded) { requests.Add(int64(e.Requests)) }})
			var clients []*client.Client
			for range shape.clients {
				c := nodes.client(t, count)
				require.NoError(t, c.Semaphore("warm", shape.k).Do(ctx, func(context.Context, *client.Permit) error { return nil }))
				clients = append(clients, c)
			}
			time.Sleep(time.Second)
			requests.Store(0)
			var wg sync.WaitGroup
			for _, c := range clients {
				wg.Go(func() {
					for range rounds {
						assert.NoError(t, c.Semaphore("pool", shape.k).Do(ctx, func(context.Context, *client.Permit) error {
							time.Sleep(10 * time.Millisecond)
							return nil
						}))
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Second)
			each := float64(requests.Load()) / float64(shape.clients*rounds*nodesN)
			t.Logf("%d permits, %d clients: %.1f requests per node and permit", shape.k, shape.clients, each)
			assert.Less(t, each, float64(shape.most))
		})
	}
}
