package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A Client takes locks on a fixed set of nodes. One Client serves a whole program: it is safe for
// concurrent use, its leases share their connections, and what many goroutines send at the same time
// travels together. Close it at the end.
type Client struct {
	set      settings
	nodes    []redlock.Node
	majority int
	quorum   *redlock.Quorum
	id       string // random; names this client in the nodes' queues
	turns    turns
	wakes    *notifier
	dog      *watchdog

	since atomic.Int64 // the last Since that was given out

	mu      sync.Mutex
	closed  bool
	closing chan struct{}  // closed at the beginning of Close
	calls   sync.WaitGroup // calls that may still make a lease
	// background is what goes on after a call has returned: scans of a slow minority, releases of lost leases.
	background sync.WaitGroup
	closeOnce  sync.Once
	closeErr   error
}

// New returns a client of the given nodes, at least one. The client takes them over: Close closes those that
// have a Close method. N nodes tolerate the failure of (N-1)/2, since it takes N/2+1 to decide: with an even
// number of them one is wasted.
//
// Each must be a server of its own. Nodes of NodeOf that turn out to have reached the same one, by its run_id,
// have one vote together: the second refuses everything and says why.
//
// Nodes made by NodeOf wake waiters by message and can be listed and pinged. Other implementations of
// redlock.Node take part in the protocol; waiting on them falls back on the remaining ttl.
//
// Errors: ErrInvalid.
func New(nodes []redlock.Node, opts ...Option) (*Client, error) {
	set := settings{ttl: DefaultTTL, owner: defaultOwner(), logger: slog.New(slog.DiscardHandler)}
	for _, o := range opts {
		o(&set)
	}
	if set.timeout <= 0 {
		set.timeout = min(max(set.ttl/10, 100*time.Millisecond), time.Second)
	}
	quorum, err := redlock.New(nodes, set.protocol)
	if err != nil {
		return nil, err
	}
	if err := checkGuard(set.guard, set.ttl, set.protocol); err != nil {
		return nil, err
	}
	reached := &servers{}
	seen := make(map[*link]bool)
	for _, n := range nodes {
		if l, ok := n.(*link); ok {
			if seen[l] {
				return nil, fmt.Errorf("%w: node %v is given twice, but has one vote", ErrInvalid, l)
			}
			seen[l] = true
			l.configure(set.timeout, set.logger, reached, set.observers)
		}
	}
	var id [8]byte
	rand.Read(id[:])
	c := &Client{
		set: set, nodes: quorum.Nodes(), majority: quorum.Majority(), quorum: quorum,
		id: hex.EncodeToString(id[:]), dog: newWatchdog(), closing: make(chan struct{}),
	}
	c.wakes = newNotifier(c.id, nodes, set, quorum.Leave)
	return c, nil
}

// defaultOwner says where a process is to be looked for.
func defaultOwner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}

// lockSettings returns the options of one call. The error is ErrInvalid.
func (c *Client) lockSettings(opts []LockOption) (lockSettings, error) {
	set := lockSettings{ttl: c.set.ttl, owner: c.set.owner, renew: true, guard: c.set.guard}
	for _, o := range opts {
		o(&set)
	}
	return set, set.check(c.set.protocol)
}

// nextSince returns the wall clock in microseconds, or a little more: it is unique within the client, and
// in the order of the calls.
func (c *Client) nextSince() int64 {
	for {
		last := c.since.Load()
		next := max(clock.Wall().UnixMicro(), last+1)
		if c.since.CompareAndSwap(last, next) {
			return next
		}
	}
}

// begin enters a call that may make a lease; the caller must call calls.Done.
func (c *Client) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.calls.Add(1)
	return nil
}

// A Handle is what another process, or this one after a restart, needs to go on with a lease. It contains
// the owner value, a secret: whoever knows it can release the lock. Its String does not show it; MarshalText, and
// so JSON, does, and UnmarshalText reads that.
type Handle = redlock.Resumable

