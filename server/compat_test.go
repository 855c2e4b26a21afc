package server_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// Ensure that our node answers what redis-server 7.0.15 answers, byte for byte, to the scripts of
// testdata/compat, whose README.md tells the format.
func TestCompat(t *testing.T) {
	redis := startRedis(t)
	scripts, err := filepath.Glob("testdata/compat/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			for _, proto := range []int{2, 3} {
				t.Run(fmt.Sprintf("resp%d", proto), func(t *testing.T) {
					r := newRun(t, proto, redis, startNode(t))
					for i, line := range strings.Split(string(text), "\n") {
						r.where = fmt.Sprintf("%s:%d", path, i+1)
						r.line(strings.TrimSpace(line))
					}
				})
			}
		})
	}
}

// A run is one script in one protocol.
type run struct {
	t     *testing.T
	proto int
	pair  [2]*peerRun // theirs, ours
	where string      // file and line
	now   time.Time   // the same for both
}

// theirs and ours index the two servers.
const (
	theirs = 0
	ours   = 1
)

// A peerRun is what a script has on one server.
type peerRun struct {
	addr  string
	conns map[string]*wire
	vars  map[string]string
}

func newRun(t *testing.T, proto int, redis, node string) *run {
	r := &run{t: t, proto: proto}
	for i, addr := range []string{redis, node} {
		r.pair[i] = &peerRun{addr: addr, conns: map[string]*wire{}, vars: map[string]string{}}
		w := dial(t, addr, 2)
		w.do("FLUSHALL")
		w.close()
	}
	t.Cleanup(func() {
		for _, p := range r.pair {
			for _, w := range p.conns {
				w.close()
			}
		}
	})
	return r
}

// conn returns the connection of a name, in the run's protocol.
func (r *run) conn(side int, name string) *wire {
	p := r.pair[side]
	if p.conns[name] == nil {
		p.conns[name] = dial(r.t, p.addr, r.proto)
	}
	return p.conns[name]
}

func (r *run) failf(format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("%s: %s", r.where, fmt.Sprintf(format, args...))
}

func (r *run) fatalf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("%s: %s", r.where, fmt.Sprintf(format, args...))
}

// A step is a line, taken apart.
type step struct {
	directive string   // without the exclamation mark; "" for a bare command
	params    []string // of the directive
	conn      string
	words     []string // the command, nothing replaced yet
}

// directiveParams tells how many words belong to a directive before the connection and the command.
var directiveParams = map[string]int{
	"unordered": 0, "near": 1, "match": 1, "fullscan": 0, "until": 1, "save": 1, "ours": 2, "differs": 2,
	"read": 0, "raw": 2, "closed": 0,
}

func (r *run) parse(line string) (step, bool) {
	words, ok := splitWords(line)
	if !ok {
		r.fatalf("unbalanced quotes")
	}
	s := step{conn: "main"}
	for len(words) > 0 && (words[0] == "!resp2" || words[0] == "!resp3") {
		if words[0] != fmt.Sprintf("!resp%d", r.proto) {
			return s, false
		}
		words = words[1:]
	}
	if len(words) > 0 && strings.HasPrefix(words[0], "!") {
		s.directive = words[0][1:]
		n, known := directiveParams[s.directive]
		if !known || len(words) < 1+n {
			r.fatalf("bad directive !%s", s.directive)
		}
		s.params, words = words[1:1+n], words[1+n:]
	}
	if len(words) > 0 && strings.HasPrefix(words[0], "@") {
		s.conn, words = words[0][1:], words[1:]
	}
	s.words = words
	takesNone := s.directive == "read" || s.directive == "raw" || s.directive == "closed"
	if takesNone != (len(words) == 0) {
		r.fatalf("command missing or too much")
	}
	return s, true
}

