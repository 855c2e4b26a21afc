package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// An Observer is told what a client does: the source of metrics and traces. Packages client/metrics and
// client/otel make one. Fields that are nil are not called.
//
// Its functions are called synchronously, from any goroutine and several at a time: they must be safe for
// concurrent use, must not block, since a lease or a node waits for them, and must not call the client or its
// leases. Whoever has more to do than to count hands it to a goroutine of their own.
//
// The order is that of the life of a lock: WaitBegan, an AttemptEnded for each attempt, then either WaitFailed
// or LockAcquired; after LockAcquired any number of LeaseRenewed, then exactly one of LeaseLost and
// LeaseReleased, after which there is nothing about this lease. They never overlap for one lease.
//
// The contexts tie these together: WaitBegan is given the caller's, and what it returns is what the functions up
// to LockAcquired and WaitFailed are given; what LockAcquired returns is what those after it are given, and
// Lease.Context has its values. A function that has nothing to add returns what it was given; one that has must
// derive it from that. With several observers, each gets what the one before it returned. The contexts given
// after LockAcquired are never done.
type Observer struct {
	// WaitBegan: a call has begun to ask for a lock. Until its LockAcquired or WaitFailed it waits, for the
	// holder or for the nodes.
	WaitBegan func(context.Context, WaitBegan) context.Context
	// AttemptEnded: one attempt at the nodes has ended.
	AttemptEnded func(context.Context, AttemptEnded)
	// LockAcquired: the call is about to return a lease, which is not renewed before this function returns.
	LockAcquired func(context.Context, LockAcquired) context.Context
	// WaitFailed: the call is about to return an error.
	WaitFailed func(context.Context, WaitFailed)
	// LeaseRenewed: a renewal has ended, of the client's own or of Lease.Renew.
	LeaseRenewed func(context.Context, LeaseRenewed)
	// LeaseLost: a lease has ended before it was unlocked. Its context has ended already.
	LeaseLost func(context.Context, LeaseLost)
	// LeaseReleased: an Unlock has ended.
	LeaseReleased func(context.Context, LeaseReleased)

	// NodeUp: a node has answered, for the first time or after a NodeDown.
	NodeUp func(NodeUp)
	// NodeDown: a node could not be reached or did not answer, for the first time or after a NodeUp.
	NodeDown func(NodeDown)
	// BatchEnded: a batch of requests to a node has ended. For each node they come one after the other, before
	// the NodeUp or NodeDown that the batch causes. Nodes that are not of Open or NodeOf do not tell.
	BatchEnded func(BatchEnded)
}

// A Call is what asks for a lock.
type Call string

// The calls that an Observer hears of. Others are made of these: Do is a CallLock.
const (
	CallLock    Call = "lock"
	CallTryLock Call = "trylock"
	CallResume  Call = "resume"
)

// WaitBegan is what Observer.WaitBegan is told.
type WaitBegan struct {
	Call Call
	Name string
}

// AttemptEnded is what Observer.AttemptEnded is told.
type AttemptEnded struct {
	Name   string
	Number int   // of the attempt, from 1
	Err    error // nil: the lock was granted; otherwise a *HeldError, a *QuorumError, ...
}

// LockAcquired is what Observer.LockAcquired is told.
type LockAcquired struct {
	Call     Call
	Name     string
	Token    int64
	Owner    string
	Waited   time.Duration // since WaitBegan
	Attempts int           // made in this wait; 0 for CallResume
	// Held of Nodes nodes are known to have the lock: those whose answer was waited for.
	Held, Nodes int
}

// WaitFailed is what Observer.WaitFailed is told.
type WaitFailed struct {
	Call     Call
	Name     string
	Waited   time.Duration // since WaitBegan
	Attempts int
	Err      error // what the call returns
}

// LeaseRenewed is what Observer.LeaseRenewed is told.
type LeaseRenewed struct {
	Name  string
	Token int64
	Took  time.Duration
	// Err is nil if the validity end moved. If it did not, the lease goes on until that end, or is over and
	// LeaseLost follows.
	Err error
}

// LeaseLost is what Observer.LeaseLost is told.
type LeaseLost struct {
	Name  string
	Token int64
	Held  time.Duration // since LockAcquired
	// Cause matches ErrExpired, ErrStolen, ErrQuorum or ErrForced; or ErrClosed after Detach, which leaves the
	// lock to somebody else.
	Cause error
}

// LeaseReleased is what Observer.LeaseReleased is told.
type LeaseReleased struct {
	Name  string
	Token int64
	Held  time.Duration // since LockAcquired, up to the answer of Unlock
	Err   error         // not nil: no majority confirmed the release, and the lock may stay for its ttl
}

// NodeUp is what Observer.NodeUp is told.
type NodeUp struct{ Node string }

// NodeDown is what Observer.NodeDown is told.
type NodeDown struct {
	Node string
	Err  error
}

// BatchEnded is what Observer.BatchEnded is told.
type BatchEnded struct {
	Node     string
	Requests int
	Took     time.Duration // from the sending to the last reply, the making of a connection included
	Err      error         // of the connection; nil if everything was answered, be it with errors
}

// WithObserver has an Observer told what the client does. Given several times, each is told, in this order.
func WithObserver(o Observer) Option {
	return func(s *settings) { s.observers = append(slices.Clip(s.observers), o) }
}

// observers are the observers of a client. All methods do nothing at no cost if there are none: they are
// called on the way of every lock.
type observers []Observer

// A waitKey is what a context has a *sighting under from WaitBegan to LockAcquired.
type waitKey struct{}

