package client_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A diary is an observer that remembers everything but batches and what contexts it was given.
type diary struct {
	mu     sync.Mutex
	events []any
	nodes  []any
	trails []string // what the contexts of the events carried
	batch  map[string][]client.BatchEnded
}

type trailKey struct{}

// observer returns the diary's observer, which leaves its mark in the contexts that it passes on.
func (d *diary) observer(mark string) client.Observer {
	note := func(ctx context.Context, e any) context.Context {
		trail, _ := ctx.Value(trailKey{}).(string)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.events = append(d.events, e)
		d.trails = append(d.trails, trail)
		return context.WithValue(ctx, trailKey{}, trail+mark)
	}
	node := func(e any) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.nodes = append(d.nodes, e)
	}
	return client.Observer{
		WaitBegan:     func(ctx context.Context, e client.WaitBegan) context.Context { return note(ctx, e) },
		AttemptEnded:  func(ctx context.Context, e client.AttemptEnded) { note(ctx, e) },
		LockAcquired:  func(ctx context.Context, e client.LockAcquired) context.Context { return note(ctx, e) },
		WaitFailed:    func(ctx context.Context, e client.WaitFailed) { note(ctx, e) },
		LeaseRenewed:  func(ctx context.Context, e client.LeaseRenewed) { note(ctx, e) },
		LeaseLost:     func(ctx context.Context, e client.LeaseLost) { note(ctx, e) },
		LeaseReleased: func(ctx context.Context, e client.LeaseReleased) { note(ctx, e) },
		NodeUp:        func(e client.NodeUp) { node(e) },
		NodeDown:      func(e client.NodeDown) { node(e) },
		BatchEnded: func(e client.BatchEnded) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.batch == nil {
				d.batch = map[string][]client.BatchEnded{}
			}
			d.batch[e.Node] = append(d.batch[e.Node], e)
		},
	}
}

// take returns the events since the last call, and empties the diary.
func (d *diary) take() []any {
	d.mu.Lock()
	defer d.mu.Unlock()
	events := d.events
	d.events, d.trails = nil, nil
	return events
}

// changes returns which nodes went and came back since the last call, and batches what was sent to one.
func (d *diary) changes() []any {
	d.mu.Lock()
	defer d.mu.Unlock()
	nodes := d.nodes
	d.nodes = nil
	return nodes
}

func (d *diary) batches(node string) []client.BatchEnded {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.batch[node])
}

// kinds returns the types of events, shortly.
func kinds(events []any) []string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%T", e)[len("client."):])
	}
	return all
}

// Ensure that the observer of a lock that is waited for hears of the wait while it lasts, and then of the whole
// life of the lease, in order and with what there is to say.
func TestObserver_Life(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		holder, err := nodes.client(t).Lock(ctx, "x", client.Owner("before"))
		require.NoError(t, err)

		var d diary
		c := nodes.client(t, client.WithObserver(d.observer("a")))
		got := waiting(t, c, ctx, "x", client.Owner("me"))
		time.Sleep(5 * time.Second)
		events := d.take()
		require.GreaterOrEqual(t, len(events), 2)
		assert.Equal(t, client.WaitBegan{Call: client.CallLock, Name: "x"}, events[0])
		for i, e := range events[1:] {
			attempt := e.(client.AttemptEnded)
			assert.Equal(t, i+1, attempt.Number)
			var held *client.HeldError
			require.ErrorAs(t, attempt.Err, &held)
			assert.Equal(t, "before", held.Label)
		}
		attempts := len(events) - 1

		require.NoError(t, holder.Unlock(ctx))
		l := <-got
		time.Sleep(6 * time.Second)
		require.NoError(t, l.Unlock(ctx))
		require.NoError(t, l.Unlock(ctx))
		events = d.take()
		require.Equal(t, []string{"AttemptEnded", "LockAcquired", "LeaseRenewed", "LeaseReleased"}, kinds(events))
		assert.Equal(t, client.AttemptEnded{Name: "x", Number: attempts + 1}, events[0])
		acquired := events[1].(client.LockAcquired)
		assert.GreaterOrEqual(t, acquired.Held, 3)
		acquired.Held = 0
		assert.GreaterOrEqual(t, acquired.Waited, 5*time.Second)
		acquired.Waited = 0
		assert.Equal(t, client.LockAcquired{Call: client.CallLock, Name: "x", Token: l.Token(), Owner: "me",
			Attempts: attempts + 1, Nodes: 5}, acquired)
		assert.Equal(t, client.LeaseRenewed{Name: "x", Token: l.Token()}, events[2])
		assert.Equal(t, client.LeaseReleased{Name: "x", Token: l.Token(), Held: 6 * time.Second}, events[3])
	})
}

