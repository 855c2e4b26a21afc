package redlock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// scriptServers returns the servers on which the scripts are tried: those of HOLDFAST_REDLOCK_NODES (a comma
// list of addresses; their data is flushed), or else a node of ours and a redis-server, started for the test.
// Without redis-server it skips the test, but not under CI=true.
func scriptServers(t *testing.T) map[string]*redis.Client {
	t.Helper()
	if list := os.Getenv("HOLDFAST_REDLOCK_NODES"); list != "" {
		servers := map[string]*redis.Client{}
		for addr := range strings.SplitSeq(list, ",") {
			servers[addr] = dial(t, "tcp", addr)
		}
		return servers
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no redis-server in PATH")
		}
		t.Skip("no redis-server in PATH")
	}
	dir, err := os.MkdirTemp("", "redlock") // shorter than t.TempDir: a socket's path is limited
	require.NoError(t, err)
	sock := dir + "/s"
	cmd := exec.Command(path, "--port", "0", "--unixsocket", sock, "--save", "", "--appendonly", "no", "--dir", dir)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		os.RemoveAll(dir)
	})
	return map[string]*redis.Client{"redis-server": dial(t, "unix", sock), "holdfast": dial(t, "tcp", servertest.Start(t).Addr())}
}

func dial(t *testing.T, network, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DisableIdentity: true, Protocol: 2,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return net.Dial(network, addr) }})
	t.Cleanup(func() { c.Close() })
	require.Eventually(t, func() bool { return c.Ping(t.Context()).Err() == nil }, 10*time.Second, 5*time.Millisecond)
	for _, s := range Scripts() {
		sha, err := c.ScriptLoad(t.Context(), s.Source).Result()
		require.NoError(t, err, s.Name)
		require.Equal(t, s.SHA1, sha, s.Name)
	}
	return c
}

// execute runs a request at a server.
func execute(ctx context.Context, c *redis.Client, r Request) Reply {
	call := r.Call()
	args := make([]any, len(call.Args))
	for i, a := range call.Args {
		args[i] = a
	}
	return r.Decode(c.EvalSha(ctx, call.Script.SHA1, call.Keys, args...).Result())
}

// Ensure that the scripts and the model's node give equal replies, publish equal wake-up messages and end in
// equal states, over random sequences of requests. Nothing expires meanwhile: all ttls are hours, and what
// expires is made to. Our own node also wakes a waiter by itself, when the lock goes without a script.
func TestScriptsMatchModel(t *testing.T) {
	for addr, c := range scriptServers(t) {
		t.Run(addr, func(t *testing.T) {
			sub := c.PSubscribe(t.Context(), "holdfast:*")
			defer sub.Close()
			_, err := sub.Receive(t.Context())
			require.NoError(t, err)
			rapid.Check(t, func(rt *rapid.T) { matchScripts(rt, c, sub) })
		})
	}
}

func matchScripts(t *rapid.T, c *redis.Client, sub *redis.PubSub) {
	ctx := context.Background()
	require.NoError(t, c.FlushAll(ctx).Err())
	published(t, c, sub) // our node wakes those whose places it has flushed
	ours := c.Eval(ctx, "return redis.quarantine and 1", nil).Err() == nil
	now := clock.Now()
	model := &simNode{rules: rightNode(), stretch: func() time.Duration { return 0 },
		wall: func() int64 { return clock.Wall().UnixMicro() }}
	name := rapid.SampledFrom([]string{"a", "orders/42", "{x}y", "mit Leerzeichen\n\x00", "}{"}).Draw(t, "name")
	keys := Keys(name)
	reads := make(map[string]bool) // waiters: each wants to share the lock, or does not, for as long as it waits
	for _, id := range []string{"c/1", "c/10", "d/1"} {
		reads[id] = rapid.Bool().Draw(t, id+" reads")
	}
	for step := range rapid.IntRange(1, 30).Draw(t, "steps") {
		if event := rapid.IntRange(0, 9).Draw(t, "event"); event < 3 {
			want := ""
			if ours && event == 0 && (model.owner != "" || len(model.readers) > 0) && len(model.queue) > 0 {
				id := model.queue[0].id
				if model.owner == "" || len(model.readers) == 0 || model.queue[0].shared { // else readers are in its way
					want = WakeChannel(id) + " " + id + " " + name // nobody else would: the key goes without a script
				}
			}
			strangeEvent(t, c, model, keys, event)
			require.Equal(t, want, published(t, c, sub))
			continue
		}
		r := drawRequest(t, name, reads)
		r.TTL += time.Duration(step) * time.Second // so that no two readers end at once
		before := len(model.woken)
		want, got := model.do(r, now), execute(ctx, c, r)
		equalReplies(t, r, want, got)
		woken := model.woken[before:]
		heard := published(t, c, sub)
		if ours && model.owner == "" && len(model.queue) > 0 && heard != strings.Join(woken, ", ") {
			// Our own node may wake the head of a lock that nobody has alone once more: it is a hint.
			id := model.queue[0].id
			woken = append(slices.Clone(woken), WakeChannel(id)+" "+id+" "+name)
		}
		require.Equalf(t, strings.Join(woken, ", "), heard, "%+v", r)
	}
	equalState(t, c, model, keys)
}

