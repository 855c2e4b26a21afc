package server_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// Ensure that WATCH, which may run while a script is busy, does not take the script a key away whose time
// passes meanwhile.
func TestWatch_BusyScript(t *testing.T) {
	addr := startNode(t)
	admin, runner := dial(t, addr, 2), dial(t, addr, 2)
	defer admin.close()
	defer runner.close()
	require.Equal(t, "+OK\r\n", admin.do("CONFIG", "SET", "busy-reply-threshold", "0"))
	const script = `if redis.call('EXISTS', KEYS[1]) == 0 then return 'late' end
		while redis.call('EXISTS', KEYS[1]) == 1 do end
		return 'gone'`
	// On a busy machine the script may begin when the key is gone already; then the key must live for longer.
	for ttl := 50 * time.Millisecond; ; ttl *= 2 {
		set := clock.Now()
		require.Equal(t, "+OK\r\n", admin.do("SET", "k", "v", "PX", strconv.FormatInt(ttl.Milliseconds(), 10)))
		done := make(chan string, 1)
		go func() { done <- runner.do("EVAL", script, "1", "k") }()
		for clock.Since(set) < 2*ttl {
			admin.do("WATCH", "k")
		}
		killed := admin.do("SCRIPT", "KILL")
		reply := <-done
		admin.do("UNWATCH")
		if reply == "$4\r\nlate\r\n" && ttl < time.Minute {
			continue
		}
		assert.Equal(t, "+OK\r\n", killed)
		assert.Contains(t, reply, "Script killed by user")
		return
	}
}