// Ensure that each way to fail is told with the error that the call returned, and only once.
func TestObserver_Failures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		holder, err := nodes.client(t).Lock(ctx, "x")
		require.NoError(t, err)
		var d diary
		c := nodes.client(t, client.WithObserver(d.observer("a")))

		_, err = c.TryLock(ctx, "x")
		events := d.take()
		require.Equal(t, []string{"WaitBegan", "AttemptEnded", "WaitFailed"}, kinds(events))
		assert.Equal(t, client.WaitBegan{Call: client.CallTryLock, Name: "x"}, events[0])
		assert.Equal(t, client.WaitFailed{Call: client.CallTryLock, Name: "x", Attempts: 1, Err: err}, events[2])

		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = c.Lock(short, "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		events = d.take()
		failed := events[len(events)-1].(client.WaitFailed)
		assert.Equal(t, len(events)-2, failed.Attempts)
		failed.Attempts = 0
		assert.Equal(t, client.WaitFailed{Call: client.CallLock, Name: "x", Waited: time.Second, Err: err}, failed)

		_, err = c.Lock(ctx, "")
		require.ErrorIs(t, err, client.ErrInvalid)
		assert.Equal(t, []string{"WaitBegan", "AttemptEnded", "WaitFailed"}, kinds(d.take()))

		handle := holder.Handle()
		require.NoError(t, holder.Unlock(ctx))
		_, err = c.Resume(ctx, handle)
		require.Error(t, err)
		events = d.take()
		require.Equal(t, []string{"WaitBegan", "WaitFailed"}, kinds(events))
		assert.Equal(t, client.WaitFailed{Call: client.CallResume, Name: "x", Err: err}, events[1])
	})
}

// Ensure that every end of a lease is told once, whoever finds it: a loss with its cause, also if only Unlock
// finds it, and what Detach leaves behind.
func TestObserver_Ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, started := memoryNodes(t, 3)
		ctx := context.Background()
		var d diary
		c := nodes.client(t, client.WithObserver(d.observer("a")))
		last := func() client.LeaseLost {
			events := d.take()
			require.NotEmpty(t, events)
			for _, e := range events[:len(events)-1] {
				require.NotContains(t, []string{"LeaseLost", "LeaseReleased"}, kinds([]any{e})[0])
			}
			require.IsType(t, client.LeaseLost{}, events[len(events)-1])
			return events[len(events)-1].(client.LeaseLost)
		}

		l, err := c.Lock(ctx, "expires", client.WithoutRenew())
		require.NoError(t, err)
		<-l.Lost()
		require.Error(t, l.Unlock(ctx))
		require.Error(t, l.Renew(ctx))
		time.Sleep(time.Minute)
		lost := last()
		assert.ErrorIs(t, lost.Cause, client.ErrExpired)
		assert.Equal(t, client.DefaultTTL-drift, lost.Held)
		assert.Equal(t, l.Token(), lost.Token)

		l, err = c.Lock(ctx, "stolen")
		require.NoError(t, err)
		for _, n := range nodes {
			require.NoError(t, n.rdb.Set(ctx, "stolen", "thief", time.Hour).Err())
		}
		<-l.Lost()
		time.Sleep(time.Minute)
		assert.ErrorIs(t, last().Cause, client.ErrStolen)

		_, err = c.Lock(ctx, "left")
		require.NoError(t, err)
		_, err = c.Lock(ctx, "quorum")
		require.NoError(t, err)
		started[0].Stop()
		started[1].Stop()
		time.Sleep(client.DefaultTTL)
		lost = client.LeaseLost{}
		failures := 0
		for _, e := range d.take() {
			switch e := e.(type) {
			case client.LeaseLost:
				lost = e
			case client.LeaseRenewed:
				if e.Err != nil {
					assert.ErrorIs(t, e.Err, client.ErrQuorum)
					failures++
				}
			}
		}
		assert.ErrorIs(t, lost.Cause, client.ErrQuorum)
		assert.Positive(t, failures, "a failed renewal is told before the loss")

		started[0].Restart()
		started[1].Restart()
		time.Sleep(5 * time.Second)
		other := nodes.client(t, client.WithObserver(d.observer("a")))
		_, err = other.Lock(ctx, "detached")
		require.NoError(t, err)
		require.NoError(t, other.Detach(ctx))
		assert.ErrorIs(t, last().Cause, client.ErrClosed)
	})
}

// Ensure that several observers are all told, and that what one puts into a context reaches the next, the later
// events, and the work under the lease.
func TestObserver_Contexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.WithValue(context.Background(), trailKey{}, ">")
		var d diary
		c := nodes.client(t, client.WithObserver(d.observer("a")), client.WithObserver(client.Observer{}),
			client.WithObserver(d.observer("b")))
		err := c.Do(ctx, "x", func(ctx context.Context, l *client.Lease) error {
			assert.Equal(t, ">abab", ctx.Value(trailKey{}))
			inner, err := c.TryLock(ctx, "y")
			require.NoError(t, err)
			return inner.Unlock(ctx)
		})
		require.NoError(t, err)
		for i, want := range []string{">", ">a", ">ab", ">ab", ">ab", ">aba", // x: began, attempt, acquired, twice each
			">abab", ">ababa", ">ababab", ">ababab", ">ababab", ">abababa", ">abababab", ">abababab", // y, with its release
			">abab", ">abab"} { // x: released
			assert.Equal(t, want, d.trails[i], "event %d", i)
		}
		assert.Len(t, d.trails, 16)
		inner := d.events[10].(client.LockAcquired)
		assert.Equal(t, "y", inner.Name)
		assert.Equal(t, 1, inner.Attempts, "not those of the lock around it")
	})
}

