package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A Lease is a lock that is held, until Unlock or until it is lost. It is safe for concurrent use; pass it
// (or its token) to whatever works under the lock. There is no implicit reentrancy: code that holds a lease
// and asks for the same name again waits for itself.
//
// Work under Context, and give Token to every resource that can refuse an older one.
//
// A process may hold a hundred thousand of them: what only few need is made when it is asked for.
type Lease struct {
	c     *Client
	grant *redlock.Grant
	// entry is the place in the nodes' queues that may have outlived the wait, or nil; see leaveQueue.
	entry   atomic.Pointer[redlock.Waiter]
	dropped sync.Once

	guard  time.Duration   // how long before the lock the lease ends
	limit  clock.Instant   // until when the lock is held at most
	watch  watch           // the watchdog's
	parent context.Context // whose values the lease's own has
	seen   *sighting       // what observers were told; nil: nobody observes

	mu       sync.Mutex
	ctx      context.Context         // the lease's own life, the one exception to "no context in a struct"; nil until it is asked for
	cancel   context.CancelCauseFunc // of ctx
	stop     context.CancelCauseFunc // see whenOver
	lost     chan struct{}           // nil until it is asked for
	over     error                   // nil while held; ErrReleased or a *LossError
	failed   error                   // what the last renewal ended with; nil: it moved the end
	released chan struct{}           // not nil once Unlock was called; closed when it knows its result
	result   error                   // of Unlock; valid once released is closed
}

// newLease makes a lease of a grant and has it watched. entry is the waiter that may still be queued.
func (c *Client) newLease(ctx context.Context, g *redlock.Grant, set lockSettings, entry redlock.Waiter) *Lease {
	l := &Lease{c: c, grant: g, guard: set.guard, limit: never}
	if entry.ID != "" {
		l.entry.Store(&entry)
	}
	if set.limited {
		if now := clock.Now(); set.maxHold < never.Sub(now) { // the sum would wrap around
			l.limit = now.Add(set.maxHold)
		}
	}
	l.parent = c.set.observers.acquired(ctx, l)
	g.StopTimer() // the watchdog sees to its end
	if l.guard > 0 {
		g.WithholdEvicted() // and to its release
	}
	c.dog.add(l, set.renew)
	return l
}

// Name returns the lock's name.
func (l *Lease) Name() string { return l.grant.Name() }

// Token returns the fencing token, 1 to 2^53-1: higher than that of every lease of this name that ended
// before this one began. Renewal does not change it.
func (l *Lease) Token() int64 { return l.grant.Token() }

// TTL returns the ttl that each renewal asks for.
func (l *Lease) TTL() time.Duration { return l.grant.TTL() }

// Owner returns the label that others are shown as the holder.
func (l *Lease) Owner() string { return l.grant.Label() }

// Context returns the context under which to do the work. It ends when the lease does, at the validity end
// at the latest, whatever calls are in flight; context.Cause then matches ErrExpired, ErrStolen, ErrQuorum
// or ErrForced, or ErrReleased after Unlock. It carries the values of the context given to Lock, but not its
// cancellation or deadline.
//
// After a suspend of the machine the context may end up to a second late; Err is right at every moment.
func (l *Lease) Context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(l.parent))
		if l.over != nil {
			l.cancel(l.over)
		}
	}
	return l.ctx
}

// Lost returns a channel that is closed if the lease ends before it is unlocked. After a regular Unlock it
// stays open for ever; wait for Context().Done() beside it.
func (l *Lease) Lost() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil {
		l.lost = make(chan struct{})
		if l.over != nil && !errors.Is(l.over, ErrReleased) {
			close(l.lost)
		}
	}
	return l.lost
}

// Err returns nil while the lock is held, and then why it is over: ErrReleased, or a *LossError. It is
// computed from the clock at each call.
func (l *Lease) Err() error {
	l.mu.Lock()
	over := l.over
	l.mu.Unlock()
	if over == nil && !l.holds(clock.Now()) {
		l.expire()
		l.mu.Lock()
		over = l.over
		l.mu.Unlock()
	}
	return over
}

// end returns when the lease ends if it is not renewed and not over before: by its guard earlier than the lock.
func (l *Lease) end() clock.Instant { return min(l.grant.End(), l.limit).Add(-l.guard) }

// holds reports whether the lease lasts, as far as the clock and its nodes are concerned.
func (l *Lease) holds(now clock.Instant) bool { return now.Before(l.end()) && l.grant.Held() }

