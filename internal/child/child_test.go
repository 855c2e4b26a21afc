//go:build linux || darwin || freebsd || netbsd || openbsd

package child

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// A fakeLease lasts for as long as the test says.
type fakeLease struct {
	left atomic.Int64
	lost chan struct{}
}

func leaseFor(d time.Duration) *fakeLease {
	l := &fakeLease{lost: make(chan struct{})}
	l.left.Store(int64(d))
	return l
}

func (l *fakeLease) Remaining() time.Duration { return time.Duration(l.left.Load()) }
func (l *fakeLease) Lost() <-chan struct{}    { return l.lost }

// pipe makes a named pipe: what a command writes into it, the test waits for.
func pipe(t *testing.T) (path string, line func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	// Opened for both directions it neither blocks nor ends between two writers.
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	lines := bufio.NewReader(file)
	return path, func() string {
		require.NoError(t, file.SetReadDeadline(time.Now().Add(20*time.Second)))
		s, err := lines.ReadString('\n')
		require.NoError(t, err)
		return strings.TrimSpace(s)
	}
}

const guard = time.Second

// start runs a shell script in the background.
func start(t *testing.T, script string, env []string, l Lease, signals chan os.Signal) (wait func() Exit) {
	t.Helper()
	return startCommand(t, script, env, l, Command{Signals: signals})
}

// startCommand is start with what else a Command has.
func startCommand(t *testing.T, script string, env []string, l Lease, c Command) (wait func() Exit) {
	t.Helper()
	c.Argv, c.Env, c.Guard = []string{"sh", "-c", script}, append(os.Environ(), env...), guard
	done := make(chan Exit, 1)
	go func() {
		exit, err := Run(c, l)
		assert.NoError(t, err)
		done <- exit
	}()
	return func() Exit { return <-done }
}

// Ensure that the command's own exit code comes back, and 128+n when a signal ended it.
func TestRun_ExitCode(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for script, want := range map[string]int{"exit 0": 0, "exit 42": 42, "kill -TERM $$": 143, "kill -KILL $$": 137} {
		assert.Equal(t, Exit{Code: want}, start(t, script, nil, leaseFor(time.Hour), nil)(), script)
	}
}

// Ensure that what cannot be started is told apart as shells do.
func TestRun_CannotStart(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	require.NoError(t, os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o644))
	orphan := filepath.Join(dir, "orphan")
	require.NoError(t, os.WriteFile(orphan, []byte("#!/no/such/interpreter\n"), 0o755))
	for command, want := range map[string]int{"no-such-command": 127, dir + "/none": 127, plain: 126, dir: 126, orphan: 127} {
		_, err := Run(Command{Argv: []string{command}}, leaseFor(time.Hour))
		require.Error(t, err, command)
		assert.Equal(t, want, StartCode(err), "%s: %v", command, err)
	}
}

// Ensure that a signal reaches the whole process group, and that the command decides what it means.
func TestRun_ForwardsSignals(t *testing.T) {
	path, line := pipe(t)
	signals := make(chan os.Signal, 1)
	wait := start(t, `
		trap 'echo outer >"$P"; wait; exit 7' TERM
		sh -c 'trap "echo inner >\"$P\"; exit" TERM; echo ready >"$P"; while :; do sleep 0.05; done' &
		wait`, []string{"P=" + path}, leaseFor(time.Hour), signals)
	require.Equal(t, "ready", line())
	signals <- syscall.SIGTERM
	assert.ElementsMatch(t, []string{"outer", "inner"}, []string{line(), line()})
	assert.Equal(t, Exit{Code: 7}, wait())
}

// safely is a lease outside the guard, which Run looks at again every 50 ms.
const safely = guard + 50*time.Millisecond

