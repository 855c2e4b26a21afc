package server

import (
	"bytes"
	"slices"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
)

// sortCommands are SORT and its read-only form.
func sortCommands() []*command {
	const cats = catSet | catSortedSet | catList | catDangerous
	return []*command{
		{name: "sort", arity: -2, flags: flagWrite | flagDenyOOM | flagMovablekeys, categories: cats, keys: oneKey,
			findKeys: sortKeys, since: "1.0.0", handler: sortCommand},
		{name: "sort_ro", arity: -2, flags: flagReadonly | flagMovablekeys, categories: cats, keys: oneKey,
			findKeys: func([][]byte) ([]int, error) { return []int{1}, nil }, since: "7.0.0", handler: sortROCommand},
	}
}

const errSortScore = wireError("ERR One or more scores can't be converted into double")

// sortKeys finds the key and the destination; the keys that the patterns of BY and GET make are not in the
// command.
func sortKeys(args [][]byte) ([]int, error) {
	at := []int{1}
	for i := 2; i < len(args); i++ {
		switch word := args[i]; {
		case isWord(word, "limit"):
			i += 2
		case isWord(word, "get"), isWord(word, "by"):
			i++
		case isWord(word, "store") && i+1 < len(args):
			at = append(at[:1], i+1) // the last one counts
		}
	}
	return at, nil
}

// sortOptions are the options of SORT.
type sortOptions struct {
	desc, alpha   bool
	offset, count int64
	by            []byte   // nil: by the elements themselves
	unsorted      bool     // one of the BY patterns had no asterisk
	get           [][]byte // what to return of each element; empty: itself
	store         []byte   // nil without the option
}

func parseSortOptions(words [][]byte, readonly bool) (o sortOptions, err error) {
	o.count = -1
	for i := 0; i < len(words); i++ {
		left := len(words) - i - 1
		switch word := words[i]; {
		case isWord(word, "asc"):
			o.desc = false
		case isWord(word, "desc"):
			o.desc = true
		case isWord(word, "alpha"):
			o.alpha = true
		case isWord(word, "limit") && left >= 2:
			if o.offset, err = integer(words[i+1]); err != nil {
				return o, err
			}
			if o.count, err = integer(words[i+2]); err != nil {
				return o, err
			}
			i += 2
		case isWord(word, "store") && left >= 1 && !readonly:
			i++
			o.store = words[i]
		case isWord(word, "by") && left >= 1:
			i++
			o.by = words[i]
			o.unsorted = o.unsorted || bytes.IndexByte(cString(o.by, len(o.by)), '*') < 0
		case isWord(word, "get") && left >= 1:
			i++
			o.get = append(o.get, words[i])
		default:
			return o, errSyntax
		}
	}
	return o, nil
}

// limits returns which of n sorted elements are asked for: from included, to not.
func (o *sortOptions) limits(n int) (from, to int) {
	from = int(min(max(o.offset, 0), int64(n)))
	if o.count < 0 {
		return from, n
	}
	return from, from + int(min(o.count, int64(n-from)))
}

func sortCommand(c *Call) error { return c.sort(false) }

func sortROCommand(c *Call) error { return c.sort(true) }

func (c *Call) sort(readonly bool) error {
	o, err := parseSortOptions(c.Args[2:], readonly)
	if err != nil {
		return err
	}
	e := c.DB.Lookup(c.Args[1], c.Now())
	if e != nil && e.Kind() == keyspace.KindSet && o.unsorted && (o.store != nil || c.from == fromScript) {
		// A set has no order, and this result is to be the same everywhere.
		o.unsorted, o.alpha, o.by = false, true, nil
	}
	n, err := sortLen(e)
	if err != nil {
		return err
	}
	from, to := o.limits(n)
	var elements []string
	switch {
	case n == 0:
	case o.unsorted:
		elements = sortElements(e, from, to, o.desc)
	default:
		elements = sortElements(e, 0, n, false)
		if err := c.sortBy(elements, &o); err != nil {
			return err
		}
		elements = elements[from:to]
	}
	if o.store != nil {
		c.storeSorted(elements, &o)
		return nil
	}
	c.replySorted(elements, &o)
	return nil
}

// replySorted writes the result, in which what GET does not find is absent.
func (c *Call) replySorted(elements []string, o *sortOptions) {
	c.Out.Array(len(elements) * max(len(o.get), 1))
	for _, element := range elements {
		if len(o.get) == 0 {
			c.Out.BulkString(element)
		}
		for _, pattern := range o.get {
			if value, ok := c.sortLookup(pattern, element); ok {
				c.Out.BulkString(value)
			} else {
				c.Out.Null()
			}
		}
	}
}

// sortLen returns how many elements there are to sort.
func sortLen(e *keyspace.Entry) (int, error) {
	if e == nil {
		return 0, nil
	}
	switch e.Kind() {
	case keyspace.KindList:
		return e.List().Len(), nil
	case keyspace.KindSet:
		return e.Set().Len(), nil
	case keyspace.KindZSet:
		e.ZSet().Enlarge() // Redis sorts no listpack; it converts the value
		return e.ZSet().Len(), nil
	default:
		return 0, errWrongType
	}
}

