package etcd

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzParseKey checks that whatever is read as a key of ours is just what we would write, and that what we write is
// read, is in its own queue, and begins like the names before it.
func FuzzParseKey(f *testing.F) {
	f.Add("/holdfast/locks/orders%2F42/00000000000000ff")
	f.Add("/holdfast/locks/a/b/00000000000000ff")
	f.Add("/holdfast/locks/%zz/00000000000000ff")
	f.Add("a/b\x00%")
	c := &Client{set: settings{prefix: DefaultPrefix}}
	f.Fuzz(func(t *testing.T, text string) {
		if name, ok := c.parseKey(text); ok {
			assert.True(t, strings.HasPrefix(text, c.queueOf(name)))
			assert.NoError(t, checkName(name))
		}
		if checkName(text) != nil {
			return
		}
		key := c.keyOf(text, 255)
		name, ok := c.parseKey(key)
		require.True(t, ok, key)
		assert.Equal(t, text, name)
		assert.Equal(t, 1, strings.Count(strings.TrimPrefix(key, DefaultPrefix+"/"), "/"))
		assert.True(t, strings.HasPrefix(key, c.namesFrom(text[:len(text)/2])))
	})
}
