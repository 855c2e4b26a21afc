package redlock

import (
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed scripts/*.lua
var sources embed.FS

// A Script is a Lua script of the protocol. Its text says which keys and arguments it takes.
type Script struct {
	Name   string // of the Op that it serves
	Source string
	SHA1   string // in lower-case hex, as EVALSHA wants it
}

// A Call is how a Request is executed at a node by EVAL or EVALSHA.
type Call struct {
	Script *Script
	Keys   []string
	Args   []string
}

// queueCap bounds the queue of one name at one node. A waiter that finds it full is not queued and has only
// the remaining ttl to go by.
const queueCap = 1000

// scripts holds the script of each Op, put together from its own file and the shared heads that it needs.
var scripts = map[Op]*Script{
	OpAcquire: loadScript(OpAcquire, "time", "queue", "readers", "revoked", "change"),
	OpRaise:   loadScript(OpRaise, "time", "readers"),
	OpRenew:   loadScript(OpRenew, "time", "readers", "revoked"),
	OpRelease: loadScript(OpRelease, "time", "queue", "readers", "change"),
	OpLeave:   loadScript(OpLeave, "time", "queue", "readers"),
	OpEvict:   loadScript(OpEvict, "time", "revoke"),
	OpForce:   loadScript(OpForce, "time", "queue", "readers", "change", "revoke"),
	OpInspect: loadScript(OpInspect, "time", "queue"),
	OpAdd:     loadScript(OpAdd, "time", "change"),
	OpMembers: loadScript(OpMembers),
	OpLift:    loadScript(OpLift),
}

// headsHere is the line of a script where its heads are put; without it they come first. What stands before it
// is the common way, which is spared the making of functions that it does not call.
const headsHere = "\n-- (heads)\n"

func loadScript(op Op, heads ...string) *Script {
	read := func(name string) string {
		text, err := sources.ReadFile("scripts/" + name + ".lua")
		if err != nil {
			panic(err) // embedded at build time
		}
		return string(text)
	}
	before, after, ok := strings.Cut(read(op.String()), headsHere)
	if !ok {
		before, after = "", before
	}
	var b strings.Builder
	b.WriteString(before + "\n")
	for _, name := range heads {
		b.WriteString(read(name))
	}
	b.WriteString(after)
	sum := sha1.Sum([]byte(b.String()))
	return &Script{Name: op.String(), Source: b.String(), SHA1: hex.EncodeToString(sum[:])}
}

// Scripts returns all scripts of the protocol, in the order of the Ops. Load them when a connection opens: a
// NOSCRIPT answer that is sent again later would let a release overtake its acquire.
func Scripts() []*Script {
	var all []*Script
	for op := OpAcquire; op <= lastOp; op++ {
		all = append(all, scripts[op])
	}
	return all
}

// Call returns the script, keys and arguments that execute the request. It panics if Op is none.
func (r Request) Call() Call {
	k := Keys(r.Name)
	c := Call{Script: scripts[r.Op]}
	reader := "" // the digest by which a node knows it
	if r.Shared {
		reader = Digest(r.Value)
	}
	switch r.Op {
	case OpAcquire:
		c.Keys = []string{k.Lock, k.Fence, k.Holder, k.Revoked, k.Waiters, k.Readers, k.Records}
		c.Args = []string{r.Value, Digest(r.Value), millis(r.TTL), decimal(r.Proposal), r.recordRest(), millis(r.FenceTTL),
			r.Waiter.ID, decimal(r.Waiter.Since), millis(r.Waiter.Heartbeat), decimal(queueCap), millis(r.Turn), r.Name,
			flag(r.Announce), flag(r.Shared)}
	case OpRaise:
		c.Keys = []string{k.Lock, k.Fence, k.Readers, k.Records}
		c.Args = []string{r.Value, decimal(r.Token), millis(r.FenceTTL), reader, decimal(r.Vote)}
	case OpRenew:
		c.Keys = []string{k.Lock, k.Fence, k.Holder, k.Revoked, k.Readers, k.Records}
		c.Args = []string{r.Value, Digest(r.Value), millis(r.TTL), decimal(r.Token), r.recordRest(), millis(r.FenceTTL), flag(r.Shared)}
	case OpRelease:
		c.Keys = []string{k.Lock, k.Holder, k.Waiters, k.Readers, k.Records}
		c.Args = []string{r.Value, r.Name, millis(r.Turn), flag(r.Announce), reader}
	case OpLeave:
		c.Keys = []string{k.Lock, k.Waiters, k.Readers}
		c.Args = []string{r.Waiter.ID, decimal(r.Waiter.Since), r.Name, millis(r.Turn)}
	case OpEvict:
		c.Keys = []string{k.Holder, k.Revoked, k.Records}
		c.Args = []string{r.Digest, millis(r.TTL), strconv.Quote(r.Reason)}
	case OpForce:
		c.Keys = []string{k.Lock, k.Holder, k.Waiters, k.Revoked, k.Readers, k.Records}
		c.Args = []string{r.Digest, millis(r.TTL), strconv.Quote(r.Reason), r.Name, millis(r.Turn)}
	case OpLift:
		c.Keys = []string{k.Fence}
		c.Args = []string{decimal(r.Token), millis(r.FenceTTL)}
	case OpInspect:
		c.Keys = []string{k.Lock, k.Fence, k.Holder, k.Waiters, k.Readers, k.Records}
		c.Args = []string{decimal(MaxReaders)}
	case OpAdd:
		c.Keys = []string{k.Set}
		c.Args = []string{r.Member, millis(r.TTL), decimal(MaxMembers), r.Name}
	case OpMembers:
		c.Keys = []string{k.Set}
	default:
		panic(fmt.Sprintf("redlock: no script for %v", r.Op))
	}
	return c
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func flag(set bool) string {
	if set {
		return "1"
	}
	return ""
}

// millis rounds up: a lock that lives for longer than was reckoned with is safe.
func millis(d time.Duration) string {
	return decimal(int64((d + time.Millisecond - 1) / time.Millisecond))
}

// replyStatus is what each Op may be answered with.
var replyStatus = map[Op]map[string]Status{
	OpAcquire: {"granted": StatusGranted, "held": StatusHeld, "read": StatusHeld, "turn": StatusHeld, "forced": StatusForced},
	OpRaise:   {"ok": StatusOK, "lost": StatusLost},
	OpRenew:   {"extended": StatusExtended, "healed": StatusHealed, "lost": StatusLost, "forced": StatusForced},
	OpRelease: {"ok": StatusOK, "lost": StatusLost},
	OpLeave:   {"ok": StatusOK},
	OpEvict:   {"ok": StatusOK},
	OpForce:   {"ok": StatusOK},
	OpInspect: {"ok": StatusOK},
	OpLift:    {"ok": StatusOK},
	OpAdd:     {"ok": StatusOK},
	OpMembers: {"ok": StatusOK},
}

// ErrReply is part of the error of a node whose answer is none that its script can give.
var ErrReply = errors.New("unexpected reply")

// Decode turns what a script returned into the answer to the request: v is an int64, string, []any of
// these, or nil, as Redis clients return them; err is the error of the call, whether it came from the node
// or from the way to it. Errors of a node that refuses before executing anything are marked NotSent.
func (r Request) Decode(v any, err error) Reply {
	if err != nil {
		return decodeError(err)
	}
	f := fields{}
	switch v := v.(type) {
	case string:
		f.rest = []any{v}
	case []any:
		f.rest = v
	}
	word := f.text()
	reply := Reply{Status: replyStatus[r.Op][word], Turn: word == "turn", Shared: word == "read"}
	switch {
	case reply.Status == StatusGranted || reply.Status == StatusExtended:
		reply.Fence = f.integer()
		f.bad = f.bad || reply.Fence > MaxToken || reply.Fence < 0
	case reply.Status == StatusHeld:
		if reply.Turn {
			reply.Remaining, reply.Recorded = f.duration(), true
			break
		}
		reply.Remaining, reply.Digest = f.duration(), f.text()
		reply.describe(f.text())
	case r.Op == OpEvict || r.Op == OpForce:
		reply.Remaining = f.duration()
	case r.Op == OpInspect:
		reply.Fence, reply.Digest, reply.Remaining = f.integer(), f.text(), f.duration()
		reply.describe(f.text())
		reply.Waiting, reply.Reading = int(f.integer()), int(f.integer())
		reply.Readers = f.readers()
	case reply.Status == StatusForced:
		kind, reason := f.text(), f.text()
		reply.Evicted = kind == "e"
		if text, err := strconv.Unquote(reason); err == nil && len(text) <= MaxReason {
			reply.Reason = text
		}
	case r.Op == OpMembers:
		reply.Members = f.members()
	}
	if reply.Status == StatusError || f.bad || len(f.rest) > 0 {
		return Reply{Status: StatusError, Err: fmt.Errorf("%w to %v: %.100v", ErrReply, r.Op, v)}
	}
	return reply
}

// describe takes over what the holder has recorded.
func (r *Reply) describe(text string) {
	if rec, ok := parseRecord(text); ok {
		r.Label, r.Meta, r.Token, r.Recorded = rec.label, rec.meta, rec.token, true
	}
}

// fields reads a reply from its front; bad is set when a field is missing or of another type.
type fields struct {
	rest []any
	bad  bool
}

func (f *fields) next() any {
	if len(f.rest) == 0 {
		f.bad = true
		return nil
	}
	v := f.rest[0]
	f.rest = f.rest[1:]
	return v
}

func (f *fields) text() string {
	s, ok := f.next().(string)
	f.bad = f.bad || !ok
	return s
}

func (f *fields) integer() int64 {
	n, ok := f.next().(int64)
	f.bad = f.bad || !ok
	return n
}

// list reads an array.
func (f *fields) list() *fields {
	items, ok := f.next().([]any)
	f.bad = f.bad || !ok
	return &fields{rest: items}
}

// readers reads (digest, time left, record) of each reader.
func (f *fields) readers() []Holder {
	list := f.list()
	var all []Holder
	for len(list.rest) > 0 && len(all) < MaxReaders {
		h := Holder{Digest: list.text(), Remaining: list.duration(), Shared: true, Nodes: 1}
		if rec, ok := parseRecord(list.text()); ok {
			h.Label, h.Meta, h.Token, h.Recorded = rec.label, rec.meta, rec.token, true
		}
		all = append(all, h)
	}
	f.bad = f.bad || list.bad || len(list.rest) > 0
	return all
}

func (f *fields) members() []string {
	list := f.list()
	var all []string
	for len(list.rest) > 0 {
		all = append(all, list.text())
	}
	f.bad = f.bad || list.bad
	return all
}

// longestMillis keeps the arithmetic of durations from overflowing; it is 146 years.
const longestMillis = int64(1<<62) / int64(time.Millisecond)

// duration reads milliseconds; negative stays negative.
func (f *fields) duration() time.Duration {
	n := f.integer()
	f.bad = f.bad || n > longestMillis
	if n < 0 {
		return -1
	}
	return time.Duration(n) * time.Millisecond
}

// refusals are the error codes with which a node says that it has not begun to execute a command.
var refusals = []string{"BUSY", "CLUSTERDOWN", "CROSSSLOT", "FENCE", "FULL", "LOADING", "MASTERDOWN", "MOVED", "ASK",
	"NOAUTH", "NOPERM", "NOSCRIPT", "READONLY", "TRYAGAIN", "WRONGTYPE"}

// decodeError classifies an error. A node's errors begin with a code in capitals. Those of a command inside
// a script carry the script's name at the end, and what the script had done before it stays done.
func decodeError(err error) Reply {
	code, rest, _ := strings.Cut(err.Error(), " ")
	if code == "QUARANTINE" {
		left, _, _ := strings.Cut(rest, " ")
		if ms, err := strconv.ParseInt(left, 10, 64); err == nil && ms >= 0 && ms <= longestMillis {
			return Reply{Status: StatusQuarantine, Remaining: time.Duration(ms) * time.Millisecond}
		}
		return Reply{Status: StatusQuarantine}
	}
	if code == "FULL" {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	inside := strings.Contains(rest, "@user_script") || strings.Contains(rest, "script: ")
	return Reply{Status: StatusError, Err: err, NotSent: slices.Contains(refusals, code) && !inside}
}