func (r *run) line(line string) {
	if line == "" || line[0] == '#' {
		return
	}
	r.now = clock.Wall()
	s, mine := r.parse(line)
	if !mine {
		return
	}
	switch s.directive {
	case "read":
		r.equal(s, r.conn(theirs, s.conn).read(), r.conn(ours, s.conn).read())
	case "raw":
		r.raw(s)
	case "closed":
		r.closed(s)
	case "ours":
		if got := r.send(ours, s); got != s.params[1] {
			r.failf("%s: ours %q, expected %q", s.words, got, s.params[1])
		}
	case "fullscan":
		r.fullscan(s)
	case "until":
		r.until(s)
	default:
		r.compare(s, r.send(theirs, s), r.send(ours, s))
	}
}

// send sends a step's command to one side and returns the raw reply.
func (r *run) send(side int, s step) string {
	return r.conn(side, s.conn).do(r.expand(side, s.words)...)
}

// compare holds two replies against each other as the directive says.
func (r *run) compare(s step, their, our string) {
	if failure := r.failure(s, their, our); failure != "" {
		r.failf("%s", failure)
	}
}

// failure says how two replies fail the comparison that the directive asks for; "" if they do not.
func (r *run) failure(s step, their, our string) string {
	differ := func(what string) string {
		return fmt.Sprintf("%q\n\ttheirs %.600q\n\tours   %.600q\n\t%s", s.words, their, our, what)
	}
	switch s.directive {
	case "unordered":
		if !slices.Equal(sortedElements(their), sortedElements(our)) {
			return differ("in any order")
		}
	case "near":
		limit, err := strconv.ParseInt(s.params[0], 10, 64)
		a, okA := number(their)
		b, okB := number(our)
		if err != nil || !okA || !okB || max(a, b)-min(a, b) > limit {
			return differ("must be within " + s.params[0])
		}
	case "match":
		re := regexp.MustCompile(s.params[0])
		if !re.MatchString(their) || !re.MatchString(our) {
			return differ("must match " + s.params[0])
		}
	case "save":
		r.pair[theirs].vars[s.params[0]] = content(their)
		r.pair[ours].vars[s.params[0]] = content(our)
	case "differs":
		if our != s.params[1] || their == our {
			return differ(fmt.Sprintf("must differ (%s), ours must be %q", s.params[0], s.params[1]))
		}
	default:
		if their != our {
			return differ("must be equal")
		}
	}
	return ""
}

func (r *run) equal(s step, their, our string) {
	s.directive = ""
	r.compare(s, their, our)
}

func (r *run) raw(s step) {
	n, err := strconv.Atoi(s.params[0])
	if err != nil {
		r.fatalf("!raw wants a number of replies")
	}
	for side := range r.pair {
		r.conn(side, s.conn).write(r.replace(side, s.params[1]))
	}
	s.words = []string{s.params[1]}
	for range n {
		r.equal(s, r.conn(theirs, s.conn).read(), r.conn(ours, s.conn).read())
	}
}

func (r *run) closed(s step) {
	for side, name := range []string{theirs: "redis-server", ours: "our node"} {
		if rest, closed := r.conn(side, s.conn).readClosed(); !closed {
			r.failf("%s has not closed the connection, it sent %q", name, rest)
		}
		r.conn(side, s.conn).close()
		delete(r.pair[side].conns, s.conn)
	}
}

// patience bounds !until. It is far beyond any ttl in the scripts.
const patience = 5 * time.Second

func (r *run) until(s step) {
	for side, name := range []string{theirs: "redis-server", ours: "our node"} {
		for got := ""; got != s.params[0]; got = r.send(side, s) {
			if clock.Wall().Sub(r.now) > patience {
				r.failf("%s: %s still answers %q", s.words, name, got)
				return
			}
		}
	}
}

func (r *run) fullscan(s step) {
	if failure := r.scanFailure(s); failure != "" {
		r.failf("%s", failure)
	}
}

