package server

import (
	"maps"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/ds"
)

// A zrangeBy says what the two ends of a range are.
type zrangeBy uint8

const (
	byAuto zrangeBy = iota // rank, unless a word says otherwise
	byRank
	byScore
	byLex
)

// A zrangeQuery is what ZRANGE and its older relatives ask for.
type zrangeQuery struct {
	by         zrangeBy
	fixed      bool // the direction is: by the command's name or by REV
	reverse    bool
	store      bool // the range becomes a value, so WITHSCORES means nothing
	scores     bool
	offset     int64
	limit      int64 // negative: all
	start, end []byte
}

func zrangeCommand(c *Call) error { return c.zrange(zrangeQuery{}) }
func zrangebyscoreCommand(c *Call) error {
	return c.zrange(zrangeQuery{by: byScore, fixed: true})
}
func zrevrangeCommand(c *Call) error {
	return c.zrange(zrangeQuery{by: byRank, fixed: true, reverse: true})
}

func zrevrangebyscoreCommand(c *Call) error {
	return c.zrange(zrangeQuery{by: byScore, fixed: true, reverse: true})
}
func zrangebylexCommand(c *Call) error { return c.zrange(zrangeQuery{by: byLex, fixed: true}) }
func zrevrangebylexCommand(c *Call) error {
	return c.zrange(zrangeQuery{by: byLex, fixed: true, reverse: true})
}

// zrange answers a query whose words are those of the call.
func (c *Call) zrange(q zrangeQuery) error {
	z, from, to, err := c.zfind(&q, c.Args[1:])
	if err != nil {
		return err
	}
	if z == nil {
		c.Out.Array(0)
		return nil
	}
	members := z.Ascend(from, to)
	if q.reverse {
		members = z.Descend(from, to)
	}
	c.replyMembers(members, to-from, q.scores, true)
	return nil
}

func zrangestoreCommand(c *Call) error {
	z, from, to, err := c.zfind(&zrangeQuery{store: true}, c.Args[2:])
	if err != nil {
		return err
	}
	result := make(map[string]float64, to-from)
	if z != nil {
		maps.Insert(result, z.Ascend(from, to))
	}
	c.zstore("zrangestore", c.Args[1], result)
	return nil
}

// zfind reads a query from the words key, start, end and options, and returns the sorted set, nil if there
// is none, and the ranks [from, to) that are asked for.
func (c *Call) zfind(q *zrangeQuery, words [][]byte) (z *ds.ZSet, from, to int, err error) {
	q.start, q.end = words[1], words[2]
	if err := q.parse(words[3:]); err != nil {
		return nil, 0, 0, err
	}
	// The ends of a reversed range of scores or members are given the other way round.
	if q.reverse && q.by != byRank {
		q.start, q.end = q.end, q.start
	}
	ranks, err := q.ranks()
	if err != nil {
		return nil, 0, 0, err
	}
	_, z, err = c.lookupZSet(words[0])
	if z != nil {
		from, to = q.cut(ranks(z))
	}
	return z, from, to, err
}

// parse reads the options and says which do not go together.
func (q *zrangeQuery) parse(words [][]byte) error {
	q.limit = -1
	for i := 0; i < len(words); i++ {
		switch word := strings.ToLower(string(words[i])); {
		case word == "withscores" && !q.store:
			q.scores = true
		case word == "limit" && i+2 < len(words):
			var err error
			if q.offset, err = integer(words[i+1]); err != nil {
				return err
			}
			if q.limit, err = integer(words[i+2]); err != nil {
				return err
			}
			i += 2
		case word == "rev" && !q.fixed:
			q.reverse, q.fixed = true, true
		case word == "bylex" && q.by == byAuto:
			q.by = byLex
		case word == "byscore" && q.by == byAuto:
			q.by = byScore
		default:
			return errSyntax
		}
	}
	if q.by == byAuto {
		q.by = byRank
	}
	switch {
	case q.limit != -1 && q.by == byRank: // Redis sees no LIMIT in LIMIT 0 -1
		return errZrangeLimit
	case q.scores && q.by == byLex:
		return errZrangeScores
	}
	return nil
}

// ranks returns how to find the ranks [from, to), counted from the lowest; from may be above to.
func (q *zrangeQuery) ranks() (func(*ds.ZSet) (from, to int), error) {
	switch q.by {
	case byScore:
		r, err := parseScoreRange(q.start, q.end)
		return r.ranks, err
	case byLex:
		r, err := parseLexRange(q.start, q.end)
		return r.ranks, err
	}
	start, err := integer(q.start)
	if err != nil {
		return nil, err
	}
	stop, err := integer(q.end)
	if err != nil {
		return nil, err
	}
	return func(z *ds.ZSet) (int, int) {
		from, to := rankRange(start, stop, z.Len())
		if q.reverse {
			return z.Len() - to, z.Len() - from
		}
		return from, to
	}, nil
}

// cut applies LIMIT to the ranks, from the end where the answer begins.
func (q *zrangeQuery) cut(from, to int) (int, int) {
	n := int64(to - from)
	if n <= 0 || q.offset < 0 || q.by != byRank && q.offset >= n {
		return 0, 0
	}
	if q.by == byRank {
		return from, to
	}
	length := n - q.offset
	if q.limit >= 0 {
		length = min(length, q.limit)
	}
	if q.reverse {
		to -= int(q.offset)
		return to - int(length), to
	}
	from += int(q.offset)
	return from, from + int(length)
}

// A lexRange is an interval of members of equal score.
type lexRange struct{ min, max lexEnd }

// A lexEnd is "-" or "+", of the infinite signs, or a member, itself in the range unless open.
type lexEnd struct {
	infinite int
	member   string
	open     bool
}

func parseLexRange(low, high []byte) (r lexRange, err error) {
	if r.min, err = parseLexEnd(low); err != nil {
		return r, err
	}
	r.max, err = parseLexEnd(high)
	return r, err
}

func parseLexEnd(b []byte) (lexEnd, error) {
	switch {
	case len(b) == 1 && b[0] == '-':
		return lexEnd{infinite: -1}, nil
	case len(b) == 1 && b[0] == '+':
		return lexEnd{infinite: 1}, nil
	case len(b) > 0 && (b[0] == '[' || b[0] == '('):
		return lexEnd{member: string(b[1:]), open: b[0] == '('}, nil
	}
	return lexEnd{}, errRangeLex
}

// ranks returns the ranks [from, to) whose members are in the range; from may be above to.
func (r lexRange) ranks(z *ds.ZSet) (from, to int) {
	return r.min.below(z, r.min.open), r.max.below(z, !r.max.open)
}

// below counts the members below the end, or at most it.
func (e lexEnd) below(z *ds.ZSet, orEqual bool) int {
	switch {
	case e.infinite < 0:
		return 0
	case e.infinite > 0:
		return z.Len()
	}
	return z.CountBelowMember(e.member, orEqual)
}
