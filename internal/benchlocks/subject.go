package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
	etcd "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/holdfast-dev/holdfast/client"
)

// A subject is a lock client with its settings and its nodes.
type subject struct {
	name  string // for -subjects
	title string // for people
	kind  kind
	nodes int // how many of the kind
	open  func(addrs []string) (locker, error)
	// counted are the commands that the client itself sends to the nodes, in the words of INFO commandstats,
	// which counts what scripts call as well.
	counted []string
}

// The subjects' names.
const (
	oursOnRedis = "ours"
	oursOnOurs  = "ours-nodes"
	yardstick   = "redsync" // what ratios refer to
)

var subjects = []subject{
	{oursOnRedis, "Holdfast on 5 redis-server", kindRedis, masters, openOurs, []string{"evalsha", "eval"}},
	{oursOnOurs, "Holdfast on 5 nodes of its own", kindHoldfast, masters, openOurs, nil},
	{yardstick, "redsync on 5 redis-server", kindRedis, masters, openRedsync(), []string{"set", "evalsha", "eval"}},
	{"redsync-fast", "the same, retries after 1-4 ms", kindRedis, masters,
		openRedsync(redsync.WithRetryDelayFunc(shortDelay), redsync.WithTries(1<<20)), []string{"set", "evalsha", "eval"}},
	{"redislock", "redislock on ONE redis-server", kindRedis, 1, openRedislock, []string{"evalsha", "eval"}},
	{"rueidislock", "rueidislock on ONE redis-server", kindRedis, 1, openRueidislock, []string{"evalsha", "eval"}},
	{"etcd", "etcd, ONE node, log in memory", kindEtcd, 1, openEtcd, nil},
}

// A locker is what all lock clients have in common. It is safe for concurrent use.
type locker interface {
	// lock waits until it has the lock, or ctx is done, and returns what releases it.
	lock(ctx context.Context, name string) (unlock func() error, err error)
	close()
}

// ours is package client with default settings.
type ours struct{ c *client.Client }

func openOurs(addrs []string) (locker, error) {
	c, err := client.Open("redis://" + strings.Join(addrs, ","))
	if err != nil {
		return nil, err
	}
	return ours{c}, nil
}

func (o ours) lock(ctx context.Context, name string) (func() error, error) {
	l, err := o.c.Lock(ctx, name)
	if err != nil {
		return nil, err
	}
	return func() error { return l.Unlock(context.Background()) }, nil
}

func (o ours) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = o.c.Close(ctx)
}

// pools are go-redis clients with default settings.
type pools []*redis.Client

func openPools(addrs []string) (p pools) {
	for _, addr := range addrs {
		p = append(p, redis.NewClient(&redis.Options{Addr: addr}))
	}
	return p
}

func (p pools) close() {
	for _, rdb := range p {
		_ = rdb.Close()
	}
}

type redsyncLocker struct {
	pools
	rs   *redsync.Redsync
	opts []redsync.Option
}

func openRedsync(opts ...redsync.Option) func([]string) (locker, error) {
	return func(addrs []string) (locker, error) {
		l := redsyncLocker{pools: openPools(addrs), opts: opts}
		var all []redsyncredis.Pool
		for _, rdb := range l.pools {
			all = append(all, goredis.NewPool(rdb))
		}
		l.rs = redsync.New(all...)
		return l, nil
	}
}

func shortDelay(int) time.Duration { return time.Millisecond + rand.N(3*time.Millisecond) }

// lock begins anew when redsync gives up after its number of tries, which by default is 32.
func (l redsyncLocker) lock(ctx context.Context, name string) (func() error, error) {
	m := l.rs.NewMutex(name, l.opts...)
	for {
		err := m.LockContext(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var taken *redsync.ErrTaken
		if !errors.As(err, &taken) && !errors.Is(err, redsync.ErrFailed) {
			return nil, err
		}
	}
	return func() error {
		_, err := m.UnlockContext(context.Background())
		return err
	}, nil
}

type redislockLocker struct {
	pools
	c *redislock.Client
}

func openRedislock(addrs []string) (locker, error) {
	p := openPools(addrs)
	return redislockLocker{p, redislock.New(p[0])}, nil
}

// Its ttl is that of ours. redislock has no retry by default, and wants a strategy to be chosen.
func (l redislockLocker) lock(ctx context.Context, name string) (func() error, error) {
	m, err := l.c.Obtain(ctx, name, client.DefaultTTL, &redislock.Options{RetryStrategy: redislock.LinearBackoff(4 * time.Millisecond)})
	if err != nil {
		return nil, err
	}
	return func() error { return m.Release(context.Background()) }, nil
}

type rueidisLocker struct{ l rueidislock.Locker }

func openRueidislock(addrs []string) (locker, error) {
	l, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption:   rueidis.ClientOption{InitAddress: addrs},
		NoLoopTracking: true, // as its README advises for servers of this age
	})
	if err != nil {
		return nil, err
	}
	return rueidisLocker{l}, nil
}

func (l rueidisLocker) lock(ctx context.Context, name string) (func() error, error) {
	_, unlock, err := l.l.WithContext(ctx, name)
	if err != nil {
		return nil, err
	}
	return func() error { unlock(); return nil }, nil
}

func (l rueidisLocker) close() { l.l.Close() }

type etcdLocker struct {
	c       *etcd.Client
	session *concurrency.Session
}

func openEtcd(addrs []string) (locker, error) {
	c, err := etcd.New(etcd.Config{Endpoints: addrs, DialTimeout: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	s, err := concurrency.NewSession(c, concurrency.WithTTL(int(client.DefaultTTL/time.Second)))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return etcdLocker{c, s}, nil
}

// Mutexes of one session and one name would be one owner's. No scenario needs that: a worker that has several
// goroutines gives each a name of its own.
func (l etcdLocker) lock(ctx context.Context, name string) (func() error, error) {
	m := concurrency.NewMutex(l.session, "/"+name)
	if err := m.Lock(ctx); err != nil {
		return nil, err
	}
	return func() error { return m.Unlock(context.Background()) }, nil
}

func (l etcdLocker) close() {
	_ = l.session.Close()
	_ = l.c.Close()
}

// subjectOf finds a subject by its name.
func subjectOf(name string) (subject, error) {
	var names []string
	for _, s := range subjects {
		if s.name == name {
			return s, nil
		}
		names = append(names, s.name)
	}
	return subject{}, fmt.Errorf("no subject %q; there are %s", name, strings.Join(names, ", "))
}
