package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/holdfast-dev/holdfast/server/servertest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"holdfast": func() { os.Exit(run(os.Args[1:])) },
		"await":    awaitMain,
		"redis":    redisMain,
		"gone":     goneMain,
		"get":      getMain,
	})
}

// patience bounds every wait for another process.
const patience = 30 * time.Second

// Ensure that the command line keeps its promises: each script in testdata/script shows one.
//
// A script has five nodes of its own, listed in HOLDFAST_NODES, and beside testscript's own commands:
//
//	exits CODE PROGRAM ARGS...   run a program that must end with this exit code
//	waitfor FILE REGEXP          wait until a file, perhaps still to be made, matches
//	down I...                    stop these of the nodes, counted from 1
//	freeports N VAR              find N free ports in a row, and put the first into a variable
//	listen ADDR                  take an address until the end of the script
//	hung VAR                     put into a variable the address of a node that takes connections and never answers
//
// and the programs await FILE (wait until it exists), gone PID (wait until that process has ended), redis ADDR
// COMMAND... and get URL.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			nodes := servertest.StartCluster(t, 5)
			var addrs []string
			for _, n := range nodes {
				addrs = append(addrs, n.Addr())
			}
			env.Values["nodes"] = nodes
			env.Setenv("HOLDFAST_NODES", strings.Join(addrs, ","))
			for i, addr := range addrs {
				env.Setenv("NODE"+strconv.Itoa(i+1), addr)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exitsCmd, "waitfor": waitforCmd, "down": downCmd, "freeports": freeportsCmd, "listen": listenCmd,
			"hung": hungCmd,
		},
	})
}

func exitsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, not %s", code, args[0])
	}
}

func waitforCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE REGEXP")
	}
	pattern, err := regexp.Compile(`(?m)` + args[1])
	ts.Check(err)
	var data []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if data, err = os.ReadFile(ts.MkAbs(args[0])); err == nil && pattern.Match(data) {
			return
		}
	}
	ts.Fatalf("%s does not match %q: %q, %v", args[0], args[1], data, err)
}

func downCmd(ts *testscript.TestScript, neg bool, args []string) {
	nodes := ts.Value("nodes").([]*servertest.Node)
	for _, arg := range args {
		i, err := strconv.Atoi(arg)
		ts.Check(err)
		nodes[i-1].Stop()
	}
}

func freeportsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: freeports N VAR")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for range 1000 {
		if first := 10000 + rand.IntN(20000); allFree(first, n) {
			ts.Setenv(args[1], strconv.Itoa(first))
			return
		}
	}
	ts.Fatalf("no %d free ports in a row", n)
}

func allFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

func listenCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listen ADDR")
	}
	l, err := net.Listen("tcp", args[0])
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
}

func hungCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hung VAR")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts for it
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// awaitMain is the program await.
func awaitMain() {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(os.Args[1]); err == nil {
			return
		}
	}
	fail(fmt.Errorf("%s does not appear", os.Args[1]))
}

// goneMain is the program gone. A dead process that nobody has collected yet counts as gone.
func goneMain() {
	pid := strings.TrimSpace(os.Args[1])
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err == nil && strings.Contains(string(stat), ") Z ") {
			return
		}
		if err != nil && exec.Command("kill", "-0", pid).Run() != nil {
			return
		}
	}
	fail(fmt.Errorf("process %s does not end", pid))
}

// redisMain is the program redis.
func redisMain() {
	var args []any
	for _, arg := range os.Args[2:] {
		args = append(args, arg)
	}
	opts := &redis.Options{Addr: os.Args[1], Password: os.Getenv("REDIS_PASSWORD"), Protocol: 2, MaxRetries: -1}
	reply, err := redis.NewClient(opts).Do(context.Background(), args...).Result()
	if err != nil {
		fail(err)
	}
	fmt.Println(reply)
}

// getMain is the program get.
func getMain() {
	resp, err := http.Get(os.Args[1])
	if err != nil {
		fail(err)
	}
	fmt.Println(resp.StatusCode)
	_, _ = io.Copy(os.Stdout, resp.Body)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
