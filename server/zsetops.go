package server

import (
	"iter"
	"math"
	"slices"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// zsetopsCommands are the commands that combine sorted sets, and plain sets, whose members score 1.
func zsetopsCommands() []*command {
	read := func(name, since string, h handler) *command {
		return &command{name: name, arity: -3, flags: flagReadonly | flagMovablekeys, categories: catSortedSet, findKeys: countedKeys(1), since: since, handler: h}
	}
	store := func(name, since string, h handler) *command {
		return &command{name: name, arity: -4, flags: flagWrite | flagDenyOOM | flagMovablekeys, categories: catSortedSet, keys: oneKey,
			findKeys: storeKeys, since: since, handler: h}
	}
	return []*command{
		read("zunion", "6.2.0", zunionCommand),
		read("zinter", "6.2.0", zinterCommand),
		read("zdiff", "6.2.0", zdiffCommand),
		read("zintercard", "7.0.0", zintercardCommand),
		store("zunionstore", "2.0.0", zunionstoreCommand),
		store("zinterstore", "2.0.0", zinterstoreCommand),
		store("zdiffstore", "6.2.0", zdiffstoreCommand),
	}
}

const (
	errWeight = wireError("ERR weight value is not a float")
)

// storeKeys returns the positions of the keys of ZUNIONSTORE and its relatives: the destination, then those
// that are counted.
func storeKeys(args [][]byte) ([]int, error) {
	at, err := countedKeys(2)(args)
	if err != nil {
		return nil, err
	}
	return slices.Insert(at, 0, 1), nil
}

// A zinput is a sorted set or set that goes into a combination; the zero zinput is an empty one.
type zinput struct {
	n      int
	score  func(member string) (float64, bool)
	all    iter.Seq2[string, float64]
	weight float64
}

// find returns the weighted score of a member.
func (in *zinput) find(member string) (float64, bool) {
	if in.n == 0 {
		return 0, false
	}
	s, ok := in.score(member)
	return s * in.weight, ok
}

// members yields members with their weighted scores.
func (in *zinput) members(yield func(string, float64) bool) {
	if in.n == 0 {
		return
	}
	for member, s := range in.all {
		if !yield(member, in.first(s)) {
			return
		}
	}
}

// first weighs a score that nothing was added to yet. Infinity times zero is zero.
func (in *zinput) first(score float64) float64 { return zeroIfNaN(score * in.weight) }

func zeroIfNaN(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return f
}

// zinput returns the value of key as an input.
func (c *Call) zinput(key []byte) (zinput, error) {
	in := zinput{weight: 1}
	e := c.DB.Lookup(key, c.Now())
	if e == nil {
		return in, nil
	}
	switch e.Kind() {
	case keyspace.KindZSet:
		z := e.ZSet()
		in.n, in.score, in.all = z.Len(), z.Score, z.Ascend(0, z.Len())
	case keyspace.KindSet:
		s := e.Set()
		in.n = s.Len()
		in.score = func(member string) (float64, bool) { return 1, s.Has(member) }
		in.all = func(yield func(string, float64) bool) {
			for member := range s.All() {
				if !yield(member, 1) {
					return
				}
			}
		}
	default:
		return in, errWrongType
	}
	return in, nil
}

// A zop is one of the three combinations.
type zop uint8

const (
	zunion zop = iota
	zinter
	zdiff
)

// A zopQuery is what a combination is asked for. The fields before inputs say which options there are.
type zopQuery struct {
	op        zop
	store     bool // no WITHSCORES
	card      bool // ZINTERCARD: LIMIT and nothing else
	inputs    []zinput
	aggregate func(a, b float64) float64
	scores    bool
	limit     int64
}

func zunionCommand(c *Call) error { return c.zcombine(zopQuery{op: zunion}, 1, "") }
func zinterCommand(c *Call) error { return c.zcombine(zopQuery{op: zinter}, 1, "") }
func zdiffCommand(c *Call) error  { return c.zcombine(zopQuery{op: zdiff}, 1, "") }
func zunionstoreCommand(c *Call) error {
	return c.zcombine(zopQuery{op: zunion, store: true}, 2, "zunionstore")
}
func zinterstoreCommand(c *Call) error {
	return c.zcombine(zopQuery{op: zinter, store: true}, 2, "zinterstore")
}
func zdiffstoreCommand(c *Call) error {
	return c.zcombine(zopQuery{op: zdiff, store: true}, 2, "zdiffstore")
}

func zintercardCommand(c *Call) error {
	q := zopQuery{op: zinter, card: true}
	if err := q.parse(c, 1); err != nil {
		return err
	}
	q.order()
	n := int64(0)
	for range q.intersection {
		if n++; n == q.limit {
			break
		}
	}
	c.Out.Int(n)
	return nil
}

// zcombine executes a query whose words are those of the call, the number of keys at position at.
func (c *Call) zcombine(q zopQuery, at int, event string) error {
	if err := q.parse(c, at); err != nil {
		return err
	}
	result := q.combine()
	if q.store {
		c.zstore(event, c.Args[1], result)
		return nil
	}
	z := ds.NewZSet()
	z.Enlarge() // the sign of a zero is answered
	for member, score := range result {
		z.Set(member, score)
	}
	c.replyMembers(z.Ascend(0, z.Len()), z.Len(), q.scores, true)
	return nil
}

// parse reads the keys, looks them up, and reads the options.
func (q *zopQuery) parse(c *Call, at int) error {
	n, err := integer(c.Args[at])
	words := c.Args[at+1:]
	switch {
	case err != nil:
		return err
	case n < 1:
		return errorf("ERR at least 1 input key is needed for '%s' command", c.cmd.fullName)
	case n > int64(len(words)):
		return errSyntax
	}
	q.inputs = make([]zinput, n)
	for i := range q.inputs {
		if q.inputs[i], err = c.zinput(words[i]); err != nil {
			return err
		}
	}
	q.aggregate = aggregateSum
	for words = words[n:]; len(words) > 0 && err == nil; {
		words, err = q.option(words)
	}
	return err
}

// option reads one option and returns the words after it.
func (q *zopQuery) option(words [][]byte) (rest [][]byte, err error) {
	weighs := q.op != zdiff && !q.card
	switch word := words[0]; {
	case weighs && isWord(word, "weights") && len(words) > len(q.inputs):
		for i := range q.inputs {
			w, ok := parseFloat(words[1+i])
			if !ok {
				return nil, errWeight
			}
			q.inputs[i].weight = w
		}
		return words[1+len(q.inputs):], nil
	case weighs && isWord(word, "aggregate") && len(words) > 1:
		switch {
		case isWord(words[1], "sum"):
			q.aggregate = aggregateSum
		case isWord(words[1], "min"):
			q.aggregate = aggregateMin
		case isWord(words[1], "max"):
			q.aggregate = aggregateMax
		default:
			return nil, errSyntax
		}
		return words[2:], nil
	case !q.store && !q.card && isWord(word, "withscores"):
		q.scores = true
		return words[1:], nil
	case q.card && isWord(word, "limit") && len(words) > 1:
		var ok bool
		if q.limit, ok = resp.ParseInt(words[1]); !ok || q.limit < 0 {
			return nil, errLimitNegative
		}
		return words[2:], nil
	}
	return nil, errSyntax
}

func aggregateSum(a, b float64) float64 { return zeroIfNaN(a + b) }

// aggregateMin takes the second only if it is less: it may be no number.
func aggregateMin(a, b float64) float64 {
	if b < a {
		return b
	}
	return a
}

func aggregateMax(a, b float64) float64 {
	if b > a {
		return b
	}
	return a
}

// order puts the smallest inputs first, which makes an intersection cheap. It also settles in which order
// scores are added up, on which the sum of floating point numbers depends.
func (q *zopQuery) order() {
	slices.SortStableFunc(q.inputs, func(a, b zinput) int { return a.n - b.n })
}

// combine returns the members of the combination with their scores.
func (q *zopQuery) combine() map[string]float64 {
	result := make(map[string]float64)
	switch q.op {
	case zdiff:
		for member, score := range q.inputs[0].members {
			if !slices.ContainsFunc(q.inputs[1:], func(in zinput) bool { _, ok := in.find(member); return ok }) {
				result[member] = score
			}
		}
	case zinter:
		q.order()
		for member, score := range q.intersection {
			result[member] = score
		}
	default:
		q.order()
		for _, in := range q.inputs {
			for member, score := range in.members {
				if old, ok := result[member]; ok {
					score = q.aggregate(old, score)
				}
				result[member] = score
			}
		}
	}
	return result
}

// intersection yields the members that all inputs have.
func (q *zopQuery) intersection(yield func(string, float64) bool) {
members:
	for member, score := range q.inputs[0].members {
		for i := range q.inputs[1:] {
			s, ok := q.inputs[1+i].find(member)
			if !ok {
				continue members
			}
			score = q.aggregate(score, s)
		}
		if !yield(member, score) {
			return
		}
	}
}

// zstore makes members with their scores the value of key, or removes key if there are none, and answers
// with how many there are.
func (c *Call) zstore(event string, key []byte, members map[string]float64) {
	if len(members) == 0 {
		if e := c.DB.Peek(key, c.Now()); e != nil {
			c.delete(e, key)
		}
		c.Out.Int(0)
		return
	}
	z := ds.NewZSet()
	limit := c.srv.config.ZSetListpack
	if int64(len(members)) > limit.Entries {
		z.Enlarge()
	}
	for member := range members {
		if int64(len(member)) > limit.Value {
			z.Enlarge()
			break
		}
	}
	for member, score := range members {
		z.Set(member, score)
	}
	c.DB.SetZSet(key, z)
	c.Changed(event, key)
	c.Out.Int(int64(len(members)))
}
