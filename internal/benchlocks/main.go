package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func main() {
	if spec := os.Getenv(workerVariable); spec != "" {
		exit(work(spec, os.Stdin, os.Stdout))
	}
	p, err := parsePlan(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "benchlocks:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	exit(run(ctx, p, os.Stdout, os.Stderr))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchlocks:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// errFailures says that some turns of our own client have no figures. A peer that fails is a finding, and told.
var errFailures = errors.New("not everything of our own could be measured")

// run measures everything and prints it. Progress goes to another writer.
func run(ctx context.Context, p plan, out, progress io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, p.deadline)
	defer cancel()
	p.subjects, err = startable(p, progress)
	if err != nil {
		return err
	}
	if p.profile != "" {
		if err := os.MkdirAll(p.profile, 0o755); err != nil {
			return err
		}
	}
	kinds := make(map[kind]bool)
	for _, s := range p.subjects {
		kinds[s.kind] = true
	}
	fleet, err := startFleet(kinds, p.holdfast)
	defer fleet.stop()
	if err != nil {
		return err
	}
	b := &bench{fleet: fleet, plan: p, waits: make(map[string][]float64), gaps: make(map[string][]float64)}
	r := newReport(p)
	began := monotonic()
	err = b.measure(ctx, r, progress)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fmt.Fprintf(progress, "measured in %v\n", (monotonic() - began).Round(time.Second))
	fmt.Fprintf(out, "%s, %d processors, %s\n", runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	r.print(out)
	if p.out != "" && (err == nil || errors.Is(err, errFailures)) {
		err = errors.Join(err, b.write(r, p.out))
	}
	return err
}

// startable leaves out, aloud, the subjects whose servers are not installed.
func startable(p plan, progress io.Writer) (able []subject, err error) {
	for _, s := range p.subjects {
		if err := installed(s.kind, p.holdfast); err != nil {
			fmt.Fprintf(progress, "left out: %s: %v\n", s.title, err)
			continue
		}
		able = append(able, s)
	}
	if p.out != "" && len(able) < len(p.subjects) {
		return nil, errors.New("the document needs all of them")
	}
	if len(able) == 0 {
		return nil, errors.New("none of the servers is installed")
	}
	return able, nil
}

// measure runs all rounds of all scenarios. In a round each subject has its turn; each round begins with
// another one, so that nobody always runs behind the same neighbour.
func (b *bench) measure(ctx context.Context, r *report, progress io.Writer) error {
	failed := false
	for _, sc := range b.plan.scenarios {
		for round := range b.plan.roundsOf(sc) {
			for i := range b.plan.subjects {
				s := b.plan.subjects[(i+round)%len(b.plan.subjects)]
				if !sc.suits(s) {
					continue
				}
				f, err := sc.run(ctx, b, s, round)
				switch {
				case ctx.Err() != nil:
					return ctx.Err()
				case errors.Is(err, errSkipped):
				case err != nil:
					fmt.Fprintln(progress, "FAILED:", r.fail(sc.name, s.name, round, err))
					failed = failed || ourOwn(s)
				default:
					r.add(sc.name, s.name, round, f)
				}
				if err := b.fleet.alive(); err != nil {
					return err
				}
			}
			fmt.Fprintf(progress, "%s: round %d of %d\n", sc.name, round+1, b.plan.roundsOf(sc))
		}
	}
	if failed {
		return errFailures
	}
	return nil
}
