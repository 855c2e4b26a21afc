// Package e2e holds the end-to-end test: real processes of every kind, on real nodes, with real faults.
//
// Contenders of four kinds add one to a number in a plain file, all under one lock: Go programs that use
// package client, `holdfast lock` with a script, curl through lockd, and Go programs that use redsync, a
// Redlock of other authors. Two of the five nodes are killed on the way and come back empty. If two
// contenders were ever in at the same time the number would be too low. Then a holder is stopped with SIGSTOP until
// its lock has gone to others, and the file that all of them write must refuse its late write by the
// fencing token. In the end nothing may be left on the nodes.
//
// It runs twice, on five processes of `holdfast server` and on five of redis-server: neither the protocol nor the
// nodes can be right by agreeing with each other only.
//
// Reading order: e2e_test.go (the course of events), fleet_test.go (nodes), contender_test.go (the kinds, as
// the harness sees them), worker_test.go (the Go kinds, as processes of their own), resource_test.go (the
// files they write), score_test.go (what is counted), process_test.go.
package e2e
