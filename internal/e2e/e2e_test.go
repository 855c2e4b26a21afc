package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/redlock"
)

const (
	lockName = "e2e-counter"
	// ttl is the lock's while the contenders count. A node that was killed may come back empty after
	// ttl + redlock.DefaultDrift(ttl): by then every lock that it knew of is over.
	ttl = 10 * time.Second
	// fenceTTL is the lock's in the second half, where the harness waits for one to run out.
	fenceTTL = 3 * time.Second
)

// quotas are how often each kind adds to the counter, 2,000 times in all, and by how many contenders at once.
// The kinds that start processes for each turn have the fewest, because those are what the time goes into.
var quotas = []struct {
	kind       string
	turns      int
	contenders int
}{
	{kindClient, 880, 3},
	{kindCommand, 300, 2},
	{kindCurl, 300, 2},
	{kindRedsync, 520, 2},
}

// victims are the nodes that are killed: a minority.
var victims = []int{1, 3}

// Ensure that the number is exact and stale writes are refused on our own nodes.
func TestContenders_HoldfastServer(t *testing.T) { course(t, holdfastServer) }

// Ensure that the number is exact and stale writes are refused on nodes of other people's making.
func TestContenders_RedisServer(t *testing.T) { course(t, redisServer) }

// course is the whole course of events on nodes of one kind.
func course(t *testing.T, kind nodeKind) {
	begin := time.Now()
	s := newScore("five processes of " + kind.name)
	a := &arena{name: lockName, dir: workDir(t)}
	for _, file := range []struct{ name, content string }{{counterFile, "0\n"}, {accountFile, ""}, {journalFile, ""}} {
		require.NoError(t, os.WriteFile(filepath.Join(a.dir, file.name), []byte(file.content), 0o644))
	}
	a.fleet = startFleet(t, a.dir, kind, 5)
	lockd := a.startLockd(t)

	count(t, a, s)
	counted := time.Since(begin)
	fence(t, a, s)

	lockd.stop(t)
	a.fleet.requireNothingLeft(t, a.name)
	s.note("nothing left on any node; %.1fs to count, %.1fs in all", counted.Seconds(), time.Since(begin).Seconds())
}

func (a *arena) startLockd(t *testing.T) *process {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	a.lockdURL = "http://" + addr
	lockd := start(t, a.dir, "lockd", nil, nil, holdfast(t), "lockd", "--nodes", a.fleet.list(), "--http", addr)
	until(t, 10*time.Second, "lockd is not ready", func() error {
		resp, err := http.Get(a.lockdURL + "/readyz")
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
	return lockd
}

// count has the contenders count to the sum of the quotas while nodes are killed and come back.
//
// Three tenths of each kind's turns may be taken from the start, four more once the nodes are down and the
// last three once they are back, so that every kind works before, during and after the fault, however fast it
// is. The nodes are killed in the midst of the work, when the slowest kind has had its first tenth.
func count(t *testing.T, a *arena, s *score) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	var fault faultState
	var total int
	var turns []chan struct{}
	var contenders []contender
	for _, q := range quotas {
		total += q.turns
		tickets := make(chan struct{}, q.turns)
		turns = append(turns, tickets)
		issue(tickets, q.turns*3/10)
		for i := range q.contenders {
			c := a.newContender(t, q.kind, i, ttl)
			contenders = append(contenders, c)
			group.Go(func() error { return compete(ctx, c, q.kind, tickets, s, &fault) })
		}
	}

	until(t, time.Minute, "the contenders do not get going", func() error {
		for _, q := range quotas {
			// A contender that has failed ends the wait; group.Wait says how.
			if s.tally(q.kind).added < q.turns/10 && ctx.Err() == nil {
				return fmt.Errorf("until now: %v", s)
			}
		}
		return nil
	})
	fault.begin()
	killed := s.total()
	for _, i := range victims {
		a.fleet.nodes[i].kill()
	}
	for i, q := range quotas {
		issue(turns[i], q.turns*4/10)
	}
	select {
	case <-time.After(ttl + redlock.DefaultDrift(ttl)):
	case <-ctx.Done():
	}
	for _, i := range victims {
		a.fleet.start(t, i)
	}
	fault.end()
	restarted := s.total()
	for i, q := range quotas {
		issue(turns[i], q.turns-q.turns*3/10-q.turns*4/10)
		close(turns[i])
	}
	require.NoError(t, group.Wait())
	for _, c := range contenders {
		c.end(t)
	}

	s.note("nodes 2 and 4 killed at %d, back and empty at %d", killed, restarted)
	require.Equal(t, total, readCounter(t, a.dir), "the number is not exact")
	checkJournal(t, a.dir, total)
	for _, q := range quotas {
		tally := s.tally(q.kind)
		assert.Equal(t, q.turns, tally.added, q.kind)
		assert.Positive(t, tally.duringFault, "%s did nothing while two nodes were down", q.kind)
		assert.Zero(t, tally.lost, "%s has lost locks", q.kind)
	}
	s.note("the number is exact: %d; each token was higher than the one before", total)
}

func issue(tickets chan<- struct{}, n int) {
	for range n {
		tickets <- struct{}{}
	}
}

// compete takes turns until there are no more.
func compete(ctx context.Context, c contender, kind string, tickets <-chan struct{}, s *score, fault *faultState) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-tickets:
			if !ok {
				return nil
			}
		}
		for {
			start := time.Now()
			r, err := c.add(ctx)
			if err == nil {
				s.added(kind, r, time.Since(start), fault.now())
				break
			}
			if !errors.Is(err, errBusy) || ctx.Err() != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			s.busy(kind)
		}
	}
}

// A faultState tells whether nodes are down at this moment.
type faultState struct {
	mu   sync.Mutex
	down bool
}

func (f *faultState) begin() { f.set(true) }
func (f *faultState) end()   { f.set(false) }

func (f *faultState) set(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *faultState) now() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

// fence stops a holder between its grant and its write, until others have written.
func fence(t *testing.T, a *arena, s *score) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sleeper := a.newWorkerProcess(t, kindClient, "sleeper", fenceTTL)
	granted, err := sleeper.order(ctx, "hold")
	require.NoError(t, err)
	sleeper.pause()

	// All fenced kinds wait for the lock of the sleeper, which nobody renews, and write.
	group, groupCtx := errgroup.WithContext(ctx)
	var others []contender
	for _, kind := range fenced {
		c := a.newContender(t, kind, 100, fenceTTL)
		others = append(others, c)
		group.Go(func() error {
			r, err := c.write(groupCtx)
			if err == nil && r.Lost {
				err = errors.New("lost its lock")
			}
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())

	// The order to write is there before the sleeper wakes: it does not look at its lease first.
	require.NoError(t, sleeper.send("write"))
	sleeper.resume()
	late, err := sleeper.receive(ctx)
	require.ErrorContains(t, err, errStale.Error())
	assert.True(t, late.Refused)
	assert.Equal(t, granted.Token, late.Token)
	dropped, err := sleeper.order(ctx, "drop")
	require.NoError(t, err)
	assert.True(t, dropped.Lost, "the sleeper has not learnt that it lost the lock")

	// It is a contender like any other again.
	again, err := sleeper.write(ctx)
	require.NoError(t, err)
	assert.Greater(t, again.Token, granted.Token)

	sleeper.end(t)
	for _, c := range others {
		c.end(t)
	}
	accepted, refused := checkVerdicts(t, a.dir)
	assert.Equal(t, len(fenced)+1, accepted)
	assert.Equal(t, 1, refused)
	s.note("a holder stopped with SIGSTOP: %d writes accepted with rising tokens, its late one refused", accepted)
}
