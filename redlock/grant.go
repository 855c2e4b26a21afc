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
//
// A process may hold a hundred thousand of them: what only few need is made when it is asked for.
type Grant struct {
	q *Quorum

	mu      sync.Mutex
	lease   *lease        // its request never changes
	sending bool          // somebody is handing out messages; it takes those of everybody, so that their order is kept
	quiet   chan struct{} // nil until somebody waits for the end of sending
	won     bool
	lifting bool          // the lease is over and its token will be lifted
	decided chan struct{} // closed when the attempt is decided, and nil from then on
	flight  *flight       // the pending renewal round
	parted  chan struct{} // nil until somebody releases; closed when the release round is settled
	done    chan struct{} // nil until Done; closed when the lease is over
	timer   *time.Timer   // ends the lease at its validity end; nil after StopTimer
}

// A flight is a renewal round that somebody waits for. Its fields are guarded by the grant's mu.
type flight struct {
	number  int
	waiters int // calls that have not lost interest
	tell    []func(error)
	timer   *time.Timer // ends the round when its answers can be of no use any more
	err     error       // valid once it has landed
}

func (q *Quorum) newGrant(request Request) *Grant {
	request.FenceTTL, request.Turn = q.opts.FenceTTL, q.opts.Turn
	return &Grant{q: q, lease: newLease(q.rules, len(q.nodes), request), decided: make(chan struct{})}
}

// Name returns the lock's name.
func (g *Grant) Name() string { return g.lease.request.Name }

// Value returns the owner value. It is a secret: whoever knows it can release the lock.
func (g *Grant) Value() string { return g.lease.request.Value }

// Digest names the owner, as [Digest] does.
func (g *Grant) Digest() string { return Digest(g.lease.request.Value) }

// TTL returns the ttl that the attempt and its renewals ask for.
func (g *Grant) TTL() time.Duration { return g.lease.request.TTL }

// Label returns the label that those who wait are shown.
func (g *Grant) Label() string { return g.lease.request.Label }

// Meta returns what is shown beside the label.
func (g *Grant) Meta() string { return g.lease.request.Meta }

// Resumable returns what another process must know to go on with the lease. It holds the owner value, which is
// a secret.
func (g *Grant) Resumable() Resumable {
	r := &g.lease.request
	return Resumable{Name: r.Name, Value: r.Value, Token: g.Token(), TTL: r.TTL, Label: r.Label, Meta: r.Meta, Announce: r.Announce, Shared: r.Shared}
}

// Shared reports that the lock is held beside other readers.
func (g *Grant) Shared() bool { return g.lease.request.Shared }

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
func (g *Grant) Done() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done == nil {
		g.done = make(chan struct{})
		if g.lease.phase == over {
			close(g.done)
		}
	}
	return g.done
}

// StopTimer takes the grant its timer, for a caller who watches many grants and has a cheaper way to do that
// than a timer for each. He then owes the grant a Release when it is over, which it otherwise sends by itself:
// Held, Remaining and Err go on telling the truth, but until then Done stays open, and what the nodes may still
// have of the lock is left to its ttl.
func (g *Grant) StopTimer() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopTimerLocked()
}

// WithholdEvicted has an eviction end the grant and not the lock, for a caller whose work needs some time to stop:
// the lock stays at the nodes until its ttl is over, or until the Release that he owes the grant then. A grant that
// is forced is released at once as always, since its lock is gone.
func (g *Grant) WithholdEvicted() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lease.withholds = true
}

func (g *Grant) stopTimerLocked() {
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
}

func (g *Grant) overLocked() error {
	reason := g.lease.reason
	if reason == ErrForced && g.lease.revoked != nil {
		return g.lease.revoked
	}
	if reason == nil { // the end has passed and nobody has told the lease so far
		reason = ErrLost
	}
	return fmt.Errorf("lock %q: %w", g.lease.request.Name, reason)
}

// step lets an event happen to the lease, sends what it wants sent, and tells those who wait for its outcome.
func (g *Grant) step(event func(l *lease, now clock.Instant)) {
	g.mu.Lock()
	event(g.lease, clock.Now())
	landed := g.settleLocked()
	g.sendLocked()
	lift := !g.lifting && g.lease.liftable()
	g.lifting = g.lifting || lift
	g.mu.Unlock()
	if lift {
		g.q.liftLater(g, g.lease.token)
	}
	if landed != nil {
		for _, tell := range landed.tell {
			tell(landed.err)
		}
	}
}

