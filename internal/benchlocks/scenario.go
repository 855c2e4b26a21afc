package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A measure names one figure of a scenario. Times are in nanoseconds.
type measure string

const (
	p50         measure = "p50"
	p99         measure = "p99"
	slowest     measure = "max"
	rate        measure = "rate" // operations per second
	gap50       measure = "gap p50"
	gap99       measure = "gap p99"
	wait99      measure = "wait p99"
	unfair      measure = "max/min"
	passed      measure = "passed on" // share of turns
	commands    measure = "commands"  // per operation
	messages    measure = "messages"  // per operation
	overlaps    measure = "overlaps"
	cpuClients  measure = "client CPU" // per operation
	cpuNodes    measure = "node CPU"   // per operation, of all nodes together
	executing   measure = "executing"  // per operation, how long nodes executed commands
	healthy50   measure = "healthy p50"
	healthy99   measure = "healthy p99"
	healthyMax  measure = "healthy max"
	grew50      measure = "p50 / healthy"
	grew99      measure = "p99 / healthy"
	taken       measure = "taken" // leases per second
	renewals    measure = "renewals"
	lost        measure = "lost"
	unconfirmed measure = "unconfirmed" // releases
	bytesEach   measure = "bytes"
	clientShare measure = "client share" // of one processor
	nodesShare  measure = "nodes share"
)

// figures are what one round of a subject has found.
type figures map[measure]float64

// A scenario is one way to use locks.
type scenario struct {
	name  string // for -scenarios
	title string
	// suits reports whether the scenario means something for the subject.
	suits func(s subject) bool
	run   func(ctx context.Context, b *bench, s subject, round int) (figures, error)
}

// The scenarios' names.
const (
	lockScenario      = "lock"
	namesScenario     = "names"
	contendedScenario = "contended"
	stoppedScenario   = "stopped"
	slowScenario      = "slow"
	leasesScenario    = "leases"
)

var scenarios = []scenario{
	{lockScenario, "Lock and unlock a free lock, one goroutine", everybody, runLock},
	{namesScenario, "64 goroutines of one process, each with a lock of its own", everybody, runNames},
	{contendedScenario, "16 processes want the same lock and hold it for 1 ms", everybody, runContended},
	{stoppedScenario, "Lock and unlock while one of five nodes is stopped", quorums, runStopped},
	{slowScenario, "Lock and unlock while one of five nodes is 50 ms away", quorums, runSlow},
	{leasesScenario, "One process keeps many leases", ourOwn, runLeases},
}

func everybody(subject) bool { return true }

// quorums leaves redsync-fast out: its retries play no part there.
func quorums(s subject) bool { return s.nodes > 1 && s.name != "redsync-fast" }

func ourOwn(s subject) bool { return s.name == oursOnRedis || s.name == oursOnOurs }

func addrs(nodes []node) (all []string) {
	for _, n := range nodes {
		all = append(all, n.addr)
	}
	return all
}

// A bench is a run: the fleet and how long everything takes.
type bench struct {
	fleet *fleet
	plan  plan
	// waits and gaps of the contended scenario, by subject, for the picture.
	waits, gaps map[string][]float64
}

// runLock measures one goroutine with one lock.
func runLock(ctx context.Context, b *bench, s subject, round int) (figures, error) {
	a, f, err := b.alone(ctx, s, round, order{Do: "one", Name: "bench/" + s.name + "/one", For: b.plan.lock})
	if err != nil {
		return nil, err
	}
	slices.Sort(a.Samples)
	f[p50], f[p99] = quantile(a.Samples, 0.5), quantile(a.Samples, 0.99)
	return f, nil
}

// runNames measures many goroutines with a lock each.
func runNames(ctx context.Context, b *bench, s subject, round int) (figures, error) {
	const goroutines = 64
	_, f, err := b.alone(ctx, s, round, order{Do: "many", Name: "bench/" + s.name + "/many", For: b.plan.names, Many: goroutines})
	return f, err
}

// alone gives an order to one client process, after a short one to warm up, and measures what it costs.
func (b *bench) alone(ctx context.Context, s subject, round int, o order) (a answer, f figures, err error) {
	nodes := b.fleet.of(s)
	w, err := b.newWorker(s, fmt.Sprint(o.Do, round), addrs(nodes))
	if err != nil {
		return a, nil, err
	}
	defer w.end()
	warm := o
	warm.For = b.plan.warm
	if _, err := w.order(ctx, warm); err != nil {
		return a, nil, err
	}
	before, used, err := b.look(ctx, s, nodes)
	if err != nil {
		return a, nil, err
	}
	if a, err = w.order(ctx, o); err != nil {
		return a, nil, err
	}
	f, err = b.costs(ctx, s, nodes, before, used, a.CPU, a.Count)
	f[rate] = float64(a.Count) / a.Took.Seconds()
	return a, f, err
}

// look returns what the nodes have received and used so far.
func (b *bench) look(ctx context.Context, s subject, nodes []node) (traffic, time.Duration, error) {
	t, err := count(ctx, s, nodes)
	return t, cpu(nodes), err
}

