package lua

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/holdfast-dev/holdfast/internal/resp"
)

// replyStack is how much of its Lua stack Redis uses for nested tables of a reply before it writes an error
// in place of the next one: a table in an array takes one slot, in a map or set three.
const replyStack = 7995

// maxReplyTables bounds the tables of a reply: one that contains itself twice would have no end.
const maxReplyTables = 1 << 20

// writeValue writes a Lua value as a reply, used slots deep in Redis's stack. It reports false, having
// written part of it, when the reply has become too large.
//
// Redis tells tables apart by their fields, in this order: err, ok, double, map, set, big_number,
// verbatim_string; every other table is an array that ends before its first nil.
func (in *Interp) writeValue(w *resp.Writer, v lua.LValue, used int) bool {
	if used >= replyStack {
		w.Error(errStackLimit)
		return true
	}
	switch v := v.(type) {
	case lua.LString:
		w.BulkString(string(v))
	case lua.LNumber:
		w.Int(toInt64(float64(v)))
	case lua.LBool:
		in.writeBool(w, bool(v))
	case *lua.LTable:
		in.tables++
		return in.tables <= maxReplyTables && in.writeTable(w, in.fields(v), used)
	default:
		w.Null()
	}
	return true
}

const errStackLimit = scriptError("ERR reached lua stack limit")

// writeBool writes a boolean: in the protocol version that the script has chosen, not its caller.
func (in *Interp) writeBool(w *resp.Writer, v bool) {
	switch {
	case in.reply.Proto() == 3:
		w.Bool(v)
	case v:
		w.Int(1)
	default:
		w.Null()
	}
}

func (in *Interp) writeTable(w *resp.Writer, t *lua.LTable, used int) bool {
	if msg, ok := stringField(t, "err"); ok {
		in.writeError(w, msg)
		return true
	}
	if msg, ok := stringField(t, "ok"); ok {
		w.Simple(oneLine(msg))
		return true
	}
	if f, ok := t.RawGetString("double").(lua.LNumber); ok {
		writeDouble(w, float64(f))
		return true
	}
	if m, ok := t.RawGetString("map").(*lua.LTable); ok {
		return in.writeMap(w, in.fields(m), used+3)
	}
	if s, ok := t.RawGetString("set").(*lua.LTable); ok {
		return in.writeSet(w, in.fields(s), used+3)
	}
	if digits, ok := stringField(t, "big_number"); ok {
		w.BigNumber(oneLine(digits))
		return true
	}
	if v, ok := t.RawGetString("verbatim_string").(*lua.LTable); ok {
		text, isText := stringField(v, "string")
		format, isFormat := stringField(v, "format")
		if isText && isFormat {
			w.Verbatim((format + "   ")[:3], text)
			return true
		}
	}
	n := 0
	for t.RawGetInt(n+1) != lua.LNil {
		n++
	}
	w.Array(n)
	for i := 1; i <= n; i++ {
		if !in.writeValue(w, t.RawGetInt(i), used+1) {
			return false
		}
	}
	return true
}

// writeDouble writes a double. On amd64 NaN has the sign bit set when it comes from arithmetic, 0/0, and C
// prints that sign.
func writeDouble(w *resp.Writer, f float64) {
	switch {
	case !math.IsNaN(f) || !math.Signbit(f):
		w.Double(f)
	case w.Proto() == 3:
		w.Raw([]byte(",-nan\r\n"))
	default:
		w.BulkString("-nan")
	}
}

func (in *Interp) writeMap(w *resp.Writer, t *lua.LTable, used int) bool {
	n, ok := 0, true
	t.ForEach(func(_, _ lua.LValue) { n++ })
	w.Map(n)
	eachField(t, func(k, v lua.LValue) {
		ok = ok && in.writeValue(w, k, used) && in.writeValue(w, v, used)
	})
	return ok
}

func (in *Interp) writeSet(w *resp.Writer, t *lua.LTable, used int) bool {
	n, ok := 0, true
	t.ForEach(func(_, _ lua.LValue) { n++ })
	w.Set(n)
	eachField(t, func(k, _ lua.LValue) {
		ok = ok && in.writeValue(w, k, used)
	})
	return ok
}

