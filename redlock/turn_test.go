package redlock

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A bench is a server on which one name is worked with, and what was published since it was looked at last.
type bench struct {
	t   *testing.T
	c   *redis.Client
	sub *redis.PubSub
}

// onBenches runs a test on every server of scriptServers.
func onBenches(t *testing.T, test func(b *bench)) {
	for addr, c := range scriptServers(t) {
		t.Run(addr, func(t *testing.T) {
			require.NoError(t, c.FlushAll(t.Context()).Err())
			sub := c.PSubscribe(t.Context(), "holdfast:*")
			defer sub.Close()
			_, err := sub.Receive(t.Context())
			require.NoError(t, err)
			test(&bench{t: t, c: c, sub: sub})
		})
	}
}

// turn is what the benches' requests ask for: longer than any pause of a test, shorter than a heartbeat.
const benchTurn = time.Minute

func (b *bench) do(r Request) Reply {
	r.Name, r.FenceTTL, r.Turn = "n", 24*time.Hour, benchTurn
	if r.TTL == 0 {
		r.TTL = time.Hour
	}
	return execute(b.t.Context(), b.c, r)
}

func (b *bench) acquire(v string, w Waiter) Reply {
	return b.do(Request{Op: OpAcquire, Value: v, Waiter: w})
}

// heard returns the ids that were woken since the last call.
func (b *bench) heard() string {
	var ids []string
	for m := range strings.SplitSeq(published(b.t, b.c, b.sub), ", ") {
		if f := strings.Fields(m); len(f) > 1 {
			ids = append(ids, f[1])
		}
	}
	return strings.Join(ids, " ")
}

// queue returns what every entry has left, in order; the head's turn ends within a minute.
func (b *bench) queue() string {
	now := time.Now()
	var all []string
	for _, member := range b.c.ZRange(b.t.Context(), Keys("n").Waiters, 0, -1).Val() {
		id, deadline, _ := strings.Cut(member, ";")
		ms, err := strconv.ParseInt(deadline, 10, 64)
		require.NoError(b.t, err, member)
		if time.UnixMilli(ms).Sub(now) <= benchTurn {
			id += "!"
		}
		all = append(all, id)
	}
	return strings.Join(all, " ")
}

// endTurn is what time does to a turn that nobody takes: the entry is dead. It returns who was woken: on our own
// nodes, which look at the clock, that is the next one.
func (b *bench) endTurn(id string) (told string) {
	ctx, queue := b.t.Context(), Keys("n").Waiters
	for _, m := range b.c.ZRangeWithScores(ctx, queue, 0, -1).Val() {
		if other, _, _ := strings.Cut(m.Member.(string), ";"); other == id {
			_, err := b.c.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.ZAdd(ctx, queue, redis.Z{Score: m.Score, Member: id + ";1"})
				p.ZRem(ctx, queue, m.Member)
				return nil
			})
			require.NoError(b.t, err)
		}
	}
	return b.heard()
}

var waiters = struct{ a, b, c Waiter }{
	a: Waiter{ID: "a/1", Since: 1, Heartbeat: time.Hour},
	b: Waiter{ID: "b/1", Since: 2, Heartbeat: time.Hour},
	c: Waiter{ID: "c/1", Since: 2, Heartbeat: time.Hour}, // as long as b: the ids decide
}

// Ensure that a free lock is kept for the waiter that was woken, against those who queue and those who do
// not, and that it goes to them in their order.
func TestTurn(t *testing.T) {
	onBenches(t, func(b *bench) {
		require.Equal(t, StatusGranted, b.acquire("v", Waiter{}).Status)
		for _, w := range []Waiter{waiters.c, waiters.b, waiters.a} {
			require.Equal(t, StatusHeld, b.acquire("w", w).Status)
		}
		require.Equal(t, "a/1 b/1 c/1", b.queue())
		require.Equal(t, StatusOK, b.do(Request{Op: OpRelease, Value: "v"}).Status)
		assert.Equal(t, "a/1", b.heard())
		assert.Equal(t, "a/1! b/1 c/1", b.queue())
		for _, w := range []Waiter{waiters.b, {}, {ID: "d/1", Since: 9, Heartbeat: time.Hour}} {
			r := b.acquire("w", w)
			assert.Equal(t, StatusHeld, r.Status)
			assert.True(t, r.Turn && r.Recorded, "%+v", r)
			assert.Empty(t, r.Digest)
			assert.Greater(t, r.Remaining, time.Duration(0))
			assert.LessOrEqual(t, r.Remaining, benchTurn)
		}
		assert.Empty(t, b.heard(), "it has been told")
		assert.Equal(t, "a/1! b/1 c/1 d/1", b.queue())
		require.Equal(t, StatusGranted, b.acquire("a", waiters.a).Status)
		assert.Equal(t, "b/1 c/1 d/1", b.queue())
		for _, next := range []struct {
			value string
			w     Waiter
		}{{"b", waiters.b}, {"c", waiters.c}} {
			b.do(Request{Op: OpRelease, Value: string(rune(next.value[0] - 1))})
			assert.Equal(t, next.w.ID, b.heard())
			require.Equal(t, StatusGranted, b.acquire(next.value, next.w).Status)
		}
		assert.Equal(t, "d/1", b.queue())
	})
}

