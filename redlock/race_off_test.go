//go:build !race

package redlock

// defaultSchedules is how many random schedules of each scenario an ordinary run plays.
const defaultSchedules = 5000
