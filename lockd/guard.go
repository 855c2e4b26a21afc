package lockd

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A page in a browser on this machine can send requests to the loopback interface, and lockd has no tokens
// that would tell it from a program. What keeps it out, each by itself:
//
//   - Host must name the loopback interface or one of Config.Hosts, so that a page whose own name was rebound
//     to 127.0.0.1 is refused, though the browser takes us for its origin.
//   - Origin and Sec-Fetch-Site, where a browser sends them, must be our own.
//   - POST must say that its body is JSON, even when it is empty: a form or a no-cors fetch cannot say that
//     without asking first, and OPTIONS is never answered with a leave. PUT and DELETE cannot be sent without
//     asking first at all; with a body they must say JSON, too.
//   - No answer carries a CORS header, so that no page can read one.

// refusePages returns why a request may come from a web page, or nil.
func (s *Server) refusePages(r *http.Request) *problem {
	if !s.isOurHost(r) {
		return newProblem(http.StatusForbidden, codeHostRefused, "this server is not %q", r.Host)
	}
	switch site := r.Header.Values("Sec-Fetch-Site"); {
	case len(site) == 0:
	case len(site) == 1 && (site[0] == "same-origin" || site[0] == "none"):
	default:
		return newProblem(http.StatusForbidden, codeCrossSite, "a web page of another site may not use this server")
	}
	if origins := r.Header.Values("Origin"); len(origins) > 0 && (len(origins) > 1 || !sameOrigin(origins[0], r)) {
		return newProblem(http.StatusForbidden, codeCrossSite, "a web page of another site may not use this server")
	}
	return nil
}

// isOurHost reports whether the request was addressed to us by name. No browser can reach a unix socket, and
// programs put anything into the Host header there.
func (s *Server) isOurHost(r *http.Request) bool {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return isLoopback(host) || slices.ContainsFunc(s.cfg.Hosts, func(ours string) bool {
		return strings.EqualFold(ours, host) || strings.EqualFold(ours, r.Host)
	})
}

func sameOrigin(origin string, r *http.Request) bool {
	u, err := url.Parse(origin)
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return err == nil && u.Scheme == scheme && strings.EqualFold(u.Host, r.Host)
}

// hasEffects reports whether the method can change anything.
func hasEffects(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}

// refuseMediaType returns why a request with effects is not JSON, or nil.
func refuseMediaType(r *http.Request) *problem {
	if !hasEffects(r.Method) || r.Method != http.MethodPost && r.ContentLength == 0 {
		return nil
	}
	types := r.Header.Values("Content-Type")
	if len(types) == 1 {
		media, params, err := mime.ParseMediaType(types[0])
		charset, given := params["charset"]
		if err == nil && media == "application/json" && (!given || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	detail := "the body needs the header Content-Type: application/json (curl: --json '{}')"
	if r.Method == http.MethodPost {
		detail = "the request needs the header Content-Type: application/json, even if its body is empty (curl: --json '{}')"
	}
	p := newProblem(http.StatusUnsupportedMediaType, codeMediaType, "%s", detail)
	p.header.Set("Accept-Post", "application/json")
	return p
}

// readBody replaces the body of a request with effects by what was read of it, within the limits of size and
// time. It is read here and not by huma, because huma leaves its read deadline on the connection, where it
// would end the watch for a caller that goes away while it waits for a lock.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) *problem {
	if !hasEffects(r.Method) || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(clock.Deadline(s.cfg.IOTimeout)) // not every ResponseWriter has a connection
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.cfg.MaxBody))
	if err != nil {
		w.Header().Set("Connection", "close") // the rest of the body is still on its way
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			return newProblem(http.StatusRequestEntityTooLarge, codeBodyTooLarge, "the body has more than %d bytes", tooLarge.Limit)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return newProblem(http.StatusRequestTimeout, codeBodyTimeout, "the body did not arrive within %v", s.cfg.IOTimeout)
		}
		return newProblem(http.StatusBadRequest, codeMalformedBody, "the body could not be read")
	}
	_ = conn.SetReadDeadline(time.Time{})
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// setSecurityHeaders tells a browser to do nothing with our answers.
func setSecurityHeaders(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

// A boundedWriter gives the caller a bounded time to take in each piece that is written, so that one who
// does not read cannot hold on to a goroutine and a lock.
type boundedWriter struct {
	http.ResponseWriter
	conn    *http.ResponseController
	timeout time.Duration
}

func (w *boundedWriter) Write(p []byte) (int, error) {
	_ = w.conn.SetWriteDeadline(clock.Deadline(w.timeout)) // not every ResponseWriter has a connection
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *boundedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
