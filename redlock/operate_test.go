package redlock

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// Ensure that an evicted owner keeps the lock until its end but can no longer renew, and that one forced
// answer ends a lease at once.
func TestEvict(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		time.Sleep(time.Millisecond)
		start := clock.Now()
		rev, err := c.Evict(t.Context(), "n", g.Digest(), "on call: no answer\n\xff")
		require.NoError(t, err)
		assert.Equal(t, start.Add(time.Millisecond+10*time.Second-102*time.Millisecond), rev.Over, "from the ttl that the owner recorded")
		assert.True(t, g.Held(), "exclusion is kept")
		_, err = c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second})
		require.ErrorIs(t, err, ErrHeld)
		require.ErrorIs(t, c.Renew(t.Context(), g), ErrForced)
		assert.False(t, g.Held())
		<-g.Done()
		assert.ErrorIs(t, c.Release(t.Context(), g), ErrForced)
		time.Sleep(time.Millisecond)
		assert.Equal(t, nobody, c.owners())
	})
}

// Ensure that a grant that withholds its release from an eviction is over, but keeps its lock until the Release that
// follows, and that a force is not withheld from.
func TestEvict_Withheld(t *testing.T) {
	for name, revoke := range map[string]func(c *cluster, digest string) (*Revocation, error){
		"evict": func(c *cluster, digest string) (*Revocation, error) { return c.Evict(c.t.Context(), "n", digest, "") },
		"force": func(c *cluster, digest string) (*Revocation, error) { return c.Force(c.t.Context(), "n", digest, "") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				g := c.won()
				g.WithholdEvicted()
				_, err := revoke(c, g.Digest())
				require.NoError(t, err)
				require.ErrorIs(t, c.Renew(t.Context(), g), ErrForced)
				assert.False(t, g.Held())
				time.Sleep(time.Second)
				if name == "force" {
					assert.Equal(t, nobody, c.owners())
					return
				}
				assert.NotContains(t, c.owners(), "")
				require.ErrorIs(t, c.Renew(t.Context(), g), ErrForced)
				require.ErrorIs(t, c.Release(t.Context(), g), ErrForced)
				require.ErrorIs(t, c.Release(t.Context(), g), ErrForced)
				time.Sleep(time.Second)
				assert.Equal(t, nobody, c.owners())
				for _, n := range c.nodes {
					assert.Equal(t, 1, n.count(OpRelease))
				}
			})
		})
	}
}

// Ensure that a revocation whose answers take longer than D is sent again, a bounded number of times, and
// that an unknown owner counts with the longest ttl.
func TestRevocationRounds(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		digest := Digest("v")
		start := clock.Now()
		rev, err := c.Force(t.Context(), "n", digest, "")
		require.NoError(t, err)
		longest := 5 * time.Minute
		assert.Equal(t, start.Add(time.Millisecond+longest-DefaultDrift(longest)), rev.Over)
		for _, n := range c.nodes {
			n.with(func() { n.delay = 1600 * time.Millisecond }) // 3.2 s there and back, D is 3.002 s
		}
		_, err = c.Evict(t.Context(), "n", digest, "")
		require.ErrorIs(t, err, ErrQuorum)
		require.ErrorIs(t, err, ErrNoAnswer)
		assert.Equal(t, revocationRounds, c.nodes[0].count(OpEvict))
		_, err = c.Evict(t.Context(), "n", "x", "")
		require.ErrorIs(t, err, ErrInvalid)
	})
}

// Ensure that a revoked value is refused by an acquire and a heal, too.
func TestForcedAttempt(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.rules.value = func() string { return "v" }
		_, err := c.Evict(t.Context(), "n", Digest("v"), "")
		require.NoError(t, err)
		_, err = c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second})
		require.ErrorIs(t, err, ErrForced)
	})
}

