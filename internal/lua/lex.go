package lua

import (
	"fmt"
	"strings"
)

// A token is a kind and what it says. Single characters stand for themselves.
type token struct {
	kind int
	line int
	text string  // the name or the string's value
	raw  string  // as it is written, for messages
	num  float64 // of a number
}

// The kinds of token that are more than one character.
const (
	tokEOF = iota + 256
	tokName
	tokString
	tokNumber
	tokConcat // ..
	tokDots   // ...
	tokEq     // ==
	tokGE     // >=
	tokLE     // <=
	tokNE     // ~=
	tokAnd    // the reserved words follow
	tokBreak
	tokDo
	tokElse
	tokElseif
	tokEnd
	tokFalse
	tokFor
	tokFunction
	tokIf
	tokIn
	tokLocal
	tokNil
	tokNot
	tokOr
	tokRepeat
	tokReturn
	tokThen
	tokTrue
	tokUntil
	tokWhile
)

// tokenNames are how messages call them.
var tokenNames = [...]string{
	"<eof>", "<name>", "<string>", "<number>", "..", "...", "==", ">=", "<=", "~=",
	"and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
	"nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
}

var reserved = func() map[string]int {
	m := make(map[string]int)
	for i, name := range tokenNames[tokAnd-tokEOF:] {
		m[name] = tokAnd + i
	}
	return m
}()

// tokenName is luaX_token2str.
func tokenName(kind int) string {
	switch {
	case kind >= tokEOF:
		return tokenNames[kind-tokEOF]
	case kind < ' ' || kind == 0x7f:
		return fmt.Sprintf("char(%d)", kind)
	}
	return string([]byte{byte(kind)})
}

// A syntaxError is a message of the lexer or parser; it travels as a panic and parse returns it.
type syntaxError string

func (e syntaxError) Error() string { return string(e) }

// A lexer cuts source text into tokens as Lua 5.1 does.
type lexer struct {
	src   string
	pos   int
	line  int
	chunk string
}

// fail ends the parsing with a message near a piece of the text.
func (x *lexer) fail(line int, msg, near string) {
	if near != "" {
		if i := strings.IndexByte(near, 0); i >= 0 {
			near = near[:i] // the message is a C string
		}
		msg += " near '" + near + "'"
	}
	panic(syntaxError(fmt.Sprintf("%s:%d: %s", x.chunk, line, msg)))
}

// peek returns the byte i places on, 0 at the end.
func (x *lexer) peek(i int) byte {
	if x.pos+i < len(x.src) {
		return x.src[x.pos+i]
	}
	return 0
}

