// Package clock is the only place that reads a clock.
//
// Two clocks matter to a lock service, and mixing them up loses locks:
//
//   - The running clock ([Now]) measures how long something has lasted. It never jumps, and it goes on
//     while the machine is suspended, so a holder that slept through its lease knows that it did. Every
//     ttl, validity end and quarantine is measured on it.
//   - The wall clock ([Wall]) says what time people would call it. It may jump in both directions at any
//     moment. It is used only where a number must mean something to another machine or to a file:
//     EXPIREAT, TIME, a proposal for a fencing token.
//
// Both follow the fake time of testing/synctest when they are read inside a bubble.
package clock

import (
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock/internal/skew"
)

// An Instant is a reading of the running clock. It means nothing outside this process.
// The zero Instant is before every reading.
type Instant int64

// Add returns the instant d later.
func (t Instant) Add(d time.Duration) Instant { return t + Instant(d) }

// Sub returns how long t is after u; negative if t is before u.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }

// Before reports whether t is strictly before u.
func (t Instant) Before(u Instant) bool { return t < u }

// Readings count from the start of the process and lie beyond, so that the zero Instant is before all of them:
// also inside a synctest bubble, whose own time begins in the year 2000, long before the process.
var start = time.Now()

const beyond = 100 * 365 * 24 * time.Hour

// Now reads the running clock. It is safe for concurrent use.
func Now() Instant {
	now := time.Now()
	ran := now.Sub(start)
	return Instant(beyond + ran + suspended(now.UnixNano()-int64(ran)) + time.Duration(skew.Running.Load()))
}

// Since returns the time that has run since t.
func Since(t Instant) time.Duration { return Now().Sub(t) }

// Until returns the time that will run until t; negative once t has passed.
func Until(t Instant) time.Duration { return t.Sub(Now()) }

// Wall reads the wall clock.
func Wall() time.Time {
	now := time.Now()
	if step := skew.Wall.Load(); step != 0 {
		return now.Round(0).Add(time.Duration(step)) // without Go's monotonic reading, which knows no step
	}
	return now
}

// Deadline returns what to give to SetDeadline and its kin of a connection, for a moment that is d from now. A
// step of the wall clock does not move it.
func Deadline(d time.Duration) time.Time { return time.Now().Add(d) }

// UntilDeadline returns the time until such a moment, for a connection of one's own.
func UntilDeadline(t time.Time) time.Duration { return time.Until(t) }
