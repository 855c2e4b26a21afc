package redlock

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A Grant is a lock that was won. It is safe for concurrent use. It ends by itself when its validity end
// passes, and its lock is then released at all nodes: nothing needs to be done about a grant that was lost.
type Grant struct {
	q       *Quorum
	request Request

	mu      sync.Mutex
	lease   *lease
	sending bool // somebody is handing out messages; it takes those of everybody, so that their order is kept
	won     bool
	decided chan struct{} // closed when the attempt is decided
	flight  *flight       // the pending renewal round
	parted  chan struct{} // closed when the release round is settled
	done    chan struct{} // closed when the lease is over
	timer   *time.Timer   // ends the lease at its validity end
}

// A flight is a renewal round that somebody waits for.
type flight struct {
	number  int
	waiters int
	done    chan struct{}
	err     error // valid once done is closed
}

func (q *Quorum) newGrant(request Request) *Grant {
	request.FenceTTL = q.opts.FenceTTL
	return &Grant{q: q, request: request, lease: newLease(q.rules, len(q.nodes), request),
		decided: make(chan struct{}), parted: make(chan struct{}), done: make(chan struct{})}
}

// Name returns the lock's name.
func (g *Grant) Name() string { return g.request.Name }

// Value returns the owner value. It is a secret: whoever knows it can release the lock.
func (g *Grant) Value() string { return g.request.Value }

// Digest names the owner, as [Digest] does.
func (g *Grant) Digest() string { return Digest(g.request.Value) }

// TTL returns the ttl that the attempt and its renewals ask for.
func (g *Grant) TTL() time.Duration { return g.request.TTL }

// Label returns the label that those who wait are shown.
func (g *Grant) Label() string { return g.request.Label }

// Token returns the fencing token.
func (g *Grant) Token() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lease.token
}

// End returns the validity end: the first instant at which the lock is no longer held, unless it is renewed
// or over before.
func (g *Grant) End() clock.Instant {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lease.end
}

// Held reports whether the lock is held now. It reads the clock at each call.
func (g *Grant) Held() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lease.held(clock.Now())
}

// Remaining returns for how long the lock is still held without another renewal; zero if it is not held.
func (g *Grant) Remaining() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := clock.Now()
	if !g.lease.held(now) {
		return 0
	}
	return g.lease.end.Sub(now)
}

// Nodes returns how many nodes had the lock when they were last heard of.
func (g *Grant) Nodes() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lease.count(func(m *member) bool { return m.holds })
}

// Err returns why the grant is over: an error that wraps ErrLost, ErrForced or ErrReleased. It is nil while
// the lock is held.
func (g *Grant) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lease.held(clock.Now()) {
		return nil
	}
	return g.overLocked()
}

// Done returns a channel that is closed when the grant is over. It may be closed a little later than Held
// turns false, and on a machine that was suspended much later.
func (g *Grant) Done() <-chan struct{} { return g.done }

func (g *Grant) overLocked() error {
	reason := g.lease.reason
	if reason == nil { // the end has passed and nobody has told the lease so far
		reason = ErrLost
	}
	return fmt.Errorf("lock %q: %w", g.request.Name, reason)
}

// step lets an event happen to the lease, tells those who wait for its outcome, and sends what it wants sent.
func (g *Grant) step(event func(l *lease, now clock.Instant)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	event(g.lease, clock.Now())
	g.settleLocked()
	g.sendLocked()
}

func (g *Grant) settleLocked() {
	l := g.lease
	if !closed(g.decided) && (l.phase == holding || l.phase == over) {
		g.won = l.phase == holding
		close(g.decided)
		if g.won {
			g.timer = time.AfterFunc(clock.Until(l.end), g.expire)
		}
	}
	if f := g.flight; f != nil && (l.round.number != f.number || !l.round.pending) {
		switch {
		case l.phase == over:
			f.err = g.overLocked()
		case l.round.number != f.number || l.round.outcome != roundProlonged:
			f.err = l.roundError(g.q.names)
		}
		close(f.done)
		g.flight = nil
	}
	if l.parts.done && !closed(g.parted) {
		close(g.parted)
	}
	if l.phase == over && !closed(g.done) {
		close(g.done)
		if g.timer != nil {
			g.timer.Stop()
		}
	}
}

// sendLocked hands out the messages of the lease in order. It unlocks mu meanwhile: a node may answer from
// within Send.
func (g *Grant) sendLocked() {
	if g.sending {
		return
	}
	g.sending = true
	for out := g.lease.take(); len(out) > 0; out = g.lease.take() {
		g.mu.Unlock()
		for _, m := range out {
			g.q.send(m, func(r Reply) {
				g.step(func(l *lease, now clock.Instant) { l.reply(m, r, now) })
			})
		}
		g.mu.Lock()
	}
	g.sending = false
}

// expire is the timer's function. The end may have moved since the timer was set.
func (g *Grant) expire() {
	g.step(func(l *lease, now clock.Instant) {
		l.expire(now)
		if l.phase == holding {
			g.timer.Reset(l.end.Sub(now))
		}
	})
}

// renew runs a renewal round or joins the one that somebody else is waiting for.
func (g *Grant) renew(ctx context.Context) error {
	var f *flight
	var err error
	var left time.Duration
	g.step(func(l *lease, now clock.Instant) {
		if g.flight == nil || g.flight.waiters == 0 {
			g.flight = nil
			l.renew(now, g.request.TTL)
			if l.phase != holding {
				err = g.overLocked()
				return
			}
			g.flight = &flight{number: l.round.number, done: make(chan struct{})}
		}
		f = g.flight
		f.waiters++
		left = min(l.roundEnd().Sub(now), roundLimit)
	})
	if err != nil {
		return err
	}
	switch wait(ctx, f.done, left) {
	case cancelled:
		g.step(func(*lease, clock.Instant) { f.waiters-- })
		return contextError(ctx, OpRenew, g.request.Name)
	case timedOut:
		g.step(func(l *lease, now clock.Instant) {
			if g.flight == f {
				l.timeout(now)
			}
		})
	}
	<-f.done
	return f.err
}

// release ends the lease and waits until a majority knows.
func (g *Grant) release(ctx context.Context) error {
	var err error
	g.step(func(l *lease, now clock.Instant) {
		l.release(now)
		if l.reason != ErrReleased {
			err = g.overLocked()
		}
	})
	if err != nil {
		return err
	}
	if wait(ctx, g.parted, roundLimit) == cancelled {
		return contextError(ctx, OpRelease, g.request.Name)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lease.releaseError(g.q.names)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
