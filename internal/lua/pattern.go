package lua

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// The limits of Lua 5.1's patterns.
const (
	maxCaptures   = 32
	maxPatternRec = 220 // nested matches: each costs stack of Go
)

// A matcher matches one pattern against one string, by backtracking as Lua's own does. That can take time
// exponential in the pattern's length, so every step counts on the meter.
type matcher struct {
	in       *Interp
	l        *lua.LState
	src, pat string
	level    int
	depth    int
	unread   int // bytes gone through and not counted yet
	capture  [maxCaptures]capture
}

// A capture is where in the string it begins and how long it is, or one of the special lengths.
type capture struct{ start, length int }

const (
	captureOpen     = -1
	capturePosition = -2
)

// read counts that n bytes of the string or the pattern were gone through within a step, which are few
// most of the time.
func (m *matcher) read(n int) {
	if m.unread += n; m.unread >= readAtOnce/16 {
		m.in.meter.read(m.l, m.unread)
		m.unread = 0
	}
}

func (m *matcher) fail(msg string) { raise(m.l, "%s", msg) }

// match matches the pattern from p at the string from s, and returns where the match ends, -1 if there
// is none.
func (m *matcher) match(s, p int) int {
	if m.depth++; m.depth > maxPatternRec {
		m.fail("pattern too complex")
	}
	defer func() { m.depth-- }()
	for {
		m.in.meter.work(m.l, 1)
		if p == len(m.pat) {
			return s
		}
		switch m.pat[p] {
		case '(':
			if p+1 < len(m.pat) && m.pat[p+1] == ')' {
				return m.open(s, p+2, capturePosition)
			}
			return m.open(s, p+1, captureOpen)
		case ')':
			return m.close(s, p+1)
		case '%':
			if p+1 < len(m.pat) {
				switch c := m.pat[p+1]; {
				case c == 'b':
					if s = m.balance(s, p+2); s < 0 {
						return -1
					}
					p += 4
					continue
				case c == 'f':
					p += 2
					if p >= len(m.pat) || m.pat[p] != '[' {
						m.fail("missing '[' after '%f' in pattern")
					}
					end := m.classEnd(p)
					if m.set(m.before(s), p, end-1) || !m.set(m.byteAt(s), p, end-1) {
						return -1
					}
					p = end
					continue
				case isDigit(c):
					if s = m.back(s, c); s < 0 {
						return -1
					}
					p += 2
					continue
				}
			}
		case '$':
			if p+1 == len(m.pat) {
				if s == len(m.src) {
					return s
				}
				return -1
			}
		}
		end := m.classEnd(p)
		var quantifier byte
		if end < len(m.pat) {
			quantifier = m.pat[end]
		}
		switch quantifier {
		case '?':
			if s < len(m.src) && m.single(m.src[s], p, end) {
				if r := m.match(s+1, end+1); r >= 0 {
					return r
				}
			}
			p = end + 1
		case '*':
			return m.maxExpand(s, p, end)
		case '+':
			if s < len(m.src) && m.single(m.src[s], p, end) {
				return m.maxExpand(s+1, p, end)
			}
			return -1
		case '-':
			return m.minExpand(s, p, end)
		default:
			if s >= len(m.src) || !m.single(m.src[s], p, end) {
				return -1
			}
			s, p = s+1, end
		}
	}
}

// byteAt returns the byte at s, zero at the end; before returns the one before it.
func (m *matcher) byteAt(s int) byte {
	if s < len(m.src) {
		return m.src[s]
	}
	return 0
}

func (m *matcher) before(s int) byte {
	if s > 0 {
		return m.src[s-1]
	}
	return 0
}

// classEnd returns where the single-character class that begins at p ends.
func (m *matcher) classEnd(p int) int {
	c := m.pat[p]
	p++
	switch c {
	case '%':
		if p >= len(m.pat) {
			m.fail("malformed pattern (ends with '%')")
		}
		return p + 1
	case '[':
		if p < len(m.pat) && m.pat[p] == '^' {
			p++
		}
		for first := true; first || p >= len(m.pat) || m.pat[p] != ']'; first = false {
			if p >= len(m.pat) {
				m.fail("malformed pattern (missing ']')")
			}
			if c := m.pat[p]; c == '%' && p+1 < len(m.pat) {
				p++
			}
			p++
			m.read(1)
		}
		return p + 1
	}
	return p
}

// single reports whether a byte is in the class pat[p:end].
func (m *matcher) single(c byte, p, end int) bool {
	switch m.pat[p] {
	case '.':
		return true
	case '%':
		return inClass(c, m.pat[p+1])
	case '[':
		return m.set(c, p, end-1)
	}
	return m.pat[p] == c
}

