package child

import "syscall"

// childAttr puts the command into its own group and has the kernel kill it when the starting thread dies.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
