package ds

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// setMembers draws integers and others; with a limit of 5 or 50 a set passes every way out of the intset.
func setMembers(t *rapid.T) *rapid.Generator[string] {
	ints := rapid.Map(rapid.IntRange(-80, 80), strconv.Itoa)
	if rapid.Bool().Draw(t, "integers only") {
		return ints
	}
	return rapid.OneOf(ints, ints, ints, rapid.StringN(0, 2, -1))
}

// Ensure that a set is a set, that it is an intset exactly as long as Redis keeps one, and that an intset
// is in order.
func TestSet_Model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, model, ints := NewSet(), map[string]bool{}, true
		members, limit := setMembers(t), rapid.SampledFrom([]int{0, 5, 50, 512}).Draw(t, "limit")
		add := func(t *rapid.T, member string) {
			require.Equal(t, !model[member], s.Add(member, limit))
			model[member] = true
			n, err := strconv.Atoi(member)
			ints = ints && err == nil && strconv.Itoa(n) == member && len(model) <= limit
		}
		remove := func(t *rapid.T, member string) {
			require.Equal(t, model[member], s.Delete(member))
			delete(model, member)
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) { add(t, members.Draw(t, "member")) },
			"fill": func(t *rapid.T) {
				for i := range rapid.IntRange(0, 70).Draw(t, "n") {
					add(t, strconv.Itoa(i*7%64-20))
				}
			},
			"delete": func(t *rapid.T) { remove(t, members.Draw(t, "member")) },
			"drain": func(t *rapid.T) {
				for range rapid.IntRange(0, s.Len()).Draw(t, "n") {
					remove(t, s.Random())
				}
			},
			"has": func(t *rapid.T) {
				member := members.Draw(t, "member")
				assert.Equal(t, model[member], s.Has(member))
			},
			"clone": func(t *rapid.T) {
				old := s
				s = s.Clone()
				old.Add("77", limit)
				old.Add("in the original", limit)
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(model), s.Len())
				require.Equal(t, ints, s.Ints())
				all := slices.Collect(s.All())
				require.Len(t, all, len(model))
				for i, member := range all {
					require.True(t, model[member])
					require.True(t, s.Has(member))
					require.Equal(t, member, s.At(i))
				}
				if ints {
					require.True(t, slices.IsSortedFunc(all, func(a, b string) int {
						x, _ := strconv.Atoi(a)
						y, _ := strconv.Atoi(b)
						return x - y
					}))
				}
			},
		})
	})
}

// Ensure that only the one notation in which Redis keeps an integer is one.
func TestSet_Integers(t *testing.T) {
	for _, member := range []string{"0", "-1", "10", strconv.Itoa(math.MaxInt64), strconv.Itoa(math.MinInt64)} {
		s := NewSet()
		assert.True(t, s.Add(member, 1))
		assert.True(t, s.Ints(), member)
		assert.Equal(t, member, s.At(0))
	}
	for _, member := range []string{"", "-", "-0", "+1", "01", "-01", " 1", "1 ", "1_0", "0x1", "1.0", "9223372036854775808", "-9223372036854775809", "a"} {
		s := NewSet()
		assert.False(t, s.Has(member))
		assert.True(t, s.Add(member, 1))
		assert.False(t, s.Ints(), member)
		assert.True(t, s.Has(member))
	}
}

type scannedSet struct{ *Set }

func (s scannedSet) add(name string)    { s.Add(name, 100) }
func (s scannedSet) remove(name string) { s.Delete(name) }
func (s scannedSet) scan(cursor uint64, count int, seen map[string]bool) uint64 {
	return s.Scan(cursor, count, func(name string) { seen[name] = true })
}

// Ensure that the scan of a set keeps its promise, whether it is an intset, becomes a table under way, or is
// one from the start.
func TestSet_ScanGuarantee(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scannedSet{NewSet()}
		if rapid.Bool().Draw(t, "table") {
			s.add("x")
		}
		checkScan(t, s)
	})
}

// Ensure that a sample has no position twice, none outside, and that every position has its chance.
func TestSample(t *testing.T) {
	for _, tt := range []struct{ n, count int }{{0, 0}, {1, 0}, {1, 1}, {5, 3}, {5, 5}, {1000, 10}, {100, 100}} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			picked := Sample(tt.n, tt.count)
			require.Len(t, picked, tt.count)
			slices.Sort(picked)
			assert.Len(t, slices.Compact(picked), tt.count)
			for _, i := range picked {
				assert.True(t, 0 <= i && i < tt.n)
			}
		})
	}
	var hits [4]int
	for range 4000 {
		for _, i := range Sample(4, 2) {
			hits[i]++
		}
	}
	for i, n := range hits {
		assert.InDelta(t, 2000, n, 300, "position %d", i) // nine standard deviations
	}
}
