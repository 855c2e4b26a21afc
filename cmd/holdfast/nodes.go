package main

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-dev/holdfast/client"
)

// nodesFlag is how a subcommand is told where the locks live.
type nodesFlag struct {
	Nodes string `env:"HOLDFAST_NODES" placeholder:"ADDR,ADDR,..." help:"The nodes, best an odd number of them, as HOST:PORT or a redis:// URL (${env})."`
}

func (f *nodesFlag) open(opts ...client.Option) (*client.Client, error) {
	if f.Nodes == "" {
		return nil, &exitError{exitUsage, errors.New("no nodes: give their addresses with --nodes or in HOLDFAST_NODES")}
	}
	c, err := client.Open(f.Nodes, opts...)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return c, nil
}

// closing bounds how long the end of a subcommand may take: what a node has not confirmed by then it forgets
// after a ttl.
const closing = 5 * time.Second

// shutDown calls a function that ends something, with a context of its own: the one that the program ran
// under is usually over by then.
func shutDown(end func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	return end(ctx)
}
