package metrics_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/metrics"
	"github.com/holdfast-dev/holdfast/server"
)

func Example() {
	url, stop := startNode()
	defer stop()
	ctx := context.Background()

	// One label value for all orders, one for all users, and so on.
	m := metrics.New(metrics.WithLockLabel(func(name string) string {
		kind, _, _ := strings.Cut(name, "/")
		return kind
	}))
	registry := prometheus.NewRegistry() // or prometheus.DefaultRegisterer
	registry.MustRegister(m)

	c, err := client.Open(url, client.WithObserver(m.Observer()))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
	for _, name := range []string{"orders/42", "orders/43"} {
		if _, err := c.Lock(ctx, name); err != nil {
			log.Fatal(err)
		}
	}

	// What /metrics (promhttp.HandlerFor(registry, ...)) shows:
	families, _ := registry.Gather()
	for _, f := range families {
		if f.GetName() == "holdfast_client_held" {
			fmt.Println(f.GetName(), f.Metric[0].Label[0].GetValue(), f.Metric[0].Gauge.GetValue())
		}
	}
	// Output: holdfast_client_held orders 2
}

// startNode stands for the machines of a real deployment: one node in this process.
func startNode() (url string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	s, err := server.New(server.Config{})
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	return "redis://" + l.Addr().String(), func() {
		s.Shutdown(context.Background())
		<-served
	}
}
