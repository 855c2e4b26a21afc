package server_test

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/redlock"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// Ensure that the scripts of the lock protocol answer the same on redis-server and on our node, through
// the life of a lock: taken, wanted, renewed, lost, healed, released, revoked.
func TestScript_Redlock(t *testing.T) {
	const (
		v1, v2 = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
		label  = "worker 1"
		ttl    = 30 * time.Second
		fence  = 24 * time.Hour
	)
	proposal := time.Now().UnixMicro()
	waiter := redlock.Waiter{ID: "client/1", Since: proposal, Heartbeat: ttl}
	acquire := func(v string, p int64, w redlock.Waiter) redlock.Request {
		return redlock.Request{Op: redlock.OpAcquire, Name: "orders/42", Value: v, TTL: ttl, Proposal: p, Label: label, FenceTTL: fence, Waiter: w}
	}
	with := func(op redlock.Op, v string, token int64) redlock.Request {
		return redlock.Request{Op: op, Name: "orders/42", Value: v, TTL: ttl, Token: token, Label: label, FenceTTL: fence, Digest: redlock.Digest(v), Waiter: waiter}
	}
	inspect := redlock.Request{Op: redlock.OpInspect, Name: "orders/42"}
	requests := []redlock.Request{
		inspect,
		acquire(v1, proposal, redlock.Waiter{}),
		acquire(v1, proposal, redlock.Waiter{}),
		acquire(v2, proposal+1, waiter),
		acquire(v2, proposal+2, waiter),
		inspect,
		with(redlock.OpRaise, v1, proposal+10),
		with(redlock.OpRaise, v1, proposal+5),
		with(redlock.OpRaise, v2, proposal+20),
		with(redlock.OpRenew, v1, proposal+10),
		with(redlock.OpRenew, v2, proposal+10),
		with(redlock.OpRelease, v2, 0),
		with(redlock.OpRelease, v1, 0),
		with(redlock.OpRenew, v1, proposal+10),
		with(redlock.OpLeave, v2, 0),
		with(redlock.OpEvict, v1, 0),
		with(redlock.OpRenew, v1, proposal+10),
		acquire(v1, proposal, redlock.Waiter{}),
		with(redlock.OpForce, v1, 0),
		inspect,
		acquire(v2, -1, redlock.Waiter{}),
		with(redlock.OpRelease, v2, 0),
		acquire(v2, 1<<53, redlock.Waiter{}),
		with(redlock.OpRelease, v2, 0),
		acquire(v2, 1<<53-1, redlock.Waiter{}),
		inspect,
	}
	theirs, ours := dial(t, startRedis(t), 2), dial(t, startNode(t), 2)
	defer theirs.close()
	defer ours.close()
	for _, s := range redlock.Scripts() {
		want := fmt.Sprintf("$40\r\n%s\r\n", s.SHA1)
		require.Equal(t, want, ours.do("SCRIPT", "LOAD", s.Source), s.Name)
		require.Equal(t, want, theirs.do("SCRIPT", "LOAD", s.Source), s.Name)
	}
	for i, r := range requests {
		c := r.Call()
		words := append([]string{"EVALSHA", c.Script.SHA1, strconv.Itoa(len(c.Keys))}, append(c.Keys, c.Args...)...)
		assert.Equal(t, steady(theirs.do(words...)), steady(ours.do(words...)), "request %d, %v", i, r.Op)
	}
	for _, key := range redlockKeys("orders/42") {
		for _, command := range []string{"EXISTS", "TYPE"} {
			assert.Equal(t, theirs.do(command, key), ours.do(command, key), command, key)
		}
	}
}

func redlockKeys(name string) []string {
	k := redlock.Keys(name)
	return []string{k.Lock, k.Fence, k.Holder, k.Waiters, k.Revoked}
}

// remaining matches times of at most 30 s in milliseconds, which run while the servers are compared.
var remaining = regexp.MustCompile(`:(29\d{3}|30000|5\d{4}|60000)\r`)

