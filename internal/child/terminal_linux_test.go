package child

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/ptytest"
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

// startSession starts a shell with job control on a pseudo-terminal.
func startSession(t *testing.T) *ptytest.Terminal {
	t.Helper()
	shell := exec.Command("sh", "-i")
	shell.Env = append(os.Environ(), helperVariable+"=yes", "PS1=prompt> ", "ENV=", "F="+filepath.Join(t.TempDir(), "jobs"))
	s := ptytest.Start(t, 24, 80, shell)
	s.Expect(`prompt> `)
	return s
}

// Ensure that a command in a terminal is part of a job like any other: it reads from the terminal, Ctrl-Z stops
// it and gives the terminal back to the shell, fg lets it go on, Ctrl-C ends it.
func TestRun_JobControl(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	s := startSession(t)
	s.Send(self + ` sh -c 'echo begin; read a; echo "got $a"; read b; echo "got $b"; exit 5'` + "\n")
	s.Expect(`begin$`)
	s.Send("one\n")
	s.Expect(`^got one$`)
	s.Send("\x1a")
	s.Expect(`prompt> `)
	s.Send("echo shell $((40 + 2))\n")
	s.Expect(`shell 42$`)
	s.Expect(`prompt> `)
	s.Send("fg\n")
	s.Send("two\n")
	s.Expect(`^got two$`)
	s.Send("echo code $?\n")
	s.Expect(`code 5$`)
	s.Expect(`prompt> `)

	s.Send(self + ` sh -c 'echo begin; exec sleep 1000'` + "\n")
	s.Expect(`begin$`)
	s.Send("\x03")
	s.Expect(`prompt> `)
	s.Send("echo code $?\n")
	s.Expect(`code 130$`)
}

// Ensure that a command in the background that wants to read from the terminal is stopped, as it would be without us,
// does not take what is typed for the shell, and reads once it is in the foreground.
func TestRun_BackgroundReads(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	s := startSession(t)
	s.Send(self + ` sh -c 'read a; echo "got $a"; exit 4' &` + "\n")
	s.Expect(`prompt> `)
	s.Send("echo shell $((40 + 2))\n")
	s.Expect(`shell 42$`)
	s.Send(`until jobs >"$F"; grep -q Stopped "$F"; do sleep 0.05; done; echo "it has $((1 + 1)) stopped"` + "\n")
	s.Expect(`it has 2 stopped$`)
	s.Expect(`prompt> `)
	s.Send("fg\n")
	s.Send("one\n")
	s.Expect(`^got one$`)
	s.Send("echo code $?\n")
	s.Expect(`code 4$`)
}