// Deadline returns when the lease ends if it is not renewed before, on the wall clock: to show, or to give
// to somebody who has no running clock in common. It moves with each renewal.
func (l *Lease) Deadline() time.Time { return clock.Wall().Add(clock.Until(l.end())) }

// Remaining returns for how long the lease still lasts without another renewal; zero once it is over.
func (l *Lease) Remaining() time.Duration {
	if l.Err() != nil {
		return 0
	}
	return max(0, clock.Until(l.end()))
}

// Nodes returns how many nodes are known to have the lock, by their last answers, and how many there are.
// More than a majority is redundancy.
func (l *Lease) Nodes() (held, all int) { return l.grant.Nodes(), len(l.c.nodes) }

// Handle returns what another process needs to Resume the lease. It is a secret.
func (l *Lease) Handle() Handle {
	return l.grant.Resumable()
}

// Renew extends the lease now, to a ttl from the start of this call. It is for leases taken with
// WithoutRenew; others renew by themselves every third of the ttl.
//
// Errors: nil only if the end moved. A *LossError or ErrReleased: the lease is over. ErrQuorum, or the
// context's: this renewal failed, the lease lives on until its end, try again.
func (l *Lease) Renew(ctx context.Context) error {
	if over := l.Err(); over != nil {
		return over
	}
	began := clock.Now()
	err := l.renewed(began, l.c.quorum.Renew(ctx, l.grant))
	if err == nil {
		l.c.dog.moved(l)
	}
	return err
}

// renewed draws the consequences of a renewal that ended with err, and returns what is to be told of it.
func (l *Lease) renewed(began clock.Instant, err error) error {
	l.c.set.observers.renewed(l, began, err)
	var quorum *redlock.QuorumError
	switch {
	case err == nil:
		l.noteRenewal(nil)
	case errors.Is(err, redlock.ErrForced):
		l.lose(forcedBy(err))
	case errors.Is(err, redlock.ErrReleased):
	case errors.Is(err, redlock.ErrLost):
		if clock.Now().Before(l.end()) {
			l.lose(ErrStolen)
		}
		l.expire()
	case errors.As(err, &quorum) && quorum.Lost >= quorum.Need:
		// Nothing can move the end any more. To stop now rather than then is the safe side.
		l.lose(fmt.Errorf("%w: %w", ErrStolen, quorum))
	default:
		l.noteRenewal(err)
		if over := l.Err(); over != nil {
			return over
		}
		return err
	}
	return l.Err()
}

// forcedBy returns the *ForcedError in err, which matches ErrForced; that alone if there is none.
func forcedBy(err error) error {
	var forced *ForcedError
	if errors.As(err, &forced) {
		return forced
	}
	return ErrForced
}

func (l *Lease) noteRenewal(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = err
}

// timeUp is called by the watchdog when the time of the lease is over, or that of the lock which it has left.
func (l *Lease) timeUp() {
	if l.c.dog.remove(l) {
		l.c.background.Go(l.drop)
		return
	}
	l.expire()
}

// expire ends a lease whose time has passed, with the reason for which it was not renewed.
func (l *Lease) expire() {
	l.mu.Lock()
	cause := l.failed
	l.mu.Unlock()
	switch reason := l.grant.Err(); {
	case errors.Is(reason, redlock.ErrForced):
		cause = forcedBy(reason)
	case !clock.Now().Before(l.limit.Add(-l.guard)):
		cause = ErrMaxHold
	case errors.Is(cause, ErrQuorum):
	default:
		cause = ErrExpired
	}
	l.lose(cause)
}

// lose ends the lease as lost. Its lock is released wherever it may still be, so that a lease that was given up
// early makes nobody wait; but not before the guard is over, for as long as the lock is ours, and not more of them
// at a time than the nodes can take.
func (l *Lease) lose(cause error) {
	loss := &LossError{Name: l.Name(), Token: l.Token(), Cause: cause}
	end := min(l.grant.End(), l.limit)
	if !l.finish(loss) {
		return
	}
	var forced *ForcedError
	switch now := clock.Now(); {
	case l.guard == 0, errors.Is(cause, ErrStolen):
		end = min(end, now)
	case errors.As(cause, &forced) && forced.Evicted: // whoever evicted waits for the lock, but not for all of its ttl
		end = min(end, now.Add(l.guard))
	case errors.Is(cause, ErrForced):
		end = min(end, now)
	}
	l.c.dog.part(l, end) // whatever a renewal that is under way may still achieve
	l.c.set.observers.lost(l, cause)
	l.c.background.Go(func() { // other leases must not wait for a log
		l.c.set.logger.Warn("lease lost", "lock", loss.Name, "token", loss.Token, "cause", cause)
	})
}

