package lua

import (
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// text returns what tostring gives for a string or a number; anything else is empty.
func text(v lua.LValue) string {
	switch v := v.(type) {
	case lua.LString:
		return string(v)
	case lua.LNumber:
		return formatNumber(float64(v))
	}
	return ""
}

// formatNumber prints a number as Lua 5.1 does, with C's %.14g.
func formatNumber(f float64) string {
	var b [32]byte
	return string(appendG(b[:0], f, 14))
}

// appendG prints as C's %.<prec>g, with prec of 14 or more.
func appendG(b []byte, f float64, prec int) []byte {
	// Integers of at most 14 digits are what scripts print, and need no rounding.
	if i := int64(f); float64(i) == f && -1e14 < f && f < 1e14 && (i != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(b, i, 10)
	}
	switch {
	case math.IsNaN(f) && math.Signbit(f): // what 0/0 gives on amd64
		return append(b, "-nan"...)
	case math.IsNaN(f):
		return append(b, "nan"...)
	case math.IsInf(f, 1):
		return append(b, "inf"...)
	case math.IsInf(f, -1):
		return append(b, "-inf"...)
	}
	return strconv.AppendFloat(b, f, 'g', prec, 64)
}

// number converts as Lua's arithmetic does: strings that look like numbers count.
func number(v lua.LValue) (float64, bool) {
	switch v := v.(type) {
	case lua.LNumber:
		return float64(v), true
	case lua.LString:
		return parseNumber(string(v))
	}
	return 0, false
}

// space is what C's isspace accepts.
const space = " \t\n\v\f\r"

// maxNumeral bounds the bytes of a text that is read as a number, for the time that it takes.
const maxNumeral = 16 << 10

// parseNumber reads a number as C's strtod does, with blanks around it and hexadecimal integers.
func parseNumber(s string) (float64, bool) {
	if n, ok := parseDigits(s); ok {
		return n, true
	}
	if len(s) > maxNumeral {
		return 0, false
	}
	s = strings.Trim(s, space)
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || digits == "" || strings.ContainsRune(s, '_') {
		return 0, false
	}
	if len(digits) > 2 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X') {
		return parseHex(s, digits[2:])
	}
	if strings.EqualFold(digits, "nan") { // of which ParseFloat knows no sign
		if s[0] == '-' {
			return math.Copysign(math.NaN(), -1), true
		}
		return math.NaN(), true
	}
	switch c := digits[0]; {
	case c == 'i' || c == 'I' || c == 'n' || c == 'N': // strtod knows inf and nan; so does ParseFloat
	case c != '.' && (c < '0' || c > '9'):
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) && f != 0 { // out of range is infinity or zero, as in C
		return 0, false
	}
	if err != nil && err.(*strconv.NumError).Err == strconv.ErrSyntax {
		return 0, false
	}
	return f, true
}

// parseDigits reads what most numbers are, at most 15 digits.
func parseDigits(s string) (float64, bool) {
	if s == "" || len(s) > 15 {
		return 0, false
	}
	n := int64(0)
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return float64(n), true
}

// parseHex reads hexadecimal digits, with a fraction and a binary exponent as strtod allows.
func parseHex(s, digits string) (float64, bool) {
	sign := 1.0
	if s[0] == '-' {
		sign = -1
	}
	if !strings.ContainsAny(digits, "pP") {
		digits += "p0"
	}
	f, err := strconv.ParseFloat("0x"+digits, 64)
	if err != nil && err.(*strconv.NumError).Err == strconv.ErrSyntax {
		return 0, false
	}
	return sign * f, true
}
