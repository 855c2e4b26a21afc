package redlock

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// rules are the client's decisions on which the promises of the protocol hang, each in one place, so that the
// model test can show for every one of them what breaks when it is decided otherwise. DESIGN.md tells why
// they are as they are; the nodes' part of the rules is in scripts.
type rules struct {
	// drift is the allowance D.
	drift func(ttl time.Duration) time.Duration
	// value draws the owner value of an attempt, a new one for each.
	value func() string
	// held tells whether a lease is held. That a renewal round is pending counts for nothing: nobody knows
	// yet how it will end.
	held func(now, end clock.Instant, pending bool) bool
	// confirms tells whether a node that granted with this fence has the quorum's token stored.
	confirms func(fence, token int64) bool
	// raised tells whether a node that was asked to raise its fence has the token stored now.
	raised func(Status) bool
	// prolongs tells whether a renewal round that got its majority now may move the validity end. The old
	// end counts: once it has passed, somebody else may have held the lock for a while.
	prolongs func(now, newEnd, oldEnd clock.Instant) bool
	// quorate tells whether so many of n nodes are enough to write to a set or to read it.
	quorate func(done, n int) bool
}

// protocol returns the rules as they are.
func protocol(drift func(time.Duration) time.Duration) *rules {
	return &rules{
		drift:    drift,
		value:    freshValue,
		held:     func(now, end clock.Instant, _ bool) bool { return now.Before(end) },
		confirms: func(fence, token int64) bool { return fence == token },
		raised:   func(s Status) bool { return s == StatusOK },
		prolongs: func(now, newEnd, oldEnd clock.Instant) bool { return now.Before(newEnd) && now.Before(oldEnd) },
		quorate:  func(done, n int) bool { return done >= n/2+1 },
	}
}

// freshValue returns 160 random bits in hex.
func freshValue() string {
	var b [20]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
