package lockd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNotLoopback: the address could be reached from other machines, and there are no tokens yet that would
// tell who is calling.
var ErrNotLoopback = errors.New("not a loopback address")

// unixPrefix marks the address of a unix socket, "unix:/run/holdfast.sock".
const unixPrefix = "unix:"

// A peer that has vanished without a word is found by what it does not acknowledge: probes on a connection
// that is silent (a waiting request), heartbeats on a stream. Within this time either way.
const vanishedAfter = 20 * time.Second

// CheckBind reports whether lockd may listen on the address: "HOST:PORT" with localhost or an address of the
// loopback interface, or "unix:PATH". Anything else is refused with ErrNotLoopback, wrapped in a sentence
// for the operator.
func CheckBind(addr string) error {
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		if path == "" {
			return fmt.Errorf("lockd: the address %q has no path", addr)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("lockd: the address %q is neither HOST:PORT nor unix:PATH: %w", addr, err)
	}
	if !isLoopback(host) {
		return notLoopback(addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("lockd: the address %q: %q is not the number of a port", addr, port)
	}
	return nil
}

func notLoopback(addr string) error {
	return fmt.Errorf("lockd: refusing to listen on %q: %w. lockd has no tokens to tell callers apart, so nothing "+
		"outside this machine may reach it. Use 127.0.0.1:7080 or unix:/path/to.sock", addr, ErrNotLoopback)
}

// isLoopback reports whether a host, as it stands in an address or a Host header without its port, is this
// machine's loopback interface. Only localhost counts of all names: any other may be pointed anywhere.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil && ip.Unmap().IsLoopback() && ip.Zone() == ""
}

// Listen opens an address that CheckBind allows. A unix socket is readable and writable by its owner only; one
// that a dead process left behind is replaced.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	if err := CheckBind(addr); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: vanishedAfter / 2, Interval: vanishedAfter / 4, Count: 2},
		Control:         boundUnacknowledged,
	}
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		return listenUnix(ctx, &lc, path)
	}
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("lockd: %w", err)
	}
	// What localhost means is for the machine's resolver to say; believe only what was bound.
	if bound, ok := l.Addr().(*net.TCPAddr); ok && !bound.IP.IsLoopback() {
		return nil, errors.Join(notLoopback(addr), l.Close())
	}
	return l, nil
}

func listenUnix(ctx context.Context, lc *net.ListenConfig, path string) (net.Listener, error) {
	l, err := lc.Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(ctx, path) {
		if err = os.Remove(path); err == nil || errors.Is(err, fs.ErrNotExist) {
			l, err = lc.Listen(ctx, "unix", path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("lockd: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("lockd: %w", err), l.Close())
	}
	return l, nil
}

// abandoned reports whether the path is a socket that nobody listens on.
func abandoned(ctx context.Context, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
