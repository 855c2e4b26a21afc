package redlock

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// errFailed ends an attempt that won no majority; attemptError tells the caller why.
var errFailed = errors.New("attempt failed")

// begin sends the acquire to the first nodes of an order, as many as are a majority: if all of them grant,
// no other is needed. The others are spares, see propose. Each node is sent the acquire at most once in the
// life of the value.
func (l *lease) begin(now clock.Instant, order []int) {
	l.start = now
	l.end = now.Add(l.validity(l.request.TTL))
	for _, i := range order[:l.majority()] {
		l.propose(i)
	}
}

// propose sends the acquire to a node, unless it was sent before.
func (l *lease) propose(node int) {
	if m := &l.members[node]; !m.asked {
		m.asked = true
		l.send(node, Request{Op: OpAcquire})
	}
}

// hedge sends the acquire to the spares: the first nodes have not decided the attempt, or not in time. For the
// protocol the message to a spare is one that was under way for a little longer.
func (l *lease) hedge() {
	if l.phase == proposing {
		l.spread()
	}
}

// spread brings the lock to the nodes that have not been asked for it. It proves nothing new: the lease lives
// no longer, but does not depend on every single node of a bare majority any more.
func (l *lease) spread() {
	if l.phase == over || l.phase == resuming || l.round.resume {
		return
	}
	for i := range l.members {
		l.propose(i)
	}
}

// abandon ends an attempt that was not decided: time-out, or the caller lost interest. A lease that was won
// in the meantime is released.
func (l *lease) abandon(now clock.Instant) {
	switch l.phase {
	case proposing, raising:
		l.finish(errFailed)
	case resuming:
		l.leave()
	case holding:
		if l.round.resume {
			l.leave()
			return
		}
		l.release(now)
	}
}

// voted counts the answer to an acquire. The first majority of grants is Q; what comes later is not needed.
func (l *lease) voted(node int, r Reply, now clock.Instant) {
	m := &l.members[node]
	if m.voted = true; m.vote != &noVote {
		*m.vote = r
	}
	if l.phase != proposing {
		return
	}
	m.granted = r.Status == StatusGranted
	granted, open := l.count(func(m *member) bool { return m.granted }), l.count(func(m *member) bool { return !m.voted })
	l.failing = l.failing || r.Status != StatusGranted && r.Status != StatusHeld
	switch {
	case granted >= l.majority():
		l.agree(now)
	case granted+open < l.majority():
		l.finish(errFailed)
	case l.failing, granted > 0 && l.refused():
		l.hedge() // the first nodes are not enough; where all of them are taken, the spares would not help
	}
}

// refused tells that a node did not grant.
func (l *lease) refused() bool {
	return l.count(func(m *member) bool { return m.voted && !m.granted }) > 0
}

// agree makes the highest fence of Q the token, and asks those of Q that are behind to store it.
func (l *lease) agree(now clock.Instant) {
	l.phase = raising
	for i := range l.members {
		if l.members[i].granted {
			l.token = max(l.token, l.members[i].vote.Fence)
		}
	}
	for i := range l.members {
		m := &l.members[i]
		m.stored = m.granted && l.rules.confirms(m.vote.Fence, l.token)
	}
	if l.decide(now) {
		return
	}
	for i := range l.members {
		if m := &l.members[i]; m.granted && !m.stored {
			l.send(i, Request{Op: OpRaise, Token: l.token, Vote: m.vote.Fence})
		}
	}
}

func (l *lease) raisedBy(node int, r Reply, now clock.Instant) {
	if l.phase != raising {
		return
	}
	m := &l.members[node]
	m.raiseErr = r.Err
	m.stored = l.rules.raised(r.Status)
	m.granted = m.stored // a node of Q that did not store the token is out of it
	if !l.decide(now) && l.count(func(m *member) bool { return m.granted }) < l.majority() {
		l.finish(errFailed)
	}
}

// decide turns the attempt into a lease if H, the nodes that stored the token, is a majority.
func (l *lease) decide(now clock.Instant) bool {
	if l.count(func(m *member) bool { return m.stored }) < l.majority() {
		return false
	}
	if !l.rules.held(now, l.end, false) { // won too late
		l.late = true
		l.finish(errFailed)
		return true
	}
	l.phase = holding
	l.forget()
	return true
}