// eachField visits a table's fields in the order of next, in which string keys come as they were added.
func eachField(t *lua.LTable, visit func(k, v lua.LValue)) {
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		visit(k, v)
	}
}

// stringField returns a field that is a string or, as in C's lua_tostring, not anything else.
func stringField(t *lua.LTable, name string) (string, bool) {
	s, ok := t.RawGetString(name).(lua.LString)
	return string(s), ok
}

// writeError writes an error reply whose text may come from a script.
func (in *Interp) writeError(w *resp.Writer, msg string) {
	w.Error(scriptError(oneLine(strings.TrimRight(msg, "\r\n"))))
}

// oneLine keeps a text from breaking the protocol.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(s)
}

// toInt64 converts as the machine's own instruction does, which C leaves undefined and Redis relies on:
// what does not fit, NaN included, becomes the lowest integer.
func toInt64(f float64) int64 {
	if f >= -(1<<63) && f < 1<<63 {
		return int64(f)
	}
	return math.MinInt64
}

// A replyReader turns the bytes of one reply into Lua values. The bytes were written by our own
// resp.Writer, so it does not doubt them.
type replyReader struct {
	in *Interp
	b  []byte
}

// read consumes one value.
func (r *replyReader) read() lua.LValue {
	kind := r.b[0]
	line := r.line()
	switch kind {
	case ':':
		return lua.LNumber(parseInt(line))
	case '$':
		if line[0] == '-' {
			return lua.LFalse
		}
		return r.bulk(line)
	case '+':
		return r.tagged("ok", lua.LString(line))
	case '-':
		return r.tagged("err", lua.LString(line))
	case '*':
		if line[0] == '-' {
			return lua.LFalse
		}
		return r.array(int(parseInt(line)))
	default:
		return r.read3(kind, line)
	}
}

// read3 consumes a value of a type that only RESP3 has.
func (r *replyReader) read3(kind byte, line []byte) lua.LValue {
	switch kind {
	case '#':
		return lua.LBool(line[0] == 't')
	case ',':
		f, _ := strconv.ParseFloat(string(line), 64) // also "inf", "-inf" and "nan"
		return r.tagged("double", lua.LNumber(f))
	case '(':
		return r.tagged("big_number", lua.LString(line))
	case '=':
		s := string(r.bulk(line))
		t := r.in.state.CreateTable(0, 2)
		t.RawSetString("format", lua.LString(s[:3]))
		t.RawSetString("string", lua.LString(s[4:]))
		return r.tagged("verbatim_string", t)
	case '%':
		t := r.in.state.CreateTable(0, 0)
		for range parseInt(line) {
			k := r.read()
			t.RawSet(k, r.read())
		}
		return r.tagged("map", t)
	case '~':
		t := r.in.state.CreateTable(0, 0)
		for range parseInt(line) {
			t.RawSet(r.read(), lua.LTrue)
		}
		return r.tagged("set", t)
	case '>':
		return r.array(int(parseInt(line)))
	default: // '_'
		return lua.LNil
	}
}

func (r *replyReader) array(n int) lua.LValue {
	t := r.in.state.CreateTable(n, 0)
	for i := 1; i <= n; i++ {
		t.RawSetInt(i, r.read())
	}
	return t
}

func (r *replyReader) bulk(header []byte) lua.LString {
	n := int(parseInt(header))
	r.in.meter.note(n)
	s := lua.LString(r.b[:n])
	r.b = r.b[n+2:]
	return s
}

// line consumes a header and returns it without its kind and its end.
func (r *replyReader) line() []byte {
	end := bytes.IndexByte(r.b, '\r')
	line := r.b[1:end]
	r.b = r.b[end+2:]
	return line
}

// tagged returns a table with one field.
func (r *replyReader) tagged(name string, v lua.LValue) lua.LValue {
	t := r.in.state.CreateTable(0, 1)
	t.RawSetString(name, v)
	return t
}

func parseInt(b []byte) int64 {
	if b[0] == '-' {
		return -parseInt(b[1:])
	}
	var n int64
	for _, c := range b {
		n = n*10 + int64(c-'0')
	}
	return n
}