// published returns the wake-up messages of the last requests: what came before a message that is sent now.
func published(t require.TestingT, c *redis.Client, sub *redis.PubSub) string {
	ctx := context.Background()
	const last = wakePrefix + "last"
	require.NoError(t, c.Publish(ctx, last, "").Err())
	var messages []string
	for {
		m, err := sub.ReceiveMessage(ctx)
		require.NoError(t, err)
		if m.Channel == last {
			return strings.Join(messages, ", ")
		}
		messages = append(messages, m.Channel+" "+m.Payload)
	}
}

// strangeEvent is what happens to a lock behind the back of the scripts.
func strangeEvent(t *rapid.T, c *redis.Client, model *simNode, keys NameKeys, event int) {
	ctx := context.Background()
	switch event {
	case 0: // the lock expires, and with it the record beside it; or all readers
		if model.owner == "" && len(model.readers) > 0 {
			require.NoError(t, c.Del(ctx, keys.Readers, keys.Records).Err())
			model.readers = nil
			return
		}
		require.NoError(t, c.Del(ctx, keys.Lock, keys.Holder).Err())
		model.owner, model.record = "", simRecord{}
	case 1: // redsync or a bare SET takes it when it is free; the record of an earlier holder may still be there
		if model.owner == "" {
			require.NoError(t, c.Set(ctx, keys.Lock, "redsync", redis.KeepTTL).Err())
			model.owner, model.expires = "redsync", never
		}
	case 2: // the fence is gone
		require.NoError(t, c.Del(ctx, keys.Fence).Err())
		model.fence = 0
	}
}

