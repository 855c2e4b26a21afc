package client

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// The measures of a watchdog.
const (
	// longestNap bounds how long the watchdog sleeps while there are leases. Timers stand still while the
	// machine is suspended and the running clock does not, so a lease that ended in a suspend is found after
	// this.
	longestNap = time.Second
	// maxFlying is how many renewals are under way at most: two full batches for each link, the one that the
	// node works on and the one that is gathered meanwhile. More would be no faster, and whoever else sends
	// something would stand behind them.
	maxFlying = 2 * maxBatch
	// maxStarts is how many renewals are started in one go, before the watchdog looks again whose time is over.
	maxStarts = 64
	// aFew leases are renewed at the very third of their ttl, those of one burst in one batch. Of more than
	// that the renewals are spread.
	aFew = 256
	// spreadAfter is how long a lease rests on the majority that granted it. Most are over by then; those that
	// are not are brought to the other nodes, and do not depend on each single one of a bare majority any more.
	spreadAfter = 100 * time.Millisecond
	// maxPerTick is how many leases at most are spread, or released since they were lost, in one tick: half a batch
	// for each link, so that the rest of what is sent has its place. A hundred thousand take less than two seconds.
	maxPerTick = maxBatch / 2
	// never is after every reading of the clock.
	never = clock.Instant(1<<63 - 1)
)

// A watchdog renews the leases of a client and ends them when their time is over. One goroutine serves all
// leases, over one timer wheel; what it sends at the same moment, the links send as one batch.
//
// It waits for nobody: a renewal is a message to each node and a note when it is decided. So a hundred thousand
// leases cost no goroutine, and a renewal that hangs does not keep any lease, its own included, from ending in
// time. Of renewals that must wait for a place, those of the lease that would end first go first.
type watchdog struct {
	mu     sync.Mutex
	wheel  wheel
	queue  renewals // due, and not started yet
	flying int      // started, and not decided yet
	crowd  crowd
	landed []landing
	wakeAt clock.Instant // until when the goroutine sleeps; zero while it works
	closed bool
	kick   chan struct{} // has a token when there is something to do before wakeAt
	stop   chan struct{}

	wg sync.WaitGroup // run, and renewals
}

// watch is what the watchdog knows of a lease, guarded by watchdog.mu.
type watch struct {
	spoke
	lease   *Lease
	renewAt clock.Instant
	// spreadAt is when the lease is to be brought to the nodes that were not asked for it; never once it was.
	spreadAt clock.Instant
	stage    watchStage
	renews   bool
	placed   bool // spreadAt, or renewAt of one that parts, is a place in the crowd
}

type watchStage uint8

const (
	resting  watchStage = iota // until its renewal is due
	queueing                   // its renewal is due
	renewing                   // its renewal is under way
	parting                    // the lease is over, its lock is not before renewAt
	parted                     // it is not watched any more
)

// A landing is a renewal that was decided.
type landing struct {
	lease *Lease
	began clock.Instant
	err   error
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
	held, all := l.Nodes()
	now := clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	w.renewAt, w.spreadAt = d.spreadLocked(now, l.TTL()/3, 2), never
	if held < all {
		w.spreadAt = now.Add(min(spreadAfter, l.TTL()/6))
	}
	d.putLocked(w)
}

// remove ends the watch over a lease. It reports whether the lock of the lease was left to its release, which
// is now the caller's.
func (d *watchdog) remove(l *Lease) (parts bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	parts = l.watch.stage == parting
	d.wheel.remove(&l.watch)
	l.watch.stage = parted
	return parts
}

// part has the lock of a lease that is over released at that moment. The lease must have been removed.
func (d *watchdog) part(l *Lease, at clock.Instant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l.watch.stage, l.watch.renewAt, l.watch.placed = parting, at, false
	d.putLocked(&l.watch)
}

// moved is told that a lease was renewed by its holder.
func (d *watchdog) moved(l *Lease) {
	now := clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &l.watch
	if !w.turning || w.stage == parting {
		return
	}
	if w.stage == queueing {
		w.stage = resting
	}
	w.renewAt = d.spreadLocked(now, l.TTL()/3, 16)
	d.putLocked(w)
}

// again plans the next renewal after one of the watchdog's own.
func (d *watchdog) again(l *Lease, in time.Duration) {
	now := clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &l.watch
	if !w.turning || w.stage != renewing {
		return
	}
	w.stage = resting
	w.renewAt = d.spreadLocked(now, in, 16)
	d.putLocked(w)
}

// spreadLocked returns when a renewal is to be made that may come that long after now, and not later. If there
// are many leases, it comes a little earlier, by up to one part of so many, so that those that were taken in one
// burst do not stay together for ever; and at the beginning of a tick, so that those of one tick need one look.
func (d *watchdog) spreadLocked(now clock.Instant, in time.Duration, parts int) clock.Instant {
	at := now.Add(in)
	if d.wheel.n <= aFew || in < aFew*wheelTick {
		return at
	}
	at = at.Add(-rand.N(in / time.Duration(parts)))
	return at - at%clock.Instant(wheelTick)
}

// putLocked puts a lease into the wheel for the next moment at which something is to be done about it, and
// wakes the goroutine if it would oversleep that.
func (d *watchdog) putLocked(w *watch) {
	due := min(w.lease.end(), w.spreadAt)
	switch {
	case w.stage == parting:
		due = w.renewAt
	case w.wants():
		due = min(due, w.renewAt)
	}
	d.wheel.put(w, due)
	if due.Before(d.wakeAt) {
		d.poke()
	}
}

