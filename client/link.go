package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// The bounds of a link.
const (
	maxBatch   = 512   // requests in one pipeline: a few milliseconds of a node's time
	maxBacklog = 16384 // requests that wait for a node; more are refused

	minBackoff = 20 * time.Millisecond // from a failure to the next attempt to connect
	maxBackoff = 2 * time.Second
)

// Why a link answers a request without having sent it.
var (
	errBacklog = errors.New("too many requests wait for the node")
	errDown    = errors.New("node is down")
	errBehind  = errors.New("request waited too long for the node")
	// No server answers EVAL like that; but everything must be answered.
	errNoScript = errors.New("node does not run scripts")
)

// A link is a redlock.Node over one connection to a Redis-protocol server.
//
// Everything that is to be sent while a batch is under way becomes the next batch: one pipeline, one write,
// one round trip, whatever the number of goroutines. One goroutine, started with the first request and ended
// by Close, runs all batches of a link; so requests are executed in the order of Send. A batch whose connection
// fails is answered with errors and never sent again. The next connection is tried after a pause, during which
// requests are refused at once: a node that is down or hangs costs its callers nothing.
type link struct {
	name string
	dial func(l *link) (wire, redis.UniversalClient) // called once timeout and log are set

	setup sync.Once // sets the following
	wire  wire
	// side serves what is not part of the protocol and must not stand in its way: subscriptions, scans, pings.
	side    redis.UniversalClient
	timeout time.Duration
	log     *slog.Logger
	servers *servers // what the client's links have reached
	view    nodeView // what observers were told

	mu      sync.Mutex
	backlog []pending
	started bool
	closed  bool
	// After a failure: the node is left alone until downUntil. fails counts failures in a row.
	downUntil clock.Instant
	downErr   error
	fails     int
	twin      bool // the last failure was that the server stands behind another link

	more chan struct{} // has a token when there may be a backlog, or the link was closed
	wg   sync.WaitGroup
}

// pending is a request that was not sent yet.
type pending struct {
	req   redlock.Request
	reply func(redlock.Reply)
	since clock.Instant
}

// A wire carries batches to one node. It is used by one goroutine at a time.
type wire interface {
	// run executes the commands in order, each at most once, on one connection (to each master, if the node
	// is a cluster). An error of the connection is set on every command that has no reply of its own.
	// certain reports that not one of them was sent.
	run(cmds []redis.Cmder) (certain bool, err error)
	// closeSide ends what goes on beside the protocol, calls under way included. It may be called again.
	closeSide()
	// close ends a run that is under way with an error, and all that come after it. The servers behind a
	// Cluster or a Ring are the exception: there a run ends by the timeouts of the user's client.
	close() error
}

// configure gives the link the settings of its client. The first call counts.
func (l *link) configure(timeout time.Duration, log *slog.Logger, s *servers, o observers) {
	l.setup.Do(func() {
		l.timeout, l.log, l.servers, l.view.observers = timeout, log, s, o
		l.wire, l.side = l.dial(l)
		l.more = make(chan struct{}, 1)
	})
}

// configureAlone is for a node that is used without a Client.
func (l *link) configureAlone() {
	l.configure(time.Second, slog.New(slog.DiscardHandler), &servers{}, nil)
}

// String returns the node's address.
func (l *link) String() string { return l.name }

// Send implements redlock.Node.
func (l *link) Send(req redlock.Request, reply func(redlock.Reply)) {
	l.configureAlone()
	if err := l.enqueue(pending{req: req, reply: reply, since: clock.Now()}); err != nil {
		reply(unsent(err))
	}
}

func (l *link) enqueue(p pending) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return ErrClosed
	case len(l.backlog) >= maxBacklog:
		return errBacklog
	case l.downErr != nil && p.since.Before(l.downUntil):
		return l.downErr
	}
	l.backlog = append(l.backlog, p)
	if !l.started {
		l.started = true
		l.wg.Go(l.run)
	}
	if len(l.backlog) == 1 {
		l.poke()
	}
	return nil
}

func (l *link) poke() {
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// run runs batches until the link is closed and none is left.
func (l *link) run() {
	for batch := l.next(); batch != nil; batch = l.next() {
		batch, behind := l.cutOff(batch)
		refuse(behind, errBehind)
		began := clock.Now()
		err := l.execute(batch)
		if err != nil {
			refuse(l.fail(err))
		}
		l.observe(len(batch), began, err)
	}
}

// next waits for the next batch; it returns nil when there will be none.
func (l *link) next() []pending {
	for {
		l.mu.Lock()
		n, closed := min(len(l.backlog), maxBatch), l.closed
		batch := l.backlog[:n:n]
		l.backlog = l.backlog[n:]
		l.mu.Unlock()
		if n > 0 {
			return batch
		}
		if closed {
			return nil
		}
		<-l.more
	}
}

// cutOff splits off the front of a batch that has waited longer than anybody waits for an answer.
func (l *link) cutOff(batch []pending) (fresh, behind []pending) {
	limit := clock.Now().Add(-l.timeout)
	for len(batch) > 0 && batch[0].since.Before(limit) {
		behind = append(behind, batch[0])
		batch = batch[1:]
	}
	return batch, behind
}

// fail notes that the node is down, or no node of its own, and takes everything that waits for it. It returns
// with what to refuse it.
func (l *link) fail(err error) ([]pending, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var same *sameServerError
	twin := errors.As(err, &same)
	switch {
	case l.closed:
	case twin && !l.twin:
		l.log.Error("node has no vote", "node", l.name, "err", err)
	case l.fails == 0:
		l.log.Warn("node is down", "node", l.name, "err", err)
	}
	l.twin = l.twin || twin
	pause := min(minBackoff<<min(l.fails, 10), maxBackoff)
	l.fails++
	l.downUntil = clock.Now().Add(pause/2 + rand.N(pause))
	l.downErr = err
	if !twin {
		l.downErr = fmt.Errorf("%w: %w", errDown, err)
	}
	waiting := l.backlog
	l.backlog = nil
	return waiting, l.downErr
}

func (l *link) recovered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails > 0 {
		l.log.Info("node is back", "node", l.name)
	}
	l.fails, l.downErr, l.twin = 0, nil, false
}

