package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// aWhile is for how long a test waits for another process.
const aWhile = 20 * time.Second

// cycle takes a lock, has it renewed, has somebody wait for it, and gives it back.
func cycle(t *testing.T, c *client.Client, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), aWhile)
	defer cancel()
	l, err := c.Lock(ctx, name)
	require.NoError(t, err)
	require.NoError(t, l.Renew(ctx))
	_, err = c.TryLock(ctx, name)
	require.ErrorIs(t, err, client.ErrHeld)
	next := make(chan error, 1)
	go func() {
		next <- c.Do(ctx, name, func(_ context.Context, after *client.Lease) error {
			assert.Greater(t, after.Token(), l.Token())
			return nil
		})
	}()
	list, err := c.List(ctx, name)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, l.Unlock(ctx))
	require.NoError(t, <-next)
}

// Ensure that one node, two, three or four are enough, and that a quorum may have nodes of both kinds.
func TestWhere_Numbers(t *testing.T) {
	theirs := redisNodes(t, 2)
	ours, _ := memoryNodes(t, 2)
	all := cluster{theirs[0], ours[0], theirs[1], ours[1]}
	for n := 1; n <= len(all); n++ {
		cycle(t, all[:n].client(t), fmt.Sprint("x", n))
	}
}

// writeFile writes a file of the test's and returns its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// Ensure that a master that Sentinel looks after is a node, and follows a fail-over: a lease that the new
// master knows of lives on, and locks can be taken there.
func TestWhere_Sentinel(t *testing.T) {
	ctx := context.Background()
	nodes := redisNodes(t, 2)
	master, replica := nodes[0], nodes[1]
	host, port, err := net.SplitHostPort(master.addr)
	require.NoError(t, err)
	require.NoError(t, replica.rdb.Do(ctx, "replicaof", host, port).Err())
	require.Eventually(t, func() bool {
		return strings.Contains(replica.rdb.Info(ctx, "replication").Val(), "master_link_status:up")
	},
		aWhile, 20*time.Millisecond) // a sentinel that finds it so is ready at once
	sentinel := freePort(t)
	conf := writeFile(t, "sentinel.conf", fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor locks %s %s 1\n"+
		"sentinel down-after-milliseconds locks 300\nsentinel failover-timeout locks 2000\n", sentinel, host, port))
	cmd := exec.Command("redis-server", conf, "--sentinel")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	watch := redis.NewSentinelClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", sentinel)})
	defer watch.Close()
	require.Eventually(t, func() bool {
		replicas, err := watch.Replicas(ctx, "locks").Result()
		return err == nil && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok"
	}, aWhile, 20*time.Millisecond, "the sentinel knows the replica")

	rdb := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "locks", SentinelAddrs: []string{fmt.Sprintf("127.0.0.1:%d", sentinel)}})
	defer rdb.Close()
	c := newClient(t, []redlock.Node{client.NodeOf(rdb)}, client.WithTTL(time.Minute), client.WithTimeout(time.Second))
	cycle(t, c, "before")
	l, err := c.Lock(ctx, "x")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return replica.rdb.Exists(ctx, "x").Val() == 1 }, aWhile, time.Millisecond)
	master.rdb.ShutdownNoSave(ctx) // whose answer is the end of the connection
	require.Eventually(t, func() bool {
		addr, err := watch.GetMasterAddrByName(ctx, "locks").Result()
		return err == nil && net.JoinHostPort(addr[0], addr[1]) == replica.addr
	}, aWhile, 20*time.Millisecond, "the replica is the master")
	require.Eventually(t, func() bool { return l.Renew(ctx) == nil }, aWhile, 20*time.Millisecond, "the lease goes on at the new master")
	require.NoError(t, l.Unlock(ctx))
	again, err := c.TryLock(ctx, "x")
	require.NoError(t, err, "it is free there")
	require.NoError(t, again.Unlock(ctx))
	cycle(t, c, "after")
}

