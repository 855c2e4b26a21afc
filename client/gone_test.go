package client_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// atOnce is more than a waiter takes from the moment when its nodes wake it, and less than the shortest
// interval in which it polls.
const atOnce = 20 * time.Millisecond

// inDatabase returns the cluster as clients see it that have selected database db.
func (c cluster) inDatabase(t testing.TB, db int) cluster {
	var out cluster
	for _, n := range c {
		rdb := redis.NewClient(&redis.Options{Addr: n.addr, Dialer: n.dial, DB: db, Protocol: 2, DisableIdentity: true})
		t.Cleanup(func() { rdb.Close() })
		out = append(out, testNode{addr: n.addr, rdb: rdb, dial: n.dial})
	}
	return out
}

// selected returns a client of the cluster in database db.
func (c cluster) selected(t testing.TB, db int) *client.Client {
	var nodes []redlock.Node
	for _, n := range c.inDatabase(t, db) {
		nodes = append(nodes, client.NodeOf(n.rdb))
	}
	return newClient(t, nodes)
}

// Ensure that on our own nodes a waiter has the lock at once in whatever way its key goes away: the holder may
// be one of ours or a client that knows nothing of waiters, and may be long from its expiry or have none.
func TestLock_KeyGone(t *testing.T) {
	ways := map[string]func(ctx context.Context, c *redis.Client) error{
		"del":    func(ctx context.Context, c *redis.Client) error { return c.Del(ctx, "x").Err() },
		"unlink": func(ctx context.Context, c *redis.Client) error { return c.Unlink(ctx, "x").Err() },
		"getdel": func(ctx context.Context, c *redis.Client) error { return c.GetDel(ctx, "x").Err() },
		"past":   func(ctx context.Context, c *redis.Client) error { return c.Do(ctx, "SET", "x", "v", "PXAT", 1).Err() },
		"expire": func(ctx context.Context, c *redis.Client) error { return c.PExpire(ctx, "x", -time.Second).Err() },
		"rename": func(ctx context.Context, c *redis.Client) error { return c.Rename(ctx, "x", "y").Err() },
		"move":   func(ctx context.Context, c *redis.Client) error { return c.Move(ctx, "x", 9).Err() },
		"flush":  func(ctx context.Context, c *redis.Client) error { return c.FlushDB(ctx).Err() },
		"all":    func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() },
		"script": func(ctx context.Context, c *redis.Client) error {
			// As redsync releases.
			return c.Eval(ctx, `if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end`, []string{"x"}, "another").Err()
		},
		"multi": func(ctx context.Context, c *redis.Client) error {
			_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, "else", 1, 0)
				p.Del(ctx, "x")
				return nil
			})
			return err
		},
	}
	for name, gone := range ways {
		for _, db := range []int{0, 3} {
			for _, foreign := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " in ", db, " foreign=", foreign), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						all, _ := memoryNodes(t, 5)
						nodes := all.inDatabase(t, db)
						ctx := context.Background()
						if !foreign {
							_, err := all.selected(t, db).Lock(ctx, "x", client.WithoutRenew(), client.TTL(20*time.Second))
							require.NoError(t, err)
							synctest.Wait() // for the nodes that nobody waited for
						}
						if foreign || name == "script" {
							for _, n := range nodes {
								require.NoError(t, n.rdb.Set(ctx, "x", "another", 0).Err())
							}
						}
						got := waiting(t, all.selected(t, db), ctx, "x")
						time.Sleep(3*time.Second + 33*time.Millisecond) // it has queued on all nodes
						for _, n := range nodes {
							require.NoError(t, gone(ctx, n.rdb))
						}
						began := time.Now()
						lease := <-got
						require.NotNil(t, lease)
						assert.Less(t, time.Since(began), atOnce)
						require.NoError(t, lease.Unlock(ctx))
						time.Sleep(20 * time.Second) // the ttl of the record that the first holder left
						nodes.assertClean(t, "x")
					})
				})
			}
		}
	}
}

// Ensure that a waiter has the lock of a holder that is none of ours in the moment in which it expires, though
// nobody reads the key then, and though its ttl was shortened while the waiter slept.
func TestLock_KeyExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		_, err := nodes.client(t).Lock(ctx, "x", client.WithoutRenew(), client.TTL(20*time.Second))
		require.NoError(t, err)
		synctest.Wait() // for the nodes that nobody waited for
		got := waiting(t, nodes.client(t), ctx, "x")
		time.Sleep(3 * time.Second)
		began := time.Now()
		for _, n := range nodes {
			require.NoError(t, n.rdb.PExpire(ctx, "x", 133*time.Millisecond).Err())
		}
		lease := <-got
		require.NotNil(t, lease)
		assert.InDelta(t, 133*time.Millisecond, time.Since(began), float64(atOnce))
		assert.GreaterOrEqual(t, time.Since(began), 133*time.Millisecond)
		require.NoError(t, lease.Unlock(ctx))
	})
}

// Ensure that after the queues were flushed waiters line up again and all of them get their turn by messages.
func TestLock_QueuesFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		held, err := nodes.client(t).Lock(ctx, "x")
		require.NoError(t, err)
		var got []<-chan *client.Lease
		for range 4 {
			got = append(got, waiting(t, nodes.client(t), ctx, "x"))
		}
		time.Sleep(time.Second) // all nodes have the lock: none is free before it is flushed
		for _, n := range nodes {
			require.NoError(t, n.rdb.FlushAll(ctx).Err())
		}
		began := time.Now()
		for range got {
			var l *client.Lease
			select {
			case l = <-got[0]:
			case l = <-got[1]:
			case l = <-got[2]:
			case l = <-got[3]:
			}
			require.NotNil(t, l)
			require.NoError(t, l.Unlock(ctx))
		}
		assert.Less(t, time.Since(began), 500*time.Millisecond)
		held.Unlock(ctx)
	})
}

// Ensure that on our own nodes a waiter that died at the head of all queues costs the next one a turn, and not the
// time to its next look.
func TestLock_DeadHeadCostsATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		held, err := nodes.client(t).Lock(ctx, "x")
		require.NoError(t, err)
		synctest.Wait() // for the nodes that nobody waited for
		for _, n := range nodes {
			dead := redis.Z{Score: 1, Member: fmt.Sprintf("dead/1;%d", time.Now().Add(6*time.Second).UnixMilli())}
			require.NoError(t, n.rdb.ZAdd(ctx, redlock.Keys("x").Waiters, dead).Err())
			require.NoError(t, n.rdb.PExpire(ctx, redlock.Keys("x").Waiters, 6*time.Second).Err())
		}
		got := waiting(t, nodes.client(t), ctx, "x")
		time.Sleep(33 * time.Millisecond)
		require.NoError(t, held.Unlock(ctx))
		began := time.Now()
		lease := <-got
		require.NotNil(t, lease)
		const turn = 500 * time.Millisecond
		assert.InDelta(t, turn, time.Since(began), float64(atOnce))
		require.NoError(t, lease.Unlock(ctx))
		time.Sleep(6 * time.Second)
		nodes.assertClean(t, "x")
	})
}
