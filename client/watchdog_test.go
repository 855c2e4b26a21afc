package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A slowNode grants everything after a while, and counts.
type slowNode struct {
	delay func() time.Duration // negative: renewals hang

	mu       sync.Mutex
	waiting  map[redlock.Op]int // requests that were not answered yet
	most     map[redlock.Op]int
	renewals int
	released int
	perTick  map[int64]int // renewals that came in each tick
	rush     map[redlock.Op]map[int64]int
}

func (n *slowNode) String() string { return "slow" }

func (n *slowNode) Send(req redlock.Request, reply func(redlock.Reply)) {
	r := redlock.Reply{Status: redlock.StatusOK}
	delay := time.Millisecond
	switch req.Op {
	case redlock.OpAcquire:
		r = redlock.Reply{Status: redlock.StatusGranted, Fence: req.Proposal}
	case redlock.OpRenew:
		r = redlock.Reply{Status: redlock.StatusExtended, Fence: req.Token}
		delay = n.delay()
		n.mu.Lock()
		n.renewals++
		n.perTick[tickOf(clock.Now())]++
		n.mu.Unlock()
	}
	if req.Op == redlock.OpRelease {
		delay = 10 * time.Millisecond
		n.mu.Lock()
		n.released++
		n.mu.Unlock()
	}
	n.mu.Lock()
	if n.rush[req.Op] == nil {
		n.rush[req.Op] = make(map[int64]int)
	}
	n.rush[req.Op][tickOf(clock.Now())]++
	n.waiting[req.Op]++
	n.most[req.Op] = max(n.most[req.Op], n.waiting[req.Op])
	n.mu.Unlock()
	answer := func() {
		n.mu.Lock()
		n.waiting[req.Op]--
		n.mu.Unlock()
		reply(r)
	}
	if delay < 0 { // as by a link: everything is answered in a bounded time
		r, delay = redlock.Reply{Status: redlock.StatusError, Err: errors.New("timeout")}, time.Second
	}
	time.AfterFunc(delay, answer)
}

func newSlowNode(delay func() time.Duration) *slowNode {
	return &slowNode{delay: delay, perTick: make(map[int64]int), rush: make(map[redlock.Op]map[int64]int),
		waiting: make(map[redlock.Op]int), most: make(map[redlock.Op]int)}
}

// slowClient returns a client of one such node, and a function that takes n locks at the same moment.
func slowClient(t *testing.T, delay func() time.Duration) (n *slowNode, c *Client, take func(n int, opts ...LockOption) []*Lease) {
	n = newSlowNode(delay)
	c, err := New([]redlock.Node{n})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(context.Background()) })
	return n, c, func(n int, opts ...LockOption) []*Lease {
		leases := make([]*Lease, n)
		var wg sync.WaitGroup
		for i := range leases {
			wg.Go(func() {
				l, err := c.TryLock(context.Background(), fmt.Sprintf("x%p/%d", leases, i), opts...)
				if assert.NoError(t, err) {
					leases[i] = l
				}
			})
		}
		wg.Wait()
		return leases
	}
}

// Ensure that of thousands of leases that were taken at one moment none is lost, and that the burst is spread
// over time.
func TestWatchdog_Burst(t *testing.T) {
	const many = 2 * maxFlying
	synctest.Test(t, func(t *testing.T) {
		n, _, take := slowClient(t, func() time.Duration { return 20 * time.Millisecond })
		leases := take(many)
		rounds := 6
		for range rounds {
			time.Sleep(DefaultTTL / 3)
			for _, l := range leases {
				require.NoError(t, l.Err())
				require.Greater(t, l.Remaining(), DefaultTTL/2)
			}
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		assert.GreaterOrEqual(t, n.renewals, rounds*many)
		assert.LessOrEqual(t, n.renewals, rounds*many*5/4, "spreading costs few renewals")
		last, worst := tickOf(clock.Now()), 0
		for tick, renewals := range n.perTick {
			if tick > last-int64(DefaultTTL/3/wheelTick) {
				worst = max(worst, renewals)
			}
		}
		assert.Less(t, worst, many/50, "they do not come together any more")
	})
}

// Ensure that Close releases thousands of leases, not more at a time than a link can take.
func TestClose_Crowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c, take := slowClient(t, func() time.Duration { return 0 })
		leases := take(2 * maxFlying)
		require.NoError(t, c.Close(context.Background()))
		for _, l := range leases {
			require.ErrorIs(t, l.Err(), ErrReleased)
		}
		assert.Equal(t, len(leases), n.released)
		assert.Equal(t, maxFlying, n.most[redlock.OpRelease])
	})
}

// Ensure that a few leases are renewed at the very third of their ttl, all in one moment.
func TestWatchdog_AFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _, take := slowClient(t, func() time.Duration { return 0 })
		take(aFew)
		for range 20 {
			time.Sleep(DefaultTTL / 3)
		}
		synctest.Wait()
		assert.Len(t, n.perTick, 20)
		assert.Equal(t, 20*aFew, n.renewals)
	})
}

