package lockd

import (
	"strings"
	"syscall"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h: for how long, in milliseconds, sent data may stay
// unacknowledged before the connection counts as dead. The system's own bound is about a quarter of an hour.
// Accepted connections inherit it from the listener.
const tcpUserTimeout = 18

func boundUnacknowledged(network, _ string, conn syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(vanishedAfter.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
