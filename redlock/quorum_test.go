package redlock

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(800) // the model test makes much garbage on a tiny heap
	goleak.VerifyTestMain(m)
}

// A memNode is a Node in memory, with faults: a delay on the way there and back, and a hang in which nothing
// arrives until it is over or the node's own patience ends.
type memNode struct {
	name string
	rank int
	// passed counts how often it was passed over.
	passed atomic.Int64

	mu      sync.Mutex
	delay   time.Duration
	refuse  error // requests are refused at once with this
	hung    bool
	mute    []Op // these are executed, but their answers are lost
	names   map[string]*simNode
	log     []Request // as executed
	pending []func()  // while hung
	coming  []coming  // under way, in order
	answers []func()  // under way back, in order

	answering sync.Mutex // one at a time
}

// A coming is a request on its way to a memNode.
type coming struct {
	req   Request
	reply func(Reply)
}

// patience is after how long a memNode gives up on a request that hangs.
const patience = 3 * time.Second

var errHung = errors.New("i/o timeout")

func (n *memNode) String() string { return n.name }
func (n *memNode) Rank() int      { return n.rank }
func (n *memNode) Passed()        { n.passed.Add(1) }

func (n *memNode) Send(r Request, reply func(Reply)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		err := n.refuse
		go reply(Reply{Status: StatusError, Err: err, NotSent: true})
		return
	}
	if n.hung {
		// Nobody knows whether it will be executed once the hang is over: it will.
		n.pending = append(n.pending, func() { n.do(r) })
		time.AfterFunc(patience, func() { reply(Reply{Status: StatusError, Err: errHung}) })
		return
	}
	back := n.delay
	n.coming = append(n.coming, coming{r, reply})
	time.AfterFunc(n.delay, func() {
		n.mu.Lock()
		first := n.coming[0] // timers of one instant fire in any order; requests keep theirs
		n.coming = n.coming[1:]
		answer := n.do(first.req)
		mute := slices.Contains(n.mute, first.req.Op)
		defer n.mu.Unlock()
		if mute {
			time.AfterFunc(patience, func() { first.reply(Reply{Status: StatusError, Err: errHung}) })
			return
		}
		n.answers = append(n.answers, func() { first.reply(answer) })
		time.AfterFunc(back, n.answerNext)
	})
}

// answerNext lets the next answer arrive.
func (n *memNode) answerNext() {
	n.answering.Lock()
	defer n.answering.Unlock()
	n.mu.Lock()
	answer := n.answers[0]
	n.answers = n.answers[1:]
	n.mu.Unlock()
	answer()
}

// do executes a request. n.mu is held.
func (n *memNode) do(r Request) Reply {
	n.log = append(n.log, r)
	return n.state(r.Name).do(r, clock.Now())
}

// state returns what the node knows of a name. n.mu is held.
func (n *memNode) state(name string) *simNode {
	s := n.names[name]
	if s == nil {
		s = &simNode{rules: rightNode(), stretch: func() time.Duration { return 0 }, wall: func() int64 { return clock.Wall().UnixMicro() }}
		n.names[name] = s
	}
	return s
}

func (n *memNode) with(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *memNode) hang() { n.with(func() { n.hung = true }) }

func (n *memNode) wakeUp() {
	n.with(func() {
		n.hung = false
		for _, do := range n.pending {
			do()
		}
		n.pending = nil
	})
}

// owner returns who has the lock at this node.
func (n *memNode) owner(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.state(name)
	s.settle(clock.Now())
	return s.owner
}

func (n *memNode) count(op Op) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := 0
	for _, r := range n.log {
		if r.Op == op {
			c++
		}
	}
	return c
}

// cluster is a quorum over five nodes, 1 ms away. The first three are asked first.
type cluster struct {
	*Quorum
	t     *testing.T
	nodes []*memNode
}

func inBubble(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t}
		var nodes []Node
		for i := range 5 {
			n := &memNode{name: fmt.Sprint("node", i), rank: i, delay: time.Millisecond / 2, names: map[string]*simNode{}}
			c.nodes = append(c.nodes, n)
			nodes = append(nodes, n)
		}
		q, err := New(nodes, Options{})
		require.NoError(t, err)
		c.Quorum = q
		test(t, c)
		require.NoError(t, q.Close(context.Background()))
	})
}

