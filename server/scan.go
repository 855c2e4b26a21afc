package server

import (
	"math"
	"strconv"

	"github.com/holdfast-dev/holdfast/internal/glob"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
)

// scanCommands are the commands that go through a database.
func scanCommands() []*command {
	everywhere := "request_policy:all_shards"
	return []*command{
		{name: "keys", arity: 2, flags: flagReadonly, categories: catKeyspace | catDangerous,
			tips: []string{everywhere, "nondeterministic_output_order"}, since: "1.0.0", handler: keysCommand},
		{name: "randomkey", arity: 1, flags: flagReadonly, categories: catKeyspace,
			tips: []string{everywhere, "nondeterministic_output"}, since: "1.0.0", handler: randomkeyCommand},
		{name: "scan", arity: -2, flags: flagReadonly, categories: catKeyspace,
			tips: []string{"nondeterministic_output", "request_policy:special"}, since: "2.8.0", handler: scanCommand},
	}
}

func keysCommand(c *Call) error {
	var found []*keyspace.Entry
	o := scanOptions{match: c.Args[1]}
	for e := range c.DB.All(c.Now()) {
		if o.matches(e.Key()) {
			found = append(found, e)
		}
	}
	c.replyKeys(found)
	return nil
}

func (c *Call) replyKeys(entries []*keyspace.Entry) {
	c.Out.Array(len(entries))
	for _, e := range entries {
		c.Out.Bulk(e.Key())
	}
}

func randomkeyCommand(c *Call) error {
	e := c.DB.Random(c.Now())
	if e == nil {
		c.Out.Null()
		return nil
	}
	c.Out.Bulk(e.Key())
	return nil
}

// scanOptions are the options of SCAN, HSCAN and ZSCAN.
type scanOptions struct {
	match []byte // nil matches everything
	count int    // about how many elements to visit
	kind  []byte // SCAN only: the type of the values, nil for any
}

// matches reports whether an element's name is asked for. A single star is no pattern but says everything;
// as a pattern it would not match the empty name.
func (o *scanOptions) matches(name []byte) bool {
	return o.match == nil || string(o.match) == "*" || glob.Match(o.match, name)
}

// parseScanOptions reads what follows the cursor; keyed tells HSCAN and ZSCAN from SCAN.
func parseScanOptions(words [][]byte, keyed bool) (o scanOptions, err error) {
	o.count = 10
	for i := 0; i < len(words); i += 2 {
		if i+1 == len(words) {
			return o, errSyntax
		}
		arg := words[i+1]
		switch word := words[i]; {
		case isWord(word, "count"):
			n, err := integer(arg)
			if err != nil {
				return o, err
			}
			if n < 1 {
				return o, errSyntax
			}
			o.count = int(min(n, math.MaxInt32))
		case isWord(word, "match"):
			o.match = arg
		case isWord(word, "type") && !keyed:
			o.kind = arg
		default:
			return o, errSyntax
		}
	}
	return o, nil
}

// parseCursor reads a scan cursor as C's strtoul does: a sign may precede it, and nothing at all is 0.
func parseCursor(b []byte) (uint64, error) {
	s, negative := string(b), false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		s, negative = s[1:], s[0] == '-'
		if s == "" {
			return 0, errCursor
		}
	}
	if s == "" {
		return 0, nil
	}
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, errCursor
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errCursor
	}
	if negative {
		n = -n
	}
	return n, nil
}

// replyCursor starts the reply of a scan.
func (c *Call) replyCursor(cursor uint64) {
	var digits [20]byte
	c.Out.Array(2)
	c.Out.Bulk(strconv.AppendUint(digits[:0], cursor, 10))
}

// emptyBuckets is how many buckets SCAN visits per element that it was asked for, before it returns with
// less: a sparse table must not make one call long.
const emptyBuckets = 10

func scanCommand(c *Call) error {
	cursor, err := parseCursor(c.Args[1])
	if err != nil {
		return err
	}
	o, err := parseScanOptions(c.Args[2:], false)
	if err != nil {
		return err
	}
	var entries []*keyspace.Entry
	for range o.count * emptyBuckets {
		entries, cursor = c.DB.Scan(cursor, entries)
		if cursor == 0 || len(entries) >= o.count {
			break
		}
	}
	wanted := entries[:0]
	for _, e := range entries {
		if o.matches(e.Key()) && (o.kind == nil || isWord(o.kind, e.Kind().String())) && c.DB.Live(e, c.Now()) {
			wanted = append(wanted, e)
		}
	}
	c.replyCursor(cursor)
	c.replyKeys(wanted)
	return nil
}
