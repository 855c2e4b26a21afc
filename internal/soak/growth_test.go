package soak

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A growth is how much memory the clients' process and the nodes' had, early and late.
type growth struct{ early, late sample }

type sample struct{ heap, nodes uint64 }

// follow samples when a fifth of the time is over and when all but a twentieth is.
func (g *growth) follow(ctx context.Context, f *fleet, length time.Duration) {
	for _, s := range []struct {
		at   time.Duration
		into *sample
	}{{length / 5, &g.early}, {length*19/20 - length/5, &g.late}} {
		select {
		case <-time.After(s.at):
			*s.into = take(f)
		case <-ctx.Done():
			return
		}
	}
}

func take(f *fleet) (s sample) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.heap = m.HeapAlloc
	for _, pid := range f.pids() {
		s.nodes = max(s.nodes, resident(pid))
	}
	return s
}

// resident returns how much memory a process has, 0 where the system does not tell.
func resident(pid int) uint64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data))
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// check bounds the growth. What 500 workers have under way at a moment makes some of the difference.
func (g *growth) check(t *testing.T, s *score) {
	t.Helper()
	const mib = 1 << 20
	s.printf("live heap of all clients %.1f MiB early, %.1f late; largest node %.1f MiB early, %.1f late",
		float64(g.early.heap)/mib, float64(g.late.heap)/mib, float64(g.early.nodes)/mib, float64(g.late.nodes)/mib)
	assert.Less(t, g.late.heap, 2*g.early.heap+8*mib, "the clients grow")
	assert.Less(t, g.late.nodes, 2*g.early.nodes+32*mib, "the nodes grow")
}
