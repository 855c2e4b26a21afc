package client

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-dev/holdfast/redlock"
)

// The channels on which the nodes announce changes of a name, for those who observe it without being in its
// queue, travel over the one subscription that a client has at each node for its wake-up messages.

// A listener hears of the changes of some names between attach and detach. As with wake-ups, a message is a
// hint: after each poke the listener looks for itself, and it looks from time to time without one.
type listener struct {
	bell
	names []string
	// heard, if set, is told of each message. It must not block, and may be called from several goroutines.
	heard func(node int, word, name string)
}

func newListener(names ...string) *listener { return &listener{bell: newBell(), names: names} }

// A topic is a channel that at least one listener wants to hear. It is guarded by notifier.mu.
type topic struct {
	name      string
	listeners map[*listener]bool
	up        []bool // by node: it has confirmed the subscription
}

// attach makes the listener known and has its channels subscribed to. The caller must detach it.
func (n *notifier) attach(l *listener) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range l.names {
		channel := redlock.ChangeChannel(name)
		t := n.topics[channel]
		if t == nil {
			t = &topic{name: name, listeners: make(map[*listener]bool), up: make([]bool, len(n.sources))}
			n.topics[channel] = t
		}
		t.listeners[l] = true
	}
	n.retuneLocked()
}

// detach ends what attach began; a channel that nobody wants to hear any more is given up.
func (n *notifier) detach(l *listener) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range l.names {
		channel := redlock.ChangeChannel(name)
		if t := n.topics[channel]; t != nil {
			delete(t.listeners, l)
			if len(t.listeners) == 0 {
				delete(n.topics, channel)
			}
		}
	}
	n.retuneLocked()
}

// retuneLocked has every session compare its channels with those that are wanted.
func (n *notifier) retuneLocked() {
	for _, c := range n.retune {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// hears reports whether a majority of nodes has confirmed each of the listener's channels.
func (n *notifier) hears(l *listener) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range l.names {
		t := n.topics[redlock.ChangeChannel(name)]
		if t == nil || count(t.up) < n.majority {
			return false
		}
	}
	return true
}

func count(up []bool) int {
	sum := 0
	for _, u := range up {
		if u {
			sum++
		}
	}
	return sum
}

// settle waits until the listener hears a majority, the nodes' timeout has passed, or ctx or closing is done.
// What happened before that may have gone unheard.
func (n *notifier) settle(ctx context.Context, closing <-chan struct{}, l *listener) {
	n.start(ctx, closing)
	t := time.NewTimer(n.timeout)
	defer t.Stop()
	for !n.hears(l) {
		select {
		case <-l.poke:
		case <-t.C:
			return
		case <-ctx.Done():
			return
		case <-closing:
			return
		}
	}
}

// tune keeps the channels of one session as they are wanted, until ctx is done. Only this goroutine subscribes:
// a write to a node that hangs must not keep anybody else.
func (n *notifier) tune(ctx context.Context, i int, ps *redis.PubSub) {
	asked := make(map[string]*topic) // a channel that was given up and is wanted again is another topic
	for {
		n.mu.Lock()
		var more, less []string
		for channel, t := range n.topics {
			if asked[channel] != t {
				asked[channel] = t
				more = append(more, channel)
			}
		}
		for channel := range asked {
			if n.topics[channel] == nil {
				delete(asked, channel)
				less = append(less, channel)
			}
		}
		n.mu.Unlock()
		var err error
		if len(less) > 0 {
			err = ps.Unsubscribe(ctx, less...)
		}
		if len(more) > 0 && err == nil {
			err = ps.Subscribe(ctx, more...)
		}
		if err != nil {
			ps.Close() // else go-redis goes on with another connection, and nobody knows what was missed
			return
		}
		select {
		case <-n.retune[i]:
		case <-ctx.Done():
			return
		}
	}
}

// confirmed is told that a node will send what is published to a channel from now on.
func (n *notifier) confirmed(node int, channel string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.topics[channel]
	if t == nil {
		return
	}
	t.up[node] = true
	for l := range t.listeners {
		l.nudge() // what came before is lost: look
	}
}

// deafLocked notes that a node's messages are not heard any more.
func (n *notifier) deafLocked(node int) {
	for _, t := range n.topics {
		t.up[node] = false
		for l := range t.listeners {
			l.nudge() // to look more often
		}
	}
}

// announced hands a message to those who listen. Its payload is a word, a space, and the name.
func (n *notifier) announced(node int, channel, payload string) {
	word, name, ok := strings.Cut(payload, " ")
	if !ok {
		return
	}
	n.mu.Lock()
	var all []*listener
	if t := n.topics[channel]; t != nil && t.name == name {
		for l := range t.listeners {
			all = append(all, l)
		}
	}
	n.mu.Unlock()
	for _, l := range all {
		if l.heard != nil {
			l.heard(node, word, name)
		}
		l.wake(node)
	}
}
