package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// shortly is more than all pauses that a waiter makes after the event that it waited for, in fake time.
const shortly = 50 * time.Millisecond

// waiting starts a Lock and returns, once it waits, a channel with the lease, nil after a failure.
func waiting(t *testing.T, c *client.Client, ctx context.Context, name string, opts ...client.LockOption) <-chan *client.Lease {
	t.Helper()
	got := make(chan *client.Lease, 1)
	go func() {
		l, _ := c.Lock(ctx, name, opts...)
		got <- l
	}()
	time.Sleep(20 * time.Millisecond) // of the bubble
	select {
	case <-got:
		t.Fatal("Lock did not wait")
	default:
	}
	return got
}

// Ensure that a release wakes a waiter, in a moment and not at the end of the ttl.
func TestLock_ReleaseWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		held, err := a.Lock(ctx, "x")
		require.NoError(t, err)
		got := waiting(t, b, ctx, "x")
		time.Sleep(4 * time.Second)

		released := time.Now()
		require.NoError(t, held.Unlock(ctx))
		lease := <-got
		require.NotNil(t, lease)
		assert.Less(t, time.Since(released), shortly)
		assert.Greater(t, lease.Token(), held.Token())
		require.NoError(t, lease.Unlock(ctx))
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "x")
	})
}

// Ensure that the lock of a holder that died passes to a waiter when its ttl is over, not much later.
func TestLock_HolderDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		_, err := a.Lock(ctx, "x", client.WithoutRenew(), client.TTL(5*time.Second))
		require.NoError(t, err)
		began := time.Now()
		lease, err := b.Lock(ctx, "x")
		require.NoError(t, err)
		// The dead holder's own quorum sends its release at the validity end, which is a little earlier.
		assert.InDelta(t, 5*time.Second, time.Since(began), float64(100*time.Millisecond))
		require.NoError(t, lease.Unlock(ctx))
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "x")
	})
}

// A mute node is one whose messages are not heard, as if it had none to send.
type mute struct{ redlock.Node }

// Ensure that a holder that is none of ours, and publishes nothing, is polled where the node does not tell
// either; one without any ttl as well.
func TestLock_ForeignHolderIsPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		var muted []redlock.Node
		for _, n := range nodes {
			node := n.node(t, nil)
			defer node.(interface{ Close() error }).Close() // the client knows not what is muted
			muted = append(muted, mute{node})
		}
		c := newClient(t, muted)
		for _, n := range nodes {
			require.NoError(t, n.rdb.Set(ctx, "x", "somebody else", 0).Err())
		}
		got := waiting(t, c, ctx, "x")
		time.Sleep(time.Minute)
		for _, n := range nodes {
			require.NoError(t, n.rdb.Del(ctx, "x").Err())
		}
		deleted := time.Now()
		lease := <-got
		require.NotNil(t, lease)
		assert.LessOrEqual(t, time.Since(deleted), 250*time.Millisecond)
		require.NoError(t, lease.Unlock(ctx))
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "x")
	})
}

// Ensure that a cancelled wait returns the context's own error and cause, says who was in the way, holds
// nothing, and leaves no lock and no place in a queue behind.
func TestLock_CancelledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t, client.WithOwner("anna")), nodes.client(t)
		held, err := a.Lock(ctx, "x")
		require.NoError(t, err)

		bored := errors.New("bored")
		wait, cancel := context.WithCancelCause(ctx)
		time.AfterFunc(3*time.Second, func() { cancel(bored) })
		lease, err := b.Lock(wait, "x")
		require.Nil(t, lease)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, bored)
		var inTheWay *client.HeldError
		require.ErrorAs(t, err, &inTheWay)
		assert.Equal(t, "anna", inTheWay.Label)

		synctest.Wait()
		state, err := a.Inspect(ctx, "x")
		require.NoError(t, err)
		assert.Zero(t, state.Waiting)
		assert.GreaterOrEqual(t, state.Holder.Nodes, 3)
		require.NoError(t, held.Unlock(ctx))
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "x")
	})
}

// Ensure that a context that is over before the call takes no lock, and neither does one that ends while the
// waiter stands in its own client's line.
func TestLock_CancelledBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		c := nodes.client(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := c.Lock(ctx, "x")
		require.ErrorIs(t, err, context.Canceled)
		_, err = c.TryLock(ctx, "x")
		require.ErrorIs(t, err, context.Canceled)

		held, err := c.Lock(context.Background(), "x")
		require.NoError(t, err)
		first := waiting(t, c, context.Background(), "x")
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = c.Lock(ctx, "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, held.Unlock(context.Background()))
		lease := <-first
		require.NoError(t, lease.Unlock(context.Background()))
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "x")
	})
}

// Ensure that waiters of several clients get the lock in the order in which they asked for it.
func TestLock_FirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		held, err := nodes.client(t).Lock(ctx, "x")
		require.NoError(t, err)
		order := make(chan int, 6)
		var clients []*client.Client
		for range 3 {
			clients = append(clients, nodes.client(t))
		}
		for i := range cap(order) { // two of each client
			go func() {
				l, err := clients[i%3].Lock(ctx, "x")
				if assert.NoError(t, err) {
					order <- i
					time.Sleep(time.Second)
					assert.NoError(t, l.Unlock(ctx))
				}
			}()
			time.Sleep(100 * time.Millisecond)
		}
		require.NoError(t, held.Unlock(ctx))
		for i := range cap(order) {
			assert.Equal(t, i, <-order)
		}
		time.Sleep(2 * time.Second)
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "x")
	})
}

