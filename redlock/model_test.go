package redlock

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// This file is the world in which the model test runs the real state machines (lease, revocation) against
// simulated nodes. Time is discrete: one tick is one nanosecond of time.Duration. Everything that can happen is
// an action; a chooser picks one after the other, at random or by enumeration, and after each the promises
// are checked. Nothing here is concurrent and nothing waits, so that a schedule costs microseconds.

// A scenario bounds a world.
type scenario struct {
	name      string
	nodes     int
	clients   int
	readers   int // the last so many of the clients take the lock shared
	attempts  int // of all clients together
	rounds    int // renewal rounds of one lease
	steps     int // then everything is wound up
	ttls      []time.Duration
	drift     time.Duration // D, and by how much the nodes' clocks really stray at most
	proposals []int64
	wallclock bool // proposals are the (skewed) wall clock instead
	fenceTTL  time.Duration

	spares     bool // attempts ask a majority first, in any order, and the others later or never
	frozen     bool // time stands still, and locks expire whenever they like
	reorder    bool // messages overtake each other
	clamps     bool // any node may clamp any proposal
	varying    bool // renewals with shorter ttls than the attempt's
	duplicates int  // requests that arrive a second time, at any later moment
	cuts       int  // of all links of one node or one client, for a while
	losses     int  // messages
	forgets    int  // restarts of nodes without state
	crashes    int  // of clients; another process resumes the lease
	revokes    []Op // revocations by an operator
	// attack is a sequence of actions that is tried for with preference, and that an enumeration departs from:
	// random actions alone would take too long to come near it.
	attack []label
}

// A violation is a broken promise.
type violation struct{ promise, story string }

func (v violation) Error() string { return v.promise + ": " + v.story }

// A chooser picks one of the options with a weight above zero. The first of them is the orderly one.
type chooser interface{ pick(weights []int) int }

type world struct {
	scenario
	rules     *rules
	nodeRules *nodeRules
	chooser   chooser
	now       clock.Instant
	cluster   []*simNode
	tenures   []*tenure
	net       []envelope
	operator  *operator
	stray     time.Duration // by how much the nodes' clocks may be fast over one ttl
	strict    bool          // exclusion is expected even after a force
	ignored   string        // a promise that is not checked, because a mutant is to be seen breaking another

	values   int
	drawing  int            // the client that draws a value
	grants   int            // of all tenures
	sections int            // grants of writers
	highest  int64          // token granted so far
	tokens   map[int64]bool // granted to writers
	shared   map[int64]bool // granted to readers
	acquired map[place]bool // acquires that were sent
	lossy    map[place]bool // where a message was lost, overtaken, or executed once more than its sender knows of
	over     map[string]clock.Instant
	forced   bool // force has deleted a lock under its holder
	pace     int  // weight of the passage of time
	haste    int  // weight of round trips
	ease     int  // weight of the delivery of single messages
	cut      int  // whose links are down: a node, or nodes + client; -1: nobody's
	taken    int  // steps
	renewals int  // that moved an end
	hinted   int  // how many steps of the attack have been taken
	bold     bool
	weights  []int
	labels   []label
	actions  []func()
}

// A label names an action, so that a scenario can tell an attack.
type label struct {
	verb   string
	op     Op  // of the message that is delivered, duplicated or lost
	client int // whose it is; -1: the operator's
	node   int
}

type place struct {
	value string
	node  int
}

// A tenure is a lease, and what the checks must know of it.
type tenure struct {
	*lease
	client  int
	dead    bool  // its process is: nobody holds by it, nobody hears its answers
	resumed bool  // by another process
	floor   int64 // the highest token granted before it began
	won     bool
	grant   int // the number of its grant, or of the grant that it resumed
	section int // how many grants of writers there were then
	rounds  int
	proved  clock.Instant // the latest validity end
}

// An operator runs one revocation after the other.
type operator struct {
	*revocation
	value string
}

// An envelope is a message on its way to a node, or an answer on its way back.
type envelope struct {
	m      message
	to     *tenure // nil: the operator
	from   *operator
	answer *Reply
	ghost  bool // a copy, whose answer nobody waits for
}

