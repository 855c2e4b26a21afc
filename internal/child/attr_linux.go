package child

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttr puts the command into its own group and has the kernel kill it when the starting thread dies.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// stoppedCode is the CLD_STOPPED of waitid(2).
const stoppedCode = 5

// awaitChange waits until the command has stopped or ended, reports whether it has ended, and leaves it
// uncollected: until it is collected the id of its group cannot become that of other processes, and a signal
// that is on its way to the group reaches nobody else.
func awaitChange(pid int) (ended bool) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil && info.Code != stoppedCode
		}
	}
}
