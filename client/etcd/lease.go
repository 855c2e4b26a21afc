package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A Lease is a lock that is held, until Unlock or until it is lost. It is safe for concurrent use; pass it (or its
// token) to whatever works under the lock. Nothing is reentrant: code that holds a lease and asks for the same name
// again waits for itself.
//
// Work under Context, and give Token to every resource that can refuse an older one.
type Lease struct {
	c     *Client
	name  string
	owner string
	id    clientv3.LeaseID // of the etcd lease that keeps the key
	key   string
	token atomic.Int64 // the key's create revision; 0 while there is no key

	ctx    context.Context // the lease's own life, the one exception to "no context in a struct"
	cancel context.CancelCauseFunc
	work   context.Context // of what is done for the lease; unlike ctx without its caller's values
	stop   context.CancelFunc
	lost   chan struct{}

	mu       sync.Mutex
	ttl      time.Duration // as etcd granted it
	end      clock.Instant
	failed   error         // what the last keep-alive ended with; nil: it moved the end
	over     error         // nil while held; ErrReleased or a *LossError
	released chan struct{} // not nil once Unlock was called; closed when it knows its result
	result   error         // of Unlock; valid once released is closed
}

// newLease makes a lease of an etcd lease that was asked for at began. It is kept alive from now on, first for one
// who waits; forget or Unlock ends that.
func (c *Client) newLease(ctx context.Context, name string, set lockSettings, id clientv3.LeaseID) *Lease {
	l := &Lease{c: c, name: name, owner: set.owner, id: id, key: c.keyOf(name, id), lost: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	l.work, l.stop = context.WithCancel(c.life)
	c.mu.Lock()
	c.held[l] = true
	c.mu.Unlock()
	return l
}

// Name returns the lock's name.
func (l *Lease) Name() string { return l.name }

// Token returns the fencing token, the create revision of the lock's key: higher than that of every lease, of
// whatever name, that was asked for before. Keep-alives do not change it.
func (l *Lease) Token() int64 { return l.token.Load() }

// TTL returns the ttl that each keep-alive asks for: what the cluster granted, in whole seconds, which may be more
// than was wanted.
func (l *Lease) TTL() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ttl
}

// Owner returns the label that others are shown as the holder.
func (l *Lease) Owner() string { return l.owner }

// Context returns the context under which to do the work. It ends when the lease does, at its end on the local
// clock at the latest, whatever calls are in flight; context.Cause then is a *client.LossError, or
// client.ErrReleased after Unlock. It carries the values of the context given to Lock, but not its cancellation or
// deadline.
//
// After a suspend of the machine the context may end up to a second late; Err is right at every moment.
func (l *Lease) Context() context.Context { return l.ctx }

// Lost returns a channel that is closed if the lease ends before it is unlocked. After a regular Unlock it
// stays open for ever; wait for Context().Done() beside it.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Err returns nil while the lock is held, and then why it is over: client.ErrReleased, or a *client.LossError. It is
// computed from the clock at each call. Causes of a loss:
//
//   - ErrExpired and ErrQuorum: keep-alives found no cluster that could decide until the lease was over. The error
//     of the last one is wrapped, too.
//   - ErrExpired alone: the process was paused or suspended.
//   - ErrForced: somebody deleted the lock's key or revoked its etcd lease; or the cluster lost its data.
func (l *Lease) Err() error {
	l.mu.Lock()
	over, end := l.over, l.end
	l.mu.Unlock()
	if over == nil && !clock.Now().Before(end) {
		l.expire()
		l.mu.Lock()
		over = l.over
		l.mu.Unlock()
	}
	return over
}

func (l *Lease) until() clock.Instant {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// Deadline returns when the lease ends if it is not kept alive before, on the wall clock: to show, or to give
// to somebody who has no running clock in common. It moves with each keep-alive.
func (l *Lease) Deadline() time.Time { return clock.Wall().Add(clock.Until(l.until())) }

// Remaining returns for how long the lease still lasts without another keep-alive; zero once it is over.
func (l *Lease) Remaining() time.Duration {
	if l.Err() != nil {
		return 0
	}
	return max(0, clock.Until(l.until()))
}

// expire ends a lease whose time has passed, with the reason for which it was not kept alive.
func (l *Lease) expire() {
	l.mu.Lock()
	failed := l.failed
	l.mu.Unlock()
	if failed == nil {
		l.lose(client.ErrExpired)
		return
	}
	l.lose(fmt.Errorf("%w: %w", client.ErrExpired, failed))
}

// lose ends the lease as lost, and has what may be left of its lock removed.
func (l *Lease) lose(cause error) {
	if l.finish(&client.LossError{Name: l.name, Token: l.Token(), Cause: cause}) {
		l.c.spawn(l.revokeUntilGone)
		if l.Token() > 0 { // it was not only waiting
			l.c.set.logger.Warn("lease lost", "lock", l.name, "token", l.Token(), "cause", cause)
		}
	}
}

// forget ends the place of one who waits no more: its key is removed in the background.
func (l *Lease) forget() {
	if l.finish(client.ErrReleased) {
		l.c.spawn(l.revokeUntilGone)
	}
}

// finish ends the lease, once; it returns false if it was over already.
func (l *Lease) finish(over error) bool {
	l.mu.Lock()
	if l.over != nil {
		l.mu.Unlock()
		return false
	}
	l.over = over
	l.mu.Unlock()
	l.c.mu.Lock()
	delete(l.c.held, l)
	l.c.mu.Unlock()
	if !errors.Is(over, client.ErrReleased) {
		close(l.lost)
	}
	l.cancel(over)
	l.stop()
	return true
}

// Unlock releases the lock. The lease ends at once, before anything is sent; the call returns when the cluster has
// confirmed. ctx bounds only that wait, and a ctx that is already done is no obstacle: the release is sent and
// waited for within the client's time-out.
//
// Unlock may be called again, from anywhere: every call returns what the first found. That is nil; or a
// *client.LossError if the lease had been lost before; or client.ErrQuorum or the context's error if the cluster did
// not confirm: the release goes on in the background, and the lock is free after its ttl at the latest.
func (l *Lease) Unlock(ctx context.Context) error {
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	l.mu.Lock()
	first := l.released == nil
	if first {
		l.released = make(chan struct{})
	}
	released := l.released
	l.mu.Unlock()
	if first {
		l.result = l.unlock(ctx)
		close(released)
		return l.result
	}
	select {
	case <-released:
		return l.result
	case <-ctx.Done():
		return fmt.Errorf("unlock %q: %w", l.name, ended(ctx))
	}
}

func (l *Lease) unlock(ctx context.Context) error {
	if over := l.Err(); over != nil {
		return over
	}
	if !l.finish(client.ErrReleased) {
		return l.Err() // lost in this very moment
	}
	err := l.revoke(ctx)
	switch {
	case err == nil:
		return nil
	case gone(err):
		cause := errGone
		if !clock.Now().Before(l.until()) {
			cause = client.ErrExpired
		}
		return &client.LossError{Name: l.name, Token: l.Token(), Cause: cause}
	}
	l.c.spawn(l.revokeUntilGone)
	if ctx.Err() != nil {
		return fmt.Errorf("unlock %q: %w", l.name, ended(ctx))
	}
	return l.c.failure("unlock", l.name, err)
}

// revoke removes the etcd lease and with it the key. The etcd client's own Revoke is sent again when its answer is
// lost, and then finds no lease: an Unlock would take that for a loss.
func (l *Lease) revoke(ctx context.Context) error {
	ctx, cancel := l.c.request(ctx)
	defer cancel()
	_, err := l.c.once.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: int64(l.id)})
	return clientv3.ContextError(ctx, err)
}

// revokeUntilGone removes the etcd lease, for as long as the cluster may still have it.
func (l *Lease) revokeUntilGone() {
	for pause := shortestPause; ; pause = min(2*pause, time.Second) {
		err := l.revoke(l.c.life)
		if err == nil || gone(err) || !unanswered(err) || !clock.Now().Before(l.until().Add(l.TTL())) {
			return
		}
		if !sleep(l.c.life, pause) || l.c.etcd.Ctx().Err() != nil {
			return
		}
	}
}

// shortestPause is the first pause after a request that failed.
const shortestPause = 50 * time.Millisecond

// sleep returns false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