func steady(reply string) string { return remaining.ReplaceAllString(reply, ":T\r") }

// Ensure that a random Lua value becomes the same reply on both servers, in both protocols, and so does
// what the script sees when the value has been through a command.
func TestScript_RandomValues(t *testing.T) {
	redis, node := startRedis(t), startNode(t)
	for _, proto := range []int{2, 3} {
		theirs, ours := dial(t, redis, proto), dial(t, node, proto)
		t.Run(fmt.Sprintf("resp%d", proto), rapid.MakeCheck(func(t *rapid.T) {
			script := fmt.Sprintf("redis.setresp(%d) return %s", rapid.IntRange(2, 3).Draw(t, "setresp"), luaValue(3).Draw(t, "value"))
			sameReply(t, theirs, ours, script)
		}))
		t.Run(fmt.Sprintf("numbers/resp%d", proto), rapid.MakeCheck(func(t *rapid.T) {
			n := luaNumber().Draw(t, "number")
			script := fmt.Sprintf(`local n = %s
				redis.call("set", "n", n)
				return {n, tostring(n), n .. "", redis.call("get", "n"), string.format("%%.0f %%d %%s %%.17g %%g %%e %%5.1f", n, n, n, n, n, n, n), tostring(tonumber(tostring(n)))}`, n)
			sameReply(t, theirs, ours, script)
		}))
		theirs.close()
		ours.close()
	}
}

func sameReply(t *rapid.T, theirs, ours *wire, script string) {
	want := theirs.do("EVAL", script, "0")
	require.NotEqual(t, "<", want[:1], "no reply") // what a wire says when there is none
	require.Equal(t, want, ours.do("EVAL", script, "0"), script)
}

// luaNumber generates expressions of numbers, and often of those where integers end to be exact.
func luaNumber() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var f float64
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			f = float64(rapid.Int64Range(-1000, 1000).Draw(t, "small"))
		case 1:
			f = float64(rapid.Int64Range(1e14, 1<<53).Draw(t, "token"))
		case 2:
			f = rapid.Float64().Draw(t, "float")
		case 3:
			f = float64(rapid.Int64().Draw(t, "integer"))
		case 4:
			return rapid.SampledFrom([]string{"1/0", "-1/0", "0x7fffffff", "2^53", "2^53-1", "1e15", "1e14", "0.1", "5e-324"}).Draw(t, "special")
		}
		if f == 0 {
			f = 0 // Lua 5.1 keeps 0 and -0 as one constant
		}
		if math.Abs(f) > 1e300 {
			f = 1e300
		}
		return strconv.FormatFloat(f, 'g', 17, 64)
	})
}

// luaValue generates expressions of values that are not nested deeper than depth. Maps and sets have one
// element, since their order is nobody's promise.
func luaValue(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		kinds := []string{"nil", "bool", "number", "string"}
		if depth > 0 {
			kinds = append(kinds, "array", "array", "err", "ok", "double", "map", "set", "big_number", "verbatim", "odd")
		}
		value := func(label string) string { return luaValue(depth-1).Draw(t, label) }
		text := func(label string) string { return luaString(rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, label)) }
		switch rapid.SampledFrom(kinds).Draw(t, "kind") {
		case "bool":
			return strconv.FormatBool(rapid.Bool().Draw(t, "bool"))
		case "number":
			return luaNumber().Draw(t, "number")
		case "string":
			return text("string")
		case "array":
			n := rapid.IntRange(0, 4).Draw(t, "length")
			var items []string
			for range n {
				items = append(items, value("item"))
			}
			return "{" + strings.Join(items, ", ") + "}"
		case "err":
			return "{err = " + luaString([]byte("E "+rapid.StringMatching(`[a-z\r\n ]{0,6}x`).Draw(t, "err"))) + "}"
		case "ok":
			return "{ok = " + luaString([]byte(rapid.StringMatching(`[a-z\r\n ]{0,6}`).Draw(t, "ok"))) + "}"
		case "double":
			return "{double = " + luaNumber().Draw(t, "double") + "}"
		case "map":
			return "{map = {[" + text("key") + "] = " + value("field") + "}}"
		case "set":
			return "{set = {[" + text("member") + "] = true}}"
		case "big_number":
			return "{big_number = " + luaString([]byte(rapid.StringMatching(`-?[0-9]{1,30}`).Draw(t, "digits"))) + "}"
		case "verbatim":
			return "{verbatim_string = {format = 'txt', string = " + text("verbatim") + "}}"
		case "odd": // fields of the wrong type
			field := rapid.SampledFrom([]string{"map", "set", "double", "big_number", "verbatim_string", "other"}).Draw(t, "field")
			return "{1, " + field + " = " + rapid.SampledFrom([]string{"true", "{}", "function() end"}).Draw(t, "wrong") + "}"
		}
		return "nil"
	})
}

