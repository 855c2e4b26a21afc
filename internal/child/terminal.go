//go:build linux || darwin || freebsd || netbsd || openbsd

package child

import (
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Signals returns the signals to pass on to the command. Those that this process was told to ignore
// (nohup, a shell's background job) are left alone, so that the command ignores them as well.
func Signals() []os.Signal {
	return slices.DeleteFunc([]os.Signal{
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT,
	}, signal.Ignored)
}

// A terminal is the controlling terminal of this process; nil if it has none.
//
// The command has a process group of its own, so that signals reach all of it and nothing else. A terminal
// knows only one group that may read from it, though. It is handed over when the command asks for it (it
// is stopped with SIGTTIN or SIGTTOU), not before: in `holdfast lock NAME -- make | less` it is less that
// needs it.
type terminal struct {
	file  *os.File
	group int  // our own process group
	given bool // the command has it
}

func openTerminal() *terminal {
	file, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	return &terminal{file: file, group: syscall.Getpgrp()}
}

func (t *terminal) close() {
	if t != nil {
		_ = t.file.Close()
	}
}

// give makes group the one that may use the terminal, if that is ours to decide.
func (t *terminal) give(group int) bool {
	if t == nil {
		return false
	}
	if now, err := unix.IoctlGetInt(int(t.file.Fd()), unix.TIOCGPGRP); err != nil || now != t.group {
		return false
	}
	t.given = t.set(group)
	return t.given
}

// take takes the terminal back and reports whether the command had it.
func (t *terminal) take() bool {
	if t == nil || !t.given {
		return false
	}
	t.given = false
	t.set(t.group)
	return true
}

// set works from the background too, where the kernel would otherwise stop whoever touches the terminal.
func (t *terminal) set(group int) bool {
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	return unix.IoctlSetPointerInt(int(t.file.Fd()), unix.TIOCSPGRP, group) == nil
}

// stopJob stops our own process group, as Ctrl-Z does to a job, and returns when it goes on. Where nobody
// could ever continue us (no shell above) the kernel ignores the signal, and it returns at once.
// Afterwards SIGTSTP is caught again and sent to the channel.
func (t *terminal) stopJob(signals chan<- os.Signal) {
	signal.Reset(syscall.SIGTSTP)
	_ = syscall.Kill(0, syscall.SIGTSTP)
	// Another thread may be the one to take the signal, a moment later; time stands still once it has.
	time.Sleep(20 * time.Millisecond)
	signal.Notify(signals, syscall.SIGTSTP)
}
