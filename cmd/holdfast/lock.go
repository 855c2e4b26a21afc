package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/child"
)

type lockCommand struct {
	nodesFlag
	Wait    *time.Duration `xor:"wait" help:"Wait no longer than this for the lock. Default: for ever."`
	Try     bool           `xor:"wait" help:"Do not wait at all."`
	TTL     time.Duration  `name:"ttl" default:"15s" help:"For how long the lock outlives this process, if it is killed. Meanwhile it is renewed. A command that runs while no majority of nodes can be reached gets SIGTERM after two thirds of it, SIGKILL at its end."`
	Name    string         `arg:"" help:"Name of the lock."`
	Command []string       `arg:"" passthrough:"partial" help:"Command and its arguments, after --. It runs without a shell and gets LOCK_NAME, LOCK_TOKEN and LOCK_DEADLINE in its environment."`
}

// Help is shown below the flags.
func (*lockCommand) Help() string {
	return fmt.Sprintf(`Example: holdfast lock --nodes a:6379,b:6379,c:6379 backup -- rsync -a /data host:/backup

The exit code is the command's own, or 128+n if signal n ended it; %d: the lock was not acquired;
%d: the lock was lost and the command ended; 126, 127: the command cannot be executed, does not exist;
%d: wrong usage. Signals are passed on to the command and its children.

If the lock cannot be renewed the command gets SIGTERM before the lock's end (see --ttl) and SIGKILL at it;
if the lock was stolen or forced away, SIGKILL at once, since somebody else may have it.`, exitNotAcquired, exitLost, exitUsage)
}

// Validate is called by the parser.
func (cmd *lockCommand) Validate() error {
	if cmd.Wait != nil && *cmd.Wait < 0 {
		return fmt.Errorf("--wait %v: negative", *cmd.Wait)
	}
	return nil
}

func (cmd *lockCommand) Run() error {
	argv := cmd.Command
	if argv[0] == "--" {
		argv = argv[1:]
	}
	if len(argv) == 0 {
		return &exitError{exitUsage, errors.New("lock: no command to run after --")}
	}
	// Said at once rather than after a long wait.
	if _, err := exec.LookPath(argv[0]); err != nil {
		return &exitError{child.StartCode(err), err}
	}
	c, err := cmd.open(client.WithTTL(cmd.TTL))
	if err != nil {
		return err
	}
	defer shutDown(c.Close) // what it cannot confirm in time is free after a ttl
	lease, err := cmd.acquire(c)
	if err != nil {
		return err
	}
	return runUnder(lease, argv)
}

// acquire waits for the lock; a signal that would end the process ends the wait.
func (cmd *lockCommand) acquire(c *client.Client) (*client.Lease, error) {
	ctx, interrupted := untilSignal(context.Background())
	defer interrupted()
	switch {
	case cmd.Wait != nil && *cmd.Wait > 0:
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *cmd.Wait)
		defer cancel()
	case cmd.Wait != nil:
		cmd.Try = true
	}
	acquire := c.Lock
	if cmd.Try {
		acquire = c.TryLock
	}
	lease, err := acquire(ctx, cmd.Name)
	if sig, ok := interrupted(); ok {
		if err == nil {
			_ = shutDown(lease.Unlock) // unconfirmed, it is free after a ttl
		}
		return nil, &exitError{128 + int(sig), nil}
	}
	switch {
	case err == nil:
		return lease, nil
	case errors.Is(err, client.ErrInvalid):
		return nil, &exitError{exitUsage, err}
	case errors.Is(ctx.Err(), context.DeadlineExceeded): // not err, which may have come from a node
		return nil, &exitError{exitNotAcquired, fmt.Errorf("not acquired within %v: %w", *cmd.Wait, err)}
	default:
		return nil, &exitError{exitNotAcquired, fmt.Errorf("not acquired: %w", err)}
	}
}

// untilSignal returns a context that ends with the first signal to end, and a function that stops waiting for one and
// says whether one came. It may be called again.
func untilSignal(parent context.Context) (context.Context, func() (syscall.Signal, bool)) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 1)
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(sig) {
			signal.Notify(signals, sig)
		}
	}
	var came syscall.Signal
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case sig := <-signals:
			came, _ = sig.(syscall.Signal)
			cancel()
		case <-ctx.Done():
		}
	}()
	stop := sync.OnceFunc(func() {
		signal.Stop(signals)
		cancel()
		<-done
		select { // one that arrived when nobody waited any more
		case sig := <-signals:
			came, _ = sig.(syscall.Signal)
		default:
		}
	})
	return ctx, func() (syscall.Signal, bool) {
		stop()
		return came, came != 0
	}
}

// runUnder runs the command under the lease and releases it.
func runUnder(lease *client.Lease, argv []string) error {
	signals := make(chan os.Signal, 16)
	if list := child.Signals(); len(list) > 0 {
		signal.Notify(signals, list...)
		defer signal.Stop(signals)
	}
	env := append(os.Environ(),
		"LOCK_NAME="+lease.Name(),
		"LOCK_TOKEN="+strconv.FormatInt(lease.Token(), 10),
		"LOCK_DEADLINE="+lease.Deadline().Format(time.RFC3339Nano))
	exit, runErr := child.Run(argv, env, lease, lease.TTL()/3, signals)
	unlockErr := shutDown(lease.Unlock)
	var loss *client.LossError
	if unlockErr != nil && !errors.As(unlockErr, &loss) {
		// The command did run under the lock, so its exit code stands.
		fmt.Fprintf(os.Stderr, "holdfast: the release was not confirmed, the lock is free after %v: %s\n", lease.TTL(), oneLine(unlockErr))
	}
	switch {
	case runErr != nil:
		return &exitError{child.StartCode(runErr), runErr}
	case loss != nil:
		return &exitError{exitLost, loss}
	case exit.Lost:
		return &exitError{exitLost, fmt.Errorf("lock %q (token %d) was about to be lost", lease.Name(), lease.Token())}
	case exit.Code != 0:
		return &exitError{exit.Code, nil}
	}
	return nil
}
