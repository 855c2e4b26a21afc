//go:build !linux

package etcd_test

import "syscall"

func dieWithTest() *syscall.SysProcAttr { return nil }
