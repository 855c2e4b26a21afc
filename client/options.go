package client

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/holdfast-dev/holdfast/redlock"
)

// DefaultTTL is the ttl of a lock for which nothing else was asked.
const DefaultTTL = 15 * time.Second

// settings are the client's options after defaults were filled in.
type settings struct {
	ttl       time.Duration
	owner     string
	timeout   time.Duration
	logger    *slog.Logger
	observers observers
	protocol  redlock.Options
	guard     time.Duration
}

// An Option configures a Client.
type Option func(*settings)

// WithTTL sets the ttl of locks that do not ask for their own: how long a lock survives the death of its
// holder. Renewal keeps a living holder's lock for as long as it wants, so a ttl need not cover the work;
// it must cover the longest pause of the process and the longest failure of the network that the work
// should survive. Default DefaultTTL.
func WithTTL(ttl time.Duration) Option { return func(s *settings) { s.ttl = ttl } }

// WithOwner sets the label that others are shown as the holder (HeldError.Label, Inspect); at most
// redlock.MaxLabel bytes, never secret. Default: host name and process id.
func WithOwner(label string) Option { return func(s *settings) { s.owner = label } }

// WithTimeout bounds how long one node may take to accept a connection or to answer. A slower node is
// treated as down for a while. It applies to nodes of Open and of NodeOf; for the latter the user's own
// client may be stricter. Default: a tenth of the client's ttl, at least 100 ms and at most 1 s.
func WithTimeout(d time.Duration) Option { return func(s *settings) { s.timeout = d } }

// WithLogger makes the client report what its callers cannot see, or may not look at. Default: nothing is logged.
// These are all messages, with their levels and attributes; names of locks are in them, secrets never:
//
//	ERROR  node has no vote               node, err: it is a server that another node's address has reached, too
//	WARN   node is down                   node, err: once, when it begins
//	INFO   node is back                   node
//	INFO   lost the wake-up subscription  node, err: waiters may learn of a release late until it is up again
//	WARN   lease lost                     lock, token, cause: expired, stolen, no quorum, or forced
//	WARN   release was not confirmed      lock, token, err: of Do; the lock may stay for its ttl
//	WARN   lock revoked                   lock, how (evict or force), owner, token, reason: by this client
//	WARN   revocation not confirmed       the same, and err
func WithLogger(l *slog.Logger) Option { return func(s *settings) { s.logger = l } }

// WithGuard makes every lease end this long before its lock, so that what works under [Lease.Context] has time to
// stop before anybody else can get the lock: it is 0 to half of the ttl. The lock itself is released when it
// would have ended without a guard, or by Unlock, which says that the work has stopped. A lease that is evicted
// ends when its holder learns of it, and its lock is released a guard later. One that is stolen or forced ends
// with its lock, which is not his to guard any more. Default 0: context and lock end together.
func WithGuard(d time.Duration) Option { return func(s *settings) { s.guard = d } }

// WithProtocol sets the parameters of the protocol. All clients of a fleet must agree on them.
func WithProtocol(o redlock.Options) Option { return func(s *settings) { s.protocol = o } }

// lockSettings are the options of one call.
type lockSettings struct {
	ttl        time.Duration
	owner      string
	meta       string
	metaErr    error // what is wrong with it
	announce   bool
	shared     bool
	retry      bool // Once
	renew      bool
	guard      time.Duration
	limited    bool // by maxHold
	maxHold    time.Duration
	beforeSend func(value string) error
}

// A LockOption configures one call of Lock, TryLock, Do or Resume.
type LockOption func(*lockSettings)

// TTL sets the ttl of this lock instead of the client's.
func TTL(d time.Duration) LockOption { return func(s *lockSettings) { s.ttl = d } }

// Owner sets the label of this lock's holder instead of the client's.
func Owner(label string) LockOption { return func(s *lockSettings) { s.owner = label } }

// WithoutRenew leaves renewal to the caller: the lease ends a ttl after it was granted unless Lease.Renew
// is called before.
func WithoutRenew() LockOption { return func(s *lockSettings) { s.renew = false } }

// Guard sets the guard of this lock instead of the client's; see [WithGuard].
func Guard(d time.Duration) LockOption { return func(s *lockSettings) { s.guard = d } }

// WithMaxHold bounds for how long the lock is held: that long after it was taken (or resumed) it is released at
// all nodes, and the lease has ended with [ErrMaxHold], a guard earlier. It is at least redlock.MinTTL, and
// longer than the guard. No renewal is sent that is not needed to last until then; a node that cannot be reached
// at that moment keeps the lock for less than one ttl longer.
func WithMaxHold(d time.Duration) LockOption {
	return func(s *lockSettings) { s.limited, s.maxHold = true, d }
}

// BeforeSend sets a function that is called with the owner value of each attempt before anything is sent.
// Who stores the value durably there can Resume the lease after a crash at any point. An error ends the
// call with that error, wrapped. The value is a secret: whoever knows it can release the lock.
func BeforeSend(f func(value string) error) LockOption {
	return func(s *lockSettings) { s.beforeSend = f }
}

// checkGuard checks a guard against the ttl whose end it stands before.
func checkGuard(guard, ttl time.Duration, protocol redlock.Options) error {
	drift := protocol.Drift
	if drift == nil {
		drift = redlock.DefaultDrift
	}
	switch {
	case guard < 0 || guard > ttl/2:
		return fmt.Errorf("%w: guard %v, must be 0 to half of the ttl %v", ErrInvalid, guard, ttl)
	case guard > 0 && guard >= ttl-drift(ttl):
		return fmt.Errorf("%w: guard %v leaves nothing of the ttl %v beside a drift of %v", ErrInvalid, guard, ttl, drift(ttl))
	}
	return nil
}

// check checks what package redlock does not.
func (s lockSettings) check(protocol redlock.Options) error {
	if s.metaErr != nil {
		return s.metaErr
	}
	if s.limited && (s.maxHold < redlock.MinTTL || s.maxHold <= s.guard) {
		return fmt.Errorf("%w: longest hold %v, must be at least %v and longer than the guard %v", ErrInvalid,
			s.maxHold, redlock.MinTTL, s.guard)
	}
	return checkGuard(s.guard, s.ttl, protocol)
}
