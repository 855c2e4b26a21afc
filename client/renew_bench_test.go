package client_test

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// crowd is how many leases the benchmarks hold at the same time.
const crowd = 100_000

// An obligingNode grants everything, within Send: what is left to measure is the client.
type obligingNode int

func (n obligingNode) String() string { return fmt.Sprint("obliging ", int(n)) }

func (n obligingNode) Send(req redlock.Request, reply func(redlock.Reply)) {
	r := redlock.Reply{Status: redlock.StatusOK}
	switch req.Op {
	case redlock.OpAcquire:
		r = redlock.Reply{Status: redlock.StatusGranted, Fence: req.Proposal}
	case redlock.OpRenew:
		r = redlock.Reply{Status: redlock.StatusExtended, Fence: req.Token}
	}
	reply(r)
}

// BenchmarkLeaseMemory reports what one lease of many costs the process that holds it, and what one renewal
// costs it without network and nodes.
func BenchmarkLeaseMemory(b *testing.B) {
	if testing.Short() {
		b.Skip("holds 100,000 leases")
	}
	var nodes []redlock.Node
	for i := range 5 {
		nodes = append(nodes, obligingNode(i))
	}
	c := newClient(b, nodes)
	for b.Loop() {
		before, running := heap(), runtime.NumGoroutine()
		leases := take(b, c, client.TTL(time.Minute))
		b.ReportMetric(float64(heap()-before)/crowd, "B/lease")
		b.ReportMetric(float64(runtime.NumGoroutine()-running), "goroutines")
		began := cpu()
		time.Sleep(41 * time.Second) // two renewals
		b.ReportMetric(float64((cpu()-began).Nanoseconds())/2/crowd, "cpu-ns/renewal")
		b.ReportMetric(float64(heap()-before)/crowd, "B/renewed")
		give(b, leases)
	}
}

// BenchmarkRenew100k holds 100,000 leases on five redis-server processes for three renewals.
func BenchmarkRenew100k(b *testing.B) {
	if testing.Short() {
		b.Skip("holds 100,000 leases")
	}
	const ttl = time.Minute
	c := redisNodes(b, 5).client(b)
	for b.Loop() {
		before, running := heap(), runtime.NumGoroutine()
		began := time.Now()
		leases := take(b, c, client.TTL(ttl))
		b.ReportMetric(crowd/time.Since(began).Seconds(), "locks/s")
		b.ReportMetric(float64(heap()-before)/crowd, "B/lease")
		most := 0
		used, began := cpu(), time.Now()
		for time.Since(began) < ttl {
			time.Sleep(10 * time.Millisecond)
			most = max(most, runtime.NumGoroutine())
		}
		b.ReportMetric((cpu()-used).Seconds()/time.Since(began).Seconds(), "cpus")
		b.ReportMetric(float64(most-running), "goroutines")
		lost := 0
		for _, l := range leases {
			if l.Err() != nil {
				lost++
			}
		}
		b.ReportMetric(float64(lost), "lost")
		give(b, leases)
	}
}

// take takes the locks of a crowd, a few hundred at a time.
func take(b *testing.B, c *client.Client, opts ...client.LockOption) []*client.Lease {
	leases := make([]*client.Lease, crowd)
	parallel(func(i int) {
		l, err := c.TryLock(context.Background(), fmt.Sprint("crowd/", i), opts...)
		if err != nil {
			b.Error(err)
			return
		}
		leases[i] = l
	})
	require.False(b, b.Failed())
	return leases
}

func give(b *testing.B, leases []*client.Lease) {
	parallel(func(i int) { leases[i].Unlock(context.Background()) })
}

func parallel(f func(i int)) {
	const workers = 256
	done := make(chan struct{})
	for w := range workers {
		go func() {
			for i := w; i < crowd; i += workers {
				f(i)
			}
			done <- struct{}{}
		}()
	}
	for range workers {
		<-done
	}
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// cpu returns the time that this process has spent on processors.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
