// Package metrics shows a client's locks to Prometheus.
//
//	m := metrics.New()
//	prometheus.MustRegister(m)
//	c, err := client.Open(url, client.WithObserver(m.Observer()))
//
// The metrics, all with the prefix holdfast_client_:
//
//	waiting                     calls that wait for a lock at this moment: a stall is visible while it lasts
//	held                        leases that are held at this moment
//	wait_seconds                histogram: from the call to the lease, or to the error
//	hold_seconds                histogram: from the lease to its end
//	attempts_total              attempts at the nodes; many per acquisition are contention
//	acquired_total              leases obtained
//	failed_total{reason}        calls that ended without a lease: held (of TryLock), timeout, cancelled, quorum,
//	                            quarantine, closed, invalid, forced, lost (of Resume), other
//	lost_total{cause}           leases that ended before they were unlocked: expired, stolen, quorum, forced,
//	                            maxhold, detached, other. Alert on all of them but detached.
//	unconfirmed_releases_total  releases that no majority confirmed: those locks may stay for their ttl
//	renewals_total              renewals that moved a lease's end
//	renewal_failures_total      renewals that did not: each costs a lease some of its margin
//	node_up{node}               1: the node answered last; 0: it could not be reached or did not answer
//	node_latency_seconds{node}  histogram: round trips of batches that were answered
//	node_requests_total{node}   requests sent to the node
//	node_failures_total{node}   batches that failed with their connection
//
// wait_seconds has a label too, result: acquired or failed.
package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-dev/holdfast/client"
)

const prefix = "holdfast_client_"

// Metrics are the metrics of one client: a prometheus.Collector, and an observer that feeds it. It is safe for
// concurrent use. Several clients of one process get one each, told apart by a label of the program's own
// (prometheus.WrapRegistererWith); with one between them their sums are right, and node_up is that of whichever
// client spoke to the node last.
type Metrics struct {
	lockLabel func(name string) string

	waiting, held                                *prometheus.GaugeVec
	wait, hold                                   *prometheus.HistogramVec
	attempts, acquired, failed, lost             *prometheus.CounterVec
	unconfirmed, renewals, renewalFailures       *prometheus.CounterVec
	nodeUp                                       *prometheus.GaugeVec
	nodeLatency                                  *prometheus.HistogramVec
	nodeRequests, nodeFailures                   *prometheus.CounterVec
	waitBuckets, holdBuckets, nodeLatencyBuckets []float64
}

// An Option configures Metrics.
type Option func(*Metrics)

// WithLockLabel gives the metrics of locks (not those of nodes) a label "lock" whose value f makes of the lock's
// name: names alone would mean a time series for each of what may be millions of them. f returns one of few
// values, and always the same for a name; it is called on the way of every lock.
func WithLockLabel(f func(name string) string) Option { return func(m *Metrics) { m.lockLabel = f } }

// WithWaitBuckets sets the upper bounds, in seconds, of the buckets of wait_seconds. Default: 0.25 ms to 5 minutes.
func WithWaitBuckets(bounds ...float64) Option { return func(m *Metrics) { m.waitBuckets = bounds } }

// WithHoldBuckets sets the upper bounds, in seconds, of the buckets of hold_seconds. Default: 1 ms to 1 hour.
func WithHoldBuckets(bounds ...float64) Option { return func(m *Metrics) { m.holdBuckets = bounds } }

// New returns metrics that begin at zero. Register them, and give their Observer to the client.
func New(opts ...Option) *Metrics {
	m := &Metrics{
		waitBuckets:        []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
		holdBuckets:        []float64{.001, .005, .01, .05, .1, .5, 1, 5, 15, 60, 300, 900, 3600},
		nodeLatencyBuckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
	}
	for _, o := range opts {
		o(m)
	}
	m.make()
	if m.lockLabel == nil { // rates and alerts need a zero to begin at
		m.begin()
	}
	return m
}

func (m *Metrics) make() {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets}, labels)
	}
	var lock []string
	if m.lockLabel != nil {
		lock = []string{"lock"}
	}
	with := func(label string) []string { return append([]string{label}, lock...) }

	m.waiting = gauge("waiting", "Calls that wait for a lock.", lock...)
	m.held = gauge("held", "Leases that are held.", lock...)
	m.wait = histogram("wait_seconds", "From the call to the lease or the error.", m.waitBuckets, with("result")...)
	m.hold = histogram("hold_seconds", "From the lease to its end.", m.holdBuckets, lock...)
	m.attempts = counter("attempts_total", "Attempts at the nodes.", lock...)
	m.acquired = counter("acquired_total", "Leases obtained.", lock...)
	m.failed = counter("failed_total", "Calls that ended without a lease.", with("reason")...)
	m.lost = counter("lost_total", "Leases that ended before they were unlocked.", with("cause")...)
	m.unconfirmed = counter("unconfirmed_releases_total", "Releases that no majority of nodes confirmed.", lock...)
	m.renewals = counter("renewals_total", "Renewals that moved the end of a lease.", lock...)
	m.renewalFailures = counter("renewal_failures_total", "Renewals that did not move the end of a lease.", lock...)
	m.nodeUp = gauge("node_up", "Whether the node answered last.", "node")
	m.nodeLatency = histogram("node_latency_seconds", "Round trips of batches of requests.", m.nodeLatencyBuckets, "node")
	m.nodeRequests = counter("node_requests_total", "Requests sent.", "node")
	m.nodeFailures = counter("node_failures_total", "Batches of requests that failed with their connection.", "node")
}

