package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/redlock"
	"github.com/holdfast-dev/holdfast/server"
)

// nodeVar makes the test binary a node on the port that it names.
const nodeVar = "HOLDFAST_SOAK_NODE"

// runNode is the process of a node. It ends when its standard input does, which is when the test has ended,
// however that was.
func runNode(port string) error {
	srv, err := server.New(server.Config{})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return srv.Serve(l)
}

// A fleet is the nodes.
type fleet struct {
	ports []int
	score *score

	mu       sync.Mutex
	nodes    []*exec.Cmd
	troubled []bool
}

func startFleet(t *testing.T, n int, s *score) *fleet {
	f := &fleet{ports: freePorts(t, n), score: s, nodes: make([]*exec.Cmd, n), troubled: make([]bool, n)}
	for i := range f.nodes {
		require.NoError(t, f.start(i))
	}
	t.Cleanup(func() {
		for i := range f.nodes {
			f.kill(i)
		}
	})
	return f
}

// start starts node i, with nothing in it, and returns when it answers.
func (f *fleet) start(i int) error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), nodeVar+"="+strconv.Itoa(f.ports[i]))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // kept open by cmd until Wait
		return err
	}
	// In a group of its own: a node that is stopped when the test is killed gets a signal that ends it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	f.mu.Lock()
	f.nodes[i] = cmd
	f.mu.Unlock()
	rdb := f.dial(i)
	defer rdb.Close()
	return within(20*time.Second, func() error { return rdb.Ping(context.Background()).Err() })
}

// kill ends node i as a power cut would.
func (f *fleet) kill(i int) {
	f.mu.Lock()
	cmd := f.nodes[i]
	f.nodes[i] = nil
	f.mu.Unlock()
	if cmd != nil {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

func (f *fleet) signal(i int, sig syscall.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cmd := f.nodes[i]; cmd != nil {
		cmd.Process.Signal(sig)
	}
}

// pids returns the nodes' processes.
func (f *fleet) pids() (pids []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, cmd := range f.nodes {
		if cmd != nil {
			pids = append(pids, cmd.Process.Pid)
		}
	}
	return pids
}

// trouble troubles nodes at random until ctx is done, never a majority at a time, and returns when all are
// well again. A node that was killed has forgotten its locks; it comes back when the last of them is over.
func (f *fleet) trouble(ctx context.Context, rng *rand.Rand) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	failed := make(chan error, len(f.nodes))
	for {
		select {
		case <-time.After(time.Second + rand.N(2*time.Second)):
		case err := <-failed:
			return err
		case <-ctx.Done():
			wg.Wait()
			select {
			case err := <-failed:
				return err
			default:
				return nil
			}
		}
		i := f.victim(rng)
		if i < 0 {
			continue
		}
		killed, pause := rng.IntN(3) > 0, 200*time.Millisecond+time.Duration(rng.IntN(2000))*time.Millisecond
		wg.Go(func() {
			defer f.well(i)
			if !killed {
				f.score.note("hung")
				f.signal(i, syscall.SIGSTOP)
				time.Sleep(pause)
				f.signal(i, syscall.SIGCONT)
				return
			}
			f.score.note("killed")
			f.kill(i)
			time.Sleep(ttl + redlock.DefaultDrift(ttl))
			if err := f.start(i); err != nil {
				failed <- fmt.Errorf("node %s does not come back: %w", f.addr(i), err)
			}
		})
	}
}

// victim chooses a node that is well, -1 if a minority is in trouble already.
func (f *fleet) victim(rng *rand.Rand) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, t := range f.troubled {
		if t {
			n++
		}
	}
	i := rng.IntN(len(f.nodes))
	if 2*(n+1) >= len(f.nodes) || f.troubled[i] {
		return -1
	}
	f.troubled[i] = true
	return i
}

func (f *fleet) well(i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.troubled[i] = false
}

func (f *fleet) addr(i int) string { return "127.0.0.1:" + strconv.Itoa(f.ports[i]) }

func (f *fleet) url() string {
	addrs := make([]string, len(f.ports))
	for i := range addrs {
		addrs[i] = f.addr(i)
	}
	return "redis://" + strings.Join(addrs, ",")
}

func (f *fleet) dial(i int) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: f.addr(i), MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second,
		ReadTimeout: 2 * time.Second, ContextTimeoutEnabled: true, DisableIdentity: true})
}

// leftovers says what is on node i beside what outlives its use by design: fences, and the sets of those who came
// to a barrier, a latch or a tick, which must have a ttl.
func (f *fleet) leftovers(i int) error {
	ctx := context.Background()
	rdb := f.dial(i)
	defer rdb.Close()
	keys, err1 := rdb.Keys(ctx, "*").Result()
	channels, err2 := rdb.PubSubChannels(ctx, "*").Result()
	clients, err3 := rdb.ClientList(ctx).Result()
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	var found []string
	for _, key := range keys {
		set := strings.HasSuffix(key, ":set") && rdb.TTL(ctx, key).Val() > 0
		if !set && !strings.HasSuffix(key, ":fence") {
			found = append(found, "key "+key)
		}
	}
	for _, channel := range channels {
		found = append(found, "channel "+channel)
	}
	if lines := strings.Split(strings.TrimSpace(clients), "\n"); len(lines) > 1 { // one is ours
		found = append(found, fmt.Sprintf("%d connections", len(lines)-1))
	}
	if len(found) > 0 {
		return fmt.Errorf("%d things left on node %s: %.500s", len(found), f.addr(i), strings.Join(found, ", "))
	}
	return nil
}

// within repeats check until it says nil or the time is over.
func within(d time.Duration, check func() error) error {
	for deadline := time.Now().Add(d); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// freePorts finds ports that nobody listens on, below the range that the system gives to outgoing connections:
// a node that is down must find its own port still free.
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
