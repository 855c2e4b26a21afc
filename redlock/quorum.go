package redlock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// Options tune a Quorum. The zero value has sensible defaults. All clients of a fleet, and the quarantine of
// its nodes, must agree on LongestTTL.
type Options struct {
	// Drift is the allowance D for the difference in speed of the clocks of client and nodes over one ttl,
	// and for the rounding of expiries to milliseconds. It must be less than the ttl. Default: DefaultDrift.
	Drift func(ttl time.Duration) time.Duration
	// FenceTTL is how long a node keeps a name's fence after its last grant, raise, heal or renewal. It bounds
	// memory to one small key for each name that was used in that time. Default 24h.
	FenceTTL time.Duration
	// LongestTTL is the longest ttl of any lock. A longer one is refused, a revocation is remembered twice as
	// long, and a node that forgot its state grants nothing for this long plus the drift. Default 5m.
	LongestTTL time.Duration
	// Turn is for how long a node keeps a free lock for the waiter that it has woken, who has to be able to come
	// back in this time; one that died costs the others as much. Default 500ms.
	Turn time.Duration
}

// DefaultDrift is ttl/100 + 2 ms.
func DefaultDrift(ttl time.Duration) time.Duration { return ttl/100 + 2*time.Millisecond }

// roundLimit bounds every round, also where a long ttl would leave more time: a node that has not answered
// by then is as good as down.
const roundLimit = 5 * time.Second

// closeGrace is how long Close waits for the slower nodes when a majority has nothing in flight any more. It
// is longer than a round trip to a node in good order, and what hangs costs no more than this.
const closeGrace = 50 * time.Millisecond

// A Quorum runs the protocol over a fixed set of independent nodes. It is safe for concurrent use. It starts
// no goroutine of its own: everything happens in those of its callers, of the nodes' replies, and of the
// timers that end grants.
type Quorum struct {
	nodes []Node
	names []string
	opts  Options
	rules *rules
	pace  pace
	stop  chan struct{} // closed by Stop

	mu       sync.Mutex
	closed   bool   // no new leases
	shut     bool   // no more messages at all
	inflight []int  // by node: messages that are not answered yet
	places   places // of waiters in the nodes' queues
	lifts    lifts
	most     chan struct{} // if not nil: closed when a majority of nodes has nothing in flight
	idle     chan struct{} // if not nil: closed when no node has anything in flight
}

// New returns a Quorum over the nodes. At least one is needed; an odd number makes the best of them.
func New(nodes []Node, o Options) (*Quorum, error) {
	if o.Drift == nil {
		o.Drift = DefaultDrift
	}
	if o.FenceTTL == 0 {
		o.FenceTTL = 24 * time.Hour
	}
	if o.LongestTTL == 0 {
		o.LongestTTL = 5 * time.Minute
	}
	if o.Turn == 0 {
		o.Turn = 500 * time.Millisecond
	}
	switch {
	case len(nodes) == 0:
		return nil, fmt.Errorf("%w: no nodes", ErrInvalid)
	case slices.Contains(nodes, nil):
		return nil, fmt.Errorf("%w: node %d of %d is nil", ErrInvalid, slices.Index(nodes, nil)+1, len(nodes))
	case o.LongestTTL < MinTTL:
		return nil, fmt.Errorf("%w: longest ttl %v, must be at least %v", ErrInvalid, o.LongestTTL, MinTTL)
	case o.Turn < time.Millisecond || o.Turn > time.Minute:
		return nil, fmt.Errorf("%w: turn of %v, must be 1ms to 1m", ErrInvalid, o.Turn)
	case o.FenceTTL < 2*o.LongestTTL:
		return nil, fmt.Errorf("%w: fence ttl %v, must be at least twice the longest ttl %v", ErrInvalid, o.FenceTTL, o.LongestTTL)
	}
	q := &Quorum{nodes: slices.Clone(nodes), opts: o, rules: protocol(o.Drift), stop: make(chan struct{}), inflight: make([]int, len(nodes))}
	for _, n := range nodes {
		q.names = append(q.names, n.String())
	}
	return q, nil
}

// Nodes returns the nodes, in the order given to New.
func (q *Quorum) Nodes() []Node { return slices.Clone(q.nodes) }