// Ensure that a lock which expired, or whose wake-up message was lost, is offered to the head by the next
// arrival, once; that who stands before the head need not yield to it; and that a lease without a queue
// entry goes first only when nobody waits.
func TestTurn_NobodyWasWoken(t *testing.T) {
	onBenches(t, func(b *bench) {
		b.acquire("v", Waiter{})
		b.acquire("w", waiters.b)
		b.c.Del(t.Context(), "n", Keys("n").Holder)
		b.heard() // a node of ours has told the head, though it gave it no turn
		for range 2 {
			assert.True(t, b.acquire("w", Waiter{}).Turn)
			assert.Equal(t, "b/1!", b.queue())
		}
		assert.Equal(t, "b/1", b.heard())
		assert.True(t, b.acquire("w", waiters.c).Turn, "the same since, a later id")
		assert.Equal(t, StatusGranted, b.acquire("w", waiters.a).Status, "its call is older than the head's")
		assert.Equal(t, "b/1! c/1", b.queue())
		assert.Empty(t, b.heard())
		assert.False(t, b.acquire("w2", waiters.b).Turn)
		assert.Equal(t, "b/1 c/1", b.queue(), "the turn is over, the wait goes on with its heartbeat")
	})
}

// Ensure that a turn ends: a head that does not come is passed over, and the next is woken by whoever comes.
func TestTurn_Ends(t *testing.T) {
	onBenches(t, func(b *bench) {
		b.acquire("v", Waiter{})
		for _, w := range []Waiter{waiters.a, waiters.b, waiters.c} {
			b.acquire("w", w)
		}
		b.do(Request{Op: OpRelease, Value: "v"})
		assert.Equal(t, "a/1", b.heard())
		b.endTurn("a/1")
		assert.True(t, b.acquire("w", waiters.c).Turn)
		assert.Equal(t, "b/1", b.heard())
		assert.Equal(t, "b/1! c/1", b.queue(), "the dead one is gone")
		b.endTurn("b/1")
		assert.Equal(t, StatusGranted, b.acquire("c", waiters.c).Status, "now it is the head itself")
		assert.Empty(t, b.queue())
		b.acquire("w", waiters.a)
		b.endTurn("a/1")
		b.do(Request{Op: OpRelease, Value: "c"})
		assert.Empty(t, b.heard())
		assert.Equal(t, StatusGranted, b.acquire("w", Waiter{}).Status, "only dead ones wait")
	})
}

// Ensure that a head that leaves after it was woken passes its turn on, also when the turn has ended
// meanwhile, and that nobody else's leaving wakes.
func TestScriptsLeaveWakesNext(t *testing.T) {
	onBenches(t, func(b *bench) {
		b.acquire("v", Waiter{})
		all := []Waiter{waiters.a, waiters.b, waiters.c, {ID: "d/1", Since: 3, Heartbeat: time.Hour}, {ID: "e/1", Since: 4, Heartbeat: time.Hour}}
		for _, w := range all {
			require.Equal(t, StatusHeld, b.acquire("w", w).Status)
		}
		leave := func(w Waiter) string {
			assert.Equal(t, StatusOK, b.do(Request{Op: OpLeave, Waiter: w}).Status)
			return b.heard()
		}
		assert.Empty(t, leave(waiters.a), "the lock is held: nobody's turn")
		b.do(Request{Op: OpRelease, Value: "v"})
		assert.Equal(t, "b/1", b.heard())
		assert.Empty(t, leave(all[4]), "not the head")
		assert.Equal(t, "c/1", leave(waiters.b), "it was woken, and is gone")
		assert.Empty(t, leave(waiters.b))
		told := b.endTurn("c/1")
		assert.Equal(t, "d/1", told+leave(waiters.c), "it was too late, and nobody else has come")
		assert.Empty(t, leave(all[3]), "nobody is left")
		assert.Equal(t, StatusGranted, b.acquire("w", Waiter{}).Status)
	})
}

