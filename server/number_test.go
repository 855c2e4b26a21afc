package server

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/holdfast-dev/holdfast/internal/resp"
)

// Ensure that only the one canonical way to write an integer is an integer.
func TestParseInteger(t *testing.T) {
	good := map[string]int64{
		"0": 0, "1": 1, "-1": -1, "10": 10,
		"9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	}
	for s, want := range good {
		n, ok := resp.ParseInt([]byte(s))
		assert.True(t, ok, s)
		assert.Equal(t, want, n, s)
	}
	for _, s := range []string{"", "-", "+1", "-0", "00", "01", "-01", " 1", "1 ", "1\x00", "1.0", "1e3", "0x1", "a",
		"9223372036854775808", "-9223372036854775809", "18446744073709551617", "99999999999999999999"} {
		_, ok := resp.ParseInt([]byte(s))
		assert.False(t, ok, "%q", s)
	}
}

// Ensure that floating point numbers are read as C's strtod reads them, and that the whole word must be one.
func TestParseFloat(t *testing.T) {
	good := map[string]float64{
		"0": 0, "1.5": 1.5, "+1": 1, "-.5": -0.5, "5.": 5, "1e3": 1000, "1E-2": 0.01, "0x10": 16, "0X.8p1": 1, "0x1P-1": 0.5,
		"inf": math.Inf(1), "-INFINITY": math.Inf(-1), "+Inf": math.Inf(1), "0e999999": 0, "0x0p99999": 0,
		"1.7976931348623157e308": math.MaxFloat64, "5e-324": 5e-324, "007": 7, "9007199254740993": 9007199254740992,
	}
	for s, want := range good {
		f, ok := parseFloat([]byte(s))
		assert.True(t, ok, s)
		assert.Equal(t, want, f, s)
	}
	for _, s := range []string{"", "-", ".", "e5", "1e", "1e+", "0x", "0xp1", "0x1p", " 1", "1 ", "1\x00", "1_0", "0x_1p1", "0b1",
		"nan", "-nan", "nan(1)", "infinit", "infinityx", "i", "1e309", "-1e309", "1e-400", "0x1p-2000", "1.2.3", "1,5", "--1"} {
		_, ok := parseFloat([]byte(s))
		assert.False(t, ok, "%q", s)
	}
}

// Ensure that reading the options of a SET that takes a lock allocates nothing.
func TestParseSetOptions_Allocations(t *testing.T) {
	words := [][]byte{[]byte("NX"), []byte("px"), []byte("8000"), []byte("Get")}
	allocs := testing.AllocsPerRun(100, func() {
		o, err := parseSetOptions(words)
		if err != nil || !o.nx || !o.get || o.expiry != expiryPX || string(o.expire) != "8000" {
			t.Fatal(o, err)
		}
	})
	assert.Zero(t, allocs)
}

// Ensure that an integer is read exactly when it is what the integer would be written as.
func FuzzParseInteger(f *testing.F) {
	for _, s := range []string{"0", "-0", "9223372036854775808", "-9223372036854775808", "007", "+1", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := resp.ParseInt(b)
		want, err := strconv.ParseInt(string(b), 10, 64)
		canonical := err == nil && strconv.FormatInt(want, 10) == string(b)
		if ok != canonical || ok && n != want {
			t.Fatalf("ParseInt(%q) = %d, %v", b, n, ok)
		}
	})
}

// Ensure that no word makes a floating point number that is none, and that what Go reads in plain decimal
// notation is read alike.
func FuzzParseFloat(f *testing.F) {
	for _, s := range []string{"1e3", "0x1p4", "inf", "nan", "0x_1p1", "1e-400", ".", "-.5e+1", "0X"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := parseFloat(b)
		if ok && math.IsNaN(got) {
			t.Fatalf("parseFloat(%q) is not a number", b)
		}
		if strings.Trim(string(b), "0123456789.eE+-") != "" {
			return
		}
		want, err := strconv.ParseFloat(string(b), 64)
		if ok && (err != nil || got != want) || !ok && err == nil && want != 0 {
			t.Fatalf("parseFloat(%q) = %v, %v; Go reads %v, %v", b, got, ok, want, err)
		}
	})
}

// Ensure that a sum is text that can be summed again, and then stays what it is.
func FuzzAddLongDouble(f *testing.F) {
	for _, s := range []string{"1", "-0", "1e4932", "-1e4932", "3.6e-4951", "0x1p-3", "inf", "1e99999999999999999999", "0.1"} {
		f.Add([]byte(s), []byte("0.2"))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		sum, err := addLongDouble(a, b)
		if err != nil {
			if err != errNotFloat && err != errNaNOrInfinity {
				t.Fatalf("addLongDouble(%q, %q): %v", a, b, err)
			}
			return
		}
		again, err := addLongDouble(sum, []byte("0"))
		if err != nil || string(again) != string(sum) {
			t.Fatalf("%q + %q = %q, and with 0 added %q, %v", a, b, sum, again, err)
		}
	})
}

// Ensure that whatever is a cursor is also one when written plainly.
func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{"", "0", "-1", "+5", "18446744073709551615", "18446744073709551616", " 1", "-"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseCursor(b)
		if err != nil {
			return
		}
		if again, err := parseCursor(strconv.AppendUint(nil, n, 10)); err != nil || again != n {
			t.Fatalf("parseCursor(%q) = %d, then %d, %v", b, n, again, err)
		}
	})
}
