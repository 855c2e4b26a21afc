package etcd_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/etcd"
	"github.com/holdfast-dev/holdfast/internal/clock/clocktest"
)

// deaf is a Watcher on a connection that died without a word; or, if it is broken, one whose every watch fails.
type deaf struct {
	clientv3.Watcher
	broken bool
}

func (d deaf) Watch(ctx context.Context, _ string, _ ...clientv3.OpOption) clientv3.WatchChan {
	events := make(chan clientv3.WatchResponse)
	if d.broken {
		close(events)
	} else {
		context.AfterFunc(ctx, func() { close(events) })
	}
	return events
}

// Ensure that a waiter and a holder whose watches are silent, or fail, find out by looking.
func TestWatch_Deaf(t *testing.T) {
	t.Parallel()
	c, name := lab(t)
	// The tests of suspends, which move the clock of all leases, are over: this one is parallel.
	for _, broken := range []bool{false, true} {
		ear := dial(t, shared.addr)
		ear.Watcher = deaf{ear.Watcher, broken}
		locks := newLocks(t, ear, etcd.WithTTL(2*short))
		first, err := newLocks(t, c).Lock(t.Context(), name)
		require.NoError(t, err)
		got := make(chan *etcd.Lease, 1)
		go func() {
			l, err := locks.Lock(t.Context(), name)
			assert.NoError(t, err)
			got <- l
		}()
		eventually(t, func() bool { return keys(t, c, name) == 2 }, "the waiter does not queue")
		require.NoError(t, first.Unlock(t.Context()))
		l := <-got
		require.NotNil(t, l)
		_, err = c.Delete(t.Context(), etcd.DefaultPrefix+"/"+name+"/", clientv3.WithPrefix())
		require.NoError(t, err)
		assert.ErrorIs(t, lossOf(t, l), client.ErrForced)
	}
}

// Ensure that a lease knows at once after a suspend that it is over, whatever timers and the cluster say.
func TestLease_Suspended(t *testing.T) {
	c, name := lab(t)
	l, err := newLocks(t, c).Lock(t.Context(), name, etcd.TTL(10*time.Second))
	require.NoError(t, err)
	clocktest.Suspend(t, 11*time.Second)
	require.ErrorIs(t, l.Err(), client.ErrExpired)
	loss := lossOf(t, l)
	assert.ErrorIs(t, loss, client.ErrExpired)
	assert.NotErrorIs(t, loss, client.ErrQuorum, "nobody failed to answer")
	assertClean(t, c, name)
}

// Ensure that a waiter whose machine was suspended for longer than its ttl takes a new place and goes on.
func TestLock_WaiterSuspended(t *testing.T) {
	c, name := lab(t)
	other := etcd.DefaultPrefix + "/" + name + "/0000000000000001" // put by somebody whose clock is not ours
	_, err := c.Put(t.Context(), other, "somebody")
	require.NoError(t, err)
	locks := newLocks(t, c)
	got := make(chan *etcd.Lease, 1)
	go func() {
		l, err := locks.Lock(t.Context(), name)
		assert.NoError(t, err)
		got <- l
	}()
	place := func() string {
		resp, err := c.Get(t.Context(), etcd.DefaultPrefix+"/"+name+"/", clientv3.WithLastCreate()...)
		require.NoError(t, err)
		return string(resp.Kvs[0].Key)
	}
	eventually(t, func() bool { return keys(t, c, name) == 2 }, "the waiter does not queue")
	before := place()
	clocktest.Suspend(t, time.Minute)
	eventually(t, func() bool { return keys(t, c, name) == 2 && place() != before }, "the waiter takes no new place")
	_, err = c.Delete(t.Context(), other)
	require.NoError(t, err)
	l := <-got
	require.NotNil(t, l)
	assert.NoError(t, l.Unlock(t.Context()))
}