// Ensure that a force wakes the head and gives it a turn as a release does.
func TestTurn_Forced(t *testing.T) {
	onBenches(t, func(b *bench) {
		b.acquire("v", Waiter{})
		b.acquire("w", waiters.a)
		b.do(Request{Op: OpEvict, Digest: Digest("v")})
		assert.Empty(t, b.heard(), "evicted, but it still has the lock")
		b.do(Request{Op: OpForce, Digest: Digest("v")})
		assert.Equal(t, "a/1", b.heard())
		assert.Equal(t, "a/1!", b.queue())
	})
}

// Ensure that those who watch a name are told what its owner has asked for, and nothing else.
func TestAnnounce(t *testing.T) {
	onBenches(t, func(b *bench) {
		for _, announce := range []bool{false, true} {
			r := Request{Op: OpAcquire, Value: fmt.Sprint("v", announce), Announce: announce}
			require.Equal(t, StatusGranted, b.do(r).Status)
			b.do(Request{Op: OpRenew, Value: r.Value, Announce: announce, Token: 1})
			b.do(Request{Op: OpRelease, Value: r.Value, Announce: announce})
			b.do(Request{Op: OpRelease, Value: r.Value, Announce: announce})
			b.do(r)
			b.do(Request{Op: OpForce, Digest: Digest(r.Value)})
		}
		ch := ChangeChannel("n")
		assert.Equal(t, ch+" granted n, "+ch+" released n, "+ch+" granted n, "+ch+" forced n", published(t, b.c, b.sub))
	})
}

// Ensure that what is done all day costs no more commands inside the scripts than it does today.
func TestScriptsCost(t *testing.T) {
	for addr, c := range scriptServers(t) {
		if addr != "redis-server" { // the one that counts
			continue
		}
		ctx := t.Context()
		cost := func(r Request, status Status) int {
			r.Name, r.TTL, r.FenceTTL, r.Turn, r.Token = "n", time.Hour, time.Hour, time.Minute, 1
			require.NoError(t, c.ConfigResetStat(ctx).Err())
			require.Equal(t, status, execute(ctx, c, r).Status)
			n := 0
			for line := range strings.Lines(c.Info(ctx, "commandstats").Val()) {
				var calls int
				name, rest, _ := strings.Cut(line, ":")
				if _, err := fmt.Sscanf(rest, "calls=%d,", &calls); err == nil && name != "cmdstat_evalsha" && !strings.HasPrefix(name, "cmdstat_config") {
					n += calls
				}
			}
			return n
		}
		require.NoError(t, c.FlushAll(ctx).Err())
		free := Request{Op: OpAcquire, Value: "v"}
		w := Request{Op: OpAcquire, Value: "w", Waiter: waiters.a}
		assert.LessOrEqual(t, cost(free, StatusGranted), 6, "acquire")
		assert.LessOrEqual(t, cost(Request{Op: OpRenew, Value: "v"}, StatusExtended), 4, "renew")
		assert.LessOrEqual(t, cost(Request{Op: OpRelease, Value: "v"}, StatusOK), 3, "release")
		assert.LessOrEqual(t, cost(free, StatusGranted), 6, "acquire again")
		assert.LessOrEqual(t, cost(w, StatusHeld), 7, "join the queue")
		assert.LessOrEqual(t, cost(w, StatusHeld), 8, "stay in the queue")
		assert.LessOrEqual(t, cost(Request{Op: OpRelease, Value: "v"}, StatusOK), 7, "release and wake")
		assert.LessOrEqual(t, cost(w, StatusGranted), 11, "take one's turn")
	}
}

