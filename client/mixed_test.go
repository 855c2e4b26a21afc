package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/clock/clocktest"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// Ensure that redsync and this client exclude each other on one name, whoever holds it.
func TestRedsync(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		c, rs := nodes.client(t), nodes.redsync(t)

		l, err := c.Lock(ctx, "shared")
		require.NoError(t, err)
		require.Error(t, rs.NewMutex("shared", redsync.WithTries(1)).LockContext(ctx), "we hold it")
		require.NoError(t, l.Unlock(ctx))

		m := rs.NewMutex("shared", redsync.WithTries(100), redsync.WithRetryDelay(5*time.Millisecond))
		require.NoError(t, m.LockContext(ctx))
		_, err = c.TryLock(ctx, "shared")
		var held *client.HeldError
		require.ErrorAs(t, err, &held, "redsync holds it")
		assert.False(t, held.Recorded)
		got := make(chan *client.Lease)
		go func() {
			l, _ := c.Lock(ctx, "shared")
			got <- l
		}()
		_, err = m.UnlockContext(ctx)
		require.NoError(t, err)
		l = <-got
		require.NotNil(t, l)
		require.NoError(t, l.Unlock(ctx))
	})
}

// Ensure that a counter that both kinds of clients add to under one name loses no addition.
func TestRedsync_Counter(t *testing.T) {
	const rounds, each = 15, 4
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		c, rs := nodes.client(t), nodes.redsync(t)
		counter := 0
		var wg sync.WaitGroup
		for range each {
			wg.Go(func() {
				for range rounds {
					assert.NoError(t, c.Do(ctx, "count", func(context.Context, *client.Lease) error {
						counter++
						return nil
					}))
				}
			})
			wg.Go(func() {
				for range rounds {
					m := rs.NewMutex("count", redsync.WithTries(100000), redsync.WithRetryDelay(2*time.Millisecond))
					if assert.NoError(t, m.LockContext(ctx)) {
						counter++
						_, err := m.UnlockContext(ctx)
						assert.NoError(t, err)
					}
				}
			})
		}
		wg.Wait()
		assert.Equal(t, 2*each*rounds, counter)
		require.NoError(t, c.Close(ctx))
	})
}

// Ensure that a node whose scripts were flushed is used on, in order.
func TestLock_ScriptFlush(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		c := nodes.client(t)
		for range 3 {
			l, err := c.Lock(ctx, "x")
			require.NoError(t, err)
			for _, n := range nodes {
				require.NoError(t, n.rdb.ScriptFlush(ctx).Err())
			}
			require.NoError(t, l.Unlock(ctx))
		}
		nodes.assertClean(t, "x")
		require.NoError(t, c.Close(ctx))
	})
}

// Ensure that user, password, ACL and database are used, and that a node that refuses them says so.
func TestOpen_Credentials(t *testing.T) {
	ctx := context.Background()
	nodes := redisNodes(t, 3)
	for _, n := range nodes {
		require.NoError(t, n.rdb.Do(ctx, "acl", "setuser", "locker", "on", ">s3cret", "~*", "&*", "-@all",
			"+hello", "+auth", "+select", "+evalsha", "+script|load", "+@read", "+@write", "+@pubsub", "+ping", "+time").Err())
	}
	hosts := strings.TrimPrefix(nodes.url(), "redis://")
	c, err := client.Open("redis://locker:s3cret@" + hosts + "/5")
	require.NoError(t, err)
	l, err := c.Lock(ctx, "x")
	require.NoError(t, err)
	in5 := redis.NewClient(&redis.Options{Addr: nodes[0].addr, DB: 5})
	defer in5.Close()
	require.Eventually(t, func() bool { return in5.Exists(ctx, "x").Val() == 1 }, 5*time.Second, time.Millisecond)
	list, err := c.List(ctx, "")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, l.Unlock(ctx))
	require.NoError(t, c.Close(ctx))

	c, err = client.Open("redis://locker:wrong@" + hosts)
	require.NoError(t, err)
	defer c.Close(ctx)
	_, err = c.TryLock(ctx, "x")
	require.ErrorIs(t, err, client.ErrQuorum)
	require.ErrorContains(t, err, "WRONGPASS")
	assert.NotContains(t, err.Error(), "wrong@")
}

// Ensure that List finds what is held under a prefix, whatever characters are in the names, and nothing else.
func TestList(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		c := nodes.client(t, client.WithOwner("anna"))
		names := []string{"a*c/1", "a*c/{tag}2", "a*c/}3{", "abc/4", "a*c", "{a*c/}5", "a*c/ü \n6", "{a*c/1}"}
		for _, name := range names {
			_, err := c.Lock(ctx, name)
			require.NoError(t, err)
		}
		gone, err := c.Lock(ctx, "a*c/gone")
		require.NoError(t, err)
		require.NoError(t, gone.Unlock(ctx))
		list, err := c.List(ctx, "a*c/")
		require.NoError(t, err)
		var got []string
		for _, s := range list {
			got = append(got, s.Name)
			assert.Equal(t, "anna", s.Holder.Label)
			assert.Positive(t, s.Holder.Remaining)
		}
		assert.Equal(t, []string{"a*c/1", "a*c/{tag}2", "a*c/}3{", "a*c/ü \n6"}, got)
		all, err := c.List(ctx, "")
		require.NoError(t, err)
		assert.Len(t, all, len(names))
		h := c.Health(ctx)
		assert.True(t, h.Quorum)
		for _, n := range h.Nodes {
			assert.NoError(t, n.Err)
			assert.Positive(t, n.Latency)
		}
	})
}

