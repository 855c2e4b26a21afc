package client_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A farConn is a connection to a node that is some way off: answers take a while, each another one.
type farConn struct {
	net.Conn
	way time.Duration
	rng *rand.Rand
}

func (c *farConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		time.Sleep(c.way + time.Duration(c.rng.Int64N(int64(c.way))))
	}
	return n, err
}

// A served is one call of Lock that got the lock.
type served struct{ called, got time.Time }

// Ensure that between clients, too, the lock goes to who has waited for longest, as DESIGN.md promises: whoever
// called two round trips and more before another is served before. The test measures how far calls that are closer to each other
// overtake, with nodes that are one to ten milliseconds away.
func TestLock_OrderBetweenClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, rounds = 12, 15
		const apart = 40 * time.Millisecond // twice the longest round trip
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		var mu sync.Mutex
		var all []served
		var wg sync.WaitGroup
		for i := range clients {
			var far []redlock.Node
			for k, n := range nodes {
				seed := uint64(100*i + k)
				way := time.Duration(1+k*i%10) * time.Millisecond
				far = append(far, n.node(t, func(conn net.Conn) net.Conn {
					return &farConn{Conn: conn, way: way, rng: rand.New(rand.NewPCG(seed, 1))}
				}))
			}
			c := newClient(t, far)
			rng := rand.New(rand.NewPCG(uint64(i), 3))
			wg.Go(func() {
				// A client's first wait makes its subscriptions, which takes several round trips.
				assert.NoError(t, c.Do(ctx, "warm", func(context.Context, *client.Lease) error {
					time.Sleep(10 * time.Millisecond)
					return nil
				}))
				time.Sleep(time.Second)
				for range rounds {
					time.Sleep(time.Duration(rng.Int64N(int64(300 * time.Millisecond))))
					called := time.Now()
					assert.NoError(t, c.Do(ctx, "x", func(context.Context, *client.Lease) error {
						mu.Lock()
						all = append(all, served{called, time.Now()})
						mu.Unlock()
						time.Sleep(10 * time.Millisecond)
						return nil
					}))
				}
			})
		}
		wg.Wait()
		require.Len(t, all, clients*rounds)
		slices.SortFunc(all, func(a, b served) int { return cmp.Compare(a.got.UnixNano(), b.got.UnixNano()) })
		overtakes, worst, longest := 0, time.Duration(0), time.Duration(0)
		for i, a := range all {
			longest = max(longest, a.got.Sub(a.called))
			for _, b := range all[i+1:] { // served later
				if ahead := a.called.Sub(b.called); ahead > 0 { // though b called earlier
					overtakes++
					worst = max(worst, ahead)
				}
			}
		}
		t.Logf("%d locks, longest wait %v; %d times a call overtook another, by at most %v", len(all), longest, overtakes, worst)
		assert.Less(t, worst, apart)
	})
}