// redisCluster starts a Redis Cluster of three masters without replicas.
func redisCluster(t *testing.T) cluster {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		redisNodes(t, 1) // says what it means that there is none
	}
	var c cluster
	ctx := context.Background()
	for i := range 3 {
		port := freePort(t)
		for port > 55000 { // its bus listens 10,000 above
			port = freePort(t)
		}
		n := redisNode(t, path, port, "--cluster-enabled", "yes")
		c = append(c, n)
		require.NoError(t, n.rdb.Do(ctx, "cluster", "addslotsrange", i*5462, min(i*5462+5461, 16383)).Err())
		host, port0, err := net.SplitHostPort(c[0].addr)
		require.NoError(t, err)
		require.NoError(t, n.rdb.ClusterMeet(ctx, host, port0).Err())
	}
	for _, n := range c {
		require.Eventually(t, func() bool {
			info := n.rdb.ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		}, aWhile, 20*time.Millisecond, "the cluster forms")
	}
	return c
}

// Ensure that a Redis Cluster is one node, whatever slot a name is in and also when the slot moves, and that
// names that it cannot take are refused with a reason.
func TestWhere_Cluster(t *testing.T) {
	ctx := context.Background()
	nodes := redisCluster(t)
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.addr)
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	defer rdb.Close()
	c := newClient(t, []redlock.Node{client.NodeOf(rdb)})
	for _, name := range []string{"a", "b", "c", "d", "orders/{42}/lines", "with space", "{"} {
		require.True(t, redlock.ClusterSafe(name), name)
		cycle(t, c, name)
	}
	_, err := c.TryLock(ctx, "a}b")
	require.ErrorIs(t, err, client.ErrInvalid)
	require.ErrorContains(t, err, "a Redis Cluster cannot have a lock named \"a}b\"")
	for _, n := range nodes {
		for _, key := range n.rdb.Keys(ctx, "*").Val() {
			assert.True(t, strings.HasSuffix(key, ":fence"), "%s is left at %s", key, n.addr)
		}
	}

	// The slot of a name that is held moves to another master, with its keys.
	l, err := c.Lock(ctx, "moving")
	require.NoError(t, err)
	slot := int(rdb.ClusterKeySlot(ctx, "moving").Val())
	owner := slices.IndexFunc(nodes, func(n testNode) bool { return n.rdb.Exists(ctx, "moving").Val() == 1 })
	require.GreaterOrEqual(t, owner, 0)
	moveSlot(t, slot, nodes[owner], nodes[(owner+1)%3], nodes)
	require.Eventually(t, func() bool { return l.Renew(ctx) == nil }, aWhile, 10*time.Millisecond, "MOVED is followed")
	require.NoError(t, l.Unlock(ctx))
	cycle(t, c, "moving")
	require.NoError(t, c.Close(ctx))
}

// moveSlot moves a slot with its keys from one master to another, and tells all.
func moveSlot(t *testing.T, slot int, from, to testNode, all cluster) {
	t.Helper()
	ctx := context.Background()
	id := func(n testNode) string { return n.rdb.Do(ctx, "cluster", "myid").Val().(string) }
	host, port, err := net.SplitHostPort(to.addr)
	require.NoError(t, err)
	require.NoError(t, to.rdb.Do(ctx, "cluster", "setslot", slot, "importing", id(from)).Err())
	require.NoError(t, from.rdb.Do(ctx, "cluster", "setslot", slot, "migrating", id(to)).Err())
	keys, err := from.rdb.ClusterGetKeysInSlot(ctx, slot, 100).Result()
	require.NoError(t, err)
	args := []any{"migrate", host, port, "", 0, 5000, "keys"}
	for _, k := range keys {
		args = append(args, k)
	}
	require.NoError(t, from.rdb.Do(ctx, args...).Err())
	for _, n := range append(cluster{to, from}, all...) {
		require.NoError(t, n.rdb.Do(ctx, "cluster", "setslot", slot, "node", id(to)).Err())
	}
}

