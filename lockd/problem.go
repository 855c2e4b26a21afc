package lockd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/client"
)

// A code names a kind of problem. Callers branch on it: it never changes its meaning.
type code string

// Everything that a caller can be told instead of an answer.
const (
	codeHeld            code = "held"                   // 409: somebody else holds the lock
	codeNoQuorum        code = "no_quorum"              // 503: too few nodes answered
	codeQuarantine      code = "quarantine"             // 503: too many nodes forgot their state and grant nothing yet
	codeLeaseUnknown    code = "lease_unknown"          // 404: never was, or is long over
	codeLeaseOver       code = "lease_over"             // 410: with the reason
	codeInvalidArgument code = "invalid_argument"       // 422: a name, ttl, wait, owner or field is not acceptable
	codeMalformedBody   code = "malformed_body"         // 400: the body is not JSON
	codeNotFound        code = "not_found"              // 404: no such path
	codeMethod          code = "method_not_allowed"     // 405
	codeMediaType       code = "unsupported_media_type" // 415: not application/json
	codeBodyTooLarge    code = "body_too_large"         // 413
	codeBodyTimeout     code = "body_timeout"           // 408
	codeHostRefused     code = "host_refused"           // 403: addressed by a name that is not ours
	codeCrossSite       code = "cross_site_refused"     // 403: sent by a web page
	codeTooManyLeases   code = "too_many_leases"        // 429
	codeTooManyWaits    code = "too_many_waits"         // 429
	codeShuttingDown    code = "shutting_down"          // 503
	codeInternal        code = "internal"               // 500: a fault of ours; the log says which
)

// problemType is the URI of a kind of problem. It identifies, it does not resolve.
func problemType(c code) string { return "urn:holdfast:problem:" + string(c) }

// A problem is the body of every error, application/problem+json of RFC 9457. It is the error value that
// operations return, and it carries its own headers.
type problem struct {
	Type   string `json:"type" doc:"Identifies the kind of problem: urn:holdfast:problem: and the code." example:"urn:holdfast:problem:held"`
	Title  string `json:"title" doc:"The HTTP status in words." example:"Conflict"`
	Status int    `json:"status" doc:"The HTTP status." example:"409"`
	Code   code   `json:"code" doc:"The kind of problem, to branch on." example:"held"`
	Detail string `json:"detail,omitempty" doc:"What went wrong this time, for people." example:"\"orders/42\" is held by \"w1\""`

	Fields     []fieldError      `json:"fields,omitempty" doc:"What is wrong with which part of the request."`
	Holder     string            `json:"holder,omitempty" doc:"held: the owner label of the holder, if it gave one." example:"w1"`
	Meta       map[string]string `json:"meta,omitempty" doc:"held: what the holder gave to be shown beside its label."`
	Remaining  *duration         `json:"remaining,omitempty" doc:"held: how long the holder's lock lives unless it is renewed; absent if unknown. no_quorum of a renewal: how long the lease still lives." example:"12.5s"`
	Reason     string            `json:"reason,omitempty" doc:"lease_over: why. One of released, expired, stolen, quorum, forced." example:"expired"`
	Nodes      string            `json:"nodes,omitempty" doc:"no_quorum: how many of the nodes agreed." example:"2/5"`
	NodeErrors []nodeError       `json:"node_errors,omitempty" doc:"no_quorum: what each of the others said."`

	header http.Header
}

// A fieldError says what is wrong with one part of a request.
type fieldError struct {
	Location string `json:"location" doc:"Where, such as body.ttl or path.name." example:"body.ttl"`
	Message  string `json:"message" doc:"What is wrong with it." example:"the ttl is longer than 5m0s"`
}

// A nodeError is what a node said instead of doing what it was asked.
type nodeError struct {
	Node  string `json:"node" doc:"The node's address." example:"127.0.0.1:7001"`
	Error string `json:"error" doc:"What it said." example:"connection refused"`
}

func newProblem(status int, c code, format string, args ...any) *problem {
	return &problem{Type: problemType(c), Title: http.StatusText(status), Status: status, Code: c,
		Detail: fmt.Sprintf(format, args...), header: http.Header{}}
}

// invalid is the problem of one field.
func invalid(location, format string, args ...any) *problem {
	p := newProblem(http.StatusUnprocessableEntity, codeInvalidArgument, format, args...)
	p.Fields = []fieldError{{Location: location, Message: p.Detail}}
	return p
}

// retryAfter sets the header of that name: whole seconds, rounded up, at least one.
func (p *problem) retryAfter(d time.Duration) *problem {
	seconds := max(1, int64(math.Ceil(d.Seconds())))
	p.header.Set("Retry-After", strconv.FormatInt(seconds, 10))
	return p
}

func (p *problem) Error() string { return p.Detail }

