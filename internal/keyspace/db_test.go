package keyspace

import (
	"fmt"
	"maps"
	"math"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/ds"
)

// modelEntry is a key in the model: a map in which nothing goes away by itself.
type modelEntry struct {
	value    string
	deadline clock.Instant // 0: none
}

// model is what a Keyspace should look like from outside.
type model struct {
	now     clock.Instant
	dbs     []map[string]modelEntry
	expired map[string]bool // by hook, "db/key"
}

func (m *model) get(db int, k string) (modelEntry, bool) {
	e, ok := m.dbs[db][k]
	if ok && e.deadline != 0 && e.deadline <= m.now {
		return modelEntry{}, false
	}
	return e, ok
}

// live returns what is there now.
func (m *model) live(db int) map[string]string {
	out := map[string]string{}
	for k := range m.dbs[db] {
		if e, ok := m.get(db, k); ok {
			out[k] = e.value
		}
	}
	return out
}

var (
	keys   = rapid.OneOf(rapid.SampledFrom([]string{"", "a", "b", "\x00", "\r\n", "a\x00"}), rapid.Map(rapid.IntRange(0, 40), func(i int) string { return fmt.Sprint(i) }))
	values = rapid.OneOf(rapid.StringN(0, 4, -1), rapid.SampledFrom([]string{string(make([]byte, 300))}))
)

