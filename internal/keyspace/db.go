package keyspace

import (
	"iter"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/ds"
)

// A DB is one numbered database. A *DB stays the same database for as long as its Keyspace lives; SWAPDB
// and FLUSHDB change what is in it.
type DB struct {
	index int
	ks    *Keyspace
	store
}

// store is what SWAPDB swaps.
type store struct {
	dict dict
	ttls ttlHeap
}

// Index returns the number by which SELECT knows the database.
func (db *DB) Index() int { return db.index }

// Keyspace returns the databases that this one is of.
func (db *DB) Keyspace() *Keyspace { return db.ks }

// Len returns the number of keys, those included that have expired and have not been looked up since.
func (db *DB) Len() int { return db.dict.len() }

// Volatile returns how many of the keys have a ttl.
func (db *DB) Volatile() int { return db.ttls.n }

// Lookup returns the entry of key, nil if there is none at now, and notes the access.
func (db *DB) Lookup(key []byte, now clock.Instant) *Entry {
	db.ks.access = seconds(now)
	e := db.Peek(key, now)
	if e != nil {
		e.access = db.ks.access
	}
	return e
}

// Peek is Lookup for commands that ask about a key rather than use it: it leaves the access time alone.
func (db *DB) Peek(key []byte, now clock.Instant) *Entry {
	e := db.dict.find(key, hashOf(key))
	if e == nil || !db.Live(e, now) {
		return nil
	}
	return e
}

// Live reports whether e, an entry of this database, is still there at now; if not it is removed.
func (db *DB) Live(e *Entry, now clock.Instant) bool {
	if e.ttl == 0 || now.Before(db.ttls.deadline(e)) {
		return true
	}
	db.expire(e)
	return false
}

func (db *DB) expire(e *Entry) {
	db.Remove(e)
	if db.ks.Expired != nil {
		db.ks.Expired(db, e.Key())
	}
}

// SetBytes makes value the string value of key, whatever it was before, without a ttl. Both are copied.
func (db *DB) SetBytes(key, value []byte) *Entry {
	hash := hashOf(key)
	e := db.dict.find(key, hash)
	if e == nil {
		return db.add(key, hash, value, nil)
	}
	db.Overwrite(e, value)
	return e
}

// Insert is SetBytes for a key that is known to be absent, which Lookup has told.
func (db *DB) Insert(key, value []byte) *Entry { return db.add(key, hashOf(key), value, nil) }

// Overwrite is SetBytes for the key of e, an entry of this database.
func (db *DB) Overwrite(e *Entry, value []byte) {
	db.ttls.remove(e)
	e.SetBytes(value)
}

// SetHash makes h the value of key, whatever it was before, without a ttl.
func (db *DB) SetHash(key []byte, h *ds.Hash) *Entry {
	return db.setObject(key, &object{kind: KindHash, hash: h})
}

// SetZSet makes z the value of key, whatever it was before, without a ttl.
func (db *DB) SetZSet(key []byte, z *ds.ZSet) *Entry {
	return db.setObject(key, &object{kind: KindZSet, zset: z})
}

// SetSet makes s the value of key, whatever it was before, without a ttl.
func (db *DB) SetSet(key []byte, s *ds.Set) *Entry {
	return db.setObject(key, &object{kind: KindSet, set: s})
}

// SetList makes l the value of key, whatever it was before, without a ttl.
func (db *DB) SetList(key []byte, l *ds.List) *Entry {
	return db.setObject(key, &object{kind: KindList, list: l})
}

func (db *DB) setObject(key []byte, o *object) *Entry {
	hash := hashOf(key)
	e := db.dict.find(key, hash)
	if e == nil {
		return db.add(key, hash, nil, o)
	}
	db.Overwrite(e, nil)
	e.obj = o
	return e
}

// SetCopy makes an independent copy of the value of src, an entry of any database, the value of key,
// whatever it was before, without a ttl.
func (db *DB) SetCopy(key []byte, src *Entry) *Entry {
	if src.obj == nil {
		e := db.SetBytes(key, src.Bytes())
		e.form = src.form
		return e
	}
	return db.setObject(key, src.obj.clone())
}

// Move makes the value of src, an entry of this database, the value of key in dst, whatever it was before,
// and removes src. The ttl moves along. It is RENAME and MOVE: nothing is copied but the key and a string.
func (db *DB) Move(src *Entry, dst *DB, key []byte) *Entry {
	deadline, volatile := db.Deadline(src)
	db.Remove(src)
	var e *Entry
	if src.obj == nil {
		e = dst.SetBytes(key, src.Bytes())
		e.form = src.form
	} else {
		e = dst.setObject(key, src.obj)
	}
	if volatile {
		dst.SetDeadline(e, deadline)
	}
	return e
}

func (db *DB) add(key []byte, hash uint32, value []byte, o *object) *Entry {
	buf := make([]byte, 0, len(key)+len(value))
	buf = append(append(buf, key...), value...)
	e := &Entry{buf: buf, obj: o, klen: uint32(len(key)), hash: hash, access: db.ks.access}
	db.dict.insert(e)
	return e
}

// Delete removes key and reports whether it was there at now.
func (db *DB) Delete(key []byte, now clock.Instant) bool {
	e := db.Peek(key, now)
	if e == nil {
		return false
	}
	db.Remove(e)
	return true
}

// Remove removes e, an entry of this database.
func (db *DB) Remove(e *Entry) {
	db.ttls.remove(e)
	db.dict.remove(e)
}

// Flush removes all keys at once and returns how many there were. What they held is left to the garbage
// collector, so the time taken does not depend on it.
func (db *DB) Flush() int {
	n := db.Len()
	db.store = store{}
	return n
}

// Deadline returns when e expires; false if it has no ttl.
func (db *DB) Deadline(e *Entry) (clock.Instant, bool) {
	if e.ttl == 0 {
		return 0, false
	}
	return db.ttls.deadline(e), true
}

// SetDeadline makes e expire at deadline, which may have passed already.
func (db *DB) SetDeadline(e *Entry, deadline clock.Instant) { db.ttls.set(e, deadline) }

// Persist takes e's ttl away and reports whether it had one.
func (db *DB) Persist(e *Entry) bool {
	volatile := e.ttl != 0
	db.ttls.remove(e)
	return volatile
}

// Scan appends to found the entries that cursor stands for, those that have expired too, and returns the
// next cursor. A whole scan starts at 0 and has ended when 0 is returned. Every key that is there from
// the first call to the last is found at least once, whatever is added or removed between the calls; a key
// may be found more than once. Any number is a cursor; one that Scan did not return finds less.
func (db *DB) Scan(cursor uint64, found []*Entry) ([]*Entry, uint64) {
	next := db.dict.scan(cursor, func(e *Entry) { found = append(found, e) })
	return found, next
}

// All yields every entry that is there at now. The loop may remove the entry it is at and no other, and
// may add none.
func (db *DB) All(now clock.Instant) iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		db.dict.each(func(e *Entry) bool { return !db.Live(e, now) || yield(e) })
	}
}

// Random returns an entry that is there at now, each with the same chance; nil if there is none.
func (db *DB) Random(now clock.Instant) *Entry {
	for {
		e := db.dict.random()
		if e == nil || db.Live(e, now) {
			return e
		}
	}
}
