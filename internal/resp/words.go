package resp

import "math"

// splitWords appends the words of line to words, by the quoting rules of redis-cli and redis.conf:
// "double quotes" know \n \r \t \b \a \xHH and take any other escaped byte for itself, 'single quotes'
// know only \'. A quote must be followed by a blank or the end. It returns false if the quotes do not add
// up. Words are unquoted in place: no word is longer than what it was written as.
func splitWords(line []byte, words [][]byte) (_ [][]byte, ok bool) {
	i := 0
	for {
		for i < len(line) && isBlank(line[i]) {
			i++
		}
		if i == len(line) {
			return words, true
		}
		from, to := i, i
	word:
		for i < len(line) {
			c := line[i]
			switch {
			case endsWord(c):
				break word
			case c == '"' || c == '\'':
				end, n, closed := unquote(line, i, to)
				if !closed {
					return words, false
				}
				i, to = end, n
				if i < len(line) && !isBlank(line[i]) {
					return words, false
				}
				break word
			default:
				line[to] = c
				to++
				i++
			}
		}
		words = append(words, line[from:to:to])
	}
}

// unquote copies the quoted text that opens at i to line[to:] and returns what follows both.
func unquote(line []byte, i, to int) (next, end int, closed bool) {
	quote := line[i]
	i++
	for i < len(line) {
		c := line[i]
		switch {
		case c == quote:
			return i + 1, to, true
		case c == '\\' && quote == '\'' && i+1 < len(line) && line[i+1] == '\'':
			c = '\''
			i += 2
		case c == '\\' && quote == '"' && i+3 < len(line) && line[i+1] == 'x' && isHex(line[i+2]) && isHex(line[i+3]):
			c = hexValue(line[i+2])<<4 | hexValue(line[i+3])
			i += 4
		case c == '\\' && quote == '"' && i+1 < len(line):
			c = unescape(line[i+1])
			i += 2
		default:
			i++
		}
		line[to] = c
		to++
	}
	return i, to, false
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

// endsWord reports whether c ends a word that is not quoted. Between words, and behind quotes, Redis takes
// \v and \f for blanks too, but inside a word it takes them for part of it. (It would also end the word at
// a zero byte, with which no line comes here.)
func endsWord(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// isBlank is C's isspace.
func isBlank(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func hexValue(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// ParseInt reads a decimal integer as strictly as Redis: an optional minus sign and digits without
// leading zeros, nothing else, and no overflow. What it accepts, printed again, gives the same bytes.
func ParseInt(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	digits := b
	negative := b[0] == '-'
	if negative {
		digits = b[1:]
	}
	if len(digits) == 0 {
		return 0, false
	}
	if digits[0] == '0' {
		return 0, len(b) == 1
	}
	var u uint64
	for _, c := range digits {
		c -= '0'
		if c > 9 {
			return 0, false
		}
		if u > (math.MaxUint64-uint64(c))/10 {
			return 0, false
		}
		u = u*10 + uint64(c)
	}
	switch {
	case negative && u <= -math.MinInt64:
		return -int64(u), true
	case !negative && u <= math.MaxInt64:
		return int64(u), true
	}
	return 0, false
}
