package server_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/clock/clocktest"
	"github.com/holdfast-dev/holdfast/redlock"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// do sends each line and takes its reply, which must be no error.
func (c *talk) do(lines ...string) {
	c.t.Helper()
	for _, line := range lines {
		c.send(line)
		c.skipReply(line)
	}
}

func (c *talk) skipReply(line string) {
	c.t.Helper()
	header, err := c.r.ReadString('\n')
	require.NoError(c.t, err)
	require.NotEqual(c.t, byte('-'), header[0], "%s: %s", line, header)
	n, _ := strconv.Atoi(strings.TrimSpace(header[1:]))
	switch {
	case header[0] == '*':
		for range n {
			c.skipReply(line)
		}
	case header[0] == '$' && n >= 0:
		_, err := c.r.Discard(n + 2)
		require.NoError(c.t, err)
	}
}

// A gallery watches the wake-up messages for the waiters of one client.
type gallery struct {
	*talk
	other *talk
}

func watchWakes(open func() *talk, waiter string) *gallery {
	g := &gallery{open(), open()}
	// A message that does not come fails the test: a node's own ticker would keep the bubble's time going for ever.
	require.NoError(g.t, g.conn.SetReadDeadline(time.Now().Add(time.Hour)))
	channel := redlock.WakeChannel(waiter)
	g.send("SUBSCRIBE " + channel)
	g.want("*3", "$9", "subscribe", fmt.Sprintf("$%d", len(channel)), channel, ":1")
	return g
}

// seen returns the messages since the last call.
func (g *gallery) seen() (messages []string) {
	g.t.Helper()
	synctest.Wait()
	g.other.do("PUBLISH " + redlock.WakeChannel("c/1") + " end")
	for {
		g.want("*3", "$7", "message")
		for range 3 {
			_, err := g.r.ReadString('\n')
			require.NoError(g.t, err)
		}
		payload, err := g.r.ReadString('\n')
		require.NoError(g.t, err)
		if payload = strings.TrimSpace(payload); payload == "end" {
			return messages
		}
		messages = append(messages, payload)
	}
}

// queued is the command that puts a waiter into the queue of a lock, as the acquire script does.
func queued(name, id string, since int, alive time.Duration) string {
	return fmt.Sprintf("ZADD %s %d %s;%d", redlock.Keys(name).Waiters, since, id, time.Now().Add(alive).UnixMilli())
}

// Ensure that in whatever way a lock's key goes away, the first live waiter is woken, once, in any database,
// alone and in a transaction.
func TestLockWake_Gone(t *testing.T) {
	ways := []string{
		"DEL x",
		"UNLINK x",
		"GETDEL x",
		"DELEX x IFEQ v",
		"DELIFEQ x v",
		"SET x w PXAT 1",
		"SET x w EXAT 1 XX",
		"GETEX x EXAT 1",
		"EXPIRE x -1",
		"PEXPIREAT x 1",
		"RENAME x y",
		"RENAMENX x y",
		"MOVE x 5",
		"BITOP AND x none none",
		"SORT none STORE x",
		"SINTERSTORE x none none",
		"ZUNIONSTORE x 1 none",
		`EVAL "return redis.call('del','x')" 1 x`,
		`EVAL "redis.call('set','x','w') redis.call('set','x','w','pxat',1) return 1" 1 x`,
		`EVAL "redis.call('publish','holdfast:wake:c','c/7 x') return redis.call('del','x')" 1 x`,
	}
	for _, way := range ways {
		for _, db := range []int{0, 3} {
			for _, tx := range []bool{false, true} {
				t.Run(fmt.Sprint(way, db, tx), func(t *testing.T) {
					bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
						g, c := watchWakes(open, "c/1"), open()
						c.do(fmt.Sprint("SELECT ", db), "SET x v PX 60000",
							queued("x", "c/1", 1, -time.Second), queued("x", "c/3", 2, time.Minute), queued("x", "c/2", 3, time.Minute))
						require.Empty(t, g.seen())
						if tx {
							c.do("MULTI", "SET else 1", way, "SET else 2", "EXEC")
						} else {
							c.do(way)
						}
						want := []string{"c/3 x"}
						if strings.Contains(way, "publish") {
							want = []string{"c/7 x", "c/3 x"} // whoever publishes before the key goes has woken nobody for it
						}
						assert.Equal(t, want, g.seen())
						c.send("EXISTS x")
						c.want(":0")
						c.send("ZCARD " + redlock.Keys("x").Waiters)
						c.want(":2") // the dead one is gone, the woken one stays until it takes the lock or leaves
					})
				})
			}
		}
	}
}

