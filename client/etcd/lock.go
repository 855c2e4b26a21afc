package etcd

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/clock"
)

// Lock waits until it has the lock. ctx bounds only the wait: it neither ends nor bounds the lease, whose own context
// is Lease.Context and carries ctx's values.
//
// Waiters get the lock in the order in which the cluster received their calls. If ctx ends first, no lock is held, and
// the waiter's place is given up in the background: its key goes at once, or after one ttl if the cluster cannot be
// reached. A wait survives a cluster that is away for less than the ttl and keeps its place; a process that is paused
// for longer than that goes to the end of the queue.
//
// Errors: the context's (a *client.WaitError, which also tells who was in the way); client.ErrQuorum: the cluster did
// not answer; client.ErrForced: the waiter's key was deleted; client.ErrInvalid; client.ErrClosed.
func (c *Client) Lock(ctx context.Context, name string, opts ...LockOption) (*Lease, error) {
	set, err := c.lockSettings(name, opts)
	if err != nil {
		return nil, err
	}
	ctx, done, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	for {
		l, err := c.queue(ctx, name, set)
		if err == nil {
			return l, nil
		}
		// A process that was paused for longer than the ttl has lost its place, and takes another.
		if paused := errors.Is(err, client.ErrExpired) && !errors.Is(err, client.ErrQuorum); !paused || ctx.Err() != nil {
			return nil, c.waitError(ctx, name, err)
		}
	}
}

// queue takes a place in the queue and waits until it is the first.
func (c *Client) queue(ctx context.Context, name string, set lockSettings) (*Lease, error) {
	l, first, rev, err := c.join(ctx, name, set)
	if err == nil && string(first.Key) != l.key {
		rev, err = l.wait(ctx, first, rev)
	}
	if err != nil {
		return nil, err
	}
	return l.taken(rev)
}

// TryLock takes the lock if nobody holds it or waits for it; it does not wait, and overtakes nobody.
//
// Errors: client.ErrHeld (*client.HeldError says by whom and for how long; its Digest is the id of the holder's etcd
// lease in hexadecimal, as etcdctl wants it), and those of Lock.
func (c *Client) TryLock(ctx context.Context, name string, opts ...LockOption) (*Lease, error) {
	set, err := c.lockSettings(name, opts)
	if err != nil {
		return nil, err
	}
	ctx, done, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	// To read costs the cluster less than an etcd lease that nobody needs.
	state, err := c.inspect(ctx, name)
	if err == nil && !state.Free() {
		return nil, heldError(state)
	}
	if err != nil {
		return nil, c.waitError(ctx, name, err)
	}
	l, err := c.grant(ctx, name, set)
	if err != nil {
		return nil, c.waitError(ctx, name, err)
	}
	rev, err := l.take(ctx)
	if err != nil {
		l.forget()
		if errors.Is(err, client.ErrHeld) {
			return nil, err
		}
		return nil, c.waitError(ctx, name, err)
	}
	return l.taken(rev)
}

// Do runs f while it holds the lock: it waits for the lock as Lock does, keeps it alive, releases it when f
// returns or panics, and cancels the context given to f as soon as the lease is lost or ctx is done;
// context.Cause of it says which.
//
// The error joins that of f and, if the lease was lost before f returned, the loss: f may then have run unprotected
// at its end. A release that could not be confirmed is no error, since f ran under the lock: it is logged, and the
// lock is free after its ttl.
func (c *Client) Do(ctx context.Context, name string, f func(ctx context.Context, l *Lease) error, opts ...LockOption) (err error) {
	l, err := c.Lock(ctx, name, opts...)
	if err != nil {
		return err
	}
	work, cancel := context.WithCancelCause(l.Context())
	if deadline, ok := ctx.Deadline(); ok {
		var stop context.CancelFunc
		work, stop = context.WithDeadline(work, deadline)
		defer stop()
	}
	unhook := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	defer func() { // also when f panics
		unhook()
		cancel(nil)
		failed := l.Unlock(context.WithoutCancel(ctx))
		var loss *client.LossError
		switch {
		case failed == nil:
		case !errors.As(failed, &loss):
			c.set.logger.Warn("release was not confirmed", "lock", l.name, "token", l.Token(), "err", failed)
		case !errors.Is(err, error(loss)):
			err = errors.Join(err, loss)
		}
	}()
	return f(work, l)
}

// lockSettings checks a call before anything is sent. The error is client.ErrInvalid.
func (c *Client) lockSettings(name string, opts []LockOption) (lockSettings, error) {
	set := c.set.lockSettings
	for _, o := range opts {
		o(&set)
	}
	if err := checkName(name); err != nil {
		return set, err
	}
	return set, set.check()
}

// waitError says why a call ended: its context did, or what else happened.
func (c *Client) waitError(ctx context.Context, name string, err error) error {
	if ctx.Err() == nil {
		return err
	}
	wait := &client.WaitError{Name: name, Waits: ended(ctx)}
	var held *client.HeldError
	if errors.As(err, &held) {
		wait.Last = held
	}
	return wait
}

// newID draws the id of an etcd lease. It is ours and not the cluster's choice, so that a lease whose grant was not
// answered can be revoked.
func newID() clientv3.LeaseID {
	var b [8]byte
	rand.Read(b[:])
	return clientv3.LeaseID(max(1, binary.BigEndian.Uint64(b[:])>>1))
}

