// Goservice is an HTTP service that ships each order once, however many copies of it run.
//
//	go run ./cmd/holdfast dev                  # in another terminal
//	go run ./examples/goservice -addr 127.0.0.1:8080
//	curl -X POST http://127.0.0.1:8080/orders/42/ship
//
// The lock keeps two copies from working on one order at the same time. The fencing token keeps a copy that
// was paused for too long from writing over its successor: the store refuses a token lower than the highest
// it has seen.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/client"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "where to listen")
	nodes := flag.String("nodes", cmp.Or(os.Getenv("HOLDFAST_NODES"),
		"127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003,127.0.0.1:7004,127.0.0.1:7005"), "the nodes")
	flag.Parse()
	if err := run(*addr, *nodes); err != nil {
		log.Fatal(err)
	}
}

func run(addr, nodes string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	locks, err := client.Open(nodes, client.WithTTL(10*time.Second))
	if err != nil {
		return err
	}
	defer locks.Close(context.WithoutCancel(ctx))

	service := &service{locks: locks, orders: store{rows: make(map[string]row)}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders/{id}/ship", service.ship)
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := &http.Server{Handler: mux}
	go func() {
		<-ctx.Done()
		server.Shutdown(context.WithoutCancel(ctx))
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type service struct {
	locks  *client.Client
	orders store
}

func (s *service) ship(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	wait, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	err := s.locks.Do(wait, "orders/"+id, func(ctx context.Context, lease *client.Lease) error {
		// ctx ends when the lock is lost: every slow step under the lock takes it.
		return s.orders.markShipped(ctx, id, lease.Token())
	})
	switch {
	case errors.Is(err, errShipped):
		http.Error(w, "order "+id+" has been shipped already", http.StatusConflict)
	case errors.Is(err, context.DeadlineExceeded):
		http.Error(w, "order "+id+" is busy", http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		fmt.Fprintf(w, "order %s shipped\n", id)
	}
}

var (
	errShipped = errors.New("already shipped")
	errStale   = errors.New("a later holder has written already")
)

// A store stands for the database. What makes it safe is that it compares the token and writes in one step;
// in SQL that is UPDATE orders SET shipped = true, token = $2 WHERE id = $1 AND token <= $2.
type store struct {
	mu   sync.Mutex
	rows map[string]row
}

type row struct {
	token   int64
	shipped bool
}

func (s *store) markShipped(ctx context.Context, id string, token int64) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch old := s.rows[id]; {
	case token < old.token:
		return errStale
	case old.shipped:
		return errShipped
	}
	s.rows[id] = row{token: token, shipped: true}
	return nil
}
