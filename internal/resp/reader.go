package resp

import (
	"bytes"
	"errors"
	"io"
	"math"
)

// Sizes that Redis compiles in.
const (
	maxLine        = 64 << 10 // an inline command, or the line that holds a length
	unauthWords    = 10       // words of a command before AUTH
	unauthBulk     = 16384    // bytes of a word before AUTH
	maxWords       = math.MaxInt32
	firstBuffer    = 4 << 10
	idleBuffer     = 64 << 10 // an empty buffer larger than this is given back
	emptyReadLimit = 100
)

// Limits bound what a Reader accepts.
type Limits struct {
	Bulk  int64 // bytes of one word (proto-max-bulk-len)
	Query int64 // bytes read and not yet executed (client-query-buffer-limit)
	// Unauthenticated holds a client to the few short words that AUTH and HELLO need, so that strangers
	// cannot fill the memory.
	Unauthenticated bool
}

// DefaultLimits are those of Redis.
var DefaultLimits = Limits{Bulk: 512 << 20, Query: 1 << 30}

// A ProtocolError is what a client is told about bytes that are no command. The connection cannot be
// used after it, since nobody knows where the next command begins.
type ProtocolError string

// Error returns the text of the error reply, with its code.
func (e ProtocolError) Error() string { return "ERR Protocol error: " + string(e) }

// ErrQueryTooLong says that Limits.Query was exceeded. Redis closes such a connection without an answer.
var ErrQueryTooLong = errors.New("resp: query buffer limit exceeded")

// A Reader cuts commands out of a byte stream. Call Fill to read once from the connection, then Next
// until it finds no further whole command, and so on.
//
// It allocates nothing per command: words are slices of its buffer. The buffer grows with the bytes that
// have arrived and never with a length that somebody claims, so a header costs its sender as much
// memory as it costs us.
//
// The zero Reader with Limits set is ready for use. It is not safe for concurrent use.
type Reader struct {
	Limits Limits

	buf   []byte // what has been read
	start int    // where the command that is being parsed begins
	pos   int    // how far it has been parsed

	// A multibulk command that is not complete yet.
	words int    // how many are still to come; 0 between commands
	bulk  int    // length of the word at pos, if known
	known bool   // whether bulk is known
	spans []span // the words that have arrived
	err   error  // what ended the stream, for good
}

// A span is a word's place, counted from start, which does not change when the buffer moves.
type span struct{ from, to int }

// Buffered returns how many bytes have been read and not yet returned as commands.
func (r *Reader) Buffered() int { return len(r.buf) - r.start }

// Cap returns how much memory the buffer takes.
func (r *Reader) Cap() int { return cap(r.buf) }

