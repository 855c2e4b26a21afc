// Package redlock is the lock protocol: Redlock over N independent masters, with fencing tokens that are
// monotone over all of them, a holder that always learns in time that it lost its lock, and nodes that stay
// safe when they forget their state. DESIGN.md beside this file tells the protocol, what was checked of it,
// and what is assumed.
//
// There are only a few types. A [Node] executes [Request]s, one at a time, and answers with [Reply]s. A
// [Quorum] runs the protocol over a set of nodes. A [Grant] is a lock that was won; it is held strictly
// before its validity end, which only a renewal moves.
//
// The package makes one attempt, one renewal round, one release at a time. When to renew, when to try again
// and how to wait for a lock are the business of package client.
//
// Reading order:
//
//	node.go        the contract between protocol and nodes
//	keys.go        what a lock name occupies at a node; the limits
//	record.go      what a holder shows to others beside its lock
//	scripts.go     requests as Lua scripts and back; scripts/*.lua are the nodes' half of the protocol
//	rules.go       the decisions on which the promises hang
//	lease.go       one owner value, from the first acquire to the last release: a state machine without I/O
//	attempt.go     its first part: from the first acquire to the majority that stored the token
//	renewal.go     its second part: renewal rounds, and taking up another process's lease
//	set.go         sets that only grow, for latches and barriers
//	revocation.go  Evict and Force as a state machine
//	grant.go       drives a lease over real nodes, clocks and contexts
//	quorum.go      the calls that clients make
//	operate.go     the calls that operators make
//	errors.go      what can go wrong
package redlock
