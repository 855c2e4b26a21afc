package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"
)

// apart is how far the slow node is away.
const apart = 50 * time.Millisecond

// settling is how long a client has after a node has come back before it is measured again.
const settling = 300 * time.Millisecond

// runStopped measures the same client before, while and after a node is stopped; before and after together are
// the healthy time, so that neither side alone has the machine's worse moments. redsync waits for seconds
// meanwhile, so it has one round.
func runStopped(ctx context.Context, b *bench, s subject, round int) (f figures, err error) {
	if s.name == yardstick && round > 0 {
		return nil, errSkipped
	}
	nodes := b.fleet.of(s)
	w, err := b.newWorker(s, "stopped"+strconv.Itoa(round), addrs(nodes))
	if err != nil {
		return nil, err
	}
	defer w.end()
	lock := func(long time.Duration) (answer, error) {
		return w.order(ctx, order{Do: "one", Name: "bench/" + s.name + "/stopped", For: long})
	}
	if _, err := lock(b.plan.warm); err != nil {
		return nil, err
	}
	before, err := lock(b.plan.healthy / 2)
	if err != nil {
		return nil, err
	}
	stopped := nodes[round%len(nodes)]
	if err := stopped.pause(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stopped.resume()) }()
	used := cpu(nodes)
	ill, err := lock(b.plan.stopped)
	used = cpu(nodes) - used
	if err != nil {
		return nil, err
	}
	if err := stopped.resume(); err != nil {
		return nil, err
	}
	if _, err := lock(settling); err != nil {
		return nil, err
	}
	after, err := lock(b.plan.healthy / 2)
	if err != nil {
		return nil, err
	}
	after.Samples = append(after.Samples, before.Samples...)
	return compare(after, ill, used), nil
}

// errSkipped says that a subject sits this round out.
var errSkipped = errors.New("skipped")

// runSlow measures two clients in turns: one that reaches all nodes directly, and one that reaches one of them
// through the proxy.
func runSlow(ctx context.Context, b *bench, s subject, round int) (figures, error) {
	nodes := b.fleet.of(s)
	direct := addrs(nodes)
	far := slices.Clone(direct)
	p, err := newProxy(nodes[round%len(nodes)].addr, apart/2)
	if err != nil {
		return nil, err
	}
	defer p.close()
	far[round%len(nodes)] = p.addr()

	var sums [2]answer // direct, far
	var used time.Duration
	var pair []*worker
	for i, to := range [][]string{direct, far} {
		w, err := b.newWorker(s, "slow"+strconv.Itoa(round)+"-"+strconv.Itoa(i), to)
		if err != nil {
			return nil, err
		}
		defer w.end()
		pair = append(pair, w)
		// Connections are made before anything counts.
		if _, err := w.order(ctx, order{Do: "one", Name: "bench/" + s.name + "/slow", For: b.plan.warm + 4*apart}); err != nil {
			return nil, err
		}
	}
	for range 2 {
		for i, w := range pair {
			before := cpu(nodes)
			a, err := w.order(ctx, order{Do: "one", Name: "bench/" + s.name + "/slow" + strconv.Itoa(i), For: b.plan.slow / 2})
			if err != nil {
				return nil, err
			}
			sums[i].Samples = append(sums[i].Samples, a.Samples...)
			sums[i].CPU += a.CPU
			sums[i].Count += a.Count
			if i == 1 {
				used += cpu(nodes) - before
			}
		}
	}
	return compare(sums[0], sums[1], used), nil
}

// compare sets the latencies in a fault against those without. used is what the nodes have used in the fault.
func compare(well, ill answer, used time.Duration) figures {
	f := figures{cpuClients: float64(ill.CPU) / float64(ill.Count), cpuNodes: float64(used) / float64(ill.Count)}
	for _, side := range []struct {
		samples              []int64
		middle, late, latest measure
	}{{well.Samples, healthy50, healthy99, healthyMax}, {ill.Samples, p50, p99, slowest}} {
		slices.Sort(side.samples)
		maps.Copy(f, figures{side.middle: quantile(side.samples, 0.5), side.late: quantile(side.samples, 0.99),
			side.latest: quantile(side.samples, 1)})
	}
	f[grew50], f[grew99] = f[p50]/f[healthy50], f[p99]/f[healthy99]
	return f
}
