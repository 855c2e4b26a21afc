package lua

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/holdfast-dev/holdfast/internal/resp"
)

// A Host is what a script can reach. Its methods are called on the goroutine that called Run, during Run.
type Host interface {
	// Call executes a command and writes its reply to out, in out's protocol version. Whatever is wrong
	// with the command, unknown or not allowed in scripts included, is an error reply. The words are valid
	// only during the call.
	Call(args [][]byte, out *resp.Writer)
	// Log writes a line to the node's log. The level is 0 (debug) to 3 (warning).
	Log(level int, message string)
	// Interrupt is asked now and then while a script runs whether it should go on. An error ends the
	// script, which cannot catch it; the reply is the error's text with the script's name and line.
	Interrupt() error
}

// The limits of the virtual machine. Lua 5.1's own are 20000 nested Lua calls and 200 nested C calls.
const (
	callDepth       = 8192      // nested calls, of which each takes 96 bytes for the life of the state
	stackSlots      = 1024      // values on a state's stack at first
	stackMax        = 1 << 20   // and at most
	stackGrow       = 4096      // grown in steps of so many
	tableArrayMax   = 1 << 24   // larger integer keys go to a table's hash part: t[2^26] = 1 must not take 1 GB
	maxScript       = 4 << 20   // bytes of a script's body: its syntax tree takes about 100 times as much
	keptBuffer      = 64 << 10  // scratch buffers larger than this are given back after a script
	maxString       = 512 << 20 // bytes of a string, as proto-max-bulk-len
	defaultMemory   = 1 << 30   // bytes that a script may add to the heap
	coroutinesDepth = 64        // coroutines resumed within coroutines
)

func init() {
	lua.MaxArrayIndex = tableArrayMax
	lua.CompatVarArg = true // the table arg in vararg functions, as Lua 5.1 is built
}

// An Interp is a sandboxed Lua state and its cache of compiled scripts. It is not safe for concurrent use:
// the node's execution lock guards it. Scripts leave nothing behind in it, since all globals and libraries
// are read-only to them.
type Interp struct {
	state      *lua.LState
	globals    *lua.LTable // what a global name is looked up in; scripts see it only through a proxy
	onError    *lua.LFunction
	stringMeta lua.LValue         // what scripts see as the metatable of strings
	scripts    map[string]*Script // by SHA1 in hex
	bytes      int                // sizes of the cached bodies

	// readonly leads from each table that scripts see but cannot modify to the table that holds its fields.
	readonly map[*lua.LTable]*lua.LTable

	meter meter
	rand  rand48

	// The script that is running.
	host    Host
	script  *Script
	reply   resp.Writer                    // replies of commands, in the protocol version that redis.setresp chose
	words   [][]byte                       // words of a command
	chars   []byte                         // their bytes
	depth   int                            // of nested coroutines
	nested  int                            // functions of Go below the running function that the virtual machine cannot suspend
	tables  int                            // of the reply so far
	sources map[string]*source             // of the chunks of this run, by name
	starts  map[*lua.LState]*lua.LFunction // of coroutines that have not started
}

// mainChunk is how messages call a script.
const mainChunk = "user_script"

// A Script is a compiled body. It belongs to the Interp that compiled it.
type Script struct {
	SHA1  string // of the body, 40 digits in lower case
	Body  string
	Flags Flags

	fn      *lua.LFunction
	source  *source
	metered bool // may run for long (source.endless)
}

// New returns an Interp without scripts.
func New(o Options) *Interp {
	in := &Interp{
		state: lua.NewState(lua.Options{
			CallStackSize:    callDepth,
			RegistrySize:     stackSlots,
			RegistryMaxSize:  stackMax,
			RegistryGrowStep: stackGrow,
			SkipOpenLibs:     true,
		}),
		scripts:  make(map[string]*Script),
		sources:  make(map[string]*source),
		starts:   make(map[*lua.LState]*lua.LFunction),
		readonly: make(map[*lua.LTable]*lua.LTable),
	}
	in.meter.memory = o.Memory
	if in.meter.memory == 0 {
		in.meter.memory = defaultMemory
	}
	in.globals = in.state.G.Global
	in.rand.x = firstRandom
	in.onError = in.state.NewFunction(in.handleError)
	in.openLibraries(o)
	return in
}

// Options configure an Interp.
type Options struct {
	Version string // what redis.REDIS_VERSION says, "7.0.15"
	Memory  uint64 // bytes that a script may add to the heap; 0 means 1 GiB
	// Quarantine, if there is one, becomes redis.quarantine(), which other servers do not have: in
	// milliseconds, for how long the node still grants no lock because it may have forgotten some.
	Quarantine func() time.Duration
	// Running, if there is one, becomes redis.running(), which other servers do not have either: a time that
	// does not jump with the wall clock, in milliseconds since 1970 as far as the node knew at its start.
	Running func() int64
}

