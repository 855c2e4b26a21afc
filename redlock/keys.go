package redlock

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// The limits of what a caller may ask for.
const (
	MaxName    = 512                   // bytes of a lock name; at least 1
	MaxLabel   = 256                   // bytes of an owner's label
	MaxMeta    = 4096                  // bytes that may be shown beside the label
	MaxReason  = 256                   // bytes of a reason for Evict and Force
	MaxMember  = 256                   // bytes of a member of a set; at least 1
	MaxMembers = 10000                 // of one set at a node
	MaxSetTTL  = 366 * 24 * time.Hour  // of a set, from its last member on
	MaxReaders = 100                   // of whom Inspect tells at a node
	MinTTL     = 10 * time.Millisecond // the shortest ttl; the longest is Options.LongestTTL
	MaxToken   = 1<<53 - 1             // fencing tokens are 1 to MaxToken: exact in a double, in Lua and in JSON
)

// NameKeys are the keys that a lock name occupies at a node. All of them hash to one slot of a Redis
// Cluster (see [ClusterSafe]).
type NameKeys struct {
	// Lock is the name itself: a plain string key with the owner value, the layout of redsync.
	Lock string
	// Fence is a counter, the highest fencing token that this node knows of.
	Fence string
	// Holder is a string, the holder's record (see record.go). It is true only while its digest is that of
	// the lock's value, since a client that is not ours replaces the lock without touching this record.
	Holder string
	// Waiters is a sorted set of "ID;DEADLINE", scored by Waiter.Since; DEADLINE is the node's time in
	// milliseconds after which the entry counts as dead. ";r" follows if it waits for a shared lock.
	Waiters string
	// Revoked is a string, a list of revoked digests with the reasons for it, one in each line.
	Revoked string
	// Readers is a sorted set of the digests of those who hold the lock shared, scored by the node's time in
	// milliseconds until which they do.
	Readers string
	// Records is a hash of the readers' records by digest.
	Records string
	// Set is a set that only grows (Quorum.Add).
	Set string
}

// What the keys beside a lock end with.
const (
	fenceSuffix   = ":fence"
	holderSuffix  = ":holder"
	waitersSuffix = ":waiters"
	revokedSuffix = ":revoked"
	readersSuffix = ":readers"
	recordsSuffix = ":records"
	setSuffix     = ":set"
)

// Keys returns the keys of a lock name: {NAME}:suffix, or NAME::suffix if the name has a hash tag of its own.
// The second colon keeps the keys of "{a}" apart from those of "a".
func Keys(name string) NameKeys {
	base := "{" + name + "}"
	if hashTag(name) != "" {
		base = name + ":"
	}
	return NameKeys{Lock: name, Fence: base + fenceSuffix, Holder: base + holderSuffix,
		Waiters: base + waitersSuffix, Revoked: base + revokedSuffix,
		Readers: base + readersSuffix, Records: base + recordsSuffix, Set: base + setSuffix}
}

// HolderName returns the lock name of which this key has the record of the holder, or of those who hold it
// shared; false if the key is none of these. Every name that is held has such a key at the nodes.
func HolderName(key string) (name string, ok bool) {
	base, ok := strings.CutSuffix(key, holderSuffix)
	if !ok {
		base, ok = strings.CutSuffix(key, recordsSuffix)
	}
	if !ok {
		return "", false
	}
	return keyOwner(base)
}

// keyOwner returns the lock name that a key belongs to, given what stands before its suffix.
func keyOwner(base string) (name string, ok bool) {
	if name, ok := strings.CutSuffix(base, ":"); ok && hashTag(name) != "" {
		return name, true
	}
	if n := len(base) - 1; n > 1 && base[0] == '{' && base[n] == '}' && hashTag(base[1:n]) == "" {
		return base[1:n], true
	}
	return "", false
}

// isKey tells a key that stands beside the lock of some name: as a lock it would get in that one's way.
func isKey(name string) bool {
	for _, suffix := range []string{fenceSuffix, holderSuffix, waitersSuffix, revokedSuffix, readersSuffix, recordsSuffix, setSuffix} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			if _, ok := keyOwner(base); ok {
				return true
			}
		}
	}
	return false
}