// Majority returns how many nodes make a majority.
func (q *Quorum) Majority() int { return len(q.nodes)/2 + 1 }

// An Attempt is one try at a lock. It draws a fresh owner value; a retry is a new attempt.
type Attempt struct {
	Name  string        // 1 to MaxName bytes
	TTL   time.Duration // MinTTL to Options.LongestTTL
	Label string        // shown to those who wait; at most MaxLabel bytes; not secret
	Meta  string        // shown beside it; at most MaxMeta bytes; not secret
	// Announce has every node publish to ChangeChannel(Name) when it grants the lock, when it is released and
	// when it is forced.
	Announce bool
	// Shared asks for the lock beside others who hold it shared; nobody holds it exclusively meanwhile. It does
	// not overtake an exclusive attempt that waits. Two who share a lock may have the same token.
	Shared bool
	// Waiter is the caller's place in the queue, kept over attempts. The zero Waiter does not queue.
	Waiter Waiter
	// BeforeSend, if set, is called with the owner value before anything is sent. If it returns an error,
	// nothing is sent and the attempt ends with that error, wrapped.
	BeforeSend func(value string) error
}

// Acquire makes one attempt. It returns as soon as a majority has decided and never waits for the others. A
// cancelled ctx ends it at once with context.Cause(ctx), wrapped; ctx does not bound the life of the grant.
// Whatever was or may have been granted to a failed attempt is released in the background.
//
// Errors: ErrHeld (*HeldError), ErrQuorum (*QuorumError), ErrForced, ErrQuarantine (*QuarantineError),
// ErrInvalid, ErrClosed, the error of BeforeSend.
func (q *Quorum) Acquire(ctx context.Context, a Attempt) (*Grant, error) {
	if err := errors.Join(checkName(a.Name), checkLabel(a.Label), checkMeta(a.Meta), q.checkTTL(a.TTL), checkWaiter(a.Waiter)); err != nil {
		return nil, err
	}
	if err := q.ready(ctx, OpAcquire, a.Name); err != nil {
		return nil, err
	}
	value := q.rules.value()
	if a.BeforeSend != nil {
		if err := a.BeforeSend(value); err != nil {
			return nil, fmt.Errorf("acquire %q: %w", a.Name, err)
		}
	}
	g := q.newGrant(Request{Name: a.Name, Value: value, TTL: a.TTL, Label: a.Label, Meta: a.Meta, Announce: a.Announce, Shared: a.Shared,
		Waiter: a.Waiter, Proposal: clock.Wall().UnixMicro()})
	order := q.order(a.Name)
	return g.run(ctx, OpAcquire, func(l *lease, now clock.Instant) { l.begin(now, order) })
}

// A Resumable is what another process, or the same after a restart, must know of a lease to go on with it.
type Resumable struct {
	Name  string
	Value string
	Token int64
	// TTL must be the one that it was acquired with: Evict and Force reckon with what was recorded then.
	TTL      time.Duration
	Label    string
	Meta     string
	Announce bool
	Shared   bool
}

// Resume takes up a lease that another process began and no longer holds. It succeeds only if a majority
// still has the lock with this very value and token.
//
// Errors: ErrLost, ErrForced: the lease is over, and what was left of it is released. ErrQuorum, or the
// context's: undecided; the lease may be resumed again while it lasts. ErrInvalid, ErrClosed.
func (q *Quorum) Resume(ctx context.Context, r Resumable) (*Grant, error) {
	err := errors.Join(checkName(r.Name), checkLabel(r.Label), checkMeta(r.Meta), q.checkTTL(r.TTL), checkToken(r.Token))
	if r.Value == "" {
		err = errors.Join(err, fmt.Errorf("%w: no owner value", ErrInvalid))
	}
	if err != nil {
		return nil, err
	}
	if err := q.ready(ctx, OpRenew, r.Name); err != nil {
		return nil, err
	}
	g := q.newGrant(Request{Name: r.Name, Value: r.Value, TTL: r.TTL, Label: r.Label, Meta: r.Meta, Announce: r.Announce, Shared: r.Shared})
	return g.run(ctx, OpRenew, func(l *lease, now clock.Instant) { l.resume(now, r.Token) })
}