func drawRequest(t *rapid.T, name string, reads map[string]bool) Request {
	value := rapid.SampledFrom([]string{"v1", "v2", "v3", "redsync"})
	hours := rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.IntRange(1, 5).Draw(t, "hours")) * time.Hour
	})
	token := rapid.OneOf(rapid.Int64Range(1, 20), rapid.Int64Range(1e15, 1e15+20), rapid.Int64Range(MaxToken-3, MaxToken))
	// Near now the wall clocks of test and server would have to agree; a day ahead is the clamp.
	proposal := rapid.OneOf(rapid.Just(int64(-1)), rapid.Int64Range(0, 20), rapid.Int64Range(1e15, 1e15+20),
		rapid.Just(clock.Wall().Add(23*time.Hour).UnixMicro()), rapid.Just(clock.Wall().Add(25*time.Hour).UnixMicro()), rapid.Just(int64(MaxToken)))
	waiter := rapid.SampledFrom([]Waiter{{}, {ID: "c/1", Since: 1e15 + 1, Heartbeat: time.Hour}, {ID: "c/10", Since: 1e15 + 1, Heartbeat: 2 * time.Hour},
		{ID: "d/1", Since: 1e15, Heartbeat: time.Hour}})
	r := Request{Name: name, Op: rapid.SampledFrom([]Op{OpAcquire, OpAcquire, OpAcquire, OpRaise, OpRenew, OpRenew, OpRelease, OpRelease,
		OpLeave, OpEvict, OpForce, OpInspect, OpAdd, OpMembers, OpLift}).Draw(t, "op")}
	switch r.Op {
	case OpAcquire:
		r.Proposal, r.Waiter = proposal.Draw(t, "p"), waiter.Draw(t, "waiter")
	case OpRaise, OpRenew, OpLift:
		r.Token, r.Vote = token.Draw(t, "T"), token.Draw(t, "vote")
	case OpLeave:
		r.Waiter = waiter.Draw(t, "waiter")
	case OpEvict, OpForce:
		r.Digest, r.Reason = Digest(value.Draw(t, "revoked")), rapid.SampledFrom([]string{"", "no answer", "a\n;\"\xff"}).Draw(t, "reason")
	case OpAdd:
		r.Member = rapid.SampledFrom([]string{"m1", "\x00\xff", "m3"}).Draw(t, "member")
	}
	if r.Op == OpAcquire || r.Op == OpRenew || r.Op == OpRelease {
		bytes := rapid.SampledFrom([]string{"", "w1", "ä\x00\n", ";;7;", "\xff"})
		r.Label, r.Meta, r.Announce = bytes.Draw(t, "label"), bytes.Draw(t, "meta"), rapid.Bool().Draw(t, "announce")
	}
	r.Turn = 30 * time.Minute // more than what passes, less than any heartbeat
	r.Shared = r.Op <= OpRelease && rapid.Bool().Draw(t, "shared")
	if r.Op == OpAcquire && r.Waiter.ID != "" {
		r.Shared = reads[r.Waiter.ID]
	}
	r.Value, r.TTL, r.FenceTTL = value.Draw(t, "v"), hours.Draw(t, "ttl"), 24*time.Hour
	return r
}

// sameTime forgives what passes during a test; the ttls in use differ by hours.
func sameTime(a, b time.Duration) bool { return (a-b).Abs() < 20*time.Minute && (a < 0) == (b < 0) }

func equalReplies(t *rapid.T, r Request, want, got Reply) {
	require.Truef(t, sameTime(want.Remaining, got.Remaining), "%+v: remaining %v, want %v", r, got.Remaining, want.Remaining)
	got.Remaining = want.Remaining
	require.Equal(t, len(want.Readers), len(got.Readers))
	for i := range want.Readers {
		require.Truef(t, sameTime(want.Readers[i].Remaining, got.Readers[i].Remaining), "%+v: reader %d", r, i)
		got.Readers[i].Remaining = want.Readers[i].Remaining
	}
	slices.Sort(got.Members)
	if want.Err != nil {
		require.EqualErrorf(t, got.Err, want.Err.Error(), "%+v", r)
		got.Err = want.Err
	}
	require.Equalf(t, want, got, "%+v", r)
}

func equalState(t *rapid.T, c *redis.Client, model *simNode, keys NameKeys) {
	ctx := context.Background()
	owner, _ := c.Get(ctx, keys.Lock).Result()
	require.Equal(t, model.owner, owner)
	if owner != "" {
		left, _ := c.PTTL(ctx, keys.Lock).Result()
		want := time.Duration(-1)
		if model.expires != never {
			want = clock.Until(model.expires)
		}
		require.Truef(t, sameTime(want, left), "expiry %v, want %v", left, want)
	}
	fence, _ := c.Get(ctx, keys.Fence).Int64()
	require.Equal(t, model.fence, fence)
	var queue, revoked []string
	for _, w := range model.queue {
		queue = append(queue, w.id)
	}
	members, _ := c.ZRange(ctx, keys.Waiters, 0, -1).Result()
	for i := range members {
		id, deadline, _ := strings.Cut(members[i], ";")
		deadline, mode, _ := strings.Cut(deadline, ";")
		members[i] = id
		ms, err := strconv.ParseInt(deadline, 10, 64)
		require.NoError(t, err)
		if i < len(model.queue) {
			require.Equal(t, model.queue[i].shared, mode == "r")
			want, got := clock.Until(model.queue[i].dead), time.Until(time.UnixMilli(ms))
			require.Truef(t, sameTime(want, got), "deadline of %s in %v, want %v", id, got, want)
		}
	}
	for d := range model.revoked {
		revoked = append(revoked, d)
	}
	require.EqualValues(t, len(model.readers), c.ZCard(ctx, keys.Readers).Val())
	require.EqualValues(t, len(model.readers), c.HLen(ctx, keys.Records).Val())
	for _, reader := range model.readers {
		ends := time.UnixMilli(int64(c.ZScore(ctx, keys.Readers, reader.digest).Val()))
		require.True(t, sameTime(clock.Until(reader.expires), time.Until(ends)))
	}
	require.Equal(t, queue, slices.Clip(append([]string(nil), members...)))
	var digests []string
	for line := range strings.Lines(c.Get(ctx, keys.Revoked).Val()) {
		if digest, _, ok := strings.Cut(line, ";"); ok {
			digests = append(digests, digest)
		}
	}
	require.ElementsMatch(t, revoked, digests)
	for _, key := range []string{keys.Fence, keys.Holder, keys.Waiters, keys.Revoked, keys.Readers, keys.Records, keys.Set} {
		left, _ := c.PTTL(ctx, key).Result()
		require.NotEqualf(t, time.Duration(-1), left, "%s would stay for ever", key)
	}
}

