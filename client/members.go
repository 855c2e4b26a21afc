package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// Latches, barriers and ticks are grow-only sets on the nodes: a member that is added is at a majority of them,
// and whoever reads the union of a majority sees it. Nothing is ever taken out; the whole set is forgotten some
// time after the last member came.

// DefaultMemory is for how long nodes remember a latch or a barrier after its last member came.
const DefaultMemory = time.Hour

// memory are the options of a set.
type memory struct{ ttl time.Duration }

// A MemoryOption configures a Latch or a Barrier.
type MemoryOption func(*memory)

// Remember sets for how long the nodes remember a latch or barrier after its last member came, instead of
// DefaultMemory. All that use it should say the same; it must cover the time in which anybody may still come.
func Remember(d time.Duration) MemoryOption { return func(m *memory) { m.ttl = d } }

func memoryOf(opts []MemoryOption) memory {
	m := memory{ttl: DefaultMemory}
	for _, o := range opts {
		o(&m)
	}
	return m
}

// add adds a member to a set. It may be repeated: a member counts once.
func (c *Client) add(ctx context.Context, set, member string, ttl time.Duration) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.calls.Done()
	return setError(ctx, c.quorum.Add(ctx, set, member, ttl))
}

// members returns what is in a set, sorted.
func (c *Client) members(ctx context.Context, set string) ([]string, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.calls.Done()
	members, err := c.quorum.Members(ctx, set)
	return members, setError(ctx, err)
}

// checkPrefix refuses an empty name, of which something longer is made.
func checkPrefix(name string) error {
	if name == "" {
		return fmt.Errorf("%w: no name", ErrInvalid)
	}
	return nil
}

// setError is what a caller is told of a failure. That of ctx comes with its cause.
func setError(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, redlock.ErrClosed):
		return ErrClosed
	case err != nil && ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)):
		return fmt.Errorf("%w (%w)", ended(ctx), err)
	}
	return err
}

// await waits until enough is true of a set's members. The error, if it is that of ctx, is a *WaitError with
// kind and name, which say to a human what was waited for.
func (c *Client) await(ctx context.Context, kind, name, set string, enough func(members []string) bool) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.calls.Done()
	heard := newListener(set)
	attached := false
	defer func() {
		if attached {
			c.wakes.detach(heard)
		}
	}()
	p := plan{majority: c.majority, ttl: patience}
	for {
		if p.blanks == 0 {
			p.giveUp = clock.Now().Add(patience)
		}
		heard.forget()
		members, err := c.quorum.Members(ctx, set)
		delay := lookAgain
		switch {
		case err == nil && enough(members):
			return nil
		case err == nil && !attached:
			attached = true
			c.wakes.attach(heard)
			c.wakes.settle(ctx, c.closing, heard)
			continue // what came before that was not heard
		case err == nil:
			p.blanks = 0
			if !c.wakes.hears(heard) {
				delay = lookDeaf
			}
		case ctx.Err() == nil:
			if delay, _, err = p.next(err); err != nil {
				return err
			}
		}
		if err := c.sleep(ctx, heard, delay); err != nil {
			return &WaitError{Name: name, Waits: err, Last: p.last, kind: kind}
		}
	}
}
