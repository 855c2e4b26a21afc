package lua

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/holdfast-dev/holdfast/internal/resp"
)

// writeFailure writes the reply of a script that ended with an error, as Redis words it: the message, the
// script's SHA1, and the line.
func (in *Interp) writeFailure(w *resp.Writer, err error) {
	var api *lua.ApiError
	obj, ok := lua.LValue(nil), errors.As(err, &api)
	if ok {
		obj = api.Object
	}
	t, ok := obj.(*lua.LTable)
	if !ok {
		// The error handler has failed, which it does when the stack is full.
		t = in.errorObject("ERR unknown error")
		if s, ok := in.translate(obj).(lua.LString); ok {
			t = in.errorObject("ERR " + string(s))
			if m := positioned.FindStringSubmatch(string(s)); m != nil {
				line, _ := strconv.Atoi(m[2])
				in.locate(t, m[1], line)
			}
		}
	}
	msg, ok := stringField(t, "err")
	if !ok {
		msg = "ERR unknown error"
	}
	in.writeLocated(w, msg, t)
}

// writeEnd writes the reply of a script that the meter has ended: the reason, as if it had been raised where
// the script was.
func (in *Interp) writeEnd(w *resp.Writer, reason, err error) {
	at := in.state.NewTable()
	var api *lua.ApiError
	if errors.As(err, &api) {
		if t, ok := api.Object.(*lua.LTable); ok {
			at = t
		}
	}
	in.writeLocated(w, reason.Error(), at)
}

// writeLocated writes an error reply with the script's SHA1 and, if at has them, its fields source and line.
func (in *Interp) writeLocated(w *resp.Writer, msg string, at *lua.LTable) {
	suffix := " script: " + in.script.SHA1
	if line, ok := at.RawGetString("line").(lua.LNumber); ok {
		source, _ := stringField(at, "source")
		suffix += ", on " + source + ":" + strconv.Itoa(int(line)) + "."
	}
	in.writeError(w, msg+suffix)
}

// handleError runs when a script fails and its stack is still there. It returns the error as an object
// with the fields err, source and line.
func (in *Interp) handleError(l *lua.LState) int {
	t, ok := l.Get(1).(*lua.LTable)
	if !ok {
		t = in.errorObject("ERR " + l.ToStringMeta(in.translate(l.Get(1))).String())
	}
	for level := 1; ; level++ {
		where := l.Where(level)
		if where == "" {
			break
		}
		chunk, line, ok := cutPosition(where)
		if !ok {
			continue // a function of Go
		}
		in.locate(t, chunk, line)
		break
	}
	l.Push(t)
	return 1
}

// locate notes where an error was raised.
func (in *Interp) locate(t *lua.LTable, chunk string, line int) {
	t.RawSetString("source", lua.LString("@"+chunk))
	t.RawSetString("line", lua.LNumber(line))
}

// cutPosition takes "user_script:12:" apart.
func cutPosition(where string) (chunk string, line int, ok bool) {
	where = strings.TrimSuffix(where, ":")
	i := strings.LastIndexByte(where, ':')
	if i < 0 {
		return "", 0, false
	}
	line, err := strconv.Atoi(where[i+1:])
	return where[:i], line, err == nil
}

// position returns "user_script:12: " for the function at that level of the stack (1 is the caller of
// the running function of Go), or nothing if that is not a function of Lua.
func position(l *lua.LState, level int) string {
	where := l.Where(level)
	if _, _, ok := cutPosition(where); !ok {
		return ""
	}
	return where + " "
}

// raise raises a message with the position of the caller, luaL_error. The caller has none if it is a
// function of Go too, above all pcall.
func raise(l *lua.LState, format string, args ...any) {
	l.Error(lua.LString(position(l, 1)+fmt.Sprintf(format, args...)), 0)
}

// argError raises Lua's error about an argument. translate does not count the object of a method call.
func argError(l *lua.LState, n int, fn, msg string) {
	if position(l, 1) == "" {
		fn = "?" // Lua takes the name from the code of the caller
	}
	raise(l, "bad argument #%d to '%s' (%s)", n, fn, msg)
}

func typeError(l *lua.LState, n int, fn, want string) {
	got := "no value"
	if n <= l.GetTop() {
		got = l.Get(n).Type().String()
	}
	argError(l, n, fn, want+" expected, got "+got)
}

// The arguments of library functions. fn is the function's name, for the error.

func checkAny(l *lua.LState, n int, fn string) lua.LValue {
	if n > l.GetTop() {
		argError(l, n, fn, "value expected")
	}
	return l.Get(n)
}

func checkString(l *lua.LState, n int, fn string) string {
	v := l.Get(n)
	if s, ok := v.(lua.LString); ok {
		return string(s)
	}
	if _, ok := v.(lua.LNumber); !ok {
		typeError(l, n, fn, "string")
	}
	return text(v)
}

func checkNumber(l *lua.LState, n int, fn string) float64 {
	f, ok := number(l.Get(n))
	if !ok {
		typeError(l, n, fn, "number")
	}
	return f
}

func checkInt(l *lua.LState, n int, fn string) int { return int(toInt64(checkNumber(l, n, fn))) }

func optInt(l *lua.LState, n int, fn string, def int) int {
	if l.Get(n) == lua.LNil {
		return def
	}
	return checkInt(l, n, fn)
}

func checkTable(l *lua.LState, n int, fn string) *lua.LTable {
	t, ok := l.Get(n).(*lua.LTable)
	if !ok {
		typeError(l, n, fn, "table")
	}
	return t
}

func checkFunction(l *lua.LState, n int, fn string) *lua.LFunction {
	f, ok := l.Get(n).(*lua.LFunction)
	if !ok {
		typeError(l, n, fn, "function")
	}
	return f
}
