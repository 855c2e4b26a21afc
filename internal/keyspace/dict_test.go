package keyspace

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

func newDB() *DB { return New(1).DB(0) }

func key(i int) []byte { return fmt.Appendf(nil, "key:%d", i) }

// checkDict checks what the table promises about its counts, its chains and the deadlines of its entries.
func checkDict(t require.TestingT, db *DB) {
	d := &db.dict
	volatile := 0
	for i := range d.tables {
		tab := &d.tables[i]
		n := 0
		for b := range tab.size() {
			for e := tab.first(b); e != nil; e = e.next {
				n++
				require.Equal(t, b, uint64(e.hash)&tab.mask)
				require.Equal(t, hashOf(e.Key()), e.hash)
				if e.ttl != 0 {
					volatile++
					require.Same(t, e, db.ttls.at(int(e.ttl)-1).entry)
				}
				if i == 0 && d.resizing {
					require.GreaterOrEqual(t, b, d.moved)
				}
			}
		}
		require.Equal(t, tab.used, n)
	}
	require.Equal(t, db.ttls.n, volatile)
	for i := 1; i < db.ttls.n; i++ {
		require.False(t, db.ttls.at(i).deadline.Before(db.ttls.at((i-1)/heapArity).deadline))
	}
	if !d.resizing {
		require.Zero(t, d.tables[1].used)
		require.Nil(t, d.tables[1].segments)
	}
}

// Ensure that a scan finds every key that is there from its first call to its last, whatever is added,
// deleted and expires in between, and however often the table grows and shrinks meanwhile.
func TestScan_Guarantee(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		db, now := newDB(), clock.Instant(1)
		top := rapid.SampledFrom([]int{4, 60, 700, 5000}).Draw(t, "top")
		present := map[string]bool{}
		set := func(i int, volatile bool) {
			e := db.SetBytes(key(i), nil)
			present[string(key(i))] = true
			if volatile {
				db.SetDeadline(e, now.Add(1))
				delete(present, string(key(i)))
			}
		}
		for i := range rapid.IntRange(0, top).Draw(t, "size") {
			set(i, false)
		}
		throughout := map[string]bool{}
		for k := range present {
			throughout[k] = true
		}
		seen, cursor, resizes := map[string]bool{}, uint64(0), 0
		var found []*Entry
		for calls := 0; calls == 0 || cursor != 0; calls++ {
			require.Less(t, calls, 200_000, "the scan does not end")
			found, cursor = db.Scan(cursor, found[:0])
			for _, e := range found {
				if db.Live(e, now) {
					seen[string(e.Key())] = true
				}
			}
			if calls%rapid.IntRange(1, 40).Draw(t, "pause") != 0 || resizes > 30 {
				continue
			}
			resizes++
			from := rapid.IntRange(0, top).Draw(t, "from")
			n := rapid.IntRange(0, top).Draw(t, "n")
			switch rapid.IntRange(0, 3).Draw(t, "change") {
			case 0: // grow, with keys that nothing is promised about
				for i := range n {
					set(top+from+i, false)
				}
			case 1: // shrink
				for i := from; i < from+n; i++ {
					db.Delete(key(i), now)
					delete(throughout, string(key(i)))
					delete(present, string(key(i)))
				}
			case 2: // shrink by expiry
				for i := from; i < from+n; i++ {
					if present[string(key(i))] {
						set(i, true)
						delete(throughout, string(key(i)))
					}
				}
				now = now.Add(2)
			case 3:
				db.Peek(key(from), now)
			}
		}
		for k := range throughout {
			require.True(t, seen[k], "%s was there all along and was not found", k)
		}
		checkDict(t, db)
	})
}

// Ensure that any number is a cursor: the scan ends.
func TestScan_ForeignCursor(t *testing.T) {
	db := newDB()
	for i := range 100 {
		db.SetBytes(key(i), nil)
	}
	for range 1000 {
		cursor := rand.Uint64()
		for calls := 0; ; calls++ {
			require.Less(t, calls, 1000)
			if _, cursor = db.Scan(cursor, nil); cursor == 0 {
				break
			}
		}
	}
}

// Ensure that growth and shrinking happen in small steps: no single operation moves more than one chain,
// and the old table is gone when the new one has everything.
func TestDict_Incremental(t *testing.T) {
	db := newDB()
	const n = 50_000
	resizes, was := 0, false
	watch := func(op func()) {
		left := db.dict.tables[0].used
		op()
		if db.dict.resizing && was {
			assert.LessOrEqual(t, left-db.dict.tables[0].used, 40)
		}
		if db.dict.resizing && !was {
			resizes++
		}
		was = db.dict.resizing
	}
	for i := range n {
		watch(func() { db.SetBytes(key(i), nil) })
	}
	grown := resizes
	assert.GreaterOrEqual(t, grown, 12)
	for i := range n - 5 {
		watch(func() { db.Delete(key(i), 1) })
	}
	assert.Greater(t, resizes, grown+2)
	for range n {
		db.Peek(nil, 1)
	}
	assert.False(t, db.dict.resizing)
	assert.LessOrEqual(t, db.dict.tables[0].size(), uint64(5*sparse*sparse))
	checkDict(t, db)
}

// Ensure that every key is as likely to be picked at random, also while the table is being resized and
// after most of it has been deleted.
func TestRandom_Fair(t *testing.T) {
	tests := map[string]struct{ added, kept int }{
		"settled":        {64, 64},
		"while resizing": {129, 129},
		"sparse":         {5000, 20},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			db := newDB()
			for i := range tt.added {
				db.SetBytes(key(i), nil)
			}
			for i := tt.kept; i < tt.added; i++ {
				db.Delete(key(i), 1)
			}
			const perKey = 1000
			picks := map[string]int{}
			for range tt.kept * perKey {
				picks[string(db.Random(1).Key())]++
			}
			require.Len(t, picks, tt.kept)
			for k, n := range picks {
				// Eight standard deviations: a fair pick fails this once in 10^15 keys.
				assert.InDelta(t, perKey, n, 8*32, k)
			}
		})
	}
}

// Ensure that a random pick from a huge table with next to nothing in it ends and finds what there is.
func TestRandom_AlmostEmpty(t *testing.T) {
	db := newDB()
	assert.Nil(t, db.Random(1))
	db.dict.tables[0] = newTable(1 << 20)
	db.SetBytes([]byte("only"), nil)
	for range 20 {
		assert.Equal(t, "only", string(db.Random(1).Key()))
	}
}

func BenchmarkSetBytes_New(b *testing.B) {
	db, value, k := newDB(), make([]byte, 32), make([]byte, 16)
	for i := 0; b.Loop(); i++ {
		db.SetBytes(fmt.Appendf(k[:0], "key:%012d", i%1_000_000), value)
	}
}

func BenchmarkLookup(b *testing.B) {
	db, value, k := newDB(), make([]byte, 32), make([]byte, 16)
	const n = 1 << 20
	for i := range n {
		db.SetBytes(fmt.Appendf(k[:0], "key:%012d", i), value)
	}
	keys := make([][]byte, 4096)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key:%012d", rand.IntN(n))
	}
	for i := 0; b.Loop(); i++ {
		if db.Lookup(keys[i%len(keys)], 1) == nil {
			b.Fatal("lost")
		}
	}
}
