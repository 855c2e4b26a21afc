package keyspace

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// BenchmarkMillion tells what a million keys of 16 bytes with values of 32 bytes take, in a database and,
// for comparison, in a Go map of entries, and the longest single insert while it grew to that. Run it with
// -benchtime 1x; GOGC=off takes the collector out of the inserts and leaves what the structure itself does.
func BenchmarkMillion(b *testing.B) {
	const n = 1_000_000
	value := make([]byte, 32)
	type mapEntry struct {
		value    []byte
		deadline clock.Instant
	}
	tests := []struct {
		name string
		make func() (insert func(i int, key []byte), keep any)
	}{
		{"table", func() (func(int, []byte), any) {
			db := newDB()
			return func(_ int, k []byte) { db.SetBytes(k, value) }, db
		}},
		{"table with ttl", func() (func(int, []byte), any) {
			db := newDB()
			return func(i int, k []byte) { db.SetDeadline(db.SetBytes(k, value), clock.Instant(i*7919%n)) }, db
		}},
		{"map", func() (func(int, []byte), any) {
			m := make(map[string]*mapEntry)
			return func(_ int, k []byte) { m[string(k)] = &mapEntry{value: slices.Clone(value)} }, m
		}},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			stalls, buf := make([]time.Duration, n), make([]byte, 0, 16)
			for b.Loop() {
				before := heap()
				insert, keep := tt.make()
				for i := range n {
					k := fmt.Appendf(buf, "key:%012d", i)
					start := clock.Now()
					insert(i, k)
					stalls[i] = clock.Since(start)
				}
				b.ReportMetric(float64(heap()-before)/n, "B/key")
				slices.Sort(stalls)
				b.ReportMetric(float64(stalls[n-1]), "ns/longest-insert")
				b.ReportMetric(float64(stalls[n-n/10_000]), "ns/p99.99-insert")
				runtime.KeepAlive(keep)
			}
		})
	}
}

// heap returns how much memory is in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
