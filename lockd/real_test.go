package lockd

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// silent keeps go-redis from reporting every node that a test has stopped.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// A cluster is five nodes in memory and what the test sees of them.
type cluster struct {
	nodes []*servertest.Node
	rdbs  []*redis.Client
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{nodes: servertest.StartCluster(t, 5, servertest.InMemory())}
	for _, n := range c.nodes {
		c.rdbs = append(c.rdbs, redis.NewClient(&redis.Options{Addr: n.Addr(), Dialer: n.Dial, DisableIdentity: true, Protocol: 2}))
	}
	t.Cleanup(func() {
		for _, rdb := range c.rdbs {
			_ = rdb.Close()
		}
		time.Sleep(5 * time.Second) // go-redis goes on dialling a stopped node for a while after Close
	})
	return c
}

func (c *cluster) open(t *testing.T) *client.Client {
	var votes []redlock.Node
	for _, rdb := range c.rdbs {
		votes = append(votes, client.NodeOf(rdb))
	}
	cl, err := client.New(votes)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = cl.Close(ctx) // it may have leases whose nodes the test has stopped
	})
	return cl
}

// traces returns how many of the nodes have the lock, and how many have somebody in its queue.
func (c *cluster) traces(t *testing.T, name string) (locks, queues int) {
	t.Helper()
	keys := redlock.Keys(name)
	for _, rdb := range c.rdbs {
		n, err := rdb.Exists(context.Background(), keys.Lock).Result()
		require.NoError(t, err)
		locks += int(n)
		n, err = rdb.ZCard(context.Background(), keys.Waiters).Result()
		require.NoError(t, err)
		queues += int(min(n, 1))
	}
	return locks, queues
}

func newRealRig(t *testing.T, cfg Config) (*rig, *cluster) {
	c := newCluster(t)
	return newRig(t, clientBackend{c.open(t)}, cfg), c
}

// Ensure that a lock taken over HTTP is one on the nodes: it excludes, its token rises, and it is gone when it
// was released.
func TestReal_Classic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := newRealRig(t, Config{})
		first := r.lock("orders%2F42", `{"ttl":"15s","owner":"w1"}`)
		assert.Equal(t, "orders/42", first.Name)
		time.Sleep(time.Second) // the last of the nodes has answered
		locks, _ := c.traces(t, "orders/42")
		assert.Equal(t, 5, locks)

		a := r.do("POST", "/v1/locks/orders%2F42", `{}`)
		assert.Equal(t, 409, a.status)
		assert.Equal(t, "w1", a.problem(t).Holder)
		var info lockInfo
		r.do("GET", "/v1/locks/orders%2F42", "").into(t, &info)
		assert.True(t, info.Held)
		assert.Equal(t, "w1", info.Holder)
		assert.Equal(t, first.Token, info.Token)
		var list struct{ Locks []lockInfo }
		r.do("GET", "/v1/locks?prefix=orders/", "").into(t, &list)
		require.Len(t, list.Locks, 1)
		assert.Equal(t, "orders/42", list.Locks[0].Name)

		require.Equal(t, 204, r.do("DELETE", "/v1/leases/"+first.Lease, "").status)
		second := r.lock("orders%2F42", `{}`)
		assert.Greater(t, second.Token, first.Token)
		require.Equal(t, 204, r.do("DELETE", "/v1/leases/"+second.Lease, "").status)
		time.Sleep(time.Second)
		locks, queues := c.traces(t, "orders/42")
		assert.Zero(t, locks)
		assert.Zero(t, queues)
	})
}

// Ensure that what a holder gives as meta is shown to whoever finds the lock held, now or after a wait, and to those
// who look; and that too much of it, or anything but texts, is refused.
func TestReal_Meta(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newRealRig(t, Config{})
		l := r.lock("job", `{"ttl":"15s","owner":"w1","meta":{"job":"nightly","who":"ops"}}`)
		meta := map[string]string{"job": "nightly", "who": "ops"}
		for _, body := range []string{`{}`, `{"wait":"1s"}`} {
			a := r.do("POST", "/v1/locks/job", body)
			assert.Equal(t, 409, a.status)
			assert.Equal(t, meta, a.problem(t).Meta)
		}
		var info lockInfo
		r.do("GET", "/v1/locks/job", "").into(t, &info)
		assert.Equal(t, meta, info.Meta)
		var list struct{ Locks []lockInfo }
		r.do("GET", "/v1/locks", "").into(t, &list)
		require.Len(t, list.Locks, 1)
		assert.Equal(t, meta, list.Locks[0].Meta)
		require.Equal(t, 204, r.do("DELETE", "/v1/leases/"+l.Lease, "").status)

		fits := strings.Repeat("m", redlock.MaxMeta-len(`{"k":""}`))
		l = r.lock("job", `{"meta":{"k":"`+fits+`"}}`)
		require.Equal(t, 204, r.do("DELETE", "/v1/leases/"+l.Lease, "").status)
		for _, meta := range []string{`{"k":"` + fits + `m"}`, `{"k":1}`, `[]`, `"text"`} {
			assert.Equal(t, 422, r.do("POST", "/v1/locks/job", `{"meta":`+meta+`}`).status, "%.50s", meta)
		}
	})
}

