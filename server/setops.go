package server

import (
	"slices"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

const (
	errNumKeys       = wireError("ERR numkeys should be greater than 0")
	errLimitNegative = wireError("ERR LIMIT can't be negative")
)

// A setOperation computes a set from others, of which those that do not exist are nil.
type setOperation func(c *Call, sets []*ds.Set) *ds.Set

func sinterCommand(c *Call) error      { return c.replyOperation(intersection) }
func sunionCommand(c *Call) error      { return c.replyOperation(union) }
func sdiffCommand(c *Call) error       { return c.replyOperation(difference) }
func sinterstoreCommand(c *Call) error { return c.storeOperation("sinterstore", intersection) }
func sunionstoreCommand(c *Call) error { return c.storeOperation("sunionstore", union) }
func sdiffstoreCommand(c *Call) error  { return c.storeOperation("sdiffstore", difference) }

// lookupSets returns the sets of keys, nil for those that do not exist.
func (c *Call) lookupSets(keys [][]byte) ([]*ds.Set, error) {
	sets := make([]*ds.Set, len(keys))
	for i, key := range keys {
		var err error
		if _, sets[i], err = c.lookupSet(key); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

func (c *Call) replyOperation(op setOperation) error {
	sets, err := c.lookupSets(c.Args[1:])
	if err != nil {
		return err
	}
	c.replySet(op(c, sets))
	return nil
}

// storeOperation makes the result the value of the first key, whatever that was before; an empty result
// removes it.
func (c *Call) storeOperation(event string, op setOperation) error {
	key := c.Args[1]
	sets, err := c.lookupSets(c.Args[2:])
	if err != nil {
		return err
	}
	result := op(c, sets)
	c.Out.Int(int64(result.Len()))
	if result.Len() > 0 {
		c.DB.SetSet(key, result)
		c.Changed(event, key)
	} else if e := c.DB.Peek(key, c.Now()); e != nil {
		c.delete(e, key)
	}
	return nil
}

// eachCommon calls yield with what is in all sets until it returns false. It goes through the smallest.
func eachCommon(sets []*ds.Set, yield func(member string) bool) {
	if slices.Contains(sets, nil) {
		return
	}
	sets = slices.Clone(sets)
	slices.SortStableFunc(sets, func(a, b *ds.Set) int { return a.Len() - b.Len() })
	for member := range sets[0].All() {
		common := !slices.ContainsFunc(sets[1:], func(s *ds.Set) bool { return !s.Has(member) })
		if common && !yield(member) {
			return
		}
	}
}

func intersection(c *Call, sets []*ds.Set) *ds.Set {
	result := ds.NewSet()
	eachCommon(sets, func(member string) bool {
		result.Add(member, c.maxInts())
		return true
	})
	return result
}

func union(c *Call, sets []*ds.Set) *ds.Set {
	result := ds.NewSet()
	for _, s := range sets {
		if s == nil {
			continue
		}
		for member := range s.All() {
			result.Add(member, c.maxInts())
		}
	}
	return result
}

// difference returns what is in the first set and in none of the others.
func difference(c *Call, sets []*ds.Set) *ds.Set {
	result := ds.NewSet()
	first, others := sets[0], slices.DeleteFunc(slices.Clone(sets[1:]), func(s *ds.Set) bool { return s == nil })
	if first == nil || slices.Contains(others, first) {
		return result
	}
	for member := range first.All() {
		if !slices.ContainsFunc(others, func(s *ds.Set) bool { return s.Has(member) }) {
			result.Add(member, c.maxInts())
		}
	}
	return result
}

// countedKeys returns the findKeys of a command whose keys follow their number, which is word at.
func countedKeys(at int) func(args [][]byte) ([]int, error) {
	return func(args [][]byte) ([]int, error) {
		n, ok := resp.ParseInt(args[at])
		if !ok || n < 1 || n > int64(len(args)-at-1) {
			return nil, errInvalidArguments
		}
		keys := make([]int, n)
		for i := range keys {
			keys[i] = at + 1 + i
		}
		return keys, nil
	}
}

func sintercardCommand(c *Call) error {
	n, ok := resp.ParseInt(c.Args[1])
	switch {
	case !ok || n < 1:
		return errNumKeys
	case n > int64(len(c.Args)-2):
		return errTooManyKeys
	}
	limit := int64(0)
	for i := 2 + int(n); i < len(c.Args); i += 2 {
		if !isWord(c.Args[i], "limit") || i+1 == len(c.Args) {
			return errSyntax
		}
		if limit, ok = resp.ParseInt(c.Args[i+1]); !ok || limit < 0 {
			return errLimitNegative
		}
	}
	sets, err := c.lookupSets(c.Args[2 : 2+n])
	if err != nil {
		return err
	}
	common := int64(0)
	eachCommon(sets, func(string) bool {
		common++
		return common != limit
	})
	c.Out.Int(common)
	return nil
}
