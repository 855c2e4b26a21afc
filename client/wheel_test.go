package client

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A listWheel is what a wheel is to be, in the simplest way.
type listWheel map[*watch]clock.Instant

func (l listWheel) turn(now clock.Instant) (due []*watch) {
	for w, at := range l {
		if !now.Before(at) {
			due = append(due, w)
			delete(l, w)
		}
	}
	return due
}

func (l listWheel) earliest() (first clock.Instant) {
	for _, at := range l {
		if first == 0 || at < first {
			first = at
		}
	}
	return first
}

// Ensure that a wheel gives out what a plain list would, whatever is put in, moved, taken out, and however
// irregularly somebody looks; and that nothing is due before the moment that it names.
func TestWheel_IsAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h wheel
		list := listWheel{}
		watches := make([]watch, 20)
		now := clock.Instant(100 * 365 * 24 * time.Hour)
		one := rapid.Custom(func(t *rapid.T) *watch { return &watches[rapid.IntRange(0, len(watches)-1).Draw(t, "watch")] })
		span := rapid.OneOf(
			rapid.Int64Range(-int64(wheelTick), 3*int64(wheelTick)),
			rapid.Int64Range(0, wheelSlots*int64(wheelTick)),
			rapid.Int64Range(0, 5*wheelSlots*int64(wheelTick)))
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				w, due := one.Draw(t, "w"), now.Add(time.Duration(span.Draw(t, "in")))
				h.put(w, due)
				list[w] = due
			},
			"remove": func(t *rapid.T) {
				w := one.Draw(t, "w")
				h.remove(w)
				delete(list, w)
			},
			"turn": func(t *rapid.T) {
				now = now.Add(max(0, time.Duration(span.Draw(t, "later"))))
				var due []*watch
				h.turn(now, func(w *watch) {
					assert.False(t, slices.Contains(due, w))
					due = append(due, w)
				})
				require.ElementsMatch(t, list.turn(now), due)
				checkEarliest(t, &h, list, now)
			},
			"turn to the moment": func(t *rapid.T) {
				at, ok := h.earliest()
				if !ok {
					t.Skip("empty")
				}
				now = max(now, at)
				var due []*watch
				h.turn(now, func(w *watch) { due = append(due, w) })
				require.ElementsMatch(t, list.turn(now), due)
				checkEarliest(t, &h, list, now)
			},
			"put back": func(t *rapid.T) {
				now = now.Add(max(0, time.Duration(span.Draw(t, "later"))))
				back := now.Add(1 + max(0, time.Duration(span.Draw(t, "in"))))
				h.turn(now, func(w *watch) { h.put(w, back) })
				for _, w := range list.turn(now) {
					list[w] = back
				}
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(list), h.n)
				var all []*watch
				h.all(func(w *watch) { all = append(all, w) })
				require.Len(t, all, len(list))
				for _, w := range all {
					require.Equal(t, list[w], w.due)
				}
			},
		})
	})
}

// checkEarliest compares the moment right after a turn, from which it is reckoned.
func checkEarliest(t *rapid.T, h *wheel, list listWheel, now clock.Instant) {
	at, ok := h.earliest()
	require.Equal(t, len(list) > 0, ok)
	if !ok {
		return
	}
	first := list.earliest()
	if tickOf(first) < tickOf(now)+wheelSlots {
		require.Equal(t, first, at, "what comes in this turn is known exactly")
	} else {
		require.LessOrEqual(t, at, first)
		require.Greater(t, at, now, "there is no need to look at once again")
	}
}

// Ensure that a crowd that is due turns later keeps nobody who looks for the first: a moment at which to look
// again is named instead, and the first is still given out in time.
func TestWheel_Crowd(t *testing.T) {
	var h wheel
	now := clock.Instant(100 * 365 * 24 * time.Hour)
	h.turn(now, nil)
	watches := make([]watch, 10*wheelLook)
	for i := range watches {
		h.put(&watches[i], now.Add(wheelSlots*wheelTick+time.Duration(i)*wheelTick/2))
	}
	var first watch
	last := now.Add(wheelSlots * wheelTick * 9 / 10)
	h.put(&first, last)
	looks := 0
	for at, _ := h.earliest(); now.Before(last); at, _ = h.earliest() {
		require.Less(t, now, at)
		require.LessOrEqual(t, at, last)
		now = at
		h.turn(now, func(w *watch) { assert.Same(t, &first, w) })
		looks++
	}
	assert.False(t, first.turning)
	assert.LessOrEqual(t, looks, 11)
}
