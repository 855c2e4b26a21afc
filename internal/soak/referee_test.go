package soak

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A holding is what the referee must know of a lease. Client leases of any kind have it.
type holding interface {
	Token() int64
	Err() error // nil while held, by the clock at this moment
}

// A referee judges one name. The workers tell it when they go in, right after they were granted the lock, and
// when they go out, right before they release it.
//
// A lease may be over before its worker notices, so that somebody is still in when the next one comes. That is
// why the leases are asked: whoever is in and believes that he holds the lock, at a moment at which another
// one believes so too, is one too many.
type referee struct {
	name  string
	slots int // how many may be in at once who are not shared; 1 but for semaphores

	mu        sync.Mutex
	inside    map[holding]bool // whether the holding is shared
	exclusive int64            // the highest token of those who were in alone
	highest   int64            // the highest of all
}

func newReferee(name string, slots int) *referee {
	return &referee{name: name, slots: slots, inside: make(map[holding]bool)}
}

// A breach is what must never be.
type breach struct{ text string }

func (b *breach) Error() string { return b.text }

// enter is told of a lease that was granted. It returns false if the lease is over already, and an error if it
// ought not to be there.
func (r *referee) enter(h holding, shared bool) (ok bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.Err() != nil {
		return false, nil
	}
	alone := r.slots
	for other, otherShared := range r.inside {
		if other.Err() != nil {
			delete(r.inside, other) // it has lost its lease and not noticed yet
			continue
		}
		if shared && otherShared {
			continue
		}
		if alone--; alone <= 0 {
			return true, &breach{fmt.Sprintf("%s: token %d (shared: %t) came in while token %d (shared: %t) held it", r.name,
				h.Token(), shared, other.Token(), otherShared)}
		}
	}
	// Readers that are in at the same time may come here in any order.
	floor := r.highest
	if shared {
		floor = r.exclusive
	}
	if r.slots == 1 && h.Token() <= floor { // the slots of a semaphore have their own tokens
		return true, &breach{fmt.Sprintf("%s: token %d (shared: %t) after token %d", r.name, h.Token(), shared, floor)}
	}
	r.highest = max(r.highest, h.Token())
	if !shared {
		r.exclusive = h.Token()
	}
	r.inside[h] = shared
	return true, nil
}

func (r *referee) leave(h holding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.inside, h)
}

// A fakeHolding is a lease in the referee's own test.
type fakeHolding struct {
	token int64
	over  error
}

func (f *fakeHolding) Token() int64 { return f.token }
func (f *fakeHolding) Err() error   { return f.over }

// Ensure that the referee sees what must not be, and only that.
func TestReferee(t *testing.T) {
	enter := func(r *referee, h holding, shared bool) string {
		ok, err := r.enter(h, shared)
		switch {
		case err != nil:
			return "breach"
		case !ok:
			return "over"
		}
		return "in"
	}
	t.Run("exclusive", func(t *testing.T) {
		r := newReferee("x", 1)
		a, b := &fakeHolding{token: 1}, &fakeHolding{token: 2}
		assert.Equal(t, "in", enter(r, a, false))
		assert.Equal(t, "breach", enter(r, b, false), "both hold it")
		a.over = assert.AnError
		assert.Equal(t, "in", enter(r, b, false), "the first has lost it")
		assert.Equal(t, "over", enter(r, a, false))
		r.leave(b)
		assert.Equal(t, "breach", enter(r, &fakeHolding{token: 2}, false), "the token did not rise")
		r.leave(a)
		assert.Equal(t, "in", enter(r, &fakeHolding{token: 3}, false))
	})
	t.Run("shared", func(t *testing.T) {
		r := newReferee("x", 1)
		a, b, w := &fakeHolding{token: 5}, &fakeHolding{token: 4}, &fakeHolding{token: 6}
		assert.Equal(t, "in", enter(r, a, true))
		assert.Equal(t, "in", enter(r, b, true), "readers come in any order")
		assert.Equal(t, "breach", enter(r, w, false))
		r.leave(a)
		assert.Equal(t, "breach", enter(r, w, false))
		r.leave(b)
		assert.Equal(t, "in", enter(r, w, false))
		assert.Equal(t, "breach", enter(r, &fakeHolding{token: 7}, true))
		r.leave(w)
		assert.Equal(t, "breach", enter(r, &fakeHolding{token: 6}, true), "no higher than the writer before")
		assert.Equal(t, "breach", enter(newReferee("x", 1), &fakeHolding{}, false), "no token")
	})
	t.Run("slots", func(t *testing.T) {
		r := newReferee("x", 2)
		a, b, c := &fakeHolding{token: 5}, &fakeHolding{token: 5}, &fakeHolding{token: 5}
		assert.Equal(t, "in", enter(r, a, false))
		assert.Equal(t, "in", enter(r, b, false))
		assert.Equal(t, "breach", enter(r, c, false))
		r.leave(a)
		assert.Equal(t, "in", enter(r, c, false))
	})
}