// Ensure that a lock that somebody waits for expires in time although nobody looks at it: also one whose ttl
// is changed, one that is replaced, one that was there before its first waiter, one among many keys, and in
// databases that were exchanged.
func TestLockWake_Expired(t *testing.T) {
	tests := map[string]struct {
		lines []string
		after time.Duration
	}{
		"as set":          {[]string{"SET x v PX 5003", queued("x", "c/1", 1, time.Hour)}, 5003 * time.Millisecond},
		"queue first":     {[]string{queued("x", "c/1", 1, time.Hour), "SET x v PX 5003"}, 5003 * time.Millisecond},
		"longer":          {[]string{"SET x v PX 5003", queued("x", "c/1", 1, time.Hour), "PEXPIRE x 7001"}, 7001 * time.Millisecond},
		"shorter":         {[]string{"SET x v PX 5003", queued("x", "c/1", 1, time.Hour), "PEXPIRE x 33"}, 33 * time.Millisecond},
		"replaced":        {[]string{"SET x v PX 5003", queued("x", "c/1", 1, time.Hour), "SET x w PX 77"}, 77 * time.Millisecond},
		"volatile now":    {[]string{"SET x v", queued("x", "c/1", 1, time.Hour), "PEXPIRE x 77"}, 77 * time.Millisecond},
		"others first":    {[]string{"SET a v PX 31", "SET b v PX 62", "SET x v PX 93", queued("x", "c/1", 1, time.Hour)}, 93 * time.Millisecond},
		"another's queue": {[]string{"SET y v PX 31", queued("y", "d/1", 1, time.Hour), "SET x v PX 93", queued("x", "c/1", 1, time.Hour)}, 93 * time.Millisecond},
		"renamed":         {[]string{"SET y v PX 93", queued("x", "c/1", 1, time.Hour), "RENAME y x"}, 93 * time.Millisecond},
		"copied":          {[]string{"SET y v PX 93", queued("x", "c/1", 1, time.Hour), "COPY y x"}, 93 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, server.Config{Hz: 1}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
				g, c := watchWakes(open, "c/1"), open()
				began := clock.Now()
				// The deadlines of the queue are of this bubble's clock, which begins anew.
				for _, line := range tt.lines {
					if strings.HasPrefix(line, "ZADD") {
						line = queued(map[bool]string{true: "y", false: "x"}[strings.Contains(line, "{y}")],
							strings.Split(strings.Fields(line)[3], ";")[0], 1, time.Hour)
					}
					c.do(line)
				}
				g.want("*3", "$7", "message", "$15", "holdfast:wake:c", "$5", "c/1 x")
				assert.Equal(t, tt.after, clock.Since(began))
				assert.Empty(t, g.seen())
			})
		})
	}
}