// Ensure that a key of another type at any of a name's places is an error that takes no lock and deletes
// nothing, and says what is wrong.
func TestScriptsWrongType(t *testing.T) {
	for addr, c := range scriptServers(t) {
		t.Run(addr, func(t *testing.T) {
			ctx := t.Context()
			for op := OpAcquire; op <= OpInspect; op++ {
				if op == OpLeave || op == OpEvict {
					continue // they do not look at the lock's value
				}
				require.NoError(t, c.FlushAll(ctx).Err())
				require.NoError(t, c.HSet(ctx, "hash", "x", 1).Err())
				reply := execute(ctx, c, Request{Op: op, Name: "hash", Value: "v", TTL: time.Hour, FenceTTL: time.Hour, Token: 1, Digest: Digest("v")})
				require.Equal(t, StatusError, reply.Status, op)
				assert.EqualError(t, reply.Err, "WRONGTYPE the lock key holds something that is no lock", op)
				assert.True(t, reply.NotSent, op)
				n, err := c.DBSize(ctx).Result()
				require.NoError(t, err)
				assert.EqualValues(t, 1, n, op)
			}
			for _, key := range []string{Keys("n").Fence, Keys("n").Waiters, Keys("n").Revoked} {
				require.NoError(t, c.FlushAll(ctx).Err())
				require.NoError(t, c.HSet(ctx, key, "x", 1).Err())
				w := Waiter{ID: "c/1", Since: 1, Heartbeat: time.Hour}
				reply := execute(ctx, c, Request{Op: OpAcquire, Name: "n", Value: "v", TTL: time.Hour, FenceTTL: time.Hour, Waiter: w})
				assert.ErrorContains(t, reply.Err, "WRONGTYPE", key)
				assert.False(t, reply.NotSent, key)
				assert.ErrorIs(t, c.Get(ctx, "n").Err(), redis.Nil, key)
				if key != Keys("n").Waiters {
					reply = execute(ctx, c, Request{Op: OpRenew, Name: "n", Value: "v", TTL: time.Hour, FenceTTL: time.Hour, Token: 1})
					assert.ErrorContains(t, reply.Err, "WRONGTYPE", key)
					assert.ErrorIs(t, c.Get(ctx, "n").Err(), redis.Nil, key)
				}
			}
			// A record is only what is told to others: it is in nobody's way, and the next one replaces it.
			require.NoError(t, c.FlushAll(ctx).Err())
			require.NoError(t, c.HSet(ctx, Keys("n").Holder, "x", 1).Err())
			require.NoError(t, c.Set(ctx, "n", "v", 0).Err())
			take := Request{Op: OpAcquire, Name: "n", Value: "w", TTL: time.Hour, FenceTTL: time.Hour}
			assert.Equal(t, Reply{Status: StatusHeld, Remaining: -1, Digest: Digest("v")}, execute(ctx, c, take))
			look := execute(ctx, c, Request{Op: OpInspect, Name: "n"})
			assert.Equal(t, Reply{Status: StatusOK, Remaining: -1, Digest: Digest("v")}, look)
			for _, op := range []Op{OpEvict, OpForce} {
				reply := execute(ctx, c, Request{Op: op, Name: "n", Digest: Digest("v"), TTL: time.Hour})
				assert.Equal(t, Reply{Status: StatusOK}, reply, op)
			}
			assert.Equal(t, StatusGranted, execute(ctx, c, take).Status)
			assert.Equal(t, "string", c.Type(ctx, Keys("n").Holder).Val())
		})
	}
}

