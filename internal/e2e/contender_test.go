package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The kinds of contenders.
const (
	kindClient  = "client"  // a Go program with package client
	kindCommand = "command" // holdfast lock -- script
	kindCurl    = "curl"    // curl through lockd
	kindRedsync = "redsync" // a Go program with redsync
)

// fenced are the kinds whose locks come with a token.
var fenced = []string{kindClient, kindCommand, kindCurl}

// errBusy is what a contender returns that has not got the lock and may try again.
var errBusy = errors.New("not acquired")

// An arena is where contenders of one run meet: the nodes, lockd, the lock's name, the files.
type arena struct {
	fleet    *fleet
	lockdURL string
	name     string
	dir      string
}

// A contender takes the lock, works under it and releases it. It does one thing at a time.
type contender interface {
	// add adds one to the counter.
	add(ctx context.Context) (reply, error)
	// write writes to the account, by the guard.
	write(ctx context.Context) (reply, error)
	// end ends it; it must not complain.
	end(t *testing.T)
}

// newContender starts contender number i of a kind.
func (a *arena) newContender(t *testing.T, kind string, i int, ttl time.Duration) contender {
	t.Helper()
	switch kind {
	case kindCommand:
		return &commandContender{arena: a, kind: kind, argv: []string{holdfast(t), "lock", "--nodes", a.fleet.list(),
			"--ttl", ttl.String(), "--wait", lockTimeout.String(), a.name, "--"}}
	case kindCurl:
		return &commandContender{arena: a, kind: kind, argv: []string{script(t, "curl.sh"), a.lockdURL, a.name, ttl.String()}}
	}
	return a.newWorkerProcess(t, kind, fmt.Sprintf("%s%d", kind, i+1), ttl)
}

// A workerProcess is a Go program that waits for orders on its standard input.
type workerProcess struct {
	process *process
	in      io.WriteCloser
	out     *bufio.Reader
}

func (a *arena) newWorkerProcess(t *testing.T, kind, name string, ttl time.Duration) *workerProcess {
	t.Helper()
	w := new(workerProcess)
	out, childOut, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = out.Close() })
	w.out = bufio.NewReader(out)
	w.process = start(t, a.dir, name, func(cmd *exec.Cmd) {
		cmd.Stdout = childOut
		w.in, err = cmd.StdinPipe()
		require.NoError(t, err)
	}, []string{workerVariable + "=" + kind}, self(t),
		"-nodes", a.fleet.list(), "-name", a.name, "-ttl", ttl.String(), "-dir", a.dir)
	require.NoError(t, childOut.Close())
	return w
}

// send gives an order without waiting for the answer.
func (w *workerProcess) send(order string) error {
	_, err := io.WriteString(w.in, order+"\n")
	return err
}

func (w *workerProcess) receive(ctx context.Context) (r reply, err error) {
	stop := context.AfterFunc(ctx, w.process.kill)
	defer stop()
	line, err := w.out.ReadBytes('\n')
	if err != nil {
		return r, fmt.Errorf("%s ended: %w", w.process.name, err)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, err
	}
	if strings.HasPrefix(r.Err, errBusy.Error()) {
		return r, fmt.Errorf("%w%s", errBusy, strings.TrimPrefix(r.Err, errBusy.Error()))
	}
	if r.Err != "" {
		return r, errors.New(r.Err)
	}
	return r, nil
}

func (w *workerProcess) order(ctx context.Context, order string) (reply, error) {
	if err := w.send(order); err != nil {
		return reply{}, err
	}
	return w.receive(ctx)
}

func (w *workerProcess) add(ctx context.Context) (reply, error) { return w.order(ctx, "add") }

func (w *workerProcess) write(ctx context.Context) (reply, error) {
	if r, err := w.order(ctx, "hold"); err != nil {
		return r, err
	}
	r, err := w.order(ctx, "write")
	dropped, dropErr := w.order(ctx, "drop")
	r.Lost, r.Unconfirmed = dropped.Lost, dropped.Unconfirmed
	return r, errors.Join(err, dropErr)
}

func (w *workerProcess) end(t *testing.T) {
	t.Helper()
	require.NoError(t, w.in.Close())
	select {
	case <-w.process.done:
		require.True(t, w.process.cmd.ProcessState.Success(), "%s: %v", w.process.name, w.process.cmd.ProcessState)
	case <-time.After(15 * time.Second):
		require.Failf(t, "does not end", "%s goes on though its standard input has ended", w.process.name)
	}
}

// pause and resume stop and continue the process, as a long garbage collection, a swapped-out machine or a
// person would.
func (w *workerProcess) pause()  { w.process.signal(syscall.SIGSTOP) }
func (w *workerProcess) resume() { w.process.signal(syscall.SIGCONT) }

// A commandContender runs one command for each turn: argv, and behind it the work to do under the lock.
type commandContender struct {
	arena *arena
	kind  string
	argv  []string
}

// What the commands exit with when it was not the work's own code.
const (
	exitNotAcquired = 75
	exitLost        = 76
	exitUnconfirmed = 77
)

func (c *commandContender) run(ctx context.Context, env []string, work ...string) (r reply, err error) {
	out, code, err := runCommand(ctx, env, append(c.argv[:len(c.argv):len(c.argv)], work...)...)
	switch {
	case err != nil:
		return r, fmt.Errorf("%s: %w: %s", c.kind, err, out)
	case code == 0:
	case code == exitNotAcquired:
		return r, fmt.Errorf("%w: %s", errBusy, out)
	case code == exitLost:
		r.Lost = true
	case code == exitUnconfirmed:
		r.Unconfirmed = true
	default:
		return r, fmt.Errorf("%s: exit code %d: %s", c.kind, code, out)
	}
	return r, nil
}

func (c *commandContender) add(ctx context.Context) (reply, error) {
	work, err := filepath.Abs(filepath.Join("testdata", "add.sh"))
	if err != nil {
		return reply{}, err
	}
	return c.run(ctx, nil, work, c.arena.dir, c.kind)
}

func (c *commandContender) write(ctx context.Context) (reply, error) {
	work, err := os.Executable()
	if err != nil {
		return reply{}, err
	}
	return c.run(ctx, []string{workerVariable + "=guard"}, work, c.arena.dir, c.kind)
}

func (c *commandContender) end(*testing.T) {}

// holdfast builds the binary, once.
func holdfast(t *testing.T) string {
	t.Helper()
	path, err := build()
	require.NoError(t, err)
	return path
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "holdfast-e2e-bin-")
	if err != nil {
		return "", err
	}
	binDir = dir
	path := filepath.Join(dir, "holdfast")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/holdfast").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// binDir is where build has put the binary; TestMain removes it.
var binDir string

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

func script(t *testing.T, name string) string {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	path, err := filepath.Abs(filepath.Join("testdata", name))
	require.NoError(t, err)
	return path
}
