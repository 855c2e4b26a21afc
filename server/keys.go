package server

import (
	"bytes"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/keyspace"
)

// keysCommands are the commands about keys of any type and about whole databases.
func keysCommands() []*command {
	const read = flagReadonly | flagFast
	sum := []string{"request_policy:multi_shard", "response_policy:agg_sum"}
	everywhere := []string{"request_policy:all_shards", "response_policy:all_succeeded"}
	return []*command{
		{name: "del", arity: -2, flags: flagWrite, categories: catKeyspace, keys: allKeys, tips: sum, since: "1.0.0", handler: delCommand},
		{name: "unlink", arity: -2, flags: flagWrite | flagFast, categories: catKeyspace, keys: allKeys, tips: sum, since: "4.0.0", handler: delCommand},
		{name: "delex", arity: -2, flags: flagWrite | flagFast, categories: catKeyspace, keys: oneKey, handler: delexCommand},
		{name: "delifeq", arity: 3, flags: flagWrite | flagFast, categories: catKeyspace, keys: oneKey, handler: delifeqCommand},
		{name: "exists", arity: -2, flags: read, categories: catKeyspace, keys: allKeys, tips: sum, since: "1.0.0", handler: existsCommand},
		{name: "touch", arity: -2, flags: read, categories: catKeyspace, keys: allKeys, tips: sum, since: "3.2.1", handler: touchCommand},
		{name: "type", arity: 2, flags: read, categories: catKeyspace, keys: oneKey, since: "1.0.0", handler: typeCommand},
		{name: "rename", arity: 3, flags: flagWrite, categories: catKeyspace, keys: twoKeys, since: "1.0.0", handler: renameCommand},
		{name: "renamenx", arity: 3, flags: flagWrite | flagFast, categories: catKeyspace, keys: twoKeys, since: "1.0.0", handler: renamenxCommand},
		{name: "copy", arity: -3, flags: flagWrite | flagDenyOOM, categories: catKeyspace, keys: twoKeys, since: "6.2.0", handler: copyCommand},
		{name: "move", arity: 3, flags: flagWrite | flagFast, categories: catKeyspace, keys: oneKey, since: "1.0.0", handler: moveCommand},
		{name: "dbsize", arity: 1, flags: read, categories: catKeyspace,
			tips: []string{"request_policy:all_shards", "response_policy:agg_sum"}, since: "1.0.0", handler: dbsizeCommand},
		{name: "flushdb", arity: -1, flags: flagWrite, categories: catKeyspace | catDangerous, tips: everywhere, since: "1.0.0", handler: flushdbCommand},
		{name: "flushall", arity: -1, flags: flagWrite, categories: catKeyspace | catDangerous, tips: everywhere, since: "1.0.0", handler: flushallCommand},
		{name: "swapdb", arity: 3, flags: flagWrite | flagFast, categories: catKeyspace | catDangerous, since: "4.0.0", handler: swapdbCommand},
		{name: "object", arity: -2, since: "2.2.3", subcommands: []*command{
			objectRow("encoding", "2.2.3", objectEncodingCommand),
			objectRow("freq", "4.0.0", objectFreqCommand),
			objectRow("idletime", "2.2.3", objectIdletimeCommand),
			objectRow("refcount", "2.2.3", objectRefcountCommand),
			{name: "help", arity: 2, flags: flagLoading | flagStale, categories: catKeyspace, since: "6.2.0", handler: objectHelpCommand},
		}},
	}
}

func objectRow(name, since string, h handler) *command {
	return &command{name: name, arity: 3, flags: flagReadonly, categories: catKeyspace, keys: keyRange{2, 2, 1},
		tips: []string{"nondeterministic_output"}, since: since, handler: h}
}

// delete removes an entry because a command said so.
func (c *Call) delete(e *keyspace.Entry, key []byte) {
	c.DB.Remove(e)
	c.Changed("del", key)
}

// delCommand is DEL and UNLINK: what a value held is always freed in the background.
func delCommand(c *Call) error {
	n := 0
	for _, key := range c.Args[1:] {
		if e := c.DB.Peek(key, c.Now()); e != nil {
			c.delete(e, key)
			n++
		}
	}
	c.Out.Int(int64(n))
	return nil
}

// delexCommand is DELEX of Redis 8.4: DEL of one key, on a condition on its value.
func delexCommand(c *Call) error {
	key := c.Args[1]
	if len(c.Args) == 2 {
		return delCommand(c)
	}
	if len(c.Args) != 4 {
		return errArity(c.cmd.fullName)
	}
	equal := isWord(c.Args[2], "ifeq")
	if !equal && !isWord(c.Args[2], "ifne") {
		return errSyntax
	}
	e := c.DB.Lookup(key, c.Now())
	if e != nil && e.Kind() != keyspace.KindString {
		return errDelexType
	}
	if e == nil || bytes.Equal(e.Bytes(), c.Args[3]) != equal {
		c.Out.Int(0)
		return nil
	}
	c.delete(e, key)
	c.Out.Int(1)
	return nil
}

// delifeqCommand is DELIFEQ of Valkey 9.
func delifeqCommand(c *Call) error {
	e, err := c.lookupString(c.Args[1])
	if err != nil {
		return err
	}
	if e == nil || !bytes.Equal(e.Bytes(), c.Args[2]) {
		c.Out.Int(0)
		return nil
	}
	c.delete(e, c.Args[1])
	c.Out.Int(1)
	return nil
}

