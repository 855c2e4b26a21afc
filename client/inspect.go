package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// errNoScan is the error of a node that is not of NodeOf or Open.
var errNoScan = errors.New("node cannot be asked that")

// A State is what a majority of the nodes says about a lock: what Inspect and List return.
type State = redlock.State

// Inspect returns what a majority of nodes says about a lock. Errors: ErrQuorum, ErrInvalid, ErrClosed, the
// context's.
func (c *Client) Inspect(ctx context.Context, name string) (*State, error) {
	return inspected(c.quorum.Inspect(ctx, name))
}

// InspectAll is Inspect for somebody who wants to see every node. Like Health it waits for
// slow nodes: until each has answered, its timeout has passed, or ctx is done.
func (c *Client) InspectAll(ctx context.Context, name string) (*State, error) {
	return inspected(c.quorum.InspectAll(ctx, name))
}

func inspected(state *State, err error) (*State, error) {
	if errors.Is(err, redlock.ErrClosed) {
		return nil, ErrClosed
	}
	return state, err
}

// List returns the locks whose name begins with prefix and that somebody holds on a majority of nodes, in
// the order of their names. It scans the keys of a majority of nodes, which takes time in proportion to all
// keys there. Only locks taken through this protocol are found: redsync leaves no record beside its key.
// Nodes that cannot be scanned (see New) count as unreachable.
//
// Errors: ErrQuorum, ErrClosed, the context's.
func (c *Client) List(ctx context.Context, prefix string) ([]*State, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.calls.Done()
	names, err := c.names(ctx, prefix)
	if err != nil {
		return nil, err
	}
	const atOnce = 64
	states := make([]*State, len(names))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	tickets := make(chan struct{}, atOnce)
	for i, name := range names {
		tickets <- struct{}{}
		wg.Go(func() {
			states[i], errs[i] = c.Inspect(ctx, name)
			<-tickets
		})
	}
	wg.Wait()
	var held []*State
	for i, s := range states {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if !s.Free() {
			held = append(held, s)
		}
	}
	return held, nil
}

// names returns the names with prefix for which any of a majority of nodes has a holder's record. A lock on a
// majority has its record on at least one node of every majority.
func (c *Client) names(ctx context.Context, prefix string) ([]string, error) {
	type found struct {
		node  redlock.Node
		names []string
		err   error
	}
	scan, cancel := context.WithCancel(ctx)
	defer cancel() // the slow minority
	results := make(chan found, len(c.nodes))
	for _, n := range c.nodes {
		c.background.Go(func() {
			f := found{node: n, err: errNoScan}
			if l, ok := n.(*link); ok {
				f.names, f.err = l.scanNames(scan, prefix)
			}
			results <- f
		})
	}
	all := make(map[string]bool)
	failure := &redlock.QuorumError{Op: "list", Name: prefix, Need: c.majority, Nodes: len(c.nodes)}
	for range c.nodes {
		var f found
		select {
		case f = <-results:
		case <-ctx.Done():
			return nil, fmt.Errorf("list %q: %w", prefix, ended(ctx))
		}
		if f.err != nil {
			failure.Errs = append(failure.Errs, &redlock.NodeError{Node: f.node.String(), Err: f.err})
			continue
		}
		for _, name := range f.names {
			all[name] = true
		}
		if failure.Agreed++; failure.Agreed == c.majority {
			return slices.Sorted(maps.Keys(all)), nil
		}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("list %q: %w", prefix, ended(ctx))
	}
	return nil, failure
}

// globEscape makes a literal of a text in a pattern of SCAN.
var globEscape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// scanNames returns the names with prefix that have a holder's record at the node, in no order.
func (l *link) scanNames(ctx context.Context, prefix string) ([]string, error) {
	var mu sync.Mutex
	var names []string
	// The prefix may stand behind a brace. The pattern is for the records of holders and of readers, :holder and
	// :records, and admits more; they are looked through here.
	pattern := "*" + globEscape.Replace(prefix) + "*:[hr]*[rs]"
	scan := func(ctx context.Context, rdb redis.Cmdable) error {
		for it := rdb.Scan(ctx, 0, pattern, 1000).Iterator(); ; {
			if !it.Next(ctx) {
				return it.Err()
			}
			if name, ok := redlock.HolderName(it.Val()); ok && strings.HasPrefix(name, prefix) {
				mu.Lock()
				names = append(names, name)
				mu.Unlock()
			}
		}
	}
	var err error
	switch rdb := l.side.(type) {
	case *redis.ClusterClient:
		err = rdb.ForEachMaster(ctx, func(ctx context.Context, one *redis.Client) error { return scan(ctx, one) })
	case *redis.Ring:
		err = rdb.ForEachShard(ctx, func(ctx context.Context, one *redis.Client) error { return scan(ctx, one) })
	default:
		err = scan(ctx, rdb)
	}
	return names, err
}

// subscribe implements subscriber.
func (l *link) subscribe(ctx context.Context, channel string) *redis.PubSub {
	return l.side.Subscribe(ctx, channel)
}

// Health says how the nodes are at one moment.
type Health struct {
	// Quorum reports that a majority of the nodes answered: locks can be taken.
	Quorum bool
	Nodes  []NodeHealth // in the order in which the nodes were given
}

// NodeHealth is how one node answered.
type NodeHealth struct {
	Node    string        // its address
	Latency time.Duration // of one round trip; meaningless if Err is set
	Err     error         // nil: it answered
}

// Health asks every node for a sign of life. It waits for each until it answers, its timeout has passed
// (see WithTimeout) or ctx is done. It takes no lock and needs no quorum.
func (c *Client) Health(ctx context.Context) Health {
	h := Health{Nodes: make([]NodeHealth, len(c.nodes))}
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		h.Nodes[i] = NodeHealth{Node: n.String(), Err: errNoScan}
		if l, ok := n.(*link); ok {
			wg.Go(func() { h.Nodes[i].Latency, h.Nodes[i].Err = l.ping(ctx) })
		}
	}
	wg.Wait()
	up := 0
	for _, n := range h.Nodes {
		if n.Err == nil {
			up++
		}
	}
	h.Quorum = up >= c.majority
	return h
}

// ping measures a round trip on a connection that is already open.
func (l *link) ping(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	var began clock.Instant
	for range 2 {
		began = clock.Now()
		if err := l.side.Ping(ctx).Err(); err != nil {
			return 0, err
		}
	}
	return clock.Since(began), nil
}
