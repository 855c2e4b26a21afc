package server

import (
	"bytes"
	"math"
	"strconv"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
)

// stringCommands are the commands whose values are strings.
func stringCommands() []*command {
	const (
		write    = flagWrite | flagDenyOOM
		fast     = write | flagFast
		readFast = flagReadonly | flagFast
	)
	multiShard := []string{"request_policy:multi_shard"}
	return []*command{
		{name: "set", arity: -3, flags: write, categories: catString, keys: oneKey, since: "1.0.0", handler: setCommand},
		{name: "get", arity: 2, flags: readFast, categories: catString, keys: oneKey, since: "1.0.0", handler: getCommand},
		{name: "getdel", arity: 2, flags: flagWrite | flagFast, categories: catString, keys: oneKey, since: "6.2.0", handler: getdelCommand},
		{name: "getex", arity: -2, flags: flagWrite | flagFast, categories: catString, keys: oneKey, since: "6.2.0", handler: getexCommand},
		{name: "getset", arity: 3, flags: fast, categories: catString, keys: oneKey, since: "1.0.0", handler: getsetCommand},
		{name: "setnx", arity: 3, flags: fast, categories: catString, keys: oneKey, since: "1.0.0", handler: setnxCommand},
		{name: "setex", arity: 4, flags: write, categories: catString, keys: oneKey, since: "2.0.0", handler: setexCommand},
		{name: "psetex", arity: 4, flags: write, categories: catString, keys: oneKey, since: "2.6.0", handler: psetexCommand},
		{name: "mget", arity: -2, flags: readFast, categories: catString, keys: allKeys, tips: multiShard, since: "1.0.0", handler: mgetCommand},
		{name: "mset", arity: -3, flags: write, categories: catString, keys: keyVals,
			tips: append(multiShard, "response_policy:all_succeeded"), since: "1.0.1", handler: msetCommand},
		{name: "msetnx", arity: -3, flags: write, categories: catString, keys: keyVals,
			tips: append(multiShard, "response_policy:agg_min"), since: "1.0.1", handler: msetnxCommand},
		{name: "incr", arity: 2, flags: fast, categories: catString, keys: oneKey, since: "1.0.0", handler: incrCommand},
		{name: "decr", arity: 2, flags: fast, categories: catString, keys: oneKey, since: "1.0.0", handler: decrCommand},
		{name: "incrby", arity: 3, flags: fast, categories: catString, keys: oneKey, since: "1.0.0", handler: incrbyCommand},
		{name: "decrby", arity: 3, flags: fast, categories: catString, keys: oneKey, since: "1.0.0", handler: decrbyCommand},
		{name: "incrbyfloat", arity: 3, flags: fast, categories: catString, keys: oneKey, since: "2.6.0", handler: incrbyfloatCommand},
		{name: "append", arity: 3, flags: fast, categories: catString, keys: oneKey, since: "2.0.0", handler: appendCommand},
		{name: "strlen", arity: 2, flags: readFast, categories: catString, keys: oneKey, since: "2.2.0", handler: strlenCommand},
		{name: "getrange", arity: 4, flags: flagReadonly, categories: catString, keys: oneKey, since: "2.4.0", handler: getrangeCommand},
		{name: "substr", arity: 4, flags: flagReadonly, categories: catString, keys: oneKey, since: "1.0.0", handler: getrangeCommand},
		{name: "setrange", arity: 4, flags: write, categories: catString, keys: oneKey, since: "2.2.0", handler: setrangeCommand},
		{name: "lcs", arity: -3, flags: flagReadonly, categories: catString, keys: twoKeys, since: "7.0.0", handler: lcsCommand},
	}
}

// lookupString returns the entry of key, nil if there is none, or an error if it is not a string.
func (c *Call) lookupString(key []byte) (*keyspace.Entry, error) {
	return c.lookupKind(key, keyspace.KindString)
}

// replyString writes the value of a string entry, or the absent value.
func (c *Call) replyString(e *keyspace.Entry) {
	if e == nil {
		c.Out.Null()
		return
	}
	c.Out.Bulk(e.Bytes())
}

// setOptions are the options of SET and GETEX.
type setOptions struct {
	nx, xx, get      bool
	ifeq             []byte // nil without the option
	keepTTL, persist bool
	expiry           expiryOption
	expire           []byte // the argument of EX, PX, EXAT or PXAT
}