// Ensure that the state of each node is told when it changes, and each batch with its latency; and that Close
// makes no node look down.
func TestObserver_Nodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, started := memoryNodes(t, 3)
		ctx := context.Background()
		v := &valve{delay: 3 * time.Millisecond}
		var d diary
		hangs := &valve{delay: 3 * time.Millisecond}
		c := newClient(t, append(v.nodes(t, nodes[:2]), hangs.nodes(t, nodes[2:])...), client.WithObserver(d.observer("a")))
		cycle := func() {
			l, err := c.Lock(ctx, "x")
			require.NoError(t, err)
			require.NoError(t, l.Unlock(ctx))
			time.Sleep(10 * time.Second)
		}
		cycle()
		changes := d.changes()
		assert.Len(t, changes, 3)
		for _, n := range nodes {
			assert.Contains(t, changes, client.NodeUp{Node: n.addr})
			require.NotEmpty(t, d.batches(n.addr))
			for _, b := range d.batches(n.addr) {
				assert.NoError(t, b.Err)
				assert.GreaterOrEqual(t, b.Took, 3*time.Millisecond)
				assert.Positive(t, b.Requests)
			}
		}
		started[1].Stop()
		cycle()
		cycle()
		changes = d.changes()
		require.Len(t, changes, 1)
		down := changes[0].(client.NodeDown)
		assert.Equal(t, nodes[1].addr, down.Node)
		assert.Error(t, down.Err)
		started[1].Restart()
		cycle()
		cycle()
		assert.Equal(t, []any{client.NodeUp{Node: nodes[1].addr}}, d.changes())

		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		hangs.shut(true)
		require.NoError(t, c.Close(ctx))
		require.ErrorIs(t, l.Err(), client.ErrReleased)
		assert.Empty(t, d.changes(), "Close cut the connection of the node that hangs")
	})
}

// Ensure that the functions about one lease never overlap, and that nothing follows its end, while renewals, the
// watchdog and many calls of Unlock are at work.
func TestObserver_OneAtATime(t *testing.T) {
	nodes, _ := memoryNodes(t, 3)
	ctx := context.Background()
	var mu sync.Mutex
	busy, over := map[int64]bool{}, map[int64]int{}
	enter := func(token int64, last bool) {
		mu.Lock()
		assert.False(t, busy[token], "two at a time")
		assert.Zero(t, over[token], "told after the end")
		busy[token] = true
		mu.Unlock()
		time.Sleep(100 * time.Microsecond)
		mu.Lock()
		busy[token] = false
		if last {
			over[token]++
		}
		mu.Unlock()
	}
	c := nodes.client(t, client.WithObserver(client.Observer{
		LeaseRenewed:  func(_ context.Context, e client.LeaseRenewed) { enter(e.Token, false) },
		LeaseLost:     func(_ context.Context, e client.LeaseLost) { enter(e.Token, true) },
		LeaseReleased: func(_ context.Context, e client.LeaseReleased) { enter(e.Token, true) },
	}))
	for range 20 {
		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 3 {
					l.Renew(ctx)
				}
				if i%2 == 0 {
					l.Unlock(ctx)
				}
			})
		}
		wg.Wait()
		mu.Lock()
		assert.Equal(t, 1, over[l.Token()])
		mu.Unlock()
	}
}

// A willingNode grants and confirms everything at once, without a network: what a benchmark on it counts is the
// client's own.
type willingNode string

func (n willingNode) String() string { return string(n) }

func (n willingNode) Send(req redlock.Request, reply func(redlock.Reply)) {
	r := redlock.Reply{Status: redlock.StatusOK}
	if req.Op == redlock.OpAcquire {
		r = redlock.Reply{Status: redlock.StatusGranted, Fence: req.Proposal}
	}
	reply(r)
}

// BenchmarkObserver shows what observing costs a lock and its release. Compare "none" with a client that has no
// observers at all: there is no difference, see TestObservers_NoneIsFree.
func BenchmarkObserver(b *testing.B) {
	held := 0
	for _, bench := range []struct {
		name string
		opts []client.Option
	}{
		{"none", nil},
		{"empty", []client.Option{client.WithObserver(client.Observer{})}},
		{"count", []client.Option{client.WithObserver(client.Observer{
			LockAcquired:  func(ctx context.Context, e client.LockAcquired) context.Context { held++; return ctx },
			LeaseReleased: func(ctx context.Context, e client.LeaseReleased) { held-- },
		})}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c := newClient(b, []redlock.Node{willingNode("a"), willingNode("b"), willingNode("c")}, bench.opts...)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				l, err := c.Lock(ctx, "x")
				if err != nil {
					b.Fatal(err)
				}
				if err := l.Unlock(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	assert.Zero(b, held)
}
