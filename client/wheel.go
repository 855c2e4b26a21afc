package client

import (
	"math/bits"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// The measures of a wheel. A turn takes four seconds; what is due later stays where it is for more turns.
const (
	wheelTick  = 4 * time.Millisecond
	wheelSlots = 1024 // a power of two
	// wheelLook bounds how many watches earliest looks at.
	wheelLook = 256
)

// A wheel is a hashed timer wheel: it keeps watches by the moment at which they are due. To put one in, to take
// it out and to move it costs the same however many there are, and no memory but a few words in the watch.
//
// Slot i holds, in no order, the watches that are due in the ticks i, i+wheelSlots, i+2*wheelSlots... since the
// beginning of the clock. Each watch keeps its exact moment; ticks only say where it is to be looked for.
//
// A wheel reads no clock and is not safe for concurrent use. The zero wheel is empty.
type wheel struct {
	n     int
	hand  int64                   // the tick at hand: nothing is in the wheel of an earlier one
	used  [wheelSlots / 64]uint64 // a bit for each slot that is not empty
	slots [wheelSlots]*watch
}

// spoke is the part of a watch that belongs to the wheel.
type spoke struct {
	due        clock.Instant
	prev, next *watch
	slot       int16
	turning    bool // it is in the wheel
}

// tickOf returns the tick of a moment.
func tickOf(at clock.Instant) int64 { return int64(at) / int64(wheelTick) }

// put puts a watch into the wheel, or moves it. A moment that has passed is due at the next look.
func (h *wheel) put(w *watch, due clock.Instant) {
	h.remove(w)
	slot := max(tickOf(due), h.hand) % wheelSlots
	w.spoke = spoke{due: due, next: h.slots[slot], slot: int16(slot), turning: true}
	if w.next != nil {
		w.next.prev = w
	}
	h.slots[slot] = w
	h.used[slot/64] |= 1 << (slot % 64)
	h.n++
}

// remove takes a watch out of the wheel, if it is there.
func (h *wheel) remove(w *watch) {
	if !w.turning {
		return
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else if h.slots[w.slot] = w.next; w.next == nil {
		h.used[w.slot/64] &^= 1 << (w.slot % 64)
	}
	w.prev, w.next, w.turning = nil, nil, false
	h.n--
}

// turn takes out everything that is due by now, in no order, and hands it to f, which may put it back for later.
func (h *wheel) turn(now clock.Instant, f func(w *watch)) {
	last := tickOf(now)
	// Every slot that the hand passes, each once, however long nobody has looked.
	for tick := max(h.hand, last-wheelSlots+1); h.n > 0; tick++ {
		tick = h.usedFrom(tick)
		if tick > last {
			break
		}
		for w := h.slots[tick%wheelSlots]; w != nil; {
			next := w.next
			if !now.Before(w.due) {
				h.remove(w)
				f(w)
			}
			w = next
		}
	}
	h.hand = max(h.hand, last)
}

// earliest returns a moment before which nothing is due: the very moment of the first watch if that is near and
// there is no crowd before it, else one at which to look again. ok is false if the wheel is empty. It reckons
// from the last turn.
func (h *wheel) earliest() (at clock.Instant, ok bool) {
	if h.n == 0 {
		return 0, false
	}
	looked := 0
	for tick := h.usedFrom(h.hand); tick < h.hand+wheelSlots; tick = h.usedFrom(tick + 1) {
		first, found := clock.Instant(0), false
		for w := h.slots[tick%wheelSlots]; w != nil; w = w.next {
			if looked++; tickOf(w.due) <= tick && (!found || w.due < first) {
				first, found = w.due, true
			}
		}
		if found {
			return first, true
		}
		if looked >= wheelLook {
			return clock.Instant((tick + 1) * int64(wheelTick)), true
		}
	}
	return clock.Instant((h.hand + wheelSlots) * int64(wheelTick)), true
}

// usedFrom returns the first tick from this one on whose slot is not empty. The wheel must not be empty.
func (h *wheel) usedFrom(tick int64) int64 {
	for {
		slot := tick % wheelSlots
		if word := h.used[slot/64] >> (slot % 64); word != 0 {
			return tick + int64(bits.TrailingZeros64(word))
		}
		tick += 64 - slot%64
	}
}

// all hands every watch to f, which must not change the wheel.
func (h *wheel) all(f func(w *watch)) {
	for _, w := range h.slots {
		for ; w != nil; w = w.next {
			f(w)
		}
	}
}
