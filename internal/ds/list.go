package ds

import (
	"iter"
	"slices"
)

// A List is a sequence of binary-safe strings. The zero List is empty and ready to use.
//
// It is a chain of chunks of up to chunkSize elements. The elements of a chunk stand somewhere within its
// buffer, so at both ends of a list, and at both ends of each chunk, there is room: a push or a pop moves
// nothing. What is in the middle is found by passing over whole chunks. No chunk is empty.
type List struct {
	first, last *chunk
	n           int
}

type chunk struct {
	prev, next *chunk
	buf        []string
	from, to   int // the elements are buf[from:to]
}

const (
	chunkSize     = 128
	smallestChunk = 4
)

// NewList returns an empty List.
func NewList() *List { return &List{} }

// Len returns the number of elements.
func (l *List) Len() int { return l.n }

func (c *chunk) len() int           { return c.to - c.from }
func (c *chunk) elements() []string { return c.buf[c.from:c.to] }

// room makes sure that there is a free place at the front or the back of the chunk's buffer. It returns
// false if there is none to be had cheaply.
func (c *chunk) room(front bool) bool {
	if front && c.from > 0 || !front && c.to < len(c.buf) {
		return true
	}
	n, buf := c.len(), c.buf
	switch {
	case len(buf) == 0:
		buf = make([]string, smallestChunk)
	case n <= len(buf)/2:
		// Elements move to the other end of the buffer: at least as many pushes are free then as have moved.
	case len(buf) < chunkSize:
		buf = make([]string, 2*len(buf))
	default:
		return false
	}
	to := n
	if front {
		to = len(buf)
	}
	copy(buf[to-n:to], c.elements())
	clear(buf[:to-n])
	clear(buf[to:])
	c.buf, c.from, c.to = buf, to-n, to
	return true
}

// PushFront puts value before all others.
func (l *List) PushFront(value string) {
	c := l.first
	if c == nil || !c.room(true) {
		c = &chunk{}
		l.link(nil, c)
		c.room(true)
	}
	c.from--
	c.buf[c.from] = value
	l.n++
}

// PushBack puts value behind all others.
func (l *List) PushBack(value string) {
	c := l.last
	if c == nil || !c.room(false) {
		c = &chunk{}
		l.link(l.last, c)
		c.room(false)
	}
	c.buf[c.to] = value
	c.to++
	l.n++
}

// PopFront removes the first element and returns it. The List must not be empty.
func (l *List) PopFront() string {
	c := l.first
	value := c.buf[c.from]
	c.buf[c.from] = ""
	c.from++
	l.n--
	l.dropEmpty(c)
	return value
}

// PopBack removes the last element and returns it. The List must not be empty.
func (l *List) PopBack() string {
	c := l.last
	c.to--
	value := c.buf[c.to]
	c.buf[c.to] = ""
	l.n--
	l.dropEmpty(c)
	return value
}

// link puts c behind prev, or first if prev is nil.
func (l *List) link(prev, c *chunk) {
	next := l.first
	if prev != nil {
		next = prev.next
	}
	c.prev, c.next = prev, next
	if prev != nil {
		prev.next = c
	} else {
		l.first = c
	}
	if next != nil {
		next.prev = c
	} else {
		l.last = c
	}
}

func (l *List) unlink(c *chunk) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
}

func (l *List) dropEmpty(c *chunk) {
	if c.len() == 0 {
		l.unlink(c)
	}
}

// find returns the chunk of position i, 0 to Len-1, and the place in its buffer. It comes from the nearer end.
func (l *List) find(i int) (c *chunk, at int) {
	if i < l.n/2 {
		c = l.first
		for i >= c.len() {
			i -= c.len()
			c = c.next
		}
		return c, c.from + i
	}
	c = l.last
	for i = l.n - i; i > c.len(); c = c.prev {
		i -= c.len()
	}
	return c, c.to - i
}

// At returns the element at position i, 0 to Len-1.
func (l *List) At(i int) string {
	c, at := l.find(i)
	return c.buf[at]
}

// Set replaces the element at position i, 0 to Len-1.
func (l *List) Set(i int, value string) {
	c, at := l.find(i)
	c.buf[at] = value
}

// Insert puts value before the element at position i, or behind all if i is Len.
func (l *List) Insert(i int, value string) {
	if i == l.n {
		l.PushBack(value)
		return
	}
	c, at := l.find(i)
	offset := at - c.from
	if !c.room(false) {
		c, offset = l.split(c, offset)
		c.room(false)
	}
	at = c.from + offset
	c.to++
	copy(c.buf[at+1:c.to], c.buf[at:c.to-1])
	c.buf[at] = value
	l.n++
}

