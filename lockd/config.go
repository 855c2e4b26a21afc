package lockd

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdfast-dev/holdfast/client"
)

// A Config sets the limits of a Server. A zero field takes the default beside it; none can be switched off.
type Config struct {
	// TTL is the ttl of a lock for which the caller asked none. Default client.DefaultTTL.
	TTL time.Duration
	// MinTTL and MaxTTL bound what a caller may ask for. Defaults 100 ms and 5 minutes; the client's own
	// limits (redlock.Options.LongestTTL) apply beside them.
	MinTTL, MaxTTL time.Duration
	// MaxWait bounds how long one request may wait for a lock. Default 5 minutes.
	MaxWait time.Duration

	// MaxLeases bounds how many locks one caller may hold and ask for at the same time, streams included.
	// Default 20000. Callers are told apart by their address; all of those on a unix socket are one.
	MaxLeases int
	// MaxWaits bounds how many requests of one caller may wait for a lock at the same time. Default 2000.
	MaxWaits int
	// MaxBody bounds a request's body, in bytes. Default 16 KiB.
	MaxBody int64

	// Heartbeat is the longest silence on a stream; an event is due every quarter of the lock's ttl or after
	// this long, whichever is shorter. Default 5 s.
	Heartbeat time.Duration
	// IOTimeout is how long a caller may take to send a request's body, and to take in what is written to
	// it: a stream whose reader is slower is cut off. Default 10 s.
	IOTimeout time.Duration

	// Hosts are the names, beside those of the loopback interface, under which the server may be addressed.
	// A request with another Host header is refused: it comes from a page whose name was rebound to us.
	Hosts []string
	// Version is shown in the OpenAPI document. Default "dev".
	Version string
	// Logger receives what callers cannot see: losses, refusals, faults. Default: nothing is logged.
	Logger *slog.Logger
}

func orDefault[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// complete returns the configuration with its defaults, or says what is wrong with it.
func (c Config) complete() (Config, error) {
	orDefault(&c.TTL, client.DefaultTTL)
	orDefault(&c.MinTTL, 100*time.Millisecond)
	orDefault(&c.MaxTTL, 5*time.Minute)
	orDefault(&c.MaxWait, 5*time.Minute)
	orDefault(&c.MaxLeases, 20000)
	orDefault(&c.MaxWaits, 2000)
	orDefault(&c.MaxBody, 16<<10)
	orDefault(&c.Heartbeat, 5*time.Second)
	orDefault(&c.IOTimeout, 10*time.Second)
	orDefault(&c.Version, "dev")
	orDefault(&c.Logger, slog.New(slog.DiscardHandler))
	var errs []error
	for what, value := range map[string]int64{
		"TTL": int64(c.TTL), "MinTTL": int64(c.MinTTL), "MaxTTL": int64(c.MaxTTL), "MaxWait": int64(c.MaxWait),
		"MaxLeases": int64(c.MaxLeases), "MaxWaits": int64(c.MaxWaits), "MaxBody": c.MaxBody,
		"Heartbeat": int64(c.Heartbeat), "IOTimeout": int64(c.IOTimeout),
	} {
		if value < 0 {
			errs = append(errs, fmt.Errorf("lockd: %s is negative", what))
		}
	}
	if c.TTL < c.MinTTL || c.TTL > c.MaxTTL {
		errs = append(errs, fmt.Errorf("lockd: the default ttl %v is not between %v and %v", c.TTL, c.MinTTL, c.MaxTTL))
	}
	return c, errors.Join(errs...)
}
