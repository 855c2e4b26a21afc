package servertest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// pipe returns both ends of a connection in memory. Unlike net.Pipe it has a buffer each way, as a socket
// has: with net.Pipe a client that writes a long pipeline and a server that answers its first commands
// would wait for each other for ever.
func pipe(addr string) (near, far net.Conn) {
	up, down := newStream(), newStream()
	return &pipeConn{in: down, out: up, remote: pipeAddr(addr), local: "127.0.0.1:0"},
		&pipeConn{in: up, out: down, remote: "127.0.0.1:0", local: pipeAddr(addr)}
}

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// A pipeConn is one end of a pipe.
type pipeConn struct {
	in, out       *stream
	local, remote pipeAddr
}

func (c *pipeConn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *pipeConn) Write(b []byte) (int, error) { return c.out.write(b) }
func (c *pipeConn) LocalAddr() net.Addr         { return c.local }
func (c *pipeConn) RemoteAddr() net.Addr        { return c.remote }

func (c *pipeConn) Close() error {
	c.in.close(net.ErrClosed, io.ErrClosedPipe)
	c.out.close(io.EOF, net.ErrClosed)
	return nil
}

func (c *pipeConn) SetDeadline(t time.Time) error {
	c.in.readDeadline.set(c.in, t)
	c.out.writeDeadline.set(c.out, t)
	return nil
}

func (c *pipeConn) SetReadDeadline(t time.Time) error {
	c.in.readDeadline.set(c.in, t)
	return nil
}

func (c *pipeConn) SetWriteDeadline(t time.Time) error {
	c.out.writeDeadline.set(c.out, t)
	return nil
}

// streamBuffer is how much one direction holds, about what a socket does.
const streamBuffer = 256 << 10

// A stream is one direction of a pipe.
type stream struct {
	mu            sync.Mutex
	changed       *sync.Cond
	data          []byte
	readErr       error // what a reader gets once data is empty; nil while open
	writeErr      error // what a writer gets; nil while open
	readDeadline  deadline
	writeDeadline deadline
}

func newStream() *stream {
	s := &stream{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readDeadline.over:
			return 0, os.ErrDeadlineExceeded
		case s.readErr == net.ErrClosed:
			return 0, s.readErr
		case len(s.data) > 0:
			n := copy(b, s.data)
			s.data = append(s.data[:0], s.data[n:]...)
			s.changed.Broadcast()
			return n, nil
		case s.readErr != nil:
			return 0, s.readErr
		}
		s.changed.Wait()
	}
}

func (s *stream) write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	written := 0
	for {
		switch {
		case s.writeErr != nil:
			return written, s.writeErr
		case s.writeDeadline.over:
			return written, os.ErrDeadlineExceeded
		}
		n := min(len(b)-written, streamBuffer-len(s.data))
		if n > 0 {
			s.data = append(s.data, b[written:written+n]...)
			written += n
			s.changed.Broadcast()
		}
		if written == len(b) {
			return written, nil
		}
		s.changed.Wait()
	}
}

// close ends the stream: the reader gets readErr behind what is still there, the writer writeErr. The
// first close of each side counts.
func (s *stream) close(readErr, writeErr error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readErr == nil || readErr == net.ErrClosed {
		s.readErr = readErr
	}
	if s.writeErr == nil || writeErr == net.ErrClosed {
		s.writeErr = writeErr
	}
	s.changed.Broadcast()
}

// A deadline makes a stream's waiting reads or writes fail once its time has come.
type deadline struct {
	over  bool
	timer *time.Timer
}

func (d *deadline) set(s *stream, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.over = false
	if t.IsZero() {
		return
	}
	wait := clock.UntilDeadline(t)
	if wait <= 0 {
		d.over = true
		s.changed.Broadcast()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.timer == timer { // it has not been set anew meanwhile
			d.over = true
			s.changed.Broadcast()
		}
	})
	d.timer = timer
}
