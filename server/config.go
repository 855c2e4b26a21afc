package server

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/glob"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// A Config is how a node is set up. The zero Config is a node with Redis's defaults and without a
// password. Fields are named after the directives of redis.conf, under which CONFIG GET shows them.
type Config struct {
	Log *slog.Logger // where the node says what happens to it; nothing is said if nil

	// Where the node is to be reached. Serve is given listeners, so these are only told to clients.
	Bind       []string
	Port       int
	UnixSocket string

	RequirePass string // the password of AUTH; none is needed if empty
	Unprotected bool   // protected-mode no: serve other machines although there is no password

	Databases  int           // how many; 16 if 0
	MaxClients int           // connections at the same time; 10000 if 0
	Timeout    time.Duration // a client that is idle for longer is sent away; never if 0
	KeepAlive  time.Duration // tcp-keepalive; 300 s if 0, none if negative
	Hz         int           // how often a second the node does what is due now and then; 10 if 0

	// BusyAfter is how long a script runs before the other clients are answered with BUSY
	// (busy-reply-threshold): 5 s if 0, at once if negative.
	BusyAfter time.Duration
	// Quarantine is how long after its start the node has its lock scripts grant nothing, because it may have
	// forgotten what it granted before: the longest ttl in use and the drift allowance. None if 0.
	Quarantine time.Duration

	HashListpack ListpackLimit // what remains a listpack of hashes; 512 entries, values of 64 bytes if zero
	ZSetListpack ListpackLimit // and of sorted sets; 128 entries, values of 64 bytes if zero

	// How a quicklist of Redis divides a list into listpacks and compresses them. Lists here do neither: the
	// settings are kept for those who ask (list-max-listpack-size, -2 if 0; list-compress-depth).
	ListListpack, ListCompress int

	SetMaxIntset int // up to how many integers a set is an intset (set-max-intset-entries); 512 if 0, none if negative

	MaxBulk  int64 // proto-max-bulk-len, bytes of one word; 512 MB if 0
	MaxQuery int64 // client-query-buffer-limit, bytes of commands not yet executed; 1 GB if 0

	// HLLSparse is the size in bytes up to which a HyperLogLog is kept in the sparse encoding
	// (hll-sparse-max-bytes); 3000 if 0.
	HLLSparse int64

	NormalOutput  OutputLimit // client-output-buffer-limit normal; none if zero
	PubSubOutput  OutputLimit // client-output-buffer-limit pubsub; 32 MB, 8 MB for 60 s if zero
	ReplicaOutput OutputLimit // client-output-buffer-limit replica; 256 MB, 64 MB for 60 s if zero; kept for clients that ask

	// WriteTimeout is how long a client may take nothing at all of a reply that waits for it before it is
	// sent away; a minute if 0.
	WriteTimeout time.Duration
}

// An OutputLimit bounds the bytes that wait for a client: above Hard it is sent away at once, above Soft
// when that has lasted for SoftTime. Zero means no bound.
type OutputLimit struct {
	Hard, Soft int64
	SoftTime   time.Duration
}

// A ListpackLimit bounds what OBJECT ENCODING calls a listpack (hash-max-listpack-entries and the like).
type ListpackLimit struct {
	Entries int64
	Value   int64 // bytes of each element, and of each value of a hash
}

// limits is the part of a Config that sessions obey outside the execution lock.
type limits struct {
	bulk, query    int64
	normal, pubsub OutputLimit
	keepAlive      time.Duration
}

func (s *Server) storeLimits() {
	c := &s.config
	s.limits.Store(&limits{bulk: c.MaxBulk, query: c.MaxQuery, normal: c.NormalOutput, pubsub: c.PubSubOutput, keepAlive: c.KeepAlive})
}

