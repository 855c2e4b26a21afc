package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// most bounds how many operations a worker records.
const most = 1 << 20

// lockAlone takes and releases one lock again and again, and returns how long each time took.
func lockAlone(ctx context.Context, w *workplace, o order) (a answer, err error) {
	end := monotonic() + o.For
	for last := monotonic(); last < end && len(a.Samples) < most; {
		if err := w.cycle(ctx, o.Name); err != nil {
			return a, err
		}
		now := monotonic()
		a.Samples = append(a.Samples, int64(now-last))
		last = now
	}
	a.Count = len(a.Samples)
	return a, nil
}

func (w *workplace) cycle(ctx context.Context, name string) error {
	unlock, err := w.locker.lock(ctx, name)
	if err != nil {
		return err
	}
	return unlock()
}

// lockMany does so in many goroutines, each with a lock of its own, and returns how often altogether.
func lockMany(ctx context.Context, w *workplace, o order) (a answer, err error) {
	end := monotonic() + o.For
	counts := make([]int, o.Many)
	var group errgroup.Group
	for i := range o.Many {
		name := fmt.Sprintf("%s/%d", o.Name, i)
		group.Go(func() error {
			for monotonic() < end {
				if err := w.cycle(ctx, name); err != nil {
					return err
				}
				counts[i]++
			}
			return nil
		})
	}
	err = group.Wait()
	for _, n := range counts {
		a.Count += n
	}
	return a, err
}

// A record is one turn of a process with the lock that it contends for; all times are of the monotonic clock.
type record struct {
	Asked   time.Duration // began to wait for it
	Got     time.Duration // had it
	Leaving time.Duration // began to release it
	Left    time.Duration // had released it
}

// hold is for how long the contended lock is held.
const hold = time.Millisecond

// grace is for how long after the end contenders may go on waiting, so that they leave in order.
const grace = 2 * time.Second

// contend takes the lock again and again, holds it, and writes a record of each turn to a file.
func contend(ctx context.Context, w *workplace, o order) (a answer, err error) {
	end := monotonic() + o.For
	ctx, cancel := context.WithTimeout(ctx, o.For+grace)
	defer cancel()
	var records []record
	for monotonic() < end && len(records) < most {
		r := record{Asked: monotonic()}
		unlock, err := w.locker.lock(ctx, o.Name)
		r.Got = monotonic()
		if errors.Is(err, context.DeadlineExceeded) && r.Got >= end {
			break // it had no turn before the end
		}
		if err != nil {
			return a, err
		}
		if r.Got < end {
			time.Sleep(hold)
		}
		r.Leaving = monotonic()
		if err := unlock(); err != nil {
			return a, err
		}
		r.Left = monotonic()
		records = append(records, r)
	}
	a.Count = len(records)
	if o.Log == "" {
		return a, nil
	}
	return a, writeRecords(o.Log, records)
}

func writeRecords(path string, records []record) error {
	data, err := binary.Append(nil, binary.LittleEndian, records)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// readRecords reads what writeRecords has written.
func readRecords(path string) ([]record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	size := binary.Size(record{})
	if len(data)%size != 0 {
		return nil, fmt.Errorf("%s: %d bytes are not a whole number of records of %d", path, len(data), size)
	}
	records := make([]record, len(data)/size)
	_, err = binary.Decode(data, binary.LittleEndian, records)
	return records, err
}

// each calls f for the numbers below n, from several goroutines, and returns the first error.
func each(n, goroutines int, f func(i int) error) error {
	var mu sync.Mutex
	next := 0
	var group errgroup.Group
	for range goroutines {
		group.Go(func() error {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					return nil
				}
				if err := f(i); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}
