package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// A report has the figures of all rounds.
type report struct {
	plan plan
	// rounds is by scenario, subject and number of the round.
	rounds map[string]map[string]map[int]figures
	// failures are the turns that ended with an error; they have no figures.
	failures []string
}

func newReport(p plan) *report {
	return &report{plan: p, rounds: make(map[string]map[string]map[int]figures)}
}

func (r *report) add(scenario, subject string, round int, f figures) {
	if r.rounds[scenario] == nil {
		r.rounds[scenario] = make(map[string]map[int]figures)
	}
	if r.rounds[scenario][subject] == nil {
		r.rounds[scenario][subject] = make(map[int]figures)
	}
	r.rounds[scenario][subject][round] = f
}

// fail notes a turn that ended with an error.
func (r *report) fail(scenario, subject string, round int, err error) string {
	text := fmt.Sprintf("%s, round %d, %s: %v", scenario, round+1, subject, err)
	r.failures = append(r.failures, text)
	return text
}

// worst are the measures of which the largest of all rounds counts rather than the median: they are about what
// must never happen.
var worst = map[measure]bool{slowest: true, healthyMax: true, overlaps: true, lost: true, unconfirmed: true}

// value returns a figure over all rounds; NaN if it is not known.
func (r *report) value(scenario, subject string, m measure) float64 {
	var all []float64
	for _, f := range r.rounds[scenario][subject] {
		if v, ok := f[m]; ok {
			all = append(all, v)
		}
	}
	if worst[m] {
		return largest(all)
	}
	return median(all)
}

// ratio returns the median over the rounds of a figure divided by redsync's in the same round.
func (r *report) ratio(scenario, subject string, m measure) float64 {
	var all []float64
	for round, f := range r.rounds[scenario][subject] {
		v, ok := f[m]
		base, known := r.rounds[scenario][yardstick][round][m]
		if ok && known && base != 0 {
			all = append(all, v/base)
		}
	}
	return median(all)
}

// measured returns the subjects that a scenario has figures of.
func (r *report) measured(scenario string) (all []subject) {
	for _, s := range r.plan.subjects {
		if len(r.rounds[scenario][s.name]) > 0 {
			all = append(all, s)
		}
	}
	return all
}

// A column of a table shows a measure, or its ratio to redsync's.
type column struct {
	head  string
	of    measure
	form  func(float64) string
	ratio bool
}

func micros(v float64) string { return fmt.Sprintf("%.0f", v/float64(time.Microsecond)) }
func millis(v float64) string {
	ms := v / float64(time.Millisecond)
	if ms < 10 {
		return fmt.Sprintf("%.2f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}
func whole(v float64) string   { return fmt.Sprintf("%.0f", v) }
func tenths(v float64) string  { return fmt.Sprintf("%.1f", v) }
func hundred(v float64) string { return fmt.Sprintf("%.2f", v) }
func share(v float64) string   { return fmt.Sprintf("%.0f %%", 100*v) }

var (
	costColumns = []column{
		{"client CPU us/op", cpuClients, micros, false},
		{"node CPU us/op", cpuNodes, micros, false},
	}
	allCosts     = append(costColumns[:2:2], column{"executing us/op", executing, micros, false})
	faultColumns = append([]column{
		{"healthy p50 us", healthy50, micros, false}, {"p99 us", healthy99, micros, false}, {"max ms", healthyMax, millis, false},
		{"faulty p50 us", p50, micros, false}, {"p99 us", p99, micros, false}, {"max ms", slowest, millis, false},
		{"p50 / healthy", grew50, hundred, false}, {"p99 / healthy", grew99, hundred, false},
	}, costColumns...)
	columns = map[string][]column{
		lockScenario: append([]column{
			{"p50 us", p50, micros, false}, {"p99 us", p99, micros, false},
			{"p50 / redsync", p50, hundred, true}, {"p99 / redsync", p99, hundred, true},
		}, allCosts...),
		namesScenario: append([]column{
			{"cycles/s", rate, whole, false}, {"x redsync", rate, hundred, true},
		}, allCosts...),
		contendedScenario: append([]column{
			{"cycles/s", rate, whole, false}, {"x redsync", rate, hundred, true},
			{"gap p50 ms", gap50, millis, false}, {"gap p99 ms", gap99, millis, false},
			{"wait p99 ms", wait99, millis, false}, {"max/min", unfair, hundred, false}, {"passed on", passed, share, false},
			{"commands", commands, tenths, false}, {"messages", messages, tenths, false}, {"overlaps", overlaps, whole, false},
		}, allCosts...),
		stoppedScenario: faultColumns,
		slowScenario:    faultColumns,
		leasesScenario: {
			{"taken/s", taken, whole, false}, {"renewals/s", renewals, whole, false}, {"lost", lost, whole, false}, {"unconfirmed", unconfirmed, whole, false},
			{"heap bytes/lease", bytesEach, whole, false}, {"client CPU", clientShare, share, false}, {"node CPU", nodesShare, share, false},
		},
	}
)

// table returns a scenario's table, the heads first. What is not known is a dash.
func (r *report) table(sc scenario) (rows [][]string) {
	head := []string{"client"}
	for _, c := range columns[sc.name] {
		head = append(head, c.head)
	}
	rows = append(rows, head)
	for _, s := range r.measured(sc.name) {
		row := []string{s.title}
		for _, c := range columns[sc.name] {
			v := r.value(sc.name, s.name, c.of)
			if c.ratio {
				v = r.ratio(sc.name, s.name, c.of)
			}
			if math.IsNaN(v) {
				row = append(row, "-")
			} else {
				row = append(row, c.form(v))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// caption returns a scenario's title and how often it was run.
func (r *report) caption(sc scenario) string {
	n := 0
	for _, rounds := range r.rounds[sc.name] {
		n = max(n, len(rounds))
	}
	c := fmt.Sprintf("%s; median of %d rounds", sc.title, n)
	switch {
	case sc.name == leasesScenario:
		c = fmt.Sprintf("%s; %d leases with a ttl of %v, for %v", sc.title, r.plan.leases, r.plan.leaseTTL, r.plan.leaseWatch)
	case n == 1:
		c = sc.title + "; one round"
	}
	return c
}

// print writes the tables and the aims for a terminal.
func (r *report) print(w io.Writer) {
	for _, sc := range r.plan.scenarios {
		rows := r.table(sc)
		if len(rows) == 1 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", r.caption(sc))
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		wide := 0
		for _, row := range rows {
			wide = max(wide, utf8.RuneCountInString(row[0]))
		}
		for _, row := range rows {
			row[0] += strings.Repeat(" ", wide-utf8.RuneCountInString(row[0])) // the names alone stand on the left
			fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
		}
		t.Flush()
	}
	for i, text := range r.failures {
		if i == 0 {
			fmt.Fprintln(w, "\nFailed turns, which have no figures")
		}
		fmt.Fprintln(w, text)
	}
	verdicts := r.verdicts()
	if len(verdicts) > 0 {
		fmt.Fprintln(w, "\nAims, on five redis-server")
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, v := range verdicts {
			fmt.Fprintf(t, "%s\t%s\n", v.text, v.outcome)
		}
		t.Flush()
	}
}
