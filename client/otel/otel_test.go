package otel_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/otel"
	"github.com/holdfast-dev/holdfast/redlock"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A lab is nodes, and providers that keep everything in memory.
type lab struct {
	t      *testing.T
	nodes  []*servertest.Node
	spans  *tracetest.InMemoryExporter
	tracer *trace.TracerProvider
	reader *metric.ManualReader
	meters *metric.MeterProvider
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, nodes: servertest.StartCluster(t, 3, servertest.InMemory()), spans: tracetest.NewInMemoryExporter(),
		reader: metric.NewManualReader()}
	l.tracer = trace.NewTracerProvider(trace.WithSyncer(l.spans))
	l.meters = metric.NewMeterProvider(metric.WithReader(l.reader))
	return l
}

// client returns a client that is observed with the options, closed at the end of the test; nil: not observed.
func (l *lab) client(opts ...otel.Option) *client.Client {
	l.t.Helper()
	var all []redlock.Node
	for _, n := range l.nodes {
		rdb := redis.NewClient(&redis.Options{Addr: n.Addr(), Dialer: n.Dial, Protocol: 2})
		l.t.Cleanup(func() { rdb.Close() })
		all = append(all, client.NodeOf(rdb))
	}
	o, err := otel.New(append([]otel.Option{otel.WithTracerProvider(l.tracer), otel.WithMeterProvider(l.meters)}, opts...)...)
	require.NoError(l.t, err)
	c, err := client.New(all, client.WithObserver(o.Observer()), client.WithOwner("me"))
	require.NoError(l.t, err)
	l.t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// span returns the one span with the name.
func (l *lab) span(name string) tracetest.SpanStub {
	l.t.Helper()
	var found []tracetest.SpanStub
	for _, s := range l.spans.GetSpans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	require.Len(l.t, found, 1, name)
	return found[0]
}

// values returns attributes by their keys.
func values(attrs []attribute.KeyValue) map[string]any {
	m := map[string]any{}
	for _, a := range attrs {
		m[string(a.Key)] = a.Value.AsInterface()
	}
	return m
}

// number returns the sum of a counter's or a gauge's points with the attributes, or the count of a histogram's.
func (l *lab) number(name string, attrs ...attribute.KeyValue) float64 {
	l.t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(l.t, l.reader.Collect(context.Background(), &data))
	want := attribute.NewSet(attrs...)
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != "holdfast.client."+name {
				continue
			}
			sum := 0.0
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					if p.Attributes.Equals(&want) {
						sum += float64(p.Value)
					}
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					if p.Attributes.Equals(&want) {
						sum += float64(p.Value)
					}
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					if p.Attributes.Equals(&want) {
						sum += float64(p.Count)
					}
				}
			}
			return sum
		}
	}
	l.t.Errorf("no metric %s", name)
	return 0
}

// Ensure that a lock that is waited for is a span of the caller's, from the call to the lease, with an event for each
// attempt; and that what runs under the lease is the caller's child, or the hold's if that is wanted.
func TestSpans(t *testing.T) {
	for name, hold := range map[string]bool{"wait": false, "wait and hold": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				var opts []otel.Option
				if hold {
					opts = append(opts, otel.WithHoldSpans())
				}
				holder, err := l.client().Lock(context.Background(), "x")
				require.NoError(t, err)
				l.spans.Reset()

				tracer := l.tracer.Tracer("test")
				ctx, root := tracer.Start(context.Background(), "root")
				c := l.client(opts...)
				time.AfterFunc(time.Second, func() { holder.Unlock(context.Background()) })
				lease, err := c.Lock(ctx, "x")
				require.NoError(t, err)
				_, work := tracer.Start(lease.Context(), "work")
				work.End()
				time.Sleep(client.DefaultTTL/3 + time.Second)
				require.NoError(t, lease.Unlock(ctx))
				root.End()

				wait := l.span("lock x")
				assert.Equal(t, l.span("root").SpanContext.SpanID(), wait.Parent.SpanID())
				assert.Equal(t, l.span("root").SpanContext.TraceID(), wait.SpanContext.TraceID())
				assert.GreaterOrEqual(t, wait.EndTime.Sub(wait.StartTime), time.Second)
				assert.Equal(t, codes.Unset, wait.Status.Code)
				got := values(wait.Attributes)
				assert.Equal(t, "x", got["lock.name"])
				assert.Equal(t, "lock", got["lock.call"])
				assert.Equal(t, lease.Token(), got["lock.token"])
				assert.Equal(t, "me", got["lock.owner"])
				assert.EqualValues(t, 3, got["lock.nodes.all"])
				assert.GreaterOrEqual(t, got["lock.nodes.held"], int64(2))
				assert.GreaterOrEqual(t, got["lock.waited_ms"], int64(1000))
				assert.EqualValues(t, len(wait.Events), got["lock.attempts"])
				require.GreaterOrEqual(t, len(wait.Events), 2)
				first, last := values(wait.Events[0].Attributes), values(wait.Events[len(wait.Events)-1].Attributes)
				assert.Equal(t, "held", first["error.type"])
				assert.Equal(t, "me", first["lock.holder"])
				assert.Equal(t, map[string]any{"lock.attempt": got["lock.attempts"]}, last, "the last one got it")

				parent := l.span("root").SpanContext.SpanID()
				if hold {
					h := l.span("hold x")
					assert.Equal(t, parent, h.Parent.SpanID())
					assert.Equal(t, client.DefaultTTL/3+time.Second, h.EndTime.Sub(h.StartTime))
					assert.Equal(t, lease.Token(), values(h.Attributes)["lock.token"])
					require.NotEmpty(t, h.Events)
					assert.Equal(t, "renewal", h.Events[0].Name)
					assert.Equal(t, codes.Unset, h.Status.Code)
					parent = h.SpanContext.SpanID()
				}
				assert.Equal(t, parent, l.span("work").Parent.SpanID())
			})
		})
	}
}

