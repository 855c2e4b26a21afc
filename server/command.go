package server

import "strings"

// A command is one row of the command table: all that dispatch, COMMAND, MULTI and scripts need to know
// about a command besides what it does. Files contribute rows as functions:
//
//	func stringCommands() []*command {
//		return []*command{
//			{name: "get", arity: 2, flags: flagReadonly | flagFast, categories: catString, keys: oneKey, since: "1.0.0", handler: getCommand},
//			...
//
// The rows are functions, not variables, because handlers such as COMMAND refer to the table: a
// package-level table would be an initialization cycle. A golden file recorded from redis-server keeps
// the rows honest (command_test.go).
type command struct {
	name       string   // in lower case; of a subcommand, the second word alone ("list" of CLIENT LIST)
	arity      int      // number of words with the name (and subcommand); -n means n or more
	flags      flag     // as COMMAND INFO prints them
	categories category // the explicit ones only; newTable adds those that follow from the flags
	keys       keyRange // where keys are; the zero value means none
	// findKeys returns the positions of the keys in args for commands whose keys move (EVAL's numkeys).
	// Such a row carries flagMovablekeys, unless keys says where every key is.
	findKeys    func(args [][]byte) ([]int, error)
	tips        []string // hints for clients and proxies
	since       string   // the Redis version that introduced it; "" for those that Redis 7.0 does not have
	handler     handler  // nil for a row that only holds subcommands
	subcommands []*command

	// newTable fills these in.
	fullName string              // "client|list"; the name alone for others
	lookup   map[string]*command // the subcommands by name
}

// A handler executes a command: it reads c.Args, acts on c.DB, and writes exactly one reply to c.Out. An
// error that it returns replaces whatever it wrote; dispatch encodes it. It runs under the execution
// lock, so it must not block.
type handler func(c *Call) error

// A keyRange says which words are keys: the first, the last (counted from the end if negative), and the
// step between two of them.
type keyRange struct{ first, last, step int }

// The key ranges that most commands have.
var (
	oneKey  = keyRange{1, 1, 1}
	twoKeys = keyRange{1, 2, 1}
	allKeys = keyRange{1, -1, 1}
	keyVals = keyRange{1, -1, 2} // key value [key value ...]
)

// A flag is a property of a command that dispatch acts on or that clients read from COMMAND INFO.
type flag uint32

const (
	flagWrite           flag = 1 << iota // may modify the keyspace
	flagReadonly                         // reads values and modifies nothing
	flagDenyOOM                          // may need more memory: refused when there is none
	flagAdmin                            // administration; also category admin and dangerous
	flagPubSub                           // also category pubsub
	flagNoScript                         // refused inside scripts
	flagBlocking                         // may wait
	flagLoading                          // allowed while a data set is loaded
	flagStale                            // allowed on a replica with old data
	flagSkipMonitor                      // not shown to MONITOR
	flagSkipSlowlog                      // not in the slow log
	flagAsking                           // cluster: implies ASKING
	flagFast                             // O(1) or O(log n); category fast, else slow
	flagNoAuth                           // allowed before AUTH
	flagMayReplicate                     // may propagate although it is no write (PUBLISH, EVAL); not printed
	flagNoMandatoryKeys                  // may be called with no key at all
	flagAllowBusy                        // allowed while a script runs
	flagMovablekeys                      // findKeys finds more keys than the range says
	flagNoMulti                          // refused inside MULTI
	flagNoAsyncLoading                   // refused while a replica loads in the background
)

// flagNames lists the flags in the order in which COMMAND INFO prints them.
var flagNames = []struct {
	flag flag
	name string
}{
	{flagWrite, "write"},
	{flagReadonly, "readonly"},
	{flagDenyOOM, "denyoom"},
	{flagAdmin, "admin"},
	{flagPubSub, "pubsub"},
	{flagNoScript, "noscript"},
	{flagBlocking, "blocking"},
	{flagLoading, "loading"},
	{flagStale, "stale"},
	{flagSkipMonitor, "skip_monitor"},
	{flagSkipSlowlog, "skip_slowlog"},
	{flagAsking, "asking"},
	{flagFast, "fast"},
	{flagNoAuth, "no_auth"},
	{flagNoMandatoryKeys, "no_mandatory_keys"},
	{flagNoAsyncLoading, "no_async_loading"},
	{flagNoMulti, "no_multi"},
	{flagMovablekeys, "movablekeys"},
	{flagAllowBusy, "allow_busy"},
}

// A category groups commands for ACL rules and for COMMAND LIST FILTERBY ACLCAT.
type category uint32

