package client

import (
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
// by Close, runs all batches of a link; so requests are executed in the order of Send. A request that finds
// the link idle is written by its sender, and the goroutine only reads the reply. A batch whose connection
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

	health health

	mu      sync.Mutex
	backlog []pending
	started bool
	closed  bool
	idle    poster    // not nil: the goroutine waits on it for whoever has something to send
	posted  []pending // what was written while it waited
	owed    owed      // what is to be cleaned when the node is back
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
	reply func(redlock.Reply) // nil: a sign of life, see health
	since clock.Instant
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
		l.owe(req)
		reply(unsent(err))
	}
}

func (l *link) enqueue(p pending) error {
	l.mu.Lock()
	switch err := l.refusalLocked(p.since); {
	case err != nil:
		l.mu.Unlock()
		return err
	case l.idle != nil && len(l.backlog) == 0:
		w := l.idle
		l.idle = nil
		l.posted = append(l.posted[:0], p)
		batch := l.posted
		l.health.began(p.since)
		w.arm()
		l.mu.Unlock()
		w.post(batch) // an error is found by the goroutine that reads
		return nil
	}
	defer l.mu.Unlock()
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

// refusalLocked returns why a request is not taken.
func (l *link) refusalLocked(now clock.Instant) error {
	switch {
	case l.closed:
		return ErrClosed
	case len(l.backlog) >= maxBacklog:
		return errBacklog
	case l.downErr != nil && now.Before(l.downUntil):
		return l.downErr
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
	defer l.wire.hangUp()
	for {
		batch, posted := l.next()
		if batch == nil {
			return
		}
		began := batch[0].since
		if !posted {
			var behind []pending
			batch, behind = l.cutOff(batch)
			l.refuse(behind, errBehind)
			if len(batch) == 0 {
				continue
			}
			began = clock.Now()
			l.health.began(began)
		}
		n := len(batch)
		err := l.execute(batch, posted)
		l.health.ended(err == nil)
		if err != nil {
			l.refuse(l.fail(err))
		}
		l.observe(n, began, err)
	}
}

// next waits for the next batch; it returns nil when there will be none. posted: it was written already.
func (l *link) next() (batch []pending, posted bool) {
	for {
		l.mu.Lock()
		n, closed := min(len(l.backlog), maxBatch), l.closed
		now := clock.Now()
		batch = append(l.payLocked(now), l.backlog[:n:n]...)
		l.backlog = l.backlog[n:]
		if len(batch) > 0 || closed {
			l.mu.Unlock()
			if len(batch) == 0 {
				return nil, false
			}
			return batch, false
		}
		c := l.wire.poster()
		l.idle = c
		var later *time.Timer
		if c == nil { // what is owed to a node that is connected was taken above
			later = l.owedTimerLocked(now)
		}
		l.mu.Unlock()
		if c == nil {
			l.sleep(later)
		} else if batch := l.idleUntilPosted(c); batch != nil {
			return batch, true
		}
	}
}

// sleep waits until there may be something to do, or for the timer, if it is not nil.
func (l *link) sleep(later *time.Timer) {
	if later == nil {
		<-l.more
		return
	}
	defer later.Stop()
	select {
	case <-l.more:
	case <-later.C:
	}
}

// idleUntilPosted waits until somebody has posted a batch and the node has begun to answer it. It returns nil
// if there is none: the connection has ended, or the link is to be closed.
func (l *link) idleUntilPosted(c poster) []pending {
	for {
		err := c.await()
		l.mu.Lock()
		if l.idle == nil { // posted; if there is an error, run will meet it again
			batch := l.posted
			l.mu.Unlock()
			return batch
		}
		if isTimeout(err) && !l.closed { // the deadline of an earlier batch
			c.disarm()
			l.mu.Unlock()
			continue
		}
		l.idle = nil
		l.mu.Unlock()
		c.drop()
		return nil
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

// execute sends one batch, unless it was posted, and answers all of it. The error is that of the connection,
// not of a request.
func (l *link) execute(batch []pending, posted bool) error {
	how := byHash
	if posted {
		how = isPosted
	}
	batch, err := l.attempt(batch, how)
	if err == nil && len(batch) > 0 {
		batch, err = l.attempt(batch, bySource)
	}
	l.refuse(batch, errNoScript)
	return err
}

// attempt sends a batch and answers it, except for those requests that it returns: the node did not know
// their scripts.
func (l *link) attempt(batch []pending, how scriptForm) (again []pending, err error) {
	if len(batch) == 0 {
		return nil, nil
	}
	answers, certain, err := l.wire.run(batch, how)
	if err != nil {
		l.answerFailed(batch, answers, certain)
		return nil, err
	}
	l.recovered()
	return answerExecuted(batch, answers), nil
}

// answer decodes the reply of a node and hands it to whom it belongs.
func (p pending) answer(a answer) {
	if p.reply != nil {
		p.reply(p.req.Decode(a.value, a.err))
	}
}

// answerFailed answers a batch whose connection failed in its course. What the node had answered before
// counts; of the rest nobody knows whether it was executed, unless nothing was sent at all.
func (l *link) answerFailed(batch []pending, answers []answer, certain bool) {
	for i, p := range batch {
		if p.reply == nil {
			continue
		}
		r := p.req.Decode(answers[i].value, answers[i].err)
		if r.Status == redlock.StatusError {
			r.NotSent = r.NotSent || certain
			l.owe(p.req)
		}
		p.reply(r)
	}
}

// answerExecuted answers those requests of a batch that the node has executed or refused, and returns, in
// order, those that it did not know the script of (NOSCRIPT, after a SCRIPT FLUSH or the node's restart
// behind a proxy) and that may still be executed. A request may not if a later one of its name was: it is
// answered with an error, since the order of requests for one name is part of the protocol.
func answerExecuted(batch []pending, answers []answer) (again []pending) {
	var executed map[string]bool // names of which a later request was executed
	var unknown []bool
	for i := len(batch) - 1; i >= 0; i-- {
		if isNoScript(answers[i].err) {
			if unknown == nil {
				unknown = make([]bool, len(batch))
			}
			unknown[i] = !executed[batch[i].req.Name]
		} else if len(batch) > 1 {
			if executed == nil {
				executed = make(map[string]bool)
			}
			executed[batch[i].req.Name] = true
		}
	}
	for i, p := range batch {
		if unknown != nil && unknown[i] {
			again = append(again, p)
		} else {
			p.answer(answers[i])
		}
	}
	return again
}

func isNoScript(err error) bool {
	if err == nil {
		return false
	}
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "NOSCRIPT")
}

// refuse answers requests that were not sent.
func (l *link) refuse(batch []pending, err error) {
	for _, p := range batch {
		if p.reply != nil {
			l.owe(p.req)
			p.reply(unsent(err))
		}
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
	l.configureAlone()
	l.mu.Lock()
	again := l.closed
	l.closed = true
	if l.idle != nil {
		l.idle.nudge()
	}
	l.mu.Unlock()
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
