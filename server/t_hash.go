package server

import (
	"strconv"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
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
	hgetall := row("hgetall", 2, flagReadonly, "2.0.0", hgetallCommand)
	hgetall.tips = []string{"nondeterministic_output_order"}
	return []*command{
		row("hset", -4, write, "2.0.0", hsetCommand),
		row("hsetnx", 4, write, "2.0.0", hsetnxCommand),
		row("hget", 3, read, "2.0.0", hgetCommand),
		row("hmget", -3, read, "2.0.0", hmgetCommand),
		hgetall,
		row("hdel", -3, flagWrite|flagFast, "2.0.0", hdelCommand),
		row("hexists", 3, read, "2.0.0", hexistsCommand),
		row("hlen", 2, read, "2.0.0", hlenCommand),
		row("hincrby", 4, write, "2.0.0", hincrbyCommand),
	}
}

const errHashNotInteger = wireError("ERR hash value is not an integer")

// lookupHash returns the entry of key and its hash, both nil if there is none, or an error if the value is
// of another type.
func (c *Call) lookupHash(key []byte) (*keyspace.Entry, *ds.Hash, error) {
	e := c.DB.Lookup(key, c.Now())
	switch {
	case e == nil:
		return nil, nil, nil
	case e.Kind() != keyspace.KindHash:
		return nil, nil, errWrongType
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

func hsetCommand(c *Call) error {
	key, pairs := c.Args[1], c.Args[2:]
	if len(pairs)%2 != 0 {
		return errArity(c.cmd.fullName)
	}
	h, err := c.hashForWrite(key)
	if err != nil {
		return err
	}
	added := int64(0)
	for i := 0; i < len(pairs); i += 2 {
		if h.Set(string(pairs[i]), string(pairs[i+1])) {
			added++
		}
	}
	c.Changed("hset", key)
	c.Dirty(len(pairs)/2 - 1)
	c.Out.Int(added)
	return nil
}

func hsetnxCommand(c *Call) error {
	key, field := c.Args[1], string(c.Args[2])
	h, err := c.hashForWrite(key)
	if err != nil {
		return err
	}
	if _, ok := h.Get(field); ok {
		c.Out.Int(0)
		return nil
	}
	h.Set(field, string(c.Args[3]))
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

func hgetallCommand(c *Call) error {
	_, h, err := c.lookupHash(c.Args[1])
	if err != nil {
		return err
	}
	if h == nil {
		c.Out.Map(0)
		return nil
	}
	c.Out.Map(h.Len())
	for field, value := range h.All() {
		c.Out.BulkString(field)
		c.Out.BulkString(value)
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

func hincrbyCommand(c *Call) error {
	key, field := c.Args[1], string(c.Args[2])
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
		if v, ok := h.Get(field); ok {
			if n, ok = parseInteger([]byte(v)); !ok {
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
	h.Set(field, strconv.FormatInt(sum, 10))
	c.Changed("hincrby", key)
	c.Out.Int(sum)
	return nil
}
