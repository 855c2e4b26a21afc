package redlock

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// scenarios are the worlds in which the right code must keep all promises and the mutants must break theirs.
// DESIGN.md tells which row of the protocol's table each of them stands for.
var scenarios = []*scenario{
	{name: "tokens", nodes: 3, clients: 3, attempts: 4, rounds: 1, steps: 90, ttls: ticks(1000), fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, frozen: true, reorder: true, clamps: true, losses: 2},
	{name: "tokens-5", nodes: 5, clients: 3, attempts: 4, rounds: 1, steps: 140, ttls: ticks(1000), fenceTTL: 1e6,
		proposals: []int64{0, 2, 9, 1e15}, frozen: true, reorder: true, clamps: true, cuts: 1, losses: 3},
	{name: "late-raise", nodes: 3, clients: 3, attempts: 4, rounds: 1, steps: 60, ttls: ticks(1000), fenceTTL: 1e6,
		proposals: []int64{2, 0}, frozen: true, reorder: true, clamps: true,
		attack: []label{{"begin", 0, 0, 0}, {"deliver", OpAcquire, 0, 0}, {"deliver", OpAcquire, 0, 1}, {"answer", OpAcquire, 0, 0},
			{"answer", OpAcquire, 0, 1}, {"free", 0, 0, 0}, {"section", 0, 1, 0}, {"trip", 0, 0, 0}}},
	{name: "lost-raise", nodes: 3, clients: 3, attempts: 4, rounds: 1, steps: 60, ttls: ticks(1000), fenceTTL: 1e6,
		proposals: []int64{2, 0}, frozen: true, reorder: true, clamps: true,
		attack: []label{{"begin", 0, 0, 0}, {"deliver", OpAcquire, 0, 0}, {"deliver", OpAcquire, 0, 1}, {"answer", OpAcquire, 0, 0},
			{"answer", OpAcquire, 0, 1}, {"free", 0, 0, 0}, {"deliver", OpRaise, 0, 0}, {"answer", OpRaise, 0, 0}, {"section", 0, 1, 0}}},
	{name: "late-heal", nodes: 3, clients: 3, attempts: 4, rounds: 2, steps: 60, ttls: ticks(1000), fenceTTL: 1e6,
		proposals: []int64{0, 1, 2}, frozen: true, reorder: true, clamps: true,
		attack: []label{{"begin", 0, 0, 0}, {"trip", 0, 0, 0}, {"renew", 0, 0, 0}, {"free", 0, 0, 0}, {"free", 0, 0, 1}, {"free", 0, 0, 2},
			{"section", 0, 1, 0}, {"trip", 0, 0, 0}, {"free", 0, 0, 0}, {"free", 0, 0, 1}, {"free", 0, 0, 2}, {"section", 0, 1, 0}}},
	{name: "acquired-twice", nodes: 3, clients: 3, attempts: 4, rounds: 1, steps: 70, ttls: ticks(1000), fenceTTL: 1e6,
		proposals: []int64{2, 0}, frozen: true, reorder: true, clamps: true, duplicates: 2,
		attack: []label{{"begin", 0, 0, 0}, {"duplicate", OpAcquire, 0, 0}, {"deliver", OpAcquire, 0, 1}, {"answer", OpAcquire, 0, 0},
			{"answer", OpAcquire, 0, 1}, {"free", 0, 0, 0}, {"section", 0, 1, 0}, {"ghost", OpAcquire, 0, 0}, {"trip", 0, 0, 0}}},
	{name: "tokens-twice", nodes: 3, clients: 3, attempts: 4, rounds: 1, steps: 110, ttls: ticks(1000), fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, frozen: true, reorder: true, duplicates: 3, cuts: 1, losses: 1},
	{name: "last-tokens", nodes: 3, clients: 3, attempts: 5, rounds: 1, steps: 110, ttls: ticks(1000), fenceTTL: 1e6,
		proposals: []int64{MaxToken - 2, MaxToken - 1, MaxToken}, frozen: true, reorder: true, losses: 1},
	{name: "timed", nodes: 3, clients: 3, attempts: 5, rounds: 3, steps: 110, ttls: ticks(4, 7), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, clamps: true, varying: true, cuts: 1, losses: 2},
	{name: "timed-5", nodes: 5, clients: 2, attempts: 4, rounds: 3, steps: 140, ttls: ticks(4, 7), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, duplicates: 2, varying: true, cuts: 1, losses: 3},
	{name: "late-release", nodes: 3, clients: 2, attempts: 4, rounds: 1, steps: 60, ttls: ticks(4), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, losses: 1,
		attack: []label{{"begin", 0, 0, 0}, {"trip", 0, 0, 0}, {"release", 0, 0, 0}, {"leap", 0, 0, 0}, {"leap", 0, 0, 0}, {"begin", 0, 0, 0},
			{"trip", 0, 0, 0}, {"deliver", OpRelease, 0, 0}, {"deliver", OpRelease, 0, 1}, {"begin", 0, 1, 0}, {"trip", 0, 1, 0}}},
	{name: "shorter-renewal", nodes: 3, clients: 2, attempts: 4, rounds: 2, steps: 60, ttls: ticks(8, 3), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, varying: true, losses: 1,
		attack: []label{{"begin", 0, 0, 0}, {"trip", 0, 0, 0}, {"renew", 0, 0, 0}, {"trip", 0, 0, 0}, {"leap", 0, 0, 0}, {"begin", 0, 1, 0}, {"trip", 0, 1, 0}}},
	{name: "at-the-end", nodes: 3, clients: 2, attempts: 4, rounds: 2, steps: 60, ttls: ticks(4), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, losses: 1,
		attack: []label{{"begin", 0, 0, 0}, {"trip", 0, 0, 0}, {"renew", 0, 0, 0}, {"leap", 0, 0, 0}, {"begin", 0, 1, 0}, {"trip", 0, 1, 0}}},
	{name: "late-renewal", nodes: 3, clients: 3, attempts: 4, rounds: 3, steps: 70, ttls: ticks(6), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, losses: 1,
		attack: []label{{"begin", 0, 0, 0}, {"trip", 0, 0, 0}, {"tick", 0, 0, 0}, {"tick", 0, 0, 0}, {"renew", 0, 0, 0}, {"renew", 0, 0, 0},
			{"leap", 0, 0, 0}, {"leap", 0, 0, 0}, {"section", 0, 1, 0}, {"trip", 0, 0, 0}}},
	{name: "renewals", nodes: 3, clients: 2, attempts: 4, rounds: 8, steps: 90, ttls: ticks(5, 3), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, varying: true, cuts: 2, losses: 2, duplicates: 1,
		attack: []label{{"begin", 0, 0, 0}, {"trip", 0, 0, 0}, {"tick", 0, 0, 0}, {"renew", 0, 0, 0}, {"trip", 0, 0, 0}, {"tick", 0, 0, 0},
			{"renew", 0, 0, 0}, {"trip", 0, 0, 0}, {"tick", 0, 0, 0}, {"begin", 0, 1, 0}, {"renew", 0, 0, 0}, {"trip", 0, 1, 0}, {"trip", 0, 0, 0},
			{"leap", 0, 0, 0}, {"section", 0, 1, 0}, {"renew", 0, 0, 0}}},
	{name: "forget", nodes: 3, clients: 3, attempts: 4, rounds: 3, steps: 120, ttls: ticks(4, 6), drift: 1, fenceTTL: 1e6,
		wallclock: true, reorder: true, forgets: 2, cuts: 1, losses: 1,
		attack: []label{{"section", 0, 0, 0}, {"begin", 0, 1, 0}, {"deliver", OpAcquire, 1, 0}, {"deliver", OpAcquire, 1, 1}, {"answer", OpAcquire, 1, 0},
			{"answer", OpAcquire, 1, 1}, {"forget", 0, 0, 0}, {"leap", 0, 0, 0}, {"begin", 0, 2, 0}, {"trip", 0, 2, 0}}},
	{name: "fence-ttl", nodes: 3, clients: 3, attempts: 5, rounds: 2, steps: 110, ttls: ticks(3, 5), drift: 1, fenceTTL: 6,
		wallclock: true, reorder: true, duplicates: 2, cuts: 1, losses: 1},
	{name: "evict", nodes: 3, clients: 2, attempts: 4, rounds: 3, steps: 130, ttls: ticks(4, 6), drift: 1, fenceTTL: 1e6,
		wallclock: true, reorder: true, forgets: 1, cuts: 1, losses: 2, revokes: []Op{OpEvict, OpEvict}},
	{name: "evict-empty", nodes: 3, clients: 2, attempts: 3, rounds: 4, steps: 70, ttls: ticks(4), drift: 1, fenceTTL: 1e6,
		wallclock: true, reorder: true, losses: 2, revokes: []Op{OpEvict}, attack: emptyNodeAttack(OpEvict)},
	{name: "evict-memory", nodes: 3, clients: 2, attempts: 3, rounds: 4, steps: 70, ttls: ticks(4), drift: 1, fenceTTL: 1e6,
		wallclock: true, reorder: true, losses: 1, revokes: []Op{OpEvict}, attack: shortMemoryAttack},
	{name: "force", nodes: 3, clients: 2, attempts: 4, rounds: 3, steps: 130, ttls: ticks(4, 6), drift: 1, fenceTTL: 1e6,
		wallclock: true, reorder: true, forgets: 1, cuts: 1, losses: 2, revokes: []Op{OpForce, OpForce}},
	{name: "force-empty", nodes: 3, clients: 2, attempts: 3, rounds: 4, steps: 70, ttls: ticks(4), drift: 1, fenceTTL: 1e6,
		wallclock: true, reorder: true, losses: 2, revokes: []Op{OpForce}, attack: emptyNodeAttack(OpForce)},
	{name: "force-memory", nodes: 3, clients: 1, attempts: 2, rounds: 4, steps: 70, ttls: ticks(4), drift: 1, fenceTTL: 1e6,
		wallclock: true, reorder: true, losses: 1, revokes: []Op{OpForce}, attack: shortMemoryAttack},
	{name: "resume", nodes: 3, clients: 2, attempts: 4, rounds: 2, steps: 130, ttls: ticks(4, 6), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, crashes: 2, cuts: 1, losses: 2},
	{name: "spares", nodes: 3, clients: 3, attempts: 5, rounds: 3, steps: 110, ttls: ticks(4, 7), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, spares: true, reorder: true, clamps: true, cuts: 1, losses: 2},
	{name: "spares-5", nodes: 5, clients: 3, attempts: 5, rounds: 2, steps: 160, ttls: ticks(4, 6), drift: 1, fenceTTL: 1e6,
		wallclock: true, spares: true, reorder: true, duplicates: 1, forgets: 1, cuts: 1, losses: 2, crashes: 1, revokes: []Op{OpEvict}},
	{name: "readers", nodes: 3, clients: 4, readers: 2, attempts: 6, rounds: 3, steps: 130, ttls: ticks(4, 7), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, clamps: true, varying: true, cuts: 1, losses: 2},
	{name: "readers-5", nodes: 5, clients: 4, readers: 3, attempts: 6, rounds: 2, steps: 180, ttls: ticks(4, 6), drift: 1, fenceTTL: 1e6,
		wallclock: true, spares: true, reorder: true, duplicates: 2, cuts: 1, losses: 2, crashes: 1},
	{name: "readers-tokens", nodes: 3, clients: 4, readers: 2, attempts: 5, rounds: 1, steps: 110, ttls: ticks(1000), fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, frozen: true, reorder: true, clamps: true, duplicates: 2, losses: 1},
	{name: "reader-then-writer", nodes: 3, clients: 2, readers: 1, attempts: 4, rounds: 2, steps: 60, ttls: ticks(4), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, losses: 1,
		attack: []label{{"begin", 0, 1, 0}, {"trip", 0, 1, 0}, {"begin", 0, 0, 0}, {"trip", 0, 0, 0}}},
	{name: "writer-then-reader", nodes: 3, clients: 2, readers: 1, attempts: 4, rounds: 2, steps: 60, ttls: ticks(4), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, losses: 1,
		attack: []label{{"begin", 0, 0, 0}, {"trip", 0, 0, 0}, {"begin", 0, 1, 0}, {"trip", 0, 1, 0}}},
	{name: "short-reader", nodes: 3, clients: 3, readers: 2, attempts: 4, rounds: 1, steps: 60, ttls: ticks(9, 3), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, losses: 1,
		attack: []label{{"begin", 0, 1, 0}, {"trip", 0, 1, 0}, {"begin", 0, 2, 0}, {"trip", 0, 2, 0}, {"tick", 0, 0, 0}, {"tick", 0, 0, 0},
			{"tick", 0, 0, 0}, {"begin", 0, 0, 0}, {"trip", 0, 0, 0}}},
	{name: "two-readers", nodes: 3, clients: 3, readers: 2, attempts: 5, rounds: 1, steps: 80, ttls: ticks(8), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, losses: 1,
		attack: []label{{"begin", 0, 1, 0}, {"begin", 0, 2, 0}, {"trip", 0, 2, 0}, {"abandon", 0, 1, 0}, {"deliver", OpRelease, 1, 0},
			{"deliver", OpRelease, 1, 1}, {"deliver", OpRelease, 1, 2}, {"begin", 0, 0, 0}, {"trip", 0, 0, 0}}},
	{name: "reader-acquired-twice", nodes: 3, clients: 3, readers: 1, attempts: 4, rounds: 1, steps: 70, ttls: ticks(1000), fenceTTL: 1e6,
		proposals: []int64{2, 0}, frozen: true, reorder: true, clamps: true, duplicates: 2,
		attack: []label{{"begin", 0, 2, 0}, {"duplicate", OpAcquire, 2, 0}, {"deliver", OpAcquire, 2, 1}, {"answer", OpAcquire, 2, 0},
			{"answer", OpAcquire, 2, 1}, {"free", 0, 0, 0}, {"section", 0, 1, 0}, {"ghost", OpAcquire, 2, 0}, {"trip", 0, 2, 0}}},
	{name: "reader-heals", nodes: 3, clients: 2, readers: 1, attempts: 4, rounds: 3, steps: 80, ttls: ticks(6), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, losses: 2, attack: healAttack(1, 0)},
	{name: "writer-heals", nodes: 3, clients: 2, readers: 1, attempts: 4, rounds: 3, steps: 80, ttls: ticks(6), drift: 1, fenceTTL: 1e6,
		proposals: []int64{0, 2, 9}, reorder: true, losses: 2, attack: healAttack(0, 1)},
	{name: "forget-readers", nodes: 3, clients: 3, readers: 2, attempts: 4, rounds: 3, steps: 120, ttls: ticks(4, 6), drift: 1, fenceTTL: 1e6,
		wallclock: true, reorder: true, forgets: 2, cuts: 1, losses: 1,
		attack: []label{{"begin", 0, 0, 0}, {"deliver", OpAcquire, 0, 0}, {"deliver", OpAcquire, 0, 1}, {"answer", OpAcquire, 0, 0},
			{"answer", OpAcquire, 0, 1}, {"forget", 0, 0, 0}, {"begin", 0, 1, 0}, {"trip", 0, 1, 0}}},
	{name: "evict-reader", nodes: 3, clients: 2, readers: 2, attempts: 3, rounds: 4, steps: 70, ttls: ticks(4), drift: 1, fenceTTL: 1e6,
		wallclock: true, reorder: true, losses: 2, revokes: []Op{OpEvict}, attack: emptyNodeAttack(OpEvict)},
	{name: "force-reader", nodes: 3, clients: 3, readers: 2, attempts: 4, rounds: 3, steps: 130, ttls: ticks(4, 6), drift: 1, fenceTTL: 1e6,
		wallclock: true, reorder: true, forgets: 1, cuts: 1, losses: 2, revokes: []Op{OpForce, OpEvict}},
	{name: "everything", nodes: 5, clients: 4, attempts: 7, rounds: 3, steps: 220, ttls: ticks(4, 5, 8), drift: 1, fenceTTL: 1e6,
		wallclock: true, reorder: true, duplicates: 2, forgets: 2, cuts: 2, losses: 4, crashes: 1, revokes: []Op{OpEvict}},
}

