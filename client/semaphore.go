package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// MaxSlots is the greatest number of permits that a semaphore may have.
const MaxSlots = 1024

// The times of semaphores.
const (
	// gateTTL is what the death of the first in line costs the others at most. It is renewed while one waits.
	gateTTL = 3 * time.Second
	// slotPoll is how often the first in line looks at a slot of whose release it has heard nothing, and
	// slotShare what it may cost: with many slots each is looked at less often.
	slotPoll  = 2 * time.Second
	slotShare = 20 * time.Millisecond
	// widestProbe bounds how many slots are tried at once.
	widestProbe = 64
)

// A Semaphore lets at most k hold a permit at the same time. It is made by Client.Semaphore, has no state, and
// is safe for concurrent use.
//
// It is k slots, each of them a lock: NAME:slot:0, NAME:slot:1, and so on. To count holders at each node would be
// wrong: five nodes that count to three can together admit five. So a permit has everything that a lease has,
// and Inspect, List and Evict take the slots' names; but its token compares only with those of the same slot.
//
// All that use one semaphore should name the same k. If they do not, the largest counts: no one ever looks at
// slots beyond his own k, and whoever is first in line for a few keeps those behind him from the others.
type Semaphore struct {
	c    *Client
	name string
	k    int
}

// Semaphore returns the semaphore of that name with k permits, 1 to MaxSlots. Nothing is sent; what is wrong with
// name or k is told by Acquire and TryAcquire. The names NAME:gate and NAME:slot:0 to NAME:slot:k-1 are taken by it.
func (c *Client) Semaphore(name string, k int) *Semaphore { return &Semaphore{c: c, name: name, k: k} }

// A Permit is one of a semaphore's k permits. It is the Lease of its slot: Unlock gives it back.
type Permit struct {
	*Lease
	semaphore string
	slot      int
}

// Semaphore returns the semaphore's name.
func (p *Permit) Semaphore() string { return p.semaphore }

// Slot returns which of the permits it is, 0 to k-1. Name returns the name of the slot's lock. A resource that checks
// tokens must do so for each slot by itself.
func (p *Permit) Slot() int { return p.slot }

// Slot returns the name of the lock that is the i-th permit.
func (s *Semaphore) Slot(i int) string { return s.name + ":slot:" + strconv.Itoa(i) }

func (s *Semaphore) gate() string { return s.name + ":gate" }

func (s *Semaphore) check() error {
	if s.k < 1 || s.k > MaxSlots {
		return fmt.Errorf("%w: semaphore of %d permits, must be 1 to %d", ErrInvalid, s.k, MaxSlots)
	}
	if err := errors.Join(checkPrefix(s.name), redlock.CheckName(s.gate())); err != nil {
		return err
	}
	return redlock.CheckName(s.Slot(s.k - 1))
}

// Acquire waits until it has a permit. ctx bounds only the wait. Those who wait stand in line for the
// semaphore's gate, a lock with a short ttl, and only the first of them, who has the gate, watches the slots: so
// permits are had in the order of the calls as far as Lock's queues allow, and those who wait behind it cost
// nothing. If the first in line dies, the others wait for three seconds more at most.
//
// The first in line hears of a permit that is given back, and knows when that of a holder that died expires. A
// message that is lost costs at most two seconds (with more than a hundred permits, 20 ms for each).
//
// The options and errors are those of Lock.
func (s *Semaphore) Acquire(ctx context.Context, opts ...LockOption) (_ *Permit, err error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if err := s.c.begin(); err != nil {
		return nil, err
	}
	defer s.c.calls.Done()
	ctx = s.c.set.observers.wait(ctx, CallLock, s.name)
	defer s.c.set.observers.failed(ctx, &err)
	set, err := s.settings(opts)
	if err != nil {
		return nil, err
	}
	b := newBoard(s)
	defer b.close()
	gate, err := s.enter(ctx, set, b)
	if err != nil {
		var wait *WaitError
		if errors.As(err, &wait) {
			err = s.waitError(wait.Waits, wait.Last)
		}
		return nil, err
	}
	// The next in line begins while the caller works. A gate that was lost meanwhile has cost order and no more.
	defer s.c.giveBack(ctx, []*Lease{gate})
	return s.take(ctx, set, b)
}