// A sighting is a call that asks for a lock, or the lease that came of it.
type sighting struct {
	call     Call
	name     string
	began    clock.Instant
	attempts int

	// What follows is the lease's.
	ctx   context.Context
	token int64
	mu    sync.Mutex // makes the functions about one lease not overlap: it is held while they run
	over  bool       // LeaseLost or LeaseReleased was called
}

// wait begins to observe a call. What it returns must reach attempted, and failed or acquired.
func (o observers) wait(ctx context.Context, call Call, name string) context.Context {
	if len(o) == 0 {
		return ctx
	}
	ctx = context.WithValue(ctx, waitKey{}, &sighting{call: call, name: name, began: clock.Now()})
	for i := range o {
		if f := o[i].WaitBegan; f != nil {
			ctx = f(ctx, WaitBegan{Call: call, Name: name})
		}
	}
	return ctx
}

func (o observers) attempted(ctx context.Context, err error) {
	if len(o) == 0 {
		return
	}
	s, ok := ctx.Value(waitKey{}).(*sighting)
	if !ok {
		return
	}
	s.attempts++
	for i := range o {
		if f := o[i].AttemptEnded; f != nil {
			f(ctx, AttemptEnded{Name: s.name, Number: s.attempts, Err: err})
		}
	}
}

// failed is deferred by a call that asks for a lock; *err is what it returns.
func (o observers) failed(ctx context.Context, err *error) {
	if len(o) == 0 || *err == nil {
		return
	}
	s, ok := ctx.Value(waitKey{}).(*sighting)
	if !ok {
		return
	}
	e := WaitFailed{Call: s.call, Name: s.name, Waited: clock.Since(s.began), Attempts: s.attempts, Err: *err}
	for i := range o {
		if f := o[i].WaitFailed; f != nil {
			f(ctx, e)
		}
	}
}

// acquired is called with a lease that nobody knows of yet. It returns the context whose values the lease has.
func (o observers) acquired(ctx context.Context, l *Lease) context.Context {
	if len(o) == 0 {
		return ctx
	}
	s, ok := ctx.Value(waitKey{}).(*sighting)
	if !ok {
		return ctx
	}
	now := clock.Now()
	held, all := l.Nodes()
	e := LockAcquired{Call: s.call, Name: s.name, Token: l.Token(), Owner: l.Owner(), Waited: now.Sub(s.began),
		Attempts: s.attempts, Held: held, Nodes: all}
	for i := range o {
		if f := o[i].LockAcquired; f != nil {
			ctx = f(ctx, e)
		}
	}
	// Under the lease's context other locks may be asked for, whose sightings this one is not.
	ctx = context.WithValue(context.WithoutCancel(ctx), waitKey{}, nil)
	l.seen = &sighting{name: s.name, token: e.Token, began: now, ctx: ctx}
	return ctx
}

// renewed is called when a renewal has ended.
func (o observers) renewed(l *Lease, began clock.Instant, err error) {
	s := l.seen
	if s == nil || errors.Is(err, ErrReleased) {
		return
	}
	e := LeaseRenewed{Name: s.name, Token: s.token, Took: clock.Since(began), Err: err}
	s.tell(false, func() {
		for i := range o {
			if f := o[i].LeaseRenewed; f != nil {
				f(s.ctx, e)
			}
		}
	})
}

// lost is called when a lease has ended otherwise than by Unlock.
func (o observers) lost(l *Lease, cause error) {
	s := l.seen
	if s == nil {
		return
	}
	e := LeaseLost{Name: s.name, Token: s.token, Held: clock.Since(s.began), Cause: cause}
	s.tell(true, func() {
		for i := range o {
			if f := o[i].LeaseLost; f != nil {
				f(s.ctx, e)
			}
		}
	})
}

// released is called when Unlock has ended: with a *LossError if the lease turned out to have been lost.
func (o observers) released(l *Lease, err error) {
	s := l.seen
	if s == nil {
		return
	}
	var loss *LossError
	if errors.As(err, &loss) {
		o.lost(l, loss.Cause)
		return
	}
	e := LeaseReleased{Name: s.name, Token: s.token, Held: clock.Since(s.began), Err: err}
	s.tell(true, func() {
		for i := range o {
			if f := o[i].LeaseReleased; f != nil {
				f(s.ctx, e)
			}
		}
	})
}

// tell has the observers told something of a lease, unless they were told its end already. last: it is its end.
func (s *sighting) tell(last bool, told func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.over = last
	told()
}

// A nodeView is what the observers of a link's client were told of its node. The link's goroutine alone uses
// it.
type nodeView struct {
	observers observers
	told      bool // NodeUp or NodeDown
	up        bool // which of the two came last
}

// observe is called when a batch has ended, with the error of its connection.
func (l *link) observe(requests int, began clock.Instant, err error) {
	if len(l.view.observers) == 0 || requests == 0 {
		return
	}
	took := clock.Since(began)
	if err != nil {
		l.mu.Lock()
		closed := l.closed
		l.mu.Unlock()
		if closed {
			return // Close cut the connection, which says nothing of the node
		}
	}
	l.view.batch(BatchEnded{Node: l.name, Requests: requests, Took: took, Err: err})
}

func (v *nodeView) batch(e BatchEnded) {
	node, err := e.Node, e.Err
	changed := !v.told || v.up != (err == nil)
	v.told, v.up = true, err == nil
	for i := range v.observers {
		o := &v.observers[i]
		if o.BatchEnded != nil {
			o.BatchEnded(e)
		}
		switch {
		case changed && err == nil && o.NodeUp != nil:
			o.NodeUp(NodeUp{Node: node})
		case changed && err != nil && o.NodeDown != nil:
			o.NodeDown(NodeDown{Node: node, Err: err})
		}
	}
}
