package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
)

// Ensure that a Locker takes the client's locks with its options, and that a failed call holds nothing.
func TestAsLocker(t *testing.T) {
	nodes, _ := memoryNodes(t, 3)
	c := nodes.client(t)
	locks := client.AsLocker(c, client.TTL(5*time.Second), client.Owner("me"))
	ctx := t.Context()

	l, err := locks.Lock(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, 5*time.Second, l.TTL())
	assert.Equal(t, "me", l.Owner())
	none, err := locks.TryLock(ctx, "a")
	require.ErrorIs(t, err, client.ErrHeld)
	assert.True(t, none == nil, "a nil pointer in an interface would not be nil")
	require.NoError(t, l.Unlock(ctx))

	err = locks.Do(ctx, "a", func(ctx context.Context, again client.Held) error {
		assert.Greater(t, again.Token(), l.Token())
		assert.NoError(t, ctx.Err())
		return nil
	})
	require.NoError(t, err)
}
