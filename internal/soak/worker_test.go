package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/client"
)

// A worker is one goroutine that uses the primitives of its name, again and again. There are as many for each
// name as for every other, spread over the clients.
type worker struct {
	a      *arena
	id     int
	spot   *spot
	rng    *rand.Rand
	client int // index of its client

	// had is when it last had something, for the watchdog.
	had atomic.Int64
}

// A spot is a name with what is done there.
type spot struct {
	name    string
	referee *referee
	kinds   []kind
	slots   []*referee // of a semaphore, one for each permit
	meeting *meeting   // of barriers, latches and ticks
}

// A kind is one way to use a primitive, and how often it is chosen among those of its name. do returns nil, an
// error that score.failed knows, or one that fails the test. Its context ends with the run.
type kind struct {
	name   string
	weight int
	do     func(ctx context.Context, w *worker, c *client.Client) error
}

// errGaveUp is the cause with which a worker ends a wait of its own.
var errGaveUp = errors.New("gave up")

// families are which kinds of operations meet on one name. LockAll is rare: it holds one lock while it stands in
// line for another, and if many did so, all of them would wait for each other most of the time.
var families = []struct {
	name  string
	kinds []kind
}{
	{"mutex", []kind{{"lock", 2, lock}, {"try", 1, tryLock}, {"do", 2, do}}},
	{"mutex", []kind{{"lock", 1, lock}, {"do", 1, do}}},
	{"all", []kind{{"lock all", 1, lockAll}, {"lock", 6, lock}, {"do", 6, do}, {"try", 1, tryLock}}},
	{"semaphore", []kind{{"acquire", 3, acquire}, {"try acquire", 1, tryAcquire}}},
	{"shared", []kind{{"read", 6, readLock}, {"try read", 1, tryReadLock}, {"lock", 1, lock}, {"do", 1, do}}},
	{"barrier", []kind{{"barrier", 1, barrier}}},
	{"latch", []kind{{"latch", 1, latch}}},
	{"once", []kind{{"once", 1, once}}},
	{"election", []kind{{"elect", 4, elect}, {"observe", 1, observe}}},
}

// permits is how many a semaphore has.
const permits = 3

// choose draws a kind of operation.
func (w *worker) choose() kind {
	sum := 0
	for _, k := range w.spot.kinds {
		sum += k.weight
	}
	at := w.rng.IntN(sum)
	for _, k := range w.spot.kinds {
		if at -= k.weight; at < 0 {
			return k
		}
	}
	panic("soak: no kind")
}

