package lua

import (
	"fmt"
	"math"
	"sort"

	lua "github.com/yuin/gopher-lua"
)

func (in *Interp) openTable() {
	in.library("table", map[string]lua.LGFunction{
		"concat":   in.tableConcat,
		"foreach":  in.tableForeach,
		"foreachi": in.tableForeachI,
		"getn":     func(l *lua.LState) int { l.Push(lua.LNumber(in.array(l, "getn").Len())); return 1 },
		"insert":   in.tableInsert,
		"maxn":     in.tableMaxN,
		"remove":   in.tableRemove,
		"setn":     func(l *lua.LState) int { raise(l, "'setn' is obsolete"); return 0 },
		"sort":     in.tableSort,
	}, nil)
}

// array returns the first argument, a table whose fields may be read.
func (in *Interp) array(l *lua.LState, fn string) *lua.LTable { return in.fields(checkTable(l, 1, fn)) }

// writable returns the first argument, a table that may be changed.
func (in *Interp) writable(l *lua.LState, fn string) *lua.LTable {
	t := checkTable(l, 1, fn)
	if t.Metatable != lua.LNil && in.readonly[t] != nil {
		refuseHere(l)
	}
	return t
}

// arrayKey is what the key of t[key] = v passes through.
func (in *Interp) arrayKey(l *lua.LState) int {
	if n, ok := l.Get(1).(lua.LNumber); ok {
		in.chargeKey(l, float64(n))
	}
	l.SetTop(1)
	return 1
}

// chargeKey counts the memory of a table's array part that reaches up to an integer key. That counts the
// same memory again for each key of a large array, which only makes the meter look more often.
func (in *Interp) chargeKey(l *lua.LState, key float64) {
	const small = 4096
	if key > small && key < tableArrayMax {
		in.meter.reserve(l, 16*int(key))
	}
}

func (in *Interp) tableConcat(l *lua.LState) int {
	t := in.array(l, "concat")
	sep := ""
	if l.Get(2) != lua.LNil {
		sep = checkString(l, 2, "concat")
	}
	from := optInt(l, 3, "concat", 1)
	to := optInt(l, 4, "concat", math.MinInt)
	if l.Get(4) == lua.LNil {
		to = t.Len()
	}
	var b []byte
	for i := from; i <= to; i++ {
		in.meter.work(l, 1)
		v := t.RawGet(lua.LNumber(i))
		if !lua.LVCanConvToString(v) {
			raise(l, "invalid value (%s) at index %d in table for 'concat'", v.Type(), i)
		}
		before := len(b)
		b = append(b, text(v)...)
		if i < to {
			b = append(b, sep...)
		}
		in.meter.charge(l, len(b)-before)
		if len(b) > maxString {
			in.meter.charge(l, len(b))
		}
	}
	in.meter.note(len(b))
	l.Push(lua.LString(b))
	return 1
}

func (in *Interp) tableForeach(l *lua.LState) int {
	t, f := in.array(l, "foreach"), checkFunction(l, 2, "foreach")
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		if in.visit(l, f, k, v) {
			return 1
		}
	}
	return 0
}

func (in *Interp) tableForeachI(l *lua.LState) int {
	t, f := in.array(l, "foreachi"), checkFunction(l, 2, "foreachi")
	for i := 1; i <= t.Len(); i++ {
		if in.visit(l, f, lua.LNumber(i), t.RawGetInt(i)) {
			return 1
		}
	}
	return 0
}

// visit calls f(k, v) and reports whether it returned something, which is left on the stack.
func (in *Interp) visit(l *lua.LState, f *lua.LFunction, k, v lua.LValue) bool {
	l.Push(f)
	l.Push(k)
	l.Push(v)
	in.nested++
	l.Call(2, 1)
	in.nested--
	if l.Get(-1) != lua.LNil {
		return true
	}
	l.Pop(1)
	return false
}

