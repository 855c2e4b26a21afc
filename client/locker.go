package client

import (
	"context"
	"time"
)

// Held is a lock that is held: what a [Lease] has whatever keeps its lock. A program that works with Held and
// [Locker] can be given a client of either kind, this package's or that of the module client/etcd. The methods mean
// what they mean for Lease.
type Held interface {
	Name() string
	Token() int64
	TTL() time.Duration
	Owner() string
	Context() context.Context
	Lost() <-chan struct{}
	Err() error
	Deadline() time.Time
	Remaining() time.Duration
	Unlock(ctx context.Context) error
}

// A Locker takes locks, whatever keeps them; see [AsLocker]. The methods mean what those of [Client] mean, and their
// errors match the same sentinels and types.
type Locker interface {
	Lock(ctx context.Context, name string) (Held, error)
	TryLock(ctx context.Context, name string) (Held, error)
	Do(ctx context.Context, name string, f func(ctx context.Context, l Held) error) error
}

// A lockerOf is a client with a lease type and options of its own.
type lockerOf[L Held, O any] interface {
	Lock(ctx context.Context, name string, opts ...O) (L, error)
	TryLock(ctx context.Context, name string, opts ...O) (L, error)
	Do(ctx context.Context, name string, f func(ctx context.Context, l L) error, opts ...O) error
}

var (
	_ Held                         = (*Lease)(nil)
	_ lockerOf[*Lease, LockOption] = (*Client)(nil)
)

// AsLocker makes a Locker of a *Client of this package or of the module client/etcd. The options are given to every
// call. The client remains its owner's to close.
func AsLocker[L Held, O any](c lockerOf[L, O], opts ...O) Locker { return locker[L, O]{c, opts} }

type locker[L Held, O any] struct {
	c    lockerOf[L, O]
	opts []O
}

func (k locker[L, O]) Lock(ctx context.Context, name string) (Held, error) {
	return held(k.c.Lock(ctx, name, k.opts...))
}

func (k locker[L, O]) TryLock(ctx context.Context, name string) (Held, error) {
	return held(k.c.TryLock(ctx, name, k.opts...))
}

func (k locker[L, O]) Do(ctx context.Context, name string, f func(ctx context.Context, l Held) error) error {
	return k.c.Do(ctx, name, func(ctx context.Context, l L) error { return f(ctx, l) }, k.opts...)
}

// held keeps a nil *Lease from becoming a Held that is not nil.
func held[L Held](l L, err error) (Held, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}
