package client_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
)

// Ensure that of many machines that call Once for a tick one runs it, and again one for the next.
func TestOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		var clients []*client.Client
		for range 4 {
			clients = append(clients, nodes.client(t))
		}
		for _, opts := range [][]client.LockOption{nil, {client.RetryFailed()}} {
			name := []string{"most", "least"}[len(opts)]
			for _, tick := range []string{"monday", "tuesday"} {
				var calls, ran atomic.Int32
				var wg sync.WaitGroup
				for i := range 12 {
					wg.Go(func() {
						did, err := clients[i%4].Once(ctx, name, client.TickOf(tick, time.Hour), func(context.Context, *client.Lease) error {
							calls.Add(1)
							return nil
						}, opts...)
						assert.NoError(t, err)
						if did {
							ran.Add(1)
						}
					})
				}
				wg.Wait()
				assert.EqualValues(t, 1, calls.Load())
				assert.EqualValues(t, 1, ran.Load())
			}
		}
		nodes.assertClean(t, "most:once", "least:once")
		for _, c := range clients {
			require.NoError(t, c.Close(ctx))
		}
	})
}

// Ensure that the ticks of a period follow the wall clock: once in each, on whichever machine, also for a period that
// is longer than any lock.
func TestOnce_Every(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is midnight, UTC
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		clients := []*client.Client{nodes.client(t), nodes.client(t)}
		for _, period := range []time.Duration{time.Minute, 2 * time.Hour} {
			runs := 0
			for i := range 12 { // four calls in each of three periods
				ran, err := clients[i%2].Once(ctx, period.String(), client.Every(period), func(context.Context, *client.Lease) error {
					runs++
					return nil
				})
				require.NoError(t, err)
				assert.Equal(t, i%4 == 0, ran)
				time.Sleep(period / 4)
			}
			assert.Equal(t, 3, runs)
		}
		at := time.Now()
		assert.Equal(t, at.UTC().Format("2006-01-02")+"T00:00:00Z/24h0m0s", client.Every(24*time.Hour).String())
	})
}

// Ensure that without retries a tick that failed, or whose machine died in the middle, is not run again, and
// that nobody waits for it.
func TestOnce_AtMostOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		tick := client.TickOf("1", time.Hour)
		refused := errors.New("no paper")
		ran, err := a.Once(ctx, "report", tick, func(context.Context, *client.Lease) error { return refused })
		assert.True(t, ran)
		require.ErrorIs(t, err, refused)
		never := func(context.Context, *client.Lease) error {
			t.Error("called again")
			return nil
		}
		ran, err = b.Once(ctx, "report", tick, never)
		assert.False(t, ran)
		require.NoError(t, err)

		tick = client.TickOf("2", time.Hour)
		began := make(chan struct{})
		go a.Once(ctx, "report", tick, func(ctx context.Context, _ *client.Lease) error {
			close(began)
			<-ctx.Done()
			return nil
		})
		<-began
		ran, err = b.Once(ctx, "report", tick, never)
		assert.False(t, ran)
		require.NoError(t, err)
		require.NoError(t, a.Detach(ctx))
		time.Sleep(time.Minute)
		ran, err = b.Once(ctx, "report", tick, never)
		assert.False(t, ran)
		require.NoError(t, err)
	})
}

// Ensure that with retries a tick that failed, or whose machine died in the middle, is run by the next that
// waits, and that those who wait are told when it is done.
func TestOnce_RetryFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		a, b, c := nodes.client(t), nodes.client(t), nodes.client(t)
		tick := client.TickOf("1", time.Hour)
		refused := errors.New("no paper")
		ran, err := a.Once(ctx, "report", tick, func(context.Context, *client.Lease) error { return refused }, client.RetryFailed())
		assert.True(t, ran)
		require.ErrorIs(t, err, refused)

		began := make(chan struct{})
		go a.Once(ctx, "report", tick, func(ctx context.Context, _ *client.Lease) error {
			close(began)
			<-ctx.Done()
			return ctx.Err()
		}, client.RetryFailed())
		<-began
		type result struct {
			ran bool
			err error
		}
		results := make(chan result, 2)
		calls := 0
		for _, cl := range []*client.Client{b, c} {
			go func() {
				ran, err := cl.Once(ctx, "report", tick, func(context.Context, *client.Lease) error {
					calls++
					time.Sleep(5 * time.Minute) // longer than any ttl
					return nil
				}, client.RetryFailed())
				results <- result{ran, err}
			}()
			time.Sleep(time.Second)
		}
		assert.Empty(t, results)
		require.NoError(t, a.Detach(ctx)) // it died
		died := time.Now()
		first, second := <-results, <-results
		assert.Equal(t, 1, calls)
		assert.NotEqual(t, first.ran, second.ran)
		require.NoError(t, first.err)
		require.NoError(t, second.err)
		assert.Less(t, time.Since(died), client.DefaultTTL+5*time.Minute+time.Second)
	})
}

