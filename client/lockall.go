package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/holdfast-dev/holdfast/redlock"
)

// A MultiLease is several locks that are held together, from LockAll. It is safe for concurrent use. Work under
// Context, and give each resource the token of its own lock: tokens of different names do not compare.
type MultiLease struct {
	leases []*Lease // in the order of their names

	ctx    context.Context
	cancel context.CancelCauseFunc
	lost   chan struct{}

	mu   sync.Mutex
	over error // nil while all are held; ErrReleased or the first *LossError
}

// LockAll waits until it has the locks of all names, or of none. Names given twice count once; at least one is
// needed. The options go for each lock.
//
// The locks are taken one after another in the order of their names, each wait being as fair as Lock's. As all
// callers of LockAll use the same order, they never wait for each other in a circle; a program that holds a
// lock already when it calls LockAll, or takes the same names one by one, has to see to that itself. Locks that
// were taken first are renewed while the others are waited for (WithoutRenew: they are not, and the wait must
// be shorter than the ttl).
//
// ctx bounds only the wait. Whatever ends it, the locks taken so far are released in reverse order.
//
// Errors: those of Lock; a *LossError if a lock was lost while others were waited for.
func (c *Client) LockAll(ctx context.Context, names []string, opts ...LockOption) (*MultiLease, error) {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: no lock names", ErrInvalid)
	}
	for _, name := range names { // not after a long wait for the others
		if err := redlock.CheckName(name); err != nil {
			return nil, err
		}
	}
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.calls.Done()

	wait, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var held []*Lease
	for _, name := range names {
		l, err := c.Lock(wait, name, opts...)
		if err != nil {
			c.giveBack(ctx, held)
			return nil, lockAllError(ctx, wait, err)
		}
		unhook := context.AfterFunc(l.Context(), func() { cancel(context.Cause(l.Context())) })
		defer unhook()
		held = append(held, l)
	}
	m := newMultiLease(ctx, held)
	if err := m.Err(); err != nil { // lost while the last one was granted
		c.giveBack(ctx, held)
		return nil, lockAllError(ctx, m.ctx, err)
	}
	return m, nil
}

// giveBack sends the releases of what was taken in vain, and has them waited for in the background.
func (c *Client) giveBack(ctx context.Context, held []*Lease) {
	confirmed := unlockReverse(context.WithoutCancel(ctx), held)
	c.background.Go(func() { confirmed() })
}

// lockAllError tells a wait that ended because another lock was lost from one that its caller ended.
func lockAllError(ctx, wait context.Context, err error) error {
	var loss *LossError
	switch {
	case ctx.Err() != nil || wait.Err() == nil:
		return err
	case errors.As(context.Cause(wait), &loss):
		return loss
	}
	return ErrClosed // which has released the others
}

func newMultiLease(ctx context.Context, leases []*Lease) *MultiLease {
	m := &MultiLease{leases: leases, lost: make(chan struct{})}
	m.ctx, m.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	for _, l := range leases {
		context.AfterFunc(l.Context(), func() { m.finish(context.Cause(l.Context())) })
	}
	return m
}

// Names returns the locks' names, sorted.
func (m *MultiLease) Names() []string {
	names := make([]string, len(m.leases))
	for i, l := range m.leases {
		names[i] = l.Name()
	}
	return names
}

// Leases returns the lease of each lock, in the order of Names. To unlock one of them ends the whole.
func (m *MultiLease) Leases() []*Lease { return slices.Clone(m.leases) }

// Tokens returns the fencing token of each lock by its name.
func (m *MultiLease) Tokens() map[string]int64 {
	tokens := make(map[string]int64, len(m.leases))
	for _, l := range m.leases {
		tokens[l.Name()] = l.Token()
	}
	return tokens
}

// Context returns the context under which to do the work. It ends as soon as any of the locks does; its cause
// is that lock's. The other locks are held until Unlock, so that what is still under way stays protected.
func (m *MultiLease) Context() context.Context { return m.ctx }

// Lost returns a channel that is closed if any lock ends before it is unlocked.
func (m *MultiLease) Lost() <-chan struct{} { return m.lost }

// Err returns nil while all locks are held, and then why they are not: ErrReleased, or the *LossError of the
// first that was lost. It is computed from the clock at each call.
func (m *MultiLease) Err() error {
	for _, l := range m.leases {
		if err := l.Err(); err != nil {
			m.finish(err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.over
}

// finish ends the whole, once.
func (m *MultiLease) finish(over error) {
	m.mu.Lock()
	first := m.over == nil
	if first {
		m.over = over
	}
	m.mu.Unlock()
	if !first {
		return
	}
	if !errors.Is(over, ErrReleased) {
		close(m.lost)
	}
	m.cancel(over)
}

// Unlock releases all locks, in reverse order, and returns when a majority of nodes has confirmed each. ctx
// bounds only that wait, as in Lease.Unlock. It may be called again: the error joins what each lock's Unlock
// found, a *LossError for one that was lost before.
func (m *MultiLease) Unlock(ctx context.Context) error {
	m.Err() // a loss that nobody has noticed yet is a loss
	m.finish(ErrReleased)
	return unlockReverse(ctx, m.leases)()
}

// unlockReverse ends the leases, the last first, and has sent their releases in that order when it returns; so one
// who waits for all of them finds the others free when the first is. The function that it returns waits until all
// are confirmed.
func unlockReverse(ctx context.Context, leases []*Lease) (wait func() error) {
	errs := make([]error, len(leases))
	var wg sync.WaitGroup
	for i, l := range slices.Backward(leases) {
		first := l.unlock()
		wg.Go(func() { errs[i] = l.unlocked(ctx, first) })
	}
	return func() error {
		wg.Wait()
		return errors.Join(errs...)
	}
}
