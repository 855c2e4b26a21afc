package resp

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Ensure that every kind of reply has the bytes that Redis gives it in either protocol.
func TestWriter(t *testing.T) {
	for _, tt := range []struct {
		name         string
		write        func(w *Writer)
		resp2, resp3 string
	}{
		{"simple", func(w *Writer) { w.Simple("PONG") }, "+PONG\r\n", "+PONG\r\n"},
		{"simple with line breaks", func(w *Writer) { w.Simple("a\r\nb") }, "+a  b\r\n", "+a  b\r\n"},
		{"ok", (*Writer).OK, "+OK\r\n", "+OK\r\n"},
		{"error", func(w *Writer) { w.Error(errors.New("ERR a\nb")) }, "-ERR a b\r\n", "-ERR a b\r\n"},
		{"int", func(w *Writer) { w.Int(-42) }, ":-42\r\n", ":-42\r\n"},
		{"bulk", func(w *Writer) { w.Bulk([]byte("a\r\n")) }, "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"},
		{"bulk of nothing", func(w *Writer) { w.Bulk(nil) }, "$0\r\n\r\n", "$0\r\n\r\n"},
		{"bulk string", func(w *Writer) { w.BulkString("0123456789") }, "$10\r\n0123456789\r\n", "$10\r\n0123456789\r\n"},
		{"bulk int", func(w *Writer) { w.BulkInt(math.MinInt64) }, "$20\r\n-9223372036854775808\r\n", "$20\r\n-9223372036854775808\r\n"},
		{"null", (*Writer).Null, "$-1\r\n", "_\r\n"},
		{"null array", (*Writer).NullArray, "*-1\r\n", "_\r\n"},
		{"array", func(w *Writer) { w.Array(12) }, "*12\r\n", "*12\r\n"},
		{"map", func(w *Writer) { w.Map(2) }, "*4\r\n", "%2\r\n"},
		{"set", func(w *Writer) { w.Set(2) }, "*2\r\n", "~2\r\n"},
		{"push", func(w *Writer) { w.Push(3) }, "*3\r\n", ">3\r\n"},
		{"true", func(w *Writer) { w.Bool(true) }, ":1\r\n", "#t\r\n"},
		{"false", func(w *Writer) { w.Bool(false) }, ":0\r\n", "#f\r\n"},
		{"double", func(w *Writer) { w.Double(3.1) }, "$18\r\n3.1000000000000001\r\n", ",3.1000000000000001\r\n"},
		{"whole double", func(w *Writer) { w.Double(1e6) }, "$7\r\n1000000\r\n", ",1000000\r\n"},
		{"large double", func(w *Writer) { w.Double(1e17) }, "$5\r\n1e+17\r\n", ",1e+17\r\n"},
		{"small double", func(w *Writer) { w.Double(1e-5) }, "$22\r\n1.0000000000000001e-05\r\n", ",1.0000000000000001e-05\r\n"},
		{"infinity", func(w *Writer) { w.Double(math.Inf(1)) }, "$3\r\ninf\r\n", ",inf\r\n"},
		{"minus infinity", func(w *Writer) { w.Double(math.Inf(-1)) }, "$4\r\n-inf\r\n", ",-inf\r\n"},
		{"not a number", func(w *Writer) { w.Double(math.NaN()) }, "$3\r\nnan\r\n", ",nan\r\n"},
		{"big number", func(w *Writer) { w.BigNumber("12345678901234567890") }, "$20\r\n12345678901234567890\r\n", "(12345678901234567890\r\n"},
		{"verbatim", func(w *Writer) { w.Verbatim("txt", "ab") }, "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			two, three := NewWriter(2), NewWriter(3)
			tt.write(two)
			tt.write(three)
			assert.Equal(t, tt.resp2, string(two.Bytes()))
			assert.Equal(t, tt.resp3, string(three.Bytes()))
		})
	}
}

// Ensure that a reply can be taken back, and that Swap hands over what was written with its order.
func TestWriter_TruncateSwap(t *testing.T) {
	var w Writer
	w.Int(1)
	mark := w.Len()
	w.Array(3)
	w.Truncate(mark)
	w.Int(2)
	var other Writer
	other.Swap(&w)
	assert.Equal(t, ":1\r\n:2\r\n", string(other.Bytes()))
	assert.Zero(t, w.Len())
}
