package redlock

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that a member that was added at a majority is seen by whoever can only ask another majority, and that
// nothing is decided without one.
func TestAdd_SeenByEveryMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var nodes []*memNode
		var all []Node
		for i := range 5 {
			n := &memNode{name: fmt.Sprint("node", i), names: map[string]*simNode{}}
			nodes, all = append(nodes, n), append(all, n)
		}
		q, err := New(all, Options{})
		require.NoError(t, err)
		ctx := context.Background()
		refuse := func(refused ...int) {
			for i, n := range nodes {
				n.mu.Lock()
				n.refuse = nil
				for _, r := range refused {
					if r == i {
						n.refuse = errHung
					}
				}
				n.mu.Unlock()
			}
		}
		refuse(0, 1)
		require.NoError(t, q.Add(ctx, "x", "one", time.Hour))
		refuse(3, 4)
		require.NoError(t, q.Add(ctx, "x", "two", time.Hour))
		for _, down := range [][]int{nil, {0, 1}, {2, 3}, {3, 4}, {0, 4}} {
			refuse(down...)
			members, err := q.Members(ctx, "x")
			require.NoError(t, err)
			assert.Equal(t, []string{"one", "two"}, members)
		}
		refuse(0, 1, 2)
		require.ErrorIs(t, q.Add(ctx, "x", "three", time.Hour), ErrQuorum)
		_, err = q.Members(ctx, "x")
		require.ErrorIs(t, err, ErrQuorum)
		require.ErrorIs(t, err, errHung)
		refuse()
		require.NoError(t, q.Close(ctx))
		require.ErrorIs(t, q.Add(ctx, "x", "three", time.Hour), ErrClosed)
	})
}

// Ensure that what is outside the limits of a set is refused before anything is sent, and what is at them is not.
func TestAdd_Limits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &memNode{name: "node", names: map[string]*simNode{}}
		q, err := New([]Node{n}, Options{})
		require.NoError(t, err)
		ctx := context.Background()
		for _, c := range []struct {
			name, member string
			ttl          time.Duration
			ok           bool
		}{
			{"x", "m", MinTTL, true}, {"x", "m", MinTTL - 1, false}, {"x", "m", MaxSetTTL, true}, {"x", "m", MaxSetTTL + 1, false},
			{"x", "", time.Hour, false}, {"x", strings.Repeat("m", MaxMember), time.Hour, true}, {"x", strings.Repeat("m", MaxMember+1), time.Hour, false},
			{"", "m", time.Hour, false}, {"{x}:set", "m", time.Hour, false},
		} {
			err := q.Add(ctx, c.name, c.member, c.ttl)
			if c.ok {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, ErrInvalid)
			}
		}
		_, err = q.Members(ctx, "")
		require.ErrorIs(t, err, ErrInvalid)
	})
}