// Ensure that a fence that is no number, or is too large, is an error that changes nothing.
func TestScriptsBadFence(t *testing.T) {
	for addr, c := range scriptServers(t) {
		t.Run(addr, func(t *testing.T) {
			for _, fence := range []string{"x", "", "nan", "inf", "9007199254740991", "1e300"} {
				require.NoError(t, c.FlushAll(t.Context()).Err())
				require.NoError(t, c.Set(t.Context(), Keys("n").Fence, fence, 0).Err())
				reply := execute(t.Context(), c, Request{Op: OpAcquire, Name: "n", Value: "v", TTL: time.Hour, FenceTTL: time.Hour})
				require.ErrorContains(t, reply.Err, "FENCE", fence)
				assert.True(t, reply.NotSent)
				assert.Equal(t, fence, c.Get(t.Context(), Keys("n").Fence).Val())
				assert.EqualValues(t, 1, c.DBSize(t.Context()).Val())
			}
		})
	}
}

// Ensure that tokens pass through Lua's doubles unrounded, up to the very last one.
func TestScriptsLargeTokens(t *testing.T) {
	for addr, c := range scriptServers(t) {
		t.Run(addr, func(t *testing.T) {
			for _, fence := range []int64{1e15 - 1, 1e15, 1234567890123456, 1 << 52, MaxToken - 2, MaxToken - 1} {
				require.NoError(t, c.FlushAll(t.Context()).Err())
				require.NoError(t, c.Set(t.Context(), Keys("n").Fence, fence, 0).Err())
				r := Request{Op: OpAcquire, Name: "n", Value: "v", TTL: time.Hour, FenceTTL: time.Hour}
				assert.Equal(t, Reply{Status: StatusGranted, Fence: fence + 1}, execute(t.Context(), c, r))
				assert.Equal(t, fmt.Sprint(fence+1), c.Get(t.Context(), Keys("n").Fence).Val())
				r.Op, r.Token = OpRenew, fence+1
				assert.Equal(t, Reply{Status: StatusExtended, Fence: fence + 1}, execute(t.Context(), c, r))
				require.NoError(t, c.Del(t.Context(), "n").Err())
				assert.Equal(t, Reply{Status: StatusHealed}, execute(t.Context(), c, r))
				assert.Equal(t, fmt.Sprint(fence+1), c.Get(t.Context(), Keys("n").Fence).Val())
			}
		})
	}
}

