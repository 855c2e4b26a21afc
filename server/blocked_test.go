package server_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// wait sends a command that blocks and returns when it does.
func (c *talk) wait(line string) {
	c.t.Helper()
	c.send(line)
	synctest.Wait()
}

// Ensure that a wait ends when its time is over, to the millisecond, and not before; that one without a
// timeout lasts; and that neither is taken for idleness.
func TestBlocked_Timeout(t *testing.T) {
	bubble(t, server.Config{Timeout: time.Second}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		forever := open()
		forever.wait("BLPOP other 0")
		tests := map[string]time.Duration{
			"BLPOP k 90":             90 * time.Second,
			"BRPOP k k2 0.25":        250 * time.Millisecond,
			"BLMPOP 3 1 k LEFT":      3 * time.Second,
			"BLMOVE k l LEFT LEFT 2": 2 * time.Second,
			"BRPOPLPUSH k l 0.0001":  time.Millisecond,
		}
		for line, timeout := range tests {
			c, began := open(), clock.Now()
			c.send(line)
			c.want("*-1")
			assert.Equal(t, timeout, clock.Since(began), line)
			c.send("PING")
			c.want("+PONG")
		}
		open().send("RPUSH other x")
		forever.want("*2", "$5", "other", "$1", "x")
	})
}

// Ensure that a timeout does not outlive its wait: what is served in time is not followed by another reply.
func TestBlocked_ServedInTime(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		a, b := open(), open()
		a.wait("BLPOP k 5")
		time.Sleep(4 * time.Second)
		b.send("RPUSH k x")
		b.want(":1")
		a.want("*2", "$1", "k", "$1", "x")
		a.wait("BLPOP k 5")
		time.Sleep(4 * time.Second)
		b.send("RPUSH k y")
		b.want(":1")
		a.want("*2", "$1", "k", "$1", "y")
		time.Sleep(time.Minute)
		a.send("PING")
		a.want("+PONG")
	})
}

// Ensure that a client that has gone is not served: the element is for the next one, or stays.
func TestBlocked_Disconnect(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		gone, stays, other := open(), open(), open()
		gone.wait("BLPOP k 0")
		stays.wait("BLPOP k 0")
		gone.conn.Close()
		synctest.Wait()
		other.send("RPUSH k 1 2")
		other.want(":2")
		stays.want("*2", "$1", "k", "$1", "1")
		other.send("LLEN k")
		other.want(":1")
		other.send("INFO clients")
		assert.Contains(t, other.bulk(), "blocked_clients:0\r\n")
	})
}

// Ensure that those who wait for a key are served in the order in which they came, each once, whatever the
// pushes are.
func TestBlocked_Fair(t *testing.T) {
	const n = 50
	bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		var waiters []*talk
		for range n {
			c := open()
			c.wait("BLPOP k 0")
			waiters = append(waiters, c)
		}
		pusher := open()
		pusher.send("INFO clients")
		assert.Contains(t, pusher.bulk(), fmt.Sprintf("blocked_clients:%d\r\n", n))
		for i := 0; i < n; i += 5 {
			pusher.send(fmt.Sprintf("RPUSH k %d %d\r\nEVAL \"redis.call('rpush', 'k', %d); redis.call('rpush', 'k', %d)\" 0\r\nRPUSH k %d", i, i+1, i+2, i+3, i+4))
			pusher.want(":2", "$-1", ":1")
		}
		for i, c := range waiters {
			text := fmt.Sprint(i)
			c.want("*2", "$1", "k", fmt.Sprintf("$%d", len(text)), text)
		}
	})
}

// Ensure that commands that arrive while their client waits are executed afterwards, in order.
func TestBlocked_Pipeline(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		a, b := open(), open()
		a.wait("ECHO before\r\nBLPOP k 0\r\nECHO one\r\nBLPOP k 0\r\nECHO t")
		a.want("$6", "before")
		a.wait(strings.Repeat("INCR n\r\n", 3000))
		b.send("GET n")
		b.want("$-1")
		b.send("RPUSH k 1")
		b.want(":1")
		a.want("*2", "$1", "k", "$1", "1", "$3", "one")
		synctest.Wait()
		b.send("GET n\r\nRPUSH k 2")
		b.want("$-1", ":1")
		a.want("*2", "$1", "k", "$1", "2", "$1", "t", ":1", ":2", ":3")
	})
}

// Ensure that a client that sends more than it may while it waits is sent away.
func TestBlocked_QueryLimit(t *testing.T) {
	bubble(t, server.Config{MaxQuery: 1 << 20}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		c := open()
		c.wait("BLPOP k 0")
		go func() {
			for line := []byte(strings.Repeat("PING\r\n", 1000)); ; {
				if _, err := c.conn.Write(line); err != nil {
					return
				}
			}
		}()
		c.wantClosed()
	})
}

// Ensure that a client that is subscribed, which RESP3 allows, gets messages while it waits, and its reply
// in the right place between them.
func TestBlocked_Subscribed(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		a, b := open(), open()
		a.send("HELLO 3\r\nSUBSCRIBE c")
		for line := ""; line != "subscribe\r\n"; {
			var err error
			line, err = a.r.ReadString('\n')
			require.NoError(t, err)
		}
		a.want("$1", "c", ":1")
		a.wait("BLPOP k 0")
		b.send("PUBLISH c before\r\nRPUSH k x\r\nPUBLISH c after")
		b.want(":1", ":1", ":1")
		a.want(">3", "$7", "message", "$1", "c", "$6", "before")
		a.want("*2", "$1", "k", "$1", "x")
		a.want(">3", "$7", "message", "$1", "c", "$5", "after")
		a.send("PING")
		a.want("+PONG")
	})
}

// Ensure that a node that shuts down does not wait for those who wait.
func TestBlocked_Shutdown(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, node *servertest.Node, open func() *talk) {
		with, without := open(), open()
		with.wait("BLPOP k 3600")
		without.wait("BLPOP k 0")
		began := clock.Now()
		node.Stop()
		assert.Zero(t, clock.Since(began))
		with.wantClosed()
		without.wantClosed()
	})
}