// Ensure that a command is told to end before its lease ends, and is killed, with all its group, when the
// lease is over, if it did not obey.
func TestRun_GuardThenKill(t *testing.T) {
	path, line := pipe(t)
	lease := leaseFor(safely)
	wait := start(t, `
		trap 'echo told >"$P"' TERM
		sh -c 'trap "" TERM; echo $$ >"$P"; while :; do sleep 0.05; done' &
		while :; do sleep 0.05; done`, []string{"P=" + path}, lease, nil)
	inner := line()
	lease.left.Store(int64(guard))
	require.Equal(t, "told", line())
	close(lease.lost)
	assert.Equal(t, Exit{Code: 137, Lost: true}, wait())
	assert.Eventually(t, func() bool { return gone(inner) }, 10*time.Second, 5*time.Millisecond,
		"the command's own child has outlived the lease")
}

// gone tells that a process has ended, though perhaps nobody has collected it yet.
func gone(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil && runtime.GOOS == "linux" {
		return true
	}
	if err == nil {
		return strings.Contains(string(stat), ") Z ")
	}
	id, err := strconv.Atoi(pid)
	return err == nil && syscall.Kill(id, 0) == syscall.ESRCH
}

// Ensure that a command that obeys the guard's signal keeps its code but counts as ended by the loss, and
// that what it leaves behind does not outlive the lease.
func TestRun_ObeysTheGuard(t *testing.T) {
	path, line := pipe(t)
	lease := leaseFor(safely)
	wait := start(t, `
		sh -c 'trap "" TERM; echo $$ >"$P"; while :; do sleep 0.05; done' &
		trap 'exit 3' TERM
		while :; do sleep 0.02; done`, []string{"P=" + path}, lease, nil)
	inner := line()
	lease.left.Store(int64(guard))
	exit := wait()
	assert.True(t, exit.Lost)
	assert.Contains(t, []int{3, 143}, exit.Code, "143: told before its trap was set")
	assert.Eventually(t, func() bool { return gone(inner) }, 10*time.Second, 5*time.Millisecond)
}

// Ensure that a command whose lock somebody else may have is killed at once, without a chance to go on, however
// long its lease would have lasted.
func TestRun_LostKills(t *testing.T) {
	path, line := pipe(t)
	lease := leaseFor(time.Hour)
	wait := start(t, `trap 'exit 3' TERM; echo ready >"$P"; while :; do sleep 0.02; done`, []string{"P=" + path}, lease, nil)
	require.Equal(t, "ready", line())
	close(lease.lost)
	assert.Equal(t, Exit{Code: 137, Lost: true}, wait())
}

// Ensure that a command that was stopped hears that it must end.
func TestRun_GuardContinuesAStopped(t *testing.T) {
	path, line := pipe(t)
	lease := leaseFor(safely)
	wait := start(t, `trap 'exit 3' TERM; echo ready >"$P"; kill -STOP $$; while :; do sleep 0.02; done`,
		[]string{"P=" + path}, lease, nil)
	require.Equal(t, "ready", line())
	lease.left.Store(int64(guard))
	assert.Equal(t, Exit{Code: 3, Lost: true}, wait())
}

// parse is ParseLoss of what a test knows to be right.
func parse(t *testing.T, s string) Loss {
	t.Helper()
	l, err := ParseLoss(s)
	require.NoError(t, err)
	return l
}

// recorder notes the steps of a run.
func recorder() (notify func(Step), steps func() []Step) {
	var list []Step
	return func(s Step) { list = append(list, s) }, func() []Step { return list }
}

// Ensure that with term:D a command that does not obey is killed after D, though its lease lasts longer; and
// that nothing is done to it before.
func TestRun_TermGrace(t *testing.T) {
	path, line := pipe(t)
	lease := leaseFor(safely)
	notify, steps := recorder()
	wait := startCommand(t, `trap 'echo told >"$P"' TERM; echo ready >"$P"; while :; do sleep 0.02; done`,
		[]string{"P=" + path}, lease, Command{Loss: parse(t, "term:1500ms"), Notify: notify})
	require.Equal(t, "ready", line())
	lease.left.Store(int64(guard)) // and stays there: the lease does not end
	require.Equal(t, "told", line())
	assert.Equal(t, Exit{Code: 137, Lost: true}, wait())
	assert.Equal(t, []Step{Told, Killed}, steps())
}

