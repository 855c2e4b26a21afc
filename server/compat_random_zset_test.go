package server_test

import "pgregory.net/rapid"

func (g *commandGen) score() string {
	return g.pick("score", "0", "1", "2", "2", "-1.5", "3", "0.1", "1e17", "inf", "-inf", "-0", "nan", "x", "1e400", "0x10")
}

// scoreEnd draws an end of a range of scores. Ranges of members have an answer of their own where scores
// differ, which means nothing, so they are left to the scripts.
func (g *commandGen) scoreEnd() string {
	return g.pick("score end", "-inf", "+inf", "0", "(1", "2", "(2", "3", "(inf", "-1.5", "x", "")
}

func (g *commandGen) limitOption() []string {
	return rapid.SampledFrom([][]string{nil, nil, {"LIMIT", "1", "2"}, {"LIMIT", "0", "-1"}, {"limit", "-1", "1"}, {"LIMIT", "1"},
		{"WITHSCORES"}, {"withscores", "LIMIT", "0", "1"}, {"bogus"}}).Draw(g.t, "limit")
}

func (g *commandGen) degrees() string {
	return g.pick("degrees", "0", "13.361389", "38.115556", "-73.9", "40.7", "84.99", "-85.05112878", "180", "x")
}

// longMember is now and then too long for a listpack.
func (g *commandGen) longMember() string {
	if g.chance(20) {
		return g.pick("long", string(make([]byte, 64)), string(make([]byte, 65)))
	}
	return g.member()
}

func (g *commandGen) scored() (words []string) {
	for range rapid.IntRange(1, 4).Draw(g.t, "pairs") {
		words = append(words, g.score(), g.longMember())
	}
	return words
}

// zsetCommand draws a command on sorted sets.
func (g *commandGen) zsetCommand() step {
	words := func(name string, rest ...string) step { return step{words: append([]string{name}, rest...)} }
	name := g.pick("zset command", "ZADD", "ZADD", "ZADD", "ZADD", "ZINCRBY", "ZREM", "ZCARD", "ZSCORE", "ZMSCORE", "ZRANK", "ZREVRANK", "ZRANGE",
		"ZREVRANGE", "ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZCOUNT", "ZREMRANGEBYSCORE",
		"ZREMRANGEBYRANK", "ZPOPMIN", "ZPOPMAX", "ZMPOP", "ZRANGESTORE", "ZRANDMEMBER", "ZUNION", "ZINTER", "ZDIFF",
		"ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE", "ZINTERCARD", "GEOADD",
		"GEOPOS", "GEODIST", "GEOSEARCH")
	switch name {
	case "GEOADD":
		return words(name, g.key(), g.degrees(), g.degrees(), g.member())
	case "GEOPOS":
		return words(name, g.key(), g.member(), g.member())
	case "GEODIST":
		return words(name, g.key(), g.member(), g.member(), g.pick("unit", "m", "KM", "ft", "mi", "x"))
	case "GEOSEARCH":
		return words(name, g.key(), "FROMLONLAT", g.degrees(), g.degrees(), "BYRADIUS", g.pick("radius", "0", "100", "3000", "30000", "-1", "x"), "km",
			g.pick("option", "ASC", "WITHHASH", "WITHCOORD", "WITHDIST", "bogus"))
	case "ZADD":
		options := rapid.SampledFrom([][]string{nil, nil, {"NX"}, {"XX"}, {"GT"}, {"LT", "CH"}, {"CH"}, {"INCR"}, {"NX", "GT"}}).Draw(g.t, "options")
		return words(name, append(append([]string{g.key()}, options...), g.scored()...)...)
	case "ZINCRBY":
		return words(name, g.key(), g.score(), g.longMember())
	case "ZREM", "ZMSCORE":
		return words(name, append([]string{g.key()}, g.several(g.longMember, 3)...)...)
	case "ZSCORE", "ZRANK", "ZREVRANK":
		return words(name, g.key(), g.longMember())
	case "ZRANGE", "ZREVRANGE":
		return words(name, append([]string{g.key(), g.integer(), g.integer()}, g.limitOption()...)...)
	case "ZRANGEBYSCORE", "ZREVRANGEBYSCORE":
		return words(name, append([]string{g.key(), g.scoreEnd(), g.scoreEnd()}, g.limitOption()...)...)
	case "ZCOUNT", "ZREMRANGEBYSCORE":
		return words(name, g.key(), g.scoreEnd(), g.scoreEnd())
	case "ZREMRANGEBYRANK":
		return words(name, g.key(), g.integer(), g.integer())
	case "ZPOPMIN", "ZPOPMAX":
		return words(name, append([]string{g.key()}, rapid.SampledFrom([][]string{nil, {"1"}, {"2"}, {"0"}, {"-1"}, {"x"}}).Draw(g.t, "count")...)...)
	case "ZRANGESTORE":
		return words(name, append([]string{g.key(), g.key(), g.scoreEnd(), g.scoreEnd(), "BYSCORE"}, g.limitOption()...)...)
	case "ZRANDMEMBER":
		return step{directive: "unordered", words: []string{name, g.key(), g.pick("count", "1000", "0", "x", "-9223372036854775808"), "WITHSCORES"}}
	case "ZCARD":
		return words(name, g.key())
	}
	return step{words: g.combination(name)}
}