// emptyNodeAttack is a holder that never got its lock to node 2, and a revocation that node 1 does not hear
// of: nodes 1 and 2 can prolong the lease unless node 2 remembers a value that it never saw.
func emptyNodeAttack(op Op) []label {
	return []label{{"begin", 0, 0, 0}, {"deliver", OpAcquire, 0, 0}, {"deliver", OpAcquire, 0, 1}, {"answer", OpAcquire, 0, 0},
		{"answer", OpAcquire, 0, 1}, {"lose", OpAcquire, 0, 2}, {"revoke", 0, 0, 0}, {"deliver", op, -1, 0}, {"deliver", op, -1, 2},
		{"answer", op, -1, 0}, {"answer", op, -1, 2}, {"renew", 0, 0, 0}, {"deliver", OpRenew, 0, 1}, {"deliver", OpRenew, 0, 2},
		{"answer", OpRenew, 0, 1}, {"answer", OpRenew, 0, 2}, {"tick", 0, 0, 0}, {"tick", 0, 0, 0}, {"renew", 0, 0, 0},
		{"deliver", OpRenew, 0, 1}, {"deliver", OpRenew, 0, 2}, {"answer", OpRenew, 0, 1}, {"answer", OpRenew, 0, 2}, {"tick", 0, 0, 0}}
}

