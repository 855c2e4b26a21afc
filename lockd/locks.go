package lockd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/client"
)

// Why a wait ended before the lock was there. They are causes of the wait's context.
var (
	errCallerGone = errors.New("the caller has gone away")
	errWaited     = errors.New("the wait is over")
	errShutdown   = errors.New("lockd is shutting down")
)

// releaseWithin bounds how long a request waits for the confirmation of a release that nobody asked for. The
// release itself goes on.
const releaseWithin = 5 * time.Second

// checkName returns why a lock name cannot be one, or nil. The limits of its length are the client's.
func checkName(name string) *problem {
	if !utf8.ValidString(name) {
		return invalid("path.name", "the name is not UTF-8")
	}
	return nil
}

// check fills in the defaults of a request for a lock and returns what is wrong with it, or nil.
func (s *Server) check(in *acquireInput) *problem {
	if p := checkName(in.Name); p != nil {
		return p
	}
	if in.Body == nil {
		in.Body = &acquireRequest{}
	}
	body := in.Body
	if body.TTL == nil {
		ttl := duration(s.cfg.TTL)
		body.TTL = &ttl
	}
	switch ttl := time.Duration(*body.TTL); {
	case ttl < s.cfg.MinTTL:
		return invalid("body.ttl", "the ttl %v is shorter than %v", ttl, s.cfg.MinTTL)
	case ttl > s.cfg.MaxTTL:
		return invalid("body.ttl", "the ttl %v is longer than %v", ttl, s.cfg.MaxTTL)
	case time.Duration(body.Wait) > s.cfg.MaxWait:
		return invalid("body.wait", "the wait %v is longer than %v", body.Wait, s.cfg.MaxWait)
	}
	return nil
}

// acquireLock is POST /v1/locks/{name}: the lease as an answer, or as a stream.
func (s *Server) acquireLock(ctx context.Context, in *acquireInput) (*huma.StreamResponse, error) {
	if p := s.check(in); p != nil {
		return nil, p
	}
	h, err := s.take(ctx, in)
	if err != nil {
		return nil, err
	}
	s.log.Debug("acquired", "lock", h.Name(), "token", h.Token(), "stream", in.Hold == holdStream)
	if in.Hold == holdStream {
		return &huma.StreamResponse{Body: func(hc huma.Context) { s.stream(hc, h) }}, nil
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) { s.answer(hc, h) }}, nil
}

// take gets the lock within the caller's limits and enters it in the table. If the caller goes away
// meanwhile, nothing is left of the lock.
func (s *Server) take(ctx context.Context, in *acquireInput) (*held, error) {
	caller := callerOf(ctx)
	if !s.leases.quota.take(caller) {
		return nil, tooMany(codeTooManyLeases, "locks", s.cfg.MaxLeases)
	}
	l, err := s.waitFor(ctx, in, caller)
	if err == nil && ctx.Err() != nil {
		s.giveUp(l)
		err = errCallerGone
	}
	if err != nil {
		s.leases.quota.give(caller)
		return nil, s.problemOf(err, in.Name)
	}
	return s.leases.add(l, caller), nil
}

// waitFor asks for the lock until the caller's wait is over, the caller is gone, or lockd shuts down.
func (s *Server) waitFor(ctx context.Context, in *acquireInput, caller string) (lease, error) {
	wait := time.Duration(in.Body.Wait)
	if wait > 0 {
		if !s.waits.take(caller) {
			return nil, tooMany(codeTooManyWaits, "waiting requests", s.cfg.MaxWaits)
		}
		defer s.waits.give(caller)
	}
	// A context of its own: a lease carries the values of the one it was asked for with, and must not keep
	// the request and its connection in memory for as long as it lives.
	wctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(errCallerGone) })()
	defer context.AfterFunc(s.closing, func() { cancel(errShutdown) })()
	if wait > 0 {
		defer time.AfterFunc(wait, func() { cancel(errWaited) }).Stop()
	}
	l, err := s.locks.acquire(wctx, in.Name, time.Duration(*in.Body.TTL), in.Body.Owner, in.Body.Meta, wait > 0, in.Hold == holdStream)
	if err == nil {
		return l, nil
	}
	switch cause := context.Cause(wctx); {
	case cause == nil:
		return nil, err
	case errors.Is(cause, errWaited):
		return nil, s.heldAfterWait(ctx, in.Name, wait, err)
	default:
		return nil, cause
	}
}