// won returns a grant of the lock "n" for ten seconds, which is on its way to the spares as well.
func (c *cluster) won() *Grant {
	c.t.Helper()
	g, err := c.Acquire(c.t.Context(), Attempt{Name: "n", TTL: 10 * time.Second, Label: "w1"})
	require.NoError(c.t, err)
	c.Spread(g)
	return g
}

// slowMinority puts nodes 3 and 4 farther away, so that the first majority is always that of the others.
func (c *cluster) slowMinority() {
	for _, n := range c.nodes[3:] {
		n.with(func() { n.delay = 2 * time.Millisecond })
	}
}

func (c *cluster) owners() (owners []string) {
	for _, n := range c.nodes {
		owners = append(owners, n.owner("n"))
	}
	return owners
}

var nobody = make([]string, 5)

// Ensure that a grant is held strictly until its validity end, and that the lock is then gone everywhere.
func TestGrantEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		before := clock.Now()
		g := c.won()
		assert.Equal(t, before.Add(10*time.Second-102*time.Millisecond), g.End(), "counts from before the first send")
		assert.Equal(t, "n", g.Name())
		assert.Equal(t, "w1", g.Label())
		assert.Equal(t, 10*time.Second, g.TTL())
		assert.Len(t, g.Value(), 40)
		assert.Equal(t, Digest(g.Value()), g.Digest())
		assert.Equal(t, 3, g.Nodes(), "a majority was asked first")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		assert.Equal(t, 5, g.Nodes())
		time.Sleep(g.Remaining() - 1)
		assert.True(t, g.Held())
		assert.NoError(t, g.Err())
		time.Sleep(1)
		assert.False(t, g.Held())
		assert.Zero(t, g.Remaining())
		assert.ErrorIs(t, g.Err(), ErrLost)
		<-g.Done()
		time.Sleep(time.Millisecond)
		assert.Equal(t, nobody, c.owners())
		assert.ErrorIs(t, c.Renew(t.Context(), g), ErrLost)
		assert.ErrorIs(t, c.Release(t.Context(), g), ErrLost)
	})
}

// Ensure that tokens rise from one grant to the next, and that a release frees the lock and can be repeated.
func TestReleaseAndAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		last := int64(0)
		for range 5 {
			g := c.won()
			assert.Greater(t, g.Token(), last)
			last = g.Token()
			require.NoError(t, c.Release(t.Context(), g))
			assert.False(t, g.Held())
			assert.ErrorIs(t, g.Err(), ErrReleased)
			require.NoError(t, c.Release(t.Context(), g))
			assert.ErrorIs(t, c.Renew(t.Context(), g), ErrReleased)
		}
		time.Sleep(time.Millisecond)
		assert.Equal(t, nobody, c.owners())
		for _, n := range c.nodes {
			assert.Equal(t, 5, n.count(OpAcquire), "each value is sent once to each node")
			assert.Equal(t, 5, n.count(OpRelease))
			assert.Zero(t, n.count(OpRaise), "nodes that agree need no second round trip")
		}
	})
}

// Ensure that a release works without a live context, and that the caller need not wait for it.
func TestReleaseWithDeadContext(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, c.Release(ctx, g), context.Canceled)
		assert.False(t, g.Held())
		time.Sleep(time.Millisecond)
		assert.Equal(t, nobody, c.owners())
		assert.NoError(t, c.Release(t.Context(), g))
	})
}

// Ensure that a held lock is an error that tells who holds it and for how long, and that what was granted to
// the loser does not stay.
func TestHeld(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.slowMinority()
		g := c.won()
		_, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second})
		require.ErrorIs(t, err, ErrHeld)
		var held *HeldError
		require.ErrorAs(t, err, &held)
		assert.Equal(t, "w1", held.Label)
		assert.Equal(t, g.Digest(), held.Digest)
		assert.True(t, held.Recorded)
		assert.Equal(t, 10*time.Second-time.Millisecond, held.Remaining)
		assert.Equal(t, 3, held.Held, "decided by the first majority")
		assert.Zero(t, held.Granted)
		assert.Equal(t, 1, held.Owners)
		assert.False(t, held.Split(3))
		assert.NotContains(t, err.Error(), g.Value())
		require.NoError(t, c.Release(t.Context(), g))
		time.Sleep(time.Second)
		assert.Equal(t, 1, c.nodes[3].count(OpAcquire), "where all that were asked first are taken, the spares are not asked")
	})
}

