package redlock

import (
	"cmp"
	"errors"
	"maps"
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

	writerMindsReaders bool // acquire
	readerMindsWriter  bool // acquire
	healMindsWriter    bool // a reader's
	healMindsReaders   bool // a writer's
	readersLive        bool // each for its own ttl; otherwise all as long as the last one asked for
	readersListed      bool // by value; otherwise they are only counted
	raiseChecksVote    bool // a reader's
	revokesReaders     bool
	quarantinesReaders bool
	turnsEnd           bool
	yields             bool // to the head
	wakes              bool // the head, when the lock is free again
}

func rightNode() *nodeRules {
	return &nodeRules{
		raiseChecksOwner: true,
		raiseChecksFence: true,
		renewExpiry:      func(old, renewed clock.Instant) clock.Instant { return max(old, renewed) },
		healFence:        func(fence, token int64) int64 { return max(fence, token) },
		memory:           func(asked time.Duration) time.Duration { return asked },
		quarantine:       func(longest, drift time.Duration) time.Duration { return longest + drift },

		writerMindsReaders: true, readerMindsWriter: true, healMindsWriter: true, healMindsReaders: true, readersLive: true,
		readersListed: true, raiseChecksVote: true, revokesReaders: true, quarantinesReaders: true,
		turnsEnd: true, yields: true, wakes: true,
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
	readers    []simReader // who holds for longest first
	set        map[string]bool
	setEnds    clock.Instant
	revoked    map[string]simRevocation
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

type simReader struct {
	simRecord
	expires clock.Instant
}

type simRevocation struct {
	reason  string
	evicted bool
}

type simWaiter struct {
	since  int64
	id     string
	shared bool
	dead   clock.Instant
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
	n.readers = slices.DeleteFunc(n.readers, func(r simReader) bool { return now >= r.expires })
	if n.set != nil && now >= n.setEnds {
		n.set = nil
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

// forced returns the answer to a revoked owner.
func (n *simNode) forced(v string) (Reply, bool) {
	if len(n.revoked) == 0 {
		return Reply{}, false
	}
	why, ok := n.revoked[Digest(v)]
	return Reply{Status: StatusForced, Reason: why.reason, Evicted: why.evicted}, ok
}

// do executes a request.
func (n *simNode) do(r Request, now clock.Instant) Reply {
	n.settle(now)
	switch r.Op {
	case OpAcquire:
		return n.acquire(r, now)
	case OpRaise:
		if r.Shared {
			return n.raiseReader(r, now)
		}
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
		if r.Shared && !n.rules.readersListed && n.reader(Digest(r.Value)) == nil && len(n.readers) > 0 {
			n.unread(n.readers[len(n.readers)-1].digest) // one fewer, whoever it is
			return Reply{Status: StatusOK}
		}
		switch {
		case r.Shared && n.reader(Digest(r.Value)) == nil, !r.Shared && n.owner != r.Value:
			return Reply{Status: StatusLost}
		case r.Shared:
			n.unread(Digest(r.Value))
			n.pass(r, now)
		default:
			n.owner, n.record = "", simRecord{}
			if head := n.head(now); head != nil { // there are no readers, or the owner was none of ours
				n.wake(head, r, now)
			}
		}
		n.announce(r.Announce, "released", r.Name)
		return Reply{Status: StatusOK}
	case OpLeave:
		if slices.ContainsFunc(n.queue, func(e simWaiter) bool { return e.is(r.Waiter) }) {
			n.dequeue(r.Waiter)
			if head := n.head(now); head != nil && head.after(r.Waiter) {
				n.pass(r, now)
			}
		}
		return Reply{Status: StatusOK}
	case OpEvict, OpForce:
		return n.revoke(r, now)
	case OpInspect:
		return n.inspect(now)
	case OpAdd, OpMembers:
		return n.grow(r, now)
	}
	panic(r.Op)
}

func (n *simNode) acquire(r Request, now clock.Instant) Reply {
	if now < n.quarantine && (n.rules.quarantinesReaders || !r.Shared) {
		return Reply{Status: StatusQuarantine, Remaining: n.quarantine.Sub(now)}
	}
	if forced, ok := n.forced(r.Value); ok {
		return forced
	}
	if reply, barred := n.barred(r, now); barred {
		return reply
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
	if r.Shared {
		n.read(r, f, now)
		if head := n.head(now); head != nil && head.shared {
			n.remind(head, r, now)
		}
	} else {
		n.own(r, f, now)
	}
	n.announce(r.Announce, "granted", r.Name)
	return Reply{Status: StatusGranted, Fence: f}
}

// barred tells whether something is in the way of an acquire, and queues it.
func (n *simNode) barred(r Request, now clock.Instant) (Reply, bool) {
	if n.owner != "" && (n.rules.readerMindsWriter || !r.Shared) {
		if n.owner != r.Value {
			n.enqueue(r, now)
		}
		return n.holder(StatusHeld, now), true
	}
	again := r.Shared && n.reader(Digest(r.Value)) != nil
	var barred bool
	switch {
	case again, len(n.readers) > 0 && !r.Shared:
		barred = n.rules.writerMindsReaders || r.Shared
	case r.Shared:
		barred = slices.ContainsFunc(n.queue, func(e simWaiter) bool {
			return !e.shared && e.dead > now && (r.Waiter.ID == "" || !e.is(r.Waiter) && !e.after(r.Waiter))
		})
	default:
		head := n.head(now)
		barred = head != nil && !head.is(r.Waiter) && (r.Waiter.ID == "" || !head.after(r.Waiter))
	}
	if !barred || !n.rules.yields && len(n.readers) == 0 {
		return Reply{}, false
	}
	head := n.head(now)
	var was simWaiter
	if head != nil {
		was = *head
	}
	if !again {
		n.enqueue(r, now)
	}
	if head != nil && !was.is(r.Waiter) && (len(n.readers) == 0 || was.shared) {
		head = &n.queue[slices.IndexFunc(n.queue, func(e simWaiter) bool { return e.since == was.since && e.id == was.id })]
		n.remind(head, r, now)
	}
	if len(n.readers) > 0 {
		return n.firstReader(now), true
	}
	return Reply{Status: StatusHeld, Turn: true, Recorded: true, Remaining: head.dead.Sub(now)}, true
}

// firstReader describes the reader who holds for longest.
func (n *simNode) firstReader(now clock.Instant) Reply {
	reader := n.readers[0]
	return Reply{Status: StatusHeld, Shared: true, Digest: reader.digest, Remaining: reader.expires.Sub(now), Recorded: true,
		Label: reader.label, Meta: reader.meta, Token: reader.token}
}

func (n *simNode) reader(digest string) *simReader {
	i := slices.IndexFunc(n.readers, func(r simReader) bool { return r.digest == digest })
	if i < 0 {
		return nil
	}
	return &n.readers[i]
}

// read gives a reader the lock, or more time. A fence of 0 keeps its record.
func (n *simNode) read(r Request, fence int64, now clock.Instant) {
	expires := now.Add(r.TTL + n.stretch())
	reader := n.reader(Digest(r.Value))
	if reader == nil {
		n.readers = append(n.readers, simReader{})
		reader = &n.readers[len(n.readers)-1]
	}
	if fence != 0 {
		reader.simRecord = recordOf(r, fence)
	}
	reader.expires = n.rules.renewExpiry(reader.expires, expires)
	if !n.rules.readersLive {
		for i := range n.readers {
			n.readers[i].expires = expires
		}
	}
	slices.SortFunc(n.readers, func(a, b simReader) int {
		return cmp.Or(cmp.Compare(b.expires, a.expires), cmp.Compare(b.digest, a.digest))
	})
}

func (n *simNode) unread(digest string) {
	n.readers = slices.DeleteFunc(n.readers, func(r simReader) bool { return r.digest == digest })
}

func (n *simNode) raiseReader(r Request, now clock.Instant) Reply {
	reader := n.reader(Digest(r.Value))
	if n.owner != "" || reader == nil || n.rules.raiseChecksVote && reader.token != r.Vote {
		return Reply{Status: StatusLost}
	}
	reader.token = r.Token
	n.setFence(max(n.fence, r.Token), r, now)
	return Reply{Status: StatusOK}
}

func (n *simNode) renew(r Request, now clock.Instant) Reply {
	if forced, ok := n.forced(r.Value); ok {
		return forced
	}
	reader := n.reader(Digest(r.Value))
	switch {
	case r.Shared && n.owner != "" && n.rules.healMindsWriter, !r.Shared && n.owner != "" && n.owner != r.Value:
		return Reply{Status: StatusLost}
	case r.Shared && reader != nil:
		found := reader.token
		n.read(r, 0, now)
		n.setFence(cmp.Or(n.fence, r.Token), r, now)
		return Reply{Status: StatusExtended, Fence: found}
	case !r.Shared && n.owner == r.Value:
		n.expires = n.rules.renewExpiry(n.expires, now.Add(r.TTL+n.stretch()))
		found := n.fence
		n.setFence(cmp.Or(found, r.Token), r, now)
		return Reply{Status: StatusExtended, Fence: found}
	case !r.Shared && len(n.readers) > 0 && n.rules.healMindsReaders:
		return Reply{Status: StatusLost}
	case now < n.quarantine && (n.rules.quarantinesReaders || !r.Shared):
		return Reply{Status: StatusQuarantine, Remaining: n.quarantine.Sub(now)}
	}
	n.setFence(n.rules.healFence(n.fence, r.Token), r, now)
	if r.Shared {
		n.read(r, r.Token, now)
	} else {
		n.own(r, r.Token, now)
	}
	return Reply{Status: StatusHealed}
}

func (n *simNode) revoke(r Request, now clock.Instant) Reply {
	reply := Reply{Status: StatusOK}
	record := n.record
	reader := n.reader(r.Digest)
	if reader != nil && record.digest != r.Digest {
		record = reader.simRecord
	}
	if record.digest == r.Digest {
		reply.Remaining = record.ttl
	}
	if reader != nil && !n.rules.revokesReaders {
		return reply
	}
	here := n.digest() == r.Digest || reader != nil
	if here || !n.rules.revokesOnlyHere {
		if n.revoked == nil {
			n.revoked = map[string]simRevocation{}
		}
		n.revoked[r.Digest] = simRevocation{r.Reason, r.Op == OpEvict}
		n.revokedEnd = max(n.revokedEnd, now.Add(n.rules.memory(r.TTL)+n.stretch()))
	}
	if here && (r.Op == OpForce || n.rules.evictDeletes) {
		if n.digest() == r.Digest {
			n.owner, n.record = "", simRecord{}
		} else {
			n.unread(r.Digest)
		}
		n.pass(r, now)
		n.announce(record.announce && record.digest == r.Digest, "forced", r.Name)
	}
	return reply
}

// grow is what the node does for sets.
func (n *simNode) grow(r Request, now clock.Instant) Reply {
	if now < n.quarantine {
		return Reply{Status: StatusQuarantine, Remaining: n.quarantine.Sub(now)}
	}
	if r.Op == OpMembers {
		return Reply{Status: StatusOK, Members: slices.Sorted(maps.Keys(n.set))}
	}
	if n.set == nil {
		n.set, n.setEnds = map[string]bool{}, 0
	}
	n.announce(!n.set[r.Member], "added", r.Name)
	n.set[r.Member] = true
	n.setEnds = max(n.setEnds, now.Add(r.TTL+n.stretch()))
	return Reply{Status: StatusOK}
}

func (n *simNode) inspect(now clock.Instant) Reply {
	reply := n.holder(StatusOK, now)
	reply.Fence = n.fence
	for _, reader := range n.readers[:min(len(n.readers), MaxReaders)] {
		reply.Readers = append(reply.Readers, Holder{Digest: reader.digest, Label: reader.label, Meta: reader.meta, Token: reader.token,
			Remaining: reader.expires.Sub(now), Recorded: true, Shared: true, Nodes: 1})
	}
	reply.Reading = len(n.readers)
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
	n.record = recordOf(r, fence)
}

func recordOf(r Request, fence int64) simRecord {
	return simRecord{digest: Digest(r.Value), label: r.Label, meta: r.Meta, token: fence, ttl: r.TTL, announce: r.Announce}
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

func (n *simNode) enqueue(r Request, now clock.Instant) {
	w := r.Waiter
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
	n.queue = append(n.queue, simWaiter{since: w.Since, id: w.ID, shared: r.Shared, dead: now.Add(w.Heartbeat)})
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

// pass wakes the head if it may have the lock now.
func (n *simNode) pass(r Request, now clock.Instant) {
	if head := n.head(now); head != nil && n.owner == "" && (len(n.readers) == 0 || head.shared) {
		n.wake(head, r, now)
	}
}

// remind wakes the head unless it was told already.
func (n *simNode) remind(head *simWaiter, r Request, now clock.Instant) {
	if head.dead > now.Add(r.Turn) {
		n.wake(head, r, now)
	}
}

// wake begins the head's turn.
func (n *simNode) wake(head *simWaiter, r Request, now clock.Instant) {
	if !n.rules.wakes {
		return
	}
	if n.rules.turnsEnd {
		head.dead = min(head.dead, now.Add(r.Turn))
	}
	client, _, _ := strings.Cut(head.id, "/")
	n.woken = append(n.woken, "holdfast:wake:"+client+" "+head.id+" "+r.Name)
}
