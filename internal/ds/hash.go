package ds

import (
	"iter"
	"math/rand/v2"
)

// A Hash maps fields to values, both binary-safe strings. The zero Hash is empty and ready to use.
//
// Fields stand in one slice, of a small Hash in the order in which they were added. Nothing in it
// ever moves to a higher position, which is what makes a scan from the end downwards complete: see Scan.
type Hash struct {
	fields []field
	// index gives the position of each field; nil while there are so few that looking at each is quicker.
	index map[string]int
	large bool // see Small
}

type field struct{ name, value string }

// indexFrom is the number of fields from which an index is kept.
const indexFrom = 17

// NewHash returns an empty Hash.
func NewHash() *Hash { return &Hash{} }

// Small reports whether Enlarge was never called. A small hash keeps the order of insertion, also when
// fields are removed; in a large one the last field fills the gap.
func (h *Hash) Small() bool { return !h.large }

// Enlarge makes the hash a large one for good. Redis does so beyond what the listpack directives allow.
func (h *Hash) Enlarge() { h.large = true }

// Len returns the number of fields.
func (h *Hash) Len() int { return len(h.fields) }

func (h *Hash) find(name string) int {
	if h.index != nil {
		if i, ok := h.index[name]; ok {
			return i
		}
		return -1
	}
	for i := range h.fields {
		if h.fields[i].name == name {
			return i
		}
	}
	return -1
}

// Get returns the value of a field and whether it exists.
func (h *Hash) Get(name string) (value string, ok bool) {
	i := h.find(name)
	if i < 0 {
		return "", false
	}
	return h.fields[i].value, true
}

// Set sets a field and reports whether it is new.
func (h *Hash) Set(name, value string) (added bool) {
	if i := h.find(name); i >= 0 {
		h.fields[i].value = value
		return false
	}
	h.fields = append(h.fields, field{name, value})
	switch {
	case h.index != nil:
		h.index[name] = len(h.fields) - 1
	case len(h.fields) >= indexFrom:
		h.index = make(map[string]int, 2*indexFrom)
		for i := range h.fields {
			h.index[h.fields[i].name] = i
		}
	}
	return true
}

// Delete removes a field and reports whether it existed.
func (h *Hash) Delete(name string) bool {
	i := h.find(name)
	if i < 0 {
		return false
	}
	last := len(h.fields) - 1
	if !h.large {
		copy(h.fields[i:], h.fields[i+1:])
	} else {
		h.fields[i] = h.fields[last]
	}
	h.fields[last] = field{}
	h.fields = h.fields[:last]
	if h.index != nil {
		delete(h.index, name)
		h.reindex(i)
	}
	h.fields = shrink(h.fields)
	return true
}

// reindex corrects the index after a removal at position i.
func (h *Hash) reindex(i int) {
	end := len(h.fields)
	if h.large { // only the last field has moved, and to i
		end = min(i+1, end)
	}
	for ; i < end; i++ {
		h.index[h.fields[i].name] = i
	}
}

// All yields fields and values. The Hash must not change meanwhile.
func (h *Hash) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range h.fields {
			if !yield(h.fields[i].name, h.fields[i].value) {
				return
			}
		}
	}
}

// Random returns a random field, each with the same chance. The Hash must not be empty.
func (h *Hash) Random() (name, value string) {
	f := h.fields[rand.IntN(len(h.fields))]
	return f.name, f.value
}

// At returns the field at position i of All, 0 to Len-1.
func (h *Hash) At(i int) (name, value string) { return h.fields[i].name, h.fields[i].value }

// Scan calls yield with about count fields and returns the next cursor; a whole scan starts at cursor 0
// and has ended when 0 is returned. Every field that exists from the first call to the last is found, some
// may be found twice.
func (h *Hash) Scan(cursor uint64, count int, yield func(name, value string)) (next uint64) {
	from, to := scanWindow(cursor, count, len(h.fields))
	for i := from; i < to; i++ {
		yield(h.fields[i].name, h.fields[i].value)
	}
	return uint64(from)
}

// Clone returns an independent copy.
func (h *Hash) Clone() *Hash {
	c := &Hash{fields: append([]field(nil), h.fields...), large: h.large}
	if h.index != nil {
		c.index = make(map[string]int, len(h.index))
		for i := range c.fields {
			c.index[c.fields[i].name] = i
		}
	}
	return c
}

// scanWindow returns the positions [from, to) that a scan of n elements visits at cursor. The cursor is
// the lowest position visited so far, 0 meaning none: scanning goes downwards because elements that move
// do so downwards, so none can slip past.
func scanWindow(cursor uint64, count, n int) (from, to int) {
	to = n
	if cursor != 0 && cursor < uint64(n) {
		to = int(cursor)
	}
	return max(0, to-max(count, 1)), to
}

// shrink gives memory back once three quarters of a large slice are unused.
func shrink[T any](s []T) []T {
	if cap(s) > 64 && len(s) < cap(s)/4 {
		return append(make([]T, 0, len(s)*2), s...)
	}
	return s
}
