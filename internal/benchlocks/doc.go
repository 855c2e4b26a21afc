// Command benchlocks compares lock clients: ours on five redis-server processes and on five of our own nodes,
// redsync, redislock, rueidislock and etcd's, all on this machine, in turns.
//
// It starts every node itself, on free loopback ports and without persistence, and runs each client in processes
// of its own, so that their processor time can be told apart. A round gives each subject its turn at a scenario;
// figures are medians over the rounds, ratios are taken within a round: what else the machine does falls on all.
// Whatever way it ends, its processes end with it. It is a module of its own so that users of the library
// do not carry its peers, and it needs Linux.
//
// `make bench-locks` runs it; docs/benchmarks.md says what is measured and how to read it.
//
// Reading order: main.go, plan.go (what is run for how long), scenario.go, contended.go and fault.go (what is
// measured), subject.go (who), worker.go, crowd.go and leases.go (the clients' side of it), fleet.go, process.go, proxy.go
// (the machinery), count.go, stats.go, report.go, aims.go, document.go, picture.go (what becomes of it).
package main
