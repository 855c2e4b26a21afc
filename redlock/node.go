package redlock

import (
	"fmt"
	"time"
)

// A Node is one independent master, as the protocol sees it: something that executes requests one at a
// time and, per lock name, in the order in which they were sent.
//
// Send hands one request over and returns at once; it never blocks on the network. It calls reply exactly
// once, from any goroutine, with the node's answer or with an error. Implementations owe the protocol this:
//
//   - At most once. A request is executed at the node at most once. Whatever was lost on the way is
//     answered with an error, never sent again; except a release or a leave, which do nothing the second
//     time: a Node may send them again, when the master is back, to clean up.
//   - In order. Requests for one name are executed in the order of the Send calls, so that a release never
//     overtakes the acquire that it cleans up after.
//   - Bounded. reply is called within a bounded time even when the node hangs, and a hung node's backlog
//     is bounded.
//
// reply must not block; it may call Send. Send and reply are safe for concurrent use.
type Node interface {
	Send(req Request, reply func(Reply))
	// String names the node in errors and listings, usually its address.
	String() string
}

// A Ranker is a Node that knows how well it is doing. An attempt is sent to a majority of nodes first, and to
// the others only if those do not decide it; nodes of a lower rank come first. Rank 0 is a node that answers as
// fast as can be; a node that is down or hangs has the highest. A Node without ranks has rank 0. Passed is called
// when an attempt has passed the node over for its rank: without requests it would not notice that it does better.
// Both are called for each attempt, from any goroutine, and must be cheap.
type Ranker interface {
	Rank() int
	Passed()
}

// An Op says what a Request asks of a node.
type Op uint8

// The requests of the protocol. Each is one script, executed atomically at the node.
const (
	OpAcquire Op = iota + 1 // take the lock if it is free; otherwise join the queue (if Waiter is set)
	OpRaise                 // lift the fence to the quorum's token
	OpRenew                 // extend the lock, or put it back where the node has lost it
	OpRelease               // delete the lock if it is ours and wake one waiter
	OpLeave                 // leave the queue; if the lock is free and we were its head, wake the next waiter
	OpEvict                 // revoke an owner; its lock stays until it expires
	OpForce                 // revoke an owner and delete its lock now
	OpInspect               // read what the node knows about a name; changes nothing
	OpAdd                   // put a member into the set of a name
	OpMembers               // read the set of a name
	OpLift                  // lift the fence to a token that other nodes granted; grants nothing

	lastOp = OpLift
)

// A Request is one message to one node. The fields in use depend on Op.
type Request struct {
	Op   Op
	Name string // lock name; every Op
	// Value is the owner value v, fresh and random for each attempt: Acquire, Raise, Renew, Release.
	Value string
	// TTL is how long the lock lives from the moment the node executes the request: Acquire, Renew.
	// In Evict and Force it is how long the revocation is remembered, in Add how long the set lives.
	TTL time.Duration
	// Shared: the owner reads, beside other readers: Acquire, Raise, Renew, Release.
	Shared bool
	// Token is the quorum's fencing token: Raise, Renew, Lift.
	Token int64
	// Vote is the fence with which this node has granted a shared lock: Raise.
	Vote int64
	// Proposal is the client's wall clock in microseconds: Acquire.
	Proposal int64
	// Label is shown to those who wait (who holds it); kept beside the lock: Acquire, Renew. Never secret.
	Label string
	// Meta is shown beside the label: Acquire, Renew. Never secret.
	Meta string
	// Announce has the node publish to ChangeChannel(Name): Acquire, Renew (for a later Force), Release.
	Announce bool
	// Waiter is the place in the queue, kept over attempts: Acquire (empty: do not queue), Leave.
	Waiter Waiter
	// Digest names the owner to revoke, as OpInspect and a held reply give it: Evict, Force.
	Digest string
	// Reason is what the owner is told: Evict, Force.
	Reason string
	// Member of the set: Add.
	Member string
	// Turn is for how long a free lock is kept for the waiter that was woken: Acquire, Release, Leave, Force.
	Turn time.Duration
	// FenceTTL is how long the fence outlives its last grant, raise or heal: Acquire, Raise, Renew, Lift.
	FenceTTL time.Duration
}

