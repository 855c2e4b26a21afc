package server

import (
	"errors"
	"math/big"
	"os"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// This file is how a command waits for a key. Its handler, which must not wait, calls block; the session
// then executes nothing until it is released. Every modification of a key that somebody waits for makes the
// key ready, and when the command, transaction or script that did it is over, those who wait for it are
// served: key by key in the order in which they became ready, and for each key in the order in which the
// sessions came.

// A waiter is a command that waits. The execution lock guards it.
type waiter struct {
	session  *session
	cmd      *command
	args     [][]byte // its own copy of the words
	db       int
	keys     []blockedKey
	deadline clock.Instant // 0 if it waits for as long as it takes
	waiting
	reply resp.Writer // what the client gets when it is released
}

// waiting is what a command says about its wait.
type waiting struct {
	kind keyspace.Kind // of the values that it waits for
	// serve is called when key was modified and is of that kind. It does what the command does, or returns
	// false if this is not yet what the command waits for.
	serve func(c *Call, key []byte) (served bool, err error)
	// timedOut writes the reply of a wait that was in vain, denied that of one that was not allowed.
	timedOut, denied func(*resp.Writer)
}

type blockedKey struct {
	db  int
	key string
}

// A queue is who waits for a key, in the order in which they came.
type queue struct {
	waiters []*waiter
	ready   bool // is in blocking.ready
}

// blocking knows who waits for what. The execution lock guards it.
type blocking struct {
	queues map[blockedKey]*queue
	ready  []blockedKey
	n      int // waiters
}

// block makes the session wait for any of the keys, for ever if timeout is 0. In a transaction or script,
// where it would wait for what cannot happen, it does not.
func (c *Call) block(keys [][]byte, timeout time.Duration, how waiting) {
	if c.from != fromClient {
		how.denied(c.Out)
		return
	}
	w := &waiter{session: c.session, cmd: c.cmd, args: copyWords(c.Args), db: c.DB.Index(), waiting: how}
	w.reply.SetProto(c.Out.Proto())
	if timeout > 0 {
		w.deadline = c.now.Add(timeout)
	}
	b := &c.srv.blocked
	if b.queues == nil {
		b.queues = make(map[blockedKey]*queue)
	}
	for _, key := range keys {
		k := blockedKey{w.db, string(key)}
		if slices.Contains(w.keys, k) {
			continue
		}
		w.keys = append(w.keys, k)
		q := b.queues[k]
		if q == nil {
			q = &queue{}
			b.queues[k] = q
		}
		q.waiters = append(q.waiters, w)
	}
	b.n++
	c.session.blocked = w
}

// forget takes w out of all queues; its session is not blocked any more.
func (b *blocking) forget(w *waiter) {
	for _, k := range w.keys {
		q := b.queues[k]
		i := slices.Index(q.waiters, w)
		q.waiters = slices.Delete(q.waiters, i, i+1)
		if len(q.waiters) == 0 && !q.ready {
			delete(b.queues, k)
		}
	}
	b.n--
	w.session.blocked = nil
}

// signal makes a key ready, if anybody waits for it.
func (b *blocking) signal(db int, key []byte) {
	if b.n == 0 {
		return
	}
	if q := b.queues[blockedKey{db, string(key)}]; q != nil && !q.ready {
		q.ready = true
		b.ready = append(b.ready, blockedKey{db, string(key)})
	}
}

// signalAll makes all keys of a database ready that somebody waits for: its contents are exchanged.
func (b *blocking) signalAll(db *keyspace.DB) {
	for k := range b.queues {
		if k.db == db.Index() {
			b.signal(k.db, []byte(k.key))
		}
	}
}

// serveBlocked serves those who wait for keys that have become ready, also through those whom it serves.
func (srv *Server) serveBlocked(now clock.Instant) {
	b := &srv.blocked
	for len(b.ready) > 0 {
		k := b.ready[0]
		b.ready = b.ready[1:]
		q := b.queues[k]
		q.ready = false
		db, key := srv.keys.DB(k.db), []byte(k.key)
		for i := 0; i < len(q.waiters) && db.Peek(key, now) != nil; {
			if !srv.serveWaiter(q.waiters[i], db, key, now) {
				i++ // it waits for a value of another type
			}
		}
		if len(q.waiters) == 0 && !q.ready {
			delete(b.queues, k)
		}
	}
	b.ready = nil
}

// serveWaiter executes a command that has waited for key, unless key is not what it has waited for.
func (srv *Server) serveWaiter(w *waiter, db *keyspace.DB, key []byte, now clock.Instant) bool {
	if e := db.Peek(key, now); e == nil || e.Kind() != w.kind {
		return false
	}
	c := Call{Args: w.args, Out: &w.reply, DB: db, srv: srv, session: w.session, cmd: w.cmd, now: now}
	served, err := w.serve(&c, key)
	if err != nil {
		srv.stats.errors++
		w.reply.Reset()
		w.reply.Error(err)
	}
	if served || err != nil {
		w.release()
		return true
	}
	return false
}

// release ends the wait: the reply, which was written, goes to the client.
func (w *waiter) release() {
	s := w.session
	s.srv.blocked.forget(w)
	if s.outbox != nil {
		s.outbox.append(&w.reply) // before any message that is published from now on
	}
	s.wake()
}

// wake makes the session, which waits, look what has happened. The execution lock is held.
func (s *session) wake() { s.conn.SetReadDeadline(time.Unix(1, 0)) }

// await waits until the session is not blocked any more and writes the reply. Meanwhile it reads, because
// that is how one learns that a client has gone; what it reads it leaves for later. It returns false when the
// connection is to be closed.
func (s *session) await(w *waiter) bool {
	for {
		released, ended := s.settle(w)
		if released {
			return s.flush()
		}
		if ended || int64(s.in.Buffered()) > s.in.Limits.Query {
			return false
		}
		err := s.in.Fill(s.conn)
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if released, _ := s.settle(w); released {
			return s.flush()
		}
		return false
	}
}

// settle looks whether the wait is over, which it also is when its time is. If it goes on, reading ends when
// its time will be over; ended says that the server is shutting down.
func (s *session) settle(w *waiter) (released, ended bool) {
	s.srv.mu.Lock()
	defer s.srv.mu.Unlock()
	now := clock.Now()
	if s.blocked == w && w.over(now) {
		w.timedOut(&w.reply)
		w.release()
	}
	select {
	case <-s.srv.stop:
		ended = true // reading has been interrupted and stays so
	default:
	}
	if s.blocked == w {
		if w.deadline != 0 && !ended {
			s.conn.SetReadDeadline(clock.Deadline(w.deadline.Sub(now)))
		}
		return false, ended
	}
	if !ended {
		s.conn.SetReadDeadline(time.Time{})
	}
	s.active.Store(int64(now))
	s.out.Append(&w.reply) // nothing, if it went through the outbox
	return true, ended
}

func (w *waiter) over(now clock.Instant) bool { return w.deadline != 0 && !now.Before(w.deadline) }

// mayBlock reports whether the words are a command after which the session might have to wait. A batch ends
// there: what follows stays in the read buffer.
func (srv *Server) mayBlock(words [][]byte) bool {
	if first := words[0]; len(first) == 0 || first[0]|0x20 != 'b' && first[0]|0x20 != 'x' {
		return false // the names of all of them begin so; most others are told apart without a look at the table
	}
	cmd := srv.table.find(words)
	return cmd != nil && cmd.flags&flagBlocking != 0
}

const (
	errTimeoutNotFloat = wireError("ERR timeout is not a float or out of range")
	errTimeoutNegative = wireError("ERR timeout is negative")
	errUnblocked       = wireError("UNBLOCKED client unblocked via CLIENT UNBLOCK")
)

// parseTimeout reads seconds, rounded up to milliseconds. 0 is for ever, and so is what would outlast us all.
func parseTimeout(word []byte) (time.Duration, error) {
	f, ok := parseLongDouble(word)
	if !ok {
		return 0, errTimeoutNotFloat
	}
	f.Mul(f, big.NewFloat(1000))
	ms, accuracy := f.Int64()
	if accuracy == big.Below { // of what is too large as well: as a C integer it wraps to a negative one
		ms++
	}
	switch {
	case ms < 0:
		return 0, errTimeoutNegative
	case ms > int64(longestTimeout/time.Millisecond):
		return 0, nil
	}
	return time.Duration(ms) * time.Millisecond, nil
}

const longestTimeout = 100 * 365 * 24 * time.Hour

// clientUnblockCommand releases a client that waits, as if its time were over or with an error.
func clientUnblockCommand(c *Call) error {
	if len(c.Args) > 4 {
		return errUnknownSubcommand("CLIENT", c.Args[1])
	}
	fail := false
	if len(c.Args) == 4 {
		fail = isWord(c.Args[3], "error")
		if !fail && !isWord(c.Args[3], "timeout") {
			return errUnblockReason
		}
	}
	id, err := integer(c.Args[2])
	if err != nil {
		return err
	}
	s := c.srv.sessions[id]
	if s == nil || s.blocked == nil {
		c.Out.Int(0)
		return nil
	}
	w := s.blocked
	if fail {
		w.reply.Error(errUnblocked)
	} else {
		w.timedOut(&w.reply)
	}
	w.release()
	c.Out.Int(1)
	return nil
}

const errUnblockReason = wireError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
