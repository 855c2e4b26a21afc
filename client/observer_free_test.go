package client

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// Ensure that without an observer, nothing of what stands in the way of a lock makes garbage.
func TestObservers_NoneIsFree(t *testing.T) {
	var none observers
	var err error
	l, link := &Lease{}, &link{}
	ctx := context.Background()
	allocs := testing.AllocsPerRun(100, func() {
		ctx := none.wait(ctx, CallLock, "x")
		none.attempted(ctx, err)
		ctx = none.acquired(ctx, l)
		none.failed(ctx, &err)
		none.renewed(l, clock.Now(), err)
		none.released(l, err)
		none.lost(l, err)
		link.observe(1, 0, err)
	})
	assert.Zero(t, allocs)
	assert.Equal(t, ctx, none.wait(ctx, CallLock, "x"))
}
