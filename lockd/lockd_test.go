package lockd

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/client"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silent{})
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		_, _ = os.Stderr.WriteString("lockd: " + err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

// A pipeListener is a network for a synctest bubble.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7080} }

func (l *pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// A rig is a server that is being served inside a bubble, and a caller of it.
type rig struct {
	t    *testing.T
	s    *Server
	l    *pipeListener
	http *http.Client
}

// newRig serves b until the test ends.
func newRig(t *testing.T, b backend, cfg Config) *rig {
	s, err := newServer(b, cfg)
	require.NoError(t, err)
	r := &rig{t: t, s: s, l: newPipeListener()}
	tr := &http.Transport{DialContext: r.l.dial}
	r.http = &http.Client{Transport: tr}
	served := make(chan error, 1)
	go func() { served <- s.Serve(r.l) }()
	synctest.Wait() // Serve has registered its server
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		assert.NoError(t, s.Shutdown(ctx))
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return r
}

// request makes a request as a well-behaved program does.
func request(ctx context.Context, method, path, body string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost:7080"+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// An answer is a whole response.
type answer struct {
	status int
	header http.Header
	text   string
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(a.text), v), "body: %s", a.text)
}

// problem checks that the answer is a problem in its right form, and returns it.
func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	a.into(t, &p)
	assert.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	assert.Equal(t, a.status, p.Status)
	assert.Equal(t, http.StatusText(a.status), p.Title)
	assert.Equal(t, "urn:holdfast:problem:"+string(p.Code), p.Type)
	assert.NotEmpty(t, p.Detail)
	return p
}

func (r *rig) do(method, path, body string) answer {
	r.t.Helper()
	res, err := r.http.Do(request(context.Background(), method, path, body))
	require.NoError(r.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	return answer{res.StatusCode, res.Header, string(text)}
}

// lock takes a lock that must be free.
func (r *rig) lock(name, body string) leaseInfo {
	r.t.Helper()
	a := r.do("POST", "/v1/locks/"+name, body)
	require.Equal(r.t, 200, a.status, a.text)
	var info leaseInfo
	a.into(r.t, &info)
	return info
}

// A streamReader reads the events of a stream that was opened with open.
type streamReader struct {
	t      *testing.T
	res    *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func (r *rig) open(name, body, accept string) *streamReader {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req := request(ctx, "POST", "/v1/locks/"+name+"?hold=stream", body)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	res, err := r.http.Do(req)
	require.NoError(r.t, err)
	require.Equal(r.t, 200, res.StatusCode)
	return &streamReader{r.t, res, bufio.NewScanner(res.Body), cancel}
}

// next returns the next event, or nil at the end of the stream.
func (s *streamReader) next() *streamEvent {
	s.t.Helper()
	if !s.lines.Scan() {
		return nil
	}
	var e streamEvent
	require.NoError(s.t, json.Unmarshal(s.lines.Bytes(), &e), "line: %s", s.lines.Text())
	return &e
}

// close ends the connection, as a caller that crashes does.
func (s *streamReader) close() {
	s.cancel()
	_ = s.res.Body.Close()
}

// ask answers one request without a network.
func ask(s *Server, req *http.Request) answer {
	req.RequestURI = req.URL.RequestURI()
	req.RemoteAddr = "127.0.0.1:1234"
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	return answer{w.Code, w.Header(), w.Body.String()}
}

func newFakeServer(t testing.TB, cfg Config) (*Server, *fakeBackend) {
	t.Helper()
	b := newFake()
	s, err := newServer(b, cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, l := range b.all() {
			_ = l.Unlock(context.Background())
		}
		assert.NoError(t, s.Shutdown(context.Background()))
	})
	return s, b
}

func (b *fakeBackend) all() []*fakeLease {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*fakeLease
	for _, l := range b.locks {
		all = append(all, l)
	}
	return all
}

// Ensure that nonsense in the configuration is refused with the field's name.
func TestNew_Config(t *testing.T) {
	for field, cfg := range map[string]Config{
		"MaxWait":     {MaxWait: -1},
		"MaxBody":     {MaxBody: -1},
		"default ttl": {TTL: time.Hour},
	} {
		_, err := New(&client.Client{}, cfg)
		assert.ErrorContains(t, err, field)
	}
}

func (q *quota) inUse() map[string]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.used)
}

// assertNothingLeft checks that no caller has a lease or a wait, and that no quota is used.
func assertNothingLeft(t *testing.T, s *Server) {
	t.Helper()
	s.leases.mu.Lock()
	assert.Empty(t, s.leases.byID)
	s.leases.mu.Unlock()
	assert.Empty(t, s.leases.quota.inUse())
	assert.Empty(t, s.waits.inUse())
}