// Ensure that the queue is bounded, that dead waiters at its front make room in a full one, that a wake-up
// skips the dead, and that an ACL that denies PUBLISH does not undo a release.
func TestScriptsQueueBounds(t *testing.T) {
	for addr, c := range scriptServers(t) {
		t.Run(addr, func(t *testing.T) {
			ctx := t.Context()
			require.NoError(t, c.FlushAll(ctx).Err())
			take := Request{Op: OpAcquire, Name: "n", Value: "v", TTL: time.Hour, FenceTTL: time.Hour, Turn: time.Minute}
			require.Equal(t, StatusGranted, execute(ctx, c, take).Status)
			members := make([]redis.Z, 0, queueCap)
			for i := range queueCap {
				members = append(members, redis.Z{Score: float64(i), Member: fmt.Sprintf("c/%d;%d", i, clock.Wall().Add(time.Hour).UnixMilli())})
			}
			queue := Keys("n").Waiters
			require.NoError(t, c.ZAdd(ctx, queue, members...).Err())
			take.Value, take.Waiter = "w", Waiter{ID: "d/1", Since: 1e15, Heartbeat: time.Hour}
			require.Equal(t, StatusHeld, execute(ctx, c, take).Status)
			require.EqualValues(t, queueCap, c.ZCard(ctx, queue).Val(), "a full queue takes nobody")

			require.NoError(t, c.ZAdd(ctx, queue, redis.Z{Score: -2, Member: "c/x;1"}, redis.Z{Score: -1, Member: "c/y"}).Err())
			require.Equal(t, StatusHeld, execute(ctx, c, take).Status)
			require.EqualValues(t, queueCap, c.ZCard(ctx, queue).Val(), "the dead have gone, still full")
			require.NoError(t, c.ZRem(ctx, queue, members[5].Member).Err())
			require.NoError(t, c.ZAdd(ctx, queue, redis.Z{Score: -2, Member: "c/x;1"}).Err())
			require.Equal(t, StatusHeld, execute(ctx, c, take).Status)
			require.EqualValues(t, queueCap, c.ZCard(ctx, queue).Val(), "the dead one's place was taken")
			last := c.ZRange(ctx, queue, -1, -1).Val()
			require.Contains(t, last[0], "d/1;")

			require.NoError(t, c.ZAdd(ctx, queue, redis.Z{Score: -2, Member: "c/x;1"}).Err())
			sub := c.Subscribe(ctx, WakeChannel("c/0"))
			defer sub.Close()
			_, err := sub.Receive(ctx)
			require.NoError(t, err)
			require.Equal(t, StatusOK, execute(ctx, c, Request{Op: OpRelease, Name: "n", Value: "v", Turn: time.Minute}).Status)
			m, err := sub.ReceiveMessage(ctx)
			require.NoError(t, err)
			assert.Equal(t, "c/0 n", m.Payload)

			take.Waiter = Waiter{}
			reply := execute(ctx, c, take)
			require.True(t, reply.Turn, "the woken one has its turn")
			require.NoError(t, c.Del(ctx, queue).Err())
			require.Equal(t, StatusGranted, execute(ctx, c, take).Status)
			if err := c.Do(ctx, "ACL", "SETUSER", "default", "-publish").Err(); err == nil {
				defer c.Do(context.WithoutCancel(ctx), "ACL", "SETUSER", "default", "+publish")
				assert.Equal(t, StatusOK, execute(ctx, c, Request{Op: OpRelease, Name: "n", Value: "w"}).Status)
				assert.Zero(t, c.Exists(ctx, "n").Val())
			}
		})
	}
}

// Ensure that a lock whose record belongs to an earlier holder is not taken for recorded.
func TestScriptsStaleRecord(t *testing.T) {
	for addr, c := range scriptServers(t) {
		t.Run(addr, func(t *testing.T) {
			ctx := t.Context()
			require.NoError(t, c.FlushAll(ctx).Err())
			take := Request{Op: OpAcquire, Name: "n", Value: "v", Label: "ours", TTL: time.Hour, FenceTTL: time.Hour}
			require.Equal(t, StatusGranted, execute(ctx, c, take).Status)
			require.NoError(t, c.Set(ctx, "n", "theirs", 0).Err())
			take.Value = "w"
			reply := execute(ctx, c, take)
			assert.Equal(t, Reply{Status: StatusHeld, Remaining: -1, Digest: Digest("theirs")}, reply)
		})
	}
}

// Ensure that errors are classified by whether the node has begun to execute.
func TestDecodeErrors(t *testing.T) {
	lost := errors.New("read tcp: i/o timeout")
	for text, want := range map[string]Reply{
		"NOSCRIPT No matching script.":          {Status: StatusError, NotSent: true},
		"LOADING Redis is loading":              {Status: StatusError, NotSent: true},
		"FENCE the fence is no integer":         {Status: StatusError, NotSent: true},
		"NOPERM x script: ab, on @user_script:": {Status: StatusError},
		"ERR something":                         {Status: StatusError},
		"MOVED":                                 {Status: StatusError, NotSent: true},
		"QUARANTINE 1500 ms left":               {Status: StatusQuarantine, Remaining: 1500 * time.Millisecond},
		"QUARANTINE":                            {Status: StatusQuarantine},
		"QUARANTINE -3":                         {Status: StatusQuarantine},
		"QUARANTINE 99999999999999999999":       {Status: StatusQuarantine},
		"QUARANTINES 5":                         {Status: StatusError},
		lost.Error():                            {Status: StatusError},
	} {
		err := errors.New(text)
		if want.Status == StatusError {
			want.Err = err
		}
		assert.Equal(t, want, Request{Op: OpAcquire}.Decode(nil, err), text)
	}
}
