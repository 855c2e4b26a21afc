// Package skew holds what tests add to the readings of the clocks. Only packages below internal/clock can reach
// it: clocktest sets it, clock adds it. In a program it is zero.
package skew

import "sync/atomic"

var (
	// Wall is added to the wall clock, in nanoseconds.
	Wall atomic.Int64
	// Running is added to the running clock, in nanoseconds. It only grows.
	Running atomic.Int64
)
