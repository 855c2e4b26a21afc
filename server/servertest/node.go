// Package servertest starts nodes for anybody's test, as httptest starts HTTP servers.
//
//	node := servertest.Start(t)                  // on a random port of 127.0.0.1
//	node := servertest.Start(t, servertest.InMemory()) // no sockets: also inside testing/synctest
//	rdb := redis.NewClient(&redis.Options{Addr: node.Addr(), Dialer: node.Dial})
//
// A node is empty when it starts and ends with its test.
package servertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/server"
)

// A Node is a server under test. Its methods are safe for concurrent use, except that Stop and Restart
// must not run at the same time.
type Node struct {
	tb      testing.TB
	addr    string
	options options

	mu       sync.Mutex
	srv      *server.Server
	served   chan struct{}
	pipes    sync.WaitGroup
	stopping bool
}

type options struct {
	config   server.Config
	inMemory bool
}

// An Option changes how a node is started.
type Option func(*options)

// InMemory gives the node no socket: Dial is the only way in. Nothing in it touches the network, so it
// works inside a bubble of testing/synctest.
func InMemory() Option { return func(o *options) { o.inMemory = true } }

// WithConfig starts the node with this configuration.
func WithConfig(c server.Config) Option { return func(o *options) { o.config = c } }

// WithPassword starts the node with requirepass.
func WithPassword(password string) Option {
	return func(o *options) { o.config.RequirePass = password }
}

// memoryAddrs numbers the addresses of nodes without a socket.
var memoryAddrs atomic.Int64

// Start starts a node, which is stopped when the test ends. It fails the test if it cannot.
func Start(tb testing.TB, opts ...Option) *Node {
	tb.Helper()
	n := &Node{tb: tb}
	for _, opt := range opts {
		opt(&n.options)
	}
	if n.options.inMemory {
		// A numeric address, because a client may resolve it although it does not dial it.
		n.addr = fmt.Sprintf("127.0.0.1:%d", 1+memoryAddrs.Add(1)%65535)
	}
	n.start("127.0.0.1:0")
	tb.Cleanup(n.Stop)
	return n
}

// StartCluster starts n nodes that know nothing of each other: a quorum is the business of its clients.
func StartCluster(tb testing.TB, n int, opts ...Option) []*Node {
	tb.Helper()
	nodes := make([]*Node, n)
	for i := range nodes {
		nodes[i] = Start(tb, opts...)
	}
	return nodes
}

func (n *Node) start(addr string) {
	n.tb.Helper()
	srv, err := server.New(n.options.config)
	if err != nil {
		n.tb.Fatalf("servertest: %v", err)
	}
	served := make(chan struct{})
	if n.options.inMemory {
		close(served)
	} else {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			srv.Shutdown(context.Background())
			n.tb.Fatalf("servertest: %v", err)
		}
		n.addr = l.Addr().String()
		go func() {
			defer close(served)
			srv.Serve(l)
		}()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.srv, n.served, n.stopping = srv, served, false
}

// Addr returns the node's address, "127.0.0.1:port". It stays the same over restarts. That of an
// in-memory node is only a name.
func (n *Node) Addr() string { return n.addr }

// Server returns the running server.
func (n *Node) Server() *server.Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.srv
}

// errStopped is what dialling a stopped in-memory node answers.
var errStopped = errors.New("servertest: connection refused: node is stopped")

// Dial connects to the node, whatever address it is given: it fits redis.Options.Dialer.
func (n *Node) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if !n.options.inMemory {
		return new(net.Dialer).DialContext(ctx, "tcp", n.addr)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopping {
		return nil, errStopped
	}
	near, far := pipe(n.addr)
	srv := n.srv
	n.pipes.Go(func() { srv.ServeConn(far) })
	return near, nil
}

// stopTime is how long a node may take to finish what it is doing.
const stopTime = 5 * time.Second

// Stop ends the node and waits until it has: connections are closed, keys are lost. A node that is
// stopped already stays so.
func (n *Node) Stop() {
	n.mu.Lock()
	if n.stopping {
		n.mu.Unlock()
		return
	}
	n.stopping = true
	srv, served := n.srv, n.served
	n.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		n.tb.Errorf("servertest: shutdown: %v", err)
	}
	<-served
	n.pipes.Wait()
}

// Restart stops the node, if it runs, and starts it again, empty, at the same address.
func (n *Node) Restart() {
	n.tb.Helper()
	n.Stop()
	n.start(n.addr)
}
