package client

import "sync"

// A bell collects the nodes' messages for one that sleeps until something has happened.
type bell struct {
	// poke has a token while something has happened that the sleeper has not looked at.
	poke chan struct{}

	mu    sync.Mutex
	woken map[int]bool // nodes whose message came since the sleeper last looked
}

func newBell() bell { return bell{poke: make(chan struct{}, 1), woken: make(map[int]bool)} }

// wake is told of a node's message.
func (b *bell) wake(node int) {
	b.mu.Lock()
	b.woken[node] = true
	b.mu.Unlock()
	b.nudge()
}

// nudge wakes the sleeper without a message.
func (b *bell) nudge() {
	select {
	case b.poke <- struct{}{}:
	default:
	}
}

// forget drops the messages that came before the sleeper looks.
func (b *bell) forget() {
	b.mu.Lock()
	clear(b.woken)
	b.mu.Unlock()
	select {
	case <-b.poke:
	default:
	}
}

// wakes returns how many nodes' messages have come since forget.
func (b *bell) wakes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.woken)
}