// Ensure that a machine that loses the lock before it has marked a tick does not run it, and that one that loses it
// while it runs is told so.
func TestOnce_LosesLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		c := nodes.client(t)
		ran, err := c.Once(ctx, "report", client.TickOf("1", time.Hour), func(ctx context.Context, l *client.Lease) error {
			for _, n := range nodes {
				require.NoError(t, n.rdb.Set(ctx, l.Name(), "a thief", time.Minute).Err())
			}
			<-ctx.Done()
			return nil
		})
		assert.True(t, ran)
		require.ErrorIs(t, err, client.ErrStolen)
		time.Sleep(time.Minute)

		v := &valve{}
		slow := newClient(t, v.nodes(t, nodes))
		require.NoError(t, slow.Latch("warm").CountDown(ctx, "m"))
		v.mu.Lock()
		v.delay = 700 * time.Millisecond
		v.mu.Unlock()
		ran, err = slow.Once(ctx, "report", client.TickOf("2", time.Hour), func(context.Context, *client.Lease) error {
			t.Error("called without the lock")
			return nil
		}, client.TTL(time.Second), client.WithoutRenew())
		assert.False(t, ran)
		require.ErrorIs(t, err, client.ErrExpired)
	})
}

// Ensure that a wait for another's run ends with the context's error and cause, or with ErrClosed.
func TestOnce_EndOfWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		held, err := a.Lock(ctx, "report:once") // the run of an earlier tick
		require.NoError(t, err)
		bored := errors.New("bored")
		wait, cancel := context.WithCancelCause(ctx)
		errs := make(chan error, 1)
		once := func(ctx context.Context) {
			_, err := b.Once(ctx, "report", client.TickOf("1", time.Hour), nil)
			errs <- err
		}
		go once(wait)
		time.Sleep(time.Second)
		cancel(bored)
		err = <-errs
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, bored)
		go once(ctx)
		time.Sleep(time.Second)
		require.NoError(t, b.Close(ctx))
		require.ErrorIs(t, <-errs, client.ErrClosed)
		require.NoError(t, held.Unlock(ctx))
		time.Sleep(time.Second)
		nodes.assertClean(t, "report:once")
	})
}

// Ensure that names, ticks and periods outside the limits are refused.
func TestOnce_Refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 1)
		ctx := context.Background()
		c := nodes.client(t)
		good := client.TickOf("1", time.Minute)
		longest := strings.Repeat("x", 512-len(":tick:1"))
		for name, ticks := range map[string][]client.Tick{
			"": {good}, longest + "x": {good},
			"x": {{}, client.TickOf("", time.Hour), client.TickOf("1", time.Minute-1), client.Every(time.Second - 1), client.Every(0),
				client.Every(183*24*time.Hour + 1), client.Every(math.MaxInt64)},
		} {
			for _, tick := range ticks {
				_, err := c.Once(ctx, name, tick, nil)
				require.ErrorIs(t, err, client.ErrInvalid)
			}
		}
		done := func(context.Context, *client.Lease) error { return nil }
		for name, tick := range map[string]client.Tick{longest: good, "x": client.Every(time.Second), "y": client.Every(183 * 24 * time.Hour)} {
			ran, err := c.Once(ctx, name, tick, done)
			require.NoError(t, err)
			assert.True(t, ran)
		}
	})
}

// Ensure that what only one can have is not given out shared.
func TestShared_Refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 1)
		ctx := context.Background()
		c := nodes.client(t)
		_, err := c.Semaphore("pool", 2).Acquire(ctx, client.Shared())
		require.ErrorIs(t, err, client.ErrInvalid)
		_, err = c.Semaphore("pool", 2).TryAcquire(ctx, client.Shared())
		require.ErrorIs(t, err, client.ErrInvalid)
		_, err = c.Elect(ctx, "x", "v", client.Shared())
		require.ErrorIs(t, err, client.ErrInvalid)
		_, err = c.Once(ctx, "x", client.Every(time.Hour), nil, client.Shared())
		require.ErrorIs(t, err, client.ErrInvalid)
	})
}
