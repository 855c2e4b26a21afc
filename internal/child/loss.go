package child

import (
	"fmt"
	"strings"
	"time"
)

// An action is what is done to a command whose lease is about to end or is lost.
type action int

const (
	term   action = iota // SIGTERM at the guard, SIGKILL at the end
	kill                 // SIGKILL at the guard
	ignore               // nothing: the command checks the token itself
)

// A Loss says what becomes of a command when its lease is about to end, which is a guard before its end, and when
// the lease is lost. The zero value is that of "term".
type Loss struct {
	action action
	grace  time.Duration // term: how long after SIGTERM to wait with SIGKILL; zero: until the lease's end
}

// ParseLoss reads what --on-lost takes:
//
//	term      SIGTERM at the guard, SIGKILL at the lease's end
//	term:5s   SIGTERM at the guard, SIGKILL 5 s later or at the lease's end, whichever is first
//	kill      SIGKILL at the guard
//	ignore    the command is let run: for those who give the token to whatever they write to
//
// A lease that is lost before its time is at its end, since somebody else may have the lock.
func ParseLoss(s string) (Loss, error) {
	switch name, grace, timed := strings.Cut(s, ":"); {
	case s == "term":
		return Loss{}, nil
	case s == "kill":
		return Loss{action: kill}, nil
	case s == "ignore":
		return Loss{action: ignore}, nil
	case name == "term" && timed:
		d, err := time.ParseDuration(grace)
		if err != nil {
			return Loss{}, fmt.Errorf("%q: after term: stands a duration such as 5s", s)
		}
		if d <= 0 {
			return Loss{}, fmt.Errorf("%q: the time after SIGTERM must be positive; without any it is kill", s)
		}
		return Loss{grace: d}, nil
	}
	return Loss{}, fmt.Errorf("%q is none of term, term:DURATION, kill and ignore", s)
}

// String returns what ParseLoss reads.
func (l Loss) String() string {
	switch {
	case l.action == kill:
		return "kill"
	case l.action == ignore:
		return "ignore"
	case l.grace > 0:
		return "term:" + l.grace.String()
	}
	return "term"
}

// UnmarshalText is ParseLoss for the parsers of flags.
func (l *Loss) UnmarshalText(text []byte) (err error) {
	*l, err = ParseLoss(string(text))
	return err
}

// Grace is the time between SIGTERM and SIGKILL; zero if it lasts until the lease's end, or if there is no SIGTERM.
func (l Loss) Grace() time.Duration { return l.grace }

// Ignored reports that the command is let run.
func (l Loss) Ignored() bool { return l.action == ignore }
