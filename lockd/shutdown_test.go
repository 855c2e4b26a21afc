package lockd

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that Shutdown ends waits with an answer and streams with an event, releases the streams' locks and
// leaves classic leases to their callers.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		s, err := newServer(b, Config{})
		require.NoError(t, err)
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		tr := &http.Transport{DialContext: l.dial}
		r := &rig{t: t, s: s, l: l, http: &http.Client{Transport: tr}}

		r.lock("classic", `{"ttl":"1m"}`)
		st := r.open("stream", `{}`, "")
		defer st.close()
		require.Equal(t, "acquired", st.next().Event)
		waited := make(chan answer, 1)
		go func() { waited <- r.do("POST", "/v1/locks/classic", `{"wait":"2m"}`) }()
		synctest.Wait()
		require.Equal(t, 1, b.waiters("classic"))

		shut := make(chan error, 1)
		go func() { shut <- s.Shutdown(context.Background()) }()
		a := <-waited
		assert.Equal(t, 503, a.status)
		assert.Equal(t, codeShuttingDown, a.problem(t).Code)
		assert.Equal(t, streamEvent{Event: "released", Reason: "shutdown"}, *st.next())
		assert.Nil(t, st.next())
		require.NoError(t, <-shut)
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
		assert.Nil(t, b.lease("stream"))
		assert.Zero(t, b.waiters("classic"))
		require.NotNil(t, b.lease("classic"), "a caller still believes in it")
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Nil(t, b.lease("classic"))

		assert.ErrorIs(t, s.Serve(newPipeListener()), http.ErrServerClosed)
		require.NoError(t, s.Shutdown(t.Context()), "a second time")
		tr.CloseIdleConnections()
	})
}

// slowBackend takes a second to release a lock.
type slowBackend struct{ *fakeBackend }

type slowLease struct{ lease }

func (b slowBackend) acquire(ctx context.Context, name string, ttl time.Duration, owner string, meta map[string]string, wait, renew bool) (lease, error) {
	l, err := b.fakeBackend.acquire(ctx, name, ttl, owner, meta, wait, renew)
	return slowLease{l}, err
}

func (l slowLease) Unlock(ctx context.Context) error {
	time.Sleep(time.Second)
	return l.lease.Unlock(ctx)
}

// Ensure that a stream hears of its release at shutdown when the lock is free, not before.
func TestShutdown_ReleasesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slowBackend{newFake()}
		r := newRig(t, b, Config{})
		st := r.open("job", `{}`, "")
		defer st.close()
		require.Equal(t, "acquired", st.next().Event)
		shut := make(chan error, 1)
		go func() { shut <- r.s.Shutdown(context.Background()) }()
		assert.Equal(t, streamEvent{Event: "released", Reason: "shutdown"}, *st.next())
		assert.Nil(t, b.lease("job"))
		require.NoError(t, <-shut)
	})
}

// Ensure that a server which somebody else serves refuses new locks after Shutdown, while a renewal that still
// comes in is served or told that its lease is unknown, and that readyz turns.
func TestShutdown_Mounted(t *testing.T) {
	s, b := newFakeServer(t, Config{})
	assert.Equal(t, 200, ask(s, request(context.Background(), "GET", "/readyz", "")).status)
	require.NoError(t, s.Shutdown(context.Background()))
	a := ask(s, request(context.Background(), "POST", "/v1/locks/job", `{}`))
	assert.Equal(t, 503, a.status)
	assert.Equal(t, codeShuttingDown, a.problem(t).Code)
	assert.Empty(t, b.all())
	assert.Equal(t, 503, ask(s, request(context.Background(), "GET", "/readyz", "")).status)
	assert.Equal(t, 200, ask(s, request(context.Background(), "GET", "/healthz", "")).status)
	assert.Equal(t, 404, ask(s, request(context.Background(), "PUT", "/v1/leases/x", "")).status)
}

// stuckBackend never answers.
type stuckBackend struct {
	*fakeBackend
	end chan struct{}
}

func (b stuckBackend) acquire(context.Context, string, time.Duration, string, map[string]string, bool, bool) (lease, error) {
	<-b.end
	return nil, errShutdown
}