// Fill reads from src once, at most as much as there is room for. Words returned by Next are not valid any
// more.
func (r *Reader) Fill(src io.Reader) error {
	r.makeRoom()
	for range emptyReadLimit {
		n, err := src.Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf = r.buf[:len(r.buf)+n]
		if n > 0 || err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// makeRoom moves what is left to the front and grows the buffer if it is full.
func (r *Reader) makeRoom() {
	full := len(r.buf) == cap(r.buf)
	if r.start > 0 {
		n := copy(r.buf, r.buf[r.start:])
		r.buf = r.buf[:n]
		r.pos -= r.start
		r.start = 0
	}
	if len(r.buf) == 0 && cap(r.buf) > idleBuffer {
		r.buf = nil
		if full { // no rest, but there may be more to come
			r.resize(idleBuffer)
			return
		}
	}
	switch {
	case cap(r.buf) == 0:
		r.resize(firstBuffer)
	case full && cap(r.buf) < idleBuffer:
		// The last read found more than there was room for: a pipeline, better read in one go.
		r.resize(min(2*cap(r.buf), idleBuffer))
	case len(r.buf) == cap(r.buf):
		r.resize(r.enough())
	}
}

// enough returns the next size of a buffer that is full: the exact one for the word that does not fit, if
// the usual doubling is more than that.
func (r *Reader) enough() int {
	size := 2 * cap(r.buf)
	if need := r.pos + r.bulk + 2; r.known && cap(r.buf) < need && need < size {
		return need
	}
	return size
}

// resize makes the buffer larger.
func (r *Reader) resize(size int) {
	larger := make([]byte, len(r.buf), size)
	copy(larger, r.buf)
	r.buf = larger
}

// Next appends the words of the next whole command to words and returns them; ok is false if Fill has to
// read more first. Commands without words are skipped. The words are valid until the next Fill and may
// be modified by it.
//
// An error is a ProtocolError or ErrQueryTooLong, and it stays: the stream has no further commands.
func (r *Reader) Next(words [][]byte) (_ [][]byte, ok bool, err error) {
	if r.err != nil {
		return words, false, r.err
	}
	for r.pos < len(r.buf) {
		n := len(words)
		if r.words > 0 || r.buf[r.pos] == '*' {
			words, ok, err = r.multibulk(words)
		} else {
			words, ok, err = r.inline(words)
		}
		if err != nil {
			r.err = err
			return words, false, err
		}
		if !ok {
			if int64(r.Buffered()) > r.Limits.Query {
				r.err = ErrQueryTooLong
			}
			return words, false, r.err
		}
		r.start = r.pos
		if len(words) > n {
			return words, true, nil
		}
	}
	return words, false, nil
}

// multibulk parses "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n", or goes on with it where it stopped.
func (r *Reader) multibulk(words [][]byte) (_ [][]byte, ok bool, err error) {
	if r.words == 0 {
		line, ok := r.line()
		if !ok {
			return words, false, r.tooLong("too big mbulk count string")
		}
		n, valid := ParseInt(line[1:])
		switch {
		case !valid || n > maxWords:
			return words, false, ProtocolError("invalid multibulk length")
		case n > unauthWords && r.Limits.Unauthenticated:
			return words, false, ProtocolError("unauthenticated multibulk length")
		}
		r.pos += len(line) + 2
		if n <= 0 {
			return words, true, nil
		}
		r.words = int(n)
		r.spans = r.spans[:0]
	}
	for r.words > 0 {
		if !r.known {
			if ok, err := r.bulkHeader(); !ok {
				return words, false, err
			}
		}
		if len(r.buf)-r.pos < r.bulk+2 {
			return words, false, nil
		}
		// What ends a word is skipped and not looked at, as Redis does.
		r.spans = append(r.spans, span{r.pos - r.start, r.pos - r.start + r.bulk})
		r.pos += r.bulk + 2
		r.known = false
		r.words--
	}
	for _, s := range r.spans {
		from, to := r.start+s.from, r.start+s.to
		words = append(words, r.buf[from:to:to])
	}
	if cap(r.spans) > idleBuffer/16 {
		r.spans = nil
	}
	return words, true, nil
}

// bulkHeader parses "$4\r\n". It returns false with no error if the line is not complete.
func (r *Reader) bulkHeader() (ok bool, err error) {
	if r.pos == len(r.buf) {
		return false, nil
	}
	line, ok := r.line()
	if !ok {
		return false, r.tooLong("too big bulk count string")
	}
	if first := r.buf[r.pos]; first != '$' {
		return false, ProtocolError("expected '$', got '" + string([]byte{first}) + "'")
	}
	n, valid := ParseInt(line[1:])
	switch {
	case !valid || n < 0 || n > r.Limits.Bulk:
		return false, ProtocolError("invalid bulk length")
	case n > unauthBulk && r.Limits.Unauthenticated:
		return false, ProtocolError("unauthenticated bulk length")
	}
	r.pos += len(line) + 2
	r.bulk, r.known = int(n), true
	return true, nil
}

// line returns what stands from pos to the next carriage return, if that and one byte more have arrived.
// Redis takes the line for a C string, so a zero byte hides the carriage return behind it.
func (r *Reader) line() ([]byte, bool) {
	rest := r.buf[r.pos:]
	for i, c := range rest {
		if c == '\r' {
			return rest[:i], i+1 < len(rest)
		}
		if c == 0 {
			break
		}
	}
	return nil, false
}

// tooLong returns the error for a line that does not end, once it is longer than any line may be.
func (r *Reader) tooLong(text string) error {
	if len(r.buf)-r.pos > maxLine {
		return ProtocolError(text)
	}
	return nil
}

// inline parses a line as people type it: words between blanks, quoted if need be.
func (r *Reader) inline(words [][]byte) (_ [][]byte, ok bool, err error) {
	rest := r.buf[r.pos:]
	end := bytes.IndexByte(rest, '\n')
	if zero := bytes.IndexByte(rest[:max(end, 0)], 0); zero >= 0 {
		end = -1
	}
	if end < 0 {
		return words, false, r.tooLong("too big inline request")
	}
	line := rest[:end]
	if end > 0 && line[end-1] == '\r' {
		line = line[:end-1]
	}
	words, ok = splitWords(line, words)
	if !ok {
		return words, false, ProtocolError("unbalanced quotes in request")
	}
	r.pos += end + 1
	return words, true, nil
}