func newWorld(s *scenario, c chooser, mutate func(*world)) *world {
	w := &world{scenario: *s, chooser: c, now: 1000, tokens: map[int64]bool{}, shared: map[int64]bool{}, acquired: map[place]bool{},
		lossy: map[place]bool{}, over: map[string]clock.Instant{}}
	w.rules = protocol(func(time.Duration) time.Duration { return w.drift })
	w.rules.value = func() string { w.values++; return fmt.Sprint("v", w.values) }
	w.nodeRules = rightNode()
	w.stray = s.drift
	if mutate != nil {
		mutate(w)
	}
	for range s.nodes {
		w.cluster = append(w.cluster, &simNode{rules: w.nodeRules, stretch: w.stretch, wall: w.wall})
	}
	w.pace = []int{2, 6, 15}[w.choose(1, 1, 1)]
	w.haste = []int{2, 10, 40}[w.choose(1, 1, 1)]
	w.ease = []int{4, 12, 1}[w.choose(1, 1, 1)]
	w.cut = -1
	w.bold = len(s.attack) > 0 && w.choose(2, 1) == 0
	return w
}

func (w *world) choose(weights ...int) int { return w.chooser.pick(weights) }

// stretch chooses how a node's clock strays over one ttl: not at all, or as far ahead as D allows. It is 1
// everywhere, the least that is not nothing.
func (w *world) stretch() time.Duration {
	if w.stray == 0 || w.choose(3, 1) == 0 {
		return 0
	}
	return -w.stray
}

// wall is the wall clock of the nodes: a thousand microseconds a tick.
func (w *world) wall() int64 {
	if w.wallclock {
		return int64(w.now) * 1000
	}
	return MaxToken - 86400e6 // nothing is clamped, except on purpose
}

func (w *world) longest() time.Duration { return slices.Max(w.ttls) }

// run plays one schedule. It returns the promise that was broken, if any.
func (w *world) run() (broken error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case violation:
			broken = v
		default:
			panic(v)
		}
	}()
	for range w.steps {
		if !w.step() {
			break
		}
		w.check()
	}
	w.windUp()
	return nil
}

func (w *world) fail(promise, format string, args ...any) {
	if promise != w.ignored {
		panic(violation{promise, fmt.Sprintf(format, args...)})
	}
}

// step lets the chooser pick one of the actions that are possible. It returns false if there is none.
func (w *world) step() bool {
	w.weights, w.labels, w.actions = w.weights[:0], w.labels[:0], w.actions[:0]
	w.deliveries()
	w.clientActions()
	w.faults()
	w.operatorActions()
	if !w.frozen {
		w.option(w.pace, label{verb: "tick"}, func() { w.now++ })
		w.option(w.pace, label{verb: "leap"}, w.leap)
	}
	if len(w.actions) == 0 {
		return false
	}
	hint := w.prefer()
	i := w.chooser.pick(w.weights)
	if hint && i == 0 {
		w.hinted++
	}
	w.taken++
	w.actions[i]()
	return true
}

func (w *world) option(weight int, l label, do func()) {
	w.weights, w.labels, w.actions = append(w.weights, weight), append(w.labels, l), append(w.actions, do)
}

// prefer makes the next action of the attack the first option, with most of the weight, if it is possible.
func (w *world) prefer() bool {
	if !w.bold || w.hinted == len(w.attack) {
		return false
	}
	i := slices.Index(w.labels, w.attack[w.hinted])
	if i < 0 {
		return false
	}
	w.weights[0], w.weights[i] = w.weights[i], w.weights[0]
	w.labels[0], w.labels[i] = w.labels[i], w.labels[0]
	w.actions[0], w.actions[i] = w.actions[i], w.actions[0]
	total := 0
	for _, weight := range w.weights {
		total += weight
	}
	w.weights[0] += 15 * total
	return true
}

// reach is how many messages are considered for delivery at once.
const reach = 12

func (w *world) deliveries() {
	weight := 3 * w.ease
	for i := range min(len(w.net), reach) {
		if !w.down(i) && (w.reorder || !w.blocked(i)) {
			w.option(weight, w.net[i].label("deliver"), func() { w.deliver(i) })
			weight = w.ease
		}
	}
}

