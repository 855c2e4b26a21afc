package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A testNode is a node of either kind.
type testNode struct {
	addr string
	rdb  *redis.Client // for the test to look at the node with
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// node makes a redlock.Node of it whose connections go through wrap, if that is not nil.
func (n testNode) node(t testing.TB, wrap func(net.Conn) net.Conn) redlock.Node {
	dial := n.dial
	if dial == nil {
		dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	}
	o := &redis.Options{Addr: n.addr, Protocol: 2, DisableIdentity: true, Dialer: dial}
	if wrap != nil {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return wrap(conn), nil
		}
	}
	rdb := redis.NewClient(o)
	t.Cleanup(func() { rdb.Close() })
	return client.NodeOf(rdb)
}

// cluster is what a test needs of its nodes.
type cluster []testNode

func (c cluster) url() string {
	var addrs []string
	for _, n := range c {
		addrs = append(addrs, n.addr)
	}
	return "redis://" + strings.Join(addrs, ",")
}

// client returns a client of all nodes, closed at the end of the test.
func (c cluster) client(t testing.TB, opts ...client.Option) *client.Client {
	t.Helper()
	var nodes []redlock.Node
	for _, n := range c {
		nodes = append(nodes, n.node(t, nil))
		if n.dial == nil {
			// A busy machine must not look like a node that hangs.
			opts = append([]client.Option{client.WithTimeout(10 * time.Second)}, opts...)
		}
	}
	return newClient(t, nodes, opts...)
}

func newClient(t testing.TB, nodes []redlock.Node, opts ...client.Option) *client.Client {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	cl, err := client.New(nodes, append([]client.Option{client.WithLogger(log)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		assert.NotErrorIs(t, cl.Close(ctx), context.DeadlineExceeded, "Close hangs")
	})
	return cl
}

// assertClean checks that nothing of a lock is left but its fence. Nodes on sockets are awaited: a majority is what
// an Unlock has waited for, and one that a busy machine keeps for longer than Close waits would look unclean. So it
// is called before Close, and the locks must be unlocked.
func (c cluster) assertClean(t testing.TB, names ...string) {
	t.Helper()
	ctx := context.Background()
	for _, name := range names {
		k := redlock.Keys(name)
		for _, n := range c {
			left, err := n.rdb.Exists(ctx, k.Lock, k.Holder, k.Waiters).Result()
			for began := time.Now(); n.dial == nil && left > 0 && time.Since(began) < 5*time.Second; {
				time.Sleep(time.Millisecond)
				left, err = n.rdb.Exists(ctx, k.Lock, k.Holder, k.Waiters).Result()
			}
			if assert.NoError(t, err) && left > 0 {
				keys, _ := n.rdb.Keys(ctx, "*").Result()
				t.Errorf("%d keys of %q left at %s: %v", left, name, n.addr, keys)
			}
		}
	}
}

// memoryNodes starts n of our nodes without sockets; they work inside a synctest bubble.
func memoryNodes(t testing.TB, n int, opts ...servertest.Option) (cluster, []*servertest.Node) {
	t.Helper()
	started := servertest.StartCluster(t, n, append(opts, servertest.InMemory())...)
	var c cluster
	for _, s := range started {
		rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), Dialer: s.Dial, Protocol: 2, DisableIdentity: true})
		t.Cleanup(func() { rdb.Close() })
		c = append(c, testNode{addr: s.Addr(), rdb: rdb, dial: s.Dial})
	}
	return c, started
}

// redisNodes starts n redis-server processes, which end with the test.
func redisNodes(t testing.TB, n int) cluster {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed")
		}
		t.Skip("redis-server is not installed")
	}
	var c cluster
	for range n {
		c = append(c, redisNode(t, path, freePort(t)))
	}
	return c
}

func redisNode(t testing.TB, path string, port int, args ...string) testNode {
	t.Helper()
	cmd := exec.Command(path, append([]string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "",
		"--appendonly", "no", "--dir", t.TempDir()}, args...)...)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	rdb := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	require.Eventually(t, func() bool { return rdb.Ping(context.Background()).Err() == nil },
		10*time.Second, 5*time.Millisecond, "redis-server on %s does not answer", addr)
	return testNode{addr: addr, rdb: rdb}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// onBoth runs a test on five of our nodes and on five redis-server processes.
func onBoth(t *testing.T, test func(t *testing.T, nodes cluster)) {
	t.Run("holdfast", func(t *testing.T) {
		var c cluster
		for _, s := range servertest.StartCluster(t, 5) {
			rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 2, DisableIdentity: true})
			t.Cleanup(func() { rdb.Close() })
			c = append(c, testNode{addr: s.Addr(), rdb: rdb})
		}
		test(t, c)
	})
	t.Run("redis", func(t *testing.T) { test(t, redisNodes(t, 5)) })
}
