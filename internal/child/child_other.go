//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package child

import (
	"errors"
	"os"
	"time"
)

// Signals is empty: nothing is forwarded here.
func Signals() []os.Signal { return nil }

// Run fails: a command whose children cannot be reached as a group could outlive its lease.
func Run(argv, env []string, lease Lease, guard time.Duration, signals <-chan os.Signal) (Exit, error) {
	return Exit{}, errors.New("this system has no process groups to run a command under a lock in")
}