// grant makes a lease that has no key yet, and keeps it alive. It is the caller's to end.
func (c *Client) grant(ctx context.Context, name string, set lockSettings) (*Lease, error) {
	l := c.newLease(ctx, name, set, newID())
	bounded, cancel := c.request(ctx)
	defer cancel()
	began := clock.Now()
	l.granted(began, time.Duration(set.seconds())*time.Second)
	resp, err := c.leases.LeaseGrant(bounded, &pb.LeaseGrantRequest{ID: int64(l.id), TTL: set.seconds()})
	err = rpctypes.Error(err)
	next := began // it was repeated and found itself: what was granted is not known
	switch {
	case err == nil:
		next = l.granted(began, time.Duration(resp.TTL)*time.Second)
	case !errors.Is(err, rpctypes.ErrLeaseExist):
		l.finish(client.ErrReleased)
		c.spawn(func() { l.revoke(c.life) }) // in case it was granted; without a key it is in nobody's way
		return nil, c.failure("lock", name, err)
	}
	c.spawn(func() { l.keep(next) })
	return l, nil
}

// join makes a lease with a key: a place in the queue. It returns the key that is first, and the revision at which it
// is.
func (c *Client) join(ctx context.Context, name string, set lockSettings) (l *Lease, first *mvccpb.KeyValue, rev int64, err error) {
	l, err = c.grant(ctx, name, set)
	if err != nil {
		return nil, nil, 0, err
	}
	bounded, cancel := c.request(ctx)
	defer cancel()
	resp, err := c.etcd.Txn(bounded).Then(l.put(), clientv3.OpGet(l.key),
		clientv3.OpGet(c.queueOf(name), clientv3.WithFirstCreate()...)).Commit()
	if err != nil {
		l.forget()
		return nil, nil, 0, c.failure("lock", name, err)
	}
	l.token.Store(resp.Responses[1].GetResponseRange().Kvs[0].CreateRevision)
	return l, resp.Responses[2].GetResponseRange().Kvs[0], resp.Header.Revision, nil
}

func (l *Lease) put() clientv3.Op { return clientv3.OpPut(l.key, l.owner, clientv3.WithLease(l.id)) }

// take makes the key of the lease if there is none in its queue.
func (l *Lease) take(ctx context.Context) (rev int64, err error) {
	bounded, cancel := l.c.request(ctx)
	defer cancel()
	queue := l.c.queueOf(l.name)
	free := clientv3.Compare(clientv3.CreateRevision(queue).WithPrefix(), "=", 0)
	resp, err := l.c.etcd.Txn(bounded).If(free).Then(l.put(), clientv3.OpGet(l.key)).
		Else(clientv3.OpGet(queue, clientv3.WithFirstCreate()...)).Commit()
	if err != nil {
		return 0, l.c.failure("lock", l.name, err)
	}
	if !resp.Succeeded {
		kv := resp.Responses[0].GetResponseRange().Kvs[0]
		holder, err := l.c.holder(ctx, kv)
		if err != nil {
			return 0, l.c.failure("lock", l.name, err)
		}
		return 0, heldError(&client.State{Name: l.name, Holder: holder})
	}
	l.token.Store(resp.Responses[1].GetResponseRange().Kvs[0].CreateRevision)
	return resp.Header.Revision, nil
}

// taken makes a holder of whoever was first in the queue at a revision.
func (l *Lease) taken(rev int64) (*Lease, error) {
	if over := l.Err(); over != nil { // the way took longer than the ttl
		return nil, l.unfit(over)
	}
	l.c.spawn(func() { l.guard(rev) })
	return l, nil
}

// unfit says why one who waits lost its place.
func (l *Lease) unfit(over error) error {
	var loss *client.LossError
	if errors.As(over, &loss) {
		over = loss.Cause
	}
	return fmt.Errorf("lock %q: lost the place in its queue: %w", l.name, over)
}

// wait waits until the lease's key is the first in its queue, and returns a revision at which it is. If it fails, the
// lease is given up, and the error contains who was first if that is known.
func (l *Lease) wait(ctx context.Context, first *mvccpb.KeyValue, rev int64) (int64, error) {
	// Both ends are ends of the wait: that of the call, and that of the place.
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.work, cancel)()

	var held error
	if holder, err := l.c.holder(watch, first); err == nil {
		held = heldError(&client.State{Name: l.name, Holder: holder})
	}
	for {
		ahead, now, err := l.ahead(watch)
		switch {
		case l.Err() != nil:
			return 0, l.unfit(l.Err())
		case ctx.Err() != nil:
			l.forget()
			return 0, errors.Join(ctx.Err(), held)
		case err == nil && ahead == nil:
			return now, nil
		case err == nil:
			l.c.deletion(watch, string(ahead.Key), now, l.TTL())
		case unanswered(err):
			sleep(watch, lookAgain)
		default:
			l.forget()
			return 0, err
		}
	}
}

// ahead returns the key of whoever is next before the lease in its queue, nil if nobody is, and the revision of that.
func (l *Lease) ahead(ctx context.Context) (*mvccpb.KeyValue, int64, error) {
	bounded, cancel := l.c.request(ctx)
	defer cancel()
	before := append(clientv3.WithLastCreate(), clientv3.WithMaxCreateRev(l.Token()-1))
	resp, err := l.c.etcd.Txn(bounded).Then(clientv3.OpGet(l.key, clientv3.WithKeysOnly()),
		clientv3.OpGet(l.c.queueOf(l.name), before...)).Commit()
	if err != nil {
		return nil, 0, l.c.failure("lock", l.name, err)
	}
	if len(resp.Responses[0].GetResponseRange().Kvs) == 0 {
		l.deleted()
		return nil, 0, l.unfit(l.Err())
	}
	if kvs := resp.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 {
		return kvs[0], resp.Header.Revision, nil
	}
	return nil, resp.Header.Revision, nil
}

// heldError says who is in the way.
func heldError(s *client.State) error {
	h := s.Holder
	return &client.HeldError{Name: s.Name, Label: h.Label, Digest: h.Digest, Token: h.Token, Remaining: h.Remaining,
		Recorded: true, Held: 1, Owners: 1}
}
