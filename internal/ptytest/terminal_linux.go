package ptytest

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Patience bounds every wait for what a terminal shows.
const Patience = 30 * time.Second

// A Terminal is a pseudo-terminal with a program on it.
type Terminal struct {
	tb   testing.TB
	file *os.File // our end
	cmd  *exec.Cmd

	mu      sync.Mutex
	text    string // all that was written, without carriage returns, and not yet expected
	screen  *screen
	changed chan struct{} // closed and made anew when something was written
	ended   bool
}

// Start runs the command as the leader of a session on a new terminal of that size. Both end with the test, which is
// skipped where there are no pseudo-terminals.
func Start(tb testing.TB, rows, cols int, cmd *exec.Cmd) *Terminal {
	tb.Helper()
	ours, theirs := open(tb)
	t := &Terminal{tb: tb, file: ours, cmd: cmd, screen: newScreen(rows, cols), changed: make(chan struct{})}
	t.size(rows, cols)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err := cmd.Start()
	_ = theirs.Close()
	if err != nil {
		_ = ours.Close()
		tb.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		t.read()
	}()
	tb.Cleanup(func() {
		t.killJobs()
		_ = cmd.Process.Kill() // a session leader's death hangs up on all its jobs
		_ = cmd.Wait()
		<-read // returns when nobody has the terminal open any more
		_ = ours.Close()
	})
	return t
}

// killJobs kills what could survive the death of the session's leader, and would keep the terminal open: the
// foreground job, which may be stopped or not listen to a hang-up, and the leader's own group.
func (t *Terminal) killJobs() {
	if group, err := unix.IoctlGetInt(int(t.file.Fd()), unix.TIOCGPGRP); err == nil && group > 1 {
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
	_ = syscall.Kill(-t.cmd.Process.Pid, syscall.SIGKILL)
}

func open(tb testing.TB) (ours, theirs *os.File) {
	tb.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		tb.Skipf("no pseudo-terminal: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		tb.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		tb.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return ours, theirs
}

func (t *Terminal) size(rows, cols int) {
	t.tb.Helper()
	if err := unix.IoctlSetWinsize(int(t.file.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(cols)}); err != nil {
		t.tb.Fatal(err)
	}
}

// read takes what the program writes, until nobody has the terminal open any more.
func (t *Terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := t.file.Read(buf)
		t.mu.Lock()
		t.text += strings.ReplaceAll(string(buf[:n]), "\r", "")
		t.screen.write(string(buf[:n]))
		t.ended = err != nil
		close(t.changed)
		t.changed = make(chan struct{})
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Send types.
func (t *Terminal) Send(text string) {
	t.tb.Helper()
	if _, err := t.file.WriteString(text); err != nil {
		t.tb.Fatal(err)
	}
}

// Resize gives the terminal another size, of which its foreground processes are told. What it showed is cut,
// not wrapped anew.
func (t *Terminal) Resize(rows, cols int) {
	t.tb.Helper()
	t.mu.Lock()
	t.screen.resize(rows, cols)
	t.mu.Unlock()
	t.size(rows, cols)
}

// Expect waits until the program has written what matches, after what was expected before. In the pattern ^ and
// $ match at lines.
func (t *Terminal) Expect(pattern string) {
	t.tb.Helper()
	re := regexp.MustCompile(`(?m)` + pattern)
	t.await(func() string {
		if at := re.FindStringIndex(t.text); at != nil {
			t.text = t.text[at[1]:]
			return ""
		}
		return fmt.Sprintf("%q expected after %q", pattern, t.text)
	})
}

// Await waits until what the terminal shows is as it should be.
func (t *Terminal) Await(what string, ok func(Shown) bool) {
	t.tb.Helper()
	t.await(func() string {
		shown := t.screen.shown()
		if ok(shown) {
			return ""
		}
		return fmt.Sprintf("not %s:\n%s", what, strings.Join(shown.Lines, "\n"))
	})
}

// await waits until missing, which is called under the mutex, returns nothing.
func (t *Terminal) await(missing func() string) {
	t.tb.Helper()
	timeout := time.After(Patience)
	for {
		t.mu.Lock()
		why, changed, ended := missing(), t.changed, t.ended
		t.mu.Unlock()
		if why == "" {
			return
		}
		if ended {
			t.tb.Fatalf("the program has ended: %s", why)
		}
		select {
		case <-changed:
		case <-timeout:
			t.tb.Fatalf("nothing comes: %s", why)
		}
	}
}