// sortElements returns the elements from the position from up to to, which is not included, of a list, set or
// sorted set in its own order, or backwards. A set is always read in its own order.
func sortElements(e *keyspace.Entry, from, to int, backwards bool) []string {
	elements := make([]string, 0, to-from)
	if from == to {
		return elements
	}
	switch e.Kind() {
	case keyspace.KindList:
		l := e.List()
		all := l.Ascend(from)
		if backwards {
			all = l.Descend(l.Len() - 1 - from)
		}
		for _, element := range all {
			if elements = append(elements, element); len(elements) == to-from {
				break
			}
		}
	case keyspace.KindSet:
		for i := from; i < to; i++ {
			elements = append(elements, e.Set().At(i))
		}
	case keyspace.KindZSet:
		z := e.ZSet()
		all := z.Ascend(from, to)
		if backwards {
			all = z.Descend(z.Len()-to, z.Len()-from)
		}
		for member := range all {
			elements = append(elements, member)
		}
	}
	return elements
}

// A sortItem is an element with what it is sorted by.
type sortItem struct {
	element string
	score   float64 // without ALPHA; 0 if BY leads to nothing
	weight  string  // with ALPHA
	missing bool    // BY leads to nothing
	at      int     // where it was before
}

// sortBy sorts the elements in the order that the options ask for. Numbers that are equal are ordered by
// the bytes of the elements. Words are compared up to their first zero byte, as in the C locale, but whole
// if the result is stored.
func (c *Call) sortBy(elements []string, o *sortOptions) error {
	items := make([]sortItem, len(elements))
	for i, element := range elements {
		items[i] = sortItem{element: element, weight: element, at: i}
		if o.by != nil {
			value, ok := c.sortLookup(o.by, element)
			items[i].weight, items[i].missing = value, !ok
		}
		switch {
		case items[i].missing:
		case !o.alpha:
			score, ok := parseScore(items[i].weight)
			if !ok {
				return errSortScore
			}
			items[i].score = score
		case o.store == nil:
			items[i].weight, _, _ = strings.Cut(items[i].weight, "\x00")
		}
	}
	order := make([]*sortItem, len(items)) // smaller than what it points to, and so quicker to move
	for i := range items {
		order[i] = &items[i]
	}
	slices.SortFunc(order, func(a, b *sortItem) int {
		n := a.compare(b, o.alpha)
		switch {
		case n == 0:
			return a.at - b.at
		case o.desc:
			return -n
		}
		return n
	})
	for i, item := range order {
		elements[i] = item.element
	}
	return nil
}

func (a *sortItem) compare(b *sortItem, alpha bool) int {
	switch {
	case !alpha:
		switch {
		case a.score < b.score:
			return -1
		case a.score > b.score:
			return 1
		}
		return strings.Compare(a.element, b.element)
	case a.missing && b.missing:
		return 0
	case a.missing:
		return -1
	case b.missing:
		return 1
	}
	return strings.Compare(a.weight, b.weight)
}

// parseScore reads a number as C's strtod does when what follows it must be the end of a C string: white
// space may stand before it, and nothing at all is 0.
func parseScore(text string) (float64, bool) {
	text, _, _ = strings.Cut(text, "\x00")
	if text == "" {
		return 0, true
	}
	return parseFloat([]byte(strings.TrimLeft(text, " \t\n\v\f\r")))
}

// sortLookup returns what a pattern of BY or GET says of an element: the element itself for "#", else the
// string at the key that has the element in place of the asterisk, or with "->field" behind that the field of
// the hash there.
func (c *Call) sortLookup(pattern []byte, element string) (value string, ok bool) {
	if string(pattern) == "#" {
		return element, true
	}
	text := cString(pattern, len(pattern))
	star := bytes.IndexByte(text, '*')
	if star < 0 {
		return "", false
	}
	suffix, field := pattern[star+1:], []byte(nil)
	if arrow := bytes.Index(text[star+1:], []byte("->")); arrow >= 0 && star+1+arrow+2 < len(text) {
		suffix, field = suffix[:arrow], suffix[arrow+2:]
	}
	key := slices.Concat(pattern[:star], []byte(element), suffix)
	e := c.DB.Lookup(key, c.Now())
	switch {
	case e == nil:
		return "", false
	case field != nil && e.Kind() == keyspace.KindHash:
		return e.Hash().Get(string(field))
	case field == nil && e.Kind() == keyspace.KindString:
		return string(e.Bytes()), true
	}
	return "", false
}

// storeSorted makes a list of the result, in which what GET does not find is an empty string.
func (c *Call) storeSorted(elements []string, o *sortOptions) {
	list := ds.NewList()
	for _, element := range elements {
		if len(o.get) == 0 {
			list.PushBack(element)
		}
		for _, pattern := range o.get {
			value, _ := c.sortLookup(pattern, element)
			list.PushBack(value)
		}
	}
	if list.Len() > 0 {
		c.DB.SetList(o.store, list)
		c.Changed("sortstore", o.store)
	} else if c.DB.Delete(o.store, c.Now()) {
		c.Changed("del", o.store)
	}
	c.Out.Int(int64(list.Len()))
}
