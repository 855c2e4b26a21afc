package redlock

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A setWorld lets clients add to a set and read it over simulated nodes, with messages that are lost, repeated
// and overtake each other, and nodes that are down for a while. Nothing is forgotten and nothing expires: what a
// set promises, it promises while it lives at a majority.
type setWorld struct {
	*rand.Rand
	rules *rules
	nodes []*simNode
	down  int // -1: none
	polls []*setPoll
	net   []setMessage
	added map[string]bool // by an Add that came to an end
}

type setPoll struct {
	*poll
	before map[string]bool // what had been added before it began
	told   bool
}

type setMessage struct {
	node   int
	poll   *setPoll
	answer *Reply
}

// step lets something happen. It returns the promise that was broken, if any.
func (w *setWorld) step() error {
	switch x := w.IntN(20); {
	case x == 0:
		w.begin(Request{Op: OpAdd, Name: "n", Member: fmt.Sprint("m", len(w.polls)), TTL: time.Hour})
	case x == 1:
		w.begin(Request{Op: OpMembers, Name: "n"})
	case x == 2:
		w.down = w.IntN(len(w.nodes)+1) - 1
	case len(w.net) == 0:
	case x == 3: // lost
		w.remove(w.IntN(len(w.net)))
	default:
		return w.deliver(w.IntN(len(w.net)))
	}
	return nil
}

func (w *setWorld) begin(r Request) {
	p := &setPoll{poll: newPoll(w.rules, len(w.nodes), r), before: map[string]bool{}}
	for m := range w.added {
		p.before[m] = true
	}
	w.polls = append(w.polls, p)
	for i := range w.nodes {
		w.net = append(w.net, setMessage{node: i, poll: p})
	}
}

func (w *setWorld) remove(i int) {
	w.net[i] = w.net[len(w.net)-1]
	w.net = w.net[:len(w.net)-1]
}

func (w *setWorld) deliver(i int) error {
	m := w.net[i]
	if m.node == w.down {
		return nil
	}
	if m.answer == nil {
		r := w.nodes[m.node].do(m.poll.request, 1000)
		if w.IntN(10) > 0 { // else the request stays, and is executed again
			w.remove(i)
		}
		w.net = append(w.net, setMessage{m.node, m.poll, &r})
		return nil
	}
	w.remove(i)
	p := m.poll
	p.reply(m.node, *m.answer)
	if p.phase != pollWon || p.told {
		return nil
	}
	p.told = true
	if p.request.Op == OpAdd {
		w.added[p.request.Member] = true
		return nil
	}
	seen := map[string]bool{}
	for _, m := range p.members() {
		seen[m] = true
	}
	for m := range p.before {
		if !seen[m] {
			return fmt.Errorf("%s was added before and is not seen", m)
		}
	}
	return nil
}

// playSets runs schedules of 400 steps until one breaks the promise, and returns how many reads it has checked.
func playSets(n int, quorate func(done, n int) bool) (reads int, err error) {
	for i := range n {
		r := protocol(DefaultDrift)
		r.quorate = quorate
		w := &setWorld{Rand: rand.New(rand.NewPCG(uint64(i), 2)), rules: r, down: -1, added: map[string]bool{}}
		for range []int{3, 5, 4, 1}[i%4] {
			w.nodes = append(w.nodes, &simNode{rules: rightNode(), stretch: func() time.Duration { return 0 }, wall: func() int64 { return 0 }})
		}
		for range 400 {
			if err := w.step(); err != nil {
				return reads, fmt.Errorf("schedule %d: %w", i, err)
			}
		}
		for _, p := range w.polls {
			if p.told && p.request.Op == OpMembers && len(p.before) > 0 {
				reads++
			}
		}
	}
	return reads, nil
}

// Ensure that a member whose Add has come to an end is seen by every Members that begins later.
func TestModelSets(t *testing.T) {
	n := schedules(t)
	reads, err := playSets(n, protocol(DefaultDrift).quorate)
	require.NoError(t, err)
	require.Greater(t, reads, n, "schedules in which nothing is read show nothing")
}

// Ensure that the test would notice if half of the nodes, or one less than a majority, were taken for enough.
func TestMutantSets(t *testing.T) {
	for name, quorate := range map[string]func(done, n int) bool{
		"half-is-enough":     func(done, n int) bool { return 2*done >= n },
		"minority-is-enough": func(done, n int) bool { return done >= max(n/2, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := playSets(schedules(t)/20, quorate)
			require.Error(t, err)
		})
	}
}
