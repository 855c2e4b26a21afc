package client

import (
	"context"
	"net"
	"syscall"
)

// A dialer makes a connection, as redis.Options.Dialer does.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// cuttable returns a dialer whose connections are all closed when life is done, whatever go-redis is doing
// with them: closing its pool does not reach a connection of a subscription that is in its handshake, nor
// one that is being dialled. After that it makes no more.
func cuttable(life context.Context, dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if life.Err() != nil {
			return nil, ErrClosed
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		unhook := context.AfterFunc(life, cancel)
		defer unhook()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := cutConn{Conn: conn, unhook: context.AfterFunc(life, func() { conn.Close() })}
		if socket, ok := conn.(syscall.Conn); ok {
			return cutSocket{c, socket}, nil
		}
		return c, nil
	}
}

// A cutConn is a connection of a cuttable dialer.
type cutConn struct {
	net.Conn
	unhook func() bool
}

// Close implements net.Conn.
func (c cutConn) Close() error {
	c.unhook()
	return c.Conn.Close()
}

// A cutSocket is a cutConn into which go-redis looks before each use, whether the server has closed it.
type cutSocket struct {
	cutConn
	socket syscall.Conn
}

// SyscallConn implements syscall.Conn.
func (c cutSocket) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }
