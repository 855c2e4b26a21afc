package main

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// echo listens and sends everything back.
func echo(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l
}

// Ensure that the proxy delivers everything in order, holds back each way, and holds back many things at the
// same time: ten messages take as long as one.
func TestProxy(t *testing.T) {
	const delay = 30 * time.Millisecond
	p, err := newProxy(echo(t).Addr().String(), delay)
	require.NoError(t, err)
	t.Cleanup(p.close)
	conn, err := net.Dial("tcp", p.addr())
	require.NoError(t, err)
	defer conn.Close()
	in := bufio.NewReader(conn)
	sent := make(map[int]time.Duration)
	for i := range 10 {
		sent[i] = monotonic()
		_, err := conn.Write([]byte{byte('0' + i)})
		require.NoError(t, err)
	}
	for i := range 10 {
		b, err := in.ReadByte()
		require.NoError(t, err)
		assert.Equal(t, byte('0'+i), b)
		assert.GreaterOrEqual(t, monotonic()-sent[i], 2*delay, "nothing may arrive early")
	}
}

// Ensure that the end of one side ends the other, and that closing the proxy ends everything.
func TestProxy_Ends(t *testing.T) {
	p, err := newProxy(echo(t).Addr().String(), time.Millisecond)
	require.NoError(t, err)
	first, err := net.Dial("tcp", p.addr())
	require.NoError(t, err)
	require.NoError(t, first.(*net.TCPConn).CloseWrite())
	_, err = first.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)

	second, err := net.Dial("tcp", p.addr())
	require.NoError(t, err)
	_, err = second.Write([]byte("x"))
	require.NoError(t, err)
	_, err = second.Read(make([]byte, 1))
	require.NoError(t, err, "both halves are up")
	p.close() // returns only when its goroutines have ended
	_, err = second.Read(make([]byte, 1))
	assert.Error(t, err)
	_, err = net.Dial("tcp", p.addr())
	assert.Error(t, err)
}

// Ensure that a node that is gone closes the connection rather than leaving it open.
func TestProxy_NoTarget(t *testing.T) {
	l := echo(t)
	addr := l.Addr().String()
	l.Close()
	p, err := newProxy(addr, time.Millisecond)
	require.NoError(t, err)
	t.Cleanup(p.close)
	conn, err := net.Dial("tcp", p.addr())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	assert.Error(t, err)
}
