package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// A score is what one run has shown. It is printed when all tests have ended, passed or not.
type score struct {
	title string

	mu    sync.Mutex
	kinds map[string]*tally
	notes []string
}

// A tally counts one kind of contender.
type tally struct {
	added       int
	duringFault int
	busy        int // gave up waiting and tried again
	lost        int
	unconfirmed int
	turns       []time.Duration // from asking for the lock to having released it
}

// scores are those of this process's runs, in their order.
var scores []*score

func newScore(title string) *score {
	s := &score{title: title, kinds: map[string]*tally{}}
	scores = append(scores, s)
	return s
}

func (s *score) tallyLocked(kind string) *tally {
	if s.kinds[kind] == nil {
		s.kinds[kind] = new(tally)
	}
	return s.kinds[kind]
}

// added counts one turn that has added to the counter.
func (s *score) added(kind string, r reply, turn time.Duration, duringFault bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tallyLocked(kind)
	t.added++
	t.turns = append(t.turns, turn)
	if duringFault {
		t.duringFault++
	}
	if r.Lost {
		t.lost++
	}
	if r.Unconfirmed {
		t.unconfirmed++
	}
}

func (s *score) busy(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tallyLocked(kind).busy++
}

func (s *score) tally(kind string) tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.tallyLocked(kind)
}

// total returns how often the number has been added to until now.
func (s *score) total() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.kinds {
		n += t.added
	}
	return n
}

func (s *score) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

func (s *score) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "e2e on %s\n", s.title)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "  kind\tadded\twith 2 nodes down\tturn p50\tp99\tmax\ttried again\tlost\tunconfirmed\t\n")
	for _, kind := range []string{kindClient, kindCommand, kindCurl, kindRedsync} {
		t := s.kinds[kind]
		if t == nil {
			continue
		}
		slices.Sort(t.turns)
		fmt.Fprintf(w, "  %s\t%d\t%d\t%v\t%v\t%v\t%d\t%d\t%d\t\n", kind, t.added, t.duringFault,
			quantile(t.turns, 0.5), quantile(t.turns, 0.99), quantile(t.turns, 1), t.busy, t.lost, t.unconfirmed)
	}
	_ = w.Flush()
	for _, note := range s.notes {
		fmt.Fprintf(&b, "  %s\n", note)
	}
	return b.String()
}

// quantile returns the q-quantile of sorted durations, rounded to be read.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Round(time.Millisecond)
}

func printScores() {
	for _, s := range scores {
		fmt.Fprint(os.Stdout, s)
	}
	if binDir != "" {
		_ = os.RemoveAll(binDir)
	}
}
