package server

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
)

// This file wakes whoever waits for a lock when its key goes away, for whatever reason: it was deleted by a
// client that knows nothing of queues, it expired, it was renamed, flushed, swapped away. On a node that is
// no Holdfast, only the lock's own scripts wake the next one; after anything else a waiter finds out by
// polling, or by the remaining ttl.
//
// The node knows of locks only how a queue looks, which package redlock defines (its keys.go and
// scripts/queue.lua; a test holds the two together): the queue of lock NAME is a sorted set called
// {NAME}:waiters, or NAME::waiters if NAME has a hash tag of its own. Its members are ID;DEADLINE, the
// deadline in milliseconds on the clock by which the scripts reckon. The message "ID NAME" goes to the channel
// holdfast:wake:CLIENT, CLIENT being what stands before the slash of ID.
//
// Modifications of a lock that somebody waits for are only noted. When the command, transaction or script that
// made them is over, the head of the queue is woken if the lock is not there any more and nobody has woken it:
// our own scripts do that themselves. Where nobody waits for any lock, this costs a comparison per
// modification.
//
// A lock that somebody waits for must also expire in time, not when somebody happens to look at it. As long as
// there is a queue, a timer runs to the next deadline of any key.

const (
	queueSuffix = ":waiters"
	wakePrefix  = "holdfast:wake:"
)

// A lockQueue is a lock that somebody waits for.
type lockQueue struct {
	db    int
	lock  string // its key
	key   string // the queue's
	noted bool   // is in lockWakes.noted
	gone  bool   // the lock has gone, and nobody has told those who wait
}

// lockWakes knows the queues of all databases. The execution lock guards it.
type lockWakes struct {
	dbs   []map[string]*lockQueue // by database and the lock's key
	n     int
	noted []*lockQueue // what settleLocks has to look at
	timer *time.Timer  // read by cron
	due   clock.Instant
}

func (w *lockWakes) init(databases int) {
	w.dbs = make([]map[string]*lockQueue, databases)
	w.timer = time.NewTimer(time.Hour)
	w.timer.Stop()
}

// changed is told of every modification of a key, after it.
func (w *lockWakes) changed(db *keyspace.DB, key []byte, now clock.Instant) {
	if isQueue(key) {
		w.changedQueue(db.Index(), key)
	}
	if w.n == 0 {
		return
	}
	if q := w.dbs[db.Index()][string(key)]; q != nil {
		w.note(q)
		q.gone = q.gone || db.Peek(key, now) == nil
	}
}

// expired is told of every key that has gone because its time was over.
func (w *lockWakes) expired(db int, key []byte) {
	if w.n == 0 {
		return
	}
	if q := w.dbs[db][string(key)]; q != nil {
		w.note(q)
		q.gone = true
	} else if isQueue(key) {
		w.changedQueue(db, key)
	}
}

func isQueue(key []byte) bool {
	// Most keys are told apart by their last byte.
	return len(key) > len(queueSuffix) && key[len(key)-1] == 's' && string(key[len(key)-len(queueSuffix):]) == queueSuffix
}

// changedQueue notes a queue that is new, was changed, or has gone.
func (w *lockWakes) changedQueue(db int, key []byte) {
	lock, ok := lockOfQueue(string(key))
	if !ok {
		return
	}
	q := w.dbs[db][lock]
	if q == nil {
		if w.dbs[db] == nil {
			w.dbs[db] = make(map[string]*lockQueue)
		}
		q = &lockQueue{db: db, lock: lock, key: string(key)}
		w.dbs[db][lock] = q
		w.n++
	}
	w.note(q)
}

func (w *lockWakes) note(q *lockQueue) {
	if !q.noted {
		q.noted = true
		w.noted = append(w.noted, q)
	}
}

// published is told of every message. Whoever wakes a waiter of a lock that has gone has done it for us.
func (w *lockWakes) published(db *keyspace.DB, channel, payload []byte) {
	if w.n == 0 || !bytes.HasPrefix(channel, []byte(wakePrefix)) {
		return
	}
	if _, lock, ok := bytes.Cut(payload, []byte(" ")); ok {
		if q := w.dbs[db.Index()][string(lock)]; q != nil {
			q.gone = false
		}
	}
}

// lockOfQueue returns the key of the lock whose queue has this key; false if it is no queue.
func lockOfQueue(key string) (lock string, ok bool) {
	base, ok := strings.CutSuffix(key, queueSuffix)
	if !ok {
		return "", false
	}
	if lock, ok := strings.CutSuffix(base, ":"); ok && hasHashTag(lock) {
		return lock, true
	}
	if last := len(base) - 1; last > 1 && base[0] == '{' && base[last] == '}' && !hasHashTag(base[1:last]) {
		return base[1:last], true
	}
	return "", false
}

// hasHashTag reports whether there is something between the first '{' of a key and the first '}' behind it,
// which a cluster hashes in place of the key.
func hasHashTag(key string) bool {
	_, rest, _ := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	return closed && tag != ""
}

