package lockd

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
)

// Ensure that a lock is taken, described, renewed and released, and that its owner value and its digest are
// nowhere in what is shown.
func TestClassic_Life(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		r := newRig(t, b, Config{})
		began := time.Now()
		a := r.do("POST", "/v1/locks/orders%2F42", `{"ttl":"15s","owner":"w1"}`)
		require.Equal(t, 200, a.status, a.text)
		var info leaseInfo
		a.into(t, &info)
		assert.Equal(t, leaseInfo{Lease: info.Lease, Name: "orders/42", Token: 1, TTL: duration(15 * time.Second),
			Deadline: began.Add(15 * time.Second).UTC(), Remaining: duration(15 * time.Second), Nodes: "5/5"}, info)
		assert.Regexp(t, "^[0-9a-f]{32}$", info.Lease)
		assert.Equal(t, "1", a.header.Get("X-Lock-Token"))
		assert.Equal(t, "application/json", a.header.Get("Content-Type"))

		a = r.do("GET", "/v1/locks/orders%2F42", "")
		assert.JSONEq(t, `{"name":"orders/42","held":true,"holder":"w1","remaining":"15s","token":1,"waiting":0,"nodes":"5/5"}`, a.text)
		a = r.do("GET", "/v1/locks?prefix=ord", "")
		assert.JSONEq(t, `{"locks":[{"name":"orders/42","held":true,"holder":"w1","remaining":"15s","token":1,"waiting":0,"nodes":"5/5"}]}`, a.text)
		a = r.do("GET", "/v1/locks?prefix=other", "")
		assert.JSONEq(t, `{"locks":[]}`, a.text)

		time.Sleep(10 * time.Second)
		a = r.do("PUT", "/v1/leases/"+info.Lease, "")
		require.Equal(t, 200, a.status, a.text)
		assert.Equal(t, "1", a.header.Get("X-Lock-Token"))
		var renewed leaseInfo
		a.into(t, &renewed)
		assert.Equal(t, info.Deadline.Add(10*time.Second), renewed.Deadline)

		a = r.do("DELETE", "/v1/leases/"+info.Lease, "")
		assert.Equal(t, 204, a.status, a.text)
		assert.Empty(t, a.text)
		a = r.do("GET", "/v1/locks/orders%2F42", "")
		assert.JSONEq(t, `{"name":"orders/42","held":false,"token":1,"waiting":0}`, a.text)

		a = r.do("DELETE", "/v1/leases/"+info.Lease, "")
		assert.Equal(t, 410, a.status)
		p := a.problem(t)
		assert.Equal(t, codeLeaseOver, p.Code)
		assert.Equal(t, "released", p.Reason)
	})
}

// Ensure that a classic lease ends a ttl after its caller's last word, not before and not later, and that the
// caller is then told why.
func TestClassic_Expires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		r := newRig(t, b, Config{})
		info := r.lock("job", `{"ttl":"15s"}`)
		for range 3 {
			time.Sleep(14 * time.Second)
			require.Equal(t, 200, r.do("PUT", "/v1/leases/"+info.Lease, "").status)
		}
		time.Sleep(15*time.Second - time.Millisecond)
		assert.NotNil(t, b.lease("job"))
		time.Sleep(time.Millisecond)
		synctest.Wait()
		assert.Nil(t, b.lease("job"))
		for _, method := range []string{"PUT", "DELETE"} {
			a := r.do(method, "/v1/leases/"+info.Lease, "")
			assert.Equal(t, 410, a.status)
			assert.Equal(t, "expired", a.problem(t).Reason)
		}
	})
}

// Ensure that a held lock is answered with who holds it and when to come again.
func TestAcquire_Held(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), Config{})
		r.lock("job", `{"ttl":"15s","owner":"w1"}`)
		time.Sleep(2500 * time.Millisecond)
		a := r.do("POST", "/v1/locks/job", `{}`)
		assert.Equal(t, 409, a.status)
		p := a.problem(t)
		assert.Equal(t, codeHeld, p.Code)
		assert.Equal(t, "w1", p.Holder)
		assert.Equal(t, duration(12500*time.Millisecond), *p.Remaining)
		assert.Equal(t, "13", a.header.Get("Retry-After"))
	})
}

