package etcd

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// Limits of the ttl. etcd counts in whole seconds; a cluster has a shortest ttl of its own, one and a half of its
// election timeouts (2 s as it comes), and gives that to whoever asks for less.
const (
	MinTTL = time.Second
	MaxTTL = 24 * time.Hour
)

// DefaultPrefix is under which keys are made for which nothing else was asked.
const DefaultPrefix = "/holdfast/locks"

// settings are the client's options after defaults were filled in.
type settings struct {
	lockSettings
	prefix  string
	timeout time.Duration
	logger  *slog.Logger
}

// An Option configures a Client.
type Option func(*settings)

// WithTTL sets the ttl of locks that do not ask for their own, MinTTL to MaxTTL, rounded up to seconds: how long a
// lock survives the death of its holder. A living holder's lock is kept alive every third of it, so it need not
// cover the work; it must cover an election of the cluster. Default client.DefaultTTL.
func WithTTL(ttl time.Duration) Option { return func(s *settings) { s.ttl = ttl } }

// WithOwner sets the label that others are shown as the holder (HeldError.Label, Inspect); at most
// redlock.MaxLabel bytes, never secret. Default: host name and process id.
func WithOwner(label string) Option { return func(s *settings) { s.owner = label } }

// WithPrefix sets under which keys locks are kept; a slash is set behind it. Clients with the same prefix exclude
// each other. Default DefaultPrefix.
func WithPrefix(prefix string) Option {
	return func(s *settings) { s.prefix = strings.TrimSuffix(prefix, "/") }
}

// WithTimeout bounds how long the cluster may take to answer one request. A wait for a lock consists of many
// and is not bounded by it. Default: a third of the client's ttl, at most 5 s.
func WithTimeout(d time.Duration) Option { return func(s *settings) { s.timeout = d } }

// WithLogger makes the client report what its callers cannot see, or may not look at. Default: nothing is logged.
// These are all messages; names of locks are in them, secrets never:
//
//	WARN   lease lost                  lock, token, cause
//	WARN   release was not confirmed   lock, token, err: of Do; the lock may stay for its ttl
func WithLogger(l *slog.Logger) Option { return func(s *settings) { s.logger = l } }

// lockSettings are the options of one call.
type lockSettings struct {
	ttl   time.Duration
	owner string
}

// A LockOption configures one call of Lock, TryLock or Do.
type LockOption func(*lockSettings)

// TTL sets the ttl of this lock instead of the client's.
func TTL(d time.Duration) LockOption { return func(s *lockSettings) { s.ttl = d } }

// Owner sets the label of this lock's holder instead of the client's.
func Owner(label string) LockOption { return func(s *lockSettings) { s.owner = label } }

func (s lockSettings) check() error {
	switch {
	case s.ttl < MinTTL || s.ttl > MaxTTL:
		return fmt.Errorf("%w: ttl %v, must be %v to %v", client.ErrInvalid, s.ttl, MinTTL, MaxTTL)
	case len(s.owner) > redlock.MaxLabel:
		return fmt.Errorf("%w: label of %d bytes, must be at most %d", client.ErrInvalid, len(s.owner), redlock.MaxLabel)
	}
	return nil
}

// seconds returns the ttl as etcd wants it, rounded up.
func (s lockSettings) seconds() int64 { return int64((s.ttl + time.Second - 1) / time.Second) }

// defaultOwner says where a process is to be looked for.
func defaultOwner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}
