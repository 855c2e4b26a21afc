//go:build linux || darwin || freebsd || netbsd || openbsd

package child

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

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

// stopJob stops this process, as the command was stopped, and returns when the shell has continued it. If
// the command had the terminal, the rest of our process group has not heard of the stop and is stopped too.
//
// Where no shell controls our group nobody would continue us, and it returns at once. That is so in the group
// of the session's leader: the container's first process, the command of ssh -t.
//
// SIGSTOP, because a Go program that has once caught SIGTSTP cannot stop from it any more; and not before SIGCONT
// has come, because another thread may be the first to hear of the stop, and this one goes on for a moment.
func (t *terminal) stopJob(had bool) {
	if leader, err := unix.Getsid(0); err != nil || leader == t.group {
		return
	}
	whom := os.Getpid()
	if had {
		whom = 0 // the group
	}
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	if syscall.Kill(whom, syscall.SIGSTOP) == nil {
		<-continued
	}
}