// healAttack is a holder that never got its lock to node 2, where another's attempt was granted, and brings it
// there by a renewal. With nodes 0 and 2 it then lives on, while the other gets node 1 where it expires.
func healAttack(holder, other int) []label {
	renewed := []label{{"renew", 0, holder, 0}, {"deliver", OpRenew, holder, 0}, {"deliver", OpRenew, holder, 2}, {"answer", OpRenew, holder, 0},
		{"answer", OpRenew, holder, 2}, {"tick", 0, 0, 0}}
	return slices.Concat([]label{{"begin", 0, holder, 0}, {"deliver", OpAcquire, holder, 0}, {"deliver", OpAcquire, holder, 1},
		{"answer", OpAcquire, holder, 0}, {"answer", OpAcquire, holder, 1}, {"tick", 0, 0, 0}, {"tick", 0, 0, 0}, {"begin", 0, other, 0},
		{"deliver", OpAcquire, other, 2}}, renewed, renewed, []label{{"leap", 0, 0, 0}, {"deliver", OpAcquire, other, 1},
		{"answer", OpAcquire, other, 2}, {"answer", OpAcquire, other, 1}})
}

// shortMemoryAttack is a holder that renews once the nodes might have forgotten its revocation, but its lease
// is not over yet. With force, the lock has to be healed first.
var shortMemoryAttack = []label{{"begin", 0, 0, 0}, {"trip", 0, 0, 0}, {"revoke", 0, 0, 0}, {"trip", 0, -1, 0}, {"tick", 0, 0, 0}, {"tick", 0, 0, 0},
	{"renew", 0, 0, 0}, {"trip", 0, 0, 0}, {"renew", 0, 0, 0}, {"trip", 0, 0, 0}, {"tick", 0, 0, 0}}