// A Waiter is one call to Lock in the queue of a name. The order of a queue is (Since, ID).
// The zero Waiter does not queue.
type Waiter struct {
	// ID is CLIENT/SEQ: a client's random id (no slash) and a number unique within that client. Wake-up
	// messages for it go to the channel WakeChannel(ID).
	ID string
	// Since is the proposal of its first attempt, in microseconds.
	Since int64
	// Heartbeat is for how long the entry stays without being refreshed by another attempt.
	Heartbeat time.Duration
}

// A Status is a node's answer.
type Status uint8

// Which Op can be answered with which Status is told by the scripts' headers.
const (
	StatusError      Status = iota // no answer, or an error: Err is set, and whether it was executed is unknown unless NotSent
	StatusGranted                  // Acquire: the lock is ours at this node; Fence is its token here
	StatusHeld                     // Acquire: held by another; Remaining, Label, Meta, Token, Digest, Recorded describe the holder
	StatusOK                       // Raise, Release (deleted), Leave, Evict, Force, Inspect, Add, Members
	StatusLost                     // Raise, Renew, Release: the lock is not ours at this node
	StatusExtended                 // Renew: was ours and still is
	StatusHealed                   // Renew: the node had lost it and has it again
	StatusForced                   // Acquire, Renew: the owner was revoked
	StatusQuarantine               // the node forgot its state and grants nothing for Remaining yet
)

// A Reply is a node's answer to one Request.
type Reply struct {
	Status Status
	// Fence is the node's fence. Granted: the token of the grant. Extended: as it was found, 0 if there was
	// none; of a shared lock, what it has recorded. Inspect: 0 if there is none.
	Fence int64
	// Remaining is the ttl of the lock that is in the way (Held, Inspect), or of the quarantine; negative:
	// the key has no ttl at all. Evict, Force: the whole ttl that the owner has recorded at this node, 0 if
	// it has no record there.
	Remaining time.Duration
	Label     string // Held, Inspect: the holder's label, if recorded
	Meta      string // Held, Inspect: what the holder shows beside it
	Token     int64  // Held, Inspect: the holder's fence at this node, if recorded
	Digest    string // Held, Inspect: the digest of the holder's value; empty if the lock is free
	// Recorded tells that the holder is one of ours and will publish its release; when false the lock
	// was taken by somebody else (redsync, a bare SET) and must be polled.
	Recorded bool
	// Turn tells, with Held, that the lock is free but another waiter was woken to take it: Remaining is what
	// is left of its turn.
	Turn bool
	// Shared tells, with Held, that readers are in the way; the reply describes the one who holds for longest.
	Shared  bool
	Readers []Holder // Inspect: those who hold it shared, at most MaxReaders, who holds for longest first
	Reading int      // Inspect: how many they are
	Waiting int      // Inspect: live entries in the queue
	Reason  string   // Forced: what the operator gave as the reason
	Evicted bool     // Forced: by Evict; otherwise by Force
	Members []string // Members: in any order
	Err     error    // StatusError only
	// NotSent tells, with StatusError, that the request certainly was not and never will be executed.
	NotSent bool
}

// failure returns what went wrong, for a reply that is no vote.
func (r Reply) failure() error {
	switch r.Status {
	case StatusError:
		return r.Err
	case StatusQuarantine:
		return ErrQuarantine
	}
	return nil
}

func (op Op) String() string {
	names := [...]string{OpAcquire: "acquire", OpRaise: "raise", OpRenew: "renew", OpRelease: "release",
		OpLeave: "leave", OpEvict: "evict", OpForce: "force", OpInspect: "inspect", OpAdd: "add", OpMembers: "members", OpLift: "lift"}
	if int(op) < len(names) && names[op] != "" {
		return names[op]
	}
	return fmt.Sprintf("Op(%d)", uint8(op))
}
