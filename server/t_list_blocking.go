package server

import (
	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// blockingListCommands are the commands that wait for lists.
func blockingListCommands() []*command {
	const (
		pop  = flagWrite | flagNoScript | flagBlocking
		move = pop | flagDenyOOM
	)
	several := keyRange{1, -2, 1}
	return []*command{
		{name: "blpop", arity: -3, flags: pop, categories: catList, keys: several, since: "2.0.0",
			handler: func(c *Call) error { return c.blockingPop(left) }},
		{name: "brpop", arity: -3, flags: pop, categories: catList, keys: several, since: "2.0.0",
			handler: func(c *Call) error { return c.blockingPop(right) }},
		{name: "blmove", arity: 6, flags: move, categories: catList, keys: twoKeys, since: "6.2.0", handler: blmoveCommand},
		{name: "brpoplpush", arity: 4, flags: move, categories: catList, keys: twoKeys, since: "2.2.0",
			handler: func(c *Call) error { return c.blockingMove(right, left, c.Args[3]) }},
		{name: "blmpop", arity: -5, flags: flagWrite | flagBlocking | flagMovablekeys, categories: catList, findKeys: countedKeys(2),
			since: "7.0.0", handler: blmpopCommand},
	}
}

func (c *Call) blockingPop(at end) error {
	last := len(c.Args) - 1
	timeout, err := parseTimeout(c.Args[last])
	if err != nil {
		return err
	}
	keys := c.Args[1:last]
	for _, key := range keys {
		e, _, err := c.lookupList(key)
		if err != nil {
			return err
		}
		if e != nil {
			c.popWithKey(e, key, at)
			return nil
		}
	}
	c.block(keys, timeout, waiting{
		kind: keyspace.KindList,
		serve: func(c *Call, key []byte) (bool, error) {
			c.popWithKey(c.DB.Lookup(key, c.Now()), key, at)
			return true, nil
		},
		timedOut: (*resp.Writer).NullArray,
		denied:   (*resp.Writer).NullArray,
	})
	return nil
}

// popWithKey removes an element and answers the key and the element.
func (c *Call) popWithKey(e *keyspace.Entry, key []byte, at end) {
	c.Out.Array(2)
	c.Out.Bulk(key)
	c.Out.BulkString(at.pop(e.List()))
	c.lremoved(e, key, 1, at.event("pop"))
}

func blmoveCommand(c *Call) error {
	from, err := parseEnd(c.Args[3])
	if err != nil {
		return err
	}
	to, err := parseEnd(c.Args[4])
	if err != nil {
		return err
	}
	return c.blockingMove(from, to, c.Args[5])
}

func (c *Call) blockingMove(from, to end, timeoutWord []byte) error {
	timeout, err := parseTimeout(timeoutWord)
	if err != nil {
		return err
	}
	if c.DB.Lookup(c.Args[1], c.Now()) != nil {
		return c.moveElement(from, to)
	}
	c.block(c.Args[1:2], timeout, waiting{
		kind: keyspace.KindList,
		serve: func(c *Call, key []byte) (bool, error) {
			return true, c.moveElement(from, to)
		},
		timedOut: (*resp.Writer).NullArray,
		denied:   (*resp.Writer).Null,
	})
	return nil
}

func blmpopCommand(c *Call) error {
	a, err := parsePopArgs(c.Args[2:])
	if err != nil {
		return err
	}
	timeout, err := parseTimeout(c.Args[1])
	if err != nil {
		return err
	}
	popped, err := c.popFirst(a)
	if err != nil || popped {
		return err
	}
	at, count := a.at, a.count // not the keys, which are in the read buffer
	c.block(a.keys, timeout, waiting{
		kind: keyspace.KindList,
		serve: func(c *Call, key []byte) (bool, error) {
			return c.popFirst(popArgs{keys: [][]byte{key}, at: at, count: count})
		},
		timedOut: (*resp.Writer).NullArray,
		denied:   (*resp.Writer).NullArray,
	})
	return nil
}