// settleLocks wakes the heads of the queues whose lock has gone. It is called when nothing is under way that
// might put the lock back.
func (s *Server) settleLocks(now clock.Instant) {
	w := &s.wakes
	for i := 0; i < len(w.noted); i++ { // a look at a key may find that it has expired, and note a queue
		q := w.noted[i]
		s.settleLock(q, now)
		q.noted, q.gone = false, false
	}
	clear(w.noted)
	w.noted = w.noted[:0]
}

func (s *Server) settleLock(q *lockQueue, now clock.Instant) {
	w := &s.wakes
	if w.dbs[q.db][q.lock] != q {
		return // flushed meanwhile
	}
	db := s.keys.DB(q.db)
	lock := db.Peek([]byte(q.lock), now)
	queue := db.Peek([]byte(q.key), now)
	switch {
	case queue == nil || queue.ZSet() == nil:
		delete(w.dbs[q.db], q.lock)
		w.n--
	case lock != nil:
		if deadline, ok := db.Deadline(lock); ok {
			w.wakeBy(deadline)
		}
	case q.gone:
		s.wakeHead(q, db, queue, now)
	}
}

// wakeHead wakes the first in the queue who is alive and removes the dead before it.
func (s *Server) wakeHead(q *lockQueue, db *keyspace.DB, queue *keyspace.Entry, now clock.Instant) {
	z := queue.ZSet()
	ran := s.runningAt(now)
	for z.Len() > 0 {
		member, _ := z.At(0)
		id, alive := parseWaiter(member, ran)
		if alive {
			s.wakeWaiter(id, q.lock)
			return
		}
		z.Delete(member)
		s.dirty++
		s.watches.touch(q.db, []byte(q.key))
	}
	db.Remove(queue)
	delete(s.wakes.dbs[q.db], q.lock)
	s.wakes.n--
}

// parseWaiter cuts a member of a queue into the waiter's id and whether it is alive at now.
func parseWaiter(member string, now int64) (id string, alive bool) {
	i := strings.LastIndexByte(member, ';')
	if i < 0 {
		return "", false
	}
	deadline, err := strconv.ParseInt(member[i+1:], 10, 64)
	return member[:i], err == nil && deadline > now
}

func (s *Server) wakeWaiter(id, lock string) {
	client, _, _ := strings.Cut(id, "/")
	s.broker.Publish(wakePrefix+client, []byte(id+" "+lock))
}

// wakeAllOf wakes everybody who waits for a lock of a database that is about to lose its queues with all the
// rest: they have no place any more, and nothing else would tell them.
func (s *Server) wakeAllOf(db *keyspace.DB, now clock.Instant) {
	ran := s.runningAt(now)
	for _, q := range s.wakes.dbs[db.Index()] {
		queue := db.Peek([]byte(q.key), now)
		if queue == nil || queue.ZSet() == nil {
			continue
		}
		for member := range queue.ZSet().Ascend(0, queue.ZSet().Len()) {
			if id, alive := parseWaiter(member, ran); alive {
				s.wakeWaiter(id, q.lock)
			}
		}
	}
}

// flushingLocks is told that a database is about to be emptied.
func (s *Server) flushingLocks(db *keyspace.DB, now clock.Instant) {
	w := &s.wakes
	if w.n == 0 {
		return
	}
	s.wakeAllOf(db, now)
	w.n -= len(w.dbs[db.Index()])
	w.dbs[db.Index()] = nil
}

// swappingLocks is told that the contents of two databases are about to be exchanged. Those who wait are
// subscribed and ask again in the database where they were.
func (s *Server) swappingLocks(a, b *keyspace.DB, now clock.Instant) {
	w := &s.wakes
	if w.n == 0 {
		return
	}
	s.wakeAllOf(a, now)
	s.wakeAllOf(b, now)
	i, j := a.Index(), b.Index()
	w.dbs[i], w.dbs[j] = w.dbs[j], w.dbs[i]
	for _, db := range []int{i, j} {
		for _, q := range w.dbs[db] {
			q.db, q.gone = db, false
			w.note(q)
		}
	}
}

// wakePause is the shortest time from one expiry of locks to the next; wakeSlice bounds how long one takes.
// Together they leave most of the time to commands, whatever expires.
const (
	wakePause = time.Millisecond
	wakeSlice = expireSlice / expireShare
)

// wakeBy makes the timer run out at t, unless it does so before.
func (w *lockWakes) wakeBy(t clock.Instant) {
	if w.due == 0 || t.Before(w.due) {
		w.due = t
		w.timer.Reset(clock.Until(t))
	}
}

// expireLocks is called by cron when the timer has run out. Keys other than locks expire on the way: they share
// one heap, whose top tells when to come again.
func (s *Server) expireLocks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.wakes
	w.due = 0
	now := clock.Now()
	if !s.scripts.busy { // in the middle of a script keys neither come nor go
		s.keys.ExpireDue(now, wakeSlice)
		s.settleLocks(now)
	}
	if w.n == 0 {
		return
	}
	if next, ok := s.keys.NextDeadline(); ok {
		w.wakeBy(max(next, clock.Now().Add(wakePause)))
	}
}
