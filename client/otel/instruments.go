package otel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-dev/holdfast/client"
)

// instruments are the metrics.
type instruments struct {
	waiting, held    metric.Int64UpDownCounter
	wait, hold, node metric.Float64Histogram
	failures, losses metric.Int64Counter
	renewalFailures  metric.Int64Counter
	nodeUp           metric.Int64Gauge
}

func newInstruments(m metric.Meter) (*instruments, error) {
	var ins instruments
	var errs []error
	upDown := func(name, what string) metric.Int64UpDownCounter {
		i, err := m.Int64UpDownCounter("holdfast.client."+name, metric.WithDescription(what))
		errs = append(errs, err)
		return i
	}
	counter := func(name, what string) metric.Int64Counter {
		i, err := m.Int64Counter("holdfast.client."+name, metric.WithDescription(what))
		errs = append(errs, err)
		return i
	}
	histogram := func(name, what string, bounds ...float64) metric.Float64Histogram {
		i, err := m.Float64Histogram("holdfast.client."+name, metric.WithDescription(what), metric.WithUnit("s"),
			metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return i
	}
	ins.waiting = upDown("waiting", "Calls that wait for a lock.")
	ins.held = upDown("held", "Leases that are held.")
	ins.wait = histogram("wait.duration", "From the call to the lease or the error.",
		.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300)
	ins.hold = histogram("hold.duration", "From the lease to its end.", .001, .005, .01, .05, .1, .5, 1, 5, 15, 60, 300, 900, 3600)
	ins.node = histogram("node.duration", "Round trips of batches of requests.",
		.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1)
	ins.failures = counter("failures", "Calls that ended without a lease.")
	ins.losses = counter("losses", "Leases that ended before they were unlocked.")
	ins.renewalFailures = counter("renewal.failures", "Renewals that did not move the end of a lease.")
	up, err := m.Int64Gauge("holdfast.client.node.up", metric.WithDescription("Whether the node answered last."))
	ins.nodeUp = up
	return &ins, errors.Join(append(errs, err)...)
}

func kind(of string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("error.type", of))
}

func (ins *instruments) acquired(ctx context.Context, e client.LockAcquired) {
	ins.waiting.Add(ctx, -1)
	ins.held.Add(ctx, 1)
	ins.wait.Record(ctx, e.Waited.Seconds())
}

func (ins *instruments) failed(ctx context.Context, e client.WaitFailed) {
	reason := kind(e.Reason())
	ins.waiting.Add(ctx, -1)
	ins.wait.Record(ctx, e.Waited.Seconds(), reason)
	ins.failures.Add(ctx, 1, reason)
}

func (ins *instruments) lost(ctx context.Context, e client.LeaseLost) {
	ins.released(ctx, e.Held)
	ins.losses.Add(ctx, 1, kind(e.Reason()))
}

func (ins *instruments) released(ctx context.Context, held time.Duration) {
	ins.held.Add(ctx, -1)
	ins.hold.Record(ctx, held.Seconds())
}

func node(name string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("node", name))
}

func (ins *instruments) nodeState(name string, up bool) {
	value := int64(0)
	if up {
		value = 1
	}
	ins.nodeUp.Record(context.Background(), value, node(name))
}

func (ins *instruments) batch(e client.BatchEnded) {
	if e.Err == nil {
		ins.node.Record(context.Background(), e.Took.Seconds(), node(e.Node))
	}
}
