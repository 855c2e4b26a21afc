package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/redlock"
)

// A nodeKind says how to run a node of one kind on a port of 127.0.0.1, without a trace on disk.
type nodeKind struct {
	name    string
	command func(t *testing.T, port int) []string
}

var (
	holdfastServer = nodeKind{"holdfast server", func(t *testing.T, port int) []string {
		return []string{holdfast(t), "server", "--bind", "127.0.0.1", "--port", strconv.Itoa(port)}
	}}
	redisServer = nodeKind{"redis-server", func(t *testing.T, port int) []string {
		return []string{redis7(t), "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no"}
	}}
)

// redis7 finds redis-server, version 7 or later, or skips the test.
func redis7(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed")
	}
	out, err := exec.Command(path, "--version").Output()
	require.NoError(t, err)
	version := regexp.MustCompile(`v=(\d+)`).FindStringSubmatch(string(out))
	require.Len(t, version, 2, "%s", out)
	if major, _ := strconv.Atoi(version[1]); major < 7 {
		t.Skipf("redis-server %d is too old, 7 is needed", major)
	}
	return path
}

// A fleet is the nodes of one run.
type fleet struct {
	kind  nodeKind
	dir   string
	ports []int
	nodes []*process
}

func startFleet(t *testing.T, dir string, kind nodeKind, n int) *fleet {
	t.Helper()
	f := &fleet{kind: kind, dir: dir, ports: freePorts(t, n), nodes: make([]*process, n)}
	for i := range f.nodes {
		f.start(t, i)
	}
	return f
}

// start starts node i, with nothing in it, and returns when it answers. Contenders may already have found it.
func (f *fleet) start(t *testing.T, i int) {
	t.Helper()
	f.nodes[i] = start(t, f.dir, fmt.Sprintf("node%d", i+1), nil, nil, f.kind.command(t, f.ports[i])...)
	rdb := f.dial(i)
	defer rdb.Close()
	until(t, 10*time.Second, "node "+f.addr(i)+" does not answer", func() error {
		return rdb.Ping(context.Background()).Err()
	})
}

func (f *fleet) addr(i int) string { return "127.0.0.1:" + strconv.Itoa(f.ports[i]) }

// list is what --nodes takes.
func (f *fleet) list() string {
	addrs := make([]string, len(f.ports))
	for i := range addrs {
		addrs[i] = f.addr(i)
	}
	return strings.Join(addrs, ",")
}

func (f *fleet) dial(i int) *redis.Client { return dial(f.addr(i)) }

func dial(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second,
		ReadTimeout: 2 * time.Second, ContextTimeoutEnabled: true, DisableIdentity: true})
}

// requireNothingLeft checks that nothing of the lock name is left on any node but its fence, which outlives
// the lock by design, and that nobody listens any more. What was sent as a process ended may need a moment.
func (f *fleet) requireNothingLeft(t *testing.T, name string) {
	t.Helper()
	for i := range f.nodes {
		rdb := f.dial(i)
		defer rdb.Close()
		until(t, 2*time.Second, "left on node "+f.addr(i), func() error { return leftovers(rdb, name) })
		n, err := rdb.Exists(context.Background(), redlock.Keys(name).Fence).Result()
		require.NoError(t, err)
		assert.EqualValues(t, 1, n, "node %s has no fence: nothing was locked there at all", f.addr(i))
	}
}

func leftovers(rdb *redis.Client, name string) error {
	ctx := context.Background()
	keys, err := rdb.Keys(ctx, "*").Result()
	if err != nil {
		return err
	}
	var found []string
	for _, key := range keys {
		if key != redlock.Keys(name).Fence {
			found = append(found, "key "+key)
		}
	}
	channels, err1 := rdb.PubSubChannels(ctx, "*").Result()
	patterns, err2 := rdb.PubSubNumPat(ctx).Result()
	clients, err3 := rdb.ClientList(ctx).Result()
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	for _, channel := range channels {
		found = append(found, "channel "+channel)
	}
	if patterns > 0 {
		found = append(found, fmt.Sprintf("%d patterns", patterns))
	}
	for _, line := range strings.Split(strings.TrimSpace(clients), "\n") {
		if !strings.Contains(line, " sub=0 psub=0 ") {
			found = append(found, "subscriber "+line)
		}
	}
	if len(found) > 0 {
		return errors.New(strings.Join(found, ", "))
	}
	return nil
}

// freePorts finds ports that nobody listens on. They are below the range that the system gives to outgoing
// connections: a node that is down for ten seconds must find its own port still free, and a connection to
// it must be refused, not answered by itself.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for try := 0; len(ports) < n; try++ {
		require.Less(t, try, 1000, "no free ports")
		port := 10000 + rand.IntN(20000)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		defer l.Close() // only at the end, so that no port is found twice
		ports = append(ports, port)
	}
	return ports
}