func (e *envelope) label(verb string) label {
	l := label{verb: verb, op: e.m.req.Op, client: -1, node: e.m.node}
	if e.to != nil {
		l.client = e.to.client
	}
	switch {
	case e.ghost:
		l.verb = "ghost"
	case e.answer != nil && verb == "deliver":
		l.verb = "answer"
	}
	return l
}

// down tells whether a message waits for a link to come up again.
func (w *world) down(i int) bool {
	e := &w.net[i]
	return w.cut >= 0 && e.to != nil && !e.ghost && (e.m.node == w.cut || w.scenario.nodes+e.to.client == w.cut)
}

// roundTrip delivers the messages of a lease (or, with nil, of the operator) that are under way, and their answers, and what these lead to, before
// anything else happens. A schedule of single deliveries would seldom bring an attempt to its end in time.
func (w *world) roundTrip(t *tenure) {
	for i := 0; i < len(w.net); {
		if w.net[i].to == t && !w.net[i].ghost && !w.down(i) {
			w.deliver(i)
			i = 0
		} else {
			i++
		}
	}
}

// leap lets time pass until the next instant at which something is due.
func (w *world) leap() {
	next := never
	due := func(t clock.Instant) {
		if t > w.now {
			next = min(next, t)
		}
	}
	for _, n := range w.cluster {
		due(n.quarantine)
		if n.owner != "" {
			due(n.expires)
		}
		for _, r := range n.readers {
			due(r.expires)
		}
	}
	for _, t := range w.tenures {
		if t.phase == holding {
			due(t.end)
		}
	}
	if next != never {
		w.now = next
	}
}

// blocked tells whether an earlier message is on its way to the same node.
func (w *world) blocked(i int) bool {
	e := &w.net[i]
	return slices.ContainsFunc(w.net[:i], func(o envelope) bool {
		return o.m.node == e.m.node && (o.answer == nil) == (e.answer == nil) && !o.ghost
	})
}

func (w *world) deliver(i int) {
	e := w.net[i]
	w.net = slices.Delete(w.net, i, i+1)
	if e.answer == nil {
		w.noteOvertaking(w.net[:i], e.m)
		r := w.execute(e.m)
		if e.ghost {
			return
		}
		e.answer = &r
		w.net = append(w.net, e)
		return
	}
	w.answer(e)
}

// noteOvertaking excuses a lock that is left behind because messages of one value overtook each other on the
// way to one node, which a Node never lets happen. All other promises are kept even so.
func (w *world) noteOvertaking(earlier []envelope, m message) {
	at := place{m.req.Value, m.node}
	for _, o := range earlier {
		if o.answer == nil && !o.ghost && at == (place{o.m.req.Value, o.m.node}) {
			w.lossy[at] = true
		}
	}
}

func (w *world) execute(m message) Reply {
	req := m.req
	if req.Op == OpAcquire && w.clamps && w.choose(3, 1) == 1 {
		req.Proposal = 0
	}
	if req.Op == OpForce && !w.strict {
		w.forced = true
	}
	return w.cluster[m.node].do(req, w.now)
}

// answer hands an answer to whom it belongs.
func (w *world) answer(e envelope) {
	if e.to == nil {
		e.from.reply(e.m, *e.answer, w.now)
		if e.from.done {
			w.over[e.from.value] = e.from.ends
		}
		return
	}
	t := e.to
	if t.dead {
		return
	}
	t.reply(e.m, *e.answer, w.now)
	w.settle(t)
}

// settle looks at what an event has done to a lease, and takes its messages to the net.
func (w *world) settle(t *tenure) {
	if t.phase == holding && !t.won {
		t.won = true
		if t.grant == 0 {
			w.granted(t)
		}
	}
	if t.phase == holding && t.end > t.proved {
		if (w.sections != t.section || !t.request.Shared && w.grants != t.grant) && !w.forced {
			w.fail("continuous", "%s lives on as grant %d, after grant %d", t.request.Value, t.grant, w.grants)
		}
		if t.proved > 0 {
			w.renewals++
		}
		t.proved = t.end
	}
	for _, m := range t.take() {
		at := place{m.req.Value, m.node}
		switch {
		case m.req.Op != OpRelease && m.req.Op != OpLift && t.phase == over:
			w.fail("orphan", "%v of %s sent after its end", m.req.Op, m.req.Value)
		case m.req.Op == OpAcquire && w.acquired[at]:
			w.fail("once", "%s sent twice to node %d", m.req.Value, m.node)
		case m.req.Op == OpAcquire:
			w.acquired[at] = true
		}
		w.net = append(w.net, envelope{m: m, to: t})
	}
}

