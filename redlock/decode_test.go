package redlock

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that each request can only be answered with what its script gives, field for field.
func TestDecode(t *testing.T) {
	for _, test := range []struct {
		op   Op
		v    any
		want Reply
	}{
		{OpAcquire, []any{"granted", int64(MaxToken)}, Reply{Status: StatusGranted, Fence: MaxToken}},
		{OpAcquire, []any{"granted", int64(MaxToken) + 1}, Reply{}},
		{OpAcquire, []any{"granted", int64(-1)}, Reply{}},
		{OpAcquire, []any{"granted"}, Reply{}},
		{OpAcquire, []any{"granted", int64(1), int64(2)}, Reply{}},
		{OpAcquire, []any{"granted", "1"}, Reply{}},
		{OpAcquire, []any{"held", int64(1500), "d", "7;5;a;1;wm;m"},
			Reply{Status: StatusHeld, Remaining: 1500 * time.Millisecond, Digest: "d", Label: "w", Meta: "m;m", Token: 7, Recorded: true}},
		{OpAcquire, []any{"held", int64(-1), "d", ""}, Reply{Status: StatusHeld, Remaining: -1, Digest: "d"}},
		{OpAcquire, []any{"held", int64(-1), "d", "none of ours"}, Reply{Status: StatusHeld, Remaining: -1, Digest: "d"}},
		{OpAcquire, []any{"held", int64(1 << 62), "d", ""}, Reply{}},
		{OpAcquire, []any{"held", int64(0), nil, ""}, Reply{}},
		{OpAcquire, []any{"turn", int64(500)}, Reply{Status: StatusHeld, Turn: true, Recorded: true, Remaining: 500 * time.Millisecond}},
		{OpAcquire, []any{"turn"}, Reply{}},
		{OpRenew, []any{"turn", int64(500)}, Reply{}},
		{OpAcquire, []any{"forced", "e", `"a\x00\n"`}, Reply{Status: StatusForced, Evicted: true, Reason: "a\x00\n"}},
		{OpAcquire, []any{"forced", "f", `""`}, Reply{Status: StatusForced}},
		{OpAcquire, []any{"forced", "f", "none of ours"}, Reply{Status: StatusForced}},
		{OpAcquire, []any{"forced", "f", strconv.Quote(strings.Repeat("x", MaxReason+1))}, Reply{Status: StatusForced}},
		{OpAcquire, "forced", Reply{}},
		{OpAcquire, []any{"read", int64(1500), "d", "7;5;a;1;wm;m"},
			Reply{Status: StatusHeld, Shared: true, Remaining: 1500 * time.Millisecond, Digest: "d", Label: "w", Meta: "m;m", Token: 7, Recorded: true}},
		{OpAcquire, "ok", Reply{}},
		{OpAcquire, nil, Reply{}},
		{OpAcquire, []any{}, Reply{}},
		{OpAcquire, int64(1), Reply{}},
		{OpRaise, "ok", Reply{Status: StatusOK}},
		{OpLift, "ok", Reply{Status: StatusOK}},
		{OpLift, "lost", Reply{}},
		{OpRaise, "lost", Reply{Status: StatusLost}},
		{OpRaise, []any{"forced", "e", `""`}, Reply{}},
		{OpRenew, []any{"extended", int64(7)}, Reply{Status: StatusExtended, Fence: 7}},
		{OpRenew, "extended", Reply{}},
		{OpRenew, "healed", Reply{Status: StatusHealed}},
		{OpRenew, "lost", Reply{Status: StatusLost}},
		{OpRenew, []any{"forced", "e", `"x"`}, Reply{Status: StatusForced, Evicted: true, Reason: "x"}},
		{OpRelease, "ok", Reply{Status: StatusOK}},
		{OpRelease, "lost", Reply{Status: StatusLost}},
		{OpLeave, "ok", Reply{Status: StatusOK}},
		{OpEvict, []any{"ok", int64(0)}, Reply{Status: StatusOK}},
		{OpForce, []any{"ok", int64(5)}, Reply{Status: StatusOK, Remaining: 5 * time.Millisecond}},
		{OpInspect, []any{"ok", int64(3), "", int64(0), "", int64(2), int64(0), []any{}}, Reply{Status: StatusOK, Fence: 3, Waiting: 2}},
		{OpInspect, []any{"ok", int64(3), "d", int64(9), "1;5;;0;m", int64(2), int64(0), []any{}},
			Reply{Status: StatusOK, Fence: 3, Digest: "d", Remaining: 9 * time.Millisecond, Meta: "m", Token: 1, Recorded: true, Waiting: 2}},
		{OpInspect, []any{"ok", int64(3), "", int64(0), "", int64(2), int64(7), []any{"r", int64(5), "1;5;;0;m"}},
			Reply{Status: StatusOK, Fence: 3, Waiting: 2, Reading: 7, Readers: []Holder{
				{Digest: "r", Meta: "m", Token: 1, Remaining: 5 * time.Millisecond, Recorded: true, Shared: true, Nodes: 1}}}},
		{OpInspect, []any{"ok", int64(3), "", int64(0), "", int64(2), int64(7), []any{"r", int64(5)}}, Reply{}},
		{OpInspect, []any{"ok", int64(3), "", int64(0), "", int64(2), int64(7), []any{"r", "5", ""}}, Reply{}},
		{OpInspect, []any{"ok", int64(3), "", int64(0), "", int64(2), int64(7), "r"}, Reply{}},
		{OpInspect, []any{"ok", int64(3), "", int64(0), "", int64(2), int64(200), slices.Repeat([]any{"r", int64(5), ""}, MaxReaders+1)}, Reply{}},
		{OpInspect, []any{"ok", int64(3)}, Reply{}},
		{OpAdd, "ok", Reply{Status: StatusOK}},
		{OpMembers, []any{"ok", []any{"b", "a"}}, Reply{Status: StatusOK, Members: []string{"b", "a"}}},
		{OpMembers, []any{"ok", []any{}}, Reply{Status: StatusOK}},
		{OpMembers, []any{"ok", []any{"b", int64(1)}}, Reply{}},
		{OpMembers, "ok", Reply{}},
	} {
		got := Request{Op: test.op}.Decode(test.v, nil)
		if test.want.Status == StatusError {
			assert.ErrorIs(t, got.Err, ErrReply, "%v %v", test.op, test.v)
			assert.False(t, got.NotSent, "it may well have been executed")
			continue
		}
		assert.Equal(t, test.want, got, "%v %v", test.op, test.v)
	}
}

