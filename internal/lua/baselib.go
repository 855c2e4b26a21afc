package lua

import (
	"fmt"
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// openLibraries fills the global table. Scripts see the tables in it only through read-only proxies.
func (in *Interp) openLibraries(o Options) {
	g := in.globals
	proxy := in.protect(g)
	g.RawSetString("_G", proxy)
	g.RawSetString(nameGlobals, proxy)
	g.RawSetString("_VERSION", lua.LString(lua.LuaVersion))
	g.RawSetString(nameConcat, in.state.NewFunction(in.concat))
	g.RawSetString(nameKey, in.state.NewFunction(in.arrayKey))
	in.openBase()
	in.openString()
	in.openTable()
	in.openMath()
	in.openCoroutine()
	in.openRedis(o)

	mt := in.state.NewTable()
	mt.RawSetString("__index", in.state.NewFunction(func(l *lua.LState) int {
		raise(l, "Script attempted to access nonexistent global variable '%s'", text(l.Get(2)))
		return 0
	}))
	g.Metatable = mt
}

// protect returns a table through which the fields of t can be read but not changed.
func (in *Interp) protect(t *lua.LTable) *lua.LTable {
	proxy, mt := in.state.CreateTable(0, 0), in.state.CreateTable(0, 2)
	mt.RawSetString("__index", t)
	mt.RawSetString("__newindex", in.state.NewFunction(refuse))
	proxy.Metatable = mt
	in.readonly[proxy] = t
	return proxy
}

const errReadonly = "Attempt to modify a readonly table"

func refuse(l *lua.LState) int {
	raise(l, errReadonly)
	return 0
}

// refuseHere is refuse for functions that modify a table themselves: then the error has no position.
func refuseHere(l *lua.LState) { l.Error(lua.LString(errReadonly), 0) }

// library makes a read-only table of functions and values a global.
func (in *Interp) library(name string, funcs map[string]lua.LGFunction, values map[string]lua.LValue) *lua.LTable {
	t := in.state.CreateTable(0, len(funcs)+len(values))
	for k, f := range funcs {
		t.RawSetString(k, in.state.NewFunction(f))
	}
	for k, v := range values {
		t.RawSetString(k, v)
	}
	in.globals.RawSetString(name, in.protect(t))
	return t
}

// fields returns the table that holds the fields of t, which is another one if t is a read-only proxy.
func (in *Interp) fields(t *lua.LTable) *lua.LTable {
	if t.Metatable != lua.LNil {
		if real, ok := in.readonly[t]; ok {
			return real
		}
	}
	return t
}

func (in *Interp) openBase() {
	next := in.state.NewFunction(in.next)
	ipairsNext := in.state.NewFunction(in.ipairsNext)
	for name, f := range map[string]lua.LGFunction{
		"assert":         assertValue,
		"collectgarbage": in.collectGarbage,
		"error":          raiseValue,
		"gcinfo":         in.gcInfo,
		"getmetatable":   in.getMetatable,
		"load":           in.loadFunction,
		"loadstring":     in.loadString,
		"pcall":          in.pcall,
		"rawequal":       rawEqual,
		"rawget":         in.rawGet,
		"rawset":         in.rawSet,
		"select":         selectArgs,
		"setmetatable":   in.setMetatable,
		"tonumber":       in.toNumber,
		"tostring":       toString,
		"type":           typeOf,
		"unpack":         in.unpack,
		"xpcall":         in.xpcall,
		"pairs": func(l *lua.LState) int {
			t := checkTable(l, 1, "pairs")
			l.Push(next)
			l.Push(t)
			l.Push(lua.LNil)
			return 3
		},
		"ipairs": func(l *lua.LState) int {
			t := checkTable(l, 1, "ipairs")
			l.Push(ipairsNext)
			l.Push(t)
			l.Push(lua.LNumber(0))
			return 3
		},
	} {
		in.globals.RawSetString(name, in.state.NewFunction(f))
	}
	in.globals.RawSetString("next", next)
}

func assertValue(l *lua.LState) int {
	if checkAny(l, 1, "assert"); lua.LVAsBool(l.Get(1)) {
		return l.GetTop()
	}
	msg := "assertion failed!"
	if l.Get(2) != lua.LNil {
		msg = checkString(l, 2, "assert")
	}
	raise(l, "%s", msg)
	return 0
}

// raiseValue is error.
func raiseValue(l *lua.LState) int {
	level := optInt(l, 2, "error", 1)
	v := l.Get(1)
	if lua.LVCanConvToString(v) && level > 0 {
		v = lua.LString(position(l, level) + text(v))
	}
	l.Error(v, 0)
	return 0
}

// pcall is Lua's, except that the error objects of redis.call arrive as their texts, as in Redis.
func (in *Interp) pcall(l *lua.LState) int {
	checkAny(l, 1, "pcall")
	if err := in.protected(l, func() error { return l.PCall(l.GetTop()-1, lua.MultRet, nil) }); err != nil {
		return pushFailure(l, in.errorText(err))
	}
	l.Insert(lua.LTrue, 1)
	return l.GetTop()
}

func (in *Interp) xpcall(l *lua.LState) int {
	checkAny(l, 2, "xpcall")
	handler, ok := l.Get(2).(*lua.LFunction)
	l.SetTop(1)
	if !ok {
		handler = in.state.NewFunction(func(*lua.LState) int { return 0 })
	}
	// The handler sees the error in Lua's words.
	wrapped := l.NewFunction(func(l *lua.LState) int {
		v := in.translate(l.Get(1))
		l.Push(handler)
		l.Push(v)
		l.Call(1, 1)
		return 1
	})
	if err := in.protected(l, func() error { return l.PCall(0, lua.MultRet, wrapped) }); err != nil {
		return pushFailure(l, in.errorValue(err))
	}
	l.Insert(lua.LTrue, 1)
	return l.GetTop()
}

func pushFailure(l *lua.LState, v lua.LValue) int {
	l.SetTop(0)
	l.Push(lua.LFalse)
	l.Push(v)
	return 2
}

// protected runs call, in which coroutine.yield must not be used: it would leave a function of Go behind.
func (in *Interp) protected(_ *lua.LState, call func() error) error {
	in.nested++
	defer func(n int) { in.nested = n }(in.nested - 1)
	return call()
}

// errorValue returns the value that was raised.
func (in *Interp) errorValue(err error) lua.LValue {
	if api, ok := err.(*lua.ApiError); ok {
		return in.translate(api.Object)
	}
	return lua.LString(err.Error())
}

// errorText is errorValue with the text instead of an error object.
func (in *Interp) errorText(err error) lua.LValue {
	v := in.errorValue(err)
	if t, ok := v.(*lua.LTable); ok {
		if s, ok := t.RawGetString("err").(lua.LString); ok {
			return s
		}
	}
	return v
}

func (in *Interp) collectGarbage(l *lua.LState) int {
	option := "collect"
	if l.Get(1) != lua.LNil {
		option = checkString(l, 1, "collectgarbage")
	}
	switch option {
	case "count":
		l.Push(lua.LNumber(float64(in.meter.heap()) / 1024))
	case "collect", "stop", "restart", "step", "setpause", "setstepmul":
		l.Push(lua.LNumber(0)) // the collector is the process's, not the script's
	default:
		argError(l, 1, "collectgarbage", "invalid option '"+option+"'")
	}
	return 1
}

func (in *Interp) gcInfo(l *lua.LState) int {
	l.Push(lua.LNumber(in.meter.heap() / 1024))
	return 1
}

func (in *Interp) getMetatable(l *lua.LState) int {
	v := checkAny(l, 1, "getmetatable")
	if t, ok := v.(*lua.LTable); ok && in.readonly[t] != nil {
		l.Push(lua.LNil)
		return 1
	}
	if _, ok := v.(lua.LString); ok {
		l.Push(in.stringMeta)
		return 1
	}
	if hidden := l.GetMetaField(v, "__metatable"); hidden != lua.LNil {
		l.Push(hidden)
		return 1
	}
	l.Push(l.GetMetatable(v))
	return 1
}

func (in *Interp) setMetatable(l *lua.LState) int {
	t := checkTable(l, 1, "setmetatable")
	mt := l.Get(2)
	if _, ok := mt.(*lua.LTable); !ok && (mt != lua.LNil || l.GetTop() < 2) {
		argError(l, 2, "setmetatable", "nil or table expected")
	}
	if in.readonly[t] != nil {
		refuseHere(l)
	}
	if l.GetMetaField(t, "__metatable") != lua.LNil {
		raise(l, "cannot change a protected metatable")
	}
	if m, ok := mt.(*lua.LTable); ok {
		mt = in.fields(m)
	}
	t.Metatable = mt
	l.SetTop(1)
	return 1
}

func (in *Interp) next(l *lua.LState) int {
	t := in.fields(checkTable(l, 1, "next"))
	k, v := t.Next(l.Get(2))
	for hiddenName(k) {
		k, v = t.Next(k)
	}
	if k == lua.LNil {
		l.Push(lua.LNil)
		return 1
	}
	l.Push(k)
	l.Push(v)
	return 2
}

func (in *Interp) ipairsNext(l *lua.LState) int {
	t := in.fields(checkTable(l, 1, "ipairs"))
	i := checkInt(l, 2, "ipairs") + 1
	v := t.RawGetInt(i)
	if v == lua.LNil {
		v = t.RawGet(lua.LNumber(i)) // beyond the array part
	}
	if v == lua.LNil {
		return 0
	}
	l.Push(lua.LNumber(i))
	l.Push(v)
	return 2
}

func rawEqual(l *lua.LState) int {
	l.Push(lua.LBool(l.RawEqual(checkAny(l, 1, "rawequal"), checkAny(l, 2, "rawequal"))))
	return 1
}

func (in *Interp) rawGet(l *lua.LState) int {
	t := checkTable(l, 1, "rawget")
	l.Push(in.fields(t).RawGet(checkAny(l, 2, "rawget")))
	return 1
}

func (in *Interp) rawSet(l *lua.LState) int {
	t := checkTable(l, 1, "rawset")
	k, v := checkAny(l, 2, "rawset"), checkAny(l, 3, "rawset")
	if in.readonly[t] != nil {
		refuseHere(l)
	}
	if n, ok := k.(lua.LNumber); ok {
		in.chargeKey(l, float64(n))
	}
	l.RawSet(t, k, v)
	l.SetTop(1)
	return 1
}

func selectArgs(l *lua.LState) int {
	n := l.GetTop()
	if s, ok := l.Get(1).(lua.LString); ok && s != "" && s[0] == '#' {
		l.Push(lua.LNumber(n - 1))
		return 1
	}
	i := checkInt(l, 1, "select")
	if i < 0 {
		i += n
	} else if i > n {
		i = n
	}
	if i < 1 {
		argError(l, 1, "select", "index out of range")
	}
	return n - i
}

func (in *Interp) toNumber(l *lua.LState) int {
	base := optInt(l, 2, "tonumber", 10)
	if base == 10 {
		v := checkAny(l, 1, "tonumber")
		if s, ok := v.(lua.LString); ok {
			v = lua.LString(in.numeral(l, string(s)))
		}
		if f, ok := number(v); ok {
			l.Push(lua.LNumber(f))
			return 1
		}
		l.Push(lua.LNil)
		return 1
	}
	s := checkString(l, 1, "tonumber")
	if base < 2 || base > 36 {
		argError(l, 2, "tonumber", "base out of range")
	}
	if f, ok := parseBase(in.numeral(l, s), base); ok {
		l.Push(lua.LNumber(f))
		return 1
	}
	l.Push(lua.LNil)
	return 1
}

// numeral takes the blanks off a text, and counts the time that it takes to do that and to read the rest.
func (in *Interp) numeral(l *lua.LState, s string) string {
	for len(s) > readAtOnce && strings.Trim(s[:readAtOnce], space) == "" {
		in.meter.read(l, readAtOnce)
		s = s[readAtOnce:]
	}
	for len(s) > readAtOnce && strings.Trim(s[len(s)-readAtOnce:], space) == "" {
		in.meter.read(l, readAtOnce)
		s = s[:len(s)-readAtOnce]
	}
	// What is left has less than readAtOnce blanks at either end.
	blank := len(s)
	s = strings.Trim(s, space)
	in.meter.read(l, blank-len(s)+min(len(s), maxNumeral))
	return s
}

// parseBase reads an integer as C's strtoul does: a sign is allowed and wraps around, too large a number
// is the largest.
func parseBase(s string, base int) (float64, bool) {
	s = strings.Trim(s, space)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	if base == 16 && len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		s = s[2:]
	}
	if s == "" || len(s) > maxNumeral {
		return 0, false
	}
	var n uint64
	over := false
	for _, c := range []byte(strings.ToLower(s)) {
		d := int(c - '0')
		if c >= 'a' {
			d = int(c-'a') + 10
		} else if c > '9' || c < '0' {
			return 0, false
		}
		if d >= base {
			return 0, false
		}
		if n > (math.MaxUint64-uint64(d))/uint64(base) {
			over = true
		}
		n = n*uint64(base) + uint64(d)
	}
	switch {
	case over:
		return math.MaxUint64, true
	case neg:
		return float64(-n), true
	}
	return float64(n), true
}

