package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// The times of waiting.
const (
	// heartbeat is for how long a waiter that died keeps its place in the queues. A live one refreshes its
	// place with an attempt every third of it.
	heartbeat = 6 * time.Second
	refresh   = heartbeat / 3

	// A holder that does not publish its release is polled in intervals between these.
	minPoll = 50 * time.Millisecond
	maxPoll = 250 * time.Millisecond

	// patience is for how long Lock goes on without a quorum.
	patience = 2 * time.Second
	// quarantinePoll bounds how long Lock waits in one go for nodes that forgot their state.
	quarantinePoll = time.Second
	// expiryJitter spreads the attempts of those who wait for the same expiry.
	expiryJitter = 15 * time.Millisecond
	// splitDelay is the first pause after a split vote, longestSplit the last.
	splitDelay   = time.Millisecond
	longestSplit = 64 * time.Millisecond
	// graceAfterWake is how long a waiter waits for more nodes' messages after the first. With messages of a
	// minority it is probably another's turn by the votes of the others.
	graceAfterWake = 5 * time.Millisecond
	// graceAfterMajority is the same once a majority's messages are there. An attempt that meets a release on
	// its way finds the lock held at the slowest nodes and has to leave their queues again.
	graceAfterMajority = 200 * time.Microsecond
)

// A WaitError tells for what Lock, or another call that waits, had waited when it gave up. errors.Is and errors.As reach ctx's error and
// its cause, and what the last attempt ended with: errors.As finds the *HeldError that says who was in the
// way, and errors.Is tells whether it was ErrHeld, ErrQuorum or ErrQuarantine.
type WaitError struct {
	Name  string
	Waits error // the context's error and its cause, or ErrClosed
	// Last is what the last attempt that came to an end ended with: a *HeldError, a *QuorumError, a
	// *QuarantineError. It is nil if there was none: the wait was over while the call stood behind others of
	// the same client that wait for the same lock, or before enough nodes had answered.
	Last error

	kind string // of what was waited for; "" is a lock
}

func (e *WaitError) Error() string {
	kind := cmp.Or(e.kind, "lock")
	if e.Last == nil {
		return fmt.Sprintf("waiting for %s %q: %v", kind, e.Name, e.Waits)
	}
	return fmt.Sprintf("waiting for %s %q: %v (%v)", kind, e.Name, e.Waits, e.Last)
}

// Unwrap returns both errors.
func (e *WaitError) Unwrap() []error {
	if e.Last == nil {
		return []error{e.Waits}
	}
	return []error{e.Waits, e.Last}
}

// ended returns the error of a context that is done, without losing its cause.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// waitError says why a wait is over: the client was closed or ctx is done.
func (c *Client) waitError(ctx context.Context, name string, last error) error {
	if ctx.Err() != nil {
		return &WaitError{Name: name, Waits: ended(ctx), Last: last}
	}
	return &WaitError{Name: name, Waits: ErrClosed, Last: last}
}

// Lock waits until it has the lock. ctx bounds only the wait: it neither ends nor bounds the lease, whose
// own context is Lease.Context and carries ctx's values.
//
// If ctx ends first, the error is a *WaitError that wraps ctx.Err() and context.Cause(ctx), no lock is held,
// and none is left on any node that can be reached; on others for no longer than one ttl. Lock gives up with
// ErrQuorum only after no majority of nodes could be reached for some time (two seconds, or the ttl if that
// is shorter).
//
// Waiters get the lock in the order of their calls as far as independent queues on the nodes allow; those
// of one client for one name strictly so.
//
// Errors: the context's (*WaitError, which also tells who was in the way); ErrQuorum; ErrInvalid; ErrClosed;
// that of BeforeSend.
func (c *Client) Lock(ctx context.Context, name string, opts ...LockOption) (_ *Lease, err error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.calls.Done()
	ctx = c.set.observers.wait(ctx, CallLock, name)
	defer c.set.observers.failed(ctx, &err)
	set, err := c.lockSettings(opts)
	if err != nil {
		return nil, err
	}
	w := newWaiter(c.id, c.nextSince())
	place, ok := c.turns.join(ctx, c.closing, name, set.shared)
	if !ok {
		return nil, c.waitError(ctx, name, nil)
	}
	defer func() { place.leave(err == nil) }()
	return c.wait(ctx, name, set, w)
}

