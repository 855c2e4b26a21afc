package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-dev/holdfast/client"
)

// The test binary is also the contenders that are Go programs: it is one if this variable says which.
const workerVariable = "HOLDFAST_E2E_WORKER"

// lockTimeout bounds a contender's wait, so that a lost wake-up is an error and not a hanging test.
const lockTimeout = 60 * time.Second

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{}) // go-redis reports every refused connection to a node that is down
	switch worker := os.Getenv(workerVariable); worker {
	case "":
		code := m.Run()
		printScores()
		os.Exit(code)
	case "guard":
		os.Exit(guardMain())
	default:
		if err := workerMain(worker); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// guardMain is the command that `holdfast lock` and curl.sh run to write to the account: DIR KIND.
func guardMain() int {
	token, err := strconv.ParseInt(os.Getenv("LOCK_TOKEN"), 10, 64)
	if err == nil {
		err = guardedWrite(os.Args[1], os.Args[2], token)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// A reply is what a worker process answers to one line of its standard input.
type reply struct {
	Token       int64         // 0: this kind has none
	Wait        time.Duration // from asking for the lock to having it
	Lost        bool          // the lock was lost before it was released
	Unconfirmed bool          // it was not lost, but no majority confirmed its release
	Refused     bool          // the account refused the write
	Err         string
}

// A worker takes and releases the lock in one of the Go ways.
type worker interface {
	lock(ctx context.Context) (token int64, err error)
	unlock(ctx context.Context) (lost, unconfirmed bool, err error)
}

// workerMain serves the commands add, hold, write and drop, one a line, until standard input ends.
func workerMain(kind string) error {
	flags := flag.NewFlagSet(kind, flag.ExitOnError)
	nodes := flags.String("nodes", "", "")
	name := flags.String("name", "", "")
	ttl := flags.Duration("ttl", 0, "")
	dir := flags.String("dir", "", "")
	_ = flags.Parse(os.Args[1:])

	var w worker
	if kind == kindRedsync {
		w = newRedsyncWorker(strings.Split(*nodes, ","), *name, *ttl)
	} else {
		c, err := client.Open(*nodes, client.WithTTL(*ttl), client.WithOwner("e2e"))
		if err != nil {
			return err
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := c.Close(ctx); err != nil {
				fmt.Fprintln(os.Stderr, "close:", err)
			}
		}()
		w = &clientWorker{client: c, name: *name}
	}
	out := json.NewEncoder(os.Stdout)
	var held reply
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var r reply
		switch in.Text() {
		case "add":
			if r = take(w); r.Err == "" {
				r = give(w, r, addOne(*dir, kind, r.Token))
			}
		case "hold":
			held = take(w)
			r = held
		case "write":
			err := guardedWrite(*dir, kind, held.Token)
			r.Token, r.Refused = held.Token, errors.Is(err, errStale)
			if err != nil {
				r.Err = err.Error()
			}
		case "drop":
			r = give(w, held, nil)
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func take(w worker) (r reply) {
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	start := time.Now()
	var err error
	if r.Token, err = w.lock(ctx); err != nil {
		r.Err = fmt.Sprintf("not acquired: %v", err)
	}
	r.Wait = time.Since(start)
	return r
}

// give releases the lock after work that ended with err.
func give(w worker, r reply, err error) reply {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var unlockErr error
	r.Lost, r.Unconfirmed, unlockErr = w.unlock(ctx)
	if err != nil {
		r.Err = err.Error()
	} else if unlockErr != nil {
		r.Err = unlockErr.Error()
	}
	return r
}

// A clientWorker is a program that uses package client.
type clientWorker struct {
	client *client.Client
	name   string
	lease  *client.Lease
}

func (w *clientWorker) lock(ctx context.Context) (int64, error) {
	lease, err := w.client.Lock(ctx, w.name)
	if err != nil {
		return 0, err
	}
	w.lease = lease
	return lease.Token(), nil
}

func (w *clientWorker) unlock(ctx context.Context) (lost, unconfirmed bool, err error) {
	err = w.lease.Unlock(ctx)
	var loss *client.LossError
	switch {
	case errors.As(err, &loss):
		return true, false, nil
	case errors.Is(err, client.ErrQuorum), errors.Is(err, context.DeadlineExceeded):
		return false, true, nil
	}
	return false, false, err
}

// A redsyncWorker is a program that uses redsync, as its users would, but for a shorter retry: at its
// default of 50 to 250 ms it would hardly ever find a lock free for which others queue.
type redsyncWorker struct {
	mutex *redsync.Mutex
}

func newRedsyncWorker(addrs []string, name string, ttl time.Duration) *redsyncWorker {
	var pools []redsyncredis.Pool
	for _, addr := range addrs {
		pools = append(pools, goredis.NewPool(dial(addr)))
	}
	return &redsyncWorker{redsync.New(pools...).NewMutex(name, redsync.WithExpiry(ttl), redsync.WithTries(1<<30),
		redsync.WithRetryDelayFunc(func(int) time.Duration {
			return time.Millisecond + rand.N(8*time.Millisecond)
		}))}
}

func (w *redsyncWorker) lock(ctx context.Context) (int64, error) { return 0, w.mutex.LockContext(ctx) }

func (w *redsyncWorker) unlock(ctx context.Context) (lost, unconfirmed bool, err error) {
	until := w.mutex.Until()
	ok, err := w.mutex.UnlockContext(ctx)
	switch {
	case !time.Now().Before(until):
		return true, false, nil
	case !ok:
		return false, true, nil // err says which nodes did not answer
	}
	return false, false, nil
}
