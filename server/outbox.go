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
	// attentive says that the client gets nothing but replies to what it sends: it can be expected to read
	// them all before it is read from again, as if there were no outbox.
	attentive atomic.Bool

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

// append puts replies in and leaves w empty. The execution lock is held.
func (o *outbox) append(w *resp.Writer) {
	if w.Len() == 0 {
		return
	}
	o.put(o.s.outputLimit().Hard, func(to *resp.Writer) { to.Append(w) })
	if w.Cap() > keptBuffer {
		w.Release()
	} else {
		w.Reset()
	}
}

// put lets write append to what is waiting, of which there may be hard bytes; 0 is no limit.
func (o *outbox) put(hard int64, write func(to *resp.Writer)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.broken {
		return
	}
	before := o.w.Len()
	write(&o.w)
	size := o.size.Add(int64(o.w.Len() - before))
	if hard > 0 && size > hard {
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
	var out resp.Writer
	for {
		o.mu.Lock()
		for o.w.Len() == 0 && !o.closed && !o.broken {
			o.filled.Wait()
		}
		if o.broken || o.w.Len() == 0 {
			o.mu.Unlock()
			return
		}
		out.Swap(&o.w)
		o.mu.Unlock()

		size := out.Len()
		ok := o.s.write(&out, clock.Now())
		o.size.Add(int64(-size))
		o.mu.Lock()
		if !ok {
			o.breakLocked()
			o.mu.Unlock()
			return
		}
		o.room.Signal()
		o.mu.Unlock()
	}
}

// outboxRoom is how many bytes may wait before the session stops to read commands.
const outboxRoom = 1 << 20

// waitRoom waits until less than outboxRoom is waiting, or nothing if the client is attentive. It returns false when the connection has failed.
func (o *outbox) waitRoom() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	most := int64(outboxRoom)
	if o.attentive.Load() {
		most = 0
	}
	for o.size.Load() > most && !o.broken {
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
