package server_test

import (
	"fmt"

	"pgregory.net/rapid"
)

// bitsCommand draws a command on bits, a HyperLogLog, or LCS.
func (g *commandGen) bitsCommand() step {
	words := func(name string, rest ...string) step { return step{words: append([]string{name}, rest...)} }
	name := g.pick("bits", "SETBIT", "SETBIT", "GETBIT", "BITCOUNT", "BITPOS", "BITOP", "BITFIELD", "BITFIELD", "BITFIELD_RO",
		"LCS", "PFADD", "PFADD", "PFCOUNT", "PFMERGE", "PFDEBUG")
	switch name {
	case "SETBIT":
		return words(name, g.key(), g.bitOffset(), g.pick("bit", "0", "1", "1", "2", "x"))
	case "GETBIT":
		return words(name, g.key(), g.bitOffset())
	case "BITCOUNT":
		return words(name, append([]string{g.key()}, g.bitRange()...)...)
	case "BITPOS":
		return words(name, append([]string{g.key(), g.pick("bit", "0", "1", "2")}, g.bitRange()...)...)
	case "BITOP":
		return words(name, append([]string{g.pick("op", "AND", "OR", "XOR", "not", "nand"), g.key()}, g.several(g.key, 3)...)...)
	case "BITFIELD", "BITFIELD_RO":
		return words(name, append([]string{g.key()}, g.fieldOps()...)...)
	case "LCS":
		options := rapid.SampledFrom([][]string{nil, {"LEN"}, {"IDX"}, {"IDX", "WITHMATCHLEN"}, {"IDX", "MINMATCHLEN", "2"}, {"IDX", "LEN"}, {"x"}})
		return words(name, append([]string{g.key(), g.key()}, options.Draw(g.t, "options")...)...)
	case "PFADD":
		var elements []string
		from := rapid.IntRange(0, 1_000_000).Draw(g.t, "from")
		for i := range rapid.SampledFrom([]int{0, 1, 3, 100, 2000}).Draw(g.t, "elements") {
			elements = append(elements, fmt.Sprint(from+i))
		}
		return words(name, append([]string{g.key()}, elements...)...)
	case "PFDEBUG":
		return words(name, g.pick("subcommand", "ENCODING", "DECODE", "TODENSE", "bogus"), g.key())
	default: // PFCOUNT PFMERGE
		return words(name, g.several(g.key, 3)...)
	}
}

func (g *commandGen) bitOffset() string {
	return g.pick("bit offset", "0", "1", "7", "8", "13", "63", "100", "399", "-1", "4294967296", "x")
}

func (g *commandGen) bitRange() (words []string) {
	position := func() string {
		return g.pick("position", "0", "1", "2", "7", "8", "30", "100", "-1", "-2", "-9", "-1000", "9223372036854775807", "-9223372036854775808", "y")
	}
	for range rapid.IntRange(0, 2).Draw(g.t, "positions") {
		words = append(words, position())
	}
	if len(words) == 2 && g.chance(2) {
		words = append(words, g.pick("unit", "BIT", "BYTE", "bit", "bits"))
	}
	return words
}

func (g *commandGen) fieldOps() (words []string) {
	for range rapid.IntRange(0, 4).Draw(g.t, "operations") {
		field := []string{g.pick("type", "u1", "i1", "u4", "i5", "u8", "i8", "u13", "i32", "u63", "i64", "u64"),
			g.pick("field offset", "0", "0", "#1", "#3", "3", "17", "100", "-1", "#x")}
		operand := g.pick("operand", "0", "1", "-1", "100", "-100", "255", "1000", "9223372036854775807", "-9223372036854775808", "z")
		switch op := g.pick("operation", "GET", "SET", "INCRBY", "incrby", "OVERFLOW"); op {
		case "GET":
			words = append(append(words, op), field...)
		case "OVERFLOW":
			words = append(words, op, g.pick("overflow", "WRAP", "SAT", "FAIL", "fail", "none"))
		default:
			words = append(append(append(words, op), field...), operand)
		}
	}
	return words
}
