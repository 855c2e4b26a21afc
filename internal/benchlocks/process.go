package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A process is a child of ours: a node, or a client.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string        // file with what it wrote to its standard error
	done chan struct{} // closed when it has ended and was waited for
}

// start starts a program; prepare may change its command before. Its standard error, and its standard output
// unless prepare takes that, go to a file in dir.
func start(dir, name string, prepare func(*exec.Cmd), argv ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.log = filepath.Join(dir, name+".log")
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = log, log, attr()
	if prepare != nil {
		prepare(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() { // ends with the process, which stop ends
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// pause stops the process, as a hang of its machine would; resume lets it go on.
func (p *process) pause() error  { return p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// stop kills the process, also a paused one, and waits for its end.
func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// failure says how a process that should run has ended, with the end of what it wrote.
func (p *process) failure() error {
	text, _ := os.ReadFile(p.log)
	const enough = 2000
	text = text[max(0, len(text)-enough):]
	return fmt.Errorf("%s ended (%v): %s", p.name, p.cmd.ProcessState, text)
}

// errNotUp says that a program did not begin to listen.
var errNotUp = errors.New("does not listen")

// awaitPort waits until the process listens on the address.
func (p *process) awaitPort(addr string) error {
	const patience = 10 * time.Second
	began := monotonic()
	for monotonic()-began < patience {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			return p.failure()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s on %s: %w", p.name, addr, errNotUp)
}

// freePorts returns ports of the loopback address that nobody listens on, no two the same.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
