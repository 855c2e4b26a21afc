package server

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// Ensure that a turn is over after the first slow command, wherever it comes, give or take a stride, and
// never because of quick ones alone.
func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := startTurn(clock.Now())
		for range 1000 {
			require.False(t, turn.over())
		}
		slow := 0
		for over := false; !over && slow <= longStride; slow++ {
			time.Sleep(10 * time.Millisecond)
			over = turn.over()
		}
		assert.LessOrEqual(t, slow, longStride)
		for range 10 {
			turn = startTurn(clock.Now())
			time.Sleep(10 * time.Millisecond)
			require.True(t, turn.over())
		}
	})
}

// Ensure that the commands of a pipeline which are slow do not run under one hold of the execution lock, and
// that those of a transaction do: each hold has one time.
func TestSession_SlowPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := New(Config{Hz: 1})
		require.NoError(t, err)
		var holds []clock.Instant
		srv.table.add(&command{name: "nap", arity: 1, handler: func(c *Call) error {
			holds = append(holds, c.Now())
			time.Sleep(14 * time.Millisecond)
			return c.OK()
		}})
		ours, theirs := net.Pipe()
		go srv.ServeConn(theirs)
		r := bufio.NewReader(ours)
		synctest.Wait() // for cron, which would be stuck at a lock while the handler sleeps, and time with it
		run := func(commands string, replies int) (different int) {
			holds = nil
			_, err := ours.Write([]byte(commands))
			require.NoError(t, err)
			for range replies {
				_, err := r.ReadString('\n')
				require.NoError(t, err)
			}
			for i, now := range holds {
				if i == 0 || now != holds[i-1] {
					different++
				}
			}
			return different
		}
		assert.Equal(t, 10, run(strings.Repeat("NAP\r\n", 10), 10))
		assert.Equal(t, 1, run("MULTI\r\n"+strings.Repeat("NAP\r\n", 10)+"EXEC\r\n", 22))
		ours.Close()
		require.NoError(t, srv.Shutdown(t.Context()))
	})
}