// TryAcquire takes a permit if there is one, and does not wait. It is not fair: it may overtake those who wait in
// Acquire in the moment when a permit is free.
//
// Errors: ErrHeld: all permits are taken; the *HeldError tells of the holder whose permit may be free first. The
// others are those of TryLock.
func (s *Semaphore) TryAcquire(ctx context.Context, opts ...LockOption) (_ *Permit, err error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if err := s.c.begin(); err != nil {
		return nil, err
	}
	defer s.c.calls.Done()
	ctx = s.c.set.observers.wait(ctx, CallTryLock, s.name)
	defer s.c.set.observers.failed(ctx, &err)
	set, err := s.settings(opts)
	if err != nil {
		return nil, err
	}
	var first *HeldError
	p, err := s.probe(ctx, set, newBoard(s).due(), func(_ int, err error) error {
		var held *HeldError
		if !errors.As(err, &held) {
			return err
		}
		if first == nil || uint64(held.Remaining) < uint64(first.Remaining) { // a negative one is endless
			first = held
		}
		return nil
	})
	switch {
	case p != nil: // whatever became of the other slots, or of ctx since: it is held, and somebody has to give it back
		return p, nil
	case ctx.Err() != nil:
		return nil, s.waitError(ended(ctx), nil)
	case errors.Is(err, redlock.ErrClosed):
		return nil, ErrClosed
	case err != nil:
		return nil, err
	}
	all := *first
	all.Name = s.name
	return nil, &all
}

// Do runs f while it holds a permit, as Client.Do does with a lock.
func (s *Semaphore) Do(ctx context.Context, f func(ctx context.Context, p *Permit) error, opts ...LockOption) error {
	p, err := s.Acquire(ctx, opts...)
	if err != nil {
		return err
	}
	return s.c.under(ctx, p.Lease, func(ctx context.Context, _ *Lease) error { return f(ctx, p) })
}

func (s *Semaphore) waitError(waits, last error) error {
	return &WaitError{Name: s.name, Waits: waits, Last: last, kind: "semaphore"}
}

func (s *Semaphore) settings(opts []LockOption) (lockSettings, error) {
	set, err := s.c.lockSettings(opts)
	set.announce = true // the first in line hears of it
	return set, errors.Join(err, set.checkExclusive("a permit"))
}

// enter takes the gate. Who has to wait for it begins to listen to the slots, to know later which are taken.
func (s *Semaphore) enter(ctx context.Context, set lockSettings, b *board) (*Lease, error) {
	opts := []LockOption{TTL(min(gateTTL, set.ttl)), Owner(set.owner), Guard(0)}
	if !s.c.turns.busy(s.gate()) {
		gate, err := s.c.TryLock(ctx, s.gate(), opts...)
		if err == nil || ctx.Err() != nil {
			return gate, err
		}
	}
	b.listen()
	return s.c.Lock(ctx, s.gate(), opts...)
}

// take is what the first in line does: it tries the slots that may be free, and waits until one may be.
func (s *Semaphore) take(ctx context.Context, set lockSettings, b *board) (*Permit, error) {
	p := plan{majority: s.c.majority, ttl: set.ttl}
	patient := func() {
		if p.blanks == 0 { // it was not for want of a quorum that nothing was tried for so long
			p.giveUp = clock.Now().Add(min(patience, set.ttl))
		}
	}
	for {
		if b.attached && !b.settled {
			s.c.wakes.settle(ctx, s.c.closing, b.listener)
			b.settled = true
		}
		patient()
		permit, err := s.probe(ctx, set, b.due(), func(slot int, err error) error {
			delay, _, err := p.next(err)
			b.taken(slot, delay)
			return err
		})
		switch {
		case permit != nil:
			return permit, nil
		case ctx.Err() != nil:
			return nil, s.waitError(ended(ctx), p.last)
		case errors.Is(err, ErrClosed):
			return nil, s.waitError(ErrClosed, p.last)
		case err != nil:
			return nil, err
		}
		if b.listen() {
			continue // what was given back meanwhile was not heard of: try all of them again
		}
		if err := s.c.sleep(ctx, b.listener, b.rest()); err != nil {
			return nil, s.waitError(err, p.last)
		}
		b.listener.forget()
	}
}