func toString(l *lua.LState) int {
	v := checkAny(l, 1, "tostring")
	l.Push(toStringMeta(l, v))
	return 1
}

// toStringMeta returns what tostring gives.
func toStringMeta(l *lua.LState, v lua.LValue) lua.LValue {
	if n, ok := v.(lua.LNumber); ok {
		return lua.LString(formatNumber(float64(n)))
	}
	if f, ok := l.GetMetaField(v, "__tostring").(*lua.LFunction); ok {
		l.Push(f)
		l.Push(v)
		l.Call(1, 1)
		v := l.Get(-1)
		l.Pop(1)
		return v
	}
	switch v := v.(type) {
	case lua.LString:
		return v
	case *lua.LFunction:
		if v.IsG {
			return lua.LString(fmt.Sprintf("builtin: %p", v))
		}
	}
	return lua.LString(v.String())
}

func typeOf(l *lua.LState) int {
	l.Push(lua.LString(checkAny(l, 1, "type").Type().String()))
	return 1
}

// maxResults is how many values a function may have on the stack, its arguments and its results together:
// Lua's LUAI_MAXCSTACK.
const maxResults = 8000

func (in *Interp) unpack(l *lua.LState) int {
	t := in.fields(checkTable(l, 1, "unpack"))
	from := optInt(l, 2, "unpack", 1)
	to := optInt(l, 3, "unpack", t.Len())
	if from > to {
		return 0
	}
	if n := uint(to) - uint(from); n >= uint(maxResults-l.GetTop()) {
		raise(l, "too many results to unpack")
	}
	for i := from; i <= to; i++ {
		l.Push(t.RawGet(lua.LNumber(i)))
	}
	return to - from + 1
}

