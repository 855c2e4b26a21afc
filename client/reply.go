package client

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// This file reads and writes the Redis protocol (RESP2) for the requests of a link, which are all EVALSHA or
// EVAL, and nothing else. go-redis makes and authenticates the connections; what lies on the path of every
// lock is done here, without its copies.

// The bounds of a reply. The longest one that a script gives is a list of ten thousand short texts.
const (
	maxReplyBulk  = 1 << 20
	maxReplyArray = 1 << 16
	maxReplyDepth = 4
)

// errMalformed ends a connection: after it nobody knows where the next reply begins.
var errMalformed = errors.New("malformed reply")

// errPartial says that more of the reply has yet to come.
var errPartial = errors.New("partial reply")

// A nodeError is an error reply of a node, as go-redis's own are.
type nodeError string

func (e nodeError) Error() string { return string(e) }

// RedisError implements redis.Error.
func (nodeError) RedisError() {}

// appendArray begins a command of n words.
func appendArray(b []byte, n int) []byte {
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, '\r', '\n')
}

// appendBulk appends one word of a command.
func appendBulk(b []byte, word string) []byte {
	b = append(b, '$')
	b = strconv.AppendInt(b, int64(len(word)), 10)
	b = append(b, '\r', '\n')
	b = append(b, word...)
	return append(b, '\r', '\n')
}

// appendInt appends a number as a word.
func appendInt(b []byte, n int) []byte {
	var digits [20]byte
	return appendBulk(b, string(strconv.AppendInt(digits[:0], int64(n), 10)))
}

// parseReply reads one reply from the front of b: an int64, a string, nil, a []any of these, or a nodeError as
// err. n is its length in b. err is errPartial if b ends before the reply does, and wraps errMalformed if it is none.
func parseReply(b []byte) (v any, n int, err error) { return parseNested(b, 0) }

func parseNested(b []byte, depth int) (v any, n int, err error) {
	line, n, err := replyLine(b)
	if err != nil {
		return nil, 0, err
	}
	text := line[1:]
	switch line[0] {
	case '+':
		return string(text), n, nil
	case '-':
		return nil, n, nodeError(text)
	case ':':
		i, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: integer %.30q", errMalformed, text)
		}
		return i, n, nil
	case '$':
		return parseBulk(b, n, text)
	case '*':
		return parseArray(b, n, text, depth)
	}
	return nil, 0, fmt.Errorf("%w: begins with %.10q", errMalformed, line)
}

// replyLine returns the first line, which is never empty, and its length with the line break.
func replyLine(b []byte) (line []byte, n int, err error) {
	end := bytes.IndexByte(b, '\n')
	switch {
	case end < 0 && len(b) > maxReplyBulk:
		return nil, 0, fmt.Errorf("%w: a line of more than %d bytes", errMalformed, maxReplyBulk)
	case end < 0:
		return nil, 0, errPartial
	case end < 2 || b[end-1] != '\r':
		return nil, 0, fmt.Errorf("%w: line %.30q", errMalformed, b[:end])
	}
	return b[:end-1], end + 1, nil
}

// replyLength reads the length of a bulk or an array; -1 is the null of RESP2.
func replyLength(text []byte, limit int) (int, error) {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < -1 || n > limit {
		return 0, fmt.Errorf("%w: length %.30q", errMalformed, text)
	}
	return n, nil
}

func parseBulk(b []byte, at int, text []byte) (any, int, error) {
	length, err := replyLength(text, maxReplyBulk)
	switch {
	case err != nil:
		return nil, 0, err
	case length < 0:
		return nil, at, nil
	case len(b) < at+length+2:
		return nil, 0, errPartial
	case b[at+length] != '\r' || b[at+length+1] != '\n':
		return nil, 0, fmt.Errorf("%w: a bulk of %d bytes is longer", errMalformed, length)
	}
	return string(b[at : at+length]), at + length + 2, nil
}

func parseArray(b []byte, at int, text []byte, depth int) (any, int, error) {
	length, err := replyLength(text, maxReplyArray)
	switch {
	case err != nil:
		return nil, 0, err
	case length < 0:
		return nil, at, nil
	case depth == maxReplyDepth:
		return nil, 0, fmt.Errorf("%w: nested too deeply", errMalformed)
	}
	all := make([]any, 0, min(length, 16)) // what the header claims is believed as it arrives
	for range length {
		v, n, err := parseNested(b[at:], depth+1)
		var refused nodeError
		switch {
		case errors.As(err, &refused): // an error inside an array is an element
			v = refused
		case err != nil:
			return nil, 0, err
		}
		all = append(all, v)
		at += n
	}
	return all, at, nil
}
