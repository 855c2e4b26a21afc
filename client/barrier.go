package client

import (
	"context"
	"fmt"

	"github.com/holdfast-dev/holdfast/redlock"
)

// A Barrier lets n parties wait for each other. It is made by Client.Barrier, has no state, and is safe for
// concurrent use.
//
// Each meeting has a generation, a text that all parties know without asking: the number of the round, the date. To
// count the rounds here would be wrong: a party that was restarted, or that gave up and came again, would wait for
// another round than the others.
type Barrier struct {
	c    *Client
	name string
	n    int
	memory
}

// Barrier returns the barrier of that name for n parties, 1 to redlock.MaxMembers. Nothing is sent; what is wrong
// with name or n is told by Await. A generation is forgotten an hour after the last party came to it, unless Remember says something else.
func (c *Client) Barrier(name string, n int, opts ...MemoryOption) *Barrier {
	return &Barrier{c: c, name: name, n: n, memory: memoryOf(opts)}
}

// Await says that a party, 1 to 256 bytes, has come to a generation, and waits until n different ones have. A party
// that comes later, or once more, finds it open. ctx bounds the wait. A party that stops waiting has still come:
// the others may go on without it.
//
// Errors: the context's, with its cause (*WaitError); ErrQuorum, if no majority of nodes could be reached for
// some time: call it again. ErrInvalid, ErrClosed.
func (b *Barrier) Await(ctx context.Context, generation, party string) error {
	if b.n < 1 || b.n > redlock.MaxMembers {
		return fmt.Errorf("%w: barrier %q for %d parties, must be 1 to %d", ErrInvalid, b.name, b.n, redlock.MaxMembers)
	}
	set, err := b.set(generation)
	if err != nil {
		return err
	}
	if err := b.c.add(ctx, set, party, b.ttl); err != nil {
		return err
	}
	return b.c.await(ctx, "barrier", b.name, set, func(parties []string) bool { return len(parties) >= b.n })
}

// Parties returns who has come to a generation so far, sorted. Errors: ErrQuorum, the context's, ErrInvalid,
// ErrClosed.
func (b *Barrier) Parties(ctx context.Context, generation string) ([]string, error) {
	set, err := b.set(generation)
	if err != nil {
		return nil, err
	}
	return b.c.members(ctx, set)
}

func (b *Barrier) set(generation string) (string, error) {
	if err := checkPrefix(b.name); err != nil {
		return "", err
	}
	if generation == "" {
		return "", fmt.Errorf("%w: no generation of barrier %q", ErrInvalid, b.name)
	}
	return b.name + ":barrier:" + generation, nil
}
