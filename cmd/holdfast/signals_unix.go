//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// What ends a program, and what a terminal tells those who draw on it: its size has changed; Ctrl-Z.
var (
	endSignals    = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
	resizeSignals = []os.Signal{syscall.SIGWINCH}
	stopSignals   = []os.Signal{syscall.SIGTSTP}
)

// stopSelf stops this process and returns when it has been continued. SIGSTOP, because a Go program that has once
// caught SIGTSTP cannot stop from it any more; and not before SIGCONT has come, because another thread may be the
// first to hear of the stop, and this one goes on for a moment.
func stopSelf() {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	if syscall.Kill(syscall.Getpid(), syscall.SIGSTOP) == nil {
		<-continued
	}
}
