package keyspace

import (
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A Keyspace is the databases of one node.
type Keyspace struct {
	dbs []*DB
	// Expired, if set, is called after a key has been removed because its ttl had run out. It must neither
	// keep the key nor change the keyspace.
	Expired func(db *DB, key []byte)

	calendar calendar
	// access is the time of the latest lookup or cycle, for the access time of new entries.
	access uint32
}

// New returns a Keyspace of n empty databases.
func New(n int) *Keyspace {
	ks := &Keyspace{dbs: make([]*DB, n)}
	for i := range ks.dbs {
		ks.dbs[i] = &DB{index: i, ks: ks}
	}
	return ks
}

// DBs returns the number of databases.
func (ks *Keyspace) DBs() int { return len(ks.dbs) }

// DB returns database i, which must exist.
func (ks *Keyspace) DB(i int) *DB { return ks.dbs[i] }

// Swap exchanges what is in databases i and j.
func (ks *Keyspace) Swap(i, j int) {
	a, b := ks.dbs[i], ks.dbs[j]
	a.store, b.store = b.store, a.store
}

// Flush empties every database and returns how many keys there were.
func (ks *Keyspace) Flush() int {
	n := 0
	for _, db := range ks.dbs {
		n += db.Flush()
	}
	return n
}

// NextDeadline returns the earliest deadline of any key; false if no key has a ttl. It is what the caller
// of ExpireDue may sleep until.
func (ks *Keyspace) NextDeadline() (clock.Instant, bool) {
	var next clock.Instant
	found := false
	for _, db := range ks.dbs {
		if db.ttls.n == 0 {
			continue
		}
		if d := db.ttls.at(0).deadline; !found || d.Before(next) {
			next, found = d, true
		}
	}
	return next, found
}

// cycleBatch is how many keys ExpireDue removes between two looks at the clock.
const cycleBatch = 32

// ExpireCycle removes keys whose ttl has run out at now and then goes on with unfinished resizes, until
// there is nothing left to do or budget is used up. It returns how many keys it removed, and whether it
// left work behind. It costs nothing per key that has not expired.
func (ks *Keyspace) ExpireCycle(now clock.Instant, budget time.Duration) (removed int, more bool) {
	end := clock.Now().Add(budget)
	if removed, more = ks.expireDue(now, end); more {
		return removed, true
	}
	for _, db := range ks.dbs {
		for steps := 0; db.dict.resizing; steps++ {
			if steps%cycleBatch == cycleBatch-1 && !clock.Now().Before(end) {
				return removed, true
			}
			db.dict.step()
		}
	}
	return removed, false
}

// ExpireDue is ExpireCycle without the resizes.
func (ks *Keyspace) ExpireDue(now clock.Instant, budget time.Duration) (removed int, more bool) {
	return ks.expireDue(now, clock.Now().Add(budget))
}

func (ks *Keyspace) expireDue(now, end clock.Instant) (removed int, more bool) {
	ks.access = seconds(now)
	for _, db := range ks.dbs {
		for db.ttls.n > 0 && !now.Before(db.ttls.at(0).deadline) {
			if removed%cycleBatch == cycleBatch-1 && !clock.Now().Before(end) {
				return removed, true
			}
			db.expire(db.ttls.at(0).entry)
			removed++
		}
	}
	return removed, false
}