// Digest returns the name of a script body: its SHA1 in lower-case hexadecimal.
func Digest(body []byte) string {
	sum := sha1.Sum(body)
	return hex.EncodeToString(sum[:])
}

// Lookup returns the cached script of that SHA1 (40 digits in lower case), or nil.
func (in *Interp) Lookup(sha []byte) *Script { return in.scripts[string(sha)] }

// Len returns how many scripts are cached, and Bytes the sizes of their bodies.
func (in *Interp) Len() int   { return len(in.scripts) }
func (in *Interp) Bytes() int { return in.bytes }

// Flush forgets all scripts.
func (in *Interp) Flush() {
	clear(in.scripts)
	in.bytes = 0
}

// Load compiles a body, or finds that it is cached. An error is an error reply: its text begins with ERR.
func (in *Interp) Load(body []byte) (*Script, error) {
	sha := Digest(body)
	if s := in.scripts[sha]; s != nil {
		return s, nil
	}
	s, err := in.compile(string(body), sha)
	if err != nil {
		return nil, err
	}
	in.scripts[sha] = s
	in.bytes += len(body)
	return s, nil
}

func (in *Interp) compile(body, sha string) (s *Script, err error) {
	flags, code, err := parseShebang([]byte(body))
	if err != nil {
		return nil, err
	}
	fn, src, err := in.load(code, mainChunk)
	if err != nil {
		return nil, scriptError("ERR Error compiling script (new function): " + err.Error())
	}
	return &Script{SHA1: sha, Body: body, Flags: flags, fn: fn, source: src, metered: src.endless}, nil
}

// load turns source text into a function of this state. The error's text is Lua's.
func (in *Interp) load(code, chunk string) (fn *lua.LFunction, src *source, err error) {
	if len(code) > maxScript {
		return nil, nil, fmt.Errorf("%s:1: chunk is too large", chunk)
	}
	// The code generator states some of its limits by panicking.
	defer func() {
		if r := recover(); r != nil {
			fn, src, err = nil, nil, fmt.Errorf("%s:1: %v", chunk, r)
		}
	}()
	src, err = parse(code, chunk)
	if err != nil {
		return nil, nil, err
	}
	proto, err := lua.Compile(src.block, chunk)
	if err != nil {
		return nil, nil, compileError(err, chunk)
	}
	// A chunk has no table arg; the virtual machine would make one for each run.
	proto.IsVarArg &^= lua.VarArgNeedsArg
	return in.state.NewFunctionFromProto(proto), src, nil
}

// Run executes a script and writes its reply, which may be an error, to out.
func (in *Interp) Run(s *Script, keys, args [][]byte, host Host, out *resp.Writer) {
	in.host, in.script = host, s
	in.reply.SetProto(2)
	in.meter.start(host)
	in.meter.note(len(s.Body)) // its constants
	in.globals.RawSetString("KEYS", in.stringTable(keys))
	in.globals.RawSetString("ARGV", in.stringTable(args))
	in.depth, in.nested, in.tables = 0, 0, 0
	clear(in.sources)
	in.sources[mainChunk] = s.source
	clear(in.starts)
	if s.metered {
		in.state.SetContext(&in.meter)
	}
	in.state.Push(s.fn)
	err := in.state.PCall(0, 1, in.onError)
	if s.metered {
		in.state.RemoveContext()
	}
	mark := out.Len()
	switch {
	case in.meter.err != nil:
		in.state.SetTop(0)
		in.writeEnd(out, in.meter.err, err)
	case err != nil:
		in.writeFailure(out, err)
	default:
		if !in.writeValue(out, in.state.Get(-1), 0) {
			out.Truncate(mark)
			in.writeError(out, errNoMemory.Error())
		}
	}
	in.state.SetTop(0)
	in.host, in.script = nil, nil
	in.release()
}

// release gives back what a large script has made large.
func (in *Interp) release() {
	if in.reply.Cap() > keptBuffer {
		in.reply.Release()
	}
	if cap(in.chars) > keptBuffer {
		in.chars = nil
	}
	if cap(in.words) > keptBuffer/16 {
		in.words = nil
	}
}

// stringTable returns the array of the words.
func (in *Interp) stringTable(words [][]byte) *lua.LTable {
	t := in.state.CreateTable(len(words), 0)
	for _, w := range words {
		in.meter.note(len(w))
		t.Append(lua.LString(w))
	}
	return t
}

// A scriptError is an error reply.
type scriptError string

func (e scriptError) Error() string { return string(e) }