// granted checks the token of a new grant.
func (w *world) granted(t *tenure) {
	w.grants++
	t.grant = w.grants
	if !t.request.Shared {
		w.sections++
	}
	t.section = w.sections
	if t.token <= t.floor {
		w.fail("monotone", "%s got %d, though %d was granted before it began", t.request.Value, t.token, t.floor)
	}
	if w.tokens[t.token] || !t.request.Shared && w.shared[t.token] {
		w.fail("unique", "%s got %d, as another did", t.request.Value, t.token)
	}
	if t.request.Shared {
		w.shared[t.token] = true // two readers may have the same
	} else {
		w.tokens[t.token] = true
	}
	w.highest = max(w.highest, t.token)
}

// check looks for two holders, and for holders that should be none any more.
func (w *world) check() {
	var holder *tenure // a writer, if any
	for _, t := range w.tenures {
		if t.dead || !t.held(w.now) {
			continue
		}
		if over, ok := w.over[t.request.Value]; ok && w.now >= over {
			w.fail("over", "%s is held at %d, revoked to be over at %d", t.request.Value, w.now, over)
		}
		if holder != nil && !(holder.request.Shared && t.request.Shared) && !w.forced && !w.frozen {
			w.fail("exclusive", "%s and %s both hold at %d", holder.request.Value, t.request.Value, w.now)
		}
		if holder == nil || holder.request.Shared {
			holder = t
		}
	}
}

// live returns the client's lease that is not over.
func (w *world) live(client int) *tenure {
	for _, t := range slices.Backward(w.tenures) {
		if t.client == client && !t.dead && t.phase != over {
			return t
		}
	}
	return nil
}

func (w *world) clientActions() {
	for c := range w.clients {
		t := w.live(c)
		if t == nil {
			if w.attempts > 0 {
				w.option(6, label{verb: "begin", client: c}, func() { w.begin(c) })
				w.option(3, label{verb: "section", client: c}, func() { w.section(c) })
			}
			continue
		}
		if slices.ContainsFunc(w.net, func(e envelope) bool { return e.to == t }) {
			w.option(w.haste, label{verb: "trip", client: c}, func() { w.roundTrip(t) })
		}
		if w.spares && t.liftable() {
			w.option(2, label{verb: "lift", client: c}, func() { t.lift(); w.settle(t) })
		}
		if w.spares && slices.ContainsFunc(t.members, func(m member) bool { return !m.asked }) {
			w.option(2, label{verb: "hedge", client: c}, func() { t.hedge(); w.settle(t) })
			w.option(1, label{verb: "spread", client: c}, func() { t.spread(); w.settle(t) })
		}
		if t.phase != holding {
			w.option(1, label{verb: "abandon", client: c}, func() { t.abandon(w.now); w.settle(t) })
			continue
		}
		w.holderActions(t)
	}
	for _, t := range w.tenures {
		if t.dead && !t.resumed && w.live(t.client) == nil {
			w.option(6, label{verb: "resume", client: t.client}, func() { w.resume(t) })
		}
	}
}

func (w *world) holderActions(t *tenure) {
	if t.rounds < w.rounds {
		w.option(4, label{verb: "renew", client: t.client}, func() {
			t.rounds++
			ttl := t.request.TTL
			if w.varying {
				ttl = min(ttl, w.ttl())
			}
			t.lease.renew(w.now, ttl)
			w.settle(t)
		})
	}
	w.option(2, label{verb: "release", client: t.client}, func() { t.lease.release(w.now); w.settle(t) })
	if t.round.pending {
		w.option(1, label{verb: "timeout", client: t.client}, func() { t.timeout(w.now); w.settle(t) })
	}
	if w.now >= t.end {
		w.option(2, label{verb: "expire", client: t.client}, func() { t.expire(w.now); w.settle(t) })
	}
	if w.crashes > 0 && t.won {
		w.option(1, label{verb: "crash", client: t.client}, func() { w.crashes--; w.crash(t) })
	}
}

