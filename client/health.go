package client

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A health knows how a node is doing, for the order in which attempts ask the nodes (redlock.Ranker).
type health struct {
	since    atomic.Int64 // when the batch under way was sent; 0: none is
	smoothed atomic.Int64 // nanoseconds that a batch takes
	failing  atomic.Bool  // the last batch failed
	probed   atomic.Int64 // when the last sign of life was asked for
}

// The ranks of a node. One that answers has a rank by how long it takes: nodes that differ by less than a factor
// of four, or are all as fast as a local network, are alike, and the order of names decides.
const (
	fast        = 2 * time.Millisecond
	rankHung    = 100 // a batch has been under way for longer than usual
	rankFailing = 200
)

// suspicion is after how long without an answer a node ranks as hung: much longer than usual.
func (h *health) suspicion() time.Duration {
	return max(8*time.Duration(h.smoothed.Load()), 5*time.Millisecond)
}

// began is told that a batch is sent.
func (h *health) began(now clock.Instant) { h.since.Store(int64(now)) }

// ended is told that it was answered, or failed.
func (h *health) ended(ok bool) {
	if ok {
		took := int64(clock.Since(clock.Instant(h.since.Load())))
		if old := h.smoothed.Load(); old != 0 {
			took = old + (took-old)/8
		}
		h.smoothed.Store(max(took, 1))
	}
	h.failing.Store(!ok)
	h.since.Store(0)
}

// rank returns the node's rank.
func (h *health) rank(now clock.Instant) int {
	if h.failing.Load() {
		return rankFailing
	}
	if began := h.since.Load(); began != 0 && now.Sub(clock.Instant(began)) > h.suspicion() {
		return rankHung
	}
	times := uint64(h.smoothed.Load() / int64(fast))
	return (bits.Len64(times) + 1) / 2
}

// probeEvery is how often a node that is asked last, and may have recovered, is asked for a sign of life.
const probeEvery = 200 * time.Millisecond

// due reports that a sign of life is due, once.
func (h *health) due(now clock.Instant) bool {
	last := h.probed.Load()
	return now.Sub(clock.Instant(last)) > probeEvery && h.probed.CompareAndSwap(last, int64(now))
}

// Rank implements redlock.Ranker.
func (l *link) Rank() int { return l.health.rank(clock.Now()) }

// Passed implements redlock.Ranker. A node with a bad rank gets few requests, from which its recovery could be
// seen: it is asked for a sign of life now and then.
func (l *link) Passed() {
	now := clock.Now()
	if l.health.rank(now) != rankHung && l.health.due(now) {
		l.configureAlone()
		_ = l.enqueue(pending{since: now}) // refused while the node is left alone
	}
}

var _ redlock.Ranker = (*link)(nil)
