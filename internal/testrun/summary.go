package main

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"time"
)

// An event is one line of go test -json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// A skip is a test that did not run and its reason.
type skip struct{ pkg, test, reason string }

// A summary prints the events as they come, as go test without -v would, and keeps what the last lines tell.
type summary struct {
	out            io.Writer
	pending        map[string]*strings.Builder // output of tests that have not ended, by package and test
	order          []string                    // keys of pending, in order of appearance
	skips          []skip
	passed, failed int
	packages       []timing
}

type timing struct {
	pkg     string
	seconds float64
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, pending: map[string]*strings.Builder{}}
}

func (s *summary) add(e event) {
	if e.Action == "build-output" {
		fmt.Fprint(s.out, e.Output)
		return
	}
	if e.Test == "" {
		s.addPackage(e)
		return
	}
	key := e.Package + " " + e.Test
	switch e.Action {
	case "run":
		s.pending[key] = new(strings.Builder)
		s.order = append(s.order, key)
	case "output":
		if b := s.pending[key]; b != nil && !strings.HasPrefix(e.Output, "=== ") {
			b.WriteString(e.Output)
		}
	case "pass":
		s.passed++
		delete(s.pending, key)
	case "skip":
		s.skips = append(s.skips, skip{e.Package, e.Test, reason(s.pending[key])})
		delete(s.pending, key)
	case "fail":
		s.failed++
		s.flush(key)
	}
}

// addPackage prints what belongs to a package and to none of its tests.
func (s *summary) addPackage(e event) {
	switch e.Action {
	case "output":
		if e.Output != "PASS\n" {
			fmt.Fprint(s.out, e.Output)
		}
	case "pass":
		s.packages = append(s.packages, timing{e.Package, e.Elapsed})
	case "fail":
		s.packages = append(s.packages, timing{e.Package, e.Elapsed})
		// Tests that never ended were cut off by a panic or a time-out; their output tells where.
		for _, key := range s.order {
			if strings.HasPrefix(key, e.Package+" ") {
				s.flush(key)
			}
		}
	}
}

func (s *summary) flush(key string) {
	if b := s.pending[key]; b != nil {
		fmt.Fprint(s.out, b.String())
		delete(s.pending, key)
	}
}

// reason finds the message of t.Skip in a test's output: the line that is not the test runner's own.
func reason(b *strings.Builder) string {
	if b == nil {
		return ""
	}
	for _, line := range strings.Split(b.String(), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "---") {
			continue
		}
		if _, message, ok := strings.Cut(line, ".go:"); ok {
			if _, message, ok = strings.Cut(message, ": "); ok {
				return message
			}
		}
		return line
	}
	return ""
}

// finish prints the last lines. The skips come last of all, so that they are read.
func (s *summary) finish(took time.Duration, skipsFail bool) {
	sort.SliceStable(s.packages, func(i, j int) bool { return s.packages[i].seconds > s.packages[j].seconds })
	var slow []string
	for _, p := range s.packages[:min(4, len(s.packages))] {
		slow = append(slow, fmt.Sprintf("%s %.1fs", p.pkg, p.seconds))
	}
	if len(slow) > 0 {
		fmt.Fprintf(s.out, "slowest: %s\n", strings.Join(slow, ", "))
	}
	fmt.Fprintf(s.out, "%d packages, %d tests passed, %d failed, %d skipped, %.0fs\n",
		len(s.packages), s.passed, s.failed, len(s.skips), took.Seconds())
	for _, k := range s.skips {
		fmt.Fprintf(s.out, "skipped: %s %s: %s\n", k.pkg, k.test, k.reason)
	}
	if skipsFail && len(s.skips) > 0 {
		fmt.Fprintln(s.out, "CI=true: nothing may be skipped here")
	}
}
