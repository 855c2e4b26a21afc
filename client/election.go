package client

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// The times of observing.
const (
	// lookAgain is how often an observer looks without having heard anything: at the end of the leader's
	// remaining ttl, but no later than this.
	lookAgain = 5 * time.Second
	// lookDeaf is the same while messages of a majority cannot be heard, or while the nodes' answers leave
	// open who leads.
	lookDeaf = time.Second
)

// A Leadership is an election that was won. It is a Lease: work under its Context, give its Token to whatever
// can refuse that of an older leader, and stop when it ends.
type Leadership struct {
	*Lease
}

// Elect waits until it leads: until it has the lock of that name, with a value that observers are shown, such
// as the leader's address; at most redlock.MaxMeta bytes, not secret. Candidates come to lead in the order of
// their calls, as waiters of Lock do. An election is a lock: Inspect, Evict and the command line see it, and a
// Lock of the same name excludes it.
//
// The value cannot be changed while one leads, since nodes that are repaired would show the old one for a while:
// put an address into it where what changes can be asked for, or resign and campaign again.
//
// The options and errors are those of Lock. ctx bounds only the wait.
func (c *Client) Elect(ctx context.Context, name, value string, opts ...LockOption) (*Leadership, error) {
	campaign := func(s *lockSettings) { s.meta, s.announce = value, true }
	opts = append(opts[:len(opts):len(opts)], campaign)
	if set, err := c.lockSettings(opts); err != nil {
		return nil, err
	} else if err := set.checkExclusive("leadership"); err != nil {
		return nil, err
	}
	l, err := c.Lock(ctx, name, opts...)
	if err != nil {
		return nil, err
	}
	return &Leadership{Lease: l}, nil
}

// Value returns the value that observers are shown.
func (l *Leadership) Value() string { return l.grant.Meta() }

// Resign ends the leadership at once; observers and the next candidate hear of it. It is Unlock by another name.
func (l *Leadership) Resign(ctx context.Context) error { return l.Unlock(ctx) }

// A Leader is who leads, as Observe sees it. The zero Leader but for its Name is nobody.
type Leader struct {
	Name  string
	Value string // what it campaigned with
	Owner string // its label
	// Token is its fencing token, as the nodes have it on record: after a split vote possibly the one that it
	// proposed at some node. 0 if nobody leads.
	Token  int64
	digest string
}

// Vacant reports that nobody leads.
func (l Leader) Vacant() bool { return l.digest == "" }

// Observe yields who leads the election, or that nobody does, and then each change, until ctx is done or the
// loop is left. It reads a majority of nodes; it hears of changes by messages, and looks by itself when the
// leader's ttl should be over, at the latest every five seconds. A slow loop sees the newest state and may miss
// short ones. A leader is never yielded after one that came later. While no majority answers, nothing is.
//
//	for leader, err := range c.Observe(ctx, "scheduler") {
//		if err != nil {
//			return err // the last: ctx is done, the client is closed
//		}
//		...
//	}
//
// What is yielded was so a moment ago: whoever acts on it in the leader's name needs the token.
//
// Errors: the context's, with its cause; ErrInvalid; ErrClosed. Each is the last that is yielded.
func (c *Client) Observe(ctx context.Context, name string) iter.Seq2[Leader, error] {
	return func(yield func(Leader, error) bool) {
		o := &observer{c: c, listener: newListener(name)}
		defer o.end()
		for {
			news, err := o.next(ctx)
			if !yield(news, err) || err != nil {
				return
			}
		}
	}
}

// An observer is one loop over Observe.
type observer struct {
	c        *Client
	listener *listener
	attached bool

	reported bool   // something was
	last     Leader // what was reported last
	// tokens is what the newest leader that was reported had on record at each node. A node's fence only
	// rises, so of two leaders with a record at the same node the later has the higher token there; and any
	// two majorities share a node.
	tokens map[string]int64
}