// Ensure that a keyspace is a map per database with deadlines, whatever is done to it in whatever order,
// and that its hook is told of every key that has expired and of no other.
func TestKeyspace_Model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ks := New(3)
		m := &model{now: 1000, expired: map[string]bool{}}
		for range 3 {
			m.dbs = append(m.dbs, map[string]modelEntry{})
		}
		ks.Expired = func(db *DB, k []byte) {
			e, ok := m.dbs[db.Index()][string(k)]
			assert.True(t, ok, "%q expired but was not there", k)
			assert.NotZero(t, e.deadline)
			assert.LessOrEqual(t, e.deadline, m.now)
			delete(m.dbs[db.Index()], string(k))
		}
		pick := func(t *rapid.T) (int, *DB, string) {
			i := rapid.IntRange(0, 2).Draw(t, "db")
			return i, ks.DB(i), keys.Draw(t, "key")
		}
		// found looks a key up in both and compares.
		found := func(t *rapid.T, i int, k string) *Entry {
			want, ok := m.get(i, k)
			e := ks.DB(i).Lookup([]byte(k), m.now)
			require.Equal(t, ok, e != nil, "%q", k)
			if e == nil {
				return nil
			}
			require.Equal(t, k, string(e.Key()))
			require.Equal(t, want.value, string(e.Bytes()))
			deadline, volatile := ks.DB(i).Deadline(e)
			require.Equal(t, want.deadline != 0, volatile)
			require.Equal(t, want.deadline, deadline)
			return e
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				i, db, k := pick(t)
				v := values.Draw(t, "value")
				switch e := found(t, i, k); {
				case rapid.Bool().Draw(t, "by key"):
					db.SetBytes([]byte(k), []byte(v))
				case e == nil:
					db.Insert([]byte(k), []byte(v))
				default:
					db.Overwrite(e, []byte(v))
				}
				m.dbs[i][k] = modelEntry{value: v}
			},
			"fill": func(t *rapid.T) {
				i, db, _ := pick(t)
				for n := range rapid.IntRange(0, 300).Draw(t, "n") {
					k := fmt.Sprint(n)
					found(t, i, k)
					db.SetBytes([]byte(k), []byte("x"))
					m.dbs[i][k] = modelEntry{value: "x"}
				}
			},
			"change in place": func(t *rapid.T) {
				i, _, k := pick(t)
				if e := found(t, i, k); e != nil {
					was := m.dbs[i][k]
					v := values.Draw(t, "value")
					switch rapid.IntRange(0, 2).Draw(t, "how") {
					case 0:
						e.SetBytes([]byte(v))
						was.value = v
					case 1:
						e.Append([]byte(v))
						was.value += v
					case 2:
						at := rapid.IntRange(0, 10).Draw(t, "at")
						e.WriteAt([]byte(v), at)
						padded := was.value + string(make([]byte, max(0, at+len(v)-len(was.value))))
						was.value = padded[:at] + v + padded[at+len(v):]
					}
					m.dbs[i][k] = was
				}
			},
			"delete": func(t *rapid.T) {
				i, db, k := pick(t)
				_, ok := m.get(i, k)
				require.Equal(t, ok, db.Delete([]byte(k), m.now))
				if ok {
					delete(m.dbs[i], k)
				}
			},
			"expire": func(t *rapid.T) {
				i, db, k := pick(t)
				if e := found(t, i, k); e != nil {
					d := m.now.Add(time.Duration(rapid.IntRange(-5, 30).Draw(t, "ttl")))
					db.SetDeadline(e, d)
					m.dbs[i][k] = modelEntry{m.dbs[i][k].value, d}
				}
			},
			"persist": func(t *rapid.T) {
				i, db, k := pick(t)
				if e := found(t, i, k); e != nil {
					require.Equal(t, m.dbs[i][k].deadline != 0, db.Persist(e))
					m.dbs[i][k] = modelEntry{value: m.dbs[i][k].value}
				}
			},
			"move": func(t *rapid.T) {
				i, db, k := pick(t)
				j, dst, to := pick(t)
				if e := found(t, i, k); e != nil && (i != j || k != to) {
					found(t, j, to)
					db.Move(e, dst, []byte(to))
					m.dbs[j][to] = m.dbs[i][k]
					delete(m.dbs[i], k)
				}
			},
			"copy": func(t *rapid.T) {
				i, _, k := pick(t)
				j, dst, to := pick(t)
				if e := found(t, i, k); e != nil && (i != j || k != to) {
					found(t, j, to)
					dst.SetCopy([]byte(to), e)
					m.dbs[j][to] = modelEntry{value: m.dbs[i][k].value}
				}
			},
			"swap": func(t *rapid.T) {
				i, j := rapid.IntRange(0, 2).Draw(t, "i"), rapid.IntRange(0, 2).Draw(t, "j")
				ks.Swap(i, j)
				m.dbs[i], m.dbs[j] = m.dbs[j], m.dbs[i]
			},
			"flush": func(t *rapid.T) {
				i, db, _ := pick(t)
				require.Equal(t, len(m.dbs[i]), db.Flush())
				clear(m.dbs[i])
			},
			"time passes": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "by")))
			},
			"cycle": func(t *rapid.T) {
				due := 0
				for i := range m.dbs {
					due += len(m.dbs[i]) - len(m.live(i))
				}
				cycle := ks.ExpireCycle
				if rapid.Bool().Draw(t, "due only") {
					cycle = ks.ExpireDue
				}
				removed, more := cycle(m.now, time.Minute)
				require.Equal(t, due, removed)
				require.False(t, more)
			},
			"next deadline": func(t *rapid.T) {
				var want clock.Instant
				for _, db := range m.dbs {
					for _, e := range db {
						if e.deadline != 0 && (want == 0 || e.deadline < want) {
							want = e.deadline
						}
					}
				}
				got, ok := ks.NextDeadline()
				require.Equal(t, want != 0, ok)
				require.Equal(t, want, got)
			},
			"random": func(t *rapid.T) {
				i, db, _ := pick(t)
				e := db.Random(m.now)
				require.Equal(t, len(m.live(i)) > 0, e != nil)
				if e != nil {
					found(t, i, string(e.Key()))
				}
			},
			"all": func(t *rapid.T) {
				i, db, _ := pick(t)
				want, got := m.live(i), map[string]string{}
				for e := range db.All(m.now) {
					require.NotContains(t, got, string(e.Key()), "found twice")
					got[string(e.Key())] = string(e.Bytes())
				}
				require.True(t, maps.Equal(want, got))
			},
			"all, deleting": func(t *rapid.T) {
				i, db, _ := pick(t)
				want, n := m.live(i), 0
				for e := range db.All(m.now) {
					n++
					if len(e.Key()) == 1 {
						db.Remove(e)
						delete(m.dbs[i], string(e.Key()))
					}
				}
				require.Len(t, want, n)
			},
			"": func(t *rapid.T) {
				for i, want := range m.dbs {
					require.Equal(t, len(want), ks.DB(i).Len())
					checkDict(t, ks.DB(i))
				}
			},
		})
	})
}