// Ensure that nobody is woken while the lock is there, when it was put back before anybody could see that it
// was gone, when the script that deleted it has woken somebody, or when it was not there in the first place.
func TestLockWake_NotGone(t *testing.T) {
	tests := map[string][]string{
		"replaced":            {"SET x w", "GETSET x u", "SET x w PX 5000", "PEXPIRE x 7000", "PERSIST x"},
		"replaced by rename":  {"SET y w", "RENAME y x"},
		"put back":            {"MULTI", "DEL x", "SET x w", "EXEC"},
		"put back by script":  {`EVAL "redis.call('del','x') redis.call('set','x','w') return 1" 1 x`},
		"another key":         {"SET y v", "DEL y", "SET y w PX 1"},
		"queue changed":       {queued("x", "c/9", 0, 0), "ZREM {x}:waiters c/9"},
		"in another database": {"SELECT 1", "SET x w", "DEL x"},
	}
	for name, lines := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
				g, c := watchWakes(open, "c/1"), open()
				c.do("SET x v", queued("x", "c/1", 1, time.Hour))
				c.do(lines...)
				time.Sleep(time.Second)
				assert.Empty(t, g.seen())
			})
		})
	}
	t.Run("woken by the script", func(t *testing.T) {
		bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
			g, c := watchWakes(open, "c/1"), open()
			c.do("SET x v", queued("x", "c/1", 1, time.Hour),
				`EVAL "redis.call('del','x') redis.call('publish','holdfast:wake:c','c/1 x') return 1" 1 x`)
			assert.Equal(t, []string{"c/1 x"}, g.seen())
		})
	})
	t.Run("not there", func(t *testing.T) {
		bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
			g, c := watchWakes(open, "c/1"), open()
			c.do(queued("x", "c/1", 1, time.Hour), "DEL x", "GETDEL x", "FLUSHDB")
			assert.Equal(t, []string{"c/1 x"}, g.seen(), "by FLUSHDB alone: it has lost its place")
			c.do(queued("x", "c/1", 1, time.Hour), "DEL {x}:waiters", "SET x v", "DEL x")
			assert.Empty(t, g.seen(), "nobody waits any more")
		})
	})
}

// Ensure that everybody alive is woken when a database loses its queues, since nobody has a place any more.
func TestLockWake_Flushed(t *testing.T) {
	for _, way := range [][]string{{"FLUSHDB"}, {"FLUSHALL"}, {"SELECT 7", "FLUSHALL"}, {"SWAPDB 0 1"}, {"SWAPDB 1 0"},
		{"MULTI", "FLUSHDB", "EXEC"}, {"MULTI", "DEL x", "SWAPDB 0 1", "EXEC"}, {`EVAL "return redis.call('flushall')" 0`}} {
		t.Run(fmt.Sprint(way), func(t *testing.T) {
			bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
				g, c := watchWakes(open, "c/1"), open()
				c.do("SET x v", queued("x", "c/1", 1, time.Minute), queued("x", "c/2", 2, time.Minute), queued("x", "c/3", 3, -time.Minute),
					queued("y", "c/4", 1, time.Minute), "SET far v", queued("far", "d/1", 1, time.Minute))
				c.do(way...)
				assert.ElementsMatch(t, []string{"c/1 x", "c/2 x", "c/4 y"}, g.seen())
				// What was known of the queues has gone or moved with them.
				c.do("SELECT 0", "SET x v", "DEL x")
				assert.Empty(t, g.seen())
				if strings.HasPrefix(way[len(way)/2], "SWAPDB") {
					c.do("SELECT 1", "SET x v", "DEL x")
					assert.Equal(t, []string{"c/1 x"}, g.seen())
				}
			})
		})
	}
}

// Ensure that after a swap a lock that expires is noticed in its new database, in time.
func TestLockWake_SwappedThenExpired(t *testing.T) {
	bubble(t, server.Config{Hz: 1}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		g, c := watchWakes(open, "c/1"), open()
		c.do("SELECT 1", "SET x v PX 533", "SELECT 0", queued("x", "c/1", 1, time.Minute))
		began := clock.Now()
		c.do("SWAPDB 0 1", "RENAME x z", "SELECT 1", "SWAPDB 0 1", queued("x", "c/1", 1, time.Minute), "SELECT 0")
		g.seen()
		c.do("SELECT 1", "RENAME z x", queued("x", "c/1", 1, time.Minute))
		g.want("*3", "$7", "message", "$15", "holdfast:wake:c", "$5", "c/1 x")
		assert.Equal(t, 533*time.Millisecond, clock.Since(began))
	})
}