func (o *observer) end() {
	if o.attached {
		o.c.wakes.detach(o.listener)
	}
}

// next returns the next news. It is a call of the client only while it waits: a loop that does not come back
// must not keep Close.
func (o *observer) next(ctx context.Context) (Leader, error) {
	name := o.listener.names[0]
	if err := o.c.begin(); err != nil {
		return Leader{}, err
	}
	defer o.c.calls.Done()
	if err := redlock.CheckName(name); err != nil {
		return Leader{}, err
	}
	blanks := 0
	for {
		if o.reported && !o.attached {
			o.attached = true
			o.c.wakes.attach(o.listener)
			o.c.wakes.settle(ctx, o.c.closing, o.listener)
		}
		o.listener.forget()
		state, err := o.c.Inspect(ctx, name)
		delay := lookDeaf
		switch {
		case err == nil:
			blanks = 0
			var news bool
			if news, delay = o.look(state); news {
				return o.last, nil
			}
		case ctx.Err() != nil:
			return Leader{}, ended(ctx)
		case errors.Is(err, ErrClosed):
			return Leader{}, ErrClosed
		default: // no quorum
			delay = min(minBackoff<<min(blanks, 6), lookDeaf)
			blanks++
		}
		if err := o.c.sleep(ctx, o.listener, delay); err != nil {
			return Leader{}, err
		}
	}
}

// look compares what the nodes say with what was reported, and returns whether that is news, or else when to
// look again.
func (o *observer) look(state *State) (news bool, again time.Duration) {
	now := Leader{Name: state.Name}
	again = lookAgain
	if h := state.Holder; h != nil {
		now.Value, now.Owner, now.Token, now.digest = h.Meta, h.Label, h.Token, h.Digest
		if h.Remaining >= 0 {
			again = min(again, h.Remaining+rand.N(expiryJitter))
		}
	} else if !o.last.Vacant() && o.mayLead(state) {
		return false, lookDeaf
	}
	if !o.c.wakes.hears(o.listener) {
		again = min(again, lookDeaf)
	}
	if o.reported && now.digest == o.last.digest || o.older(state, now.digest) {
		return false, again
	}
	o.reported, o.last = true, now
	if !now.Vacant() {
		o.tokens = make(map[string]int64)
		for _, n := range state.Nodes {
			if n.Reply.Status == redlock.StatusOK && n.Reply.Digest == now.digest {
				o.tokens[n.Node] = n.Reply.Token
			}
		}
	}
	return true, again
}

// mayLead tells that the nodes that did not answer may be what the last leader lacks of a majority.
func (o *observer) mayLead(state *State) bool {
	possible := 0
	for _, n := range state.Nodes {
		if n.Reply.Status != redlock.StatusOK || n.Reply.Digest == o.last.digest {
			possible++
		}
	}
	return possible >= o.c.majority
}

// older tells that the owner held the lock before the newest leader that was reported: what is left of a
// lease that is over.
func (o *observer) older(state *State, digest string) bool {
	for _, n := range state.Nodes {
		token, known := o.tokens[n.Node]
		if known && digest != "" && n.Reply.Digest == digest && n.Reply.Token < token {
			return true
		}
	}
	return false
}

// sleep waits until the listener is poked, and then a little for more nodes' messages, so that a majority has
// something new to say; or until delay has passed. The error is the context's, or ErrClosed.
func (c *Client) sleep(ctx context.Context, l *listener, delay time.Duration) error {
	t := time.NewTimer(delay)
	defer t.Stop()
	ends := clock.Now().Add(delay)
	for early := false; ; {
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ended(ctx)
		case <-c.closing:
			return ErrClosed
		case <-l.poke:
			if n := l.wakes(); n == 0 || n >= c.majority {
				return nil
			}
			if !early {
				early = true
				t.Reset(min(graceAfterWake, clock.Until(ends)))
			}
		}
	}
}
