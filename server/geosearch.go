package server

import (
	"cmp"
	"slices"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/geo"
)

const (
	errGeoRadius   = wireError("ERR need numeric radius")
	errGeoNegative = wireError("ERR radius cannot be negative")
	errGeoWidth    = wireError("ERR need numeric width")
	errGeoHeight   = wireError("ERR need numeric height")
	errGeoBox      = wireError("ERR height or width cannot be negative")
	errGeoCount    = wireError("ERR COUNT must be > 0")
	errGeoAny      = wireError("ERR the ANY argument requires COUNT argument")
)

// A geoQuery is what GEOSEARCH and its older relatives ask for.
type geoQuery struct {
	search   bool // GEOSEARCH or GEOSEARCHSTORE
	readonly bool // a command that cannot store

	shape            geo.Shape
	from, by         []byte // the option that told the center and the shape, nil while none has
	dist, hash, coor bool   // WITHDIST WITHHASH WITHCOORD
	any              bool
	sort             int // 1 nearest first, -1 farthest first, 0 as found
	count            int64
	stores           bool // the answer becomes the value of store
	store            []byte
	storeDist        bool
}

// A geoFound is a member that a search has found.
type geoFound struct {
	member   string
	score    float64
	point    geo.Point
	distance float64 // in meters
}

func georadiusCommand(c *Call) error   { return c.georadius(false) }
func georadiusRoCommand(c *Call) error { return c.georadius(true) }

func (c *Call) georadius(readonly bool) error {
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	q := geoQuery{readonly: readonly}
	if q.shape.Center, err = parsePoint(c.Args[2], c.Args[3]); err != nil {
		return err
	}
	if err := q.circle(c.Args[4:]); err != nil {
		return err
	}
	return c.geosearch(z, &q, c.Args[6:])
}

func georadiusbymemberCommand(c *Call) error   { return c.georadiusbymember(false) }
func georadiusbymemberRoCommand(c *Call) error { return c.georadiusbymember(true) }

// georadiusbymember does not look at the radius when there is nothing to search.
func (c *Call) georadiusbymember(readonly bool) error {
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	q := geoQuery{readonly: readonly}
	if z != nil {
		if err := q.member(z, c.Args[2]); err != nil {
			return err
		}
		if err := q.circle(c.Args[3:]); err != nil {
			return err
		}
	}
	return c.geosearch(z, &q, c.Args[5:])
}

func geosearchCommand(c *Call) error {
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	return c.geosearch(z, &geoQuery{search: true, readonly: true}, c.Args[2:])
}

func geosearchstoreCommand(c *Call) error {
	_, z, err := c.lookupZSet(c.Args[2])
	if err != nil {
		return err
	}
	return c.geosearch(z, &geoQuery{search: true, stores: true, store: c.Args[1]}, c.Args[3:])
}

// georadiusKeys returns, for a command whose options start at a position, a function that finds its key and
// the first that follows each of STORE and STOREDIST.
func georadiusKeys(options int) func(args [][]byte) ([]int, error) {
	return func(args [][]byte) ([]int, error) {
		at := []int{1}
		for _, option := range [...]string{"store", "storedist"} {
			for i := options; i+1 < len(args); i++ {
				if isWord(args[i], option) {
					at = append(at, i+1)
					break
				}
			}
		}
		return at, nil
	}
}

// circle reads a radius and its unit.
func (q *geoQuery) circle(words [][]byte) error {
	radius, ok := parseFloat(words[0])
	switch {
	case !ok:
		return errGeoRadius
	case radius < 0:
		return errGeoNegative
	}
	unit, err := parseUnit(words[1])
	q.shape.Radius, q.shape.Unit = radius, unit
	return err
}

// box reads a width, a height and their unit.
func (q *geoQuery) box(words [][]byte) error {
	width, ok := parseFloat(words[0])
	if !ok {
		return errGeoWidth
	}
	height, ok := parseFloat(words[1])
	if !ok {
		return errGeoHeight
	}
	if width < 0 || height < 0 {
		return errGeoBox
	}
	unit, err := parseUnit(words[2])
	q.shape.Box, q.shape.Width, q.shape.Height, q.shape.Unit = true, width, height, unit
	return err
}

// member makes the place of a member the center.
func (q *geoQuery) member(z *ds.ZSet, member []byte) error {
	p, ok := placeOf(z, member)
	if !ok {
		return errGeoMember
	}
	q.shape.Center = p
	return nil
}

// parse reads the options; z is nil if there is nothing to search, of which member then means nothing.
func (q *geoQuery) parse(c *Call, z *ds.ZSet, words [][]byte) error {
	for i := 0; i < len(words); {
		n, err := q.flag(words[i]), error(nil)
		if n == 0 {
			n, err = q.option(words[i:], z)
		}
		if err != nil {
			return err
		}
		i += n
	}
	name := c.Args[0]
	switch {
	case q.stores && (q.dist || q.hash || q.coor):
		what := "STORE option in GEORADIUS"
		if q.search {
			what = "GEOSEARCHSTORE"
		}
		return errorf("ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options", what)
	case q.search && q.from == nil:
		return errorf("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %s", name)
	case q.search && q.by == nil:
		return errorf("ERR exactly one of BYRADIUS and BYBOX can be specified for %s", name)
	case q.any && q.count == 0:
		return errGeoAny
	}
	if q.count != 0 && q.sort == 0 && !q.any {
		q.sort = 1
	}
	return nil
}