// run works until ctx is done. An error is a fault of what is tested.
func (w *worker) run(ctx context.Context) error {
	for ctx.Err() == nil {
		k := w.choose()
		err := k.do(ctx, w, w.a.client(w.client))
		if err == nil || ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			continue
		}
		var b *breach
		if errors.As(err, &b) {
			return err
		}
		if err := w.a.score.failed(k.name, err); err != nil {
			return err
		}
		// Whoever is refused comes again, but not at once: nobody polls like that.
		select {
		case <-time.After(time.Duration(w.rng.IntN(50)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

// patience returns the context of a wait: a few waits are given up.
func (w *worker) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.rng.IntN(20) > 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, time.Duration(w.rng.IntN(300))*time.Millisecond, errGaveUp)
}

// hold is for how long the worker stays in: mostly a moment; now and then for so long that it needs renewals,
// and that nodes fail meanwhile.
func (w *worker) hold() time.Duration {
	longest := 2 * time.Millisecond
	if w.rng.IntN(300) == 0 {
		longest = 2 * ttl
	}
	return time.Duration(w.rng.Int64N(int64(longest)))
}

// options draws those of a lock.
func (w *worker) options() []client.LockOption {
	if w.rng.IntN(10) == 0 {
		return []client.LockOption{client.WithoutRenew(), client.TTL(ttl / 2)}
	}
	return nil
}

// A lease is what all primitives give out.
type lease interface {
	holding
	Context() context.Context
	Unlock(ctx context.Context) error
}

// stay is between the grant and the release: it goes past the referees, stays for a while and leaves.
func (w *worker) stay(kind string, waited time.Duration, life context.Context, shared bool, in ...seat) error {
	w.a.score.had(kind, waited)
	w.had.Store(time.Now().UnixNano())
	for _, s := range in {
		ok, err := s.referee.enter(s.lease, shared)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		if ok {
			defer s.referee.leave(s.lease)
		}
	}
	select {
	case <-time.After(w.hold()):
	case <-life.Done():
		w.a.score.lost(kind, context.Cause(life))
	}
	return nil
}

// A seat is a lease and who judges it.
type seat struct {
	referee *referee
	lease   holding
}

// end releases, most often with time to wait for the answers.
func (w *worker) end(ctx context.Context, l interface{ Unlock(context.Context) error }) {
	ctx = context.WithoutCancel(ctx)
	if w.rng.IntN(20) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		cancel() // the release is sent all the same
	}
	l.Unlock(ctx) // a loss was counted, and what could not be confirmed ends with its ttl
}

func lock(ctx context.Context, w *worker, c *client.Client) error {
	wait, cancel := w.patience(ctx)
	defer cancel()
	began := time.Now()
	l, err := c.Lock(wait, w.spot.name, w.options()...)
	if err != nil {
		return err
	}
	defer w.end(ctx, l)
	return w.stay("lock", time.Since(began), l.Context(), false, seat{w.spot.referee, l})
}

func tryLock(ctx context.Context, w *worker, c *client.Client) error {
	began := time.Now()
	l, err := c.TryLock(ctx, w.spot.name, w.options()...)
	if err != nil {
		return err
	}
	defer w.end(ctx, l)
	return w.stay("try", time.Since(began), l.Context(), false, seat{w.spot.referee, l})
}

func do(ctx context.Context, w *worker, c *client.Client) error {
	wait, cancel := w.patience(ctx)
	defer cancel()
	began := time.Now()
	err := c.Do(wait, w.spot.name, func(_ context.Context, l *client.Lease) error {
		return w.stay("do", time.Since(began), l.Context(), false, seat{w.spot.referee, l})
	}, w.options()...)
	if lostLease(err) {
		return nil // counted by stay, or too late for it
	}
	return err
}

// lostLease tells the error of work that had the lock until it lost it.
func lostLease(err error) bool {
	var loss *client.LossError
	return errors.As(err, &loss) || errors.Is(err, client.ErrReleased)
}

// lockAll takes the worker's own name and one or two others of its family, or gives up after a second.
func lockAll(ctx context.Context, w *worker, c *client.Client) error {
	wait, cancel := context.WithTimeoutCause(ctx, time.Second, errGaveUp)
	defer cancel()
	spots := map[string]*spot{w.spot.name: w.spot}
	names := []string{w.spot.name}
	for range 1 + w.rng.IntN(2) {
		s := w.a.all[w.rng.IntN(len(w.a.all))]
		spots[s.name] = s
		names = append(names, s.name)
	}
	began := time.Now()
	m, err := c.LockAll(wait, names)
	if err != nil {
		var loss *client.LossError
		if errors.As(err, &loss) {
			w.a.score.lost("lock all", err)
			return nil
		}
		return err
	}
	defer w.end(ctx, m)
	var seats []seat
	for _, l := range m.Leases() {
		seats = append(seats, seat{spots[l.Name()].referee, l})
	}
	return w.stay("lock all", time.Since(began), m.Context(), false, seats...)
}

func acquire(ctx context.Context, w *worker, c *client.Client) error {
	wait, cancel := w.patience(ctx)
	defer cancel()
	began := time.Now()
	p, err := c.Semaphore(w.spot.name, permits).Acquire(wait, w.options()...)
	if err != nil {
		return err
	}
	return w.stayPermitted(ctx, "acquire", time.Since(began), p)
}

func tryAcquire(ctx context.Context, w *worker, c *client.Client) error {
	began := time.Now()
	p, err := c.Semaphore(w.spot.name, permits).TryAcquire(ctx, w.options()...)
	if err != nil {
		return err
	}
	return w.stayPermitted(ctx, "try acquire", time.Since(began), p)
}

// stayPermitted goes past two referees: that of the semaphore, who counts, and that of the slot, which is a lock.
func (w *worker) stayPermitted(ctx context.Context, kind string, waited time.Duration, p *client.Permit) error {
	defer w.end(ctx, p)
	return w.stay(kind, waited, p.Context(), false, seat{w.spot.referee, p}, seat{w.spot.slots[p.Slot()], p})
}

func elect(ctx context.Context, w *worker, c *client.Client) error {
	wait, cancel := w.patience(ctx)
	defer cancel()
	began := time.Now()
	l, err := c.Elect(wait, w.spot.name, fmt.Sprint("worker ", w.id), w.options()...)
	if err != nil {
		return err
	}
	defer w.end(ctx, l)
	return w.stay("elect", time.Since(began), l.Context(), false, seat{w.spot.referee, l})
}

// observe watches a few changes of leaders.
func observe(ctx context.Context, w *worker, c *client.Client) error {
	look, cancel := context.WithTimeoutCause(ctx, time.Duration(w.rng.IntN(1000))*time.Millisecond, errGaveUp)
	defer cancel()
	began := time.Now()
	for leader, err := range c.Observe(look, w.spot.name) {
		if err != nil {
			return err
		}
		if leader.Name != w.spot.name {
			return &breach{fmt.Sprintf("observing %s shows the leader of %s", w.spot.name, leader.Name)}
		}
		w.a.score.had("observe", time.Since(began))
		began = time.Now()
	}
	return nil
}
