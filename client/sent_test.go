package client

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/redlock"
)

// A hesitantNode takes a moment to be handed a release.
type hesitantNode struct{ *slowNode }

func (n hesitantNode) Send(req redlock.Request, reply func(redlock.Reply)) {
	if req.Op == redlock.OpRelease {
		time.Sleep(time.Millisecond)
	}
	n.slowNode.Send(req, reply)
}

// Ensure that the releases of several locks are on their way before anybody is told that the locks are over:
// whoever hears of it and asks for one of them must not come before its release.
func TestUnlockReverse_Sent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newSlowNode(func() time.Duration { return 0 })
		c, err := New([]redlock.Node{hesitantNode{n}})
		require.NoError(t, err)
		var leases []*Lease
		for _, name := range []string{"a", "b", "c"} {
			l, err := c.Lock(context.Background(), name)
			require.NoError(t, err)
			leases = append(leases, l)
		}
		wait := unlockReverse(context.Background(), leases)
		n.mu.Lock()
		assert.Equal(t, len(leases), n.released)
		n.mu.Unlock()
		require.NoError(t, wait())
		require.NoError(t, c.Close(context.Background()))
	})
}