// luaString quotes bytes so that Lua reads them.
func luaString(b []byte) string {
	var s bytes.Buffer
	s.WriteByte('"')
	for _, c := range b {
		fmt.Fprintf(&s, "\\%03d", c)
	}
	s.WriteByte('"')
	return s.String()
}

// Ensure that a script that does not end leaves the node answering, and can be killed, unless it has
// written: then the shutdown ends it.
func TestScript_Busy(t *testing.T) {
	addr := startNode(t)
	admin, runner := dial(t, addr, 2), dial(t, addr, 2)
	defer admin.close()
	defer runner.close()
	require.Equal(t, "+OK\r\n", admin.do("CONFIG", "SET", "busy-reply-threshold", "0"))
	require.Equal(t, "-NOTBUSY No scripts in execution right now.\r\n", admin.do("SCRIPT", "KILL"))
	done := make(chan string)
	go func() { done <- runner.do("EVAL", "while true do pcall(function() while true do end end) end", "0") }()
	for reply := ""; !strings.HasPrefix(reply, "-BUSY "); {
		reply = admin.do("GET", "a") // until the script has begun
	}
	assert.Equal(t, "+OK\r\n", admin.do("MULTI"))
	assert.Contains(t, admin.do("PING"), "-BUSY ")
	assert.Equal(t, "+OK\r\n", admin.do("DISCARD"))
	assert.Equal(t, "+OK\r\n", admin.do("SCRIPT", "KILL"))
	assert.Contains(t, <-done, "-ERR Script killed by user with SCRIPT KILL... script: ")
	assert.Equal(t, "$-1\r\n", admin.do("GET", "a"))
	assert.Equal(t, ":1\r\n", runner.do("EVAL", "return 1", "0"))

	go func() { done <- runner.do("EVAL", "redis.call('set', 'a', '1') while true do end", "0") }()
	for reply := ""; !strings.HasPrefix(reply, "-UNKILLABLE "); {
		reply = admin.do("SCRIPT", "KILL")
	}
	// The node ends with the test, and the script with it.
	t.Cleanup(func() { <-done })
}

