package client_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// observing runs a loop over Observe and returns what it yields; the error that ends it comes last.
func observing(c *client.Client, ctx context.Context, name string) (<-chan client.Leader, <-chan error) {
	news, end := make(chan client.Leader, 100), make(chan error, 1)
	go func() {
		for leader, err := range c.Observe(ctx, name) {
			if err != nil {
				end <- err
				return
			}
			news <- leader
		}
		end <- errors.New("the loop ended without an error")
	}()
	return news, end
}

// Ensure that observers see who leads with what value, that nobody does after it resigned, and then the next.
func TestElect(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		a, b, c := nodes.client(t), nodes.client(t), nodes.client(t)
		news, end := observing(c, ctx, "scheduler")
		assert.True(t, (<-news).Vacant())

		first, err := a.Elect(ctx, "scheduler", "10.0.0.1:80", client.Owner("anna"))
		require.NoError(t, err)
		assert.Equal(t, "10.0.0.1:80", first.Value())
		leader := <-news
		assert.False(t, leader.Vacant())
		assert.Equal(t, "scheduler", leader.Name)
		assert.Equal(t, "10.0.0.1:80", leader.Value)
		assert.Equal(t, "anna", leader.Owner)
		assert.Positive(t, leader.Token)

		won := make(chan *client.Leadership, 1)
		go func() {
			l, _ := b.Elect(ctx, "scheduler", "10.0.0.2:80")
			won <- l
		}()
		require.Eventually(t, func() bool {
			s, err := c.Inspect(ctx, "scheduler")
			return err == nil && s.Waiting > 0
		}, 10*time.Second, time.Millisecond)
		require.NoError(t, first.Resign(ctx))
		second := <-won
		require.NotNil(t, second)
		assert.Greater(t, second.Token(), first.Token())
		for leader = <-news; leader.Vacant(); leader = <-news { // it may be too short to be seen
			assert.Zero(t, leader.Token)
			assert.Empty(t, leader.Value)
		}
		assert.Equal(t, "10.0.0.2:80", leader.Value)
		require.NoError(t, second.Resign(ctx))
		assert.True(t, (<-news).Vacant())
		cancel()
		require.ErrorIs(t, <-end, context.Canceled)
		nodes.assertClean(t, "scheduler")
		for _, cl := range []*client.Client{a, b, c} {
			require.NoError(t, cl.Close(context.Background()))
		}
	})
}

// Ensure that observers hear of a change in a moment, and of the end of a leader that died when its ttl is over.
func TestObserve_Hears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		news, _ := observing(b, ctx, "x")
		require.True(t, (<-news).Vacant())
		time.Sleep(3 * time.Second)

		began := time.Now()
		l, err := a.Elect(ctx, "x", "first")
		require.NoError(t, err)
		assert.Equal(t, "first", (<-news).Value)
		assert.Less(t, time.Since(began), shortly)

		time.Sleep(time.Minute)
		assert.Empty(t, news, "a renewal is no change")
		began = time.Now()
		require.NoError(t, l.Resign(ctx))
		assert.True(t, (<-news).Vacant())
		assert.Less(t, time.Since(began), shortly)

		began = time.Now()
		_, err = a.Elect(ctx, "x", "second", client.WithoutRenew(), client.TTL(7*time.Second))
		require.NoError(t, err)
		assert.Equal(t, "second", (<-news).Value)
		require.NoError(t, a.Detach(ctx))
		assert.True(t, (<-news).Vacant())
		assert.InDelta(t, 7*time.Second, time.Since(began), float64(100*time.Millisecond))
	})
}

// Ensure that an observer whose subscriptions are lost looks for itself, and hears again once they are back.
func TestObserve_LostSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		news, _ := observing(b, ctx, "x")
		require.True(t, (<-news).Vacant())
		time.Sleep(time.Second)
		for _, n := range nodes {
			require.NoError(t, n.rdb.Do(ctx, "client", "kill", "type", "pubsub").Err())
		}
		began := time.Now()
		l, err := a.Elect(ctx, "x", "first") // its announcements reach nobody
		require.NoError(t, err)
		assert.Equal(t, "first", (<-news).Value)
		assert.LessOrEqual(t, time.Since(began), time.Second)
		time.Sleep(10 * time.Second)
		began = time.Now()
		require.NoError(t, l.Resign(ctx))
		assert.True(t, (<-news).Vacant())
		assert.Less(t, time.Since(began), shortly)
	})
}

// Ensure that a loop ends with the context's error and cause, and with ErrClosed when the client is closed; that
// a loop which does not come back does not keep Close; and that a bad name is refused.
func TestObserve_Ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		c := nodes.client(t)
		bored := errors.New("bored")
		ctx, cancel := context.WithCancelCause(context.Background())
		news, end := observing(c, ctx, "x")
		<-news
		time.Sleep(time.Second)
		cancel(bored)
		err := <-end
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, bored)

		_, end = observing(c, context.Background(), "")
		require.ErrorIs(t, <-end, client.ErrInvalid)

		news, end = observing(c, context.Background(), "x")
		<-news
		stuck := make(chan struct{})
		go func() {
			for range c.Observe(context.Background(), "x") {
				<-stuck
			}
			stuck <- struct{}{}
		}()
		time.Sleep(time.Second)
		require.NoError(t, c.Close(context.Background()))
		require.ErrorIs(t, <-end, client.ErrClosed)
		stuck <- struct{}{}
		stuck <- struct{}{} // for the error
		<-stuck
		_, end = observing(c, context.Background(), "x")
		require.ErrorIs(t, <-end, client.ErrClosed)
	})
}