// An expiryOption is a way to say when a key expires.
type expiryOption uint8

const (
	noExpiry expiryOption = iota
	expiryEX
	expiryPX
	expiryEXAT
	expiryPXAT
)

// expiryOptionOf reads the option's word.
func expiryOptionOf(arg []byte) expiryOption {
	switch {
	case isWord(arg, "ex"):
		return expiryEX
	case isWord(arg, "px"):
		return expiryPX
	case isWord(arg, "exat"):
		return expiryEXAT
	case isWord(arg, "pxat"):
		return expiryPXAT
	default:
		return noExpiry
	}
}

// parseSetOptions reads the options of SET: at most one condition, at most one word about the ttl. It is
// on the way of every lock that is taken, so it allocates nothing.
func parseSetOptions(words [][]byte) (o setOptions, err error) {
	for i := 0; i < len(words); i++ {
		more := i+1 < len(words)
		switch word := words[i]; {
		case isWord(word, "nx") && !o.xx && o.ifeq == nil:
			o.nx = true
		case isWord(word, "xx") && !o.nx && o.ifeq == nil:
			o.xx = true
		case isWord(word, "ifeq") && !o.nx && !o.xx && o.ifeq == nil && more:
			i++
			o.ifeq = words[i]
		case isWord(word, "get"):
			o.get = true
		case isWord(word, "keepttl") && o.expiry == noExpiry:
			o.keepTTL = true
		case !o.keepTTL && more && o.takesExpiry(word):
			i++
			o.expire = words[i]
		default:
			return o, errSyntax
		}
	}
	return o, nil
}

// parseGetexOptions reads the options of GETEX.
func parseGetexOptions(words [][]byte) (o setOptions, err error) {
	for i := 0; i < len(words); i++ {
		more := i+1 < len(words)
		switch word := words[i]; {
		case isWord(word, "persist") && o.expiry == noExpiry:
			o.persist = true
		case !o.persist && more && o.takesExpiry(word):
			i++
			o.expire = words[i]
		default:
			return o, errSyntax
		}
	}
	return o, nil
}

// takesExpiry notes an expiry option. The same one may come again and then counts; another may not.
func (o *setOptions) takesExpiry(word []byte) bool {
	option := expiryOptionOf(word)
	if option == noExpiry || o.expiry != noExpiry && o.expiry != option {
		return false
	}
	o.expiry = option
	return true
}

// deadline converts the argument of an expiry option.
func (c *Call) deadline(option expiryOption, arg []byte) (clock.Instant, error) {
	n, err := integer(arg)
	if err != nil {
		return 0, err
	}
	seconds := option == expiryEX || option == expiryEXAT
	if n <= 0 || seconds && n > math.MaxInt64/1000 {
		return 0, errExpireTime(c.cmd.fullName)
	}
	if seconds {
		n *= 1000
	}
	if option == expiryEXAT || option == expiryPXAT {
		return c.DB.Keyspace().Deadline(n), nil
	}
	if n > math.MaxInt64-c.unixMilli() {
		return 0, errExpireTime(c.cmd.fullName)
	}
	return keyspace.After(c.Now(), n), nil
}

// unixMilli returns what the wall clock shows at the time of the call, in milliseconds since 1970.
func (c *Call) unixMilli() int64 { return c.DB.Keyspace().UnixMilli(c.Now()) }

// A setting is what the commands that set one string differ in.
type setting struct {
	setOptions
	done, refused func() // write the reply; nil for SET's own
}

func setCommand(c *Call) error {
	o, err := parseSetOptions(c.Args[3:])
	if err != nil {
		return err
	}
	return c.set(c.Args[2], setting{setOptions: o})
}

func setnxCommand(c *Call) error {
	return c.set(c.Args[2], setting{
		setOptions: setOptions{nx: true},
		done:       func() { c.Out.Int(1) },
		refused:    func() { c.Out.Int(0) },
	})
}

func setexCommand(c *Call) error {
	return c.set(c.Args[3], setting{setOptions: setOptions{expiry: expiryEX, expire: c.Args[2]}})
}

func psetexCommand(c *Call) error {
	return c.set(c.Args[3], setting{setOptions: setOptions{expiry: expiryPX, expire: c.Args[2]}})
}

