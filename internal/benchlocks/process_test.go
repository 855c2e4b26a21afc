package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// harnessVariable makes the test program the benchmark itself, with the arguments of its value.
const harnessVariable = "HOLDFAST_BENCH_HARNESS"

func TestMain(m *testing.M) {
	if args := os.Getenv(harnessVariable); args != "" && os.Getenv(workerVariable) == "" {
		os.Args = append(os.Args[:1], strings.Fields(args)...)
		main()
	}
	if os.Getenv(workerVariable) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func needRedis(t *testing.T) {
	t.Helper()
	if err := installed(kindRedis, ""); err != nil {
		t.Skip("redis-server is not installed")
	}
}

// Ensure that a small run measures its scenarios, prints them, and leaves neither files nor processes.
func TestRun(t *testing.T) {
	needRedis(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	p, err := parsePlan([]string{"-quick", "-rounds", "1", "-subjects", "ours,redislock", "-leases", "50"})
	require.NoError(t, err)
	p.warm, p.lock, p.names, p.warmCrowd, p.contended = 10*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond, 200*time.Millisecond
	p.healthy, p.stopped, p.slow, p.leaseWatch = 50*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond, 3*time.Second
	var out, progress bytes.Buffer
	require.NoError(t, run(t.Context(), p, &out, &progress), "%s", &progress)
	for _, sc := range scenarios {
		assert.Contains(t, out.String(), sc.title)
	}
	assert.Contains(t, out.String(), "redislock on ONE redis-server")
	assert.Regexp(t, `contended: no two holders at a time +0: met`, out.String())
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.Empty(t, childrenOf(t, os.Getpid()))
}

// Ensure that a run that is cancelled ends with the reason, and everything with it.
func TestRun_Cancelled(t *testing.T) {
	needRedis(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	p, err := parsePlan([]string{"-subjects", "ours", "-scenarios", "stopped"})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var out, progress bytes.Buffer
	assert.ErrorIs(t, run(ctx, p, &out, &progress), context.DeadlineExceeded)
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.Empty(t, childrenOf(t, os.Getpid()))
}

// Ensure that no node and no client outlives the benchmark, whichever signal ends it, SIGKILL included, and that
// it removes its files if it is given the time to.
func TestSignals(t *testing.T) {
	needRedis(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			tmp := t.TempDir()
			self, err := os.Executable()
			require.NoError(t, err)
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), harnessVariable+"=-quick -subjects ours -scenarios stopped,contended -rounds 50", "TMPDIR="+tmp)
			require.NoError(t, cmd.Start())
			var family []int
			require.Eventually(t, func() bool {
				family = childrenOf(t, cmd.Process.Pid)
				return len(family) > masters // and a client at work
			}, 20*time.Second, time.Millisecond)
			require.NoError(t, cmd.Process.Signal(sig))
			assert.Error(t, cmd.Wait())
			for _, pid := range family {
				assert.Eventually(t, func() bool { return gone(pid) }, 10*time.Second, time.Millisecond, "process %d is left", pid)
			}
			if sig != syscall.SIGKILL {
				left, err := filepath.Glob(filepath.Join(tmp, "*"))
				require.NoError(t, err)
				assert.Empty(t, left)
			}
		})
	}
}

// Ensure that a node that ends by itself is found out and its last words are told.
func TestFleet_Alive(t *testing.T) {
	needRedis(t)
	f, err := startFleet(map[kind]bool{kindRedis: true}, "")
	defer f.stop()
	require.NoError(t, err)
	require.NoError(t, f.alive())
	f.nodes[kindRedis][2].stop()
	assert.ErrorContains(t, f.alive(), "redis-server-3 ended (signal: killed)")
}

// Ensure that a program that ends instead of listening is told with what it wrote, and a missing one by its name.
func TestStart_Fails(t *testing.T) {
	p, err := start(t.TempDir(), "grump", nil, "/bin/sh", "-c", "echo no mood >&2; exit 3")
	require.NoError(t, err)
	defer p.stop()
	assert.ErrorContains(t, p.awaitPort("127.0.0.1:1"), "grump ended (exit status 3): no mood")
	_, err = start(t.TempDir(), "nobody", nil, "/no/such/program")
	assert.ErrorContains(t, err, "nobody: ")
}

// Ensure that what a worker cannot do comes back as its answer, and that it goes on.
func TestWorker_Answers(t *testing.T) {
	needRedis(t)
	f, err := startFleet(map[kind]bool{kindRedis: true}, "")
	defer f.stop()
	require.NoError(t, err)
	s, err := subjectOf("redislock")
	require.NoError(t, err)
	b := &bench{fleet: f}
	w, err := b.newWorker(s, "test", addrs(f.of(s)))
	require.NoError(t, err)
	defer w.end()
	_, err = w.order(t.Context(), order{Do: "dance"})
	assert.ErrorContains(t, err, `no duty "dance"`)
	_, err = w.order(t.Context(), order{Do: "take", Many: 1})
	assert.ErrorContains(t, err, "only our own client")
	a, err := w.order(t.Context(), order{Do: "one", Name: "x", For: 5 * time.Millisecond})
	require.NoError(t, err)
	assert.Positive(t, a.Count)
	assert.Len(t, a.Samples, a.Count)
	assert.Positive(t, a.CPU)
	w.stop()
	_, err = w.order(t.Context(), order{Do: "one", Name: "x"})
	assert.ErrorContains(t, err, "client-redislock-test ended (signal: killed)")
}

// childrenOf returns the children of a process.
func childrenOf(t *testing.T, pid int) (children []int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "children"))
	require.NoError(t, err)
	for _, file := range files {
		text, _ := os.ReadFile(file) // a thread may have ended
		for word := range strings.FieldsSeq(string(text)) {
			child, err := strconv.Atoi(word)
			require.NoError(t, err)
			children = append(children, child)
		}
	}
	return children
}

// gone reports whether a process has ended; one that nobody has waited for yet has.
func gone(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}
