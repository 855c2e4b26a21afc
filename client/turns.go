package client

import (
	"context"
	"sync"
)

// turns lets the waiters of one client for one name through one at a time, in the order in which they came:
// only the first of them is in the queues of the nodes, so that a hundred goroutines that want one lock cost
// the nodes no more than one.
type turns struct {
	mu    sync.Mutex
	lines map[string][]*turn
}

// A turn is a place in a line. Its owner must call leave, once.
type turn struct {
	turns *turns
	name  string
	first chan struct{} // closed when nobody is before it
}

// join goes to the end of the name's line and waits until it is the first. When ctx or closing is done
// before, it returns false, and the place is already given up.
func (t *turns) join(ctx context.Context, closing <-chan struct{}, name string) (*turn, bool) {
	p := &turn{turns: t, name: name, first: make(chan struct{})}
	t.mu.Lock()
	if t.lines == nil {
		t.lines = make(map[string][]*turn)
	}
	line := append(t.lines[name], p)
	t.lines[name] = line
	if len(line) == 1 {
		close(p.first)
	}
	t.mu.Unlock()

	select {
	case <-p.first:
		return p, true
	default:
	}
	select {
	case <-p.first:
		return p, true
	case <-ctx.Done():
	case <-closing:
	}
	p.leave()
	return nil, false
}

// leave gives up the place, wherever in the line it is.
func (p *turn) leave() {
	t := p.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	line := t.lines[p.name]
	for i, q := range line {
		if q != p {
			continue
		}
		line = append(line[:i], line[i+1:]...)
		if len(line) == 0 {
			delete(t.lines, p.name)
			return
		}
		t.lines[p.name] = line
		if i == 0 {
			close(line[0].first)
		}
		return
	}
}

// busy reports whether anybody stands in the name's line.
func (t *turns) busy(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.lines[name]) > 0
}
