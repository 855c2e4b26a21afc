package server_test

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// gone reports whether the server closes the connection instead of sending a reply of size bytes.
func (c *talk) gone(size int) bool {
	n, _ := io.Copy(io.Discard, io.LimitReader(c.r, int64(size)))
	return n < int64(size)
}

// Ensure that the output limits are those of what a client is at the moment, not of what it has been:
// a subscriber that has unsubscribed is a normal client again, in both directions.
func TestServer_OutputLimitOfTheMoment(t *testing.T) {
	const size = 3 << 20
	low, high := server.OutputLimit{Hard: 1 << 20}, server.OutputLimit{Hard: 8 << 20}
	soft := server.OutputLimit{Hard: 8 << 20, Soft: 1 << 20, SoftTime: time.Second}
	const leave = "SUBSCRIBE a\r\nUNSUBSCRIBE a"
	for _, tt := range []struct {
		name           string
		normal, pubsub server.OutputLimit
		before, get    string
		closed         bool
	}{
		{"pubsub low, was a subscriber", server.OutputLimit{}, low, leave, "GET big", false},
		{"pubsub low, is a subscriber", server.OutputLimit{}, low, "HELLO 3\r\nSUBSCRIBE a", "GET big", true},
		{"pubsub low, becomes one in the transaction", server.OutputLimit{}, low, "MULTI", "SUBSCRIBE a\r\nGET big\r\nEXEC", true},
		{"pubsub soft, was a subscriber", server.OutputLimit{}, soft, leave, "GET big", false},
		{"pubsub soft, is a subscriber", server.OutputLimit{}, soft, "HELLO 3\r\nSUBSCRIBE a", "GET big", true},
		{"normal low, never subscribed", low, high, "PING", "GET big", true},
		{"normal low, was a subscriber", low, high, leave, "GET big", true},
		{"normal low, is a subscriber", low, high, "HELLO 3\r\nSUBSCRIBE a", "GET big", false},
		{"normal soft, was a subscriber", soft, high, leave, "GET big", true},
		{"normal high, was a subscriber", high, low, leave, "GET big", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, server.Config{NormalOutput: tt.normal, PubSubOutput: tt.pubsub}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
				c := open()
				c.send(fmt.Sprintf("SETRANGE big %d x\r\n%s\r\nPING", size-1, tt.before))
				for line := ""; !strings.Contains(strings.ToLower(line), "pong") && !strings.Contains(line, "+QUEUED"); {
					var err error
					line, err = c.r.ReadString('\n')
					require.NoError(t, err)
				}
				if tt.before == "PING" {
					c.want("+PONG")
				}
				c.send(tt.get)
				time.Sleep(5 * time.Second)
				assert.Equal(t, tt.closed, c.gone(size))
			})
		})
	}
}

// Ensure that a client that used to be a subscriber is not read from while it does not take its replies,
// so that a pipeline of them never comes near its limit.
func TestServer_FormerSubscriberBackPressure(t *testing.T) {
	limit := server.OutputLimit{Hard: 1 << 20}
	bubble(t, server.Config{NormalOutput: limit}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		c := open()
		payload := strings.Repeat("x", 60_000)
		c.send("SET big " + payload + "\r\nSUBSCRIBE a\r\nUNSUBSCRIBE a")
		c.skipTo("unsubscribe")
		c.want("$1", "a", ":0")
		c.send(strings.Repeat("GET big\r\n", 200))
		synctest.Wait()
		for range 200 {
			c.want("$60000", payload)
		}
	})
}

// Ensure that a reply above the hard limit is not even put together: what one client asks for does not
// cost the memory of its reply.
func TestServer_OutputLimitBoundsMemory(t *testing.T) {
	const copies, size = 60, 1 << 20
	keys := strings.Repeat(" big", copies)
	for name, get := range map[string]string{
		"MGET": "MGET" + keys,
		"EXEC": "MULTI\r\n" + strings.Repeat("GET big\r\n", copies) + "EXEC",
		"EVAL": `EVAL "local v = redis.call('get', 'big') local t = {} for i = 1, 60 do t[i] = v end return t" 0`,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, server.Config{NormalOutput: server.OutputLimit{Hard: size}}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
				c, other := open(), open()
				c.send(fmt.Sprintf("SETRANGE big %d x", size-1))
				c.want(fmt.Sprintf(":%d", size))
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				c.send(get)
				assert.True(t, c.gone(copies*size))
				runtime.ReadMemStats(&after)
				assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(copies*size/2))
				other.send("PING")
				other.want("+PONG")
			})
		})
	}
}

// Ensure that the memory of long replies is collected soon after they were written, twice, and that
// afterwards and without any there is no reason to.
func TestServer_CollectsLongReplies(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		forced := func() uint32 {
			time.Sleep(10 * time.Second)
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			return stats.NumForcedGC
		}
		c := open()
		before := forced()
		c.send("SETRANGE big 1999999 x\r\n" + strings.Repeat("PING\r\n", 100) + "MGET" + strings.Repeat(" big", 30))
		c.want(":2000000")
		require.False(t, c.gone(60_000_000))
		assert.Equal(t, before+2, forced())
		c.send("PING")
		assert.Equal(t, before+2, forced())
	})
}
