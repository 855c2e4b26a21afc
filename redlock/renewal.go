package redlock

import (
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A round is one renewal round of a lease. Only answers to its own messages count.
type round struct {
	number   int
	pending  bool
	resume   bool          // the answer must prove the token, too
	start    clock.Instant // r0: before the first send
	ttl      time.Duration
	replies  []Reply // by node
	answered []bool
	extended int // how many count
	outcome  roundOutcome
}

type roundOutcome uint8

const (
	roundFailed roundOutcome = iota
	roundProlonged
)

// renew starts a renewal round, unless the lease is over. It replaces a round that is still pending. The
// promises are kept with any ttl, but the end of a revocation is reckoned from the ttl that the nodes have on
// record: a Grant asks for the same one always.
func (l *lease) renew(now clock.Instant, ttl time.Duration) {
	l.expire(now)
	if l.phase == holding {
		l.beginRound(now, ttl, false)
	}
}

// resume starts the machine with the round by which a process takes up a lease whose validity end it does
// not know. Nothing but this round can prove that the lease lives.
func (l *lease) resume(now clock.Instant, token int64) {
	l.phase, l.token, l.start = resuming, token, now
	l.beginRound(now, l.request.TTL, true)
}

func (l *lease) beginRound(now clock.Instant, ttl time.Duration, resume bool) {
	n := len(l.members)
	l.round = round{number: l.round.number + 1, pending: true, resume: resume, start: now, ttl: ttl,
		replies: make([]Reply, n), answered: make([]bool, n)}
	for i := range l.members {
		l.members[i].asked = true
		l.send(i, Request{Op: OpRenew, TTL: ttl, Token: l.token})
	}
}

// roundEnd returns until when answers to the pending round can be of use.
func (l *lease) roundEnd() clock.Instant {
	end := l.round.start.Add(l.validity(l.round.ttl))
	if l.phase == holding {
		end = min(end, l.end)
	}
	return end
}

// timeout ends a round that was not decided in time. The validity end stays.
func (l *lease) timeout(now clock.Instant) {
	if l.phase == resuming {
		l.abandon(now)
		return
	}
	l.round.pending = false
	l.expire(now)
}

// renewedBy counts an answer. Healed is no vote in its own round: the node had lost the lock, so it cannot
// testify that nobody else had it since. It is repaired, and votes in the next round.
func (l *lease) renewedBy(m message, r Reply, now clock.Instant) {
	d := &l.round
	if !d.pending || m.round != d.number {
		return
	}
	d.replies[m.node], d.answered[m.node] = r, true
	if r.Status == StatusExtended && (!d.resume || r.Fence == l.token) {
		d.extended++
	}
	open := 0
	for _, answered := range d.answered {
		if !answered {
			open++
		}
	}
	switch {
	case d.extended >= l.majority():
		d.pending = false
		l.prolong(now)
	case d.extended+open < l.majority():
		d.pending = false
		if l.phase == resuming {
			l.resumeFailed()
		}
	}
}

// prolong moves the validity end after a round that has its majority. A lease that turns out to be too old
// by then is over; it does not wait for anybody to notice.
func (l *lease) prolong(now clock.Instant) {
	newEnd := l.round.start.Add(l.validity(l.round.ttl))
	oldEnd := l.end
	if l.phase == resuming {
		oldEnd = newEnd // the old end was told by a clock that is gone
	}
	if !l.rules.prolongs(now, newEnd, oldEnd) {
		if l.phase == resuming {
			l.leave()
		}
		l.expire(now)
		return
	}
	l.round.outcome = roundProlonged
	l.round.replies, l.round.answered = nil, nil // nobody asks why
	l.phase = holding
	l.forget()
	l.end = max(l.end, newEnd) // a shorter ttl does not take back what an earlier round has proved
}

// resumeFailed ends a resumption that cannot get its majority any more. If the nodes that answered rule it
// out, the lease is lost and cleaned up; if it is for want of answers, the lock is left as it is.
func (l *lease) resumeFailed() {
	possible := 0
	for i, r := range l.round.replies {
		if !l.round.answered[i] || r.Status == StatusError || r.Status == StatusExtended && r.Fence == l.token {
			possible++
		}
	}
	if possible < l.majority() {
		l.finish(ErrLost)
		return
	}
	l.leave()
}

// leave ends a resumption without a release: somebody may resume the lease with better luck.
func (l *lease) leave() {
	l.phase, l.reason, l.kept, l.round.pending = over, errFailed, true, false
}

// roundError explains a round that did not move the end.
func (l *lease) roundError(names []string) *QuorumError {
	e := newQuorumError(OpRenew, l.request.Name, len(l.members), l.round.extended)
	for i, r := range l.round.replies {
		switch {
		case !l.round.answered[i]:
			e.add(names[i], ErrNoAnswer)
		case r.failure() != nil:
			e.add(names[i], r.failure())
		case r.Status == StatusLost:
			e.Lost++
		}
	}
	return e
}
