package server

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

func clientCommands() []*command {
	const (
		plain = flagNoScript | flagLoading | flagStale
		admin = plain | flagAdmin
	)
	return []*command{
		{name: "client", arity: -2, since: "2.4.0", subcommands: []*command{
			{name: "getname", arity: 2, flags: plain, categories: catConnection, since: "2.6.9", handler: clientGetNameCommand},
			{name: "help", arity: 2, flags: flagLoading | flagStale, categories: catConnection, since: "5.0.0", handler: clientHelpCommand},
			{name: "id", arity: 2, flags: plain, categories: catConnection, since: "5.0.0", handler: clientIDCommand},
			{name: "info", arity: 2, flags: plain, categories: catConnection, since: "6.2.0", tips: []string{"nondeterministic_output"}, handler: clientInfoCommand},
			{name: "kill", arity: -3, flags: admin, categories: catConnection, since: "2.4.0", handler: clientKillCommand},
			{name: "list", arity: -2, flags: admin, categories: catConnection, since: "2.4.0", tips: []string{"nondeterministic_output"}, handler: clientListCommand},
			{name: "no-evict", arity: 3, flags: admin, categories: catConnection, since: "7.0.0", handler: clientNoEvictCommand},
			{name: "setinfo", arity: 4, flags: plain, categories: catConnection, handler: clientSetInfoCommand},
			{name: "unblock", arity: -3, flags: admin, categories: catConnection, since: "5.0.0", handler: clientUnblockCommand},
			{name: "setname", arity: 3, flags: plain, categories: catConnection, since: "2.6.9", handler: clientSetNameCommand},
		}},
	}
}

func clientIDCommand(c *Call) error {
	c.Out.Int(c.session.id)
	return nil
}

func clientGetNameCommand(c *Call) error {
	if c.session.name == "" {
		c.Out.Null()
		return nil
	}
	c.Out.BulkString(c.session.name)
	return nil
}

func clientSetNameCommand(c *Call) error {
	if !validName(c.Args[2]) {
		return errClientName
	}
	c.session.name = string(c.Args[2])
	return c.OK()
}

// clientSetInfoCommand takes what libraries say about themselves when they connect; it is newer than
// Redis 7.0.
func clientSetInfoCommand(c *Call) error {
	attribute := strings.ToLower(string(c.Args[2]))
	if attribute != "lib-name" && attribute != "lib-ver" {
		return errorf("ERR Unrecognized option '%s'", cString(c.Args[2], 128))
	}
	if !validName(c.Args[3]) {
		return errorf("ERR %s cannot contain spaces, newlines or special characters.", attribute)
	}
	if attribute == "lib-name" {
		c.session.libName = string(c.Args[3])
	} else {
		c.session.libVer = string(c.Args[3])
	}
	return c.OK()
}

// validName reports whether a text can stand in a line of CLIENT LIST.
func validName(text []byte) bool {
	return !slices.ContainsFunc(text, func(c byte) bool { return c < '!' || c > '~' })
}

func clientNoEvictCommand(c *Call) error {
	switch strings.ToLower(string(c.Args[2])) {
	case "on":
		c.session.noEvict = true
	case "off":
		c.session.noEvict = false
	default:
		return errSyntax
	}
	return c.OK()
}

func clientInfoCommand(c *Call) error {
	c.Out.Verbatim("txt", c.session.describe(c.now)+"\n")
	return nil
}

func clientListCommand(c *Call) error {
	keep := func(*session) bool { return true }
	args := c.Args[2:]
	switch {
	case len(args) == 2 && strings.EqualFold(string(args[0]), "type"):
		class, err := parseClass(args[1])
		if err != nil {
			return err
		}
		keep = func(s *session) bool { return s.class() == class }
	case len(args) > 1 && strings.EqualFold(string(args[0]), "id"):
		ids := make(map[int64]bool)
		for _, arg := range args[1:] {
			id, ok := resp.ParseInt(arg)
			if !ok {
				return errClientID
			}
			ids[id] = true
		}
		keep = func(s *session) bool { return ids[s.id] }
	case len(args) > 0:
		return errSyntax
	}
	var text strings.Builder
	for _, s := range c.srv.sessionsInOrder() {
		if keep(s) {
			text.WriteString(s.describe(c.now))
			text.WriteByte('\n')
		}
	}
	c.Out.Verbatim("txt", text.String())
	return nil
}

func (s *Server) sessionsInOrder() []*session {
	return slices.SortedFunc(maps.Values(s.sessions), func(a, b *session) int { return cmp.Compare(a.id, b.id) })
}

// A clientClass is what kind of client a session is, for TYPE and for the output limits.
type clientClass string

const (
	classNormal  clientClass = "normal"
	classPubSub  clientClass = "pubsub"
	classMaster  clientClass = "master"
	classReplica clientClass = "replica"
)

func parseClass(word []byte) (clientClass, error) {
	switch class := clientClass(strings.ToLower(string(word))); class {
	case classNormal, classPubSub, classMaster, classReplica:
		return class, nil
	case "slave":
		return classReplica, nil
	}
	return "", errorf("ERR Unknown client type '%s'", cString(word, 128))
}

