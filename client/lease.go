package client

import (
	"context"
	"time"
)

// A Lease is a lock that is held, until Unlock or until it is lost. It is safe for concurrent use; pass it
// (or its token) to whatever works under the lock. There is no implicit reentrancy: code that holds a lease
// and asks for the same name again waits for itself.
//
// Check Context, not Remaining, before each step; give Token to every resource that can refuse an older one.
type Lease struct{}

// Name returns the lock's name.
func (l *Lease) Name() string { return "" }

// Token returns the fencing token, 1 to 2^53-1: higher than that of every lease of this name that ended
// before this one began. Renewal does not change it.
func (l *Lease) Token() int64 { return 0 }

// TTL returns the ttl that each renewal asks for.
func (l *Lease) TTL() time.Duration { return 0 }

// Owner returns the label that others are shown as the holder.
func (l *Lease) Owner() string { return "" }

// Context returns the context under which to do the work. It ends when the lease does, at the validity end
// at the latest, whatever calls are in flight; context.Cause then matches ErrExpired, ErrStolen, ErrQuorum
// or ErrForced, or ErrReleased after Unlock. It carries the values of the context given to Lock, but not its
// cancellation or deadline.
func (l *Lease) Context() context.Context { return context.Background() }

// Lost returns a channel that is closed if the lease ends before it is unlocked. After a regular Unlock it
// stays open for ever; wait for Context().Done() beside it.
func (l *Lease) Lost() <-chan struct{} { return nil }

// Err returns nil while the lock is held, and then why it is over: ErrReleased, or a *LossError. It is
// computed from the clock at each call.
func (l *Lease) Err() error { return nil }

// Deadline returns when the lease ends if it is not renewed before, on the wall clock: to show, or to give
// to somebody who has no running clock in common. It moves with each renewal.
func (l *Lease) Deadline() time.Time { return time.Time{} }

// Remaining returns for how long the lock is still held without another renewal; zero once it is over.
func (l *Lease) Remaining() time.Duration { return 0 }

// Nodes returns how many nodes are known to have the lock, by their last answers, and how many there are.
// More than a majority is redundancy.
func (l *Lease) Nodes() (held, all int) { return 0, 0 }

// Renew extends the lease now, to a ttl from the start of this call. It is for leases taken with
// WithoutRenew; others renew by themselves every third of the ttl.
//
// Errors: nil only if the end moved. A *LossError or ErrReleased: the lease is over. ErrQuorum, or the
// context's: this renewal failed, the lease lives on until its end, try again.
func (l *Lease) Renew(ctx context.Context) error { return errNotBuilt }

// Unlock releases the lock. The lease ends at once, before anything is sent; the call returns when a majority
// of nodes has confirmed. ctx bounds only that wait, and a ctx that is already done is no obstacle: the
// release is sent and waited for within the nodes' own timeouts.
//
// Unlock may be called again, from anywhere: every call returns what the first found. That is nil; or a
// *LossError if the lease had been lost before; or ErrQuorum or the context's error if no majority confirmed:
// the release goes on in the background, and what cannot be reached frees the lock after its ttl.
func (l *Lease) Unlock(ctx context.Context) error { return errNotBuilt }

// Handle returns what another process needs to Resume the lease. It is a secret.
func (l *Lease) Handle() Handle { return Handle{} }
