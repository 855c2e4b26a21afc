package lua

import (
	"crypto/sha1"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// openRedis makes the table redis.
func (in *Interp) openRedis(o Options) {
	t := in.library("redis", map[string]lua.LGFunction{
		"call":               in.redisCall,
		"pcall":              in.redisPCall,
		"error_reply":        in.redisErrorReply,
		"status_reply":       in.redisStatusReply,
		"sha1hex":            in.redisSHA1Hex,
		"log":                in.redisLog,
		"setresp":            in.redisSetResp,
		"set_repl":           in.redisSetRepl,
		"replicate_commands": func(l *lua.LState) int { l.Push(lua.LTrue); return 1 },
		"breakpoint":         func(l *lua.LState) int { l.Push(lua.LFalse); return 1 },
		"debug":              func(*lua.LState) int { return 0 },
	}, map[string]lua.LValue{
		"LOG_DEBUG":   lua.LNumber(0),
		"LOG_VERBOSE": lua.LNumber(1),
		"LOG_NOTICE":  lua.LNumber(2),
		"LOG_WARNING": lua.LNumber(3),

		"REPL_NONE":    lua.LNumber(replNone),
		"REPL_AOF":     lua.LNumber(replAOF),
		"REPL_SLAVE":   lua.LNumber(replReplica),
		"REPL_REPLICA": lua.LNumber(replReplica),
		"REPL_ALL":     lua.LNumber(replAll),

		"REDIS_VERSION":     lua.LString(o.Version),
		"REDIS_VERSION_NUM": lua.LNumber(versionNumber(o.Version)),
	})
	if o.Quarantine != nil {
		t.RawSetString("quarantine", in.state.NewFunction(func(l *lua.LState) int {
			return push(l, float64((o.Quarantine()+time.Millisecond-1)/time.Millisecond))
		}))
	}
	if o.Running != nil {
		t.RawSetString("running", in.state.NewFunction(func(l *lua.LState) int { return push(l, float64(o.Running())) }))
	}
	in.globals.RawSetString(nameCall, t.RawGetString("call"))
	in.globals.RawSetString(nameDo, in.state.NewFunction(in.redisDo))
}

// Where the effects of a script's writes go, as redis.set_repl takes it.
const (
	replNone    = 0
	replAOF     = 1
	replReplica = 2
	replAll     = replAOF | replReplica
)

// versionNumber packs "7.0.15" as 0x0007000f.
func versionNumber(version string) int {
	n := 0
	for _, part := range strings.SplitN(version, ".", 3) {
		v, _ := strconv.Atoi(part)
		n = n<<8 | v
	}
	return n
}

// redisCall is redis.call: an error reply is raised.
func (in *Interp) redisCall(l *lua.LState) int {
	if !in.execute(l) {
		return in.raise(l, in.failure())
	}
	r := replyReader{in, in.reply.Bytes()}
	l.Push(r.read())
	return 1
}

// redisDo is redis.call as a statement: nobody looks at its result.
func (in *Interp) redisDo(l *lua.LState) int {
	if !in.execute(l) {
		return in.raise(l, in.failure())
	}
	return 0
}

// redisPCall is redis.pcall: an error reply is returned as a table with the field err.
func (in *Interp) redisPCall(l *lua.LState) int {
	if !in.execute(l) {
		l.Push(in.failure())
		return 1
	}
	r := replyReader{in, in.reply.Bytes()}
	l.Push(r.read())
	return 1
}

// execute runs the command whose words are the function's arguments and leaves its reply in in.reply. It
// reports false if the reply is an error.
func (in *Interp) execute(l *lua.LState) bool {
	in.reply.Reset()
	in.meter.work(l, 1)
	n := l.GetTop()
	if n == 0 {
		in.reply.Error(errNoWords)
		return false
	}
	if !in.collect(l, n) {
		in.reply.Error(errBadWord)
		return false
	}
	in.host.Call(in.words, &in.reply)
	return in.reply.Bytes()[0] != '-'
}

const (
	errNoWords = scriptError("ERR Please specify at least one argument for this redis lib call")
	errBadWord = scriptError("ERR Lua redis lib command arguments must be strings or integers")
)

// collect turns the n arguments into words. They are copies: a handler must not see, let alone
// change, the bytes of Lua's immutable strings.
func (in *Interp) collect(l *lua.LState, n int) bool {
	need := 0
	for i := 1; i <= n; i++ {
		switch v := l.Get(i).(type) {
		case lua.LString:
			need += len(v)
		case lua.LNumber:
			need += 32 // %.17g takes 24
		default:
			return false
		}
	}
	if cap(in.chars) < need {
		in.meter.reserve(l, need)
		in.chars = make([]byte, 0, need+need/2)
	}
	in.chars, in.words = in.chars[:0], in.words[:0]
	for i := 1; i <= n; i++ {
		start := len(in.chars)
		switch v := l.Get(i).(type) {
		case lua.LString:
			in.chars = append(in.chars, v...)
		case lua.LNumber:
			in.chars = appendG(in.chars, float64(v), 17)
		}
		in.words = append(in.words, in.chars[start:len(in.chars):len(in.chars)])
	}
	return true
}

// failure returns the error reply of the last command as an error object.
func (in *Interp) failure() *lua.LTable {
	msg := strings.TrimRight(string(in.reply.Bytes()[1:]), "\r\n")
	if !strings.Contains(msg, " ") {
		msg = "ERR " + msg
	}
	return in.errorObject(msg)
}

// errorObject returns {err = msg}.
func (in *Interp) errorObject(msg string) *lua.LTable {
	t := in.state.CreateTable(0, 2)
	t.RawSetString("err", lua.LString(msg))
	return t
}

// raise raises an error object; it does not return.
func (in *Interp) raise(l *lua.LState, obj *lua.LTable) int {
	l.Error(obj, 1)
	return 0
}

func (in *Interp) redisErrorReply(l *lua.LState) int {
	s, ok := l.Get(1).(lua.LString)
	if !ok || l.GetTop() != 1 {
		l.Push(in.errorObject("ERR wrong number or type of arguments"))
		return 1
	}
	msg := strings.TrimPrefix(string(s), "-")
	if !strings.Contains(msg, " ") {
		msg = "ERR " + msg
	}
	l.Push(in.errorObject(strings.TrimRight(msg, "\r\n")))
	return 1
}

func (in *Interp) redisStatusReply(l *lua.LState) int {
	s, ok := l.Get(1).(lua.LString)
	if !ok || l.GetTop() != 1 {
		l.Push(in.errorObject("ERR wrong number or type of arguments"))
		return 1
	}
	t := l.CreateTable(0, 1)
	t.RawSetString("ok", s)
	l.Push(t)
	return 1
}

func (in *Interp) redisSHA1Hex(l *lua.LState) int {
	if l.GetTop() != 1 {
		return in.raise(l, in.errorObject("ERR wrong number of arguments"))
	}
	s, h := text(l.Get(1)), sha1.New()
	for len(s) > readAtOnce {
		h.Write([]byte(s[:readAtOnce]))
		in.meter.read(l, readAtOnce)
		s = s[readAtOnce:]
	}
	h.Write([]byte(s))
	in.meter.read(l, len(s))
	l.Push(lua.LString(hex.EncodeToString(h.Sum(nil))))
	return 1
}

func (in *Interp) redisLog(l *lua.LState) int {
	n := l.GetTop()
	if n < 2 {
		return in.raise(l, in.errorObject("ERR redis.log() requires two arguments or more."))
	}
	level, ok := l.Get(1).(lua.LNumber)
	if !ok {
		return in.raise(l, in.errorObject("ERR First argument must be a number (log level)."))
	}
	if level < 0 || level > 3 || math.IsNaN(float64(level)) {
		return in.raise(l, in.errorObject("ERR Invalid debug level."))
	}
	var parts []string
	for i := 2; i <= n; i++ {
		if lua.LVCanConvToString(l.Get(i)) {
			parts = append(parts, text(l.Get(i)))
		}
	}
	in.host.Log(int(level), strings.Join(parts, " "))
	return 0
}

func (in *Interp) redisSetResp(l *lua.LState) int {
	if l.GetTop() != 1 {
		return in.raise(l, in.errorObject("ERR redis.setresp() requires one argument."))
	}
	v, ok := number(l.Get(1))
	if !ok || v != 2 && v != 3 {
		return in.raise(l, in.errorObject("ERR RESP version must be 2 or 3."))
	}
	in.reply.SetProto(int(v))
	return 0
}

func (in *Interp) redisSetRepl(l *lua.LState) int {
	if l.GetTop() != 1 {
		return in.raise(l, in.errorObject("ERR redis.set_repl() requires two arguments."))
	}
	v, ok := number(l.Get(1))
	if !ok || int(v)&^replAll != 0 {
		return in.raise(l, in.errorObject("ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE."))
	}
	return 0
}
