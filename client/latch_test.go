package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// Ensure that a latch opens when enough different members were counted, for those who waited and for those who
// come later.
func TestLatch(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		opened := make(chan error, 1)
		go func() { opened <- b.Latch("ready").Wait(ctx, 3) }()
		for _, member := range []string{"one", "two", "two", "one"} {
			require.NoError(t, a.Latch("ready").CountDown(ctx, member))
		}
		members, err := b.Latch("ready").Members(ctx)
		require.NoError(t, err)
		assert.Equal(t, []string{"one", "two"}, members)
		assert.Empty(t, opened)
		require.NoError(t, b.Latch("ready").Wait(ctx, 2))
		require.NoError(t, b.Latch("ready").CountDown(ctx, "three"))
		require.NoError(t, <-opened)
		require.NoError(t, a.Latch("ready").Wait(ctx, 3))
	})
}

// Ensure that those who wait hear of the last member in a moment, that one whose messages are lost looks by itself,
// and that the latch is forgotten when its memory is over.
func TestLatch_Hears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		l := func(c *client.Client) *client.Latch { return c.Latch("x", client.Remember(10*time.Minute)) }
		opened := make(chan error, 1)
		go func() { opened <- l(b).Wait(ctx, 2) }()
		time.Sleep(time.Minute)
		require.NoError(t, l(a).CountDown(ctx, "one"))
		time.Sleep(time.Minute)
		assert.Empty(t, opened)
		began := time.Now()
		require.NoError(t, l(a).CountDown(ctx, "two"))
		require.NoError(t, <-opened)
		assert.Less(t, time.Since(began), shortly)

		go func() { opened <- l(b).Wait(ctx, 3) }()
		time.Sleep(time.Second)
		for _, n := range nodes {
			require.NoError(t, n.rdb.Do(ctx, "client", "kill", "type", "pubsub").Err())
		}
		began = time.Now()
		require.NoError(t, l(a).CountDown(ctx, "three"))
		require.NoError(t, <-opened)
		assert.LessOrEqual(t, time.Since(began), time.Second)

		time.Sleep(9 * time.Minute)
		require.NoError(t, l(a).Wait(ctx, 3))
		time.Sleep(2 * time.Minute)
		members, err := l(a).Members(ctx)
		require.NoError(t, err)
		assert.Empty(t, members)
	})
}

// Ensure that a member that was counted while a minority was away is seen by those who can only ask another
// majority.
func TestLatch_Majority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		var v, w valve
		all := append(v.nodes(t, nodes[:2]), w.nodes(t, nodes[2:4])...)
		c := newClient(t, append(all, nodes[4].node(t, nil)))
		v.shut(true)
		require.NoError(t, c.Latch("x").CountDown(ctx, "one"))
		v.shut(false)
		w.shut(true)
		time.Sleep(5 * time.Second)
		require.NoError(t, c.Latch("x").Wait(ctx, 1))
		v.shut(true)
		_, err := c.Latch("x").Members(ctx)
		require.ErrorIs(t, err, client.ErrQuorum)
		require.ErrorIs(t, c.Latch("x").Wait(ctx, 1), client.ErrQuorum)
		require.ErrorIs(t, c.Latch("x").CountDown(ctx, "two"), client.ErrQuorum)
	})
}

// Ensure that a wait ends with the context's error and cause, or with ErrClosed, and leaves no subscription.
func TestLatch_EndOfWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		c := nodes.client(t)
		bored := errors.New("bored")
		ctx, cancel := context.WithCancelCause(context.Background())
		errs := make(chan error, 1)
		go func() { errs <- c.Latch("x").Wait(ctx, 1) }()
		time.Sleep(time.Second)
		cancel(bored)
		err := <-errs
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, bored)
		var waited *client.WaitError
		require.ErrorAs(t, err, &waited)
		assert.Contains(t, err.Error(), `waiting for latch "x"`)
		time.Sleep(time.Second)
		for _, n := range nodes {
			list, err := n.rdb.PubSubChannels(context.Background(), "holdfast:change:*").Result()
			require.NoError(t, err)
			assert.Empty(t, list)
		}
		go func() { errs <- c.Latch("x").Wait(context.Background(), 1) }()
		time.Sleep(time.Second)
		require.NoError(t, c.Close(context.Background()))
		require.ErrorIs(t, <-errs, client.ErrClosed)
		require.ErrorIs(t, c.Latch("x").Wait(context.Background(), 1), client.ErrClosed)
		require.ErrorIs(t, c.Latch("x").CountDown(context.Background(), "one"), client.ErrClosed)
	})
}

