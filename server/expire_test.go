package server_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// inBubble runs a test against an in-memory node in a bubble of fake time, with as many connections as
// dial is called for.
func inBubble(t *testing.T, test func(t *testing.T, dial func() *wire)) {
	synctest.Test(t, func(t *testing.T) {
		node := servertest.Start(t, servertest.InMemory())
		test(t, func() *wire {
			conn, err := node.Dial(t.Context(), "", "")
			require.NoError(t, err)
			t.Cleanup(func() { conn.Close() })
			return newWire(t, conn, 2)
		})
	})
}

// Ensure that a key is there until the last moment of its ttl and gone from the next on, however the ttl
// was set.
func TestExpire_Exact(t *testing.T) {
	tests := map[string]struct {
		words []string
		ttl   time.Duration
	}{
		"SET PX":  {[]string{"SET", "k", "v", "PX", "8000"}, 8 * time.Second},
		"SET EX":  {[]string{"SET", "k", "v", "EX", "8"}, 8 * time.Second},
		"PSETEX":  {[]string{"PSETEX", "k", "1", "v"}, time.Millisecond},
		"EXPIRE":  {[]string{"EXPIRE", "k", "8"}, 8 * time.Second},
		"PEXPIRE": {[]string{"PEXPIRE", "k", "8123"}, 8123 * time.Millisecond},
		"GETEX":   {[]string{"GETEX", "k", "PX", "300"}, 300 * time.Millisecond},
		"renewed": {[]string{"SET", "k", "v", "PX", "60000", "XX"}, time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, dial func() *wire) {
				w := dial()
				w.do("SET", "k", "v", "PX", "500")
				w.do(tt.words...)
				time.Sleep(tt.ttl - 1)
				assert.Equal(t, "$1\r\nv\r\n", w.do("GET", "k"))
				time.Sleep(1)
				assert.Equal(t, "$-1\r\n", w.do("GET", "k"))
				assert.Equal(t, ":0\r\n", w.do("DBSIZE"))
			})
		})
	}
}

// Ensure that PXAT and its like mean the wall clock's moment, to less than a millisecond.
func TestExpire_WallClock(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() *wire) {
		w := dial()
		time.Sleep(123_456 * time.Nanosecond) // the wall clock does not show a whole millisecond
		at := clock.Wall().Add(3 * time.Second).UnixMilli()
		w.do("SET", "k", "v", "PXAT", strconv.FormatInt(at, 10))
		time.Sleep(time.UnixMilli(at).Sub(clock.Wall()) - time.Millisecond)
		assert.Equal(t, ":1\r\n", w.do("EXISTS", "k"))
		time.Sleep(2 * time.Millisecond)
		assert.Equal(t, ":0\r\n", w.do("EXISTS", "k"))
	})
}

// Ensure that the remaining ttl never reads as more than was given nor, while the key is there, as nothing;
// and that the moment of expiry is the same whenever it is asked for.
func TestExpire_Told(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() *wire) {
		w := dial()
		w.do("SET", "k", "v", "PX", "10000")
		at := w.do("PEXPIRETIME", "k")
		for left := int64(10_000_000); left > 0; left -= 333_333 { // microseconds
			pttl, _ := number(w.do("PTTL", "k"))
			assert.Equal(t, (left+999)/1000, pttl)
			ttl, _ := number(w.do("TTL", "k"))
			assert.Equal(t, (pttl+500)/1000, ttl)
			assert.Equal(t, at, w.do("PEXPIRETIME", "k"))
			time.Sleep(333_333 * time.Microsecond)
		}
		assert.Equal(t, ":-2\r\n", w.do("PTTL", "k"))
	})
}

// Ensure that keys which nobody looks at go too, soon after their time.
func TestExpire_Active(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() *wire) {
		w := dial()
		const n = 2000
		for i := range n {
			w.do("SET", strconv.Itoa(i), "v", "PX", "500")
		}
		w.do("SET", "stays", "v", "EX", "100")
		assert.Equal(t, ":2001\r\n", w.do("DBSIZE"))
		time.Sleep(750 * time.Millisecond)
		assert.Equal(t, ":1\r\n", w.do("DBSIZE"))
	})
}

