package client

import (
	"errors"
	"fmt"

	"github.com/holdfast-dev/holdfast/redlock"
)

// What an attempt to take a lock can end with, beside the error of the caller's context.
var (
	// ErrHeld: somebody else holds the lock. The error is a *HeldError. TryLock returns it; Lock waits, and
	// the *WaitError with which it gives up contains it, to tell who was in the way.
	ErrHeld = redlock.ErrHeld
	// ErrQuorum: too few nodes answered. From an attempt or an Unlock the error is a *QuorumError, through
	// which errors.Is and errors.As reach the error of every node. As the cause of a lease's end: renewals
	// found no majority until the lease was over.
	ErrQuorum = redlock.ErrQuorum
	// ErrQuarantine: too many nodes have restarted without their state and grant nothing yet. The error is
	// a *QuarantineError. Lock waits it out.
	ErrQuarantine = redlock.ErrQuarantine
	// ErrInvalid: a name, ttl, owner label or address is outside its limits.
	ErrInvalid = redlock.ErrInvalid
	// ErrLost: the lease of a Handle is over, for whatever reason. Resume returns it.
	ErrLost = redlock.ErrLost
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("client is closed")
)

// Why a lease is over: what context.Cause(lease.Context()) and lease.Err match.
var (
	// ErrExpired: the validity end passed without a renewal: the process was paused or suspended, or
	// renewal was off.
	ErrExpired = errors.New("lease expired")
	// ErrMaxHold: the lock was held for as long as WithMaxHold allows. It is an ErrExpired, too.
	ErrMaxHold = fmt.Errorf("%w: it was held for as long as it may be", ErrExpired)
	// ErrStolen: a majority of nodes says that the lock is with somebody else.
	ErrStolen = errors.New("lock is with another owner")
	// ErrForced: an operator revoked the lease. errors.As finds the *ForcedError that tells the reason.
	ErrForced = redlock.ErrForced
	// ErrReleased: the holder unlocked it. This is the regular end, not a loss.
	ErrReleased = redlock.ErrReleased
)

// The errors that carry more than a sentinel, so that callers need not import package redlock.
type (
	HeldError       = redlock.HeldError
	QuorumError     = redlock.QuorumError
	QuarantineError = redlock.QuarantineError
	NodeError       = redlock.NodeError
	ForcedError     = redlock.ForcedError
)

// A LossError tells which lease was lost and why. errors.Is matches its cause: ErrExpired, ErrStolen,
// ErrQuorum or ErrForced.
type LossError struct {
	Name  string
	Token int64
	Cause error // one of the sentinels above, or an error that wraps one and says more
}

func (e *LossError) Error() string {
	return fmt.Sprintf("lost lock %q (token %d): %v", e.Name, e.Token, e.Cause)
}

// Unwrap returns the cause.
func (e *LossError) Unwrap() error { return e.Cause }
