package otel_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/otel"
	"github.com/holdfast-dev/holdfast/server"
)

func Example() {
	ctx := context.Background()
	url, stop := startNode()
	defer stop()
	exporter := tracetest.NewInMemoryExporter() // a program has one that sends
	tracers := trace.NewTracerProvider(trace.WithSyncer(exporter))
	defer tracers.Shutdown(ctx)

	o, err := otel.New(otel.WithTracerProvider(tracers), otel.WithHoldSpans())
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.Open(url, client.WithObserver(o.Observer()))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	tracer := tracers.Tracer("shop")
	err = c.Do(ctx, "orders/42", func(ctx context.Context, _ *client.Lease) error {
		_, span := tracer.Start(ctx, "ship") // a child of the hold
		span.End()
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, span := range exporter.GetSpans() {
		fmt.Println(span.Name)
	}
	// Output:
	// lock orders/42
	// ship
	// hold orders/42
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
