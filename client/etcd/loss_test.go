package etcd_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/etcd"
)

// short is a ttl that is over soon; the cluster of these tests grants it.
const short = etcd.MinTTL

// lossOf waits for the end of a lease and returns why it was lost.
func lossOf(t *testing.T, l *etcd.Lease) *client.LossError {
	t.Helper()
	select {
	case <-l.Lost():
	case <-time.After(20 * time.Second):
		t.Fatal("the lease does not end")
	}
	<-l.Context().Done()
	var loss *client.LossError
	require.ErrorAs(t, context.Cause(l.Context()), &loss)
	assert.Equal(t, l.Name(), loss.Name)
	assert.Equal(t, l.Token(), loss.Token)
	assert.Equal(t, error(loss), l.Err())
	assert.Equal(t, error(loss), l.Unlock(t.Context()))
	assert.Zero(t, l.Remaining())
	return loss
}

// Ensure that a lease is kept alive for longer than its ttl, and that its end moves.
func TestLease_KeptAlive(t *testing.T) {
	t.Parallel()
	c, name := lab(t)
	const ttl = 3 * time.Second // longer than a busy machine keeps the member from answering
	l, err := newLocks(t, c, etcd.WithTTL(ttl)).Lock(t.Context(), name)
	require.NoError(t, err)
	require.Equal(t, ttl, l.TTL())
	deadline := l.Deadline()
	select {
	case <-l.Context().Done():
		t.Fatal(context.Cause(l.Context()))
	case <-time.After(ttl + ttl/3):
	}
	assert.NoError(t, l.Err())
	assert.Greater(t, l.Deadline(), deadline)
	assert.Equal(t, 1, keys(t, c, name))
}

// Ensure that a key that is deleted, and an etcd lease that is revoked, end the lease long before its time.
func TestLease_Forced(t *testing.T) {
	c, name := lab(t)
	locks := newLocks(t, c, etcd.WithTTL(time.Hour))
	for _, force := range []func(digest string) error{
		func(digest string) error {
			_, err := c.Delete(t.Context(), etcd.DefaultPrefix+"/"+name+"/"+digest)
			return err
		},
		func(digest string) error {
			id, err := strconv.ParseInt(digest, 16, 64)
			require.NoError(t, err)
			_, err = c.Revoke(t.Context(), clientv3.LeaseID(id))
			return err
		},
	} {
		l, err := locks.Lock(t.Context(), name)
		require.NoError(t, err)
		s, err := locks.Inspect(t.Context(), name)
		require.NoError(t, err)
		require.NoError(t, force(s.Holder.Digest))
		loss := lossOf(t, l)
		assert.ErrorIs(t, loss, client.ErrForced)
		assert.NotErrorIs(t, loss, client.ErrExpired)
	}
}

// Ensure that a waiter whose key was deleted fails instead of being let in by its neighbour's end.
func TestLock_WaiterForced(t *testing.T) {
	c, name := lab(t)
	locks := newLocks(t, c)
	l, err := locks.Lock(t.Context(), name)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := locks.Lock(t.Context(), name)
		done <- err
	}()
	eventually(t, func() bool { return keys(t, c, name) == 2 }, "the waiter does not queue")
	resp, err := c.Get(t.Context(), etcd.DefaultPrefix+"/"+name+"/", clientv3.WithLastCreate()...)
	require.NoError(t, err)
	_, err = c.Delete(t.Context(), string(resp.Kvs[0].Key))
	require.NoError(t, err)
	require.NoError(t, l.Unlock(t.Context()))
	assert.ErrorIs(t, <-done, client.ErrForced)
}

// Ensure that a lease ends on the local clock when its cluster is killed, that its cause says why, that Do tells, and
// that the cluster serves again when it is back; a waiter keeps its place in the queue for as long as its ttl lasts.
func TestLease_ClusterKilled(t *testing.T) {
	t.Parallel()
	m := startMember(t)
	locks := locksOf(t, m.addr, etcd.WithTTL(2*short))
	patient := locksOf(t, m.addr, etcd.WithTTL(time.Minute))
	waited := make(chan error, 1)
	err := locks.Do(t.Context(), "a", func(ctx context.Context, l *etcd.Lease) error {
		go func() {
			l, err := patient.Lock(t.Context(), "a")
			if err == nil {
				err = l.Unlock(t.Context())
			}
			waited <- err
		}()
		c := dial(t, m.addr)
		eventually(t, func() bool { return keys(t, c, "a") == 2 }, "the waiter does not queue")
		m.kill()
		assert.ErrorIs(t, lossOf(t, l), client.ErrExpired)
		<-ctx.Done()
		return context.Cause(ctx)
	})
	require.ErrorIs(t, err, client.ErrExpired)
	assert.ErrorIs(t, err, client.ErrQuorum)
	_, err = locks.TryLock(t.Context(), "b")
	require.ErrorIs(t, err, client.ErrQuorum)
	_, err = locks.Lock(t.Context(), "b")
	require.ErrorIs(t, err, client.ErrQuorum)
	_, err = locks.List(t.Context(), "")
	require.ErrorIs(t, err, client.ErrQuorum)

	require.NoError(t, m.start())
	require.NoError(t, <-waited, "the place of the waiter has outlived the restart")
	l, err := locks.Lock(t.Context(), "b")
	require.NoError(t, err)
	require.NoError(t, l.Unlock(t.Context()))
}

// Ensure that a cluster that hangs ends a lease in time, and that it ends before anybody else can have the lock.
func TestLease_ClusterHangs(t *testing.T) {
	t.Parallel()
	m := startMember(t)
	locks := locksOf(t, m.addr, etcd.WithTTL(short))
	l, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	m.pause(t)
	loss := lossOf(t, l)
	assert.ErrorIs(t, loss, client.ErrExpired)
	assert.ErrorIs(t, loss, client.ErrQuorum)
	assert.ErrorIs(t, loss, context.DeadlineExceeded, "what the last keep-alive ended with")
	m.resume()
	next, err := locksOf(t, m.addr).Lock(t.Context(), "a")
	require.NoError(t, err)
	assert.Greater(t, next.Token(), l.Token())
}

// Ensure that a holder whose line is silent ends before the cluster gives the lock to the next.
func TestLease_LineSilent(t *testing.T) {
	t.Parallel()
	c, name := lab(t)
	p := newLine(t, shared.addr)
	locks := locksOf(t, p.addr(), etcd.WithTTL(short))
	l, err := locks.Lock(t.Context(), name)
	require.NoError(t, err)
	p.silence()
	next, err := newLocks(t, c).Lock(t.Context(), name)
	require.NoError(t, err)
	assert.Error(t, l.Err(), "two holders")
	assert.Greater(t, next.Token(), l.Token())
	assert.ErrorIs(t, lossOf(t, l), client.ErrExpired)
}

// Ensure that Unlock and Close of a lock whose cluster hangs give up with their contexts and leave no goroutine.
func TestUnlock_ClusterHangs(t *testing.T) {
	t.Parallel()
	m := startMember(t)
	locks := locksOf(t, m.addr)
	l, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	other, err := locks.Lock(t.Context(), "b")
	require.NoError(t, err)
	m.pause(t)
	defer m.resume()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, l.Unlock(ctx), context.DeadlineExceeded)
	assert.ErrorIs(t, l.Err(), client.ErrReleased)
	closing, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	require.ErrorIs(t, locks.Close(closing), context.DeadlineExceeded)
	assert.ErrorIs(t, other.Err(), client.ErrReleased)
}
