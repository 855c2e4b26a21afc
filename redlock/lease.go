package redlock

import (
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A lease is the state machine of one owner value, from the first acquire to the last release. It does no
// I/O, reads no clock and starts no goroutine: its methods are the events (each with the time at which it
// happens), out is what they want sent. Grant drives it over real nodes, the model test over simulated ones.
//
//	proposing -> raising -> holding -> over
//	resuming  -----------> holding
//
// It is not safe for concurrent use.
type lease struct {
	rules *rules
	// request is what all messages have in common: Name, Value, Shared, TTL, Label, Meta, Announce, Waiter, Turn,
	// FenceTTL, Proposal.
	request Request

	phase phase
	// reason is why the lease is over: ErrLost, ErrForced, ErrReleased or, for an attempt that won nothing,
	// errFailed, with the details in members.
	reason  error
	revoked *ForcedError // what the first node that told of it had to say
	members []member     // one for each node

	start clock.Instant // t0: before the first send
	end   clock.Instant // the validity end
	token int64
	round round
	parts parting
	// failing: a node answered the attempt with what is no vote.
	failing bool
	late    bool // over, because the majority came after the validity end
	kept    bool // over, but not to be released: a resumption that was not decided
	// withholds: an eviction does not release the lock, see Grant.WithholdEvicted. withheld: there was one.
	withholds, withheld bool

	out []message
}

type phase uint8

const (
	proposing phase = iota // acquires are out
	raising                // a majority granted; raises are out
	resuming               // the first renewal round of somebody else's lease is out
	holding                // won, until the end passes
	over                   // failed, released, lost or forced
)

// A message is a request to one node.
type message struct {
	node  int
	req   Request
	round int // of a renew
}

// A member is what the lease knows of one node.
type member struct {
	asked  bool   // the acquire, or a renewal, was sent
	lifted bool   // a lift was sent, in their place
	vote   *Reply // to the acquire; in raising the vote of the attempt stays, see forget
	voted  bool
	// granted: belongs to Q. stored: belongs to H, has our lock and the token.
	granted, stored bool
	holds           bool // the node had our lock when it was last heard of
	releases        int  // how many releases were sent
	releasing       int  // how many of them have not been answered
	suspect         bool // told us of our lock while a release was under way
	raiseErr        error
	releaseErr      error
}

// maxReleases bounds how often one node is asked to release one value: once when the lease ends, and again
// for each late sign that the node has the lock nevertheless.
const maxReleases = 4

// parting counts the answers to the first release of every node.
type parting struct {
	clean            int // nodes that certainly never had the lock, and are sent no release
	answered, failed int
	deleted          int  // how many of those that answered had the lock
	done             bool // the lock is gone from a majority, or all have answered that will
}

// newLease returns the machine of a fresh owner value over n nodes. Nothing is sent before begin or resume.
func newLease(r *rules, n int, request Request) *lease {
	l := &lease{rules: r, request: request, members: make([]member, n)}
	votes := make([]Reply, n)
	for i := range l.members {
		l.members[i].vote = &votes[i]
	}
	return l
}

// noVote is the vote of every member once votes are forgotten. It stays as it is.
var noVote Reply

// forget drops what was only of use until the lease was won. Votes are most of what a lease consists of.
func (l *lease) forget() {
	for i := range l.members {
		l.members[i].vote = &noVote
	}
}

func (l *lease) majority() int { return len(l.members)/2 + 1 }

// held tells whether the lock is held now: strictly before the validity end.
func (l *lease) held(now clock.Instant) bool {
	return l.phase == holding && l.rules.held(now, l.end, l.round.pending)
}

// validity returns for how long after its first send a round with this ttl is worth something.
func (l *lease) validity(ttl time.Duration) time.Duration { return ttl - l.rules.drift(ttl) }

// reply is the answer of a node to a message of this lease.
func (l *lease) reply(m message, r Reply, now clock.Instant) {
	node := &l.members[m.node]
	switch {
	case r.Status == StatusGranted, r.Status == StatusExtended, r.Status == StatusHealed,
		r.Status == StatusOK && m.req.Op == OpRaise:
		node.holds = true
		if l.phase == over {
			l.straggler(m.node)
		}
	case m.req.Op == OpRaise && r.Status == StatusLost: // the fence may be in the way, not the lock
	case r.Status != StatusError:
		node.holds = false
	}
	if r.Status == StatusForced && l.phase != over {
		l.revoked = &ForcedError{Name: l.request.Name, Reason: r.Reason, Evicted: r.Evicted}
		if l.withheld = l.withholds && r.Evicted && l.phase == holding; l.withheld {
			l.phase, l.reason, l.round.pending = over, ErrForced, false
		} else {
			l.finish(ErrForced)
		}
	}
	switch m.req.Op {
	case OpAcquire:
		l.voted(m.node, r, now)
	case OpRaise:
		l.raisedBy(m.node, r, now)
	case OpRenew:
		l.renewedBy(m, r, now)
	case OpRelease:
		l.releasedBy(m.node, r)
	}
}

// expire ends the lease if its validity end has passed.
func (l *lease) expire(now clock.Instant) {
	if l.phase == holding && !l.held(now) {
		l.finish(ErrLost)
	}
}

// release ends the lease for its holder.
func (l *lease) release(now clock.Instant) {
	l.expire(now)
	switch {
	case l.withheld:
		l.withheld = false
		l.finish(l.reason)
	case l.phase != over:
		l.finish(ErrReleased)
	}
}

// finish ends the lease and releases its value everywhere, except where it certainly never was.
func (l *lease) finish(reason error) {
	attempt := l.phase == proposing || l.phase == raising
	l.phase, l.reason, l.round.pending = over, reason, false
	for i := range l.members {
		if m := &l.members[i]; !m.asked || attempt && m.clean() {
			l.parts.clean++
			continue
		}
		l.sendRelease(i)
	}
	l.settleParting()
}

// clean tells that the answer to an acquire, the only message sent so far, rules out that the node has the
// lock.
func (m *member) clean() bool {
	switch {
	case !m.voted, m.granted, m.vote.Status == StatusGranted:
		return false
	case m.vote.Status == StatusError:
		return m.vote.NotSent
	}
	return true
}

func (l *lease) sendRelease(node int) {
	m := &l.members[node]
	if m.releases == maxReleases {
		return
	}
	m.releases++
	m.releasing++
	l.send(node, Request{Op: OpRelease})
}

// straggler handles a sign of life of our lock at a node after the lease is over. A release that is under
// way was sent after the message that is answered now, so it will do, unless it comes to nothing.
func (l *lease) straggler(node int) {
	m := &l.members[node]
	switch {
	case l.kept, l.withheld:
	case m.releasing > 0:
		m.suspect = true
	default:
		l.sendRelease(node)
	}
}

func (l *lease) releasedBy(node int, r Reply) {
	m := &l.members[node]
	m.releasing--
	m.releaseErr = r.Err
	if r.Status == StatusError {
		l.parts.failed++
	} else {
		l.parts.answered++
	}
	if r.Status == StatusOK {
		l.parts.deleted++
	}
	l.settleParting()
	if m.suspect && m.releasing == 0 {
		m.suspect = false
		if r.Status != StatusOK {
			l.sendRelease(node)
		}
	}
}

// settleParting closes the release round once a majority of nodes is free of the lock, which is what somebody
// else needs to get it, or everybody has answered. Answers to repeated releases may be among those that are
// counted; they come later than that in all but the oddest cases and do no harm.
func (l *lease) settleParting() {
	p := &l.parts
	p.done = p.done || l.freed() && (p.deleted > 0 || l.gone()) || p.clean+p.answered+p.failed >= len(l.members)
}

// freed tells that a majority of nodes certainly does not have the lock.
func (l *lease) freed() bool { return l.parts.clean+l.parts.answered >= l.majority() }

// gone tells that most of the nodes that should have had the lock did not have it any more.
func (l *lease) gone() bool {
	return l.parts.deleted == 0 && l.parts.answered > (len(l.members)-l.parts.clean)/2
}

// releaseError explains a release round that did not free a majority, or that found the lock at no node: then
// it was lost before, though the validity end had not come. It is nil if all was well.
func (l *lease) releaseError(names []string) error {
	switch {
	case l.freed() && l.parts.deleted > 0:
		return nil
	case l.freed() && l.gone():
		return fmt.Errorf("lock %q: %w", l.request.Name, ErrLost)
	}
	e := newQuorumError(OpRelease, l.request.Name, len(l.members), l.parts.clean+l.parts.answered)
	for i, m := range l.members {
		switch {
		case m.releaseErr != nil:
			e.add(names[i], m.releaseErr)
		case m.releasing > 0:
			e.add(names[i], ErrNoAnswer)
		}
	}
	return e
}

// send fills a message from the lease's own request and puts it out.
func (l *lease) send(node int, req Request) {
	req.Name, req.Value, req.Shared = l.request.Name, l.request.Value, l.request.Shared
	switch req.Op {
	case OpAcquire:
		req.TTL, req.Proposal, req.Turn = l.request.TTL, l.request.Proposal, l.request.Turn
		if l.phase == proposing { // one that is spread waits for nothing
			req.Waiter = l.request.Waiter
		}
		fallthrough
	case OpRenew:
		req.Label, req.Meta, req.Announce = l.request.Label, l.request.Meta, l.request.Announce
		fallthrough
	case OpRaise, OpLift:
		req.FenceTTL = l.request.FenceTTL
	case OpRelease:
		req.Turn, req.Announce = l.request.Turn, l.request.Announce
	}
	l.out = append(l.out, message{node: node, req: req, round: l.round.number})
}

// take hands over what is to be sent, in order.
func (l *lease) take() []message {
	out := l.out
	l.out = nil
	return out
}
