package client

import (
	"fmt"
	"strings"
	"sync"
)

// servers knows which server stands behind each link of a client, by the run_id that a server draws when it
// starts. Two names of one server (127.0.0.1 and localhost, two proxies, two configured clients) must not have
// two votes: a lock on it would count as on two nodes.
type servers struct {
	mu     sync.Mutex
	behind map[string]*link // by run_id
	runIDs map[*link]string
}

// A sameServerError is why a link refuses everything. It wraps nothing: go-redis takes a layer off what
// OnConnect returns.
type sameServerError struct{ first, second string }

func (e *sameServerError) Error() string {
	return fmt.Sprintf("%s and %s are the same server, which has one vote", e.first, e.second)
}

// claim is told by a link's new connection for the protocol which server it has reached, "" if the server
// does not say. The error is a *sameServerError if the server stands behind another link. A link that fails
// keeps its claim until it has reached another server: its votes of the round that is under way still count.
func (s *servers) claim(l *link, runID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runIDs[l] != runID {
		delete(s.behind, s.runIDs[l])
		delete(s.runIDs, l)
	}
	return s.setLocked(l, runID)
}

// check is claim for a connection beside that of the protocol: it takes nothing from what that has claimed.
func (s *servers) check(l *link, runID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, taken := s.behind[runID]; taken && other != l {
		return &sameServerError{other.name, l.name}
	}
	if s.runIDs[l] != "" {
		return nil
	}
	return s.setLocked(l, runID)
}

func (s *servers) setLocked(l *link, runID string) error {
	if runID == "" {
		return nil
	}
	if other, taken := s.behind[runID]; taken && other != l {
		return &sameServerError{other.name, l.name}
	}
	if s.behind == nil {
		s.behind, s.runIDs = make(map[string]*link), make(map[*link]string)
	}
	s.behind[runID], s.runIDs[l] = l, runID
	return nil
}

// runIDOf finds the run_id in a reply to INFO, whose lines are "run_id:0123...". It is "" if there is none.
func runIDOf(info string) string {
	for line := range strings.Lines(info) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "run_id:"); ok {
			return id
		}
	}
	return ""
}