// combination draws one of the commands that count their keys.
func (g *commandGen) combination(name string) (words []string) {
	words = []string{name}
	if name == "ZUNIONSTORE" || name == "ZINTERSTORE" || name == "ZDIFFSTORE" {
		words = append(words, g.key())
	}
	keys := g.several(g.key, 3)
	words = append(append(words, g.pick("numkeys", "1", "1", "2", "3", "0", "x")), keys...)
	if name == "ZMPOP" {
		words = append(words, g.pick("end", "MIN", "MAX", "max", "MID"))
	}
	return append(words, rapid.SampledFrom([][]string{nil, nil, {"WITHSCORES"}, {"WEIGHTS", "2"}, {"WEIGHTS", "-1", "0.5"}, {"WEIGHTS", "1", "x"},
		{"AGGREGATE", "MIN"}, {"aggregate", "max", "WITHSCORES"}, {"LIMIT", "1"}, {"COUNT", "2"}, {"bogus"}}).Draw(g.t, "options")...)
}

// hashCommand draws a command on hashes.
func (g *commandGen) hashCommand() step {
	words := func(name string, rest ...string) step { return step{words: append([]string{name}, rest...)} }
	unordered := func(name string, rest ...string) step {
		return step{directive: "unordered", words: append([]string{name}, rest...)}
	}
	name := g.pick("hash command", "HSET", "HSET", "HSET", "HMSET", "HSETNX", "HGET", "HMGET", "HDEL", "HGETALL", "HKEYS", "HVALS", "HSTRLEN",
		"HEXISTS", "HLEN", "HINCRBY", "HINCRBYFLOAT", "HRANDFIELD")
	switch name {
	case "HSET", "HMSET":
		words := []string{name, g.key()}
		for range rapid.IntRange(1, 4).Draw(g.t, "pairs") {
			words = append(words, g.longMember(), g.value())
		}
		return step{words: words}
	case "HSETNX", "HINCRBYFLOAT":
		return words(name, g.key(), g.longMember(), g.value())
	case "HINCRBY":
		return words(name, g.key(), g.longMember(), g.integer())
	case "HMGET", "HDEL":
		return words(name, append([]string{g.key()}, g.several(g.longMember, 3)...)...)
	case "HGET", "HSTRLEN", "HEXISTS":
		return words(name, g.key(), g.longMember())
	case "HRANDFIELD":
		return unordered(name, g.key(), g.pick("count", "1000", "0", "x", "-9223372036854775808"), "WITHVALUES")
	case "HLEN":
		return words(name, g.key())
	default: // HGETALL HKEYS HVALS
		return unordered(name, g.key())
	}
}
