package client

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/redlock"
)

// A fakeWire takes batches as the test's play says. It records what was sent: the name of each request.
type fakeWire struct {
	mu      sync.Mutex
	batches [][]string
	// play answers a batch; nil: everything succeeds after a second.
	play func(batch int, answers []answer) (certain bool, err error)
}

func (w *fakeWire) run(batch []pending, how scriptForm) ([]answer, bool, error) {
	w.mu.Lock()
	var sent []string
	for _, p := range batch {
		name := p.req.Name
		if how == bySource {
			name += " by source"
		}
		sent = append(sent, name)
	}
	w.batches = append(w.batches, sent)
	n := len(w.batches)
	w.mu.Unlock()
	time.Sleep(time.Second)
	answers := make([]answer, len(batch))
	if w.play != nil {
		certain, err := w.play(n, answers)
		return answers, certain, err
	}
	succeed(answers)
	return answers, false, nil
}

func succeed(answers []answer) {
	for i := range answers {
		answers[i].value = []any{"ok"}
	}
}

func (w *fakeWire) poster() poster { return nil }
func (w *fakeWire) hangUp()        {}
func (w *fakeWire) closeSide()     {}
func (w *fakeWire) close() error   { return nil }

func fakeLink(w *fakeWire, timeout time.Duration) *link {
	l := &link{name: "fake", dial: func(*link) (wire, redis.UniversalClient) { return w, nil }}
	l.configure(timeout, slog.New(slog.DiscardHandler), &servers{}, nil)
	return l
}

// replies collects the answers of a link, in the order in which they come.
type replies struct {
	mu  sync.Mutex
	all []string
}

func (r *replies) send(l *link, names ...string) {
	for _, name := range names {
		l.Send(redlock.Request{Op: redlock.OpLift, Name: name}, func(reply redlock.Reply) {
			r.mu.Lock()
			defer r.mu.Unlock()
			what := "ok"
			if reply.Status == redlock.StatusError {
				what = "unknown"
				if reply.NotSent {
					what = "not sent"
				}
			}
			r.all = append(r.all, name+" "+what)
		})
	}
}

func (r *replies) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all
}

const noScript = nodeError("NOSCRIPT No matching script.")

// Ensure that what is sent while a batch is under way travels as one batch, in order, and that Send never
// waits.
func TestLink_Batches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := &fakeWire{}, &replies{}
		l := fakeLink(w, time.Minute)
		began := time.Now()
		r.send(l, "a")
		synctest.Wait()
		r.send(l, "b", "c", "b")
		synctest.Wait()
		r.send(l, "d")
		assert.Zero(t, time.Since(began))
		require.NoError(t, l.shut(time.Minute))
		assert.Equal(t, [][]string{{"a"}, {"b", "c", "b", "d"}}, w.batches)
		assert.Equal(t, []string{"a ok", "b ok", "c ok", "b ok", "d ok"}, r.got())
		r.send(l, "e")
		assert.Equal(t, "e not sent", r.got()[5], "a closed link refuses")
	})
}

// Ensure that the backlog of a node that hangs is bounded, that everything is answered when its connection
// fails, that nothing is sent again, and that the node is left alone for a while.
func TestLink_FailingNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &replies{}
		w := &fakeWire{play: func(batch int, answers []answer) (bool, error) {
			if batch > 1 {
				succeed(answers)
				return false, nil
			}
			succeed(answers[:1]) // answered before the connection died
			answers[1].err = errors.New("reset")
			return false, errors.New("reset")
		}}
		l := fakeLink(w, time.Minute)
		l.mu.Lock() // so that both are one batch
		l.backlog = append(l.backlog, pending{req: redlock.Request{Op: redlock.OpLift, Name: "a"}, reply: func(redlock.Reply) {}, since: 1 << 62})
		l.mu.Unlock()
		r.send(l, "b")
		synctest.Wait()
		for range maxBacklog {
			r.send(l, "c")
		}
		require.Empty(t, r.got())
		r.send(l, "too many")
		require.Equal(t, []string{"too many not sent"}, r.got())
		time.Sleep(time.Second + time.Millisecond)
		got := r.got()
		require.Len(t, got, maxBacklog+2)
		assert.Equal(t, "b unknown", got[1])
		assert.Equal(t, "c not sent", got[2])
		assert.Equal(t, "c not sent", got[maxBacklog+1])
		r.send(l, "d")
		assert.Equal(t, "d not sent", r.got()[maxBacklog+2], "no attempt to connect so soon")
		time.Sleep(2 * minBackoff)
		r.send(l, "e")
		require.NoError(t, l.shut(time.Minute))
		assert.Equal(t, "e ok", r.got()[maxBacklog+3])
		assert.Equal(t, [][]string{{"a", "b"}, {"e"}}, w.batches)
	})
}

// Ensure that a batch of which nothing was sent says so.
func TestLink_NothingSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &replies{}
		w := &fakeWire{play: func(_ int, answers []answer) (bool, error) {
			answers[0].err = errors.New("refused")
			return true, errors.New("refused")
		}}
		l := fakeLink(w, time.Minute)
		r.send(l, "a")
		require.NoError(t, l.shut(time.Minute))
		assert.Equal(t, []string{"a not sent"}, r.got())
	})
}

// Ensure that a request that nobody waits for any more is not sent to a node that was slow.
func TestLink_CutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := &fakeWire{}, &replies{}
		l := fakeLink(w, 900*time.Millisecond)
		r.send(l, "a")
		synctest.Wait()
		r.send(l, "late")
		time.Sleep(500 * time.Millisecond)
		r.send(l, "fresh")
		require.NoError(t, l.shut(time.Minute))
		assert.Equal(t, [][]string{{"a"}, {"fresh"}}, w.batches)
		assert.Equal(t, []string{"a ok", "late not sent", "fresh ok"}, r.got())
	})
}

// Ensure that requests whose script the node has forgotten are sent again in order and before all others,
// except those of a name of which a later request was executed: these fail.
func TestLink_NoScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &replies{}
		w := &fakeWire{play: func(batch int, answers []answer) (bool, error) {
			if batch != 2 {
				succeed(answers)
				return false, nil
			}
			for i := range answers { // b c | b d b: somebody loads the scripts in between
				if i < 2 || i == 3 {
					answers[i].err = noScript
				} else {
					succeed(answers[i : i+1])
				}
			}
			return false, nil
		}}
		l := fakeLink(w, time.Minute)
		r.send(l, "a")
		synctest.Wait()
		r.send(l, "b", "c", "b", "d", "b")
		time.Sleep(1500 * time.Millisecond)
		r.send(l, "e")
		require.NoError(t, l.shut(time.Minute))
		assert.Equal(t, [][]string{{"a"}, {"b", "c", "b", "d", "b"}, {"c by source", "d by source"}, {"e"}}, w.batches)
		assert.Equal(t, []string{"a ok", "b not sent", "b ok", "b ok", "c ok", "d ok", "e ok"}, r.got())
	})
}

// Ensure that a Send after a node's failure is counted by the node's own pause, which grows and is bounded.
func TestLink_Backoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{play: func(_ int, answers []answer) (bool, error) {
			answers[0].err = errors.New("refused")
			return true, errors.New("refused")
		}}
		l := fakeLink(w, time.Minute)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		for ctx.Err() == nil {
			(&replies{}).send(l, "a")
			time.Sleep(time.Millisecond)
		}
		require.NoError(t, l.shut(time.Minute))
		// Each attempt takes a second; the pauses are one to three seconds once they have grown.
		assert.Greater(t, len(w.batches), 75)
		assert.Less(t, len(w.batches), 160)
	})
}
