package child

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// helperVariable makes the test binary a program that runs its arguments with Run.
const helperVariable = "HOLDFAST_CHILD_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) == "" {
		os.Exit(m.Run())
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, Signals()...)
	exit, err := Run(Command{Argv: os.Args[1:], Env: os.Environ(), Guard: guard, Signals: signals}, leaseFor(time.Hour))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(StartCode(err))
	}
	os.Exit(exit.Code)
}

// A session is a shell with job control on a pseudo-terminal, and a test that types.
type session struct {
	t    *testing.T
	file *os.File // the terminal's other end
	read chan string
	text string // read and not yet expected
}

func startSession(t *testing.T) *session {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	require.NoError(t, unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	theirs, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	defer theirs.Close()

	shell := exec.Command("sh", "-i")
	shell.Env = append(os.Environ(), helperVariable+"=yes", "PS1=prompt> ", "ENV=")
	shell.Stdin, shell.Stdout, shell.Stderr = theirs, theirs, theirs
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, shell.Start())

	s := &session{t: t, file: ours, read: make(chan string)}
	done := make(chan struct{})
	go func() {
		defer close(s.read)
		buf := make([]byte, 4096)
		for {
			n, err := ours.Read(buf)
			if err != nil {
				return // the shell has ended
			}
			select {
			case s.read <- string(buf[:n]):
			case <-done:
			}
		}
	}()
	t.Cleanup(func() {
		close(done)
		_ = shell.Process.Kill() // a session leader's death hangs up on all its jobs
		_ = shell.Wait()
		for range s.read {
		}
		_ = ours.Close()
	})
	s.expect(`prompt> `)
	return s
}

func (s *session) send(text string) {
	_, err := s.file.WriteString(text)
	require.NoError(s.t, err)
}

// expect waits for the terminal to show a line that matches, after what was expected before.
func (s *session) expect(pattern string) {
	s.t.Helper()
	re := regexp.MustCompile(`(?m)` + pattern)
	timeout := time.After(20 * time.Second)
	for {
		if at := re.FindStringIndex(s.text); at != nil {
			s.text = s.text[at[1]:]
			return
		}
		select {
		case more, ok := <-s.read:
			require.True(s.t, ok, "the shell has ended; %q expected after %q", pattern, s.text)
			s.text += strings.ReplaceAll(more, "\r", "")
		case <-timeout:
			require.Failf(s.t, "nothing comes", "%q expected after %q", pattern, s.text)
		}
	}
}

// Ensure that a command in a terminal is part of a job like any other: it reads from the terminal, Ctrl-Z stops
// it and gives the terminal back to the shell, fg lets it go on, Ctrl-C ends it.
func TestRun_JobControl(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	s := startSession(t)
	s.send(self + ` sh -c 'echo begin; read a; echo "got $a"; read b; echo "got $b"; exit 5'` + "\n")
	s.expect(`begin$`)
	s.send("one\n")
	s.expect(`^got one$`)
	s.send("\x1a")
	s.expect(`prompt> `)
	s.send("echo shell $((40 + 2))\n")
	s.expect(`shell 42$`)
	s.expect(`prompt> `)
	s.send("fg\n")
	s.send("two\n")
	s.expect(`^got two$`)
	s.send("echo code $?\n")
	s.expect(`code 5$`)
	s.expect(`prompt> `)

	s.send(self + ` sh -c 'echo begin; exec sleep 1000'` + "\n")
	s.expect(`begin$`)
	s.send("\x03")
	s.expect(`prompt> `)
	s.send("echo code $?\n")
	s.expect(`code 130$`)
}