func (l *lease) count(is func(*member) bool) int {
	n := 0
	for i := range l.members {
		if is(&l.members[i]) {
			n++
		}
	}
	return n
}

// attemptError explains errFailed. With a majority of nodes in good order the lock was held; otherwise
// quarantine or errors were what kept it from being decided.
func (l *lease) attemptError(names []string) error {
	var granted, held, quarantined int
	for _, m := range l.members {
		switch {
		case !m.voted:
		case m.vote.Status == StatusGranted:
			granted++
		case m.vote.Status == StatusHeld:
			held++
		case m.vote.Status == StatusQuarantine:
			quarantined++
		}
	}
	failed := l.count(func(m *member) bool { return m.voted && m.vote.Status == StatusError })
	switch {
	case held > 0 && failed+quarantined < l.majority() && granted < l.majority():
		return l.heldError(granted, held)
	case quarantined > 0 && granted+held+quarantined >= l.majority():
		return l.quarantineError(granted+held, quarantined)
	}
	return l.quorumError(OpAcquire, granted, names)
}

// heldError describes the owner that was met at most nodes.
func (l *lease) heldError(granted, held int) *HeldError {
	e := &HeldError{Name: l.request.Name, Granted: granted, Held: held}
	seen, owners := map[string]int{}, map[string]bool{}
	turns := 0
	var left []time.Duration
	for _, m := range l.members {
		if m.vote.Status != StatusHeld {
			continue
		}
		left = append(left, m.vote.Remaining)
		if m.vote.Turn {
			turns++
			continue
		}
		if m.vote.Shared {
			owners[""] = true // readers are one: nodes may name different ones, and that is no split vote
		} else {
			owners[m.vote.Digest] = true
		}
		seen[m.vote.Digest]++
		if seen[m.vote.Digest] > seen[e.Digest] || e.Digest == "" {
			e.Digest = m.vote.Digest
		}
	}
	for _, m := range l.members {
		if m.vote.Status == StatusHeld && !m.vote.Turn && m.vote.Digest == e.Digest && m.vote.Recorded {
			e.Label, e.Meta, e.Recorded = m.vote.Label, m.vote.Meta, true
			e.Shared = e.Shared || m.vote.Shared
			e.Token = max(e.Token, m.vote.Token)
		}
	}
	e.Owners = len(owners)
	if e.Turn = turns > held/2; e.Turn {
		e.Recorded = true // whoever was woken is one of ours
	}
	e.Remaining = nth(left, l.majority()-granted)
	return e
}

func (l *lease) quarantineError(usable, quarantined int) *QuarantineError {
	var left []time.Duration
	for _, m := range l.members {
		if m.vote.Status == StatusQuarantine {
			left = append(left, m.vote.Remaining)
		}
	}
	return &QuarantineError{Name: l.request.Name, Nodes: quarantined, Remaining: nth(left, l.majority()-usable)}
}

// nth returns the n-th shortest of the times that nodes have left (from 1; the longest if there are fewer).
// A negative time is no end at all, and so the longest.
func nth(left []time.Duration, n int) time.Duration {
	slices.SortFunc(left, func(a, b time.Duration) int { return cmp.Compare(uint64(a), uint64(b)) })
	return left[max(min(n, len(left)), 1)-1]
}

// quorumError collects what the nodes said that were no help.
func (l *lease) quorumError(op Op, agreed int, names []string) *QuorumError {
	e := newQuorumError(op, l.request.Name, len(l.members), agreed)
	for i, m := range l.members {
		switch {
		case !m.voted:
			e.add(names[i], ErrNoAnswer)
		case m.vote.failure() != nil:
			e.add(names[i], m.vote.failure())
		case m.raiseErr != nil:
			e.add(names[i], m.raiseErr)
		case m.granted && (l.late || l.token > 0 && !m.stored): // to the raise
			e.add(names[i], ErrNoAnswer)
		}
	}
	return e
}
