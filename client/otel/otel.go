// Package otel shows a client's locks to OpenTelemetry.
//
//	o, err := otel.New(otel.WithTracerProvider(tp), otel.WithMeterProvider(mp))
//	c, err := client.Open(url, client.WithObserver(o.Observer()))
//
// Each call that asks for a lock is a span, a child of the span in its ctx: "lock NAME" from the call to the lease
// or the error, with an event for each attempt, and the token, the nodes and the time it waited as attributes. With
// WithHoldSpans, each lease is a span beside it, "hold NAME", from the lease to its end, with an event for each
// renewal; what is done under Lease.Context is its child. A span whose call failed for want of the lock has the
// status Error; so has that of a lease that was lost.
//
// Attributes: lock.name, lock.call, lock.token, lock.owner, lock.waited_ms, lock.attempts, lock.nodes.held,
// lock.nodes.all.
//
// The metrics are those of package client/metrics that hold for any backend: holdfast.client.waiting and .held
// (up-down counters), .wait.duration and .hold.duration (histograms, seconds), .failures and .losses (counters,
// with error.type), .renewal.failures, .node.up (gauge, by node) and .node.duration (histogram, by node). Names
// of locks are in spans only: as attributes of metrics they would make a time series each.
package otel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/holdfast-dev/holdfast/client"
)

// scope is the instrumentation scope of all spans and metrics.
const scope = "github.com/holdfast-dev/holdfast/client/otel"

// Telemetry makes spans and metrics of what clients do. One serves any number of clients.
type Telemetry struct {
	tracer      trace.Tracer
	holdSpans   bool
	instruments *instruments
}

type settings struct {
	tracers   trace.TracerProvider
	meters    metric.MeterProvider
	holdSpans bool
}

// An Option configures New.
type Option func(*settings)

// WithTracerProvider sets where spans go. Default: the global provider.
func WithTracerProvider(p trace.TracerProvider) Option { return func(s *settings) { s.tracers = p } }

// WithMeterProvider sets where metrics go. Default: the global provider.
func WithMeterProvider(p metric.MeterProvider) Option { return func(s *settings) { s.meters = p } }

// WithHoldSpans makes a span of each lease, too. A lease that is held for hours is a span of hours, which is sent
// only when it ends.
func WithHoldSpans() Option { return func(s *settings) { s.holdSpans = true } }

// New returns a Telemetry. The error is that of the meter provider, if it refuses an instrument.
func New(opts ...Option) (*Telemetry, error) {
	s := settings{tracers: otel.GetTracerProvider(), meters: otel.GetMeterProvider()}
	for _, o := range opts {
		o(&s)
	}
	ins, err := newInstruments(s.meters.Meter(scope))
	if err != nil {
		return nil, err
	}
	return &Telemetry{tracer: s.tracers.Tracer(scope), holdSpans: s.holdSpans, instruments: ins}, nil
}

// Observer returns what to give to client.WithObserver.
func (t *Telemetry) Observer() client.Observer {
	return client.Observer{
		WaitBegan:     t.waitBegan,
		AttemptEnded:  t.attemptEnded,
		LockAcquired:  t.lockAcquired,
		WaitFailed:    t.waitFailed,
		LeaseRenewed:  t.leaseRenewed,
		LeaseLost:     t.leaseLost,
		LeaseReleased: t.leaseReleased,
		NodeUp:        func(e client.NodeUp) { t.instruments.nodeState(e.Node, true) },
		NodeDown:      func(e client.NodeDown) { t.instruments.nodeState(e.Node, false) },
		BatchEnded:    t.instruments.batch,
	}
}

// A spansKey is what a context has its *spans under.
type spansKey struct{}

// spans are those of one lock, from the call that asks for it to the end of the lease.
type spans struct {
	outer trace.Span // of the caller
	wait  trace.Span
	hold  trace.Span // nil: not wanted
}

func spansOf(ctx context.Context) *spans {
	s, ok := ctx.Value(spansKey{}).(*spans)
	if !ok {
		// An observer before this one has not passed our context on.
		return &spans{outer: trace.SpanFromContext(ctx), wait: noop.Span{}}
	}
	return s
}

