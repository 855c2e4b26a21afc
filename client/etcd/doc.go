// Package etcd takes the locks of package client on an etcd cluster, for those who want consensus instead of a
// quorum's timing: a lock survives the failure of a minority of the members, and tokens rise without regard to any clock.
//
//	cluster, err := clientv3.New(clientv3.Config{Endpoints: endpoints})
//	locks, err := etcd.New(cluster)
//	err = locks.Do(ctx, "orders/42", func(ctx context.Context, l *etcd.Lease) error {
//		return store.Write(ctx, order, l.Token()) // the store refuses a token lower than it has seen
//	})
//
// Errors are those of package client: the same errors.Is and errors.As work on both. [client.AsLocker] makes one
// type of both clients, for programs that leave the choice to their configuration.
//
// # What a lock is
//
// Each lock, and each place in its queue, is one key with one etcd lease of its own: PREFIX/NAME/LEASE, where NAME is
// escaped as in a URL and LEASE is the lease's id in hexadecimal. The value is the owner label. The key that was
// created first has the lock; its create revision is the token. Revisions are the cluster's: a token is higher than
// that of every lease before it, of any name, and no two are the same.
//
// So a loss means the loss of that one lock, and each has a ttl of its own. The price is two more writes per lock
// than with one etcd lease per process, and a keep-alive and a read each, every third of the ttl.
//
// # What is promised
//
// At most one client considers itself the holder of a name. A holder learns of its loss in time: a lease's end is
// its ttl from before the last keep-alive that was answered was sent, less the drift allowance, on a local clock.
// Nobody has to tell it: a cluster that is silent, or a connection that hangs, ends the lease just as well.
// A key that is deleted before (client.ErrForced: etcdctl del, etcdctl lease revoke) ends it as soon as
// the deletion is seen. Waiters get the lock in the order in which their keys were created, across all processes;
// each watches only the one before it, so that a release wakes one.
//
// # What is not
//
// Servers that lack the repair of etcd's issue 15247 (of late 2023, in 3.4 and 3.5 as well) can revoke a lease that is
// kept alive, when a leader's disk hangs and it comes back as a follower. The holder then learns of it by a deletion
// that comes too early, not in time. The other half of that fault, keep-alives that a leader answers that is none any
// more, is harmless here: each is confirmed by a linearizable read.
//
// As with package client: clocks that differ in speed by more than the drift allowance (1 % and 2 ms) break exclusion,
// and a process may be paused between a look at its lease and the write that follows; only a resource that checks
// the token is safe from that. A cluster that is restored from a backup goes back to the backup's revisions, and so
// do the tokens. A majority of the members must be up: without one nothing is locked, and held locks run out.
//
// There are no observers, guards, handles, or primitives beside the lock; locks of this package and of package client
// do not exclude each other.
package etcd
