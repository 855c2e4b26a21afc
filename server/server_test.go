package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test in a bubble of synctest with a node in it. open returns a connection to the node.
func bubble(t *testing.T, config server.Config, test func(t *testing.T, node *servertest.Node, open func() *talk)) {
	synctest.Test(t, func(t *testing.T) {
		node := servertest.Start(t, servertest.InMemory(), servertest.WithConfig(config))
		test(t, node, func() *talk {
			conn, err := node.Dial(t.Context(), "", "")
			require.NoError(t, err)
			t.Cleanup(func() { conn.Close() })
			return &talk{t, conn, bufio.NewReader(conn)}
		})
	})
}

// A talk is a connection on which lines are sent and replies are lines.
type talk struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (c *talk) send(line string) {
	_, err := io.WriteString(c.conn, line+"\r\n")
	require.NoError(c.t, err)
}

// want reads and compares; each line stands for one line of replies.
func (c *talk) want(lines ...string) {
	c.t.Helper()
	for _, line := range lines {
		got, err := c.r.ReadString('\n')
		require.NoError(c.t, err)
		require.Equal(c.t, line, strings.TrimRight(got, "\r\n"))
	}
}

func (c *talk) wantClosed() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	assert.NoError(c.t, err)
	assert.Empty(c.t, rest)
}

// Ensure that replies come in the order of commands however many are sent at once, in batches.
func TestServer_Pipeline(t *testing.T) {
	const n = 5000 // several batches
	bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		c := open()
		c.send(strings.Repeat("INCR n\r\nECHO x\r\n", n))
		for i := range n {
			c.want(fmt.Sprintf(":%d", i+1), "$1", "x")
		}
	})
}

// Ensure that a pipeline whose replies fill the connection waits for its client, and that other clients
// are served meanwhile.
func TestServer_SlowReader(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		slow, other := open(), open()
		slow.send("SET big " + strings.Repeat("x", 60_000))
		slow.want("+OK")
		slow.send(strings.Repeat("GET big\r\n", 100))
		synctest.Wait()
		other.send("PING")
		other.want("+PONG")
		for range 100 {
			slow.want("$60000", strings.Repeat("x", 60_000))
		}
	})
}

// Ensure that a client that takes nothing of its reply is sent away after WriteTimeout, and not before.
func TestServer_WriteTimeout(t *testing.T) {
	bubble(t, server.Config{WriteTimeout: 30 * time.Second}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		stuck, other := open(), open()
		stuck.send("SET big " + strings.Repeat("x", 60_000))
		stuck.want("+OK")
		stuck.send(strings.Repeat("GET big\r\n", 100))
		time.Sleep(29 * time.Second)
		other.send("INFO clients")
		assert.Contains(t, other.bulk(), "connected_clients:2\r\n")
		time.Sleep(2 * time.Second)
		other.send("INFO clients")
		assert.Contains(t, other.bulk(), "connected_clients:1\r\n")
	})
}

func (c *talk) bulk() string {
	c.t.Helper()
	header, err := c.r.ReadString('\n')
	require.NoError(c.t, err)
	var n int
	_, err = fmt.Sscanf(header, "$%d", &n)
	require.NoError(c.t, err)
	body := make([]byte, n+2)
	_, err = io.ReadFull(c.r, body)
	require.NoError(c.t, err)
	return string(body[:n])
}

// Ensure that idle clients are sent away after timeout, but subscribers are not, and those who talk are not.
func TestServer_IdleTimeout(t *testing.T) {
	bubble(t, server.Config{Timeout: 10 * time.Second}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		idle, busy, listening := open(), open(), open()
		listening.send("SUBSCRIBE a")
		listening.want("*3", "$9", "subscribe", "$1", "a", ":1")
		for range 4 {
			time.Sleep(5 * time.Second)
			busy.send("PING")
			busy.want("+PONG")
		}
		idle.wantClosed()
		busy.send("PUBLISH a x")
		busy.want(":1")
		listening.want("*3", "$7", "message", "$1", "a", "$1", "x")
	})
}