func isNewline(c byte) bool { return c == '\n' || c == '\r' }
func isDigit(c byte) bool   { return '0' <= c && c <= '9' }
func isLetter(c byte) bool  { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// newline skips one end of line: \n, \r, \r\n or \n\r.
func (x *lexer) newline() {
	c := x.src[x.pos]
	x.pos++
	if d := x.peek(0); isNewline(d) && d != c && x.pos < len(x.src) {
		x.pos++
	}
	x.line++
}

// next returns the next token.
func (x *lexer) next() token {
	for x.pos < len(x.src) {
		start := x.pos
		switch c := x.src[x.pos]; {
		case isNewline(c):
			x.newline()
		case strings.IndexByte(space, c) >= 0:
			x.pos++
		case c == '-' && x.peek(1) == '-':
			x.comment()
		case isLetter(c):
			for isLetter(x.peek(0)) || isDigit(x.peek(0)) {
				x.pos++
			}
			word := x.src[start:x.pos]
			if kind, ok := reserved[word]; ok {
				return token{kind: kind, line: x.line, raw: word}
			}
			return token{kind: tokName, line: x.line, text: word, raw: word}
		case isDigit(c), c == '.' && isDigit(x.peek(1)):
			return x.number()
		case c == '"' || c == '\'':
			return x.quoted(c)
		case c == '[' && x.longLevel() >= 0:
			s := x.long("string")
			return token{kind: tokString, line: x.line, text: s, raw: x.src[start:x.pos]}
		case c == '[' && x.peek(1) == '=':
			x.pos++
			for x.peek(0) == '=' {
				x.pos++
			}
			x.fail(x.line, "invalid long string delimiter", x.src[start:x.pos])
		default:
			return x.symbol()
		}
	}
	return token{kind: tokEOF, line: x.line, raw: tokenNames[0]}
}

func (x *lexer) symbol() token {
	two := func(kind int) token {
		x.pos += 2
		return token{kind: kind, line: x.line, raw: tokenName(kind)}
	}
	switch c, d := x.src[x.pos], x.peek(1); {
	case c == '.' && d == '.' && x.peek(2) == '.':
		x.pos++
		return two(tokDots)
	case c == '.' && d == '.':
		return two(tokConcat)
	case d == '=' && c == '=':
		return two(tokEq)
	case d == '=' && c == '>':
		return two(tokGE)
	case d == '=' && c == '<':
		return two(tokLE)
	case d == '=' && c == '~':
		return two(tokNE)
	default:
		x.pos++
		return token{kind: int(c), line: x.line, raw: tokenName(int(c))}
	}
}

func (x *lexer) comment() {
	x.pos += 2
	if x.peek(0) == '[' && x.longLevel() >= 0 {
		x.long("comment")
		return
	}
	for x.pos < len(x.src) && !isNewline(x.src[x.pos]) {
		x.pos++
	}
}

// longLevel returns the number of equals signs of a long bracket that opens here, -1 if none does.
func (x *lexer) longLevel() int {
	n := 0
	for x.peek(1+n) == '=' {
		n++
	}
	if x.peek(1+n) != '[' {
		return -1
	}
	return n
}

// long reads a long string or comment.
func (x *lexer) long(what string) string {
	level := x.longLevel()
	x.pos += 2 + level
	if isNewline(x.peek(0)) && x.pos < len(x.src) {
		x.newline()
	}
	closing := "]" + strings.Repeat("=", level) + "]"
	var b strings.Builder
	for x.pos < len(x.src) {
		switch c := x.src[x.pos]; {
		case isNewline(c):
			x.newline()
			b.WriteByte('\n')
		case c == ']' && strings.HasPrefix(x.src[x.pos:], closing):
			x.pos += len(closing)
			return b.String()
		default:
			b.WriteByte(c)
			x.pos++
		}
	}
	x.fail(x.line, "unfinished long "+what, tokenNames[0])
	return ""
}

// number reads all that could belong to a number, as Lua 5.1 does, and then sees whether it is one.
func (x *lexer) number() token {
	start := x.pos
	for isDigit(x.peek(0)) || x.peek(0) == '.' {
		x.pos++
	}
	if x.peek(0)|0x20 == 'e' {
		x.pos++
		if c := x.peek(0); c == '+' || c == '-' {
			x.pos++
		}
	}
	for isLetter(x.peek(0)) || isDigit(x.peek(0)) {
		x.pos++
	}
	raw := x.src[start:x.pos]
	f, ok := parseNumber(raw)
	if !ok {
		x.fail(x.line, "malformed number", raw)
	}
	return token{kind: tokNumber, line: x.line, raw: raw, num: f}
}

func (x *lexer) quoted(quote byte) token {
	x.pos++
	var b strings.Builder
	for {
		if x.pos >= len(x.src) {
			x.fail(x.line, "unfinished string", tokenNames[0])
		}
		switch c := x.src[x.pos]; {
		case c == quote:
			x.pos++
			return token{kind: tokString, line: x.line, text: b.String(), raw: string(quote) + b.String() + string(quote)}
		case isNewline(c):
			x.fail(x.line, "unfinished string", string(quote)+b.String())
		case c == '\\':
			x.pos++
			x.escape(quote, &b)
		default:
			b.WriteByte(c)
			x.pos++
		}
	}
}

// escapes are the letters that stand for another character.
var escapes = map[byte]byte{'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

func (x *lexer) escape(quote byte, b *strings.Builder) {
	if x.pos >= len(x.src) {
		return // and the string is unfinished
	}
	c := x.src[x.pos]
	switch e, ok := escapes[c]; {
	case ok:
		b.WriteByte(e)
		x.pos++
	case isNewline(c):
		x.newline()
		b.WriteByte('\n')
	case isDigit(c):
		n := 0
		for i := 0; i < 3 && isDigit(x.peek(0)); i++ {
			n = n*10 + int(x.src[x.pos]-'0')
			x.pos++
		}
		if n > 255 {
			x.fail(x.line, "escape sequence too large", string(quote)+b.String())
		}
		b.WriteByte(byte(n))
	default:
		b.WriteByte(c)
		x.pos++
	}
}
