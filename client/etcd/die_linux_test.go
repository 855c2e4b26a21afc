package etcd_test

import "syscall"

// dieWithTest ends a process with the test's, also if that is killed.
func dieWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
