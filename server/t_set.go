package server

import (
	"bytes"
	"math"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// setCommands are the commands whose values are sets. Those on several sets are in setops.go.
func setCommands() []*command {
	const (
		write = flagWrite | flagDenyOOM | flagFast
		fast  = flagReadonly | flagFast
	)
	row := func(name string, arity int, flags flag, since string, h handler, tips ...string) *command {
		return &command{name: name, arity: arity, flags: flags, categories: catSet, keys: oneKey, tips: tips, since: since, handler: h}
	}
	several := func(name string, arity int, flags flag, h handler, tips ...string) *command {
		return &command{name: name, arity: arity, flags: flags, categories: catSet, keys: allKeys, tips: tips, since: "1.0.0", handler: h}
	}
	const anyOrder = "nondeterministic_output_order"
	return []*command{
		row("sadd", -3, write, "1.0.0", saddCommand),
		row("srem", -3, flagWrite|flagFast, "1.0.0", sremCommand),
		{name: "smove", arity: 4, flags: flagWrite | flagFast, categories: catSet, keys: twoKeys, since: "1.0.0", handler: smoveCommand},
		row("sismember", 3, fast, "1.0.0", sismemberCommand),
		row("smismember", -3, fast, "6.2.0", smismemberCommand),
		row("scard", 2, fast, "1.0.0", scardCommand),
		row("smembers", 2, flagReadonly, "1.0.0", smembersCommand, anyOrder),
		row("spop", -2, flagWrite|flagFast, "1.0.0", spopCommand, "nondeterministic_output"),
		row("srandmember", -2, flagReadonly, "1.0.0", srandmemberCommand, "nondeterministic_output"),
		row("sscan", -3, flagReadonly, "2.8.0", sscanCommand, "nondeterministic_output"),
		several("sinter", -2, flagReadonly, sinterCommand, anyOrder),
		several("sinterstore", -3, flagWrite|flagDenyOOM, sinterstoreCommand),
		{name: "sintercard", arity: -3, flags: flagReadonly | flagMovablekeys, categories: catSet, findKeys: countedKeys(1), since: "7.0.0", handler: sintercardCommand},
		several("sunion", -2, flagReadonly, sunionCommand, anyOrder),
		several("sunionstore", -3, flagWrite|flagDenyOOM, sunionstoreCommand),
		several("sdiff", -2, flagReadonly, sdiffCommand, anyOrder),
		several("sdiffstore", -3, flagWrite|flagDenyOOM, sdiffstoreCommand),
	}
}

const errNotNegatable = wireError("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")

// lookupSet returns the entry of key and its set, both nil if there is none, or an error if the value is of
// another type.
func (c *Call) lookupSet(key []byte) (*keyspace.Entry, *ds.Set, error) {
	e, err := c.lookupKind(key, keyspace.KindSet)
	if e == nil {
		return nil, nil, err
	}
	return e, e.Set(), nil
}

// maxInts is up to how many integers a set remains an intset.
func (c *Call) maxInts() int { return c.srv.config.SetMaxIntset }

func saddCommand(c *Call) error {
	key := c.Args[1]
	_, s, err := c.lookupSet(key)
	if err != nil {
		return err
	}
	if s == nil {
		s = ds.NewSet()
		c.DB.SetSet(key, s)
	}
	added := 0
	for _, member := range c.Args[2:] {
		if s.Add(string(member), c.maxInts()) {
			added++
		}
	}
	if added > 0 {
		c.Changed("sadd", key)
		c.Dirty(added - 1)
	}
	c.Out.Int(int64(added))
	return nil
}

// sremoved does what follows from the removal of n members by an event.
func (c *Call) sremoved(e *keyspace.Entry, key []byte, n int, event string) {
	if n == 0 {
		return
	}
	c.Changed(event, key)
	c.Dirty(n - 1)
	if e.Set().Len() == 0 {
		c.removeEmpty(e, key)
	}
}

func sremCommand(c *Call) error {
	key := c.Args[1]
	e, s, err := c.lookupSet(key)
	if err != nil {
		return err
	}
	n := 0
	if s != nil {
		for _, member := range c.Args[2:] {
			if s.Delete(string(member)) {
				n++
			}
		}
		c.sremoved(e, key, n, "srem")
	}
	c.Out.Int(int64(n))
	return nil
}

func smoveCommand(c *Call) error {
	from, to, member := c.Args[1], c.Args[2], string(c.Args[3])
	e, src, err := c.lookupSet(from)
	if err != nil {
		return err
	}
	if e == nil { // then the destination may be of any type
		c.Out.Int(0)
		return nil
	}
	_, dst, err := c.lookupSet(to)
	if err != nil {
		return err
	}
	if bytes.Equal(from, to) {
		c.Out.Int(truth(src.Has(member)))
		return nil
	}
	if !src.Delete(member) {
		c.Out.Int(0)
		return nil
	}
	c.sremoved(e, from, 1, "srem")
	if dst == nil {
		dst = ds.NewSet()
		c.DB.SetSet(to, dst)
	}
	if dst.Add(member, c.maxInts()) {
		c.Changed("sadd", to)
	}
	c.Out.Int(1)
	return nil
}

// truth is the integer that stands for a truth value in either protocol.
func truth(v bool) int64 {
	if v {
		return 1
	}
	return 0
}

func sismemberCommand(c *Call) error {
	_, s, err := c.lookupSet(c.Args[1])
	if err != nil {
		return err
	}
	c.Out.Int(truth(s != nil && s.Has(string(c.Args[2]))))
	return nil
}

func smismemberCommand(c *Call) error {
	_, s, err := c.lookupSet(c.Args[1])
	if err != nil {
		return err
	}
	c.Out.Array(len(c.Args) - 2)
	for _, member := range c.Args[2:] {
		c.Out.Int(truth(s != nil && s.Has(string(member))))
	}
	return nil
}

func scardCommand(c *Call) error {
	_, s, err := c.lookupSet(c.Args[1])
	if err != nil {
		return err
	}
	n := 0
	if s != nil {
		n = s.Len()
	}
	c.Out.Int(int64(n))
	return nil
}

func smembersCommand(c *Call) error {
	_, s, err := c.lookupSet(c.Args[1])
	if err != nil {
		return err
	}
	c.replySet(s)
	return nil
}

// replySet writes the members of a set, which may be nil.
func (c *Call) replySet(s *ds.Set) {
	if s == nil {
		c.Out.Set(0)
		return
	}
	c.Out.Set(s.Len())
	for member := range s.All() {
		c.Out.BulkString(member)
	}
}

func spopCommand(c *Call) error {
	key := c.Args[1]
	switch {
	case len(c.Args) == 3:
		return c.spopCount(key)
	case len(c.Args) > 3:
		return errSyntax
	}
	e, s, err := c.lookupSet(key)
	if err != nil {
		return err
	}
	if s == nil {
		c.Out.Null()
		return nil
	}
	member := s.Random()
	s.Delete(member)
	c.Out.BulkString(member)
	c.sremoved(e, key, 1, "spop")
	return nil
}

func (c *Call) spopCount(key []byte) error {
	count, ok := resp.ParseInt(c.Args[2])
	if !ok || count < 0 {
		return errNotPositive
	}
	e, s, err := c.lookupSet(key)
	if err != nil {
		return err
	}
	if s == nil || count == 0 {
		c.Out.Set(0)
		return nil
	}
	if count >= int64(s.Len()) {
		c.replySet(s)
		c.DB.Remove(e)
		c.Changed("spop", key)
		c.Changed("del", key)
		c.Dirty(s.Len() - 2)
		return nil
	}
	c.Out.Set(int(count))
	for range count {
		member := s.Random()
		s.Delete(member)
		c.Out.BulkString(member)
	}
	c.sremoved(e, key, int(count), "spop")
	return nil
}

// srandmemberCommand answers one member; with a count, an array: of that many different ones, or, for a
// negative count, of so many that may repeat.
func srandmemberCommand(c *Call) error {
	if len(c.Args) > 3 {
		return errSyntax
	}
	if len(c.Args) == 2 {
		_, s, err := c.lookupSet(c.Args[1])
		switch {
		case err != nil:
			return err
		case s == nil:
			c.Out.Null()
		default:
			c.Out.BulkString(s.Random())
		}
		return nil
	}
	count, err := integer(c.Args[2])
	if err != nil {
		return err
	}
	if count == math.MinInt64 {
		return errNotNegatable
	}
	_, s, err := c.lookupSet(c.Args[1])
	if err != nil {
		return err
	}
	switch {
	case s == nil || count == 0:
		c.Out.Array(0)
	case count < 0:
		c.Out.Array(int(-count))
		for range -count {
			c.Out.BulkString(s.Random())
		}
	case count >= int64(s.Len()):
		c.Out.Array(s.Len())
		for member := range s.All() {
			c.Out.BulkString(member)
		}
	default:
		c.Out.Array(int(count))
		for _, i := range ds.Sample(s.Len(), int(count)) {
			c.Out.BulkString(s.At(i))
		}
	}
	return nil
}

func sscanCommand(c *Call) error {
	cursor, err := parseCursor(c.Args[2])
	if err != nil {
		return err
	}
	_, s, err := c.lookupSet(c.Args[1])
	if err != nil {
		return err
	}
	if s == nil {
		c.replyCursor(0)
		c.Out.Array(0)
		return nil
	}
	o, err := parseScanOptions(c.Args[3:], true)
	if err != nil {
		return err
	}
	var found []string
	cursor = s.Scan(cursor, o.count, func(member string) {
		if o.matches([]byte(member)) {
			found = append(found, member)
		}
	})
	c.replyCursor(cursor)
	c.Out.Array(len(found))
	for _, member := range found {
		c.Out.BulkString(member)
	}
	return nil
}