// run starts the lease of a new grant and waits until it is won or not.
func (g *Grant) run(ctx context.Context, op Op, start func(*lease, clock.Instant)) (*Grant, error) {
	decided := g.decided
	g.step(start)
	limit := min(g.lease.validity(g.lease.request.TTL), roundLimit)
	began := clock.Now()
	end := timedOut
	if op == OpAcquire {
		delay := min(g.q.pace.hedgeDelay(), limit)
		if end = waitOr(ctx, decided, g.q.stop, delay); end == timedOut {
			g.step(func(l *lease, _ clock.Instant) { l.hedge() })
			limit -= delay
		}
	}
	if end == timedOut {
		end = waitOr(ctx, decided, g.q.stop, limit)
	}
	if end == settled && op == OpAcquire {
		g.q.pace.note(clock.Since(began))
	}
	gone := ctx.Err() != nil // a cancelled wait is never given a lock
	if gone || end == stopped || end == timedOut {
		g.step(func(l *lease, now clock.Instant) {
			if gone || end == stopped || !closed(decided) {
				l.abandon(now)
			}
		})
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sentLocked()
	switch {
	case end == stopped:
		return nil, fmt.Errorf("%v %q: %w", op, g.lease.request.Name, ErrClosed)
	case gone:
		return nil, contextError(ctx, op, g.lease.request.Name)
	case g.won:
		return g, nil
	case g.lease.reason != errFailed:
		return nil, fmt.Errorf("%v: %w", op, g.overLocked())
	case op == OpRenew:
		return nil, g.lease.roundError(g.q.names)
	}
	return nil, g.lease.attemptError(g.q.names)
}

// Renew runs one renewal round and returns nil only if it moved the validity end. A round ends with its
// majority, with the validity end or with ctx, whichever is first. Concurrent calls share a round.
//
// Errors: ErrLost, ErrForced, ErrReleased: the grant is over. ErrQuorum (*QuorumError), or the context's: the
// round came to nothing and the end stays; another one may have better luck.
func (q *Quorum) Renew(ctx context.Context, g *Grant) error { return g.renew(ctx) }

// Release ends the grant locally at once and deletes the lock at all nodes. It returns when a majority has
// answered or ctx is done; the rest goes on in the background. It may be called again, from anywhere.
//
// Errors: ErrLost, ErrForced: the grant was over before, or no node of a majority had the lock any more.
// ErrQuorum (*QuorumError), or the context's: it is over, but some nodes may keep the lock until its ttl ends.
func (q *Quorum) Release(ctx context.Context, g *Grant) error { return g.release(ctx) }

// ReleaseAsync is [Quorum.Release] for a caller who does not wait: when it returns, the releases are on their way to the
// nodes, in front of whatever is sent later. A Release after it waits for them, and tells what came of them.
func (q *Quorum) ReleaseAsync(g *Grant) { g.part() }

// Spread asks the nodes that were not needed to win the lock for it as well, once. A lease that goes on for more
// than a moment should not depend on each single node of a bare majority; a renewal does the same, since it is
// sent to all nodes. It does not wait for the nodes.
func (q *Quorum) Spread(g *Grant) { g.step(func(l *lease, _ clock.Instant) { l.spread() }) }

// Leave takes a waiter out of the queues of those nodes at which an attempt of this Quorum may have left it, or of
// all if there was none. It does not wait for the nodes.
func (q *Quorum) Leave(name string, w Waiter) {
	q.mu.Lock()
	known, at := q.places.take(w.ID)
	q.mu.Unlock()
	for i := range q.nodes {
		if known && at[i] == away {
			continue
		}
		q.send(message{node: i, req: Request{Op: OpLeave, Name: name, Waiter: w, Turn: q.opts.Turn}}, func(Reply) {})
	}
}

// Stop ends the attempts that are not decided yet with ErrClosed, as if their contexts were cancelled, and those
// that are still to come. It is the first step of a Close that waits for nobody. It may be called again.
func (q *Quorum) Stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if !closed(q.stop) {
		close(q.stop)
	}
}

