package lockd

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
)

// Ensure that a stream's lock lives as long as the connection, far beyond its ttl, with a later deadline after
// each renewal, and is free at once when the caller goes away.
func TestStream_LivesWithConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		r := newRig(t, b, Config{})
		st := r.open("job", `{"ttl":"9s","owner":"w1"}`, "")
		assert.Equal(t, "application/x-ndjson", st.res.Header.Get("Content-Type"))
		assert.Equal(t, "1", st.res.Header.Get("X-Lock-Token"))
		e := st.next()
		require.NotNil(t, e)
		assert.Equal(t, "acquired", e.Event)
		assert.Equal(t, "job", e.Name)
		assert.EqualValues(t, 1, e.Token)
		assert.Equal(t, duration(9*time.Second), *e.TTL)
		assert.Equal(t, "5/5", e.Nodes)
		assert.Len(t, e.Lease, 32)
		deadline, renewals := *e.Deadline, 0
		for began := time.Now(); time.Since(began) < time.Minute; {
			e = st.next()
			require.NotNil(t, e)
			if e.Event == "heartbeat" {
				continue
			}
			require.Equal(t, "renewed", e.Event)
			assert.True(t, e.Deadline.After(deadline))
			assert.True(t, e.Deadline.After(time.Now()))
			deadline, renewals = *e.Deadline, renewals+1
		}
		assert.Greater(t, renewals, 10)
		require.NotNil(t, b.lease("job"))
		st.close()
		synctest.Wait()
		assert.Nil(t, b.lease("job"))
		assertNothingLeft(t, r.s)
	})
}

// Ensure that a caller hears from its stream at least once in each heartbeat, with a long ttl too.
func TestStream_Heartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), Config{Heartbeat: 5 * time.Second})
		st := r.open("job", `{"ttl":"2m"}`, "")
		defer st.close()
		assert.Equal(t, "acquired", st.next().Event)
		seen := map[string]int{}
		for range 20 {
			before := time.Now()
			seen[st.next().Event]++
			assert.Equal(t, 5*time.Second, time.Since(before))
		}
		assert.Equal(t, map[string]int{"renewed": 2, "heartbeat": 18}, seen) // renewed at 40 s and at 80 s
	})
}

// Ensure that who asks for server-sent events gets them, with heartbeats as comments.
func TestStream_SSE(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), Config{Heartbeat: 5 * time.Second})
		st := r.open("job", `{"ttl":"30s"}`, "text/event-stream")
		defer st.close()
		assert.Equal(t, "text/event-stream", st.res.Header.Get("Content-Type"))
		var lines []string
		for (len(lines) < 8 || lines[len(lines)-3] != "event: renewed") && st.lines.Scan() {
			lines = append(lines, st.lines.Text())
		}
		require.GreaterOrEqual(t, len(lines), 8)
		assert.Equal(t, "event: acquired", lines[0])
		data, ok := strings.CutPrefix(lines[1], "data: ")
		require.True(t, ok)
		var e streamEvent
		require.NoError(t, json.Unmarshal([]byte(data), &e))
		assert.Equal(t, "job", e.Name)
		assert.Equal(t, []string{"", ":", ""}, lines[2:5])
		assert.Contains(t, lines[len(lines)-2], `data: {"event":"renewed",`)
		assert.Empty(t, lines[len(lines)-1])
	})
}

// Ensure that the kind of stream follows the Accept header.
func TestStream_Negotiation(t *testing.T) {
	for accept, want := range map[string]string{
		"": typeNDJSON, "*/*": typeNDJSON, "application/json": typeNDJSON, typeNDJSON: typeNDJSON, typeSSE: typeSSE,
		"application/x-ndjson;q=0.5, text/event-stream": typeSSE, "text/event-stream;q=0.1, application/x-ndjson": typeNDJSON,
	} {
		synctest.Test(t, func(t *testing.T) {
			st := newRig(t, newFake(), Config{}).open("job", `{}`, accept)
			assert.Equal(t, want, st.res.Header.Get("Content-Type"), accept)
			st.close()
		})
	}
}