// Ensure that a wait gets the lock as soon as it is free, and that one which is too short ends when it said,
// with the holder's name.
func TestAcquire_Waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		r := newRig(t, b, Config{})
		first := r.lock("job", `{"ttl":"1m","owner":"w1"}`)
		began := time.Now()
		a := r.do("POST", "/v1/locks/job", `{"wait":"20s"}`)
		assert.Equal(t, 409, a.status)
		assert.Equal(t, "w1", a.problem(t).Holder)
		assert.Equal(t, 20*time.Second, time.Since(began))
		assert.Zero(t, b.waiters("job"))

		second := make(chan answer, 1)
		go func() { second <- r.do("POST", "/v1/locks/job", `{"wait":"40s"}`) }()
		time.Sleep(15 * time.Second)
		assert.Equal(t, 1, b.waiters("job"))
		require.Equal(t, 204, r.do("DELETE", "/v1/leases/"+first.Lease, "").status)
		a = <-second
		assert.Equal(t, 200, a.status, a.text)
		assert.Equal(t, "2", a.header.Get("X-Lock-Token"))
		assert.Equal(t, 35*time.Second, time.Since(began))
	})
}

// Ensure that a caller which goes away while it waits leaves neither a place in the queue nor a lock. The
// wait is far longer than any time-out for reading the request.
func TestAcquire_CallerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		r := newRig(t, b, Config{})
		first := r.lock("job", `{"ttl":"2m"}`)
		ctx, cancel := context.WithCancel(context.Background())
		gone := make(chan error, 1)
		go func() {
			_, err := r.http.Do(request(ctx, "POST", "/v1/locks/job", `{"wait":"90s"}`))
			gone <- err
		}()
		time.Sleep(time.Minute)
		require.Equal(t, 1, b.waiters("job"), "the wait ended by itself")
		cancel()
		assert.ErrorIs(t, <-gone, context.Canceled)
		synctest.Wait()
		assert.Zero(t, b.waiters("job"))
		require.Equal(t, 204, r.do("DELETE", "/v1/leases/"+first.Lease, "").status)
		assert.Nil(t, b.lease("job"))
		assertNothingLeft(t, r.s)
	})
}

// lateBackend grants a lock in the moment in which the caller goes away.
type lateBackend struct {
	*fakeBackend
	goAway func()
}

func (b lateBackend) acquire(ctx context.Context, name string, ttl time.Duration, owner string, meta map[string]string, wait, renew bool) (lease, error) {
	l, err := b.fakeBackend.acquire(ctx, name, ttl, owner, meta, wait, renew)
	b.goAway()
	return l, err
}

// Ensure that a lock which is granted while its caller goes away is released.
func TestAcquire_GrantedTooLate(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	b := lateBackend{newFake(), cancel}
	s, err := newServer(b, Config{})
	require.NoError(t, err)
	a := ask(s, request(ctx, "POST", "/v1/locks/job", `{}`))
	assert.Equal(t, 408, a.status)
	assert.Nil(t, b.lease("job"))
	assertNothingLeft(t, s)
}

// deafWriter is the connection of a caller that has gone away without a word.
type deafWriter struct{ http.ResponseWriter }

func (deafWriter) Write([]byte) (int, error) { return 0, fmt.Errorf("broken pipe") }

// Ensure that a lock whose caller cannot be told its id is released.
func TestAcquire_AnswerNotDelivered(t *testing.T) {
	s, b := newFakeServer(t, Config{})
	req := request(context.Background(), "POST", "/v1/locks/job", `{}`)
	s.ServeHTTP(deafWriter{newDiscard()}, req)
	assert.Nil(t, b.lease("job"))
	assertNothingLeft(t, s)
}

type discard struct{ h http.Header }

func newDiscard() http.ResponseWriter             { return discard{http.Header{}} }
func (d discard) Header() http.Header             { return d.h }
func (discard) WriteHeader(int)                   {}
func (discard) Write(p []byte) (n int, err error) { return len(p), nil }

func noQuorum(op string) error {
	return &client.QuorumError{Op: op, Name: "job", Agreed: 2, Need: 3, Nodes: 5, Errs: []error{
		&client.NodeError{Node: "127.0.0.1:7003", Err: fmt.Errorf("connection refused")},
		&client.NodeError{Node: "127.0.0.1:7004", Err: fmt.Errorf("i/o timeout")},
		&client.NodeError{Node: "127.0.0.1:7005", Err: fmt.Errorf("READONLY")}}}
}

