package client_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
)

// Ensure that a lock can be taken from a URL, refuses others, shows its holder, and is gone when released.
func TestLock(t *testing.T) {
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		a, err := client.Open(nodes.url(), client.WithOwner("anna"))
		require.NoError(t, err)
		defer a.Close(ctx)
		b := nodes.client(t)

		lease, err := a.Lock(ctx, "orders/42")
		require.NoError(t, err)
		assert.Equal(t, "orders/42", lease.Name())
		assert.NoError(t, lease.Err())
		assert.Positive(t, lease.Token())

		_, err = b.TryLock(ctx, "orders/42")
		var held *client.HeldError
		require.ErrorAs(t, err, &held)
		require.ErrorIs(t, err, client.ErrHeld)
		assert.Equal(t, "anna", held.Label)
		assert.Greater(t, held.Remaining, 10*time.Second)

		require.NoError(t, lease.Unlock(ctx))
		second, err := b.TryLock(ctx, "orders/42")
		require.NoError(t, err)
		assert.Greater(t, second.Token(), lease.Token())
		require.NoError(t, second.Unlock(ctx))
		nodes.assertClean(t, "orders/42")
		require.NoError(t, a.Close(ctx))
		require.NoError(t, b.Close(ctx))
	})
}

// Ensure that 64 goroutines of four clients never hold one lock at the same time and all get it.
func TestLock_Flood(t *testing.T) {
	const rounds = 8
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		var clients []*client.Client
		for range 4 {
			clients = append(clients, nodes.client(t))
		}
		counter := 0 // guarded by the lock under test only
		var last int64
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				for range rounds {
					err := clients[i%len(clients)].Do(ctx, "counter", func(_ context.Context, l *client.Lease) error {
						assert.Greater(t, l.Token(), last)
						last = l.Token()
						counter++
						return nil
					})
					assert.NoError(t, err)
				}
			})
		}
		wg.Wait()
		assert.Equal(t, 64*rounds, counter)
		nodes.assertClean(t, "counter")
		for _, c := range clients {
			require.NoError(t, c.Close(ctx))
		}
	})
}
