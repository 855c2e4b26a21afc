//go:build darwin || freebsd || netbsd || openbsd

package child

import "syscall"

// childAttr puts the command into its own group. There is no parent-death signal: a command whose
// `holdfast lock` was killed with SIGKILL goes on here.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitChange reports that nothing is known yet: there is no portable way here to hear of an end without
// collecting the process, after which the id of its group is free for others.
func awaitChange(pid int) (ended bool) { return false }
