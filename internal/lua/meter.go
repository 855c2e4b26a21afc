package lua

import (
	"runtime"
	"runtime/metrics"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// A meter stops a script that its host has given up on or that eats too much memory.
//
// It poses as the context of the Lua state: the virtual machine calls Done before each instruction, and
// that call is what counts them. As long as the script may go on, Done returns nil, from which nothing can
// be received. Once it may not, Done returns a closed channel for ever, so that pcall catches the error
// but not the end: the next instruction fails again.
//
// Library functions do unbounded work within one instruction. They count it with work and charge.
type meter struct {
	memory  uint64 // bytes that a script may add to the heap
	host    Host
	left    int    // instructions until the next look
	fresh   uint64 // bytes charged since the last look
	base    uint64 // the heap when the script started; 0 until the first look
	err     error  // why the script must end
	samples [1]metrics.Sample
}

const (
	lookEvery   = 4096     // instructions, some tens of microseconds
	chargeEvery = 16 << 20 // bytes
)

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (m *meter) start(h Host) {
	m.host, m.left, m.fresh, m.base, m.err = h, lookEvery, 0, 0, nil
}

// Done implements context.Context.
func (m *meter) Done() <-chan struct{} {
	if m.left--; m.left > 0 {
		return nil
	}
	if m.look(); m.err != nil {
		return closed
	}
	return nil
}

// Err implements context.Context.
func (m *meter) Err() error { return m.err }

// Deadline and Value implement context.Context.
func (m *meter) Deadline() (time.Time, bool) { return time.Time{}, false }
func (m *meter) Value(any) any               { return nil }

// work counts n steps of a library function, each about as long as an instruction.
func (m *meter) work(l *lua.LState, n int) {
	if m.left -= n; m.left <= 0 {
		m.look()
	}
	if m.err != nil {
		l.RaiseError("%s", m.err.Error())
	}
}

// charge counts n bytes that a library function is about to allocate.
func (m *meter) charge(l *lua.LState, n int) {
	if n > maxString || uint64(n) > m.memory {
		m.end(errNoMemory)
	}
	if m.fresh += uint64(n); m.fresh > chargeEvery {
		m.look()
	}
	if m.err != nil {
		l.RaiseError("%s", m.err.Error())
	}
}

const errNoMemory = scriptError("ERR not enough memory for the script")

// end ends the script: from now on every instruction looks, and fails.
func (m *meter) end(err error) { m.err, m.left = err, 0 }

// look asks the host and weighs the heap.
func (m *meter) look() {
	if m.err != nil {
		m.left = 0
		return
	}
	m.left, m.fresh = lookEvery, 0
	if err := m.host.Interrupt(); err != nil {
		m.end(err)
		return
	}
	heap := m.heap()
	if m.base == 0 {
		m.base = heap
		return
	}
	if heap < m.base {
		m.base = heap // what others had left behind was collected
	}
	if heap-m.base <= m.memory {
		return
	}
	// Most of it may be garbage that nobody has collected yet.
	runtime.GC()
	if heap = m.heap(); heap > m.base && heap-m.base > m.memory {
		m.end(errNoMemory)
	}
}

// heap returns the bytes of objects on the heap, dead ones included until they are swept.
func (m *meter) heap() uint64 {
	m.samples[0].Name = "/memory/classes/heap/objects:bytes"
	metrics.Read(m.samples[:])
	return m.samples[0].Value.Uint64()
}
