package pubsub

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrOverflow is what a Queue answers whose receiver was too slow.
var ErrOverflow = errors.New("pubsub: queue overflow")

// ErrClosed is what a Queue answers after Close.
var ErrClosed = errors.New("pubsub: queue closed")

// A Queue is a Subscriber that keeps messages until they are received, up to a number of them. The
// message that finds it full ends it: what was kept before can still be received, nothing after it, and
// the receiver learns of it. Dropping silently would leave a receiver that believes it has seen all.
//
// A Queue is safe for concurrent use. The Broker keeps delivering to an ended Queue, which ignores it,
// until it Leaves.
type Queue struct {
	limit int

	mu       sync.Mutex
	messages []Message
	ended    error
	arrived  chan struct{} // holds a token while there may be something to receive
}

// NewQueue returns a Queue for at most limit messages.
func NewQueue(limit int) *Queue {
	return &Queue{limit: limit, arrived: make(chan struct{}, 1)}
}

// Deliver implements Subscriber. It copies the payload.
func (q *Queue) Deliver(m Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended != nil {
		return
	}
	if len(q.messages) == q.limit {
		q.endLocked(ErrOverflow)
		return
	}
	m.Payload = slices.Clone(m.Payload)
	q.messages = append(q.messages, m)
	q.signal()
}

// Receive returns the next message. It waits for one until ctx ends, whose cause it then returns. When
// the Queue has ended and is empty it returns ErrOverflow or ErrClosed.
func (q *Queue) Receive(ctx context.Context) (Message, error) {
	for {
		m, ok, err := q.take()
		if ok || err != nil {
			return m, err
		}
		select {
		case <-q.arrived:
		case <-ctx.Done():
			return Message{}, context.Cause(ctx)
		}
	}
}

func (q *Queue) take() (m Message, ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) == 0 {
		if q.ended != nil {
			q.signal() // for the other receivers
		}
		return Message{}, false, q.ended
	}
	m = q.messages[0]
	q.messages[0] = Message{}
	q.messages = q.messages[1:]
	if len(q.messages) > 0 || q.ended != nil {
		q.signal()
	}
	return m, true, nil
}

// Close ends the Queue. What it keeps can still be received.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.endLocked(ErrClosed)
}

func (q *Queue) endLocked(reason error) {
	if q.ended == nil {
		q.ended = reason
		q.signal()
	}
}

func (q *Queue) signal() {
	select {
	case q.arrived <- struct{}{}:
	default:
	}
}
