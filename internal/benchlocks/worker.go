package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// workerVariable, in the environment, makes this program a worker: a client process that executes orders which
// it reads from its standard input. Its value is a workerSpec.
const workerVariable = "HOLDFAST_BENCH_WORKER"

// A workerSpec says which client to open on which nodes.
type workerSpec struct {
	Subject string
	Addrs   []string
	Profile string // file for a processor profile; empty: none
}

// An order is one line that a worker reads.
type order struct {
	Do    string        // one of the keys of duties
	Name  string        // of the lock, or the beginning of the names
	For   time.Duration // how long to go on
	Many  int           // goroutines, or leases
	TTL   time.Duration
	Begin time.Duration // on the monotonic clock, when to begin; zero: at once
	Log   string        // file to write records to
}

// An answer is one line that a worker writes for each order.
type answer struct {
	Err     string  `json:",omitempty"`
	Samples []int64 `json:",omitempty"` // nanoseconds of each operation
	Count   int     // operations
	Took    time.Duration
	CPU     time.Duration // of the worker, meanwhile
	Bytes   int64         // of memory, per lease
	Lost    int           // leases
	Share   float64       // renewals per lease and second, of the observed leases
	// Unconfirmed is how many releases no majority has confirmed.
	Unconfirmed int
}

// duties are what a worker can be told to do. ctx ends when the order has taken far too long.
var duties = map[string]func(ctx context.Context, w *workplace, o order) (answer, error){
	"one":     lockAlone,
	"many":    lockMany,
	"contend": contend,
	"take":    takeLeases,
	"watch":   watchLeases,
	"drop":    dropLeases,
}

// A workplace is what a worker has.
type workplace struct {
	locker locker
	leases leases
}

// work is the worker's main function.
func work(spec string, in io.Reader, out io.Writer) error {
	var s workerSpec
	if err := json.Unmarshal([]byte(spec), &s); err != nil {
		return err
	}
	subject, err := subjectOf(s.Subject)
	if err != nil {
		return err
	}
	l, err := subject.open(s.Addrs)
	if err != nil {
		return err
	}
	defer l.close()
	if s.Profile != "" {
		file, err := os.Create(s.Profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	w := &workplace{locker: l}
	answers := json.NewEncoder(out)
	for orders := json.NewDecoder(in); ; {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := answers.Encode(w.execute(o)); err != nil {
			return err
		}
	}
}

// execute executes an order and measures time and processor time around it.
func (w *workplace) execute(o order) answer {
	duty, ok := duties[o.Do]
	if !ok {
		return answer{Err: fmt.Sprintf("no duty %q", o.Do)}
	}
	if o.Begin > 0 {
		time.Sleep(o.Begin - monotonic())
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit(o)-time.Second)
	defer cancel()
	began, used := monotonic(), cpuSelf()
	a, err := duty(ctx, w, o)
	a.Took, a.CPU = monotonic()-began, cpuSelf()-used
	if err != nil {
		a.Err = err.Error()
	}
	return a
}

// limit is how long an order may take before the worker is given up.
func limit(o order) time.Duration {
	return 15*time.Second + 2*o.For + time.Duration(o.Many)*time.Millisecond/2
}

// A worker is the harness's side of a worker process.
type worker struct {
	*process
	in   io.WriteCloser
	pipe io.Closer
	out  *bufio.Reader // of pipe
}

// newWorker starts a client process. Nothing is measured of its start.
func (b *bench) newWorker(s subject, id string, addrs []string) (*worker, error) {
	name := "client-" + s.name + "-" + id
	spec, err := json.Marshal(workerSpec{s.name, addrs, b.profileOf(s, name)})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	w := &worker{pipe: out, out: bufio.NewReader(out)}
	var failed error
	w.process, err = start(b.fleet.dir, name, func(cmd *exec.Cmd) {
		cmd.Env = append(os.Environ(), workerVariable+"="+string(spec))
		cmd.Stdout = theirs
		w.in, failed = cmd.StdinPipe()
	}, self)
	if err != nil {
		out.Close()
		return nil, err
	}
	if failed != nil {
		w.stop()
		return nil, failed
	}
	return w, nil
}

// profileOf returns where a worker of ours is to leave its profile, if one was asked for.
func (b *bench) profileOf(s subject, worker string) string {
	if b.plan.profile == "" || !ourOwn(s) {
		return ""
	}
	return filepath.Join(b.plan.profile, worker+".pprof")
}

// order has the worker do something and waits for the answer. A worker that does not answer in time is killed,
// and so it is when ctx is done.
func (w *worker) order(ctx context.Context, o order) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit(o))
	defer cancel()
	defer context.AfterFunc(ctx, w.stop)()
	if err := json.NewEncoder(w.in).Encode(o); err != nil {
		return a, w.broken(ctx, err)
	}
	line, err := w.out.ReadBytes('\n')
	if err != nil {
		return a, w.broken(ctx, err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, err
	}
	if a.Err != "" {
		return a, fmt.Errorf("%s: %s: %s", w.name, o.Do, a.Err)
	}
	return a, nil
}

func (w *worker) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", w.name, ctx.Err())
	}
	select {
	case <-w.done:
		return w.failure()
	case <-time.After(time.Second):
		return fmt.Errorf("%s: %w", w.name, err)
	}
}

// end lets the worker close its client and end; one that does not is killed.
func (w *worker) end() {
	_ = w.in.Close()
	select {
	case <-w.done:
	case <-time.After(6 * time.Second):
		w.stop()
	}
	_ = w.pipe.Close()
}
