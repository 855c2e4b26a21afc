package client_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// closeGrace is what a minority may cost at the end.
const closeGrace = 50 * time.Millisecond

// Ensure that two of five nodes that hang cost Close and Detach no more than a moment, whatever is under way
// there: a connection being greeted or dialled, a release, a subscription, a scan.
func TestClose_HungMinority(t *testing.T) {
	for how, end := range map[string]func(*client.Client, context.Context) error{
		"close": (*client.Client).Close, "detach": (*client.Client).Detach,
	} {
		for when, hang := range map[string]func(v *valve, c *client.Client){
			"before": func(v *valve, _ *client.Client) { v.shut(true) },
			"after": func(v *valve, c *client.Client) {
				l, err := c.Lock(context.Background(), "warm")
				require.NoError(t, err)
				require.NoError(t, l.Unlock(context.Background()))
				time.Sleep(time.Second)
				v.shut(true)
			},
		} {
			t.Run(how+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					nodes, _ := memoryNodes(t, 5)
					ctx := context.Background()
					var v valve
					all := v.nodes(t, nodes[:2])
					for _, n := range nodes[2:] {
						all = append(all, n.node(t, nil))
					}
					c := newClient(t, all)
					hang(&v, c)
					other, err := nodes[2:].client(t).Lock(ctx, "y")
					require.NoError(t, err)
					time.Sleep(time.Second) // it has all of them
					got := waiting(t, c, ctx, "y")
					_, err = c.Lock(ctx, "x")
					require.NoError(t, err)
					_, err = c.List(ctx, "")
					require.NoError(t, err)

					began := time.Now()
					require.NoError(t, end(c, ctx))
					assert.LessOrEqual(t, time.Since(began), closeGrace)
					assert.Nil(t, <-got)
					require.NoError(t, other.Unlock(ctx))
					time.Sleep(time.Second)
					if how == "close" {
						nodes[2:].assertClean(t, "x", "y")
					}
				})
			})
		}
	}
}

// Ensure that Close does not wait for a subscription to a node that hangs in the handshake of its connection,
// which go-redis does not let go of by itself.
func TestClose_HungHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		v := &valve{closed: true}
		all := v.nodes(t, nodes[:1])
		for _, n := range nodes[1:] {
			all = append(all, n.node(t, nil))
		}
		c := newClient(t, all, client.WithTimeout(time.Minute))
		other, err := nodes[1:].client(t).Lock(ctx, "x")
		require.NoError(t, err)
		waiting(t, c, ctx, "x")
		began := time.Now()
		require.NoError(t, c.Close(ctx))
		assert.LessOrEqual(t, time.Since(began), closeGrace)
		require.NoError(t, other.Unlock(ctx))
	})
}

// Ensure that a node that does not even accept a connection costs Close no more than one that hangs.
func TestClose_HungDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		nodes[0].dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		c := nodes.client(t)
		_, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		began := time.Now()
		require.NoError(t, c.Close(ctx))
		assert.LessOrEqual(t, time.Since(began), closeGrace)
		nodes[1:].assertClean(t, "x")
	})
}

// Ensure that a wait for subscriptions that hang everywhere does not keep Close.
func TestClose_HungSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		var all []redlock.Node
		for _, n := range nodes {
			direct, dials := n.dial, 0
			n.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if dials++; dials > 1 { // the first is that of the protocol
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return direct(ctx, network, addr)
			}
			all = append(all, n.node(t, nil))
		}
		c := newClient(t, all, client.WithTimeout(time.Minute))
		other, err := nodes.client(t).Lock(ctx, "x")
		require.NoError(t, err)
		got := make(chan error, 1)
		go func() {
			_, err := c.Lock(ctx, "x")
			got <- err
		}()
		time.Sleep(time.Second)
		began := time.Now()
		require.NoError(t, c.Close(ctx))
		assert.LessOrEqual(t, time.Since(began), closeGrace)
		require.ErrorIs(t, <-got, client.ErrClosed)
		require.NoError(t, other.Unlock(ctx))
	})
}

// Ensure that a minority that is slow still gets the release that is queued for it when Close is called.
func TestClose_SlowMinority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		v := &valve{delay: 20 * time.Millisecond}
		all := v.nodes(t, nodes[:2])
		for _, n := range nodes[2:] {
			all = append(all, n.node(t, nil))
		}
		c := newClient(t, all)
		getToKnow(t, c)

		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		time.Sleep(100 * time.Millisecond) // now it goes to the minority, too
		synctest.Wait()
		require.NoError(t, l.Unlock(ctx))
		synctest.Wait()
		assert.EqualValues(t, 1, nodes[0].rdb.Exists(ctx, "x").Val(), "its release waits behind the acquire")
		began := time.Now()
		require.NoError(t, c.Close(ctx))
		assert.Equal(t, 40*time.Millisecond, time.Since(began))
		nodes.assertClean(t, "x")
	})
}

// Ensure that the release that is queued for a slow minority is sent also when the context has no time left.
func TestClose_SlowMinorityNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		v := &valve{delay: 20 * time.Millisecond}
		c := newClient(t, append(v.nodes(t, nodes[:1]), nodes[1].node(t, nil), nodes[2].node(t, nil)))
		getToKnow(t, c)

		_, err := c.Lock(context.Background(), "x")
		require.NoError(t, err)
		time.Sleep(100 * time.Millisecond) // now it goes to the minority, too
		synctest.Wait()
		require.EqualValues(t, 1, nodes[0].rdb.Exists(context.Background(), "x").Val())
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c.Close(ctx)
		nodes.assertClean(t, "x")
	})
}

// Ensure that Close is content with a lease that somebody else has resumed and released: there is nothing that the
// nodes could have failed to confirm.
func TestClose_ResumedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		c := nodes.client(t)
		l, err := c.Lock(ctx, "x", client.WithoutRenew())
		require.NoError(t, err)
		resumed, err := nodes.client(t).Resume(ctx, l.Handle())
		require.NoError(t, err)
		require.NoError(t, resumed.Unlock(ctx))
		require.NoError(t, c.Close(ctx))
		require.ErrorIs(t, l.Err(), client.ErrReleased)
		var loss *client.LossError
		require.ErrorAs(t, l.Unlock(ctx), &loss)
	})
}

// A stuck node keeps whoever sends it a release until it is let go.
type stuck struct {
	redlock.Node
	letGo chan struct{}
}

func (n stuck) Send(req redlock.Request, reply func(redlock.Reply)) {
	if req.Op == redlock.OpRelease {
		<-n.letGo
	}
	n.Node.Send(req, reply)
}

func (n stuck) Close() error { return n.Node.(io.Closer).Close() }

// Ensure that Close waits for an Unlock that has sent its release to some nodes only.
func TestClose_DuringUnlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		letGo := make(chan struct{})
		var all []redlock.Node
		for _, n := range nodes {
			all = append(all, stuck{n.node(t, nil), letGo})
		}
		c := newClient(t, all)
		l, err := c.Lock(ctx, "x")
		require.NoError(t, err)
		time.Sleep(time.Second) // all nodes have it
		go l.Unlock(ctx)
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- c.Close(ctx) }()
		time.Sleep(time.Second)
		close(letGo)
		require.NoError(t, <-closed)
		nodes.assertClean(t, "x")
	})
}
