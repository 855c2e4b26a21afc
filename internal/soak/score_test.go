package soak

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/holdfast-dev/holdfast/client"
)

// A score is what a run has shown. It is printed when all tests have ended, passed or not.
type score struct {
	mu    sync.Mutex
	kinds map[string]*tally
	notes map[string]int // what happened, and how often
	lines []string
}

// A tally counts the operations of one kind.
type tally struct {
	had       int // got what they wanted
	busy      int // of those that do not wait: somebody else had it
	cancelled int // gave up, as they were to
	noQuorum  int
	closed    int // their client was closed under them
	lost      map[string]int
	waited    time.Duration // of those that had it
	longest   time.Duration
}

// theScore is printed by TestMain.
var theScore = &score{kinds: make(map[string]*tally), notes: make(map[string]int)}

func (s *score) tallyLocked(kind string) *tally {
	if s.kinds[kind] == nil {
		s.kinds[kind] = &tally{lost: make(map[string]int)}
	}
	return s.kinds[kind]
}

// had counts an operation that got what it wanted after a wait.
func (s *score) had(kind string, waited time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tallyLocked(kind)
	t.had++
	t.waited += waited
	t.longest = max(t.longest, waited)
}

// failed counts an operation that got nothing, if that may happen; otherwise it returns the error.
func (s *score) failed(kind string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tallyLocked(kind)
	switch {
	case errors.Is(err, errGaveUp):
		t.cancelled++
	case errors.Is(err, client.ErrClosed):
		t.closed++
	case errors.Is(err, client.ErrHeld):
		t.busy++
	case errors.Is(err, client.ErrQuorum), errors.Is(err, client.ErrQuarantine):
		t.noQuorum++
	default:
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

// lost counts a lease that ended before its holder released it.
func (s *score) lost(kind string, err error) {
	cause := "other: " + fmt.Sprint(err)
	for word, sentinel := range map[string]error{"expired": client.ErrExpired, "stolen": client.ErrStolen, "no quorum": client.ErrQuorum,
		"forced": client.ErrForced, "closed": client.ErrReleased} {
		if errors.Is(err, sentinel) {
			cause = word
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tallyLocked(kind).lost[cause]++
}

// note counts something that happened to nodes or clients.
func (s *score) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes[what]++
}

func (s *score) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *score) print(out io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kinds) == 0 {
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "soak\thad\tbusy\tgave up\tno quorum\tclosed\tmean wait\tlongest\tlost\t")
	for _, kind := range slices.Sorted(maps.Keys(s.kinds)) {
		t := s.kinds[kind]
		mean := t.waited / time.Duration(max(t.had, 1))
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%v\t%v\t%s\t\n", kind, t.had, t.busy, t.cancelled, t.noQuorum, t.closed,
			mean.Round(time.Millisecond), t.longest.Round(time.Millisecond), counts(t.lost))
	}
	w.Flush()
	fmt.Fprintf(out, "  nodes and clients: %s\n", counts(s.notes))
	for _, line := range s.lines {
		fmt.Fprintln(out, " ", line)
	}
}

func counts(m map[string]int) string {
	text := ""
	for _, word := range slices.Sorted(maps.Keys(m)) {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d %s", m[word], word)
	}
	if text == "" {
		return "none"
	}
	return text
}
