//go:build unix

package fencing

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that a file refuses a stale writer.
func TestWriteFile(t *testing.T) {
	tellStory(t, func(t *testing.T) resource {
		path := filepath.Join(t.TempDir(), "order-42")
		return resource{
			write: func(text string, token int64) error { return WriteFile(path, text, token) },
			read: func() string {
				data, err := os.ReadFile(path)
				require.NoError(t, err)
				_, text, _ := strings.Cut(string(data), "\n")
				return text
			},
		}
	})
}

// Ensure that of many who write at once the highest token stays, and that nothing else is left.
func TestWriteFile_AtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "order-42")
	var wg sync.WaitGroup
	for token := range int64(50) {
		wg.Go(func() {
			if err := WriteFile(path, "x", token+1); err != nil {
				assert.ErrorIs(t, err, ErrStale)
			}
		})
	}
	wg.Wait()
	token, err := fileToken(path)
	require.NoError(t, err)
	assert.EqualValues(t, 50, token)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	assert.Equal(t, []string{path, path + ".lock"}, left)
}

// Ensure that a file of unknown origin is not overwritten.
func TestWriteFile_Foreign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "order-42")
	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o644))
	require.ErrorContains(t, WriteFile(path, "x", 1), "without a token")
}
