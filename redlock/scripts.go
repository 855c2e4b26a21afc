package redlock

import "errors"

// A Script is a Lua script of the protocol. Its text says which keys and arguments it takes.
type Script struct {
	Name   string // of the Op that it serves
	Source string
	SHA1   string // in lower-case hex, as EVALSHA wants it
}

// A Call is how a Request is executed at a node by EVAL or EVALSHA.
type Call struct {
	Script *Script
	Keys   []string
	Args   []string
}

// Scripts returns all scripts of the protocol. Load them when a connection opens: a NOSCRIPT answer that is
// sent again later would let a release overtake its acquire.
func Scripts() []*Script { return nil }

// Call returns the script, keys and arguments that execute the request.
func (r Request) Call() Call { return Call{} }

// Decode turns what a script returned into the answer to the request: v is an int64, string, []any of
// these, or nil, as Redis clients return them; err is the error of the call, whether it came from the node
// or from the way to it. Errors of the node that refuse before executing anything are marked NotSent.
func (r Request) Decode(v any, err error) Reply {
	return Reply{Status: StatusError, Err: errors.New("not built yet")}
}
