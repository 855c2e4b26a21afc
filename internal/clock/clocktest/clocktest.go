// Package clocktest moves the clocks of this process for a test, and leaves those of the machine alone. It is for
// files of tests only, which a test in internal/house sees to.
package clocktest

import (
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock/internal/skew"
)

// StepWall sets the wall clock forward, or back by a negative step, as an operator or NTP does. The running clock
// and all timers know nothing of it. The end of the test takes it back.
func StepWall(tb testing.TB, step time.Duration) {
	skew.Wall.Add(int64(step))
	tb.Cleanup(func() { skew.Wall.Add(-int64(step)) })
}

// Suspend makes it look as if the machine had been suspended for so long: both clocks have gone on, timers have
// not. The running clock keeps the time that it has gained, since it never goes back; the end of the test takes it
// from the wall clock.
func Suspend(tb testing.TB, d time.Duration) {
	if d < 0 {
		tb.Fatalf("clocktest: suspended for %v", d)
	}
	skew.Running.Add(int64(d))
	StepWall(tb, d)
}