// TryLock makes one attempt and does not wait for a holder. It does not overtake waiters of Lock: a lock that
// is free, but the turn of one of them, is ErrHeld (HeldError.Turn).
//
// Errors: ErrHeld (*HeldError says by whom and for how long), ErrQuarantine, ErrForced (an operator took the lock away
// in the moment of its grant), and those of Lock.
func (c *Client) TryLock(ctx context.Context, name string, opts ...LockOption) (_ *Lease, err error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.calls.Done()
	ctx = c.set.observers.wait(ctx, CallTryLock, name)
	defer c.set.observers.failed(ctx, &err)
	set, err := c.lockSettings(opts)
	if err != nil {
		return nil, err
	}
	g, err := c.quorum.Acquire(ctx, set.attempt(name))
	c.set.observers.attempted(ctx, err)
	if err != nil {
		if errors.Is(err, redlock.ErrClosed) {
			return nil, ErrClosed
		}
		if ctx.Err() != nil {
			return nil, &WaitError{Name: name, Waits: ended(ctx)}
		}
		return nil, err
	}
	return c.newLease(ctx, g, set, redlock.Waiter{}), nil
}

// Do runs f while it holds the lock: it waits for the lock as Lock does, renews it, releases it when f
// returns or panics, and cancels the context given to f as soon as the lease is lost or ctx is done;
// context.Cause of it says which.
//
// The error joins that of f and, if the lease was lost before f returned, the loss (errors.Is ErrExpired,
// ErrStolen, ErrQuorum, ErrForced): f may then have run unprotected at its end. A release that could not be
// confirmed is no error, since f ran under the lock: it is logged, and the nodes free the lock after its ttl.
func (c *Client) Do(ctx context.Context, name string, f func(ctx context.Context, l *Lease) error, opts ...LockOption) error {
	l, err := c.Lock(ctx, name, opts...)
	if err != nil {
		return err
	}
	return c.under(ctx, l, f)
}

// under runs f under a lease and unlocks it.
func (c *Client) under(ctx context.Context, l *Lease, f func(ctx context.Context, l *Lease) error) (err error) {
	work, cancel := context.WithCancelCause(workContext{ctx, context.WithoutCancel(l.parent)})
	l.whenOver(cancel)
	defer func() { // also when f panics
		cancel(nil)
		failed := l.Unlock(context.WithoutCancel(ctx))
		var loss *LossError
		switch {
		case failed == nil:
		case !errors.As(failed, &loss):
			c.set.logger.Warn("release was not confirmed", "lock", l.Name(), "token", l.Token(), "err", failed)
		case !errors.Is(err, error(loss)):
			err = errors.Join(err, loss)
		}
	}()
	return f(work, l)
}

// A workContext is what a caller's work gets: it ends as his context does, with its deadline and its cause, and has
// the values of the lease's, which observers may have added to.
type workContext struct {
	context.Context
	values context.Context // that never ends; so what ends is looked for in the caller's
}

// Value implements context.Context.
func (c workContext) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

func (s lockSettings) attempt(name string) redlock.Attempt {
	return redlock.Attempt{Name: name, TTL: s.ttl, Label: s.owner, Meta: s.meta, Announce: s.announce, Shared: s.shared,
		BeforeSend: s.beforeSend}
}

// wait makes attempts until one succeeds.
//
// Joining the nodes' queues without hearing their messages would be waiting in vain. So a client's first
// wait begins with an attempt that does not queue; if it finds the lock held, the subscriptions are made,
// then the next attempt queues, and only then does it wait: a release after that attempt is heard, one
// before it is found by it.
func (c *Client) wait(ctx context.Context, name string, set lockSettings, w *waiter) (*Lease, error) {
	c.wakes.register(w)
	defer c.wakes.unregister(w)
	p := plan{majority: c.majority, giveUp: clock.Now().Add(min(patience, set.ttl)), ttl: set.ttl}
	a := set.attempt(name)
	for {
		if c.wakes.ready() {
			a.Waiter = w.entry()
		}
		w.forget()
		g, err := c.quorum.Acquire(ctx, a)
		c.set.observers.attempted(ctx, err)
		if err == nil {
			return c.newLease(ctx, g, set, a.Waiter), nil
		}
		if err := c.pause(ctx, &p, err, a.Waiter, w); err != nil {
			if a.Waiter.ID != "" {
				c.quorum.Leave(name, a.Waiter)
			}
			if ctx.Err() != nil || errors.Is(err, ErrClosed) {
				return nil, c.waitError(ctx, name, p.last)
			}
			return nil, err
		}
	}
}