func (w *world) ttl() time.Duration {
	return w.ttls[w.choose(slices.Repeat([]int{1}, len(w.ttls))...)]
}

func (w *world) begin(client int) {
	w.attempts--
	w.drawing = client
	req := Request{Name: "n", Value: w.rules.value(), TTL: w.ttl(), FenceTTL: w.fenceTTL, Shared: client >= w.clients-w.readers}
	if w.wallclock {
		req.Proposal = w.wall() + int64(client*300)
	} else {
		req.Proposal = w.proposals[w.choose(slices.Repeat([]int{1}, len(w.proposals))...)]
	}
	t := &tenure{lease: newLease(w.rules, w.scenario.nodes, req), client: client, floor: w.highest}
	w.tenures = append(w.tenures, t)
	order := []int{0, 1, 2, 3, 4}[:w.scenario.nodes]
	if w.spares {
		for i := range order { // any order
			j := i + w.choose(slices.Repeat([]int{1}, len(order)-i)...)
			order[i], order[j] = order[j], order[i]
		}
	}
	t.lease.begin(w.now, order)
	if !w.spares {
		t.lease.hedge()
	}
	w.settle(t)
}

// section is a client that wins the lock and gives it back before anything else happens, if it can.
func (w *world) section(client int) {
	w.begin(client)
	t := w.tenures[len(w.tenures)-1]
	w.roundTrip(t)
	if t.phase == holding {
		t.lease.release(w.now)
		w.settle(t)
		w.roundTrip(t)
	}
}

// crash ends a client's process. Where nodes forget, what it had sent and was not executed is gone, too: the
// connections of a dead process do not outlive a quarantine (an assumption; see DESIGN.md).
func (w *world) crash(t *tenure) {
	t.dead = true
	w.net = slices.DeleteFunc(w.net, func(e envelope) bool {
		if e.to == t && e.answer == nil && w.forgets > 0 {
			w.lossy[place{e.m.req.Value, e.m.node}] = true
			return true
		}
		return false
	})
}

func (w *world) resume(old *tenure) {
	old.resumed = true
	req := old.request
	t := &tenure{lease: newLease(w.rules, w.scenario.nodes, req), client: old.client, grant: old.grant, section: old.section}
	w.tenures = append(w.tenures, t)
	t.lease.resume(w.now, old.token)
	w.settle(t)
}

func (w *world) faults() {
	for i := range min(len(w.net), reach) {
		if w.losses > 0 {
			w.option(1, w.net[i].label("lose"), func() { w.losses--; w.lose(i) })
		}
	}
	for i, n := range w.cluster {
		n.settle(w.now)
		if w.frozen && n.owner != "" {
			w.option(2, label{verb: "free", node: i}, func() { n.owner, n.record = "", simRecord{} })
		}
		if w.frozen && len(n.readers) > 0 {
			w.option(2, label{verb: "free", node: i}, func() { n.readers = n.readers[1:] })
		}
		if w.forgets > 0 {
			w.option(1, label{verb: "forget", node: i}, func() {
				w.forgets--
				w.cluster[i].forget(w.now, w.longest(), w.drift)
			})
		}
	}
	if w.cut >= 0 {
		w.option(3, label{verb: "mend"}, func() { w.cut = -1 })
	} else if w.cuts > 0 {
		w.option(3, label{verb: "cut"}, func() { w.cuts--; w.cut = w.choose(slices.Repeat([]int{1}, w.scenario.nodes+w.clients)...) })
	}
	if w.duplicates > 0 {
		for i := range min(len(w.net), reach) {
			if e := w.net[i]; e.answer == nil && !e.ghost && !w.down(i) {
				w.option(1, e.label("duplicate"), func() { w.duplicate(i) })
			}
		}
	}
}

// duplicate delivers a request and leaves a copy on its way.
func (w *world) duplicate(i int) {
	w.duplicates--
	e := w.net[i]
	w.lossy[place{e.m.req.Value, e.m.node}] = true
	w.deliver(i)
	e.ghost = true
	w.net = append(w.net, e)
}

