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
	working state = iota // the lease is good, or its loss is ignored
	ending               // told to end: SIGTERM was sent, the lease is about to end
	killed               // SIGKILL was sent
)

// A run is one command while it runs.
type run struct {
	Command
	lease    Lease
	pid      int // of the command, and the id of its process group
	state    state
	lost     bool             // the lease is over
	grace    <-chan time.Time // when SIGTERM has had its time; nil: not sent, or it has until the end
	terminal *terminal

	stops   chan syscall.Signal     // stops of the command
	ended   chan struct{}           // closed when the command has ended
	collect chan struct{}           // closed when it may be collected
	status  chan syscall.WaitStatus // how it has ended
}

// Run starts the command in its own process group, with the standard streams of this process and whatever other
// files this process was given, and returns when the command has ended. The errors are those of starting it;
// StartCode says what a shell makes of them.
//
// Signals that arrive on Command.Signals are passed on to the process group. When the lease is about to end, or
// is lost, Command.Loss says what is done to the group. A command that is stopped from the terminal stops this
// process too, and goes on with it, if the lease has lived that long.
//
// On Linux the command is killed when this process dies, whatever it dies of. Its own children are not:
// they get only what is sent to the group.
func Run(command Command, lease Lease) (Exit, error) {
	path, err := exec.LookPath(command.Argv[0])
	if err != nil {
		return Exit{}, err
	}
	r := &run{
		Command: command, lease: lease, terminal: openTerminal(), stops: make(chan syscall.Signal),
		ended: make(chan struct{}), collect: make(chan struct{}), status: make(chan syscall.WaitStatus, 1),
	}
	defer r.terminal.close()
	started := make(chan error)
	// Not syscall's business: it would hand on both values of a variable, and programs differ in which they see.
	env := (&exec.Cmd{Env: command.Env}).Environ()
	go r.start(path, env, started)
	if err := <-started; err != nil {
		return Exit{}, err
	}
	r.attend()
	r.terminal.take()
	if r.state != working {
		// The command has obeyed; what it has left behind must not outlive the lease either.
		r.signal(syscall.SIGKILL)
	}
	close(r.collect)
	return Exit{Code: code(<-r.status), Lost: r.lost || r.state != working}, nil
}

// start starts the command and reports its changes of state; it returns when the command was collected. It
// keeps one thread all the while, because the parent-death signal is sent when the THREAD that started the
// child dies, and Go ends threads as it likes.
func (r *run) start(path string, env []string, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	attr := &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2}, Sys: childAttr()}
	pid, err := syscall.ForkExec(path, r.Argv, attr)
	if err != nil {
		started <- &os.PathError{Op: "exec", Path: path, Err: err}
		return
	}
	r.pid = pid
	started <- nil
	for {
		seen := awaitChange(pid)
		if seen {
			close(r.ended)
			<-r.collect
		}
		var status syscall.WaitStatus
		_, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil)
		for err == syscall.EINTR { // it cannot fail otherwise: the child is ours and not collected yet
			_, err = syscall.Wait4(pid, &status, syscall.WUNTRACED, nil)
		}
		if status.Stopped() {
			r.stops <- status.StopSignal()
			continue
		}
		r.status <- status
		if !seen {
			close(r.ended)
		}
		return
	}
}

// attend looks after the command until it has ended.
func (r *run) attend() {
	lost := r.lease.Lost()
	nap := time.NewTimer(0)
	defer nap.Stop()
	for {
		select {
		case <-r.ended:
			return
		case sig := <-r.stops:
			r.stopped(sig)
		case sig := <-r.Signals:
			r.forward(sig)
		case <-lost:
			lost = nil
			r.lose()
		case <-r.grace:
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
		r.lose()
		return longestNap
	case left <= r.Guard:
		r.end()
		return min(left, longestNap)
	case r.state == working:
		return min(left-r.Guard, longestNap)
	default:
		return min(left, longestNap)
	}
}

// end tells the command that its time is up. A stopped command must be continued to hear it.
func (r *run) end() {
	switch {
	case r.Loss.action == kill:
		r.kill()
	case r.Loss.action == term && r.state == working:
		r.state = ending
		r.signal(syscall.SIGTERM)
		r.signal(syscall.SIGCONT)
		if r.Loss.grace > 0 {
			r.grace = time.After(r.Loss.grace)
		}
		r.notify(Told)
	}
}

// lose does what is left to do once the lease is over.
func (r *run) lose() {
	first := !r.lost
	r.lost = true
	switch {
	case r.Loss.action != ignore:
		r.kill()
	case first:
		r.notify(Lost)
	}
}

func (r *run) kill() {
	if r.state != killed {
		r.state = killed
		r.signal(syscall.SIGKILL)
		r.notify(Killed)
	}
}

func (r *run) notify(s Step) {
	if r.Notify != nil {
		r.Notify(s)
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