// Ensure that without a quorum every operation says so, with what each node said, and that a lease which
// could not be renewed lives on and can be renewed later.
func TestNoQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		r := newRig(t, b, Config{})
		info := r.lock("job", `{"ttl":"15s"}`)
		b.fail(noQuorum("acquire"))
		time.Sleep(5 * time.Second)
		for _, c := range []struct{ method, path, body string }{
			{"POST", "/v1/locks/other", `{}`},
			{"POST", "/v1/locks/other", `{"wait":"5s"}`},
			{"POST", "/v1/locks/other?hold=stream", `{}`},
			{"GET", "/v1/locks/job", ""},
			{"GET", "/v1/locks", ""},
			{"PUT", "/v1/leases/" + info.Lease, ""},
		} {
			a := r.do(c.method, c.path, c.body)
			assert.Equal(t, 503, a.status, "%s %s", c.method, c.path)
			p := a.problem(t)
			assert.Equal(t, codeNoQuorum, p.Code)
			assert.Equal(t, "2/5", p.Nodes)
			assert.Equal(t, []nodeError{{"127.0.0.1:7003", "connection refused"}, {"127.0.0.1:7004", "i/o timeout"}, {"127.0.0.1:7005", "READONLY"}}, p.NodeErrors)
			assert.Equal(t, "1", a.header.Get("Retry-After"))
			if c.method == "PUT" {
				assert.Equal(t, duration(10*time.Second), *p.Remaining)
			}
		}
		b.fail(nil)
		assert.Equal(t, 200, r.do("PUT", "/v1/leases/"+info.Lease, "").status)

		b.fail(noQuorum("release"))
		a := r.do("DELETE", "/v1/leases/"+info.Lease, "")
		assert.Equal(t, 503, a.status)
		assert.Contains(t, a.problem(t).Detail, "over")
		b.fail(nil)
		assert.Equal(t, 410, r.do("DELETE", "/v1/leases/"+info.Lease, "").status)
	})
}

// Ensure that a wait which ends without a quorum is not taken for one that a holder outlasted.
func TestNoQuorum_AfterWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		r := newRig(t, b, Config{})
		r.lock("job", `{"ttl":"15s"}`)
		waited := make(chan answer, 1)
		go func() { waited <- r.do("POST", "/v1/locks/job", `{"wait":"10s"}`) }()
		time.Sleep(5 * time.Second)
		b.fail(noQuorum("acquire"))
		a := <-waited
		b.fail(nil)
		assert.Equal(t, 503, a.status)
		assert.Equal(t, codeNoQuorum, a.problem(t).Code)
	})
}

// Ensure that a caller learns how its lease was lost.
func TestLease_Lost(t *testing.T) {
	for reason, cause := range map[string]error{"forced": client.ErrForced, "stolen": client.ErrStolen,
		"quorum": client.ErrQuorum, "expired": client.ErrExpired} {
		s, b := newFakeServer(t, Config{})
		var info leaseInfo
		ask(s, request(context.Background(), "POST", "/v1/locks/job", `{}`)).into(t, &info)
		b.lease("job").lose(cause)
		a := ask(s, request(context.Background(), "PUT", "/v1/leases/"+info.Lease, ""))
		assert.Equal(t, 410, a.status)
		assert.Equal(t, reason, a.problem(t).Reason)
	}
}

// Ensure that an id that nobody was given is not found, whatever it looks like.
func TestLease_Unknown(t *testing.T) {
	s, _ := newFakeServer(t, Config{})
	for _, id := range []string{strings.Repeat("0", 32), "x", "%00", "%2F..%2F"} {
		for _, method := range []string{"PUT", "DELETE"} {
			a := ask(s, request(context.Background(), method, "/v1/leases/"+id, ""))
			assert.Equal(t, 404, a.status, id)
			assert.Equal(t, codeLeaseUnknown, a.problem(t).Code)
		}
	}
	a := ask(s, request(context.Background(), "PUT", "/v1/leases/"+strings.Repeat("0", 65), ""))
	assert.Equal(t, 422, a.status)
	assert.Equal(t, codeInvalidArgument, a.problem(t).Code)
}

// Ensure that the table remembers the reasons of the latest leases that ended and forgets older ones.
func TestLeaseTable_Remembers(t *testing.T) {
	table := newLeaseTable(1)
	table.mu.Lock()
	for i := range remembered + 10 {
		table.rememberLocked(fmt.Sprint(i), "released")
	}
	table.mu.Unlock()
	assert.Len(t, table.over, remembered)
	_, p := table.get("9")
	assert.Equal(t, codeLeaseUnknown, p.Code)
	_, p = table.get("10")
	assert.Equal(t, codeLeaseOver, p.Code)
	_, p = table.get(fmt.Sprint(remembered + 9))
	assert.Equal(t, codeLeaseOver, p.Code)
}
