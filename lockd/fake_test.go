package lockd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A fakeBackend is a lock service in memory whose faults a test chooses. What a real client does is tested
// in real_test.go; this one is for what HTTP makes of it.
type fakeBackend struct {
	mu      sync.Mutex
	locks   map[string]*fakeLease
	waiting map[string]int
	token   int64
	fault   error // returned by every call while it is set
	changed chan struct{}
}

func newFake() *fakeBackend {
	return &fakeBackend{locks: map[string]*fakeLease{}, waiting: map[string]int{}, changed: make(chan struct{})}
}

// fail makes every later call return err; nil ends that.
func (b *fakeBackend) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = err
}

// lease returns the lease of a name, or nil.
func (b *fakeBackend) lease(name string) *fakeLease {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.locks[name]
}

func (b *fakeBackend) waiters(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting[name]
}

func (b *fakeBackend) acquire(ctx context.Context, name string, ttl time.Duration, owner string, meta map[string]string, wait, renew bool) (lease, error) {
	for {
		b.mu.Lock()
		if b.fault != nil {
			defer b.mu.Unlock()
			return nil, b.fault
		}
		if name == "" || len(name) > 512 {
			defer b.mu.Unlock()
			return nil, fmt.Errorf("%w: name of %d bytes", client.ErrInvalid, len(name))
		}
		holder := b.locks[name]
		if holder == nil {
			defer b.mu.Unlock()
			b.token++
			l := &fakeLease{b: b, name: name, token: b.token, ttl: ttl, owner: owner, renews: renew}
			l.ctx, l.cancel = context.WithCancelCause(context.Background())
			l.setEnd(ttl)
			b.locks[name] = l
			return l, nil
		}
		changed := b.changed
		if wait {
			b.waiting[name]++
		}
		b.mu.Unlock()
		if !wait {
			return nil, &client.HeldError{Name: name, Label: holder.owner, Remaining: holder.Remaining()}
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
		b.mu.Lock()
		b.waiting[name]--
		b.mu.Unlock()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("lock %q: %w", name, context.Cause(ctx))
		}
	}
}

func (b *fakeBackend) Inspect(_ context.Context, name string) (*client.State, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fault != nil {
		return nil, b.fault
	}
	state := &client.State{Name: name, Fence: b.token, Waiting: b.waiting[name], Answered: 5}
	if l := b.locks[name]; l != nil {
		state.Holder = &redlock.Holder{Label: l.owner, Remaining: time.Until(l.end), Digest: "digest-of-a-secret", Nodes: 5}
	}
	return state, nil
}

func (b *fakeBackend) List(ctx context.Context, prefix string) ([]*client.State, error) {
	b.mu.Lock()
	var names []string
	for name := range b.locks {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	b.mu.Unlock()
	slices.Sort(names)
	var states []*client.State
	for _, name := range names {
		state, err := b.Inspect(ctx, name)
		if err != nil {
			return nil, err
		}
		states = append(states, state)
	}
	return states, nil
}

func (b *fakeBackend) Health(context.Context) client.Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := client.Health{Quorum: b.fault == nil}
	for i := range 5 {
		n := client.NodeHealth{Node: fmt.Sprintf("127.0.0.1:%d", 7001+i), Latency: time.Millisecond}
		if i > 1 {
			n.Err = b.fault
		}
		h.Nodes = append(h.Nodes, n)
	}
	return h
}

// A fakeLease ends by itself unless it is renewed, as a real one does.
type fakeLease struct {
	b      *fakeBackend
	name   string
	token  int64
	ttl    time.Duration
	owner  string
	renews bool
	ctx    context.Context
	cancel context.CancelCauseFunc

	// guarded by b.mu
	end   time.Time
	timer *time.Timer
}

// setEnd needs b.mu held.
func (l *fakeLease) setEnd(d time.Duration) {
	l.end = time.Now().Add(d)
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.renews {
		l.timer = time.AfterFunc(d/3, func() {
			l.b.mu.Lock()
			defer l.b.mu.Unlock()
			if l.ctx.Err() == nil && l.b.fault == nil {
				l.setEnd(l.ttl)
			} else if l.ctx.Err() == nil {
				l.timer = time.AfterFunc(time.Until(l.end), func() { l.lose(client.ErrQuorum) })
			}
		})
		return
	}
	l.timer = time.AfterFunc(d, func() { l.lose(client.ErrExpired) })
}

// lose ends the lease for a reason.
func (l *fakeLease) lose(cause error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.endLocked(&client.LossError{Name: l.name, Token: l.token, Cause: cause})
}

func (l *fakeLease) endLocked(cause error) {
	if l.ctx.Err() != nil {
		return
	}
	l.timer.Stop()
	l.cancel(cause)
	delete(l.b.locks, l.name)
	close(l.b.changed)
	l.b.changed = make(chan struct{})
}

func (l *fakeLease) Name() string             { return l.name }
func (l *fakeLease) Token() int64             { return l.token }
func (l *fakeLease) TTL() time.Duration       { return l.ttl }
func (l *fakeLease) Context() context.Context { return l.ctx }
func (l *fakeLease) Nodes() (held, all int)   { return 5, 5 }
func (l *fakeLease) Err() error               { return context.Cause(l.ctx) }

func (l *fakeLease) Deadline() time.Time {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	return l.end
}

func (l *fakeLease) Remaining() time.Duration {
	if l.ctx.Err() != nil {
		return 0
	}
	return time.Until(l.Deadline())
}

func (l *fakeLease) Renew(context.Context) error {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if err := context.Cause(l.ctx); err != nil {
		return err
	}
	if l.b.fault != nil {
		return l.b.fault
	}
	l.setEnd(l.ttl)
	return nil
}

func (l *fakeLease) Unlock(context.Context) error {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if loss := context.Cause(l.ctx); loss != nil && !errors.Is(loss, client.ErrReleased) {
		return loss
	}
	fault := l.b.fault
	l.endLocked(client.ErrReleased)
	return fault
}
