package client

import (
	"context"
	"fmt"

	"github.com/holdfast-dev/holdfast/redlock"
)

// A Latch opens when enough have counted it down. It is made by Client.Latch, has no state, and is safe for
// concurrent use.
//
// It is a set of members that only grows, on a majority of the nodes: each member counts once, however often and from
// wherever it is counted, and nothing is taken back, not by the end of its process either. There is no lock in it
// and no token. What is missing from a node that forgot its state is made up by the others as long as a majority
// remembers.
type Latch struct {
	c    *Client
	name string
	memory
}

// Latch returns the latch of that name. Nothing is sent; what is wrong with the name is told by the methods. A latch
// is used once: for another use take another name, or wait until it is forgotten (see Remember), which is
// an hour after the last CountDown unless something else is said.
func (c *Client) Latch(name string, opts ...MemoryOption) *Latch {
	return &Latch{c: c, name: name, memory: memoryOf(opts)}
}

func (l *Latch) set() string { return l.name + ":latch" }

// CountDown counts a member, 1 to 256 bytes: a machine, a part of the work, whatever is to be waited for. It returns
// once a majority of nodes has it: every Wait and Members that begins later sees it. A latch has at most
// redlock.MaxMembers members, which are 10,000.
//
// Errors: ErrQuorum, the context's: whether it counts is unknown. Call it again, the same member counts once; but
// not if the error is redlock.ErrFull, too: then there is no place for it. ErrInvalid, ErrClosed.
func (l *Latch) CountDown(ctx context.Context, member string) error {
	if err := checkPrefix(l.name); err != nil {
		return err
	}
	return l.c.add(ctx, l.set(), member, l.ttl)
}

// Wait waits until n members, 1 to redlock.MaxMembers, have been counted. It hears of each, and looks by itself every
// five seconds. ctx bounds the wait.
//
// Errors: the context's, with its cause (*WaitError); ErrQuorum, if no majority of nodes could be reached for
// some time; ErrInvalid; ErrClosed.
func (l *Latch) Wait(ctx context.Context, n int) error {
	if err := checkPrefix(l.name); err != nil {
		return err
	}
	if n < 1 || n > redlock.MaxMembers {
		return fmt.Errorf("%w: waiting for %d members of latch %q, must be 1 to %d", ErrInvalid, n, l.name, redlock.MaxMembers)
	}
	return l.c.await(ctx, "latch", l.name, l.set(), func(members []string) bool { return len(members) >= n })
}

// Members returns who has been counted so far, sorted. Errors: ErrQuorum, the context's, ErrInvalid, ErrClosed.
func (l *Latch) Members(ctx context.Context) ([]string, error) {
	if err := checkPrefix(l.name); err != nil {
		return nil, err
	}
	return l.c.members(ctx, l.set())
}
