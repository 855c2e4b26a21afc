package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/client"
)

// leases are what a worker holds.
type leases []*client.Lease

// takers is how many goroutines take and release many leases.
const takers = 64

// takeLeases takes o.Many locks that nobody else wants and keeps them. It returns how much memory of the heap
// each has cost.
func takeLeases(ctx context.Context, w *workplace, o order) (a answer, err error) {
	c, ok := w.locker.(ours)
	if !ok {
		return a, errors.New("only our own client renews many leases")
	}
	w.leases = make(leases, o.Many)
	before := heap()
	err = each(o.Many, takers, func(i int) (err error) {
		w.leases[i], err = c.c.Lock(ctx, fmt.Sprintf("%s/%d", o.Name, i), client.TTL(o.TTL))
		return err
	})
	if err != nil {
		return a, err
	}
	a.Count = o.Many
	a.Bytes = (heap() - before) / int64(o.Many)
	return a, nil
}

// heap returns how many bytes of the heap are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first has found unused
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// watchLeases lets the client renew its leases for a while, and counts the renewals of some of them: each is a
// moment at which the time that remains grew.
func watchLeases(ctx context.Context, w *workplace, o order) (a answer, err error) {
	const (
		sample = 500
		often  = 50 * time.Millisecond
	)
	var observed leases
	for i := 0; i < len(w.leases); i += max(1, len(w.leases)/sample) {
		observed = append(observed, w.leases[i])
	}
	last := make([]time.Duration, len(observed))
	began, renewals := monotonic(), 0
	for first := true; monotonic()-began < o.For && ctx.Err() == nil; first = false {
		for i, l := range observed {
			now := l.Remaining()
			if !first && now > last[i] {
				renewals++
			}
			last[i] = now
		}
		time.Sleep(often)
	}
	watched := monotonic() - began
	for _, l := range w.leases {
		if l.Err() != nil {
			a.Lost++
		}
	}
	a.Count = len(w.leases)
	a.Share = float64(renewals) / float64(len(observed)) / watched.Seconds()
	return a, ctx.Err()
}

// dropLeases releases them all, and counts those whose release no majority has confirmed. Leases that were lost
// before have been counted already.
func dropLeases(ctx context.Context, w *workplace, _ order) (a answer, err error) {
	a.Count = len(w.leases)
	var unconfirmed atomic.Int64
	err = each(len(w.leases), takers, func(i int) error {
		err := w.leases[i].Unlock(ctx)
		var loss *client.LossError
		switch {
		case errors.Is(err, client.ErrQuorum):
			unconfirmed.Add(1)
		case err != nil && !errors.As(err, &loss):
			return err
		}
		return nil
	})
	a.Unconfirmed = int(unconfirmed.Load())
	w.leases = nil
	return a, err
}
