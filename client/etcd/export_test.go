package etcd

import pb "go.etcd.io/etcd/api/v3/etcdserverpb"

// WrapLeases has keep-alives and grants pass through a wrapper.
func (c *Client) WrapLeases(wrap func(pb.LeaseClient) pb.LeaseClient) { c.leases = wrap(c.leases) }