// probe tries the slots, first one, then more and more at once, until it has a permit; what is granted besides
// is given back. failed is told what each vain attempt ended with, and ends the search with its error.
func (s *Semaphore) probe(ctx context.Context, set lockSettings, slots []int, failed func(slot int, err error) error) (*Permit, error) {
	for width := 1; len(slots) > 0; width = min(2*width, widestProbe) {
		now := slots[:min(width, len(slots))]
		slots = slots[len(now):]
		grants, errs := make([]*redlock.Grant, len(now)), make([]error, len(now))
		var wg sync.WaitGroup
		for i, slot := range now {
			wg.Go(func() { grants[i], errs[i] = s.c.quorum.Acquire(ctx, set.attempt(s.Slot(slot))) })
		}
		wg.Wait()
		var permit *Permit
		var end error
		for i, g := range grants {
			s.c.set.observers.attempted(ctx, errs[i])
			switch {
			case g == nil:
				if end == nil {
					end = failed(now[i], errs[i])
				}
			case permit == nil:
				permit = &Permit{Lease: s.c.newLease(ctx, g, set, redlock.Waiter{}), semaphore: s.name, slot: now[i]}
			default:
				s.c.discard(g)
			}
		}
		if permit != nil || end != nil || ctx.Err() != nil {
			return permit, end
		}
	}
	return nil, nil
}

// discard releases a grant that nobody has asked for. It does not wait for the nodes.
func (c *Client) discard(g *redlock.Grant) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.quorum.Release(ctx, g)
}

// A board is what one call of Acquire knows of the slots.
type board struct {
	s        *Semaphore
	listener *listener
	attached bool
	settled  bool
	index    map[string]int // of the slots by name

	mu    sync.Mutex
	slots []slotView
}

type slotView struct {
	free bool          // a node has said so since it was tried
	due  clock.Instant // when to look at it without a message; zero: nothing is known
}

func newBoard(s *Semaphore) *board {
	return &board{s: s, slots: make([]slotView, s.k)}
}

// listen begins to listen to the slots, and forgets what was known of them; it returns false if it did so before.
func (b *board) listen() bool {
	if b.attached {
		return false
	}
	names := make([]string, b.s.k)
	b.index = make(map[string]int, b.s.k)
	for i := range names {
		names[i] = b.s.Slot(i)
		b.index[names[i]] = i
		b.slots[i] = slotView{}
	}
	b.listener = newListener(names...)
	b.listener.heard = b.heard
	b.attached = true
	b.s.c.wakes.attach(b.listener)
	return true
}

func (b *board) close() {
	if b.attached {
		b.s.c.wakes.detach(b.listener)
	}
}

// heard is told of a node's message about a slot.
func (b *board) heard(_ int, word, name string) {
	i, ok := b.index[name]
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch v := &b.slots[i]; word {
	case "released", "forced":
		v.free = true
	case "granted":
		*v = slotView{due: clock.Now().Add(b.interval())}
	}
}

// interval is how long a slot that is taken is left alone if nothing is heard of it.
func (b *board) interval() time.Duration { return max(slotPoll, time.Duration(b.s.k)*slotShare) }

// taken notes that an attempt has found a slot taken, and after which delay another makes sense.
func (b *board) taken(slot int, delay time.Duration) {
	if delay >= refresh-refresh/8 {
		delay = b.interval()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slots[slot] = slotView{due: clock.Now().Add(delay)}
}

// due returns the slots that are to be tried now: first those of which was heard that they are free, then those
// of which nothing was heard for long enough, in an order that spreads callers over them.
func (b *board) due() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := clock.Now()
	var free, unknown []int
	for i, from := 0, rand.IntN(len(b.slots)); i < len(b.slots); i++ {
		slot := (from + i) % len(b.slots)
		switch v := b.slots[slot]; {
		case v.free:
			free = append(free, slot)
		case !now.Before(v.due):
			unknown = append(unknown, slot)
		}
	}
	return append(free, unknown...)
}

// rest returns how long it is until a slot is due.
func (b *board) rest() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.slots[0].due
	for _, v := range b.slots {
		if v.free {
			return 0
		}
		next = min(next, v.due)
	}
	return max(0, clock.Until(next))
}