func (t *Telemetry) waitBegan(ctx context.Context, e client.WaitBegan) context.Context {
	t.instruments.waiting.Add(ctx, 1)
	s := &spans{outer: trace.SpanFromContext(ctx)}
	ctx, s.wait = t.tracer.Start(ctx, "lock "+e.Name, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("lock.name", e.Name), attribute.String("lock.call", string(e.Call))))
	return context.WithValue(ctx, spansKey{}, s)
}

func (t *Telemetry) attemptEnded(ctx context.Context, e client.AttemptEnded) {
	s := spansOf(ctx)
	if !s.wait.IsRecording() {
		return
	}
	attrs := []attribute.KeyValue{attribute.Int("lock.attempt", e.Number)}
	var held *client.HeldError
	switch {
	case errors.As(e.Err, &held):
		attrs = append(attrs, attribute.String("lock.holder", held.Label), attribute.Int64("lock.holder.token", held.Token))
	case e.Err != nil:
		attrs = append(attrs, attribute.String("error", e.Err.Error()))
	}
	if e.Err != nil {
		attrs = append(attrs, attribute.String("error.type", e.Reason()))
	}
	s.wait.AddEvent("attempt", trace.WithAttributes(attrs...))
}

func (t *Telemetry) lockAcquired(ctx context.Context, e client.LockAcquired) context.Context {
	t.instruments.acquired(ctx, e)
	s := spansOf(ctx)
	attrs := []attribute.KeyValue{attribute.Int64("lock.token", e.Token), attribute.String("lock.owner", e.Owner),
		attribute.Int64("lock.waited_ms", e.Waited.Milliseconds()), attribute.Int("lock.attempts", e.Attempts),
		attribute.Int("lock.nodes.held", e.Held), attribute.Int("lock.nodes.all", e.Nodes)}
	s.wait.SetAttributes(attrs...)
	s.wait.End()
	// What comes after the wait is no part of it, but of what asked for the lock.
	ctx = trace.ContextWithSpan(ctx, s.outer)
	if t.holdSpans {
		ctx, s.hold = t.tracer.Start(ctx, "hold "+e.Name, trace.WithAttributes(append(attrs, attribute.String("lock.name", e.Name))...))
	}
	return ctx
}

func (t *Telemetry) waitFailed(ctx context.Context, e client.WaitFailed) {
	t.instruments.failed(ctx, e)
	s := spansOf(ctx)
	s.wait.SetAttributes(attribute.Int64("lock.waited_ms", e.Waited.Milliseconds()), attribute.Int("lock.attempts", e.Attempts))
	fail(s.wait, e.Err, e.Reason())
	s.wait.End()
}

func (t *Telemetry) leaseRenewed(ctx context.Context, e client.LeaseRenewed) {
	if e.Err != nil {
		t.instruments.renewalFailures.Add(ctx, 1)
	}
	if s := spansOf(ctx); s.hold != nil {
		attrs := []attribute.KeyValue{attribute.Int64("took_us", e.Took.Microseconds())}
		if e.Err != nil {
			attrs = append(attrs, attribute.String("error", e.Err.Error()))
		}
		s.hold.AddEvent("renewal", trace.WithAttributes(attrs...))
	}
}

func (t *Telemetry) leaseLost(ctx context.Context, e client.LeaseLost) {
	t.instruments.lost(ctx, e)
	if s := spansOf(ctx); s.hold != nil {
		fail(s.hold, e.Cause, e.Reason())
		s.hold.End()
	}
}

func (t *Telemetry) leaseReleased(ctx context.Context, e client.LeaseReleased) {
	t.instruments.released(ctx, e.Held)
	if s := spansOf(ctx); s.hold != nil {
		if e.Err != nil {
			s.hold.RecordError(e.Err) // the work was done under the lock: no failure of the span
		}
		s.hold.End()
	}
}

// fail gives a span the status Error, and says what kind of error it was.
func fail(span trace.Span, err error, kind string) {
	span.SetAttributes(attribute.String("error.type", kind))
	span.RecordError(err)
	span.SetStatus(codes.Error, err.Error())
}
