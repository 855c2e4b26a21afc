package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// traffic is what nodes have received from clients and sent them besides replies.
type traffic struct {
	commands float64
	messages float64
	busy     float64 // nanoseconds in which the commands were executed, input and output apart
}

func (t traffic) plus(u traffic) traffic {
	return traffic{t.commands + u.commands, t.messages + u.messages, t.busy + u.busy}
}

func (t traffic) minus(u traffic) traffic {
	return traffic{t.commands - u.commands, t.messages - u.messages, t.busy - u.busy}
}

// unknown is the traffic of nodes that do not count it.
var unknown = traffic{math.NaN(), math.NaN(), math.NaN()}

// count returns the traffic of a subject's nodes since their start.
func count(ctx context.Context, s subject, nodes []node) (traffic, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var sum traffic
	for _, n := range nodes {
		var t traffic
		var err error
		switch s.kind {
		case kindRedis:
			t, err = countRedis(ctx, n.addr, s.counted)
		case kindEtcd:
			t, err = countEtcd(ctx, n.addr)
		default:
			t = unknown
		}
		if err != nil {
			return unknown, fmt.Errorf("counting commands at %s: %w", n.addr, err)
		}
		sum = sum.plus(t)
	}
	return sum, nil
}

func countRedis(ctx context.Context, addr string, counted []string) (traffic, error) {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	text, err := rdb.Info(ctx, "commandstats").Result()
	if err != nil {
		return traffic{}, err
	}
	return parseCommandStats(text, counted)
}

// parseCommandStats reads lines such as "cmdstat_evalsha:calls=3,usec=91,...".
func parseCommandStats(text string, counted []string) (t traffic, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		name, rest, ok := strings.Cut(line, ":calls=")
		name, stat := strings.CutPrefix(name, "cmdstat_")
		if !ok || !stat {
			continue
		}
		number, rest, _ := strings.Cut(rest, ",usec=")
		calls, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return traffic{}, fmt.Errorf("%q: %w", line, err)
		}
		number, _, _ = strings.Cut(rest, ",")
		usec, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return traffic{}, fmt.Errorf("%q: %w", line, err)
		}
		if slices.Contains(counted, name) {
			t = t.plus(traffic{commands: calls, busy: usec * float64(time.Microsecond)})
		}
		if name == "publish" {
			t.messages += calls
		}
	}
	return t, nil
}

func countEtcd(ctx context.Context, addr string) (traffic, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return traffic{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return traffic{}, err
	}
	defer resp.Body.Close()
	return parseEtcdMetrics(resp.Body)
}

// parseEtcdMetrics counts the messages of gRPC that were received, requests of watches and keepalives included,
// and those that were sent on watches.
func parseEtcdMetrics(r io.Reader) (t traffic, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), "{")
		labels, value, _ := strings.Cut(rest, "} ")
		received := name == "grpc_server_msg_received_total"
		sent := name == "grpc_server_msg_sent_total" && strings.Contains(labels, `grpc_method="Watch"`)
		if !received && !sent {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return traffic{}, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		if received {
			t.commands += n
		} else {
			t.messages += n
		}
	}
	t.busy = math.NaN() // etcd does not tell
	return t, lines.Err()
}
