//go:build darwin || freebsd || netbsd || openbsd

package child

import "syscall"

// childAttr puts the command into its own group. There is no parent-death signal: a command whose
// `holdfast lock` was killed with SIGKILL goes on here.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