// ClusterSafe reports whether all keys of the name hash to one slot of a Redis Cluster. It is false for the
// few names whose braces defeat the hash tag, such as "a}b" and "{}x"; they work on single nodes only.
func ClusterSafe(name string) bool {
	k := Keys(name)
	slot := slotPart(k.Lock)
	return slotPart(k.Fence) == slot // the other suffixes stand behind the same tag
}

// hashTag returns what Redis Cluster hashes of a key instead of the whole key: the part between the first
// '{' and the first '}' after it, if there is anything between them; otherwise "".
func hashTag(key string) string {
	_, rest, ok := strings.Cut(key, "{")
	if !ok {
		return ""
	}
	tag, _, ok := strings.Cut(rest, "}")
	if !ok {
		return ""
	}
	return tag
}

func slotPart(key string) string {
	if tag := hashTag(key); tag != "" {
		return tag
	}
	return key
}

// wakePrefix is what the channels of wake-up messages begin with.
const wakePrefix = "holdfast:wake:"

// WakeChannel returns the channel to which wake-up messages for a waiter are published. It depends only on
// the client part of the id, so that a client needs one subscription per node, whatever the number of its
// locks. A message's payload is the waiter's id, a space, and the lock's name.
func WakeChannel(waiterID string) string {
	client, _, _ := strings.Cut(waiterID, "/")
	return wakePrefix + client
}

// ChangeChannel returns the channel to which a node publishes what happens to a lock whose owner asked for it
// (Attempt.Announce), and that its set has a new member: a word (granted, released, forced, added), a space, and the name. What only expires is not
// announced, and a message may be lost.
func ChangeChannel(name string) string { return "holdfast:change:" + name }

// Digest names an owner without giving its value away: with the value anybody could release the lock.
func Digest(value string) string {
	sum := sha1.Sum([]byte(value)) // the one hash that a Redis script can compute
	return hex.EncodeToString(sum[:])
}

// CheckName returns an error that wraps ErrInvalid if a lock cannot have the name.
func CheckName(name string) error { return checkName(name) }

func checkName(name string) error {
	if len(name) == 0 || len(name) > MaxName {
		return fmt.Errorf("%w: lock name of %d bytes, must be 1 to %d", ErrInvalid, len(name), MaxName)
	}
	if isKey(name) {
		return fmt.Errorf("%w: lock name %q is what another lock's own keys are called", ErrInvalid, name)
	}
	return nil
}

func checkLabel(label string) error {
	if len(label) > MaxLabel {
		return fmt.Errorf("%w: label of %d bytes, must be at most %d", ErrInvalid, len(label), MaxLabel)
	}
	return nil
}

func checkMeta(meta string) error {
	if len(meta) > MaxMeta {
		return fmt.Errorf("%w: meta of %d bytes, must be at most %d", ErrInvalid, len(meta), MaxMeta)
	}
	return nil
}

func checkReason(reason string) error {
	if len(reason) > MaxReason {
		return fmt.Errorf("%w: reason of %d bytes, must be at most %d", ErrInvalid, len(reason), MaxReason)
	}
	return nil
}

// checkWaiter refuses what the order of the queue and its wake-up messages could not tell apart.
func checkWaiter(w Waiter) error {
	client, seq, ok := strings.Cut(w.ID, "/")
	switch {
	case w == Waiter{}:
		return nil
	case !ok, client == "", seq == "", len(w.ID) > MaxLabel, strings.ContainsAny(w.ID, " ;\r\n"):
		return fmt.Errorf("%w: waiter id %.100q, must be CLIENT/SEQ", ErrInvalid, w.ID)
	case w.Since < 0 || w.Since > MaxToken || w.Heartbeat < time.Millisecond || w.Heartbeat > 24*time.Hour:
		return fmt.Errorf("%w: waiter since %d with heartbeat %v", ErrInvalid, w.Since, w.Heartbeat)
	}
	return nil
}

func checkToken(token int64) error {
	if token < 1 || token > MaxToken {
		return fmt.Errorf("%w: token %d, must be 1 to %d", ErrInvalid, token, int64(MaxToken))
	}
	return nil
}
