package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A Tick names one of the times at which something is to be done once: by the wall clock (Every), or by a text on
// which all machines agree (TickOf).
type Tick struct {
	id     string
	memory time.Duration
	err    error
}

// minMemory is the shortest time for which a tick is remembered, whatever its period.
const minMemory = time.Minute

// Every returns the tick of the period in which the wall clock is now: periods are counted from midnight, UTC, of
// January 1 of the year 1, a Monday, so that those of an hour, a day or seven days begin where one would expect.
// It is a second to 183 days. A tick is remembered for two periods, at least a minute.
//
// The machines' wall clocks must be within half a period of each other. One that is ahead does the work early,
// one that is behind comes late and finds it done.
func Every(period time.Duration) Tick {
	if longest := redlock.MaxSetTTL / 2; period < time.Second || period > longest {
		return Tick{err: fmt.Errorf("%w: period %v, must be 1s to %v", ErrInvalid, period, longest)}
	}
	begin := clock.Wall().UTC().Truncate(period)
	return Tick{id: begin.Format("2006-01-02T15:04:05.999999999Z") + "/" + period.String(), memory: max(2*period, minMemory)}
}

// TickOf returns the tick with an id of its own, such as the date or the number of a build. It is remembered for
// that long, at least a minute: a machine that comes later would do it again.
func TickOf(id string, memory time.Duration) Tick {
	switch {
	case id == "":
		return Tick{err: fmt.Errorf("%w: a tick without an id", ErrInvalid)}
	case memory < minMemory:
		return Tick{err: fmt.Errorf("%w: memory %v of tick %.100q, must be at least %v", ErrInvalid, memory, id, minMemory)}
	}
	return Tick{id: id, memory: memory}
}

// String returns the tick's id.
func (t Tick) String() string { return t.id }

// RetryFailed makes Once try again, on whichever machine, what has failed. See [Client.Once].
func RetryFailed() LockOption { return func(s *lockSettings) { s.retry = true } }

// errDone ends the wait for the lock of a tick that turns out to have been done.
var errDone = errors.New("somebody else has done it")

// Once runs f if nobody has for this tick: of all machines that call it, one. ran tells whether it was run by this
// call; if it was not and there is no error, somebody else does it or has done it. Call it as often as you like:
//
//	for range time.Tick(time.Minute) {
//		ran, err := c.Once(ctx, "report", client.Every(24*time.Hour), report)
//		...
//	}
//
// f runs under the lock NAME:once, whatever the tick, as in Do: what runs for longer than a period delays the
// next tick, and its context ends if the lock is lost. ctx bounds the wait and ends the context of f.
//
// Without RetryFailed a tick is marked as done before f begins: f is called at most once for a tick. If it fails,
// panics, or its machine dies, it is not called again; a machine that loses the lock just after it has marked the
// tick returns the loss and does not call f at all.
//
// With RetryFailed a tick is marked when f has returned nil: f is called at least once, never at two places at the same
// time as far as a lock promises that, and those who call Once meanwhile wait, ready to take over when it fails,
// panics, or its machine dies. If the mark itself fails, for want of a quorum, f will be called again, so it must
// bear that.
//
// Errors: those of f, joined with the loss as in Do; those of Lock; ErrQuorum if the tick could not be marked, or
// asked for: without RetryFailed it then may count as done although f was not called.
func (c *Client) Once(ctx context.Context, name string, tick Tick, f func(ctx context.Context, l *Lease) error, opts ...LockOption) (ran bool, err error) {
	set, err := c.lockSettings(opts)
	if err != nil {
		return false, err
	}
	if tick.id == "" && tick.err == nil {
		tick.err = fmt.Errorf("%w: no tick", ErrInvalid)
	}
	o := &once{c: c, name: name, set: name + ":tick:" + tick.id, memory: tick.memory, retry: set.retry}
	for _, err := range []error{tick.err, set.checkExclusive("a tick"), checkPrefix(name), redlock.CheckName(o.lock()), redlock.CheckName(o.set)} {
		if err != nil {
			return false, err
		}
	}
	if done, err := o.done(ctx); done || err != nil {
		return false, err
	}
	l, err := o.enter(ctx, opts)
	if err != nil || l == nil {
		return false, err
	}
	err = c.under(ctx, l, func(ctx context.Context, l *Lease) error {
		if done, err := o.done(ctx); done || err != nil {
			return err
		}
		if !o.retry {
			if err := o.mark(ctx); err != nil {
				return err
			}
			// A mark that is there while the lock is still held is seen by whoever has the lock next. Any other may
			// come too late for that: somebody else may be at it.
			if err := l.Err(); err != nil {
				return err
			}
		}
		ran = true
		if err := f(ctx, l); err != nil || !o.retry {
			return err
		}
		return o.mark(context.WithoutCancel(ctx))
	})
	return ran, err
}

// once is one call of Once.
type once struct {
	c         *Client
	name, set string
	memory    time.Duration
	retry     bool
}

func (o *once) lock() string { return o.name + ":once" }

func (o *once) done(ctx context.Context) (bool, error) {
	members, err := o.c.members(ctx, o.set)
	return len(members) > 0, err
}

func (o *once) mark(ctx context.Context) error { return o.c.add(ctx, o.set, "done", o.memory) }

// enter waits for the lock, or until it hears that the tick is done: then there is neither lease nor error.
func (o *once) enter(ctx context.Context, opts []LockOption) (*Lease, error) {
	l, err := o.c.TryLock(ctx, o.lock(), opts...)
	if !errors.Is(err, ErrHeld) {
		return l, err
	}
	wait, cancel := context.WithCancelCause(ctx)
	heard := make(chan struct{})
	go func() { // ends with wait, below
		defer close(heard)
		if o.c.await(wait, "tick", o.name, o.set, func(members []string) bool { return len(members) > 0 }) == nil {
			cancel(errDone)
		}
	}()
	l, err = o.c.Lock(wait, o.lock(), opts...)
	cancel(nil)
	<-heard
	if l == nil && ctx.Err() == nil && errors.Is(err, errDone) {
		return nil, nil
	}
	return l, err
}