// Ensure that a classic lease ends a ttl after its caller's last word, and that somebody else can then have
// the lock, but not before.
func TestReal_ClassicNeverOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newRealRig(t, Config{})
		info := r.lock("job", `{"ttl":"15s"}`)
		for range 5 {
			time.Sleep(10 * time.Second)
			require.Equal(t, 200, r.do("PUT", "/v1/leases/"+info.Lease, "").status)
		}
		last := time.Now()
		time.Sleep(14 * time.Second)
		assert.Equal(t, 409, r.do("POST", "/v1/locks/job", `{}`).status)
		next := make(chan leaseInfo, 1)
		go func() { defer close(next); next <- r.lock("job", `{"wait":"1m"}`) }()
		got := <-next
		assert.InDelta(t, 15, time.Since(last).Seconds(), 0.5)
		assert.Greater(t, got.Token, info.Token)
		a := r.do("PUT", "/v1/leases/"+info.Lease, "")
		assert.Equal(t, 410, a.status)
		assert.Equal(t, "expired", a.problem(t).Reason)
	})
}

// Ensure that a caller which goes away while it waits leaves no lock and no queue entry on any node, and that
// the next in the queue is not held up by it.
func TestReal_CallerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := newRealRig(t, Config{})
		held := r.lock("job", `{"ttl":"2m"}`)
		ctx, cancel := context.WithCancel(context.Background())
		gone := make(chan error, 1)
		go func() {
			_, err := r.http.Do(request(ctx, "POST", "/v1/locks/job", `{"wait":"4m"}`))
			gone <- err
		}()
		time.Sleep(30 * time.Second)
		_, queues := c.traces(t, "job")
		require.Equal(t, 3, queues, "the test must see the waiter, at the majority that it asked first")
		next := make(chan leaseInfo, 1)
		go func() { defer close(next); next <- r.lock("job", `{"wait":"1m"}`) }()
		time.Sleep(time.Second)
		cancel()
		assert.ErrorIs(t, <-gone, context.Canceled)
		time.Sleep(5 * time.Second)
		require.Equal(t, 204, r.do("DELETE", "/v1/leases/"+held.Lease, "").status)
		got := <-next
		require.Equal(t, 204, r.do("DELETE", "/v1/leases/"+got.Lease, "").status)
		time.Sleep(time.Second)
		locks, queues := c.traces(t, "job")
		assert.Zero(t, locks)
		assert.Zero(t, queues)
	})
}

// Ensure that a stream's lock stays on the nodes for as long as the connection and is gone with it, and that
// whoever waits for it gets it then.
func TestReal_Stream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := newRealRig(t, Config{})
		st := r.open("job", `{"ttl":"9s"}`, "")
		acquired := st.next()
		require.Equal(t, "acquired", acquired.Event)
		renewals := 0
		for began := time.Now(); time.Since(began) < time.Minute; {
			if e := st.next(); e.Event == "renewed" {
				renewals++
			}
		}
		assert.GreaterOrEqual(t, renewals, 10)
		locks, _ := c.traces(t, "job")
		assert.Equal(t, 5, locks)
		next := make(chan leaseInfo, 1)
		go func() { defer close(next); next <- r.lock("job", `{"wait":"1m"}`) }()
		time.Sleep(time.Second)
		began := time.Now()
		st.close()
		got := <-next
		assert.Less(t, time.Since(began), time.Second, "the release must wake the waiter, not the ttl")
		assert.Greater(t, got.Token, acquired.Token)
		require.Equal(t, 204, r.do("DELETE", "/v1/leases/"+got.Lease, "").status)
		time.Sleep(time.Second)
		locks, queues := c.traces(t, "job")
		assert.Zero(t, locks)
		assert.Zero(t, queues)
	})
}

