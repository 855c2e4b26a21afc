package server

import (
	"slices"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
)

// A transaction is what a session has between MULTI and EXEC. The zero value is none.
type transaction struct {
	open    bool
	broken  bool // a command was refused when it was queued: EXEC must refuse the rest
	queued  []queuedCommand
	watched []*watch
	touched bool // a watched key was modified
}

// A queuedCommand waits for EXEC, with its own copy of the words.
type queuedCommand struct {
	cmd  *command
	args [][]byte
}

func (t *transaction) queue(cmd *command, args [][]byte) {
	t.queued = append(t.queued, queuedCommand{cmd, copyWords(args)})
}

// copyWords copies the words of a command in one piece.
func copyWords(args [][]byte) [][]byte {
	size := 0
	for _, arg := range args {
		size += len(arg)
	}
	text := make([]byte, 0, size)
	words := make([][]byte, len(args))
	for i, arg := range args {
		from := len(text)
		text = append(text, arg...)
		words[i] = text[from:len(text):len(text)]
	}
	return words
}

// A watch is one key that one session watches.
type watch struct {
	session *session
	db      int
	key     string
}

// watches finds the sessions that watch a key. The execution lock guards it.
type watches struct {
	dbs []map[string][]*watch
	n   int
}

func (ws *watches) init(databases int) { ws.dbs = make([]map[string][]*watch, databases) }

func (ws *watches) add(w *watch) {
	if ws.dbs[w.db] == nil {
		ws.dbs[w.db] = make(map[string][]*watch)
	}
	ws.dbs[w.db][w.key] = append(ws.dbs[w.db][w.key], w)
	ws.n++
}

func (ws *watches) remove(w *watch) {
	rest := ws.dbs[w.db][w.key]
	i := slices.Index(rest, w)
	rest = slices.Delete(rest, i, i+1)
	if len(rest) == 0 {
		delete(ws.dbs[w.db], w.key)
	} else {
		ws.dbs[w.db][w.key] = rest
	}
	ws.n--
}

// touch breaks the transactions that watch a key, which was modified.
func (ws *watches) touch(db int, key []byte) {
	if ws.n == 0 {
		return
	}
	for _, w := range ws.dbs[db][string(key)] {
		w.session.tx.touched = true
	}
}

// touchAll breaks the transactions that watch a key of db which exists there, or in the database whose
// contents are about to replace it.
func (ws *watches) touchAll(db, replacement *keyspace.DB, now clock.Instant) {
	if ws.n == 0 {
		return
	}
	for key, list := range ws.dbs[db.Index()] {
		if db.Peek([]byte(key), now) == nil && (replacement == nil || replacement.Peek([]byte(key), now) == nil) {
			continue
		}
		for _, w := range list {
			w.session.tx.touched = true
		}
	}
}

func multiCommands() []*command {
	return []*command{
		{name: "multi", arity: 1, flags: flagNoScript | flagLoading | flagStale | flagFast | flagAllowBusy, categories: catTransaction, since: "1.2.0", handler: multiCommand},
		{name: "exec", arity: 1, flags: flagNoScript | flagLoading | flagStale | flagSkipSlowlog, categories: catTransaction, since: "1.2.0", handler: execCommand},
		{name: "discard", arity: 1, flags: flagNoScript | flagLoading | flagStale | flagFast | flagAllowBusy, categories: catTransaction, since: "2.0.0", handler: discardCommand},
		{name: "watch", arity: -2, flags: flagNoScript | flagLoading | flagStale | flagFast | flagAllowBusy, categories: catTransaction, keys: allKeys, since: "2.2.0", handler: watchCommand},
		{name: "unwatch", arity: 1, flags: flagNoScript | flagLoading | flagStale | flagFast | flagAllowBusy, categories: catTransaction, since: "2.2.0", handler: unwatchCommand},
	}
}

func multiCommand(c *Call) error {
	if c.session.tx.open {
		return errNestedMulti
	}
	c.session.tx.open = true
	return c.OK()
}

func discardCommand(c *Call) error {
	if !c.session.tx.open {
		return errDiscardWithoutMulti
	}
	c.session.discard()
	return c.OK()
}

// watchTime is the time by which WATCH judges whether a key is over. WATCH may run in the middle of a busy
// script, whose keys neither come nor go: then it is the script's.
func (srv *Server) watchTime(now clock.Instant) clock.Instant {
	if srv.scripts.busy {
		return srv.scripts.run.inner.now
	}
	return now
}

func watchCommand(c *Call) error {
	s := c.session
	if s.tx.open {
		return errWatchInsideMulti
	}
	// A transaction that is broken already stays broken: there is nothing left to watch for.
	if s.tx.touched {
		return c.OK()
	}
	for _, key := range c.Args[1:] {
		// A key whose time is over goes now: that it goes later would look like a modification.
		c.DB.Peek(key, c.srv.watchTime(c.now))
		s.watch(c.DB, key)
	}
	return c.OK()
}

func unwatchCommand(c *Call) error {
	c.session.unwatch()
	return c.OK()
}

func execCommand(c *Call) error {
	s := c.session
	switch {
	case !s.tx.open:
		return errExecWithoutMulti
	case s.tx.broken:
		s.discard()
		return errExecAbort
	}
	s.expireWatched(c.now)
	if s.tx.touched {
		s.discard()
		c.Out.NullArray()
		return nil
	}
	queued := s.tx.queued
	s.unwatch() // what the transaction itself modifies is no conflict
	c.Out.Array(len(queued))
	for _, q := range queued {
		c.srv.call(&Call{Args: q.args, Out: c.Out, DB: s.db, srv: c.srv, session: s, cmd: q.cmd, now: c.now, from: fromExec})
	}
	s.discard()
	return nil
}

// discard ends the session's transaction, if there is one, and its watches.
func (s *session) discard() {
	s.unwatch()
	s.tx = transaction{}
}

func (s *session) watch(db *keyspace.DB, key []byte) {
	for _, w := range s.tx.watched {
		if w.db == db.Index() && w.key == string(key) {
			return
		}
	}
	w := &watch{session: s, db: db.Index(), key: string(key)}
	s.tx.watched = append(s.tx.watched, w)
	s.srv.watches.add(w)
}

// unwatch forgets the watched keys and that they were touched.
func (s *session) unwatch() {
	for _, w := range s.tx.watched {
		s.srv.watches.remove(w)
	}
	s.tx.watched = nil
	s.tx.touched = false
}

// expireWatched removes the watched keys whose time has come though nobody has looked at them since,
// which touches the transaction.
func (s *session) expireWatched(now clock.Instant) {
	for _, w := range s.tx.watched {
		s.srv.keys.DB(w.db).Peek([]byte(w.key), now)
	}
}
