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
	done := make(chan Exit, 1)
	go func() {
		exit, err := Run([]string{"sh", "-c", script}, append(os.Environ(), env...), l, guard, signals)
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
		_, err := Run([]string{command}, nil, leaseFor(time.Hour), time.Second, nil)
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
