package server

import (
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// expireShare is the part of each period that removing expired keys may take.
const expireShare = 4 // a quarter

// cron is the goroutine that does what is due now and then: it removes expired keys that nobody looks
// at, in time those that somebody waits for, and sends clients away who are idle or do not read.
func (s *Server) cron() {
	period := s.cronPeriod()
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.wakes.timer.C:
			s.expireLocks()
			continue
		case <-tick.C:
		}
		s.mu.Lock()
		if !s.scripts.busy { // in the middle of a script keys neither come nor go
			s.expireKeysLocked(period / expireShare)
		}
		s.tendSessionsLocked()
		next := s.cronPeriodLocked()
		s.mu.Unlock()
		s.collectGarbage()
		if next != period {
			period = next
			tick.Reset(period)
		}
	}
}

func (s *Server) cronPeriod() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cronPeriodLocked()
}

func (s *Server) cronPeriodLocked() time.Duration { return time.Second / time.Duration(s.config.Hz) }

// expireSlice is how long commands wait at most while keys expire; between slices they have their turn.
const expireSlice = time.Millisecond

// expireKeysLocked removes expired keys for about as long as budget.
func (s *Server) expireKeysLocked(budget time.Duration) {
	for end := clock.Now().Add(budget); ; {
		now := clock.Now()
		if !now.Before(end) {
			return
		}
		_, more := s.keys.ExpireCycle(now, expireSlice)
		s.settleLocks(now)
		if !more {
			return
		}
		s.mu.Unlock()
		s.mu.Lock()
	}
}

// enoughGarbage is how many bytes of long replies make an early garbage collection worth while.
const enoughGarbage = 32 << 20

// A garbage is the memory of long replies that have been written. It is to go back to the machine soon: by
// itself that would happen when the heap has doubled, or minutes later.
type garbage struct {
	bytes      atomic.Int64 // not collected yet
	collecting atomic.Bool
	again      bool // used by cron alone
}

// collectGarbage starts a collection if it is worth while. What that costs grows with the live heap, so there
// must be a quarter of it to gain. The runtime keeps what the collection before the last one thought that
// the heap would need, so once no more garbage comes there is a second one.
func (s *Server) collectGarbage() {
	g := &s.garbage
	n := g.bytes.Load()
	enough := n >= enoughGarbage && uint64(n) >= liveHeap()/4
	if g.collecting.Load() || !enough && !(g.again && n < enoughGarbage) {
		return
	}
	g.again = enough
	g.bytes.Add(-n)
	g.collecting.Store(true)
	s.tasks.Go(func() {
		runtime.GC()
		g.collecting.Store(false)
	})
}

// liveHeap returns how many bytes the last collection found in use.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// tendSessionsLocked looks after the clients that make trouble by doing nothing.
func (s *Server) tendSessionsLocked() {
	now := clock.Now()
	for _, session := range s.sessions {
		session.softLimitLocked(now)
		if since := session.writing.Load(); since != 0 && now.Sub(clock.Instant(since)) > s.config.WriteTimeout {
			session.cut()
		}
		if w := session.blocked; w != nil {
			// Its timer has stood still if the machine was suspended.
			if w.over(now) {
				session.wake()
			}
			continue
		}
		if s.config.Timeout > 0 && !session.subscribed() && session.idle(now) > s.config.Timeout {
			session.cut()
		}
	}
}

// softLimitLocked sends the session away when more than the soft limit of its class has been waiting for it
// for too long.
func (s *session) softLimitLocked(now clock.Instant) {
	limit := s.outputLimit()
	switch {
	case limit.Soft == 0 || s.waiting() <= limit.Soft:
		s.overSoft = 0
	case s.overSoft == 0:
		s.overSoft = now
	case now.Sub(s.overSoft) > limit.SoftTime:
		s.cut()
	}
}

// waiting returns how many bytes wait for the client to take them.
func (s *session) waiting() int64 {
	if s.outbox != nil {
		return s.outbox.size.Load()
	}
	return s.unwritten.Load()
}

// idle returns how long nothing has passed between the client and us.
func (s *session) idle(now clock.Instant) time.Duration {
	return now.Sub(clock.Instant(s.active.Load()))
}