func ticks(n ...time.Duration) []time.Duration { return n }

func scenarioNamed(name string) *scenario {
	for _, s := range scenarios {
		if s.name == name {
			return s
		}
	}
	panic(name)
}

// schedules is how many random schedules of each scenario the right code has to pass. A mutant must be caught
// within a twentieth of it. HOLDFAST_MODEL_SCHEDULES asks for more (or, while working on it, for fewer).
func schedules(t *testing.T) int {
	n := defaultSchedules
	if s := os.Getenv("HOLDFAST_MODEL_SCHEDULES"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	return n
}

// A tally counts what happened in the schedules of a scenario.
type tally struct{ schedules, steps, grants, renewals int }

// play runs schedules until one breaks a promise.
func play(s *scenario, n int, mutate func(*world)) (tally, error) {
	var sum tally
	for i := range n {
		w := newWorld(s, randomChooser{rand.New(rand.NewPCG(uint64(i), 1))}, mutate)
		err := w.run()
		sum.schedules++
		sum.steps += w.taken
		sum.grants += w.grants
		sum.renewals += w.renewals
		if err != nil {
			return sum, fmt.Errorf("schedule %d of %s: %w", i, s.name, err)
		}
	}
	return sum, nil
}

// Ensure that the protocol keeps its promises over random schedules of every scenario.
func TestModelRandom(t *testing.T) {
	n := schedules(t)
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			sum, err := play(s, n, nil)
			require.NoError(t, err)
			t.Logf("%+v", sum)
			assert.GreaterOrEqual(t, sum.grants, n, "schedules without grants show nothing")
		})
	}
}

