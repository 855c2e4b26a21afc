package keyspace

import (
	"math"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A calendar is the way between the running clock and the wall clock, in milliseconds since 1970.
//
// How far the two are apart changes only when somebody sets or slews the wall clock; what changes from one
// reading to the next is how long it took to read both. So the distance is kept, and a new reading is taken
// over only when it differs by more than that: a deadline asked for twice is answered with the same
// millisecond, and PEXPIREAT's argument is what PEXPIRETIME answers.
type calendar struct {
	offset time.Duration // wall clock minus running clock, as known
	known  bool
}

// tolerance is what two readings of the distance may differ by without the wall clock having been moved.
const tolerance = 500 * time.Microsecond

// refresh compares both clocks and returns the distance to reckon with.
func (c *calendar) refresh() time.Duration {
	read := distance()
	// A thread that is preempted between two readings sees a false difference; it does not repeat.
	for try := 0; c.known && differ(read, c.offset) && try < 3; try++ {
		read = distance()
	}
	if !c.known || differ(read, c.offset) {
		c.offset, c.known = read, true
	}
	return c.offset
}

func differ(a, b time.Duration) bool { return (a - b).Abs() > tolerance }

func distance() time.Duration {
	running := clock.Now()
	return time.Duration(clock.Wall().UnixNano() - int64(running))
}

// farthest bounds what an Instant can hold, in milliseconds, less some room for arithmetic.
const farthest = math.MaxInt64/1_000_000 - 1000

// Deadline returns the instant at which the wall clock, as it is set now, will show ms milliseconds since
// 1970. Instants reach about 190 years from now; what is further away is cut to that.
func (ks *Keyspace) Deadline(ms int64) clock.Instant {
	offset := int64(ks.calendar.refresh())
	whole, rest := offset/1e6, offset%1e6
	since := ms - whole
	switch { // the difference may not fit
	case whole > 0 && ms < math.MinInt64+whole:
		since = math.MinInt64
	case whole < 0 && ms > math.MaxInt64+whole:
		since = math.MaxInt64
	}
	return clock.Instant(min(max(since, -farthest), farthest)*1e6 - rest)
}

// After returns the instant ms milliseconds after now; before it, if ms is negative. What is farther away
// than an Instant reaches is cut to that.
func After(now clock.Instant, ms int64) clock.Instant {
	limit := farthest - int64(now)/1e6
	return now.Add(time.Duration(min(max(ms, -farthest/2), limit)) * time.Millisecond)
}

// UnixMilli returns what the wall clock, as it is set now, will show at t, in milliseconds since 1970,
// rounded to the nearest.
func (ks *Keyspace) UnixMilli(t clock.Instant) int64 {
	offset := int64(ks.calendar.refresh())
	rest := int64(t)%1e6 + offset%1e6
	return int64(t)/1e6 + offset/1e6 + int64(math.Floor(float64(rest)/1e6+0.5))
}
