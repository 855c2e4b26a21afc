package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// launches carries functions that start processes to one goroutine that never gives up its thread: the
// children ask to be killed when the thread that started them dies, and threads of other goroutines may.
var launches = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// launch starts a command in a process group of its own that does not outlive the test, whatever ends it.
func launch(cmd *exec.Cmd) error {
	cmd.SysProcAttr = attr()
	err := make(chan error)
	launches() <- func() { err <- cmd.Start() }
	return <-err
}

// runCommand runs a command to its end and returns its output and exit code.
func runCommand(ctx context.Context, env []string, argv ...string) (output string, code int, err error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := launch(cmd); err != nil {
		return "", 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer stop()
	err = cmd.Wait()
	if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() >= 0 {
		return out.String(), exit.ExitCode(), nil
	}
	return out.String(), 0, err
}

// A process is one that runs beside the test: a node, lockd, a contender. Its output is kept in a file.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

// start starts a process and kills it at the end of the test, if it still runs then. prepare, if not nil,
// may connect its streams before.
func start(t *testing.T, dir, name string, prepare func(*exec.Cmd), env []string, argv ...string) *process {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	defer log.Close()
	p := &process{name: name, log: log.Name(), done: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if prepare != nil {
		prepare(p.cmd)
	}
	require.NoError(t, launch(p.cmd), name)
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) signal(sig syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, sig) }

// kill ends it as a power cut would and returns when it is gone.
func (p *process) kill() {
	select {
	case <-p.done:
		return
	default:
	}
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop asks it to end and requires that it does so without complaint.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		require.True(t, p.cmd.ProcessState.Success(), "%s: %v", p.name, p.cmd.ProcessState)
	case <-time.After(15 * time.Second):
		p.kill()
		require.Failf(t, "does not end", "%s ignores SIGTERM", p.name)
	}
}

// until repeats check, which asks another process for something, until it says nil.
func until(t *testing.T, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(t, err, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// workDir makes the directory of one run. It is kept, with the last lines of each log shown, if the run fails.
func workDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "holdfast-e2e-")
	require.NoError(t, err)
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
			return
		}
		t.Logf("files and logs of this run: %s", dir)
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, log := range logs {
			if text := tail(log, 8); text != "" {
				t.Logf("%s:\n%s", filepath.Base(log), text)
			}
		}
	})
	return dir
}

func tail(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprint(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