func (in *Interp) loadString(l *lua.LState) int {
	code := checkString(l, 1, "loadstring")
	chunk := chunkName(code)
	if l.Get(2) != lua.LNil {
		chunk = chunkName(checkString(l, 2, "loadstring"))
	}
	return in.pushLoaded(l, code, chunk)
}

func (in *Interp) loadFunction(l *lua.LState) int {
	f := checkFunction(l, 1, "load")
	chunk := "=(load)"
	if l.Get(2) != lua.LNil {
		chunk = checkString(l, 2, "load")
	}
	var code strings.Builder
	for {
		l.Push(f)
		l.Call(0, 1)
		piece := l.Get(-1)
		l.Pop(1)
		if piece == lua.LNil {
			break
		}
		if !lua.LVCanConvToString(piece) {
			l.Push(lua.LNil)
			l.Push(lua.LString("reader function must return a string"))
			return 2
		}
		s := text(piece)
		if s == "" {
			break
		}
		if code.WriteString(s); code.Len() > maxScript {
			break // and load says so
		}
	}
	return in.pushLoaded(l, code.String(), chunkName(chunk))
}

func (in *Interp) pushLoaded(l *lua.LState, code, chunk string) int {
	in.meter.reserve(l, 100*min(len(code), maxScript)) // the syntax tree
	in.meter.note(len(code))                           // and its constants
	if !in.script.metered {
		raise(l, "attempt to load code in a script that has none of it")
	}
	fn, src, err := in.load(code, chunk)
	if err != nil {
		l.Push(lua.LNil)
		l.Push(lua.LString(err.Error()))
		return 2
	}
	in.sources[chunk] = src
	l.Push(fn)
	return 1
}

// chunkName returns how messages name a chunk, from its name or text: luaO_chunkid.
func chunkName(name string) string {
	const room = 60
	if name != "" && (name[0] == '=' || name[0] == '@') {
		return name[1:min(len(name), room)]
	}
	line, _, more := strings.Cut(name, "\n")
	if limit := room - len(`[string "..."]`) - 1; more || len(line) > limit {
		line = line[:min(len(line), limit)] + "..."
	}
	return `[string "` + line + `"]`
}
