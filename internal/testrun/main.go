// Command testrun runs go test and says at the end what it did not test.
//
// It stands between make and go test for two reasons. A test that skips itself, because redis-server or
// another program is not installed, is invisible in the output of go test, and a person should read in the
// last lines what was left out; where everything is supposed to be installed (CI=true) a skip is a failure.
// And some tests, the end-to-end test above all, need the machine for themselves, so packages named by -last
// run one by one after all the others, but are still part of the one summary.
//
//	testrun [-last PACKAGE]... [flags and packages of go test; packages begin with ./]
//
// The output is that of go test without -v: one line per package, the whole output of what failed.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

func main() {
	last, args := split(os.Args[1:])
	sum := newSummary(os.Stdout)
	runs := [][]string{without(args, last)}
	for _, pkg := range last {
		// The cache does not know of the programs that these tests build and start.
		runs = append(runs, append(flags(args), "-count=1", pkg))
	}
	start := clock.Now()
	failed := false
	for _, run := range runs {
		if err := goTest(sum, run); err != nil {
			failed = true
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
				fmt.Fprintln(os.Stderr, "testrun:", err)
			}
		}
	}
	skipsFail := os.Getenv("CI") == "true"
	sum.finish(clock.Since(start), skipsFail)
	if failed || skipsFail && len(sum.skips) > 0 {
		os.Exit(1)
	}
}

// split takes the values of -last out of the arguments.
func split(args []string) (last, rest []string) {
	for len(args) > 0 {
		if args[0] == "-last" && len(args) > 1 {
			last, args = append(last, args[1]), args[2:]
			continue
		}
		rest, args = append(rest, args[0]), args[1:]
	}
	return last, rest
}

// flags returns the arguments that are not packages.
func flags(args []string) []string {
	var out []string
	for _, arg := range args {
		if !strings.HasPrefix(arg, "./") {
			out = append(out, arg)
		}
	}
	return out
}

// without replaces ./... in args by its packages, less those in last, which are paths such as ./internal/x.
func without(args, last []string) []string {
	if len(last) == 0 {
		return args
	}
	list, err := exec.Command("go", "list", "-f", "{{.Dir}}", "./...").Output()
	here, errHere := os.Getwd()
	if err = errors.Join(err, errHere); err != nil {
		return args // go test is about to say what is wrong
	}
	var out []string
	for _, arg := range args {
		if arg != "./..." {
			out = append(out, arg)
			continue
		}
		for _, dir := range strings.Fields(string(list)) {
			pkg := "." + strings.TrimPrefix(dir, here)
			if !contains(last, pkg) {
				out = append(out, pkg)
			}
		}
	}
	return out
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if strings.TrimSuffix(x, "/") == s {
			return true
		}
	}
	return false
}

// goTest runs go test once and feeds its events to sum.
func goTest(sum *summary, args []string) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	dec := json.NewDecoder(out)
	for {
		var e event
		if err := dec.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			_, _ = io.Copy(io.Discard, out)
			return errors.Join(fmt.Errorf("reading the events of go test: %w", err), cmd.Wait())
		}
		sum.add(e)
	}
	return cmd.Wait()
}
