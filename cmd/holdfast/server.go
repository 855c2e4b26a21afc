package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/server"
)

// The flags are redis.conf's directives; seconds and bytes are written as there.
type serverCommand struct {
	Port          int      `default:"6379" help:"Port to listen on."`
	Bind          []string `default:"127.0.0.1" sep:" " help:"Addresses to listen on."`
	RequirePass   string   `name:"requirepass" env:"HOLDFAST_REQUIREPASS" help:"Password that clients must give (${env}; on the command line every user of the machine can read it)."`
	ProtectedMode string   `enum:"yes,no" default:"yes" help:"Refuse other machines while no password is set: yes or no."`
	Databases     int      `default:"16" help:"Number of databases."`
	MaxClients    int      `name:"maxclients" default:"10000" help:"Connections at the same time."`
	Timeout       int      `default:"0" placeholder:"SECONDS" help:"Send clients away that are idle for longer; 0: never."`
	TCPKeepalive  int      `name:"tcp-keepalive" default:"300" placeholder:"SECONDS" help:"Probe silent connections after this; 0: do not."`
	MaxBulk       memory   `name:"proto-max-bulk-len" default:"512mb" placeholder:"BYTES" help:"Longest word of a command."`
	MaxQuery      memory   `name:"client-query-buffer-limit" default:"1gb" placeholder:"BYTES" help:"Most bytes of commands that wait to be executed."`
}

// Validate is called by the parser. It refuses what server.Config would take for its defaults.
func (cmd *serverCommand) Validate() error {
	for _, limit := range []struct {
		flag  string
		value int64
	}{
		{"databases", int64(cmd.Databases)}, {"maxclients", int64(cmd.MaxClients)},
		{"proto-max-bulk-len", int64(cmd.MaxBulk)}, {"client-query-buffer-limit", int64(cmd.MaxQuery)},
	} {
		if limit.value < 1 {
			return fmt.Errorf("--%s %d: must be at least 1", limit.flag, limit.value)
		}
	}
	return nil
}

func (cmd *serverCommand) config() server.Config {
	keepAlive := time.Duration(cmd.TCPKeepalive) * time.Second
	if keepAlive == 0 {
		keepAlive = -1
	}
	return server.Config{
		Log: logger(slog.LevelInfo), Bind: cmd.Bind, Port: cmd.Port, RequirePass: cmd.RequirePass, Unprotected: cmd.ProtectedMode == "no",
		Databases: cmd.Databases, MaxClients: cmd.MaxClients,
		Timeout: time.Duration(cmd.Timeout) * time.Second, KeepAlive: keepAlive,
		MaxBulk: int64(cmd.MaxBulk), MaxQuery: int64(cmd.MaxQuery),
	}
}

func (cmd *serverCommand) Run() error {
	ctx, stop := untilTold()
	defer stop()
	var listeners []net.Listener
	for _, addr := range cmd.Bind {
		l, err := listen(net.JoinHostPort(addr, strconv.Itoa(cmd.Port)), "--port")
		if err != nil {
			closeAll(listeners)
			return err
		}
		listeners = append(listeners, l)
	}
	node, err := server.New(cmd.config())
	if err != nil {
		closeAll(listeners)
		return &exitError{exitUsage, err}
	}
	for _, l := range listeners {
		fmt.Printf("listening on %v\n", l.Addr())
	}
	return serveNode(ctx, node, listeners)
}

// serveNode serves until ctx is done, and ends the node.
func serveNode(ctx context.Context, node *server.Server, listeners []net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		group.Go(func() error {
			if err := node.Serve(l); !errors.Is(err, server.ErrClosed) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		return stopNode(node)
	})
	return group.Wait()
}

// stopNode ends a node. That some client did not read its replies and had to be cut off is not the node's
// failure.
func stopNode(node *server.Server) error {
	if err := shutDown(node.Shutdown); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// listen listens on a TCP address; the error says which flag chooses another one if it is taken.
func listen(addr, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, taken(addr, flag)
	}
	return l, err
}

func taken(addr, flag string) error {
	return fmt.Errorf("%s is taken: another process listens there; choose another with %s", addr, flag)
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close()
	}
}

// untilTold returns a context that ends when the process is told to end: Ctrl-C, kill. Told a second time, it
// dies at once.
func untilTold() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

func timeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

func logger(least slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: least}))
}