// Queued returns at how many nodes a waiter is known to be in the queue.
func (q *Quorum) Queued(waiterID string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.places.count(waiterID)
}

// Close waits until a majority of nodes has answered, or given up, everything that runs in the background, or
// until ctx is done; the other nodes get a short grace (50 ms) after that. So a slow minority has received its
// releases, and one that hangs costs no more than the grace. Later calls of Acquire, Resume, Inspect, Evict
// and Force fail with ErrClosed, and grants that still live are left to their ttl: release them before.
//
// The error is the context's, wrapped, if it ended before a majority was done.
func (q *Quorum) Close(ctx context.Context) error {
	q.liftAll()
	q.mu.Lock()
	q.closed = true
	if q.idle == nil {
		q.most, q.idle = make(chan struct{}), make(chan struct{})
		q.settleLocked()
	}
	most, idle := q.most, q.idle
	q.mu.Unlock()

	var err error
	select {
	case <-most:
	case <-ctx.Done():
		if !closed(most) {
			err = fmt.Errorf("close quorum: %w", context.Cause(ctx))
		}
	}
	wait(context.Background(), idle, closeGrace)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shut = true
	return err
}

// send hands a message to its node and keeps count of it until it is answered.
func (q *Quorum) send(m message, reply func(Reply)) {
	q.mu.Lock()
	shut := q.shut
	if !shut {
		q.inflight[m.node]++
		q.places.sent(m, len(q.nodes))
	}
	q.mu.Unlock()
	if shut {
		reply(Reply{Status: StatusError, Err: ErrClosed, NotSent: true})
		return
	}
	q.nodes[m.node].Send(m.req, func(r Reply) {
		if m.req.Op == OpAcquire && m.req.Waiter.ID != "" {
			q.mu.Lock()
			q.places.answered(m, r)
			q.mu.Unlock()
		}
		reply(r) // may send more
		q.mu.Lock()
		defer q.mu.Unlock()
		q.inflight[m.node]--
		q.settleLocked()
	})
}

// settleLocked tells Close how far the nodes are.
func (q *Quorum) settleLocked() {
	if q.idle == nil {
		return
	}
	idle := 0
	for _, n := range q.inflight {
		if n == 0 {
			idle++
		}
	}
	if idle >= q.Majority() && !closed(q.most) {
		close(q.most)
	}
	if idle == len(q.nodes) && !closed(q.idle) {
		close(q.idle)
	}
}

// ready tells whether something new may begin.
func (q *Quorum) ready(ctx context.Context, op Op, name string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return fmt.Errorf("%v %q: %w", op, name, ErrClosed)
	}
	if ctx.Err() != nil {
		return contextError(ctx, op, name)
	}
	return nil
}

func (q *Quorum) checkTTL(ttl time.Duration) error {
	if ttl < MinTTL || ttl > q.opts.LongestTTL {
		return fmt.Errorf("%w: ttl %v, must be %v to %v", ErrInvalid, ttl, MinTTL, q.opts.LongestTTL)
	}
	if d := q.opts.Drift(ttl); d < 0 || d >= ttl {
		return fmt.Errorf("%w: ttl %v leaves nothing beside a drift of %v", ErrInvalid, ttl, d)
	}
	return nil
}

type ending uint8

const (
	settled ending = iota
	cancelled
	timedOut
	stopped
)

// wait waits for c, but not for longer than ctx and the limit. If c is closed, nothing else counts.
func wait(ctx context.Context, c <-chan struct{}, limit time.Duration) ending {
	return waitOr(ctx, c, nil, limit)
}

// waitOr is wait that also ends when stop is closed.
func waitOr(ctx context.Context, c, stop <-chan struct{}, limit time.Duration) ending {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	end := settled
	select {
	case <-c:
	case <-ctx.Done():
		end = cancelled
	case <-timer.C:
		end = timedOut
	case <-stop:
		end = stopped
	}
	if closed(c) {
		return settled
	}
	return end
}

// contextError wraps the cause of a context's end, and its Err where the cause does not include it.
func contextError(ctx context.Context, op Op, name string) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return fmt.Errorf("%v %q: %w", op, name, cause)
	}
	return fmt.Errorf("%v %q: %w (%w)", op, name, cause, err)
}
