package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A plan says what is run, and for how long each part goes on in each round.
type plan struct {
	holdfast  string // our program
	subjects  []subject
	scenarios []scenario
	rounds    int    // of every scenario that is short
	out       string // directory of the document; empty: only print
	profile   string // directory for profiles of our client; empty: none

	warm, lock, names              time.Duration
	warmCrowd, contended           time.Duration
	healthy, stopped, slow         time.Duration
	leases                         int
	leaseTTL, leaseWatch, deadline time.Duration
}

// The bounds of what can be asked for.
const (
	maxRounds = 50
	maxLeases = 1_000_000
)

// fullPlan takes five to six minutes on two processors.
func fullPlan() plan {
	return plan{
		rounds: 5,
		warm:   150 * time.Millisecond, lock: 600 * time.Millisecond, names: 600 * time.Millisecond,
		warmCrowd: 300 * time.Millisecond, contended: 2500 * time.Millisecond,
		healthy: 2 * time.Second, stopped: 2 * time.Second, slow: 1200 * time.Millisecond,
		leases: 100_000, leaseTTL: time.Minute, leaseWatch: 20 * time.Second,
		deadline: 15 * time.Minute,
	}
}

// quicken makes a plan for a look while one changes the code.
func (p *plan) quicken() {
	p.rounds = 3
	p.lock, p.names = 300*time.Millisecond, 300*time.Millisecond
	p.contended = time.Second
	p.healthy, p.stopped, p.slow = time.Second, 1500*time.Millisecond, 600*time.Millisecond
	p.leases, p.leaseTTL, p.leaseWatch = 10_000, 6*time.Second, 6*time.Second
	p.deadline = 5 * time.Minute
}

// roundsOf returns how many rounds a scenario has: the leases need one, since they last long and count much.
func (p plan) roundsOf(sc scenario) int {
	switch sc.name {
	case leasesScenario:
		return 1
	case contendedScenario, stoppedScenario, slowScenario:
		return min(p.rounds, max(1, p.rounds*3/5)) // they last longer
	}
	return p.rounds
}

// parsePlan reads the command line.
func parsePlan(args []string) (plan, error) {
	p := fullPlan()
	flags := flag.NewFlagSet("benchlocks", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "short rounds, for a look while tuning")
	rounds := flags.Int("rounds", 0, "`rounds` of the short scenarios; three fifths of it of the long ones (default 5, with -quick 3)")
	who := flags.String("subjects", "all", "comma list of "+strings.Join(namesOf(subjects, subject.id), ", "))
	what := flags.String("scenarios", "all", "comma list of "+strings.Join(namesOf(scenarios, scenario.id), ", "))
	leases := flags.Int("leases", 0, "how many `leases` one process keeps (default 100000, with -quick 10000)")
	flags.StringVar(&p.out, "out", "", "`directory` whose benchmarks.md gets the figures, such as docs (default: only print)")
	flags.StringVar(&p.profile, "profile", "", "`directory` for processor profiles of our client's processes (default: none)")
	flags.StringVar(&p.holdfast, "holdfast", "bin/holdfast", "the `program` that our nodes run")
	if err := flags.Parse(args); err != nil {
		return p, err
	}
	if flags.NArg() > 0 {
		return p, fmt.Errorf("what is %q? There are only flags", flags.Arg(0))
	}
	if *quick {
		p.quicken()
	}
	var err error
	if p.rounds, err = choose("rounds", *rounds, p.rounds, maxRounds); err != nil {
		return p, err
	}
	if p.leases, err = choose("leases", *leases, p.leases, maxLeases); err != nil {
		return p, err
	}
	if p.subjects, err = pick(*who, subjects, subject.id); err != nil {
		return p, fmt.Errorf("-subjects: %w", err)
	}
	if p.scenarios, err = pick(*what, scenarios, scenario.id); err != nil {
		return p, fmt.Errorf("-scenarios: %w", err)
	}
	if p.out != "" && (*quick || p.profile != "" || len(p.subjects) < len(subjects) || len(p.scenarios) < len(scenarios)) {
		return p, errors.New("-out: a document has figures of the whole run, without -quick and -profile")
	}
	p.deadline *= time.Duration(max(1, p.rounds/5))
	return p, nil
}

// choose returns what was asked for, if it is within its bounds, or what holds if nothing was.
func choose(name string, asked, otherwise, most int) (int, error) {
	switch {
	case asked == 0:
		return otherwise, nil
	case asked < 0 || asked > most:
		return 0, fmt.Errorf("-%s %d: must be from 1 to %d", name, asked, most)
	}
	return asked, nil
}

func (s subject) id() string  { return s.name }
func (s scenario) id() string { return s.name }

func namesOf[T any](all []T, id func(T) string) (names []string) {
	for _, x := range all {
		names = append(names, id(x))
	}
	return names
}

// pick returns those that a comma list names, in the order of the table.
func pick[T any](list string, all []T, id func(T) string) (picked []T, err error) {
	if list == "all" {
		return all, nil
	}
	wanted := strings.Split(list, ",")
	for _, w := range wanted {
		if !slices.Contains(namesOf(all, id), w) {
			return nil, fmt.Errorf("no %q; there are %s", w, strings.Join(namesOf(all, id), ", "))
		}
	}
	for _, x := range all {
		if slices.Contains(wanted, id(x)) {
			picked = append(picked, x)
		}
	}
	return picked, nil
}