// Ensure that an attempt which meets nothing but a turn says so and for how long, in time for its end; and
// that what the holder has recorded reaches whoever is refused, with the highest of its fences.
func TestHeld_Turn(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.slowMinority()
		ahead := clock.Wall().Add(time.Hour).UnixMicro()
		c.nodes[0].with(func() { c.nodes[0].state("n").fence, c.nodes[0].state("n").fenceEnds = ahead, never })
		g, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: 10 * time.Second, Label: "w1", Meta: "at work\x00"})
		require.NoError(t, err)
		synctest.Wait()
		w := Waiter{ID: "c/1", Since: 1, Heartbeat: time.Minute}
		attempt := func(w Waiter) *HeldError {
			_, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: 10 * time.Second, Waiter: w})
			var held *HeldError
			require.ErrorAs(t, err, &held)
			time.Sleep(time.Millisecond)
			return held
		}
		held := attempt(w)
		assert.Equal(t, "w1", held.Label)
		assert.Equal(t, "at work\x00", held.Meta)
		assert.GreaterOrEqual(t, held.Token, clock.Wall().Add(-time.Second).UnixMicro())
		assert.False(t, held.Turn)
		assert.Equal(t, Resumable{Name: "n", Value: g.Value(), Token: ahead + 1, TTL: 10 * time.Second, Label: "w1", Meta: "at work\x00"}, g.Resumable())
		require.NoError(t, c.Release(t.Context(), g))
		time.Sleep(time.Millisecond)

		held = attempt(Waiter{})
		assert.True(t, held.Turn && held.Recorded)
		assert.Empty(t, held.Digest)
		assert.Greater(t, held.Remaining, 490*time.Millisecond)
		assert.LessOrEqual(t, held.Remaining, 500*time.Millisecond)
		assert.Contains(t, held.Error(), "another waiter's turn")
		for i := range 2 {
			c.nodes[i].with(func() { c.nodes[i].state("n").owner, c.nodes[i].state("n").expires = "redsync", never })
		}
		held = attempt(Waiter{})
		assert.False(t, held.Turn || held.Recorded, "one turn of three")
		for i := range 2 {
			c.nodes[i].with(func() { c.nodes[i].state("n").owner = "" })
		}
		time.Sleep(500 * time.Millisecond)
		g = c.won()
		require.NoError(t, c.Release(t.Context(), g))
		_, err = c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second, Meta: strings.Repeat("x", MaxMeta+1)})
		require.ErrorIs(t, err, ErrInvalid)
		_, err = c.Resume(t.Context(), Resumable{Name: "n", Value: "v", Token: 1, TTL: time.Second, Meta: strings.Repeat("x", MaxMeta+1)})
		require.ErrorIs(t, err, ErrInvalid)
		g, err = c.Acquire(t.Context(), Attempt{Name: "n", TTL: time.Second, Meta: strings.Repeat("x", MaxMeta), Announce: true})
		require.NoError(t, err)
		require.NoError(t, c.Release(t.Context(), g))
		time.Sleep(time.Millisecond)
		c.nodes[2].with(func() {
			log := c.nodes[2].state("n").woken
			assert.Equal(t, []string{ChangeChannel("n") + " granted n", ChangeChannel("n") + " released n"}, log[len(log)-2:])
		})
	})
	for turn, ok := range map[time.Duration]bool{time.Microsecond: false, time.Millisecond: true, time.Minute: true, time.Minute + 1: false, -1: false} {
		_, err := New([]Node{&memNode{}}, Options{Turn: turn})
		assert.Equal(t, !ok, errors.Is(err, ErrInvalid), turn)
	}
}

// Ensure that of a hundred waiters whose messages all arrive each gets the lock, in the order of their calls,
// and that nobody who comes later overtakes them.
func TestTurn_Order(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		g := c.won()
		var queue []Waiter
		for i := range 100 {
			queue = append(queue, Waiter{ID: fmt.Sprintf("c/%d", 100-i), Since: int64(1 + i/2), Heartbeat: time.Minute})
			_, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: 10 * time.Second, Waiter: queue[i]})
			require.ErrorIs(t, err, ErrHeld)
		}
		next := map[string]Waiter{}
		for _, w := range queue {
			next[w.ID] = w
		}
		var order []string
		for range queue {
			require.NoError(t, c.Release(context.Background(), g))
			time.Sleep(time.Millisecond)
			_, err := c.Acquire(t.Context(), Attempt{Name: "n", TTL: 10 * time.Second})
			require.ErrorIs(t, err, ErrHeld, "TryLock yields")
			var woken string
			c.nodes[1].with(func() { log := c.nodes[1].state("n").woken; woken = strings.Fields(log[len(log)-1])[1] })
			g, err = c.Acquire(t.Context(), Attempt{Name: "n", TTL: 10 * time.Second, Waiter: next[woken]})
			require.NoError(t, err, woken)
			order = append(order, woken)
			time.Sleep(time.Millisecond)
		}
		assert.True(t, len(order) == 100 && order[0] == "c/100" && order[99] == "c/2", order)
		for i := 1; i < len(order); i++ {
			a, b := next[order[i-1]], next[order[i]]
			assert.True(t, a.Since < b.Since || a.Since == b.Since && a.ID+";" < b.ID+";", "%v before %v", a, b)
		}
		require.NoError(t, c.Release(t.Context(), g))
	})
}
