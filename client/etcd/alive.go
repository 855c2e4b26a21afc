package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// errGone: the cluster does not have the etcd lease any more, though its time is not over.
var errGone = fmt.Errorf("%w: the cluster has no such lease any more", client.ErrForced)

// glance is how often a lease looks at the clock at least: timers stand still while the machine is suspended.
const glance = time.Second

// An answer is what a keep-alive ended with.
type answer struct {
	began   clock.Instant // before it was sent
	ttl     time.Duration // from when it arrived at the cluster; 0: the lease is gone
	deleted bool          // the key is gone
	err     error
}

// keepAlive sends one keep-alive and waits for its answer.
//
// The etcd client's own KeepAlive does not tell which request was answered, so that one could not know from when to
// reckon; its KeepAliveOnce tries again without a pause while the cluster is away.
func (l *Lease) keepAlive(ctx context.Context) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, min(l.c.set.timeout, l.TTL()/3)) // so that another may be sent in time
	defer cancel()                                                           // ends the stream
	stream, err := l.c.leases.LeaseKeepAlive(ctx)
	if err != nil {
		return answer{err: clientv3.ContextError(ctx, err)}
	}
	a.began = clock.Now()
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(l.id)}); err != nil {
		return answer{err: clientv3.ContextError(ctx, err)}
	}
	resp, err := stream.Recv()
	if err != nil {
		return answer{err: clientv3.ContextError(ctx, err)}
	}
	a.ttl = time.Duration(max(0, resp.TTL)) * time.Second
	if a.ttl > 0 {
		a.deleted, a.err = l.confirm(ctx, resp.GetHeader().GetRaftTerm())
	}
	return a
}

// errOldTerm: a keep-alive was answered by a member that leads no more, or not yet.
var errOldTerm = errors.New("keep-alive was answered in another term than the cluster's")

// confirm makes sure that a keep-alive that was answered in a term was answered by the leader, and reports whether the
// lease's key is gone.
//
// Members do not ask each other before they answer one: a leader whose disk hangs goes on answering while another was
// elected, which has never heard of the keep-alive and gives the lock away (etcd issue 15247, which old servers have).
// But it cannot serve a linearizable read. One that begins after the answer and is in the same term proves that nobody
// else led when the answer was given; who is elected later gives every lease its full ttl once more.
func (l *Lease) confirm(ctx context.Context, term uint64) (deleted bool, err error) {
	exists := l.Token() > 0 // if not, the request that makes the key may still be on its way
	resp, err := l.c.etcd.Get(ctx, l.key, clientv3.WithKeysOnly())
	switch {
	case err != nil:
		return false, clientv3.ContextError(ctx, err)
	case exists && len(resp.Kvs) == 0:
		return true, nil
	case resp.Header.RaftTerm != term:
		return false, errOldTerm
	}
	return false, nil
}

// answered draws the consequences of a keep-alive and returns when to send the next.
func (l *Lease) answered(a answer, failures int) clock.Instant {
	if a.deleted {
		l.deleted()
		return 0
	}
	if a.err == nil && a.ttl == 0 || gone(a.err) {
		l.Err() // expired, if so it is
		l.lose(errGone)
		return 0
	}
	if a.err != nil {
		l.mu.Lock()
		l.failed = l.c.failure("keep alive", l.name, a.err)
		ttl := l.ttl
		l.mu.Unlock()
		return clock.Now().Add(min(shortestPause<<min(failures, 8), ttl/10))
	}
	return l.granted(a.began, a.ttl)
}

// granted moves the end to a ttl from began, and returns when it should be moved again.
func (l *Lease) granted(began clock.Instant, ttl time.Duration) clock.Instant {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = nil
	l.ttl = ttl
	l.end = max(l.end, began.Add(ttl-redlock.DefaultDrift(ttl)))
	return began.Add(ttl / 3)
}

// keep keeps the lease alive until it is over, and ends it when its time is. A keep-alive that hangs does not delay
// that: it is waited for by a goroutine of its own.
func (l *Lease) keep(next clock.Instant) {
	answers := make(chan answer, 1)
	flying, failures := false, 0
	for l.Err() == nil {
		now, wake := clock.Now(), l.until()
		if !flying {
			if !now.Before(next) {
				flying = true
				l.c.background.Go(func() { answers <- l.keepAlive(l.work) })
				continue
			}
			wake = min(wake, next)
		}
		t := time.NewTimer(min(wake.Sub(now), glance))
		select {
		case <-t.C:
		case a := <-answers:
			flying = false
			if a.err == nil {
				failures = 0
			} else {
				failures++
			}
			next = l.answered(a, failures)
		case <-l.work.Done():
			t.Stop()
			if l.c.life.Err() != nil {
				return
			}
		}
		t.Stop()
	}
}

// guard watches the lock's key from a revision on, and ends the lease when it is deleted. When a watch ends, by an
// error or since a ttl has passed, it looks: what happened meanwhile may not be told any more, its result can be seen.
func (l *Lease) guard(rev int64) {
	for l.work.Err() == nil {
		deleted := l.c.deletion(l.work, l.key, rev, l.TTL())
		if !deleted {
			resp, err := l.c.look(l.work, l.key)
			if err != nil {
				sleep(l.work, lookAgain)
				continue
			}
			deleted = len(resp.Kvs) == 0
			rev = max(rev, resp.Header.Revision)
		}
		if deleted {
			l.deleted()
			return
		}
	}
}

// deleted ends a lease whose key is gone.
func (l *Lease) deleted() {
	l.Err() // expired, if so it is
	l.lose(fmt.Errorf("%w: its key was deleted", client.ErrForced))
}

// lookAgain is the pause between two looks that a watch does not fill.
const lookAgain = 250 * time.Millisecond

// look reads one key.
func (c *Client) look(ctx context.Context, key string) (*clientv3.GetResponse, error) {
	ctx, cancel := c.request(ctx)
	defer cancel()
	return c.etcd.Get(ctx, key)
}

// deletion waits until a key is deleted after a revision, and reports that; otherwise until the watch fails, ctx is
// done, or the longest time has passed: a watch on a connection that died without a word is silent for ever. If it
// fails at once, there is a pause.
func (c *Client) deletion(ctx context.Context, key string, rev int64, longest time.Duration) bool {
	bounded, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	// A member that has lost its leader says so instead of being silent.
	watch := clientv3.WithRequireLeader(bounded)
	for resp := range c.etcd.Watch(watch, key, clientv3.WithRev(rev+1), clientv3.WithFilterPut()) {
		if len(resp.Events) > 0 {
			return true
		}
		if resp.Err() != nil {
			break
		}
	}
	if bounded.Err() == nil {
		sleep(bounded, lookAgain)
	}
	return false
}