// Ensure that time stands still inside a transaction, and that a watched key which expires aborts it,
// whoever notices.
func TestExpire_Transactions(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() *wire) {
		w, other := dial(), dial()
		w.do("SET", "k", "v", "PX", "100")
		w.do("MULTI")
		w.do("GET", "k")
		w.do("PTTL", "k")
		time.Sleep(99 * time.Millisecond)
		assert.Equal(t, "*2\r\n$1\r\nv\r\n:1\r\n", w.do("EXEC"))

		for name, notice := range map[string]func(){
			"a lookup":          func() { other.do("EXISTS", "k") },
			"the cycle":         func() { time.Sleep(time.Second) },
			"nobody until EXEC": func() {},
		} {
			w.do("SET", "k", "v", "PX", "105")
			w.do("WATCH", "k")
			time.Sleep(105 * time.Millisecond)
			notice()
			w.do("MULTI")
			w.do("PING")
			assert.Equal(t, "*-1\r\n", w.do("EXEC"), name)
		}
	})
}

// Ensure that a command that finds a key expired treats it as absent, in every way.
func TestExpire_Absent(t *testing.T) {
	tests := []struct {
		words []string
		want  string
	}{
		{[]string{"SET", "k", "w", "NX"}, "+OK\r\n"},
		{[]string{"SET", "k", "w", "XX"}, "$-1\r\n"},
		{[]string{"SET", "k", "w", "GET"}, "$-1\r\n"},
		{[]string{"SET", "k", "w", "IFEQ", "5"}, "$-1\r\n"},
		{[]string{"SETNX", "k", "w"}, ":1\r\n"},
		{[]string{"MSETNX", "k", "w"}, ":1\r\n"},
		{[]string{"INCR", "k"}, ":1\r\n"},
		{[]string{"APPEND", "k", "w"}, ":1\r\n"},
		{[]string{"DEL", "k"}, ":0\r\n"},
		{[]string{"DELEX", "k"}, ":0\r\n"},
		{[]string{"DELIFEQ", "k", "5"}, ":0\r\n"},
		{[]string{"EXISTS", "k"}, ":0\r\n"},
		{[]string{"TOUCH", "k"}, ":0\r\n"},
		{[]string{"TYPE", "k"}, "+none\r\n"},
		{[]string{"RENAME", "k", "x"}, "-ERR no such key\r\n"},
		{[]string{"RENAMENX", "other", "k"}, ":1\r\n"},
		{[]string{"COPY", "k", "x"}, ":0\r\n"},
		{[]string{"COPY", "other", "k"}, ":1\r\n"},
		{[]string{"MOVE", "k", "1"}, ":0\r\n"},
		{[]string{"RANDOMKEY"}, "$5\r\nother\r\n"},
		{[]string{"KEYS", "*"}, "*1\r\n$5\r\nother\r\n"},
		{[]string{"SCAN", "0"}, "*2\r\n$1\r\n0\r\n*1\r\n$5\r\nother\r\n"},
		{[]string{"EXPIRE", "k", "10"}, ":0\r\n"},
		{[]string{"PERSIST", "k"}, ":0\r\n"},
		{[]string{"TTL", "k"}, ":-2\r\n"},
		{[]string{"GETEX", "k", "PERSIST"}, "$-1\r\n"},
		{[]string{"OBJECT", "ENCODING", "k"}, "$-1\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.words[0], func(t *testing.T) {
			inBubble(t, func(t *testing.T, dial func() *wire) {
				w := dial()
				w.do("SET", "other", "v")
				w.do("SET", "k", "5", "PX", "7")
				time.Sleep(7 * time.Millisecond)
				assert.Equal(t, tt.want, w.do(tt.words...))
			})
		})
	}
}
