package redlock

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// This file checks the queue of one node: who is let in, and that nobody sleeps beside a lock that is free. Time
// is discrete, as in model_test.go. Waiters come back at once when they hear that it is their turn, when the
// remaining time that they were told is over, and every few ticks in any case.
const (
	lineTurn      = 3
	lineRefresh   = 6
	lineHeartbeat = 80
	lineTTL       = 9
)

// A line is the world of this model.
type line struct {
	rand    *rand.Rand
	node    *simNode
	now     clock.Instant
	waiters []*lineWaiter
	lossy   bool // messages may be lost, processes may die, and locks expire
	deaths  int
	lost    int           // messages, since the lock is free
	heard   int           // of node.woken
	free    clock.Instant // since when nobody has the lock, though somebody alive wants it; 0: not so
	seq     int64
	grants  int
}

// A lineWaiter is a process that wants the lock again and again.
type lineWaiter struct {
	reads   bool
	state   string // idle, waiting, holding, dead
	value   string
	ends    clock.Instant
	w       Waiter
	queued  bool          // as far as it can know, its entry is at the node
	until   clock.Instant // when its entry dies, unless it was refreshed
	retry   clock.Instant
	message bool // one is on its way
}

func newLine(seed uint64, lossy bool, mutate func(*nodeRules)) *line {
	l := &line{rand: rand.New(rand.NewPCG(seed, 7)), now: 1000, lossy: lossy}
	rules := rightNode()
	if mutate != nil {
		mutate(rules)
	}
	l.node = &simNode{rules: rules, stretch: func() time.Duration { return 0 }, wall: func() int64 { return 0 }}
	for i := range 6 {
		l.waiters = append(l.waiters, &lineWaiter{state: "idle", reads: i >= 4})
	}
	return l
}

func (l *line) do(w *lineWaiter, op Op) Reply {
	r := Request{Op: op, Name: "n", Value: w.value, TTL: lineTTL, FenceTTL: 1e9, Turn: lineTurn, Shared: w.reads}
	if op != OpRelease {
		r.Waiter = w.w
	}
	reply := l.node.do(r, l.now)
	for ; l.heard < len(l.node.woken); l.heard++ {
		id := strings.Fields(l.node.woken[l.heard])[1]
		for _, other := range l.waiters {
			if other.w.ID != id || !other.queued {
				continue
			}
			other.until = min(other.until, l.now.Add(lineTurn))
			if other.state == "waiting" {
				if other.message = !l.lossy || l.rand.IntN(4) > 0; !other.message {
					l.lost++
				}
			}
		}
	}
	return reply
}

// attempt is one acquire. The promise that is checked here is the order.
func (l *line) attempt(w *lineWaiter) error {
	l.seq++
	w.value, w.message = fmt.Sprint("v", l.seq), false
	var barring *lineWaiter
	for _, other := range l.waiters {
		entry := simWaiter{since: other.w.Since, id: other.w.ID}
		first := w.w.ID == "" || !entry.is(w.w) && !entry.after(w.w)
		if other != w && other.queued && other.until > l.now && first && (!w.reads || !other.reads) {
			barring = other
		}
	}
	switch r := l.do(w, OpAcquire); r.Status {
	case StatusGranted:
		if barring != nil {
			return fmt.Errorf("order: %+v was let in before %+v", w.w, barring.w)
		}
		l.grants++
		w.state, w.ends, w.queued = "holding", l.now.Add(lineTTL), false
	case StatusHeld:
		if w.w.ID == "" {
			w.state = "idle"
			return nil
		}
		w.queued, w.until = true, l.now.Add(lineHeartbeat)
		w.retry = l.now.Add(min(max(r.Remaining, 1), lineRefresh))
	default:
		return fmt.Errorf("status %v", r.Status)
	}
	return nil
}

