package clocktest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/clock/clocktest"
)

// Ensure that a step of the wall clock moves it alone, in both directions and for no longer than the test, and
// that it shows in the difference of two readings, as it would without Go's monotonic clock.
func TestStepWall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wall, running := clock.Wall(), clock.Now()
		for _, step := range []time.Duration{time.Hour, -2 * time.Hour, time.Nanosecond} {
			before, deadline := clock.Wall(), clock.Deadline(time.Second)
			clocktest.StepWall(t, step)
			assert.Equal(t, step, clock.Wall().Sub(before))
			assert.Equal(t, running, clock.Now())
			assert.Equal(t, time.Second, clock.UntilDeadline(deadline))
		}
		assert.Equal(t, -time.Hour+time.Nanosecond, clock.Wall().Sub(wall))
	})
	synctest.Test(t, func(t *testing.T) { assert.True(t, time.Now().Equal(clock.Wall())) })
}

// Ensure that a suspend lets both clocks go on and no timer, and that the running clock never goes back.
func TestSuspend(t *testing.T) {
	before := clock.Now()
	synctest.Test(t, func(t *testing.T) {
		wall, running := clock.Wall(), clock.Now()
		timer := time.NewTimer(time.Second)
		clocktest.Suspend(t, time.Hour)
		assert.Equal(t, time.Hour, clock.Since(running))
		assert.Equal(t, time.Hour, clock.Wall().Sub(wall))
		synctest.Wait()
		assert.Empty(t, timer.C)
		<-timer.C
		assert.Equal(t, time.Hour+time.Second, clock.Since(running))
	})
	synctest.Test(t, func(t *testing.T) { assert.True(t, time.Now().Equal(clock.Wall())) })
	assert.GreaterOrEqual(t, clock.Since(before), time.Hour)
}
