package server_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/glob"
)

// Ensure that internal/glob matches what redis-server's KEYS matches, for random patterns and keys made
// of what is special in patterns.
func TestGlob_AgainstRedis(t *testing.T) {
	const rounds, keys, patterns = 40, 30, 50
	w := dial(t, startRedis(t), 2)
	defer w.close()
	rng := rand.New(rand.NewPCG(1, 2))
	word := func(alphabet string, most int) string {
		var b strings.Builder
		for range rng.IntN(most + 1) {
			b.WriteByte(alphabet[rng.IntN(len(alphabet))])
		}
		return b.String()
	}
	matched := 0
	for range rounds {
		w.do("FLUSHALL")
		set := make(map[string]bool)
		for range keys {
			key := word("aAbc-^]\\*[\x00\xff", 6)
			set[key] = true
			w.do("SET", key, "")
		}
		for range patterns {
			pattern := word("aabc**??[]^-\\\x00\xff", 8)
			if pattern == "*" {
				continue // KEYS * does not look at the keys
			}
			want := make(map[string]bool)
			for _, element := range elements(w.do("KEYS", pattern)) {
				want[content(element)] = true
			}
			matched += len(want)
			for key := range set {
				require.Equal(t, want[key], glob.Match(pattern, key), "pattern %q, key %q", pattern, key)
			}
		}
	}
	require.Greater(t, matched, 1000)
}
