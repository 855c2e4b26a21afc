package ds

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// zmodel is a sorted set as a sorted slice.
type zmodel []zpair

type zpair struct {
	member string
	score  float64
}

func (m *zmodel) set(member string, score float64) {
	m.remove(member)
	*m = append(*m, zpair{member, score})
	sort.Slice(*m, func(i, j int) bool {
		a, b := (*m)[i], (*m)[j]
		return a.score < b.score || a.score == b.score && a.member < b.member
	})
}

func (m *zmodel) remove(member string) bool {
	i := m.rank(member)
	if i < 0 {
		return false
	}
	*m = slices.Delete(*m, i, i+1)
	return true
}

func (m *zmodel) rank(member string) int {
	return slices.IndexFunc(*m, func(p zpair) bool { return p.member == member })
}

var scores = rapid.OneOf(
	rapid.SampledFrom([]float64{0, 1, 2, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.MaxFloat64, 5e-324}),
	rapid.Float64Range(-10, 10),
)

// Ensure that a sorted set answers every question about ranks, scores and members as a sorted slice does.
func TestZSet_Model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z, model := NewZSet(), &zmodel{}
		names := smallNames(rapid.SampledFrom([]int{3, 300}).Draw(t, "names"))
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				name, score := names.Draw(t, "name"), scores.Draw(t, "score")
				assert.Equal(t, model.rank(name) < 0, z.Set(name, score))
				model.set(name, score)
			},
			"fill": func(t *rapid.T) {
				step := rapid.IntRange(1, 7).Draw(t, "step")
				for i := range rapid.IntRange(0, 200).Draw(t, "n") {
					name, score := fmt.Sprintf("f%d", i*step), float64(i%13)
					z.Set(name, score)
					model.set(name, score)
				}
			},
			"delete": func(t *rapid.T) {
				name := names.Draw(t, "name")
				assert.Equal(t, model.remove(name), z.Delete(name))
			},
			"delete ranks": func(t *rapid.T) {
				from := rapid.IntRange(-2, z.Len()+2).Draw(t, "from")
				to := rapid.IntRange(-2, z.Len()+2).Draw(t, "to")
				lo, hi := max(from, 0), min(to, len(*model))
				want := max(hi-lo, 0)
				assert.Equal(t, want, z.DeleteRanks(from, to))
				if want > 0 {
					*model = slices.Delete(*model, lo, hi)
				}
			},
			"count": func(t *rapid.T) {
				score, orEqual := scores.Draw(t, "score"), rapid.Bool().Draw(t, "orEqual")
				want := 0
				for _, p := range *model {
					if p.score < score || orEqual && p.score == score {
						want++
					}
				}
				assert.Equal(t, want, z.CountBelowScore(score, orEqual))
			},
			"walk": func(t *rapid.T) {
				from := rapid.IntRange(-2, z.Len()+2).Draw(t, "from")
				to := rapid.IntRange(-2, z.Len()+2).Draw(t, "to")
				var up, down []zpair
				for member, score := range z.Ascend(from, to) {
					up = append(up, zpair{member, score})
				}
				for member, score := range z.Descend(from, to) {
					down = append(down, zpair{member, score})
				}
				var want []zpair
				if lo, hi := max(from, 0), min(to, len(*model)); lo < hi {
					want = append(want, (*model)[lo:hi]...)
				}
				assert.Equal(t, want, up)
				slices.Reverse(down)
				assert.Equal(t, want, down)
			},
			"stop early": func(t *rapid.T) {
				for range z.Ascend(0, z.Len()) {
					break
				}
				for range z.Descend(0, z.Len()) {
					break
				}
			},
			"clone": func(t *rapid.T) {
				old := z
				z = z.Clone()
				old.Set("f0", 99)
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(*model), z.Len())
				for rank, p := range *model {
					member, score := z.At(rank)
					require.Equal(t, p, zpair{member, score})
					got, ok := z.Rank(p.member)
					require.True(t, ok)
					require.Equal(t, rank, got)
					score, ok = z.Score(p.member)
					require.True(t, ok)
					require.Equal(t, p.score, score)
				}
				if z.tree.root != nil {
					checkNode(t, z.tree.root, true)
				}
			},
		})
	})
}