// step is one thing that happens.
func (l *line) step() error {
	// Those who have something to do are prompt.
	var due []*lineWaiter
	for _, w := range l.waiters {
		if w.state == "waiting" && (w.message || w.retry <= l.now) {
			due = append(due, w)
		}
	}
	w := l.waiters[l.rand.IntN(len(l.waiters))]
	if len(due) > 0 && l.rand.IntN(3) > 0 {
		return l.attempt(due[l.rand.IntN(len(due))])
	}
	if l.rand.IntN(4) == 0 {
		if len(due) > 0 {
			return nil
		}
		return l.tick()
	}
	switch {
	case w.state == "idle" && l.rand.IntN(5) == 0: // does not queue
		w.w = Waiter{}
		return l.attempt(w)
	case w.state == "idle":
		w.w = Waiter{ID: "c" + strconv.Itoa(l.rand.IntN(3)) + "/" + strconv.FormatInt(l.seq, 10), Since: int64(l.now) - l.rand.Int64N(4), Heartbeat: lineHeartbeat}
		w.state, w.queued = "waiting", false
		return l.attempt(w)
	case w.state == "waiting" && l.lossy && l.deaths < 2 && l.rand.IntN(20) == 0:
		w.state = "dead"
		l.deaths++
	case w.state == "waiting" && l.rand.IntN(6) == 0:
		w.state = "idle"
		w.queued = false // also if it was not there
		l.do(w, OpLeave)
	case w.state == "holding" && w.ends > l.now:
		l.do(w, OpRelease)
		w.state, w.w = "idle", Waiter{}
	}
	return nil
}

// tick is the passage of time. Nobody has anything left to do at this moment: whoever could have the lock has it,
// or was told and could not be reached.
func (l *line) tick() error {
	if !l.lossy { // a holder releases at its validity end, which is before the expiry
		for _, w := range l.waiters {
			if w.state == "holding" && w.ends <= l.now+1 {
				l.do(w, OpRelease)
				w.state, w.w = "idle", Waiter{}
				return nil
			}
		}
	}
	n := l.node
	n.settle(l.now)
	wanted := false
	for _, w := range l.waiters {
		if w.state == "waiting" {
			wanted = true
			head := len(n.queue) > 0 && n.queue[0].id == w.w.ID
			if head && n.owner == "" && (len(n.readers) == 0 || w.reads) && !l.lossy {
				return fmt.Errorf("asleep: %+v is the head and the lock is free", w.w)
			}
		}
	}
	switch {
	case !wanted || n.owner != "" || len(n.readers) > 0:
		l.free, l.lost = 0, 0
	case l.free == 0:
		l.free = l.now
	case l.now.Sub(l.free) > time.Duration(lineRefresh+lineTurn*(l.deaths+l.lost+1)):
		return fmt.Errorf("stuck: free since %d, now %d", l.free, l.now)
	}
	l.now++
	for _, w := range l.waiters {
		if w.state == "holding" && w.ends <= l.now {
			w.state, w.w = "idle", Waiter{}
		}
	}
	return nil
}

func playLines(n int, lossy bool, mutate func(*nodeRules)) (grants int, err error) {
	for seed := range n {
		l := newLine(uint64(seed), lossy, mutate)
		for range 400 {
			if err := l.step(); err != nil {
				return grants, fmt.Errorf("schedule %d: %w", seed, err)
			}
		}
		grants += l.grants
	}
	return grants, nil
}

// Ensure that the queue keeps its order, that nobody sleeps beside a free lock while nothing is lost, and that
// lost messages and dead waiters cost a bounded time.
func TestModelQueue(t *testing.T) {
	for _, lossy := range []bool{false, true} {
		t.Run(fmt.Sprint("lossy=", lossy), func(t *testing.T) {
			t.Parallel()
			grants, err := playLines(schedules(t)/2, lossy, nil)
			require.NoError(t, err)
			assert.Greater(t, grants, 20*schedules(t)/2)
		})
	}
}

// Ensure that each rule of the queue is needed, as TestMutant does for the others.
func TestMutantQueue(t *testing.T) {
	for _, m := range []struct {
		rule, breaks string
		lossy        bool
		mutate       func(*nodeRules)
	}{
		{"nobody-yields", "order", false, func(r *nodeRules) { r.yields = false }},
		{"release-wakes-nobody", "asleep", false, func(r *nodeRules) { r.wakes = false }},
		{"turn-never-ends", "stuck", true, func(r *nodeRules) { r.turnsEnd = false }},
	} {
		t.Run(m.rule, func(t *testing.T) {
			t.Parallel()
			_, err := playLines(schedules(t)/40, m.lossy, m.mutate)
			require.ErrorContains(t, err, ": "+m.breaks+": ")
			t.Log(err)
		})
	}
}

// A lapseWorld is a second model of the sets (see setmodel_test.go), in which nodes forget and sets expire.
type lapseWorld struct {
	rand  *rand.Rand
	rules *rules
	nodes []*simNode
	now   clock.Instant
	polls []*lapsePoll
	net   []lapseMessage
	drift time.Duration
	ttl   time.Duration
}