// Ensure that a Ring of servers is one node.
func TestWhere_Ring(t *testing.T) {
	nodes := redisNodes(t, 2)
	rdb := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": nodes[0].addr, "b": nodes[1].addr}})
	defer rdb.Close()
	c := newClient(t, []redlock.Node{client.NodeOf(rdb)})
	for i := range 6 {
		cycle(t, c, fmt.Sprint("x", i))
	}
	require.NoError(t, c.Close(context.Background()))
	for _, n := range nodes {
		assert.Positive(t, n.rdb.DBSize(context.Background()).Val(), "both have had a part")
	}
}

// An authority makes certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.write("ca.crt", "CERTIFICATE", der)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	require.NoError(a.t, os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// issue makes NAME.crt and NAME.key, good for server and client at 127.0.0.1.
func (a *authority) issue(name string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	a.write(name+".crt", "CERTIFICATE", der)
	a.write(name+".key", "EC PRIVATE KEY", keyDER)
	pair, err := tls.LoadX509KeyPair(a.path(name+".crt"), a.path(name+".key"))
	require.NoError(a.t, err)
	return pair
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Ensure that TLS works, with the client's certificate where the server asks for one, and that a server that
// cannot be trusted is refused with the reason.
func TestWhere_TLS(t *testing.T) {
	ctx := context.Background()
	redisNodes(t, 1) // or says that there is no redis-server
	path, err := exec.LookPath("redis-server")
	require.NoError(t, err)
	ca, other := newAuthority(t, "ours"), newAuthority(t, "another")
	ca.issue("server")
	mine := ca.issue("client")
	var addrs []string
	for range 3 {
		port := freePort(t)
		redisNode(t, path, freePort(t), "--tls-port", fmt.Sprint(port), "--tls-cert-file", ca.path("server.crt"),
			"--tls-key-file", ca.path("server.key"), "--tls-ca-cert-file", ca.path("ca.crt"), "--tls-auth-clients", "yes")
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port))
	}
	open := func(config *tls.Config) *client.Client {
		var nodes []redlock.Node
		for _, addr := range addrs {
			rdb := redis.NewClient(&redis.Options{Addr: addr, TLSConfig: config.Clone()})
			t.Cleanup(func() { rdb.Close() })
			nodes = append(nodes, client.NodeOf(rdb))
		}
		return newClient(t, nodes, client.WithTimeout(5*time.Second))
	}
	cycle(t, open(&tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{mine}}), "x")

	_, err = open(&tls.Config{RootCAs: other.pool(), Certificates: []tls.Certificate{mine}}).TryLock(ctx, "x")
	require.ErrorIs(t, err, client.ErrQuorum)
	assert.ErrorContains(t, err, "certificate signed by unknown authority")
	_, err = open(&tls.Config{RootCAs: ca.pool()}).TryLock(ctx, "x")
	require.ErrorIs(t, err, client.ErrQuorum)
	assert.Regexp(t, "certificate required|connection reset", err.Error(), "which of them comes first is the server's affair")

	c, err := client.Open("rediss://" + strings.Join(addrs, ","))
	require.NoError(t, err)
	_, err = c.TryLock(ctx, "x")
	assert.ErrorContains(t, err, "certificate signed by unknown authority", "rediss:// trusts what the system trusts")
	require.NoError(t, c.Close(ctx))
}

// lockUser is the ACL rule that doc.go gives for a user who takes locks.
const lockUser = "+evalsha +eval +script|load +client|info +client|kill +info +ping +scan +select " +
	"+time +get +mget +set +del +exists +pexpire +pttl +hget +hset +hdel +sadd +scard +sismember +smembers " +
	"+zadd +zrem +zcard +zcount +zscore +zrange +zrangebyscore +publish +subscribe ~* &holdfast:*"