// Ensure that the node keeps count of its queues, since without any it looks no further, and with one it does.
func TestLockWake_Count(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, node *servertest.Node, open func() *talk) {
		g, c := watchWakes(open, "c/1"), open()
		want := func(n int) {
			t.Helper()
			assert.Equal(t, n, node.Server().LockQueues())
		}
		c.do("SELECT 1", "SET x v", queued("x", "c/1", 1, time.Minute), queued("x", "c/2", 1, time.Minute), queued("y", "c/1", 1, time.Minute),
			"SELECT 0", "SET x v", queued("x", "c/3", 1, time.Minute))
		want(3)
		c.do("SELECT 1", "MULTI", "DEL x", "ZREM {y}:waiters nobody", "FLUSHDB", "EXEC", "SELECT 0")
		assert.Len(t, g.seen(), 3)
		want(1)
		c.do("DEL x")
		assert.Equal(t, []string{"c/3 x"}, g.seen())
		want(1)
		c.do("RENAME {x}:waiters {y}:waiters")
		want(1)
		c.do("COPY {y}:waiters {z}:waiters", "MOVE {z}:waiters 1")
		want(2)
		c.do("PEXPIRE {y}:waiters 10")
		time.Sleep(time.Second)
		want(1)
		c.do("FLUSHALL")
		want(0)
	})
}

// Ensure that a lock that a read finds expired wakes its waiter, after the reply.
func TestLockWake_FoundExpired(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		g, c := watchWakes(open, "c/1"), open()
		c.do("SET x v PX 100", queued("x", "c/1", 1, time.Minute))
		time.Sleep(100*time.Millisecond - 1)
		c.send("GET x")
		c.want("$1", "v")
		time.Sleep(1)
		c.do("GET x")
		assert.Equal(t, []string{"c/1 x"}, g.seen())
	})
}

// Ensure that who is alive, and when a turn ends, has nothing to do with the wall clock, which may jump.
func TestLockWake_WallClockJumps(t *testing.T) {
	for _, step := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
			g, c := watchWakes(open, "c/1"), open()
			turn := 503 * time.Millisecond
			c.do("SET x v", queued("x", "c/1", 1, -time.Millisecond), queued("x", "c/2", 2, turn), queued("x", "c/3", 3, time.Minute))
			clocktest.StepWall(t, step)
			c.do("DEL x")
			began := clock.Now()
			assert.Equal(t, []string{"c/2 x"}, g.seen(), step)
			g.want("*3", "$7", "message", "$15", "holdfast:wake:c", "$5", "c/3 x")
			assert.Equal(t, turn, clock.Since(began), step)
		})
	}
}

// Ensure that a lock that expired while the machine was suspended, when timers stand still, wakes its waiter soon
// after.
func TestLockWake_Suspended(t *testing.T) {
	bubble(t, server.Config{Hz: 10}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		g, c := watchWakes(open, "c/1"), open()
		c.do("SET x v PX 60000", queued("x", "c/1", 1, 2*time.Hour))
		clocktest.Suspend(t, time.Hour)
		began := clock.Now()
		g.want("*3", "$7", "message", "$15", "holdfast:wake:c", "$5", "c/1 x")
		assert.LessOrEqual(t, clock.Since(began), 100*time.Millisecond)
	})
}

// Ensure that the queue of a lock whose waiters are all dead goes with the lock, and that a sorted set that only
// has the name of a queue is left as it is.
func TestLockWake_OnlyDead(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, node *servertest.Node, open func() *talk) {
		g, c := watchWakes(open, "c/1"), open()
		c.do("SET x v", queued("x", "c/1", 1, -time.Minute), queued("x", "c/2", 2, 0), "DEL x")
		assert.Empty(t, g.seen())
		c.send("DBSIZE")
		c.want(":0")
		assert.Zero(t, node.Server().LockQueues())
		for _, member := range []string{"a", "a;1", "a/;1", "/1;1", "c/1;", "c/1;x", "c/1;-1", "c/1;+1", "c/1;1;w", "c/1;1;r;r"} {
			c.do("SET x v", "ZADD {x}:waiters 1 "+member, "ZADD {x}:waiters 2 c/1;1", "DEL x")
			c.send("ZCARD {x}:waiters")
			c.want(":2")
			c.do("DEL {x}:waiters")
		}
		assert.Empty(t, g.seen())
	})
}