// scanFailure runs a scan to its end on both sides and says how what was found differs; "" if it does not.
func (r *run) scanFailure(s step) string {
	var found [2][]string
	for side := range r.pair {
		var err error
		if found[side], err = r.scan(side, s); err != nil {
			return fmt.Sprintf("%q: %v", s.words, err)
		}
	}
	if !slices.Equal(found[theirs], found[ours]) {
		return fmt.Sprintf("%q\n\ttheirs %q\n\tours   %q", s.words, found[theirs], found[ours])
	}
	return ""
}

// longestScan bounds the calls of one scan.
const longestScan = 100_000

// scan returns what a scan finds, sorted and each element once: a name, or for HSCAN and ZSCAN a name with
// what belongs to it.
func (r *run) scan(side int, s step) ([]string, error) {
	cursorAt, width := 2, 2
	if strings.EqualFold(s.words[0], "scan") {
		cursorAt = 1
	}
	if strings.EqualFold(s.words[0], "scan") || strings.EqualFold(s.words[0], "sscan") {
		width = 1
	}
	seen := map[string]bool{}
	cursor := "0"
	for calls := 0; calls == 0 || cursor != "0"; calls++ {
		reply := r.conn(side, s.conn).do(slices.Insert(r.expand(side, s.words), cursorAt, cursor)...)
		parts := elements(reply)
		if len(parts) != 2 || calls > longestScan {
			return nil, fmt.Errorf("at cursor %s, call %d: %.200q", cursor, calls, reply)
		}
		cursor = content(parts[0])
		for item := range slices.Chunk(elements(parts[1]), width) {
			seen[strings.Join(item, "")] = true
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

func (r *run) expand(side int, words []string) []string {
	out := make([]string, len(words))
	for i, word := range words {
		out[i] = r.replace(side, word)
	}
	return out
}

var (
	variable = regexp.MustCompile(`\$\{[^}]*\}`)
	moment   = regexp.MustCompile(`^(now|nowms)([+-]\d+)?$`)
	repeated = regexp.MustCompile(`^(?s)(.*)\*(\d+)$`)
)

// replace puts in what the words in ${...} stand for.
func (r *run) replace(side int, word string) string {
	return variable.ReplaceAllStringFunc(word, func(v string) string {
		name := v[2 : len(v)-1]
		if m := moment.FindStringSubmatch(name); m != nil {
			base := r.now.Unix()
			if m[1] == "nowms" {
				base = r.now.UnixMilli()
			}
			offset, _ := strconv.ParseInt(m[2], 10, 64)
			return strconv.FormatInt(base+offset, 10)
		}
		if m := repeated.FindStringSubmatch(name); m != nil {
			n, _ := strconv.Atoi(m[2])
			return strings.Repeat(m[1], n)
		}
		value, ok := r.pair[side].vars[name]
		if !ok {
			r.fatalf("nothing was saved as %s", name)
		}
		return value
	})
}

// splitWords splits a line as redis-cli does: words in double quotes with escapes, in single quotes as
// they are, or bare.
func splitWords(line string) (words []string, ok bool) {
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" {
			return words, true
		}
		word, rest, ok := nextWord(line)
		if !ok {
			return nil, false
		}
		words, line = append(words, word), rest
	}
}

func nextWord(line string) (word, rest string, ok bool) {
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == 0 && (c == ' ' || c == '\t'):
			return b.String(), line[i:], true
		case quote == 0 && (c == '"' || c == '\'') && b.Len() == 0 && i == 0:
			quote = c
		case quote != 0 && c == quote:
			rest := line[i+1:]
			return b.String(), rest, rest == "" || rest[0] == ' ' || rest[0] == '\t'
		case quote == '"' && c == '\\' && i+1 < len(line):
			r, _, tail, err := strconv.UnquoteChar(line[i:], '"')
			if err != nil {
				return "", "", false
			}
			b.WriteByte(byte(r))
			i = len(line) - len(tail) - 1
		case quote == '\'' && c == '\\' && i+1 < len(line) && line[i+1] == '\'':
			b.WriteByte('\'')
			i++
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", quote == 0
}
