package server

import (
	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// A Call is one execution of one command: what a handler gets. It is valid only during the call, and so
// are its words, which lie in the connection's read buffer: copy what outlives the call.
//
// A Call comes from a connection, from EXEC or from a script; a handler does not see which. Everything
// in it is used under the execution lock.
type Call struct {
	Args [][]byte     // the words; Args[0] is the command's name as the client wrote it
	Out  *resp.Writer // where the reply goes, in the client's protocol version
	DB   *keyspace.DB // the selected database

	srv     *Server
	session *session // on whose behalf; never nil
	cmd     *command
	now     clock.Instant
	from    origin
}

// An origin says what a call is part of. Some commands behave differently in a script or transaction,
// where nobody could wait for them.
type origin uint8

const (
	fromClient origin = iota
	fromExec
	fromScript
)

// Now returns the time of the call: ONE reading of the running clock for a whole batch, transaction or
// script, so that a key cannot expire between two commands that execute as one.
func (c *Call) Now() clock.Instant { return c.now }

// Changed states that the call modified the value or the ttl of a key of the selected database, or
// deleted it. Handlers call it once for each modification, after it. The event is the name that keyspace
// notifications give the modification ("set", "del", "expire"), empty if they do not tell of it.
//
// It does everything that has to follow from a modification, in one place: the dirty count, the
// transactions that watch the key, the commands that wait for it, the queue of a lock.
func (c *Call) Changed(event string, key []byte) { c.ChangedIn(c.DB, event, key) }

// ChangedIn is Changed for a key of another database (COPY ... DB, MOVE).
func (c *Call) ChangedIn(db *keyspace.DB, event string, key []byte) {
	_ = event // the seam for keyspace notifications
	c.srv.dirty++
	c.srv.watches.touch(db.Index(), key)
	c.srv.blocked.signal(db.Index(), key)
	c.srv.wakes.changed(db, key, c.now)
}

// Flushing states that the call is about to remove all keys of a database; call it before they go, since
// only transactions that watch an existing key are affected, and queues of locks have to be read.
func (c *Call) Flushing(db *keyspace.DB) {
	c.srv.watches.touchAll(db, nil, c.now)
	c.srv.flushingLocks(db, c.now)
}

// Swapping states that the call is about to exchange the contents of two databases.
func (c *Call) Swapping(a, b *keyspace.DB) {
	c.srv.watches.touchAll(a, b, c.now)
	c.srv.watches.touchAll(b, a, c.now)
	c.srv.blocked.signalAll(a)
	c.srv.blocked.signalAll(b)
	c.srv.swappingLocks(a, b, c.now)
}

// Dirty counts n modifications that concern no single key (FLUSHALL).
func (c *Call) Dirty(n int) { c.srv.dirty += int64(n) }

// OK writes the status that most commands without a result answer.
func (c *Call) OK() error {
	c.Out.OK()
	return nil
}

// lookupKind returns the entry of key, nil if there is none; errWrongType if it is of another kind.
func (c *Call) lookupKind(key []byte, kind keyspace.Kind) (*keyspace.Entry, error) {
	e := c.DB.Lookup(key, c.Now())
	if e != nil && e.Kind() != kind {
		return nil, errWrongType
	}
	return e, nil
}
