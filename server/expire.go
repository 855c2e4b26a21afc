package server

import (
	"bytes"
	"math"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
)

// expireCommands are the commands about a key's ttl.
//
// A ttl runs on the running clock. Where a command speaks of a moment in time (EXPIREAT, EXPIRETIME) the
// keyspace's calendar translates; where it compares two (GT, LT) it does so in the milliseconds that
// EXPIRETIME would answer.
func expireCommands() []*command {
	const (
		write = flagWrite | flagFast
		read  = flagReadonly | flagFast
	)
	changing := []string{"nondeterministic_output"}
	return []*command{
		{name: "expire", arity: -3, flags: write, categories: catKeyspace, keys: oneKey, since: "1.0.0", handler: expireCommand},
		{name: "pexpire", arity: -3, flags: write, categories: catKeyspace, keys: oneKey, since: "2.6.0", handler: pexpireCommand},
		{name: "expireat", arity: -3, flags: write, categories: catKeyspace, keys: oneKey, since: "1.2.0", handler: expireatCommand},
		{name: "pexpireat", arity: -3, flags: write, categories: catKeyspace, keys: oneKey, since: "2.6.0", handler: pexpireatCommand},
		{name: "ttl", arity: 2, flags: read, categories: catKeyspace, keys: oneKey, tips: changing, since: "1.0.0", handler: ttlCommand},
		{name: "pttl", arity: 2, flags: read, categories: catKeyspace, keys: oneKey, tips: changing, since: "2.6.0", handler: pttlCommand},
		{name: "expiretime", arity: 2, flags: read, categories: catKeyspace, keys: oneKey, since: "7.0.0", handler: expiretimeCommand},
		{name: "pexpiretime", arity: 2, flags: read, categories: catKeyspace, keys: oneKey, since: "7.0.0", handler: pexpiretimeCommand},
		{name: "persist", arity: 2, flags: write, categories: catKeyspace, keys: oneKey, since: "2.2.0", handler: persistCommand},
	}
}

func expireCommand(c *Call) error    { return c.expire(true, false) }
func pexpireCommand(c *Call) error   { return c.expire(false, false) }
func expireatCommand(c *Call) error  { return c.expire(true, true) }
func pexpireatCommand(c *Call) error { return c.expire(false, true) }

// An expireCondition says on which present ttl EXPIRE and its like act. No ttl at all is the longest.
type expireCondition struct{ nx, xx, gt, lt bool }

func parseExpireCondition(words [][]byte) (cond expireCondition, err error) {
	for _, word := range words {
		switch {
		case isWord(word, "nx"):
			cond.nx = true
		case isWord(word, "xx"):
			cond.xx = true
		case isWord(word, "gt"):
			cond.gt = true
		case isWord(word, "lt"):
			cond.lt = true
		default:
			// Redis trims line breaks at the end of an error; those within become spaces.
			return cond, errorf("ERR Unsupported option %s", bytes.TrimRight(cString(word, len(word)), "\r\n"))
		}
	}
	if cond.nx && (cond.xx || cond.gt || cond.lt) {
		return cond, errExpireNX
	}
	if cond.gt && cond.lt {
		return cond, errExpireGTLT
	}
	return cond, nil
}

// allows compares the new expiry time with the present one, both in milliseconds since 1970; volatile is
// false if there is no present one.
func (cond expireCondition) allows(at, present int64, volatile bool) bool {
	switch {
	case cond.nx && volatile, cond.xx && !volatile:
		return false
	case cond.gt && (!volatile || at <= present):
		return false
	case cond.lt && volatile && at >= present:
		return false
	}
	return true
}

// expire is EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT: the argument in seconds or milliseconds, from now on
// or since 1970. A time that has passed deletes the key.
func (c *Call) expire(seconds, absolute bool) error {
	cond, err := parseExpireCondition(c.Args[3:])
	if err != nil {
		return err
	}
	ms, err := integer(c.Args[2])
	if err != nil {
		return err
	}
	if seconds {
		if ms > math.MaxInt64/1000 || ms < math.MinInt64/1000 {
			return errExpireTime(c.cmd.fullName)
		}
		ms *= 1000
	}
	at, deadline := ms, clock.Instant(0)
	if absolute {
		deadline = c.DB.Keyspace().Deadline(ms)
	} else {
		now := c.unixMilli()
		if ms > math.MaxInt64-now {
			return errExpireTime(c.cmd.fullName)
		}
		at, deadline = now+ms, keyspace.After(c.Now(), ms)
	}
	key := c.Args[1]
	e := c.DB.Lookup(key, c.Now())
	if e == nil {
		c.Out.Int(0)
		return nil
	}
	var present int64
	old, volatile := c.DB.Deadline(e)
	if volatile {
		present = c.DB.Keyspace().UnixMilli(old)
	}
	if !cond.allows(at, present, volatile) {
		c.Out.Int(0)
		return nil
	}
	if !c.Now().Before(deadline) {
		c.delete(e, key)
	} else {
		c.DB.SetDeadline(e, deadline)
		c.Changed("expire", key)
	}
	c.Out.Int(1)
	return nil
}

// What the commands that tell a ttl answer when there is none to tell.
const (
	ttlNoKey = -2
	ttlNone  = -1
)

// deadlineOf returns when a key expires, or why it does not.
func (c *Call) deadlineOf(key []byte) (deadline clock.Instant, none int64) {
	e := c.DB.Peek(key, c.Now())
	if e == nil {
		return 0, ttlNoKey
	}
	deadline, volatile := c.DB.Deadline(e)
	if !volatile {
		return 0, ttlNone
	}
	return deadline, 0
}

// replyDeadline writes what format makes of a key's deadline.
func (c *Call) replyDeadline(format func(clock.Instant) int64) error {
	deadline, none := c.deadlineOf(c.Args[1])
	if none == 0 {
		none = format(deadline)
	}
	c.Out.Int(none)
	return nil
}

// remaining is the time to a deadline in milliseconds. A part of one counts as one: a key that is there
// has some time left, and never more than it was given.
func (c *Call) remaining(deadline clock.Instant) int64 {
	return int64((deadline.Sub(c.Now()) + time.Millisecond - 1) / time.Millisecond)
}

// toSeconds rounds milliseconds to the nearest second, as Redis does.
func toSeconds(ms int64) int64 { return (ms + 500) / 1000 }

func ttlCommand(c *Call) error {
	return c.replyDeadline(func(d clock.Instant) int64 { return toSeconds(c.remaining(d)) })
}

func pttlCommand(c *Call) error { return c.replyDeadline(c.remaining) }

func expiretimeCommand(c *Call) error {
	return c.replyDeadline(func(d clock.Instant) int64 { return toSeconds(c.DB.Keyspace().UnixMilli(d)) })
}

func pexpiretimeCommand(c *Call) error {
	return c.replyDeadline(c.DB.Keyspace().UnixMilli)
}

func persistCommand(c *Call) error {
	e := c.DB.Lookup(c.Args[1], c.Now())
	if e == nil || !c.DB.Persist(e) {
		c.Out.Int(0)
		return nil
	}
	c.Changed("persist", c.Args[1])
	c.Out.Int(1)
	return nil
}