// set sets the string of key Args[1]. With GET the reply is the old value, set or not.
func (c *Call) set(value []byte, s setting) error {
	key := c.Args[1]
	var deadline clock.Instant
	if s.expiry != noExpiry {
		var err error
		if deadline, err = c.deadline(s.expiry, s.expire); err != nil {
			return err
		}
	}
	e := c.DB.Lookup(key, c.Now())
	if e != nil && e.Kind() != keyspace.KindString && (s.get || s.ifeq != nil) {
		return errWrongType
	}
	if s.get {
		c.replyString(e)
	}
	if s.nx && e != nil || s.xx && e == nil || s.ifeq != nil && (e == nil || !bytes.Equal(e.Bytes(), s.ifeq)) {
		if s.refused != nil {
			s.refused()
		} else if !s.get {
			c.Out.Null()
		}
		return nil
	}
	switch {
	case e == nil:
		e = c.DB.Insert(key, value)
	case s.keepTTL:
		e.SetBytes(value)
	default:
		c.DB.Overwrite(e, value)
	}
	c.Changed("set", key)
	if s.expiry != noExpiry {
		c.DB.SetDeadline(e, deadline)
		c.Changed("expire", key)
	}
	if s.done != nil {
		s.done()
	} else if !s.get {
		c.Out.OK()
	}
	return nil
}

func getCommand(c *Call) error {
	e, err := c.lookupString(c.Args[1])
	if err != nil {
		return err
	}
	c.replyString(e)
	return nil
}

func getdelCommand(c *Call) error {
	e, err := c.lookupString(c.Args[1])
	if err != nil {
		return err
	}
	c.replyString(e)
	if e != nil {
		c.DB.Remove(e)
		c.Changed("del", c.Args[1])
	}
	return nil
}

// getexCommand is GET that may change the ttl. The number is looked at only when there is a key to set
// it on.
func getexCommand(c *Call) error {
	o, err := parseGetexOptions(c.Args[2:])
	if err != nil {
		return err
	}
	key := c.Args[1]
	e, err := c.lookupString(key)
	if err != nil || e == nil {
		c.Out.Null()
		return err
	}
	var deadline clock.Instant
	if o.expiry != noExpiry {
		if deadline, err = c.deadline(o.expiry, o.expire); err != nil {
			return err
		}
	}
	c.replyString(e)
	switch {
	case o.expiry != noExpiry && !c.Now().Before(deadline):
		c.DB.Remove(e)
		c.Changed("del", key)
	case o.expiry != noExpiry:
		c.DB.SetDeadline(e, deadline)
		c.Changed("expire", key)
	case o.persist && c.DB.Persist(e):
		c.Changed("persist", key)
	}
	return nil
}

func getsetCommand(c *Call) error {
	e, err := c.lookupString(c.Args[1])
	if err != nil {
		return err
	}
	c.replyString(e)
	c.DB.SetBytes(c.Args[1], c.Args[2])
	c.Changed("set", c.Args[1])
	return nil
}

func mgetCommand(c *Call) error {
	c.Out.Array(len(c.Args) - 1)
	for _, key := range c.Args[1:] {
		e, err := c.lookupString(key)
		if err != nil {
			e = nil // what is not a string is as absent here
		}
		c.replyString(e)
	}
	return nil
}

func msetCommand(c *Call) error {
	if len(c.Args)%2 == 0 {
		return errArity(c.cmd.fullName)
	}
	c.setPairs()
	return c.OK()
}

func msetnxCommand(c *Call) error {
	if len(c.Args)%2 == 0 {
		return errArity(c.cmd.fullName)
	}
	for i := 1; i < len(c.Args); i += 2 {
		if c.DB.Lookup(c.Args[i], c.Now()) != nil {
			c.Out.Int(0)
			return nil
		}
	}
	c.setPairs()
	c.Out.Int(1)
	return nil
}

func (c *Call) setPairs() {
	for i := 1; i < len(c.Args); i += 2 {
		c.DB.SetBytes(c.Args[i], c.Args[i+1])
		c.Changed("set", c.Args[i])
	}
}

func incrCommand(c *Call) error { return c.increment(1) }

func decrCommand(c *Call) error { return c.increment(-1) }

