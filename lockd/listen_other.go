//go:build !linux

package lockd

import "syscall"

// boundUnacknowledged does nothing where the system has no such option: a vanished peer of a stream is then
// found when the system gives up sending, or when enough heartbeats have filled the socket's buffer.
func boundUnacknowledged(_, _ string, _ syscall.RawConn) error { return nil }
