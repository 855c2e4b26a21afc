package server_test

import "pgregory.net/rapid"

// element draws elements of lists.
func (g *commandGen) element() string {
	return g.pick("element", "a", "b", "c", "1", "01", "", "\x00\xff")
}

// index draws positions of lists, on either side of what there is.
func (g *commandGen) index() string {
	return g.pick("index", "0", "1", "2", "3", "7", "-1", "-2", "-3", "-7", "9223372036854775807", "-9223372036854775808", "x")
}

func (g *commandGen) end() string {
	return g.pick("end", "LEFT", "RIGHT", "left", "Right", "LEFT", "RIGHT", "up")
}

// listCommand draws a command on lists.
func (g *commandGen) listCommand() step {
	words := func(name string, rest ...string) step { return step{words: append([]string{name}, rest...)} }
	name := g.pick("list command", "LPUSH", "RPUSH", "RPUSH", "LPUSHX", "RPUSHX", "LPOP", "RPOP", "LLEN", "LRANGE", "LINDEX", "LSET",
		"LINSERT", "LREM", "LTRIM", "LPOS", "LMOVE", "RPOPLPUSH", "LMPOP")
	switch name {
	case "LPUSH", "RPUSH", "LPUSHX", "RPUSHX":
		return words(name, append([]string{g.key()}, g.several(g.element, 8)...)...)
	case "LPOP", "RPOP":
		return words(name, append([]string{g.key()}, rapid.SampledFrom([][]string{nil, nil, {"0"}, {"2"}, {"100"}, {"-1"}}).Draw(g.t, "count")...)...)
	case "LRANGE", "LTRIM":
		return words(name, g.key(), g.index(), g.index())
	case "LINDEX":
		return words(name, g.key(), g.index())
	case "LSET":
		return words(name, g.key(), g.index(), g.element())
	case "LINSERT":
		return words(name, g.key(), g.pick("where", "BEFORE", "AFTER", "after", "x"), g.element(), g.element())
	case "LREM":
		return words(name, g.key(), g.index(), g.element())
	case "LPOS":
		rest := []string{g.key(), g.element()}
		for range rapid.IntRange(0, 3).Draw(g.t, "options") {
			rest = append(rest, g.pick("option", "RANK", "COUNT", "MAXLEN", "rank", "bogus"), g.index())
		}
		return words(name, rest...)
	case "LMOVE":
		return words(name, g.key(), g.key(), g.end(), g.end())
	case "RPOPLPUSH":
		return words(name, g.key(), g.key())
	case "LMPOP":
		rest := append([]string{g.pick("numkeys", "1", "2", "3", "0")}, g.several(g.key, 3)...)
		rest = append(rest, g.end())
		return words(name, append(rest, rapid.SampledFrom([][]string{nil, {"COUNT", "2"}, {"count", "100"}, {"COUNT", "0"}, {"COUNT"}}).Draw(g.t, "count")...)...)
	default: // LLEN
		return words(name, g.key())
	}
}