// Ensure that a publisher never waits for a subscriber, and that a subscriber which falls behind by more
// than client-output-buffer-limit pubsub is sent away while the others get everything.
func TestServer_SlowSubscriber(t *testing.T) {
	limit := server.OutputLimit{Hard: 1 << 20}
	bubble(t, server.Config{PubSubOutput: limit}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		slow, quick, publisher := open(), open(), open()
		for _, c := range []*talk{slow, quick} {
			c.send("SUBSCRIBE a")
			c.want("*3", "$9", "subscribe", "$1", "a", ":1")
		}
		payload := strings.Repeat("x", 50_000)
		gone := false
		for range 100 {
			publisher.send("PUBLISH a " + payload)
			reply, err := publisher.r.ReadString('\n')
			require.NoError(t, err)
			gone = gone || reply == ":1\r\n"
			quick.want("*3", "$7", "message", "$1", "a", "$50000", payload)
		}
		assert.True(t, gone, "the slow subscriber is still there")
		got, err := io.ReadAll(slow.conn)
		assert.NoError(t, err)
		assert.Less(t, len(got), 2<<20)
	})
}

// Ensure that a subscriber which sends commands without reading their replies has to wait, instead of being
// sent away for what it asked for itself, and that its messages come in order with them.
func TestServer_SubscriberBackPressure(t *testing.T) {
	bubble(t, server.Config{PubSubOutput: server.OutputLimit{Hard: 4 << 20}}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		const n = 200
		c, publisher := open(), open()
		payload := strings.Repeat("x", 60_000)
		c.send("SET big " + payload + "\r\nHELLO 3\r\nSUBSCRIBE a")
		c.want("+OK")
		c.skipTo("subscribe")
		c.want("$1", "a", ":1")
		c.send(strings.Repeat("GET big\r\n", n)) // 12 MB of replies, three times the limit
		synctest.Wait()
		publisher.send("PUBLISH a hello")
		publisher.want(":1")
		messages := 0
		for got := 0; got < n; {
			line, err := c.r.ReadString('\n')
			require.NoError(t, err)
			switch {
			case strings.HasPrefix(line, ">3"):
				c.want("$7", "message", "$1", "a", "$5", "hello")
				messages++
			default:
				require.Equal(t, "$60000\r\n", line)
				c.want(payload)
				got++
			}
		}
		assert.Equal(t, 1, messages)
	})
}

// skipTo reads lines up to and including one.
func (c *talk) skipTo(line string) {
	c.t.Helper()
	for {
		got, err := c.r.ReadString('\n')
		require.NoError(c.t, err)
		if strings.TrimRight(got, "\r\n") == line {
			return
		}
	}
}

// Ensure that the soft limit sends a subscriber away only once it was exceeded for its time.
func TestServer_SoftLimit(t *testing.T) {
	limit := server.OutputLimit{Hard: 1 << 30, Soft: 1 << 20, SoftTime: 10 * time.Second}
	bubble(t, server.Config{PubSubOutput: limit}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		slow, publisher := open(), open()
		slow.send("SUBSCRIBE a")
		slow.want("*3", "$9", "subscribe", "$1", "a", ":1")
		payload := strings.Repeat("x", 60_000)
		for range 40 {
			publisher.send("PUBLISH a " + payload)
			publisher.want(":1")
		}
		time.Sleep(9 * time.Second)
		publisher.send("PUBSUB NUMSUB a")
		publisher.want("*2", "$1", "a", ":1")
		time.Sleep(2 * time.Second)
		publisher.send("PUBSUB NUMSUB a")
		publisher.want("*2", "$1", "a", ":0")
	})
}