// Ensure that a vote that is split between two is told from a lock that is held.
func TestHeld_Split(t *testing.T) {
	for _, c := range []struct {
		err   HeldError
		split bool
	}{
		{HeldError{Held: 3, Owners: 1}, false},
		{HeldError{Held: 2, Owners: 1}, false}, // a third node failed
		{HeldError{Held: 3, Owners: 0, Turn: true}, false},
		{HeldError{Held: 3, Granted: 2, Owners: 1}, false},
		{HeldError{Held: 2, Granted: 1, Owners: 1}, true},
		{HeldError{Held: 3, Granted: 1, Owners: 2}, true},
		{HeldError{Held: 5, Owners: 2}, true},
	} {
		assert.Equal(t, c.split, c.err.Split(3), "%+v", c.err)
	}
}

// Ensure that nodes whose fences disagree are raised to the highest token, and that an attempt fails
// when too few of them store it.
func TestRaise(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		ahead := clock.Wall().Add(time.Hour).UnixMicro()
		c.nodes[0].with(func() { c.nodes[0].state("n").fence, c.nodes[0].state("n").fenceEnds = ahead, never })
		c.nodes[3].with(func() { c.nodes[3].delay = time.Second })
		c.nodes[4].with(func() { c.nodes[4].delay = time.Second })
		start := clock.Now()
		g := c.won()
		assert.Equal(t, ahead+1, g.Token())
		assert.Equal(t, 2*time.Millisecond, clock.Since(start), "two round trips")
		for i, want := range []int{0, 1, 1, 0, 0} {
			assert.Equal(t, want, c.nodes[i].count(OpRaise), i)
		}
		require.NoError(t, c.Release(t.Context(), g))

		c.nodes[0].with(func() { c.nodes[0].state("n").fence = ahead + 1e6 })
		c.nodes[1].with(func() { c.nodes[1].mute = []Op{OpRaise} })
		_, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: 10 * time.Second})
		require.ErrorIs(t, err, ErrQuorum)
		require.ErrorIs(t, err, errHung)
		time.Sleep(5 * time.Second)
		assert.Equal(t, nobody, c.owners())
	})
}

// Ensure that a minority that is slow, hung or down costs no time in any call, and does not lose the lock.
func TestMinorityCostsNothing(t *testing.T) {
	for name, fault := range map[string]func(n *memNode){
		"slow": func(n *memNode) { n.delay = time.Second },
		"hung": func(n *memNode) { n.hung = true },
		"down": func(n *memNode) { n.refuse = errors.New("connection refused") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				for _, n := range []*memNode{c.nodes[0], c.nodes[3]} {
					n.rank = 9 // it is known by now
					n.with(func() { fault(n) })
				}
				start := clock.Now()
				g := c.won()
				assert.Equal(t, time.Millisecond, clock.Since(start))
				_, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second})
				assert.ErrorIs(t, err, ErrHeld)
				assert.Equal(t, 2*time.Millisecond, clock.Since(start))
				require.NoError(t, c.Renew(t.Context(), g))
				s, err := c.Inspect(t.Context(), "n")
				require.NoError(t, err)
				assert.False(t, s.Free())
				require.NoError(t, c.Release(t.Context(), g))
				assert.Equal(t, 5*time.Millisecond, clock.Since(start))
				c.nodes[0].wakeUp()
				c.nodes[3].wakeUp()
				time.Sleep(10 * time.Second)
				assert.Equal(t, nobody, c.owners())
			})
		})
	}
}

