package server

import (
	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// blockingZSetCommands are the commands that wait for sorted sets.
func blockingZSetCommands() []*command {
	const flags = flagWrite | flagNoScript | flagBlocking | flagFast
	several := keyRange{1, -2, 1}
	return []*command{
		{name: "bzpopmin", arity: -3, flags: flags, categories: catSortedSet, keys: several, since: "5.0.0",
			handler: func(c *Call) error { return c.blockingZpop(false) }},
		{name: "bzpopmax", arity: -3, flags: flags, categories: catSortedSet, keys: several, since: "5.0.0",
			handler: func(c *Call) error { return c.blockingZpop(true) }},
		{name: "bzmpop", arity: -5, flags: flagWrite | flagBlocking | flagMovablekeys, categories: catSortedSet, findKeys: countedKeys(2),
			since: "7.0.0", handler: bzmpopCommand},
	}
}

// blockingZpop is BZPOPMIN and BZPOPMAX.
func (c *Call) blockingZpop(highest bool) error {
	last := len(c.Args) - 1
	timeout, err := parseTimeout(c.Args[last])
	if err != nil {
		return err
	}
	keys := c.Args[1:last]
	for _, key := range keys {
		e, _, err := c.lookupZSet(key)
		if err != nil {
			return err
		}
		if e != nil {
			c.zpopWithKey(e, key, highest)
			return nil
		}
	}
	c.block(keys, timeout, waiting{
		kind: keyspace.KindZSet,
		serve: func(c *Call, key []byte) (bool, error) {
			c.zpopWithKey(c.DB.Lookup(key, c.Now()), key, highest)
			return true, nil
		},
		timedOut: (*resp.Writer).NullArray,
		denied:   (*resp.Writer).NullArray,
	})
	return nil
}

// zpopWithKey removes a member and answers the key, the member and its score.
func (c *Call) zpopWithKey(e *keyspace.Entry, key []byte, highest bool) {
	_, members := zsetEnd(e.ZSet(), 1, highest)
	for member, score := range members {
		c.Out.Array(3)
		c.Out.Bulk(key)
		c.Out.BulkString(member)
		c.Out.Double(score)
	}
	c.zpopped(e, key, 1, highest)
}

// bzmpopCommand looks at the timeout last.
func bzmpopCommand(c *Call) error {
	q, err := parseZmpop(c.Args[2:])
	if err != nil {
		return err
	}
	timeout, err := parseTimeout(c.Args[1])
	if err != nil {
		return err
	}
	popped, err := c.zmpop(q)
	if err != nil || popped {
		return err
	}
	highest, count := q.highest, q.count // not the keys, which are in the read buffer
	c.block(q.keys, timeout, waiting{
		kind: keyspace.KindZSet,
		serve: func(c *Call, key []byte) (bool, error) {
			return c.zmpop(zmpopQuery{keys: [][]byte{key}, highest: highest, count: count})
		},
		timedOut: (*resp.Writer).NullArray,
		denied:   (*resp.Writer).NullArray,
	})
	return nil
}
