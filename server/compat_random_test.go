package server_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// Ensure that our node answers what redis-server 7.0.15 answers to random sequences of commands on few
// keys, and that both hold the same afterwards.
//
// HOLDFAST_COMPAT_CHECKS sets the number of sequences (default 60).
func TestCompatRandom(t *testing.T) {
	checks := os.Getenv("HOLDFAST_COMPAT_CHECKS")
	if checks == "" {
		checks = "60"
	}
	rapidChecks := flag.Lookup("rapid.checks")
	was := rapidChecks.Value.String()
	require.NoError(t, rapidChecks.Value.Set(checks))
	defer rapidChecks.Value.Set(was)

	redis, node := startRedis(t), startNode(t)
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprintf("resp%d", proto), func(t *testing.T) {
			r := newRun(t, proto, redis, node)
			rapid.Check(t, func(rt *rapid.T) {
				r.reset(rt)
				g := &commandGen{t: rt, now: r.now.Unix()}
				for range rapid.IntRange(1, 60).Draw(rt, "length") {
					r.check(rt, g.next())
				}
				for _, s := range finalSteps {
					r.check(rt, s)
				}
			})
		})
	}
}

// reset empties both servers and goes back to database 0.
func (r *run) reset(t *rapid.T) {
	r.now = clock.Wall()
	for _, words := range [][]string{{"FLUSHALL"}, {"SELECT", "0"}} {
		r.check(t, step{conn: "main", words: words})
	}
}

// check compares one step and fails t, not the run's test: rapid looks for the shortest sequence then.
func (r *run) check(t *rapid.T, s step) {
	s.conn = "main"
	failure := ""
	if s.directive == "fullscan" {
		failure = r.scanFailure(s)
	} else {
		failure = r.failure(s, r.send(theirs, s), r.send(ours, s))
	}
	if failure != "" {
		t.Fatalf("%s", failure)
	}
}

// commandKeys are the keys of the random commands.
var commandKeys = []string{"a", "b", "c", "", "\x00\r\n"}

// finalSteps compare what is left of a sequence.
var finalSteps = func() (steps []step) {
	for _, db := range []string{"0", "1"} {
		steps = append(steps, step{words: []string{"SELECT", db}},
			step{directive: "unordered", words: []string{"KEYS", "*"}}, step{directive: "fullscan", words: []string{"SCAN", "COUNT", "2"}})
		for _, k := range commandKeys {
			steps = append(steps,
				step{words: []string{"TYPE", k}},
				step{words: []string{"GET", k}},
				step{directive: "unordered", words: []string{"SMEMBERS", k}},
				step{words: []string{"LRANGE", k, "0", "-1"}},
				step{directive: "unordered", words: []string{"HGETALL", k}},
				step{words: []string{"ZRANGE", k, "0", "-1", "WITHSCORES"}},
				step{words: []string{"OBJECT", "ENCODING", k}},
				step{directive: "near", params: []string{"2000"}, words: []string{"PTTL", k}},
				step{directive: "near", params: []string{"2000"}, words: []string{"PEXPIRETIME", k}})
		}
		// Only now: a key that has expired counts until somebody, or the active cycle, has looked at it.
		steps = append(steps, step{words: []string{"DBSIZE"}})
	}
	return steps
}()

// A commandGen draws commands. Times are drawn so that what the servers decide by them does not depend on
// which of the two was quicker.
type commandGen struct {
	t   *rapid.T
	now int64
}

func (g *commandGen) pick(label string, from ...string) string {
	return rapid.SampledFrom(from).Draw(g.t, label)
}

func (g *commandGen) chance(n int) bool { return rapid.IntRange(1, n).Draw(g.t, "chance") == 1 }

func (g *commandGen) key() string { return g.pick("key", commandKeys...) }

func (g *commandGen) value() string {
	if g.chance(2) {
		return g.pick("number", "0", "1", "-1", "10", "9999", "10000", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
			"3.5", "-0", "-0.0", "1e3", "1e-5", "0x10", "inf", "nan", "007", " 1", "12345678901234567890", "0.1", "1e4932")
	}
	return g.pick("value", "", "x", "hello", "\x00\xff\r\n", strings.Repeat("long ", 9), strings.Repeat("z", 45), "*", "[a-", "nx")
}

// integer mostly draws one, near the edges of all ranges.
func (g *commandGen) integer() string {
	return g.pick("integer", "0", "1", "2", "3", "-1", "-2", "5", "10", "-10", "9223372036854775807", "-9223372036854775808",
		"9223372036854775808", "abc", "", "1.5", "-0", "2147483648")
}

