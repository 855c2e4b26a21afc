package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

const (
	nodes   = 5
	names   = 50
	workers = 500
	clients = 10
	ttl     = 3 * time.Second
	// starved is for how long a worker may go without anything. Ten of them share a name; some leases are
	// held for a ttl and a half, and those of a client that was closed or could not release last for one.
	starved = 45 * time.Second
	// clientLife is how long a client is used before it is closed under its workers and replaced.
	clientLife = 30 * time.Second
)

func TestMain(m *testing.M) {
	if port := os.Getenv(nodeVar); port != "" {
		fmt.Fprintln(os.Stderr, "soak: node:", runNode(port))
		os.Exit(1)
	}
	redis.SetLogger(silence{}) // nodes that cannot be reached are the point
	code := m.Run()
	theScore.print(os.Stdout)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Println("goroutines are left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// An arena is one run.
type arena struct {
	fleet *fleet
	score *score
	spots []*spot
	all   []*spot // those of LockAll

	mu      sync.Mutex
	clients []*client.Client
}

// Ensure that hundreds of goroutines that use every primitive on dozens of names, while nodes are killed and
// hang and clients are closed, never break the rules of any, all get somewhere, and leave nothing.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	length, seed := orders(t)
	s := theScore
	s.printf("%d workers on %d names, %d clients, %d nodes, %v, HOLDFAST_SOAK_SEED=%d", workers, names, clients, nodes, length, seed)
	a := &arena{fleet: startFleet(t, nodes, s), score: s}
	a.open(t)
	a.makeSpots()

	run, stop := context.WithTimeoutCause(context.Background(), length, errOver)
	defer stop()
	group, ctx := errgroup.WithContext(run)
	rng := func(i int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(i))) }
	team := make([]*worker, workers)
	for i := range team {
		w := &worker{a: a, id: i, spot: a.spots[i%names], rng: rng(i), client: (i / names) % clients}
		w.had.Store(time.Now().UnixNano())
		team[i] = w
		group.Go(func() error { return w.run(ctx) })
	}
	group.Go(func() error { return a.fleet.trouble(ctx, rng(-1)) })
	group.Go(func() error { return a.renewClients(ctx, rng(-2)) })
	group.Go(func() error { return a.evict(ctx, rng(-3)) })
	group.Go(func() error { return watchdog(ctx, team) })
	memory := &growth{}
	group.Go(func() error { memory.follow(ctx, a.fleet, length); return nil })

	await(t, group, length)
	a.closeClients(t)
	a.assertNothingLeft(t)
	memory.check(t, s)
}

// orders returns how long to run and what the random choices begin with.
func orders(t *testing.T) (length time.Duration, seed uint64) {
	t.Helper()
	length, seed = time.Minute, rand.Uint64()
	var err error
	if text := os.Getenv("HOLDFAST_SOAK"); text != "" {
		length, err = time.ParseDuration(text)
		require.NoError(t, err, "HOLDFAST_SOAK")
	}
	if text := os.Getenv("HOLDFAST_SOAK_SEED"); text != "" {
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, "HOLDFAST_SOAK_SEED")
	}
	return length, seed
}

// errOver is the cause with which a run ends in time.
var errOver = fmt.Errorf("the time is over")

// await waits until all have come home. Who does not, in the time after the run in which any wait ends, is stuck.
func await(t *testing.T, group *errgroup.Group, length time.Duration) {
	t.Helper()
	home := make(chan error, 1)
	go func() { home <- group.Wait() }()
	select {
	case err := <-home:
		require.NoError(t, err)
	case <-time.After(length + starved):
		require.Failf(t, "deadlock", "not all goroutines end; %s", allGoroutines())
	}
}

func (a *arena) open(t *testing.T) {
	t.Helper()
	for range clients {
		c, err := a.newClient()
		require.NoError(t, err)
		a.clients = append(a.clients, c)
	}
}

func (a *arena) newClient() (*client.Client, error) {
	return client.Open(a.fleet.url(), client.WithTTL(ttl), client.WithProtocol(redlock.Options{LongestTTL: ttl}))
}

func (a *arena) client(i int) *client.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.clients[i]
}

// renewClients closes one client after another under its workers and puts another in its place.
func (a *arena) renewClients(ctx context.Context, rng *rand.Rand) error {
	for {
		select {
		case <-time.After(clientLife / clients):
		case <-ctx.Done():
			return nil
		}
		fresh, err := a.newClient()
		if err != nil {
			return err
		}
		i := rng.IntN(clients)
		a.mu.Lock()
		old := a.clients[i]
		a.clients[i] = fresh
		a.mu.Unlock()
		a.score.note("clients replaced")
		if err := closeClient(old); err != nil {
			return err
		}
	}
}

// evict is an operator who takes locks away from their holders, who keep others out until their lease is over.
func (a *arena) evict(ctx context.Context, rng *rand.Rand) error {
	for {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
		r, err := a.client(rng.IntN(clients)).Evict(ctx, a.spots[rng.IntN(names)].name, "the soak test wants it")
		switch {
		case err == nil && len(r.Owners) > 0:
			a.score.note("evicted")
		case err == nil, errors.Is(err, client.ErrQuorum), errors.Is(err, client.ErrClosed), errors.Is(err, client.ErrNotHeld), ctx.Err() != nil:
		default:
			return fmt.Errorf("evict: %w", err)
		}
	}
}

// closeClient fails if the client does not end; that nodes in trouble have not confirmed its releases is no
// fault.
func closeClient(c *client.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c.Close(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("Close of a client hangs; %s", allGoroutines())
	}
	return nil
}

func (a *arena) closeClients(t *testing.T) {
	t.Helper()
	for _, c := range a.clients {
		require.NoError(t, closeClient(c))
	}
}

// watchdog returns an error when a worker has had nothing for too long.
func watchdog(ctx context.Context, team []*worker) error {
	for {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
		for _, w := range team {
			if since := time.Since(time.Unix(0, w.had.Load())); since > starved {
				return fmt.Errorf("worker %d has had nothing of %s for %v; %s", w.id, w.spot.name, since, allGoroutines())
			}
		}
	}
}

// allGoroutines writes down what all goroutines do and says where.
func allGoroutines() string {
	file, err := os.CreateTemp("", "holdfast-soak-*.txt")
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if err := pprof.Lookup("goroutine").WriteTo(file, 2); err != nil {
		return err.Error()
	}
	return "all goroutines are in " + file.Name()
}

func (a *arena) makeSpots() {
	for i := range names {
		f := families[i%len(families)]
		s := &spot{name: fmt.Sprintf("soak/%s/%d", f.name, i), kinds: f.kinds}
		s.referee, s.meeting = newReferee(s.name, 1), newMeeting()
		switch f.name {
		case "all":
			a.all = append(a.all, s)
		case "semaphore":
			s.referee = newReferee(s.name, permits)
			for slot := range permits {
				s.slots = append(s.slots, newReferee(fmt.Sprint(s.name, " slot ", slot), 1))
			}
		}
		a.spots = append(a.spots, s)
	}
}

// assertNothingLeft waits for what was lost on its way to a node in trouble to expire, and for nothing else.
func (a *arena) assertNothingLeft(t *testing.T) {
	t.Helper()
	for i := range nodes {
		assert.NoError(t, within(2*ttl+heartbeat, func() error { return a.fleet.leftovers(i) }))
	}
}

// heartbeat is for how long a place in a queue outlives its waiter where nobody could take it away.
const heartbeat = 6 * time.Second
