package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/pubsub"
)

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("server: closed")

// A Server is one node. Its methods are safe for concurrent use.
//
// Its goroutines are: one per connection (session.serve), one more per connection that receives messages
// it did not ask for (outbox.run), one that does what is due now and then (Server.cron), and one while that
// one has garbage collected. Shutdown waits for all of them.
type Server struct {
	log     *slog.Logger
	table   *table
	start   clock.Instant
	began   time.Time // start by the wall clock
	runID   string
	limits  atomic.Pointer[limits] // what sessions obey outside the execution lock; CONFIG SET replaces it
	garbage garbage

	// mu is the execution lock: commands run one at a time, a whole pipelined batch under one hold. It
	// guards all fields down to the next comment, and the fields of sessions that say so.
	mu       sync.Mutex
	config   Config
	keys     *keyspace.Keyspace
	broker   pubsub.Broker
	watches  watches
	blocked  blocking
	wakes    lockWakes
	sessions map[int64]*session
	lastID   int64
	dirty    int64 // modifications since the last save
	stats    stats
	scripts  scripting

	// life guards what Shutdown needs; it is never held together with mu.
	life      sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	stop      chan struct{}
	tasks     sync.WaitGroup // sessions and cron
}

// New returns a running node without connections: give it some with Serve or ServeConn. The caller ends
// it with Shutdown.
func New(config Config) (*Server, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	s := &Server{
		log:       config.Log,
		table:     newTable(),
		start:     clock.Now(),
		began:     clock.Wall(),
		runID:     newRunID(),
		config:    config,
		sessions:  make(map[int64]*session),
		listeners: make(map[net.Listener]struct{}),
		stop:      make(chan struct{}),
	}
	s.keys = keyspace.New(config.Databases)
	s.keys.Expired = s.expired
	s.watches.init(config.Databases)
	s.wakes.init(config.Databases)
	s.storeLimits()
	s.tasks.Go(s.cron)
	return s, nil
}

// Serve accepts connections until Shutdown, whereupon it returns ErrClosed, or until the listener fails.
// It closes the listener.
func (s *Server) Serve(l net.Listener) error {
	if !s.track(l) {
		l.Close()
		return ErrClosed
	}
	defer s.untrack(l)
	for {
		conn, err := l.Accept()
		if err == nil {
			if !s.begin() {
				conn.Close()
				return ErrClosed
			}
			go func() {
				defer s.tasks.Done()
				s.serveConn(conn)
			}()
			continue
		}
		select {
		case <-s.stop:
			return ErrClosed
		default:
		}
		if !isTemporary(err) {
			return fmt.Errorf("server: accept: %w", err)
		}
		// Out of descriptors, most likely: the connections that there are go on, and some will end.
		s.log.Warn("accept failed; trying again", "err", err)
		select {
		case <-time.After(acceptPause):
		case <-s.stop:
			return ErrClosed
		}
	}
}

// acceptPause is how long Serve waits after a failure that may pass.
const acceptPause = 50 * time.Millisecond

func isTemporary(err error) bool {
	var passing interface{ Temporary() bool }
	return errors.As(err, &passing) && passing.Temporary()
}

// ServeConn serves one connection and returns when it has ended. It closes the connection. Any net.Conn
// with deadlines will do, net.Pipe's included.
func (s *Server) ServeConn(conn net.Conn) {
	if !s.begin() {
		conn.Close()
		return
	}
	defer s.tasks.Done()
	s.serveConn(conn)
}

func (s *Server) serveConn(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		d := s.limits.Load().keepAlive
		// It finds out about clients that vanished; a socket that refuses it serves all the same.
		tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: d > 0, Idle: d, Interval: max(d/3, time.Second), Count: 3})
	}
	if session := s.admit(conn); session != nil {
		session.serve()
	}
}

// admit makes a session of a connection, or refuses it with one line and closes it.
func (s *Server) admit(conn net.Conn) *session {
	s.mu.Lock()
	refusal := s.refusalLocked(conn)
	if refusal != nil {
		s.stats.rejectedConns++
		s.mu.Unlock()
		// One small write into an empty socket buffer; a deadline for transports that have none.
		conn.SetWriteDeadline(clock.Deadline(time.Second))
		conn.Write([]byte("-" + refusal.Error() + "\r\n"))
		conn.Close()
		return nil
	}
	defer s.mu.Unlock()
	s.stats.conns++
	s.lastID++
	session := newSession(s, s.lastID, conn)
	s.sessions[session.id] = session
	// A Shutdown that began after begin() must find the session or be seen by it.
	select {
	case <-s.stop:
		session.interrupt()
	default:
	}
	return session
}

func (s *Server) refusalLocked(conn net.Conn) error {
	if len(s.sessions) >= s.config.MaxClients {
		return errMaxClients
	}
	if !s.config.Unprotected && s.config.RequirePass == "" && !isLocal(conn.RemoteAddr()) {
		return errProtected
	}
	return nil
}

// isLocal reports whether a connection comes from this machine: loopback, a unix socket, a pipe.
func isLocal(addr net.Addr) bool {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.IP.IsLoopback()
	}
	return true
}

// Shutdown ends the node: no new connections, the batches under way finish and are answered, everything
// is closed. When ctx ends first the connections are cut and its cause is returned, but still no
// goroutine is left behind. Only the first call does anything.
func (s *Server) Shutdown(ctx context.Context) error {
	s.life.Lock()
	if s.closing {
		s.life.Unlock()
		return nil
	}
	s.closing = true
	close(s.stop)
	for l := range s.listeners {
		l.Close()
	}
	s.life.Unlock()

	s.eachSession((*session).interrupt)
	ended := make(chan struct{})
	go func() { s.tasks.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		s.eachSession((*session).cut)
		<-ended
		return context.Cause(ctx)
	}
}

// eachSession calls f for every session, under the execution lock.
func (s *Server) eachSession(f func(*session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, session := range s.sessions {
		f(session)
	}
}

// begin counts a task in, unless the server is closing.
func (s *Server) begin() bool {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closing {
		return false
	}
	s.tasks.Add(1)
	return true
}

func (s *Server) track(l net.Listener) bool {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closing {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) untrack(l net.Listener) {
	l.Close()
	s.life.Lock()
	defer s.life.Unlock()
	delete(s.listeners, l)
}

// expired is told of every key that the keyspace has removed because its time was over.
func (s *Server) expired(db *keyspace.DB, key []byte) {
	s.dirty++
	s.stats.expired++
	s.watches.touch(db.Index(), key)
	s.wakes.expired(db.Index(), key)
}