// wants tells whether the lease is to be renewed at renewAt: not if it lasts for as long as it may anyway.
func (w *watch) wants() bool {
	return w.renews && w.stage == resting && w.lease.grant.End().Before(w.lease.limit)
}

func (d *watchdog) poke() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// chores is what the watchdog has to do at one moment. It is reused.
type chores struct {
	over    []*Lease
	spreads []*Lease
	landed  []landing
	starts  []*Lease
	// nap is for how long nothing else is to be done, if anything is.
	nap time.Duration
	any bool
}

func (d *watchdog) run() {
	timer := time.NewTimer(longestNap)
	defer timer.Stop()
	var c chores
	for {
		for d.look(&c); c.busy(); d.look(&c) {
			d.work(&c)
		}
		if c.any {
			timer.Reset(c.nap)
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

func (c *chores) busy() bool { return len(c.over)+len(c.spreads)+len(c.landed)+len(c.starts) > 0 }

// work does the chores, none of which waits for anybody. First comes what has its time.
func (d *watchdog) work(c *chores) {
	for _, l := range c.over {
		l.timeUp()
	}
	for _, l := range c.spreads {
		l.c.quorum.Spread(l.grant)
	}
	for _, x := range c.landed {
		l := x.lease
		// After a failure the next renewal comes sooner: there is a third of the ttl less to try.
		next := l.TTL() / 12
		if err := l.renewed(x.began, x.err); err == nil {
			next = max(next, l.TTL()/3-clock.Since(x.began))
		}
		d.again(l, next)
	}
	for _, l := range c.starts {
		l.leaveQueue()
		began := clock.Now()
		l.c.quorum.RenewAsync(l.grant, func(err error) { d.land(landing{l, began, err}) })
	}
}

// land notes that a renewal was decided. The goroutine that tells is a node's, and is not kept.
func (d *watchdog) land(x landing) {
	d.mu.Lock()
	d.landed = append(d.landed, x)
	d.flying--
	d.mu.Unlock()
	d.poke()
	d.wg.Done()
}

// look finds out what there is to do.
func (d *watchdog) look(c *chores) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := clock.Now()
	clear(c.landed)
	c.over, c.spreads, c.starts = c.over[:0], c.spreads[:0], c.starts[:0]
	c.landed, d.landed = d.landed, c.landed[:0]
	d.wakeAt = 0
	d.wheel.turn(now, func(w *watch) {
		if w.stage != parting && d.mayLocked(w, &w.spreadAt, now) {
			w.spreadAt = never
			c.spreads = append(c.spreads, w.lease)
		}
		switch {
		case w.stage == parting && !d.mayLocked(w, &w.renewAt, now):
		case w.stage == parting || !w.lease.holds(now):
			c.over = append(c.over, w.lease)
			return
		case w.wants() && !now.Before(w.renewAt):
			w.stage = queueing
			heap.Push(&d.queue, renewal{w, w.lease.end()})
		}
		d.putLocked(w)
	})
	for d.flying < maxFlying && len(d.queue) > 0 && len(c.starts) < maxStarts && !d.closed {
		w := heap.Pop(&d.queue).(renewal).watch
		if w.stage == queueing { // else it has been renewed, or ended, meanwhile
			w.stage = renewing
			d.flying++
			d.wg.Add(1)
			c.starts = append(c.starts, w.lease)
		}
	}
	if c.busy() {
		return
	}
	d.wakeAt, c.any = d.wheel.earliest()
	if !c.any {
		d.wakeAt = never
		return
	}
	d.wakeAt = min(d.wakeAt, now.Add(longestNap))
	c.nap = d.wakeAt.Sub(now)
}

// mayLocked tells whether something is to be sent for the lease now that was to be at that moment. If too many
// others are as far, it moves the moment.
func (d *watchdog) mayLocked(w *watch, at *clock.Instant, now clock.Instant) bool {
	if now.Before(*at) {
		return false
	}
	if !w.placed {
		*at = d.crowd.place(now)
	}
	w.placed = now.Before(*at)
	return !w.placed
}

// A crowd is what wants to be sent at the same moment, and has to wait for the next ticks.
type crowd struct {
	tick int64 // the last one in which there is anything
	n    int   // how many in that
}

// place returns when the next one may be sent: now, or at the beginning of a later tick.
func (c *crowd) place(now clock.Instant) clock.Instant {
	tick := tickOf(now)
	if c.tick < tick {
		c.tick, c.n = tick, 0
	}
	if c.n == maxPerTick {
		c.tick, c.n = c.tick+1, 0
	}
	c.n++
	if c.tick == tick {
		return now
	}
	return clock.Instant(c.tick * int64(wheelTick))
}

// leases returns all leases that are watched.
func (d *watchdog) leases() []*Lease {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*Lease, 0, d.wheel.n)
	d.wheel.all(func(w *watch) { all = append(all, w.lease) })
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

// A renewal is due and waits for its place.
type renewal struct {
	watch *watch
	end   clock.Instant // of the lease, if nothing is done
}

// renewals have that of the lease that would end first on top. One that is needed no more stays until its turn.
type renewals []renewal

func (q renewals) Len() int           { return len(q) }
func (q renewals) Less(i, j int) bool { return q[i].end < q[j].end }
func (q renewals) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *renewals) Push(x any) { *q = append(*q, x.(renewal)) }

// Pop implements heap.Interface.
func (q *renewals) Pop() any {
	last := len(*q) - 1
	r := (*q)[last]
	(*q)[last] = renewal{}
	*q = (*q)[:last]
	return r
}