// Ensure that a lock which is lost is told with its reason, and that the stream ends with it.
func TestStream_Lost(t *testing.T) {
	for reason, cause := range map[string]error{"forced": client.ErrForced, "stolen": client.ErrStolen, "quorum": client.ErrQuorum, "expired": client.ErrExpired} {
		synctest.Test(t, func(t *testing.T) {
			b := newFake()
			st := newRig(t, b, Config{}).open("job", `{}`, "")
			defer st.close()
			lease := st.next().Lease
			b.lease("job").lose(cause)
			e := st.next()
			require.NotNil(t, e)
			assert.Equal(t, streamEvent{Event: "lost", Reason: reason}, *e)
			assert.Nil(t, st.next())
			assert.NotEmpty(t, lease)
		})
	}
}

// Ensure that a stream's lock can be released by its lease id, and that the stream says so and ends.
func TestStream_Released(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		r := newRig(t, b, Config{})
		st := r.open("job", `{}`, "")
		defer st.close()
		lease := st.next().Lease
		assert.Equal(t, 204, r.do("DELETE", "/v1/leases/"+lease, "").status)
		assert.Equal(t, streamEvent{Event: "released", Reason: "released"}, *st.next())
		assert.Nil(t, st.next())
		assert.Nil(t, b.lease("job"))
		assertNothingLeft(t, r.s)
	})
}

// Ensure that a stream that has to wait first is answered like any other request if the lock does not come, and
// that nothing is sent before it is there.
func TestStream_Waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), Config{})
		r.lock("job", `{"ttl":"1m","owner":"w1"}`)
		a := r.do("POST", "/v1/locks/job?hold=stream", `{"wait":"10s"}`)
		assert.Equal(t, 409, a.status)
		assert.Equal(t, "w1", a.problem(t).Holder)
		began := time.Now()
		st := r.open("job", `{"wait":"2m"}`, "")
		defer st.close()
		assert.Equal(t, 50*time.Second, time.Since(began))
		assert.Equal(t, "acquired", st.next().Event)
	})
}

// rawStream opens a stream on a connection of its own and reads its head and its first event, but no more.
func rawStream(t *testing.T, r *rig, body string) net.Conn {
	t.Helper()
	conn, err := r.l.dial(context.Background(), "", "")
	require.NoError(t, err)
	go func() {
		_, _ = io.WriteString(conn, "POST /v1/locks/job?hold=stream HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+
			"Content-Length: 12\r\n\r\n"+body)
	}()
	lines := bufio.NewReaderSize(conn, 16)
	for {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		if strings.Contains(line, `"acquired"`) {
			return conn
		}
	}
}

// Ensure that a reader which stops reading but does not go away is cut off after the time-out, and its lock is
// free then. Without the cut the connection would keep the lock for ever.
func TestStream_SlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		r := newRig(t, b, Config{Heartbeat: 5 * time.Second, IOTimeout: 10 * time.Second})
		began := time.Now()
		conn := rawStream(t, r, `{"ttl":"1m"}`)
		defer conn.Close()
		for b.lease("job") != nil && time.Since(began) < time.Minute {
			time.Sleep(time.Second)
		}
		assert.LessOrEqual(t, time.Since(began), 16*time.Second)
		synctest.Wait()
		assertNothingLeft(t, r.s)
	})
}

// Ensure that a caller whose process dies, so that its connection is reset, loses its lock at once.
func TestStream_CallerDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		r := newRig(t, b, Config{})
		conn := rawStream(t, r, `{"ttl":"2m"}`)
		require.NotNil(t, b.lease("job"))
		_ = conn.Close()
		synctest.Wait()
		assert.Nil(t, b.lease("job"))
	})
}
