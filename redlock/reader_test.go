package redlock

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that readers share a lock, that they yield to a writer who waits before them and to nobody else, that
// the last of them wakes it, and that after it they wake one another.
func TestReaders(t *testing.T) {
	onBenches(t, func(b *bench) {
		read := func(v string, w Waiter) Reply { return b.do(Request{Op: OpAcquire, Value: v, Waiter: w, Shared: true}) }
		release := func(v string, shared bool) { b.do(Request{Op: OpRelease, Value: v, Shared: shared}) }
		require.Equal(t, StatusGranted, read("r1", Waiter{}).Status)
		require.Equal(t, StatusGranted, read("r2", Waiter{}).Status)
		again := read("r2", waiters.c)
		assert.True(t, again.Status == StatusHeld && again.Shared, "this very value has it")
		held := b.acquire("w", waiters.b)
		assert.True(t, held.Status == StatusHeld && held.Shared && held.Recorded && !held.Turn, "%+v", held)
		assert.Equal(t, StatusHeld, read("r3", waiters.c).Status, "a writer waits before it")
		assert.Equal(t, StatusHeld, read("r3", Waiter{}).Status, "that goes for who does not queue, too")
		assert.Equal(t, StatusGranted, read("r0", waiters.a).Status, "its call is older than the writer's")
		late := Waiter{ID: "d/1", Since: 9, Heartbeat: time.Hour}
		assert.Equal(t, StatusHeld, read("r4", late).Status)
		look := b.do(Request{Op: OpInspect})
		assert.Equal(t, 3, look.Reading)
		assert.Len(t, look.Readers, 3)
		assert.Equal(t, 3, look.Waiting)
		for _, v := range []string{"r0", "r1"} {
			release(v, true)
			assert.Empty(t, b.heard(), "the writer cannot have it yet")
		}
		release("r2", true)
		assert.Equal(t, "b/1", b.heard())
		require.Equal(t, StatusGranted, b.acquire("w", waiters.b).Status)
		assert.Equal(t, StatusLost, b.do(Request{Op: OpRenew, Value: "r1", Shared: true, Token: 1}).Status, "no reader heals beside a writer")
		release("w", false)
		assert.Equal(t, "c/1", b.heard())
		require.Equal(t, StatusGranted, read("r3", waiters.c).Status)
		assert.Equal(t, "d/1", b.heard(), "the next one may read as well")
		require.Equal(t, StatusGranted, read("r4", late).Status)
		assert.Equal(t, StatusLost, b.do(Request{Op: OpRenew, Value: "w", Token: 1}).Status, "no writer heals beside a reader")
		assert.Equal(t, StatusOK, b.do(Request{Op: OpForce, Digest: Digest("r3"), Reason: "why"}).Status)
		forced := b.do(Request{Op: OpRenew, Value: "r3", Shared: true, Token: 1})
		assert.Equal(t, Reply{Status: StatusForced, Reason: "why"}, forced)
		release("r4", true)
		assert.Zero(t, b.c.Exists(t.Context(), Keys("n").Readers, Keys("n").Records, Keys("n").Waiters).Val())
	})
}

// Ensure that a writer that leaves lets the readers behind it in beside those who read.
func TestReaders_WriterLeaves(t *testing.T) {
	onBenches(t, func(b *bench) {
		read := func(v string, w Waiter) Reply { return b.do(Request{Op: OpAcquire, Value: v, Waiter: w, Shared: true}) }
		require.Equal(t, StatusGranted, read("r1", Waiter{}).Status)
		require.Equal(t, StatusHeld, b.acquire("w", waiters.a).Status)
		require.Equal(t, StatusHeld, read("r2", waiters.b).Status)
		b.do(Request{Op: OpLeave, Waiter: waiters.a})
		assert.Equal(t, "b/1", b.heard())
		assert.Equal(t, StatusGranted, read("r2", waiters.b).Status)
	})
}
