package main

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// attr makes a child that a Ctrl-C on the terminal does not reach, since we end it ourselves, and that does not
// outlive us, whatever ends us.
func attr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// monotonic reads the clock that all processes of this machine have in common. internal/clock's running clock
// counts from the start of each process, so the records of several could not be merged.
func monotonic() time.Duration {
	return reading(unix.CLOCK_MONOTONIC)
}

// cpuSelf returns the processor time that this process has used.
func cpuSelf() time.Duration { return reading(unix.CLOCK_PROCESS_CPUTIME_ID) }

// cpuOf returns the processor time that another process has used, to the nanosecond: the ticks in /proc/PID/stat
// are too coarse for a short round.
func cpuOf(pid int) time.Duration {
	const ofProcess = 2
	return reading(int32(^pid)<<3 | ofProcess) // as clock_getcpuclockid makes it
}

// reading returns zero for the clock of a process that is gone.
func reading(clockid int32) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(clockid, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}