// Ensure that Shutdown returns when its context ends, and says what it did not wait for.
func TestShutdown_Bounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := stuckBackend{newFake(), make(chan struct{})}
		s, err := newServer(b, Config{})
		require.NoError(t, err)
		done := make(chan answer, 1)
		go func() { done <- ask(s, request(context.Background(), "POST", "/v1/locks/job", `{}`)) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		assert.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
		close(b.end)
		<-done
		assert.NoError(t, s.Shutdown(context.Background()))
	})
}

// Ensure that readiness follows the quorum and names the nodes that do not answer, and that liveness does
// not follow it.
func TestReady(t *testing.T) {
	s, b := newFakeServer(t, Config{})
	get := func(path string) answer { return ask(s, request(context.Background(), "GET", path, "")) }
	a := get("/readyz")
	assert.Equal(t, 200, a.status)
	var ready struct {
		Ready   bool
		Nodes   string
		Members []memberInfo
	}
	a.into(t, &ready)
	assert.True(t, ready.Ready)
	assert.Equal(t, "5/5", ready.Nodes)
	require.Len(t, ready.Members, 5)
	assert.Equal(t, "127.0.0.1:7001", ready.Members[0].Node)
	assert.Equal(t, duration(time.Millisecond), *ready.Members[0].Latency)

	b.fail(fmt.Errorf("connection refused"))
	a = get("/readyz")
	assert.Equal(t, 503, a.status)
	p := a.problem(t)
	assert.Equal(t, codeNoQuorum, p.Code)
	assert.Equal(t, "2/5", p.Nodes)
	assert.Equal(t, []nodeError{{"127.0.0.1:7003", "connection refused"}, {"127.0.0.1:7004", "connection refused"}, {"127.0.0.1:7005", "connection refused"}}, p.NodeErrors)
	assert.JSONEq(t, `{"status":"ok"}`, get("/healthz").text)
	b.fail(nil)
}

// Ensure that a caller cannot hold or ask for more locks than it may, whatever another one has, and gets the
// room back when a lock ends in any way.
func TestQuota_Leases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		s, err := newServer(b, Config{MaxLeases: 2})
		require.NoError(t, err)
		defer s.Shutdown(t.Context())
		post := func(caller, name string) answer {
			req := request(context.Background(), "POST", "/v1/locks/"+name, `{"ttl":"15s"}`)
			req.RemoteAddr = caller
			w := httptest.NewRecorder()
			s.ServeHTTP(w, req)
			return answer{w.Code, w.Header(), w.Body.String()}
		}
		require.Equal(t, 200, post("127.0.0.1:1", "a").status)
		require.Equal(t, 409, post("127.0.0.1:2", "a").status, "an attempt that failed gives its room back")
		require.Equal(t, 200, post("127.0.0.1:3", "b").status)
		a := post("127.0.0.1:4", "c")
		assert.Equal(t, 429, a.status)
		assert.Equal(t, codeTooManyLeases, a.problem(t).Code)
		assert.Equal(t, "1", a.header.Get("Retry-After"))
		assert.Nil(t, b.lease("c"))
		assert.Equal(t, 200, post("[::1]:4", "c").status, "another caller")
		time.Sleep(15 * time.Second)
		synctest.Wait()
		assert.Equal(t, 200, post("127.0.0.1:1", "a").status)
		b.lease("a").lose(context.Canceled)
	})
}

// Ensure that a caller cannot have more waits under way than it may.
func TestQuota_Waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), Config{MaxWaits: 1})
		held := r.lock("job", `{"ttl":"1m"}`)
		first := make(chan answer, 1)
		go func() { first <- r.do("POST", "/v1/locks/job", `{"wait":"1m"}`) }()
		synctest.Wait()
		a := r.do("POST", "/v1/locks/job", `{"wait":"1m"}`)
		assert.Equal(t, 429, a.status)
		assert.Equal(t, codeTooManyWaits, a.problem(t).Code)
		assert.Equal(t, 409, r.do("POST", "/v1/locks/job", `{}`).status, "one that does not wait")
		r.do("DELETE", "/v1/leases/"+held.Lease, "")
		assert.Equal(t, 200, (<-first).status)
		assert.Empty(t, r.s.waits.inUse())
	})
}
