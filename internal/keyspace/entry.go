package keyspace

import (
	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/ds"
)

// A Kind is the type of a value, in the sense of the command TYPE.
type Kind uint8

// The kinds that exist.
const (
	KindString Kind = iota
	KindHash
	KindZSet
	KindSet
	KindList
)

// String returns the word that TYPE answers and SCAN's TYPE option takes.
func (k Kind) String() string {
	switch k {
	case KindHash:
		return "hash"
	case KindZSet:
		return "zset"
	case KindSet:
		return "set"
	case KindList:
		return "list"
	default:
		return "string"
	}
}

// An Entry is one key and its value.
//
// A million small entries are what most of a node's memory is, so the layout counts: key and string value
// share one buffer, everything but strings hangs from one pointer, and the deadline lives in the database's
// heap. The struct takes 64 bytes, of which 4 are left for the version that snapshots need.
type Entry struct {
	next *Entry
	buf  []byte // the key, then (for a string) the value
	obj  *object
	klen uint32
	hash uint32
	ttl  uint32 // position in the heap of deadlines plus 1; 0 if the key has no ttl
	// access is when a command last looked the key up, in seconds of the running clock.
	access uint32
	form   Form
}

// A Form is what is known about a string value beyond its bytes, which OBJECT ENCODING tells.
type Form uint8

const (
	FormPlain    Form = iota // set as a whole
	FormComputed             // the text of a floating point number, even if it reads like an integer
	FormEdited               // grown or overwritten in place
)

// object is a value that is not a string; exactly one field is set.
type object struct {
	kind Kind
	hash *ds.Hash
	zset *ds.ZSet
	set  *ds.Set
	list *ds.List
}

// clone returns an independent copy.
func (o *object) clone() *object {
	c := &object{kind: o.kind}
	switch o.kind {
	case KindHash:
		c.hash = o.hash.Clone()
	case KindZSet:
		c.zset = o.zset.Clone()
	case KindSet:
		c.set = o.set.Clone()
	case KindList:
		c.list = o.list.Clone()
	}
	return c
}

// Key returns the key. The slice is the entry's own: it must be neither changed nor kept.
func (e *Entry) Key() []byte { return e.buf[:e.klen:e.klen] }

// Kind returns the type of the value.
func (e *Entry) Kind() Kind {
	if e.obj == nil {
		return KindString
	}
	return e.obj.kind
}

// Bytes returns the value of a string entry, and nothing for other kinds. The slice is the entry's own: it
// must be neither changed nor kept beyond the next write.
func (e *Entry) Bytes() []byte { return e.buf[e.klen:] }

// Hash returns the value if it is a hash, else nil. Changes to it are changes to the entry.
func (e *Entry) Hash() *ds.Hash {
	if e.obj == nil {
		return nil
	}
	return e.obj.hash
}

// ZSet returns the value if it is a sorted set, else nil. Changes to it are changes to the entry.
func (e *Entry) ZSet() *ds.ZSet {
	if e.obj == nil {
		return nil
	}
	return e.obj.zset
}

// Set returns the value if it is a set, else nil. Changes to it are changes to the entry.
func (e *Entry) Set() *ds.Set {
	if e.obj == nil {
		return nil
	}
	return e.obj.set
}

// List returns the value if it is a list, else nil. Changes to it are changes to the entry.
func (e *Entry) List() *ds.List {
	if e.obj == nil {
		return nil
	}
	return e.obj.list
}

// Idle returns for how long no command has looked the key up, in whole seconds of the running clock.
func (e *Entry) Idle(now clock.Instant) int64 { return int64(seconds(now)) - int64(e.access) }

// Form returns the form of a string value.
func (e *Entry) Form() Form { return e.form }

// SetComputed makes value, which is the text of a floating point number, the entry's value. A ttl stays.
func (e *Entry) SetComputed(value []byte) {
	e.SetBytes(value)
	e.form = FormComputed
}

// slack is how much of its buffer an entry may leave unused after an overwrite before it is given a new one.
const slack = 64

// SetBytes makes value, which is copied, the entry's value. A ttl stays.
func (e *Entry) SetBytes(value []byte) {
	size := int(e.klen) + len(value)
	if spare := cap(e.buf) - size; spare < 0 || spare > size+slack {
		key := e.Key()
		e.buf = make([]byte, 0, size)
		e.buf = append(e.buf, key...)
	}
	e.buf = append(e.buf[:e.klen], value...)
	e.obj = nil
	e.form = FormPlain
}

// Append appends data to the value of a string entry.
func (e *Entry) Append(data []byte) {
	e.buf = append(e.buf, data...)
	e.form = FormEdited
}

// WriteAt overwrites the value of a string entry from byte offset on, padding with zero bytes up to it.
func (e *Entry) WriteAt(data []byte, offset int) {
	from := int(e.klen) + offset
	if grow := from + len(data) - len(e.buf); grow > 0 {
		e.buf = append(e.buf, make([]byte, grow)...)
	}
	copy(e.buf[from:], data)
	e.form = FormEdited
}

// Edit returns the value of a string entry for a change in place, which may not alter its length. The slice
// is good until the next write.
func (e *Entry) Edit() []byte {
	e.form = FormEdited
	return e.buf[e.klen:]
}

// seconds is the resolution of an entry's access time. It wraps after 136 years of uptime.
func seconds(t clock.Instant) uint32 { return uint32(t / 1e9) }