// Ensure that values of other kinds replace strings and each other, share nothing when they are copied,
// and move without being copied.
func TestDB_Kinds(t *testing.T) {
	db := newDB()
	k, other := []byte("k"), []byte("other")
	h, z := ds.NewHash(), ds.NewZSet()
	h.Set("f", "v")
	z.Set("m", 1)

	e := db.SetBytes(k, []byte("string"))
	db.SetDeadline(e, 5)
	assert.Equal(t, KindString, e.Kind())
	assert.Nil(t, e.Hash())
	assert.Nil(t, e.ZSet())

	e = db.SetHash(k, h)
	assert.Equal(t, "hash", e.Kind().String())
	assert.Empty(t, e.Bytes())
	_, volatile := db.Deadline(e)
	assert.False(t, volatile)
	copied := db.SetCopy(other, e)
	copied.Hash().Set("f", "changed")
	v, _ := h.Get("f")
	assert.Equal(t, "v", v)
	assert.Nil(t, e.ZSet())

	e = db.SetZSet(k, z)
	assert.Equal(t, "zset", e.Kind().String())
	db.SetCopy(other, e).ZSet().Set("m", 2)
	score, _ := z.Score("m")
	assert.Equal(t, 1.0, score)
	assert.Nil(t, e.Hash())
	assert.Same(t, z, db.Move(e, db, other).ZSet())
	assert.Nil(t, db.Peek(k, 1))

	e = db.SetBytes(other, []byte("string again"))
	assert.Equal(t, "string", e.Kind().String())
	assert.Nil(t, e.ZSet())
	assert.Equal(t, 1, db.Len())
}

// Ensure that an entry fits the allocation that its layout was made for, the version to come included.
func TestEntry_Size(t *testing.T) {
	var e Entry
	assert.LessOrEqual(t, unsafe.Offsetof(e.form)+unsafe.Sizeof(e.form)+unsafe.Sizeof(uint32(0)), uintptr(64))
}

// Ensure that a large value does not stay in memory after a small one has taken its place.
func TestEntry_GivesMemoryBack(t *testing.T) {
	db := newDB()
	e := db.SetBytes([]byte("k"), make([]byte, 1<<20))
	db.SetBytes([]byte("k"), []byte("small"))
	assert.Less(t, cap(e.buf), 200)
	e.WriteAt(make([]byte, 1<<20), 0)
	e.SetBytes(nil)
	assert.Less(t, cap(e.buf), 200)
}

// Ensure that looking a key up counts as an access and asking about it does not.
func TestEntry_Idle(t *testing.T) {
	db := newDB()
	at := func(seconds int) clock.Instant { return clock.Instant(time.Duration(seconds) * time.Second) }
	k := []byte("k")
	db.Lookup(k, at(100))
	db.SetBytes(k, nil)
	assert.EqualValues(t, 0, db.Peek(k, at(100)).Idle(at(100)))
	assert.EqualValues(t, 7, db.Peek(k, at(107)).Idle(at(107)))
	assert.EqualValues(t, 9, db.Peek(k, at(109)).Idle(at(109)))
	db.Lookup(k, at(109))
	assert.EqualValues(t, 1, db.Peek(k, at(110)).Idle(at(110)))
}