// Ensure that a client that waits for a key is not served in the middle of a slow script, which may yet take the
// key away, when others run what they may run meanwhile.
func TestScript_BusyServesNobody(t *testing.T) {
	addr := startNode(t)
	admin, runner, waiter := dial(t, addr, 2), dial(t, addr, 2), dial(t, addr, 2)
	for _, c := range []*wire{admin, runner, waiter} {
		defer c.close()
	}
	require.Equal(t, "+OK\r\n", admin.do("CONFIG", "SET", "busy-reply-threshold", "0"))
	waited, done := make(chan string, 1), make(chan string, 1)
	go func() { waited <- waiter.do("BLPOP", "k", "0") }()
	for info := ""; !strings.Contains(info, "blocked_clients:1"); {
		info = admin.do("INFO", "clients")
	}
	const body = `redis.call('rpush', 'k', 'x')
		local began = redis.call('time')
		repeat local now = redis.call('time') until (now[1] - began[1]) * 1000000 + now[2] - began[2] > 200000
		return redis.call('del', 'k')`
	go func() { done <- runner.do("EVAL", body, "0") }()
	for reply := ""; !strings.HasPrefix(reply, "-BUSY "); {
		reply = admin.do("GET", "a") // until the script has begun
	}
	for range 10 {
		admin.do("MULTI")
		admin.do("DISCARD")
	}
	assert.Equal(t, ":1\r\n", <-done)
	require.Equal(t, ":1\r\n", admin.do("RPUSH", "k", "y"))
	assert.Equal(t, "*2\r\n$1\r\nk\r\n$1\r\ny\r\n", <-waited)
}

// Ensure that the reply of a killed script is that of redis-server: the reason, the script, the line.
func TestScript_Killed(t *testing.T) {
	servers := [2]string{theirs: startRedis(t), ours: startNode(t)}
	for _, body := range []string{
		"while true do end",
		"local n = 0\n\nwhile true do n = n + 1 end",
		"local function f()\nwhile true do end\nend\n\nreturn f()",
		"while true do pcall(function() while true do end end) end",
		"#!lua\n\nwhile true do end",
	} {
		var replies [2]string
		for i, addr := range servers {
			admin, runner := dial(t, addr, 2), dial(t, addr, 2)
			require.Equal(t, "+OK\r\n", admin.do("CONFIG", "SET", "busy-reply-threshold", "1"))
			done := make(chan string, 1)
			go func() { done <- runner.do("EVAL", body, "0") }()
			for reply := ""; !strings.HasPrefix(reply, "-BUSY "); {
				reply = admin.do("GET", "a") // until the script has begun
			}
			require.Equal(t, "+OK\r\n", admin.do("SCRIPT", "KILL"))
			replies[i] = <-done
			require.Equal(t, "+PONG\r\n", runner.do("PING"))
			admin.close()
			runner.close()
		}
		assert.Contains(t, replies[theirs], "-ERR Script killed by user with SCRIPT KILL... script: ", body)
		assert.Equal(t, replies[theirs], replies[ours], body)
	}
}

// Ensure that a node that may have forgotten its locks grants none until its quarantine is over, and then
// does.
func TestScript_Quarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := servertest.Start(t, servertest.InMemory(), servertest.WithConfig(server.Config{Quarantine: 30 * time.Second}))
		conn, err := node.Dial(t.Context(), "", "")
		require.NoError(t, err)
		w := newWire(t, conn, 2)
		defer w.close()
		c := redlock.Request{Op: redlock.OpAcquire, Name: "orders/42", Value: "v", TTL: time.Second, FenceTTL: time.Hour}.Call()
		words := append([]string{"EVAL", c.Script.Source, strconv.Itoa(len(c.Keys))}, append(c.Keys, c.Args...)...)
		time.Sleep(10 * time.Second)
		assert.Equal(t, "-QUARANTINE 20000 ms left\r\n", w.do(words...))
		time.Sleep(20*time.Second - time.Millisecond)
		assert.Equal(t, "-QUARANTINE 1 ms left\r\n", w.do(words...))
		time.Sleep(time.Millisecond)
		assert.Contains(t, w.do(words...), "granted")
	})
}

// Ensure that the clock of the lock scripts goes with the running clock, from the wall clock of the start.
func TestScript_Running(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now().UnixMilli()
		node := servertest.Start(t, servertest.InMemory())
		conn, err := node.Dial(t.Context(), "", "")
		require.NoError(t, err)
		w := newWire(t, conn, 2)
		defer w.close()
		time.Sleep(1500 * time.Millisecond)
		assert.Equal(t, fmt.Sprintf(":%d\r\n", began+1500), w.do("EVAL", "return redis.running()", "0"))
	})
}