// A mutant is the protocol with one rule dropped or changed.
type mutant struct {
	rule     string
	scenario string
	promises []string // that it breaks; the first one counts for the table, the others may be seen before it
	mutate   func(*world)
}

var mutants = []mutant{
	{"no-raise", "tokens", []string{"monotone", "unique"}, func(w *world) {
		w.rules.confirms = func(int64, int64) bool { return true }
	}},
	{"raise-ignores-owner", "late-raise", []string{"unique"}, func(w *world) { w.nodeRules.raiseChecksOwner = false; w.ignored = "monotone" }},
	{"lost-counts-as-raised", "lost-raise", []string{"monotone"}, func(w *world) {
		w.rules.raised = func(s Status) bool { return s == StatusOK || s == StatusLost }
		w.ignored = "unique"
	}},
	{"raise-ignores-fence", "acquired-twice", []string{"unique"}, func(w *world) { w.nodeRules.raiseChecksFence = false; w.ignored = "monotone" }},
	{"same-value-again", "late-release", []string{"exclusive"}, func(w *world) {
		w.rules.value = func() string { return fmt.Sprint("client", w.drawing) }
		w.ignored = "once"
	}},
	{"renewal-after-old-end", "late-renewal", []string{"continuous"}, func(w *world) {
		w.rules.prolongs = func(now, newEnd, _ clock.Instant) bool { return now.Before(newEnd) }
		w.ignored = "exclusive"
	}},
	{"pending-counts-as-held", "at-the-end", []string{"exclusive"}, func(w *world) {
		w.rules.held = func(now, end clock.Instant, pending bool) bool { return now.Before(end) || pending }
	}},
	{"held-at-the-end", "at-the-end", []string{"exclusive"}, func(w *world) {
		w.rules.held = func(now, end clock.Instant, _ bool) bool { return now <= end }
	}},
	{"renew-sets-expiry", "shorter-renewal", []string{"exclusive"}, func(w *world) {
		w.nodeRules.renewExpiry = func(_, renewed clock.Instant) clock.Instant { return renewed }
	}},
	{"heal-sets-fence", "late-heal", []string{"unique"}, func(w *world) {
		w.nodeRules.healFence = func(_, token int64) int64 { return token }
		w.ignored = "monotone"
	}},
	{"forgetful-rejoins-at-once", "forget", []string{"exclusive"}, func(w *world) {
		w.nodeRules.quarantine = func(_, _ time.Duration) time.Duration { return 0 }
	}},
	{"forgetful-rejoins-a-tick-early", "forget", []string{"exclusive"}, func(w *world) {
		w.nodeRules.quarantine = func(longest, _ time.Duration) time.Duration { return longest - 1 }
	}},
	{"evict-deletes", "evict", []string{"exclusive"}, func(w *world) { w.nodeRules.evictDeletes = true }},
	{"evict-only-where-found", "evict-empty", []string{"over"}, func(w *world) { w.nodeRules.revokesOnlyHere = true }},
	{"force-only-where-found", "force-empty", []string{"over"}, func(w *world) { w.nodeRules.revokesOnlyHere = true }},
	{"evict-forgets-early", "evict-memory", []string{"over"}, func(w *world) {
		w.nodeRules.memory = func(time.Duration) time.Duration { return 2 }
	}},
	{"force-forgets-early", "force-memory", []string{"over"}, func(w *world) {
		w.nodeRules.memory = func(time.Duration) time.Duration { return 2 }
	}},
	{"writer-ignores-readers", "reader-then-writer", []string{"exclusive"}, func(w *world) { w.nodeRules.writerMindsReaders = false }},
	{"reader-ignores-writer", "writer-then-reader", []string{"exclusive"}, func(w *world) { w.nodeRules.readerMindsWriter = false }},
	{"one-ttl-for-all-readers", "short-reader", []string{"exclusive"}, func(w *world) { w.nodeRules.readersLive = false }},
	{"readers-counted", "two-readers", []string{"exclusive"}, func(w *world) { w.nodeRules.readersListed = false }},
	{"reader-heals-beside-a-writer", "reader-heals", []string{"exclusive", "continuous"}, func(w *world) { w.nodeRules.healMindsWriter = false }},
	{"writer-heals-beside-a-reader", "writer-heals", []string{"exclusive", "continuous"}, func(w *world) { w.nodeRules.healMindsReaders = false }},
	{"reader-raise-ignores-its-grant", "reader-acquired-twice", []string{"unique", "monotone"}, func(w *world) { w.nodeRules.raiseChecksVote = false }},
	{"quarantine-ignores-readers", "forget-readers", []string{"exclusive"}, func(w *world) { w.nodeRules.quarantinesReaders = false }},
	{"revocation-ignores-readers", "evict-reader", []string{"over"}, func(w *world) { w.nodeRules.revokesReaders = false }},
	{"counter-saturates", "last-tokens", []string{"unique"}, func(w *world) { w.nodeRules.saturates = true; w.ignored = "monotone" }},
}

