package server

import (
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// hashCommands are the commands whose values are hashes.
func hashCommands() []*command {
	const (
		write = flagWrite | flagDenyOOM | flagFast
		read  = flagReadonly | flagFast
	)
	row := func(name string, arity int, flags flag, since string, h handler) *command {
		return &command{name: name, arity: arity, flags: flags, categories: catHash, keys: oneKey, since: since, handler: h}
	}
	tipped := func(name string, arity int, since string, h handler, tip string) *command {
		cmd := row(name, arity, flagReadonly, since, h)
		cmd.tips = []string{tip}
		return cmd
	}
	const anyOrder = "nondeterministic_output_order"
	return []*command{
		row("hset", -4, write, "2.0.0", hsetCommand),
		row("hmset", -4, write, "2.0.0", hmsetCommand),
		row("hsetnx", 4, write, "2.0.0", hsetnxCommand),
		row("hget", 3, read, "2.0.0", hgetCommand),
		row("hmget", -3, read, "2.0.0", hmgetCommand),
		tipped("hgetall", 2, "2.0.0", hgetallCommand, anyOrder),
		tipped("hkeys", 2, "2.0.0", hkeysCommand, anyOrder),
		tipped("hvals", 2, "2.0.0", hvalsCommand, anyOrder),
		tipped("hrandfield", -2, "6.2.0", hrandfieldCommand, "nondeterministic_output"),
		tipped("hscan", -3, "2.8.0", hscanCommand, "nondeterministic_output"),
		row("hdel", -3, flagWrite|flagFast, "2.0.0", hdelCommand),
		row("hexists", 3, read, "2.0.0", hexistsCommand),
		row("hlen", 2, read, "2.0.0", hlenCommand),
		row("hstrlen", 3, read, "3.2.0", hstrlenCommand),
		row("hincrby", 4, write, "2.0.0", hincrbyCommand),
		row("hincrbyfloat", 4, write, "2.6.0", hincrbyfloatCommand),
	}
}

const (
	errHashNotInteger = wireError("ERR hash value is not an integer")
	errHashNotFloat   = wireError("ERR hash value is not a float")
	errValueRange     = wireError("ERR value is out of range")
	errInfinite       = wireError("ERR value is NaN or Infinity")
)

// lookupHash returns the entry of key and its hash, both nil if there is none, or an error if the value is
// of another type.
func (c *Call) lookupHash(key []byte) (*keyspace.Entry, *ds.Hash, error) {
	e, err := c.lookupKind(key, keyspace.KindHash)
	if e == nil {
		return nil, nil, err
	}
	return e, e.Hash(), nil
}

// hashForWrite returns the hash of key, made if there is none.
func (c *Call) hashForWrite(key []byte) (*ds.Hash, error) {
	e, h, err := c.lookupHash(key)
	if err == nil && e == nil {
		h = ds.NewHash()
		c.DB.SetHash(key, h)
	}
	return h, err
}

// fitHash makes a hash large if one of the words, fields or values, is too long for a listpack.
func (c *Call) fitHash(h *ds.Hash, words ...[]byte) {
	for _, w := range words {
		if int64(len(w)) > c.srv.config.HashListpack.Value {
			h.Enlarge()
			return
		}
	}
}

// hset sets one field. Too many of them make a hash large only when one was set, so that a hash outlives a
// lower hash-max-listpack-entries until then.
func (c *Call) hset(h *ds.Hash, field, value []byte) (added bool) {
	c.fitHash(h, field, value)
	added = h.Set(string(field), string(value))
	if int64(h.Len()) > c.srv.config.HashListpack.Entries {
		h.Enlarge()
	}
	return added
}

func hsetCommand(c *Call) error {
	added, err := c.hsetPairs()
	if err == nil {
		c.Out.Int(added)
	}
	return err
}

func hmsetCommand(c *Call) error {
	if _, err := c.hsetPairs(); err != nil {
		return err
	}
	return c.OK()
}

// hsetPairs is HSET and HMSET but for the reply. It returns how many of the fields are new.
func (c *Call) hsetPairs() (added int64, err error) {
	key, pairs := c.Args[1], c.Args[2:]
	if len(pairs)%2 != 0 {
		return 0, errArity(c.cmd.fullName)
	}
	h, err := c.hashForWrite(key)
	if err != nil {
		return 0, err
	}
	c.fitHash(h, pairs...)
	for i := 0; i < len(pairs); i += 2 {
		if c.hset(h, pairs[i], pairs[i+1]) {
			added++
		}
	}
	c.Changed("hset", key)
	c.Dirty(len(pairs)/2 - 1)
	return added, nil
}

func hsetnxCommand(c *Call) error {
	key, field, value := c.Args[1], c.Args[2], c.Args[3]
	h, err := c.hashForWrite(key)
	if err != nil {
		return err
	}
	if _, ok := h.Get(string(field)); ok {
		c.Out.Int(0)
		return nil
	}
	c.hset(h, field, value)
	c.Changed("hset", key)
	c.Out.Int(1)
	return nil
}

func hgetCommand(c *Call) error {
	_, h, err := c.lookupHash(c.Args[1])
	if err != nil {
		return err
	}
	c.replyField(h, c.Args[2])
	return nil
}

// replyField writes the value of a field, or the absent value; h may be nil.
func (c *Call) replyField(h *ds.Hash, field []byte) {
	if h != nil {
		if v, ok := h.Get(string(field)); ok {
			c.Out.BulkString(v)
			return
		}
	}
	c.Out.Null()
}

func hmgetCommand(c *Call) error {
	_, h, err := c.lookupHash(c.Args[1])
	if err != nil {
		return err
	}
	c.Out.Array(len(c.Args) - 2)
	for _, field := range c.Args[2:] {
		c.replyField(h, field)
	}
	return nil
}

func hgetallCommand(c *Call) error { return c.hgetall(true, true) }
func hkeysCommand(c *Call) error   { return c.hgetall(true, false) }
func hvalsCommand(c *Call) error   { return c.hgetall(false, true) }

// hgetall answers with the fields, the values, or both.
func (c *Call) hgetall(fields, values bool) error {
	_, h, err := c.lookupHash(c.Args[1])
	if err != nil {
		return err
	}
	if h == nil {
		h = ds.NewHash()
	}
	if fields && values {
		c.Out.Map(h.Len())
	} else {
		c.Out.Array(h.Len())
	}
	for field, value := range h.All() {
		if fields {
			c.Out.BulkString(field)
		}
		if values {
			c.Out.BulkString(value)
		}
	}
	return nil
}

func hdelCommand(c *Call) error {
	key := c.Args[1]
	e, h, err := c.lookupHash(key)
	if err != nil {
		return err
	}
	deleted := 0
	if h != nil {
		for _, field := range c.Args[2:] {
			if h.Delete(string(field)) {
				deleted++
			}
		}
	}
	c.Out.Int(int64(deleted))
	if deleted == 0 {
		return nil
	}
	c.Changed("hdel", key)
	c.Dirty(deleted - 1)
	if h.Len() == 0 {
		c.removeEmpty(e, key)
	}
	return nil
}

// removeEmpty removes a key whose value has lost its last element.
func (c *Call) removeEmpty(e *keyspace.Entry, key []byte) {
	c.DB.Remove(e)
	c.Changed("del", key)
	c.Dirty(-1) // the same modification
}

func hexistsCommand(c *Call) error {
	_, h, err := c.lookupHash(c.Args[1])
	if err != nil {
		return err
	}
	n := int64(0)
	if h != nil {
		if _, ok := h.Get(string(c.Args[2])); ok {
			n = 1
		}
	}
	c.Out.Int(n)
	return nil
}

func hlenCommand(c *Call) error {
	_, h, err := c.lookupHash(c.Args[1])
	if err != nil {
		return err
	}
	n := 0
	if h != nil {
		n = h.Len()
	}
	c.Out.Int(int64(n))
	return nil
}

func hstrlenCommand(c *Call) error {
	_, h, err := c.lookupHash(c.Args[1])
	if err != nil {
		return err
	}
	n := 0
	if h != nil {
		value, _ := h.Get(string(c.Args[2]))
		n = len(value)
	}
	c.Out.Int(int64(n))
	return nil
}

func hscanCommand(c *Call) error {
	cursor, err := parseCursor(c.Args[2])
	if err != nil {
		return err
	}
	_, h, err := c.lookupHash(c.Args[1])
	if err != nil {
		return err
	}
	if h == nil { // no matter what the options are
		c.replyCursor(0)
		c.Out.Array(0)
		return nil
	}
	o, err := parseScanOptions(c.Args[3:], true)
	if err != nil {
		return err
	}
	if h.Small() {
		cursor, o.count = 0, h.Len()
	}
	var found []string
	cursor = h.Scan(cursor, o.count, func(field, value string) {
		if o.matches([]byte(field)) {
			found = append(found, field, value)
		}
	})
	c.replyCursor(cursor)
	c.Out.Array(len(found))
	for _, s := range found {
		c.Out.BulkString(s)
	}
	return nil
}

// randomCount reads what HRANDFIELD and ZRANDMEMBER are asked for besides one element: how many, negative
// if the same may come again, and whether with what belongs to them, for which with is the word.
func (c *Call) randomCount(with string) (count int64, pairs bool, err error) {
	count, err = integer(c.Args[2])
	switch {
	case err != nil:
		return 0, false, err
	case count == math.MinInt64:
		return 0, false, errNotNegatable
	case len(c.Args) > 4 || len(c.Args) == 4 && !isWord(c.Args[3], with):
		return 0, false, errSyntax
	case len(c.Args) == 4 && (count < -math.MaxInt64/2 || count > math.MaxInt64/2):
		return 0, false, errValueRange
	}
	return count, len(c.Args) == 4, nil
}

// randomPositions yields positions of n elements: -count of them if count is negative, else count different
// ones, or all if there are no more.
func randomPositions(n int, count int64) (size int, positions iter.Seq[int]) {
	switch {
	case count < 0:
		return int(-count), func(yield func(int) bool) {
			for i := int64(0); i > count && yield(rand.IntN(n)); i-- {
			}
		}
	case count >= int64(n):
		return n, func(yield func(int) bool) {
			for i := 0; i < n && yield(i); i++ {
			}
		}
	}
	return int(count), slices.Values(ds.Sample(n, int(count)))
}

// pairHeader starts a reply of n elements, in pairs or not, and returns what to call before each of them.
func (c *Call) pairHeader(n int, pairs bool) (each func()) {
	switch {
	case pairs && c.Out.RESP3():
		c.Out.Array(n)
		return func() { c.Out.Array(2) }
	case pairs:
		c.Out.Array(2 * n)
	default:
		c.Out.Array(n)
	}
	return func() {}
}

func hrandfieldCommand(c *Call) error {
	if len(c.Args) == 2 {
		_, h, err := c.lookupHash(c.Args[1])
		if err != nil {
			return err
		}
		if h == nil {
			c.Out.Null()
			return nil
		}
		field, _ := h.Random()
		c.Out.BulkString(field)
		return nil
	}
	count, values, err := c.randomCount("withvalues")
	if err != nil {
		return err
	}
	_, h, err := c.lookupHash(c.Args[1])
	if err != nil {
		return err
	}
	if h == nil {
		c.Out.Array(0)
		return nil
	}
	n, positions := randomPositions(h.Len(), count)
	each := c.pairHeader(n, values)
	for i := range positions {
		field, value := h.At(i)
		each()
		c.Out.BulkString(field)
		if values {
			c.Out.BulkString(value)
		}
	}
	return nil
}

func hincrbyfloatCommand(c *Call) error {
	key, field := c.Args[1], c.Args[2]
	by, ok := parseLongDouble(c.Args[3])
	switch {
	case !ok:
		return errNotFloat
	case by.IsInf():
		return errInfinite
	}
	_, h, err := c.lookupHash(key)
	if err != nil {
		return err
	}
	value := []byte("0")
	if h != nil {
		if v, ok := h.Get(string(field)); ok {
			value = []byte(v)
			if _, ok := parseLongDouble(value); !ok {
				return errHashNotFloat
			}
		}
	}
	sum, err := addLongDouble(value, c.Args[3])
	if err != nil {
		return err
	}
	if h == nil {
		h = ds.NewHash()
		c.DB.SetHash(key, h)
	}
	c.hset(h, field, sum)
	c.Changed("hincrbyfloat", key)
	c.Out.Bulk(sum)
	return nil
}

func hincrbyCommand(c *Call) error {
	key, field := c.Args[1], c.Args[2]
	by, err := integer(c.Args[3])
	if err != nil {
		return err
	}
	_, h, err := c.lookupHash(key)
	if err != nil {
		return err
	}
	var n int64
	if h != nil {
		if v, ok := h.Get(string(field)); ok {
			if n, ok = resp.ParseInt([]byte(v)); !ok {
				return errHashNotInteger
			}
		}
	}
	sum := n + by
	if (sum > n) != (by > 0) && by != 0 {
		return errOverflow
	}
	if h == nil {
		h = ds.NewHash()
		c.DB.SetHash(key, h)
	}
	c.hset(h, field, strconv.AppendInt(nil, sum, 10))
	c.Changed("hincrby", key)
	c.Out.Int(sum)
	return nil
}
