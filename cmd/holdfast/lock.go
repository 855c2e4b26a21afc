package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/child"
)

type lockCommand struct {
	nodesFlag
	Wait   *time.Duration `xor:"wait" placeholder:"DURATION" help:"Wait no longer than this for the lock. Default: for ever. Either way it gives up once too few nodes have answered for 2s, or for --ttl if that is shorter."`
	Try    bool           `xor:"wait" help:"Do not wait at all."`
	TTL    time.Duration  `name:"ttl" default:"15s" env:"HOLDFAST_TTL" help:"For how long the lock outlives this process, if it is killed (${env}). Meanwhile it is renewed, every third of this."`
	OnLost child.Loss     `name:"on-lost" default:"term" env:"HOLDFAST_ON_LOST" placeholder:"ACTION" complete:"term,term:5s,kill,ignore" help:"What is done to a command whose lock is about to end or is lost: term, term:DURATION, kill or ignore, see above (${env}). Default: term."`
	Guard  *time.Duration `placeholder:"DURATION" help:"How long before its end a lock that cannot be renewed counts as about to end, at most half of --ttl. Default: a third of --ttl, and no less than the DURATION of --on-lost."`
	Owner  string         `env:"HOLDFAST_OWNER" placeholder:"TEXT" help:"What others are shown as the holder (${env}). Default: host name and process id."`
	Meta   []string       `sep:"none" placeholder:"KEY=VALUE" help:"What others are shown beside the owner; may be given again. Never secret."`
	Shared bool           `xor:"mode" help:"Hold the lock beside others who hold it shared. Nobody holds it alone meanwhile, and one who waits to do so goes before those who come later."`
	Slots  *int           `xor:"mode" placeholder:"K" help:"Let K run at the same time: NAME is a semaphore of K slots, and LOCK_SLOT says which of them it is, from 0. All that use NAME must say the same K, and tokens compare only within a slot."`
	JSON   bool           `name:"json" help:"Write what this program itself has to say to standard error as JSON, one object per line."`

	Name    string   `arg:"" complete:"lock" help:"Name of the lock."`
	Command []string `arg:"" passthrough:"partial" complete:"command" help:"Command and its arguments, after --. It runs without a shell and gets LOCK_NAME, LOCK_TOKEN and LOCK_DEADLINE in its environment."`

	guard time.Duration     // what Guard comes to
	meta  map[string]string // what Meta comes to
	says  *messages
}

// Help is shown below the summary. Indented lines stay as they are, the others are wrapped.
func (*lockCommand) Help() string {
	return fmt.Sprintf(`Waits for the lock, runs the command, releases the lock:

    holdfast lock backup -- rsync -a /data host:/backup
    holdfast lock --try jobs/nightly -- ./report.sh

The exit code is the command's own, 128+n if signal n ended it, or

    %d  wrong usage
    %d  the lock was not acquired: somebody has it, or too few nodes answered
    %d  the lock was lost, or was about to be, while the command ran
    126 the command cannot be executed
    127 the command does not exist

Signals are passed on to the command and its children. When the lock cannot be renewed and is about to end
(see --guard), --on-lost says what is done to them:

    term      SIGTERM now, SIGKILL at the lock's end
    term:5s   SIGTERM now, SIGKILL 5 s later or at the lock's end
    kill      SIGKILL now
    ignore    nothing, for commands that give the token to what they write to

If the lock was stolen or taken away (locks evict, locks release) somebody else may have it, so it is at its
end: SIGKILL, except with ignore. What the command leaves running when it ends by itself is let run, without the lock.`, exitUsage, exitNotAcquired, exitLost)
}

// Validate is called by the parser.
func (cmd *lockCommand) Validate() error {
	if cmd.Wait != nil && *cmd.Wait < 0 {
		return fmt.Errorf("--wait %v: negative", *cmd.Wait)
	}
	cmd.meta = nil
	for _, pair := range cmd.Meta {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return fmt.Errorf("--meta %q: must be KEY=VALUE", pair)
		}
		if _, twice := cmd.meta[key]; twice {
			return fmt.Errorf("--meta %q: %s is given twice", pair, key)
		}
		if cmd.meta == nil {
			cmd.meta = make(map[string]string)
		}
		cmd.meta[key] = value
	}
	return cmd.validateGuard()
}