func incrbyCommand(c *Call) error {
	by, err := integer(c.Args[2])
	if err != nil {
		return err
	}
	return c.increment(by)
}

func decrbyCommand(c *Call) error {
	by, err := integer(c.Args[2])
	if err != nil {
		return err
	}
	if by == math.MinInt64 {
		return errDecrementOverflow // it has no opposite
	}
	return c.increment(-by)
}

// increment adds to the integer of key Args[1], which starts at 0.
func (c *Call) increment(by int64) error {
	key := c.Args[1]
	e, err := c.lookupString(key)
	if err != nil {
		return err
	}
	var n int64
	if e != nil {
		if n, err = integer(e.Bytes()); err != nil {
			return err
		}
	}
	if by > 0 && n > math.MaxInt64-by || by < 0 && n < math.MinInt64-by {
		return errOverflow
	}
	n += by
	var digits [20]byte
	if text := strconv.AppendInt(digits[:0], n, 10); e != nil {
		e.SetBytes(text) // the ttl stays
	} else {
		c.DB.SetBytes(key, text)
	}
	c.Changed("incrby", key)
	c.Out.Int(n)
	return nil
}

func incrbyfloatCommand(c *Call) error {
	key := c.Args[1]
	e, err := c.lookupString(key)
	if err != nil {
		return err
	}
	old := []byte("0")
	if e != nil {
		old = e.Bytes()
	}
	sum, err := addLongDouble(old, c.Args[2])
	if err != nil {
		return err
	}
	if e == nil {
		e = c.DB.SetBytes(key, nil)
	}
	e.SetComputed(sum)
	c.Changed("incrbyfloat", key)
	c.Out.Bulk(sum)
	return nil
}

func appendCommand(c *Call) error {
	key, data := c.Args[1], c.Args[2]
	e, err := c.lookupString(key)
	if err != nil {
		return err
	}
	if e == nil {
		e = c.DB.SetBytes(key, data)
	} else {
		if err := c.fits(int64(len(e.Bytes())), len(data)); err != nil {
			return err
		}
		e.Append(data)
	}
	c.Changed("append", key)
	c.Out.Int(int64(len(e.Bytes())))
	return nil
}

// fits refuses a string of more than proto-max-bulk-len bytes: nobody could send it back.
func (c *Call) fits(size int64, more int) error {
	if limit := c.srv.config.MaxBulk; size > limit || int64(more) > limit-size {
		return errStringTooLong
	}
	return nil
}

func strlenCommand(c *Call) error {
	e, err := c.lookupString(c.Args[1])
	if err != nil {
		return err
	}
	n := 0
	if e != nil {
		n = len(e.Bytes())
	}
	c.Out.Int(int64(n))
	return nil
}

// getrangeCommand is GETRANGE and its older name SUBSTR. Negative positions count from the end.
func getrangeCommand(c *Call) error {
	start, err := integer(c.Args[2])
	if err != nil {
		return err
	}
	end, err := integer(c.Args[3])
	if err != nil {
		return err
	}
	e, err := c.lookupString(c.Args[1])
	if err != nil {
		return err
	}
	var value []byte
	if e != nil {
		value = e.Bytes()
	}
	size := int64(len(value))
	// Two negative positions in the wrong order would both be cut to the first byte.
	backwards := start < 0 && end < 0 && start > end
	if start < 0 {
		start = max(start+size, 0)
	}
	if end < 0 {
		end = max(end+size, 0)
	}
	end = min(end, size-1)
	if backwards || start > end {
		c.Out.Bulk(nil)
		return nil
	}
	c.Out.Bulk(value[start : end+1])
	return nil
}

func setrangeCommand(c *Call) error {
	key, data := c.Args[1], c.Args[3]
	offset, err := integer(c.Args[2])
	if err != nil {
		return err
	}
	if offset < 0 {
		return errOffset
	}
	e, err := c.lookupString(key)
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return strlenCommand(c)
	}
	if err := c.fits(offset, len(data)); err != nil {
		return err
	}
	if e == nil {
		e = c.DB.SetBytes(key, nil)
	}
	e.WriteAt(data, int(offset))
	c.Changed("setrange", key)
	c.Out.Int(int64(len(e.Bytes())))
	return nil
}
