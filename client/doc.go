// Package client takes locks: mutual exclusion between processes, with fencing tokens, over N independent
// Redis-protocol servers.
//
// There are only a few types. A [Client] holds one link to each node and is shared by the whole program. A
// [Lease] is one lock that is held: there is no Mutex to be in a wrong state, holding is a value. Errors are
// sentinels to branch on ([ErrHeld], [ErrExpired], ...) and struct types to print ([HeldError], [QuorumError]).
//
//	c, err := client.Open("redis://10.0.0.1:6379,10.0.0.2:6379,10.0.0.3:6379")
//	err = c.Do(ctx, "orders/42", func(ctx context.Context, l *client.Lease) error {
//		return store.Write(ctx, order, l.Token()) // the store refuses a token lower than it has seen
//	})
//
// # What is promised
//
// At most one client considers itself the holder of a name; each lease has a fencing token that is higher
// than that of every lease of the name before it; a holder learns of its loss in time: [Lease.Context] ends
// no later than the lock may pass to somebody else, whatever calls are in flight. A minority of nodes that
// is down, slow or hung costs redundancy and nothing else: no call waits for more than a majority.
//
// # What is not
//
// Clocks that differ in speed by more than the drift allowance break exclusion. A process may be paused
// between a look at its lease and the write that follows: only a resource that checks the token and writes
// in one step is safe from that. A master that fails over to a replica may lose a lock, so a Sentinel or
// Cluster deployment is one vote of weaker worth (see [NodeOf]). Locks that others take with redsync exclude
// each other with ours, but carry no token.
//
// # Where it runs
//
// A node is any server of the Redis protocol with Lua: ours, Redis from 7.0 on, Valkey. One node is a lock
// service without redundancy, three or five are a quorum. What [Open] cannot say in a URL (certificates, a
// Sentinel, a Cluster) a go-redis client says, of which [NodeOf] makes a node; there is what such a vote means.
//
// A user for locks alone needs this rule, all of it for what this package does and no more; without publish,
// subscribe and the channels, waiters find out by ttl and by polling:
//
//	+evalsha +eval +script|load +client|info +client|kill +info +ping +scan +select
//	+time +get +mget +set +del +exists +pexpire +pttl +hget +hset +hdel +sadd +scard +sismember +smembers
//	+zadd +zrem +zcard +zcount +zscore +zrange +zrangebyscore +publish +subscribe ~* &holdfast:*
//
// # Reading order
//
// lock.go says how attempts become a lease, turns.go and wake.go how waiters stand in line and hear of their
// turn, lease.go, watchdog.go and wheel.go how a lease lives and ends, link.go, wire.go and cut.go how requests reach
// a node, open.go and servers.go which node that is, inspect.go what can be asked of the nodes besides,
// observer.go what a program can be told while it runs, meta.go what those who wait are shown,
// operate.go how a lock is taken from its holder, locker.go what a program sees that can use other lock clients as well.
//
// What is more than a mutex is built on that, each in a file of its own: lockall.go takes several locks,
// semaphore.go one of k, rwlock.go one that readers share, election.go shows who holds one, once.go does
// something once for all machines. latch.go and barrier.go are no locks but sets of members, members.go.
// changes.go is how those who observe or wait for members hear of changes.
package client