// Ensure that whatever a latch is asked ends with the context's error and its cause, not with one of them.
func TestLatch_KeepsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		l := nodes.client(t).Latch("x")
		bored := errors.New("bored")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(bored)
		_, err := l.Members(ctx)
		for what, err := range map[string]error{"members": err, "count": l.CountDown(ctx, "m"), "wait": l.Wait(ctx, 1)} {
			assert.ErrorIs(t, err, bored, what)
			assert.ErrorIs(t, err, context.Canceled, what)
		}
	})
}

// Ensure that names, members, numbers and times outside the limits are refused.
func TestLatch_Refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 1)
		ctx := context.Background()
		c := nodes.client(t)
		longest := strings.Repeat("x", 512-len(":latch"))
		for _, err := range []error{
			c.Latch("").CountDown(ctx, "m"), c.Latch("").Wait(ctx, 1), c.Latch(longest+"x").CountDown(ctx, "m"),
			c.Latch("x").CountDown(ctx, ""), c.Latch("x").CountDown(ctx, strings.Repeat("m", 257)),
			c.Latch("x").Wait(ctx, 0), c.Latch("x").Wait(ctx, redlock.MaxMembers+1), c.Latch("x", client.Remember(0)).CountDown(ctx, "m"),
			c.Barrier("", 1).Await(ctx, "g", "p"), c.Barrier("x", 0).Await(ctx, "g", "p"), c.Barrier("x", redlock.MaxMembers+1).Await(ctx, "g", "p"),
			c.Barrier("x", 1).Await(ctx, "", "p"), c.Barrier("x", 1).Await(ctx, "g", ""),
		} {
			require.ErrorIs(t, err, client.ErrInvalid)
		}
		_, err := c.Latch("").Members(ctx)
		require.ErrorIs(t, err, client.ErrInvalid)
		_, err = c.Barrier("", 1).Parties(ctx, "g")
		require.ErrorIs(t, err, client.ErrInvalid)
		require.NoError(t, c.Latch(longest).CountDown(ctx, strings.Repeat("m", 256)))
		require.NoError(t, c.Latch(longest).Wait(ctx, 1))
		brief, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		require.ErrorIs(t, c.Latch(longest).Wait(brief, redlock.MaxMembers), context.DeadlineExceeded)
		require.ErrorIs(t, c.Barrier("x", redlock.MaxMembers).Await(brief, "g", "p"), context.DeadlineExceeded)
	})
}

// Ensure that the parties of a barrier go on together, in each generation anew, and that one that comes once more
// finds it open.
func TestBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		clients := []*client.Client{nodes.client(t), nodes.client(t), nodes.client(t)}
		for _, generation := range []string{"1", "2"} {
			passed := make(chan error, 3)
			for i, c := range clients {
				assert.Empty(t, passed)
				go func() { passed <- c.Barrier("phase", 3).Await(ctx, generation, fmt.Sprint("party ", i)) }()
				time.Sleep(time.Minute)
			}
			require.Len(t, passed, 3)
			for range 3 {
				require.NoError(t, <-passed)
			}
			require.NoError(t, clients[0].Barrier("phase", 3).Await(ctx, generation, "party 0"))
			parties, err := clients[0].Barrier("phase", 3).Parties(ctx, generation)
			require.NoError(t, err)
			assert.Equal(t, []string{"party 0", "party 1", "party 2"}, parties)
		}
	})
}

// Ensure that a party that gives up keeps the context's error, and has come nevertheless.
func TestBarrier_GivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		c := nodes.client(t)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := c.Barrier("phase", 2).Await(ctx, "1", "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Contains(t, err.Error(), `waiting for barrier "phase"`)
		require.NoError(t, c.Barrier("phase", 2).Await(context.Background(), "1", "b"))
	})
}
