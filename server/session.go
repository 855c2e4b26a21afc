package server

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// A batch is capped, so that one client's pipeline does not keep the execution lock from the others.
const (
	batchCommands = 1024
	batchOutput   = 256 << 10 // bytes of replies after which the others have their turn
	batchTime     = 3 * time.Millisecond
	longStride    = 8 // commands between two looks at the clock, when they are quick
)

// A turn is how long a batch has had the execution lock without interruption. Looking at the clock costs a
// tenth of a short command, so a turn looks after every command only while they are not quick.
type turn struct {
	began  clock.Instant
	looked clock.Instant // when the clock was last read
	stride int           // commands from one look to the next
	until  int           // the next one
}

func startTurn(now clock.Instant) turn { return turn{began: now, looked: now, stride: 1, until: 1} }

// over is called after each command and reports whether the others are to have their turn.
func (t *turn) over() bool {
	if t.until--; t.until > 0 {
		return false
	}
	now := clock.Now()
	if now.Sub(t.looked) > batchTime/time.Duration(2*longStride) {
		t.stride = 1
	} else {
		t.stride = min(2*t.stride, longStride)
	}
	t.looked, t.until = now, t.stride
	return now.Sub(t.began) > batchTime
}

// A session is one connection and what it has chosen. It is the only place that knows the transport.
//
// One goroutine, serve, reads, parses, runs batches and writes replies. When others begin to send it
// messages (a subscription does that) it gets an outbox with a second goroutine, so that nobody who
// publishes ever waits for its socket; from then on its replies go through the outbox too, which keeps
// them in order with the messages.
type session struct {
	id   int64
	srv  *Server
	conn net.Conn

	// Used by serve alone, outside the execution lock.
	in    resp.Reader
	batch batch

	// writing is when the write under way began, 0 if there is none. cron cuts connections that have not
	// taken a single chunk for too long.
	writing atomic.Int64
	// unwritten is how much of what is being written the transport has not taken yet.
	unwritten atomic.Int64
	// active is when the last batch of commands came, for idle times.
	active atomic.Int64

	// Everything below is guarded by the execution lock.
	out       resp.Writer // replies of the batch under way
	outbox    *outbox     // nil until somebody else sends to this session
	sealed    int         // if closing: bytes of out that the client still gets
	executing bool        // its batch is under way: messages go straight into out
	call      Call        // reused for each command of a batch
	db        *keyspace.DB
	tx        transaction
	blocked   *waiter // what it waits for; nil if it does not
	closing   bool    // close when what was answered so far is written
	authed    bool
	name      string
	libName   string
	libVer    string
	last      *command // the last one executed, for CLIENT LIST
	created   clock.Instant
	queryLen  int // bytes read and not yet executed at the last batch
	noEvict   bool
	overSoft  clock.Instant // since when more than the soft limit has been waiting; 0 if not
}

// A batch is the commands that are executed under one hold of the execution lock.
type batch struct {
	words [][]byte // of all commands, one after the other
	ends  []int    // where in words each command ends
	err   error    // what came behind them and is no command
}

func newSession(srv *Server, id int64, conn net.Conn) *session {
	s := &session{id: id, srv: srv, conn: conn, created: clock.Now(), db: srv.keys.DB(0)}
	s.active.Store(int64(s.created))
	s.authed = srv.config.RequirePass == ""
	s.in.Limits.Unauthenticated = !s.authed
	return s
}

// serve runs the session until the client leaves, is sent away, or the server shuts down.
func (s *session) serve() {
	defer s.end()
	for {
		s.obey(s.srv.limits.Load())
		err := s.in.Fill(s.conn)
		if !s.runBuffered() || err != nil {
			return
		}
	}
}

// obey takes over the limits, which CONFIG SET may have changed.
func (s *session) obey(l *limits) { s.in.Limits.Bulk, s.in.Limits.Query = l.bulk, l.query }

// runBuffered executes the commands that have been read whole, batch by batch. It returns false when the
// connection is to be closed.
func (s *session) runBuffered() bool {
	for {
		s.parse()
		if len(s.batch.ends) == 0 && s.batch.err == nil {
			if cap(s.batch.words) > keptWords {
				s.batch = batch{}
			}
			return true
		}
		open, wait := s.runBatch()
		if !s.flush() || !open || wait != nil && !s.await(wait) {
			return false
		}
	}
}

// parse cuts the next batch out of what has been read.
func (s *session) parse() {
	b := &s.batch
	clear(b.words) // they point into a buffer that may since have been replaced
	b.words, b.ends, b.err = b.words[:0], b.ends[:0], nil
	limit := batchCommands
	if s.in.Limits.Unauthenticated {
		limit = 1 // AUTH changes how the next one is parsed
	}
	for len(b.ends) < limit {
		words, ok, err := s.in.Next(b.words)
		if err != nil {
			b.err = err
			return
		}
		if !ok {
			return
		}
		from := len(b.words)
		b.words = words
		b.ends = append(b.ends, len(words))
		if s.srv.mayBlock(words[from:]) {
			return
		}
	}
}

