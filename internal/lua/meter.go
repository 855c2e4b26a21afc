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
// Library functions do unbounded work within one instruction. They count it with work, read and charge.
//
// Comparing strings, and finding a table's field by one, are instructions too, and take as long as the
// strings. Nobody can count those of the virtual machine one by one; but none is longer than the longest
// string that the script has had (note), and so each instruction counts for as much as if it compared that one.
type meter struct {
	memory  uint64 // bytes that a script may add to the heap
	host    Host
	step    int    // what an instruction counts for
	left    int    // steps until the host is asked again
	unasked int    // times that the host is asked before the heap is weighed again
	fresh   uint64 // bytes charged since the heap was weighed
	base    uint64 // the heap when the script started; 0 until it was weighed
	err     error  // why the script must end
	samples [1]metrics.Sample
}

const (
	lookEvery   = 4096     // steps, some tens of microseconds
	chargeEvery = 16 << 20 // bytes
	readPerStep = 16       // bytes that a library function goes through in the time of a step
	readAtOnce  = 64 << 10 // bytes that it goes through before it counts them
	// A comparison goes through so many bytes in some microseconds. With strings up to this length 4096
	// instructions take some tens of milliseconds at worst, and with longer ones the host is asked the earlier.
	longString = 8 << 10
)

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (m *meter) start(h Host) {
	m.host, m.step, m.left, m.unasked, m.fresh, m.base, m.err = h, 1, lookEvery, 0, 0, 0, nil
}

// Done implements context.Context.
func (m *meter) Done() <-chan struct{} {
	if m.left -= m.step; m.left > 0 {
		return nil
	}
	// Weighing takes longer than asking, and depends on how many instructions there were, not how long ones.
	if m.ask(); m.unasked <= 0 {
		m.weigh()
	}
	if m.err != nil {
		return closed
	}
	return nil
}

// Err implements context.Context.
func (m *meter) Err() error { return m.err }

// Deadline and Value implement context.Context.
func (m *meter) Deadline() (time.Time, bool) { return time.Time{}, false }
func (m *meter) Value(any) any               { return nil }

// note sees that the script has a string of n bytes.
func (m *meter) note(n int) {
	if step := 1 + n/longString; step > m.step {
		m.step = min(step, lookEvery)
	}
}

// work counts n steps of a library function, each about as long as an instruction.
func (m *meter) work(l *lua.LState, n int) {
	if m.left -= n; m.left <= 0 {
		m.look()
	}
	if m.err != nil {
		l.RaiseError("%s", m.err.Error())
	}
}

// read counts that a library function goes through n bytes. It should do so for each readAtOnce of them, so
// that the script can be ended meanwhile.
func (m *meter) read(l *lua.LState, n int) { m.work(l, n/readPerStep) }

// charge counts n bytes of a string that a library function is about to make.
func (m *meter) charge(l *lua.LState, n int) {
	m.reserve(l, n)
	m.note(n)
}

// reserve counts n bytes that a library function is about to allocate for something else.
func (m *meter) reserve(l *lua.LState, n int) {
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
	m.ask()
	m.weigh()
}

// ask asks the host whether the script may go on.
func (m *meter) ask() {
	if m.err != nil {
		m.left = 0
		return
	}
	m.left = lookEvery
	m.unasked--
	if err := m.host.Interrupt(); err != nil {
		m.end(err)
	}
}

// weigh ends the script if it has taken too much memory.
func (m *meter) weigh() {
	if m.err != nil {
		return
	}
	m.unasked, m.fresh = m.step, 0
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
