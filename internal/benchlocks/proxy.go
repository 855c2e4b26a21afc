package main

import (
	"net"
	"sync"
	"time"
)

// A proxy stands between clients and one node and holds back what goes either way: a slow network, whose
// capacity is not less for it.
type proxy struct {
	listener net.Listener
	target   string
	delay    time.Duration // each way

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
	wg     sync.WaitGroup
}

func newProxy(target string, delay time.Duration) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, delay: delay, conns: make(map[net.Conn]bool)}
	p.wg.Go(p.accept)
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(conn) })
	}
}

func (p *proxy) serve(conn net.Conn) {
	up, err := net.DialTimeout("tcp", p.target, time.Second)
	if err != nil {
		conn.Close()
		return
	}
	if !p.note(conn, up) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { carry(up, conn, p.delay) })
	both.Go(func() { carry(conn, up, p.delay) })
	both.Wait()
	p.forget(conn, up)
}

// note keeps connections for close; it closes them if that has happened already.
func (p *proxy) note(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			c.Close()
		}
		p.conns[c] = true
	}
	return !p.closed
}

func (p *proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// close ends all connections and waits for the goroutines.
func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// parcel is some bytes and when they are to be delivered.
type parcel struct {
	data []byte
	due  time.Duration
}

// carry copies from one connection to the other, each byte after the delay, and closes both at the end of the
// first. Many parcels are under way at the same time.
func carry(to, from net.Conn, delay time.Duration) {
	const underWay = 4096
	road := make(chan parcel, underWay)
	var wg sync.WaitGroup
	wg.Go(func() {
		failed := false
		for p := range road { // to the end, so that the reader is never left waiting
			if failed {
				continue
			}
			time.Sleep(p.due - monotonic())
			if _, err := to.Write(p.data); err != nil {
				failed = true
				from.Close()
			}
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			road <- parcel{append([]byte(nil), buf[:n]...), monotonic() + delay}
		}
		if err != nil {
			break
		}
	}
	close(road)
	wg.Wait()
	to.Close()
	from.Close()
}