// flag reads an option of one word and returns 1, or 0 if the word is none.
func (q *geoQuery) flag(word []byte) int {
	switch {
	case isWord(word, "withdist"):
		q.dist = true
	case isWord(word, "withhash"):
		q.hash = true
	case isWord(word, "withcoord"):
		q.coor = true
	case isWord(word, "any"):
		q.any = true
	case isWord(word, "asc"):
		q.sort = 1
	case isWord(word, "desc"):
		q.sort = -1
	case isWord(word, "storedist") && q.search && !q.readonly:
		q.storeDist = true
	default:
		return 0
	}
	return 1
}

// option reads an option with arguments and returns how many words it takes.
func (q *geoQuery) option(words [][]byte, z *ds.ZSet) (n int, err error) {
	word, rest := words[0], words[1:]
	switch {
	case isWord(word, "count") && len(rest) >= 1:
		if q.count, err = integer(rest[0]); err == nil && q.count <= 0 {
			err = errGeoCount
		}
		return 2, err
	case !q.search && !q.readonly && (isWord(word, "store") || isWord(word, "storedist")) && len(rest) >= 1:
		q.stores, q.store, q.storeDist = true, rest[0], isWord(word, "storedist")
		return 2, nil
	case !q.search:
		return 0, errSyntax
	case isWord(word, "frommember") && len(rest) >= 1 && (q.from == nil || isWord(q.from, "frommember")):
		q.from = word
		if z != nil {
			err = q.member(z, rest[0])
		}
		return 2, err
	case isWord(word, "fromlonlat") && len(rest) >= 2 && (q.from == nil || isWord(q.from, "fromlonlat")):
		q.from = word
		q.shape.Center, err = parsePoint(rest[0], rest[1])
		return 3, err
	case isWord(word, "byradius") && len(rest) >= 2 && (q.by == nil || isWord(q.by, "byradius")):
		q.by = word
		return 3, q.circle(rest)
	case isWord(word, "bybox") && len(rest) >= 3 && (q.by == nil || isWord(q.by, "bybox")):
		q.by = word
		return 4, q.box(rest)
	}
	return 0, errSyntax
}

// geosearch reads the options of a query and answers it; z may be nil.
func (c *Call) geosearch(z *ds.ZSet, q *geoQuery, words [][]byte) error {
	if err := q.parse(c, z, words); err != nil {
		return err
	}
	var found []geoFound
	if z != nil {
		found = q.find(z)
	}
	if !q.stores {
		c.replyFound(q, found)
		return nil
	}
	event, scores := "georadiusstore", make(map[string]float64, len(found))
	if q.search {
		event = "geosearchstore"
	}
	for _, f := range found {
		scores[f.member] = f.score
		if q.storeDist {
			scores[f.member] = f.distance / q.shape.Unit
		}
	}
	c.zstore(event, q.store, scores)
	c.Dirty(max(len(found)-1, 0))
	return nil
}

// find returns what is in the shape, in the order and number asked for.
func (q *geoQuery) find(z *ds.ZSet) []geoFound {
	found := q.search9(z)
	if q.sort != 0 {
		slices.SortStableFunc(found, func(a, b geoFound) int { return q.sort * cmp.Compare(a.distance, b.distance) })
	}
	if q.count > 0 && int64(len(found)) > q.count {
		found = found[:q.count]
	}
	return found
}

// search9 searches up to nine cells. With ANY it stops when it has enough.
func (q *geoQuery) search9(z *ds.ZSet) (found []geoFound) {
	for _, r := range q.shape.Ranges() {
		for member, score := range z.Ascend(z.CountBelowScore(r.Min, false), z.CountBelowScore(r.Max, false)) {
			p := geo.Decode(score)
			if distance, ok := q.shape.Contains(p); ok {
				found = append(found, geoFound{member, score, p, distance})
			}
			if q.any && int64(len(found)) >= q.count {
				return found
			}
		}
	}
	return found
}

// replyFound writes the members with what was asked for besides.
func (c *Call) replyFound(q *geoQuery, found []geoFound) {
	extra := 0
	for _, with := range [...]bool{q.dist, q.hash, q.coor} {
		if with {
			extra++
		}
	}
	c.Out.Array(len(found))
	for _, f := range found {
		if extra > 0 {
			c.Out.Array(1 + extra)
		}
		c.Out.BulkString(f.member)
		if q.dist {
			c.replyDistance(f.distance / q.shape.Unit)
		}
		if q.hash {
			c.Out.Int(int64(f.score))
		}
		if q.coor {
			c.replyPoint(f.point)
		}
	}
}
