package server

import (
	"sync"
	"sync/atomic"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// An outbox is what a session has once others send to it: everything that goes to the client passes
// through it in one order, and its own goroutine does the writing, so that nobody who puts something in
// ever waits for a socket. How much may pile up is bounded by the output limits.
type outbox struct {
	s    *session
	done chan struct{} // closed when run has ended

	// size is how many bytes are waiting or being written; cron reads it to judge the soft limit.
	size atomic.Int64

	mu     sync.Mutex
	filled *sync.Cond // something was put in, or closed
	room   *sync.Cond // something was written, or will never be
	w      resp.Writer
	closed bool // nothing more will come: run writes what there is and ends
	broken bool // nothing can be written any more
}

// needOutbox gives the session an outbox. From now on its replies go there too.
func (s *session) needOutbox() {
	if s.outbox != nil {
		return
	}
	o := &outbox{s: s, done: make(chan struct{})}
	o.filled = sync.NewCond(&o.mu)
	o.room = sync.NewCond(&o.mu)
	s.outbox = o
	go o.run()
}

// append puts replies in and leaves w empty.
func (o *outbox) append(w *resp.Writer) {
	if w.Len() == 0 {
		return
	}
	o.put(func(to *resp.Writer) { to.Raw(w.Bytes()) })
	if w.Cap() > keptBuffer {
		w.Release()
	} else {
		w.Reset()
	}
}

// put lets write append to what is waiting.
func (o *outbox) put(write func(to *resp.Writer)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.broken {
		return
	}
	before := o.w.Len()
	write(&o.w)
	size := o.size.Add(int64(o.w.Len() - before))
	if hard := o.s.srv.limits.Load().pubsub.Hard; hard > 0 && size > hard {
		o.overflowLocked()
		return
	}
	o.filled.Signal()
}

// overflowLocked gives the client up: it reads too slowly for what it wants to hear.
func (o *outbox) overflowLocked() {
	o.breakLocked()
	o.filled.Signal()
}

// breakLocked stops taking anything in and makes the session notice.
func (o *outbox) breakLocked() {
	o.broken = true
	o.w.Release()
	o.s.conn.Close()
	o.room.Signal()
}

// run is the outbox's goroutine: it writes until the outbox is closed and empty, or the connection fails.
func (o *outbox) run() {
	defer close(o.done)
	var spare []byte
	for {
		o.mu.Lock()
		for o.w.Len() == 0 && !o.closed && !o.broken {
			o.filled.Wait()
		}
		if o.broken || o.w.Len() == 0 {
			o.mu.Unlock()
			return
		}
		out := o.w.Swap(spare)
		o.mu.Unlock()

		ok := o.s.write(out, clock.Now())
		o.size.Add(int64(-len(out)))
		o.mu.Lock()
		if !ok {
			o.breakLocked()
			o.mu.Unlock()
			return
		}
		o.room.Signal()
		o.mu.Unlock()
		spare = out
		if cap(spare) > keptBuffer {
			spare = nil
		}
	}
}

// outboxRoom is how many bytes may wait before the session stops to read commands.
const outboxRoom = 1 << 20

// waitRoom waits until less than outboxRoom is waiting. It returns false when the connection has failed.
func (o *outbox) waitRoom() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.size.Load() > outboxRoom && !o.broken {
		o.room.Wait()
	}
	return !o.broken
}

// drain waits until what was put in is written, or cannot be.
func (o *outbox) drain() {
	o.mu.Lock()
	o.closed = true
	o.filled.Signal()
	o.mu.Unlock()
	<-o.done
}
