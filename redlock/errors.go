package redlock

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What an attempt at a lock can end with, beside the context's own error.
var (
	// ErrHeld: somebody else holds the lock, or no owner has a majority yet. The error is a *HeldError.
	ErrHeld = errors.New("lock is held")
	// ErrQuorum: too few nodes answered to decide anything. The error is a *QuorumError.
	ErrQuorum = errors.New("no quorum")
	// ErrQuarantine: too many nodes have forgotten their state and grant nothing yet. The error is a
	// *QuarantineError.
	ErrQuarantine = errors.New("nodes in quarantine")
)

// What the life of a grant can end with.
var (
	// ErrLost: the validity end has passed, or the lock is with somebody else.
	ErrLost = errors.New("lease is lost")
	// ErrForced: an operator revoked the owner (Evict or Force). It ends an attempt, too. The error is a
	// *ForcedError.
	ErrForced = errors.New("owner was revoked")
	// ErrReleased: the grant was already released by its holder.
	ErrReleased = errors.New("lease was released")
)

// ErrFull: a set has as many members as it may have (MaxMembers) at too many nodes.
var ErrFull = errors.New("set is full")

// What is wrong with a call before anything is sent.
var (
	// ErrClosed: the Quorum was closed.
	ErrClosed = errors.New("quorum is closed")
	// ErrInvalid: a name, ttl, label or token is outside its limits; the error's text says which.
	ErrInvalid = errors.New("invalid argument")
)

// A HeldError tells who was in the way of an attempt. errors.Is(err, ErrHeld) holds for it.
type HeldError struct {
	Name   string
	Label  string // the holder's label; empty when the holder recorded none
	Meta   string // what the holder shows beside it
	Digest string // names the holder for Evict and Force; empty when nobody holds it at any node
	Token  int64  // the highest fence that the holder recorded at a node; 0 if it recorded none
	// Remaining is for how long the holder's lock lives without another renewal: a majority of nodes may
	// be free after it. Negative: at least one key in the way has no ttl at all.
	Remaining time.Duration
	// Recorded tells that the holder publishes its release. When false the lock must be polled.
	Recorded bool
	// Turn tells that at most of the nodes in the way the lock is free: it is the turn of another waiter, which
	// was woken, until Remaining has passed.
	Turn bool
	// Shared tells that readers are in the way. Label, Digest and so on are those of one of them.
	Shared bool
	// Granted and Held count the nodes that granted to us and that were taken, Owners those to whom: 0 if it is
	// only somebody's turn, and all readers are one. With several, or one beside us that has no majority, the vote was split, and another
	// attempt may succeed at once.
	Granted, Held, Owners int
}

// Split tells that the vote was split: nobody may have the lock, though every node is taken. majority is that of
// the Quorum.
func (e *HeldError) Split(majority int) bool {
	return e.Owners > 1 || e.Granted > 0 && e.Held < majority
}

func (e *HeldError) Error() string {
	var b strings.Builder
	if e.Turn {
		fmt.Fprintf(&b, "lock %q is another waiter's turn", e.Name)
	} else {
		fmt.Fprintf(&b, "lock %q is held", e.Name)
	}
	if e.Label != "" {
		fmt.Fprintf(&b, " by %q", e.Label)
	}
	if e.Meta != "" {
		fmt.Fprintf(&b, " (%#.200q)", e.Meta) // its beginning is enough for a message
	}
	if e.Remaining >= 0 {
		fmt.Fprintf(&b, " for up to %v", e.Remaining)
	}
	return b.String()
}

// Is makes a HeldError match ErrHeld.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// A ForcedError tells why an owner was revoked. errors.Is(err, ErrForced) holds for it.
type ForcedError struct {
	Name    string
	Reason  string // what the operator gave as the reason
	Evicted bool   // by Evict, which leaves the lock to its expiry; otherwise by Force
}

func (e *ForcedError) Error() string {
	how := "forced"
	if e.Evicted {
		how = "evicted"
	}
	if e.Reason == "" {
		return fmt.Sprintf("lock %q: %v (%s)", e.Name, ErrForced, how)
	}
	return fmt.Sprintf("lock %q: %v (%s): %s", e.Name, ErrForced, how, e.Reason)
}

// Is makes a ForcedError match ErrForced.
func (e *ForcedError) Is(target error) bool { return target == ErrForced }

// A QuorumError tells how many nodes agreed, and what each of the others said. errors.Is(err, ErrQuorum)
// holds for it, and errors.Is and errors.As reach the error of every node.
type QuorumError struct {
	Op   string // what was tried: "acquire", "renew", ...
	Name string
	// Agreed of Nodes nodes did what was asked; Need is the majority.
	Agreed, Need, Nodes int
	// Lost counts the nodes that said, in a renewal round, that the lock is with somebody else.
	Lost int
	Errs []error // one *NodeError for each node that answered with an error or not in time
}

func newQuorumError(op Op, name string, nodes, agreed int) *QuorumError {
	return &QuorumError{Op: op.String(), Name: name, Agreed: agreed, Need: nodes/2 + 1, Nodes: nodes}
}

func (e *QuorumError) add(node string, err error) {
	e.Errs = append(e.Errs, &NodeError{Node: node, Err: err})
}

func (e *QuorumError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q: no quorum: %d of %d nodes, need %d", e.Op, e.Name, e.Agreed, e.Nodes, e.Need)
	for i, err := range e.Errs {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep + err.Error())
	}
	return b.String()
}

// Is makes a QuorumError match ErrQuorum.
func (e *QuorumError) Is(target error) bool { return target == ErrQuorum }

// Unwrap returns the errors of the nodes.
func (e *QuorumError) Unwrap() []error { return e.Errs }

// A NodeError is what one node answered instead of a vote.
type NodeError struct {
	Node string
	Err  error
}

func (e *NodeError) Error() string { return e.Node + ": " + e.Err.Error() }

// Unwrap returns the node's own error.
func (e *NodeError) Unwrap() error { return e.Err }

// ErrNoAnswer is the error of a node that had not answered when an operation gave up on it.
var ErrNoAnswer = errors.New("no answer, or not waited for")

// A QuarantineError tells that so many nodes have lately restarted without their state that no majority
// can be had from the others. errors.Is(err, ErrQuarantine) holds for it.
type QuarantineError struct {
	Name      string
	Remaining time.Duration // until enough nodes grant again for a majority
	Nodes     int           // how many nodes are in quarantine
}

func (e *QuarantineError) Error() string {
	return fmt.Sprintf("lock %q: %d nodes are in quarantine, next majority in %v", e.Name, e.Nodes, e.Remaining)
}

// Is makes a QuarantineError match ErrQuarantine.
func (e *QuarantineError) Is(target error) bool { return target == ErrQuarantine }
