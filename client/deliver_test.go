package client

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/holdfast-dev/holdfast/redlock"
)

// Ensure that a wake-up for a waiter that is gone is passed on: its entry leaves the queues, once, whichever
// nodes send it; and that one for a waiter that waits goes nowhere else.
func TestNotifier_DeliverPassesOn(t *testing.T) {
	var left []string
	n := newNotifier("c0ffee", make([]redlock.Node, 3), settings{}, func(name string, w redlock.Waiter) {
		assert.Equal(t, redlock.Waiter{ID: "c0ffee/41", Since: 41}, w)
		left = append(left, name)
	})
	here, gone := newWaiter("c0ffee", 42), newWaiter("c0ffee", 41)
	n.register(here)
	n.register(gone)
	n.unregister(gone)
	for node := range 3 {
		n.deliver(node, gone.id+" a lock")
	}
	n.deliver(0, here.id+" a lock")
	n.deliver(1, here.id+" a lock")
	n.deliver(0, "nonsense")
	n.deliver(0, "c0ffee/nonsense a lock")
	assert.Equal(t, []string{"a lock"}, left)
	assert.Equal(t, 2, here.wakes())
}
