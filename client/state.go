package client

import "github.com/holdfast-dev/holdfast/redlock"

// A State is what a majority of the nodes says about a lock: what Inspect and List return.
type State = redlock.State
