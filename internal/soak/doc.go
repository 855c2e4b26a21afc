// Package soak holds the soak test: hundreds of goroutines of several clients use every primitive on a few dozen
// names, on five node processes that are killed, come back empty, and hang, at random, for as long as asked.
//
// A referee follows every lease (referee_test.go) and knows two things of each name: that nobody is in who must
// not be, judged by what the leases themselves believe at that moment, and that tokens rise. A watchdog fails the
// test, with all goroutines shown, when one of the workers gets nowhere. In the end nothing may be left: no
// goroutine, no key, no place in a queue, no subscription; and neither the clients nor the nodes may have grown.
//
// HOLDFAST_SOAK says for how long it runs, one minute by default; `make soak` runs ten. Set HOLDFAST_SOAK_SEED to
// the seed that a run prints to have the same choices made again; what comes of them depends on timing.
//
// Reading order: soak_test.go (the course of events), worker_test.go and meeting_test.go (what the goroutines do), referee_test.go,
// fleet_test.go (nodes and their troubles), growth_test.go (memory), score_test.go (what is counted and printed).
package soak
