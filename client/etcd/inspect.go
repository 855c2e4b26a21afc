package etcd

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/client"
)

// Inspect returns what the cluster says about a lock, in the form of package client: the cluster counts as one node.
// Holder.Digest is the id of the holder's etcd lease in hexadecimal: `etcdctl lease revoke` with it takes the lock
// away. Fence is the holder's token, or the cluster's revision if the lock is free.
//
// Errors: client.ErrQuorum, client.ErrInvalid, client.ErrClosed, the context's.
func (c *Client) Inspect(ctx context.Context, name string) (*client.State, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	ctx, done, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	state, err := c.inspect(ctx, name)
	if err != nil && ctx.Err() != nil {
		return nil, ended(ctx)
	}
	return state, err
}

func (c *Client) inspect(ctx context.Context, name string) (*client.State, error) {
	bounded, cancel := c.request(ctx)
	defer cancel()
	resp, err := c.etcd.Get(bounded, c.queueOf(name), clientv3.WithFirstCreate()...)
	if err != nil {
		return nil, c.failure("inspect", name, err)
	}
	s := &client.State{Name: name, Answered: 1, Fence: resp.Header.Revision}
	if len(resp.Kvs) == 0 {
		return s, nil
	}
	s.Waiting = int(resp.Count) - 1
	return s, c.describe(ctx, s, resp.Kvs[0])
}

// describe completes the state of a lock whose first key is kv.
func (c *Client) describe(ctx context.Context, s *client.State, kv *mvccpb.KeyValue) (err error) {
	s.Fence = kv.CreateRevision
	if s.Holder, err = c.holder(ctx, kv); err != nil {
		return c.failure("inspect", s.Name, err)
	}
	return nil
}

// holder describes whom a key belongs to.
func (c *Client) holder(ctx context.Context, kv *mvccpb.KeyValue) (*client.Holder, error) {
	h := &client.Holder{Label: string(kv.Value), Token: kv.CreateRevision, Recorded: true, Nodes: 1,
		Digest: formatID(clientv3.LeaseID(kv.Lease)), Remaining: -1}
	if kv.Lease == 0 {
		return h, nil // put by hand
	}
	bounded, cancel := c.request(ctx)
	defer cancel()
	resp, err := c.etcd.TimeToLive(bounded, clientv3.LeaseID(kv.Lease))
	switch {
	case err == nil:
		h.Remaining = time.Duration(max(0, resp.TTL)) * time.Second // it is -1 for one that has gone meanwhile
	case gone(err):
		h.Remaining = 0
	default:
		return nil, err
	}
	return h, nil
}

// List returns the locks whose name begins with prefix and that somebody holds, in the order of their names. It reads
// the keys of all who hold and wait in one request, and then asks for the ttl of each holder.
//
// Errors: client.ErrQuorum, client.ErrClosed, the context's.
func (c *Client) List(ctx context.Context, prefix string) ([]*client.State, error) {
	ctx, done, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	states, err := c.list(ctx, prefix)
	if err != nil && ctx.Err() != nil {
		return nil, ended(ctx)
	}
	return states, err
}

func (c *Client) list(ctx context.Context, prefix string) ([]*client.State, error) {
	bounded, cancel := c.request(ctx)
	defer cancel()
	resp, err := c.etcd.Get(bounded, c.namesFrom(prefix), clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	if err != nil {
		return nil, c.failure("list", prefix, err)
	}
	const atOnce = 64
	var group errgroup.Group
	group.SetLimit(atOnce)
	found := make(map[string]*client.State)
	var states []*client.State
	for _, kv := range resp.Kvs { // each queue in its order
		name, ok := c.parseKey(string(kv.Key))
		if !ok {
			continue
		}
		if s := found[name]; s != nil {
			s.Waiting++
			continue
		}
		s := &client.State{Name: name, Answered: 1}
		found[name] = s
		states = append(states, s)
		group.Go(func() error { return c.describe(ctx, s, kv) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(states, func(a, b *client.State) int { return cmp.Compare(a.Name, b.Name) })
	return states, nil
}
