package redlock

import (
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A revocation is the state machine of one Evict or Force. Like lease it does no I/O.
//
// A round is complete when a majority has answered within D of its first send; else all of it is sent again.
// The bound is what makes the nodes' memory of a revocation, and the quarantine of a node that forgot it,
// last until every lease of the owner is over.
type revocation struct {
	rules   *rules
	request Request // Op, Name, Digest, TTL: for how long the nodes remember
	longest time.Duration
	n       int

	number   int // of the round
	start    clock.Instant
	pending  bool
	replies  []Reply
	answered []bool

	done bool
	ends clock.Instant // once done: every lease of the owner is over

	out []message
}

func newRevocation(r *rules, n int, longest time.Duration, request Request) *revocation {
	request.TTL = 2 * longest
	return &revocation{rules: r, request: request, longest: longest, n: n}
}

// begin sends a round, the first one or another.
func (v *revocation) begin(now clock.Instant) {
	v.number++
	v.start, v.pending = now, true
	v.replies, v.answered = make([]Reply, v.n), make([]bool, v.n)
	for i := range v.n {
		v.out = append(v.out, message{node: i, req: v.request, round: v.number})
	}
}

// deadline is the last instant at which the round can still be completed.
func (v *revocation) deadline() clock.Instant { return v.start.Add(v.rules.drift(v.longest)) }

// timeout ends a round that was not completed in time.
func (v *revocation) timeout() { v.pending = false }

// reply counts a node's answer.
func (v *revocation) reply(m message, r Reply, now clock.Instant) {
	if !v.pending || m.round != v.number {
		return
	}
	v.replies[m.node], v.answered[m.node] = r, true
	agreed, ttl := 0, time.Duration(0)
	for _, r := range v.replies {
		if r.Status == StatusOK {
			agreed++
			ttl = max(ttl, r.Remaining)
		}
	}
	if agreed < v.n/2+1 || now > v.deadline() {
		return
	}
	if ttl == 0 { // nowhere recorded
		ttl = v.longest
	}
	v.pending, v.done = false, true
	// No round that starts from now on counts, and one that started before is worth this much at most.
	v.ends = now.Add(ttl - v.rules.drift(ttl))
}

func (v *revocation) take() []message {
	out := v.out
	v.out = nil
	return out
}

// failure explains the last round.
func (v *revocation) failure(names []string) *QuorumError {
	agreed := 0
	e := newQuorumError(v.request.Op, v.request.Name, v.n, 0)
	for i, r := range v.replies {
		switch {
		case !v.answered[i]:
			e.add(names[i], ErrNoAnswer)
		case r.failure() != nil:
			e.add(names[i], r.failure())
		default:
			agreed++
		}
	}
	e.Agreed = agreed
	return e
}
