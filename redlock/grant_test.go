package redlock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// Ensure that an asynchronous renewal moves the end, tells so once, and shares its round with whoever comes
// meanwhile, waiting or not.
func TestRenewAsync(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		synctest.Wait()
		time.Sleep(4 * time.Second)
		start := clock.Now()
		landed := make(chan error, 10) // more than are sent
		for range 3 {
			c.RenewAsync(g, func(err error) { landed <- err })
		}
		assert.Empty(t, landed, "it waits for nobody")
		require.NoError(t, c.Renew(t.Context(), g))
		synctest.Wait()
		require.Len(t, landed, 3)
		for range 3 {
			assert.NoError(t, <-landed)
		}
		assert.Equal(t, start.Add(10*time.Second-102*time.Millisecond), g.End())
		assert.Equal(t, 1, c.nodes[0].count(OpRenew))

		require.NoError(t, c.Release(t.Context(), g))
		c.RenewAsync(g, func(err error) { landed <- err })
		require.Len(t, landed, 1, "a lease that is over needs no round")
		assert.ErrorIs(t, <-landed, ErrReleased)
	})
}

// Ensure that a waiting caller who gives up does not take the round from those who do not wait.
func TestRenewAsync_OutlivesACancelledCall(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		landed := make(chan error, 2)
		c.RenewAsync(g, func(err error) { landed <- err })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
		defer cancel()
		require.ErrorIs(t, c.Renew(ctx, g), context.DeadlineExceeded)
		c.RenewAsync(g, func(err error) { landed <- err })
		assert.NoError(t, <-landed)
		assert.NoError(t, <-landed)
		assert.Equal(t, 1, c.nodes[0].count(OpRenew))
		require.NoError(t, c.Release(t.Context(), g))
	})
}

// Ensure that an asynchronous renewal comes to an end whatever the nodes do: with the error of a round that
// was refused, that hangs for longer than any round may, or whose lease ends before.
func TestRenewAsync_Fails(t *testing.T) {
	for name, test := range map[string]struct {
		ttl   time.Duration
		fault func(n *memNode)
		want  error
		after time.Duration
	}{
		"refused": {ttl: time.Minute, fault: func(n *memNode) { n.refuse = errors.New("connection refused") }, want: ErrQuorum},
		"mute":    {ttl: time.Minute, fault: func(n *memNode) { n.mute = []Op{OpRenew} }, want: ErrQuorum, after: patience + time.Millisecond/2},
		"slow":    {ttl: time.Minute, fault: func(n *memNode) { n.delay = time.Hour }, want: ErrQuorum, after: roundLimit},
		"over":    {ttl: 3 * time.Second, fault: func(n *memNode) { n.delay = time.Minute }, want: ErrLost, after: 3*time.Second - 32*time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				g, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: test.ttl})
				require.NoError(t, err)
				synctest.Wait()
				end, start := g.End(), clock.Now()
				for _, n := range c.nodes[:3] {
					n.with(func() { test.fault(n) })
				}
				landed := make(chan error, 2)
				c.RenewAsync(g, func(err error) { landed <- err })
				assert.ErrorIs(t, <-landed, test.want)
				assert.InDelta(t, test.after, clock.Since(start), float64(2*time.Millisecond))
				assert.Equal(t, end, g.End())
				for _, n := range c.nodes[:3] {
					n.with(func() { n.delay, n.refuse, n.mute = 0, nil, nil })
				}
				c.Release(t.Context(), g)
				time.Sleep(2 * time.Hour)
				assert.Empty(t, landed, "it is told once")
			})
		})
	}
}

// Ensure that a grant without its timer tells the truth all the same, and that a release ends it.
func TestStopTimer(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		g.StopTimer()
		require.NoError(t, c.Renew(t.Context(), g))
		time.Sleep(g.Remaining() - 1)
		require.True(t, g.Held())
		time.Sleep(1)
		assert.False(t, g.Held())
		assert.ErrorIs(t, g.Err(), ErrLost)
		select {
		case <-g.Done():
			t.Error("somebody has ended it")
		default:
		}
		require.ErrorIs(t, c.Release(t.Context(), g), ErrLost)
		<-g.Done()
		time.Sleep(time.Millisecond)
		assert.Equal(t, nobody, c.owners(), "the release was sent")
	})
}