// Ensure that the cycle stops when its time is over, says that it did, and goes on the next time.
func TestExpireCycle_Budget(t *testing.T) {
	ks := New(2)
	const n = 1000
	for i := range n {
		db := ks.DB(i % 2)
		db.SetDeadline(db.SetBytes(key(i), nil), 5)
	}
	removed, more := ks.ExpireCycle(4, time.Minute)
	assert.Zero(t, removed)
	assert.False(t, more)
	total, calls := 0, 0
	for more = true; more; calls++ {
		cycle := ks.ExpireCycle
		if calls%2 == 0 {
			cycle = ks.ExpireDue
		}
		removed, more = cycle(5, 0)
		assert.LessOrEqual(t, removed, cycleBatch)
		total += removed
	}
	assert.Equal(t, n, total)
	assert.Greater(t, calls, n/cycleBatch)
	assert.Zero(t, ks.DB(0).Len()+ks.DB(1).Len())
	_, ok := ks.NextDeadline()
	assert.False(t, ok)
}

// Ensure that the cycle finishes a resize that nobody's operations push on, and that expiring by itself does not.
func TestExpireCycle_Resizes(t *testing.T) {
	ks := New(1)
	db := ks.DB(0)
	for i := 0; !db.dict.resizing || i < 5000; i++ {
		db.SetBytes(key(i), nil)
	}
	ks.ExpireDue(1, time.Minute)
	assert.True(t, db.dict.resizing)
	ks.ExpireCycle(1, time.Minute)
	assert.False(t, db.dict.resizing)
}

// Ensure that a moment on the wall clock comes back from the running clock as the millisecond that it
// was, however often it is asked for, and that a jump of the wall clock moves the answer and no deadline.
func TestCalendar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ks := New(1)
		start := clock.Wall().UnixMilli()
		deadlines := map[int64]clock.Instant{}
		for _, ms := range []int64{start, start - 1, start + 1, start + 123_457, 1, -5, 7_000_000_000_499} {
			deadlines[ms] = ks.Deadline(ms)
		}
		for range 100 {
			time.Sleep(12_345_678 * time.Nanosecond)
			for ms, d := range deadlines {
				require.Equal(t, ms, ks.UnixMilli(d))
				require.Equal(t, d, ks.Deadline(ms))
			}
		}
		for _, ms := range []int64{math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 / 1000, math.MaxInt64 / 1_000_000} {
			assert.Greater(t, ks.Deadline(ms).Sub(clock.Now()), 100*365*24*time.Hour, "never, for all that anybody will see")
		}
		assert.Less(t, ks.Deadline(math.MinInt64), clock.Now())
		at := ks.Deadline(clock.Wall().UnixMilli() + 8000)
		assert.InDelta(t, 8*time.Second, at.Sub(clock.Now()), float64(time.Millisecond+tolerance))

		ks.calendar.offset += time.Hour // as if the wall clock had been an hour ahead until now
		for ms, d := range deadlines {
			assert.Equal(t, ms, ks.UnixMilli(d))
		}
		assert.InDelta(t, 0, ks.calendar.offset-distance(), float64(tolerance))
	})
}

// Ensure that what an instant cannot hold is cut, not wrapped around into the past.
func TestCalendar_Far(t *testing.T) {
	ks := New(1)
	now := clock.Now()
	for _, ms := range []int64{1 << 62, 1<<63 - 1, 99_999_999_999_000} {
		assert.Greater(t, ks.Deadline(ms).Sub(now), 150*365*24*time.Hour, "%d", ms)
		assert.Greater(t, After(now, ms).Sub(now), 150*365*24*time.Hour, "%d", ms)
	}
	for _, ms := range []int64{-1 << 63, -1 << 62, -99_999_999_999_000} {
		assert.Less(t, ks.Deadline(ms), now, "%d", ms)
		assert.Less(t, After(now, ms), now, "%d", ms)
	}
	assert.Equal(t, now.Add(1500*time.Millisecond), After(now, 1500))
	assert.Equal(t, now.Add(-time.Millisecond), After(now, -1))
}