// heldAfterWait says who had the lock when a wait for it ended: what the last attempt saw, or else, since one
// that waited behind others of this process made none, what the nodes say now. If those cannot be reached, that
// was what it waited for.
func (s *Server) heldAfterWait(ctx context.Context, name string, wait time.Duration, err error) *problem {
	var p *problem
	var last *client.HeldError
	if errors.As(err, &last) {
		p = heldProblem(name, last.Label, last.Meta, last.Remaining)
	} else if state, err := s.locks.Inspect(ctx, name); err != nil {
		return s.problemOf(err, name)
	} else if state.Free() {
		p = heldProblem(name, "", "", 0) // in between two holders, and others were before this one
	} else {
		p = heldProblem(name, state.Holder.Label, state.Holder.Meta, state.Holder.Remaining)
	}
	p.Detail += fmt.Sprintf(", and was for the %v of the wait", wait)
	return p
}

// giveUp releases a lock that its caller never heard of.
func (s *Server) giveUp(l lease) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseWithin)
	defer cancel()
	if err := l.Unlock(ctx); err != nil {
		s.log.Warn("release not confirmed", "lock", l.Name(), "token", l.Token(), "error", err)
	}
}

// answer writes a classic lease. A caller that cannot be reached never learns the id, so its lock is
// released.
func (s *Server) answer(hc huma.Context, h *held) {
	body, err := json.Marshal(infoOf(h))
	if err == nil {
		hc.SetHeader("Content-Type", "application/json")
		hc.SetHeader("Content-Length", strconv.Itoa(len(body)+1))
		hc.SetHeader(tokenHeader, strconv.FormatInt(h.Token(), 10))
		hc.SetStatus(http.StatusOK)
		err = writeFlushed(hc, append(body, '\n'))
	}
	if err != nil {
		s.log.Info("caller gone before it had its lease", "lock", h.Name(), "token", h.Token(), "error", err)
		s.giveUp(h)
		s.leases.end(h)
	}
}

// inspectLock is GET /v1/locks/{name}.
func (s *Server) inspectLock(ctx context.Context, in *nameInput) (*lockOutput, error) {
	if p := checkName(in.Name); p != nil {
		return nil, p
	}
	state, err := s.locks.Inspect(ctx, in.Name)
	if err != nil {
		return nil, s.problemOf(err, in.Name)
	}
	return &lockOutput{Body: s.lockInfoOf(state)}, nil
}

// listLocks is GET /v1/locks.
func (s *Server) listLocks(ctx context.Context, in *listInput) (*listOutput, error) {
	if !utf8.ValidString(in.Prefix) {
		return nil, invalid("query.prefix", "the prefix is not UTF-8")
	}
	states, err := s.locks.List(ctx, in.Prefix)
	if err != nil {
		return nil, s.problemOf(err, in.Prefix)
	}
	out := &listOutput{}
	out.Body.Locks = make([]lockInfo, 0, len(states))
	for _, state := range states {
		out.Body.Locks = append(out.Body.Locks, s.lockInfoOf(state))
	}
	return out, nil
}

func (s *Server) lockInfoOf(state *client.State) lockInfo {
	info := lockInfo{Name: state.Name, Held: !state.Free(), Token: state.Fence, Waiting: state.Waiting}
	if h := state.Holder; h != nil {
		info.Holder, info.Meta, info.Nodes = h.Label, metaOf(h.Meta), fmt.Sprintf("%d/%d", h.Nodes, state.Answered)
		if h.Remaining >= 0 { // a bare SET has no ttl
			d := shown(h.Remaining)
			info.Remaining = &d
		}
	}
	return info
}