// A lapsePoll is one call of Add or Members.
type lapsePoll struct {
	*poll
	began, done clock.Instant // done: 0 until it is won
	must        []*lapsePoll  // adds that Members has to see, if it is won in their time
}

type lapseMessage struct {
	p      *lapsePoll
	node   int
	answer *Reply
}

// play runs one schedule.
func (w *lapseWorld) play() error {
	for i := range 150 {
		switch k := w.rand.IntN(10); {
		case k < 2 && len(w.polls) < 12:
			r := Request{Op: OpMembers, Name: "n"}
			if w.rand.IntN(2) == 0 {
				r = Request{Op: OpAdd, Name: "n", Member: fmt.Sprint("m", i), TTL: w.ttl}
			}
			w.begin(r)
		case k < 8 && len(w.net) > 0:
			if err := w.deliver(w.rand.IntN(len(w.net))); err != nil {
				return err
			}
		case k == 8:
			w.now++
		case w.rand.IntN(12) == 0:
			w.nodes[w.rand.IntN(len(w.nodes))].forget(w.now, w.ttl, w.drift)
		}
	}
	return nil
}

func (w *lapseWorld) begin(r Request) {
	p := &lapsePoll{poll: newPoll(w.rules, len(w.nodes), r), began: w.now}
	if r.Op == OpMembers {
		for _, add := range w.polls {
			if add.request.Op == OpAdd && add.done > 0 {
				p.must = append(p.must, add)
			}
		}
	}
	w.polls = append(w.polls, p)
	for i := range w.nodes {
		w.net = append(w.net, lapseMessage{p: p, node: i})
	}
}

func (w *lapseWorld) deliver(i int) error {
	m := w.net[i]
	w.net = slices.Delete(w.net, i, i+1)
	if w.rand.IntN(20) == 0 {
		return nil // lost
	}
	if m.answer == nil {
		r := w.nodes[m.node].do(m.p.request, w.now)
		m.answer = &r
		w.net = append(w.net, m)
		return nil
	}
	was := m.p.phase
	if m.p.reply(m.node, *m.answer); was != pollOpen || m.p.phase != pollWon {
		return nil
	}
	m.p.done = w.now
	for _, add := range m.p.must {
		lives := w.now < add.began.Add(w.ttl-w.drift)
		if lives && !slices.Contains(m.p.members(), add.request.Member) {
			return fmt.Errorf("%s, added at %d, is not among %v at %d", add.request.Member, add.done, m.p.members(), w.now)
		}
	}
	return nil
}

func playLapses(n, nodes int, mutate func(*rules, *nodeRules)) (seen int, err error) {
	for seed := range n {
		w := &lapseWorld{rand: rand.New(rand.NewPCG(uint64(seed), 3)), now: 1000, drift: 1, ttl: 12}
		w.rules = protocol(func(time.Duration) time.Duration { return w.drift })
		node := rightNode()
		if mutate != nil {
			mutate(w.rules, node)
		}
		for range nodes {
			w.nodes = append(w.nodes, &simNode{rules: node, wall: func() int64 { return 0 },
				stretch: func() time.Duration { return -time.Duration(w.rand.IntN(2)) }})
		}
		if err := w.play(); err != nil {
			return seen, fmt.Errorf("schedule %d: %w", seed, err)
		}
		for _, p := range w.polls {
			if p.done > 0 {
				seen += len(p.must)
			}
		}
	}
	return seen, nil
}

// Ensure that a member is seen by everybody who asks after it was added, for as long as the set lives, whatever
// is late, lost or forgotten; and that the rules for that are needed.
func TestModelSets_Forgetful(t *testing.T) {
	for _, nodes := range []int{3, 5} {
		seen, err := playLapses(schedules(t), nodes, nil)
		require.NoError(t, err)
		assert.Greater(t, seen, schedules(t)/2)
	}
	for name, mutate := range map[string]func(*rules, *nodeRules){
		"a minority is enough":        func(r *rules, _ *nodeRules) { r.quorate = func(done, n int) bool { return done >= n/2 } },
		"the forgetful speak at once": func(_ *rules, n *nodeRules) { n.quarantine = func(_, _ time.Duration) time.Duration { return 0 } },
	} {
		_, err := playLapses(schedules(t)/20, 3, mutate)
		require.ErrorContains(t, err, "is not among", name)
	}
}
