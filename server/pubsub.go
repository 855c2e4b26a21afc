package server

import (
	"github.com/holdfast-dev/holdfast/internal/glob"
	"github.com/holdfast-dev/holdfast/internal/resp"
	"github.com/holdfast-dev/holdfast/pubsub"
)

func pubsubCommands() []*command {
	const flags = flagPubSub | flagNoScript | flagLoading | flagStale
	return []*command{
		{name: "subscribe", arity: -2, flags: flags, since: "2.0.0", handler: subscribeCommand},
		{name: "unsubscribe", arity: -1, flags: flags, since: "2.0.0", handler: unsubscribeCommand},
		{name: "psubscribe", arity: -2, flags: flags, since: "2.0.0", handler: psubscribeCommand},
		{name: "punsubscribe", arity: -1, flags: flags, since: "2.0.0", handler: punsubscribeCommand},
		{name: "publish", arity: 3, flags: flagPubSub | flagLoading | flagStale | flagFast | flagMayReplicate, since: "2.0.0", handler: publishCommand},
		{name: "pubsub", arity: -2, since: "2.8.0", subcommands: []*command{
			{name: "channels", arity: -2, flags: flagPubSub | flagLoading | flagStale, since: "2.8.0", handler: pubsubChannelsCommand},
			{name: "numsub", arity: -2, flags: flagPubSub | flagLoading | flagStale, since: "2.8.0", handler: pubsubNumSubCommand},
			{name: "numpat", arity: 2, flags: flagPubSub | flagLoading | flagStale, since: "2.8.0", handler: pubsubNumPatCommand},
			{name: "help", arity: 2, flags: flagLoading | flagStale, since: "6.2.0", handler: pubsubHelpCommand},
		}},
	}
}

// Deliver takes a message for the session. The execution lock is held, which makes the order of messages
// and replies the order of execution.
func (s *session) Deliver(m pubsub.Message) {
	if s.executing {
		writeMessage(&s.out, m)
		return
	}
	resp3 := s.out.Proto()
	s.outbox.put(s.srv.config.PubSubOutput.Hard, func(w *resp.Writer) {
		w.SetProto(resp3)
		writeMessage(w, m)
	})
}

func writeMessage(w *resp.Writer, m pubsub.Message) {
	if m.ByPattern {
		w.Push(4)
		w.BulkString("pmessage")
		w.BulkString(m.Pattern)
	} else {
		w.Push(3)
		w.BulkString("message")
	}
	w.BulkString(m.Channel)
	w.Bulk(m.Payload)
}

// subscribed reports whether the session has any subscription.
func (s *session) subscribed() bool {
	return s.outbox != nil && s.subscriptions() > 0
}

func (s *session) subscriptions() int {
	channels, patterns := s.srv.broker.Count(s)
	return channels + patterns
}

func subscribeCommand(c *Call) error {
	c.session.needOutbox()
	for _, channel := range c.Args[1:] {
		c.srv.broker.Subscribe(c.session, string(channel))
		c.confirm("subscribe", channel)
	}
	return nil
}

func psubscribeCommand(c *Call) error {
	c.session.needOutbox()
	for _, pattern := range c.Args[1:] {
		c.srv.broker.PSubscribe(c.session, string(pattern))
		c.confirm("psubscribe", pattern)
	}
	return nil
}

func unsubscribeCommand(c *Call) error {
	channels, _ := c.srv.broker.Subscriptions(c.session)
	return c.unsubscribe("unsubscribe", channels, c.srv.broker.Unsubscribe)
}

func punsubscribeCommand(c *Call) error {
	_, patterns := c.srv.broker.Subscriptions(c.session)
	return c.unsubscribe("punsubscribe", patterns, c.srv.broker.PUnsubscribe)
}

// unsubscribe ends the subscriptions named in the words, or all, and confirms each.
func (c *Call) unsubscribe(kind string, all []string, end func(pubsub.Subscriber, string) bool) error {
	if len(c.Args) > 1 {
		for _, name := range c.Args[1:] {
			end(c.session, string(name))
			c.confirm(kind, name)
		}
		return nil
	}
	for _, name := range all {
		end(c.session, name)
		c.confirm(kind, []byte(name))
	}
	if len(all) == 0 {
		c.confirm(kind, nil)
	}
	return nil
}

// confirm tells the client of a change of one subscription and how many it has now. A nil name is none.
func (c *Call) confirm(kind string, name []byte) {
	c.Out.Push(3)
	c.Out.BulkString(kind)
	if name == nil {
		c.Out.Null()
	} else {
		c.Out.Bulk(name)
	}
	c.Out.Int(int64(c.session.subscriptions()))
	c.session.limitOutput() // of another class, maybe
}

func publishCommand(c *Call) error {
	n := c.srv.broker.Publish(string(c.Args[1]), c.Args[2])
	c.srv.wakes.published(c.DB, c.Args[1], c.Args[2])
	c.Out.Int(int64(n))
	return nil
}

func pubsubChannelsCommand(c *Call) error {
	var keep func(string) bool // all of them
	switch len(c.Args) {
	case 2:
	case 3:
		keep = func(channel string) bool { return glob.Match(c.Args[2], channel) }
	default:
		return errUnknownSubcommand("PUBSUB", c.Args[1])
	}
	names := c.srv.broker.Channels(keep)
	c.Out.Array(len(names))
	for _, name := range names {
		c.Out.BulkString(name)
	}
	return nil
}

func pubsubNumSubCommand(c *Call) error {
	c.Out.Array(2 * (len(c.Args) - 2))
	for _, channel := range c.Args[2:] {
		c.Out.Bulk(channel)
		c.Out.Int(int64(c.srv.broker.NumSub(string(channel))))
	}
	return nil
}

func pubsubNumPatCommand(c *Call) error {
	c.Out.Int(int64(c.srv.broker.NumPat()))
	return nil
}

func pubsubHelpCommand(c *Call) error {
	return c.help("PUBSUB",
		"CHANNELS [<pattern>]", "The channels somebody is subscribed to by name.",
		"NUMPAT", "How many different patterns somebody is subscribed to.",
		"NUMSUB [<channel> ...]", "How many are subscribed to each channel by name.",
	)
}