// lose drops a message or an answer. The node's link notices, or it does not.
func (w *world) lose(i int) {
	e := w.net[i]
	w.net = slices.Delete(w.net, i, i+1)
	w.lossy[place{e.m.req.Value, e.m.node}] = true
	if e.answer == nil && w.choose(1, 1) == 1 {
		w.execute(e.m)
	}
	if w.choose(1, 1) == 1 && !e.ghost {
		e.answer = &Reply{Status: StatusError, Err: errors.New("connection lost")}
		w.net = append(w.net, e)
	}
}

func (w *world) operatorActions() {
	if o := w.operator; o != nil && !o.done {
		if w.now >= o.deadline() {
			w.option(4, label{verb: "again"}, func() { o.timeout(); o.begin(w.now); w.dispatch() })
		}
		w.option(w.haste, label{verb: "trip", client: -1}, func() { w.roundTrip(nil) })
		return
	}
	if len(w.revokes) == 0 {
		return
	}
	for _, t := range w.tenures {
		if t.phase == holding && !t.dead {
			w.option(2, label{verb: "revoke", client: t.client}, func() {
				op := w.revokes[0]
				w.revokes = w.revokes[1:]
				v := newRevocation(w.rules, w.scenario.nodes, w.longest(), Request{Op: op, Name: "n", Digest: Digest(t.request.Value)})
				w.operator = &operator{revocation: v, value: t.request.Value}
				v.begin(w.now)
				w.dispatch()
			})
		}
	}
}

func (w *world) dispatch() {
	for _, m := range w.operator.take() {
		w.net = append(w.net, envelope{m: m, from: w.operator})
	}
}

// windUp ends all leases, delivers what is under way, and looks for locks that were left behind without need.
func (w *world) windUp() {
	for _, t := range w.tenures {
		if !t.dead {
			t.abandon(w.now)
			t.lease.release(w.now)
			w.settle(t)
		}
	}
	for len(w.net) > 0 {
		w.deliver(0)
	}
	for i, n := range w.cluster {
		n.settle(w.now)
		for _, t := range w.tenures {
			v := t.request.Value
			has := n.owner == v || n.reader(Digest(v)) != nil
			if has && !w.lossy[place{v, i}] && !w.abandoned(v) {
				w.fail("orphan", "node %d still has %s", i, v)
			}
		}
	}
}

// abandoned tells that nobody was left to release a value.
func (w *world) abandoned(v string) bool {
	return slices.ContainsFunc(w.tenures, func(t *tenure) bool { return t.request.Value == v && (t.dead || t.kept) })
}

// A randomChooser picks at random, by weight.
type randomChooser struct{ *rand.Rand }

func (c randomChooser) pick(weights []int) int {
	total := 0
	for _, w := range weights {
		total += w
	}
	x := c.IntN(total)
	for i, w := range weights {
		if x -= w; x < 0 {
			return i
		}
	}
	panic("no option")
}

// An enumerator picks so that, run after run, all schedules are played that depart from the orderly one at
// most budget times: a depth-first search over sequences of choices.
type enumerator struct {
	budget int
	trail  []fork // the choices of this run; those of the next one up to where it differs
	depth  int    // how many choices this run has made
}

type fork struct{ chosen, options int }

func (e *enumerator) pick(weights []int) int {
	if e.depth == len(e.trail) {
		e.trail = append(e.trail, fork{options: len(weights)})
	}
	e.depth++
	return e.trail[e.depth-1].chosen
}

// next prepares the next run. It returns false when all have been played.
func (e *enumerator) next() bool {
	e.trail = e.trail[:e.depth]
	e.depth = 0
	departures := 0
	for _, f := range e.trail {
		if f.chosen > 0 {
			departures++
		}
	}
	for i := len(e.trail) - 1; i >= 0; i-- {
		f := &e.trail[i]
		if f.chosen > 0 {
			departures--
		}
		if f.chosen+1 < f.options && departures < e.budget {
			f.chosen++
			e.trail = e.trail[:i+1]
			return true
		}
	}
	return false
}
