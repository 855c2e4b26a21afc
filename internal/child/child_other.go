//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package child

import (
	"errors"
	"os"
)

// Signals is empty: nothing is forwarded here.
func Signals() []os.Signal { return nil }

// Run fails: a command whose children cannot be reached as a group could outlive its lease.
func Run(Command, Lease) (Exit, error) {
	return Exit{}, errors.New("this system has no process groups to run a command under a lock in")
}
