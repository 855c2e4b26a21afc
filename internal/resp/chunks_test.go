package resp

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Ensure, for any sequence of replies, short and long, taken back, moved and written out, that a Writer holds the
// bytes that one slice would hold.
func TestWriter_Chunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w, other Writer
		var want []byte
		check := func() {
			if w.Len() != len(want) {
				t.Fatalf("%d bytes, want %d", w.Len(), len(want))
			}
		}
		sizes := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(longBulk-40, longBulk+40), rapid.IntRange(chunkSize-100, 3*chunkSize))
		text := func(t *rapid.T) string {
			return strings.Repeat(string(rapid.ByteRange('a', 'z').Draw(t, "byte")), sizes.Draw(t, "size"))
		}
		reply := func(s string) []byte {
			plain := []byte("$")
			plain = append(plain, bytes.TrimPrefix(intReply(len(s)), []byte(":"))...)
			return append(append(plain, s...), '\r', '\n')
		}
		t.Repeat(map[string]func(*rapid.T){
			"":     func(*rapid.T) { check() },
			"bulk": func(t *rapid.T) { s := text(t); w.Bulk([]byte(s)); want = append(want, reply(s)...) },
			"string": func(t *rapid.T) {
				s := text(t)
				w.BulkString(s)
				want = append(want, reply(s)...)
			},
			"raw": func(t *rapid.T) { s := text(t); w.Raw([]byte(s)); want = append(want, s...) },
			"int": func(*rapid.T) { w.Int(7); want = append(want, ":7\r\n"...) },
			"truncate": func(t *rapid.T) {
				n := rapid.IntRange(0, len(want)).Draw(t, "to")
				w.Truncate(n)
				want = want[:n]
			},
			"append": func(t *rapid.T) {
				s := text(t)
				other.BulkString(s)
				w.Append(&other)
				want = append(want, reply(s)...)
				if other.Len() != 0 {
					t.Fatal("the source is not empty")
				}
			},
			"swap":  func(*rapid.T) { other.Swap(&w); w.Swap(&other) },
			"bytes": func(t *rapid.T) { same(t, w.Bytes(), want) },
			"flush": func(t *rapid.T) {
				var got []byte
				w.Flush(func(piece []byte) bool {
					if len(piece) == 0 {
						t.Fatal("an empty piece")
					}
					got = append(got, piece...)
					return true
				})
				same(t, got, want)
				want = want[:0]
			},
			"reset":   func(*rapid.T) { w.Reset(); want = want[:0] },
			"release": func(*rapid.T) { w.Release(); want = want[:0] },
		})
		same(t, w.Bytes(), want)
	})
}

func intReply(n int) []byte {
	var w Writer
	w.Int(int64(n))
	return w.Bytes()
}

func same(t *rapid.T, got, want []byte) {
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes are not the %d that were written", len(got), len(want))
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Ensure that a long reply takes the memory of its bytes, once, however it is put together.
func TestWriter_LongReplyIsNotCopied(t *testing.T) {
	const size = 32 << 20
	for name, bulk := range map[string][]byte{"long": make([]byte, size/8), "short": make([]byte, 100)} {
		var w Writer
		got := allocated(func() {
			for w.Len() < size {
				w.Bulk(bulk)
			}
		})
		assert.Less(t, got, uint64(size+size/2), name)
		assert.Less(t, w.Cap(), size+size/2, name)
		require.False(t, w.Flush(func([]byte) bool { return false }))
		assert.LessOrEqual(t, w.Cap(), chunkSize, name)
	}
}

// Ensure that a Writer over its limit keeps nothing and says so, until it is reset.
func TestWriter_Limit(t *testing.T) {
	var w Writer
	w.SetLimit(1 << 20)
	w.Bulk(make([]byte, 1<<20-100))
	assert.False(t, w.Over())
	w.Bulk(make([]byte, 100))
	assert.True(t, w.Over(), "the exact limit")

	long, text := make([]byte, 10<<20), strings.Repeat("x", 1000)
	mark := w.Len()
	got := allocated(func() {
		for range 50 {
			w.Bulk(long)
			w.BulkString(text)
			w.Int(1)
		}
	})
	assert.Less(t, got, uint64(2<<20))
	assert.True(t, w.Over())
	assert.Less(t, w.Cap(), 2<<20)
	w.Truncate(mark)
	assert.True(t, w.Over(), "what was dropped cannot be taken back")
	w.Reset()
	assert.False(t, w.Over())
	w.Int(1)
	assert.Equal(t, ":1\r\n", string(w.Bytes()))
}
