package pubsub

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/internal/glob"
)

// inbox is a Subscriber that remembers.
type inbox struct{ got []string }

func (i *inbox) Deliver(m Message) { i.got = append(i.got, describe(m)) }

func describe(m Message) string {
	return fmt.Sprintf("%v %q %q %q", m.ByPattern, m.Pattern, m.Channel, m.Payload)
}

// Ensure that a Broker does what a list of subscriptions does: every operation returns the same, and every
// subscriber has received the same messages, channels before patterns, each in the order of subscription.
func TestBroker_Model(t *testing.T) {
	names := []string{"", "a", "ab", "b", "a*"}
	patterns := []string{"", "*", "a*", "a?", "[ab]", `a\*`}
	type sub struct {
		who     int
		pattern bool
		name    string
	}
	rapid.Check(t, func(t *rapid.T) {
		var b Broker
		boxes := []*inbox{{}, {}, {}}
		want := make([][]string, len(boxes))
		var subs []sub          // in the order in which they were made
		var patternAge []string // patterns in the order of their first subscription
		has := func(s sub) bool { return slices.Contains(subs, s) }
		drop := func(s sub) {
			subs = slices.DeleteFunc(subs, func(x sub) bool { return x == s })
			if s.pattern && !slices.ContainsFunc(subs, func(x sub) bool { return x.pattern && x.name == s.name }) {
				patternAge = slices.DeleteFunc(patternAge, func(p string) bool { return p == s.name })
			}
		}
		who := rapid.IntRange(0, len(boxes)-1)
		t.Repeat(map[string]func(*rapid.T){
			"subscribe": func(t *rapid.T) {
				s := sub{who.Draw(t, "who"), false, rapid.SampledFrom(names).Draw(t, "channel")}
				if isNew := b.Subscribe(boxes[s.who], s.name); isNew == has(s) {
					t.Fatalf("subscribe: new %v", isNew)
				}
				if !has(s) {
					subs = append(subs, s)
				}
			},
			"psubscribe": func(t *rapid.T) {
				s := sub{who.Draw(t, "who"), true, rapid.SampledFrom(patterns).Draw(t, "pattern")}
				if isNew := b.PSubscribe(boxes[s.who], s.name); isNew == has(s) {
					t.Fatalf("psubscribe: new %v", isNew)
				}
				if !has(s) {
					subs = append(subs, s)
				}
				if !slices.Contains(patternAge, s.name) {
					patternAge = append(patternAge, s.name)
				}
			},
			"unsubscribe": func(t *rapid.T) {
				s := sub{who.Draw(t, "who"), false, rapid.SampledFrom(names).Draw(t, "channel")}
				if was := b.Unsubscribe(boxes[s.who], s.name); was != has(s) {
					t.Fatalf("unsubscribe: was %v", was)
				}
				drop(s)
			},
			"punsubscribe": func(t *rapid.T) {
				s := sub{who.Draw(t, "who"), true, rapid.SampledFrom(patterns).Draw(t, "pattern")}
				if was := b.PUnsubscribe(boxes[s.who], s.name); was != has(s) {
					t.Fatalf("punsubscribe: was %v", was)
				}
				drop(s)
			},
			"leave": func(t *rapid.T) {
				gone := who.Draw(t, "who")
				b.Leave(boxes[gone])
				for _, s := range slices.Clone(subs) {
					if s.who == gone {
						drop(s)
					}
				}
			},
			"publish": func(t *rapid.T) {
				channel := rapid.SampledFrom(names).Draw(t, "channel")
				payload := []byte(rapid.String().Draw(t, "payload"))
				n := 0
				for _, s := range subs {
					if !s.pattern && s.name == channel {
						want[s.who] = append(want[s.who], describe(Message{Channel: channel, Payload: payload}))
						n++
					}
				}
				for _, p := range patternAge {
					for _, s := range subs {
						if s.pattern && s.name == p && glob.Match(p, channel) {
							want[s.who] = append(want[s.who], describe(Message{Channel: channel, Pattern: p, ByPattern: true, Payload: payload}))
							n++
						}
					}
				}
				if got := b.Publish(channel, payload); got != n {
					t.Fatalf("published to %d, want %d", got, n)
				}
			},
			"": func(t *rapid.T) {
				for i, box := range boxes {
					if !slices.Equal(box.got, want[i]) {
						t.Fatalf("subscriber %d got %q, want %q", i, box.got, want[i])
					}
					var channels, patterns []string
					for _, s := range subs {
						switch {
						case s.who == i && s.pattern:
							patterns = append(patterns, s.name)
						case s.who == i:
							channels = append(channels, s.name)
						}
					}
					gotC, gotP := b.Subscriptions(box)
					nc, np := b.Count(box)
					if !slices.Equal(gotC, channels) || !slices.Equal(gotP, patterns) || nc != len(channels) || np != len(patterns) {
						t.Fatalf("subscriber %d has %q %q", i, gotC, gotP)
					}
				}
				named := make(map[string]int)
				for _, s := range subs {
					if !s.pattern {
						named[s.name]++
					}
				}
				if got := b.Channels(nil); len(got) != len(named) {
					t.Fatalf("channels %q", got)
				}
				for _, name := range names {
					if b.NumSub(name) != named[name] {
						t.Fatalf("%d on channel %q", b.NumSub(name), name)
					}
				}
				if b.NumPat() != len(patternAge) {
					t.Fatalf("%d patterns, want %d", b.NumPat(), len(patternAge))
				}
				if len(subs) == 0 && (len(b.held) > 0 || len(b.channels) > 0 || len(b.byText) > 0) {
					t.Fatal("something is kept for nobody")
				}
			},
		})
	})
}

// Ensure that a Broker may be used from many goroutines, and that nothing is delivered after Leave.
func TestBroker_Concurrent(t *testing.T) {
	var b Broker
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			box := &inbox{}
			for n := range 200 {
				b.Subscribe(box, "c")
				b.PSubscribe(box, "*")
				b.Publish("c", []byte{byte(i), byte(n)})
				b.Leave(box)
				got := len(box.got) // would be a race if anything were still delivered
				assert.GreaterOrEqual(t, got, 2*(n+1))
			}
		})
	}
	all.Wait()
	assert.Zero(t, b.Publish("c", nil))
}

func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var broker Broker
			for range n {
				broker.Subscribe(&discard{1}, "channel")
			}
			payload := []byte("payload")
			b.ReportAllocs()
			for b.Loop() {
				broker.Publish("channel", payload)
			}
		})
	}
}

// discard has a field because pointers to values of size zero may be equal.
type discard struct{ _ byte }

func (*discard) Deliver(Message) {}
