package ds

import (
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// smallNames makes collisions likely; with 700 of them a hash becomes large.
func smallNames(limit int) *rapid.Generator[string] {
	return rapid.Map(rapid.IntRange(0, limit), func(i int) string { return fmt.Sprintf("f%d", i) })
}

// Ensure that a hash is a map: whatever is set and deleted, in whatever order.
func TestHash_Model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, model := NewHash(), map[string]string{}
		names := smallNames(rapid.SampledFrom([]int{3, 30, 700}).Draw(t, "names"))
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				name, value := names.Draw(t, "name"), rapid.StringN(0, 3, -1).Draw(t, "value")
				_, had := model[name]
				assert.Equal(t, !had, h.Set(name, value))
				model[name] = value
			},
			"fill": func(t *rapid.T) {
				for i := range rapid.IntRange(0, 600).Draw(t, "n") {
					name := fmt.Sprintf("f%d", i)
					h.Set(name, "x")
					model[name] = "x"
				}
			},
			"delete": func(t *rapid.T) {
				name := names.Draw(t, "name")
				_, had := model[name]
				assert.Equal(t, had, h.Delete(name))
				delete(model, name)
			},
			"drain": func(t *rapid.T) {
				for range rapid.IntRange(0, h.Len()).Draw(t, "n") {
					name, _ := h.Random()
					assert.True(t, h.Delete(name))
					delete(model, name)
				}
			},
			"get": func(t *rapid.T) {
				name := names.Draw(t, "name")
				value, ok := h.Get(name)
				want, had := model[name]
				assert.Equal(t, had, ok)
				assert.Equal(t, want, value)
			},
			"enlarge": func(*rapid.T) { h.Enlarge() },
			"clone": func(t *rapid.T) {
				old := h
				h = h.Clone()
				old.Set("f0", "changed in the original")
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(model), h.Len())
				require.Equal(t, model, maps.Collect(h.All()))
				for i := range h.Len() {
					name, _ := h.At(i)
					value, ok := h.Get(name)
					require.True(t, ok)
					require.Equal(t, model[name], value)
				}
			},
		})
	})
}

// Ensure that a small hash keeps the order in which fields were added, as a listpack does.
func TestHash_Order(t *testing.T) {
	h := NewHash()
	for _, name := range []string{"a", "b", "c", "d"} {
		h.Set(name, "")
	}
	h.Delete("b")
	h.Set("a", "again")
	h.Set("b", "")
	var order []string
	for name := range h.All() {
		order = append(order, name)
	}
	assert.Equal(t, []string{"a", "c", "d", "b"}, order)
}

// Ensure that a large hash stays large, in a copy too, and is still a map when removal mixes its order.
func TestHash_Large(t *testing.T) {
	h := NewHash()
	fill(h, 100)
	require.True(t, h.Small())
	h.Enlarge()
	for i := range 90 {
		require.True(t, h.Delete(fmt.Sprintf("f%d", i)))
	}
	assert.False(t, h.Small())
	assert.False(t, h.Clone().Small())
	assert.Equal(t, 10, h.Len())
	for i := 90; i < 100; i++ {
		_, ok := h.Get(fmt.Sprintf("f%d", i))
		assert.True(t, ok, "f%d", i)
	}
}

func fill(h *Hash, n int) {
	for i := range n {
		h.Set(fmt.Sprintf("f%d", i), "")
	}
}

// A scanned is what the scan guarantee is about, for both structures.
type scanned interface {
	add(name string)
	remove(name string)
	scan(cursor uint64, count int, seen map[string]bool) uint64
}

type scannedHash struct{ *Hash }

func (h scannedHash) add(name string)    { h.Set(name, "") }
func (h scannedHash) remove(name string) { h.Delete(name) }
func (h scannedHash) scan(cursor uint64, count int, seen map[string]bool) uint64 {
	return h.Scan(cursor, count, func(name, _ string) { seen[name] = true })
}

type scannedZSet struct{ *ZSet }

func (z scannedZSet) add(name string)    { z.Set(name, float64(len(name))) }
func (z scannedZSet) remove(name string) { z.Delete(name) }
func (z scannedZSet) scan(cursor uint64, count int, seen map[string]bool) uint64 {
	return z.Scan(cursor, count, func(name string, _ float64) { seen[name] = true })
}

// Ensure that a scan finds everything that is there from its first call to its last, whatever is added
// and removed in between.
func TestScan_Guarantee(t *testing.T) {
	tests := map[string]func() scanned{
		"hash": func() scanned { return scannedHash{NewHash()} },
		"zset": func() scanned { return scannedZSet{NewZSet()} },
	}
	for name, empty := range tests {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { checkScan(t, empty()) })
		})
	}
}

func checkScan(t *rapid.T, s scanned) {
	present := map[string]bool{}
	for i := range rapid.IntRange(0, 900).Draw(t, "size") {
		name := fmt.Sprint(i)
		s.add(name)
		present[name] = true
	}
	throughout, seen := maps.Clone(present), map[string]bool{}
	for cursor, first := uint64(0), true; first || cursor != 0; first = false {
		cursor = s.scan(cursor, rapid.IntRange(1, 200).Draw(t, "count"), seen)
		if rapid.IntRange(0, 4).Draw(t, "enlarge") == 0 {
			if s, ok := s.(interface{ Enlarge() }); ok {
				s.Enlarge() // in the middle of a scan it must not lose anything
			}
		}
		from := rapid.IntRange(0, 1000).Draw(t, "from")
		for i := from; i < from+rapid.IntRange(0, 150).Draw(t, "removed"); i++ {
			s.remove(fmt.Sprint(i))
			delete(throughout, fmt.Sprint(i))
		}
		for i := range rapid.IntRange(0, 20).Draw(t, "added") {
			s.add(fmt.Sprint(from + i))
		}
	}
	for name := range throughout {
		require.True(t, seen[name], "%s was there all along and was not found", name)
	}
}
