package lua

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// openString makes the table string, which is also where methods of strings are found.
func (in *Interp) openString() {
	t := in.library("string", map[string]lua.LGFunction{
		"byte":    stringByte,
		"char":    stringChar,
		"dump":    func(l *lua.LState) int { raise(l, "unable to dump given function"); return 0 },
		"find":    func(l *lua.LState) int { return in.find(l, "find", true) },
		"format":  in.format,
		"gfind":   in.gmatch, // its name in Lua 5.0
		"gmatch":  in.gmatch,
		"gsub":    in.gsub,
		"len":     func(l *lua.LState) int { l.Push(lua.LNumber(len(checkString(l, 1, "len")))); return 1 },
		"lower":   func(l *lua.LState) int { return mapBytes(in, l, "lower", 'A', 'Z') },
		"match":   func(l *lua.LState) int { return in.find(l, "match", false) },
		"rep":     in.stringRep,
		"reverse": in.stringReverse,
		"sub":     stringSub,
		"upper":   func(l *lua.LState) int { return mapBytes(in, l, "upper", 'a', 'z') },
	}, nil)
	// The state's own metatable of strings leads to the functions at once; scripts are shown one that
	// they cannot change.
	mt := in.state.CreateTable(0, 1)
	mt.RawSetString("__index", t)
	in.state.SetMetatable(lua.LString(""), mt)
	shown := in.state.CreateTable(0, 1)
	shown.RawSetString("__index", in.globals.RawGetString("string"))
	in.stringMeta = in.protect(shown)
}

// span turns the arguments from and to of string functions into [from, to) of a string.
func span(l *lua.LState, fn string, size, defaultTo int) (from, to int) {
	from = optInt(l, 2, fn, 1)
	if from < 0 {
		from = max(from+size+1, 1)
	} else if from == 0 {
		from = 1
	}
	if defaultTo == 0 {
		defaultTo = from
	}
	to = optInt(l, 3, fn, defaultTo)
	if to < 0 {
		to += size + 1
	}
	return from - 1, min(to, size)
}

func stringByte(l *lua.LState) int {
	s := checkString(l, 1, "byte")
	from, to := span(l, "byte", len(s), 0)
	if from >= to {
		return 0
	}
	if to-from > maxResults-l.GetTop() {
		raise(l, "stack overflow (string slice too long)")
	}
	for _, c := range []byte(s[from:to]) {
		l.Push(lua.LNumber(c))
	}
	return to - from
}

func stringChar(l *lua.LState) int {
	b := make([]byte, l.GetTop())
	for i := range b {
		c := checkInt(l, i+1, "char")
		if c < 0 || c > 255 {
			argError(l, i+1, "char", "invalid value")
		}
		b[i] = byte(c)
	}
	l.Push(lua.LString(b))
	return 1
}

func stringSub(l *lua.LState) int {
	s := checkString(l, 1, "sub")
	checkInt(l, 2, "sub")
	from, to := span(l, "sub", len(s), -1)
	if from >= to {
		l.Push(lua.LString(""))
		return 1
	}
	l.Push(lua.LString(s[from:to]))
	return 1
}

func (in *Interp) stringRep(l *lua.LState) int {
	s, n := checkString(l, 1, "rep"), checkInt(l, 2, "rep")
	if n <= 0 || s == "" {
		l.Push(lua.LString(""))
		return 1
	}
	if n > maxString/len(s) {
		n = maxString/len(s) + 1 // more than charge allows, and no overflow
	}
	in.meter.charge(l, n*len(s))
	if n*len(s) <= readAtOnce {
		l.Push(lua.LString(strings.Repeat(s, n)))
		return 1
	}
	var b strings.Builder
	b.Grow(n * len(s))
	times := readAtOnce/len(s) + 1
	for piece := strings.Repeat(s, times); n > 0; n -= times {
		times = min(times, n)
		b.WriteString(piece[:times*len(s)])
		in.meter.read(l, times*len(s))
	}
	l.Push(lua.LString(b.String()))
	return 1
}

func (in *Interp) stringReverse(l *lua.LState) int {
	s := checkString(l, 1, "reverse")
	in.meter.charge(l, len(s))
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		if i%readAtOnce == readAtOnce-1 {
			in.meter.read(l, readAtOnce)
		}
		b[i], b[j] = b[j], b[i]
	}
	l.Push(lua.LString(b))
	return 1
}

// mapBytes changes the case of the ASCII letters from first to last.
func mapBytes(in *Interp, l *lua.LState, fn string, first, last byte) int {
	s := checkString(l, 1, fn)
	in.meter.charge(l, len(s))
	b := []byte(s)
	for i, c := range b {
		if i%readAtOnce == readAtOnce-1 {
			in.meter.read(l, readAtOnce)
		}
		if first <= c && c <= last {
			b[i] = c ^ 0x20
		}
	}
	l.Push(lua.LString(b))
	return 1
}

// concat is what a .. b .. c calls. Strings and numbers are joined from the right end on; a value of
// another type needs the metamethod.
func (in *Interp) concat(l *lua.LState) int {
	n := l.GetTop()
	size := 0
	for i := 1; i <= n; i++ {
		switch v := l.Get(i).(type) {
		case lua.LString:
			size += len(v)
		case lua.LNumber:
			size += 24
		default:
			return in.concatMeta(l, n)
		}
	}
	in.meter.charge(l, size)
	if size <= 128 {
		var small [128]byte
		l.Push(lua.LString(appendConcat(small[:0], l, n)))
		return 1
	}
	l.Push(lua.LString(appendConcat(make([]byte, 0, size), l, n)))
	return 1
}

func appendConcat(b []byte, l *lua.LState, n int) []byte {
	for i := 1; i <= n; i++ {
		switch v := l.Get(i).(type) {
		case lua.LString:
			b = append(b, v...)
		case lua.LNumber:
			b = appendG(b, float64(v), 14)
		}
	}
	return b
}

// concatMeta joins pair by pair from the right.
func (in *Interp) concatMeta(l *lua.LState, n int) int {
	right := l.Get(n)
	for i := n - 1; i >= 1; i-- {
		left := l.Get(i)
		if lua.LVCanConvToString(left) && lua.LVCanConvToString(right) {
			a, b := text(left), text(right)
			in.meter.charge(l, len(a)+len(b))
			right = lua.LString(a + b)
			continue
		}
		f := l.GetMetaField(left, "__concat")
		if f == lua.LNil {
			f = l.GetMetaField(right, "__concat")
		}
		if f == lua.LNil {
			bad, side := left, "left"
			if lua.LVCanConvToString(left) {
				bad, side = right, "right"
			}
			raise(l, "attempt to concatenate a %s value (%s)", bad.Type(), side)
		}
		l.Push(f)
		l.Push(left)
		l.Push(right)
		l.Call(2, 1)
		right = l.Get(-1)
		l.Pop(1)
	}
	l.Push(right)
	return 1
}
