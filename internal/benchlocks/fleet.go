package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// The kinds of nodes.
type kind string

const (
	kindRedis    kind = "redis-server"
	kindHoldfast kind = "holdfast"
	kindEtcd     kind = "etcd"
)

// masters is how many independent nodes a quorum is made of here.
const masters = 5

// A node is one server process and the address that it listens on.
type node struct {
	*process
	addr string
}

// A fleet is all servers of a run, and the directory they and the clients live in.
type fleet struct {
	dir   string
	nodes map[kind][]node
	dirs  []string // to remove
}

// startFleet starts the nodes of the given kinds. It returns a fleet to stop also with an error.
func startFleet(kinds map[kind]bool, holdfast string) (*fleet, error) {
	f := &fleet{nodes: make(map[kind][]node)}
	var err error
	if f.dir, err = f.tempDir(""); err != nil {
		return f, err
	}
	for k := range kinds {
		count := masters
		if k == kindEtcd {
			count = 1
		}
		ports, err := freePorts(2 * count)
		if err != nil {
			return f, err
		}
		for i := range count {
			if err := f.startNode(k, i, ports[2*i], ports[2*i+1], holdfast); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

// tempDir makes a directory that stop removes; under is its parent, or empty for the system's choice.
func (f *fleet) tempDir(under string) (string, error) {
	dir, err := os.MkdirTemp(under, "holdfast-bench-")
	if err == nil {
		f.dirs = append(f.dirs, dir)
	}
	return dir, err
}

func (f *fleet) startNode(k kind, i, port, second int, holdfast string) error {
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	var argv []string
	switch k {
	case kindRedis:
		argv = []string{"redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(port),
			"--save", "", "--appendonly", "no", "--dir", f.dir}
	case kindHoldfast:
		argv = []string{holdfast, "server", "--bind", "127.0.0.1", "--port", strconv.Itoa(port)}
	case kindEtcd:
		data, err := f.tempDir(fastDir())
		if err != nil {
			return err
		}
		peer := fmt.Sprintf("http://127.0.0.1:%d", second)
		argv = []string{"etcd", "--data-dir", filepath.Join(data, "etcd"), "--log-level", "error", "--logger", "zap",
			"--listen-client-urls", "http://" + addr, "--advertise-client-urls", "http://" + addr,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer}
	}
	p, err := start(f.dir, fmt.Sprintf("%s-%d", k, i+1), nil, argv...)
	if err != nil {
		return err
	}
	f.nodes[k] = append(f.nodes[k], node{p, addr})
	return p.awaitPort(addr)
}

// fastDir is where etcd keeps its log: in memory, if the system has such a directory.
func fastDir() string {
	const shared = "/dev/shm"
	if info, err := os.Stat(shared); err == nil && info.IsDir() {
		return shared
	}
	return ""
}

// of returns the nodes that a subject uses.
func (f *fleet) of(s subject) []node { return f.nodes[s.kind][:min(s.nodes, len(f.nodes[s.kind]))] }

// alive returns an error if a node has ended: every figure after that would be wrong.
func (f *fleet) alive() error {
	for _, nodes := range f.nodes {
		for _, n := range nodes {
			select {
			case <-n.done:
				return n.failure()
			default:
			}
		}
	}
	return nil
}

// stop ends all nodes and removes what they have written.
func (f *fleet) stop() {
	for _, nodes := range f.nodes {
		for _, n := range nodes {
			n.stop()
		}
	}
	for _, dir := range f.dirs {
		_ = os.RemoveAll(dir)
	}
}

// cpu returns the processor time that the nodes have used so far.
func cpu(nodes []node) (total time.Duration) {
	for _, n := range nodes {
		total += cpuOf(n.pid())
	}
	return total
}

// installed reports whether the program of a kind of nodes can be started.
func installed(k kind, holdfast string) error {
	program := map[kind]string{kindRedis: "redis-server", kindHoldfast: holdfast, kindEtcd: "etcd"}[k]
	_, err := exec.LookPath(program)
	return err
}