// FuzzDecode looks for answers that Decode lets through though no script can give them.
func FuzzDecode(f *testing.F) {
	f.Add(uint8(OpAcquire), "granted", int64(1), "", int64(0), "", 2, "")
	f.Add(uint8(OpAcquire), "held", int64(-1), "d", int64(1), "7;5;a;1;wm", 4, "")
	f.Add(uint8(OpAcquire-1), "forced", int64(0), "e", int64(0), `"why"`, 3, "")
	f.Add(uint8(OpInspect-1), "ok", int64(1), "d", int64(5), "7;5;;0;", 8, "")
	f.Add(uint8(OpMembers-1), "ok", int64(1), "d", int64(5), "m", 2, "")
	f.Add(uint8(OpAcquire), "turn", int64(500), "", int64(1), "", 2, "")
	f.Add(uint8(OpInspect), "ok", int64(1<<60), "d", int64(-2), "7;5;;0;", 6, "")
	f.Add(uint8(OpRenew), "", int64(0), "", int64(0), "", 0, "QUARANTINE 5 ms left")
	f.Add(uint8(OpRenew), "", int64(0), "", int64(0), "", 0, "WRONGTYPE Operation script: x")
	f.Fuzz(func(t *testing.T, op uint8, word string, n int64, digest string, m int64, label string, fields int, failure string) {
		r := Request{Op: Op(op%uint8(lastOp) + 1)}
		v := []any{word, n, digest, m, label, n, m, []any{digest, n, label}, nil}
		switch {
		case word == "forced":
			v = []any{word, digest, label, nil}
		case r.Op == OpAcquire:
			v = []any{word, n, digest, label, nil}
		case r.Op == OpMembers:
			v = []any{word, []any{digest, label}, nil}
		}
		v = v[:min(max(fields, 0), len(v))]
		var err error
		if failure != "" {
			err = errors.New(failure)
		}
		reply := r.Decode(v, err)
		switch {
		case (reply.Status == StatusError) != (reply.Err != nil):
			t.Fatalf("error without an error: %+v", reply)
		case reply.NotSent && reply.Status != StatusError:
			t.Fatalf("answered, but not sent: %+v", reply)
		case reply.Fence < 0 && r.Op != OpInspect || reply.Fence > MaxToken && r.Op != OpInspect:
			t.Fatalf("token out of bounds: %+v", reply)
		case reply.Token < 0 || reply.Token > MaxToken:
			t.Fatalf("recorded token out of bounds: %+v", reply)
		case len(reply.Reason) > MaxReason || len(reply.Readers) > MaxReaders:
			t.Fatalf("too much: %+v", reply)
		case reply.Remaining < -1:
			t.Fatalf("remaining time out of bounds: %+v", reply)
		}
	})
}

