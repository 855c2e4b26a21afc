package server

import (
	"math"

	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// objectEntry returns the entry that OBJECT asks about, without counting that as a use of it.
func (c *Call) objectEntry() *keyspace.Entry { return c.DB.Peek(c.Args[2], c.Now()) }

func objectEncodingCommand(c *Call) error {
	e := c.objectEntry()
	if e == nil {
		c.Out.Null()
		return nil
	}
	c.Out.BulkString(encodingOf(e))
	return nil
}

// embeddedUpTo is the length up to which Redis calls a string's encoding embstr.
const embeddedUpTo = 44

// encodingOf names the encoding that Redis would use; ours are none of these.
func encodingOf(e *keyspace.Entry) string {
	switch e.Kind() {
	case keyspace.KindHash:
		if e.Hash().Small() {
			return "listpack"
		}
		return "hashtable"
	case keyspace.KindZSet:
		if e.ZSet().Small() {
			return "listpack"
		}
		return "skiplist"
	case keyspace.KindSet:
		if e.Set().Ints() {
			return "intset"
		}
		return "hashtable"
	case keyspace.KindList:
		return "quicklist"
	}
	if _, ok := resp.ParseInt(e.Bytes()); ok && e.Form() == keyspace.FormPlain {
		return "int"
	}
	if len(e.Bytes()) <= embeddedUpTo && e.Form() != keyspace.FormEdited {
		return "embstr"
	}
	return "raw"
}

// sharedIntegers is how many small integers Redis keeps one object each for, which all keys share.
const sharedIntegers = 10_000

// objectRefcountCommand answers 1, and what Redis answers for the integers that it shares. (A copy that COPY
// made of one is not shared there; here it cannot be told.)
func objectRefcountCommand(c *Call) error {
	e := c.objectEntry()
	if e == nil {
		c.Out.Null()
		return nil
	}
	refs := int64(1)
	if e.Kind() == keyspace.KindString && encodingOf(e) == "int" {
		if n, _ := resp.ParseInt(e.Bytes()); n >= 0 && n < sharedIntegers {
			refs = math.MaxInt32
		}
	}
	c.Out.Int(refs)
	return nil
}

func objectIdletimeCommand(c *Call) error {
	e := c.objectEntry()
	if e == nil {
		c.Out.Null()
		return nil
	}
	c.Out.Int(max(e.Idle(c.Now()), 0))
	return nil
}

func objectFreqCommand(c *Call) error {
	if c.objectEntry() == nil {
		c.Out.Null()
		return nil
	}
	return errNoFrequency
}

func objectHelpCommand(c *Call) error {
	lines := []string{
		"OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"ENCODING <key>",
		"    Return the kind of internal representation used in order to store the value",
		"    associated with a <key>.",
		"FREQ <key>",
		"    Return the access frequency index of the <key>. The returned integer is",
		"    proportional to the logarithm of the recent access frequency of the key.",
		"IDLETIME <key>",
		"    Return the idle time of the <key>, that is the approximated number of",
		"    seconds elapsed since the last access to the key.",
		"REFCOUNT <key>",
		"    Return the number of references of the value associated with the specified",
		"    <key>.",
		"HELP",
		"    Prints this help.",
	}
	c.Out.Array(len(lines))
	for _, line := range lines {
		c.Out.Simple(line)
	}
	return nil
}