// offset draws positions in strings, small enough to keep memory small or too large for any string.
func (g *commandGen) offset() string {
	return g.pick("offset", "0", "1", "4", "50", "-1", "-3", "-100", "536870912", "9223372036854775807", "-9223372036854775808", "x")
}

// seconds draws a ttl. Those that are good are far from each other.
func (g *commandGen) seconds() string {
	return g.pick("seconds", "100", "1000", "100000", "0", "-1", "9223372036854775807", "9223372036854775", "abc")
}

func (g *commandGen) milliseconds() string {
	return g.pick("milliseconds", "100000", "1000000", "100000000", "0", "-1", "9223372036854775807", "x")
}

// unix draws a moment in seconds since 1970; no relative ttl above reaches close to it.
func (g *commandGen) unix() string {
	offset := rapid.SampledFrom([]int64{50, 500, 5000, 500000, -10}).Draw(g.t, "unix")
	return g.pick("at", fmt.Sprint(g.now+offset), fmt.Sprint(g.now+offset), "0", "-1", "1", "9223372036854775807", "y")
}

func (g *commandGen) unixMilli() string {
	offset := rapid.SampledFrom([]int64{40, 400, 4000, 400000, -10}).Draw(g.t, "unixMilli")
	return g.pick("at", fmt.Sprintf("%d123", g.now+offset), fmt.Sprintf("%d123", g.now+offset), "0", "-1", "1", "z")
}

// expiryOption draws an option of SET or GETEX that sets a ttl.
func (g *commandGen) expiryOption() []string {
	switch option := g.pick("expiry", "EX", "PX", "EXAT", "PXAT", "ex", "pX"); strings.ToUpper(option) {
	case "EX":
		return []string{option, g.seconds()}
	case "PX":
		return []string{option, g.milliseconds()}
	case "EXAT":
		return []string{option, g.unix()}
	default:
		return []string{option, g.unixMilli()}
	}
}

func (g *commandGen) setOptions() (words []string) {
	for range rapid.IntRange(0, 3).Draw(g.t, "options") {
		if g.chance(2) {
			words = append(words, g.expiryOption()...)
		} else {
			words = append(words, g.pick("option", "NX", "XX", "GET", "KEEPTTL", "nx", "Get", "PERSIST", "bogus"))
		}
	}
	return words
}

func (g *commandGen) getexOptions() (words []string) {
	for range rapid.IntRange(0, 2).Draw(g.t, "options") {
		if g.chance(3) {
			words = append(words, g.pick("option", "PERSIST", "persist", "KEEPTTL", "NX"))
		} else {
			words = append(words, g.expiryOption()...)
		}
	}
	return words
}

// expire draws one of the four EXPIRE commands. GT and LT go with moments only: two relative ttl may or
// may not fall into the same millisecond.
func (g *commandGen) expire() []string {
	var words []string
	conditions := []string{"NX", "XX", "nx", "xx"}
	switch name := g.pick("expire", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"); name {
	case "EXPIRE":
		words = []string{name, g.key(), g.seconds()}
	case "PEXPIRE":
		words = []string{name, g.key(), g.milliseconds()}
	case "EXPIREAT":
		words, conditions = []string{name, g.key(), g.unix()}, append(conditions, "GT", "LT", "gt")
	default:
		words, conditions = []string{name, g.key(), g.unixMilli()}, append(conditions, "GT", "LT", "lt")
	}
	for range rapid.IntRange(0, 2).Draw(g.t, "conditions") {
		words = append(words, g.pick("condition", append(conditions, "bogus")...))
	}
	return words
}

func (g *commandGen) copyOptions() (words []string) {
	for range rapid.IntRange(0, 2).Draw(g.t, "options") {
		words = append(words, rapid.SampledFrom([][]string{{"REPLACE"}, {"DB", "0"}, {"DB", "1"}, {"DB", "99"}, {"DB", "x"}, {"DB"}, {"bogus"}}).Draw(g.t, "option")...)
	}
	return words
}

func (g *commandGen) several(draw func() string, most int) (words []string) {
	for range rapid.IntRange(1, most).Draw(g.t, "n") {
		words = append(words, draw())
	}
	return words
}

func (g *commandGen) pairs() (words []string) {
	for range rapid.IntRange(1, 3).Draw(g.t, "pairs") {
		words = append(words, g.key(), g.value())
	}
	return words
}

// next draws a command with how its replies are compared. Now and then a word is missing or too much.
func (g *commandGen) next() step {
	s := g.command()
	switch {
	case s.directive == "" && g.chance(30) && len(s.words) > 1:
		s.words = s.words[:len(s.words)-1]
	case s.directive == "" && g.chance(30):
		s.words = append(s.words, g.value())
	}
	return s
}

