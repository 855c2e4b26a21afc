package ds

import (
	"slices"
	"sort"
)

// tree is a B+ tree of items in which every node knows how many items are below it, so that ranks are
// found in logarithmic time both ways. The zero tree is empty and ready to use.
type tree struct{ root *node }

// item is one element in the tree's order. The score stands here too so that a comparison rarely needs to
// look at the element.
type item struct {
	score float64
	e     *element
}

func (a item) less(b item) bool {
	if a.score != b.score {
		return a.score < b.score
	}
	return a.e.member < b.e.member
}

// A node is a leaf (kids is nil) that holds items, or holds kids with items between them: everything in
// kids[i] is less than items[i], and nothing in kids[i+1] is. An item between kids may have left the tree.
type node struct {
	items []item
	kids  []*node
	size  int // items in the leaves below
}

const (
	widest    = 64 // items of a leaf, kids of an inner node
	narrowest = widest / 4
)

// width is what widest and narrowest bound.
func (n *node) width() int {
	if n.kids == nil {
		return len(n.items)
	}
	return len(n.kids)
}

func (t *tree) insert(it item) {
	if t.root == nil {
		t.root = &node{}
	}
	t.root.insert(it)
	if t.root.width() > widest {
		left := t.root
		right, between := left.split()
		t.root = &node{items: []item{between}, kids: []*node{left, right}, size: left.size + right.size}
	}
}

func (n *node) insert(it item) {
	n.size++
	if n.kids == nil {
		i := sort.Search(len(n.items), func(i int) bool { return it.less(n.items[i]) })
		n.items = slices.Insert(n.items, i, it)
		return
	}
	i := n.kidOf(it)
	kid := n.kids[i]
	kid.insert(it)
	if kid.width() > widest {
		right, between := kid.split()
		n.items = slices.Insert(n.items, i, between)
		n.kids = slices.Insert(n.kids, i+1, right)
	}
}

// kidOf returns which kid it belongs to.
func (n *node) kidOf(it item) int {
	return sort.Search(len(n.items), func(i int) bool { return it.less(n.items[i]) })
}

// split moves the upper half of n to a new node and returns it with the item that stands between the two.
func (n *node) split() (right *node, between item) {
	half := n.width() / 2
	right = &node{}
	if n.kids == nil {
		between = n.items[half]
		right.items = append(right.items, n.items[half:]...)
		n.items = slices.Delete(n.items, half, len(n.items))
	} else {
		between = n.items[half-1]
		right.items = append(right.items, n.items[half:]...)
		right.kids = append(right.kids, n.kids[half:]...)
		n.items = slices.Delete(n.items, half-1, len(n.items))
		n.kids = slices.Delete(n.kids, half, len(n.kids))
	}
	right.count()
	n.size -= right.size
	return right, between
}

// count sets size from what is directly below.
func (n *node) count() {
	n.size = len(n.items)
	if n.kids != nil {
		n.size = 0
		for _, k := range n.kids {
			n.size += k.size
		}
	}
}

// remove takes out an item that must be in the tree.
func (t *tree) remove(it item) {
	t.root.remove(it)
	for t.root.kids != nil && len(t.root.kids) == 1 {
		t.root = t.root.kids[0]
	}
}

func (n *node) remove(it item) {
	n.size--
	if n.kids == nil {
		i := sort.Search(len(n.items), func(i int) bool { return !n.items[i].less(it) })
		n.items = slices.Delete(n.items, i, i+1)
		return
	}
	i := n.kidOf(it)
	n.kids[i].remove(it)
	if n.kids[i].width() < narrowest {
		n.mend(i)
	}
}

// mend joins kid i, which has become narrow, with a neighbour, and splits them again if together they are
// too wide.
func (n *node) mend(i int) {
	if i == len(n.kids)-1 {
		i--
	}
	left, right := n.kids[i], n.kids[i+1]
	if left.kids != nil {
		left.items = append(left.items, n.items[i])
		left.kids = append(left.kids, right.kids...)
	}
	left.items = append(left.items, right.items...)
	left.size += right.size
	if left.width() > widest {
		n.kids[i+1], n.items[i] = left.split()
		return
	}
	n.items = slices.Delete(n.items, i, i+1)
	n.kids = slices.Delete(n.kids, i+1, i+2)
}

// count returns how many items are below a bound; below must be true for a beginning of the order and
// false for the rest.
func (t *tree) count(below func(item) bool) int {
	if t.root == nil {
		return 0
	}
	total := 0
	n := t.root
	for {
		i := sort.Search(len(n.items), func(i int) bool { return !below(n.items[i]) })
		if n.kids == nil {
			return total + i
		}
		for _, k := range n.kids[:i] {
			total += k.size
		}
		n = n.kids[i]
	}
}

// at returns the item of a rank, which must exist.
func (t *tree) at(rank int) item {
	n := t.root
	for n.kids != nil {
		i := 0
		for rank >= n.kids[i].size {
			rank -= n.kids[i].size
			i++
		}
		n = n.kids[i]
	}
	return n.items[rank]
}

// ascend calls yield with the items of the ranks [from, to), which must exist, until it returns false.
func (t *tree) ascend(from, to int, yield func(item) bool) { t.root.ascend(from, to, yield) }

func (n *node) ascend(from, to int, yield func(item) bool) bool {
	if n.kids == nil {
		for _, it := range n.items[max(from, 0):min(to, len(n.items))] {
			if !yield(it) {
				return false
			}
		}
		return true
	}
	start := 0
	for _, k := range n.kids {
		if start >= to {
			break
		}
		if start+k.size > from && !k.ascend(from-start, to-start, yield) {
			return false
		}
		start += k.size
	}
	return true
}

// descend is ascend from the last item to the first.
func (t *tree) descend(from, to int, yield func(item) bool) { t.root.descend(from, to, yield) }

func (n *node) descend(from, to int, yield func(item) bool) bool {
	if n.kids == nil {
		for i := min(to, len(n.items)) - 1; i >= max(from, 0); i-- {
			if !yield(n.items[i]) {
				return false
			}
		}
		return true
	}
	start := n.size
	for i := len(n.kids) - 1; i >= 0; i-- {
		k := n.kids[i]
		start -= k.size
		if start+k.size <= from {
			break
		}
		if start < to && !k.descend(from-start, to-start, yield) {
			return false
		}
	}
	return true
}
