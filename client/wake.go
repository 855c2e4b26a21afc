package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-dev/holdfast/redlock"
)

// pingEvery is how long a subscription may be silent before it is asked for a sign of life; without one for
// as long again it is dead.
const pingEvery = 5 * time.Second

// A notifier brings the nodes' wake-up messages to the waiters of a client, over one subscription for each
// node, whatever the number of locks. The subscriptions are made when somebody waits for the first time and
// last until the client is closed.
//
// A message is a hint: it may be lost with its connection. The promise is the remaining ttl.
type notifier struct {
	channel  string
	sources  []subscriber // by node; nil for a node that cannot be subscribed to
	majority int
	leave    func(name string, w redlock.Waiter)
	timeout  time.Duration
	log      *slog.Logger

	// settled is closed when a majority of subscriptions is up, or when it was waited for long enough.
	settled chan struct{}
	retune  []chan struct{} // by node: has a token when the topics are others

	mu      sync.Mutex
	started bool
	waiters map[string]*waiter // by id
	up      []bool             // by node
	left    map[string]bool    // ids that were left lately, see deliver
	topics  map[string]*topic  // by channel, see changes.go
	stop    context.CancelFunc

	wg sync.WaitGroup
}

// A subscriber is what a node must offer for its messages to be heard.
type subscriber interface {
	subscribe(ctx context.Context, channel string) *redis.PubSub
}

func newNotifier(clientID string, nodes []redlock.Node, set settings, leave func(string, redlock.Waiter)) *notifier {
	n := &notifier{
		channel: redlock.WakeChannel(clientID + "/"), majority: len(nodes)/2 + 1, leave: leave,
		timeout: set.timeout, log: set.logger,
		settled: make(chan struct{}), waiters: make(map[string]*waiter),
		up: make([]bool, len(nodes)), left: make(map[string]bool), stop: func() {},
		topics: make(map[string]*topic),
	}
	for _, node := range nodes {
		n.retune = append(n.retune, make(chan struct{}, 1))
		s, _ := node.(subscriber)
		n.sources = append(n.sources, s)
	}
	return n
}

// ready reports whether a waiter that joins the nodes' queues now would hear of its turn.
func (n *notifier) ready() bool {
	select {
	case <-n.settled:
		return true
	default:
		return false
	}
}

// start makes the subscriptions, and returns when a majority of them is up, the nodes' timeout has passed,
// or ctx or closing is done. Whoever joins a queue before that may miss the message for it.
func (n *notifier) start(ctx context.Context, closing <-chan struct{}) {
	n.mu.Lock()
	if !n.started {
		n.started = true
		var life context.Context
		life, n.stop = context.WithCancel(context.Background())
		sources := 0
		for i, s := range n.sources {
			if s != nil {
				sources++
				n.wg.Go(func() { n.listen(life, i, s) })
			}
		}
		if sources < n.majority {
			close(n.settled)
		} else {
			n.wg.Go(func() { n.settleAfter(life, n.timeout) })
		}
	}
	n.mu.Unlock()
	select {
	case <-n.settled:
	case <-ctx.Done():
	case <-closing:
	}
}

func (n *notifier) settleAfter(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		n.mu.Lock()
		defer n.mu.Unlock()
		n.settleLocked()
	case <-n.settled:
	case <-ctx.Done():
	}
}

func (n *notifier) settleLocked() {
	if !n.ready() {
		close(n.settled)
	}
}

// listen keeps one node's subscription up until ctx is done.
func (n *notifier) listen(ctx context.Context, i int, s subscriber) {
	pause := minBackoff
	for ctx.Err() == nil {
		wasUp, err := n.session(ctx, i, s)
		if ctx.Err() != nil {
			return
		}
		if wasUp {
			n.log.Info("lost the wake-up subscription", "node", fmt.Sprint(s), "err", err)
			pause = minBackoff
		}
		t := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
		pause = min(2*pause, maxBackoff)
	}
}