func (in *Interp) tableInsert(l *lua.LState) int {
	t := in.writable(l, "insert")
	n := t.Len() + 1
	pos := n
	switch l.GetTop() {
	case 2:
	case 3:
		pos = checkInt(l, 2, "insert")
		n = max(n, pos)
	default:
		raise(l, "wrong number of arguments to 'insert'")
	}
	v := l.Get(l.GetTop())
	in.chargeKey(l, float64(n))
	in.meter.work(l, (n-pos)/64)
	if 0 < pos && pos < n && n < tableArrayMax {
		t.Insert(pos, v)
		return 0
	}
	for i := n; i > pos; i-- {
		in.meter.work(l, 1)
		t.RawSet(lua.LNumber(i), t.RawGet(lua.LNumber(i-1)))
	}
	t.RawSet(lua.LNumber(pos), v)
	return 0
}

func (in *Interp) tableMaxN(l *lua.LState) int {
	t := in.array(l, "maxn")
	highest := 0.0
	for k, _ := t.Next(lua.LNil); k != lua.LNil; k, _ = t.Next(k) {
		in.meter.work(l, 1)
		if n, ok := k.(lua.LNumber); ok {
			highest = max(highest, float64(n))
		}
	}
	l.Push(lua.LNumber(highest))
	return 1
}

func (in *Interp) tableRemove(l *lua.LState) int {
	t := in.writable(l, "remove")
	n := t.Len()
	pos := optInt(l, 2, "remove", n)
	if pos < 1 || pos > n {
		return 0
	}
	in.meter.work(l, (n-pos)/64)
	v := t.RawGet(lua.LNumber(pos))
	for i := pos; i < n; i++ {
		t.RawSet(lua.LNumber(i), t.RawGet(lua.LNumber(i+1)))
	}
	t.RawSet(lua.LNumber(n), lua.LNil)
	l.Push(v)
	return 1
}

func (in *Interp) tableSort(l *lua.LState) int {
	t := in.writable(l, "sort")
	var less *lua.LFunction
	if l.Get(2) != lua.LNil {
		less = checkFunction(l, 2, "sort")
	}
	values := make([]lua.LValue, t.Len())
	in.meter.reserve(l, 16*len(values))
	for i := range values {
		values[i] = t.RawGetInt(i + 1)
	}
	in.nested++
	sort.Sort(&sorter{in, l, less, values})
	in.nested--
	for i, v := range values {
		t.RawSetInt(i+1, v)
	}
	return 0
}

// A sorter sorts values by Lua's < or by a function of the script, which need not be an order at all:
// sort.Sort ends whatever it says.
type sorter struct {
	in     *Interp
	l      *lua.LState
	less   *lua.LFunction
	values []lua.LValue
}

// lessThan is Lua's <, with errors that have no position.
func (in *Interp) lessThan(l *lua.LState, a, b lua.LValue) bool {
	x, y := a.Type(), b.Type()
	if x != y || x != lua.LTNumber && x != lua.LTString && l.GetMetaField(a, "__lt") == lua.LNil {
		l.Error(in.translate(lua.LString(fmt.Sprintf("attempt to compare %s with %s", x, y))), 0)
	}
	if x == lua.LTString {
		in.meter.work(l, min(len(a.(lua.LString)), len(b.(lua.LString)))/readPerStep)
	}
	return l.LessThan(a, b)
}

func (s *sorter) Len() int      { return len(s.values) }
func (s *sorter) Swap(i, j int) { s.values[i], s.values[j] = s.values[j], s.values[i] }
func (s *sorter) Less(i, j int) bool {
	s.in.meter.work(s.l, 1)
	a, b := s.values[i], s.values[j]
	if s.less == nil {
		return s.in.lessThan(s.l, a, b)
	}
	s.l.Push(s.less)
	s.l.Push(a)
	s.l.Push(b)
	s.l.Call(2, 1)
	v := s.l.Get(-1)
	s.l.Pop(1)
	return lua.LVAsBool(v)
}