func (cmd *lockCommand) validateGuard() error {
	most, grace := cmd.TTL/2, cmd.OnLost.Grace()
	switch {
	case cmd.Guard == nil && grace > most:
		return fmt.Errorf("--on-lost %v: at most half of --ttl %v, or a healthy lock would count as about to end", cmd.OnLost, cmd.TTL)
	case cmd.Guard == nil:
		cmd.guard = max(cmd.TTL/3, grace)
	case cmd.OnLost.Ignored():
		return fmt.Errorf("--guard %v: nothing is done before the lock's end with --on-lost ignore", *cmd.Guard)
	case *cmd.Guard < 0:
		return fmt.Errorf("--guard %v: negative", *cmd.Guard)
	case *cmd.Guard > most:
		return fmt.Errorf("--guard %v: at most half of --ttl %v, or a healthy lock would count as about to end", *cmd.Guard, cmd.TTL)
	case grace > *cmd.Guard:
		return fmt.Errorf("--on-lost %v: the lock ends --guard %v after the SIGTERM, which is sooner", cmd.OnLost, *cmd.Guard)
	default:
		cmd.guard = *cmd.Guard
	}
	return nil
}

func (cmd *lockCommand) Run() error {
	keepWriting()
	cmd.says = newMessages(os.Stderr, cmd.JSON)
	defer cmd.says.end() // what is printed after this comes after all of it
	err := cmd.run()
	if !cmd.JSON {
		return err
	}
	ended := lockEvent{Event: "ended", Name: cmd.Name}
	code := 0
	if err != nil {
		code = exitFailed
		if exit := (*exitError)(nil); errors.As(err, &exit) {
			code, err = exit.code, exit.err
		}
	}
	if err != nil {
		ended.Error = oneLine(err)
	}
	ended.Code = &code
	cmd.says.say(ended, "")
	if code == 0 {
		return nil
	}
	return &exitError{code, nil}
}

func (cmd *lockCommand) run() error {
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
	// The guard is the time that a command takes to die: the lock of one that was evicted stays that much longer, or
	// until it is dead, and one that cannot be renewed is killed that much before the lock's end.
	opts := []client.Option{client.WithTTL(cmd.TTL), client.WithGuard(min(cmd.TTL/50, longestDeath))}
	if cmd.Owner != "" {
		opts = append(opts, client.WithOwner(cmd.Owner))
	}
	c, err := cmd.open(opts...)
	if err != nil {
		return err
	}
	defer shutDown(c.Close) // what it cannot confirm in time is free after a ttl
	lease, err := cmd.acquire(c)
	if err != nil {
		return err
	}
	return cmd.runUnder(lease, argv)
}

// longestDeath bounds for how long a killed command is taken to go on.
const longestDeath = 500 * time.Millisecond