// checkNode checks what a node promises about its width, its size and the items between its kids.
func checkNode(t require.TestingT, n *node, root bool) {
	require.LessOrEqual(t, n.width(), widest)
	if !root {
		require.GreaterOrEqual(t, n.width(), narrowest)
	}
	if n.kids == nil {
		require.Equal(t, len(n.items), n.size)
		return
	}
	require.Len(t, n.items, len(n.kids)-1)
	size := 0
	for i, kid := range n.kids {
		checkNode(t, kid, false)
		size += kid.size
		if i > 0 {
			require.False(t, least(kid).less(n.items[i-1]))
			require.True(t, greatest(n.kids[i-1]).less(n.items[i-1]))
		}
	}
	require.Equal(t, size, n.size)
}

func least(n *node) item {
	for n.kids != nil {
		n = n.kids[0]
	}
	return n.items[0]
}

func greatest(n *node) item {
	for n.kids != nil {
		n = n.kids[len(n.kids)-1]
	}
	return n.items[len(n.items)-1]
}

// Ensure that ranges by member, which are meant for equal scores, count in byte order.
func TestZSet_CountBelowMember(t *testing.T) {
	z := NewZSet()
	for _, m := range []string{"", "a", "a\x00", "b", "\xff"} {
		z.Set(m, 0)
	}
	tests := []struct {
		member      string
		below, upTo int
	}{
		{"", 0, 1}, {"a", 1, 2}, {"a\x00", 2, 3}, {"aa", 3, 3}, {"b", 3, 4}, {"\xfe", 4, 4}, {"\xff", 4, 5}, {"\xff\xff", 5, 5},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.below, z.CountBelowMember(tt.member, false), "%q", tt.member)
		assert.Equal(t, tt.upTo, z.CountBelowMember(tt.member, true), "%q", tt.member)
	}
}

// Ensure that a set of a size that makes its tree several levels deep keeps all of its promises while
// members move to other scores and away.
func TestZSet_Deep(t *testing.T) {
	const n = 20_000
	z := NewZSet()
	for i := range n {
		z.Set(fmt.Sprint(i), float64(i*7919%n))
	}
	checkNode(t, z.tree.root, true)
	require.NotNil(t, z.tree.root.kids[0].kids, "the tree is not deep enough to test")
	for i := range n {
		z.Set(fmt.Sprint(i), float64(-i))
	}
	checkNode(t, z.tree.root, true)
	for i := range n {
		rank, ok := z.Rank(fmt.Sprint(i))
		require.True(t, ok)
		require.Equal(t, n-1-i, rank)
	}
	assert.Equal(t, n-10, z.DeleteRanks(5, n-5))
	checkNode(t, z.tree.root, true)
	for i := range 10 {
		member, _ := z.At(0)
		require.True(t, z.Delete(member), "%d", i)
	}
	assert.Zero(t, z.Len())
	assert.True(t, z.Set("after", 1))
}

// Ensure that a large set stays large and that only it tells the two zeros apart.
func TestZSet_Large(t *testing.T) {
	negativeZero := math.Copysign(0, -1)
	z := NewZSet()
	z.Set("small", negativeZero)
	require.True(t, z.Small())
	z.Enlarge()
	z.Set("large", negativeZero)
	c := z.Clone()
	assert.False(t, c.Small())
	for name, signed := range map[string]bool{"small": false, "large": true} {
		score, _ := c.Score(name)
		assert.Equal(t, signed, math.Signbit(score), name)
	}
}

func BenchmarkZSet_Rank(b *testing.B) {
	const n = 100_000
	z := NewZSet()
	names := make([]string, n)
	for i := range n {
		names[i] = fmt.Sprintf("member:%d", i)
		z.Set(names[i], float64(i*7919%n))
	}
	for i := 0; b.Loop(); i++ {
		z.Rank(names[i%n])
	}
}
