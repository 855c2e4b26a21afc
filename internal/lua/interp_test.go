package lua

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/resp"
)

// A fakeHost has one key and gives up on scripts after a number of looks.
type fakeHost struct {
	value    []byte
	calls    [][]string
	logged   []string
	patience int // looks before Interrupt ends the script; 0 means none end it
	looks    int
}

func (h *fakeHost) Call(args [][]byte, out *resp.Writer) {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = string(a)
	}
	h.calls = append(h.calls, words)
	switch {
	case words[0] == "set" && len(words) == 3:
		h.value = []byte(words[2])
		out.OK()
	case words[0] == "get" && h.value == nil:
		out.Null()
	case words[0] == "get":
		out.Bulk(h.value)
	case words[0] == "map":
		out.Map(1)
		out.BulkString("k")
		out.Double(1.5)
	default:
		out.Error(errors.New("ERR no such command"))
	}
}

func (h *fakeHost) Log(level int, message string) {
	h.logged = append(h.logged, fmt.Sprint(level, " ", message))
}

func (h *fakeHost) Interrupt() error {
	h.looks++
	if h.patience > 0 && h.looks >= h.patience {
		return errors.New("ERR killed")
	}
	return nil
}

// eval runs a script and returns its reply in RESP2, or the error of its compilation.
func eval(t testing.TB, in *Interp, h Host, body string, args ...string) string {
	t.Helper()
	s, err := in.Load([]byte(body))
	if err != nil {
		return "-" + err.Error()
	}
	words := make([][]byte, len(args))
	for i, a := range args {
		words[i] = []byte(a)
	}
	w := resp.NewWriter(2)
	in.Run(s, nil, words, h, w)
	return strings.TrimSuffix(string(w.Bytes()), "\r\n")
}

func newInterp() *Interp { return New(Options{Version: "7.0.15", Memory: 64 << 20}) }

// Ensure that a script reaches the host with its words, and gets the reply.
func TestRun_Call(t *testing.T) {
	in, h := newInterp(), &fakeHost{}
	assert.Equal(t, "$1\r\nx", eval(t, in, h, `redis.call("set", "k", ARGV[1]) return redis.call("get", "k")`, "x"))
	assert.Equal(t, [][]string{{"set", "k", "x"}, {"get", "k"}}, h.calls)
	assert.Equal(t, "-ERR no such command", eval(t, in, h, `return redis.pcall("nosuch")`))
	assert.Equal(t, "$3\r\n1.5", eval(t, in, h, `redis.setresp(3) return tostring(redis.call("map").map.k.double)`))
	assert.Equal(t, "$-1", eval(t, in, h, `redis.log(redis.LOG_WARNING, "a", 1)`))
	assert.Equal(t, []string{"3 a 1"}, h.logged)
}

// Ensure that tokens keep all their digits on their way through Lua.
func TestRun_ExactIntegers(t *testing.T) {
	in, h := newInterp(), &fakeHost{}
	for _, n := range []string{"999999999999999", "1000000000000001", "1763647200123457", "9007199254740991", "9007199254740992"} {
		assert.Equal(t, "$"+fmt.Sprint(len(n))+"\r\n"+n, eval(t, in, h, `return string.format("%.0f", tonumber(ARGV[1]))`, n))
		assert.Equal(t, "$"+fmt.Sprint(len(n))+"\r\n"+n, eval(t, in, h, `return string.format("%d", ARGV[1])`, n))
		assert.Equal(t, "$"+fmt.Sprint(len(n))+"\r\n"+n, eval(t, in, h, `return string.format("%s", ARGV[1])`, n))
		assert.Equal(t, ":"+n, eval(t, in, h, `return tonumber(ARGV[1])`, n))
		h.calls = nil
		eval(t, in, h, `redis.call("set", "k", tonumber(ARGV[1]) + 0)`, n)
		assert.Equal(t, n, h.calls[0][2])
	}
}

