package main

import (
	"fmt"
	"math"
)

// An aim is a bound that our client on five redis-server processes is meant to keep.
type aim struct {
	text   string
	value  func(r *report) float64
	bound  float64
	atMost bool // else at least
}

// of returns our figure, against returns its ratio to redsync's, in the same rounds.
func of(scenario string, m measure) func(*report) float64 {
	return func(r *report) float64 { return r.value(scenario, oursOnRedis, m) }
}

func against(scenario string, m measure) func(*report) float64 {
	return func(r *report) float64 { return r.ratio(scenario, oursOnRedis, m) }
}

// quotient returns one of our figures divided by another.
func quotient(scenario string, m, by measure) func(*report) float64 {
	return func(r *report) float64 { return of(scenario, m)(r) / of(scenario, by)(r) }
}

var aims = []aim{
	{"p50 of lock and unlock at most 0.5 of redsync's", against(lockScenario, p50), 0.5, true},
	{"64 names: at least 2 times redsync's cycles/s", against(namesScenario, rate), 2, false},
	{"contended: at least 1.15 times redsync's cycles/s", against(contendedScenario, rate), 1.15, false},
	{"contended: wait p99 at most a tenth of redsync's", against(contendedScenario, wait99), 0.1, true},
	{"contended: gap p99 at most twice its p50", quotient(contendedScenario, gap99, gap50), 2, true},
	{"contended: max/min at most 1.2", of(contendedScenario, unfair), 1.2, true},
	{"contended: at most 16 commands per acquisition", of(contendedScenario, commands), 16, true},
	{"contended: no two holders at a time", of(contendedScenario, overlaps), 0, true},
	{"one node stopped: p50 at most 1.5 of healthy", of(stoppedScenario, grew50), 1.5, true},
	{"one node stopped: p99 at most 1.5 of healthy", of(stoppedScenario, grew99), 1.5, true},
	{"one node stopped: slowest at most 10 times the healthy p99", quotient(stoppedScenario, slowest, healthy99), 10, true},
	{"one node slow: p50 at most 1.5 of healthy", of(slowScenario, grew50), 1.5, true},
	{"one node slow: p99 at most 1.5 of healthy", of(slowScenario, grew99), 1.5, true},
	{"one node slow: slowest at most 10 times the healthy p99", quotient(slowScenario, slowest, healthy99), 10, true},
	{"no lease lost", of(leasesScenario, lost), 0, true},
}

// A verdict says what became of an aim.
type verdict struct {
	text    string
	outcome string
	met     bool
}

// verdicts judges the aims whose figures are known.
func (r *report) verdicts() (all []verdict) {
	for _, a := range aims {
		v := a.value(r)
		if math.IsNaN(v) {
			continue
		}
		all = append(all, a.judge(v))
	}
	return all
}

// judge says whether a figure keeps the bound, and if not by which part of the bound it misses it.
func (a aim) judge(v float64) verdict {
	met := v >= a.bound
	if a.atMost {
		met = v <= a.bound
	}
	outcome := fmt.Sprintf("%.3g: met", v)
	if !met {
		outcome = fmt.Sprintf("%.3g: MISSED", v)
		if a.bound != 0 {
			outcome += fmt.Sprintf(" by %.0f %%", 100*math.Abs(v-a.bound)/a.bound)
		}
	}
	return verdict{a.text, outcome, met}
}
