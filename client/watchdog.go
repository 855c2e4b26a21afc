package client

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// longestNap bounds how long the watchdog sleeps while there are leases. Timers stand still while the machine
// is suspended and the running clock does not, so a lease that ended in a suspend is found after this.
const longestNap = time.Second

// spreadAfter is how long a lease rests on the majority that granted it. Most are over by then; those that are
// not are brought to the other nodes, and do not depend on each single one of a bare majority any more.
const spreadAfter = 100 * time.Millisecond

// never is after every reading of the clock.
const never = clock.Instant(1<<63 - 1)

// A watchdog renews the leases of a client and ends them when their time is over. One goroutine serves all
// leases; what it finds due at the same moment, the links send as one batch.
//
// It never waits for a renewal: each runs in a goroutine of its own, so that a renewal that hangs does not
// keep any lease, its own included, from ending in time.
type watchdog struct {
	mu      sync.Mutex
	watched watchHeap
	closed  bool
	kick    chan struct{} // has a token when the first due time may have moved forward
	stop    chan struct{}

	wg sync.WaitGroup // run, and renewals
}

// watch is what the watchdog knows of a lease, guarded by watchdog.mu.
type watch struct {
	lease    *Lease
	index    int // in the heap; -1: not watched
	due      clock.Instant
	renewAt  clock.Instant
	spreadAt clock.Instant // never once it is done
	renews   bool
	renewing bool
}

func newWatchdog() *watchdog {
	d := &watchdog{kick: make(chan struct{}, 1), stop: make(chan struct{})}
	d.wg.Go(d.run)
	return d
}

// add begins to watch a lease.
func (d *watchdog) add(l *Lease, renews bool) {
	w := &l.watch
	w.lease, w.renews = l, renews
	d.mu.Lock()
	defer d.mu.Unlock()
	w.index = -1
	now := clock.Now()
	w.renewAt, w.spreadAt = now.Add(l.TTL()/3), never
	if held, all := l.Nodes(); held < all {
		w.spreadAt = now.Add(min(spreadAfter, l.TTL()/6))
	}
	w.schedule()
	heap.Push(&d.watched, w)
	d.kickLocked(w)
}

// remove ends the watch over a lease.
func (d *watchdog) remove(l *Lease) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.watch.index >= 0 {
		heap.Remove(&d.watched, l.watch.index)
	}
}

// moved is told that a lease was renewed by its holder.
func (d *watchdog) moved(l *Lease) { d.plan(&l.watch, l.watch.lease.TTL()/3, false) }

// plan sets when a lease is to be renewed next. done ends a renewal of the watchdog's own.
func (d *watchdog) plan(w *watch, in time.Duration, done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if done {
		w.renewing = false
	}
	if w.index < 0 {
		return
	}
	w.renewAt = clock.Now().Add(in)
	w.schedule()
	heap.Fix(&d.watched, w.index)
	d.kickLocked(w)
}

// schedule sets the next moment at which something is to be done about a lease.
func (w *watch) schedule() {
	w.due = min(w.lease.grant.End(), w.spreadAt)
	if w.renews && !w.renewing {
		w.due = min(w.due, w.renewAt)
	}
}

// kickLocked wakes the goroutine if w is the first that is due.
func (d *watchdog) kickLocked(w *watch) {
	if w.index != 0 {
		return
	}
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

func (d *watchdog) run() {
	timer := time.NewTimer(longestNap)
	defer timer.Stop()
	for {
		nap, any := d.tick()
		if any {
			timer.Reset(nap)
		} else {
			timer.Stop()
		}
		select {
		case <-timer.C:
		case <-d.kick:
		case <-d.stop:
			return
		}
	}
}

// tick does everything that is due, and returns how long nothing else is.
func (d *watchdog) tick() (nap time.Duration, any bool) {
	for {
		over, spread, nap, any := d.sweep()
		for _, l := range spread {
			l.c.quorum.Spread(l.grant)
		}
		if len(over) == 0 {
			return nap, any
		}
		for _, l := range over {
			l.expire()
		}
	}
}

// sweep starts the renewals that are due and takes out the leases that are over, and those that are to be spread.
func (d *watchdog) sweep() (over, spread []*Lease, nap time.Duration, any bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := clock.Now()
	for len(d.watched) > 0 && !now.Before(d.watched[0].due) {
		w := d.watched[0]
		if !w.lease.grant.Held() {
			heap.Pop(&d.watched)
			over = append(over, w.lease)
			continue
		}
		if w.renews && !w.renewing && !now.Before(w.renewAt) && !d.closed {
			w.renewing = true
			d.wg.Go(func() { d.renew(w) })
		}
		if !now.Before(w.spreadAt) {
			w.spreadAt = never
			spread = append(spread, w.lease)
		}
		w.schedule()
		if !now.Before(w.due) { // its end is this moment but for a reading of the clock
			w.due = now.Add(time.Microsecond)
		}
		heap.Fix(&d.watched, 0)
	}
	if len(d.watched) == 0 {
		return over, spread, 0, false
	}
	return over, spread, min(d.watched[0].due.Sub(now), longestNap), true
}

// renew makes one renewal. After a failure the next comes sooner: there is a third of the ttl less to try.
func (d *watchdog) renew(w *watch) {
	l := w.lease
	l.leaveQueue()
	began := clock.Now()
	next := l.TTL() / 12
	if err := l.Renew(context.Background()); err == nil {
		next = max(next, l.TTL()/3-clock.Since(began))
	}
	d.plan(w, next, true)
}

// leases returns all leases that are watched.
func (d *watchdog) leases() []*Lease {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*Lease, len(d.watched))
	for i, w := range d.watched {
		all[i] = w.lease
	}
	return all
}

// close ends the goroutine and waits for renewals under way. Leases that are still watched are not.
func (d *watchdog) close() {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.stop)
	}
	d.mu.Unlock()
	d.wg.Wait()
}

// A watchHeap has the lease that is due first on top.
type watchHeap []*watch

func (h watchHeap) Len() int           { return len(h) }
func (h watchHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h watchHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *watchHeap) Push(x any) {
	w := x.(*watch)
	w.index = len(*h)
	*h = append(*h, w)
}

// Pop implements heap.Interface.
func (h *watchHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	w.index = -1
	return w
}