// Ensure that a node of the first majority that does not answer costs a moment, and one that refuses only the way
// to the spares; and that the lock is won with these.
func TestHedge(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		attempt := func() (g *Grant, took time.Duration) {
			start := clock.Now()
			g, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: 10 * time.Second})
			require.NoError(t, err)
			return g, clock.Since(start)
		}
		g, took := attempt()
		assert.Equal(t, time.Millisecond, took)
		require.NoError(t, c.Release(t.Context(), g))
		for _, n := range c.nodes[3:] {
			assert.Zero(t, n.count(OpAcquire), "not needed, not asked")
			assert.Zero(t, n.count(OpRelease))
		}
		c.nodes[1].hang()
		delay := c.pace.hedgeDelay()
		assert.Equal(t, 4*time.Millisecond, delay, "four round trips")
		g, took = attempt()
		assert.Equal(t, delay+time.Millisecond, took)
		require.NoError(t, c.Release(t.Context(), g))
		c.nodes[1].wakeUp()
		time.Sleep(patience)
		c.nodes[1].with(func() { c.nodes[1].refuse = errors.New("connection refused") })
		g, took = attempt()
		assert.Equal(t, time.Millisecond, took, "the spares are asked while the others answer")
		synctest.Wait()
		assert.Equal(t, 4, g.Nodes())
		require.NoError(t, c.Release(t.Context(), g))
		time.Sleep(time.Second)
		assert.Equal(t, nobody, c.owners())
	})
}

// Ensure that the token of a lease that was over in a moment reaches the nodes that had no part in it soon, once for
// all leases of that time, and at once when the quorum is closed.
func TestLift(t *testing.T) {
	fences := func(c *cluster) (fences []int64) {
		for _, n := range c.nodes {
			n.with(func() { fences = append(fences, n.state("n").fence) })
		}
		return fences
	}
	for name, soon := range map[string]func(c *cluster){
		"soon":  func(*cluster) { time.Sleep(liftAfter + time.Millisecond) },
		"close": func(c *cluster) { require.NoError(c.t, c.Close(c.t.Context())) },
		"stop then close": func(c *cluster) {
			c.Stop()
			require.NoError(c.t, c.Close(c.t.Context()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				var token int64
				for range 10 {
					g, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: 10 * time.Second})
					require.NoError(t, err)
					token = g.Token()
					require.NoError(t, c.Release(t.Context(), g))
				}
				synctest.Wait()
				assert.Equal(t, []int64{token, token, token, 0, 0}, fences(c))
				soon(c)
				assert.Equal(t, []int64{token, token, token, token, token}, fences(c))
				time.Sleep(time.Second)
				for i, n := range c.nodes {
					assert.Equal(t, i/3, n.count(OpLift))
				}
			})
		})
	}
}

// Ensure that a quorum whose nodes are far away learns to wait for them before it asks the spares.
func TestHedge_FarNodes(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		for _, n := range c.nodes {
			n.with(func() { n.delay = 25 * time.Millisecond })
		}
		for range 20 {
			g, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: 10 * time.Second})
			require.NoError(t, err)
			require.NoError(t, c.Release(t.Context(), g))
			time.Sleep(time.Second)
		}
		assert.Greater(t, c.pace.hedgeDelay(), 50*time.Millisecond)
		before := c.nodes[4].count(OpAcquire)
		assert.Less(t, before, 20)
		g, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: 10 * time.Second})
		require.NoError(t, err)
		require.NoError(t, c.Release(t.Context(), g))
		time.Sleep(time.Second)
		assert.Equal(t, before, c.nodes[4].count(OpAcquire), "the spares were not asked")
	})
}

// Ensure that the order in which nodes are asked is the same for all clients, spreads names over the nodes, and
// puts those that do badly last.
func TestOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		first := map[int]int{}
		for _, n := range c.nodes {
			n.rank = 0
		}
		for i := range 1000 {
			name := fmt.Sprint("lock", i)
			order := c.order(name)
			assert.Equal(t, order, c.order(name))
			first[order[0]]++
			sorted := slices.Sorted(slices.Values(order))
			assert.Equal(t, []int{0, 1, 2, 3, 4}, sorted)
		}
		for node := range 5 {
			assert.InDelta(t, 200, first[node], 60)
		}
		c.nodes[2].rank, c.nodes[4].rank = 1, 7
		for i := range 100 {
			order := c.order(fmt.Sprint("lock", i))
			assert.Equal(t, []int{2, 4}, order[3:])
		}
		for i, n := range c.nodes {
			assert.EqualValues(t, map[bool]int{true: 100}[i == 2 || i == 4], n.passed.Load(), "who is passed over is told, and nobody else")
		}
	})
}