// Ensure that leases end in time while as many renewals hang as may be under way, and that the renewals of those
// that would end first do not stand behind the others'.
func TestWatchdog_EndsWhileRenewalsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := true
		var mu sync.Mutex
		n, _, take := slowClient(t, func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			if hangs {
				return -1
			}
			return 10 * time.Millisecond
		})
		short := take(10, TTL(3*time.Second))
		bystanders := take(10, WithoutRenew(), TTL(8*time.Second))
		began := time.Now()
		ends := make([]time.Duration, len(bystanders))
		for i, l := range bystanders {
			go func() {
				<-l.Context().Done()
				ends[i] = time.Since(began)
			}()
		}
		urgent := take(10, TTL(6*time.Second))
		take(2*maxFlying, TTL(6*time.Second))
		for _, l := range short { // they cannot be renewed, and end all the same
			<-l.Lost()
			assert.LessOrEqual(t, time.Since(began), 3*time.Second)
			assert.ErrorIs(t, l.Err(), ErrQuorum)
		}
		time.Sleep(began.Add(4500 * time.Millisecond).Sub(time.Now()))
		n.mu.Lock()
		assert.GreaterOrEqual(t, n.most[redlock.OpRenew], maxFlying, "as many as may be")
		assert.LessOrEqual(t, n.most[redlock.OpRenew], maxFlying+len(short), "and no more but for rounds that ended with their lease")
		n.mu.Unlock()
		mu.Lock()
		hangs = false
		mu.Unlock()
		time.Sleep(20 * time.Second)
		for _, l := range urgent {
			assert.NoError(t, l.Err())
		}
		for _, d := range ends {
			assert.InDelta(t, 8*time.Second-redlock.DefaultDrift(8*time.Second), d, float64(10*time.Millisecond))
		}
	})
}

// Ensure that thousands of leases that are lost in one moment all end in that moment, and that their releases
// reach the node bit by bit.
func TestWatchdog_MassLoss(t *testing.T) {
	const many = 20*maxPerTick + 1
	for _, guard := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			n, c, take := slowClient(t, func() time.Duration { return 0 })
			began := time.Now()
			leases := take(many, WithoutRenew(), TTL(4*time.Second), Guard(guard))
			validity := 4*time.Second - redlock.DefaultDrift(4*time.Second)
			time.Sleep(began.Add(validity - guard).Sub(time.Now()))
			synctest.Wait()
			for _, l := range leases {
				l.mu.Lock()
				over := l.over
				l.mu.Unlock()
				require.ErrorIs(t, over, ErrExpired)
			}
			time.Sleep(guard + 21*wheelTick)
			synctest.Wait()
			n.mu.Lock()
			assert.Equal(t, many, n.released)
			assert.LessOrEqual(t, len(n.rush[redlock.OpRelease]), 22)
			for _, inTick := range n.rush[redlock.OpRelease] {
				assert.LessOrEqual(t, inTick, maxPerTick)
			}
			n.mu.Unlock()
			require.NoError(t, c.Close(context.Background()))
		})
	}
}

// Ensure that leases that were taken in one moment are brought to the nodes that were not asked bit by bit, each
// once.
func TestWatchdog_MassSpread(t *testing.T) {
	const many = 20*maxPerTick + 1
	synctest.Test(t, func(t *testing.T) {
		var nodes []redlock.Node
		var slow []*slowNode
		for range 3 {
			slow = append(slow, newSlowNode(func() time.Duration { return 0 }))
			nodes = append(nodes, slow[len(slow)-1])
		}
		c, err := New(nodes)
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() {
				_, err := c.Lock(context.Background(), fmt.Sprint("x", i))
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		time.Sleep(spreadAfter / 2)
		acquired := func() (ticks map[int64]int, sum int) {
			ticks = make(map[int64]int)
			for _, n := range slow {
				n.mu.Lock()
				for tick, k := range n.rush[redlock.OpAcquire] {
					ticks[tick], sum = ticks[tick]+k, sum+k
				}
				clear(n.rush[redlock.OpAcquire])
				n.mu.Unlock()
			}
			return ticks, sum
		}
		_, sum := acquired()
		require.Equal(t, 2*many, sum)
		time.Sleep(spreadAfter + 21*wheelTick)
		ticks, sum := acquired()
		assert.Equal(t, many, sum)
		for _, inTick := range ticks {
			assert.LessOrEqual(t, inTick, maxPerTick)
		}
		require.NoError(t, c.Close(context.Background()))
	})
}

// Ensure that a renewal is never planned later than asked for, nor much earlier.
func TestWatchdog_Spread(t *testing.T) {
	var d watchdog
	now := clock.Now()
	for _, in := range []time.Duration{0, 1, redlock.MinTTL / 3, aFew*wheelTick - 1, aFew * wheelTick, 5 * time.Second, time.Hour} {
		for _, n := range []int{0, 1, aFew, aFew + 1, 100_000} {
			d.wheel.n = n
			for _, parts := range []int{2, 16} {
				for range 100 {
					at := d.spreadLocked(now, in, parts)
					require.LessOrEqual(t, at, now.Add(in))
					require.GreaterOrEqual(t, at, now.Add(in-in/time.Duration(parts)-wheelTick))
					if n <= aFew || in < aFew*wheelTick {
						require.Equal(t, now.Add(in), at)
					}
				}
			}
		}
	}
}
