// Package fencing shows how a resource refuses the late write of somebody who has lost the lock without noticing:
// a row of a database, a key of Redis, an object in a bucket, a file.
//
// A holder may be paused between its last look at the lease and its write, for longer than the lease lasts. Then
// the next holder writes, and then the first one wakes up and overwrites it. No lock can prevent that, since the
// first one believed rightly when it last looked. The resource can: each lease has a token (Lease.Token) that is
// higher than those of all leases before it, the resource remembers the highest with which it was written, and
// refuses lower ones.
//
// Two things make a fence. The check and the write are one step, because whoever checks first and then writes can
// be paused in between, which is what it was about. And the highest token is kept with what it protects, by the
// same means: what is lost together is right together.
//
// The same token may write as often as it likes. Names do not share tokens: a resource belongs to one lock name.
//
// Copy what you need; there is little to import.
package fencing

import "errors"

// ErrStale: somebody whose lease began later has written already. The lock is lost, and with it the right to
// write: trying again is no use.
var ErrStale = errors.New("stale token: a later holder of the lock has written")
