package client

import (
	"context"
	"fmt"
)

// Shared asks for the lock beside others who hold it shared: nobody holds it exclusively meanwhile. It goes
// with Lock, TryLock, Do and Resume. See [Client.RLock].
func Shared() LockOption { return func(s *lockSettings) { s.shared = true } }

// checkExclusive refuses Shared for what can only be had by one.
func (s lockSettings) checkExclusive(what string) error {
	if s.shared {
		return fmt.Errorf("%w: %s cannot be shared", ErrInvalid, what)
	}
	return nil
}

// RLock waits until it has the lock shared, as readers want it. Any number may hold a lock shared, each with a ttl
// of its own, or one may hold it as Lock gives it. Neither starves the other: a reader that comes while a writer
// waits stands behind it in the queue, and readers that stand together get the lock together.
//
// A lease has no way from shared to exclusive or back. Two holders that both waited to become the only one would
// wait for ever, and the one way down that is safe, to release and ask again, does not need us: what was read
// before must be read again.
//
// Each lease has a token, higher than that of every writer before it; two readers may have the same. It is of
// use where a reader also writes, a cache for example, against a writer that came after it. redsync does not see readers.
//
// The rest is as in Lock.
func (c *Client) RLock(ctx context.Context, name string, opts ...LockOption) (*Lease, error) {
	return c.Lock(ctx, name, append(opts[:len(opts):len(opts)], Shared())...)
}

// TryRLock is RLock that does not wait, neither for a writer that holds the lock nor for one that waits for it.
// The rest is as in TryLock.
func (c *Client) TryRLock(ctx context.Context, name string, opts ...LockOption) (*Lease, error) {
	return c.TryLock(ctx, name, append(opts[:len(opts):len(opts)], Shared())...)
}
