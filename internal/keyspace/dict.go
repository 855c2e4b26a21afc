package keyspace

import (
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
)

// dict is the hash table of one database: chained buckets, a power of two of them, in one table or, while
// it is being resized, in two. Each operation moves a bucket from the old table to the new one, so that
// growth to any size costs each operation little. The zero dict is empty and ready to use.
//
// A scan cursor is a bucket number whose bits are counted up from the top. Bucket b of a table of 2^n
// buckets holds exactly what the buckets with the low bits b hold in any larger table, so a cursor that has
// passed b in one has passed all of those in the other: whatever the tables do between two calls, what was
// there all along is returned at least once. (The method is that of Redis' dict.c, by Pieter Noordhuis.)
type dict struct {
	tables [2]table
	// moved is the first bucket of tables[0] that has not moved to tables[1] yet. Meaningful while resizing.
	moved    uint64
	resizing bool
	// walking keeps each entry where it is while each goes through the buckets.
	walking bool
}

// A table keeps its buckets in segments that are made when first used and dropped when moved: neither
// making a huge table nor leaving one happens at once.
type table struct {
	segments [][]*Entry
	mask     uint64 // number of buckets minus 1
	used     int    // number of entries
}

const (
	segmentBits = 10
	segmentSize = 1 << segmentBits

	smallestTable = 4
	// A table grows when it holds more than one entry per bucket and shrinks when it holds less than one
	// in sparse buckets; both aim at half an entry to one per bucket, far from either trigger.
	sparse = 8
	// emptyVisits bounds the empty buckets that one step of a resize passes over.
	emptyVisits = 10
)

// seed differs per process, so that nobody can prepare keys that share a bucket.
var seed = maphash.MakeSeed()

func hashOf(key []byte) uint32 { return uint32(maphash.Bytes(seed, key)) }

func newTable(size uint64) table {
	return table{segments: make([][]*Entry, (size+segmentSize-1)/segmentSize), mask: size - 1}
}

func (t *table) size() uint64 {
	if t.segments == nil {
		return 0
	}
	return t.mask + 1
}

func (t *table) first(bucket uint64) *Entry {
	s := t.segments[bucket>>segmentBits]
	if s == nil {
		return nil
	}
	return s[bucket&(segmentSize-1)]
}

// slot returns the place of a bucket's first entry, making its segment if need be.
func (t *table) slot(bucket uint64) **Entry {
	s := &t.segments[bucket>>segmentBits]
	if *s == nil {
		*s = make([]*Entry, min(t.mask+1, segmentSize))
	}
	return &(*s)[bucket&(segmentSize-1)]
}

func (t *table) push(e *Entry) {
	slot := t.slot(uint64(e.hash) & t.mask)
	e.next = *slot
	*slot = e
	t.used++
}

func (d *dict) len() int { return d.tables[0].used + d.tables[1].used }

// find returns the entry of key, whose hash is hash, or nil.
func (d *dict) find(key []byte, hash uint32) *Entry {
	if d.resizing && !d.walking {
		d.step()
	}
	for i := range d.tables {
		t := &d.tables[i]
		if t.used == 0 {
			continue
		}
		for e := t.first(uint64(hash) & t.mask); e != nil; e = e.next {
			if e.hash == hash && string(e.Key()) == string(key) {
				return e
			}
		}
	}
	return nil
}

// insert adds e, whose key must not be present.
func (d *dict) insert(e *Entry) {
	if !d.resizing && uint64(d.tables[0].used) >= d.tables[0].size() {
		d.resize(uint64(d.tables[0].used) + 1)
	}
	if d.resizing {
		d.tables[1].push(e)
		return
	}
	d.tables[0].push(e)
}

// remove takes out e, which must be present.
func (d *dict) remove(e *Entry) {
	for i := range d.tables {
		t := &d.tables[i]
		if t.used == 0 || !t.unlink(e) {
			continue
		}
		e.next = nil
		if d.walking {
			return
		}
		if d.resizing {
			d.step()
		} else if size := d.tables[0].size(); size > smallestTable && uint64(d.tables[0].used)*sparse <= size {
			d.resize(uint64(d.tables[0].used) * 2)
		}
		return
	}
	panic("keyspace: entry is not in its table")
}

func (t *table) unlink(e *Entry) bool {
	if t.first(uint64(e.hash)&t.mask) == nil {
		return false
	}
	for at := t.slot(uint64(e.hash) & t.mask); *at != nil; at = &(*at).next {
		if *at == e {
			*at = e.next
			t.used--
			return true
		}
	}
	return false
}

