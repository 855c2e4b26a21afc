package lockd

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/negotiation"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/clock"
)

const (
	holdStream = "stream"

	typeNDJSON = "application/x-ndjson"
	typeSSE    = "text/event-stream"
)

// The events of a stream. The first is acquired; lost and released are the last.
const (
	eventAcquired  = "acquired"
	eventRenewed   = "renewed"   // the deadline has moved
	eventHeartbeat = "heartbeat" // it has not, but we are here (a comment in SSE)
	eventLost      = "lost"
	eventReleased  = "released"
)

// A streamEvent is one line of a stream. Every event that says acquired or renewed has the deadline as it is
// when the event is written.
type streamEvent struct {
	Event     string     `json:"event" enum:"acquired,renewed,heartbeat,lost,released" doc:"What happened."`
	Lease     string     `json:"lease,omitempty" doc:"acquired: the lease's id, good for DELETE."`
	Name      string     `json:"name,omitempty" doc:"acquired: the lock's name."`
	Token     int64      `json:"token,omitempty" doc:"acquired: the fencing token. It never changes while the lease lives."`
	TTL       *duration  `json:"ttl,omitempty" doc:"acquired: the ttl of each renewal."`
	Deadline  *time.Time `json:"deadline,omitempty" doc:"acquired, renewed: when the lock is lost unless an event with a later one comes."`
	Remaining *duration  `json:"remaining,omitempty" doc:"acquired, renewed: the time until the deadline, when the event was written."`
	Nodes     string     `json:"nodes,omitempty" doc:"acquired, renewed: how many of the nodes have the lock." example:"5/5"`
	Reason    string     `json:"reason,omitempty" doc:"lost: expired, stolen, quorum or forced. released: released (by DELETE) or shutdown."`
}

func liveEvent(event string, h *held) streamEvent {
	info := infoOf(h)
	e := streamEvent{Event: event, Deadline: &info.Deadline, Remaining: &info.Remaining, Nodes: info.Nodes}
	if event == eventAcquired {
		e.Lease, e.Name, e.Token, e.TTL = info.Lease, info.Name, info.Token, &info.TTL
	}
	return e
}

// stream holds the lock for as long as the caller's connection lives, and tells the caller of its life. It
// returns when the connection is gone or too slow, when the lock is over, or when lockd shuts down; the lock
// is then released.
//
// The goroutine of the request does everything here. The lease renews itself; a tick finds out what to say.
func (s *Server) stream(hc huma.Context, h *held) {
	defer s.endStream(h)
	media := negotiation.SelectQValueFast(hc.Header("Accept"), []string{typeNDJSON, typeSSE})
	if media == "" {
		media = typeNDJSON
	}
	hc.SetHeader("Content-Type", media)
	hc.SetHeader("X-Accel-Buffering", "no") // the word by which proxies pass each event on at once
	hc.SetHeader(tokenHeader, strconv.FormatInt(h.Token(), 10))
	hc.SetStatus(http.StatusOK)
	send := func(e streamEvent) bool {
		err := writeEvent(hc, media, e)
		if err != nil {
			s.log.Info("stream cut off", "lock", h.Name(), "token", h.Token(), "error", err)
		}
		return err == nil
	}

	if !send(liveEvent(eventAcquired, h)) {
		return
	}
	told := endOf(h)
	tick := time.NewTicker(min(s.cfg.Heartbeat, h.TTL()/4)) // not a third, which would keep step with the renewals
	defer tick.Stop()
	for {
		select {
		case <-hc.Context().Done():
			return
		case <-s.closing.Done():
			// Release first: the event must not say what is not yet so.
			s.endStream(h)
			send(streamEvent{Event: eventReleased, Reason: "shutdown"})
			return
		case <-h.Context().Done():
			send(lastEvent(context.Cause(h.Context())))
			return
		case <-tick.C:
			e := streamEvent{Event: eventHeartbeat}
			// The end is known to within the time between two readings of the clock; a renewal moves it by more.
			if end := endOf(h); end.Sub(told) > h.TTL()/20 {
				told, e = end, liveEvent(eventRenewed, h)
			}
			if !send(e) {
				return
			}
		}
	}
}

// endOf returns the validity end, on the running clock: the wall clock may jump.
func endOf(h *held) clock.Instant { return clock.Now().Add(h.Remaining()) }

// lastEvent says why a lease has ended.
func lastEvent(cause error) streamEvent {
	if errors.Is(cause, client.ErrReleased) {
		return streamEvent{Event: eventReleased, Reason: reasonOf(cause)}
	}
	return streamEvent{Event: eventLost, Reason: reasonOf(cause)}
}

// endStream releases the lock of a stream and takes it out of the table. It may be called again.
func (s *Server) endStream(h *held) {
	if err := h.Err(); err != nil && !errors.Is(err, client.ErrReleased) {
		s.log.Warn("lock of a stream lost", "lock", h.Name(), "token", h.Token(), "reason", reasonOf(err))
	} else {
		s.giveUp(h)
	}
	s.leases.end(h)
}

// writeEvent writes one event in the form of the media type and sends it off.
func writeEvent(hc huma.Context, media string, e streamEvent) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	switch {
	case media == typeNDJSON:
		data = append(data, '\n')
	case e.Event == eventHeartbeat:
		data = []byte(":\n\n")
	default:
		data = []byte("event: " + e.Event + "\ndata: " + string(data) + "\n\n")
	}
	return writeFlushed(hc, data)
}

// writeFlushed writes and hands everything to the connection, whose error it returns.
func writeFlushed(hc huma.Context, data []byte) error {
	_, w := humago.Unwrap(hc)
	if _, err := w.Write(data); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
