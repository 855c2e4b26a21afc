//go:build !linux

package clock

import "time"

// suspended is zero where the system offers no clock that runs on in suspend: a holder there must not be
// suspended for longer than its lease, which the documentation says.
func suspended(int64) time.Duration { return 0 }