// begin makes every time series of locks.
func (m *Metrics) begin() {
	for _, g := range []*prometheus.GaugeVec{m.waiting, m.held} {
		g.WithLabelValues()
	}
	for _, c := range []*prometheus.CounterVec{m.attempts, m.acquired, m.unconfirmed, m.renewals, m.renewalFailures} {
		c.WithLabelValues()
	}
	m.hold.WithLabelValues()
	for _, result := range []string{"acquired", "failed"} {
		m.wait.WithLabelValues(result)
	}
	for _, reason := range client.FailReasons() {
		m.failed.WithLabelValues(reason)
	}
	for _, cause := range client.LossReasons() {
		m.lost.WithLabelValues(cause)
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.waiting, m.held, m.wait, m.hold, m.attempts, m.acquired, m.failed, m.lost,
		m.unconfirmed, m.renewals, m.renewalFailures, m.nodeUp, m.nodeLatency, m.nodeRequests, m.nodeFailures}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(descs)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(metrics)
	}
}

// lock returns the label values of a lock's time series: those given and the lock's own, if it has one.
func (m *Metrics) lock(name string, labels ...string) []string {
	if m.lockLabel == nil {
		return labels
	}
	return append(labels, m.lockLabel(name))
}

// Observer returns what to give to client.WithObserver.
func (m *Metrics) Observer() client.Observer {
	return client.Observer{
		WaitBegan: func(ctx context.Context, e client.WaitBegan) context.Context {
			m.waiting.WithLabelValues(m.lock(e.Name)...).Inc()
			return ctx
		},
		AttemptEnded: func(_ context.Context, e client.AttemptEnded) {
			m.attempts.WithLabelValues(m.lock(e.Name)...).Inc()
		},
		LockAcquired: func(ctx context.Context, e client.LockAcquired) context.Context {
			name := m.lock(e.Name)
			m.waiting.WithLabelValues(name...).Dec()
			m.held.WithLabelValues(name...).Inc()
			m.acquired.WithLabelValues(name...).Inc()
			m.wait.WithLabelValues(m.lock(e.Name, "acquired")...).Observe(e.Waited.Seconds())
			return ctx
		},
		WaitFailed: func(_ context.Context, e client.WaitFailed) {
			m.waiting.WithLabelValues(m.lock(e.Name)...).Dec()
			m.failed.WithLabelValues(m.lock(e.Name, e.Reason())...).Inc()
			m.wait.WithLabelValues(m.lock(e.Name, "failed")...).Observe(e.Waited.Seconds())
		},
		LeaseRenewed: func(_ context.Context, e client.LeaseRenewed) {
			counter := m.renewals
			if e.Err != nil {
				counter = m.renewalFailures
			}
			counter.WithLabelValues(m.lock(e.Name)...).Inc()
		},
		LeaseLost: func(_ context.Context, e client.LeaseLost) {
			name := m.lock(e.Name)
			m.held.WithLabelValues(name...).Dec()
			m.hold.WithLabelValues(name...).Observe(e.Held.Seconds())
			m.lost.WithLabelValues(m.lock(e.Name, e.Reason())...).Inc()
		},
		LeaseReleased: func(_ context.Context, e client.LeaseReleased) {
			name := m.lock(e.Name)
			m.held.WithLabelValues(name...).Dec()
			m.hold.WithLabelValues(name...).Observe(e.Held.Seconds())
			if e.Err != nil {
				m.unconfirmed.WithLabelValues(name...).Inc()
			}
		},
		NodeUp:   func(e client.NodeUp) { m.nodeUp.WithLabelValues(e.Node).Set(1) },
		NodeDown: func(e client.NodeDown) { m.nodeUp.WithLabelValues(e.Node).Set(0) },
		BatchEnded: func(e client.BatchEnded) {
			m.nodeRequests.WithLabelValues(e.Node).Add(float64(e.Requests))
			if e.Err != nil {
				m.nodeFailures.WithLabelValues(e.Node).Inc()
				return
			}
			m.nodeLatency.WithLabelValues(e.Node).Observe(e.Took.Seconds())
		},
	}
}
