package client

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/redlock"
)

// Ensure that a wait goes on after an operator revoked the owner of an attempt that was being decided, and that it
// ends with what nothing can be done about.
func TestPlan_Next(t *testing.T) {
	p := plan{majority: 3, ttl: time.Second}
	forced := fmt.Errorf("acquire: %w", &redlock.ForcedError{Name: "x", Evicted: true})
	require.ErrorIs(t, forced, redlock.ErrForced)
	delay, hear, err := p.next(forced)
	require.NoError(t, err)
	assert.Less(t, delay, 10*time.Millisecond)
	assert.False(t, hear)
	for _, failed := range []error{errors.New("BeforeSend"), redlock.ErrInvalid} {
		_, _, err = p.next(failed)
		assert.Equal(t, failed, err)
	}
	_, _, err = p.next(redlock.ErrClosed)
	assert.Equal(t, ErrClosed, err)
}
