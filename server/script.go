package server

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"strconv"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/lua"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// A scripting is the node's side of internal/lua: the one Lua state with its cache, and what a running
// script does to the node. The execution lock guards it.
//
// A script runs under the execution lock like any command, so for everybody else it happens at once. One
// that runs for longer than busy-reply-threshold lends the lock to the others now and then (Interrupt).
// They may then use only what is safe in the middle of a script, the commands with flagAllowBusy, above
// all SCRIPT KILL; everything else is answered with BUSY.
type scripting struct {
	interp *lua.Interp // made for the first script
	run    scriptRun   // the script under way
	busy   bool        // it has run for longer than the threshold
}

// A scriptRun is one execution of a script, and the lua.Host that the script sees.
type scriptRun struct {
	call     *Call // EVAL's; nil when no script runs
	inner    Call  // reused for each command of the script
	readonly bool
	wrote    bool // a write command was executed: killing the script now would leave half of its work
	killed   bool
	started  clock.Instant // on the clock as it runs, unlike the frozen time of the call
}

// The errors of scripts. Those of redis.call have no position in the words of the command, so Redis adds
// none.
const (
	errNoScript        = wireError("NOSCRIPT No matching script. Please use EVAL.")
	errNegativeKeys    = wireError("ERR Number of keys can't be negative")
	errTooManyKeys     = wireError("ERR Number of keys can't be greater than number of args")
	errScriptFlush     = wireError("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
	errNotBusy         = wireError("NOTBUSY No scripts in execution right now.")
	errUnkillable      = wireError("UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.")
	errBusy            = wireError("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")
	errKilled          = wireError("ERR Script killed by user with SCRIPT KILL...")
	errScriptShutdown  = wireError("ERR Script ended by the shutdown of the server.")
	errNoDebugger      = wireError("ERR this server has no script debugger")
	errScriptDebug     = wireError("ERR Use SCRIPT DEBUG YES/SYNC/NO")
	errScriptUnknown   = wireError("ERR Unknown Redis command called from script")
	errScriptArity     = wireError("ERR Wrong number of args calling Redis command from script")
	errScriptForbidden = wireError("ERR This Redis command is not allowed from script")
	errScriptWrites    = wireError("ERR Can not execute a script with write flag using *_ro command.")
	errScriptReadonly  = wireError("ERR Write commands are not allowed from read-only scripts.")
)

func scriptCommands() []*command {
	const eval = flagNoScript | flagStale | flagSkipMonitor | flagNoMandatoryKeys | flagMovablekeys
	row := func(name string, flags flag, since string, h handler) *command {
		return &command{name: name, arity: -3, flags: flags, categories: catScripting, findKeys: evalKeys, since: since, handler: h}
	}
	sub := func(name string, arity int, flags flag, since string, h handler, tips ...string) *command {
		return &command{name: name, arity: arity, flags: flags, categories: catScripting, tips: tips, since: since, handler: h}
	}
	return []*command{
		row("eval", eval, "2.6.0", evalCommand),
		row("evalsha", eval, "2.6.0", evalshaCommand),
		row("eval_ro", eval|flagReadonly, "7.0.0", evalCommand),
		row("evalsha_ro", eval|flagReadonly, "7.0.0", evalshaCommand),
		{name: "script", arity: -2, since: "2.6.0", subcommands: []*command{
			sub("debug", 3, flagNoScript, "3.2.0", scriptDebugCommand),
			sub("exists", -3, flagNoScript, "2.6.0", scriptExistsCommand, "request_policy:all_shards", "response_policy:agg_logical_and"),
			sub("flush", -2, flagNoScript, "2.6.0", scriptFlushCommand, "request_policy:all_nodes", "response_policy:all_succeeded"),
			sub("help", 2, flagLoading|flagStale, "5.0.0", scriptHelpCommand),
			sub("kill", 2, flagNoScript|flagAllowBusy, "2.6.0", scriptKillCommand, "request_policy:all_shards", "response_policy:one_succeeded"),
			sub("load", 3, flagNoScript|flagStale, "2.6.0", scriptLoadCommand, "request_policy:all_nodes", "response_policy:all_succeeded"),
		}},
	}
}

// evalKeys returns the positions of the keys of EVAL and its relatives.
func evalKeys(args [][]byte) ([]int, error) {
	n, err := numKeys(args)
	if err != nil {
		return nil, errorf("ERR Invalid arguments specified for command")
	}
	at := make([]int, n)
	for i := range at {
		at[i] = 3 + i
	}
	return at, nil
}

// numKeys reads EVAL's number of keys.
func numKeys(args [][]byte) (int, error) {
	n, err := integer(args[2])
	switch {
	case err != nil:
		return 0, err
	case n > int64(len(args)-3):
		return 0, errTooManyKeys
	case n < 0:
		return 0, errNegativeKeys
	}
	return int(n), nil
}

// evalCommand is EVAL and EVAL_RO.
func evalCommand(c *Call) error {
	n, err := numKeys(c.Args)
	if err != nil {
		return err
	}
	s, err := c.srv.scripts.load(c.srv).Load(c.Args[1])
	if err != nil {
		return err
	}
	return c.runScript(s, n)
}

// evalshaCommand is EVALSHA and EVALSHA_RO. A digest that is none is a script that is not there.
func evalshaCommand(c *Call) error {
	var sha [40]byte
	if len(c.Args[1]) != len(sha) {
		return errNoScript
	}
	for i, b := range c.Args[1] {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		sha[i] = b
	}
	n, err := numKeys(c.Args)
	if err != nil {
		return err
	}
	s := c.srv.scripts.load(c.srv).Lookup(sha[:])
	if s == nil {
		return errNoScript
	}
	return c.runScript(s, n)
}

// runScript executes a script with n keys as this call. A script whose first line does not declare that it
// writes nothing is no script for EVAL_RO; one without such a line is, and must not write.
func (c *Call) runScript(s *lua.Script, n int) error {
	if c.cmd.flags&flagReadonly != 0 && s.Flags&(lua.Declared|lua.NoWrites) == lua.Declared {
		return errScriptWrites
	}
	sc := &c.srv.scripts
	db := c.session.db
	r := &sc.run
	*r = scriptRun{
		call:     c,
		inner:    Call{srv: c.srv, session: c.session, now: c.now, from: fromScript},
		readonly: c.cmd.flags&flagReadonly != 0 || s.Flags&lua.NoWrites != 0,
	}
	sc.interp.Run(s, c.Args[3:3+n], c.Args[3+n:], r, c.Out)
	r.call = nil
	sc.busy = false
	c.session.db = db // SELECT in a script is the script's own
	return nil
}

// load returns the Lua state, made when it is first needed.
func (sc *scripting) load(srv *Server) *lua.Interp {
	if sc.interp == nil {
		sc.interp = lua.New(lua.Options{Version: redisVersion, Quarantine: srv.quarantine, Running: srv.running})
	}
	return sc.interp
}

// quarantine returns for how long the node still grants no lock, by the time of the running script.
func (s *Server) quarantine() time.Duration {
	if s.config.Quarantine <= 0 {
		return 0
	}
	return max(s.start.Add(s.config.Quarantine).Sub(s.scripts.run.inner.now), 0)
}

// running is the time of the running script.
func (s *Server) running() int64 { return s.runningAt(s.scripts.run.inner.now) }

// runningAt is an instant as a number, for deadlines that a script stores: what the wall clock said at the start
// of the node and how long it has run since, in milliseconds. Unlike the wall clock it never jumps.
func (s *Server) runningAt(now clock.Instant) int64 {
	return s.began.Add(now.Sub(s.start)).UnixMilli()
}

// Call implements lua.Host.
func (r *scriptRun) Call(args [][]byte, out *resp.Writer) {
	srv := r.inner.srv
	cmd, err := r.check(args)
	if err != nil {
		srv.stats.errors++
		out.Error(err)
		return
	}
	r.wrote = r.wrote || cmd.flags&flagWrite != 0
	r.inner.Args, r.inner.Out, r.inner.DB, r.inner.cmd = args, out, r.inner.session.db, cmd
	srv.call(&r.inner)
}

// check is what dispatch checks, for commands of scripts.
func (r *scriptRun) check(args [][]byte) (*command, error) {
	cmd := r.inner.srv.table.find(args)
	switch {
	case cmd == nil || cmd.lookup != nil && len(args) > 1:
		return nil, errScriptUnknown
	case !cmd.arityOK(len(args)):
		return nil, errScriptArity
	case cmd.flags&flagNoScript != 0:
		return nil, errScriptForbidden
	case r.readonly && cmd.flags&(flagWrite|flagMayReplicate) != 0:
		return nil, errScriptReadonly
	}
	return cmd, nil
}

// busyThreshold is the setting of Config.BusyAfter in milliseconds, under one of its names.
func busyThreshold(name string) directive {
	return directive{
		name: name,
		get: func(c *Config) string {
			return strconv.FormatInt(max(c.BusyAfter, 0).Milliseconds(), 10)
		},
		set: func(c *Config, value string) error {
			n, err := parseBetween(value, 0, math.MaxInt64/int64(time.Millisecond))
			if err != nil {
				return err
			}
			if c.BusyAfter = time.Duration(n) * time.Millisecond; n == 0 {
				c.BusyAfter = -1
			}
			return nil
		},
	}
}

// scriptLevels are the levels of redis.log.
var scriptLevels = [...]slog.Level{slog.LevelDebug, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn}

// Log implements lua.Host.
func (r *scriptRun) Log(level int, message string) {
	r.inner.srv.log.Log(context.Background(), scriptLevels[level], message)
}

// Interrupt implements lua.Host: it ends a script that was killed, and lets the other clients in once the
// script has run for too long.
func (r *scriptRun) Interrupt() error {
	srv := r.inner.srv
	now := clock.Now()
	if r.started == 0 {
		r.started = now
	}
	if now.Sub(r.started) > srv.config.BusyAfter {
		srv.scripts.lend(srv)
	}
	select {
	case <-srv.stop:
		return errScriptShutdown
	default:
	}
	if r.killed {
		return errKilled
	}
	return nil
}

// lend lets those who wait for the execution lock have it for once. They find busy set and run nothing that
// could disturb the script.
func (sc *scripting) lend(srv *Server) {
	if !sc.busy {
		sc.busy = true
		srv.log.Warn("slow script", "running", clock.Since(sc.run.started))
	}
	srv.mu.Unlock()
	srv.mu.Lock()
}

func scriptLoadCommand(c *Call) error {
	s, err := c.srv.scripts.load(c.srv).Load(c.Args[2])
	if err != nil {
		return err
	}
	c.Out.BulkString(s.SHA1)
	return nil
}

func scriptExistsCommand(c *Call) error {
	in := c.srv.scripts.load(c.srv)
	c.Out.Array(len(c.Args) - 2)
	for _, sha := range c.Args[2:] {
		n := int64(0)
		if in.Lookup(bytes.ToLower(sha)) != nil {
			n = 1
		}
		c.Out.Int(n)
	}
	return nil
}

// scriptFlushCommand flushes at once in either mode: what is left is the garbage collector's.
func scriptFlushCommand(c *Call) error {
	if len(c.Args) > 3 || len(c.Args) == 3 && !isWord(c.Args[2], "sync") && !isWord(c.Args[2], "async") {
		return errScriptFlush
	}
	c.srv.scripts.load(c.srv).Flush()
	return c.OK()
}

func scriptKillCommand(c *Call) error {
	r := &c.srv.scripts.run
	switch {
	case r.call == nil:
		return errNotBusy
	case r.wrote:
		return errUnkillable
	}
	r.killed = true
	return c.OK()
}

func scriptDebugCommand(c *Call) error {
	switch {
	case isWord(c.Args[2], "no"):
		return c.OK()
	case isWord(c.Args[2], "yes"), isWord(c.Args[2], "sync"):
		return errNoDebugger
	}
	return errScriptDebug
}

func scriptHelpCommand(c *Call) error {
	lines := []string{
		"SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"DEBUG (YES|SYNC|NO)",
		"    Set the debug mode for subsequent scripts executed.",
		"EXISTS <sha1> [<sha1> ...]",
		"    Return information about the existence of the scripts in the script cache.",
		"FLUSH [ASYNC|SYNC]",
		"    Flush the Lua scripts cache. Very dangerous on replicas.",
		"    When called without the optional mode argument, the behavior is determined by the",
		"    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
		"    * ASYNC: Asynchronously flush the scripts cache.",
		"    * SYNC: Synchronously flush the scripts cache.",
		"KILL",
		"    Kill the currently executing Lua script.",
		"LOAD <script>",
		"    Load a script into the scripts cache without executing it.",
		"HELP",
		"    Prints this help.",
	}
	c.Out.Array(len(lines))
	for _, line := range lines {
		c.Out.Simple(line)
	}
	return nil
}
