package ds

import (
	"slices"
	"strconv"
)

// intset is a set of integers: a sorted slice. It is what Redis keeps small sets of integers as, and the
// order in which their members are answered.
type intset []int64

// parseInt reads an integer that has only this one notation, in which it is kept: "07" is no integer.
func parseInt(member string) (n int64, ok bool) {
	if member == "" || len(member) > len("-9223372036854775808") || member[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(member, 10, 64)
	if err != nil {
		return 0, false
	}
	first := member[0]
	if first == '-' {
		first = member[1]
	}
	return n, member[0] != '+' && (first != '0' || len(member) == 1)
}

func (s intset) has(n int64) bool {
	_, ok := slices.BinarySearch(s, n)
	return ok
}

// add adds n and reports whether it is new.
func (s *intset) add(n int64) bool {
	i, ok := slices.BinarySearch(*s, n)
	if !ok {
		*s = slices.Insert(*s, i, n)
	}
	return !ok
}

// remove removes n and reports whether it was there.
func (s *intset) remove(n int64) bool {
	i, ok := slices.BinarySearch(*s, n)
	if ok {
		*s = shrink(slices.Delete(*s, i, i+1))
	}
	return ok
}

func (s intset) at(i int) string { return strconv.FormatInt(s[i], 10) }
