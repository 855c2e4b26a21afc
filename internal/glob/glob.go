// Package glob matches strings against Redis's patterns, as KEYS, SCAN MATCH and PSUBSCRIBE use them.
//
//	?       one byte
//	*       any number of bytes, none included
//	[ab-d]  one byte of a set; [^ab-d] one byte not of it
//	\x      the byte x itself
//
// Patterns match bytes, not characters, and a pattern is never wrong: a set without its closing bracket
// ends with the pattern, a backslash at the end is itself.
package glob

// Text is what patterns and subjects are made of.
type Text interface{ ~string | ~[]byte }

// Match reports whether all of s matches pattern. Its time is at most the product of both lengths, also
// for patterns with many stars.
func Match[P, S Text](pattern P, s S) bool { return match(pattern, s, false) }

// MatchFold is Match without regard to the case of ASCII letters, as CONFIG GET uses it.
func MatchFold[P, S Text](pattern P, s S) bool { return match(pattern, s, true) }

// match tries the pattern and, when it fails after a star, lets the LAST star take one byte more. Earlier
// stars need no second try: whatever they could take later, the last star can take too. That is what
// makes the worst case a product rather than an exponential.
func match[P, S Text](pattern P, s S, fold bool) bool {
	if len(s) == 0 {
		return len(pattern) == 0 // in Redis not even a star matches nothing at all
	}
	p, i := 0, 0
	starP, starI := -1, 0
	for {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			if p == len(pattern) {
				return true
			}
			starP, starI = p, i
			continue
		}
		if i == len(s) {
			return p == len(pattern)
		}
		if p < len(pattern) {
			if next, ok := matchOne(pattern, p, s[i], fold); ok {
				p = next
				i++
				continue
			}
		}
		if starP < 0 {
			return false
		}
		starI++
		p, i = starP, starI
	}
}

// matchOne matches one byte against the element of the pattern at p and returns where the next starts.
func matchOne[P Text](pattern P, p int, c byte, fold bool) (next int, ok bool) {
	switch pattern[p] {
	case '?':
		return p + 1, true
	case '[':
		return matchSet(pattern, p+1, c, fold)
	case '\\':
		if p+1 < len(pattern) {
			p++
		}
	}
	return p + 1, equal(pattern[p], c, fold)
}

// matchSet matches one byte against the set that starts at p, behind its bracket.
func matchSet[P Text](pattern P, p int, c byte, fold bool) (next int, ok bool) {
	not := p < len(pattern) && pattern[p] == '^'
	if not {
		p++
	}
	found := false
	for {
		switch {
		case p >= len(pattern):
			return p, found != not
		case pattern[p] == '\\' && p+1 < len(pattern):
			p++
			found = found || pattern[p] == c
		case pattern[p] == ']':
			return p + 1, found != not
		case p+2 < len(pattern) && pattern[p+1] == '-':
			found = found || inRange(pattern[p], pattern[p+2], c, fold)
			p += 2
		default:
			found = found || equal(pattern[p], c, fold)
		}
		p++
	}
}

// inRange compares bytes as signed numbers, so that those above 127 come before all others: a char is
// signed where Redis is usually built, and patterns should mean the same here.
func inRange(low, high, c byte, fold bool) bool {
	if int8(low) > int8(high) {
		low, high = high, low
	}
	if fold {
		low, high, c = lower(low), lower(high), lower(c)
	}
	return int8(low) <= int8(c) && int8(c) <= int8(high)
}

func equal(a, b byte, fold bool) bool { return a == b || fold && lower(a) == lower(b) }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
