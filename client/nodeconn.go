package client

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A nodeConn is a connection to a node that is ready for the requests of the protocol.
type nodeConn struct {
	wire    *ownWire
	timeout time.Duration
	conn    net.Conn
	plain   bool // a socket: a short write to it does not block
	// rdb made the connection and held keeps it from being used for anything else.
	rdb  *redis.Client
	held *redis.Conn

	in      []byte // what has arrived; parsed up to start
	start   int
	answers []answer // reused

	writing sync.Mutex
	out     []byte // guarded by writing; reused
}

// isPlain tells a socket of the system, as the cuttable dialer hands it on, from what may do anything when it
// is written to: TLS, a tunnel, a test's connection in memory.
func isPlain(conn net.Conn) bool {
	c, ok := conn.(cutSocket)
	if !ok {
		return false
	}
	switch c.Conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// post implements poster. Only an idle connection is posted to, whose socket's buffer is empty: the write does
// not block.
func (c *nodeConn) post(batch []pending) {
	if err := c.send(batch, byHash); err != nil {
		c.nudge() // the reader
	}
}

// write sends a batch and sets until when its answers must have come.
func (c *nodeConn) write(batch []pending, how scriptForm) error {
	c.arm()
	return c.send(batch, how)
}

func (c *nodeConn) send(batch []pending, how scriptForm) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	out := c.out[:0]
	for _, p := range batch {
		out = appendRequest(out, p, how)
	}
	if cap(out) <= maxKeptBuffer {
		c.out = out
	}
	_, err := c.conn.Write(out)
	return err
}

// maxKeptBuffer is the largest buffer that a connection keeps for the next batch.
const maxKeptBuffer = 256 << 10

// appendRequest appends the command that executes a request, or one that only wants a sign of life.
func appendRequest(b []byte, p pending, how scriptForm) []byte {
	if p.reply == nil {
		return appendBulk(appendArray(b, 1), "PING")
	}
	call := p.req.Call()
	b = appendArray(b, 3+len(call.Keys)+len(call.Args))
	if how == bySource {
		b = appendBulk(appendBulk(b, "EVAL"), call.Script.Source)
	} else {
		b = appendBulk(appendBulk(b, "EVALSHA"), call.Script.SHA1)
	}
	b = appendInt(b, len(call.Keys))
	for _, word := range call.Keys {
		b = appendBulk(b, word)
	}
	for _, word := range call.Args {
		b = appendBulk(b, word)
	}
	return b
}

// read returns the next n answers, or those that came before the error. They are valid until the next read.
func (c *nodeConn) read(n int) ([]answer, error) {
	c.answers = c.answers[:0]
	for len(c.answers) < n {
		v, length, err := parseReply(c.in[c.start:])
		var refused nodeError
		switch {
		case err == nil || errors.As(err, &refused):
			c.start += length
			c.answers = append(c.answers, answer{v, err})
		case errors.Is(err, errPartial):
			if err := c.fill(); err != nil {
				return c.answers, err
			}
		default:
			return c.answers, err
		}
	}
	return c.answers, nil
}

// await implements poster.
func (c *nodeConn) await() error {
	if c.start < len(c.in) {
		return fmt.Errorf("%w: nothing was asked", errMalformed)
	}
	return c.fill()
}

// fill reads what has arrived.
func (c *nodeConn) fill() error {
	if c.start == len(c.in) {
		c.in, c.start = c.in[:0], 0
		if cap(c.in) > maxKeptBuffer {
			c.in = nil
		}
	}
	if len(c.in) == cap(c.in) {
		rest := c.in[c.start:]
		c.in, c.start = append(make([]byte, 0, max(4096, 2*len(rest))), rest...), 0
	}
	n, err := c.conn.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	return err
}

// arm implements poster. That it fails on a closed connection is for whoever uses that.
func (c *nodeConn) arm() { _ = c.conn.SetDeadline(clock.Deadline(c.timeout)) }

// disarm implements poster.
func (c *nodeConn) disarm() { _ = c.conn.SetReadDeadline(time.Time{}) }

// nudge implements poster.
func (c *nodeConn) nudge() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) }

// drop implements poster. The next batch makes another connection.
func (c *nodeConn) drop() {
	c.wire.conn = nil
	c.close()
}

func (c *nodeConn) close() {
	if c.conn != nil {
		c.conn.Close()
	}
	c.held.Close()
	c.rdb.Close()
}

// isTimeout tells that a deadline has passed.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
