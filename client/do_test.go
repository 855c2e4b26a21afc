package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
)

// callers are ways to have work done under a lock.
var callers = map[string]func(ctx context.Context, c *client.Client, work func(context.Context, *client.Lease) error) error{
	"Do": func(ctx context.Context, c *client.Client, work func(context.Context, *client.Lease) error) error {
		return c.Do(ctx, "x", work)
	},
	"Once": func(ctx context.Context, c *client.Client, work func(context.Context, *client.Lease) error) error {
		_, err := c.Once(ctx, "x", client.TickOf("today", time.Hour), work)
		return err
	},
}

// Ensure that the context of the work ends as the caller's does, in the same moment, with its error, its cause and
// its deadline, and so do contexts that are made of it.
func TestDo_CallersContext(t *testing.T) {
	errLate, errBored := errors.New("too late"), errors.New("bored")
	type key struct{}
	for how, call := range callers {
		for name, test := range map[string]struct {
			bound func(ctx context.Context) (context.Context, context.CancelFunc)
			err   error
			cause error
		}{
			"timeout": {err: context.DeadlineExceeded, cause: context.DeadlineExceeded,
				bound: func(ctx context.Context) (context.Context, context.CancelFunc) {
					return context.WithTimeout(ctx, 20*time.Second)
				}},
			"timeout with a cause": {err: context.DeadlineExceeded, cause: errLate,
				bound: func(ctx context.Context) (context.Context, context.CancelFunc) {
					return context.WithTimeoutCause(ctx, 20*time.Second, errLate)
				}},
			"deadline with a cause": {err: context.DeadlineExceeded, cause: errLate,
				bound: func(ctx context.Context) (context.Context, context.CancelFunc) {
					return context.WithDeadlineCause(ctx, time.Now().Add(20*time.Second), errLate)
				}},
			"cancelled with a cause before the deadline": {err: context.Canceled, cause: errBored,
				bound: func(ctx context.Context) (context.Context, context.CancelFunc) {
					ctx, cancel := context.WithCancelCause(ctx)
					time.AfterFunc(20*time.Second, func() { cancel(errBored) })
					return context.WithTimeoutCause(ctx, time.Hour, errLate)
				}},
		} {
			t.Run(how+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					nodes, _ := memoryNodes(t, 3)
					began := time.Now()
					ctx, cancel := test.bound(context.WithValue(context.Background(), key{}, "value"))
					defer cancel()
					err := call(ctx, nodes.client(t), func(work context.Context, l *client.Lease) error {
						want, ok := ctx.Deadline()
						deadline, bounded := work.Deadline()
						assert.Equal(t, ok, bounded)
						assert.Equal(t, want, deadline)
						assert.Equal(t, "value", work.Value(key{}))
						child, stop := context.WithCancel(work)
						defer stop()
						<-child.Done()
						assert.Equal(t, 20*time.Second, time.Since(began))
						for _, ended := range []context.Context{work, child} {
							assert.Equal(t, test.err, ended.Err())
							assert.Equal(t, test.cause, context.Cause(ended))
						}
						assert.NoError(t, l.Err(), "it ends the work, not the lease")
						return context.Cause(work)
					})
					require.ErrorIs(t, err, test.cause)
				})
			})
		}
	}
}

// Ensure that the context of the work ends in the moment in which the lease does, whatever the caller's has in
// store, and with the loss as its cause.
func TestDo_LossEndsWork(t *testing.T) {
	for how, call := range callers {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes, started := memoryNodes(t, 3)
				ctx, cancel := context.WithTimeoutCause(context.Background(), time.Hour, errors.New("too late"))
				defer cancel()
				err := call(ctx, nodes.client(t), func(work context.Context, l *client.Lease) error {
					for _, n := range started[:2] {
						n.Stop()
					}
					<-l.Context().Done()
					assert.Equal(t, context.Canceled, work.Err())
					var loss *client.LossError
					require.ErrorAs(t, context.Cause(work), &loss)
					assert.Equal(t, l.Token(), loss.Token)
					return nil
				})
				require.ErrorIs(t, err, client.ErrQuorum)
			})
		})
	}
}
