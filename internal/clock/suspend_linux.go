package clock

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Go's monotonic reading is CLOCK_MONOTONIC, which stands still while the machine is suspended.
// CLOCK_BOOTTIME does not. Their difference is the time spent suspended, and adding what it has grown by
// to Go's own reading gives a clock that is right across suspend and is still faked by synctest.
const (
	clockMonotonic = 1
	clockBoottime  = 7
)

// jitter is the growth of the difference that is taken for a real suspend. The two clocks are read one
// after the other, so a thread that is preempted between them sees a false difference; suspends shorter
// than this fall under the drift allowance of a lock (at least 2 ms).
const jitter = time.Millisecond

var (
	atStart = gap()
	asleep  atomic.Int64 // time suspended since start; only grows
	looked  atomic.Int64 // the lead of the wall clock when the kernel's clocks were last looked at
)

// suspended returns the time that the machine has been suspended since the process started. lead is how far
// the wall clock is ahead of Go's monotonic reading, both taken together.
//
// Asking the kernel takes two system calls, Go's readings take none. A suspend moves the lead by its own
// length, since the kernel adds it to the wall clock; so as long as the lead is what it was, nobody slept.
// That somebody then sets the wall clock back by just as much, to the millisecond, is not reckoned with.
// Any other step of the wall clock, its slow correction and a bubble's fake time only cost another look.
func suspended(lead int64) time.Duration {
	if moved := time.Duration(lead - looked.Load()); -jitter < moved && moved < jitter {
		return time.Duration(asleep.Load())
	}
	slept := look()
	looked.Store(lead) // after asleep: whoever sees the new lead must see the sleep
	return slept
}

// look asks the kernel.
func look() time.Duration {
	known := time.Duration(asleep.Load())
	grown := gap() - atStart
	// A false difference does not repeat; the least of a few readings is the true one.
	for try := 0; grown-known > jitter && try < 4; try++ {
		grown = min(grown, gap()-atStart)
	}
	if grown-known <= jitter {
		return known
	}
	if !asleep.CompareAndSwap(int64(known), int64(grown)) {
		return look()
	}
	return grown
}

// gap returns CLOCK_BOOTTIME minus CLOCK_MONOTONIC, never less than the truth.
func gap() time.Duration {
	mono := read(clockMonotonic)
	return read(clockBoottime) - mono
}

func read(id uintptr) time.Duration {
	var ts syscall.Timespec
	// The call fails only for a clock that the kernel does not know; both are older than Go's own floor.
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		panic("clock: clock_gettime: " + errno.Error())
	}
	return time.Duration(ts.Nano())
}
