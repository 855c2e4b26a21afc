package client_test

import (
	"context"
	"sort"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// redsyncOf returns a redsync client with default options over the nodes.
func (c cluster) redsync(t testing.TB) *redsync.Redsync {
	var pools []redsyncredis.Pool
	for _, n := range c {
		rdb := redis.NewClient(&redis.Options{Addr: n.addr})
		t.Cleanup(func() { rdb.Close() })
		pools = append(pools, goredis.NewPool(rdb))
	}
	return redsync.New(pools...)
}

// BenchmarkUncontended compares lock and unlock of a free lock with redsync's, on five redis-server
// processes, in turns, so that whatever else the machine does falls on both. It reports the medians in
// microseconds and their ratio.
func BenchmarkUncontended(b *testing.B) {
	nodes := redisNodes(b, 5)
	ctx := context.Background()
	c := nodes.client(b)
	rs := nodes.redsync(b)
	ours := func() {
		l, err := c.Lock(ctx, "bench/ours")
		require.NoError(b, err)
		require.NoError(b, l.Unlock(ctx))
	}
	theirs := func() {
		m := rs.NewMutex("bench/theirs")
		require.NoError(b, m.LockContext(ctx))
		_, err := m.UnlockContext(ctx)
		require.NoError(b, err)
	}
	var mine, peer []time.Duration
	measure := func(f func()) time.Duration {
		began := time.Now()
		f()
		return time.Since(began)
	}
	ours()
	theirs()
	for b.Loop() {
		mine = append(mine, measure(ours))
		peer = append(peer, measure(theirs))
	}
	p50ours, p50theirs := quantile(mine, 0.5), quantile(peer, 0.5)
	b.ReportMetric(float64(p50ours.Microseconds()), "p50-us")
	b.ReportMetric(float64(p50theirs.Microseconds()), "redsync-p50-us")
	b.ReportMetric(float64(quantile(mine, 0.99).Microseconds()), "p99-us")
	b.ReportMetric(float64(quantile(peer, 0.99).Microseconds()), "redsync-p99-us")
	b.ReportMetric(float64(p50ours)/float64(p50theirs), "p50-ratio")
}

func quantile(all []time.Duration, q float64) time.Duration {
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return all[int(q*float64(len(all)-1))]
}