// drop sends the release of a lost lease, once, and does not wait for the nodes. One that Detach let go is not
// ours to release.
func (l *Lease) drop() {
	if errors.Is(l.Err(), ErrClosed) {
		return
	}
	l.dropped.Do(func() {
		l.leaveQueue()
		l.c.quorum.ReleaseAsync(l.grant)
	})
}

// finish ends the lease, once; it returns false if it was over already.
func (l *Lease) finish(over error) bool {
	l.mu.Lock()
	if l.over != nil {
		l.mu.Unlock()
		return false
	}
	l.over = over
	lost, cancel, stop := l.lost, l.cancel, l.stop
	l.mu.Unlock()
	l.c.dog.remove(l)
	if lost != nil && !errors.Is(over, ErrReleased) {
		close(lost)
	}
	for _, cancel := range []context.CancelCauseFunc{stop, cancel} {
		if cancel != nil {
			cancel(over)
		}
	}
	return true
}

// whenOver has stop called with the reason when the lease is over, by whoever ends it and before others hear of it:
// nothing that could be late comes between. It is for one stop only.
func (l *Lease) whenOver(stop context.CancelCauseFunc) {
	l.mu.Lock()
	l.stop = stop
	over := l.over
	l.mu.Unlock()
	if over != nil {
		stop(over)
	}
}

// leaveQueue takes the entry with which this lease was waited for out of the queues of those nodes that did
// not grant it: an acquire that is granted removes it by itself. There is no hurry, so it is not done before
// all nodes have had time to grant. It must be done before the release, which would wake the entry.
func (l *Lease) leaveQueue() {
	entry := l.entry.Swap(nil)
	if entry == nil {
		return
	}
	l.c.quorum.Leave(l.Name(), *entry)
}

// Unlock releases the lock. The lease ends at once, before anything is sent; the call returns when a majority
// of nodes has confirmed. ctx bounds only that wait, and a ctx that is already done is no obstacle: the
// release is sent and waited for within the nodes' own timeouts.
//
// Unlock may be called again, from anywhere: every call returns what the first found. That is nil; or a
// *LossError if the lease had been lost before; or ErrQuorum or the context's error if no majority confirmed:
// the release goes on in the background, and what cannot be reached frees the lock after its ttl.
func (l *Lease) Unlock(ctx context.Context) error { return l.unlocked(ctx, l.unlock()) }

// unlock ends the lease and sends its release, if it is the first call. The first owes the lease a call of
// unlocked, which makes the result.
func (l *Lease) unlock() (first bool) {
	if l.c.begin() == nil { // else Close could end the links between one node's release and the next's
		defer l.c.calls.Done()
	}
	l.mu.Lock()
	first = l.released == nil
	if first {
		l.released = make(chan struct{})
	}
	l.mu.Unlock()
	if !first {
		return false
	}
	if l.Err() != nil { // lost; Unlock alone makes it ErrReleased
		l.c.dog.remove(l) // the work has stopped: the guard need not be waited for
		l.drop()
		return true
	}
	l.leaveQueue()
	if l.finish(ErrReleased) { // else it was lost in this very moment
		l.c.quorum.ReleaseAsync(l.grant)
	}
	return true
}

// unlocked waits until it is known what came of unlock. A ctx that is done already is no obstacle.
func (l *Lease) unlocked(ctx context.Context, first bool) error {
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	if first {
		l.result = l.confirmed(ctx)
		l.c.set.observers.released(l, l.result)
		close(l.released)
		return l.result
	}
	select {
	case <-l.released:
		return l.result
	case <-ctx.Done():
		return fmt.Errorf("unlock %q: %w", l.Name(), ended(ctx))
	}
}

// confirmed waits until a majority has confirmed the release.
func (l *Lease) confirmed(ctx context.Context) error {
	if !l.wasReleased() {
		return l.Err()
	}
	err := l.c.quorum.Release(ctx, l.grant)
	switch {
	case errors.Is(err, redlock.ErrForced):
		return &LossError{Name: l.Name(), Token: l.Token(), Cause: forcedBy(err)}
	case errors.Is(err, redlock.ErrLost):
		return &LossError{Name: l.Name(), Token: l.Token(), Cause: ErrExpired}
	}
	return err
}

// wasReleased reports that the lease ended by Unlock and not by a loss.
func (l *Lease) wasReleased() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Is(l.over, ErrReleased)
}
