package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/lockd"
	"github.com/holdfast-dev/holdfast/server"
)

type lockdCommand struct {
	Nodes string `env:"HOLDFAST_NODES" placeholder:"ADDR,ADDR,..." help:"The nodes, best an odd number of them, as HOST:PORT or a redis:// URL (${env}). Default: one node inside this process, whose locks end with it."`
	HTTP  string `name:"http" default:"127.0.0.1:7080" env:"HOLDFAST_HTTP" placeholder:"ADDR" help:"Where to serve HTTP: HOST:PORT on this machine's loopback, or unix:PATH (${env}). Default: 127.0.0.1:7080."`
}

func (cmd *lockdCommand) Run() error {
	ctx, stop := untilTold()
	defer stop()
	log := logger(slog.LevelInfo)
	web, err := listenHTTP(ctx, cmd.HTTP)
	if err != nil {
		return err
	}
	var nodes []*embedded
	if cmd.Nodes == "" {
		if nodes, err = startNodes(log, "127.0.0.1:0"); err != nil {
			closeAll([]net.Listener{web})
			return err
		}
		cmd.Nodes = addresses(nodes)
		fmt.Printf("no --nodes: one node inside this process, %s\n", cmd.Nodes)
	}
	c, err := client.Open(cmd.Nodes, client.WithLogger(log))
	if err != nil {
		closeAll([]net.Listener{web})
		return errors.Join(&exitError{exitUsage, err}, stopNodes(nodes))
	}
	api, err := lockd.New(c, lockd.Config{Version: version(), Logger: log})
	if err != nil {
		closeAll([]net.Listener{web})
		return errors.Join(err, stopNodes(nodes))
	}
	fmt.Printf("lockd on %s\n", urlOf(web))
	err = serveHTTP(ctx, api, web)
	// Not Close, which would release the leases of callers who believe in them until their deadlines.
	return errors.Join(err, shutDown(c.Detach), stopNodes(nodes))
}

// listenHTTP opens lockd's address; an error is one line that says what to do.
func listenHTTP(ctx context.Context, addr string) (net.Listener, error) {
	if err := lockd.CheckBind(addr); err != nil {
		return nil, &exitError{exitUsage, err}
	}
	l, err := lockd.Listen(ctx, addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, taken(addr, "--http")
	case errors.Is(err, lockd.ErrNotLoopback): // what the name localhost means here
		return nil, &exitError{exitUsage, err}
	}
	return l, err
}

// serveHTTP serves until ctx is done, and ends the server in order.
func serveHTTP(ctx context.Context, api *lockd.Server, l net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := api.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return shutDown(api.Shutdown)
	})
	return group.Wait()
}

func urlOf(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}

// An embedded node lives in this process.
type embedded struct {
	addr   string
	node   *server.Server
	served chan error // what Serve has returned
}

// startNodes starts a node on each address, or none and says why.
func startNodes(log *slog.Logger, addrs ...string) ([]*embedded, error) {
	var listeners []net.Listener
	for _, addr := range addrs {
		l, err := listen(addr, "--port")
		if err != nil {
			closeAll(listeners)
			return nil, err
		}
		listeners = append(listeners, l)
	}
	var nodes []*embedded
	for i, l := range listeners {
		tcp := l.Addr().(*net.TCPAddr)
		node, err := server.New(server.Config{Log: log, Bind: []string{tcp.IP.String()}, Port: tcp.Port})
		if err != nil {
			closeAll(listeners[i:])
			return nil, errors.Join(err, stopNodes(nodes))
		}
		e := &embedded{addr: l.Addr().String(), node: node, served: make(chan error, 1)}
		go func() { e.served <- node.Serve(l) }()
		nodes = append(nodes, e)
	}
	return nodes, nil
}

// stopNodes ends the nodes and waits for their goroutines.
func stopNodes(nodes []*embedded) error {
	var errs []error
	for _, e := range nodes {
		errs = append(errs, shutDown(e.node.Shutdown))
		if err := <-e.served; !errors.Is(err, server.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// addresses lists the nodes as --nodes takes them.
func addresses(nodes []*embedded) string {
	var list string
	for i, e := range nodes {
		if i > 0 {
			list += ","
		}
		list += e.addr
	}
	return list
}