// resize starts moving to a table with at least want buckets.
func (d *dict) resize(want uint64) {
	size := uint64(smallestTable)
	if want > size {
		size = 1 << bits.Len64(want-1)
	}
	if size == d.tables[0].size() {
		return
	}
	next := newTable(size)
	if d.tables[0].used == 0 {
		d.tables[0] = next
		return
	}
	d.tables[1], d.moved, d.resizing = next, 0, true
}

// step moves the next bucket that is not empty, passing over a bounded number of empty ones.
func (d *dict) step() {
	from, to := &d.tables[0], &d.tables[1]
	for range emptyVisits {
		if from.used == 0 {
			d.tables[0], d.tables[1] = *to, table{}
			d.moved, d.resizing = 0, false
			return
		}
		segment := d.moved >> segmentBits
		if from.segments[segment] == nil {
			d.moved = (segment + 1) << segmentBits
			continue
		}
		e := from.first(d.moved)
		*from.slot(d.moved) = nil
		d.moved++
		if d.moved&(segmentSize-1) == 0 {
			from.segments[segment] = nil
		}
		if e == nil {
			continue
		}
		for e != nil {
			next := e.next
			from.used--
			to.push(e)
			e = next
		}
		return
	}
}

// scan calls emit with each entry of the buckets that cursor stands for and returns the next cursor, 0
// at the end. emit must not change the dict.
func (d *dict) scan(cursor uint64, emit func(*Entry)) uint64 {
	if d.len() == 0 {
		return 0
	}
	if !d.resizing {
		d.tables[0].emit(cursor, emit)
		return nextCursor(cursor, d.tables[0].mask)
	}
	small, large := &d.tables[0], &d.tables[1]
	if small.mask > large.mask {
		small, large = large, small
	}
	small.emit(cursor, emit)
	for {
		large.emit(cursor, emit)
		cursor = nextCursor(cursor, large.mask)
		if cursor&(small.mask^large.mask) == 0 {
			return cursor
		}
	}
}

func (t *table) emit(cursor uint64, emit func(*Entry)) {
	for e := t.first(cursor & t.mask); e != nil; e = e.next {
		emit(e)
	}
}

// nextCursor counts up by one in the bits of mask, read from the highest to the lowest.
func nextCursor(cursor, mask uint64) uint64 {
	return bits.Reverse64(bits.Reverse64(cursor|^mask) + 1)
}

// each calls yield with every entry until it returns false. yield may remove the entry it was given
// and no other, and may add none.
func (d *dict) each(yield func(*Entry) bool) {
	was := d.walking
	d.walking = true
	defer func() { d.walking = was }()
	for i := range d.tables {
		for _, segment := range d.tables[i].segments {
			for _, e := range segment {
				for e != nil {
					next := e.next
					if !yield(e) {
						return
					}
					e = next
				}
			}
		}
	}
}

const (
	// A random pick draws a bucket and a place in its chain, and draws again if there is none at that
	// place: every entry has the same chance as long as no chain is longer than this.
	longestChain = 8
	// After so many draws (a table that has been emptied and not yet shrunk) the next entry will do.
	draws = 512
)

// random returns a random entry, nil if there is none.
func (d *dict) random() *Entry {
	if d.len() == 0 {
		return nil
	}
	from := d.moved // what lies below in the old table has moved
	total := d.tables[0].size() - from + d.tables[1].size()
	for range draws {
		b := rand.Uint64N(total)
		t, at := &d.tables[0], from+b
		if at >= t.size() {
			t, at = &d.tables[1], at-t.size()
		}
		e := t.first(at)
		for skip := rand.IntN(longestChain); e != nil && skip > 0; skip-- {
			e = e.next
		}
		if e != nil {
			return e
		}
	}
	return d.near(rand.Uint64N(total))
}

// near returns the first entry at or after the bucket that is skip buckets behind the first in use.
func (d *dict) near(skip uint64) *Entry {
	var first *Entry
	for i := range d.tables {
		t := &d.tables[i]
		start := uint64(0)
		if i == 0 {
			start = d.moved
		}
		for b := start; b < t.size(); b++ {
			if t.segments[b>>segmentBits] == nil {
				next := min((b>>segmentBits+1)<<segmentBits, t.size())
				skip -= min(skip, next-b)
				b = next - 1
				continue
			}
			e := t.first(b)
			if e != nil && first == nil {
				first = e
			}
			if e != nil && skip == 0 {
				return e
			}
			skip -= min(skip, 1)
		}
	}
	return first
}
