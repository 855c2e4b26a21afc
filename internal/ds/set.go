package ds

import (
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
)

// A Set is a set of binary-safe strings. The zero Set is empty and ready to use.
//
// As long as all members are integers, and few, it is an intset: sorted integers. From the first other
// member on it is a table: members stand in one slice, found through a map, and the last one fills the gap
// that a removal leaves. So members only ever move down, as the scans of Hash want it.
type Set struct {
	ints    intset
	members []string
	index   map[string]int // position of each member; nil as long as the set is an intset
}

// NewSet returns an empty Set.
func NewSet() *Set { return &Set{} }

// Ints reports whether the set is an intset: then All and Scan yield its members in ascending order.
func (s *Set) Ints() bool { return s.index == nil }

// Len returns the number of members.
func (s *Set) Len() int { return len(s.ints) + len(s.members) }

// Has reports whether member is in the set.
func (s *Set) Has(member string) bool {
	if s.index != nil {
		_, ok := s.index[member]
		return ok
	}
	n, ok := parseInt(member)
	return ok && s.ints.has(n)
}

// Add adds a member and reports whether it is new. A set of more than maxInts integers, or of anything
// else, is no intset any more, and never becomes one again.
func (s *Set) Add(member string, maxInts int) bool {
	if s.index == nil {
		if n, ok := parseInt(member); ok {
			added := s.ints.add(n)
			if added && len(s.ints) > maxInts {
				s.convert()
			}
			return added
		}
		s.convert()
	}
	if _, ok := s.index[member]; ok {
		return false
	}
	s.index[member] = len(s.members)
	s.members = append(s.members, member)
	return true
}

// convert makes the set a table.
func (s *Set) convert() {
	s.index = make(map[string]int, len(s.ints)+1)
	s.members = make([]string, len(s.ints), len(s.ints)+1)
	for i := range s.ints {
		s.members[i] = s.ints.at(i)
		s.index[s.members[i]] = i
	}
	s.ints = nil
}

// Delete removes a member and reports whether it was in the set.
func (s *Set) Delete(member string) bool {
	if s.index == nil {
		n, ok := parseInt(member)
		return ok && s.ints.remove(n)
	}
	i, ok := s.index[member]
	if !ok {
		return false
	}
	last := len(s.members) - 1
	moved := s.members[last]
	s.members[i] = moved
	s.index[moved] = i
	delete(s.index, member)
	s.members[last] = ""
	s.members = shrink(s.members[:last])
	return true
}

// At returns the member at position i of All, 0 to Len-1.
func (s *Set) At(i int) string {
	if s.index == nil {
		return s.ints.at(i)
	}
	return s.members[i]
}

// All yields the members. The Set must not change meanwhile.
func (s *Set) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range s.Len() {
			if !yield(s.At(i)) {
				return
			}
		}
	}
}

// Random returns a random member, each with the same chance. The Set must not be empty.
func (s *Set) Random() string { return s.At(rand.IntN(s.Len())) }

// Scan is like [Hash.Scan]. An intset is yielded whole.
func (s *Set) Scan(cursor uint64, count int, yield func(member string)) (next uint64) {
	from, to := 0, len(s.ints)
	if s.index != nil {
		from, to = scanWindow(cursor, count, len(s.members))
	}
	for i := from; i < to; i++ {
		yield(s.At(i))
	}
	return uint64(from)
}

// Clone returns an independent copy.
func (s *Set) Clone() *Set {
	return &Set{ints: slices.Clone(s.ints), members: slices.Clone(s.members), index: maps.Clone(s.index)}
}