func (s *session) class() clientClass {
	if s.subscribed() {
		return classPubSub
	}
	return classNormal
}

// describe returns the session's line in CLIENT LIST. The sizes are what a session of this server keeps;
// those that only Redis's memory layout has are left out or zero.
func (s *session) describe(now clock.Instant) string {
	channels, patterns := s.srv.broker.Count(s)
	multi, flags := -1, ""
	if s.tx.open {
		multi = len(s.tx.queued)
		flags += "x"
	}
	if s.subscribed() {
		flags += "P"
	}
	if s.blocked != nil {
		flags += "b"
	}
	if s.tx.touched {
		flags += "d"
	}
	if s.noEvict {
		flags += "e"
	}
	if s.closing {
		flags += "c"
	}
	if _, unix := s.conn.RemoteAddr().(*net.UnixAddr); unix {
		flags += "U"
	}
	last := "NULL"
	if s.last != nil {
		last = s.last.fullName
	}
	waiting := s.waiting()
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=-1 name=%s age=%d idle=%d flags=%s db=%d sub=%d psub=%d ssub=0 multi=%d"+
		" qbuf=%d qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=%d tot-mem=%d events=r cmd=%s user=default redir=-1 resp=%d lib-name=%s lib-ver=%s",
		s.id, address(s.conn.RemoteAddr()), address(s.conn.LocalAddr()), s.name,
		int64(now.Sub(s.created).Seconds()), int64(s.idle(now).Seconds()), cmp.Or(flags, "N"), s.db.Index(), channels, patterns, multi,
		s.queryLen, waiting, int64(s.queryLen)+waiting, last, s.out.Proto(), s.libName, s.libVer)
}

func address(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// A killFilter chooses the sessions that CLIENT KILL ends; all of its conditions must hold.
type killFilter struct {
	addr, laddr string
	id          int64
	class       clientClass
	user        string
	skipMe      bool
}

func (f *killFilter) match(s, me *session) bool {
	switch {
	case f.addr != "" && f.addr != address(s.conn.RemoteAddr()):
		return false
	case f.laddr != "" && f.laddr != address(s.conn.LocalAddr()):
		return false
	case f.id != 0 && f.id != s.id:
		return false
	case f.class != "" && f.class != s.class():
		return false
	case f.user != "" && !s.authed:
		return false
	}
	return !f.skipMe || s != me
}

// clientKillCommand knows two forms: an address, which must exist, or conditions, which answer how many
// clients met them.
func clientKillCommand(c *Call) error {
	single := len(c.Args) == 3
	filter := killFilter{addr: string(c.Args[2])}
	if !single {
		var err error
		if filter, err = parseKillFilter(c.Args[2:]); err != nil {
			return err
		}
	}
	killed := 0
	for _, s := range c.srv.sessionsInOrder() {
		if !filter.match(s, c.session) {
			continue
		}
		killed++
		if s == c.session {
			s.closing = true
		} else {
			s.cut()
		}
	}
	switch {
	case !single:
		c.Out.Int(int64(killed))
		return nil
	case killed == 0:
		return errNoSuchClient
	}
	return c.OK()
}

func parseKillFilter(args [][]byte) (killFilter, error) {
	f := killFilter{skipMe: true}
	if len(args)%2 != 0 {
		return f, errSyntax
	}
	for i := 0; i < len(args); i += 2 {
		value := args[i+1]
		switch strings.ToLower(string(args[i])) {
		case "id":
			id, ok := resp.ParseInt(value)
			if !ok || id < 1 {
				return f, errClientKillID
			}
			f.id = id
		case "type":
			class, err := parseClass(value)
			if err != nil {
				return f, err
			}
			f.class = class
		case "addr":
			f.addr = string(value)
		case "laddr":
			f.laddr = string(value)
		case "user":
			if string(value) != "default" {
				return f, errorf("ERR No such user '%s'", cString(value, 128))
			}
			f.user = string(value)
		case "skipme":
			switch strings.ToLower(string(value)) {
			case "yes":
				f.skipMe = true
			case "no":
				f.skipMe = false
			default:
				return f, errSyntax
			}
		default:
			return f, errSyntax
		}
	}
	return f, nil
}

func clientHelpCommand(c *Call) error {
	return c.help("CLIENT",
		"GETNAME", "The name of this connection.",
		"ID", "The number of this connection; no other one has had it.",
		"INFO", "What CLIENT LIST says about this connection.",
		"KILL <ip:port>", "Closes the connection from this address.",
		"KILL <option> <value> [<option> <value> [...]]", "Closes those that meet all conditions: ADDR, LADDR, TYPE, USER, ID; SKIPME no includes this one.",
		"LIST [options ...]", "All connections, or those of a TYPE, or those with an ID.",
		"NO-EVICT (ON|OFF)", "Accepted; connections are never closed to free memory.",
		"SETINFO <option> <value>", "Sets LIB-NAME or LIB-VER of this connection.",
		"SETNAME <name>", "Names this connection.",
		"UNBLOCK <id> [TIMEOUT|ERROR]", "Ends the wait of a connection's blocking command.",
	)
}
