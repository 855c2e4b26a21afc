package lockd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A Server is the HTTP API over a client. It is an http.Handler, safe for concurrent use; serve it with Serve,
// or mount it in a server of your own without a ReadTimeout and a WriteTimeout, which would end waits and
// streams.
type Server struct {
	cfg    Config
	log    *slog.Logger
	locks  backend
	mux    *http.ServeMux
	leases *leaseTable
	waits  *quota

	closing context.Context // ends when Shutdown begins: no new locks, waits and streams end
	close   context.CancelFunc

	mu       sync.Mutex
	servers  []*http.Server // those of Serve
	inFlight int            // requests under way
	idle     chan struct{}  // closed when Shutdown has begun and none is under way any more
	isIdle   bool
}

// New returns a server of the client's locks. The client stays the caller's: see Shutdown.
func New(c *client.Client, cfg Config) (*Server, error) {
	return newServer(clientBackend{c}, cfg)
}

func newServer(b backend, cfg Config) (*Server, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Logger, locks: b, mux: http.NewServeMux(),
		leases: newLeaseTable(cfg.MaxLeases), waits: newQuota(cfg.MaxWaits), idle: make(chan struct{})}
	s.closing, s.close = context.WithCancel(context.Background())
	if err := s.defineAPI(); err != nil {
		return nil, fmt.Errorf("lockd: %w", err)
	}
	return s, nil
}

type callerKey struct{}

// callerOf tells callers apart for the quotas: by their address without its port.
func callerOf(ctx context.Context) string {
	caller, _ := ctx.Value(callerKey{}).(string)
	return caller
}

// ServeHTTP lets a request through to its operation: first what a web page may not do, then whether there is
// such an operation, then the body, then the operation.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.enter()
	defer s.leave()
	began := clock.Now()
	caller, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		caller = "unix"
	}
	setSecurityHeaders(w.Header())
	w = &boundedWriter{ResponseWriter: w, conn: http.NewResponseController(w), timeout: s.cfg.IOTimeout}
	defer s.recoverWrite(r)
	r = routable(r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	if p := s.refuse(w, r); p != nil {
		level := slog.LevelDebug
		if p.Status == http.StatusForbidden { // somebody tries what no program of ours does
			level = slog.LevelWarn
		}
		s.log.Log(r.Context(), level, "request refused", "method", r.Method, "path", r.URL.Path, "caller", caller,
			"host", r.Host, "origin", r.Header.Get("Origin"), "code", string(p.Code))
		p.write(w)
		return
	}
	s.mux.ServeHTTP(w, r)
	s.log.Debug("request", "method", r.Method, "path", r.URL.Path, "caller", caller, "took", clock.Since(began))
}

type slashKey struct{}

// routable returns the request as the mux can route it. The mux takes a segment that is nothing but an encoded
// slash for the slash at the end of a path; so the lock whose name is "/" travels as another segment, with a
// mark. See router.
func routable(r *http.Request) *http.Request {
	escaped := r.URL.EscapedPath()
	dir, last := path.Split(escaped)
	if !strings.EqualFold(last, "%2F") {
		return r
	}
	r = r.WithContext(context.WithValue(r.Context(), slashKey{}, true))
	u := *r.URL
	u.Path, u.RawPath = dir+"slash", ""
	r.URL = &u
	return r
}

// A router is the mux as operations are registered with it.
type router struct{ *http.ServeMux }

// HandleFunc registers a handler that gets back the name that routable took away.
func (m router) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.ServeMux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(slashKey{}) != nil {
			r.SetPathValue("name", "/")
		}
		handler(w, r)
	})
}

// refuse returns why a request does not reach an operation, or nil with its body read.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request) *problem {
	if p := s.refusePages(r); p != nil {
		return p
	}
	if p := s.refusePath(r); p != nil {
		return p
	}
	if p := refuseMediaType(r); p != nil {
		return p
	}
	if s.closing.Err() != nil && r.Method == http.MethodPost {
		return shuttingDown()
	}
	return s.readBody(w, r)
}

