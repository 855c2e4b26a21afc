//go:build !unix

package main

import "os"

// There are no such signals here; a new size is noticed at the next second.
var resizeSignals, stopSignals []os.Signal

func stopSelf() {}
