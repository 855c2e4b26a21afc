package lua

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// A formatSpec is one % of string.format: C's flags, width and precision.
type formatSpec struct {
	minus, plus, blank, sharp, zero bool
	width, prec                     int // prec is -1 if there is none
	verb                            byte
}

// parseSpec reads a specification behind its %, and returns the rest of the format. msg is what is wrong.
func parseSpec(s string) (sp formatSpec, rest, msg string) {
	i := 0
	for i < len(s) && strings.IndexByte("-+ #0", s[i]) >= 0 {
		switch s[i] {
		case '-':
			sp.minus = true
		case '+':
			sp.plus = true
		case ' ':
			sp.blank = true
		case '#':
			sp.sharp = true
		case '0':
			sp.zero = true
		}
		i++
	}
	if i > 5 {
		return sp, s, "invalid format (repeated flags)"
	}
	number := func() (n int) {
		for digits := 0; i < len(s) && digits < 2 && isDigit(s[i]); digits++ {
			n = n*10 + int(s[i]-'0')
			i++
		}
		return n
	}
	sp.width, sp.prec = number(), -1
	if i < len(s) && s[i] == '.' {
		i++
		sp.prec = number()
	}
	if i < len(s) && isDigit(s[i]) {
		return sp, s, "invalid format (width or precision too long)"
	}
	if i < len(s) {
		sp.verb = s[i]
		i++
	}
	return sp, s[i:], ""
}

// pad brings text to the width.
func (sp formatSpec) pad(b []byte, text string) []byte {
	gap := sp.width - len(text)
	if gap <= 0 {
		return append(b, text...)
	}
	if sp.minus {
		return append(append(b, text...), strings.Repeat(" ", gap)...)
	}
	return append(append(b, strings.Repeat(" ", gap)...), text...)
}

// format returns the specification for package fmt, with the flags that C knows for the verb.
func (sp formatSpec) format(signed bool) string {
	var b strings.Builder
	b.WriteByte('%')
	for _, f := range []struct {
		set  bool
		flag byte
	}{{sp.minus, '-'}, {sp.plus && signed, '+'}, {sp.blank && signed, ' '}, {sp.sharp, '#'}, {sp.zero && !sp.minus, '0'}} {
		if f.set {
			b.WriteByte(f.flag)
		}
	}
	if sp.width > 0 {
		b.WriteString(strconv.Itoa(sp.width))
	}
	if sp.prec >= 0 {
		b.WriteByte('.')
		b.WriteString(strconv.Itoa(sp.prec))
	}
	b.WriteByte(sp.verb)
	return b.String()
}

func (sp formatSpec) signed(b []byte, f float64) []byte {
	sp.verb = 'd'
	return fmt.Appendf(b, sp.format(true), toInt64(f))
}

func (sp formatSpec) unsigned(b []byte, f float64) []byte {
	n := uint64(toInt64(f))
	if f >= 1<<63 && f < 1<<64 {
		n = uint64(f)
	}
	if sp.verb == 'u' {
		sp.verb = 'd'
	}
	sharp := sp.sharp
	sp.sharp = sharp && n != 0 && sp.verb != 'd'
	return fmt.Appendf(b, sp.format(false), n)
}

func (sp formatSpec) float(b []byte, f float64) []byte {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		text := formatNumber(f)
		if !strings.HasPrefix(text, "-") {
			if sp.plus {
				text = "+" + text
			} else if sp.blank {
				text = " " + text
			}
		}
		if 'A' <= sp.verb && sp.verb <= 'Z' {
			text = strings.ToUpper(text)
		}
		return sp.pad(b, text)
	}
	if sp.verb == 'f' && sp == (formatSpec{prec: sp.prec, verb: 'f'}) {
		prec := sp.prec
		if prec < 0 {
			prec = 6
		}
		return strconv.AppendFloat(b, f, 'f', prec, 64) // the same, and faster
	}
	if sp.prec < 0 && sp.verb|0x20 == 'g' {
		sp.prec = 6 // Go's default is as many as needed
	}
	return fmt.Appendf(b, sp.format(true), f)
}

// text formats a string. What passes through C's sprintf ends at its first zero byte.
func (sp formatSpec) text(b []byte, s string) []byte {
	if sp.prec < 0 && len(s) >= 100 {
		return append(b, s...)
	}
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	if sp.prec >= 0 {
		s = s[:min(len(s), sp.prec)]
	}
	return sp.pad(b, s)
}

// quote writes a string so that Lua reads it back.
func quote(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\\', '\n':
			b = append(b, '\\', c)
		case '\r':
			b = append(b, `\r`...)
		case 0:
			b = append(b, `\000`...)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// format is string.format.
func (in *Interp) format(l *lua.LState) int {
	const fn = "format"
	f := checkString(l, 1, fn)
	var b []byte
	for arg := 1; ; {
		i := strings.IndexByte(f, '%')
		if i < 0 {
			b = append(b, f...)
			break
		}
		b, f = append(b, f[:i]...), f[i+1:]
		if strings.HasPrefix(f, "%") {
			b, f = append(b, '%'), f[1:]
			continue
		}
		sp, rest, msg := parseSpec(f)
		if msg != "" {
			raise(l, "%s", msg)
		}
		f = rest
		if arg++; arg > l.GetTop() {
			argError(l, arg, fn, "no value")
		}
		switch sp.verb {
		case 'c':
			if c := byte(checkInt(l, arg, fn)); c != 0 {
				b = sp.pad(b, string([]byte{c}))
			} else {
				b = append(b, strings.Repeat(" ", max(sp.width-1, 0))...)
			}
		case 'd', 'i':
			b = sp.signed(b, checkNumber(l, arg, fn))
		case 'o', 'u', 'x', 'X':
			b = sp.unsigned(b, checkNumber(l, arg, fn))
		case 'e', 'E', 'f', 'g', 'G':
			b = sp.float(b, checkNumber(l, arg, fn))
		case 'q':
			b = quote(b, checkString(l, arg, fn))
		case 's':
			b = sp.text(b, checkString(l, arg, fn))
		case 0:
			raise(l, "%s", "invalid option '%' to 'format'")
		default:
			raise(l, "invalid option '%%%c' to 'format'", sp.verb)
		}
		if len(b) > chargeEvery {
			in.meter.charge(l, len(b))
		}
	}
	in.meter.note(len(b))
	l.Push(lua.LString(b))
	return 1
}