// Resume goes on with a lease that another process, or this one before a restart, held. It succeeds only
// while a majority of nodes still has the lock with the handle's own value and token, and then renews it.
// The handle's process must no longer use it: two processes with one lease are two holders.
//
// Of the options only WithoutRenew, Guard and WithMaxHold matter: the rest is in the handle.
//
// Errors: ErrLost, ErrForced: the lease is over. ErrQuorum, the context's: undecided, try again
// while it may last. ErrInvalid, ErrClosed.
func (c *Client) Resume(ctx context.Context, h Handle, opts ...LockOption) (_ *Lease, err error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.calls.Done()
	ctx = c.set.observers.wait(ctx, CallResume, h.Name)
	defer c.set.observers.failed(ctx, &err)
	set, err := c.lockSettings(append(slices.Clip(opts), TTL(h.TTL)))
	if err != nil {
		return nil, err
	}
	g, err := c.quorum.Resume(ctx, h)
	if err != nil {
		return nil, err
	}
	return c.newLease(ctx, g, set, redlock.Waiter{}), nil
}

// Nodes returns how many nodes the client has, and how many of them are a majority.
func (c *Client) Nodes() (n, majority int) { return len(c.nodes), c.majority }

// Close releases every lease that is still held (their contexts end with ErrReleased), ends all waits with
// ErrClosed, waits until a majority of nodes has confirmed the releases or ctx is done, and then closes the
// links to the nodes. Nodes that have not answered by then get 50 ms: a slow one receives its releases, and
// one that hangs costs no more. No goroutine and no subscription is left, whatever it returns. Later calls
// return what the first did.
//
// The error is the context's, or ErrQuorum, if a majority could not confirm everything in time.
func (c *Client) Close(ctx context.Context) error {
	c.closeOnce.Do(func() { c.closeErr = c.close(ctx, c.unlockAll) })
	return c.closeErr
}

// Detach is Close for a process whose leases belong to somebody else, who goes on believing in them or will
// Resume them: it releases nothing. Each lock stays until its ttl is over; the leases here end with ErrClosed.
// After a Close it does nothing, and the other way round.
func (c *Client) Detach(ctx context.Context) error {
	c.closeOnce.Do(func() { c.closeErr = c.close(ctx, c.letGo) })
	return c.closeErr
}

// close ends everything; part is what becomes of the leases.
func (c *Client) close(ctx context.Context, part func(context.Context) error) error {
	c.mu.Lock()
	c.closed = true
	close(c.closing)
	c.mu.Unlock()
	c.quorum.Stop()

	calls := make(chan struct{})
	go func() { // ends below, at the latest when the links are closed
		c.calls.Wait()
		close(calls)
	}()
	select {
	case <-calls:
	case <-ctx.Done():
	}
	err := part(ctx)
	c.wakes.end()
	for _, n := range c.nodes {
		if l, ok := n.(*link); ok {
			l.closeSide() // else a subscription that waits for a node that hangs would keep us
		}
	}
	c.wakes.wait()
	if e := c.quorum.Close(ctx); err == nil {
		err = e
	}
	c.closeNodes()
	<-calls
	part(ctx) // leases of calls that ended after the first round
	c.dog.close()
	c.background.Wait()
	return err
}

// closeNodes closes what was taken over. The quorum has waited for as long as there was a reason to: links
// are cut.
func (c *Client) closeNodes() {
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		switch n := n.(type) {
		case *link:
			wg.Go(func() { n.shut(0) })
		case io.Closer:
			wg.Go(func() { n.Close() })
		}
	}
	wg.Wait()
}

// unlockAll releases all leases, as many at a time as are renewed, and returns the first error that is no loss:
// of a lease that was lost before, or that others released, nothing is left to confirm.
func (c *Client) unlockAll(ctx context.Context) error {
	leases := c.dog.leases()
	errs := make([]error, len(leases))
	var wg sync.WaitGroup
	places := make(chan struct{}, maxFlying) // more would only overflow what waits for a node
	for i, l := range leases {
		places <- struct{}{}
		wg.Go(func() {
			errs[i] = l.Unlock(ctx)
			<-places
		})
	}
	wg.Wait()
	for _, err := range errs {
		var loss *LossError
		if err != nil && !errors.As(err, &loss) {
			return err
		}
	}
	return nil
}

// letGo ends all leases here and leaves their locks where they are.
func (c *Client) letGo(context.Context) error {
	for _, l := range c.dog.leases() {
		if l.finish(&LossError{Name: l.Name(), Token: l.Token(), Cause: ErrClosed}) {
			c.set.observers.lost(l, ErrClosed)
		}
	}
	return nil
}