func (g *commandGen) command() step {
	words := func(name string, rest ...string) step { return step{words: append([]string{name}, rest...)} }
	name := g.pick("command", "SET", "SET", "SET", "GET", "GETDEL", "GETEX", "GETSET", "SETNX", "SETEX", "PSETEX", "MGET", "MSET", "MSETNX",
		"INCR", "DECR", "INCRBY", "DECRBY", "INCRBYFLOAT", "APPEND", "STRLEN", "GETRANGE", "SUBSTR", "SETRANGE", "DEL", "UNLINK", "EXISTS",
		"TYPE", "TOUCH", "RENAME", "RENAMENX", "COPY", "MOVE", "KEYS", "SCAN", "FLUSHDB", "SWAPDB", "SELECT", "EXPIRE", "EXPIRE",
		"TTL", "EXPIRETIME", "PTTL", "PEXPIRETIME", "PERSIST", "OBJECT", "SORT",
		"a set command", "a set command", "a list command", "a list command", "a hash command", "a sorted set command", "a sorted set command",
		"a bits command", "a bits command")
	switch name {
	case "a hash command":
		return g.hashCommand()
	case "a sorted set command":
		return g.zsetCommand()
	case "a bits command":
		return g.bitsCommand()
	case "a set command":
		return g.setCommand()
	case "a list command":
		return g.listCommand()
	case "SET":
		return words(name, append([]string{g.key(), g.value()}, g.setOptions()...)...)
	case "GETEX":
		return words(name, append([]string{g.key()}, g.getexOptions()...)...)
	case "GETSET", "SETNX", "APPEND":
		return words(name, g.key(), g.value())
	case "SETEX":
		return words(name, g.key(), g.seconds(), g.value())
	case "PSETEX":
		return words(name, g.key(), g.milliseconds(), g.value())
	case "MGET", "DEL", "UNLINK", "EXISTS", "TOUCH":
		return words(name, g.several(g.key, 4)...)
	case "MSET", "MSETNX":
		return words(name, g.pairs()...)
	case "INCRBY", "DECRBY":
		return words(name, g.key(), g.integer())
	case "INCRBYFLOAT":
		return words(name, g.key(), g.value())
	case "GETRANGE", "SUBSTR":
		return words(name, g.key(), g.offset(), g.offset())
	case "SETRANGE":
		return words(name, g.key(), g.offset(), g.value())
	case "RENAME", "RENAMENX":
		return words(name, g.key(), g.key())
	case "COPY":
		return words(name, append([]string{g.key(), g.key()}, g.copyOptions()...)...)
	case "MOVE":
		return words(name, g.key(), g.pick("db", "0", "1", "1", "16", "x"))
	case "SELECT":
		return words(name, g.pick("db", "0", "0", "1", "16", "x"))
	case "SORT": // of words whose order is unique and the same whatever locale redis-server has
		options := rapid.SampledFrom([][]string{nil, {"DESC"}, {"LIMIT", "1", "3"}, {"GET", "#", "GET", "*"}, {"LIMIT", "x", "1"}, {"BY"}})
		return words(name, append([]string{g.key(), "ALPHA", "STORE", g.key()}, options.Draw(g.t, "options")...)...)
	case "SWAPDB":
		return words(name, g.pick("db", "0", "1", "x"), g.pick("db", "0", "1", "16"))
	case "KEYS":
		return step{directive: "unordered", words: []string{name, g.pick("pattern", "*", "?", "[ab]", "", "[^a]", "**", "a*", "\\a", "[")}}
	case "SCAN":
		return step{directive: "fullscan", words: append([]string{name}, rapid.SampledFrom([][]string{
			nil, {"COUNT", "1"}, {"MATCH", "[a-b]"}, {"TYPE", "string"}, {"TYPE", "hash", "MATCH", "*"}}).Draw(g.t, "options")...)}
	case "FLUSHDB":
		return words(name, rapid.SampledFrom([][]string{nil, {"ASYNC"}, {"SYNC"}, {"x"}}).Draw(g.t, "mode")...)
	case "EXPIRE":
		return step{words: g.expire()}
	case "TTL", "EXPIRETIME":
		return step{directive: "near", params: []string{"2"}, words: []string{name, g.key()}}
	case "PTTL", "PEXPIRETIME":
		return step{directive: "near", params: []string{"2000"}, words: []string{name, g.key()}}
	case "OBJECT":
		return words(name, g.pick("subcommand", "ENCODING", "bogus"), g.key())
	default: // GET GETDEL INCR DECR STRLEN TYPE PERSIST
		return words(name, g.key())
	}
}