// runBatch executes the batch under one hold of the execution lock. It returns false when the connection
// is to be closed after what was written, and what the last command waits for, if it does.
func (s *session) runBatch() (open bool, wait *waiter) {
	srv := s.srv
	srv.mu.Lock()
	defer srv.mu.Unlock()
	now := clock.Now()
	s.active.Store(int64(now))
	s.queryLen = s.in.Buffered()
	s.executing = true
	t := startTurn(now)
	from := 0
	for i, end := range s.batch.ends {
		s.limitOutput()
		srv.dispatch(s, s.batch.words[from:end:end], now)
		from = end
		if s.out.Over() {
			s.closing = true
		}
		if s.closing {
			break
		}
		if (s.out.Len() >= batchOutput || t.over()) && i+1 < len(s.batch.ends) {
			if !s.yieldLocked() {
				s.closing = true
				break
			}
			now = clock.Now()
			t = startTurn(now)
		}
	}
	if s.batch.err != nil && !s.closing {
		s.refuse(s.batch.err)
	}
	s.executing = false
	s.in.Limits.Unauthenticated = s.unauthenticated()
	switch {
	case s.out.Over():
		s.out.Release()
		if s.outbox != nil {
			s.cut() // nobody waits until the rest is written
		}
	case s.sealed > 0:
		s.out.Truncate(s.sealed)
	}
	s.handOverLocked()
	s.call = Call{} // an idle session must not keep the words of its last command, which may be large
	return !s.closing, s.blocked
}

// yieldLocked interrupts a batch: it writes what was answered so far and lets other sessions run. It
// returns false when the connection has failed.
func (s *session) yieldLocked() bool {
	s.executing = false
	s.handOverLocked()
	s.srv.mu.Unlock()
	ok := s.flush()
	s.srv.mu.Lock()
	s.executing = true
	return ok
}

// handOverLocked puts the replies into the outbox, if the session has one, behind the messages that it
// has been sent before and before those that it will be sent.
func (s *session) handOverLocked() {
	if s.outbox != nil {
		s.outbox.append(&s.out)
		s.outbox.attentive.Store(s.class() == classNormal)
	}
}

// outputLimit returns what the session's class may have waiting.
func (s *session) outputLimit() OutputLimit {
	if s.class() == classPubSub {
		return s.srv.config.PubSubOutput
	}
	return s.srv.config.NormalOutput
}

// limitOutput bounds the replies of the batch under way by the hard limit of what the session is now,
// together with what already waits for the client.
func (s *session) limitOutput() {
	hard := s.outputLimit().Hard
	if hard > 0 && s.outbox != nil {
		hard = max(hard-s.outbox.size.Load(), 1)
	}
	s.out.SetLimit(hard)
}

// seal is called when the session is closing after the command that just wrote its reply: what the rest of
// a transaction answers is not for the client any more.
func (s *session) seal() {
	if s.sealed == 0 {
		s.sealed = s.out.Len()
	}
}

// refuse answers bytes that are no command; the connection is of no use after that.
func (s *session) refuse(err error) {
	s.closing = true
	var protocol resp.ProtocolError
	if errors.As(err, &protocol) {
		s.out.Error(protocol)
	}
}

func (s *session) unauthenticated() bool { return !s.authed && s.srv.config.RequirePass != "" }

// writeChunk is the largest piece that one write hands to the transport, so that progress can be seen.
const writeChunk = 256 << 10

// longReply is how long replies must be to be counted as garbage when they are written.
const longReply = 1 << 20

// keptWords is the most words that an idle session keeps room for.
const keptWords = 1024

// keptBuffer is the most memory that an idle session keeps for its next replies.
const keptBuffer = 64 << 10

// flush writes the replies of the batch, or waits until the outbox has written most of them: a client that
// does not read its replies is not read from. It returns false when the connection has failed.
func (s *session) flush() bool {
	if o := s.outbox; o != nil {
		return o.waitRoom()
	}
	if s.out.Len() == 0 {
		return true
	}
	return s.write(&s.out, clock.Instant(s.active.Load()))
}

// write writes all of w, however long the client takes, unless it takes nothing at all for too long. Now is
// a recent reading of the clock: one more for each reply would cost a tenth of a short command. It leaves w
// empty.
func (s *session) write(w *resp.Writer, now clock.Instant) bool {
	size := int64(w.Len())
	left := size
	ok := w.Flush(func(piece []byte) bool {
		for len(piece) > 0 {
			if now == 0 {
				now = clock.Now()
			}
			n := min(len(piece), writeChunk)
			s.writing.Store(int64(now))
			s.unwritten.Store(left)
			_, err := s.conn.Write(piece[:n])
			s.writing.Store(0)
			if err != nil {
				return false
			}
			piece, left, now = piece[n:], left-int64(n), 0
		}
		return true
	})
	if ok {
		s.unwritten.Store(0)
	}
	if w.Cap() > keptBuffer {
		w.Release()
	}
	if size > longReply {
		s.srv.garbage.bytes.Add(size)
	}
	return ok
}

// interrupt makes the session end at its next read. The execution lock is held.
func (s *session) interrupt() { s.conn.SetReadDeadline(time.Unix(1, 0)) }

// cut ends the session now, whatever it is doing. The execution lock is held.
func (s *session) cut() {
	if s.blocked != nil {
		s.srv.blocked.forget(s.blocked) // nobody would get what it is served
	}
	s.conn.Close()
}

// end takes the session out of everything that knows it and closes the connection.
func (s *session) end() {
	srv := s.srv
	srv.mu.Lock()
	srv.broker.Leave(s)
	s.discard()
	if s.blocked != nil {
		srv.blocked.forget(s.blocked)
	}
	delete(srv.sessions, s.id)
	outbox := s.outbox
	srv.mu.Unlock()
	if outbox != nil {
		outbox.drain()
	}
	s.conn.Close()
}
