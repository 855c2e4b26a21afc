package server_test

import "pgregory.net/rapid"

// member draws members of sets: mostly integers, so that sets stay intsets for a while.
func (g *commandGen) member() string {
	return g.pick("member", "1", "2", "3", "-5", "300", "70000", "9223372036854775807", "9223372036854775808", "01", "x", "", "\x00\xff")
}

// setCommand draws a command on sets. What a set of other things than integers answers has no order.
func (g *commandGen) setCommand() step {
	words := func(name string, rest ...string) step { return step{words: append([]string{name}, rest...)} }
	unordered := func(name string, rest ...string) step {
		return step{directive: "unordered", words: append([]string{name}, rest...)}
	}
	name := g.pick("set command", "SADD", "SADD", "SADD", "SREM", "SISMEMBER", "SMISMEMBER", "SCARD", "SMEMBERS", "SMOVE", "SPOP",
		"SRANDMEMBER", "SINTER", "SUNION", "SDIFF", "SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE", "SINTERCARD")
	switch name {
	case "SADD", "SREM", "SMISMEMBER":
		return words(name, append([]string{g.key()}, g.several(g.member, 5)...)...)
	case "SISMEMBER":
		return words(name, g.key(), g.member())
	case "SMOVE":
		return words(name, g.key(), g.key(), g.member())
	case "SPOP": // all of it: what is left of a part would differ
		return unordered(name, g.key(), g.pick("count", "100", "0", "-1", "x"))
	case "SRANDMEMBER":
		return unordered(name, g.key(), g.pick("count", "100", "0", "x", "-9223372036854775808"))
	case "SINTER", "SUNION", "SDIFF":
		return unordered(name, g.several(g.key, 3)...)
	case "SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE":
		return words(name, append([]string{g.key()}, g.several(g.key, 3)...)...)
	case "SINTERCARD":
		keys := g.several(g.key, 3)
		limit := rapid.SampledFrom([][]string{nil, {"LIMIT", "1"}, {"LIMIT", "0"}, {"limit", "-1"}, {"bogus"}}).Draw(g.t, "limit")
		return words(name, append(append([]string{g.pick("numkeys", "1", "2", "3", "0", "x")}, keys...), limit...)...)
	case "SMEMBERS":
		return unordered(name, g.key())
	default: // SCARD
		return words(name, g.key())
	}
}
