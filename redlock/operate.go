package redlock

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A Revocation is a completed Evict or Force.
type Revocation struct {
	Name   string
	Digest string
	// Over is when every lease of the owner is certainly over, on this process's running clock.
	Over clock.Instant
}

// revocationRounds is how often a revocation is tried before it is given up for want of a majority.
const revocationRounds = 8

// Evict revokes an owner, named by its digest: it can no longer renew, and its lock stays exclusive until it
// expires. A client that is not ours ignores that, and a key without a ttl stays: see Force. Evict returns
// when a majority of the nodes has confirmed in good time, trying again as often as it takes up to a limit. The
// reason (at most MaxReason bytes, not secret) is what the owner's ForcedError tells; nodes remember it as long as
// the revocation.
//
// Errors: ErrQuorum (*QuorumError), the context's: some nodes may have revoked the owner nevertheless.
// ErrInvalid, ErrClosed.
func (q *Quorum) Evict(ctx context.Context, name, digest, reason string) (*Revocation, error) {
	return q.revoke(ctx, OpEvict, name, digest, reason)
}

// Force revokes an owner and deletes its lock at once. It breaks exclusion: until Revocation.Over the old
// holder may still believe that it holds the lock, and only fencing protects the resource. Errors: as Evict.
func (q *Quorum) Force(ctx context.Context, name, digest, reason string) (*Revocation, error) {
	return q.revoke(ctx, OpForce, name, digest, reason)
}

