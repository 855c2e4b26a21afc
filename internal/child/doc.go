// Package child runs a command on behalf of a lease: the command runs as if it had been called directly,
// and never outlives the lock that it runs under.
//
// It is what `holdfast lock` is made of. Where the system has no process groups, Run only says so.
package child

import (
	"errors"
	"io/fs"
	"os/exec"
	"time"
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
	// Lost tells that the command was ended because its lease was about to end, or had.
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
