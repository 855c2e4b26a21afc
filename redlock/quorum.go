package redlock

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// Options tune a Quorum. The zero value has sensible defaults. All clients of a fleet, and the quarantine of
// its nodes, must agree on LongestTTL.
type Options struct {
	// Drift is the allowance D for the difference in speed of the clocks of client and nodes over one ttl,
	// and for the rounding of expiries to milliseconds. Default: DefaultDrift.
	Drift func(ttl time.Duration) time.Duration
	// FenceTTL is how long a node keeps a name's fence after its last grant, raise or heal. It bounds memory
	// to one small key for each name that was used in that time. Default 24h.
	FenceTTL time.Duration
	// LongestTTL is the longest ttl of any lock. A longer one is refused, a revocation is remembered twice as
	// long, and a node that forgot its state grants nothing for this long plus the drift. Default 5m.
	LongestTTL time.Duration
}

// DefaultDrift is ttl/100 + 2 ms.
func DefaultDrift(ttl time.Duration) time.Duration { return ttl/100 + 2*time.Millisecond }

// A Quorum runs the protocol over a fixed set of independent nodes. It is safe for concurrent use.
type Quorum struct {
	nodes []Node
	opts  Options
}

// New returns a Quorum over the nodes. At least one is needed; an odd number makes the best of them.
func New(nodes []Node, o Options) (*Quorum, error) { return &Quorum{nodes: nodes, opts: o}, nil }

// An Attempt is one try at a lock. It draws a fresh owner value; a retry is a new attempt.
type Attempt struct {
	Name  string        // 1 to MaxName bytes
	TTL   time.Duration // MinTTL to Options.LongestTTL
	Label string        // shown to those who wait; at most MaxLabel bytes; not secret
	// Waiter is the caller's place in the queue, kept over attempts. The zero Waiter does not queue.
	Waiter Waiter
	// BeforeSend, if set, is called with the owner value before anything is sent. If it returns an error,
	// nothing is sent and the attempt ends with that error, wrapped.
	BeforeSend func(value string) error
}

// A Resumable is what another process, or the same after a restart, must know of a lease to go on with it.
type Resumable struct {
	Name  string
	Value string
	Token int64
	TTL   time.Duration
	Label string
}

// A State is what a majority of the nodes says about a name.
type State struct {
	Name string
	// Holder is the owner whose lock is at a majority of all nodes; nil if there is none.
	Holder  *Holder
	Fence   int64 // the highest fence of any node that answered: no token was ever higher
	Waiting int   // the longest queue of any node that answered
	// Nodes holds each node's own reply, in the order of Quorum.Nodes.
	Nodes []NodeState
}

// Free reports that no owner holds the lock at a majority of the nodes.
func (s *State) Free() bool { return s.Holder == nil }

// A Holder is an owner, as the nodes see it.
type Holder struct {
	Digest string // what Evict and Force want
	Label  string
	// Remaining is for how long the lock will stay at a majority of nodes if it is not renewed.
	// Negative: the key has no ttl.
	Remaining time.Duration
	Recorded  bool // one of ours; false: redsync or a bare SET
	Nodes     int  // at how many nodes its lock was seen
}

// A NodeState is one node's reply to Inspect.
type NodeState struct {
	Node  string
	Reply Reply
}

// A Revocation is a completed Evict or Force.
type Revocation struct {
	Name   string
	Digest string
	// Over is when every lease of the owner is certainly over, on this process's running clock.
	Over clock.Instant
}

// A Grant is a lock that was won. It is safe for concurrent use.
type Grant struct{}

// Name returns the lock's name.
func (g *Grant) Name() string { return "" }

// Token returns the fencing token.
func (g *Grant) Token() int64 { return 0 }

// Value returns the owner value. It is a secret: whoever knows it can release the lock.
func (g *Grant) Value() string { return "" }

// TTL returns the ttl that renewals ask for.
func (g *Grant) TTL() time.Duration { return 0 }

// Label returns the label that those who wait are shown.
func (g *Grant) Label() string { return "" }

// End returns the validity end: the first instant at which the lock is no longer held unless it was renewed
// before. After a release or a loss it is the instant of that, if earlier.
func (g *Grant) End() clock.Instant { return 0 }

// Held reports whether the lock is held now. It reads the clock at each call.
func (g *Grant) Held() bool { return false }

// Remaining returns how long the lock is still held without another renewal; zero or less if it is not.
func (g *Grant) Remaining() time.Duration { return 0 }

// Nodes returns how many nodes are known to have the lock, by their last replies.
func (g *Grant) Nodes() int { return 0 }

// Err returns why the grant is over: ErrLost, ErrForced or ErrReleased; nil while it is held.
func (g *Grant) Err() error { return nil }

var errNotBuilt = errors.New("redlock: not built yet")

// Acquire makes one attempt. It returns as soon as a majority has decided and never waits for the others. A
// cancelled ctx ends it at once with context.Cause(ctx), wrapped; ctx does not bound the life of the grant.
// Whatever was or may have been granted to a failed attempt is released in the background.
//
// Errors: ErrHeld (*HeldError), ErrQuorum (*QuorumError), ErrForced, ErrQuarantine (*QuarantineError),
// ErrInvalid, ErrClosed, the error of BeforeSend.
func (q *Quorum) Acquire(ctx context.Context, a Attempt) (*Grant, error) { return nil, errNotBuilt }

// Renew runs one renewal round and returns nil only if it moved the validity end. Errors: ErrLost, ErrForced,
// ErrReleased: the grant is over. ErrQuorum (*QuorumError): the round failed and the end stays; try again.
func (q *Quorum) Renew(ctx context.Context, g *Grant) error { return errNotBuilt }

// Release ends the grant locally at once and deletes the lock at all nodes. It returns when a majority has
// answered or ctx is done; the rest goes on in the background. It may be called again: it then returns
// what the first call found. The error is ErrLost or ErrForced if the grant was already over.
func (q *Quorum) Release(ctx context.Context, g *Grant) error { return errNotBuilt }

// Leave takes a waiter out of the queues. It does not wait for the nodes.
func (q *Quorum) Leave(name string, w Waiter) {}

// Inspect asks all nodes about a name and returns what those say that answered first, at least a majority.
func (q *Quorum) Inspect(ctx context.Context, name string) (*State, error) { return nil, errNotBuilt }

// Evict revokes an owner, named by its digest: it can no longer renew, and its lock stays exclusive until it
// expires.
func (q *Quorum) Evict(ctx context.Context, name, digest string) (*Revocation, error) {
	return nil, errNotBuilt
}

// Force revokes an owner and deletes its lock at once. It breaks exclusion: until Revocation.Over the old
// holder may still believe that it holds the lock, and only fencing protects the resource.
func (q *Quorum) Force(ctx context.Context, name, digest string) (*Revocation, error) {
	return nil, errNotBuilt
}

// Resume takes up a lease that another process began. It succeeds only if a majority still has the lock
// with this very value and token.
func (q *Quorum) Resume(ctx context.Context, r Resumable) (*Grant, error) { return nil, errNotBuilt }

// Nodes returns the nodes, in the order given to New.
func (q *Quorum) Nodes() []Node { return q.nodes }

// Majority returns how many nodes make a majority.
func (q *Quorum) Majority() int { return len(q.nodes)/2 + 1 }

// Close waits until the releases that run in the background are answered or given up, or until ctx is done.
// Later calls of Acquire, Resume, Evict and Force fail with ErrClosed.
func (q *Quorum) Close(ctx context.Context) error { return nil }
