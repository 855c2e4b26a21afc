package clock

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// Ensure that the running clock never goes back, whichever goroutine reads it.
func TestNow_Monotone(t *testing.T) {
	last := Now()
	for range 100_000 {
		now := Now()
		if now.Before(last) {
			t.Fatalf("running clock went back by %v", last.Sub(now))
		}
		last = now
	}
}

// Ensure that a bubble's fake time moves both clocks and nothing else does.
func TestClocks_Synctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, wall := Now(), Wall()
		assert.True(t, Instant(0).Before(running), "zero means: before every reading")
		time.Sleep(8 * time.Hour)
		assert.InDelta(t, 8*time.Hour, Since(running), float64(time.Millisecond))
		assert.Equal(t, 8*time.Hour, Wall().Sub(wall))
		assert.InDelta(t, -8*time.Hour, Until(running), float64(time.Millisecond))
	})
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		Now()
	}
}
