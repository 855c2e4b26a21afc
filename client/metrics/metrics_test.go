package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/metrics"
	"github.com/holdfast-dev/holdfast/redlock"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns a client of nodes without sockets; it is closed at the end of the test.
func open(t *testing.T, nodes []*servertest.Node, opts ...client.Option) *client.Client {
	t.Helper()
	var all []redlock.Node
	for _, n := range nodes {
		rdb := redis.NewClient(&redis.Options{Addr: n.Addr(), Dialer: n.Dial, Protocol: 2})
		t.Cleanup(func() { rdb.Close() })
		all = append(all, client.NodeOf(rdb))
	}
	c, err := client.New(all, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// assertValues compares time series, given as lines of the text format without the prefix.
func assertValues(t *testing.T, m *metrics.Metrics, lines ...string) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	require.NoError(t, reg.Register(m))
	families, err := reg.Gather()
	require.NoError(t, err)
	got := map[string]string{}
	for _, f := range families {
		for _, series := range f.Metric {
			var labels []string
			for _, l := range series.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			key := strings.TrimPrefix(f.GetName(), "holdfast_client_")
			if labels != nil {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case series.Histogram != nil:
				h := series.Histogram
				got[key] = fmt.Sprintf("%d times %v", h.GetSampleCount(), time.Duration(h.GetSampleSum()*float64(time.Second)).Round(time.Millisecond))
			case series.Gauge != nil:
				got[key] = fmt.Sprint(series.Gauge.GetValue())
			default:
				got[key] = fmt.Sprint(series.Counter.GetValue())
			}
		}
	}
	for _, line := range lines {
		key, want, _ := strings.Cut(line, " ")
		value, ok := got[key]
		assert.True(t, ok, "no series %s", key)
		assert.Equal(t, want, value, key)
	}
}

// Ensure that a wait, a hold, a renewal and a release are counted while they last and afterwards.
func TestMetrics_Life(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := servertest.StartCluster(t, 3, servertest.InMemory())
		ctx := context.Background()
		holder, err := open(t, nodes).Lock(ctx, "x")
		require.NoError(t, err)

		m := metrics.New()
		var attempts atomic.Int64
		c := open(t, nodes, client.WithObserver(m.Observer()), client.WithObserver(client.Observer{
			AttemptEnded: func(_ context.Context, e client.AttemptEnded) { attempts.Store(int64(e.Number)) },
		}))
		assertValues(t, m, "waiting 0", "held 0", "acquired_total 0", `failed_total{reason="quorum"} 0`,
			`lost_total{cause="expired"} 0`, "hold_seconds 0 times 0s", `wait_seconds{result="failed"} 0 times 0s`)
		got := make(chan *client.Lease)
		go func() {
			l, err := c.Lock(ctx, "x")
			assert.NoError(t, err)
			got <- l
		}()
		time.Sleep(time.Second)
		assertValues(t, m, "waiting 1", "held 0", fmt.Sprintf("attempts_total %d", attempts.Load()))
		assert.Positive(t, attempts.Load())
		require.NoError(t, holder.Unlock(ctx))
		l := <-got
		time.Sleep(11 * time.Second)
		assertValues(t, m, "waiting 0", "held 1", "acquired_total 1", `wait_seconds{result="acquired"} 1 times 1s`,
			"renewals_total 2", "renewal_failures_total 0", fmt.Sprintf("attempts_total %d", attempts.Load()))
		require.NoError(t, l.Unlock(ctx))
		assertValues(t, m, "waiting 0", "held 0", "hold_seconds 1 times 11s", "unconfirmed_releases_total 0",
			`lost_total{cause="expired"} 0`)
	})
}

// Ensure that failures and losses are counted by their reasons.
func TestMetrics_Failures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := servertest.StartCluster(t, 3, servertest.InMemory())
		ctx := context.Background()
		_, err := open(t, nodes).Lock(ctx, "x")
		require.NoError(t, err)
		m := metrics.New()
		c := open(t, nodes, client.WithObserver(m.Observer()))

		_, err = c.TryLock(ctx, "x")
		require.ErrorIs(t, err, client.ErrHeld)
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err = c.Lock(short, "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
		_, err = c.Lock(ctx, "")
		require.ErrorIs(t, err, client.ErrInvalid)
		assertValues(t, m, "waiting 0", "acquired_total 0", `failed_total{reason="held"} 1`, `failed_total{reason="timeout"} 1`,
			`failed_total{reason="invalid"} 1`, `wait_seconds{result="failed"} 3 times 2s`)

		l, err := c.Lock(ctx, "y", client.WithoutRenew())
		require.NoError(t, err)
		<-l.Lost()
		quorum, err := c.Lock(ctx, "z")
		require.NoError(t, err)
		nodes[0].Stop()
		nodes[1].Stop()
		<-quorum.Lost()
		assertValues(t, m, "held 0", `lost_total{cause="expired"} 1`, `lost_total{cause="quorum"} 1`, "acquired_total 2")
		_, err = c.Lock(ctx, "z")
		require.ErrorIs(t, err, client.ErrQuorum)
		unheld, err := c.TryLock(ctx, "z")
		require.ErrorIs(t, err, client.ErrQuorum)
		require.Nil(t, unheld)
		assertValues(t, m, `failed_total{reason="quorum"} 2`, "waiting 0")
	})
}

