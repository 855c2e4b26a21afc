package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// What Evict and ForceUnlock can end with beside ErrQuorum, ErrInvalid, ErrClosed and the context's error.
var (
	// ErrNotHeld: nobody holds the lock, or not the owner that was asked for.
	ErrNotHeld = errors.New("lock is not held")
	// ErrForeign: the holder is no client of this protocol (redsync, a bare SET). It heeds no eviction and nothing
	// was done; only ForceUnlock takes the lock from it.
	ErrForeign = errors.New("holder heeds no eviction")
)

// A Holder is an owner of a lock, as the nodes see it: in a State, and in a Revocation.
type Holder = redlock.Holder

// A Revocation is a completed Evict or ForceUnlock.
type Revocation struct {
	Name   string
	Reason string
	Owners []Holder // who was revoked, as the nodes saw them just before
	// Over is when each of them has certainly stopped to consider itself a holder, on the wall clock. It is the
	// zero time if nobody knows: one of them is no client of this protocol.
	Over time.Time
}

// A RevokeOption narrows down whom Evict and ForceUnlock revoke.
type RevokeOption func(*revokeSettings)

type revokeSettings struct{ digest string }

// Only revokes the owner with this digest (Holder.Digest, HeldError.Digest) and nobody else: not who may have
// taken the lock since that was looked at, nor others who share it.
func Only(digest string) RevokeOption { return func(s *revokeSettings) { s.digest = digest } }

// Evict takes a lock from its holder, whoever that is, in the safe way: the holder can no longer renew, and its
// lock stays exclusive until it expires or the holder lets go of it. A living holder learns of it with its next
// renewal, which ends its lease with ErrForced and the reason (*ForcedError), and releases; so the lock is mostly free
// after a third of its ttl, and by Revocation.Over in any case, even if the holder is stopped or cut off. The reason
// (at most redlock.MaxReason bytes, 256, not secret) is logged on both sides.
//
// A lock that is shared is taken from all who hold it (see Only), or from the hundred of whom each node tells, if
// there are more.
//
// Evict returns when a majority of nodes has confirmed. Errors: ErrNotHeld; ErrForeign; ErrQuorum (*QuorumError),
// the context's: it may have been evicted nevertheless, and Evict may be called again; ErrInvalid, ErrClosed.
func (c *Client) Evict(ctx context.Context, name, reason string, opts ...RevokeOption) (*Revocation, error) {
	return c.revoke(ctx, revocation{what: "evict", name: name, reason: reason, by: c.quorum.Evict, kind: onlyOurs}, opts)
}

// ForceUnlock takes a lock from its holder at once: the next waiter gets it now. This breaks exclusion. Until
// Revocation.Over, the old holder may still believe that it has the lock, and work beside the new one; only a
// resource that checks fencing tokens is safe meanwhile. Whoever can wait until then should use Evict.
//
// It is also the one way to be rid of a key that is no lock of this protocol: redsync's, or a bare SET without a
// ttl. How long their owners go on, and whether they take the lock again at once, nobody knows.
//
// Errors: as those of Evict, without ErrForeign.
func (c *Client) ForceUnlock(ctx context.Context, name, reason string, opts ...RevokeOption) (*Revocation, error) {
	return c.revoke(ctx, revocation{what: "force", name: name, reason: reason, by: c.quorum.Force, kind: anybody}, opts)
}

// whose says whose locks a revocation is for.
type whose bool

const (
	onlyOurs whose = false
	anybody  whose = true
)

// A revocation is one call of Evict or ForceUnlock.
type revocation struct {
	what, name, reason string
	by                 func(ctx context.Context, name, digest, reason string) (*redlock.Revocation, error)
	kind               whose
}

