package ds

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// checkChunks requires what holds of a list's chunks between any two operations.
func checkChunks(t require.TestingT, l *List) {
	n := 0
	var prev *chunk
	for c := l.first; c != nil; prev, c = c, c.next {
		require.Same(t, prev, c.prev)
		require.Positive(t, c.len(), "an empty chunk")
		require.LessOrEqual(t, len(c.buf), chunkSize)
		for i, v := range c.buf {
			if i < c.from || i >= c.to {
				require.Empty(t, v, "an element that is gone is kept alive")
			}
		}
		n += c.len()
	}
	require.Same(t, prev, l.last)
	require.Equal(t, l.n, n)
}

// Ensure that a list is a sequence, whatever is put in and taken out, wherever.
func TestList_Model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, model := NewList(), []string{}
		position := func(t *rapid.T, most int) int { return rapid.IntRange(0, most).Draw(t, "position") }
		value := rapid.Map(rapid.IntRange(0, 5), strconv.Itoa)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				ends := rapid.Uint64().Draw(t, "ends")
				for i := range rapid.IntRange(1, 300).Draw(t, "n") {
					if v := strconv.Itoa(i % 6); ends>>(i%64)&1 == 1 {
						l.PushFront(v)
						model = slices.Insert(model, 0, v)
					} else {
						l.PushBack(v)
						model = append(model, v)
					}
				}
			},
			"pop": func(t *rapid.T) {
				front := rapid.Bool().Draw(t, "front")
				for range position(t, len(model)) {
					if front {
						require.Equal(t, model[0], l.PopFront())
						model = model[1:]
					} else {
						require.Equal(t, model[len(model)-1], l.PopBack())
						model = model[:len(model)-1]
					}
				}
			},
			"queue": func(t *rapid.T) {
				if len(model) == 0 {
					return
				}
				back := rapid.Bool().Draw(t, "to the back")
				for range rapid.IntRange(1, 400).Draw(t, "n") {
					if back {
						l.PushBack(l.PopFront())
						model = append(model[1:], model[0])
					} else {
						l.PushFront(l.PopBack())
						last := len(model) - 1
						model = slices.Insert(model[:last], 0, model[last])
					}
				}
			},
			"insert": func(t *rapid.T) {
				at, v := position(t, len(model)), value.Draw(t, "value")
				for range rapid.IntRange(1, 200).Draw(t, "n") {
					l.Insert(at, v)
					model = slices.Insert(model, at, v)
				}
			},
			"set": func(t *rapid.T) {
				if len(model) > 0 {
					at, v := position(t, len(model)-1), value.Draw(t, "value")
					l.Set(at, v)
					model[at] = v
				}
			},
			"remove": func(t *rapid.T) {
				v, count := value.Draw(t, "value"), rapid.SampledFrom([]int{0, 1, 2, 100, -1, -2, -100}).Draw(t, "count")
				want := removeModel(&model, v, count)
				require.Equal(t, want, l.Remove(v, count))
			},
			"trim": func(t *rapid.T) {
				from := position(t, len(model))
				to := rapid.IntRange(from, len(model)).Draw(t, "to")
				l.Trim(from, to)
				model = slices.Clone(model[from:to])
			},
			"clone": func(t *rapid.T) {
				old := l
				l = l.Clone()
				old.PushBack("in the original")
				old.Set(0, "in the original")
			},
			"": func(t *rapid.T) {
				checkChunks(t, l)
				require.Equal(t, len(model), l.Len())
				if len(model) == 0 {
					return
				}
				at := position(t, len(model)-1)
				require.Equal(t, model[at], l.At(at))
				i := 0
				for p, v := range l.Ascend(0) {
					require.Equal(t, i, p)
					require.Equal(t, model[i], v)
					i++
				}
				require.Equal(t, len(model), i)
				i = at
				for p, v := range l.Descend(at) {
					require.Equal(t, i, p)
					require.Equal(t, model[i], v)
					i--
				}
				require.Equal(t, -1, i)
				for p, v := range l.Ascend(at) {
					require.Equal(t, at, p)
					require.Equal(t, model[at], v)
					break
				}
			},
		})
	})
}

// removeModel is Remove, one element after the other.
func removeModel(model *[]string, value string, count int) (removed int) {
	backwards := count < 0
	if count == 0 {
		count = len(*model)
	}
	for range max(count, -count) {
		at := slices.Index(*model, value)
		if backwards {
			for at = len(*model) - 1; at >= 0 && (*model)[at] != value; at-- {
			}
		}
		if at < 0 {
			return removed
		}
		*model = slices.Delete(*model, at, at+1)
		removed++
	}
	return removed
}

// Ensure that what remains of a long list after removals everywhere does not hold on to its chunks.
func TestList_RemoveJoins(t *testing.T) {
	for _, count := range []int{0, -1 << 40} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			l := NewList()
			for i := range 100 * chunkSize {
				if i%chunkSize == 0 {
					l.PushBack("kept")
				} else {
					l.PushBack("removed")
				}
			}
			l.Remove("removed", count)
			checkChunks(t, l)
			require.Equal(t, 100, l.Len())
			chunks := 0
			for c := l.first; c != nil; c = c.next {
				chunks++
			}
			require.LessOrEqual(t, chunks, 4)
		})
	}
}

// BenchmarkList tells what a push and a pop take at both ends, in a queue and in the middle of a long list.
func BenchmarkList(b *testing.B) {
	fill := func(n int) *List {
		l := NewList()
		for range n {
			l.PushBack("element")
		}
		return l
	}
	b.Run("queue of 10", func(b *testing.B) {
		for l := fill(10); b.Loop(); {
			l.PushFront("x")
			l.PopBack()
		}
	})
	b.Run("stack", func(b *testing.B) {
		for l := fill(1000); b.Loop(); {
			l.PushBack("x")
			l.PopBack()
		}
	})
	b.Run("middle of 100000", func(b *testing.B) {
		for l := fill(100_000); b.Loop(); {
			l.Set(50_000, "x")
		}
	})
}
