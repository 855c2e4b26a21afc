package server

import (
	"bytes"
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
// What has the name of a queue and looks otherwise is somebody's own and left alone.
//
// Modifications of a lock that somebody waits for are only noted. When the command, transaction or script that
// made them is over, the head of the queue is woken if the lock is not there any more and nobody has woken it:
// our own scripts do that themselves. Where nobody waits for any lock, this costs a comparison per
// modification.
//
// Two things happen in time, not when somebody looks: a lock that somebody waits for expires; and while it is
// free, a head whose deadline passes, since it did not take its turn, is followed by the next. As long as there
// is a queue, a timer runs to the first of these, which for expiries is the next deadline of any key.

// A lockQueue is a lock that somebody waits for.
type lockQueue struct {
	db      int
	lock    string // its key
	key     string // the queue's
	readers string // the key of those who share the lock
	noted   bool   // is in lockWakes.noted
	gone    bool   // the lock has gone, and nobody has told those who wait
}

// lockWakes knows the queues of all databases. The execution lock guards it.
type lockWakes struct {
	dbs   []map[string]*lockQueue // by database and the lock's key
	n     int
	noted []*lockQueue        // what settleLocks has to look at
	free  map[*lockQueue]bool // locks that are nobody's, while the head of the queue has its turn
	timer *time.Timer         // read by cron
	due   clock.Instant
}

func (w *lockWakes) init(databases int) {
	w.dbs = make([]map[string]*lockQueue, databases)
	w.free = make(map[*lockQueue]bool)
	w.timer = time.NewTimer(time.Hour)
	w.timer.Stop()
}

// changed is told of every modification of a key, after it.
func (w *lockWakes) changed(db *keyspace.DB, key []byte, now clock.Instant) {
	if hasSuffix(key, queueSuffix) {
		w.changedQueue(db.Index(), key)
	}
	if w.n == 0 {
		return
	}
	if q := w.find(db.Index(), key); q != nil {
		w.note(q)
		q.gone = q.gone || db.Peek(key, now) == nil
	}
}

// expired is told of every key that has gone because its time was over.
func (w *lockWakes) expired(db int, key []byte) {
	if w.n == 0 {
		return
	}
	if q := w.find(db, key); q != nil {
		w.note(q)
		q.gone = true
	} else if hasSuffix(key, queueSuffix) {
		w.changedQueue(db, key)
	}
}

// find returns the queue of those who wait for this key, the lock's or the readers', to go.
func (w *lockWakes) find(db int, key []byte) *lockQueue {
	if q := w.dbs[db][string(key)]; q != nil {
		return q
	}
	if hasSuffix(key, readersSuffix) {
		if lock, ok := lockOf(string(key), readersSuffix); ok {
			return w.dbs[db][lock]
		}
	}
	return nil
}

// changedQueue notes a queue that is new, was changed, or has gone.
func (w *lockWakes) changedQueue(db int, key []byte) {
	lock, ok := lockOf(string(key), queueSuffix)
	if !ok {
		return
	}
	q := w.dbs[db][lock]
	if q == nil {
		if w.dbs[db] == nil {
			w.dbs[db] = make(map[string]*lockQueue)
		}
		q = &lockQueue{db: db, lock: lock, key: string(key)}
		q.readers = strings.TrimSuffix(q.key, queueSuffix) + readersSuffix
		w.dbs[db][lock] = q
		w.n++
	}
	w.note(q)
}

// forget is for a queue that is not there any more.
func (w *lockWakes) forget(q *lockQueue) {
	delete(w.dbs[q.db], q.lock)
	delete(w.free, q)
	w.n--
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
	queue := db.Peek([]byte(q.key), now)
	if queue == nil || queue.ZSet() == nil {
		w.forget(q)
		return
	}
	head := s.headOf(queue, now)
	lock, readers := db.Peek([]byte(q.lock), now), db.Peek([]byte(q.readers), now)
	held := lock
	if held == nil && readers != nil && !head.shared {
		held = readers
	}
	if held != nil {
		delete(w.free, q)
		if deadline, ok := db.Deadline(held); ok {
			w.wakeBy(deadline)
		}
		return
	}
	if q.gone || head.ours && !head.alive {
		head = s.wakeHead(q, db, queue, now)
	}
	if !head.alive {
		delete(w.free, q)
		return
	}
	w.free[q] = true
	w.wakeBy(s.instantOf(head.deadline, now))
}

// wakeHead wakes the first in the queue who is alive, and returns it. The dead before it are removed.
func (s *Server) wakeHead(q *lockQueue, db *keyspace.DB, queue *keyspace.Entry, now clock.Instant) lockWaiter {
	for queue.ZSet().Len() > 0 {
		head := s.headOf(queue, now)
		if head.alive {
			s.wakeWaiter(head.id, q.lock)
		}
		if head.alive || !head.ours {
			return head
		}
		queue.ZSet().Delete(head.member)
		s.dirty++
		s.watches.touch(q.db, []byte(q.key))
	}
	db.Remove(queue)
	s.wakes.forget(q)
	return lockWaiter{}
}

// headOf returns the first member of a queue.
func (s *Server) headOf(queue *keyspace.Entry, now clock.Instant) lockWaiter {
	member, _ := queue.ZSet().At(0)
	return parseLockWaiter(member, s.runningAt(now))
}

// instantOf returns when redis.running() will say ms. What is more than an hour ahead is looked at in an hour.
func (s *Server) instantOf(ms int64, now clock.Instant) clock.Instant {
	ahead := min(ms-s.runningAt(now), time.Hour.Milliseconds())
	if ahead == time.Hour.Milliseconds() {
		return now.Add(time.Hour)
	}
	return s.start.Add(time.UnixMilli(ms).Sub(s.began))
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
			if w := parseLockWaiter(member, ran); w.alive {
				s.wakeWaiter(w.id, q.lock)
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
	for _, q := range w.dbs[db.Index()] {
		w.forget(q)
	}
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
	busyPause = 10 * time.Millisecond // until the next look whether a slow script has ended
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
	if s.scripts.busy { // in the middle of a script keys neither come nor go
		w.wakeBy(now.Add(busyPause))
		return
	}
	s.keys.ExpireDue(now, wakeSlice)
	for q := range w.free {
		w.note(q)
	}
	s.settleLocks(now)
	if w.n == 0 {
		return
	}
	if next, ok := s.keys.NextDeadline(); ok {
		w.wakeBy(max(next, clock.Now().Add(wakePause)))
	}
}
