package redlock

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Beside its lock a name has a set of members that only grows, until the whole of it expires. It is what
// barriers and latches are built on: a member that was put into it by a majority of the nodes is seen by
// everybody who asks a majority later.

// Add puts a member (1 to MaxMember bytes) into the set of a name and has the set live for ttl from now, or for
// longer if it would anyway. It returns when a majority of the nodes has it: from then on every call of Members
// includes it, until the ttl ends. Nodes publish a new member to ChangeChannel(name).
//
// The ttl is MinTTL to MaxSetTTL. A node that restarts without its state keeps out for Options.LongestTTL
// and D only: a set that lives for longer must not lose a majority of its nodes within its ttl, one by one.
//
// Errors: ErrQuorum (*QuorumError; errors.Is(err, ErrFull) if nodes have MaxMembers already), the context's: the
// member may be in the set nevertheless. ErrInvalid, ErrClosed.
func (q *Quorum) Add(ctx context.Context, name, member string, ttl time.Duration) error {
	switch {
	case len(member) == 0 || len(member) > MaxMember:
		return fmt.Errorf("%w: member of %d bytes, must be 1 to %d", ErrInvalid, len(member), MaxMember)
	case ttl < MinTTL || ttl > MaxSetTTL:
		return fmt.Errorf("%w: ttl of the set %v, must be %v to %v", ErrInvalid, ttl, MinTTL, MaxSetTTL)
	}
	_, err := q.poll(ctx, Request{Op: OpAdd, Name: name, Member: member, TTL: ttl})
	return err
}

// Members returns what any of a majority of the nodes has in the set of a name, sorted. Errors: ErrQuorum
// (*QuorumError), the context's, ErrInvalid, ErrClosed.
func (q *Quorum) Members(ctx context.Context, name string) ([]string, error) {
	p, err := q.poll(ctx, Request{Op: OpMembers, Name: name})
	if err != nil {
		return nil, err
	}
	return p.members(), nil
}

// poll sends a request to all nodes and waits until a majority has done it.
func (q *Quorum) poll(ctx context.Context, r Request) (*poll, error) {
	if err := checkName(r.Name); err != nil {
		return nil, err
	}
	if err := q.ready(ctx, r.Op, r.Name); err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards p
	p := newPoll(q.rules, len(q.nodes), r)
	done := make(chan struct{})
	for i := range q.nodes {
		q.send(message{node: i, req: r}, func(reply Reply) {
			mu.Lock()
			defer mu.Unlock()
			if p.phase != pollOpen {
				return
			}
			if p.reply(i, reply); p.phase != pollOpen {
				close(done)
			}
		})
	}
	if wait(ctx, done, roundLimit) == cancelled {
		return nil, contextError(ctx, r.Op, r.Name)
	}
	mu.Lock()
	defer mu.Unlock()
	if p.phase != pollWon {
		p.phase = pollFailed
		return nil, p.failure(q.names)
	}
	return p, nil
}

// A poll is the state machine of one request that a majority of the nodes has to do. Like lease it does no I/O.
type poll struct {
	rules    *rules
	request  Request
	phase    pollPhase
	replies  []Reply
	answered []bool
}

type pollPhase uint8

const (
	pollOpen pollPhase = iota
	pollWon
	pollFailed
)

func newPoll(r *rules, n int, request Request) *poll {
	return &poll{rules: r, request: request, replies: make([]Reply, n), answered: make([]bool, n)}
}

// reply counts a node's answer. What comes after the majority is not needed.
func (p *poll) reply(node int, r Reply) {
	if p.phase != pollOpen {
		return
	}
	p.replies[node], p.answered[node] = r, true
	done, open := 0, 0
	for i, r := range p.replies {
		switch {
		case !p.answered[i]:
			open++
		case r.Status == StatusOK:
			done++
		}
	}
	n := len(p.replies)
	switch {
	case p.rules.quorate(done, n):
		p.phase = pollWon
	case !p.rules.quorate(done+open, n):
		p.phase = pollFailed
	}
}

// members returns the union of what the nodes have, sorted.
func (p *poll) members() []string {
	all := map[string]bool{}
	for _, r := range p.replies {
		if r.Status == StatusOK {
			for _, m := range r.Members {
				all[m] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (p *poll) failure(names []string) error {
	agreed := 0
	e := newQuorumError(p.request.Op, p.request.Name, len(p.replies), 0)
	for i, r := range p.replies {
		switch {
		case !p.answered[i]:
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