// Ensure that the rule which the documentation gives names what the scripts call and no more, suffices for
// everything, and that without the right to publish and subscribe locks still work, by the ttl and by polling.
func TestWhere_ACL(t *testing.T) {
	ctx := context.Background()
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	text := strings.Join(strings.Fields(strings.ReplaceAll(string(doc), "//", "")), " ")
	require.True(t, strings.Contains(text, lockUser), "doc.go gives the rule")
	called := regexp.MustCompile(`redis\.p?call\('([A-Z]+)'`)
	beside := strings.Fields("+evalsha +eval +script|load +client|info +client|kill +info +ping +scan +select +subscribe ~* &holdfast:*")
	needed := make(map[string]bool)
	for _, word := range beside {
		needed[word] = true
	}
	for _, s := range redlock.Scripts() {
		for _, call := range called.FindAllStringSubmatch(s.Source, -1) {
			needed["+"+strings.ToLower(call[1])] = true
		}
	}
	assert.ElementsMatch(t, slices.Collect(maps.Keys(needed)), strings.Fields(lockUser))

	nodes := redisNodes(t, 3)
	for _, n := range nodes {
		rule := append([]any{"acl", "setuser", "locker", "on", ">s3cret", "resetchannels", "-@all"}, words(lockUser)...)
		require.NoError(t, n.rdb.Do(ctx, rule...).Err())
		rule = append([]any{"acl", "setuser", "mute", "on", ">s3cret", "resetchannels", "-@all"}, words(strings.Replace(lockUser, "&holdfast:*", "", 1))...)
		require.NoError(t, n.rdb.Do(ctx, append(rule, "-publish", "-subscribe")...).Err())
	}
	hosts := strings.TrimPrefix(nodes.url(), "redis://")
	c, err := client.Open("redis://locker:s3cret@"+hosts+"/0", client.WithTimeout(5*time.Second))
	require.NoError(t, err)
	cycle(t, c, "x")
	l, err := c.Lock(ctx, "x")
	require.NoError(t, err)
	_, err = c.ForceUnlock(ctx, "x", "the test")
	require.NoError(t, err)
	require.ErrorIs(t, l.Renew(ctx), client.ErrForced)
	require.True(t, c.Health(ctx).Quorum)
	require.NoError(t, c.Close(ctx))
	for _, n := range nodes {
		refused, err := n.rdb.Do(ctx, "acl", "log").Slice()
		require.NoError(t, err)
		assert.Empty(t, refused, "nothing that is needed was refused")
	}
	mute, err := client.Open("redis://mute:s3cret@"+hosts, client.WithTTL(time.Second), client.WithTimeout(2*time.Second))
	require.NoError(t, err)
	cycle(t, mute, "y")
	require.NoError(t, mute.Close(ctx))
}

func words(text string) (all []any) {
	for word := range strings.FieldsSeq(text) {
		all = append(all, word)
	}
	return all
}

// Ensure that unix sockets, passwords with any characters, and database numbers work in a URL.
func TestWhere_URL(t *testing.T) {
	ctx := context.Background()
	redisNodes(t, 1) // or says that there is no redis-server
	path, err := exec.LookPath("redis-server")
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "hf") // a socket's path is short
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	var sockets, hosts []string
	for i := range 3 {
		socket := filepath.Join(dir, fmt.Sprint(i, ".sock"))
		n := redisNode(t, path, freePort(t), "--unixsocket", socket)
		require.NoError(t, n.rdb.ConfigSet(ctx, "requirepass", "p@ss, w/rd").Err())
		sockets, hosts = append(sockets, socket), append(hosts, n.addr)
	}
	for _, url := range []string{
		"redis://:p%40ss%2C%20w%2Frd@" + strings.Join(hosts, ",") + "/3",
		"unix://:p%40ss%2C%20w%2Frd@" + strings.Join(sockets, ",") + "?db=4",
	} {
		c, err := client.Open(url, client.WithTimeout(5*time.Second))
		require.NoError(t, err, url)
		cycle(t, c, "x")
		require.NoError(t, c.Close(ctx))
	}
}
