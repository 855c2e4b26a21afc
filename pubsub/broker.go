package pubsub

import (
	"slices"
	"sync"

	"github.com/holdfast-dev/holdfast/internal/glob"
)

// A Message is one publication as one subscription sees it.
type Message struct {
	Channel string
	Pattern string // the subscription's pattern; "" for a subscription to the channel itself
	Payload []byte // shared by all subscribers: not to be modified, not to be kept without a copy
	// ByPattern tells a subscription to the empty pattern from one to the channel.
	ByPattern bool
}

// A Subscriber takes part in a Broker. Its identity is the value itself, so it is usually a pointer.
//
// Deliver is called while the Broker is locked, in the order of publication: it must not block and must
// not call the Broker. The payload is valid during the call only.
type Subscriber interface {
	Deliver(m Message)
}

// A Broker knows who is subscribed to what and hands publications out. The zero Broker is ready for use,
// safe for concurrent use, and must not be copied. It starts no goroutine.
//
// Subscribers of one channel get a message in the order in which they subscribed; those of patterns get
// it after them, in the order in which each pattern was first subscribed to.
type Broker struct {
	mu       sync.Mutex
	channels map[string][]Subscriber
	patterns []*pattern // in the order of first subscription
	byText   map[string]*pattern
	held     map[Subscriber]*holding
}

// A pattern is a glob and those who are subscribed to it.
type pattern struct {
	text        string
	subscribers []Subscriber
}

// A holding lists one subscriber's subscriptions in the order in which they were made.
type holding struct{ channels, patterns []string }

// Subscribe adds a subscription to a channel and returns whether it is new.
func (b *Broker) Subscribe(s Subscriber, channel string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.holdingLocked(s)
	if slices.Contains(b.channels[channel], s) {
		return false
	}
	if b.channels == nil {
		b.channels = make(map[string][]Subscriber)
	}
	b.channels[channel] = append(b.channels[channel], s)
	h.channels = append(h.channels, channel)
	return true
}

// PSubscribe adds a subscription to all channels that match a glob and returns whether it is new.
func (b *Broker) PSubscribe(s Subscriber, text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.holdingLocked(s)
	if slices.Contains(h.patterns, text) {
		return false
	}
	p := b.byText[text]
	if p == nil {
		p = &pattern{text: text}
		b.patterns = append(b.patterns, p)
		if b.byText == nil {
			b.byText = make(map[string]*pattern)
		}
		b.byText[text] = p
	}
	p.subscribers = append(p.subscribers, s)
	h.patterns = append(h.patterns, text)
	return true
}

// Unsubscribe ends a subscription to a channel and returns whether there was one.
func (b *Broker) Unsubscribe(s Subscriber, channel string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.held[s]
	if h == nil || !removeFrom(&h.channels, channel) {
		return false
	}
	b.dropChannelLocked(s, channel)
	b.forgetIdleLocked(s, h)
	return true
}

// PUnsubscribe ends a subscription to a pattern and returns whether there was one.
func (b *Broker) PUnsubscribe(s Subscriber, text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.held[s]
	if h == nil || !removeFrom(&h.patterns, text) {
		return false
	}
	b.dropPatternLocked(s, text)
	b.forgetIdleLocked(s, h)
	return true
}

// Leave ends all subscriptions of a subscriber. When it returns no Deliver is under way or will follow.
func (b *Broker) Leave(s Subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.held[s]
	if h == nil {
		return
	}
	for _, channel := range h.channels {
		b.dropChannelLocked(s, channel)
	}
	for _, text := range h.patterns {
		b.dropPatternLocked(s, text)
	}
	delete(b.held, s)
}

// Publish hands a message to everyone who is subscribed to the channel or to a pattern that matches it,
// and returns how many subscriptions that were. A subscriber with several gets it several times.
func (b *Broker) Publish(channel string, payload []byte) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, s := range b.channels[channel] {
		s.Deliver(Message{Channel: channel, Payload: payload})
		n++
	}
	for _, p := range b.patterns {
		if !glob.Match(p.text, channel) {
			continue
		}
		for _, s := range p.subscribers {
			s.Deliver(Message{Channel: channel, Pattern: p.text, ByPattern: true, Payload: payload})
			n++
		}
	}
	return n
}

// Subscriptions returns what a subscriber is subscribed to, in the order in which it subscribed.
func (b *Broker) Subscriptions(s Subscriber) (channels, patterns []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.held[s]
	if h == nil {
		return nil, nil
	}
	return slices.Clone(h.channels), slices.Clone(h.patterns)
}

// Count returns how many channels and patterns a subscriber is subscribed to.
func (b *Broker) Count(s Subscriber) (channels, patterns int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.held[s]
	if h == nil {
		return 0, 0
	}
	return len(h.channels), len(h.patterns)
}

// Channels returns the channels that someone is subscribed to by name and that keep accepts, in no
// particular order. A nil keep accepts all.
func (b *Broker) Channels(keep func(channel string) bool) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name := range b.channels {
		if keep == nil || keep(name) {
			names = append(names, name)
		}
	}
	return names
}

// NumSub returns how many are subscribed to a channel by name.
func (b *Broker) NumSub(channel string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.channels[channel])
}

// NumPat returns how many different patterns someone is subscribed to.
func (b *Broker) NumPat() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.patterns)
}

func (b *Broker) holdingLocked(s Subscriber) *holding {
	h := b.held[s]
	if h == nil {
		if b.held == nil {
			b.held = make(map[Subscriber]*holding)
		}
		h = &holding{}
		b.held[s] = h
	}
	return h
}

func (b *Broker) forgetIdleLocked(s Subscriber, h *holding) {
	if len(h.channels) == 0 && len(h.patterns) == 0 {
		delete(b.held, s)
	}
}

func (b *Broker) dropChannelLocked(s Subscriber, channel string) {
	rest := b.channels[channel]
	removeFrom(&rest, s)
	if len(rest) == 0 {
		delete(b.channels, channel)
		return
	}
	b.channels[channel] = rest
}

func (b *Broker) dropPatternLocked(s Subscriber, text string) {
	p := b.byText[text]
	removeFrom(&p.subscribers, s)
	if len(p.subscribers) == 0 {
		delete(b.byText, text)
		removeFrom(&b.patterns, p)
	}
}

// removeFrom removes one element and keeps the order of the others; it returns whether it was there.
func removeFrom[T comparable](list *[]T, v T) bool {
	i := slices.Index(*list, v)
	if i < 0 {
		return false
	}
	*list = slices.Delete(*list, i, i+1)
	return true
}
