package client

import (
	"context"
	"errors"
	"net"
	"strings"
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

// A wire carries batches to one node. It is used by one goroutine at a time, except where it says otherwise.
type wire interface {
	// run executes the requests in order, each at most once, on one connection (to each master, if the node
	// is a cluster), and returns as many answers. An error of the connection is that of every answer which is
	// not the node's own. certain reports that not one of them was sent.
	run(batch []pending, how scriptForm) (answers []answer, certain bool, err error)
	// poster returns the connection if others may write to it while run does not, else nil.
	poster() poster
	// hangUp closes the connection when no run is to follow.
	hangUp()
	// closeSide ends what goes on beside the protocol, calls under way included. It may be called again and
	// at any time.
	closeSide()
	// close ends a run that is under way with an error, and all that come after it. The servers behind a
	// Cluster or a Ring are the exception: there a run ends by the timeouts of the user's client.
	close() error
}

// A poster is a connection to which whoever has something to send writes by himself, which saves waking the
// link's goroutine: that one reads.
type poster interface {
	// await returns when the node has sent something, or the error with which reading ends.
	await() error
	// arm sets until when the answers to a post must have come, disarm lets await wait for ever, and nudge ends
	// an await with a timeout. The link calls the first two under its lock, so that the deadline of one batch
	// never strikes the next.
	arm()
	disarm()
	nudge()
	// post writes a batch. Its answers are run's to read, as of a batch whose form isPosted.
	post(batch []pending)
	// drop closes the connection.
	drop()
}

// An answer is a node's reply to one request, or why there is none.
type answer struct {
	value any
	err   error
}

// A scriptForm is how a node is told which script to run: by its hash, for which it must have been loaded,
// or by its whole text, which makes the node know it.
type scriptForm uint8

const (
	byHash scriptForm = iota
	bySource
	isPosted // by its hash, and already written
)

// An ownWire is the wire of a single server: a connection that only one link uses.
type ownWire struct {
	link *link
	base *redis.Options
	conn *nodeConn     // nil: not connected
	side *redis.Client // for the link
	// life ends with the wire; cut and cutSide close the connections of the protocol and of side.
	life         context.Context
	cut, cutSide context.CancelFunc
	last         *[2]string // the latest connection's id and address at the server, see greet
}

func newOwnWire(base *redis.Options, l *link) *ownWire {
	w := &ownWire{link: l, base: base}
	w.life, w.cut = context.WithCancel(context.Background())
	life, cutSide := context.WithCancel(context.Background())
	w.cutSide = cutSide
	beside := nodeOptions(life, base, l.timeout)
	beside.PoolSize, beside.MaxIdleConns = 256, 1
	connected := base.OnConnect
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

func (w *ownWire) run(batch []pending, how scriptForm) (answers []answer, certain bool, err error) {
	if w.conn == nil {
		if w.conn, err = w.connect(); err != nil {
			return failed(batch, nil, err), true, err
		}
	}
	c := w.conn
	if how != isPosted {
		err = c.write(batch, how)
	}
	if err == nil {
		answers, err = c.read(len(batch))
	}
	if err != nil {
		c.drop()
		return failed(batch, answers, err), false, err
	}
	return answers, false, nil
}

// failed gives an error to all requests that have no answer of their own.
func failed(batch []pending, answers []answer, err error) []answer {
	for len(answers) < len(batch) {
		answers = append(answers, answer{err: err})
	}
	return answers
}

func (w *ownWire) poster() poster {
	if w.conn == nil || !w.conn.plain {
		return nil
	}
	return w.conn
}

// connect makes a connection and prepares it. go-redis dials and authenticates, with all that the user's
// options ask for; then the connection is ours, and what is left of go-redis only holds it, until drop.
func (w *ownWire) connect() (*nodeConn, error) {
	c := &nodeConn{wire: w, timeout: w.link.timeout}
	o := nodeOptions(w.life, w.base, w.link.timeout)
	dial := o.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		c.conn = conn
		return conn, err
	}
	connected, greeted := o.OnConnect, false
	o.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
		if connected != nil {
			if err := connected(ctx, cn); err != nil {
				return err
			}
		}
		if err := w.greet(ctx, cn); err != nil {
			return err
		}
		greeted = true
		return nil
	}
	c.rdb = redis.NewClient(o)
	c.held = c.rdb.Conn()
	err := c.held.Ping(context.Background()).Err() // the first command makes the connection
	if greeted {
		err = c.conn.SetDeadline(time.Time{}) // an ACL may deny PING
	}
	if err != nil {
		c.close()
		return nil, err
	}
	c.plain = isPlain(c.conn)
	return c, nil
}

// greet prepares a new connection. The scripts are loaded before anything is sent, since a request that must
// be sent again for want of its script would come after others that it must precede.
func (w *ownWire) greet(ctx context.Context, cn *redis.Conn) error {
	pipe := cn.Pipeline()
	if last := w.last; last != nil {
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
			w.last = &[2]string{id, addr}
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

func (w *ownWire) hangUp() {
	if w.conn != nil {
		w.conn.drop()
	}
}

func (w *ownWire) closeSide() {
	w.cutSide()
	w.side.Close()
}

func (w *ownWire) close() error {
	w.cut() // the connection, whatever is done with it
	return nil
}
