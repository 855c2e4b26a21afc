package server

import (
	"bytes"
	"errors"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// This file is the policy of the server, in two halves. dispatch decides WHETHER a command that arrived on a
// connection may run now: is there such a command, are its words complete, may this client use it, must
// it wait for EXEC. call runs it. EXEC and scripts have been through their own checks and enter at call.

// dispatch is the first half. It writes exactly one reply to s.out, or none if the session is sent away.
func (srv *Server) dispatch(s *session, args [][]byte, now clock.Instant) {
	cmd, err := srv.check(s, args)
	switch {
	case err == errCrossProtocol:
		// Whoever made a browser send this is to learn nothing, not even what its first lines did.
		s.out.Reset()
		s.closing = true
	case err != nil:
		srv.reject(s, cmd, err)
	case s.tx.open && cmd.queues():
		s.tx.queue(cmd, args)
		s.out.Simple("QUEUED")
	default:
		s.call = Call{Args: args, Out: &s.out, DB: s.db, srv: srv, session: s, cmd: cmd, now: now}
		srv.call(&s.call)
		srv.settle(now)
	}
}

// settle does what others have to gain from a command, transaction or script that is over. A slow script is
// not, though others run commands in its middle.
func (srv *Server) settle(now clock.Instant) {
	if srv.scripts.busy {
		return
	}
	srv.serveBlocked(now)
	srv.settleLocks(now)
}

// errCrossProtocol is for a client that speaks HTTP: it gets no answer.
var errCrossProtocol = errors.New("server: HTTP request")

// check says which command the words are and why it may not run, if so. The order of the checks is
// Redis's, because the first failure is the one that is answered.
func (srv *Server) check(s *session, args [][]byte) (*command, error) {
	cmd := srv.table.find(args)
	switch {
	case cmd == nil:
		if isHTTP(args[0]) {
			return nil, errCrossProtocol
		}
		return nil, unknownCommand(args)
	case cmd.lookup != nil && len(args) > 1:
		return nil, unknownSubcommand(args)
	case !cmd.arityOK(len(args)):
		return cmd, errArity(cmd.fullName)
	case cmd.flags&flagNoAuth == 0 && s.unauthenticated():
		return cmd, errNoAuth
	case s.tx.open && cmd.flags&flagNoMulti != 0:
		return cmd, errNotInMulti
	case !s.out.RESP3() && s.subscribed() && !cmd.anySubscribed():
		return cmd, errorf("ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context", cmd.fullName)
	case srv.scripts.busy && cmd.flags&flagAllowBusy == 0:
		return cmd, errBusy
	}
	return cmd, nil
}

// reject answers a command that may not run. A transaction that is being queued cannot succeed any more.
func (srv *Server) reject(s *session, cmd *command, err error) {
	srv.stats.errors++
	s.tx.broken = s.tx.open
	if cmd != nil && cmd.name == "exec" {
		s.discard()
		err = errorf("EXECABORT Transaction discarded because of: %s", strings.TrimPrefix(err.Error(), "ERR "))
	}
	s.out.Error(err)
}

// call is the second half: it executes one command on behalf of a client, of EXEC or of a script, and
// writes its reply to c.Out. What follows from the execution belongs here, after the handler: today the
// encoding of its error; the propagation of its effects will.
func (srv *Server) call(c *Call) {
	srv.stats.calls++
	c.session.last = c.cmd
	mark := c.Out.Len()
	if err := c.cmd.handler(c); err != nil {
		srv.stats.errors++
		c.Out.Truncate(mark)
		c.Out.Error(err)
	}
	if c.session.closing {
		c.session.seal()
	}
}

// queues reports whether the command waits for EXEC in an open transaction.
func (cmd *command) queues() bool {
	switch cmd.name {
	case "exec", "discard", "multi", "watch", "quit", "reset":
		return false
	}
	return true
}

// anySubscribed reports whether a RESP2 client may use the command while it is subscribed, when every
// line that it reads must be tellable from a message.
func (cmd *command) anySubscribed() bool {
	switch cmd.name {
	case "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ping", "quit", "reset":
		return true
	}
	return false
}

// isHTTP recognizes the first words of an HTTP request's lines, with which a browser can be made to send
// commands to a server that it can reach and the attacker cannot.
func isHTTP(word []byte) bool {
	return bytes.EqualFold(word, []byte("post")) || bytes.EqualFold(word, []byte("host:"))
}

// unknownCommand quotes the words as far as they fit into 128 bytes.
func unknownCommand(args [][]byte) error {
	var quoted strings.Builder
	for _, arg := range args[1:] {
		room := 128 - quoted.Len()
		if room <= 0 {
			break
		}
		quoted.WriteByte('\'')
		quoted.Write(cString(arg, room))
		quoted.WriteString("' ")
	}
	return errorf("ERR unknown command '%s', with args beginning with: %s", cString(args[0], 128), quoted.String())
}

func unknownSubcommand(args [][]byte) error {
	return errorf("ERR unknown subcommand '%s'. Try %s HELP.", cString(args[1], 128), bytes.ToUpper(args[0]))
}

// cString returns what C's %.*s prints of b: up to limit bytes, and none from the first zero on.
func cString(b []byte, limit int) []byte {
	b = b[:min(len(b), limit)]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return b
}
