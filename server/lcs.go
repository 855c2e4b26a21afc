package server

import "github.com/holdfast-dev/holdfast/internal/keyspace"

// Errors of LCS.
const (
	errLCSType   = wireError("ERR The specified keys must contain string values")
	errLCSBoth   = wireError("ERR If you want both the length and indexes, please just use IDX.")
	errLCSMemory = wireError("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
)

// lcsOptions are the options of LCS.
type lcsOptions struct {
	length, indexes, withLengths bool
	shortest                     int64 // of the matches that IDX tells
}

func parseLCSOptions(words [][]byte) (o lcsOptions, err error) {
	for i := 0; i < len(words); i++ {
		switch word := words[i]; {
		case isWord(word, "idx"):
			o.indexes = true
		case isWord(word, "len"):
			o.length = true
		case isWord(word, "withmatchlen"):
			o.withLengths = true
		case isWord(word, "minmatchlen") && i+1 < len(words):
			i++
			if o.shortest, err = integer(words[i]); err != nil {
				return o, err
			}
		default:
			return o, errSyntax
		}
	}
	if o.indexes && o.length {
		return o, errLCSBoth
	}
	return o, nil
}

// lcsCommand answers with the longest common subsequence of two strings: itself, its length, or where its
// parts are.
func lcsCommand(c *Call) error {
	var values [2][]byte
	for i := range values {
		e := c.DB.Lookup(c.Args[1+i], c.Now())
		if e != nil && e.Kind() != keyspace.KindString {
			return errLCSType
		}
		if e != nil {
			values[i] = e.Bytes()
		}
	}
	o, err := parseLCSOptions(c.Args[3:])
	if err != nil {
		return err
	}
	a, b := values[0], values[1]
	// The bound is that of Redis, whose table has a number of 4 bytes where ours has a bit.
	if uint64(len(a)+1)*uint64(len(b)+1) > uint64(c.srv.config.MaxBulk)/4 {
		return errLCSMemory
	}
	l := newLCS(a, b)
	switch {
	case o.indexes:
		c.replyMatches(l, o)
	case o.length:
		c.Out.Int(int64(l.length))
	default:
		c.Out.Bulk(l.text())
	}
	return nil
}

// replyMatches writes where the matches are, the last first.
func (c *Call) replyMatches(l *lcs, o lcsOptions) {
	var found []lcsMatch
	for _, m := range l.matches() {
		if int64(m.length) >= o.shortest {
			found = append(found, m)
		}
	}
	c.Out.Map(2)
	c.Out.BulkString("matches")
	c.Out.Array(len(found))
	for _, m := range found {
		if o.withLengths {
			c.Out.Array(3)
		} else {
			c.Out.Array(2)
		}
		for _, start := range []int{m.a, m.b} {
			c.Out.Array(2)
			c.Out.Int(int64(start))
			c.Out.Int(int64(start + m.length - 1))
		}
		if o.withLengths {
			c.Out.Int(int64(m.length))
		}
	}
	c.Out.BulkString("len")
	c.Out.Int(int64(l.length))
}

// An lcs is the longest common subsequence of a and b, found by the usual table of lengths for all pairs of
// prefixes. Of two subsequences of that length it is the one that Redis finds.
//
// Only one row of the table is kept. The way back needs to know of each pair just where the longer
// subsequence is, which is one bit.
type lcs struct {
	a, b   []byte
	length int
	// up has a bit for each pair of bytes, row by row: whether leaving out the byte of a is better than
	// leaving out that of b.
	up []uint64
}

func newLCS(a, b []byte) *lcs {
	l := &lcs{a: a, b: b, up: make([]uint64, (len(a)*len(b)+63)/64)}
	row := make([]uint32, len(b)+1)
	at := 0
	for _, x := range a {
		diagonal := uint32(0) // what the row above has one to the left
		for j, y := range b {
			above := row[j+1]
			switch {
			case x == y:
				row[j+1] = diagonal + 1
			case above > row[j]:
				l.up[at>>6] |= 1 << (at & 63)
			default:
				row[j+1] = row[j]
			}
			diagonal = above
			at++
		}
	}
	l.length = int(row[len(b)])
	return l
}

// walk calls yield for each pair of equal bytes that is part of the subsequence, from the last to the first.
func (l *lcs) walk(yield func(i, j int)) {
	for i, j := len(l.a)-1, len(l.b)-1; i >= 0 && j >= 0; {
		at := i*len(l.b) + j
		switch {
		case l.a[i] == l.b[j]:
			yield(i, j)
			i--
			j--
		case l.up[at>>6]>>(at&63)&1 == 1:
			i--
		default:
			j--
		}
	}
}

// text returns the subsequence.
func (l *lcs) text() []byte {
	text := make([]byte, l.length)
	at := l.length
	l.walk(func(i, _ int) {
		at--
		text[at] = l.a[i]
	})
	return text
}

// An lcsMatch is a stretch that both strings have: where it begins in either, and its length.
type lcsMatch struct{ a, b, length int }

// matches returns the stretches that the subsequence consists of, the last first.
func (l *lcs) matches() (all []lcsMatch) {
	l.walk(func(i, j int) {
		if n := len(all); n > 0 && all[n-1].a == i+1 && all[n-1].b == j+1 {
			all[n-1].a, all[n-1].b = i, j
			all[n-1].length++
			return
		}
		all = append(all, lcsMatch{i, j, 1})
	})
	return all
}