// Ensure that List finds what is held shared, once, whoever holds it.
func TestList_Shared(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		c := nodes.client(t)
		for _, name := range []string{"a/read", "a/read", "a/{tag}read", "b/read"} {
			_, err := c.RLock(ctx, name)
			require.NoError(t, err)
		}
		_, err := c.Lock(ctx, "a/written")
		require.NoError(t, err)
		list, err := c.List(ctx, "a/")
		require.NoError(t, err)
		got := make(map[string]int)
		for _, s := range list {
			got[s.Name] = len(s.Readers)
		}
		assert.Equal(t, map[string]int{"a/read": 2, "a/{tag}read": 1, "a/written": 0}, got)
	})
}

// Ensure that a process that is stopped in the middle of its work learns, when it goes on, that its lease is
// over, before it could write: the clock tells it, whatever its goroutines had time to do.
func TestLease_StoppedProcess(t *testing.T) {
	const helper = "HOLDFAST_TEST_HOLDER"
	if url := os.Getenv(helper); url != "" {
		holdUntilAsked(url, 500*time.Millisecond)
		os.Exit(0)
	}
	ctx := context.Background()
	nodes := redisNodes(t, 3)
	cmd := exec.Command(os.Args[0], "-test.run=^TestLease_StoppedProcess$")
	cmd.Env = append(os.Environ(), helper+"="+nodes.url())
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan())
	var stale int64
	_, err = fmt.Sscanf(lines.Text(), "token %d", &stale)
	require.NoError(t, err, lines.Text())
	require.NoError(t, cmd.Process.Signal(syscall.SIGSTOP))

	l, err := nodes.client(t).Lock(ctx, "x")
	require.NoError(t, err)
	assert.Greater(t, l.Token(), stale)
	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	fmt.Fprintln(stdin, "go on")
	require.True(t, lines.Scan())
	assert.Equal(t, "lost", lines.Text())
	require.NoError(t, l.Err())
	require.NoError(t, l.Unlock(ctx))
}

// Ensure that a lease of another process lives on, and is renewed, while the wall clocks of the nodes alone jump by
// an hour in both directions.
func TestLease_NodeClocksJump(t *testing.T) {
	const helper = "HOLDFAST_TEST_STEADY_HOLDER"
	if url := os.Getenv(helper); url != "" {
		holdUntilAsked(url, 6*time.Second)
		os.Exit(0)
	}
	ctx := context.Background()
	var addrs []string
	var nodes []*redis.Client
	for _, n := range servertest.StartCluster(t, 3) {
		rdb := redis.NewClient(&redis.Options{Addr: n.Addr(), Protocol: 2, DisableIdentity: true})
		t.Cleanup(func() { rdb.Close() })
		addrs, nodes = append(addrs, n.Addr()), append(nodes, rdb)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLease_NodeClocksJump$")
	cmd.Env = append(os.Environ(), helper+"=redis://"+strings.Join(addrs, ","))
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), "token ")

	for _, step := range []time.Duration{time.Hour, -2 * time.Hour} {
		clocktest.StepWall(t, step)
		left, renewed := make([]time.Duration, len(nodes)), make([]bool, len(nodes))
		for i, n := range nodes {
			left[i] = n.PTTL(ctx, "x").Val()
		}
		require.Eventually(t, func() bool {
			for i, n := range nodes {
				now := n.PTTL(ctx, "x").Val()
				renewed[i] = renewed[i] || now > left[i] && now <= 6*time.Second
				left[i] = now
			}
			return !slices.Contains(renewed, false)
		}, aWhile, 10*time.Millisecond, "it is renewed everywhere, and has the ttl that it asked for")
		fmt.Fprintln(stdin, "and now?")
		require.True(t, lines.Scan())
		require.Equal(t, "held", lines.Text())
	}
}

// holdUntilAsked is the other process: it takes the lock, and tells its state for each line that it reads.
func holdUntilAsked(url string, ttl time.Duration) {
	c, err := client.Open(url)
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := c.Lock(context.Background(), "x", client.TTL(ttl))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("token", l.Token())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch err := l.Err(); {
		case err == nil:
			fmt.Println("held")
		case errors.Is(err, client.ErrExpired), errors.Is(err, client.ErrStolen), errors.Is(err, client.ErrQuorum):
			fmt.Println("lost")
		default:
			fmt.Println(err)
		}
	}
}
