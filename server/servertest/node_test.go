package servertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Ensure that go-redis works against a node over TCP, unchanged.
func TestStart(t *testing.T) {
	node := servertest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: node.Addr()})
	defer rdb.Close()
	require.NoError(t, rdb.Ping(t.Context()).Err())
	require.NoError(t, rdb.Set(t.Context(), "k", "v", 0).Err())
	assert.Equal(t, "v", rdb.Get(t.Context(), "k").Val())
}

// Ensure that a node and go-redis run inside a bubble of synctest, on its clock.
func TestStart_Synctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := servertest.Start(t, servertest.InMemory())
		rdb := redis.NewClient(&redis.Options{Addr: node.Addr(), Dialer: node.Dial, DisableIdentity: true})
		defer rdb.Close()
		require.NoError(t, rdb.Set(t.Context(), "k", "v", 8*time.Second).Err())
		time.Sleep(8*time.Second - time.Millisecond)
		assert.Equal(t, "v", rdb.Get(t.Context(), "k").Val())
		time.Sleep(time.Millisecond)
		assert.ErrorIs(t, rdb.Get(t.Context(), "k").Err(), redis.Nil)
	})
}

// Ensure that a restarted node is empty, has its old address, and refuses connections in between.
func TestNode_Restart(t *testing.T) {
	for _, opts := range [][]servertest.Option{nil, {servertest.InMemory()}} {
		node := servertest.Start(t, opts...)
		addr := node.Addr()
		rdb := redis.NewClient(&redis.Options{Addr: addr, Dialer: node.Dial, MaxRetries: -1, DialerRetries: 1})
		defer rdb.Close()
		require.NoError(t, rdb.Set(t.Context(), "k", "v", 0).Err())
		node.Stop()
		require.Error(t, rdb.Ping(t.Context()).Err())
		node.Restart()
		assert.Equal(t, addr, node.Addr())
		assert.ErrorIs(t, rdb.Get(t.Context(), "k").Err(), redis.Nil)
	}
}