// Ensure that client-output-buffer-limit normal holds for clients without subscriptions: a reply above the
// hard limit closes the connection, one above the soft limit does once it has waited for too long.
func TestServer_NormalOutputLimit(t *testing.T) {
	limit := server.OutputLimit{Hard: 2 << 20, Soft: 300_000, SoftTime: 10 * time.Second}
	bubble(t, server.Config{NormalOutput: limit}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		for _, tt := range []struct {
			size   int
			closes time.Duration // 0: at once
		}{{3 << 20, 0}, {1 << 20, 11 * time.Second}} {
			c, other := open(), open()
			c.send(fmt.Sprintf("SETRANGE big %d x", tt.size-1))
			c.want(fmt.Sprintf(":%d", tt.size))
			c.send("GET big")
			if tt.closes > 0 {
				time.Sleep(tt.closes - 2*time.Second)
				other.send("INFO clients")
				assert.Contains(t, other.bulk(), "connected_clients:2\r\n")
				time.Sleep(2 * time.Second)
			}
			synctest.Wait()
			other.send("INFO clients")
			assert.Contains(t, other.bulk(), "connected_clients:1\r\n")
			other.send("DEL big\r\nQUIT")
			other.want(":1", "+OK")
			synctest.Wait()
		}
	})
}

// Ensure that keys expire by themselves: nobody looks at them, and they are gone and counted.
func TestServer_ActiveExpiry(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		c := open()
		for i := range 1000 {
			c.send(fmt.Sprintf("SET k%d v PX 1000", i))
			c.want("+OK")
		}
		c.send("DBSIZE")
		c.want(":1000")
		time.Sleep(1200 * time.Millisecond)
		c.send("DBSIZE")
		c.want(":0")
		c.send("INFO stats")
		assert.Contains(t, c.bulk(), "expired_keys:1000\r\n")
	})
}

// Ensure that a transaction fails when the time of a watched key comes, whether the key is removed before
// EXEC looks at it or not, and that a key which was over when it was watched is no reason.
func TestServer_WatchExpiry(t *testing.T) {
	for _, wait := range []time.Duration{50 * time.Millisecond, time.Second} { // before and after the node removes it
		bubble(t, server.Config{Hz: 2}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
			c := open()
			c.send("SET k v PX 50\r\nWATCH k")
			c.want("+OK", "+OK")
			time.Sleep(wait)
			c.send("MULTI\r\nPING\r\nEXEC")
			c.want("+OK", "+QUEUED", "*-1")
			c.send("SET k v PX 50")
			c.want("+OK")
			time.Sleep(50 * time.Millisecond)
			c.send("WATCH k")
			c.want("+OK")
			time.Sleep(time.Second)
			c.send("MULTI\r\nPING\r\nEXEC")
			c.want("+OK", "+QUEUED", "*1", "+PONG")
		})
	}
}

// Ensure that clients over maxclients are told so and closed, and that a place that becomes free is given away.
func TestServer_NoConnectionsLeft(t *testing.T) {
	bubble(t, server.Config{MaxClients: 2}, func(t *testing.T, _ *servertest.Node, open func() *talk) {
		a, b := open(), open()
		a.send("PING")
		a.want("+PONG")
		b.send("PING")
		b.want("+PONG")
		c := open()
		c.want("-ERR max number of clients reached")
		c.wantClosed()
		b.send("QUIT")
		b.want("+OK")
		b.wantClosed()
		synctest.Wait()
		d := open()
		d.send("PING")
		d.want("+PONG")
	})
}

// Ensure that Shutdown answers what was sent before it, closes every connection, accepts no other, and
// leaves no goroutine, also with subscribers and transactions open.
func TestServer_Shutdown(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, node *servertest.Node, open func() *talk) {
		plain, listening, queueing := open(), open(), open()
		plain.send("PING")
		listening.send("SUBSCRIBE a")
		queueing.send("MULTI\r\nSET a b")
		synctest.Wait()
		require.NoError(t, node.Server().Shutdown(t.Context()))
		plain.want("+PONG")
		plain.wantClosed()
		listening.want("*3", "$9", "subscribe", "$1", "a", ":1")
		listening.wantClosed()
		queueing.want("+OK", "+QUEUED")
		queueing.wantClosed()
		late := open()
		late.wantClosed()
		require.NoError(t, node.Server().Shutdown(t.Context()), "a second time")
	})
}