// Ensure that every rule is needed and that the model test would notice its absence: each mutant breaks the
// promise of its row, within a twentieth of the schedules that the right code passes.
func TestMutant(t *testing.T) {
	n := schedules(t) / 20
	for _, m := range mutants {
		t.Run(m.rule, func(t *testing.T) {
			t.Parallel()
			sum, err := play(scenarioNamed(m.scenario), n, m.mutate)
			require.Error(t, err, "not caught")
			var v violation
			require.ErrorAs(t, err, &v)
			assert.Contains(t, m.promises, v.promise, v.story)
			t.Logf("caught by schedule %d of %d: %v", sum.schedules, n, err)
		})
	}
}

// Ensure that enumeration finds mutants as well as chance does: with one departure from the attack, it has to
// catch those for which a scenario names one. What takes two clocks to stray takes two departures.
func TestMutantEnumerated(t *testing.T) {
	twoDepartures := []string{"forgetful-rejoins-a-tick-early", "held-at-the-end", "pending-counts-as-held", "renew-sets-expiry"}
	for _, m := range mutants {
		if s := scenarioNamed(m.scenario); len(s.attack) > 0 && !slices.Contains(twoDepartures, m.rule) {
			t.Run(m.rule, func(t *testing.T) {
				t.Parallel()
				_, err := enumerate(s, 1, 1<<60, m.mutate)
				require.ErrorAs(t, err, new(violation))
			})
		}
	}
}