// Ensure that the lease's end counts if it comes before D is over.
func TestRun_TermGraceEndsWithTheLease(t *testing.T) {
	path, line := pipe(t)
	lease := leaseFor(safely)
	wait := startCommand(t, `trap 'echo told >"$P"' TERM; echo ready >"$P"; while :; do sleep 0.02; done`,
		[]string{"P=" + path}, lease, Command{Loss: parse(t, "term:1h")})
	require.Equal(t, "ready", line())
	lease.left.Store(int64(guard))
	require.Equal(t, "told", line())
	lease.left.Store(0)
	assert.Equal(t, Exit{Code: 137, Lost: true}, wait())
}

// Ensure that with kill the command gets no SIGTERM, and that it is killed when the guard begins and not before.
func TestRun_KillAtTheGuard(t *testing.T) {
	path, line := pipe(t)
	lease := leaseFor(safely)
	notify, steps := recorder()
	wait := startCommand(t, `trap 'echo told >"$P"; exit 3' TERM; echo ready >"$P"; while :; do sleep 0.02; done`,
		[]string{"P=" + path}, lease, Command{Loss: parse(t, "kill"), Notify: notify})
	require.Equal(t, "ready", line())
	assert.Empty(t, steps())
	lease.left.Store(int64(guard))
	assert.Equal(t, Exit{Code: 137, Lost: true}, wait())
	assert.Equal(t, []Step{Killed}, steps())
}

// Ensure that with ignore the command is let run beyond its lease, that this is told once, and that its exit
// code comes back.
func TestRun_Ignore(t *testing.T) {
	for name, lose := range map[string]func(*fakeLease){
		"expired": func(l *fakeLease) { l.left.Store(0) },
		"stolen":  func(l *fakeLease) { close(l.lost) },
		"both":    func(l *fakeLease) { l.left.Store(0); close(l.lost) },
	} {
		t.Run(name, func(t *testing.T) {
			path, line := pipe(t)
			lease := leaseFor(safely)
			told := make(chan Step, 10)
			signals := make(chan os.Signal, 1)
			wait := startCommand(t, `trap 'exit 5' USR1; trap 'exit 3' TERM; echo ready >"$P"; while :; do sleep 0.02; done`,
				[]string{"P=" + path}, lease, Command{Loss: parse(t, "ignore"), Signals: signals, Notify: func(s Step) { told <- s }})
			require.Equal(t, "ready", line())
			lease.left.Store(int64(guard))
			lose(lease)
			require.Equal(t, Lost, <-told)
			signals <- syscall.SIGUSR1 // it still hears what others have to say
			assert.Equal(t, Exit{Code: 5, Lost: true}, wait())
			assert.Empty(t, told)
		})
	}
}

// Ensure that a lease that was only about to end is no loss where that is ignored.
func TestRun_IgnoreTheGuard(t *testing.T) {
	assert.Equal(t, Exit{Code: 4}, startCommand(t, "exit 4", nil, leaseFor(guard), Command{Loss: parse(t, "ignore")})())
}

// Ensure that without a guard the command is told nothing before the lease's end.
func TestRun_NoGuard(t *testing.T) {
	path, line := pipe(t)
	lease := leaseFor(time.Millisecond)
	exits := make(chan Exit, 1)
	go func() {
		exit, err := Run(Command{Argv: []string{"sh", "-c", `trap 'exit 3' TERM; echo ready >"$P"; while :; do sleep 0.02; done`},
			Env: append(os.Environ(), "P="+path)}, lease)
		assert.NoError(t, err)
		exits <- exit
	}()
	require.Equal(t, "ready", line())
	lease.left.Store(0)
	assert.Equal(t, Exit{Code: 137, Lost: true}, <-exits)
}

// Ensure that signals that arrive while the command ends reach nobody else and change nothing.
func TestRun_SignalsWhileItEnds(t *testing.T) {
	for range 20 {
		signals := make(chan os.Signal)
		stop, fed := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(fed)
			for {
				select {
				case signals <- syscall.SIGWINCH:
				case <-stop:
					return
				}
			}
		}()
		assert.Equal(t, Exit{Code: 6}, start(t, "exit 6", nil, leaseFor(time.Hour), signals)())
		close(stop)
		<-fed
	}
}
