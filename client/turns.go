package client

import (
	"context"
	"sync"
)

// turns lets the waiters of one client for one name through one at a time, in the order in which they came:
// only the first of them is in the queues of the nodes, so that a hundred goroutines that want one lock cost
// the nodes no more than one. Once a reader has the lock, those that stand right behind it are let through
// together; one that comes after a writer stands behind it.
type turns struct {
	mu    sync.Mutex
	lines map[string][]*turn
}

// A turn is a place in a line. Its owner must call leave, once.
type turn struct {
	turns *turns
	name  string
	reads bool
	open  chan struct{} // closed when it is let through
}

// join goes to the end of the name's line and waits until it is let through. When ctx or closing is done
// before, it returns false, and the place is already given up.
func (t *turns) join(ctx context.Context, closing <-chan struct{}, name string, reads bool) (*turn, bool) {
	p := &turn{turns: t, name: name, reads: reads, open: make(chan struct{})}
	t.mu.Lock()
	if t.lines == nil {
		t.lines = make(map[string][]*turn)
	}
	line := append(t.lines[name], p)
	t.lines[name] = line
	if len(line) == 1 {
		p.letLocked()
	}
	t.mu.Unlock()

	select {
	case <-p.open:
		return p, true
	default:
	}
	select {
	case <-p.open:
		return p, true
	case <-ctx.Done():
	case <-closing:
	}
	p.leave(false)
	return nil, false
}

// letLocked lets a place through, if it was not before.
func (p *turn) letLocked() {
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// leave gives up the place, wherever in the line it is. granted tells that its owner has got the lock.
func (p *turn) leave(granted bool) {
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
		line[0].letLocked()
		for i := 0; granted && p.reads && i < len(line) && line[i].reads; i++ {
			line[i].letLocked()
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
