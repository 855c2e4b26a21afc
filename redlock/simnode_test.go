package redlock

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// nodeRules are the nodes' decisions on which the promises hang, so that mutants can decide otherwise. The
// scripts are the real thing; TestScriptsMatchModel keeps the two alike.
type nodeRules struct {
	raiseChecksOwner bool
	raiseChecksFence bool
	renewExpiry      func(old, renewed clock.Instant) clock.Instant
	healFence        func(fence, token int64) int64
	saturates        bool // instead of an error, the counter stays where it is
	evictDeletes     bool
	revokesOnlyHere  bool // only where the lock is found
	memory           func(asked time.Duration) time.Duration
	quarantine       func(longest, drift time.Duration) time.Duration
}

func rightNode() *nodeRules {
	return &nodeRules{
		raiseChecksOwner: true,
		raiseChecksFence: true,
		renewExpiry:      func(old, renewed clock.Instant) clock.Instant { return max(old, renewed) },
		healFence:        func(fence, token int64) int64 { return max(fence, token) },
		memory:           func(asked time.Duration) time.Duration { return asked },
		quarantine:       func(longest, drift time.Duration) time.Duration { return longest + drift },
	}
}

// never is the expiry of what has no ttl.
const never = clock.Instant(1 << 62)

var errFence = errors.New("FENCE the fence is no integer below 2^53-1")

// A simNode is what one node knows of one name: the scripts, written in Go. The zero simNode with rules knows
// nothing.
type simNode struct {
	rules *nodeRules
	// stretch is by how much the node's clock lets a ttl that begins now come out longer (or shorter).
	stretch func() time.Duration
	wall    func() int64 // microseconds

	owner      string
	expires    clock.Instant
	record     simRecord
	fence      int64
	fenceEnds  clock.Instant
	revoked    map[string]bool
	revokedEnd clock.Instant
	queue      []simWaiter
	queueEnds  clock.Instant
	quarantine clock.Instant // until
	woken      []string      // messages that were published, as "channel payload"
}

type simRecord struct {
	digest, label, meta string
	token               int64
	ttl                 time.Duration
	announce            bool
}

type simWaiter struct {
	since int64
	id    string
	dead  clock.Instant
}

// forget is a restart without state.
func (n *simNode) forget(now clock.Instant, longest, drift time.Duration) {
	*n = simNode{rules: n.rules, stretch: n.stretch, wall: n.wall,
		quarantine: now.Add(n.rules.quarantine(longest, drift) + n.stretch())}
}

// settle lets expire what is due.
func (n *simNode) settle(now clock.Instant) {
	if n.owner != "" && now >= n.expires {
		n.owner, n.record = "", simRecord{}
	}
	if n.fence != 0 && now >= n.fenceEnds {
		n.fence = 0
	}
	if n.revoked != nil && now >= n.revokedEnd {
		n.revoked = nil
	}
	if n.queue != nil && now >= n.queueEnds {
		n.queue = nil
	}
}

func (n *simNode) digest() string {
	if n.owner == "" {
		return ""
	}
	return Digest(n.owner)
}

func (n *simNode) isRevoked(v string) bool { return len(n.revoked) > 0 && n.revoked[Digest(v)] }

// do executes a request.
func (n *simNode) do(r Request, now clock.Instant) Reply {
	n.settle(now)
	switch r.Op {
	case OpAcquire:
		return n.acquire(r, now)
	case OpRaise:
		if n.rules.raiseChecksOwner && n.owner != r.Value || n.rules.raiseChecksFence && n.fence > r.Token {
			return Reply{Status: StatusLost}
		}
		n.setFence(r.Token, r, now)
		return Reply{Status: StatusOK}
	case OpLift:
		if n.fence < r.Token {
			n.setFence(r.Token, r, now)
		}
		return Reply{Status: StatusOK}
	case OpRenew:
		return n.renew(r, now)
	case OpRelease:
		if n.owner != r.Value {
			return Reply{Status: StatusLost}
		}
		n.free(r, now)
		n.announce(r.Announce, "released", r.Name)
		return Reply{Status: StatusOK}
	case OpLeave:
		if slices.ContainsFunc(n.queue, func(e simWaiter) bool { return e.is(r.Waiter) }) {
			n.dequeue(r.Waiter)
			if head := n.head(now); head != nil && head.after(r.Waiter) && n.owner == "" {
				n.wake(head, r, now)
			}
		}
		return Reply{Status: StatusOK}
	case OpEvict, OpForce:
		return n.revoke(r, now)
	case OpInspect:
		return n.inspect(now)
	}
	panic(r.Op)
}

func (n *simNode) acquire(r Request, now clock.Instant) Reply {
	switch {
	case now < n.quarantine:
		return Reply{Status: StatusQuarantine, Remaining: n.quarantine.Sub(now)}
	case n.isRevoked(r.Value):
		return Reply{Status: StatusForced}
	case n.owner != "":
		if n.owner != r.Value {
			n.enqueue(r.Waiter, now)
		}
		return n.holder(StatusHeld, now)
	}
	if head := n.head(now); head != nil && !head.is(r.Waiter) && (r.Waiter.ID == "" || !head.after(r.Waiter)) {
		since, id := head.since, head.id
		n.enqueue(r.Waiter, now)
		head = &n.queue[slices.IndexFunc(n.queue, func(e simWaiter) bool { return e.since == since && e.id == id })]
		if head.dead > now.Add(r.Turn) {
			n.wake(head, r, now)
		}
		return Reply{Status: StatusHeld, Turn: true, Recorded: true, Remaining: head.dead.Sub(now)}
	}
	p := r.Proposal
	if p < 0 || p > n.wall()+(24*time.Hour).Microseconds() {
		p = 0
	}
	f := max(n.fence+1, p)
	if f > MaxToken {
		if !n.rules.saturates {
			return Reply{Status: StatusError, Err: errFence, NotSent: true}
		}
		f = MaxToken
	}
	n.setFence(f, r, now)
	n.dequeue(r.Waiter)
	n.own(r, f, now)
	n.announce(r.Announce, "granted", r.Name)
	return Reply{Status: StatusGranted, Fence: f}
}