const (
	catKeyspace category = 1 << iota
	catRead
	catWrite
	catSet
	catSortedSet
	catList
	catHash
	catString
	catBitmap
	catHyperLogLog
	catGeo
	catStream
	catPubSub
	catAdmin
	catFast
	catSlow
	catBlocking
	catDangerous
	catConnection
	catTransaction
	catScripting
)

// categoryNames lists the categories in the order in which COMMAND INFO prints them.
var categoryNames = []struct {
	category category
	name     string
}{
	{catKeyspace, "keyspace"},
	{catRead, "read"},
	{catWrite, "write"},
	{catSet, "set"},
	{catSortedSet, "sortedset"},
	{catList, "list"},
	{catHash, "hash"},
	{catString, "string"},
	{catBitmap, "bitmap"},
	{catHyperLogLog, "hyperloglog"},
	{catGeo, "geo"},
	{catStream, "stream"},
	{catPubSub, "pubsub"},
	{catAdmin, "admin"},
	{catFast, "fast"},
	{catSlow, "slow"},
	{catBlocking, "blocking"},
	{catDangerous, "dangerous"},
	{catConnection, "connection"},
	{catTransaction, "transaction"},
	{catScripting, "scripting"},
}

// implied returns the categories that follow from a row's flags.
func (cmd *command) implied() category {
	cats := cmd.categories
	if cmd.flags&flagWrite != 0 {
		cats |= catWrite
	}
	if cmd.flags&flagReadonly != 0 && cats&catScripting == 0 {
		cats |= catRead
	}
	if cmd.flags&flagAdmin != 0 {
		cats |= catAdmin | catDangerous
	}
	if cmd.flags&flagPubSub != 0 {
		cats |= catPubSub
	}
	if cmd.flags&flagBlocking != 0 {
		cats |= catBlocking
	}
	if cmd.flags&flagFast != 0 {
		return cats | catFast
	}
	return cats | catSlow
}

// arityOK reports whether a call of n words has a right number of them.
func (cmd *command) arityOK(n int) bool {
	if cmd.arity < 0 {
		return n >= -cmd.arity
	}
	return n == cmd.arity
}

// keyPositions returns where the keys are in args, which has passed arityOK.
func (cmd *command) keyPositions(args [][]byte) ([]int, error) {
	if cmd.findKeys != nil {
		return cmd.findKeys(args)
	}
	if cmd.keys.first == 0 {
		return nil, nil
	}
	last := cmd.keys.last
	if last < 0 {
		last += len(args)
	}
	var at []int
	for i := cmd.keys.first; i <= last && i < len(args); i += cmd.keys.step {
		at = append(at, i)
	}
	return at, nil
}

// A table finds commands by their words.
type table struct {
	rows   []*command // in the order of the groups below
	byName map[string]*command
}

// newTable collects the rows of all groups.
func newTable() *table {
	t := &table{byName: make(map[string]*command)}
	for _, group := range commandGroups() {
		for _, cmd := range group {
			t.add(cmd)
		}
	}
	return t
}

func (t *table) add(cmd *command) {
	if t.byName[cmd.name] != nil {
		panic("server: two rows for command " + cmd.name)
	}
	cmd.fullName = cmd.name
	cmd.categories = cmd.implied()
	if len(cmd.subcommands) > 0 {
		cmd.lookup = make(map[string]*command, len(cmd.subcommands))
	}
	for _, sub := range cmd.subcommands {
		sub.fullName = cmd.name + "|" + sub.name
		sub.categories = sub.implied()
		cmd.lookup[sub.name] = sub
	}
	t.rows = append(t.rows, cmd)
	t.byName[cmd.name] = cmd
}

// longestName bounds the buffer in which a word is lowered for lookup; no command's name is longer.
const longestName = 32

// find returns the row for the words of a command, which may be that of a subcommand. It returns nil if
// the first word names no command, and the container's row if the second word names no subcommand of it.
func (t *table) find(args [][]byte) *command {
	cmd := lookupWord(t.byName, args[0])
	if cmd == nil || cmd.lookup == nil || len(args) < 2 {
		return cmd
	}
	if sub := lookupWord(cmd.lookup, args[1]); sub != nil {
		return sub
	}
	return cmd
}

// findName is find for a name as COMMAND prints it, "client|list".
func (t *table) findName(name string) *command {
	first, second, two := strings.Cut(strings.ToLower(name), "|")
	cmd := t.byName[first]
	if cmd == nil || !two {
		return cmd
	}
	return cmd.lookup[second]
}

// lookupWord finds a word in any letter case, without allocating.
func lookupWord(m map[string]*command, word []byte) *command {
	if len(word) > longestName {
		return nil
	}
	var lower [longestName]byte
	for i, c := range word {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return m[string(lower[:len(word)])]
}
