package client

import (
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

// WithLogger makes the client report what its callers cannot see: links that fail and come back, leases
// that are lost, releases that could not be confirmed. Default: nothing is logged.
func WithLogger(l *slog.Logger) Option { return func(s *settings) { s.logger = l } }

// WithProtocol sets the parameters of the protocol. All clients of a fleet must agree on them.
func WithProtocol(o redlock.Options) Option { return func(s *settings) { s.protocol = o } }

// lockSettings are the options of one call.
type lockSettings struct {
	ttl        time.Duration
	owner      string
	renew      bool
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

// BeforeSend sets a function that is called with the owner value of each attempt before anything is sent.
// Who stores the value durably there can Resume the lease after a crash at any point. An error ends the
// call with that error, wrapped. The value is a secret: whoever knows it can release the lock.
func BeforeSend(f func(value string) error) LockOption {
	return func(s *lockSettings) { s.beforeSend = f }
}
