package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/holdfast-dev/holdfast/redlock"
)

// nodeOptions makes of a go-redis client's options those of a link: nothing is tried twice, nothing takes
// longer than the timeout, nothing is sent that was not asked for, and nothing outlives life.
func nodeOptions(life context.Context, base *redis.Options, timeout time.Duration) *redis.Options {
	o := *base
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	// RESP2 has no push messages between replies: go-redis need not look for them around each batch.
	o.Protocol = 2
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.ClientSideCacheConfig, o.ClientSideCache = nil, nil
	o.AutoPipelineOptions, o.Limiter = nil, nil
	o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = 1, 0, 0, 0
	dial := o.Dialer
	if dial == nil {
		dial = redis.NewDialer(&o)
	}
	dial = cuttable(life, dial)
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return stillborn{err}, nil
		}
		return conn, nil
	}
	return &o
}

// A stillborn is the connection that could not be made. go-redis reports the error as that of the first
// write, to its caller. Told at the dial, it would also print it to the standard error, fail for a while
// without dialling, and leave a goroutine behind that dials in the background.
type stillborn struct{ err error }

func (c stillborn) Read([]byte) (int, error)         { return 0, c.err }
func (c stillborn) Write([]byte) (int, error)        { return 0, c.err }
func (c stillborn) Close() error                     { return nil }
func (c stillborn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c stillborn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c stillborn) SetDeadline(time.Time) error      { return nil }
func (c stillborn) SetReadDeadline(time.Time) error  { return nil }
func (c stillborn) SetWriteDeadline(time.Time) error { return nil }

// An ownWire is the wire of a single server: a connection that only one link uses.
//
// It is a go-redis client with a pool of one connection rather than a redis.Conn, because the pool looks
// before each use whether the server has closed the connection meanwhile, and dials a new one if so.
type ownWire struct {
	rdb  *redis.Client
	side *redis.Client // for the link
	link *link
	// cut and cutSide close the connections of rdb and side.
	cut, cutSide context.CancelFunc
	// ready is false from the beginning of a dial until the connection's scripts are loaded: a batch that
	// fails meanwhile was certainly not sent.
	ready atomic.Bool
	// last names the latest connection to the server: "id=... addr=...". See fenceOff.
	last atomic.Pointer[[2]string]
}

func newOwnWire(base *redis.Options, l *link) *ownWire {
	w := &ownWire{link: l}
	var life context.Context
	life, w.cut = context.WithCancel(context.Background())
	o := nodeOptions(life, base, l.timeout)
	dial, connected := o.Dialer, o.OnConnect
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		w.ready.Store(false)
		return dial(ctx, network, addr)
	}
	o.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
		if connected != nil {
			if err := connected(ctx, cn); err != nil {
				return err
			}
		}
		if err := w.greet(ctx, cn); err != nil {
			return err
		}
		w.ready.Store(true)
		return nil
	}
	w.rdb = redis.NewClient(o)
	life, w.cutSide = context.WithCancel(context.Background())
	beside := nodeOptions(life, base, l.timeout)
	beside.PoolSize, beside.MaxIdleConns = 256, 1
	beside.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
		if connected != nil {
			if err := connected(ctx, cn); err != nil {
				return err
			}
		}
		info, err := cn.Info(ctx, "server").Result()
		if err != nil && !isReply(err) {
			return err
		}
		return l.servers.check(l, runIDOf(info))
	}
	w.side = redis.NewClient(beside)
	return w
}