func (c *Client) revoke(ctx context.Context, r revocation, opts []RevokeOption) (*Revocation, error) {
	var set revokeSettings
	for _, o := range opts {
		o(&set)
	}
	if len(r.reason) > redlock.MaxReason {
		return nil, fmt.Errorf("%w: reason of %d bytes, must be at most %d", ErrInvalid, len(r.reason), redlock.MaxReason)
	}
	owners, err := c.ownersOf(ctx, r.name, set.digest)
	if err != nil {
		return nil, err
	}
	for _, h := range owners {
		if !h.Recorded && r.kind == onlyOurs {
			return nil, fmt.Errorf("%s %q: %w", r.what, r.name, ErrForeign)
		}
	}
	done := make([]*redlock.Revocation, len(owners))
	errs := make([]error, len(owners))
	var wg sync.WaitGroup
	for i, h := range owners {
		wg.Go(func() { done[i], errs[i] = r.by(ctx, r.name, h.Digest, r.reason) })
	}
	wg.Wait()
	result := &Revocation{Name: r.name, Reason: r.reason, Owners: owners}
	known := true
	for i, h := range owners {
		if err := errs[i]; err != nil {
			if errors.Is(err, redlock.ErrClosed) {
				err = ErrClosed
			}
			c.set.logger.Warn("revocation not confirmed", "lock", r.name, "how", r.what, "owner", h.Label, "token", h.Token,
				"reason", r.reason, "err", err)
			return nil, err
		}
		known = known && h.Recorded
		if over := clock.Wall().Add(clock.Until(done[i].Over)); over.After(result.Over) {
			result.Over = over
		}
		c.set.logger.Warn("lock revoked", "lock", r.name, "how", r.what, "owner", h.Label, "token", h.Token,
			"reason", r.reason)
	}
	if !known {
		result.Over = time.Time{}
	}
	return result, nil
}

// ownersOf returns who is to be revoked: the holder, or whoever has the digest.
func (c *Client) ownersOf(ctx context.Context, name, digest string) ([]Holder, error) {
	state, err := c.Inspect(ctx, name)
	if err != nil {
		return nil, err
	}
	if owners := only(holders(state), digest); len(owners) > 0 {
		return owners, nil
	}
	// Before it is said that there is nobody, every node is heard: the one that has not answered may be what
	// gives somebody the majority.
	if state, err = c.InspectAll(ctx, name); err != nil {
		return nil, err
	}
	if owners := only(holders(state), digest); len(owners) > 0 {
		return owners, nil
	}
	if owners := only(obstacles(state, c.majority), digest); len(owners) > 0 {
		return owners, nil
	}
	return nil, fmt.Errorf("%q: %w", name, ErrNotHeld)
}

// holders returns who holds the lock at a majority of nodes: one owner, or all who share it.
func holders(s *State) []Holder {
	if s.Holder == nil {
		return s.Readers
	}
	return []Holder{*s.Holder}
}

// obstacles returns the owners without a majority at the nodes that have answered who are in the way for longer
// than an attempt is: with the nodes that have not answered they may have one, or their keys never expire.
func obstacles(s *State, majority int) []Holder {
	var order []string
	owners := map[string]*Holder{}
	for _, n := range s.Nodes {
		r := n.Reply
		if r.Status != redlock.StatusOK {
			continue
		}
		seen := r.Readers
		if r.Digest != "" {
			seen = []Holder{{Digest: r.Digest, Label: r.Label, Meta: r.Meta, Token: r.Token, Remaining: r.Remaining, Recorded: r.Recorded}}
		}
		for _, one := range seen {
			h := owners[one.Digest]
			if h == nil {
				h = &Holder{Digest: one.Digest, Remaining: one.Remaining, Shared: one.Shared}
				owners[one.Digest] = h
				order = append(order, one.Digest)
			}
			h.Nodes++
			if one.Recorded {
				h.Recorded, h.Label, h.Meta, h.Token = true, one.Label, one.Meta, max(h.Token, one.Token)
			}
			if one.Remaining < 0 {
				h.Remaining = one.Remaining
			}
		}
	}
	silent := len(s.Nodes) - s.Answered
	var all []Holder
	for _, digest := range order {
		if h := owners[digest]; h.Remaining < 0 || h.Nodes+silent >= majority {
			all = append(all, *h)
		}
	}
	return all
}

// only returns those of the owners that have the digest; all, if it is "".
func only(owners []Holder, digest string) []Holder {
	if digest == "" {
		return owners
	}
	for _, h := range owners {
		if h.Digest == digest {
			return []Holder{h}
		}
	}
	return nil
}
