package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/lockd"
)

type devCommand struct {
	Count int    `default:"5" help:"How many nodes, an odd number."`
	Port  int    `default:"7001" help:"Port of the first node; the others follow."`
	HTTP  string `name:"http" default:"127.0.0.1:7080" env:"HOLDFAST_HTTP" placeholder:"ADDR" help:"Where lockd serves HTTP: HOST:PORT on this machine's loopback, or unix:PATH (${env}). Default: 127.0.0.1:7080."`
}

// Validate is called by the parser.
func (cmd *devCommand) Validate() error {
	if cmd.Count < 1 || cmd.Count%2 == 0 || cmd.Count > 99 {
		return fmt.Errorf("--count %d: an odd number of nodes, 1 to 99", cmd.Count)
	}
	if cmd.Port < 1 {
		return fmt.Errorf("--port %d: dev needs the number of a port, 1 or more, for its first node", cmd.Port)
	}
	if cmd.Port+cmd.Count-1 > 65535 {
		return fmt.Errorf("--port %d: there is no room for %d ports", cmd.Port, cmd.Count)
	}
	return nil
}

func (cmd *devCommand) Run() (err error) {
	ctx, stop := untilTold()
	defer stop()
	log := logger(slog.LevelWarn)
	web, err := listenHTTP(ctx, cmd.HTTP)
	if err != nil {
		return err
	}
	var addrs []string
	for i := range cmd.Count {
		addrs = append(addrs, net.JoinHostPort("127.0.0.1", strconv.Itoa(cmd.Port+i)))
	}
	nodes, err := startNodes(log, addrs...)
	if err != nil {
		closeAll([]net.Listener{web})
		return err
	}
	defer func() { err = errors.Join(err, stopNodes(nodes)) }()
	c, err := client.Open(addresses(nodes), client.WithLogger(log))
	if err != nil {
		closeAll([]net.Listener{web})
		return err
	}
	// The nodes end here too, and every lease with them.
	defer func() { err = errors.Join(err, shutDown(c.Close)) }()
	api, err := lockd.New(c, lockd.Config{Version: version(), Logger: log})
	if err != nil {
		closeAll([]net.Listener{web})
		return err
	}
	whatToTry(os.Stdout, invocation(), nodes, web)
	return serveHTTP(ctx, api, web)
}

// whatToTry prints lines that work as they are in another terminal.
func whatToTry(out io.Writer, holdfast string, nodes []*embedded, web net.Listener) {
	_, port, _ := net.SplitHostPort(nodes[0].addr)
	curl := "curl -s -H 'Content-Type: application/json'"
	base := urlOf(web)
	if path, ok := strings.CutPrefix(base, "unix:"); ok {
		curl += " --unix-socket " + path
		base = "http://localhost"
	}
	count := fmt.Sprintf("%d nodes", len(nodes))
	if len(nodes) == 1 {
		count = "1 node"
	}
	note := ""
	if holdfast == goRun {
		note = "\nBuild the binary (make build) for the command's own exit code: go run makes 1 of all but 0.\n"
	}
	fmt.Fprintf(out, `%-9s %s
lockd     %s

Try this in another terminal. Commands that take locks find the nodes in this variable:

  export HOLDFAST_NODES=%s

Run a command while holding a lock, and see who holds what:

  %s lock demo -- sh -c 'echo "I hold $LOCK_NAME with token $LOCK_TOKEN"; sleep 2'
  %s locks ls
  %s locks inspect demo
%s
Take a lock over HTTP for ten seconds, and look at it:

  %s -d '{"ttl": "10s"}' %s/v1/locks/demo
  %s %s/v1/locks/demo

Each node speaks the Redis protocol:

  redis-cli -p %s SET greeting hello EX 60

Ctrl-C ends it all. Nothing is kept.
`, count, addresses(nodes), urlOf(web), addresses(nodes), holdfast, holdfast, holdfast, note, curl, base, curl, base, port)
}

// goRun is the invocation of a program that go run has built.
const goRun = "go run ./cmd/holdfast"

// invocation is how this program can be called again.
func invocation() string {
	path, err := os.Executable()
	if err != nil {
		return "holdfast"
	}
	if strings.Contains(path, "go-build") {
		return goRun
	}
	if found, err := exec.LookPath("holdfast"); err == nil && sameFile(found, path) {
		return "holdfast"
	}
	if here, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(rel, "..") {
			return "./" + rel
		}
	}
	return path
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
