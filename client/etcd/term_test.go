package etcd_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/etcd"
)

// oldLeader answers keep-alives as a leader does whose term is over without its knowledge.
type oldLeader struct{ pb.LeaseClient }

func (o oldLeader) LeaseKeepAlive(ctx context.Context, opts ...grpc.CallOption) (pb.Lease_LeaseKeepAliveClient, error) {
	stream, err := o.LeaseClient.LeaseKeepAlive(ctx, opts...)
	return oldStream{stream}, err
}

type oldStream struct{ pb.Lease_LeaseKeepAliveClient }

func (s oldStream) Recv() (*pb.LeaseKeepAliveResponse, error) {
	resp, err := s.Lease_LeaseKeepAliveClient.Recv()
	if err == nil {
		resp.Header.RaftTerm--
	}
	return resp, err
}

// Ensure that keep-alives which a leader answers that is none any more do not make a lease last.
func TestLease_OldLeader(t *testing.T) {
	t.Parallel()
	c, name := lab(t)
	locks := newLocks(t, c, etcd.WithTTL(short))
	locks.WrapLeases(func(real pb.LeaseClient) pb.LeaseClient { return oldLeader{real} })
	l, err := locks.Lock(t.Context(), name)
	require.NoError(t, err)
	loss := lossOf(t, l)
	assert.ErrorIs(t, loss, client.ErrExpired)
	assert.ErrorIs(t, loss, client.ErrQuorum)
}

// Ensure that a lock survives the death of its cluster's leader, for the holder and for those who wait.
func TestLease_LeaderKilled(t *testing.T) {
	t.Parallel()
	members := startCluster(t, 3)
	var addrs []string
	for _, m := range members {
		addrs = append(addrs, m.addr)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: addrs, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	locks := newLocks(t, c, etcd.WithTTL(5*time.Second))
	l, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	got := make(chan *etcd.Lease, 1)
	go func() {
		next, err := locks.Lock(t.Context(), "a")
		assert.NoError(t, err)
		got <- next
	}()
	eventually(t, func() bool { return keys(t, c, "a") == 2 }, "the waiter does not queue")

	leader := 0
	for _, m := range members {
		status, err := c.Status(t.Context(), m.addr)
		require.NoError(t, err)
		if status.Leader == status.Header.MemberId {
			m.kill()
			leader++
		}
	}
	require.Equal(t, 1, leader)
	deadline := l.Deadline()
	eventually(t, func() bool { return l.Deadline().Sub(deadline) > time.Second }, "the lease is not kept alive")
	require.NoError(t, l.Err())
	require.NoError(t, l.Unlock(t.Context()))
	next := <-got
	require.NotNil(t, next)
	assert.Greater(t, next.Token(), l.Token())
	assert.NoError(t, next.Unlock(t.Context()))
}
