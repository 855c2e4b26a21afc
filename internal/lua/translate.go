package lua

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// gopher-lua words the errors of its virtual machine in its own way. Programs and people know Lua's, and
// Lua says which variable was to blame. The parser has noted what is used where (source.uses): if all
// that could have failed in this way on the line of the error has the same name, that is it; if not, no
// name is better than a wrong one.

// vmErrors match the virtual machine's messages, without their position.
var vmErrors = []struct {
	pattern *regexp.Regexp
	words   func(in *Interp, at place, m []string) string
}{
	{regexp.MustCompile(`^attempt to index a non-table object\((\w+)\) with key '([\s\S]*)'$`), func(in *Interp, at place, m []string) string {
		name := in.blame(at, func(u use) (string, bool) { return u.a, u.op == opIndex && (u.key == m[2] || u.key == "") })
		return about("index", name, m[1])
	}},
	{regexp.MustCompile(`^attempt to call a non-function object$`), func(in *Interp, at place, _ []string) string {
		name := in.blame(at, func(u use) (string, bool) { return u.a, u.op == opCall })
		return about("call", name, "nil")
	}},
	{regexp.MustCompile(`^cannot perform \w+ operation between (\w+) and (\w+)$`), func(in *Interp, at place, m []string) string {
		left := m[1] != "number" && (m[1] != "string" || m[2] == "number" || m[2] == "string")
		kind := m[2]
		if left {
			kind = m[1]
		}
		name := in.blame(at, func(u use) (string, bool) {
			if left {
				return u.a, u.op == opArith
			}
			return u.b, u.op == opArith
		})
		return about("perform arithmetic on", name, kind)
	}},
	{regexp.MustCompile(`^__unm undefined$`), func(in *Interp, at place, _ []string) string {
		name := in.blame(at, func(u use) (string, bool) { return u.a, u.op == opArith })
		return about("perform arithmetic on", name, "nil")
	}},
	{regexp.MustCompile(`^__len undefined$`), func(in *Interp, at place, _ []string) string {
		name := in.blame(at, func(u use) (string, bool) { return u.a, u.op == opLen })
		return about("get length of", name, "nil")
	}},
	{regexp.MustCompile(`^attempt to concatenate a (\w+) value \((left|right)\)$`), func(in *Interp, at place, m []string) string {
		name := in.blame(at, func(u use) (string, bool) {
			if m[2] == "left" {
				return u.a, u.op == opConcat
			}
			return u.b, u.op == opConcat
		})
		return about("concatenate", name, m[1])
	}},
	{regexp.MustCompile(`^attempt to compare (\w+) with (\w+)$`), func(_ *Interp, _ place, m []string) string {
		if m[1] == m[2] {
			return fmt.Sprintf("attempt to compare two %s values", m[1])
		}
		return m[0]
	}},
	{regexp.MustCompile(`^for statement (init|limit|step) must be a number$`), func(_ *Interp, _ place, m []string) string {
		return "'for' " + strings.Replace(m[1], "init", "initial value", 1) + " must be a number"
	}},
	{regexp.MustCompile(`^bad argument #(\d+) to '(\w+)' (\([\s\S]*\))$`), func(in *Interp, at place, m []string) string {
		n, _ := strconv.Atoi(m[1])
		called := in.blame(at, func(u use) (string, bool) {
			return u.a, u.op == opCall && strings.HasSuffix(u.a, " '"+m[2]+"'")
		})
		if called != "method '"+m[2]+"'" {
			return m[0]
		}
		if n == 1 {
			return fmt.Sprintf("calling '%s' on bad self %s", m[2], m[3])
		}
		return fmt.Sprintf("bad argument #%d to '%s' %s", n-1, m[2], m[3])
	}},
	{regexp.MustCompile(`^registry overflow$|^lua callstack overflow$`), func(*Interp, place, []string) string {
		return "stack overflow"
	}},
}

// A place is a line of a chunk.
type place struct {
	chunk string
	line  int
}

// positioned matches "user_script:1: message".
var positioned = regexp.MustCompile(`^([^\n]*?):(\d+): ([\s\S]*)$`)

// about is Lua's sentence about a value of a wrong type.
func about(what, name, kind string) string {
	if name == "" {
		return fmt.Sprintf("attempt to %s a %s value", what, kind)
	}
	return fmt.Sprintf("attempt to %s %s (a %s value)", what, name, kind)
}

// blame returns the one name that pick selects among the uses on a line, or nothing.
func (in *Interp) blame(at place, pick func(use) (string, bool)) string {
	src := in.sources[at.chunk]
	if src == nil {
		return ""
	}
	name, found := "", false
	for _, u := range src.uses {
		if u.line != at.line {
			continue
		}
		if s, ok := pick(u); ok && s != blameless {
			if found && s != name {
				return ""
			}
			name, found = s, true
		}
	}
	return name
}

// translate returns an error value in the words of Lua 5.1, if it is a message of the virtual machine.
func (in *Interp) translate(v lua.LValue) lua.LValue {
	s, ok := v.(lua.LString)
	if !ok {
		return v
	}
	at, where, msg := place{}, "", string(s)
	if m := positioned.FindStringSubmatch(msg); m != nil {
		at.chunk = m[1]
		at.line, _ = strconv.Atoi(m[2])
		where, msg = m[1]+":"+m[2]+": ", m[3]
	}
	for _, e := range vmErrors {
		if m := e.pattern.FindStringSubmatch(msg); m != nil {
			return lua.LString(where + e.words(in, at, m))
		}
	}
	return v
}

// compileError words what the code generator cannot do.
func compileError(err error, chunk string) error {
	var line int
	msg := err.Error()
	if e, ok := err.(*lua.CompileError); ok {
		line, msg = e.Line, e.Message
	}
	return syntaxError(fmt.Sprintf("%s:%d: %s", chunk, line, msg))
}
