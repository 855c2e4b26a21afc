package server

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// Ensure that the subsequence is part of both strings, as long as any, and that the matches spell it.
func TestLCS_Model(t *testing.T) {
	words := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte("abc")), 0, 12), func(b []byte) string { return string(b) })
	rapid.Check(t, func(t *rapid.T) {
		a, b := words.Draw(t, "a"), words.Draw(t, "b")
		l := newLCS([]byte(a), []byte(b))
		text := string(l.text())
		assert.Len(t, text, longestCommon(a, b))
		assert.Equal(t, len(text), l.length)
		assert.True(t, isSubsequence(text, a), "%q in %q", text, a)
		assert.True(t, isSubsequence(text, b), "%q in %q", text, b)
		spelled := ""
		for _, m := range l.matches() {
			assert.Equal(t, a[m.a:m.a+m.length], b[m.b:m.b+m.length])
			spelled = a[m.a:m.a+m.length] + spelled
		}
		assert.Equal(t, text, spelled)
	})
}

// longestCommon tries every subsequence of a.
func longestCommon(a, b string) (longest int) {
	for set := range 1 << len(a) {
		s := ""
		for i := range len(a) {
			if set>>i&1 == 1 {
				s += a[i : i+1]
			}
		}
		if len(s) > longest && isSubsequence(s, b) {
			longest = len(s)
		}
	}
	return longest
}

func isSubsequence(s, of string) bool {
	for i := 0; i < len(of) && s != ""; i++ {
		if of[i] == s[0] {
			s = s[1:]
		}
	}
	return s == ""
}
