package main

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func reportOf(subjects ...subject) *report {
	p := fullPlan()
	p.subjects, p.scenarios = subjects, scenarios
	return newReport(p)
}

// Ensure that a value is the median over the rounds, and for what must never happen the worst of them.
func TestReport_Value(t *testing.T) {
	r := reportOf(subjects...)
	for i, v := range []float64{5, 1, 3} {
		r.add(lockScenario, oursOnRedis, i, figures{p50: v, slowest: v})
	}
	assert.EqualValues(t, 3, r.value(lockScenario, oursOnRedis, p50))
	assert.EqualValues(t, 5, r.value(lockScenario, oursOnRedis, slowest))
	assert.True(t, math.IsNaN(r.value(lockScenario, oursOnRedis, p99)))
	assert.True(t, math.IsNaN(r.value(namesScenario, oursOnRedis, p50)))
}

// Ensure that a ratio compares within a round: a round that was slow for both says as much as any other.
func TestReport_Ratio(t *testing.T) {
	r := reportOf(subjects...)
	for i, pair := range [][2]float64{{1, 2}, {10, 20}, {3, 3}} {
		r.add(lockScenario, oursOnRedis, i, figures{p50: pair[0]})
		r.add(lockScenario, yardstick, i, figures{p50: pair[1]})
	}
	assert.InDelta(t, 0.5, r.ratio(lockScenario, oursOnRedis, p50), 1e-9)
	r.add(lockScenario, oursOnRedis, 3, figures{p50: 99}) // redsync sat this one out
	assert.InDelta(t, 0.5, r.ratio(lockScenario, oursOnRedis, p50), 1e-9)
	assert.True(t, math.IsNaN(r.ratio(lockScenario, "etcd", p50)))
}

// Ensure that an aim is met at its bound and missed beyond, and by how much.
func TestAim_Judge(t *testing.T) {
	most, least := aim{bound: 2, atMost: true}, aim{bound: 2}
	assert.True(t, most.judge(2).met)
	assert.True(t, most.judge(1).met)
	assert.False(t, most.judge(2.01).met)
	assert.Equal(t, "3: MISSED by 50 %", most.judge(3).outcome)
	assert.True(t, least.judge(2).met)
	assert.False(t, least.judge(1.99).met)
	assert.Equal(t, "1: MISSED by 50 %", least.judge(1).outcome)
	assert.Equal(t, "4: MISSED", aim{bound: 0, atMost: true}.judge(4).outcome)
	assert.Equal(t, "+Inf: MISSED by +Inf %", most.judge(math.Inf(1)).outcome)
}

// Ensure that each aim looks at the figures that it speaks of: good ones meet all, bad ones miss all.
func TestAims(t *testing.T) {
	good := figures{p50: 5, p99: 10, rate: 30, wait99: 1, gap50: 1, gap99: 2, unfair: 1.1, commands: 12, overlaps: 0,
		grew50: 1, grew99: 1.2, slowest: 40, healthy99: 8, lost: 0}
	bad := figures{p50: 8, p99: 10, rate: 11, wait99: 3, gap50: 1, gap99: 2.1, unfair: 1.3, commands: 17, overlaps: 1,
		grew50: 2, grew99: 2, slowest: 90, healthy99: 8, lost: 1}
	base := figures{p50: 10, p99: 20, rate: 10, wait99: 20}
	for name, test := range map[string]struct {
		figures figures
		met     bool
	}{"good": {good, true}, "bad": {bad, false}} {
		r := reportOf(subjects...)
		for _, sc := range scenarios {
			r.add(sc.name, oursOnRedis, 0, test.figures)
			r.add(sc.name, yardstick, 0, base)
		}
		verdicts := r.verdicts()
		assert.Len(t, verdicts, len(aims), name)
		for _, v := range verdicts {
			assert.Equal(t, test.met, v.met, "%s: %s: %s", name, v.text, v.outcome)
		}
	}
	assert.Empty(t, reportOf(subjects...).verdicts(), "nothing measured, nothing judged")
}

// Ensure that the tables show what was measured in its units, a dash for what was not, and nobody who was not there.
func TestReport_Print(t *testing.T) {
	r := reportOf(subjects...)
	r.add(lockScenario, oursOnRedis, 0, figures{p50: float64(120 * time.Microsecond), p99: math.NaN()})
	r.add(lockScenario, yardstick, 0, figures{p50: float64(240 * time.Microsecond)})
	rows := r.table(scenarios[0])
	assert.Equal(t, []string{"client", "p50 us", "p99 us", "p50 / redsync", "p99 / redsync", "client CPU us/op", "node CPU us/op", "executing us/op"}, rows[0])
	assert.Equal(t, []string{"Holdfast on 5 redis-server", "120", "-", "0.50", "-", "-", "-", "-"}, rows[1])
	assert.Len(t, rows, 3)
	var out bytes.Buffer
	r.print(&out)
	assert.Contains(t, out.String(), "p50 of lock and unlock at most 0.5 of redsync's  0.5: met\n")
	assert.NotContains(t, out.String(), "etcd")
}

// Ensure that each scenario has columns.
func TestColumns_Complete(t *testing.T) {
	for _, sc := range scenarios {
		assert.NotEmpty(t, columns[sc.name], sc.name)
	}
}
