package client

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-dev/holdfast/redlock"
)

// A Client takes locks on a fixed set of nodes. One Client serves a whole program: it is safe for
// concurrent use, its leases share their connections, and what many goroutines send at the same time
// travels together. Close it at the end.
type Client struct {
	set settings
}

var errNotBuilt = errors.New("client: not built yet")

// Open returns a client of the nodes that the URL lists, separated by commas:
//
//	redis://10.0.0.1:6379,10.0.0.2:6379,10.0.0.3:6379
//	rediss://user:password@a.example:6380,b.example:6380,c.example:6380/2?name=value
//	unix:///run/a.sock,/run/b.sock,/run/c.sock
//
// Scheme, user, password, database and query are said once and go for all nodes; a full URL for each node,
// separated by commas, says them for each. A bare list "a:6379,b:6379" means redis://. The port defaults to
// 6379. Query parameters are those of redis.ParseURL that concern a single connection.
//
// Nodes must be independent masters, an odd number of them. Nothing is dialled before it is needed, so Open
// succeeds while nodes are down; ask Health.
//
// Errors: ErrInvalid for a URL that cannot be understood (its password is not repeated in the message).
func Open(url string, opts ...Option) (*Client, error) { return nil, errNotBuilt }

// New returns a client of the given nodes, at least one, an odd number. The client takes them over: Close
// closes those that have a Close method.
//
// Nodes made by NodeOf wake waiters by message and can be listed and pinged. Other implementations of
// redlock.Node take part in the protocol; waiting on them falls back on the remaining ttl.
func New(nodes []redlock.Node, opts ...Option) (*Client, error) { return nil, errNotBuilt }

// NodeOf makes one node, with one vote, of a go-redis client that the caller configured and goes on owning:
// it is never closed here, and its settings for TLS, credentials and dialling apply. Automatic retries are
// off for what is sent through it, whatever its MaxRetries says.
//
// A *redis.Client of a single server is the regular case. A Sentinel-managed master or a Cluster counts as
// ONE vote, however many machines it consists of, and as a weak one: its fail-over may forget a lock that a
// replica had not received, which is a node that lost its state without a quarantine. Three such votes on
// separate deployments tolerate one fail-over at a time; a single one promises no exclusion across it.
func NodeOf(rdb redis.UniversalClient) redlock.Node { return nil }

// Lock waits until it has the lock. ctx bounds only the wait: it neither ends nor bounds the lease, whose
// own context is Lease.Context and carries ctx's values.
//
// If ctx ends first, the error wraps context.Cause(ctx) (and ctx.Err()), no lock is held, and none is left
// on any node that can be reached; on others for no longer than one ttl. While waiting, Lock gives up with
// ErrQuorum only after no majority of nodes could be reached for some time (two seconds, or the ttl if that
// is shorter).
//
// Waiters get the lock in the order of their calls as far as independent queues on the nodes allow; those
// of one client for one name strictly so.
//
// Errors: the context's; ErrQuorum; ErrInvalid; ErrClosed; that of BeforeSend.
func (c *Client) Lock(ctx context.Context, name string, opts ...LockOption) (*Lease, error) {
	return nil, errNotBuilt
}

// TryLock makes one attempt and does not wait for a holder. It is not fair: it may overtake waiters of Lock
// in the moment when the lock is free.
//
// Errors: ErrHeld (*HeldError says by whom and for how long), ErrQuarantine, and those of Lock.
func (c *Client) TryLock(ctx context.Context, name string, opts ...LockOption) (*Lease, error) {
	return nil, errNotBuilt
}

// Do runs f while it holds the lock: it waits for the lock as Lock does, renews it, releases it when f
// returns or panics, and cancels the context given to f as soon as the lease is lost or ctx is done;
// context.Cause of it says which.
//
// The error joins that of f and, if the lease was lost before f returned, the loss (errors.Is ErrExpired,
// ErrStolen, ErrQuorum, ErrForced): f may then have run unprotected at its end. A release that could not be
// confirmed is no error, since f ran under the lock: it is logged, and the nodes free the lock after its ttl.
func (c *Client) Do(ctx context.Context, name string, f func(ctx context.Context, l *Lease) error, opts ...LockOption) error {
	return errNotBuilt
}

// A Handle is what another process, or this one after a restart, needs to go on with a lease. It contains
// the owner value, a secret: whoever knows it can release the lock.
type Handle = redlock.Resumable

// Resume goes on with a lease that another process, or this one before a restart, held. It succeeds only
// while a majority of nodes still has the lock with the handle's own value and token, and then renews it.
// The handle's process must no longer use it: two processes with one lease are two holders.
//
// Errors: redlock.ErrLost, ErrForced, ErrQuorum, ErrInvalid, ErrClosed, the context's.
func (c *Client) Resume(ctx context.Context, h Handle, opts ...LockOption) (*Lease, error) {
	return nil, errNotBuilt
}

// Inspect returns what a majority of nodes says about a lock. Errors: ErrQuorum, ErrInvalid, the context's.
func (c *Client) Inspect(ctx context.Context, name string) (*redlock.State, error) {
	return nil, errNotBuilt
}

// List returns the locks whose name begins with prefix and that somebody holds on a majority of nodes, in
// the order of their names. It scans the keys of a majority of nodes, which takes time in proportion to all
// keys there. Only locks taken through this protocol are found: redsync leaves no record beside its key.
// Nodes that cannot be scanned (see New) count as unreachable.
//
// Errors: ErrQuorum, the context's.
func (c *Client) List(ctx context.Context, prefix string) ([]*redlock.State, error) {
	return nil, errNotBuilt
}

// Health says how the nodes are at one moment.
type Health struct {
	// Quorum reports that a majority of the nodes answered: locks can be taken.
	Quorum bool
	Nodes  []NodeHealth // in the order in which the nodes were given
}

// NodeHealth is how one node answered.
type NodeHealth struct {
	Node    string        // its address
	Latency time.Duration // of one round trip; meaningless if Err is set
	Err     error         // nil: it answered
}

// Health asks every node for a sign of life. It waits for each until it answers, its timeout has passed
// (see WithTimeout) or ctx is done. It takes no lock and needs no quorum.
func (c *Client) Health(ctx context.Context) Health { return Health{} }

// Nodes returns how many nodes the client has, and how many of them are a majority.
func (c *Client) Nodes() (n, majority int) { return 0, 0 }

// Close releases every lease that is still held (their contexts end with ErrReleased), ends all waits with
// ErrClosed, waits until the releases are confirmed or ctx is done, and then closes the links to the nodes.
// No goroutine and no subscription is left, whatever it returns. Later calls return what the first did.
//
// The error is the context's if not everything could be confirmed in time.
func (c *Client) Close(ctx context.Context) error { return errNotBuilt }
