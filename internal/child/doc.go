// Package child runs a command on behalf of a lease: the command runs as if it had been called directly,
// and does not outlive the lock that it runs under, unless it asks for that.
//
// It is what `holdfast lock` is made of. Where the system has no process groups, Run only says so.
package child

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"time"
)

// A Command is what to run under a lease, and how.
type Command struct {
	Argv []string // executed as it is, without a shell
	// Env is the environment. Of several values of one variable the last counts, as with os/exec.
	Env []string
	// Guard is how long before its end a lease counts as about to end.
	Guard time.Duration
	// Loss is what is done then, and when the lease is lost.
	Loss Loss
	// Signals are passed on; signal.Notify must have been asked for those that Signals returns. May be nil.
	Signals <-chan os.Signal
	// Notify, if set, is told of each step taken against the command, after the signal was sent. It must not
	// block: while it does, nobody looks after the command.
	Notify func(Step)
}

// A Step is something that was done to the command because of its lease.
type Step int

// The steps.
const (
	Told   Step = iota // the lease is about to end: SIGTERM
	Killed             // SIGKILL
	Lost               // the lease is over, the command goes on
)

// A Lease is what the command may run under. Both methods are safe for concurrent use.
type Lease interface {
	// Remaining is how long the lease lasts if it is not renewed any more; zero or less once it is over.
	Remaining() time.Duration
	// Lost is closed when the lease has ended without being released.
	Lost() <-chan struct{}
}

// An Exit tells how a command ended.
type Exit struct {
	// Code is the command's own exit code, or 128+n if signal n ended it.
	Code int
	// Lost tells that the command was ended because its lease was about to end, or had; or that the lease
	// had ended while the command went on.
	Lost bool
}

// StartCode is the exit code with which a shell answers an error of starting a command: 127 if there is no
// such command, 126 if it cannot be executed.
func StartCode(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return 127
	}
	return 126
}