// Ensure that keys stand beside the lock in one slot of a cluster, whatever braces the name has, or that the
// name is known not to be safe there.
func TestKeys(t *testing.T) {
	for name, want := range map[string]struct {
		fence string
		safe  bool
	}{
		"a":         {"{a}:fence", true},
		"{a}":       {"{a}::fence", true},
		"{a}:":      {"{a}:::fence", true},
		"orders/42": {"{orders/42}:fence", true},
		"{x}y":      {"{x}y::fence", true},
		"a{b}c{d}":  {"a{b}c{d}::fence", true},
		"a{b":       {"{a{b}:fence", true},
		"a}b":       {"{a}b}:fence", false},
		"{}x":       {"{{}x}:fence", false},
		"}":         {"{}}:fence", false},
		"{":         {"{{}:fence", true},
	} {
		k := Keys(name)
		assert.Equal(t, name, k.Lock)
		assert.Equal(t, want.fence, k.Fence)
		assert.Equal(t, want.safe, ClusterSafe(name), name)
	}
	assert.Equal(t, NameKeys{Lock: "a", Fence: "{a}:fence", Holder: "{a}:holder", Waiters: "{a}:waiters", Revoked: "{a}:revoked",
		Readers: "{a}:readers", Records: "{a}:records", Set: "{a}:set"}, Keys("a"))
}

// Ensure that names which are the keys of other names are refused, and no others: as a lock, or as a value in
// their place, they would get in each other's way.
func TestKeys_Reserved(t *testing.T) {
	for _, name := range []string{"a", "{a}", "orders/42", "{x}y", "a{b", "a}b", "{", "}", "{}", "a:fence", "{a}:", ":holder"} {
		k := Keys(name)
		for _, key := range []string{k.Fence, k.Holder, k.Waiters, k.Revoked, k.Readers, k.Records, k.Set} {
			assert.ErrorIs(t, checkName(key), ErrInvalid, key)
		}
		assert.NoError(t, checkName(name), name)
	}
	for _, name := range []string{":fence", "a:fence", "::fence", "a::fence", "{}:fence", "{:fence", "{a}x:fence", "{a}:fences"} {
		assert.NoError(t, checkName(name), name)
	}
}

// redisSlotPart is what the cluster specification says is hashed, written the long way.
func redisSlotPart(key string) string {
	start := strings.IndexByte(key, '{')
	if start < 0 {
		return key
	}
	length := strings.IndexByte(key[start+1:], '}')
	if length <= 0 {
		return key
	}
	return key[start+1 : start+1+length]
}