// GetStatus, GetHeaders and ContentType are what huma asks of an error and its body.
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) GetHeaders() http.Header   { return p.header }
func (*problem) ContentType(_ string) string { return "application/problem+json" }

// write answers a request that never reached an operation.
func (p *problem) write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // fails only if the caller is gone
}

// asProblem replaces huma's own error bodies by ours, so that every error has one form. It is a huma
// transformer: huma's hook for this is a package variable, which a library must not touch.
func asProblem(_ huma.Context, _ string, body any) (any, error) {
	e, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	c, known := map[int]code{
		http.StatusBadRequest:            codeMalformedBody,
		http.StatusUnprocessableEntity:   codeInvalidArgument,
		http.StatusRequestEntityTooLarge: codeBodyTooLarge,
		http.StatusRequestTimeout:        codeBodyTimeout,
		http.StatusUnsupportedMediaType:  codeMediaType,
	}[e.Status]
	if !known {
		c = codeInternal
	}
	p := newProblem(e.Status, c, "%s", e.Detail)
	for _, d := range e.Errors {
		p.Fields = append(p.Fields, fieldError{Location: d.Location, Message: d.Message}) // the value is not repeated
		p.Detail += "; " + d.Location + ": " + d.Message
	}
	return p, nil
}

// problemOf translates what the client said about a lock.
func (s *Server) problemOf(err error, name string) *problem {
	var already *problem
	var held *client.HeldError
	var quarantine *client.QuarantineError
	switch {
	case errors.As(err, &already):
		return already
	case errors.As(err, &held):
		return heldProblem(name, held.Label, held.Meta, held.Remaining)
	case errors.As(err, &quarantine):
		return newProblem(http.StatusServiceUnavailable, codeQuarantine,
			"%d nodes have restarted without their state and grant nothing yet", quarantine.Nodes).retryAfter(quarantine.Remaining)
	case errors.Is(err, client.ErrQuorum):
		return quorumProblem(err)
	case errors.Is(err, client.ErrInvalid):
		return newProblem(http.StatusUnprocessableEntity, codeInvalidArgument, "%v", err)
	case errors.Is(err, errShutdown), errors.Is(err, client.ErrClosed):
		return shuttingDown()
	case errors.Is(err, errCallerGone), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		// Nobody is there to read it; the status is for the log.
		return newProblem(http.StatusRequestTimeout, codeBodyTimeout, "the request ended before it could be answered")
	}
	s.log.Error("request failed", "lock", name, "error", err)
	return newProblem(http.StatusInternalServerError, codeInternal, "lockd failed; its log says how")
}

func heldProblem(name, holder, meta string, remaining time.Duration) *problem {
	p := newProblem(http.StatusConflict, codeHeld, "%q is held", name)
	p.Meta = metaOf(meta)
	if holder != "" {
		p.Holder = holder
		p.Detail = fmt.Sprintf("%q is held by %q", name, holder)
	}
	if remaining > 0 {
		d := shown(remaining)
		p.Remaining = &d
	}
	return p.retryAfter(remaining)
}

// metaOf returns what a holder gave to be shown; nothing, if it is no client of a kind that gives any.
func metaOf(text string) map[string]string {
	meta, err := client.ParseMeta(text)
	if err != nil {
		return nil
	}
	return meta
}

func quorumProblem(err error) *problem {
	p := newProblem(http.StatusServiceUnavailable, codeNoQuorum, "no majority of the nodes could be reached").retryAfter(time.Second)
	var quorum *client.QuorumError
	if errors.As(err, &quorum) {
		p.Nodes = fmt.Sprintf("%d/%d", quorum.Agreed, quorum.Nodes)
		p.Detail = fmt.Sprintf("%d of %d nodes agreed, %d are needed", quorum.Agreed, quorum.Nodes, quorum.Need)
		for _, e := range quorum.Errs {
			p.NodeErrors = append(p.NodeErrors, nodeErrorOf(e))
		}
	}
	return p
}

func nodeErrorOf(err error) nodeError {
	var node *client.NodeError
	if errors.As(err, &node) {
		return nodeError{Node: node.Node, Error: node.Err.Error()}
	}
	return nodeError{Error: err.Error()}
}

func shuttingDown() *problem {
	return newProblem(http.StatusServiceUnavailable, codeShuttingDown, "lockd is shutting down and takes no new locks").retryAfter(time.Second)
}

// leaseOver is the answer about a lease that has ended.
func leaseOver(reason string) *problem {
	p := newProblem(http.StatusGone, codeLeaseOver, "the lease is over: %s", reason)
	p.Reason = reason
	return p
}

func leaseUnknown() *problem {
	return newProblem(http.StatusNotFound, codeLeaseUnknown, "no lease has this id, or it ended long ago")
}
