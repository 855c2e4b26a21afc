package server

import (
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// zsetCommands are the commands whose values are sorted sets. Those that read a range are in zrange.go,
// those on several sets in zsetops.go.
func zsetCommands() []*command {
	const (
		write    = flagWrite | flagDenyOOM | flagFast
		readFast = flagReadonly | flagFast
	)
	row := func(name string, arity int, flags flag, since string, h handler) *command {
		return &command{name: name, arity: arity, flags: flags, categories: catSortedSet, keys: oneKey, since: since, handler: h}
	}
	random := func(name string, arity int, since string, h handler) *command {
		cmd := row(name, arity, flagReadonly, since, h)
		cmd.tips = []string{"nondeterministic_output"}
		return cmd
	}
	return []*command{
		row("zadd", -4, write, "1.2.0", zaddCommand),
		row("zincrby", 4, write, "1.2.0", zincrbyCommand),
		row("zrem", -3, flagWrite|flagFast, "1.2.0", zremCommand),
		row("zremrangebyscore", 4, flagWrite, "1.2.0", zremrangebyscoreCommand),
		row("zremrangebyrank", 4, flagWrite, "2.0.0", zremrangebyrankCommand),
		row("zremrangebylex", 4, flagWrite, "2.8.9", zremrangebylexCommand),
		row("zpopmin", -2, flagWrite|flagFast, "5.0.0", zpopminCommand),
		row("zpopmax", -2, flagWrite|flagFast, "5.0.0", zpopmaxCommand),
		{name: "zmpop", arity: -4, flags: flagWrite | flagMovablekeys, categories: catSortedSet, findKeys: countedKeys(1), since: "7.0.0", handler: zmpopCommand},
		row("zcard", 2, readFast, "1.2.0", zcardCommand),
		row("zcount", 4, readFast, "2.0.0", zcountCommand),
		row("zlexcount", 4, readFast, "2.8.9", zlexcountCommand),
		row("zscore", 3, readFast, "1.2.0", zscoreCommand),
		row("zmscore", -3, readFast, "6.2.0", zmscoreCommand),
		row("zrank", 3, readFast, "2.0.0", zrankCommand),
		row("zrevrank", 3, readFast, "2.0.0", zrevrankCommand),
		random("zrandmember", -2, "6.2.0", zrandmemberCommand),
		random("zscan", -3, "2.8.0", zscanCommand),
		row("zrange", -4, flagReadonly, "1.2.0", zrangeCommand),
		row("zrangebyscore", -4, flagReadonly, "1.0.5", zrangebyscoreCommand),
		row("zrevrange", -4, flagReadonly, "1.2.0", zrevrangeCommand),
		row("zrevrangebyscore", -4, flagReadonly, "2.2.0", zrevrangebyscoreCommand),
		row("zrangebylex", -4, flagReadonly, "2.8.9", zrangebylexCommand),
		row("zrevrangebylex", -4, flagReadonly, "2.8.9", zrevrangebylexCommand),
		{name: "zrangestore", arity: -5, flags: flagWrite | flagDenyOOM, categories: catSortedSet, keys: twoKeys, since: "6.2.0", handler: zrangestoreCommand},
	}
}

const (
	errZaddNXandXX  = wireError("ERR XX and NX options at the same time are not compatible")
	errZaddGTandLT  = wireError("ERR GT, LT, and/or NX options at the same time are not compatible")
	errZaddIncrOne  = wireError("ERR INCR option supports a single increment-element pair")
	errScoreNaN     = wireError("ERR resulting score is not a number (NaN)")
	errPopCount     = wireError("ERR count should be greater than 0")
	errRangeFloat   = wireError("ERR min or max is not a float")
	errRangeLex     = wireError("ERR min or max not valid string range item")
	errZrangeLimit  = wireError("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
	errZrangeScores = wireError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
)

// lookupZSet returns the entry of key and its sorted set, both nil if there is none, or an error if the
// value is of another type.
func (c *Call) lookupZSet(key []byte) (*keyspace.Entry, *ds.ZSet, error) {
	e, err := c.lookupKind(key, keyspace.KindZSet)
	if e == nil {
		return nil, nil, err
	}
	return e, e.ZSet(), nil
}

// zaddOptions are the options of ZADD; ZINCRBY has incr alone.
type zaddOptions struct{ nx, xx, gt, lt, ch, incr bool }

// parseZaddOptions reads the words before the first score and returns the others. That they exclude each
// other is found only after the scores were counted.
func parseZaddOptions(words [][]byte) (o zaddOptions, rest [][]byte) {
	for i, w := range words {
		switch strings.ToLower(string(w)) {
		case "nx":
			o.nx = true
		case "xx":
			o.xx = true
		case "gt":
			o.gt = true
		case "lt":
			o.lt = true
		case "ch":
			o.ch = true
		case "incr":
			o.incr = true
		default:
			return o, words[i:]
		}
	}
	return o, nil
}

func zaddCommand(c *Call) error {
	o, pairs := parseZaddOptions(c.Args[2:])
	switch {
	case len(pairs) == 0 || len(pairs)%2 != 0:
		return errSyntax
	case o.nx && o.xx:
		return errZaddNXandXX
	case o.gt && o.nx, o.lt && o.nx, o.gt && o.lt:
		return errZaddGTandLT
	case o.incr && len(pairs) > 2:
		return errZaddIncrOne
	}
	return c.zadd(o, pairs)
}

func zincrbyCommand(c *Call) error { return c.zadd(zaddOptions{incr: true}, c.Args[2:]) }

// zadd adds the pairs of score and member. All scores are read before anything changes.
func (c *Call) zadd(o zaddOptions, pairs [][]byte) error {
	scores := make([]float64, len(pairs)/2)
	for i := range scores {
		s, err := float(pairs[2*i])
		if err != nil {
			return err
		}
		scores[i] = s
	}
	key := c.Args[1]
	e, z, err := c.lookupZSet(key)
	if err != nil {
		return err
	}
	if e == nil {
		if o.xx {
			c.replyZadd(o, 0, 0, false, 0)
			return nil
		}
		z = ds.NewZSet()
		if c.srv.config.ZSetListpack.Entries == 0 || int64(len(pairs[1])) > c.srv.config.ZSetListpack.Value {
			z.Enlarge()
		}
	}
	var added, updated int
	var score float64
	var done bool
	for i := range scores {
		score, done, err = c.zaddOne(o, z, string(pairs[2*i+1]), scores[i], &added, &updated)
		if err != nil {
			return err
		}
	}
	if e == nil && z.Len() > 0 {
		c.DB.SetZSet(key, z)
	}
	if n := added + updated; n > 0 {
		event := "zadd"
		if o.incr {
			event = "zincr"
		}
		c.Changed(event, key)
		c.Dirty(n - 1)
	}
	c.replyZadd(o, added, updated, done, score)
	return nil
}

// fitZSet makes a sorted set large if it will be too large for a listpack with one more member. One that
// is too large only because the directives were lowered stays as it is until then.
func (c *Call) fitZSet(z *ds.ZSet, member string) {
	limit := c.srv.config.ZSetListpack
	if int64(z.Len()) >= limit.Entries || int64(len(member)) > limit.Value {
		z.Enlarge()
	}
}

// zaddOne adds one member or changes its score, as the options allow. It returns the score that the member
// has then, and whether the options allowed it.
func (c *Call) zaddOne(o zaddOptions, z *ds.ZSet, member string, score float64, added, updated *int) (float64, bool, error) {
	old, exists := z.Score(member)
	if !exists {
		if o.xx {
			return 0, false, nil
		}
		c.fitZSet(z, member)
		z.Set(member, score)
		*added++
		return score, true, nil
	}
	if o.nx {
		return 0, false, nil
	}
	if o.incr {
		score += old
		if math.IsNaN(score) {
			return 0, false, errScoreNaN
		}
	}
	if o.gt && score <= old || o.lt && score >= old {
		return 0, false, nil
	}
	if score != old {
		z.Set(member, score)
		*updated++
	}
	return score, true, nil
}

// replyZadd writes what ZADD answers: the new score with INCR, else a count.
func (c *Call) replyZadd(o zaddOptions, added, updated int, done bool, score float64) {
	switch {
	case o.incr && done:
		c.Out.Double(score)
	case o.incr:
		c.Out.Null()
	case o.ch:
		c.Out.Int(int64(added + updated))
	default:
		c.Out.Int(int64(added))
	}
}

// zremoved does what follows from the removal of n members by an event.
func (c *Call) zremoved(e *keyspace.Entry, key []byte, n int, event string) {
	if n == 0 {
		return
	}
	c.Changed(event, key)
	c.Dirty(n - 1)
	if e.ZSet().Len() == 0 {
		c.removeEmpty(e, key)
	}
}

func zremCommand(c *Call) error {
	key := c.Args[1]
	e, z, err := c.lookupZSet(key)
	if err != nil {
		return err
	}
	n := 0
	if z != nil {
		for _, member := range c.Args[2:] {
			if z.Delete(string(member)) {
				n++
			}
		}
		c.zremoved(e, key, n, "zrem")
	}
	c.Out.Int(int64(n))
	return nil
}

func zremrangebyscoreCommand(c *Call) error {
	r, err := parseScoreRange(c.Args[2], c.Args[3])
	if err != nil {
		return err
	}
	return c.zremrange("zremrangebyscore", r.ranks)
}

func zremrangebyrankCommand(c *Call) error {
	start, err := integer(c.Args[2])
	if err != nil {
		return err
	}
	stop, err := integer(c.Args[3])
	if err != nil {
		return err
	}
	return c.zremrange("zremrangebyrank", func(z *ds.ZSet) (int, int) { return rankRange(start, stop, z.Len()) })
}

func zremrangebylexCommand(c *Call) error {
	r, err := parseLexRange(c.Args[2], c.Args[3])
	if err != nil {
		return err
	}
	return c.zremrange("zremrangebylex", r.ranks)
}

// zremrange removes a range of ranks.
func (c *Call) zremrange(event string, ranks func(*ds.ZSet) (from, to int)) error {
	key := c.Args[1]
	e, z, err := c.lookupZSet(key)
	if err != nil {
		return err
	}
	n := 0
	if z != nil {
		n = z.DeleteRanks(ranks(z))
		c.zremoved(e, key, n, event)
	}
	c.Out.Int(int64(n))
	return nil
}

func zpopminCommand(c *Call) error { return c.zpop(false) }
func zpopmaxCommand(c *Call) error { return c.zpop(true) }

// zpop answers pairs when it is asked for a count, else member and score, nothing if there is none. Only
// RESP3 shows the difference.
func (c *Call) zpop(highest bool) error {
	if len(c.Args) > 3 {
		return errSyntax
	}
	count := int64(1)
	if len(c.Args) == 3 {
		var ok bool
		if count, ok = resp.ParseInt(c.Args[2]); !ok || count < 0 {
			return errNotPositive
		}
	}
	key := c.Args[1]
	e, z, err := c.lookupZSet(key)
	if err != nil {
		return err
	}
	if z == nil || count == 0 {
		c.Out.Array(0)
		return nil
	}
	n, members := zsetEnd(z, count, highest)
	c.replyMembers(members, n, true, len(c.Args) == 3)
	c.zpopped(e, key, n, highest)
	return nil
}

// zsetEnd returns up to count members from one end of a sorted set, and how many they are.
func zsetEnd(z *ds.ZSet, count int64, highest bool) (n int, members iter.Seq2[string, float64]) {
	n = int(min(count, int64(z.Len())))
	if highest {
		return n, z.Descend(z.Len()-n, z.Len())
	}
	return n, z.Ascend(0, n)
}

// zpopped removes n members from an end of a sorted set.
func (c *Call) zpopped(e *keyspace.Entry, key []byte, n int, highest bool) {
	z, event, from := e.ZSet(), "zpopmin", 0
	if highest {
		event, from = "zpopmax", z.Len()-n
	}
	z.DeleteRanks(from, from+n)
	c.zremoved(e, key, n, event)
}

// A zmpopQuery is what ZMPOP asks for.
type zmpopQuery struct {
	keys    [][]byte
	highest bool
	count   int64
}

// parseZmpop reads words from the number of keys on.
func parseZmpop(words [][]byte) (q zmpopQuery, err error) {
	n, ok := resp.ParseInt(words[0])
	if !ok || n < 1 {
		return q, errNumKeys
	}
	words = words[1:]
	if n >= int64(len(words)) {
		return q, errSyntax
	}
	q.keys, words = words[:n], words[n:]
	q.highest = isWord(words[0], "max")
	if !q.highest && !isWord(words[0], "min") {
		return q, errSyntax
	}
	switch q.count = 1; {
	case len(words) == 1:
		return q, nil
	case len(words) < 3 || !isWord(words[1], "count"):
		return q, errSyntax
	}
	if q.count, ok = resp.ParseInt(words[2]); !ok || q.count < 1 {
		return q, errPopCount
	}
	if len(words) > 3 {
		return q, errSyntax
	}
	return q, nil
}

func zmpopCommand(c *Call) error {
	q, err := parseZmpop(c.Args[1:])
	if err != nil {
		return err
	}
	popped, err := c.zmpop(q)
	if err == nil && !popped {
		c.Out.NullArray()
	}
	return err
}

// zmpop pops from the first of the keys that has something, answers with it, and reports whether any had.
func (c *Call) zmpop(q zmpopQuery) (popped bool, err error) {
	for _, key := range q.keys {
		e, z, err := c.lookupZSet(key)
		if err != nil {
			return false, err
		}
		if z == nil {
			continue
		}
		n, members := zsetEnd(z, q.count, q.highest)
		c.Out.Array(2)
		c.Out.Bulk(key)
		c.Out.Array(n)
		for member, score := range members {
			c.Out.Array(2)
			c.Out.BulkString(member)
			c.Out.Double(score)
		}
		c.zpopped(e, key, n, q.highest)
		return true, nil
	}
	return false, nil
}

// replyMembers writes n members, and their scores if asked for: in RESP3 as pairs, where pairs are wanted.
func (c *Call) replyMembers(members iter.Seq2[string, float64], n int, scores, pairs bool) {
	each := func() {}
	if pairs || !scores {
		each = c.pairHeader(n, scores)
	} else {
		c.Out.Array(2 * n)
	}
	for member, score := range members {
		each()
		c.Out.BulkString(member)
		if scores {
			c.Out.Double(score)
		}
	}
}

func zcardCommand(c *Call) error {
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	n := 0
	if z != nil {
		n = z.Len()
	}
	c.Out.Int(int64(n))
	return nil
}

func zcountCommand(c *Call) error {
	r, err := parseScoreRange(c.Args[2], c.Args[3])
	if err != nil {
		return err
	}
	return c.zcount(r.ranks)
}

func zlexcountCommand(c *Call) error {
	r, err := parseLexRange(c.Args[2], c.Args[3])
	if err != nil {
		return err
	}
	return c.zcount(r.ranks)
}

// zcount answers with the size of a range of ranks.
func (c *Call) zcount(ranks func(*ds.ZSet) (from, to int)) error {
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	n := 0
	if z != nil {
		from, to := ranks(z)
		n = max(to-from, 0)
	}
	c.Out.Int(int64(n))
	return nil
}

func zscoreCommand(c *Call) error {
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	c.replyScore(z, c.Args[2])
	return nil
}

// replyScore writes the score of a member, or the absent value; z may be nil.
func (c *Call) replyScore(z *ds.ZSet, member []byte) {
	if z != nil {
		if s, ok := z.Score(string(member)); ok {
			c.Out.Double(s)
			return
		}
	}
	c.Out.Null()
}

func zmscoreCommand(c *Call) error {
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	c.Out.Array(len(c.Args) - 2)
	for _, member := range c.Args[2:] {
		c.replyScore(z, member)
	}
	return nil
}

func zrankCommand(c *Call) error    { return c.zrank(false) }
func zrevrankCommand(c *Call) error { return c.zrank(true) }

// zrank answers with the rank of a member, counted from the lowest or the highest.
func (c *Call) zrank(fromHighest bool) error {
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	rank, ok := 0, false
	if z != nil {
		rank, ok = z.Rank(string(c.Args[2]))
	}
	switch {
	case !ok:
		c.Out.Null()
	case fromHighest:
		c.Out.Int(int64(z.Len() - 1 - rank))
	default:
		c.Out.Int(int64(rank))
	}
	return nil
}

func zrandmemberCommand(c *Call) error {
	if len(c.Args) == 2 {
		_, z, err := c.lookupZSet(c.Args[1])
		if err != nil {
			return err
		}
		if z == nil {
			c.Out.Null()
			return nil
		}
		member, _ := z.Random()
		c.Out.BulkString(member)
		return nil
	}
	count, scores, err := c.randomCount("withscores")
	if err != nil {
		return err
	}
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	if z == nil {
		c.Out.Array(0)
		return nil
	}
	n, ranks := randomPositions(z.Len(), count)
	c.replyMembers(func(yield func(string, float64) bool) {
		for rank := range ranks {
			if !yield(z.At(rank)) {
				return
			}
		}
	}, n, scores, true)
	return nil
}

func zscanCommand(c *Call) error {
	cursor, err := parseCursor(c.Args[2])
	if err != nil {
		return err
	}
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	if z == nil { // no matter what the options are
		c.replyCursor(0)
		c.Out.Array(0)
		return nil
	}
	o, err := parseScanOptions(c.Args[3:], true)
	if err != nil {
		return err
	}
	var found []string
	visit := func(member string, score float64) {
		if o.matches([]byte(member)) {
			found = append(found, member, scanScore(score, z.Small()))
		}
	}
	if z.Small() { // a listpack is answered whole, in its order
		cursor = 0
		for member, score := range z.Ascend(0, z.Len()) {
			visit(member, score)
		}
	} else {
		cursor = z.Scan(cursor, o.count, visit)
	}
	c.replyCursor(cursor)
	c.Out.Array(len(found))
	for _, s := range found {
		c.Out.BulkString(s)
	}
	return nil
}

// scanScore is a score as ZSCAN prints it: a listpack holds an integer as one, whatever number of digits it
// takes, up to half of the integers that there are.
func scanScore(score float64, listpack bool) string {
	if listpack && math.Abs(score) <= math.MaxInt64/2 && score == math.Trunc(score) {
		return strconv.FormatInt(int64(score), 10)
	}
	return string(resp.AppendDouble(nil, score))
}

// A scoreRange is an interval of scores, each end with or without the score itself.
type scoreRange struct {
	min, max         float64
	minOpen, maxOpen bool
}

// parseScoreRange reads "1", "(1", "-inf" and the like. It is less strict than other numbers are: C's strtod
// skips blanks, takes nothing for zero, and what is too large for infinity.
func parseScoreRange(low, high []byte) (r scoreRange, err error) {
	if r.min, r.minOpen, err = parseScoreEnd(low); err != nil {
		return r, err
	}
	r.max, r.maxOpen, err = parseScoreEnd(high)
	return r, err
}

func parseScoreEnd(b []byte) (score float64, open bool, err error) {
	if len(b) > 0 && b[0] == '(' {
		open, b = true, b[1:]
	}
	s := strings.TrimLeft(string(b), " \t\n\v\f\r")
	if s == "" && len(b) == 0 {
		return 0, open, nil
	}
	if floatForm([]byte(s)) == notFloat {
		return 0, false, errRangeFloat
	}
	if score, ok := parseFloat([]byte(s)); ok {
		return score, open, nil
	}
	score, _ = strconv.ParseFloat(s, 64) // out of range: infinity or zero
	return score, open, nil
}

// ranks returns the ranks [from, to) whose scores are in the range; from may be above to.
func (r scoreRange) ranks(z *ds.ZSet) (from, to int) {
	return z.CountBelowScore(r.min, r.minOpen), z.CountBelowScore(r.max, !r.maxOpen)
}

// rankRange turns the first and last rank of a command, which may count from the end, into [from, to).
func rankRange(start, stop int64, n int) (from, to int) {
	size := int64(n)
	if start < 0 {
		start = max(start+size, 0)
	}
	if stop < 0 {
		stop += size
	}
	stop = min(stop, size-1)
	if start > stop || start >= size {
		return 0, 0
	}
	return int(start), int(stop) + 1
}
