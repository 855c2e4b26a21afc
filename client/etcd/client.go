package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/client"
)

// A Client takes locks on one etcd cluster. One Client serves a whole program: it is safe for concurrent use.
// Close it at the end, before the etcd client.
type Client struct {
	set    settings
	etcd   *clientv3.Client
	leases pb.LeaseClient // chooses ids, and sends one keep-alive at a time: see Lease.keepAlive
	once   pb.LeaseClient // never sends anything twice

	closing    context.Context // ends at the beginning of Close
	beginClose context.CancelFunc
	life       context.Context // of what goes on in the background
	endLife    context.CancelFunc

	mu         sync.Mutex
	closed     bool            // no call begins
	ended      bool            // nothing begins in the background, either
	held       map[*Lease]bool // those that wait included
	calls      sync.WaitGroup  // calls that may still make a lease
	background sync.WaitGroup
	closeOnce  sync.Once
	closeErr   error
}

// What client.AsLocker wants of both.
var (
	_ client.Held = (*Lease)(nil)
	_             = client.AsLocker[*Lease, LockOption]((*Client)(nil))
)

// New returns a client of an etcd cluster, which stays its caller's: Close does not close it. Nothing is sent.
//
// Errors: client.ErrInvalid.
func New(etcd *clientv3.Client, opts ...Option) (*Client, error) {
	set := settings{lockSettings: lockSettings{ttl: client.DefaultTTL, owner: defaultOwner()}, prefix: DefaultPrefix,
		logger: slog.New(slog.DiscardHandler)}
	for _, o := range opts {
		o(&set)
	}
	if etcd == nil {
		return nil, fmt.Errorf("%w: no etcd client", client.ErrInvalid)
	}
	if err := set.check(); err != nil {
		return nil, err
	}
	if set.timeout <= 0 {
		set.timeout = min(set.ttl/3, 5*time.Second)
	}
	c := &Client{set: set, etcd: etcd, leases: clientv3.RetryLeaseClient(etcd),
		once: pb.NewLeaseClient(etcd.ActiveConnection()), held: make(map[*Lease]bool)}
	c.closing, c.beginClose = context.WithCancel(context.Background())
	c.life, c.endLife = context.WithCancel(context.Background())
	return c, nil
}

// begin enters a call: it returns a context that ends with ctx or with Close, and the function with which to
// leave the call.
func (c *Client) begin(ctx context.Context) (context.Context, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, client.ErrClosed
	}
	c.calls.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(c.closing, func() { cancel(client.ErrClosed) })
	return ctx, func() {
		unhook()
		cancel(nil)
		c.calls.Done()
	}, nil
}

// spawn runs f in the background unless everything has ended.
func (c *Client) spawn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.background.Go(f)
	}
}

// request bounds one request.
func (c *Client) request(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.set.timeout)
}

// failure says what the error of a request means: ErrQuorum if the cluster did not answer in time, or has no
// majority.
func (c *Client) failure(op, name string, err error) error {
	if unanswered(err) {
		return fmt.Errorf("%s %q: %w: %w", op, name, client.ErrQuorum, err)
	}
	return fmt.Errorf("%s %q: %w", op, name, err)
}

// unanswered reports that a request may not have reached a cluster that can decide.
func unanswered(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, errOldTerm) {
		return true
	}
	var known rpctypes.EtcdError
	code := status.Code(err)
	if errors.As(err, &known) {
		code = known.Code()
	}
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted:
		return true
	}
	return false
}

// gone reports that etcd does not know a lease any more.
func gone(err error) bool { return errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) }

// ended returns the error of a context that is done, without losing its cause.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	if errors.Is(cause, client.ErrClosed) {
		return cause // it is not the caller who ended it
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// Close releases every lease that is still held (their contexts end with client.ErrReleased), ends all waits with
// client.ErrClosed, and waits until the cluster has confirmed the releases or ctx is done. No goroutine of ours is
// left, whatever it returns; what could not be confirmed frees its lock after its ttl. Later calls return what the
// first did.
//
// The error is the context's, or client.ErrQuorum.
func (c *Client) Close(ctx context.Context) error {
	c.closeOnce.Do(func() { c.closeErr = c.close(ctx) })
	return c.closeErr
}

func (c *Client) close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.beginClose()
	c.calls.Wait() // every one of them has its requests bound to closing
	err := c.unlockAll(ctx)

	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	quiet := make(chan struct{})
	go func() { // ends below
		c.background.Wait()
		close(quiet)
	}()
	select {
	case <-quiet:
	case <-ctx.Done():
		if err == nil {
			err = fmt.Errorf("close: %w", ended(ctx))
		}
	}
	c.endLife()
	<-quiet
	return err
}

// unlockAll releases all leases and returns the first error that is no loss.
func (c *Client) unlockAll(ctx context.Context) error {
	c.mu.Lock()
	leases := slices.Collect(maps.Keys(c.held))
	c.mu.Unlock()
	errs := make([]error, len(leases))
	var wg sync.WaitGroup
	places := make(chan struct{}, 64)
	for i, l := range leases {
		places <- struct{}{}
		wg.Go(func() {
			errs[i] = l.Unlock(ctx)
			<-places
		})
	}
	wg.Wait()
	var loss *client.LossError
	for _, err := range errs {
		if err != nil && !errors.As(err, &loss) {
			return err
		}
	}
	return nil
}