// complete returns the Config with defaults for what is zero, or what is wrong with it.
func (c Config) complete() (Config, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.Databases, 16)
	setDefault(&c.MaxClients, 10000)
	setDefault(&c.KeepAlive, 300*time.Second)
	setDefault(&c.Hz, 10)
	setDefault(&c.BusyAfter, 5*time.Second)
	setDefault(&c.HashListpack, ListpackLimit{Entries: 512, Value: 64})
	setDefault(&c.ZSetListpack, ListpackLimit{Entries: 128, Value: 64})
	setDefault(&c.ListListpack, -2)
	setDefault(&c.SetMaxIntset, 512)
	c.SetMaxIntset = max(c.SetMaxIntset, 0)
	setDefault(&c.MaxBulk, resp.DefaultLimits.Bulk)
	setDefault(&c.MaxQuery, resp.DefaultLimits.Query)
	setDefault(&c.HLLSparse, 3000)
	setDefault(&c.PubSubOutput, OutputLimit{Hard: 32 << 20, Soft: 8 << 20, SoftTime: time.Minute})
	setDefault(&c.ReplicaOutput, OutputLimit{Hard: 256 << 20, Soft: 64 << 20, SoftTime: time.Minute})
	setDefault(&c.WriteTimeout, time.Minute)
	switch {
	case c.Databases < 0:
		return c, fmt.Errorf("server: %d databases", c.Databases)
	case c.MaxClients < 0:
		return c, fmt.Errorf("server: at most %d clients", c.MaxClients)
	case c.Hz < 1 || c.Hz > 500:
		return c, fmt.Errorf("server: hz %d is not between 1 and 500", c.Hz)
	case c.MaxBulk < minBulk:
		return c, fmt.Errorf("server: proto-max-bulk-len %d is less than %d", c.MaxBulk, minBulk)
	case c.MaxQuery < minBulk:
		return c, fmt.Errorf("server: client-query-buffer-limit %d is less than %d", c.MaxQuery, minBulk)
	}
	return c, nil
}

// minBulk is the least that both limits of a query may be set to.
const minBulk = 1 << 20

func setDefault[T comparable](v *T, fallback T) {
	var zero T
	if *v == zero {
		*v = fallback
	}
}

