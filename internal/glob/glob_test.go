package glob

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// Ensure that patterns mean what they mean to Redis, in their corners too.
func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		yes, no []string
	}{
		{"", []string{""}, []string{"a"}},
		{"abc", []string{"abc"}, []string{"", "ab", "abcd", "ABC"}},
		{"?", []string{"a", "?", "\xff"}, []string{"", "ab"}},
		{"*", []string{"a", "abc"}, []string{""}}, // Redis: a star matches no empty string,
		{"a*", []string{"a", "ab"}, []string{"", "ba"}},
		{"*a", []string{"a", "ba", "aa"}, []string{"", "ab"}},
		{"a*b*c", []string{"abc", "axbxc", "abcbc"}, []string{"ab", "acb"}},
		{"**a**", []string{"a", "bab"}, []string{"", "b"}},
		{"a**", []string{"a", "ab"}, []string{"", "b"}},
		{"*?", []string{"a", "ab"}, []string{""}},
		{"[abc]", []string{"a", "c"}, []string{"", "d", "ab"}},
		{"[a-c]x", []string{"ax", "cx"}, []string{"dx", "-x"}},
		{"[c-a]", []string{"a", "b", "c"}, []string{"d"}},
		{"[^a-c]", []string{"d", "^"}, []string{"", "a", "c"}},
		{"[a-]", []string{"a", "]", "^"}, []string{"-", "b"}}, // a range to the closing bracket, and no end
		{"[a-\xff]", []string{"a", "]", "\xff"}, []string{"b", "\x80"}},
		{"[a-", []string{"a", "-"}, []string{"b"}},
		{`[\]]`, []string{"]"}, []string{`\`}},
		{`[\a-c]`, []string{"a", "-", "c"}, []string{"b"}},
		{"[", nil, []string{"", "[", "a"}},
		{"[^", []string{"a"}, []string{""}},
		{"[]", nil, []string{"", "[", "]", "a"}},
		{"[^]", []string{"a", "]"}, []string{""}},
		{"[a", []string{"a"}, []string{"b", "[a"}},
		{`\*`, []string{"*"}, []string{"a", `\*`}},
		{`\`, []string{`\`}, []string{"", "a"}},
		{`a\`, []string{`a\`}, []string{"a"}},
		{"a\x00b", []string{"a\x00b"}, []string{"a"}},
	} {
		for _, s := range tt.yes {
			assert.True(t, Match(tt.pattern, s), "%q should match %q", tt.pattern, s)
		}
		for _, s := range tt.no {
			assert.False(t, Match(tt.pattern, s), "%q should not match %q", tt.pattern, s)
		}
	}
}

// Ensure that MatchFold takes ASCII letters of either case for the same and changes nothing else.
func TestMatchFold(t *testing.T) {
	assert.True(t, MatchFold("MaxC*", "maxclients"))
	assert.True(t, MatchFold("[A-C]x", "bX"))
	assert.False(t, MatchFold("a", "b"))
	assert.False(t, MatchFold("[", "{"))
	assert.True(t, MatchFold([]byte("A"), "a"))
}

// Ensure that a string matches itself when everything special in it is escaped, also between stars, and
// that a prefix and a suffix of it do with a star in between.
func TestMatch_Properties(t *testing.T) {
	escape := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.RuneFrom([]rune("ab*?[]^-\\é")), 1, -1, -1).Draw(t, "s")
		cut := rapid.IntRange(0, len(s)).Draw(t, "cut")
		for _, pattern := range []string{
			escape.Replace(s), "*" + escape.Replace(s) + "*", escape.Replace(s[:cut]) + "*" + escape.Replace(s[cut:]),
			strings.Repeat("?", len(s)), "*",
		} {
			if !Match(pattern, s) {
				t.Fatalf("%q does not match %q", pattern, s)
			}
		}
		if Match(escape.Replace(s)+"?", s) || Match("?"+escape.Replace(s), s) {
			t.Fatal("one byte too many")
		}
	})
}

// Ensure that a pattern made to take for ever does not.
func TestMatch_ManyStars(t *testing.T) {
	assert.False(t, Match(strings.Repeat("a*", 5000)+"b", strings.Repeat("a", 50_000)))
}

// Ensure, for any bytes, that matching ends without a panic, and that neither a star in front nor a byte
// more on both sides makes a match fail.
func FuzzMatch(f *testing.F) {
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(s) == 0 || len(pattern)*len(s) > 1<<20 {
			return
		}
		if !Match(pattern, s) {
			return
		}
		if !Match("*"+pattern, s) {
			t.Errorf("a star before %q keeps it from matching %q", pattern, s)
		}
		if !Match("?"+pattern, "x"+s) {
			t.Errorf("a byte more on both sides keeps %q from matching %q", pattern, s)
		}
	})
}