// settleLocked notes what the last event has decided. It returns the flight that has landed with it, if any:
// those who wait for it are told without the lock.
func (g *Grant) settleLocked() (landed *flight) {
	l := g.lease
	if g.decided != nil && (l.phase == holding || l.phase == over) {
		g.won = l.phase == holding
		close(g.decided)
		g.decided = nil
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
		f.timer.Stop()
		g.flight, landed = nil, f
	}
	if l.parts.done && g.parted != nil && !closed(g.parted) {
		close(g.parted)
	}
	if l.phase == over {
		if g.done != nil && !closed(g.done) {
			close(g.done)
		}
		g.stopTimerLocked()
	}
	return landed
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
	if g.quiet != nil {
		close(g.quiet)
		g.quiet = nil
	}
}

// sentLocked waits until whatever the lease wants sent has been handed to the nodes, by whomever. A caller of ours
// may send messages that must not overtake those, such as a Leave or the next attempt. It unlocks mu meanwhile.
func (g *Grant) sentLocked() {
	for g.sending {
		if g.quiet == nil {
			g.quiet = make(chan struct{})
		}
		quiet := g.quiet
		g.mu.Unlock()
		<-quiet
		g.mu.Lock()
	}
}

// expire is the timer's function. The end may have moved since the timer was set.
func (g *Grant) expire() {
	g.step(func(l *lease, now clock.Instant) {
		l.expire(now)
		if l.phase == holding && g.timer != nil {
			g.timer.Reset(l.end.Sub(now))
		}
	})
}

// RenewAsync is [Quorum.Renew] for a caller who does not wait: it starts a renewal round, or joins the one
// that is under way, and returns. done is called once with what Renew would return, when the round is decided
// or its time is over, which is after roundLimit (5 s) at the latest: by RenewAsync itself or from any other
// goroutine. It must not block; it may call RenewAsync.
func (q *Quorum) RenewAsync(g *Grant, done func(error)) {
	if f, err := g.board(done); f == nil {
		done(err)
	}
}

// renew runs a renewal round or joins the one that somebody else is waiting for.
func (g *Grant) renew(ctx context.Context) error {
	landed := make(chan error, 1)
	f, err := g.board(func(err error) { landed <- err })
	if f == nil {
		return err
	}
	select {
	case err := <-landed:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-landed: // then nothing else counts
		return err
	default:
	}
	g.step(func(*lease, clock.Instant) { f.waiters-- })
	return contextError(ctx, OpRenew, g.lease.request.Name)
}

// board finds the caller a flight: one that somebody waits for, or a new one. tell is called when it lands,
// unless the lease is over already: then there is no flight, and the error says why.
func (g *Grant) board(tell func(error)) (f *flight, err error) {
	g.step(func(l *lease, now clock.Instant) {
		if g.flight == nil || g.flight.waiters == 0 {
			l.renew(now, l.request.TTL)
			if l.phase != holding {
				err = g.overLocked()
				return
			}
			if g.flight != nil { // nobody waits for it, and its round was just replaced
				g.flight.timer.Stop()
			}
			g.flight = g.takeOffLocked(now)
		}
		f = g.flight
		f.waiters++
		f.tell = append(f.tell, tell)
	})
	return f, err
}

// takeOffLocked makes the flight of the round that was just begun.
func (g *Grant) takeOffLocked(now clock.Instant) *flight {
	f := &flight{number: g.lease.round.number}
	left := min(g.lease.roundEnd().Sub(now), roundLimit)
	f.timer = time.AfterFunc(left, func() {
		g.step(func(l *lease, now clock.Instant) {
			if g.flight == f {
				l.timeout(now)
			}
		})
	})
	return f
}

// part ends the lease and has sent its releases when it returns. The error says why it was over before.
func (g *Grant) part() (err error) {
	g.step(func(l *lease, now clock.Instant) {
		if g.parted == nil {
			g.parted = make(chan struct{})
		}
		l.release(now)
		if l.reason != ErrReleased {
			err = g.overLocked()
		}
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sentLocked()
	return err
}

// release ends the lease and waits until a majority knows.
func (g *Grant) release(ctx context.Context) error {
	if err := g.part(); err != nil {
		return err
	}
	g.mu.Lock()
	parted := g.parted
	g.mu.Unlock()
	if wait(ctx, parted, roundLimit) == cancelled {
		return contextError(ctx, OpRelease, g.lease.request.Name)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lease.releaseError(g.q.names)
}

// liftNow sends the lifts of a lease that is over.
func (g *Grant) liftNow() { g.step(func(l *lease, _ clock.Instant) { l.lift() }) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