// existsCommand counts a key as often as it is named.
func existsCommand(c *Call) error {
	n := 0
	for _, key := range c.Args[1:] {
		if c.DB.Peek(key, c.Now()) != nil {
			n++
		}
	}
	c.Out.Int(int64(n))
	return nil
}

func touchCommand(c *Call) error {
	n := 0
	for _, key := range c.Args[1:] {
		if c.DB.Lookup(key, c.Now()) != nil {
			n++
		}
	}
	c.Out.Int(int64(n))
	return nil
}

func typeCommand(c *Call) error {
	e := c.DB.Peek(c.Args[1], c.Now())
	if e == nil {
		c.Out.Simple("none")
		return nil
	}
	c.Out.Simple(e.Kind().String())
	return nil
}

func renameCommand(c *Call) error {
	renamed, err := c.rename(true)
	if err != nil || !renamed {
		return err
	}
	return c.OK()
}

func renamenxCommand(c *Call) error {
	renamed, err := c.rename(false)
	if err != nil {
		return err
	}
	n := int64(0)
	if renamed && !bytes.Equal(c.Args[1], c.Args[2]) {
		n = 1
	}
	c.Out.Int(n)
	return nil
}

// rename moves key Args[1] to Args[2] with its ttl and reports whether it is there now.
func (c *Call) rename(replace bool) (renamed bool, err error) {
	from, to := c.Args[1], c.Args[2]
	e := c.DB.Lookup(from, c.Now())
	if e == nil {
		return false, errNoSuchKey
	}
	if bytes.Equal(from, to) {
		return true, nil
	}
	if !replace && c.DB.Lookup(to, c.Now()) != nil {
		return false, nil
	}
	c.DB.Move(e, c.DB, to)
	c.Changed("rename_from", from)
	c.Changed("rename_to", to)
	return true, nil
}

func copyCommand(c *Call) error {
	from, to := c.Args[1], c.Args[2]
	dst, replace := c.DB, false
	for i := 3; i < len(c.Args); i++ {
		switch {
		case isWord(c.Args[i], "replace"):
			replace = true
		case isWord(c.Args[i], "db") && i+1 < len(c.Args):
			i++
			var err error
			if dst, err = c.database(c.Args[i]); err != nil {
				return err
			}
		default:
			return errSyntax
		}
	}
	if dst == c.DB && bytes.Equal(from, to) {
		return errSameObject
	}
	e := c.DB.Lookup(from, c.Now())
	if e == nil || dst.Lookup(to, c.Now()) != nil && !replace {
		c.Out.Int(0)
		return nil
	}
	deadline, volatile := c.DB.Deadline(e)
	copied := dst.SetCopy(to, e)
	if volatile {
		dst.SetDeadline(copied, deadline)
	}
	c.ChangedIn(dst, "copy_to", to)
	c.Out.Int(1)
	return nil
}

// database returns the database that a word numbers.
func (c *Call) database(word []byte) (*keyspace.DB, error) {
	n, err := integer32(word)
	if err != nil {
		return nil, err
	}
	ks := c.DB.Keyspace()
	if n < 0 || n >= ks.DBs() {
		return nil, errDBIndex
	}
	return ks.DB(n), nil
}

func moveCommand(c *Call) error {
	key := c.Args[1]
	dst, err := c.database(c.Args[2])
	if err != nil {
		return err
	}
	if dst == c.DB {
		return errSameObject
	}
	e := c.DB.Lookup(key, c.Now())
	if e == nil || dst.Lookup(key, c.Now()) != nil {
		c.Out.Int(0)
		return nil
	}
	c.DB.Move(e, dst, key)
	c.Changed("move_from", key)
	c.ChangedIn(dst, "move_to", key)
	c.Out.Int(1)
	return nil
}

func dbsizeCommand(c *Call) error {
	c.Out.Int(int64(c.DB.Len()))
	return nil
}

// checkFlushMode reads the option of FLUSHDB and FLUSHALL. Both modes are the same here: memory is always
// freed in the background.
func (c *Call) checkFlushMode() error {
	switch {
	case len(c.Args) == 1:
		return nil
	case len(c.Args) == 2 && isWord(c.Args[1], "async"), len(c.Args) == 2 && isWord(c.Args[1], "sync"):
		return nil
	default:
		return errSyntax
	}
}

func flushdbCommand(c *Call) error {
	if err := c.checkFlushMode(); err != nil {
		return err
	}
	c.Flushing(c.DB)
	c.Dirty(c.DB.Flush())
	return c.OK()
}

func flushallCommand(c *Call) error {
	if err := c.checkFlushMode(); err != nil {
		return err
	}
	ks := c.DB.Keyspace()
	for i := range ks.DBs() {
		c.Flushing(ks.DB(i))
	}
	c.Dirty(ks.Flush())
	return c.OK()
}

func swapdbCommand(c *Call) error {
	i, err := integer32(c.Args[1])
	if err != nil {
		return errFirstDB
	}
	j, err := integer32(c.Args[2])
	if err != nil {
		return errSecondDB
	}
	ks := c.DB.Keyspace()
	if i < 0 || i >= ks.DBs() || j < 0 || j >= ks.DBs() {
		return errDBIndex
	}
	if i != j {
		c.Swapping(ks.DB(i), ks.DB(j))
		ks.Swap(i, j)
	}
	c.Dirty(1)
	return c.OK()
}

// isWord reports whether an argument is a word in any letter case. The length keeps out the few characters
// beyond ASCII that fold to ASCII letters.
func isWord(arg []byte, word string) bool {
	return len(arg) == len(word) && strings.EqualFold(string(arg), word)
}