// Ensure that a client that does not read cannot keep Shutdown from ending with its context.
func TestServer_ShutdownStuckClient(t *testing.T) {
	bubble(t, server.Config{}, func(t *testing.T, node *servertest.Node, open func() *talk) {
		stuck := open()
		stuck.send("SET big " + strings.Repeat("x", 60_000))
		stuck.want("+OK")
		stuck.send(strings.Repeat("GET big\r\n", 100))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		assert.ErrorIs(t, node.Server().Shutdown(ctx), context.DeadlineExceeded)
	})
}

// Ensure that other machines are refused while there is no password, that a password opens the node to
// them, and that protected-mode no does.
func TestServer_ProtectedMode(t *testing.T) {
	for _, tt := range []struct {
		config server.Config
		want   string
	}{
		{server.Config{}, "-DENIED"},
		{server.Config{RequirePass: "secret"}, "-NOAUTH"},
		{server.Config{Unprotected: true}, "+PONG"},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv, err := server.New(tt.config)
			require.NoError(t, err)
			near, far := net.Pipe()
			go srv.ServeConn(foreign{far})
			go io.WriteString(near, "PING\r\n")
			line, err := bufio.NewReader(near).ReadString('\n')
			require.NoError(t, err)
			assert.True(t, strings.HasPrefix(line, tt.want), line)
			near.Close()
			require.NoError(t, srv.Shutdown(t.Context()))
		})
	}
}

// foreign is a connection from another machine.
type foreign struct{ net.Conn }

func (foreign) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5000} }

// Ensure that a Config that cannot work is refused by New.
func TestNew_BadConfig(t *testing.T) {
	for _, c := range []server.Config{{Databases: -1}, {MaxClients: -1}, {Hz: 501}, {Hz: -1}, {MaxBulk: 1}, {MaxQuery: 1}} {
		_, err := server.New(c)
		assert.Error(t, err, "%+v", c)
	}
}

// Ensure that go-redis works unchanged with its defaults: it says HELLO, names itself, pipelines,
// transacts, subscribes, and notices a message.
func TestServer_GoRedis(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		node := servertest.Start(t)
		ctx := t.Context()
		rdb := redis.NewClient(&redis.Options{Addr: node.Addr(), Protocol: protocol, ClientName: "me"})
		defer rdb.Close()
		sub := rdb.Subscribe(ctx, "news")
		defer sub.Close()
		_, err := sub.Receive(ctx)
		require.NoError(t, err)

		require.NoError(t, rdb.Watch(ctx, func(tx *redis.Tx) error {
			_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, "a", 1, time.Minute)
				p.Incr(ctx, "a")
				return nil
			})
			return err
		}, "a"))
		assert.Equal(t, "2", rdb.Get(ctx, "a").Val())
		assert.Equal(t, "me", rdb.ClientGetName(ctx).Val())
		assert.Equal(t, "10000", rdb.ConfigGet(ctx, "maxclients").Val()["maxclients"])
		cmds, err := rdb.Command(ctx).Result()
		require.NoError(t, err)
		assert.Contains(t, cmds, "get")

		assert.EqualValues(t, 1, rdb.Publish(ctx, "news", "hello").Val())
		m, err := sub.ReceiveMessage(ctx)
		require.NoError(t, err)
		assert.Equal(t, "hello", m.Payload)
		assert.Equal(t, map[string]int64{"news": 1}, rdb.PubSubNumSub(ctx, "news").Val())
	}
}
