package client

import (
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A node that was cut off may keep what a client had there: the acquire was executed and its release was lost
// with the connection, or refused while the node was left alone. Such locks and queue entries would stay until
// their ttl, in everybody's way. So a link remembers what it could not clean, and does it when the node is back.
//
// A release or a leave that is executed twice does nothing the second time, so these may be sent again; nothing
// else may.
type owed struct {
	requests []redlock.Request
	since    clock.Instant // when the first was noted
}

// The bounds of what is remembered.
const (
	maxOwed = 4096
	owedFor = 5 * time.Minute // the longest ttl of a lock that nobody has raised the limit for
)

// cleans tells a request that may be sent again.
func cleans(r redlock.Request) bool { return r.Op == redlock.OpRelease || r.Op == redlock.OpLeave }

// note remembers a request that came to nothing.
func (o *owed) note(r redlock.Request) {
	if len(o.requests) == 0 {
		o.since = clock.Now()
	}
	if len(o.requests) < maxOwed {
		o.requests = append(o.requests, r)
	}
}

// take returns what is still worth sending, and forgets it.
func (o *owed) take(now clock.Instant) []redlock.Request {
	all := o.requests
	o.requests = nil
	if now.Sub(o.since) > owedFor {
		return nil
	}
	return all
}

// owe is told of requests that were not answered by the node.
func (l *link) owe(r redlock.Request) {
	if !cleans(r) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.owed.note(r)
		l.poke()
	}
}

// payLocked returns what is owed, to be sent before anything else, if the node is not to be left alone.
func (l *link) payLocked(now clock.Instant) (batch []pending) {
	if len(l.owed.requests) == 0 || l.downErr != nil && now.Before(l.downUntil) {
		return nil
	}
	for _, r := range l.owed.take(now) {
		batch = append(batch, pending{req: r, since: now, reply: func(redlock.Reply) {}})
	}
	return batch
}

// owedTimerLocked returns a timer that ends when what is owed can be tried; nil if nothing is. The caller stops it.
func (l *link) owedTimerLocked(now clock.Instant) *time.Timer {
	if len(l.owed.requests) == 0 {
		return nil
	}
	return time.NewTimer(max(l.downUntil.Sub(now), 0))
}
