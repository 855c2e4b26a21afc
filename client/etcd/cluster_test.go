package etcd_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/client/etcd"
)

// shared is the member that all tests use that do it no harm; each has lock names of its own.
var shared struct {
	once sync.Once
	*member
}

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8") // the parallel tests wait for leases to end, most of the time
	code := m.Run()
	if shared.member != nil {
		shared.kill()
		os.RemoveAll(shared.dir)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// A member is an etcd process, of a cluster of its own or of several.
type member struct {
	name       string
	dir        string
	addr, peer string
	all        string // --initial-cluster
	cmd        *exec.Cmd
}

// startMember starts a member that the test may kill and pause.
func startMember(t *testing.T) *member {
	m, err := newMember(t)
	require.NoError(t, err)
	t.Cleanup(func() {
		m.kill()
		os.RemoveAll(m.dir)
	})
	return m
}

func newMember(t *testing.T) (*member, error) {
	all, err := newMembers(t, 1)
	if err != nil {
		return nil, err
	}
	return all[0], all[0].start()
}

// newMembers makes members of one cluster, which have to be started.
func newMembers(t *testing.T, n int) ([]*member, error) {
	if _, err := exec.LookPath("etcd"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("etcd is not installed (Debian: etcd-server)")
		}
		t.Skip("etcd is not installed (Debian: etcd-server)")
	}
	parent := ""
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		parent = "/dev/shm" // its log in memory: these are no tests of a disk
	}
	var members []*member
	var all []string
	for i := range n {
		dir, err := os.MkdirTemp(parent, "holdfast-etcd-")
		if err != nil {
			return nil, err
		}
		m := &member{name: fmt.Sprintf("m%d", i), dir: dir, addr: freeAddr(t), peer: freeAddr(t)}
		members = append(members, m)
		all = append(all, m.name+"=http://"+m.peer)
	}
	for _, m := range members {
		m.all = strings.Join(all, ",")
	}
	return members, nil
}

// startCluster starts a cluster whose members the test may kill.
func startCluster(t *testing.T, n int) []*member {
	members, err := newMembers(t, n)
	require.NoError(t, err)
	var started sync.WaitGroup
	for _, m := range members {
		started.Go(func() { assert.NoError(t, m.start()) })
		t.Cleanup(func() {
			m.kill()
			os.RemoveAll(m.dir)
		})
	}
	started.Wait()
	return members
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// start starts the process, again if it was killed, and waits until it serves.
func (m *member) start() error {
	// With an election after 300 ms, etcd grants a ttl of a second.
	m.cmd = exec.Command("etcd", "--name", m.name, "--data-dir", filepath.Join(m.dir, "data"), "--log-level", "error", "--logger", "zap",
		"--heartbeat-interval", "30", "--election-timeout", "300",
		"--listen-client-urls", "http://"+m.addr, "--advertise-client-urls", "http://"+m.addr,
		"--listen-peer-urls", "http://"+m.peer, "--initial-advertise-peer-urls", "http://"+m.peer,
		"--initial-cluster", m.all)
	m.cmd.Env = append(os.Environ(), "ETCD_UNSUPPORTED_ARCH="+runtime.GOARCH) // it wants to be told that one knows
	m.cmd.SysProcAttr = dieWithTest()
	if err := m.cmd.Start(); err != nil {
		return err
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{m.addr}, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		once, stop := context.WithTimeout(ctx, time.Second)
		_, err := c.Get(once, "up")
		stop()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

func (m *member) kill() {
	m.cmd.Process.Kill()
	m.cmd.Wait()
}

// pause stops the process, and returns when it has stopped.
func (m *member) pause(t *testing.T) {
	require.NoError(t, m.cmd.Process.Signal(syscall.SIGSTOP))
	var status syscall.WaitStatus
	_, err := syscall.Wait4(m.cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
	require.NoError(t, err)
	require.True(t, status.Stopped())
}

func (m *member) resume() { m.cmd.Process.Signal(syscall.SIGCONT) }

// dial returns an etcd client of an address.
func dial(t *testing.T, addr string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// lab returns the shared member's etcd client, and a name that is the test's alone.
func lab(t *testing.T) (*clientv3.Client, string) {
	t.Helper()
	var err error
	shared.once.Do(func() { shared.member, err = newMember(t) })
	require.NoError(t, err)
	if shared.member == nil {
		t.Skip("etcd is not installed (Debian: etcd-server)")
	}
	return dial(t, shared.addr), t.Name()
}

// locksOf returns a lock client with a connection of its own.
func locksOf(t *testing.T, addr string, opts ...etcd.Option) *etcd.Client {
	t.Helper()
	return newLocks(t, dial(t, addr), opts...)
}

func newLocks(t *testing.T, c *clientv3.Client, opts ...etcd.Option) *etcd.Client {
	t.Helper()
	locks, err := etcd.New(c, opts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		locks.Close(ctx)
	})
	return locks
}

// keys returns how many keys etcd has under the default prefix for names that begin with prefix.
func keys(t *testing.T, c *clientv3.Client, prefix string) int {
	t.Helper()
	resp, err := c.Get(t.Context(), etcd.DefaultPrefix+"/"+prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	require.NoError(t, err)
	return int(resp.Count)
}

// eventually waits for something that goes on in the background.
func eventually(t *testing.T, what func() bool, text string) {
	t.Helper()
	require.Eventually(t, what, 10*time.Second, 10*time.Millisecond, text)
}

// A line is a proxy before a member, which can go silent: what is sent is swallowed, nothing is closed.
type line struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	mute  bool
	conns []net.Conn
}

func newLine(t *testing.T, target string) *line {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &line{listener: l, target: target}
	p.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", target)
			if err != nil {
				conn.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, conn, up)
			p.mu.Unlock()
			p.wg.Go(func() { p.carry(up, conn) })
			p.wg.Go(func() { p.carry(conn, up) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *line) carry(to io.Writer, from io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		mute := p.mute
		p.mu.Unlock()
		if mute {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *line) silence() {
	p.mu.Lock()
	p.mute = true
	p.mu.Unlock()
}

func (p *line) addr() string { return p.listener.Addr().String() }

// assertClean asserts that neither key nor etcd lease is left of a lock.
func assertClean(t *testing.T, c *clientv3.Client, name string) {
	t.Helper()
	eventually(t, func() bool { return keys(t, c, name) == 0 }, "a key of the lock is left")
	assert.Zero(t, keys(t, c, name))
}