// Ensure that without a majority an attempt ends in good time with an error that reaches every node's own,
// and leaves nothing behind.
func TestNoQuorum(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		refused := errors.New("connection refused")
		for _, n := range c.nodes[:2] {
			n.with(func() { n.refuse = refused })
		}
		c.nodes[2].hang()
		start := clock.Now()
		_, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second})
		require.ErrorIs(t, err, ErrQuorum)
		assert.ErrorIs(t, err, refused)
		assert.ErrorIs(t, err, ErrNoAnswer, "the hung node is waited for until the validity end and no longer")
		assert.NotErrorIs(t, err, ErrHeld)
		assert.Equal(t, time.Second-12*time.Millisecond, clock.Since(start))
		var quorum *QuorumError
		require.ErrorAs(t, err, &quorum)
		assert.Equal(t, 2, quorum.Agreed)
		assert.Equal(t, 3, quorum.Need)
		assert.Equal(t, 5, quorum.Nodes)
		assert.Len(t, quorum.Errs, 3)
		assert.ErrorContains(t, err, "node0: connection refused")
		time.Sleep(time.Millisecond)
		assert.Equal(t, nobody, c.owners())

		start = clock.Now()
		_, err = c.Acquire(t.Context(), Attempt{Name: "n", TTL: 5 * time.Minute})
		require.ErrorIs(t, err, errHung)
		assert.Equal(t, patience, clock.Since(start), "the error of the third node decides")
		c.nodes[2].wakeUp()
	})
}

// Ensure that a cancelled wait returns the context's own error and cause, whatever the nodes said meanwhile,
// and that a grant which comes in later is released again.
func TestCancelledWait(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		for _, n := range c.nodes {
			n.with(func() { n.delay = time.Second })
		}
		cause := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(1500*time.Millisecond, func() { cancel(cause) }) // granted everywhere, nobody knows
		_, err := c.Acquire(ctx, Attempt{Name: "n", TTL: 10 * time.Second})
		require.ErrorIs(t, err, cause)
		require.ErrorIs(t, err, context.Canceled)
		assert.NotContains(t, c.owners(), "")
		time.Sleep(time.Second + 1)
		assert.Equal(t, nobody, c.owners())

		_, err = c.Acquire(ctx, Attempt{Name: "n", TTL: 10 * time.Second})
		require.ErrorIs(t, err, cause)
		deadline, stop := context.WithTimeout(t.Context(), time.Millisecond)
		defer stop()
		_, err = c.Acquire(deadline, Attempt{Name: "n", TTL: 10 * time.Second})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		for _, n := range c.nodes {
			assert.Equal(t, 1, n.count(OpAcquire), "a context that is done sends nothing; the other is under way")
		}
		time.Sleep(3 * time.Second)
		assert.Equal(t, nobody, c.owners())
	})
}

// A busyNode takes a while to be handed a message.
type busyNode struct{ *memNode }

func (n busyNode) Send(r Request, reply func(Reply)) {
	time.Sleep(2 * time.Millisecond)
	n.memNode.Send(r, reply)
}

// Ensure that an attempt that is cancelled while another goroutine asks the spares, and a release in the midst of
// a renewal, have sent everything when they return: a Leave that follows must not be overtaken by an acquire, which
// would put the waiter back into a queue that nobody takes it out of.
func TestCancelledWait_Sent(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.slowMinority()
		c.nodes[0].refuse = errors.New("connection refused") // so the spares are asked as soon as it answers
		nodes := []Node{c.nodes[0], c.nodes[1], c.nodes[2], busyNode{c.nodes[3]}, busyNode{c.nodes[4]}}
		q, err := New(nodes, Options{})
		require.NoError(t, err)
		holder := c.won()
		time.Sleep(time.Second)
		sent := func() (n int) {
			for _, node := range c.nodes {
				node.with(func() { n += len(node.log) + len(node.coming) })
			}
			return n
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond/4)
		defer cancel()
		w := Waiter{ID: "w/1", Since: 1, Heartbeat: 6 * time.Second}
		_, err = q.Acquire(ctx, Attempt{Name: "n", TTL: 10 * time.Second, Waiter: w})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		q.Leave("n", w)
		before := sent()
		time.Sleep(time.Second)
		assert.Equal(t, before, sent())
		assert.Empty(t, q.places)
		for _, n := range c.nodes[1:] {
			assert.Equal(t, OpLeave, n.log[len(n.log)-1].Op)
		}
		require.NoError(t, c.Release(t.Context(), holder))
		require.NoError(t, q.Close(t.Context()))
	})
}