// Ensure that a head that does not take its turn in time is followed by the next, in the moment when its deadline
// passes, as long as the lock is free and only then.
func TestLockWake_TurnOver(t *testing.T) {
	bubble(t, server.Config{Hz: 1}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		g, c := watchWakes(open, "c/1"), open()
		turn := 503 * time.Millisecond
		began := clock.Now()
		c.do("SET x v", queued("x", "c/1", 1, turn), queued("x", "c/2", 2, 2*turn), queued("x", "c/3", 3, time.Minute), "DEL x")
		for i, after := range []time.Duration{0, turn, 2 * turn} {
			g.want("*3", "$7", "message", "$15", "holdfast:wake:c", "$5", fmt.Sprintf("c/%d x", i+1))
			assert.Equal(t, after, clock.Since(began))
		}
		// One that takes its turn ends the watch: nobody is woken while the lock is held.
		c.do("ZREM {x}:waiters "+strings.Fields(queued("x", "c/3", 3, time.Minute-2*turn))[3], "SET y v",
			queued("y", "c/4", 1, turn), queued("y", "c/5", 2, time.Minute), "DEL y", "SET y w PX 60000")
		time.Sleep(2 * turn)
		assert.Equal(t, []string{"c/4 y"}, g.seen())
		c.do("DEL y")
		assert.Equal(t, []string{"c/5 y"}, g.seen())
	})
}

// Ensure that those who share a lock are waited for as its holder is: the head is woken when the last of them is
// gone, however that was, and one who wants to share it too need not wait for that.
func TestLockWake_Shared(t *testing.T) {
	share := func(ttl time.Duration) string { return fmt.Sprintf("PEXPIRE {x}:readers %d", ttl.Milliseconds()) }
	bubble(t, server.Config{Hz: 1}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		g, c := watchWakes(open, "c/1"), open()
		for _, way := range []string{"DEL {x}:readers", "ZREM {x}:readers a b", "RENAME {x}:readers y"} {
			c.do("ZADD {x}:readers 1 a 2 b", queued("x", "c/1", 1, time.Minute), "ZREM {x}:readers b", "SET x v", "DEL x")
			assert.Empty(t, g.seen(), "one is still in")
			c.do(way)
			assert.Equal(t, []string{"c/1 x"}, g.seen(), way)
			c.do("DEL {x}:waiters")
		}
		began := clock.Now()
		c.do("ZADD {x}:readers 1 a", share(733*time.Millisecond), queued("x", "c/1", 1, time.Minute))
		g.want("*3", "$7", "message", "$15", "holdfast:wake:c", "$5", "c/1 x")
		assert.Equal(t, 733*time.Millisecond, clock.Since(began))

		c.do("DEL {x}:waiters", "SET x v", "ZADD {x}:readers 1 a", queued("x", "c/2", 1, time.Minute)+";r", "DEL x")
		assert.Equal(t, []string{"c/2 x"}, g.seen())
	})
}

// Ensure that what looks like a queue and is none does no harm.
func TestLockWake_NoQueue(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, node *servertest.Node, open func() *talk) {
		c := open()
		c.do("SET {x}:waiters v", "SET x v", "DEL x", "LPUSH {y}:waiters a", "SET y v PX 1", "ZADD :waiters 1 a;1", "ZADD {}:waiters 1 a;1", "ZADD a:waiters 1 a;1", "DEL a")
		time.Sleep(time.Second)
		assert.Zero(t, node.Server().LockQueues())
		c.do("FLUSHALL", "PING")
	})
}

// Ensure that the node finds the lock of every queue that package redlock can make, and no other.
func FuzzLockOf(f *testing.F) {
	for _, name := range []string{"x", "{x}", "{}", "{}x", "a{b}c", "a}b", "{a", "a}", "{{a}}", "x:waiters", "{x}:waiters", "", "a::", ":", "{x}:"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name != "" {
			lock, ok := server.LockOf(redlock.Keys(name).Waiters, ":waiters")
			require.True(t, ok, "%q", redlock.Keys(name).Waiters)
			require.Equal(t, name, lock)
			lock, ok = server.LockOf(redlock.Keys(name).Readers, ":readers")
			require.True(t, ok && lock == name, "%q", redlock.Keys(name).Readers)
		}
		if lock, ok := server.LockOf(name, ":waiters"); ok {
			require.Equal(t, name, redlock.Keys(lock).Waiters)
		}
	})
}