// Ensure that the waiters of one client cost the nodes one place in the queue and one subscription.
func TestLock_WaitersQueueLocally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		x, err := a.Lock(ctx, "x")
		require.NoError(t, err)
		y, err := a.Lock(ctx, "y")
		require.NoError(t, err)
		var got []<-chan *client.Lease
		for i := range 20 {
			got = append(got, waiting(t, b, ctx, []string{"x", "y"}[i%2]))
		}
		state, err := a.Inspect(ctx, "x")
		require.NoError(t, err)
		assert.Equal(t, 1, state.Waiting)
		for _, n := range nodes {
			channels, err := n.rdb.PubSubChannels(ctx, "*").Result()
			require.NoError(t, err)
			assert.Len(t, channels, 1)
		}
		require.NoError(t, x.Unlock(ctx))
		require.NoError(t, y.Unlock(ctx))
		for _, g := range got {
			l := <-g
			require.NotNil(t, l)
			require.NoError(t, l.Unlock(ctx))
		}
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "x", "y")
	})
}

// Ensure that a waiter whose process died, at the head of all queues, costs the others at most its heartbeat.
func TestLock_DeadWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		held, err := a.Lock(ctx, "x")
		require.NoError(t, err)
		var ghosts []redlock.Node
		for _, n := range nodes {
			ghosts = append(ghosts, n.node(t, nil))
		}
		ghost, err := redlock.New(ghosts, redlock.Options{})
		require.NoError(t, err)
		_, err = ghost.Acquire(ctx, redlock.Attempt{Name: "x", TTL: time.Second,
			Waiter: redlock.Waiter{ID: "dead/1", Since: 1, Heartbeat: 6 * time.Second}})
		require.ErrorIs(t, err, client.ErrHeld)
		for _, n := range ghosts {
			require.NoError(t, n.(interface{ Close() error }).Close())
		}

		got := waiting(t, b, ctx, "x")
		released := time.Now()
		require.NoError(t, held.Unlock(ctx))
		lease := <-got
		require.NotNil(t, lease)
		assert.LessOrEqual(t, time.Since(released), 6*time.Second)
		require.NoError(t, lease.Unlock(ctx))
		time.Sleep(6 * time.Second)
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "x")
	})
}

// Ensure that a message that is lost with its connection is made up for as soon as the subscription is back.
func TestLock_LostMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t, client.WithTTL(5*time.Minute)), nodes.client(t)
		held, err := a.Lock(ctx, "x")
		require.NoError(t, err)
		got := waiting(t, b, ctx, "x")
		for _, n := range nodes {
			require.NoError(t, n.rdb.Do(ctx, "client", "kill", "type", "pubsub").Err())
		}
		released := time.Now()
		require.NoError(t, held.Unlock(ctx))
		lease := <-got
		require.NotNil(t, lease)
		assert.Less(t, time.Since(released), time.Second)
		require.NoError(t, lease.Unlock(ctx))
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "x")
	})
}

// Ensure that a lock that nobody has a majority of, since several owners died in the middle of their
// attempts, is fought for with pauses and won when the remains expire.
func TestLock_SplitVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		c := nodes.client(t)
		for i, n := range nodes[:4] {
			require.NoError(t, n.rdb.Set(ctx, "x", fmt.Sprint("owner ", i/2), 3*time.Second).Err())
		}
		began := time.Now()
		lease, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Since(began), 3500*time.Millisecond)
		require.NoError(t, lease.Unlock(ctx))
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "x")
	})
}

// Ensure that a call that cannot succeed fails at once and says why.
func TestLock_Refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 1)
		c := nodes.client(t)
		ctx := context.Background()
		_, err := c.Lock(ctx, "")
		require.ErrorIs(t, err, client.ErrInvalid)
		_, err = c.Lock(ctx, "x", client.TTL(time.Millisecond))
		require.ErrorIs(t, err, client.ErrInvalid)
		_, err = c.TryLock(ctx, "x", client.TTL(time.Hour))
		require.ErrorIs(t, err, client.ErrInvalid)
		refused := errors.New("disk full")
		_, err = c.Lock(ctx, "x", client.BeforeSend(func(string) error { return refused }))
		require.ErrorIs(t, err, refused)
		time.Sleep(time.Second) // for those nodes that nobody waited for
		nodes.assertClean(t, "x")
	})
}

// Ensure that who has just released a lock that others wait for does not compete with the one that is woken.
func TestLock_LeavesItToTheWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		mine, err := b.Lock(ctx, "x")
		require.NoError(t, err)
		for range 20 {
			next := waiting(t, a, ctx, "x")
			require.NoError(t, mine.Unlock(ctx))
			theirs := <-next
			require.NotNil(t, theirs)
			next = waiting(t, b, ctx, "x")
			again := make(chan *client.Lease, 1)
			require.NoError(t, theirs.Unlock(ctx))
			go func() {
				l, _ := a.Lock(ctx, "x")
				again <- l
			}()
			select {
			case mine = <-next:
			case <-time.After(time.Second):
				t.Fatal("the one that released it got it again before the waiter")
			}
			require.NotNil(t, mine)
			time.Sleep(20 * time.Millisecond)
			require.NoError(t, mine.Unlock(ctx))
			l := <-again
			require.NotNil(t, l)
			assert.Greater(t, l.Token(), mine.Token(), "the waiter came first")
			require.NoError(t, l.Unlock(ctx))
			mine, err = b.Lock(ctx, "x")
			require.NoError(t, err)
		}
		require.NoError(t, mine.Unlock(ctx))
		time.Sleep(time.Second)
		nodes.assertClean(t, "x")
	})
}
