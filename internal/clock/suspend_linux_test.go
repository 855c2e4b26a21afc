package clock

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// suspend makes it look as if the machine had slept: it moves the kernel's clocks against each other and the
// wall clock against the monotonic one, as a suspend does.
func suspend(t *testing.T, d time.Duration) {
	before, led := atStart, looked.Load()
	atStart -= d
	looked.Add(-int64(d))
	t.Cleanup(func() { atStart = before; asleep.Store(0); looked.Store(led) })
}

// Ensure that suspends count as time that has run, each once.
func TestNow_CountsSuspend(t *testing.T) {
	before := Now()
	for n := range 3 {
		suspend(t, time.Hour)
		for range 2 {
			slept := time.Duration(n+1) * time.Hour
			assert.GreaterOrEqual(t, Since(before), slept)
			assert.Less(t, Since(before), slept+time.Minute)
		}
	}
}

// Ensure that a step of the wall clock is no time that has run, in either direction.
func TestNow_IgnoresWallSteps(t *testing.T) {
	before := Now()
	for _, step := range []time.Duration{time.Hour, -time.Hour, -24 * time.Hour} {
		looked.Add(int64(step)) // the lead is now another than it was
		assert.Less(t, Since(before), time.Minute)
		assert.GreaterOrEqual(t, Since(before), time.Duration(0))
	}
}
