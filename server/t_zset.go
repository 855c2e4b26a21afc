package server

import (
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
)

// zsetCommands are the commands whose values are sorted sets. Those that read a range are in zrange.go.
func zsetCommands() []*command {
	const (
		write    = flagWrite | flagDenyOOM | flagFast
		readFast = flagReadonly | flagFast
	)
	row := func(name string, arity int, flags flag, since string, h handler) *command {
		return &command{name: name, arity: arity, flags: flags, categories: catSortedSet, keys: oneKey, since: since, handler: h}
	}
	return []*command{
		row("zadd", -4, write, "1.2.0", zaddCommand),
		row("zincrby", 4, write, "1.2.0", zincrbyCommand),
		row("zrem", -3, flagWrite|flagFast, "1.2.0", zremCommand),
		row("zremrangebyscore", 4, flagWrite, "1.2.0", zremrangebyscoreCommand),
		row("zremrangebyrank", 4, flagWrite, "2.0.0", zremrangebyrankCommand),
		row("zpopmin", -2, flagWrite|flagFast, "5.0.0", zpopminCommand),
		row("zcard", 2, readFast, "1.2.0", zcardCommand),
		row("zcount", 4, readFast, "2.0.0", zcountCommand),
		row("zscore", 3, readFast, "1.2.0", zscoreCommand),
		row("zmscore", -3, readFast, "6.2.0", zmscoreCommand),
		row("zrank", 3, readFast, "2.0.0", zrankCommand),
		row("zrange", -4, flagReadonly, "1.2.0", zrangeCommand),
		row("zrangebyscore", -4, flagReadonly, "1.0.5", zrangebyscoreCommand),
		row("zrevrange", -4, flagReadonly, "1.2.0", zrevrangeCommand),
	}
}

const (
	errZaddNXandXX  = wireError("ERR XX and NX options at the same time are not compatible")
	errZaddGTandLT  = wireError("ERR GT, LT, and/or NX options at the same time are not compatible")
	errZaddIncrOne  = wireError("ERR INCR option supports a single increment-element pair")
	errScoreNaN     = wireError("ERR resulting score is not a number (NaN)")
	errRangeFloat   = wireError("ERR min or max is not a float")
	errRangeLex     = wireError("ERR min or max not valid string range item")
	errZrangeLimit  = wireError("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
	errZrangeScores = wireError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
)

// lookupZSet returns the entry of key and its sorted set, both nil if there is none, or an error if the
// value is of another type.
func (c *Call) lookupZSet(key []byte) (*keyspace.Entry, *ds.ZSet, error) {
	e := c.DB.Lookup(key, c.Now())
	switch {
	case e == nil:
		return nil, nil, nil
	case e.Kind() != keyspace.KindZSet:
		return nil, nil, errWrongType
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
	}
	var added, updated int
	var score float64
	var done bool
	for i := range scores {
		score, done, err = o.apply(z, string(pairs[2*i+1]), scores[i], &added, &updated)
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

// apply adds one member or changes its score, as the options allow. It returns the score that the member
// has then, and whether the options allowed it.
func (o zaddOptions) apply(z *ds.ZSet, member string, score float64, added, updated *int) (float64, bool, error) {
	old, exists := z.Score(member)
	if !exists {
		if o.xx {
			return 0, false, nil
		}
		z.Set(member, score+0) // there is one zero
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

// zpopminCommand answers pairs when it is asked for a count, else member and score, nothing if there is
// none. Only RESP3 shows the difference.
func zpopminCommand(c *Call) error {
	if len(c.Args) > 3 {
		return errSyntax
	}
	count := int64(1)
	if len(c.Args) == 3 {
		var ok bool
		if count, ok = parseInteger(c.Args[2]); !ok || count < 0 {
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
	n := int(min(count, int64(z.Len())))
	c.replyMembers(z.Ascend(0, n), n, true, len(c.Args) == 3)
	z.DeleteRanks(0, n)
	c.zremoved(e, key, n, "zpopmin")
	return nil
}

// replyMembers writes n members, and their scores if asked for: in RESP3 as pairs, where pairs are wanted.
func (c *Call) replyMembers(members iter.Seq2[string, float64], n int, scores, pairs bool) {
	pairs = pairs && scores && c.Out.Proto() == 3
	if scores && !pairs {
		c.Out.Array(2 * n)
	} else {
		c.Out.Array(n)
	}
	for member, score := range members {
		if pairs {
			c.Out.Array(2)
		}
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
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	n := 0
	if z != nil {
		from, to := r.ranks(z)
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

func zrankCommand(c *Call) error {
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	if z != nil {
		if rank, ok := z.Rank(string(c.Args[2])); ok {
			c.Out.Int(int64(rank))
			return nil
		}
	}
	c.Out.Null()
	return nil
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