// Ensure that observers, candidates and waiters of one client share one subscription per node, and that a
// channel is given up with its last observer.
func TestObserve_OneSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx, cancel := context.WithCancel(context.Background())
		a, b := nodes.client(t), nodes.client(t)
		held, err := a.Elect(ctx, "x", "v")
		require.NoError(t, err)
		got := waiting(t, b, ctx, "x")
		for _, name := range []string{"x", "x", "y", "z"} {
			news, _ := observing(b, ctx, name)
			<-news
		}
		time.Sleep(time.Second)
		subscriptions := func(channels int) {
			for _, n := range nodes {
				list, err := n.rdb.PubSubChannels(ctx, "*").Result()
				require.NoError(t, err)
				assert.Len(t, list, channels)
				clients, err := n.rdb.ClientList(ctx).Result()
				require.NoError(t, err)
				assert.Equal(t, 1, strings.Count(clients, "cmd=subscribe"), clients)
			}
		}
		subscriptions(4) // the client's own for wake-ups, x, y, z
		cancel()
		<-got
		ctx = context.Background()
		time.Sleep(time.Second)
		for _, n := range nodes {
			list, err := n.rdb.PubSubChannels(ctx, "*").Result()
			require.NoError(t, err)
			assert.Len(t, list, 1)
		}
		news, _ := observing(b, ctx, "x") // and can be had again
		assert.Equal(t, "v", (<-news).Value)
		time.Sleep(time.Second)
		began := time.Now()
		require.NoError(t, held.Resign(ctx))
		assert.True(t, (<-news).Vacant())
		assert.Less(t, time.Since(began), shortly)
	})
}

// Ensure that what is left of an earlier leader, at however many nodes, is not reported after a later one.
func TestObserve_NeverBackwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		old, err := a.Elect(ctx, "x", "old")
		require.NoError(t, err)
		time.Sleep(time.Second)
		k := redlock.Keys("x")
		lock, record := nodes[0].rdb.Get(ctx, k.Lock).Val(), nodes[0].rdb.Get(ctx, k.Holder).Val()
		require.NoError(t, old.Resign(ctx))
		news, _ := observing(b, ctx, "x")
		assert.True(t, (<-news).Vacant())
		next, err := a.Elect(ctx, "x", "new")
		require.NoError(t, err)
		assert.Equal(t, "new", (<-news).Value)
		require.NoError(t, next.Resign(ctx))
		assert.True(t, (<-news).Vacant())
		for _, n := range nodes { // as a heal would do that was under way for very long
			require.NoError(t, n.rdb.Set(ctx, k.Lock, lock, 15*time.Second).Err())
			require.NoError(t, n.rdb.Set(ctx, k.Holder, record, 15*time.Second).Err())
		}
		state, err := b.Inspect(ctx, "x")
		require.NoError(t, err)
		require.Equal(t, "old", state.Holder.Meta)
		time.Sleep(30 * time.Second)
		assert.Empty(t, news)
		newest, err := a.Elect(ctx, "x", "newest")
		require.NoError(t, err)
		assert.Equal(t, "newest", (<-news).Value)
		require.NoError(t, newest.Resign(ctx))
	})
}

// Ensure that a leader that a majority has, one node of which does not answer, is not reported as gone.
func TestObserve_BareMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, started := memoryNodes(t, 5)
		ctx := context.Background()
		a, b := nodes.client(t), nodes.client(t)
		l, err := a.Elect(ctx, "x", "v", client.WithoutRenew(), client.TTL(30*time.Second))
		require.NoError(t, err)
		news, _ := observing(b, ctx, "x")
		assert.Equal(t, "v", (<-news).Value)
		time.Sleep(time.Second)
		for _, n := range nodes[3:] {
			require.NoError(t, n.rdb.Del(ctx, "x").Err())
		}
		started[2].Stop()
		time.Sleep(20 * time.Second)
		require.NoError(t, l.Err())
		assert.Empty(t, news)
		<-l.Context().Done()
		assert.True(t, (<-news).Vacant())
		started[2].Restart()
	})
}

// Ensure that a user who may not hear of changes still waits for locks as ever, and observes by looking.
func TestObserve_MayNotSubscribe(t *testing.T) {
	nodes := redisNodes(t, 3)
	ctx := context.Background()
	var limited []redlock.Node
	for _, n := range nodes {
		require.NoError(t, n.rdb.Do(ctx, "acl", "setuser", "limited", "on", "nopass", "~*", "+@all",
			"resetchannels", "&holdfast:wake:*").Err())
		rdb := redis.NewClient(&redis.Options{Addr: n.addr, Protocol: 2, DisableIdentity: true, Username: "limited", Password: "x"})
		t.Cleanup(func() { rdb.Close() })
		limited = append(limited, client.NodeOf(rdb))
	}
	var log bytes.Buffer
	b := newClient(t, limited, client.WithTimeout(time.Second), client.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	a := nodes.client(t, client.WithTTL(time.Minute))
	news, _ := observing(b, ctx, "x")
	assert.True(t, (<-news).Vacant())
	l, err := a.Elect(ctx, "x", "v")
	require.NoError(t, err)
	assert.Equal(t, "v", (<-news).Value)

	got := make(chan *client.Lease, 1)
	go func() {
		l, _ := b.Lock(ctx, "x")
		got <- l
	}()
	require.Eventually(t, func() bool {
		s, err := a.Inspect(ctx, "x")
		return err == nil && s.Waiting > 0
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, l.Resign(ctx))
	next := <-got
	require.NotNil(t, next)
	require.NoError(t, next.Unlock(ctx))
	require.NoError(t, b.Close(ctx))
	assert.NotContains(t, log.String(), "lost the wake-up subscription")
}
