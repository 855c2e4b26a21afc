package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// redisVersion is the version of Redis whose behaviour clients may expect; they ask before they use a
// command.
const redisVersion = "7.0.15"

func connectionCommands() []*command {
	const open = flagNoScript | flagLoading | flagStale | flagFast | flagNoAuth | flagAllowBusy
	return []*command{
		{name: "auth", arity: -2, flags: open, categories: catConnection, since: "1.0.0", handler: authCommand},
		{name: "echo", arity: 2, flags: flagLoading | flagStale | flagFast, categories: catConnection, since: "1.0.0", handler: echoCommand},
		{name: "hello", arity: -1, flags: open, categories: catConnection, since: "6.0.0", handler: helloCommand},
		{name: "ping", arity: -1, flags: flagFast, categories: catConnection, since: "1.0.0", tips: []string{"request_policy:all_shards", "response_policy:all_succeeded"}, handler: pingCommand},
		{name: "quit", arity: -1, flags: open, categories: catConnection, since: "1.0.0", handler: quitCommand},
		{name: "reset", arity: 1, flags: open, categories: catConnection, since: "6.2.0", handler: resetCommand},
		{name: "select", arity: 2, flags: flagLoading | flagStale | flagFast, categories: catConnection, since: "1.0.0", handler: selectCommand},
		{name: "time", arity: 1, flags: flagLoading | flagStale | flagFast, since: "2.6.0", tips: []string{"nondeterministic_output"}, handler: timeCommand},
	}
}

// pingCommand answers a subscribed RESP2 client with something that looks like a message, since it
// expects nothing else.
func pingCommand(c *Call) error {
	if len(c.Args) > 2 {
		return errArity(c.cmd.fullName)
	}
	if !c.Out.RESP3() && c.session.subscribed() {
		c.Out.Array(2)
		c.Out.BulkString("pong")
		if len(c.Args) == 2 {
			c.Out.Bulk(c.Args[1])
		} else {
			c.Out.BulkString("")
		}
		return nil
	}
	if len(c.Args) == 2 {
		c.Out.Bulk(c.Args[1])
	} else {
		c.Out.Simple("PONG")
	}
	return nil
}

func echoCommand(c *Call) error {
	c.Out.Bulk(c.Args[1])
	return nil
}

func quitCommand(c *Call) error {
	c.session.closing = true
	return c.OK()
}

// resetCommand makes the connection as good as new: what pools want before they hand it on.
func resetCommand(c *Call) error {
	s := c.session
	s.discard()
	c.srv.broker.Leave(s)
	s.db = c.srv.keys.DB(0)
	s.name = ""
	s.noEvict = false
	s.authed = c.srv.config.RequirePass == ""
	s.out.SetProto(2)
	c.Out.Simple("RESET")
	return nil
}

func selectCommand(c *Call) error {
	n, err := integer32(c.Args[1])
	if err != nil {
		return err
	}
	if n < 0 || n >= c.srv.keys.DBs() {
		return errDBIndex
	}
	c.session.db = c.srv.keys.DB(n)
	return c.OK()
}

// timeCommand answers with the wall clock: seconds since 1970, and microseconds.
func timeCommand(c *Call) error {
	now := clock.Wall()
	c.Out.Array(2)
	c.Out.BulkInt(now.Unix())
	c.Out.BulkInt(int64(now.Nanosecond() / 1000))
	return nil
}

func authCommand(c *Call) error {
	switch len(c.Args) {
	case 2:
		if c.srv.config.RequirePass == "" {
			return errAuthNotNeeded
		}
		return c.auth("default", c.Args[1])
	case 3:
		return c.auth(string(c.Args[1]), c.Args[2])
	}
	return errSyntax
}

func (c *Call) auth(user string, password []byte) error {
	if !c.srv.login(c.session, user, password) {
		return errWrongPass
	}
	return c.OK()
}

// login authenticates the session. There is one user, "default"; without a password any will do.
func (s *Server) login(session *session, user string, password []byte) bool {
	if user != "default" {
		return false
	}
	if s.config.RequirePass != "" && !samePassword(password, s.config.RequirePass) {
		return false
	}
	session.authed = true
	return true
}

// samePassword takes a time that tells nothing about either, not even their lengths.
func samePassword(given []byte, want string) bool {
	a, b := sha256.Sum256(given), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// helloCommand negotiates: protocol version, login, name, all or nothing.
func helloCommand(c *Call) error {
	s := c.session
	proto := int64(s.out.Proto())
	args := c.Args[1:]
	if len(args) > 0 {
		n, ok := resp.ParseInt(args[0])
		switch {
		case !ok:
			return errHelloVersion
		case n != 2 && n != 3:
			return errNoProto
		}
		proto, args = n, args[1:]
	}
	user, password, name := "", []byte(nil), ""
	login, rename := false, false
	for len(args) > 0 {
		switch word := args[0]; {
		case strings.EqualFold(string(word), "auth") && len(args) >= 3:
			user, password, login = string(args[1]), args[2], true
			args = args[3:]
		case strings.EqualFold(string(word), "setname") && len(args) >= 2:
			if !validName(args[1]) {
				return errClientName
			}
			name, rename = string(args[1]), true
			args = args[2:]
		default:
			return errorf("ERR Syntax error in HELLO option '%s'", cString(word, 128))
		}
	}
	if login && !c.srv.login(s, user, password) {
		return errWrongPass
	}
	if s.unauthenticated() {
		return errHelloNoAuth
	}
	if rename {
		s.name = name
	}
	s.out.SetProto(int(proto))
	c.hello()
	return nil
}

func (c *Call) hello() {
	c.Out.Map(7)
	c.Out.BulkString("server")
	c.Out.BulkString("redis")
	c.Out.BulkString("version")
	c.Out.BulkString(redisVersion)
	c.Out.BulkString("proto")
	c.Out.Int(int64(c.Out.Proto()))
	c.Out.BulkString("id")
	c.Out.Int(c.session.id)
	c.Out.BulkString("mode")
	c.Out.BulkString("standalone")
	c.Out.BulkString("role")
	c.Out.BulkString("master")
	c.Out.BulkString("modules")
	c.Out.Array(0)
}

// help writes the answer of a HELP subcommand: pairs of a usage and its explanation.
func (c *Call) help(command string, pairs ...string) error {
	c.Out.Array(len(pairs) + 3)
	c.Out.Simple(command + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
	for i, line := range append(pairs, "HELP", "Print this help.") {
		if i%2 == 1 {
			line = "    " + line
		}
		c.Out.Simple(line)
	}
	return nil
}
