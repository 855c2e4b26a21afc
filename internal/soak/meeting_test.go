package soak

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/client"
)

// A meeting is what the workers of one name know of each other beside the nodes: the round that they are in, and
// who has come to it. Barriers, latches and ticks are judged by it.
//
// They remember on nodes that are killed and forget; a round that takes longer than any node needs to come back
// empty is given up, since by then a majority may have forgotten it.
type meeting struct {
	mu    sync.Mutex
	round int
	come  map[int]map[int]bool // workers by round
	ran   map[int]int          // how often the work of a round was done
}

// roundTime is less than a node is away after it was killed.
const roundTime = ttl * 2 / 3

func newMeeting() *meeting {
	return &meeting{come: make(map[int]map[int]bool), ran: make(map[int]int)}
}

// join returns the round that is under way, to which the worker has come.
func (m *meeting) join(worker int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.come[m.round] == nil {
		m.come[m.round] = make(map[int]bool)
	}
	m.come[m.round][worker] = true
	return m.round
}

// over ends a round, if that has not been done.
func (m *meeting) over(round int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.round = max(m.round, round+1)
	delete(m.come, round-10) // nobody is there any more
	delete(m.ran, round-10)
}

// complete returns an error unless all have come to a round.
func (m *meeting) complete(what string, round int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.come[round]); n < workers/names {
		return &breach{fmt.Sprintf("%s opened its round %d for %d of %d", what, round, n, workers/names)}
	}
	return nil
}

// work is told that the work of a round is done, which must be for the first time.
func (m *meeting) work(what string, round int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ran[round]++; m.ran[round] > 1 {
		return &breach{fmt.Sprintf("%s did the work of tick %d twice", what, round)}
	}
	return nil
}

// meet goes to a round together with all others of the name.
func (w *worker) meet(ctx context.Context, kind string, await func(ctx context.Context, round, me string) error) error {
	m := w.spot.meeting
	round := m.join(w.id)
	wait, cancel := context.WithTimeoutCause(ctx, roundTime, errGaveUp)
	defer cancel()
	began := time.Now()
	if err := await(wait, strconv.Itoa(round), strconv.Itoa(w.id)); err != nil {
		if wait.Err() != nil {
			m.over(round)
		}
		return err
	}
	w.a.score.had(kind, time.Since(began))
	w.had.Store(time.Now().UnixNano())
	defer m.over(round)
	return m.complete(w.spot.name, round)
}

func barrier(ctx context.Context, w *worker, c *client.Client) error {
	b := c.Barrier(w.spot.name, workers/names, client.Remember(time.Minute))
	return w.meet(ctx, "barrier", b.Await)
}

func latch(ctx context.Context, w *worker, c *client.Client) error {
	return w.meet(ctx, "latch", func(ctx context.Context, round, me string) error {
		l := c.Latch(w.spot.name+"/"+round, client.Remember(time.Minute))
		if err := l.CountDown(ctx, me); err != nil {
			return err
		}
		return l.Wait(ctx, workers/names)
	})
}

// once does the work of the tick that is under way, if nobody has.
func once(ctx context.Context, w *worker, c *client.Client) error {
	m := w.spot.meeting
	round := m.join(w.id)
	wait, cancel := context.WithTimeoutCause(ctx, roundTime, errGaveUp)
	defer cancel()
	began := time.Now()
	var fault error
	ran, err := c.Once(wait, w.spot.name, client.TickOf(strconv.Itoa(round), time.Minute), func(_ context.Context, l *client.Lease) error {
		if fault = m.work(w.spot.name, round); fault != nil {
			return nil
		}
		fault = w.stay("once", time.Since(began), l.Context(), false, seat{w.spot.referee, l})
		return nil
	})
	if fault != nil {
		return fault
	}
	if ran || err == nil || wait.Err() != nil {
		m.over(round) // this worker or another one has done it, or nobody will
	}
	w.had.Store(time.Now().UnixNano()) // that somebody else has done it is what it wanted
	if lostLease(err) {
		return nil
	}
	return err
}

func readLock(ctx context.Context, w *worker, c *client.Client) error {
	wait, cancel := w.patience(ctx)
	defer cancel()
	began := time.Now()
	l, err := c.RLock(wait, w.spot.name, w.options()...)
	if err != nil {
		return err
	}
	defer w.end(ctx, l)
	return w.stay("read", time.Since(began), l.Context(), true, seat{w.spot.referee, l})
}

func tryReadLock(ctx context.Context, w *worker, c *client.Client) error {
	began := time.Now()
	l, err := c.TryRLock(ctx, w.spot.name, w.options()...)
	if err != nil {
		return err
	}
	defer w.end(ctx, l)
	return w.stay("try read", time.Since(began), l.Context(), true, seat{w.spot.referee, l})
}
