package pubsub

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Ensure that a queue hands messages out in order and with payloads of their own.
func TestQueue_Order(t *testing.T) {
	var b Broker
	q := NewQueue(10)
	b.Subscribe(q, "a")
	payload := []byte{'0'}
	for i := range 10 {
		payload[0] = byte('0' + i)
		b.Publish("a", payload)
	}
	for i := range 10 {
		m, err := q.Receive(t.Context())
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprint(i), string(m.Payload))
	}
}

// Ensure that a receiver that is too slow gets what was kept, then the news, and the publisher never waits.
func TestQueue_Overflow(t *testing.T) {
	var b Broker
	q := NewQueue(2)
	b.Subscribe(q, "a")
	for i := range 5 {
		assert.Equal(t, 1, b.Publish("a", fmt.Append(nil, i)))
	}
	for i := range 2 {
		m, err := q.Receive(t.Context())
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprint(i), string(m.Payload))
	}
	for range 2 {
		_, err := q.Receive(t.Context())
		assert.ErrorIs(t, err, ErrOverflow)
	}
}

// Ensure that receivers wait for a message, for the end of the queue, or for the end of their context.
func TestQueue_Waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(2)
		gone := errors.New("gone")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, gone)
		defer cancel()
		_, err := q.Receive(ctx)
		assert.ErrorIs(t, err, gone)

		go func() {
			time.Sleep(time.Second)
			q.Deliver(Message{Channel: "a"})
		}()
		m, err := q.Receive(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "a", m.Channel)

		errs := make(chan error)
		for range 3 {
			go func() {
				_, err := q.Receive(t.Context())
				errs <- err
			}()
		}
		synctest.Wait()
		q.Close()
		for range 3 {
			assert.ErrorIs(t, <-errs, ErrClosed)
		}
	})
}