// acquire waits for the lock; a signal that would end the process ends the wait.
func (cmd *lockCommand) acquire(c *client.Client) (*holding, error) {
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
	told := cmd.tellWaiting(ctx, c)
	lease, err := cmd.take(ctx, c)
	told()
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

// holding is what the command runs under.
type holding struct {
	*client.Lease
	slot *int // of a semaphore
}

// take is one call of the client, whichever the flags ask for.
func (cmd *lockCommand) take(ctx context.Context, c *client.Client) (*holding, error) {
	opts := []client.LockOption{client.Meta(cmd.meta)}
	if cmd.Shared {
		opts = append(opts, client.Shared())
	}
	if cmd.Slots != nil {
		s := c.Semaphore(cmd.Name, *cmd.Slots)
		acquire := s.Acquire
		if cmd.Try {
			acquire = s.TryAcquire
		}
		permit, err := acquire(ctx, opts...)
		if err != nil {
			return nil, err
		}
		slot := permit.Slot()
		return &holding{permit.Lease, &slot}, nil
	}
	acquire := c.Lock
	if cmd.Try {
		acquire = c.TryLock
	}
	lease, err := acquire(ctx, cmd.Name, opts...)
	if err != nil {
		return nil, err
	}
	return &holding{Lease: lease}, nil
}

// When to say for whom we wait, and how often to see whether that has changed.
const (
	waitUntold = time.Second
	waitLooks  = 5 * time.Second
)

// tellWaiting says who has the lock, once the wait has lasted for a moment, to people at a terminal and to those
// who asked for events; in a log or in cron's mail it would be noise. The function that it returns ends that.
func (cmd *lockCommand) tellWaiting(ctx context.Context, c *client.Client) (stop func()) {
	if !cmd.JSON && !term.IsTerminal(int(os.Stderr.Fd())) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		last := ""
		for pause := waitUntold; ; pause = waitLooks {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			if cmd.Slots != nil {
				e := lockEvent{Event: "waiting", Name: cmd.Name}
				cmd.says.say(e, "waiting for one of the %d slots of %s", *cmd.Slots, printable(cmd.Name))
				return
			}
			state, err := c.Inspect(ctx, cmd.Name)
			if err != nil || len(ownersOf(state)) == 0 || ownersOf(state)[0].Digest == last {
				continue
			}
			last = ownersOf(state)[0].Digest
			cmd.sayWaiting(state)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (cmd *lockCommand) sayWaiting(state *client.State) {
	holder := ownersOf(state)[0]
	left := remaining(holder.Remaining)
	e := lockEvent{Event: "waiting", Name: cmd.Name, Owner: holder.Label, Remaining: left, Waiting: &state.Waiting}
	cmd.says.say(e, "waiting for lock %s, held by %s for another %s unless it is renewed, %d waiting", printable(cmd.Name), orDash(holder.Label), left, state.Waiting)
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
func (cmd *lockCommand) runUnder(lease *holding, argv []string) error {
	signals := make(chan os.Signal, 16)
	if list := child.Signals(); len(list) > 0 {
		signal.Notify(signals, list...)
		defer signal.Stop(signals)
	}
	deadline := lease.Deadline().Format(time.RFC3339Nano)
	env := append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LOCK_SLOT=") }), // of an outer lock
		"LOCK_NAME="+lease.Name(),
		"LOCK_TOKEN="+strconv.FormatInt(lease.Token(), 10),
		"LOCK_DEADLINE="+deadline)
	if lease.slot != nil {
		env = append(env, "LOCK_SLOT="+strconv.Itoa(*lease.slot))
	}
	cmd.says.say(lockEvent{Event: "acquired", Name: lease.Name(), Token: lease.Token(), Slot: lease.slot, Deadline: deadline}, "")
	exit, runErr := child.Run(child.Command{
		Argv: argv, Env: env, Guard: cmd.guard, Loss: cmd.OnLost, Signals: signals,
		Notify: func(step child.Step) { cmd.sayStep(lease, step) },
	}, lease)
	unlockErr := shutDown(lease.Unlock)
	var loss *client.LossError
	if unlockErr != nil && !errors.As(unlockErr, &loss) {
		// The command did run under the lock, so its exit code stands.
		e := lockEvent{Event: "unconfirmed", Name: lease.Name(), Token: lease.Token(), Remaining: lease.TTL().String(), Error: oneLine(unlockErr)}
		cmd.says.say(e, "the release was not confirmed, the lock is free after %v: %s", lease.TTL(), oneLine(unlockErr))
	}
	switch {
	case runErr != nil:
		return &exitError{child.StartCode(runErr), runErr}
	case loss != nil && cmd.OnLost.Ignored():
		return &exitError{exitLost, fmt.Errorf("%w, and the command went on, to its exit code %d", loss, exit.Code)}
	case loss != nil:
		return &exitError{exitLost, loss}
	case exit.Lost:
		return &exitError{exitLost, fmt.Errorf("lock %q (token %d) was about to be lost", lease.Name(), lease.Token())}
	case exit.Code != 0:
		return &exitError{exit.Code, nil}
	}
	return nil
}

// sayStep says at once what was done to the command, since it may take its time to end.
func (cmd *lockCommand) sayStep(lease *holding, step child.Step) {
	left := lease.Remaining()
	when := "is lost"
	if left > 0 {
		when = "cannot be renewed and ends in " + remaining(left)
	}
	e := lockEvent{Name: lease.Name(), Token: lease.Token(), Remaining: remaining(max(left, 0))}
	what := ""
	switch step {
	case child.Told:
		e.Event, what = "ending", "SIGTERM to the command"
	case child.Killed:
		e.Event, what = "killed", "SIGKILL to the command"
	case child.Lost:
		e.Event, what = "lost", "the command goes on"
	}
	cmd.says.say(e, "lock %s (token %d) %s: %s", printable(lease.Name()), lease.Token(), when, what)
}

// keepWriting lets writes to a pipe that nobody reads any more fail, as they do for other descriptors. Otherwise
// a message to standard error could be this process's death and leave the command to itself. The command's own
// dealings with SIGPIPE do not change.
func keepWriting() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
