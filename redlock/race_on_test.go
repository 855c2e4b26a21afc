//go:build race

package redlock

// defaultSchedules is smaller under the race detector: the model test starts no goroutine, so that there is
// nothing to be found in it, and it takes eight times as long.
const defaultSchedules = 2000
