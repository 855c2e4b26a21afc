package resp

import (
	"math"
	"strconv"

	"github.com/tidwall/redcon"
)

// A Writer appends replies to a list of byte slices. It never fails and never blocks: what is done with the
// bytes is the business of whoever owns the connection.
//
// Handlers say what a reply means (a map, a double, nothing at all) and the Writer says it in the
// protocol version that the client has chosen with HELLO. RESP2 has fewer types, so there a map is a
// flat array, a double is a string, and so on, exactly as Redis lowers them.
//
// The zero Writer speaks RESP2 into a new slice. A Writer is not safe for concurrent use.
type Writer struct {
	buf   []byte // the tail, which is written to
	resp3 bool
	over  bool  // the limit has been passed: nothing is kept any more
	limit int64 // of Len; 0 if there is none

	full    [][]byte // what comes before the tail, if it is long
	fullLen int      // its bytes
}

// NewWriter returns a Writer of the given protocol version, 2 or 3.
func NewWriter(proto int) *Writer { return &Writer{resp3: proto == 3} }

// Proto returns the protocol version, 2 or 3.
func (w *Writer) Proto() int {
	if w.resp3 {
		return 3
	}
	return 2
}

// RESP3 reports whether the protocol version is 3.
func (w *Writer) RESP3() bool { return w.resp3 }

// SetProto changes the protocol version of the replies that follow.
func (w *Writer) SetProto(proto int) { w.resp3 = proto == 3 }

// Raw appends bytes that are a reply already.
func (w *Writer) Raw(b []byte) {
	for ; len(b) > longBulk; b = b[longBulk:] {
		w.buf = append(w.room(longBulk), b[:longBulk]...)
	}
	w.buf = append(w.room(len(b)), b...)
}

// Simple appends a status such as PONG. Line breaks in it become spaces.
func (w *Writer) Simple(s string) { w.buf = redcon.AppendString(w.room(len(s)+frame), s) }

// OK appends the status OK.
func (w *Writer) OK() { w.buf = redcon.AppendOK(w.room(frame)) }

// Error appends an error reply. Its text starts with the error's code ("ERR syntax error"); line breaks
// in it become spaces.
func (w *Writer) Error(err error) {
	text := err.Error()
	w.buf = redcon.AppendError(w.room(len(text)+frame), text)
}

// Int appends an integer.
func (w *Writer) Int(n int64) { w.buf = redcon.AppendInt(w.room(frame), n) }

// Bulk appends a binary-safe string. A nil slice is the empty string; see Null.
func (w *Writer) Bulk(b []byte) {
	if len(b) > longBulk {
		w.header('$', len(b))
		longString(w, b)
		return
	}
	w.buf = redcon.AppendBulk(w.room(len(b)+frame), b)
}

// BulkString is Bulk for a string.
func (w *Writer) BulkString(s string) {
	if len(s) > longBulk {
		w.header('$', len(s))
		longString(w, s)
		return
	}
	w.buf = redcon.AppendBulkString(w.room(len(s)+frame), s)
}

// BulkInt appends an integer as a string.
func (w *Writer) BulkInt(n int64) {
	var digits [20]byte
	w.Bulk(strconv.AppendInt(digits[:0], n, 10))
}

// Null appends the absent value: a null string in RESP2.
func (w *Writer) Null() {
	if w.resp3 {
		w.buf = append(w.room(frame), "_\r\n"...)
		return
	}
	w.buf = redcon.AppendNull(w.room(frame))
}

// NullArray appends the absent array, which RESP3 does not tell from the absent value.
func (w *Writer) NullArray() {
	if w.resp3 {
		w.buf = append(w.room(frame), "_\r\n"...)
		return
	}
	w.buf = append(w.room(frame), "*-1\r\n"...)
}

// Array starts an array of n replies, which the caller appends next.
func (w *Writer) Array(n int) { w.buf = redcon.AppendArray(w.room(frame), n) }

// Map starts a map of n pairs; the caller appends 2*n replies next. RESP2: an array of 2*n.
func (w *Writer) Map(n int) {
	if w.resp3 {
		w.header('%', n)
		return
	}
	w.Array(2 * n)
}

// Set starts a set of n replies. RESP2: an array.
func (w *Writer) Set(n int) {
	if w.resp3 {
		w.header('~', n)
		return
	}
	w.Array(n)
}

// Push starts an out-of-band message of n replies. RESP2: an array.
func (w *Writer) Push(n int) {
	if w.resp3 {
		w.header('>', n)
		return
	}
	w.Array(n)
}

// Bool appends a truth value. RESP2: the integer 1 or 0.
func (w *Writer) Bool(v bool) {
	switch {
	case w.resp3 && v:
		w.buf = append(w.room(frame), "#t\r\n"...)
	case w.resp3:
		w.buf = append(w.room(frame), "#f\r\n"...)
	case v:
		w.Int(1)
	default:
		w.Int(0)
	}
}

// Double appends a floating point number with the 17 digits that identify it. RESP2: a string.
func (w *Writer) Double(f float64) {
	var digits [32]byte
	text := AppendDouble(digits[:0], f)
	if !w.resp3 {
		w.Bulk(text)
		return
	}
	w.buf = append(w.room(len(text)+frame), ',')
	w.buf = append(w.buf, text...)
	w.buf = append(w.buf, '\r', '\n')
}

// BigNumber appends an integer of any size, given as decimal digits. RESP2: a string.
func (w *Writer) BigNumber(digits string) {
	if !w.resp3 {
		w.BulkString(digits)
		return
	}
	w.buf = append(w.room(len(digits)+frame), '(')
	w.buf = append(w.buf, digits...)
	w.buf = append(w.buf, '\r', '\n')
}

// Verbatim appends text that is shown to people as it is. The format has three characters: "txt" or
// "mkd". RESP2: a string without the format.
func (w *Writer) Verbatim(format, text string) {
	if !w.resp3 {
		w.BulkString(text)
		return
	}
	w.header('=', len(format)+1+len(text))
	w.Raw([]byte(format))
	w.buf = append(w.room(frame), ':')
	longString(w, text)
}

func (w *Writer) header(kind byte, n int) {
	w.buf = append(w.room(frame), kind)
	w.buf = strconv.AppendInt(w.buf, int64(n), 10)
	w.buf = append(w.buf, '\r', '\n')
}

// AppendDouble appends f as Redis 7.0 prints a double in a reply: C's %.17g, with inf, -inf and nan.
func AppendDouble(b []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(b, "inf"...)
	case math.IsInf(f, -1):
		return append(b, "-inf"...)
	case math.IsNaN(f):
		return append(b, "nan"...)
	}
	return strconv.AppendFloat(b, f, 'g', 17, 64)
}
