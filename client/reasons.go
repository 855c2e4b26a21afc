package client

import (
	"context"
	"errors"
	"slices"
)

// A reason is what a kind of error is called in a word, for metrics and the like.
type reason struct {
	err  error
	word string
}

// otherReason is the word for errors that have none of their own: that of BeforeSend, for one.
const otherReason = "other"

// The first that matches counts. In failReasons the context's errors come last, since the error of a node that
// was not reached in time is context.DeadlineExceeded as well.
var (
	failReasons = []reason{
		{ErrClosed, "closed"}, {ErrInvalid, "invalid"}, {ErrForced, "forced"}, {ErrHeld, "held"},
		{ErrQuarantine, "quarantine"}, {ErrQuorum, "quorum"}, {ErrLost, "lost"},
		{context.DeadlineExceeded, "timeout"}, {context.Canceled, "cancelled"},
	}
	lossReasons = []reason{
		{ErrForced, "forced"}, {ErrStolen, "stolen"}, {ErrQuorum, "quorum"}, {ErrMaxHold, "maxhold"},
		{ErrExpired, "expired"}, {ErrClosed, "detached"},
	}
)

// FailReasons returns every word that the Reason of a WaitFailed and an AttemptEnded can be: closed, invalid,
// forced, held (by somebody else; of TryLock and attempts), quarantine, quorum, lost (of Resume), timeout (of the
// caller's context), cancelled, other.
func FailReasons() []string { return words(failReasons) }

// LossReasons returns every word that the Reason of a LeaseLost can be: forced, stolen, quorum, maxhold, expired,
// detached, other.
func LossReasons() []string { return words(lossReasons) }

func words(reasons []reason) []string {
	var all []string
	for _, r := range reasons {
		all = append(all, r.word)
	}
	return slices.Concat(all, []string{otherReason})
}

// Reason says in a word why the call failed. A wait that was ended failed for that, whatever it waited for.
func (e WaitFailed) Reason() string {
	var wait *WaitError
	switch {
	case !errors.As(e.Err, &wait):
		return wordFor(e.Err, failReasons)
	case errors.Is(wait.Waits, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(wait.Waits, context.Canceled):
		return "cancelled"
	}
	return wordFor(wait.Waits, failReasons)
}

// Reason says in a word why the attempt failed; "" if it did not.
func (e AttemptEnded) Reason() string {
	if e.Err == nil {
		return ""
	}
	return wordFor(e.Err, failReasons)
}

// Reason says in a word why the lease was lost.
func (e LeaseLost) Reason() string { return wordFor(e.Cause, lossReasons) }

func wordFor(err error, reasons []reason) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.word
		}
	}
	return otherReason
}
