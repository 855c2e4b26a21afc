package lockd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/client"
)

// A held is a lock that a caller of ours has.
type held struct {
	lease
	id     string // 128 random bits, in hex: whoever knows it can renew and release
	caller string
	// unwatch takes back the wish to be told of the lease's end; false if that is already under way.
	unwatch func() bool
}

// remembered is for how many ended leases the table knows why they ended. Older ones are unknown.
const remembered = 8192

// A leaseTable knows the leases of all callers. A lease enters it with its id and leaves it at its end,
// whatever ended it. It is safe for concurrent use.
type leaseTable struct {
	quota   *quota // one unit for each lease, taken before it is asked for
	watches sync.WaitGroup

	mu     sync.Mutex
	byID   map[string]*held
	over   map[string]string // why a lease ended, by its id
	ring   []string          // the ids in over, oldest at next once it is full
	next   int
	closed bool
}

func newLeaseTable(perCaller int) *leaseTable {
	return &leaseTable{quota: newQuota(perCaller), byID: map[string]*held{}, over: map[string]string{}}
}

// add enters a lease for which the caller's quota has been taken, and gives it its id.
func (t *leaseTable) add(l lease, caller string) *held {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	h := &held{lease: l, id: hex.EncodeToString(id[:]), caller: caller}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[h.id] = h
	t.watches.Add(1)
	h.unwatch = context.AfterFunc(l.Context(), func() {
		defer t.watches.Done()
		t.end(h)
	})
	return h
}

// end takes a lease that is over out of the table and gives back its quota. Only the first call for a lease
// does anything.
func (t *leaseTable) end(h *held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[h.id] != h {
		return
	}
	delete(t.byID, h.id)
	t.rememberLocked(h.id, reasonOf(h.Err()))
	if h.unwatch() {
		t.watches.Done()
	}
	t.quota.give(h.caller)
}

func (t *leaseTable) rememberLocked(id, reason string) {
	t.over[id] = reason
	if len(t.ring) < remembered {
		t.ring = append(t.ring, id)
		return
	}
	delete(t.over, t.ring[t.next])
	t.ring[t.next] = id
	t.next = (t.next + 1) % remembered
}

// get returns the lease with the id, or the problem to answer with.
func (t *leaseTable) get(id string) (*held, *problem) {
	t.mu.Lock()
	h, reason := t.byID[id], t.over[id]
	t.mu.Unlock()
	switch {
	case h != nil && h.Err() != nil: // its watch has not run yet
		t.end(h)
		return nil, leaseOver(reasonOf(h.Err()))
	case h != nil:
		return h, nil
	case reason != "":
		return nil, leaseOver(reason)
	}
	return nil, leaseUnknown()
}

// close stops watching the leases that are still held and leaves them to their callers: it releases none.
func (t *leaseTable) close() {
	t.mu.Lock()
	for id, h := range t.byID {
		delete(t.byID, id)
		if h.unwatch() {
			t.watches.Done()
		}
	}
	t.mu.Unlock()
	t.watches.Wait()
}

// reasonOf says in a word why a lease is over.
func reasonOf(err error) string {
	for _, cause := range []struct {
		err    error
		reason string
	}{
		{client.ErrReleased, "released"}, {client.ErrForced, "forced"}, {client.ErrStolen, "stolen"}, {client.ErrQuorum, "quorum"},
	} {
		if errors.Is(err, cause.err) {
			return cause.reason
		}
	}
	return "expired"
}

// renewLease extends a lease by its ttl from now.
func (s *Server) renewLease(ctx context.Context, in *leaseInput) (*leaseOutput, error) {
	h, p := s.leases.get(in.ID)
	if p != nil {
		return nil, p
	}
	if err := h.Renew(ctx); err != nil {
		if h.Err() != nil {
			s.leases.end(h)
			return nil, leaseOver(reasonOf(h.Err()))
		}
		p := s.problemOf(err, h.Name())
		if p.Code == codeNoQuorum {
			left := shown(h.Remaining())
			p.Remaining = &left
		}
		return nil, p
	}
	return &leaseOutput{Token: h.Token(), Body: infoOf(h)}, nil
}

// releaseLease unlocks. A lease that had been lost before, or whose release no majority confirmed, is no
// success: the caller must know.
func (s *Server) releaseLease(ctx context.Context, in *leaseInput) (*struct{}, error) {
	h, p := s.leases.get(in.ID)
	if p != nil {
		return nil, p
	}
	err := h.Unlock(ctx)
	s.leases.end(h)
	var loss *client.LossError
	switch {
	case err == nil:
		s.log.Debug("released", "lock", h.Name(), "token", h.Token())
		return nil, nil
	case errors.As(err, &loss):
		return nil, leaseOver(reasonOf(loss))
	case errors.Is(err, client.ErrQuorum):
		p := quorumProblem(err)
		p.Detail = "the lease is over, but no majority of the nodes confirmed it: the lock is free after its ttl at the latest"
		p.header.Del("Retry-After")
		return nil, p
	}
	return nil, s.problemOf(err, h.Name())
}

// A quota counts what each caller uses of something. It is safe for concurrent use.
type quota struct {
	max int

	mu   sync.Mutex
	used map[string]int
}

func newQuota(perCaller int) *quota { return &quota{max: perCaller, used: map[string]int{}} }

// take takes one unit for the caller, or returns false if it has them all.
func (q *quota) take(caller string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used[caller] >= q.max {
		return false
	}
	q.used[caller]++
	return true
}

// give gives one unit back.
func (q *quota) give(caller string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used[caller]--; q.used[caller] == 0 {
		delete(q.used, caller)
	}
}

// tooMany is the answer to a caller that has used up a quota.
func tooMany(c code, what string, limit int) *problem {
	return newProblem(http.StatusTooManyRequests, c, "this caller already has %d %s, the most it may have", limit, what).retryAfter(time.Second)
}
