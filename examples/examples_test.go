package examples

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dev is what all examples run against: `holdfast dev`, as the README starts it, on free ports.
var dev struct {
	bin   string // directory of the built programs
	nodes string
	lockd string
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	bin, err := os.MkdirTemp("", "holdfast-examples")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(bin)
	dev.bin = bin
	os.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	for name, pkg := range map[string]string{"holdfast": "../cmd/holdfast", "goservice": "./goservice", "cache": "./cache"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, name), pkg).CombinedOutput(); err != nil {
			return fail(fmt.Errorf("build %s: %w\n%s", name, err, out))
		}
	}
	stop, err := startDev()
	if err != nil {
		return fail(err)
	}
	defer stop()
	return m.Run()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "examples:", err)
	return 1
}

// startDev starts `holdfast dev` and returns when lockd has a quorum. Ports that were free a moment ago may
// be taken by the time they are used, so it tries a few times.
func startDev() (stop func(), err error) {
	for range 5 {
		base, web := freePort(5), freePort(1)
		var output bytes.Buffer
		cmd := exec.Command(filepath.Join(dev.bin, "holdfast"), "dev", "--port", fmt.Sprint(base), "--http", fmt.Sprintf("127.0.0.1:%d", web))
		out, pipeErr := cmd.StdoutPipe()
		if pipeErr != nil {
			return nil, pipeErr
		}
		cmd.Stderr = &output
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		// Everything is up when the first line has been printed; the rest is read so that nothing blocks.
		if bufio.NewScanner(out).Scan() {
			go io.Copy(io.Discard, out)
			var nodes []string
			for i := range 5 {
				nodes = append(nodes, fmt.Sprintf("127.0.0.1:%d", base+i))
			}
			dev.nodes, dev.lockd = strings.Join(nodes, ","), fmt.Sprintf("http://127.0.0.1:%d", web)
			return func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() }, nil
		}
		err = fmt.Errorf("holdfast dev: %w: %s", cmd.Wait(), output.String())
	}
	return nil, err
}

// freePort returns the first of n ports in a row that nobody listens on.
func freePort(n int) int {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		base := l.Addr().(*net.TCPAddr).Port
		l.Close()
		free := base+n < 65536
		for i := 0; i < n && free; i++ {
			next, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+i))
			if free = err == nil; free {
				next.Close()
			}
		}
		if free {
			return base
		}
	}
}

// program returns a command that finds the nodes, lockd and our binary as a user's would.
func program(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "HOLDFAST_NODES="+dev.nodes, "LOCKD_URL="+dev.lockd)
	return cmd
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	return string(out)
}

// Ensure that the Go service ships an order once and says so.
func TestGoService(t *testing.T) {
	cmd := program(t, filepath.Join(dev.bin, "goservice"), "-addr", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	url, ok := strings.CutPrefix(lines.Text(), "listening on ")
	require.True(t, ok, lines.Text())

	post := func() (int, string) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "POST", url+"/orders/42/ship", nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	status, body := post()
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "order 42 shipped\n", body)
	status, body = post()
	assert.Equal(t, http.StatusConflict, status)
	assert.Equal(t, "order 42 has been shipped already\n", body)

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
}

// Ensure that the second look-up is answered from the cache, with a ttl.
func TestCache(t *testing.T) {
	first, _, _ := strings.Cut(dev.nodes, ",")
	out := output(t, program(t, filepath.Join(dev.bin, "cache"), "-addr", first))
	assert.Equal(t, "bolt costs 0.42 EUR (from the source), cached for 10m0s at most\n"+
		"bolt costs 0.42 EUR (from the cache), cached for 10m0s at most\n", out)
}

// Ensure that of two machines one does the nightly job, the other leaves without an error, and that the
// job's own failure is not hidden.
func TestCron(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report")
	// The first machine's job answers a line, which shows that it runs, and goes on until its input ends.
	first := program(t, "holdfast", "lock", "--try", "jobs/nightly-report", "--", "cat")
	in, err := first.StdinPipe()
	require.NoError(t, err)
	out, err := first.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, first.Start())
	_, err = io.WriteString(in, "running\n")
	require.NoError(t, err)
	require.True(t, bufio.NewScanner(out).Scan())

	assert.Contains(t, output(t, program(t, "sh", "cron/nightly.sh", report)), "not acquired")
	assert.NoFileExists(t, report)
	require.NoError(t, in.Close())
	require.NoError(t, first.Wait())

	output(t, program(t, "sh", "cron/nightly.sh", report))
	text, err := os.ReadFile(report)
	require.NoError(t, err)
	assert.Regexp(t, `^report by holder of jobs/nightly-report, token \d+\n$`, string(text))

	err = program(t, "sh", "cron/nightly.sh").Run()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 2, exit.ExitCode(), "the shell's code for a missing argument")
}

// Ensure that the program in each language keeps a second holder out and gets growing tokens.
func TestOtherLanguages(t *testing.T) {
	for _, tt := range []struct{ name, program, file, order string }{
		{"Python", "python3", "python/orders.py", "orders/42"},
		{"Node", "node", "node/orders.mjs", "orders/43"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := output(t, program(t, tt.program, tt.file))
			assert.Regexp(t, `^refused: .*`+tt.order+`.*\nshipped with a fencing token: (?i)true\nthe next token is higher: true\n$`, out)
		})
	}
}
