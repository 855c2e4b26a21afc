package lockd

import (
	"context"
	"time"

	"github.com/holdfast-dev/holdfast/client"
)

// A backend is what lockd needs of a *client.Client, with the contracts of the methods there.
type backend interface {
	// acquire takes a lock. With wait it waits until ctx ends, otherwise it makes one attempt. With renew
	// the lease renews itself.
	acquire(ctx context.Context, name string, ttl time.Duration, owner string, meta map[string]string, wait, renew bool) (lease, error)
	Inspect(ctx context.Context, name string) (*client.State, error)
	List(ctx context.Context, prefix string) ([]*client.State, error)
	Health(ctx context.Context) client.Health
}

// A lease is what lockd needs of a *client.Lease, with the contracts of the methods there.
type lease interface {
	Name() string
	Token() int64
	TTL() time.Duration
	Context() context.Context
	Err() error
	Deadline() time.Time
	Remaining() time.Duration
	Nodes() (held, all int)
	Renew(ctx context.Context) error
	Unlock(ctx context.Context) error
}

// clientBackend is the backend that a Server has.
type clientBackend struct{ *client.Client }

func (b clientBackend) acquire(ctx context.Context, name string, ttl time.Duration, owner string, meta map[string]string, wait, renew bool) (lease, error) {
	opts := []client.LockOption{client.TTL(ttl), client.Meta(meta)}
	if owner != "" {
		opts = append(opts, client.Owner(owner))
	}
	if !renew {
		opts = append(opts, client.WithoutRenew())
	}
	lock := b.TryLock
	if wait {
		lock = b.Lock
	}
	l, err := lock(ctx, name, opts...)
	if err != nil {
		return nil, err // not l: a nil *client.Lease in an interface is not nil
	}
	return l, nil
}
