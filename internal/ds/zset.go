package ds

import (
	"iter"
	"math/rand/v2"
)

// A ZSet is a sorted set: members, each with a score, in the order of score and, for equal scores, of the
// member's bytes. The zero ZSet is not ready; use NewZSet. Scores must not be NaN.
//
// Every range of a sorted set, whether by rank, by score or by member, is a range of ranks. So there is one
// way to count a bound (CountBelowScore, CountBelowMember) and one way to walk (Ascend, Descend).
//
// Each element is known in three places: by its member, by its position in a slice for scans and random
// picks (where, as in Hash, elements only ever move down), and by its place in the tree.
type ZSet struct {
	members map[string]*element
	dense   []*element
	tree    tree
	large   bool // see Small
}

type element struct {
	member string
	score  float64
	pos    int // in dense
}

// NewZSet returns an empty ZSet.
func NewZSet() *ZSet { return &ZSet{members: make(map[string]*element)} }

// Small reports whether Enlarge was never called. A small set has one zero, as Redis' listpack has; a large
// one keeps its sign.
func (z *ZSet) Small() bool { return !z.large }

// Enlarge makes the set a large one for good. Redis does so beyond what the listpack directives allow.
func (z *ZSet) Enlarge() { z.large = true }

// Len returns the number of members.
func (z *ZSet) Len() int { return len(z.dense) }

// Score returns the score of a member and whether it exists.
func (z *ZSet) Score(member string) (score float64, ok bool) {
	e := z.members[member]
	if e == nil {
		return 0, false
	}
	return e.score, true
}

// Set sets a member's score and reports whether the member is new.
func (z *ZSet) Set(member string, score float64) (added bool) {
	if !z.large {
		score += 0 // of the two zeros, the one without a sign
	}
	e := z.members[member]
	if e == nil {
		e = &element{member: member, score: score, pos: len(z.dense)}
		z.members[member] = e
		z.dense = append(z.dense, e)
		z.tree.insert(item{score, e})
		return true
	}
	if e.score != score {
		z.tree.remove(item{e.score, e})
		z.tree.insert(item{score, e})
	}
	e.score = score
	return false
}

// Delete removes a member and reports whether it existed.
func (z *ZSet) Delete(member string) bool {
	e := z.members[member]
	if e == nil {
		return false
	}
	z.remove(e)
	return true
}

func (z *ZSet) remove(e *element) {
	z.tree.remove(item{e.score, e})
	delete(z.members, e.member)
	last := len(z.dense) - 1
	z.dense[e.pos] = z.dense[last]
	z.dense[e.pos].pos = e.pos
	z.dense[last] = nil
	z.dense = shrink(z.dense[:last])
}

// Rank returns how many members stand before this one, and whether it exists.
func (z *ZSet) Rank(member string) (rank int, ok bool) {
	e := z.members[member]
	if e == nil {
		return 0, false
	}
	it := item{e.score, e}
	return z.tree.count(func(o item) bool { return o.less(it) }), true
}

// At returns the member of a rank, 0 to Len-1.
func (z *ZSet) At(rank int) (member string, score float64) {
	it := z.tree.at(rank)
	return it.e.member, it.score
}

// CountBelowScore returns how many members have a score below s, or, if orEqual, at most s.
// The members with scores in [lo, hi) are the ranks from CountBelowScore(lo, false) to CountBelowScore(hi, false).
func (z *ZSet) CountBelowScore(s float64, orEqual bool) int {
	return z.tree.count(func(o item) bool { return o.score < s || orEqual && o.score == s })
}

// CountBelowMember returns how many members come before member in byte order, or, if orEqual, are at most
// it. It means something only when all scores are equal, as for Redis' BYLEX ranges.
func (z *ZSet) CountBelowMember(member string, orEqual bool) int {
	return z.tree.count(func(o item) bool { return o.e.member < member || orEqual && o.e.member == member })
}

// Ascend yields members and scores of the ranks [from, to), which are cut to what exists, lowest first.
// The ZSet must not change meanwhile.
func (z *ZSet) Ascend(from, to int) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		if from, to = max(from, 0), min(to, z.Len()); from < to {
			z.tree.ascend(from, to, func(it item) bool { return yield(it.e.member, it.score) })
		}
	}
}

// Descend yields the same as Ascend, highest first.
func (z *ZSet) Descend(from, to int) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		if from, to = max(from, 0), min(to, z.Len()); from < to {
			z.tree.descend(from, to, func(it item) bool { return yield(it.e.member, it.score) })
		}
	}
}

// DeleteRanks removes the members of the ranks [from, to), which are cut to what exists, and returns how
// many there were.
func (z *ZSet) DeleteRanks(from, to int) int {
	from, to = max(from, 0), min(to, z.Len())
	if from >= to {
		return 0
	}
	doomed := make([]*element, 0, to-from)
	z.tree.ascend(from, to, func(it item) bool { doomed = append(doomed, it.e); return true })
	for _, e := range doomed {
		z.remove(e)
	}
	return len(doomed)
}

// Random returns a random member, each with the same chance. The ZSet must not be empty.
func (z *ZSet) Random() (member string, score float64) {
	e := z.dense[rand.IntN(len(z.dense))]
	return e.member, e.score
}

// Scan is Hash.Scan for members and scores.
func (z *ZSet) Scan(cursor uint64, count int, yield func(member string, score float64)) (next uint64) {
	from, to := scanWindow(cursor, count, len(z.dense))
	for _, e := range z.dense[from:to] {
		yield(e.member, e.score)
	}
	return uint64(from)
}

// Clone returns an independent copy.
func (z *ZSet) Clone() *ZSet {
	c := NewZSet()
	c.large = z.large
	for _, e := range z.dense {
		c.Set(e.member, e.score)
	}
	return c
}