// Ensure that each node's state, requests and latency are there, and change as the node does.
func TestMetrics_Nodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := servertest.StartCluster(t, 3, servertest.InMemory())
		ctx := context.Background()
		m := metrics.New()
		c := open(t, nodes, client.WithObserver(m.Observer()))
		cycle := func() {
			l, err := c.Lock(ctx, "x")
			require.NoError(t, err)
			time.Sleep(time.Second) // now all nodes have it
			require.NoError(t, l.Unlock(ctx))
			time.Sleep(10 * time.Second)
		}
		cycle()
		for _, n := range nodes {
			assertValues(t, m, fmt.Sprintf("node_up{node=%q} 1", n.Addr()), fmt.Sprintf("node_requests_total{node=%q} 2", n.Addr()),
				fmt.Sprintf("node_latency_seconds{node=%q} 2 times 0s", n.Addr()))
		}
		nodes[1].Stop()
		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		time.Sleep(time.Second) // now all nodes were asked
		assertValues(t, m, fmt.Sprintf("node_up{node=%q} 1", nodes[0].Addr()), fmt.Sprintf("node_up{node=%q} 0", nodes[1].Addr()),
			fmt.Sprintf("node_failures_total{node=%q} 1", nodes[1].Addr()))
		require.NoError(t, l.Unlock(ctx))
		nodes[1].Restart()
		cycle()
		assertValues(t, m, fmt.Sprintf("node_up{node=%q} 1", nodes[1].Addr()))
	})
}

// Ensure that the names and helps are as Prometheus wants them, and that no lock's name is a label.
func TestMetrics_Lint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		c := open(t, servertest.StartCluster(t, 1, servertest.InMemory()), client.WithObserver(m.Observer()))
		require.NoError(t, c.Do(context.Background(), "orders/42", func(context.Context, *client.Lease) error { return nil }))
		problems, err := testutil.CollectAndLint(m)
		require.NoError(t, err)
		assert.Empty(t, problems)
		// These keys hold all labels.
		assertValues(t, m, "acquired_total 1", "held 0", "hold_seconds 1 times 0s", `wait_seconds{result="acquired"} 1 times 0s`)
	})
}

// Ensure that the label of locks is what the program's function makes of their names, on every series of locks.
func TestMetrics_LockLabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New(metrics.WithLockLabel(func(name string) string {
			kind, _, _ := strings.Cut(name, "/")
			return kind
		}), metrics.WithWaitBuckets(1), metrics.WithHoldBuckets(1, 2))
		c := open(t, servertest.StartCluster(t, 1, servertest.InMemory()), client.WithObserver(m.Observer()))
		ctx := context.Background()
		for _, name := range []string{"orders/1", "orders/2", "users/1"} {
			_, err := c.Lock(ctx, name)
			require.NoError(t, err)
		}
		_, err := c.TryLock(ctx, "users/1")
		require.ErrorIs(t, err, client.ErrHeld)
		time.Sleep(6 * time.Second)
		assertValues(t, m, `held{lock="orders"} 2`, `held{lock="users"} 1`, `waiting{lock="users"} 0`, `acquired_total{lock="orders"} 2`,
			`wait_seconds{lock="orders",result="acquired"} 2 times 0s`, `failed_total{lock="users",reason="held"} 1`,
			`renewals_total{lock="orders"} 2`)
		require.NoError(t, c.Close(ctx))
		assertValues(t, m, `held{lock="orders"} 0`, `hold_seconds{lock="orders"} 2 times 12s`)
	})
}

// Ensure that every error has its label: also one that a node's own time-out looks like.
func TestMetrics_Labels(t *testing.T) {
	m := metrics.New()
	o := m.Observer()
	ctx := context.Background()
	timeout := &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
	for reason, err := range map[string]error{
		"quorum":     &client.QuorumError{Errs: []error{&client.NodeError{Err: timeout}}},
		"quarantine": &client.QuarantineError{},
		"held":       &client.HeldError{},
		"timeout":    &client.WaitError{Waits: context.DeadlineExceeded, Last: &client.HeldError{}},
		"cancelled":  &client.WaitError{Waits: fmt.Errorf("%w: %w", context.Canceled, client.ErrQuorum), Last: &client.HeldError{}},
		"closed":     &client.WaitError{Waits: client.ErrClosed, Last: &client.HeldError{}},
		"lost":       client.ErrLost,
		"forced":     client.ErrForced,
		"invalid":    client.ErrInvalid,
		"other":      errors.New("no room on disk"),
	} {
		o.WaitBegan(ctx, client.WaitBegan{})
		o.WaitFailed(ctx, client.WaitFailed{Err: err})
		assertValues(t, m, fmt.Sprintf("failed_total{reason=%q} 1", reason), "waiting 0")
	}
	for cause, err := range map[string]error{
		"expired":  client.ErrExpired,
		"stolen":   fmt.Errorf("%w: %w", client.ErrStolen, &client.QuorumError{}),
		"quorum":   &client.QuorumError{},
		"forced":   client.ErrForced,
		"maxhold":  client.ErrMaxHold,
		"detached": client.ErrClosed,
		"other":    errors.New("something else"),
	} {
		o.LeaseLost(ctx, client.LeaseLost{Cause: err})
		assertValues(t, m, fmt.Sprintf("lost_total{cause=%q} 1", cause))
	}
	o.LeaseReleased(ctx, client.LeaseReleased{Err: client.ErrQuorum})
	o.LeaseRenewed(ctx, client.LeaseRenewed{Err: client.ErrQuorum})
	assertValues(t, m, "unconfirmed_releases_total 1", "renewal_failures_total 1", "renewals_total 0")
}