// greet prepares a new connection. The scripts are loaded before anything is sent, since a request that must
// be sent again for want of its script would come after others that it must precede.
func (w *ownWire) greet(ctx context.Context, cn *redis.Conn) error {
	pipe := cn.Pipeline()
	if last := w.last.Load(); last != nil {
		// The connection before this one may have died with requests on their way. The server must not
		// execute them after those of this connection: a late acquire would overtake its release. The
		// address makes sure that a restarted server, which counts ids anew, does not kill somebody else.
		pipe.Do(ctx, "client", "kill", "id", last[0], "addr", last[1])
	}
	self := pipe.Do(ctx, "client", "info")
	server := pipe.Info(ctx, "server")
	var loads []*redis.StringCmd
	for _, s := range redlock.Scripts() {
		loads = append(loads, pipe.ScriptLoad(ctx, s.Source))
	}
	// The first failing command's error says nothing about the others: CLIENT or INFO may be denied by an
	// ACL, which costs only that second guard, or the check that two names are not one server.
	if _, err := pipe.Exec(ctx); err != nil && !isReply(err) {
		return err
	}
	if info, err := self.Text(); err == nil {
		id, addr := infoField(info, "id"), infoField(info, "addr")
		if id != "" && addr != "" {
			w.last.Store(&[2]string{id, addr})
		}
	}
	for _, load := range loads {
		if err := load.Err(); err != nil {
			return err
		}
	}
	return w.link.servers.claim(w.link, runIDOf(server.Val()))
}

// infoField returns a field of CLIENT INFO, whose text is "id=3 addr=127.0.0.1:60123 ...".
func infoField(info, name string) string {
	for field := range strings.FieldsSeq(info) {
		if v, ok := strings.CutPrefix(field, name+"="); ok {
			return v
		}
	}
	return ""
}

// isReply tells an error that the node answered from one of the way to it.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

func (w *ownWire) run(cmds []redis.Cmder) (certain bool, err error) {
	return pipelined(w.rdb, cmds, func() bool { return !w.ready.Load() })
}

// pipelined runs commands in one pipeline and tells errors of the connection from those of single commands.
func pipelined(rdb redis.UniversalClient, cmds []redis.Cmder, unsent func() bool) (certain bool, err error) {
	ctx := context.Background()
	pipe := rdb.Pipeline()
	if err := pipe.BatchProcess(ctx, cmds...); err != nil {
		return true, err
	}
	if _, err = pipe.Exec(ctx); err == nil {
		return false, nil
	}
	certain = unsent() // then err may be a reply, too, but to the handshake
	if !certain && isReply(err) && allReplied(cmds) {
		return false, nil
	}
	for _, cmd := range cmds {
		// go-redis leaves them as they are if there was no connection at all.
		if cmd.Err() == nil && cmd.(scriptCall).Val() == nil {
			cmd.SetErr(err)
		}
	}
	return certain, err
}

// allReplied reports whether each command has a reply of its own, be it an error.
func allReplied(cmds []redis.Cmder) bool {
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !isReply(err) {
			return false
		}
	}
	return true
}

func loadScripts(ctx context.Context, rdb redis.Cmdable) error {
	pipe := rdb.Pipeline()
	for _, s := range redlock.Scripts() {
		pipe.ScriptLoad(ctx, s.Source)
	}
	_, err := pipe.Exec(ctx)
	return err
}

func (w *ownWire) closeSide() {
	w.cutSide()
	w.side.Close()
}

func (w *ownWire) close() error {
	w.cut()
	return w.rdb.Close()
}

// A sharedWire is the wire of a node that is more than one server: a Cluster or a Ring. It goes through the
// user's own client, whose routing it needs and whose timeouts apply; nothing of it is closed.
type sharedWire struct {
	rdb    redis.UniversalClient
	loaded bool
}

func (w *sharedWire) run(cmds []redis.Cmder) (certain bool, err error) {
	if !w.loaded {
		if err := w.loadScripts(); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return true, err
		}
		w.loaded = true
	}
	return pipelined(w.rdb, cmds, func() bool { return false })
}

func (w *sharedWire) loadScripts() error {
	ctx := context.Background()
	load := func(ctx context.Context, rdb *redis.Client) error { return loadScripts(ctx, rdb) }
	switch rdb := w.rdb.(type) {
	case *redis.ClusterClient:
		return rdb.ForEachMaster(ctx, load)
	case *redis.Ring:
		return rdb.ForEachShard(ctx, load)
	}
	return loadScripts(ctx, w.rdb)
}

func (w *sharedWire) closeSide()   {}
func (w *sharedWire) close() error { return nil }