// Ensure that a grant that arrives after the attempt ended is released again even where the release that was
// sent at the end came to nothing.
func TestLateGrant(t *testing.T) {
	now := clock.Instant(1000)
	l := newLease(protocol(DefaultDrift), 1, Request{Name: "n", Value: "v", TTL: time.Second})
	l.begin(now, []int{0})
	acquire := l.take()[0]
	l.abandon(now)
	release := l.take()
	require.Len(t, release, 1)
	require.Equal(t, OpRelease, release[0].req.Op)
	l.reply(acquire, Reply{Status: StatusGranted, Fence: 1}, now)
	require.Empty(t, l.take(), "the release under way will do")
	l.reply(release[0], Reply{Status: StatusError, Err: errHung}, now)
	again := l.take()
	require.Len(t, again, 1, "but it did not")
	require.Equal(t, OpRelease, again[0].req.Op)
	l.reply(again[0], Reply{Status: StatusOK}, now)
	require.Empty(t, l.take())
	for range 10 {
		l.reply(acquire, Reply{Status: StatusGranted, Fence: 1}, now)
		for _, m := range l.take() {
			l.reply(m, Reply{Status: StatusLost}, now)
		}
	}
	assert.Equal(t, maxReleases, l.members[0].releases, "bounded, whatever a node says")
}

// Ensure that a late heal for a lease that is over is released again.
func TestLateHeal(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		synctest.Wait()
		c.nodes[0].with(func() { c.nodes[0].names["n"] = nil; c.nodes[0].delay = 2 * time.Second })
		require.NoError(t, c.Renew(t.Context(), g))
		require.NoError(t, c.Release(t.Context(), g))
		time.Sleep(10 * time.Second)
		assert.Equal(t, nobody, c.owners())
		assert.Equal(t, 1, c.nodes[0].count(OpRelease), "in order, one release is enough")
	})
}

// Ensure that a renewal moves the end, counted from before its first send, and repairs nodes that lost the
// lock, whose answers do not count in that round.
func TestRenew(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		time.Sleep(4 * time.Second)
		for _, n := range c.nodes[:2] {
			n.with(func() { n.names["n"] = nil })
		}
		start := clock.Now()
		require.NoError(t, c.Renew(t.Context(), g))
		assert.Equal(t, start.Add(10*time.Second-102*time.Millisecond), g.End())
		synctest.Wait()
		assert.NotContains(t, c.owners(), "")
		assert.Equal(t, 5, g.Nodes())
		for _, n := range c.nodes[:3] {
			n.with(func() { n.names["n"] = nil })
		}
		end := g.End()
		err := c.Renew(t.Context(), g)
		require.ErrorIs(t, err, ErrQuorum, "three healed nodes are no majority")
		assert.Equal(t, end, g.End())
		assert.True(t, g.Held())
		require.NoError(t, c.Renew(t.Context(), g), "they are in the next round")
		time.Sleep(9 * time.Second)
		assert.True(t, g.Held(), "the timer follows the end")
		require.NoError(t, c.Release(t.Context(), g))
	})
}

// Ensure that a renewal round ends with the validity end, that one which comes too late counts for nothing,
// and that the lease is lost for good.
func TestRenewTooLate(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		time.Sleep(9 * time.Second)
		for _, n := range c.nodes {
			n.with(func() { n.delay = 500 * time.Millisecond })
		}
		require.ErrorIs(t, c.Renew(t.Context(), g), ErrLost)
		assert.Equal(t, g.End(), clock.Now())
		assert.NotContains(t, c.owners(), "", "the nodes have extended")
		time.Sleep(3 * time.Second)
		assert.False(t, g.Held())
		assert.Equal(t, nobody, c.owners())
	})
}

// Ensure that concurrent renewals share a round, and that a cancelled one does not keep the next from
// starting afresh.
func TestRenewShared(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		synctest.Wait()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { assert.NoError(t, c.Renew(t.Context(), g)) })
		}
		wg.Wait()
		assert.Equal(t, 1, c.nodes[0].count(OpRenew))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
		defer cancel()
		require.ErrorIs(t, c.Renew(ctx, g), context.DeadlineExceeded)
		require.NoError(t, c.Renew(t.Context(), g))
		assert.Equal(t, 3, c.nodes[0].count(OpRenew))
		require.NoError(t, c.Release(t.Context(), g))
	})
}