// pause waits for as long as the failed attempt makes sensible. An error ends the wait for the lock.
func (c *Client) pause(ctx context.Context, p *plan, failed error, entry redlock.Waiter, w *waiter) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	delay, hear, err := p.next(failed)
	if err != nil {
		return err
	}
	if hear && entry.ID == "" {
		c.wakes.start(ctx, c.closing)
		select {
		case <-c.closing:
			return ErrClosed
		default:
			return ctx.Err() // now for the attempt that queues
		}
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	for early := 0; ; {
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-c.closing:
			return ErrClosed
		case <-w.poke:
			heard := c.wakes.heard()
			all := min(c.quorum.Queued(w.id), heard)
			switch n := w.wakes(); {
			case n >= max(1, all-1):
				// The last one's release is on its way, and will mostly be there before the acquire is. If it is
				// not, a spare takes the place of that node.
				return nil
			case n >= min(p.majority, heard) && early < 2:
				early = 2
				t.Reset(graceAfterMajority)
			case hear && early < 1:
				early = 1
				t.Reset(graceAfterWake + rand.N(graceAfterWake))
			}
		}
	}
}

// A plan decides how long to wait after a failed attempt.
type plan struct {
	majority int
	ttl      time.Duration
	giveUp   clock.Instant // when to give up unless there is a quorum before

	splits int   // in a row
	blanks int   // attempts without a quorum, in a row
	last   error // what the last attempt ended with
}

// next returns how long to wait, and whether messages are worth listening for meanwhile; or the error with
// which to give up.
func (p *plan) next(failed error) (delay time.Duration, hear bool, err error) {
	var held *redlock.HeldError
	var quarantine *redlock.QuarantineError
	switch {
	case errors.As(failed, &held):
		p.quorate(failed)
		return p.held(held)
	case errors.As(failed, &quarantine):
		p.quorate(failed)
		return min(quarantine.Remaining, quarantinePoll) + rand.N(maxPoll), false, nil
	case errors.Is(failed, redlock.ErrQuorum):
		p.last = failed
		now := clock.Now()
		if !now.Before(p.giveUp) {
			return 0, false, failed
		}
		delay := min(minBackoff<<min(p.blanks, 4), p.giveUp.Sub(now))
		p.blanks++
		return delay/2 + rand.N(delay), false, nil
	case errors.Is(failed, redlock.ErrForced):
		// An operator took the lock away in the moment of its grant. That was meant for a holder; who has waited
		// for it waits on, as another owner.
		p.quorate(failed)
		return splitDelay, false, nil
	case errors.Is(failed, redlock.ErrClosed):
		return 0, false, ErrClosed
	}
	return 0, false, failed
}

// quorate notes that a majority has answered.
func (p *plan) quorate(failed error) {
	p.last = failed
	p.blanks = 0
	p.giveUp = clock.Now().Add(min(patience, p.ttl))
}

func (p *plan) held(e *redlock.HeldError) (delay time.Duration, hear bool, err error) {
	if e.Split(p.majority) {
		// Several owners share the nodes, and will all have given up in a moment. Or a holder has just a
		// majority: then the pauses grow until it has healed the others, or is gone.
		delay = min(splitDelay<<min(p.splits, 10), longestSplit)
		p.splits++
		return delay/2 + rand.N(delay), false, nil
	}
	p.splits = 0
	if !e.Recorded {
		delay = minPoll + rand.N(maxPoll-minPoll)
		if e.Remaining >= 0 {
			delay = min(delay, e.Remaining+rand.N(expiryJitter))
		}
		return delay, true, nil // nodes of ours tell when its key goes, though it does not
	}
	delay = refresh - rand.N(refresh/8)
	if e.Remaining >= 0 {
		delay = min(delay, e.Remaining+rand.N(expiryJitter))
	}
	return delay, true, nil
}
