package etcd

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// checkName checks a lock name: the limits are those of package client.
func checkName(name string) error {
	if len(name) == 0 || len(name) > redlock.MaxName {
		return fmt.Errorf("%w: lock name of %d bytes, must be 1 to %d", client.ErrInvalid, len(name), redlock.MaxName)
	}
	return nil
}

// A name is escaped, so that it has no slash: the keys of "a" are not among those of "a/b". Escaping goes byte
// by byte, so that a prefix of a name, escaped, is a prefix of the name, escaped.

// queueOf returns what the keys of all who hold or wait for a lock begin with, and no others.
func (c *Client) queueOf(name string) string { return c.namesFrom(name) + "/" }

// namesFrom returns what the keys of all locks whose name begins with prefix begin with.
func (c *Client) namesFrom(prefix string) string { return c.set.prefix + "/" + url.PathEscape(prefix) }

// keyOf returns the key of one who holds or waits.
func (c *Client) keyOf(name string, id clientv3.LeaseID) string {
	return c.queueOf(name) + formatID(id)
}

func formatID(id clientv3.LeaseID) string { return fmt.Sprintf("%016x", uint64(id)) }

// parseKey returns the name of the lock to which a key belongs; false: it is none of ours.
func (c *Client) parseKey(key string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(key, c.set.prefix+"/")
	if !ok {
		return "", false
	}
	escaped, id, ok := strings.Cut(rest, "/")
	if !ok || len(id) != 16 {
		return "", false
	}
	if _, err := strconv.ParseUint(id, 16, 64); err != nil {
		return "", false
	}
	name, err := url.PathUnescape(escaped)
	return name, err == nil && checkName(name) == nil && url.PathEscape(name) == escaped
}