// Ensure that an error of BeforeSend ends the attempt before anything is sent, and that it sees the value.
func TestBeforeSend(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		full := errors.New("disk full")
		_, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second, BeforeSend: func(string) error { return full }})
		require.ErrorIs(t, err, full)
		assert.Zero(t, c.nodes[0].count(OpAcquire))
		seen := ""
		g, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second, BeforeSend: func(v string) error { seen = v; return nil }})
		require.NoError(t, err)
		assert.Equal(t, g.Value(), seen)
		require.NoError(t, c.Release(t.Context(), g))
	})
}

// Ensure that an attempt at nodes that forgot their state says when a majority can be had.
func TestQuarantined(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		for i, n := range c.nodes[:4] {
			n.with(func() { n.state("n").quarantine = clock.Now().Add(time.Duration(i+1) * time.Minute) })
		}
		_, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second})
		require.ErrorIs(t, err, ErrQuarantine)
		var q *QuarantineError
		require.ErrorAs(t, err, &q)
		assert.LessOrEqual(t, q.Remaining, 4*time.Minute, "an upper bound, by those that answered first")
		assert.Greater(t, q.Remaining, time.Minute)
		time.Sleep(q.Remaining)
		g := c.won()
		require.NoError(t, c.Release(t.Context(), g))
	})
}

// Ensure that Close waits for releases under way, within its context, and refuses what is new.
func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		for _, n := range c.nodes {
			n.with(func() { n.delay = time.Second })
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, c.Release(ctx, g), context.Canceled)
		start := clock.Now()
		require.NoError(t, c.Close(t.Context()))
		assert.Equal(t, 2*time.Second, clock.Since(start))
		assert.Equal(t, nobody, c.owners())
		_, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second})
		assert.ErrorIs(t, err, ErrClosed)
		_, err = c.Resume(t.Context(), Resumable{Name: "n", Value: "v", Token: 1, TTL: time.Second})
		assert.ErrorIs(t, err, ErrClosed)
		_, err = c.Inspect(t.Context(), "n")
		assert.ErrorIs(t, err, ErrClosed)
		_, err = c.Evict(t.Context(), "n", Digest("v"), "")
		assert.ErrorIs(t, err, ErrClosed)
	})
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		for _, n := range c.nodes[:3] {
			n.hang()
		}
		go c.Release(t.Context(), g)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, c.Close(ctx), context.DeadlineExceeded)
		time.Sleep(patience)
	})
}

// Ensure that Close waits for a majority and grants the others a moment: a slow minority gets its releases,
// one that hangs costs no more than that moment, and what is over sooner is not waited for.
func TestClose_Minority(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		for _, n := range c.nodes[:2] {
			n.with(func() { n.delay = 10 * time.Millisecond })
		}
		require.NoError(t, c.Release(t.Context(), g))
		start := clock.Now()
		require.NoError(t, c.Close(t.Context()))
		assert.Equal(t, 19*time.Millisecond, clock.Since(start))
		assert.Equal(t, nobody, c.owners())
	})
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		c.nodes[0].hang()
		c.nodes[1].hang()
		c.nodes[2].with(func() { c.nodes[2].delay = 10 * time.Millisecond })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, c.Release(ctx, g), context.Canceled)
		start := clock.Now()
		require.NoError(t, c.Close(t.Context()))
		assert.Equal(t, 20*time.Millisecond+closeGrace, clock.Since(start))
		assert.Empty(t, c.nodes[2].owner("n"))
		time.Sleep(patience)
	})
}

// Ensure that messages of one value reach each node in the order in which they were decided, also while many
// contend; and that two are never granted at once.
func TestContention(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		for i, n := range c.nodes {
			n.with(func() { n.delay = time.Duration(i+1) * 100 * time.Microsecond })
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		var tokens []int64
		for i := range 20 {
			wg.Go(func() {
				for {
					g, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second})
					if err != nil {
						assert.ErrorIs(t, err, ErrHeld)
						time.Sleep(time.Duration(1+i) * 700 * time.Microsecond)
						continue
					}
					assert.True(t, mu.TryLock())
					tokens = append(tokens, g.Token())
					time.Sleep(time.Millisecond)
					mu.Unlock()
					assert.NoError(t, c.Release(t.Context(), g))
					return
				}
			})
		}
		wg.Wait()
		assert.True(t, slices.IsSorted(tokens), tokens)
		time.Sleep(time.Second)
		assert.Equal(t, nobody, c.owners())
		for _, n := range c.nodes {
			last := map[string]Op{}
			for _, r := range n.log {
				assert.NotEqual(t, OpRelease, last[r.Value], "nothing follows a release")
				last[r.Value] = r.Op
			}
		}
	})
}