func (n *simNode) renew(r Request, now clock.Instant) Reply {
	switch {
	case n.isRevoked(r.Value):
		return Reply{Status: StatusForced}
	case n.owner == r.Value:
		n.expires = n.rules.renewExpiry(n.expires, now.Add(r.TTL+n.stretch()))
		found := n.fence
		n.setFence(cmp.Or(found, r.Token), r, now)
		return Reply{Status: StatusExtended, Fence: found}
	case n.owner != "":
		return Reply{Status: StatusLost}
	case now < n.quarantine:
		return Reply{Status: StatusQuarantine, Remaining: n.quarantine.Sub(now)}
	}
	n.setFence(n.rules.healFence(n.fence, r.Token), r, now)
	n.own(r, r.Token, now)
	return Reply{Status: StatusHealed}
}

func (n *simNode) revoke(r Request, now clock.Instant) Reply {
	reply := Reply{Status: StatusOK}
	if n.record.digest == r.Digest {
		reply.Remaining = n.record.ttl
	}
	here := n.digest() == r.Digest
	if here || !n.rules.revokesOnlyHere {
		if n.revoked == nil {
			n.revoked = map[string]bool{}
		}
		n.revoked[r.Digest] = true
		n.revokedEnd = max(n.revokedEnd, now.Add(n.rules.memory(r.TTL)+n.stretch()))
	}
	if here && (r.Op == OpForce || n.rules.evictDeletes) {
		announced := n.record.announce && n.record.digest == r.Digest
		n.free(r, now)
		n.announce(announced, "forced", r.Name)
	}
	return reply
}

func (n *simNode) inspect(now clock.Instant) Reply {
	reply := n.holder(StatusOK, now)
	reply.Fence = n.fence
	for _, w := range n.queue {
		if w.dead > now {
			reply.Waiting++
		}
	}
	return reply
}

// holder describes who has the lock.
func (n *simNode) holder(s Status, now clock.Instant) Reply {
	reply := Reply{Status: s, Digest: n.digest()}
	switch {
	case n.owner == "":
		return reply
	case n.expires == never:
		reply.Remaining = -1
	default:
		reply.Remaining = n.expires.Sub(now)
	}
	if n.record.digest == reply.Digest {
		reply.Label, reply.Meta, reply.Token, reply.Recorded = n.record.label, n.record.meta, n.record.token, true
	}
	return reply
}

func (n *simNode) setFence(f int64, r Request, now clock.Instant) {
	n.fence, n.fenceEnds = f, now.Add(r.FenceTTL)
}

func (n *simNode) own(r Request, fence int64, now clock.Instant) {
	n.owner, n.expires = r.Value, now.Add(r.TTL+n.stretch())
	n.record = simRecord{digest: Digest(r.Value), label: r.Label, meta: r.Meta, token: fence, ttl: r.TTL, announce: r.Announce}
}

func (n *simNode) free(r Request, now clock.Instant) {
	n.owner, n.record = "", simRecord{}
	if head := n.head(now); head != nil {
		n.wake(head, r, now)
	}
}

func (n *simNode) announce(wanted bool, word, name string) {
	if wanted {
		n.woken = append(n.woken, "holdfast:change:"+name+" "+word+" "+name)
	}
}

func (e *simWaiter) is(w Waiter) bool { return e.id == w.ID && e.since == w.Since }

// after tells whether w stands, or would stand, before e.
func (e *simWaiter) after(w Waiter) bool {
	return cmp.Or(cmp.Compare(w.Since, e.since), cmp.Compare(w.ID+";", e.id+";")) < 0
}

func (n *simNode) dequeue(w Waiter) {
	n.queue = slices.DeleteFunc(n.queue, func(e simWaiter) bool { return e.is(w) })
}

func (n *simNode) enqueue(w Waiter, now clock.Instant) {
	if w.ID == "" {
		return
	}
	if len(n.queue) == 0 {
		n.queueEnds = 0
	}
	n.dequeue(w)
	if len(n.queue) >= queueCap {
		return
	}
	n.queue = append(n.queue, simWaiter{since: w.Since, id: w.ID, dead: now.Add(w.Heartbeat)})
	slices.SortFunc(n.queue, func(a, b simWaiter) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.id+";", b.id+";"))
	})
	n.queueEnds = max(n.queueEnds, now.Add(w.Heartbeat))
}

// head drops dead heads and returns the live one, or nil.
func (n *simNode) head(now clock.Instant) *simWaiter {
	for len(n.queue) > 0 && n.queue[0].dead <= now {
		n.queue = n.queue[1:]
	}
	if len(n.queue) == 0 {
		return nil
	}
	return &n.queue[0]
}

// wake begins the head's turn.
func (n *simNode) wake(head *simWaiter, r Request, now clock.Instant) {
	head.dead = min(head.dead, now.Add(r.Turn))
	client, _, _ := strings.Cut(head.id, "/")
	n.woken = append(n.woken, "holdfast:wake:"+client+" "+head.id+" "+r.Name)
}