// nonGuarantees are what the protocol does not promise. The tests show that it really does not.
var nonGuarantees = []mutant{
	{"drift-above-allowance", "timed", []string{"exclusive"}, func(w *world) { w.stray = w.drift + 1 }},
	{"force-while-held", "force", []string{"exclusive"}, func(w *world) { w.strict = true }},
	{"fence-shorter-than-attempt", "fence-ttl", []string{"monotone"}, func(w *world) { w.fenceTTL = 3 }},
	{"forgotten-fences-without-wall-clock", "forget", []string{"monotone", "unique"}, func(w *world) {
		w.wallclock, w.proposals = false, []int64{0}
	}},
}

// Ensure that what the documentation calls no guarantee is none.
func TestNonGuarantee(t *testing.T) {
	for _, m := range nonGuarantees {
		t.Run(m.rule, func(t *testing.T) {
			t.Parallel()
			_, err := play(scenarioNamed(m.scenario), schedules(t), m.mutate)
			var v violation
			require.ErrorAs(t, err, &v)
			assert.Contains(t, m.promises, v.promise, v.story)
		})
	}
}

// Ensure that the protocol keeps its promises over all schedules that depart from the orderly one, or from
// the scenario's attack, at most twice.
func TestModelEnumerated(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			n, err := enumerate(s, 1, 1<<60, nil)
			require.NoError(t, err)
			t.Log(n, "schedules with one departure")
			n, err = enumerate(s, 2, schedules(t)/6, nil)
			require.NoError(t, err)
			t.Log(n, "schedules with two departures")
		})
	}
}

// enumerate plays all schedules within the budget of departures, but not more than most. It returns how many.
func enumerate(s *scenario, budget, most int, mutate func(*world)) (string, error) {
	e := &enumerator{budget: budget}
	for n := 1; ; n++ {
		if err := newWorld(s, e, mutate).run(); err != nil {
			return "", fmt.Errorf("schedule %v of %s: %w", e.trail, s.name, err)
		}
		switch {
		case !e.next():
			return fmt.Sprint("all ", n), nil
		case n == most:
			return fmt.Sprint("the first ", n), nil
		}
	}
}
