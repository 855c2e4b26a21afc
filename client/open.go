package client

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-dev/holdfast/redlock"
)

// Open returns a client of the nodes that the URL lists, separated by commas:
//
//	redis://10.0.0.1:6379,10.0.0.2:6379,10.0.0.3:6379
//	rediss://user:password@a.example:6380,b.example:6380,c.example:6380/2
//	unix:///run/a.sock,/run/b.sock,/run/c.sock
//
// Scheme, user, password, database and query are said once and go for all nodes; a full URL for each node,
// separated by commas, says them for each. A bare list "a:6379,b:6379" means redis://. The port defaults to
// 6379. Query parameters are those of redis.ParseURL; what they say of retries, timeouts and pools does not
// apply, see WithTimeout. A comma, slash or @ in a password is written with a percent sign.
//
// Nodes must be independent masters, see New for their number. Nothing is dialled before it is needed, so Open
// succeeds while nodes are down; ask Health.
//
// Errors: ErrInvalid for a URL that cannot be understood, has an empty item or names a node twice. Its user and password are
// not repeated in the message.
func Open(url string, opts ...Option) (*Client, error) {
	parsed, err := parseNodes(url)
	if err != nil {
		return nil, err
	}
	var nodes []redlock.Node
	for _, o := range parsed {
		nodes = append(nodes, singleNode(o))
	}
	return New(nodes, opts...)
}

// singleNode returns the node of one server.
func singleNode(base *redis.Options) *link {
	return &link{name: base.Addr, dial: func(l *link) (wire, redis.UniversalClient) {
		w := newOwnWire(base, l)
		return w, w.side
	}}
}

// NodeOf makes one node, with one vote, of a go-redis client that the caller configured and goes on owning:
// it is never closed here. Of a *redis.Client the node takes the address, the credentials, TLS and the dialer,
// and makes connections of its own beside the client's pool, one for the protocol and a few for
// the rest; the client's hooks do not see them. Automatic
// retries are off for what is sent to the node, whatever the client's MaxRetries says.
//
// A *redis.Client of a single server is the regular case. A Sentinel-managed master, a Cluster or a Ring
// counts as ONE vote, however many machines it consists of, and as a weak one: its fail-over may forget a
// lock that a replica had not received, which is a node that lost its state without a quarantine. Three such
// votes on separate deployments tolerate one fail-over at a time; a single one promises no exclusion across
// it. What is sent to a Cluster or a Ring goes through the given client, whose timeouts then apply.
func NodeOf(rdb redis.UniversalClient) redlock.Node {
	if single, ok := rdb.(*redis.Client); ok {
		return singleNode(single.Options())
	}
	l := &link{name: "cluster", dial: func(*link) (wire, redis.UniversalClient) {
		return &sharedWire{rdb: rdb}, rdb
	}}
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		l.name += " " + strings.Join(cluster.Options().Addrs, ",")
	}
	return l
}

// scheme is where a list of full URLs is cut.
var scheme = regexp.MustCompile(`^[a-z]+://`)

// parseNodes turns the URL of Open into one set of options for each node.
func parseNodes(list string) ([]*redis.Options, error) {
	var all []*redis.Options
	seen := make(map[string]bool)
	urls, err := splitNodes(list)
	if err != nil {
		return nil, err
	}
	for _, one := range urls {
		o, err := redis.ParseURL(one)
		if err != nil {
			return nil, fmt.Errorf("%w: node %d: %w", ErrInvalid, len(all)+1, withoutURL(err))
		}
		if seen[o.Addr] {
			return nil, fmt.Errorf("%w: node %s is named twice, but has one vote", ErrInvalid, o.Addr)
		}
		seen[o.Addr] = true
		all = append(all, o)
	}
	return all, nil
}

// splitNodes returns the URL of each node: "redis://u:p@a,b/2" becomes "redis://u:p@a/2", "redis://u:p@b/2".
// An item without an address is an error: redis.ParseURL would take it for localhost.
func splitNodes(list string) (urls []string, err error) {
	var head, tail string // what stands before and after the addresses of the list at hand
	head = "redis://"
	parts := strings.Split(list, ",")
	for i := 0; i < len(parts); {
		n := 1 // parts up to the next full URL
		for i+n < len(parts) && !scheme.MatchString(strings.TrimSpace(parts[i+n])) {
			n++
		}
		group := parts[i : i+n]
		i += n
		first, last := strings.TrimSpace(group[0]), strings.TrimSpace(group[n-1])
		if s := scheme.FindString(first); s != "" {
			head, first = s, first[len(s):]
		}
		if at := strings.LastIndex(first, "@"); at >= 0 {
			head, first = head+first[:at+1], first[at+1:]
		}
		end := strings.IndexAny(last, "/?")
		if strings.HasPrefix(head, "unix:") {
			end = strings.Index(last, "?")
		} else if n == 1 {
			end = strings.IndexAny(first, "/?")
			last = first
		}
		tail = ""
		if end >= 0 {
			tail = last[end:]
		}
		for k, addr := range group {
			addr = strings.TrimSpace(addr)
			if k == 0 {
				addr = first
			}
			if k == n-1 {
				addr = strings.TrimSuffix(addr, tail)
			}
			if addr == "" {
				return nil, fmt.Errorf("%w: item %d of %d in the list of nodes is empty", ErrInvalid, len(urls)+1, len(parts))
			}
			urls = append(urls, head+addr+tail)
		}
	}
	return urls, nil
}

// withoutURL takes the URL, and the password in it, out of an error.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