// split moves the second half of a chunk to a new one and returns where an offset is then.
func (l *List) split(c *chunk, offset int) (*chunk, int) {
	half := c.len() / 2
	next := &chunk{buf: make([]string, chunkSize), to: c.len() - half} // room remains in both
	copy(next.buf, c.elements()[half:])
	clear(c.elements()[half:])
	c.to = c.from + half
	l.link(c, next)
	if offset <= half {
		return c, offset
	}
	return next, offset - half
}

// Remove removes elements equal to value and returns how many: the first count of them, the last -count if
// count is negative, all if it is 0.
func (l *List) Remove(value string, count int) int {
	removed := 0
	if count >= 0 {
		for c := l.first; c != nil && (count == 0 || removed < count); {
			next := c.next
			removed += l.removeFrom(c, value, count-removed, count == 0)
			c = next
		}
		return removed
	}
	for c := l.last; c != nil && removed < -count; {
		prev := c.prev
		removed += l.removeLast(c, value, -count-removed)
		c = prev
	}
	return removed
}

// removeFrom removes the first limit elements of a chunk that equal value, or all.
func (l *List) removeFrom(c *chunk, value string, limit int, all bool) int {
	if !slices.Contains(c.elements(), value) {
		return 0
	}
	removed := 0
	kept := slices.DeleteFunc(c.elements(), func(v string) bool {
		if v != value || !all && removed == limit {
			return false
		}
		removed++
		return true
	})
	c.to = c.from + len(kept)
	l.shrunk(c, c.prev, removed)
	return removed
}

// removeLast removes the last limit elements of a chunk that equal value.
func (l *List) removeLast(c *chunk, value string, limit int) int {
	keep, removed := c.to, 0
	for at := c.to - 1; at >= c.from; at-- {
		v := c.buf[at]
		if v == value && removed < limit {
			removed++
			continue
		}
		keep--
		c.buf[keep] = v
	}
	clear(c.buf[c.from:keep])
	c.from = keep
	l.shrunk(c, c.next, removed)
	return removed
}

// shrunk does what follows from the removal of elements in the middle of a chunk. If it has become so small
// that it fits with its neighbor into half a chunk, they are joined, so that a list of few elements is not a
// chain of many chunks. The neighbor is the one that Remove has been at before, or nil.
func (l *List) shrunk(c, neighbor *chunk, removed int) {
	l.n -= removed
	switch {
	case c.len() == 0:
		l.unlink(c)
	case removed == 0 || neighbor == nil || c.len()+neighbor.len() > chunkSize/2:
	case neighbor == c.prev:
		l.join(neighbor, c)
	default:
		l.join(c, neighbor)
	}
}

// join moves the elements of c to the chunk before it.
func (l *List) join(to, c *chunk) {
	buf := make([]string, chunkSize)
	n := copy(buf, to.elements())
	n += copy(buf[n:], c.elements())
	to.buf, to.from, to.to = buf, 0, n
	l.unlink(c)
}

// Trim removes all but the positions [from, to), 0 <= from <= to <= Len.
func (l *List) Trim(from, to int) {
	l.dropFront(from)
	l.dropBack(l.n - (to - from))
}

func (l *List) dropFront(n int) {
	l.n -= n
	for n > 0 {
		c := l.first
		drop := min(n, c.len())
		clear(c.buf[c.from : c.from+drop])
		c.from += drop
		l.dropEmpty(c)
		n -= drop
	}
}

func (l *List) dropBack(n int) {
	l.n -= n
	for n > 0 {
		c := l.last
		drop := min(n, c.len())
		clear(c.buf[c.to-drop : c.to])
		c.to -= drop
		l.dropEmpty(c)
		n -= drop
	}
}

// Ascend yields the elements from position i on, 0 to Len, with their positions. The List must not change
// meanwhile.
func (l *List) Ascend(i int) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		if i >= l.n {
			return
		}
		for c, at := l.find(i); c != nil; {
			if !yield(i, c.buf[at]) {
				return
			}
			i++
			if at++; at == c.to {
				if c = c.next; c != nil {
					at = c.from
				}
			}
		}
	}
}

// Descend yields the elements from position i down to the first, with their positions; i is -1 to Len-1.
// The List must not change meanwhile.
func (l *List) Descend(i int) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		if i < 0 {
			return
		}
		for c, at := l.find(i); c != nil; {
			if !yield(i, c.buf[at]) {
				return
			}
			i--
			if at--; at < c.from {
				if c = c.prev; c != nil {
					at = c.to - 1
				}
			}
		}
	}
}

// Clone returns an independent copy.
func (l *List) Clone() *List {
	clone := &List{n: l.n}
	for c := l.first; c != nil; c = c.next {
		clone.link(clone.last, &chunk{buf: slices.Clone(c.buf), from: c.from, to: c.to})
	}
	return clone
}