// Ensure that the cache knows scripts by their digest, and forgets them when it is told to.
func TestInterp_Cache(t *testing.T) {
	in := newInterp()
	s, err := in.Load([]byte("return 1"))
	require.NoError(t, err)
	assert.Equal(t, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", s.SHA1)
	assert.Same(t, s, in.Lookup([]byte(s.SHA1)))
	again, err := in.Load([]byte("return 1"))
	require.NoError(t, err)
	assert.Same(t, s, again)
	assert.Equal(t, 1, in.Len())
	assert.Equal(t, 8, in.Bytes())
	in.Flush()
	assert.Nil(t, in.Lookup([]byte(s.SHA1)))
	assert.Zero(t, in.Bytes())
	_, err = in.Load([]byte("return ("))
	assert.EqualError(t, err, "ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'")
	assert.Zero(t, in.Len())
}

// Ensure that no script can leave anything behind for the next one.
func TestRun_Isolation(t *testing.T) {
	in, h := newInterp(), &fakeHost{}
	for _, body := range []string{
		`x = 1`, `_G.x = 1`, `_G["x"] = 1`, `rawset(_G, "x", 1)`, `function x() end`, `KEYS = nil`, `redis = {}`,
		`redis.call = nil`, `string.format = nil`, `rawset(string, "format", nil)`, `function string.x() end`,
		`table.insert(math, 1)`, `table.sort(_G)`, `table.remove(redis)`, `setmetatable(_G, nil)`, `setmetatable(string, {})`,
		`getmetatable("").__index = nil`, `local mt = getmetatable("") mt.x = 1`, `rawset(getmetatable(""), "__index", {})`,
		`local a, b a, b, string.x = 1, 2, 3`, `for k, v in pairs(_G) do _G[k] = nil end`,
	} {
		assert.Contains(t, eval(t, in, h, body), "Attempt to modify a readonly table", body)
	}
	assert.Equal(t, "$-1", eval(t, in, h, `return getmetatable(_G)`))
	assert.Equal(t, "$-1", eval(t, in, h, `return getmetatable(string)`))
	assert.Equal(t, "*1\r\n$1\r\nA", eval(t, in, h, `return {("a"):upper()}`))
	assert.Contains(t, eval(t, in, h, `return x`), "nonexistent global variable 'x'")
	for _, name := range []string{"os", "io", "require", "module", "package", "dofile", "loadfile", "print", "debug", "getfenv", "setfenv", "newproxy", "channel"} {
		assert.Contains(t, eval(t, in, h, "return "+name), "nonexistent global variable '"+name+"'")
	}
}

// Ensure that nothing that a script does hangs the node, takes its memory or ends its process: it is an
// error, and the next script runs.
func TestRun_Bounds(t *testing.T) {
	for name, body := range map[string]string{
		"loop":               `while true do end`,
		"loop in pcall":      `while true do pcall(function() while true do end end) end`,
		"repeat":             `repeat until false`,
		"tail calls":         `local function f() return f() end return f()`,
		"recursion":          `local function f() return 1 + f() end return f()`,
		"recursion in pcall": `local function f() return pcall(f) end return f() and f()`,
		"recursion in gsub":  `local function f() return (("x"):gsub("x", f)) end return f()`,
		"recursion in sort":  `local function f() table.sort({1, 2, 3}, f) end return f()`,
		"recursion in index": `local t = {} setmetatable(t, {__index = function(t, k) return t[k .. "x"] end}) return t.x`,
		"index loop":         `local t = {} setmetatable(t, {__index = t}) return t.x`,
		"tostring recursion": `local t = {} setmetatable(t, {__tostring = function(t) return tostring(t) end}) return tostring(t)`,
		"coroutines":         `local function f() return coroutine.wrap(f)() end return f()`,
		"many coroutines":    `local t = {} while true do t[#t+1] = coroutine.create(function() end) end`,
		"yield in pcall":     `return coroutine.wrap(function() return pcall(coroutine.yield, 1) end)()`,
		"yield in gsub":      `return coroutine.wrap(function() return (("x"):gsub("x", coroutine.yield)) end)()`,
		"yield in index":     `return coroutine.wrap(function() return setmetatable({}, {__index = coroutine.yield}).x end)()`,
		"yield in sort":      `return coroutine.wrap(function() table.sort({2, 1}, coroutine.yield) end)()`,
		"rep":                `return #string.rep("x", 1e15)`,
		"rep overflow":       `return #string.rep("xxxx", 2^62)`,
		"many reps":          `local t = {} while true do t[#t+1] = string.rep("x", 1e6) end`,
		"doubling":           `local s = "x" while true do s = s .. s end`,
		"unrolled doubling":  `local s = "xxxxxxxx" ` + strings.Repeat("s = s .. s ", 40) + `return #s`,
		"format":             `local s = "%99.99f" for i = 1, 30 do s = s .. s end return s:format(1)`,
		"concat":             `local t = {} for i = 1, 1000 do t[i] = string.rep("x", 1e5) end for i = 1, 1000 do t[i] = table.concat(t) end`,
		"gsub growth":        `local s = "x" while true do s = s:gsub(".", "%0%0%0%0") end`,
		"table growth":       `local t = {} while true do t[#t+1] = 1 end`,
		"table jumps":        `local t = {} for i = 1, 1e6 do t[i] = {} t[i][16000000] = 1 end`,
		"table inserts":      `local t = {} for i = 1, 1e6 do t[i] = {} table.insert(t[i], 16000000, 1) end`,
		"rawset jumps":       `local t = {} for i = 1, 1e6 do t[i] = {} rawset(t[i], 16000000, 1) end`,
		"constructor jumps":  `local t = {} for i = 1, 1e6 do t[i] = {[i * 0 + 16000000] = 1} end`,
		"insert far":         `local t = {} table.insert(t, 2^52, 1) return #t`,
		"closures":           `local t = {} while true do t[#t+1] = function() return t end end`,
		"pattern":            `return ("a"):rep(200):find(("a?"):rep(200) .. ("a"):rep(200))`,
		"pattern of pairs":   `return ("a"):rep(30000):find(".-.-.-.-b")`,
		"nested pattern":     `return ("a"):rep(3000):find(("(a"):rep(30) .. (")"):rep(30) .. ("a-"):rep(1000) .. "b")`,
		"unpack":             `return unpack({}, 1, 1e9)`,
		"unpack all":         `return unpack({}, -2^63, 2^63)`,
		"byte":               `return string.byte(string.rep("x", 1e6), 1, -1)`,
		"select":             `return select(-2^63, 1)`,
		"arguments":          `return (function(...) return select("#", ...) end)(unpack({}, 1, 7999))`,
		"loadstring":         `return loadstring("while true do end")()`,
		"hidden loadstring":  `return _G["load" .. "string"]("while true do end")()`,
		"load for ever":      `return load(function() return " " end)`,
		"load growth":        `return load(function() return string.rep(" ", 1e6) end)`,
		"compile growth":     `local t = {} while true do t[#t+1] = loadstring("return " .. #t) end`,
		"reply in itself":    `local t = {} t[1] = t return t`,
		"reply tree":         `local t = {} t[1] = t t[2] = t return t`,
		"reply map":          `local t = {} t.map = {a = t, b = t} return t`,
		"error object":       `error({})`,
		"error nil":          `error(nil)`,
		"error function":     `error(function() end)`,
		"error in handler":   `return xpcall(error, function() error("x") end)`,
		"sort without order": `local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function() return true end)`,
		"sort changes table": `local t = {3, 2, 1} table.sort(t, function(a, b) t[1] = nil t[100] = 1 return a < b end)`,
		"foreach changes":    `local t = {1, 2, 3} table.foreachi(t, function(i) t[#t+1] = i end)`,
		"next changes":       `local t = {1} for k in pairs(t) do t[k + 1] = 1 end`,
		"negative keys":      `local t = {} t[-1] = 1 t[0] = 2 t[2^53] = 3 t[-2^53] = 4 t[1/0] = 5 return t`,
		"zero byte name":     "return \x00concat(1)",
		"bytecode":           "\x1bLua",
		"deep parentheses":   "return " + strings.Repeat("(", 100000) + "1" + strings.Repeat(")", 100000),
		"deep tables":        "return " + strings.Repeat("{", 100000) + strings.Repeat("}", 100000),
		"deep functions":     strings.Repeat("return function() ", 100000) + strings.Repeat("end ", 100000),
		"deep blocks":        strings.Repeat("do ", 100000) + strings.Repeat("end ", 100000),
		"deep unary":         "return " + strings.Repeat("- ", 100000) + "1",
		"long not":           "return " + strings.Repeat("not ", 100000) + "1",
		"long sum":           "return 1" + strings.Repeat("+1", 100000),
		"long concat":        "return 1" + strings.Repeat(" ..1", 100000),
		"long index":         "local t = {} return t" + strings.Repeat(".x", 100000),
		"long calls":         "local t = {} return t" + strings.Repeat("()", 100000),
		"long elseif":        "if false then " + strings.Repeat("elseif false then ", 100000) + "end",
		"long power":         "return 1" + strings.Repeat("^1", 100000),
		"many locals":        strings.Repeat("local a ", 300),
		"many targets":       strings.Repeat("a,", 1000) + "a = 1",
		"many constants": "return {" + func() (s string) {
			var b strings.Builder
			for i := range 300000 {
				fmt.Fprintf(&b, "%d,", i)
			}
			return b.String()
		}() + "}",
		"many parameters": "return function(" + strings.Repeat("a,", 300) + "a) end",
		"many arguments":  "return type(" + strings.Repeat("1,", 300) + "1)",
		"many upvalues": func() string {
			var b, u strings.Builder
			for i := range 150 {
				fmt.Fprintf(&b, "local a%d ", i)
				fmt.Fprintf(&u, "a%d,", i)
			}
			return b.String() + "return function() return " + u.String() + "1 end"
		}(),
		"large script":        strings.Repeat(" ", maxScript+1),
		"invalid escape":      `return "\300"`,
		"format of anything":  `return ("%s%s"):format({}, nil)`,
		"sha of a table":      `return redis.sha1hex({})`,
		"call of many words":  `return redis.call(unpack({}, 1, 100))`,
		"goto":                `goto x`,
		"string.dump":         `return string.dump(function() end)`,
		"coroutine in itself": `local co co = coroutine.wrap(function() return co() end) return co()`,
		"resume main":         `return coroutine.resume(coroutine.running())`,
		"dead coroutine":      `local co = coroutine.create(function() end) coroutine.resume(co) coroutine.resume(co) return coroutine.status(co)`,
		"coroutine of Go":     `return coroutine.create(string.rep)`,
		"mod by zero":         `return 1 % 0`,
		"for by zero":         `for i = 1, 10, 0 do end`,
		"for to infinity":     `for i = 1, math.huge do end`,
		"random of all":       `return math.random(-2^62, 2^62)`,
		"tonumber of much":    `return tonumber(string.rep("1", 1e6))`,
		"tonumber base":       `return tonumber(string.rep("z", 1e6), 36)`,
	} {
		t.Run(name, func(t *testing.T) {
			in := newInterp()
			h := &fakeHost{patience: 200}
			reply := eval(t, in, h, body)
			assert.NotEmpty(t, reply)
			assert.NotContains(t, reply, "runtime error", body)
			assert.NotContains(t, reply, "goroutine", body)
			assert.LessOrEqual(t, h.looks, 250)
			assert.Equal(t, ":1", eval(t, in, &fakeHost{}, "return 1"), "the next script")
			assert.Equal(t, "$1\r\nx", eval(t, in, &fakeHost{}, `local t = {} for i = 1, 3 do t[i] = i .. "x" end return t[1]:sub(2)`))
		})
	}
}

// Ensure that the end of a script cannot be caught by the script.
func TestRun_Killed(t *testing.T) {
	in := newInterp()
	h := &fakeHost{patience: 3}
	const body = "pcall(function()\nwhile true do end end) redis.call('set', 'k', 'after')"
	reply := eval(t, in, h, body)
	assert.Equal(t, "-ERR killed script: "+Digest([]byte(body))+", on @user_script:2.", reply)
	assert.Empty(t, h.calls)
}

// Ensure that a script is asked about while it is inside of what takes long because its strings are long.
func TestRun_LongStrings(t *testing.T) {
	word, blanks := strings.Repeat("a", 16<<20), strings.Repeat(" ", 16<<20)
	for name, body := range map[string]string{
		"balance":         `return string.match(string.rep("(", 20000), "%b()")`,
		"set":             `return string.find(string.rep("a", 2000), "[" .. string.rep("b", 50000) .. "]")`,
		"one set":         `return string.find("b", "[" .. ARGV[1] .. "]")`,
		"set of frontier": `return string.find(string.rep("a", 2000), "%f[" .. string.rep("b", 50000) .. "]")`,
		"set repeated":    `return string.find(ARGV[1], ".*b")`,
		"back reference":  `return string.find(string.rep("a", 20000), "(.-)%1b")`,
		"find":            `return string.find(ARGV[1], "b")`,
		"tonumber":        `return tonumber(ARGV[3])`,
		"tonumber base":   `return tonumber("1" .. ARGV[3], 8)`,
		"tonumbers":       `local s = string.rep("1", 16000) for i = 1, 2000 do tonumber(s) end`,
		"sha1hex":         `return redis.sha1hex(ARGV[3])`,
		"rep":             `return #string.rep("ab", 8e6)`,
		"upper":           `return #string.upper(ARGV[1])`,
		"reverse":         `return #string.reverse(ARGV[1])`,
		"equal":           `local s = ARGV[1] local r = ARGV[2] for i = 1, 1000 do if s ~= r then return end end`,
		"less":            `local s = ARGV[1] local r = ARGV[2] for i = 1, 1000 do if s < r then return end end`,
		"table key":       `local s, t = ARGV[1], {} for i = 1, 1000 do t[s] = i end`,
		"equal words":     `for i = 1, 1000 do if ARGV[1] ~= ARGV[2] then return end end`,
		"equal replies":   `local s, r = redis.call("get"), redis.call("get") for i = 1, 1000 do if s ~= r then return end end`,
		"sort": `local s = ARGV[1]:sub(1, 1e6) local t = {` + func() (items string) {
			for i := range 50 {
				items += fmt.Sprintf("s .. %d, ", i*7%50)
			}
			return items
		}() + `} table.sort(t)`,
		"straight":      `local s = ARGV[1] local r = ARGV[2] ` + strings.Repeat("local _ = s == r ", 150),
		"straight keys": `local s, t = ARGV[1], {} ` + strings.Repeat("t[s] = 1 ", 150),
	} {
		t.Run(name, func(t *testing.T) {
			in := New(Options{Version: "7.0.15"})
			const patience = 60
			h := &fakeHost{patience: patience, value: make([]byte, 2<<20)}
			// The strings come from outside: making them would be asked about too.
			assert.Contains(t, eval(t, in, h, body, word, word, blanks), "-ERR killed script: ", body)
			assert.Equal(t, patience, h.looks)
		})
	}
}

// Ensure that blanks around a number do not matter, however many they are, and that too long a number is none.
func TestRun_LongNumbers(t *testing.T) {
	in := newInterp()
	for _, n := range []int{0, 1, readAtOnce - 1, readAtOnce, readAtOnce + 1, 3*readAtOnce + 7} {
		body := fmt.Sprintf(`local s = string.rep(" ", %d) return {tonumber(s .. "12" .. s), tonumber(s .. "12" .. s, 8), tostring(tonumber(s))}`, n)
		assert.Equal(t, "*3\r\n:12\r\n:10\r\n$3\r\nnil", eval(t, in, &fakeHost{}, body), n)
	}
	assert.Equal(t, "*2\r\n$3\r\ninf\r\n$3\r\nnil", eval(t, in, &fakeHost{}, fmt.Sprintf(
		`return {tostring(tonumber(string.rep("1", %d))), tostring(tonumber(string.rep("1", %d)))}`, maxNumeral, maxNumeral+1)))
}

// Ensure that a text is found wherever it is in a long string, also across the pieces that are searched.
func TestRun_LongFind(t *testing.T) {
	in := newInterp()
	for _, at := range []int{0, 1, readAtOnce - 2, readAtOnce - 1, readAtOnce, readAtOnce + 1, 2*readAtOnce - 1, 5 * readAtOnce} {
		for _, length := range []int{1, 2, 100, readAtOnce - 1, readAtOnce, readAtOnce + 1, 2 * readAtOnce} {
			body := fmt.Sprintf(`local p = string.rep("b", %d) return {string.find(string.rep("a", %d) .. p, p, 1, true)}`, length, at)
			assert.Equal(t, fmt.Sprintf("*2\r\n:%d\r\n:%d", at+1, at+length), eval(t, in, &fakeHost{}, body), body)
			body = fmt.Sprintf(`local p = string.rep("b", %d) return string.find(string.rep("a", %d) .. p, p .. "b", 1, true)`, length, at)
			assert.Equal(t, "$-1", eval(t, in, &fakeHost{}, body), body)
		}
	}
}

// Ensure that string.rep repeats as often as it should, whatever the pieces are that it is made of.
func TestRun_LongRep(t *testing.T) {
	in := newInterp()
	for _, s := range []string{"x", "ab", strings.Repeat("abc", 30000)} {
		for _, n := range []int{1, 2, readAtOnce / len(s), readAtOnce/len(s) + 1, readAtOnce/len(s) + 2, 3*(readAtOnce/len(s)) + 5} {
			want := strings.Repeat(s, n)
			assert.True(t, fmt.Sprintf("$%d\r\n%s", len(want), want) == eval(t, in, &fakeHost{}, `return string.rep(ARGV[1], tonumber(ARGV[2]))`, s, fmt.Sprint(n)), n)
		}
	}
}

// Ensure that redis.sha1hex is the digest also of what it takes piece by piece.
func TestRun_LongDigest(t *testing.T) {
	in := newInterp()
	for _, n := range []int{0, 1, readAtOnce - 1, readAtOnce, readAtOnce + 1, 3*readAtOnce + 7} {
		want := Digest([]byte(strings.Repeat("x", n)))
		assert.Equal(t, "$40\r\n"+want, eval(t, in, &fakeHost{}, fmt.Sprintf(`return redis.sha1hex(string.rep("x", %d))`, n)))
	}
}

// Ensure that a script without loops and functions is not slowed by counting, and one with them is.
func TestParse_Endless(t *testing.T) {
	for body, endless := range map[string]bool{
		`return redis.call("get", KEYS[1])`: false,
		`if KEYS[1] then return 1 end`:      false,
		`while false do end`:                true,
		`repeat until true`:                 true,
		`for i = 1, 2 do end`:               true,
		`for k in pairs({}) do end`:         true,
		`return function() end`:             true,
		`return loadstring("")`:             true,
		`return _G`:                         true,
		`return load`:                       true,
		`local load = 1 return load`:        false,

		`local a = KEYS[1] ` + strings.Repeat("a = a == 'x' ", maxSlow):       false,
		`local a = KEYS[1] ` + strings.Repeat("a = a == 'x' ", maxSlow+1):     true,
		`local a = KEYS[1] ` + strings.Repeat("a = a <= 'x' ", maxSlow+1):     true,
		`local t, k = {}, 1 ` + strings.Repeat("t[k] = t ", maxSlow+1):        true,
		`local t, k = {}, 1 ` + strings.Repeat("t = {[k] = 1} ", maxSlow+1):   true,
		`local t = {} ` + strings.Repeat("t[1], t.x, t['y'] = 1, 2, 3 ", 100): false,

		`return {loadstring = 1}.loadstring`:  false,
		`local t = {} return t.load, t["_G"]`: false,
	} {
		src, err := parse(body, mainChunk)
		if body == `return {loadstring = 1}.loadstring` {
			assert.Error(t, err)
			continue
		}
		require.NoError(t, err, body)
		assert.Equal(t, endless, src.endless, body)
	}
}

// Ensure that a node of ours can tell its lock scripts that it has forgotten, and others do not.
func TestRun_Quarantine(t *testing.T) {
	const body = `return redis.quarantine and redis.quarantine() or "none"`
	assert.Equal(t, "$4\r\nnone", eval(t, newInterp(), &fakeHost{}, body))
	in := New(Options{Version: "7.0.15", Quarantine: func() time.Duration { return 1500 * time.Microsecond }})
	assert.Equal(t, ":2", eval(t, in, &fakeHost{}, body))
}

// Ensure that a node of ours can give its lock scripts a clock that does not jump, and others do not.
func TestRun_Running(t *testing.T) {
	const body = `return redis.running and redis.running() or "none"`
	assert.Equal(t, "$4\r\nnone", eval(t, newInterp(), &fakeHost{}, body))
	in := New(Options{Version: "7.0.15", Running: func() int64 { return 1795600000123 }})
	assert.Equal(t, ":1795600000123", eval(t, in, &fakeHost{}, body))
}

// Ensure that the first line declares flags and is no code.
func TestLoad_Flags(t *testing.T) {
	in := newInterp()
	s, err := in.Load([]byte("#!lua flags=no-writes,allow-oom\nreturn 1"))
	require.NoError(t, err)
	assert.Equal(t, Declared|NoWrites|AllowOOM, s.Flags)
	assert.Contains(t, eval(t, in, &fakeHost{}, "#!lua\nerror('x')"), "user_script:2: x")
}

// Ensure that whatever a script is, it is answered: no panic, no hang, no reply that breaks the protocol.
func FuzzScript(f *testing.F) {
	for _, body := range []string{
		`return {KEYS[1], ARGV[1], 1.5, true, {err = "x"}}`,
		`local t = {} for k, v in pairs(redis) do t[#t+1] = k .. tostring(v) end return t`,
		`return ("key=val"):gsub("(%w+)=(%w+)", "%2=%1")`,
		`return string.format("%5.2f %q %-10s|", 1, "a\0", "x")`,
		`local co = coroutine.wrap(function(...) for i = 1, 3 do coroutine.yield(i, ...) end end) return {co(1), co(2)}`,
		`local ok, e = pcall(function() local a; return a.b.c end) return e`,
		`return setmetatable({}, {__index = function(t, k) return k end}).x .. [==[y]==]`,
		`#!lua flags=no-writes
return redis.call("get", 1e15)`,
		`return loadstring("return " .. "...")(0x10, .5, 1e3)`,
		`table.sort({3, 1, 2}, function(a, b) return a > b end) return table.concat({1, 2}, ",")`,
	} {
		f.Add(body)
	}
	in := New(Options{Version: "7.0.15", Memory: 32 << 20})
	f.Fuzz(func(t *testing.T, body string) {
		h := &fakeHost{patience: 20}
		reply := eval(t, in, h, body, "arg")
		require.NotEmpty(t, reply)
		if reply[0] == '-' {
			assert.NotContains(t, reply[1:], "\n")
		}
		assert.NotContains(t, reply, "runtime error")
		assert.LessOrEqual(t, h.looks, 25)
		assert.Equal(t, ":1", eval(t, in, &fakeHost{}, "return 1"))
		in.Flush()
	})
}

// The cost of a script that takes a lock, without that of its commands.
func BenchmarkRun(b *testing.B) {
	in := newInterp()
	h := &quietHost{}
	s, err := in.Load([]byte(`if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("get", KEYS[1]) else return 0 end`))
	require.NoError(b, err)
	keys, args := [][]byte{[]byte("lock")}, [][]byte{[]byte("value")}
	w := resp.NewWriter(2)
	b.ReportAllocs()
	for b.Loop() {
		w.Reset()
		in.Run(s, keys, args, h, w)
	}
}

type quietHost struct{}

func (quietHost) Call(_ [][]byte, out *resp.Writer) { out.BulkString("value") }
func (quietHost) Log(int, string)                   {}
func (quietHost) Interrupt() error                  { return nil }
