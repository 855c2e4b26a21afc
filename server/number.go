package server

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/resp"
)

// integer is resp.ParseInt with the error that commands answer.
func integer(b []byte) (int64, error) {
	n, ok := resp.ParseInt(b)
	if !ok {
		return 0, errNotInteger
	}
	return n, nil
}

// integer32 is integer for what Redis keeps in a C int: database numbers.
func integer32(b []byte) (int, error) {
	n, err := integer(b)
	if err != nil {
		return 0, err
	}
	if n < math.MinInt32 || n > math.MaxInt32 {
		return 0, errNotInteger32
	}
	return int(n), nil
}

// parseFloat reads a floating point number as C's strtod does, the whole of b: decimal or hexadecimal,
// inf, infinity. Not a number is no number here, nor is what overflows to infinity or vanishes to zero.
func parseFloat(b []byte) (f float64, ok bool) {
	form := floatForm(b)
	if form == notFloat {
		return 0, false
	}
	s := string(b)
	if form == hexFloat && !strings.ContainsAny(s, "pP") {
		s += "p0" // Go wants the exponent that C leaves out
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f == 0 && hasNonZeroDigit(b) {
		return 0, false
	}
	return f, true
}

// float is parseFloat with the error that commands answer.
func float(b []byte) (float64, error) {
	f, ok := parseFloat(b)
	if !ok {
		return 0, errNotFloat
	}
	return f, nil
}

const (
	notFloat = iota
	decimalFloat
	hexFloat
	infinity
)

// floatForm says which of C's notations of a floating point number all of b is.
func floatForm(b []byte) int {
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		b = b[1:]
	}
	if word := strings.ToLower(string(b[:min(len(b), 9)])); word == "inf" || word == "infinity" {
		return infinity
	}
	form, exponent := decimalFloat, byte('e')
	if len(b) > 2 && b[0] == '0' && b[1]|0x20 == 'x' {
		form, exponent = hexFloat, 'p'
		b = b[2:]
	}
	digits, point := 0, false
	for len(b) > 0 {
		c := b[0]
		switch {
		case isDigit(c) || form == hexFloat && isHexLetter(c):
			digits++
		case c == '.' && !point:
			point = true
		case c|0x20 == exponent && digits > 0:
			if !isExponent(b[1:]) {
				return notFloat
			}
			return form
		default:
			return notFloat
		}
		b = b[1:]
	}
	if digits == 0 {
		return notFloat
	}
	return form
}

func isDigit(c byte) bool     { return '0' <= c && c <= '9' }
func isHexLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'f' }

func isExponent(b []byte) bool {
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		b = b[1:]
	}
	for _, c := range b {
		if !isDigit(c) {
			return false
		}
	}
	return len(b) > 0
}

// hasNonZeroDigit looks at the digits of a number before its exponent.
func hasNonZeroDigit(b []byte) bool {
	hex := len(b) > 2 && strings.ContainsAny(string(b[:min(3, len(b))]), "xX")
	for _, c := range b {
		switch {
		case !hex && c|0x20 == 'e' || hex && c|0x20 == 'p':
			return false
		case '1' <= c && c <= '9', hex && isHexLetter(c):
			return true
		}
	}
	return false
}

// The 80-bit extended precision of x86, in which Redis computes INCRBYFLOAT and HINCRBYFLOAT.
const (
	longDoublePrecision = 64
	longDoubleMaxExp    = 16384 // the largest exponent of a mantissa in [0.5, 1)
	longDoubleLongest   = 5 * 1024
)

// longDoubleVanishes is half of the smallest long double: from there down only zero is left.
var longDoubleVanishes = new(big.Float).SetMantExp(big.NewFloat(1), -16446)

// parseLongDouble reads a long double as C's strtold does, with the conditions of parseFloat. An infinity
// that is written as such is one; the sum then refuses it.
func parseLongDouble(b []byte) (f *big.Float, ok bool) {
	form := floatForm(b)
	if form == notFloat || len(b) >= longDoubleLongest {
		return nil, false
	}
	f = new(big.Float).SetPrec(longDoublePrecision)
	if form == infinity {
		return f.SetInf(b[0] == '-'), true
	}
	s, ok := clampExponent(string(b), form)
	if !ok {
		return nil, false
	}
	if _, _, err := f.Parse(s, 0); err != nil {
		return nil, false
	}
	size := new(big.Float).Abs(f)
	if f.IsInf() || f.Sign() != 0 && (f.MantExp(nil) > longDoubleMaxExp || size.Cmp(longDoubleVanishes) <= 0) {
		return nil, false
	}
	return f, true
}

// clampExponent rewrites a number for big.Float: the exponent within what it can hold (far outside of
// what a long double can, whatever the at most 5119 digits before it are), and no octal notation.
func clampExponent(s string, form int) (string, bool) {
	mark := "eE"
	if form == hexFloat {
		mark = "pP"
	}
	i := strings.IndexAny(s, mark)
	if i < 0 {
		if form == hexFloat {
			return s + "p0", true
		}
		return s + "e0", true
	}
	const far = 100_000
	exponent, err := strconv.ParseInt(s[i+1:], 10, 64)
	if err != nil || exponent < -far || exponent > far {
		exponent = far
		if s[i+1] == '-' {
			exponent = -far
		}
	}
	return s[:i+1] + strconv.FormatInt(exponent, 10), true
}

// addLongDouble adds two numbers in text as INCRBYFLOAT does and returns the sum in the text that Redis
// gives it: 17 places after the point, less the zeros at the end.
func addLongDouble(a, b []byte) ([]byte, error) {
	x, ok := parseLongDouble(a)
	if !ok {
		return nil, errNotFloat
	}
	y, ok := parseLongDouble(b)
	if !ok {
		return nil, errNotFloat
	}
	if x.IsInf() || y.IsInf() {
		return nil, errNaNOrInfinity
	}
	sum := new(big.Float).SetPrec(longDoublePrecision).Add(x, y)
	if sum.Sign() != 0 && sum.MantExp(nil) > longDoubleMaxExp {
		return nil, errNaNOrInfinity
	}
	text := sum.Append(nil, 'f', 17)
	for text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	if text[len(text)-1] == '.' {
		text = text[:len(text)-1]
	}
	if string(text) == "-0" {
		return text[1:], nil
	}
	return text, nil
}
