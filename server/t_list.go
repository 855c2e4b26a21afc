package server

import (
	"bytes"
	"math"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// listCommands are the commands whose values are lists.
func listCommands() []*command {
	const (
		write = flagWrite | flagDenyOOM
		fast  = flagWrite | flagFast
	)
	row := func(name string, arity int, flags flag, since string, h handler) *command {
		return &command{name: name, arity: arity, flags: flags, categories: catList, keys: oneKey, since: since, handler: h}
	}
	push := func(name, since string, at end, existing bool) *command {
		return row(name, -3, write|flagFast, since, func(c *Call) error { return c.push(at, existing) })
	}
	return []*command{
		push("lpush", "1.0.0", left, false),
		push("rpush", "1.0.0", right, false),
		push("lpushx", "2.2.0", left, true),
		push("rpushx", "2.2.0", right, true),
		row("lpop", -2, fast, "1.0.0", func(c *Call) error { return c.pop(left) }),
		row("rpop", -2, fast, "1.0.0", func(c *Call) error { return c.pop(right) }),
		row("llen", 2, flagReadonly|flagFast, "1.0.0", llenCommand),
		row("lindex", 3, flagReadonly, "1.0.0", lindexCommand),
		row("lrange", 4, flagReadonly, "1.0.0", lrangeCommand),
		row("lset", 4, write, "1.0.0", lsetCommand),
		row("linsert", 5, write, "2.2.0", linsertCommand),
		row("lrem", 4, flagWrite, "1.0.0", lremCommand),
		row("ltrim", 4, flagWrite, "1.0.0", ltrimCommand),
		row("lpos", -3, flagReadonly, "6.0.6", lposCommand),
		{name: "lmove", arity: 5, flags: write, categories: catList, keys: twoKeys, since: "6.2.0", handler: lmoveCommand},
		{name: "rpoplpush", arity: 3, flags: write, categories: catList, keys: twoKeys, since: "1.2.0",
			handler: func(c *Call) error { return c.moveElement(right, left) }},
		{name: "lmpop", arity: -4, flags: flagWrite | flagMovablekeys, categories: catList, findKeys: countedKeys(1), since: "7.0.0", handler: lmpopCommand},
	}
}

const (
	errRankZero       = wireError("ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list")
	errCountNegative  = wireError("ERR COUNT can't be negative")
	errMaxlenNegative = wireError("ERR MAXLEN can't be negative")
	errCountZero      = wireError("ERR count should be greater than 0")
)

// An end is one of the two ends of a list.
type end bool

const (
	left  end = false
	right end = true
)

// parseEnd reads LEFT or RIGHT.
func parseEnd(word []byte) (end, error) {
	switch {
	case isWord(word, "left"):
		return left, nil
	case isWord(word, "right"):
		return right, nil
	}
	return left, errSyntax
}

func (at end) push(l *ds.List, value string) {
	if at == left {
		l.PushFront(value)
	} else {
		l.PushBack(value)
	}
}

func (at end) pop(l *ds.List) string {
	if at == left {
		return l.PopFront()
	}
	return l.PopBack()
}

// event names what was done at the end, for keyspace notifications: "push" becomes "lpush".
func (at end) event(what string) string {
	if at == left {
		return "l" + what
	}
	return "r" + what
}

// lookupList returns the entry of key and its list, both nil if there is none, or an error if the value is
// of another type.
func (c *Call) lookupList(key []byte) (*keyspace.Entry, *ds.List, error) {
	e, err := c.lookupKind(key, keyspace.KindList)
	if e == nil {
		return nil, nil, err
	}
	return e, e.List(), nil
}

// push is LPUSH and RPUSH, and, if the list must exist, LPUSHX and RPUSHX.
func (c *Call) push(at end, existing bool) error {
	key := c.Args[1]
	_, l, err := c.lookupList(key)
	if err != nil {
		return err
	}
	if l == nil {
		if existing {
			c.Out.Int(0)
			return nil
		}
		l = ds.NewList()
		c.DB.SetList(key, l)
	}
	for _, value := range c.Args[2:] {
		at.push(l, string(value))
	}
	c.Out.Int(int64(l.Len()))
	c.Changed(at.event("push"), key)
	c.Dirty(len(c.Args) - 3)
	return nil
}

// lremoved does what follows from the removal of n elements by an event.
func (c *Call) lremoved(e *keyspace.Entry, key []byte, n int, event string) {
	c.Changed(event, key)
	c.Dirty(n - 1)
	if e.List().Len() == 0 {
		c.removeEmpty(e, key)
	}
}

// pop is LPOP and RPOP. They answer one element; with a count, an array.
func (c *Call) pop(at end) error {
	key, counted, count := c.Args[1], len(c.Args) == 3, int64(1)
	if len(c.Args) > 3 {
		return errArity(c.cmd.fullName)
	}
	if counted {
		var ok bool
		if count, ok = resp.ParseInt(c.Args[2]); !ok || count < 0 {
			return errNotPositive
		}
	}
	e, l, err := c.lookupList(key)
	switch {
	case err != nil:
		return err
	case l == nil && counted:
		c.Out.NullArray()
	case l == nil:
		c.Out.Null()
	case count == 0:
		c.Out.Array(0)
	case !counted:
		c.Out.BulkString(at.pop(l))
		c.lremoved(e, key, 1, at.event("pop"))
	default:
		c.popSeveral(e, key, at, count)
	}
	return nil
}

// popSeveral removes up to count elements and writes them as an array.
func (c *Call) popSeveral(e *keyspace.Entry, key []byte, at end, count int64) {
	l := e.List()
	n := int(min(count, int64(l.Len())))
	c.Out.Array(n)
	for range n {
		c.Out.BulkString(at.pop(l))
	}
	c.lremoved(e, key, n, at.event("pop"))
}

func llenCommand(c *Call) error {
	_, l, err := c.lookupList(c.Args[1])
	if err != nil {
		return err
	}
	n := 0
	if l != nil {
		n = l.Len()
	}
	c.Out.Int(int64(n))
	return nil
}

// position turns an index, which may count from the end, into a position of l; false if there is none.
func position(l *ds.List, index int64) (int, bool) {
	if index < 0 {
		index += int64(l.Len())
	}
	return int(index), 0 <= index && index < int64(l.Len())
}

func lindexCommand(c *Call) error {
	_, l, err := c.lookupList(c.Args[1])
	if err != nil {
		return err
	}
	if l == nil { // then the index is not looked at
		c.Out.Null()
		return nil
	}
	index, err := integer(c.Args[2])
	if err != nil {
		return err
	}
	if i, ok := position(l, index); ok {
		c.Out.BulkString(l.At(i))
	} else {
		c.Out.Null()
	}
	return nil
}

func lsetCommand(c *Call) error {
	key := c.Args[1]
	_, l, err := c.lookupList(key)
	if err != nil {
		return err
	}
	if l == nil {
		return errNoSuchKey
	}
	index, err := integer(c.Args[2])
	if err != nil {
		return err
	}
	i, ok := position(l, index)
	if !ok {
		return errOutOfRange
	}
	l.Set(i, string(c.Args[3]))
	c.Changed("lset", key)
	return c.OK()
}

// rangeArgs reads the first and last index of a range.
func (c *Call) rangeArgs() (start, stop int64, err error) {
	if start, err = integer(c.Args[2]); err != nil {
		return 0, 0, err
	}
	stop, err = integer(c.Args[3])
	return start, stop, err
}

func lrangeCommand(c *Call) error {
	start, stop, err := c.rangeArgs()
	if err != nil {
		return err
	}
	_, l, err := c.lookupList(c.Args[1])
	if err != nil {
		return err
	}
	if l == nil {
		c.Out.Array(0)
		return nil
	}
	from, to := rankRange(start, stop, l.Len())
	c.Out.Array(to - from)
	if from == to {
		return nil
	}
	for i, value := range l.Ascend(from) {
		if i == to {
			break
		}
		c.Out.BulkString(value)
	}
	return nil
}

func ltrimCommand(c *Call) error {
	key := c.Args[1]
	start, stop, err := c.rangeArgs()
	if err != nil {
		return err
	}
	e, l, err := c.lookupList(key)
	if err != nil {
		return err
	}
	if l == nil {
		return c.OK()
	}
	from, to := rankRange(start, stop, l.Len())
	removed := l.Len() - (to - from)
	l.Trim(from, to)
	c.lremoved(e, key, removed, "ltrim")
	return c.OK()
}

func linsertCommand(c *Call) error {
	key, pivot := c.Args[1], string(c.Args[3])
	after := int(truth(isWord(c.Args[2], "after")))
	if after == 0 && !isWord(c.Args[2], "before") {
		return errSyntax
	}
	_, l, err := c.lookupList(key)
	if err != nil {
		return err
	}
	if l == nil {
		c.Out.Int(0)
		return nil
	}
	for i, value := range l.Ascend(0) {
		if value == pivot {
			l.Insert(i+after, string(c.Args[4]))
			c.Changed("linsert", key)
			c.Out.Int(int64(l.Len()))
			return nil
		}
	}
	c.Out.Int(-1)
	return nil
}

func lremCommand(c *Call) error {
	key := c.Args[1]
	count, err := integer(c.Args[2])
	if err != nil {
		return err
	}
	if count == math.MinInt64 {
		count = 0 // it has no counterpart, and so no limit
	}
	e, l, err := c.lookupList(key)
	if err != nil {
		return err
	}
	n := 0
	if l != nil {
		if n = l.Remove(string(c.Args[3]), int(count)); n > 0 {
			c.lremoved(e, key, n, "lrem")
		}
	}
	c.Out.Int(int64(n))
	return nil
}

// lposOptions are the options of LPOS.
type lposOptions struct {
	rank    int64 // which match is the first; negative: counted from the end
	count   int64 // how many matches, -1 for one that is not in an array, 0 for all
	longest int64 // how many elements are compared, 0 for all
}

func parseLposOptions(words [][]byte) (o lposOptions, err error) {
	o = lposOptions{rank: 1, count: -1}
	for i := 0; i < len(words); i += 2 {
		if i+1 == len(words) {
			return o, errSyntax
		}
		n, ok := resp.ParseInt(words[i+1])
		switch word := words[i]; {
		case isWord(word, "rank"):
			if !ok {
				return o, errNotInteger
			}
			if n == 0 {
				return o, errRankZero
			}
			o.rank = n
		case isWord(word, "count"):
			if !ok || n < 0 {
				return o, errCountNegative
			}
			o.count = n
		case isWord(word, "maxlen"):
			if !ok || n < 0 {
				return o, errMaxlenNegative
			}
			o.longest = n
		default:
			return o, errSyntax
		}
	}
	return o, nil
}

// positions returns where the matches of value are that the options ask for.
func (o lposOptions) positions(l *ds.List, value string) (found []int64) {
	all, skip := l.Ascend(0), o.rank-1
	if o.rank < 0 {
		all, skip = l.Descend(l.Len()-1), -o.rank-1
	}
	if o.rank == math.MinInt64 {
		skip = 0 // it has no counterpart
	}
	compared := int64(0)
	for i, v := range all {
		if v == value {
			if skip == 0 {
				found = append(found, int64(i))
				if o.count < 0 || int64(len(found)) == o.count {
					break
				}
			} else {
				skip--
			}
		}
		if compared++; compared == o.longest {
			break
		}
	}
	return found
}

func lposCommand(c *Call) error {
	o, err := parseLposOptions(c.Args[3:])
	if err != nil {
		return err
	}
	_, l, err := c.lookupList(c.Args[1])
	if err != nil {
		return err
	}
	var found []int64
	if l != nil {
		found = o.positions(l, string(c.Args[2]))
	}
	switch {
	case o.count >= 0:
		c.Out.Array(len(found))
		for _, i := range found {
			c.Out.Int(i)
		}
	case len(found) > 0:
		c.Out.Int(found[0])
	default:
		c.Out.Null()
	}
	return nil
}

func lmoveCommand(c *Call) error {
	from, err := parseEnd(c.Args[3])
	if err != nil {
		return err
	}
	to, err := parseEnd(c.Args[4])
	if err != nil {
		return err
	}
	return c.moveElement(from, to)
}

// moveElement moves an element from one end of list Args[1] to one end of list Args[2].
func (c *Call) moveElement(from, to end) error {
	source, target := c.Args[1], c.Args[2]
	e, src, err := c.lookupList(source)
	if err != nil {
		return err
	}
	if src == nil { // then the target may be of any type
		c.Out.Null()
		return nil
	}
	_, dst, err := c.lookupList(target)
	if err != nil {
		return err
	}
	value := from.pop(src)
	if dst == nil {
		dst = ds.NewList()
		c.DB.SetList(target, dst)
	}
	to.push(dst, value)
	c.Out.BulkString(value)
	c.Changed(to.event("push"), target)
	c.lremoved(e, source, 1, from.event("pop"))
	if !bytes.Equal(source, target) {
		c.Dirty(-1) // one modification, of two keys
	}
	return nil
}

// popArgs are the arguments of LMPOP: the keys, which end, how many elements at most.
type popArgs struct {
	keys  [][]byte
	at    end
	count int64
}

// parsePopArgs reads the words from the number of keys on.
func parsePopArgs(words [][]byte) (a popArgs, err error) {
	n, ok := resp.ParseInt(words[0])
	if !ok || n < 1 {
		return a, errNumKeys
	}
	if n > int64(len(words)-2) {
		return a, errSyntax
	}
	a.keys, words = words[1:1+n], words[1+n:]
	if a.at, err = parseEnd(words[0]); err != nil {
		return a, err
	}
	a.count = 1
	switch {
	case len(words) == 1:
		return a, nil
	case !isWord(words[1], "count") || len(words) == 2:
		return a, errSyntax
	}
	if a.count, ok = resp.ParseInt(words[2]); !ok || a.count < 1 {
		return a, errCountZero
	}
	if len(words) > 3 {
		return a, errSyntax
	}
	return a, nil
}

func lmpopCommand(c *Call) error {
	a, err := parsePopArgs(c.Args[1:])
	if err != nil {
		return err
	}
	popped, err := c.popFirst(a)
	if err == nil && !popped {
		c.Out.NullArray()
	}
	return err
}

// popFirst pops from the first of the keys that has a list and answers the key and the elements; false, and
// no answer, if none has.
func (c *Call) popFirst(a popArgs) (popped bool, err error) {
	for _, key := range a.keys {
		e, _, err := c.lookupList(key)
		if err != nil {
			return false, err
		}
		if e != nil {
			c.Out.Array(2)
			c.Out.Bulk(key)
			c.popSeveral(e, key, a.at, a.count)
			return true, nil
		}
	}
	return false, nil
}