// refusePath returns why no operation serves the path and method, or nil. The mux would answer with plain
// text, and redirect a path that it does not find clean, which turns one lock name into another.
func (s *Server) refusePath(r *http.Request) *problem {
	escaped := r.URL.EscapedPath()
	if escaped == "" || escaped != "/" && path.Clean(escaped) != escaped {
		return newProblem(http.StatusNotFound, codeNotFound, "there is nothing at %s: %s", escaped, slashHint)
	}
	handler, pattern := s.mux.Handler(r)
	if pattern != "" {
		return nil
	}
	answer := headerOnly{header: http.Header{}}
	handler.ServeHTTP(&answer, r)
	if answer.status == http.StatusMethodNotAllowed {
		p := newProblem(http.StatusMethodNotAllowed, codeMethod, "%s is not for %s", r.Method, escaped)
		p.header["Allow"] = answer.header["Allow"]
		return p
	}
	detail := "there is nothing at " + escaped
	if strings.HasPrefix(escaped, "/v1/") {
		detail += ": " + slashHint
	}
	return newProblem(http.StatusNotFound, codeNotFound, "%s", detail)
}

const slashHint = "a lock name is one segment of the path, a slash in it is written %2F"

// headerOnly takes an answer apart: its text is dropped.
type headerOnly struct {
	header http.Header
	status int
}

func (a *headerOnly) Header() http.Header         { return a.header }
func (a *headerOnly) WriteHeader(status int)      { a.status = status }
func (a *headerOnly) Write(p []byte) (int, error) { return len(p), nil }

// recoverWrite ends a request whose handler panicked, as huma does when an answer cannot be written. The
// connection is closed, since part of the answer may be under way.
func (s *Server) recoverWrite(r *http.Request) {
	if v := recover(); v != nil {
		if r.Context().Err() == nil && v != http.ErrAbortHandler {
			s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(v))
		}
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight++
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	s.checkIdleLocked()
}

func (s *Server) checkIdleLocked() {
	if s.closing.Err() != nil && s.inFlight == 0 && !s.isIdle {
		s.isIdle = true
		close(s.idle)
	}
}

// Serve answers requests from the listener, which Listen should have opened, until Shutdown. It then returns
// http.ErrServerClosed at once; wait for Shutdown to return.
func (s *Server) Serve(l net.Listener) error {
	hs := &http.Server{
		Handler:                      s,
		ReadHeaderTimeout:            s.cfg.IOTimeout,
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               16 << 10,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	s.mu.Lock()
	if s.closing.Err() != nil {
		s.mu.Unlock()
		return errors.Join(http.ErrServerClosed, l.Close())
	}
	s.servers = append(s.servers, hs)
	s.mu.Unlock()
	return hs.Serve(l)
}

// Shutdown ends the server in order. No new lock is given from now on. Requests that wait for one are answered
// with 503; each stream gets a last event and its lock is released; renewals and releases under way are
// finished. Then the listeners and connections of Serve are closed.
//
// Classic leases are NOT released: their callers believe in them until their deadlines, and a lock that is
// free earlier would have two holders. They expire. So must the client, which would release them in its
// Close, not be closed while the nodes live on and such leases may be held; the end of the process is a
// clean end for them.
//
// The error is ctx's if requests were still under way when it ended; they are then cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.close()
	s.mu.Lock()
	s.checkIdleLocked()
	servers := s.servers
	s.servers = nil
	s.mu.Unlock()
	var errs []error
	for _, hs := range servers {
		if err := hs.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("lockd: requests still under way: %w", err), hs.Close())
		}
	}
	select {
	case <-s.idle:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("lockd: requests still under way: %w", context.Cause(ctx)))
	}
	s.leases.close()
	return errors.Join(errs...)
}