// Ensure that a failed call and a lost lease are spans with an error, and a lost lease's hold ends with it.
func TestSpans_Errors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		c := l.client(otel.WithHoldSpans())
		ctx := context.Background()
		lease, err := c.Lock(ctx, "x", client.WithoutRenew())
		require.NoError(t, err)
		l.spans.Reset()
		_, failed := c.TryLock(ctx, "x")
		require.ErrorIs(t, failed, client.ErrHeld)
		s := l.span("lock x")
		assert.Equal(t, codes.Error, s.Status.Code)
		assert.Equal(t, failed.Error(), s.Status.Description)
		assert.Equal(t, "held", values(s.Attributes)["error.type"])
		assert.Equal(t, "trylock", values(s.Attributes)["lock.call"])

		<-lease.Lost()
		synctest.Wait()
		s = l.span("hold x")
		assert.Equal(t, codes.Error, s.Status.Code)
		assert.Equal(t, "expired", values(s.Attributes)["error.type"])
	})
}

// Ensure that a lock taken under another's lease is traced by itself.
func TestSpans_Nested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		c := l.client(otel.WithHoldSpans())
		err := c.Do(context.Background(), "outer", func(ctx context.Context, _ *client.Lease) error {
			return c.Do(ctx, "inner", func(context.Context, *client.Lease) error { return nil })
		})
		require.NoError(t, err)
		outer := l.span("hold outer").SpanContext.SpanID()
		assert.Equal(t, outer, l.span("lock inner").Parent.SpanID())
		assert.Equal(t, outer, l.span("hold inner").Parent.SpanID())
	})
}

// Ensure that the metrics say who waits and holds at the moment, and count ends by their reasons.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		c := l.client()
		ctx := context.Background()
		lease, err := c.Lock(ctx, "x", client.WithoutRenew())
		require.NoError(t, err)
		assert.Equal(t, 1.0, l.number("held"))
		assert.Equal(t, 0.0, l.number("waiting"))
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		done := make(chan error)
		go func() {
			_, err := c.Lock(short, "x")
			done <- err
		}()
		time.Sleep(time.Second)
		assert.Equal(t, 1.0, l.number("waiting"))
		require.ErrorIs(t, <-done, context.DeadlineExceeded)
		assert.Equal(t, 0.0, l.number("waiting"))
		assert.Equal(t, 1.0, l.number("failures", attribute.String("error.type", "timeout")))
		assert.Equal(t, 1.0, l.number("wait.duration"))
		assert.Equal(t, 1.0, l.number("wait.duration", attribute.String("error.type", "timeout")))

		<-lease.Lost()
		synctest.Wait()
		assert.Equal(t, 1.0, l.number("losses", attribute.String("error.type", "expired")))
		assert.Equal(t, 0.0, l.number("held"))
		assert.Equal(t, 1.0, l.number("hold.duration"))

		next, err := c.Lock(ctx, "y")
		require.NoError(t, err)
		node := attribute.String("node", l.nodes[0].Addr())
		time.Sleep(time.Second)
		assert.Equal(t, 1.0, l.number("node.up", node))
		assert.Positive(t, l.number("node.duration", node))
		for _, n := range l.nodes {
			n.Stop()
		}
		<-next.Lost()
		synctest.Wait()
		assert.Equal(t, 0.0, l.number("node.up", node))
		assert.Positive(t, l.number("renewal.failures"))
		assert.Equal(t, 1.0, l.number("losses", attribute.String("error.type", "quorum")))
	})
}

// Ensure that functions called without the context of WaitBegan do no harm.
func TestObserver_ForeignContext(t *testing.T) {
	o, err := otel.New()
	require.NoError(t, err, "the global providers do")
	ob, ctx := o.Observer(), context.Background()
	ob.AttemptEnded(ctx, client.AttemptEnded{Err: errors.New("x")})
	ob.WaitFailed(ctx, client.WaitFailed{Err: errors.New("x")})
	ctx = ob.LockAcquired(ctx, client.LockAcquired{})
	ob.LeaseRenewed(ctx, client.LeaseRenewed{Err: errors.New("x")})
	ob.LeaseLost(ctx, client.LeaseLost{Cause: errors.New("x")})
	ob.LeaseReleased(ctx, client.LeaseReleased{Err: errors.New("x")})
	assert.NoError(t, ctx.Err())
}