// set reports whether a byte is in the set from its '[' at p to its ']' at last.
func (m *matcher) set(c byte, p, last int) bool {
	is := true
	p++
	if m.pat[p] == '^' {
		is = false
		p++
	}
	for ; p < last; p++ {
		m.read(1)
		switch {
		case m.pat[p] == '%' && p+1 < last:
			p++
			if inClass(c, m.pat[p]) {
				return is
			}
		case p+2 < last && m.pat[p+1] == '-':
			if m.pat[p] <= c && c <= m.pat[p+2] {
				return is
			}
			p += 2
		case m.pat[p] == c:
			return is
		}
	}
	return !is
}

// inClass reports whether a byte is of the class that a letter stands for; a capital letter is the rest.
func inClass(c, class byte) bool {
	var in bool
	switch class | 0x20 {
	case 'a':
		in = isAlpha(c)
	case 'c':
		in = c < ' ' || c == 0x7f
	case 'd':
		in = isDigit(c)
	case 'l':
		in = 'a' <= c && c <= 'z'
	case 'p':
		in = ' ' < c && c < 0x7f && !isAlpha(c) && !isDigit(c)
	case 's':
		in = strings.IndexByte(space, c) >= 0
	case 'u':
		in = 'A' <= c && c <= 'Z'
	case 'w':
		in = isAlpha(c) || isDigit(c)
	case 'x':
		in = isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f'
	case 'z':
		in = c == 0
	default:
		return class == c
	}
	if !isAlpha(class) {
		return class == c
	}
	return in != ('A' <= class && class <= 'Z')
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func (m *matcher) maxExpand(s, p, end int) int {
	i := 0
	for s+i < len(m.src) && m.single(m.src[s+i], p, end) {
		i++
		m.read(readPerStep / 4)
	}
	for ; i >= 0; i-- {
		if r := m.match(s+i, end+1); r >= 0 {
			return r
		}
	}
	return -1
}

func (m *matcher) minExpand(s, p, end int) int {
	for {
		if r := m.match(s, end+1); r >= 0 {
			return r
		}
		if s >= len(m.src) || !m.single(m.src[s], p, end) {
			return -1
		}
		s++
	}
}

func (m *matcher) open(s, p, what int) int {
	if m.level >= maxCaptures {
		m.fail("too many captures")
	}
	m.capture[m.level] = capture{s, what}
	m.level++
	r := m.match(s, p)
	if r < 0 {
		m.level--
	}
	return r
}

func (m *matcher) close(s, p int) int {
	n := m.level - 1
	for n >= 0 && m.capture[n].length != captureOpen {
		n--
	}
	if n < 0 {
		m.fail("invalid pattern capture")
	}
	m.capture[n].length = s - m.capture[n].start
	r := m.match(s, p)
	if r < 0 {
		m.capture[n].length = captureOpen
	}
	return r
}

// balance matches %bxy.
func (m *matcher) balance(s, p int) int {
	if p+1 >= len(m.pat) {
		m.fail("unbalanced pattern")
	}
	if s >= len(m.src) || m.src[s] != m.pat[p] {
		return -1
	}
	open, shut, depth := m.pat[p], m.pat[p+1], 1
	for s++; s < len(m.src); s++ {
		m.read(1)
		switch m.src[s] {
		case shut:
			if depth--; depth == 0 {
				return s + 1
			}
		case open:
			depth++
		}
	}
	return -1
}

// back matches what a capture has matched.
func (m *matcher) back(s int, digit byte) int {
	n := int(digit) - '1'
	if n < 0 || n >= m.level || m.capture[n].length == captureOpen {
		m.fail("invalid capture index")
	}
	c := m.capture[n]
	if c.length < 0 {
		return -1 // a position has no text
	}
	m.read(c.length / 4)
	if text := m.src[c.start : c.start+c.length]; strings.HasPrefix(m.src[s:], text) {
		return s + len(text)
	}
	return -1
}

// value returns capture n of a match of src[s:e]; the whole match if the pattern has none.
func (m *matcher) value(n, s, e int) lua.LValue {
	if n >= m.level {
		if n != 0 {
			m.fail("invalid capture index")
		}
		return lua.LString(m.src[s:e])
	}
	switch c := m.capture[n]; c.length {
	case captureOpen:
		m.fail("unfinished capture")
		return nil
	case capturePosition:
		return lua.LNumber(c.start + 1)
	default:
		return lua.LString(m.src[c.start : c.start+c.length])
	}
}

// push pushes all captures; the whole match if the pattern has none and whole is set.
func (m *matcher) push(s, e int, whole bool) int {
	n := m.level
	if n == 0 && whole {
		n = 1
	}
	for i := range n {
		m.l.Push(m.value(i, s, e))
	}
	return n
}

// find is string.find and string.match.
func (in *Interp) find(l *lua.LState, fn string, find bool) int {
	src, pat := checkString(l, 1, fn), checkString(l, 2, fn)
	init := optInt(l, 3, fn, 1)
	if init < 0 {
		init += len(src) + 1
	}
	init = min(max(init-1, 0), len(src))
	if find && (lua.LVAsBool(l.Get(4)) || !strings.ContainsAny(pat, "^$*+?.([%-")) {
		i := in.index(l, src[init:], pat)
		if i < 0 {
			l.Push(lua.LNil)
			return 1
		}
		l.Push(lua.LNumber(init + i + 1))
		l.Push(lua.LNumber(init + i + len(pat)))
		return 2
	}
	m := &matcher{in: in, l: l, src: src, pat: pat}
	anchor := strings.HasPrefix(pat, "^")
	if anchor {
		m.pat = pat[1:]
	}
	for s := init; s <= len(src); s++ {
		m.level = 0
		if e := m.match(s, 0); e >= 0 {
			if !find {
				return m.push(s, e, true)
			}
			l.Push(lua.LNumber(s + 1))
			l.Push(lua.LNumber(e))
			return 2 + m.push(s, e, false)
		}
		if anchor {
			break
		}
	}
	l.Push(lua.LNil)
	return 1
}

// index is strings.Index.
func (in *Interp) index(l *lua.LState, s, pat string) int {
	piece := max(readAtOnce, len(pat))
	for from := 0; ; from += piece {
		end := min(from+piece+len(pat), len(s)) // past the matches that begin in this piece
		in.meter.work(l, end-from)
		if i := strings.Index(s[from:end], pat); i >= 0 {
			return from + i
		}
		if end == len(s) {
			return -1
		}
	}
}

func (in *Interp) gmatch(l *lua.LState) int {
	src, pat := checkString(l, 1, "gmatch"), checkString(l, 2, "gmatch")
	pos := 0
	l.Push(l.NewFunction(func(l *lua.LState) int {
		m := &matcher{in: in, l: l, src: src, pat: pat}
		for s := pos; s <= len(src); s++ {
			m.level = 0
			if e := m.match(s, 0); e >= 0 {
				pos = e
				if e == s {
					pos++
				}
				return m.push(s, e, true)
			}
		}
		pos = len(src) + 1
		return 0
	}))
	return 1
}

func (in *Interp) gsub(l *lua.LState) int {
	src, pat := checkString(l, 1, "gsub"), checkString(l, 2, "gsub")
	repl := l.Get(3)
	switch repl.(type) {
	case lua.LString, lua.LNumber, *lua.LTable, *lua.LFunction:
	default:
		argError(l, 3, "gsub", "string/function/table expected")
	}
	limit := optInt(l, 4, "gsub", len(src)+1)
	m := &matcher{in: in, l: l, src: src, pat: pat}
	anchor := strings.HasPrefix(pat, "^")
	if anchor {
		m.pat = pat[1:]
	}
	var b []byte
	n, s := 0, 0
	for n < limit {
		m.level = 0
		e := m.match(s, 0)
		if e >= 0 {
			n++
			before := len(b)
			b = m.replace(b, s, e, repl)
			in.meter.charge(l, len(b)-before)
		}
		switch {
		case e >= 0 && e > s:
			s = e
		case s < len(src):
			b = append(b, src[s])
			s++
		default:
			s++
		}
		if s > len(src) || anchor {
			break
		}
	}
	if s < len(src) {
		b = append(b, src[s:]...)
	}
	in.meter.note(len(b))
	l.Push(lua.LString(b))
	l.Push(lua.LNumber(n))
	return 2
}

// replace appends what replaces the match src[s:e].
func (m *matcher) replace(b []byte, s, e int, repl lua.LValue) []byte {
	var v lua.LValue
	switch r := repl.(type) {
	case *lua.LTable:
		v = m.l.GetTable(r, m.value(0, s, e))
	case *lua.LFunction:
		m.l.Push(r)
		args := m.push(s, e, true)
		m.in.nested++
		m.l.Call(args, 1)
		m.in.nested--
		v = m.l.Get(-1)
		m.l.Pop(1)
	default:
		return m.expand(b, s, e, text(repl))
	}
	switch v := v.(type) {
	case lua.LString, lua.LNumber:
		return append(b, text(v)...)
	default:
		if !lua.LVAsBool(v) {
			return append(b, m.src[s:e]...)
		}
		m.fail("invalid replacement value (a " + v.Type().String() + ")")
		return b
	}
}

// expand appends a replacement string with its %0 to %9.
func (m *matcher) expand(b []byte, s, e int, repl string) []byte {
	for i := 0; i < len(repl); i++ {
		c := repl[i]
		if c != '%' {
			b = append(b, c)
			continue
		}
		i++
		switch {
		case i >= len(repl):
			b = append(b, 0) // Lua reads the end of its C string
		case !isDigit(repl[i]):
			b = append(b, repl[i])
		case repl[i] == '0':
			b = append(b, m.src[s:e]...)
		default:
			b = append(b, text(m.value(int(repl[i]-'1'), s, e))...)
		}
	}
	return b
}
