//go:build linux || darwin || freebsd || netbsd || openbsd

package child

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// longestNap bounds how long Run sleeps without looking at the lease. Timers stand still while the machine
// is suspended and the lease does not, so a long timer would wake up too late.
const longestNap = time.Second

// A state says what has been done to the command because of its lease.
type state int

const (
	working state = iota // the lease is good
	ending               // told to end: SIGTERM was sent, the lease is about to end
	killed               // the lease is over: SIGKILL was sent
)

// A run is one command while it runs.
type run struct {
	lease    Lease
	guard    time.Duration
	pid      int // of the command, and the id of its process group
	state    state
	terminal *terminal
	changes  chan syscall.WaitStatus // stops and, last, the exit
}

// Run starts the command in its own process group, with the standard streams of this process, and returns
// when the command has ended. Of several values of one variable in env the last counts, as with os/exec. The
// errors are those of starting it; StartCode says what a shell makes of them.
//
// Signals that arrive on the channel, for which Signals have been asked with signal.Notify, are passed on to
// the process group. When the lease is within guard of its end the group gets SIGTERM, at its end SIGKILL.
// When the lease is lost before, somebody else may already have the lock, and the group gets SIGKILL at once.
// A command that is stopped from the terminal stops this process too, and goes on with it, if the lease has
// lived that long.
//
// On Linux the command is killed when this process dies, whatever it dies of. Its own children are not:
// they get only what is sent to the group.
func Run(argv, env []string, lease Lease, guard time.Duration, signals <-chan os.Signal) (Exit, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return Exit{}, err
	}
	r := &run{lease: lease, guard: guard, terminal: openTerminal(), changes: make(chan syscall.WaitStatus)}
	defer r.terminal.close()
	started := make(chan error)
	// Not syscall's business: it would hand on both values of a variable, and programs differ in which they see.
	env = (&exec.Cmd{Env: env}).Environ()
	go r.start(path, argv, env, started)
	if err := <-started; err != nil {
		return Exit{}, err
	}
	status := r.attend(signals)
	r.terminal.take()
	if r.state != working {
		// The command has obeyed; what it has left behind must not outlive the lease either.
		r.signal(syscall.SIGKILL)
	}
	return Exit{Code: code(status), Lost: r.state != working}, nil
}

// start starts the command and reports its changes of state; it returns when the command has ended. It
// keeps one thread all the while, because the parent-death signal is sent when the THREAD that started the
// child dies, and Go ends threads as it likes.
func (r *run) start(path string, argv, env []string, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	attr := &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2}, Sys: childAttr()}
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		started <- &os.PathError{Op: "exec", Path: path, Err: err}
		return
	}
	r.pid = pid
	started <- nil
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil)
		if err == syscall.EINTR {
			continue
		}
		r.changes <- status // cannot fail otherwise: the child is ours and not reaped yet
		if !status.Stopped() {
			return
		}
	}
}

// attend looks after the command until it has ended.
func (r *run) attend(signals <-chan os.Signal) syscall.WaitStatus {
	lost := r.lease.Lost()
	nap := time.NewTimer(0)
	defer nap.Stop()
	for {
		select {
		case status := <-r.changes:
			if !status.Stopped() {
				return status
			}
			r.stopped(status.StopSignal())
		case sig := <-signals:
			r.forward(sig)
		case <-lost:
			lost = nil
			r.kill()
		case <-nap.C:
			nap.Reset(r.check())
		}
	}
}

// check does what the lease asks for and returns after how long to look again.
func (r *run) check() time.Duration {
	left := r.lease.Remaining()
	switch {
	case left <= 0:
		r.kill()
		return longestNap
	case left <= r.guard:
		r.end()
		return min(left, longestNap)
	case r.state == working:
		return min(left-r.guard, longestNap)
	default:
		return min(left, longestNap)
	}
}

// end tells the command that its time is up. A stopped command must be continued to hear it.
func (r *run) end() {
	if r.state == working {
		r.state = ending
		r.signal(syscall.SIGTERM)
		r.signal(syscall.SIGCONT)
	}
}

func (r *run) kill() {
	if r.state != killed {
		r.state = killed
		r.signal(syscall.SIGKILL)
	}
}

// signal sends to the whole process group. That nobody is left in it is no error.
func (r *run) signal(sig syscall.Signal) { _ = syscall.Kill(-r.pid, sig) }

func (r *run) forward(sig os.Signal) {
	s, ok := sig.(syscall.Signal)
	if !ok {
		return
	}
	if s == syscall.SIGCONT {
		// However long we were stopped, the lease went on.
		if r.check(); r.state == killed {
			return
		}
	}
	r.signal(s)
}

// stopped reacts to a stop of the command, as a shell would. One that was stopped because it wanted to use
// the terminal gets it if it is ours to give; otherwise the user wants the job to stop, and we are part
// of it. Without a terminal a stop is somebody's own business.
func (r *run) stopped(sig syscall.Signal) {
	switch sig {
	case syscall.SIGTTIN, syscall.SIGTTOU:
		if r.terminal.give(r.pid) {
			r.signal(syscall.SIGCONT)
			return
		}
	case syscall.SIGTSTP:
	default:
		return
	}
	if r.terminal == nil {
		return
	}
	had := r.terminal.take()
	r.terminal.stopJob(had)
	if r.check(); r.state == killed {
		return
	}
	if had {
		r.terminal.give(r.pid)
	}
	r.signal(syscall.SIGCONT)
}

// code is the exit code that a shell would report.
func code(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