// newRunID returns what tells this run of the node from others.
func newRunID() string {
	var id [20]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// A directive is one setting as CONFIG knows it.
type directive struct {
	name string
	get  func(c *Config) string
	set  func(c *Config, value string) error // nil if it cannot be changed while the node runs
}

// directives returns all of them, in alphabetical order.
func directives() []directive {
	return []directive{
		constant("appendonly", "no"),
		{name: "bind", get: func(c *Config) string { return strings.Join(c.Bind, " ") }},
		busyThreshold("busy-reply-threshold"),
		{name: "client-output-buffer-limit", get: getOutputLimits, set: setOutputLimits},
		memory("client-query-buffer-limit", minBulk, math.MaxInt64, func(c *Config) *int64 { return &c.MaxQuery }),
		fixed("databases", func(c *Config) int { return c.Databases }),
		listpackEntries("hash-max-listpack-entries", func(c *Config) *int64 { return &c.HashListpack.Entries }),
		memory("hash-max-listpack-value", 0, math.MaxInt64, func(c *Config) *int64 { return &c.HashListpack.Value }),
		listpackEntries("hash-max-ziplist-entries", func(c *Config) *int64 { return &c.HashListpack.Entries }), // its name before Redis 7
		memory("hash-max-ziplist-value", 0, math.MaxInt64, func(c *Config) *int64 { return &c.HashListpack.Value }),
		memory("hll-sparse-max-bytes", 0, math.MaxInt64, func(c *Config) *int64 { return &c.HLLSparse }),
		{name: "hz", get: func(c *Config) string { return strconv.Itoa(c.Hz) }, set: setHz},
		number("list-compress-depth", 0, math.MaxInt32, func(c *Config) *int { return &c.ListCompress }),
		number("list-max-listpack-size", math.MinInt32, math.MaxInt32, func(c *Config) *int { return &c.ListListpack }),
		number("list-max-ziplist-size", math.MinInt32, math.MaxInt32, func(c *Config) *int { return &c.ListListpack }), // its name before Redis 7
		busyThreshold("lua-time-limit"), // its name before Redis 7
		number("maxclients", 1, math.MaxUint32, func(c *Config) *int { return &c.MaxClients }),
		constant("maxmemory", "0"),
		constant("maxmemory-policy", "noeviction"),
		fixed("port", func(c *Config) int { return c.Port }),
		{name: "protected-mode", get: func(c *Config) string { return yesNo(!c.Unprotected) }, set: setProtected},
		memory("proto-max-bulk-len", minBulk, math.MaxInt64, func(c *Config) *int64 { return &c.MaxBulk }),
		{name: "requirepass", get: func(c *Config) string { return c.RequirePass }, set: setPassword},
		constant("save", ""),
		number("set-max-intset-entries", 0, math.MaxInt64, func(c *Config) *int { return &c.SetMaxIntset }),
		{name: "tcp-keepalive", get: func(c *Config) string { return seconds(max(c.KeepAlive, 0)) }, set: setKeepAlive},
		duration("timeout", func(c *Config) *time.Duration { return &c.Timeout }),
		{name: "unixsocket", get: func(c *Config) string { return c.UnixSocket }},
		listpackEntries("zset-max-listpack-entries", func(c *Config) *int64 { return &c.ZSetListpack.Entries }),
		memory("zset-max-listpack-value", 0, math.MaxInt64, func(c *Config) *int64 { return &c.ZSetListpack.Value }),
		listpackEntries("zset-max-ziplist-entries", func(c *Config) *int64 { return &c.ZSetListpack.Entries }), // its name before Redis 7
		memory("zset-max-ziplist-value", 0, math.MaxInt64, func(c *Config) *int64 { return &c.ZSetListpack.Value }),
	}
}

// constant is a setting that other servers have and that has one value here. To set it to that value is no
// error: frameworks do, to be sure.
func constant(name, value string) directive {
	return directive{
		name: name,
		get:  func(*Config) string { return value },
		set: func(_ *Config, asked string) error {
			if !strings.EqualFold(asked, value) {
				return errConfigConstant
			}
			return nil
		},
	}
}

func fixed(name string, field func(*Config) int) directive {
	return directive{name: name, get: func(c *Config) string { return strconv.Itoa(field(c)) }}
}

func number(name string, low, high int, field func(*Config) *int) directive {
	return directive{
		name: name,
		get:  func(c *Config) string { return strconv.Itoa(*field(c)) },
		set: func(c *Config, value string) error {
			n, err := parseBetween(value, int64(low), int64(high))
			if err == nil {
				*field(c) = int(n)
			}
			return err
		},
	}
}

func listpackEntries(name string, field func(*Config) *int64) directive {
	return directive{
		name: name,
		get:  func(c *Config) string { return strconv.FormatInt(*field(c), 10) },
		set: func(c *Config, value string) error {
			n, err := parseBetween(value, 0, math.MaxInt64)
			if err == nil {
				*field(c) = n
			}
			return err
		},
	}
}

func duration(name string, field func(*Config) *time.Duration) directive {
	return directive{
		name: name,
		get:  func(c *Config) string { return seconds(*field(c)) },
		set: func(c *Config, value string) error {
			n, err := parseBetween(value, 0, math.MaxInt32)
			if err == nil {
				*field(c) = time.Duration(n) * time.Second
			}
			return err
		},
	}
}

func memory(name string, low, high int64, field func(*Config) *int64) directive {
	return directive{
		name: name,
		get:  func(c *Config) string { return strconv.FormatInt(*field(c), 10) },
		set: func(c *Config, value string) error {
			n, ok := ParseMemory(value)
			if !ok {
				return errNotMemory
			}
			if n < low || n > high {
				return between(low, high)
			}
			*field(c) = n
			return nil
		},
	}
}

func parseBetween(value string, low, high int64) (int64, error) {
	n, ok := resp.ParseInt([]byte(value))
	if !ok {
		return 0, errConfigNotInteger
	}
	if n < low || n > high {
		return 0, between(low, high)
	}
	return n, nil
}

func between(low, high int64) error {
	return wireError(fmt.Sprintf("argument must be between %d and %d inclusive", low, high))
}

// ParseMemory reads a number of bytes with an optional unit: k is 1000, kb is 1024, and so on.
func ParseMemory(text string) (int64, bool) {
	text = strings.ToLower(text)
	digits := strings.TrimRight(text, "bkmg")
	unit, ok := map[string]int64{
		"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 1e6, "mb": 1 << 20, "g": 1e9, "gb": 1 << 30,
	}[text[len(digits):]]
	if digits == "" {
		digits = "0"
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil || n > math.MaxInt64/uint64(unit) {
		return 0, false
	}
	return int64(n) * unit, true
}

func setProtected(c *Config, value string) error {
	switch strings.ToLower(value) {
	case "yes":
		c.Unprotected = false
	case "no":
		c.Unprotected = true
	default:
		return errNotYesNo
	}
	return nil
}

// setHz takes any number and keeps it between 1 and 500.
func setHz(c *Config, value string) error {
	n, err := parseBetween(value, 0, math.MaxInt32)
	if err == nil {
		c.Hz = min(max(int(n), 1), 500)
	}
	return err
}

// setKeepAlive goes for the connections to come.
func setKeepAlive(c *Config, value string) error {
	n, err := parseBetween(value, 0, math.MaxInt32)
	if err == nil {
		c.KeepAlive = time.Duration(n) * time.Second
		if n == 0 {
			c.KeepAlive = -1
		}
	}
	return err
}

func setPassword(c *Config, value string) error {
	c.RequirePass = value
	return nil
}

func getOutputLimits(c *Config) string {
	class := func(name string, l OutputLimit) string {
		return fmt.Sprintf("%s %d %d %d", name, l.Hard, l.Soft, int64(l.SoftTime/time.Second))
	}
	return class("normal", c.NormalOutput) + " " + class("slave", c.ReplicaOutput) + " " + class("pubsub", c.PubSubOutput)
}

func setOutputLimits(c *Config, value string) error {
	words := strings.Fields(value)
	if len(words)%4 != 0 {
		return errOutputLimitWords
	}
	next := *c
	for ; len(words) > 0; words = words[4:] {
		hard, ok1 := ParseMemory(words[1])
		soft, ok2 := ParseMemory(words[2])
		secs, ok3 := resp.ParseInt([]byte(words[3]))
		if !ok1 || !ok2 || !ok3 || secs < 0 || secs > math.MaxInt32 {
			return errOutputLimitValue
		}
		limit := OutputLimit{hard, soft, time.Duration(secs) * time.Second}
		switch strings.ToLower(words[0]) {
		case "normal":
			next.NormalOutput = limit
		case "pubsub":
			next.PubSubOutput = limit
		case "slave", "replica":
			next.ReplicaOutput = limit
		default:
			return errOutputLimitClass
		}
	}
	*c = next
	return nil
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

func configCommands() []*command {
	const admin = flagAdmin | flagNoScript | flagLoading | flagStale
	return []*command{
		{name: "config", arity: -2, since: "2.0.0", subcommands: []*command{
			{name: "get", arity: -3, flags: admin, since: "2.0.0", handler: configGetCommand},
			{name: "set", arity: -4, flags: admin, since: "2.0.0", tips: []string{"request_policy:all_nodes", "response_policy:all_succeeded"}, handler: configSetCommand},
			{name: "resetstat", arity: 2, flags: admin, since: "2.0.0", handler: configResetStatCommand},
			{name: "help", arity: 2, flags: flagLoading | flagStale, since: "5.0.0", handler: configHelpCommand},
		}},
	}
}

// configGetCommand answers with the settings that any of its globs matches. A setting that is asked for by
// its own name is called as the client called it.
func configGetCommand(c *Call) error {
	type found struct{ name, value string }
	var all []found
	for _, d := range directives() {
		match := func(pattern []byte) bool { return glob.MatchFold(pattern, d.name) }
		i := slices.IndexFunc(c.Args[2:], match)
		if i < 0 {
			continue
		}
		name := d.name
		if asked := string(c.Args[2+i]); strings.EqualFold(asked, name) {
			name = asked
		}
		all = append(all, found{name, d.get(&c.srv.config)})
	}
	c.Out.Map(len(all))
	for _, f := range all {
		c.Out.BulkString(f.name)
		c.Out.BulkString(f.value)
	}
	return nil
}

// configSetCommand sets all of its settings or none.
func configSetCommand(c *Call) error {
	if len(c.Args)%2 != 0 {
		return errSyntax
	}
	next := c.srv.config
	seen := make(map[string]bool)
	for i := 2; i < len(c.Args); i += 2 {
		d, ok := findDirective(string(c.Args[i]))
		if !ok {
			return errorf("ERR Unknown option or number of arguments for CONFIG SET - '%s'", c.Args[i])
		}
		if err := d.change(&next, string(c.Args[i+1]), seen); err != nil {
			return errorf("ERR CONFIG SET failed (possibly related to argument '%s') - %s", c.Args[i], err)
		}
	}
	c.srv.applyConfig(next)
	return c.OK()
}

func findDirective(name string) (directive, bool) {
	all := directives()
	i := slices.IndexFunc(all, func(d directive) bool { return strings.EqualFold(d.name, name) })
	if i < 0 {
		return directive{}, false
	}
	return all[i], true
}

func (d directive) change(c *Config, value string, seen map[string]bool) error {
	switch {
	case d.set == nil:
		return errConfigImmutable
	case seen[d.name]:
		return errConfigTwice
	}
	seen[d.name] = true
	return d.set(c, value)
}

// applyConfig takes over changed settings. A new password is asked of those who connect from now on: a
// session that began without one is authenticated for good, as with Redis.
func (s *Server) applyConfig(c Config) {
	s.config = c
	s.storeLimits()
}

func configResetStatCommand(c *Call) error {
	c.srv.stats = stats{}
	return c.OK()
}

func configHelpCommand(c *Call) error {
	return c.help("CONFIG",
		"GET <pattern> [<pattern> ...]", "The settings whose names match a glob, with their values.",
		"SET <setting> <value> [<setting> <value> ...]", "Changes all of these settings or none.",
		"RESETSTAT", "Sets the counters of INFO to zero.",
	)
}