// FuzzKeys looks for names whose keys collide, or are said to share a slot and do not.
func FuzzKeys(f *testing.F) {
	for _, name := range []string{"a", "{x}y", "a}b", "{}x", "{", "}{", "a{b", "\x00{\xff}"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		k := Keys(name)
		all := []string{k.Lock, k.Fence, k.Holder, k.Waiters, k.Revoked, k.Readers, k.Records, k.Set}
		seen := map[string]bool{}
		same := true
		for _, key := range all {
			if seen[key] {
				t.Fatalf("%q twice", key)
			}
			seen[key] = true
			same = same && redisSlotPart(key) == redisSlotPart(name)
		}
		for _, key := range []string{k.Holder, k.Records} {
			if back, ok := HolderName(key); name != "" && (!ok || back != name) {
				t.Fatalf("HolderName(%q) = %q, %v", key, back, ok)
			}
		}
		if owner, ok := HolderName(name); ok && Keys(owner).Holder != name && Keys(owner).Records != name {
			t.Fatalf("HolderName(%q) = %q, whose records are %q and %q", name, owner, Keys(owner).Holder, Keys(owner).Records)
		}
		if ClusterSafe(name) != same {
			t.Fatalf("ClusterSafe(%q) = %v", name, !same)
		}
	})
}

// Ensure that the channel of a waiter depends on its client only.
func TestWakeChannel(t *testing.T) {
	assert.Equal(t, "holdfast:wake:c1", WakeChannel("c1/17"))
	assert.Equal(t, WakeChannel("c1/17"), WakeChannel("c1/18"))
	assert.NotEqual(t, WakeChannel("c1/17"), WakeChannel("c17/1"))
}

// Ensure that every Op has a script with its own digest, and that ttls are rounded up to the millisecond.
func TestCalls(t *testing.T) {
	seen := map[string]bool{}
	for i, s := range Scripts() {
		op := Op(i + 1)
		assert.Equal(t, op.String(), s.Name)
		assert.Len(t, s.SHA1, 40)
		assert.False(t, seen[s.SHA1])
		seen[s.SHA1] = true
		c := Request{Op: op, Name: "n", Value: "v", TTL: 1500 * time.Microsecond, FenceTTL: time.Hour, Token: MaxToken}.Call()
		assert.Same(t, s, c.Script)
		for _, key := range c.Keys {
			assert.True(t, key == "n" || strings.HasPrefix(key, "{n}:"), key)
		}
	}
	require.Len(t, seen, 11)
	c := Request{Op: OpAcquire, Name: "n", Value: "v", TTL: 1500 * time.Microsecond, FenceTTL: time.Hour}.Call()
	assert.Equal(t, []string{"v", Digest("v"), "2", "0", "2;;0;", "3600000", "", "0", "0", "1000", "0", "n", "", ""}, c.Args)
	assert.Panics(t, func() { Request{}.Call() })
	assert.Equal(t, "Op(77)", Op(77).String())
}

// Ensure that a record gives back what was put into it, and that what is none is not taken for one.
func TestRecord(t *testing.T) {
	r := Request{TTL: 1500 * time.Millisecond, Label: "a;\x00", Meta: ";b\n", Announce: true}
	got, ok := parseRecord("17;" + r.recordRest())
	require.True(t, ok)
	assert.Equal(t, record{token: 17, ttl: r.TTL, announce: true, label: r.Label, meta: r.Meta}, got)
	got, ok = parseRecord("9007199254740991;" + Request{TTL: time.Hour}.recordRest())
	require.True(t, ok)
	assert.Equal(t, record{token: MaxToken, ttl: time.Hour}, got)
	for _, s := range []string{"", "1;2;3", "1;2;a;0", "x;2;a;0;", "9007199254740992;2;a;0;", "-1;2;a;0;", "1;-2;a;0;", "1;x;a;0;", "1;2;a;-1;", "1;2;a;4;abc", "1;2;a;x;abc"} {
		_, ok := parseRecord(s)
		assert.False(t, ok, s)
	}
}

// FuzzRecord looks for texts that are taken for a record and say something impossible.
func FuzzRecord(f *testing.F) {
	f.Add("17;1500;a;2;w1meta")
	f.Add("1;2;;0;")
	f.Add("1;2;a;9;x")
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := parseRecord(s)
		switch {
		case !ok && r != record{}:
			t.Fatalf("no record, but %+v", r)
		case r.token < 0 || r.token > MaxToken || r.ttl < 0:
			t.Fatalf("out of bounds: %+v", r)
		case !strings.HasSuffix(s, r.label+r.meta):
			t.Fatalf("label and meta of %q: %+v", s, r)
		}
	})
}