// session subscribes and delivers messages until the connection fails or is silent for too long.
func (n *notifier) session(ctx context.Context, i int, s subscriber) (wasUp bool, err error) {
	ps := s.subscribe(ctx, n.channel)
	// Closing it is the only way to end a read that is under way.
	unhook := context.AfterFunc(ctx, func() { ps.Close() })
	defer func() {
		if unhook() {
			ps.Close()
		}
		n.setUp(i, false)
	}()
	tuned, endTuning := context.WithCancel(ctx)
	var tuner sync.WaitGroup
	defer tuner.Wait()
	defer endTuning()
	silent := false
	for {
		msg, err := ps.ReceiveTimeout(ctx, pingEvery)
		var timeout net.Error
		switch {
		case err == nil:
			silent = false
		case !silent && wasUp && errors.As(err, &timeout) && timeout.Timeout():
			silent = true
			if err := ps.Ping(ctx); err != nil {
				return wasUp, err
			}
			continue
		case wasUp && isReply(err):
			continue // the user may not hear of changes: they are looked for from time to time
		default:
			return wasUp, err
		}
		switch msg := msg.(type) {
		case *redis.Subscription:
			switch {
			case msg.Kind != "subscribe":
			case msg.Channel != n.channel:
				n.confirmed(i, msg.Channel)
			case !wasUp:
				wasUp = true
				n.setUp(i, true)
				tuner.Go(func() { n.tune(tuned, i, ps) })
			}
		case *redis.Message:
			if msg.Channel == n.channel {
				n.deliver(i, msg.Payload)
			} else {
				n.announced(i, msg.Channel, msg.Payload)
			}
		}
	}
}

// setUp notes that a node's subscription is up or down.
func (n *notifier) setUp(i int, up bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up[i] = up
	if up && n.upLocked() >= n.majority {
		n.settleLocked()
	}
	if up {
		// Messages of the time before it was up are lost: everybody looks for himself.
		for _, w := range n.waiters {
			w.wake(i)
		}
	} else {
		n.deafLocked(i)
	}
}

func (n *notifier) upLocked() int {
	return count(n.up)
}

// heard returns how many nodes' messages can be heard, at least one.
func (n *notifier) heard() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(1, n.upLocked())
}

// deliver hands a message to its waiter. A message for one that waits no more has gone to a queue entry that
// outlived it; it leaves the queues, which wakes the next in its place. Each of the nodes may send such a
// message, and one leave is enough for all of them.
func (n *notifier) deliver(node int, payload string) {
	id, name, ok := strings.Cut(payload, " ")
	if !ok {
		return
	}
	n.mu.Lock()
	w := n.waiters[id]
	leave := false
	if w != nil {
		w.wake(node)
	} else if !n.left[id] {
		leave = true
		n.rememberLeftLocked(id)
	}
	n.mu.Unlock()
	if since, ok := sinceOf(id); leave && ok {
		n.leave(name, redlock.Waiter{ID: id, Since: since})
	}
}

// rememberLeftLocked keeps the set of ids small; a forgotten one costs a few superfluous messages.
func (n *notifier) rememberLeftLocked(id string) {
	const many = 1024
	if len(n.left) >= many {
		clear(n.left)
	}
	n.left[id] = true
}

// register makes the waiter known before it joins any queue.
func (n *notifier) register(w *waiter) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiters[w.id] = w
}

func (n *notifier) unregister(w *waiter) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.waiters, w.id)
}

// end ends the subscriptions.
func (n *notifier) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.started = true // nobody starts them after this
	n.stop()
}

// wait waits, after end, for the subscriptions' goroutines.
func (n *notifier) wait() { n.wg.Wait() }

// A waiter is one call to Lock that waits on the nodes. Its id is CLIENT/SINCE: Since is unique within a
// client, so the id alone is enough to find the entry in a queue.
type waiter struct {
	bell
	id    string
	since int64
}

func newWaiter(clientID string, since int64) *waiter {
	return &waiter{bell: newBell(), id: clientID + "/" + strconv.FormatInt(since, 10), since: since}
}

func sinceOf(id string) (int64, bool) {
	_, seq, _ := strings.Cut(id, "/")
	since, err := strconv.ParseInt(seq, 10, 64)
	return since, err == nil
}

// entry is the waiter's place in the nodes' queues.
func (w *waiter) entry() redlock.Waiter {
	return redlock.Waiter{ID: w.id, Since: w.since, Heartbeat: heartbeat}
}