// Ensure that a majority that dies ends a stream at the validity end with a reason, that new locks are refused
// with what each node said, and that a minority that dies goes unnoticed.
func TestReal_NodesDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := newRealRig(t, Config{})
		st := r.open("job", `{"ttl":"9s"}`, "")
		defer st.close()
		require.Equal(t, "acquired", st.next().Event)
		c.nodes[0].Stop()
		c.nodes[1].Stop()
		for began := time.Now(); time.Since(began) < time.Minute; {
			require.NotEqual(t, "lost", st.next().Event)
		}
		info := r.lock("other", `{}`)
		require.Equal(t, 204, r.do("DELETE", "/v1/leases/"+info.Lease, "").status)
		assert.Equal(t, 200, r.do("GET", "/readyz", "").status)

		c.nodes[2].Stop()
		died := time.Now()
		e := st.next()
		for e != nil && e.Event != "lost" {
			e = st.next()
		}
		require.NotNil(t, e)
		assert.Equal(t, "quorum", e.Reason)
		assert.LessOrEqual(t, time.Since(died), 9*time.Second)
		assert.Nil(t, st.next())

		a := r.do("POST", "/v1/locks/other", `{}`)
		assert.Equal(t, 503, a.status)
		p := a.problem(t)
		assert.Equal(t, codeNoQuorum, p.Code)
		assert.NotEmpty(t, p.NodeErrors)
		a = r.do("GET", "/readyz", "")
		assert.Equal(t, 503, a.status)
		assert.Len(t, a.problem(t).NodeErrors, 3)
	})
}

// Ensure that Shutdown leaves a classic lease on the nodes and takes a stream's lock and a waiter's queue
// entry from them.
func TestReal_Shutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		s, err := New(c.open(t), Config{})
		require.NoError(t, err)
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		tr := &http.Transport{DialContext: l.dial}
		defer tr.CloseIdleConnections()
		r := &rig{t: t, s: s, l: l, http: &http.Client{Transport: tr}}
		r.lock("classic", `{"ttl":"1m"}`)
		st := r.open("stream", `{}`, "")
		defer st.close()
		require.Equal(t, "acquired", st.next().Event)
		waited := make(chan answer, 1)
		go func() { waited <- r.do("POST", "/v1/locks/classic", `{"wait":"2m"}`) }()
		time.Sleep(time.Second)
		shut := make(chan error, 1)
		go func() { shut <- s.Shutdown(context.Background()) }()
		assert.Equal(t, codeShuttingDown, (<-waited).problem(t).Code)
		for e := st.next(); e != nil; e = st.next() {
			assert.Contains(t, []string{"heartbeat", "renewed", "released"}, e.Event)
		}
		require.NoError(t, <-shut)
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
		time.Sleep(time.Second)
		locks, queues := c.traces(t, "classic")
		assert.Equal(t, 5, locks)
		assert.Zero(t, queues)
		locks, _ = c.traces(t, "stream")
		assert.Zero(t, locks)
	})
}

// Ensure that many callers who wait for one name never have it at the same time, and all get it.
func TestReal_Contention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := newRealRig(t, Config{})
		var holders, most atomic.Int32
		var last atomic.Int64
		done := make(chan error)
		for i := range 20 {
			go func() {
				var err error
				defer func() { done <- err }() // also when an assertion ends this goroutine
				err = func() error {
					for range 3 {
						info := r.lock("job", fmt.Sprintf(`{"ttl":"10s","wait":"4m","owner":"w%d"}`, i))
						most.Store(max(most.Load(), holders.Add(1)))
						if before := last.Swap(info.Token); info.Token <= before {
							return fmt.Errorf("token %d after %d", info.Token, before)
						}
						time.Sleep(100 * time.Millisecond)
						holders.Add(-1)
						if a := r.do("DELETE", "/v1/leases/"+info.Lease, ""); a.status != 204 {
							return fmt.Errorf("release: %d %s", a.status, a.text)
						}
					}
					return nil
				}()
			}()
		}
		for range 20 {
			assert.NoError(t, <-done)
		}
		assert.EqualValues(t, 1, most.Load())
		time.Sleep(time.Second)
		locks, queues := c.traces(t, "job")
		assert.Zero(t, locks)
		assert.Zero(t, queues)
	})
}
