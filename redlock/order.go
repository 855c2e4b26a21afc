package redlock

import (
	"cmp"
	"hash/fnv"
	"slices"
	"sync/atomic"
	"time"
)

// order returns the nodes in the order in which an attempt at a name asks them. Clients agree on it as far as
// they agree on the nodes' ranks, so that those who want the same lock meet at the same majority; and names are
// spread, so that each node serves as many as the others.
func (q *Quorum) order(name string) []int {
	h := fnv.New32a()
	h.Write([]byte(name))
	n := len(q.nodes)
	first := int(h.Sum32() % uint32(n))
	order, ranks := make([]int, n), make([]int, n)
	even := true
	for i, node := range q.nodes {
		order[i] = (first + i) % n
		if r, ok := node.(Ranker); ok {
			ranks[i] = r.Rank()
		}
		even = even && ranks[i] == ranks[0]
	}
	if !even {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ranks[a], ranks[b]) })
		q.passOver(order, ranks)
	}
	return order
}

// passOver tells the spares that have the worse rank.
func (q *Quorum) passOver(order, ranks []int) {
	for _, i := range order[q.Majority():] {
		if ranks[i] > ranks[order[0]] {
			q.nodes[i].(Ranker).Passed() // else its rank were 0
		}
	}
}

// The bounds of how long an attempt waits for the first majority before it asks the others, too.
const (
	minHedge = 3 * time.Millisecond
	maxHedge = 250 * time.Millisecond
)

// pace knows how long attempts take until they are decided.
type pace struct{ smoothed atomic.Int64 } // nanoseconds; 0: nothing is known

// note is told of such an attempt.
func (p *pace) note(took time.Duration) {
	took = min(took, maxHedge)
	if old := p.smoothed.Load(); old != 0 {
		took = time.Duration(old) + (took-time.Duration(old))/8
	}
	p.smoothed.Store(int64(max(took, 1)))
}

// hedgeDelay returns how long to wait: several times what is usual. To ask too early costs a few messages, and
// to ask too late costs the caller time.
func (p *pace) hedgeDelay() time.Duration {
	return min(max(4*time.Duration(p.smoothed.Load()), minHedge), maxHedge)
}