// Ensure that a lease can be resumed by another process with its value and token, and with no other token;
// and that an undecided resumption leaves the lock where it is.
func TestResume(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		synctest.Wait()
		r := Resumable{Name: "n", Value: g.Value(), Token: g.Token(), TTL: 10 * time.Second}
		time.Sleep(5 * time.Second)
		start := clock.Now()
		again, err := c.Resume(t.Context(), r)
		require.NoError(t, err)
		assert.Equal(t, g.Token(), again.Token())
		assert.Equal(t, start.Add(10*time.Second-102*time.Millisecond), again.End())
		require.NoError(t, c.Renew(t.Context(), again))

		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
		defer cancel()
		_, err = c.Resume(ctx, r)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		for _, n := range c.nodes {
			n.with(func() { n.refuse = errHung })
		}
		_, err = c.Resume(t.Context(), r)
		require.ErrorIs(t, err, ErrQuorum)
		require.ErrorIs(t, err, errHung)
		for _, n := range c.nodes {
			n.with(func() { n.refuse = nil })
		}
		time.Sleep(time.Millisecond)
		assert.NotContains(t, c.owners(), "")

		r.Token++
		_, err = c.Resume(t.Context(), r)
		require.ErrorIs(t, err, ErrLost, "a majority says that this is not its token")
		time.Sleep(time.Millisecond)
		assert.Equal(t, nobody, c.owners())
		r.Token--
		_, err = c.Resume(t.Context(), r)
		require.ErrorIs(t, err, ErrLost)
		time.Sleep(time.Millisecond)
		require.ErrorIs(t, c.Release(t.Context(), g), ErrLost, "no node has it, though the end has not come")
		require.ErrorIs(t, c.Release(t.Context(), g), ErrLost)
	})
}

// Ensure that Inspect gives a majority's view and each node's own.
func TestInspect(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.slowMinority()
		s, err := c.Inspect(t.Context(), "n")
		require.NoError(t, err)
		assert.True(t, s.Free())
		g := c.won()
		w := Waiter{ID: "c/1", Since: 1, Heartbeat: time.Minute}
		_, err = c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second, Waiter: w})
		require.ErrorIs(t, err, ErrHeld)
		s, err = c.Inspect(t.Context(), "n")
		require.NoError(t, err)
		require.NotNil(t, s.Holder)
		assert.Equal(t, Holder{Digest: g.Digest(), Label: "w1", Token: g.Token(), Remaining: 10*time.Second - 2*time.Millisecond, Recorded: true, Nodes: 3}, *s.Holder)
		assert.Equal(t, 3, s.Answered)
		assert.Equal(t, g.Token(), s.Fence)
		assert.Equal(t, 1, s.Waiting)
		require.Len(t, s.Nodes, 5)
		assert.Equal(t, "node0", s.Nodes[0].Node)

		c.Leave("n", w)
		time.Sleep(time.Millisecond)
		s, err = c.Inspect(t.Context(), "n")
		require.NoError(t, err)
		assert.Zero(t, s.Waiting)

		// Two answer with the holder, one without: the other two decide, for as long as they are waited for.
		c.nodes[0].with(func() { c.nodes[0].names["n"] = nil })
		c.nodes[3].with(func() { c.nodes[3].delay = 50 * time.Millisecond })
		c.nodes[4].hang()
		start := clock.Now()
		s, err = c.Inspect(t.Context(), "n")
		require.NoError(t, err)
		assert.Equal(t, 3, s.Holder.Nodes)
		assert.Equal(t, 100*time.Millisecond, clock.Since(start))
		assert.ErrorIs(t, s.Nodes[4].Reply.Err, ErrNoAnswer)
		c.nodes[3].hang()
		start = clock.Now()
		s, err = c.Inspect(t.Context(), "n")
		require.NoError(t, err)
		assert.True(t, s.Free())
		assert.Equal(t, time.Millisecond+inspectGrace, clock.Since(start))
		c.nodes[2].hang()
		_, err = c.Inspect(t.Context(), "n")
		require.ErrorIs(t, err, ErrQuorum)
		c.Release(t.Context(), g)
	})
}

// Ensure that InspectAll shows slow nodes, too, and gives up a hung one with its Node.
func TestInspectAll(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		time.Sleep(time.Millisecond)
		c.nodes[4].with(func() { c.nodes[4].delay = 400 * time.Millisecond })
		s, err := c.InspectAll(t.Context(), "n")
		require.NoError(t, err)
		assert.Equal(t, 5, s.Answered)
		assert.Equal(t, 5, s.Holder.Nodes)
		c.nodes[4].hang()
		s, err = c.InspectAll(t.Context(), "n")
		require.NoError(t, err)
		assert.Equal(t, 4, s.Answered)
		assert.Equal(t, 4, s.Holder.Nodes)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.InspectAll(ctx, "n")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		c.Release(t.Context(), g)
	})
}
