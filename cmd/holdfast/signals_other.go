//go:build !unix

package main

import "os"

var endSignals = []os.Signal{os.Interrupt}

// There are no others here; a new size is noticed at the next second.
var resizeSignals, stopSignals []os.Signal

func stopSelf() {}