// execute sends one batch and answers all of it. The error is that of the connection, not of a request.
func (l *link) execute(batch []pending) error {
	batch, err := l.attempt(batch, byHash)
	if err == nil && len(batch) > 0 {
		batch, err = l.attempt(batch, bySource)
	}
	refuse(batch, errNoScript)
	return err
}

// attempt sends a batch and answers it, except for those requests that it returns: the node did not know
// their scripts.
func (l *link) attempt(batch []pending, how scriptForm) (again []pending, err error) {
	if len(batch) == 0 {
		return nil, nil
	}
	cmds := make([]redis.Cmder, len(batch))
	for i, p := range batch {
		cmds[i] = how.command(p.req.Call())
	}
	certain, err := l.wire.run(cmds)
	if err != nil {
		answerFailed(batch, cmds, certain)
		return nil, err
	}
	l.recovered()
	return answerExecuted(batch, cmds), nil
}

// A scriptForm is how a node is told which script to run: by its hash, for which it must have been loaded,
// or by its whole text, which makes the node know it.
type scriptForm bool

const (
	byHash   scriptForm = false
	bySource scriptForm = true
)

// A scriptCall is a command that go-redis must not send twice, whatever its client's options say.
type scriptCall struct{ *redis.Cmd }

// NoRetry implements redis.Cmder.
func (scriptCall) NoRetry() bool { return true }

func (f scriptForm) command(call redlock.Call) redis.Cmder {
	args := make([]any, 0, 3+len(call.Keys)+len(call.Args))
	if f == byHash {
		args = append(args, "evalsha", call.Script.SHA1, len(call.Keys))
	} else {
		args = append(args, "eval", call.Script.Source, len(call.Keys))
	}
	for _, k := range call.Keys {
		args = append(args, k)
	}
	for _, a := range call.Args {
		args = append(args, a)
	}
	return scriptCall{redis.NewCmd(context.Background(), args...)}
}

func decode(p pending, cmd redis.Cmder) redlock.Reply {
	v, err := cmd.(scriptCall).Result()
	if errors.Is(err, redis.Nil) {
		v, err = nil, nil
	}
	return p.req.Decode(v, err)
}

// answerFailed answers a batch whose connection failed in its course. What the node had answered before
// counts; of the rest nobody knows whether it was executed, unless nothing was sent at all.
func answerFailed(batch []pending, cmds []redis.Cmder, certain bool) {
	for i, p := range batch {
		r := decode(p, cmds[i])
		if r.Status == redlock.StatusError && certain {
			r.NotSent = true
		}
		p.reply(r)
	}
}

// answerExecuted answers those requests of a batch that the node has executed or refused, and returns, in
// order, those that it did not know the script of (NOSCRIPT, after a SCRIPT FLUSH or the node's restart
// behind a proxy) and that may still be executed. A request may not if a later one of its name was: it is
// answered with an error, since the order of requests for one name is part of the protocol.
func answerExecuted(batch []pending, cmds []redis.Cmder) (again []pending) {
	var executed map[string]bool // names of which a later request was executed
	unknown := make([]bool, len(batch))
	for i := len(batch) - 1; i >= 0; i-- {
		if isNoScript(cmds[i].Err()) {
			unknown[i] = !executed[batch[i].req.Name]
		} else if len(batch) > 1 {
			if executed == nil {
				executed = make(map[string]bool)
			}
			executed[batch[i].req.Name] = true
		}
	}
	for i, p := range batch {
		if unknown[i] {
			again = append(again, p)
		} else {
			p.reply(decode(p, cmds[i]))
		}
	}
	return again
}

func isNoScript(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "NOSCRIPT")
}

// refuse answers requests that were not sent.
func refuse(batch []pending, err error) {
	for _, p := range batch {
		p.reply(unsent(err))
	}
}

func unsent(err error) redlock.Reply {
	return redlock.Reply{Status: redlock.StatusError, Err: err, NotSent: true}
}

// linger is how long Close waits for what is under way.
const linger = 50 * time.Millisecond

// Close refuses further requests and closes the connection when those that were taken are answered, or after
// a moment (50 ms): what is not answered then fails.
func (l *link) Close() error { return l.shut(linger) }

// shut is Close with another time to wait.
func (l *link) shut(grace time.Duration) error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	l.configureAlone()
	l.poke()
	done := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(done)
	}()
	if again {
		<-done
		return nil
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
	l.wire.closeSide()
	err := l.wire.close()
	<-done
	return err
}

// closeSide ends subscriptions, scans and pings.
func (l *link) closeSide() {
	l.configureAlone()
	l.wire.closeSide()
}