// Ensure that arguments are refused at their limits, and nowhere inside.
func TestLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		w := Waiter{ID: "c/1", Since: 1, Heartbeat: time.Second}
		for _, test := range []struct {
			what string
			a    Attempt
			ok   bool
		}{
			{"no name", Attempt{TTL: time.Second}, false},
			{"short name", Attempt{Name: "x", TTL: time.Second}, true},
			{"longest name", Attempt{Name: strings.Repeat("x", 512), TTL: time.Second}, true},
			{"long name", Attempt{Name: strings.Repeat("x", 513), TTL: time.Second}, false},
			{"longest label", Attempt{Name: "x", TTL: time.Second, Label: strings.Repeat("x", 256)}, true},
			{"long label", Attempt{Name: "x", TTL: time.Second, Label: strings.Repeat("x", 257)}, false},
			{"short ttl", Attempt{Name: "x", TTL: 10*time.Millisecond - 1}, false},
			{"shortest ttl", Attempt{Name: "x", TTL: 10 * time.Millisecond}, true},
			{"longest ttl", Attempt{Name: "x", TTL: 5 * time.Minute}, true},
			{"long ttl", Attempt{Name: "x", TTL: 5*time.Minute + 1}, false},
			{"waiter", Attempt{Name: "x", TTL: time.Second, Waiter: w}, true},
			{"waiter without client", Attempt{Name: "x", TTL: time.Second, Waiter: Waiter{ID: "1", Since: 1, Heartbeat: time.Second}}, false},
			{"waiter with space", Attempt{Name: "x", TTL: time.Second, Waiter: Waiter{ID: "c/ 1", Since: 1, Heartbeat: time.Second}}, false},
			{"waiter without heartbeat", Attempt{Name: "x", TTL: time.Second, Waiter: Waiter{ID: "c/1", Since: 1}}, false},
			{"waiter too late", Attempt{Name: "x", TTL: time.Second, Waiter: Waiter{ID: "c/1", Since: MaxToken + 1, Heartbeat: time.Second}}, false},
		} {
			g, err := c.Acquire(t.Context(), test.a)
			if !test.ok {
				assert.ErrorIs(t, err, ErrInvalid, test.what)
				continue
			}
			if assert.NoError(t, err, test.what) {
				assert.NoError(t, c.Release(t.Context(), g), test.what)
			}
		}
		for token, ok := range map[int64]bool{-1: false, 0: false, 1: true, MaxToken: true, MaxToken + 1: false} {
			_, err := c.Resume(t.Context(), Resumable{Name: "x", Value: "v", Token: token, TTL: time.Second})
			assert.Equal(t, !ok, errors.Is(err, ErrInvalid), token)
		}
	})
	_, err := New(nil, Options{})
	assert.ErrorIs(t, err, ErrInvalid)
	_, err = New([]Node{&memNode{}, nil, &memNode{}}, Options{})
	assert.ErrorIs(t, err, ErrInvalid)
	_, err = New([]Node{&memNode{}}, Options{LongestTTL: time.Millisecond})
	assert.ErrorIs(t, err, ErrInvalid)
	_, err = New([]Node{&memNode{}}, Options{FenceTTL: time.Minute})
	assert.ErrorIs(t, err, ErrInvalid, "a fence must outlive the attempts that are under way")
	q, err := New([]Node{&memNode{}}, Options{Drift: func(time.Duration) time.Duration { return time.Second }})
	require.NoError(t, err)
	assert.Equal(t, 1, q.Majority())
	_, err = q.Acquire(t.Context(), Attempt{Name: "x", TTL: time.Second})
	assert.ErrorIs(t, err, ErrInvalid, "the drift leaves nothing of the ttl")
}