// costs returns what n operations have cost since an earlier look.
func (b *bench) costs(ctx context.Context, s subject, nodes []node, before traffic, used, clients time.Duration, n int) (figures, error) {
	used = cpu(nodes) - used
	after, err := count(ctx, s, nodes)
	t := after.minus(before)
	each := func(total float64) float64 {
		if n == 0 {
			return math.NaN()
		}
		return total / float64(n)
	}
	return figures{cpuClients: each(float64(clients)), cpuNodes: each(float64(used)),
		commands: each(t.commands), messages: each(t.messages), executing: each(t.busy)}, err
}

// contenders is how many processes want the same lock.
const contenders = 16

// runContended measures processes that want the same lock.
func runContended(ctx context.Context, b *bench, s subject, round int) (figures, error) {
	nodes := b.fleet.of(s)
	crowd, err := b.crowd(ctx, s, round, nodes)
	defer func() {
		var wg sync.WaitGroup
		for _, w := range crowd {
			wg.Go(w.end)
		}
		wg.Wait()
	}()
	if err != nil {
		return nil, err
	}
	name := "bench/" + s.name + "/contended"
	if _, err := give(ctx, crowd, order{Do: "contend", Name: name, For: b.plan.warmCrowd}); err != nil {
		return nil, err
	}
	before, used, err := b.look(ctx, s, nodes)
	if err != nil {
		return nil, err
	}
	o := order{Do: "contend", Name: name, For: b.plan.contended, Begin: monotonic() + 50*time.Millisecond}
	answers, err := give(ctx, crowd, o)
	if err != nil {
		return nil, err
	}
	turns, clients := 0, time.Duration(0)
	logs := make([][]record, len(crowd))
	for i, a := range answers {
		turns += a.Count
		clients += a.CPU
		if logs[i], err = readRecords(crowd[i].recordsFile()); err != nil {
			return nil, err
		}
	}
	f, err := b.costs(ctx, s, nodes, before, used, clients, turns)
	if err != nil {
		return nil, err
	}
	c := judge(logs, o.Begin, o.Begin+o.For)
	b.waits[s.name] = append(b.waits[s.name], c.waits...)
	b.gaps[s.name] = append(b.gaps[s.name], c.gaps...)
	maps.Copy(f, figures{rate: c.perSecond(), gap50: quantile(c.gaps, 0.5), gap99: quantile(c.gaps, 0.99),
		wait99: quantile(c.waits, 0.99), unfair: c.unfairness(), passed: c.handovers(), overlaps: float64(c.overlaps)})
	return f, nil
}

// crowd starts the contenders. It returns those that it has started also with an error.
func (b *bench) crowd(ctx context.Context, s subject, round int, nodes []node) (crowd []*worker, err error) {
	for i := range contenders {
		w, err := b.newWorker(s, fmt.Sprintf("crowd%d-%d", round, i), addrs(nodes))
		if err != nil {
			return crowd, err
		}
		crowd = append(crowd, w)
	}
	_, err = give(ctx, crowd, order{Do: "one", Name: "bench/" + s.name + "/hello", For: 0})
	return crowd, err
}

// recordsFile is where a contender writes its records.
func (w *worker) recordsFile() string { return filepath.Join(filepath.Dir(w.log), w.name+".records") }

// give gives all workers the same order at the same time.
func give(ctx context.Context, crowd []*worker, o order) ([]answer, error) {
	answers := make([]answer, len(crowd))
	var group errgroup.Group
	for i, w := range crowd {
		group.Go(func() (err error) {
			mine := o
			mine.Log = w.recordsFile()
			answers[i], err = w.order(ctx, mine)
			return err
		})
	}
	return answers, group.Wait()
}

// runLeases measures a process that keeps many leases: what they cost in memory, and their renewal in time.
func runLeases(ctx context.Context, b *bench, s subject, round int) (figures, error) {
	nodes := b.fleet.of(s)
	w, err := b.newWorker(s, "leases"+strconv.Itoa(round), addrs(nodes))
	if err != nil {
		return nil, err
	}
	defer w.end()
	o := order{Do: "take", Name: "bench/" + s.name + "/lease", Many: b.plan.leases, TTL: b.plan.leaseTTL}
	took, err := w.order(ctx, o)
	if err != nil {
		return nil, err
	}
	o.Do, o.For = "watch", b.plan.leaseWatch
	used := cpu(nodes)
	watched, err := w.order(ctx, o)
	if err != nil {
		return nil, err
	}
	used = cpu(nodes) - used
	o.Do, o.For = "drop", 0
	dropped, err := w.order(ctx, o)
	return figures{
		taken: float64(took.Count) / took.Took.Seconds(), bytesEach: float64(took.Bytes), lost: float64(watched.Lost),
		unconfirmed: float64(dropped.Unconfirmed),
		renewals:    watched.Share * float64(watched.Count), clientShare: watched.CPU.Seconds() / watched.Took.Seconds(),
		nodesShare: used.Seconds() / watched.Took.Seconds(),
	}, err
}
