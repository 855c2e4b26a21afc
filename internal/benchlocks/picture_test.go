package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Ensure that an axis is labelled at its powers of ten, also below one and at its very ends.
func TestTens(t *testing.T) {
	labels := func(lowest, highest float64) (found []string) {
		for _, tick := range tens(lowest, highest) {
			assert.GreaterOrEqual(t, tick.Value, lowest*0.999)
			assert.LessOrEqual(t, tick.Value, highest)
			if tick.Label != "" {
				found = append(found, tick.Label)
			}
		}
		return found
	}
	assert.Equal(t, []string{"0.1", "1", "10"}, labels(0.1, 10))
	assert.Equal(t, []string{"0.01", "0.1"}, labels(0.01, 0.9))
	assert.Equal(t, []string{"1000", "10000"}, labels(300, 50000))
	assert.Len(t, tens(1, 10), 10)
}

// Ensure that every subject has a colour of its own.
func TestColour(t *testing.T) {
	seen := make(map[any]bool)
	for _, s := range subjects {
		assert.False(t, seen[colour(s)], s.name)
		seen[colour(s)] = true
	}
}
