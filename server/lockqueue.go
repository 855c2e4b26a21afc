package server

import (
	"strconv"
	"strings"
)

// This file is what the node knows of the layout of locks, which package redlock defines (its keys.go and
// scripts/queue.lua; tests hold the two together).
//
// The queue of lock NAME is a sorted set called {NAME}:waiters, or NAME::waiters if NAME has a hash tag of its own.
// Its members are ID;DEADLINE, or ID;DEADLINE;r for one who wants to share the lock, the deadline in milliseconds
// by the clock of redis.running(). The message "ID NAME" goes to the channel holdfast:wake:CLIENT, CLIENT being
// what stands before the slash of ID. Those who share the lock are in {NAME}:readers, a key that expires with the
// last of them.

const (
	queueSuffix   = ":waiters"
	readersSuffix = ":readers"
	wakePrefix    = "holdfast:wake:"
)

// hasSuffix is for the two suffixes above. Most keys are told apart by their last byte.
func hasSuffix(key []byte, suffix string) bool {
	return len(key) > len(suffix) && key[len(key)-1] == 's' && string(key[len(key)-len(suffix):]) == suffix
}

// lockOf returns the key of the lock beside which a key with this suffix stands; false if it is no such key.
func lockOf(key, suffix string) (lock string, ok bool) {
	base, ok := strings.CutSuffix(key, suffix)
	if !ok {
		return "", false
	}
	if lock, ok := strings.CutSuffix(base, ":"); ok && hasHashTag(lock) {
		return lock, true
	}
	if last := len(base) - 1; last > 1 && base[0] == '{' && base[last] == '}' && !hasHashTag(base[1:last]) {
		return base[1:last], true
	}
	return "", false
}

// hasHashTag reports whether there is something between the first '{' of a key and the first '}' behind it,
// which a cluster hashes in place of the key.
func hasHashTag(key string) bool {
	_, rest, _ := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	return closed && tag != ""
}

// A lockWaiter is a member of a queue.
type lockWaiter struct {
	member   string
	id       string
	deadline int64
	shared   bool
	ours     bool // it is one, and not what somebody else keeps in a set of such a name
	alive    bool
}

// parseLockWaiter takes a member apart; now is the time of redis.running().
func parseLockWaiter(member string, now int64) lockWaiter {
	w := lockWaiter{member: member}
	rest, shared := strings.CutSuffix(member, ";r")
	id, digits, ok := strings.Cut(rest, ";")
	client, seq, named := strings.Cut(id, "/")
	deadline, err := strconv.ParseInt(digits, 10, 64)
	if !ok || !named || client == "" || seq == "" || strings.ContainsAny(id, " \r\n") || err != nil || deadline < 0 || digits[0] == '+' {
		return w
	}
	w.id, w.deadline, w.shared, w.ours, w.alive = id, deadline, shared, true, deadline > now
	return w
}