func (q *Quorum) revoke(ctx context.Context, op Op, name, digest, reason string) (*Revocation, error) {
	if err := errors.Join(checkName(name), checkReason(reason)); err != nil {
		return nil, err
	}
	if b, err := hex.DecodeString(digest); err != nil || hex.EncodeToString(b) != digest || len(b) != 20 {
		return nil, fmt.Errorf("%w: %q is no digest of an owner", ErrInvalid, digest)
	}
	if err := q.ready(ctx, op, name); err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards v
	v := newRevocation(q.rules, len(q.nodes), q.opts.LongestTTL, Request{Op: op, Name: name, Digest: digest, Reason: reason, Turn: q.opts.Turn})
	done := make(chan struct{})
	for range revocationRounds {
		mu.Lock()
		v.begin(clock.Now())
		out, deadline := v.take(), v.deadline()
		mu.Unlock()
		for _, m := range out {
			q.send(m, func(r Reply) {
				mu.Lock()
				defer mu.Unlock()
				v.reply(m, r, clock.Now())
				if v.done && !closed(done) {
					close(done)
				}
			})
		}
		end := wait(ctx, done, clock.Until(deadline))
		mu.Lock()
		v.timeout()
		won := v.done
		mu.Unlock()
		switch {
		case won:
			return &Revocation{Name: name, Digest: digest, Over: v.ends}, nil
		case end == cancelled:
			return nil, contextError(ctx, op, name)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return nil, v.failure(q.names)
}

// A State is what a majority of the nodes says about a name.
type State struct {
	Name string
	// Holder is the owner whose lock is at a majority of all nodes; nil if there is none, or if it is shared.
	Holder *Holder
	// Readers are the owners who hold the lock shared at a majority of all nodes, who holds for longest first. Each
	// node tells of at most MaxReaders, so with more of them some are missing here.
	Readers []Holder
	// Reading is the highest number of readers at any node that answered.
	Reading int
	// Fence is the highest fence of the nodes that answered: no client was given a higher token before.
	Fence   int64
	Waiting int // the longest queue of any node that answered
	// Answered is how many nodes have answered: at least a majority.
	Answered int
	// Nodes holds each node's own reply, in the order of Quorum.Nodes.
	Nodes []NodeState
}

// Free reports that no owner has the lock at a majority of the nodes.
func (s *State) Free() bool { return s.Holder == nil && len(s.Readers) == 0 }

// A Holder is an owner, as the nodes see it.
type Holder struct {
	Digest string // what Evict and Force want
	Label  string
	Meta   string
	Token  int64 // the highest fence that it recorded at a node; 0 if it recorded none
	// Remaining is for how long its lock will stay at a majority of nodes if it is not renewed. Negative:
	// without end.
	Remaining time.Duration
	Recorded  bool // one of ours; false: redsync or a bare SET
	Shared    bool // holds beside other readers
	Nodes     int  // at how many nodes its lock was seen
}

// A NodeState is one node's reply to Inspect. A node that did not answer in time has ErrNoAnswer.
type NodeState struct {
	Node  string
	Reply Reply
}

// inspectGrace is for how long Inspect waits for the other nodes when a majority has answered but disagrees.
const inspectGrace = 200 * time.Millisecond

// Inspect asks all nodes about a name. It returns as soon as a majority has the same to say; where those that
// answered disagree it waits a little for the others. Errors: ErrQuorum (*QuorumError), the context's,
// ErrInvalid, ErrClosed.
func (q *Quorum) Inspect(ctx context.Context, name string) (*State, error) {
	return q.inspect(ctx, name, func(s *survey) ending {
		end := wait(ctx, s.enough, roundLimit)
		if end == settled {
			end = wait(ctx, s.clear, inspectGrace)
		}
		return end
	})
}

// InspectAll is Inspect for somebody who wants to see every node: it waits for each until it has answered, its
// Node has given it up, or ctx is done.
func (q *Quorum) InspectAll(ctx context.Context, name string) (*State, error) {
	return q.inspect(ctx, name, func(s *survey) ending { return wait(ctx, s.all, roundLimit) })
}

// inspect sends the question and returns what is known when waited returns.
func (q *Quorum) inspect(ctx context.Context, name string, waited func(*survey) ending) (*State, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := q.ready(ctx, OpInspect, name); err != nil {
		return nil, err
	}
	s := &survey{n: len(q.nodes), replies: make([]Reply, len(q.nodes)), answered: make([]bool, len(q.nodes)),
		enough: make(chan struct{}), clear: make(chan struct{}), all: make(chan struct{})}
	for i := range q.nodes {
		q.send(message{node: i, req: Request{Op: OpInspect, Name: name}}, func(r Reply) { s.reply(i, r) })
	}
	if waited(s) == cancelled {
		return nil, contextError(ctx, OpInspect, name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stateLocked(name, q.names)
}

// A survey collects the answers to one Inspect.
type survey struct {
	n int

	mu       sync.Mutex
	replies  []Reply
	answered []bool
	enough   chan struct{} // closed when a majority has given its view, or all have answered
	clear    chan struct{} // closed when no other answer could change who the holder is
	all      chan struct{} // closed when all have answered
}

func (s *survey) reply(node int, r Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies[node], s.answered[node] = r, true
	open, views := s.n, 0
	seen := map[string]int{}
	for i, r := range s.replies {
		if !s.answered[i] {
			continue
		}
		open--
		if r.Status == StatusOK {
			views++
			for h := range r.owners() {
				seen[h.Digest]++
			}
		}
	}
	majority := s.n/2 + 1
	decided := true // whether each owner is at a majority
	for _, n := range seen {
		decided = decided && (n >= majority || n+open < majority)
	}
	if (views >= majority || open == 0) && !closed(s.enough) {
		close(s.enough)
	}
	if (views >= majority && decided || open == 0) && !closed(s.clear) {
		close(s.clear)
	}
	if open == 0 {
		close(s.all)
	}
}

// owners yields who has the lock at the node that gave this reply to Inspect, as it sees them.
func (r *Reply) owners() iter.Seq[Holder] {
	return func(yield func(Holder) bool) {
		if r.Digest != "" {
			h := Holder{Digest: r.Digest, Label: r.Label, Meta: r.Meta, Token: r.Token, Remaining: r.Remaining, Recorded: r.Recorded}
			if !yield(h) {
				return
			}
		}
		for _, h := range r.Readers {
			if !yield(h) {
				return
			}
		}
	}
}

func (s *survey) stateLocked(name string, names []string) (*State, error) {
	state := &State{Name: name}
	views := 0
	owners := map[string]*Holder{}
	left := map[string][]time.Duration{}
	e := newQuorumError(OpInspect, name, s.n, 0)
	for i, r := range s.replies {
		if !s.answered[i] {
			r = Reply{Status: StatusError, Err: ErrNoAnswer}
		}
		state.Nodes = append(state.Nodes, NodeState{Node: names[i], Reply: r})
		if r.Status != StatusOK {
			e.add(names[i], r.failure())
			continue
		}
		views++
		state.Fence, state.Waiting, state.Reading = max(state.Fence, r.Fence), max(state.Waiting, r.Waiting), max(state.Reading, r.Reading)
		for seen := range r.owners() {
			h := owners[seen.Digest]
			if h == nil {
				h = &Holder{Digest: seen.Digest, Shared: seen.Shared}
				owners[seen.Digest] = h
			}
			h.Nodes++
			left[seen.Digest] = append(left[seen.Digest], seen.Remaining)
			if seen.Recorded {
				h.Recorded, h.Label, h.Meta, h.Token = true, seen.Label, seen.Meta, max(h.Token, seen.Token)
			}
		}
	}
	majority := s.n/2 + 1
	state.Answered = views
	if e.Agreed = views; views < majority {
		return nil, e
	}
	for digest, h := range owners {
		if h.Nodes < majority {
			continue
		}
		// It has a majority until so many of its locks are gone that one fewer than a majority is left.
		h.Remaining = nth(left[digest], h.Nodes-majority+1)
		if h.Shared {
			state.Readers = append(state.Readers, *h)
		} else {
			state.Holder = h
		}
	}
	slices.SortFunc(state.Readers, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(b.Remaining, a.Remaining), cmp.Compare(a.Digest, b.Digest))
	})
	return state, nil
}
