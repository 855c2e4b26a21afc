package lua

import (
	"fmt"
	"strings"
)

// Flags are what a script's first line declares about it.
type Flags uint8

// The flags of Redis 7.0.
const (
	Declared           Flags = 1 << iota // there is such a line at all
	NoWrites                             // runs no write command
	AllowOOM                             // may run when the node is out of memory
	AllowStale                           // may run on a replica with old data
	NoCluster                            // must not run in a cluster
	AllowCrossSlotKeys                   // may touch keys of several slots
)

var flagNames = map[string]Flags{
	"no-writes":             NoWrites,
	"allow-oom":             AllowOOM,
	"allow-stale":           AllowStale,
	"no-cluster":            NoCluster,
	"allow-cross-slot-keys": AllowCrossSlotKeys,
}

// parseShebang reads a first line such as "#!lua flags=no-writes,allow-oom". It returns the code without that
// line's text, but with its end, so that the numbers of lines stay right.
func parseShebang(body []byte) (Flags, string, error) {
	if len(body) < 2 || body[0] != '#' || body[1] != '!' {
		return 0, string(body), nil
	}
	line, rest, ok := strings.Cut(string(body), "\n")
	if !ok {
		return 0, "", scriptError("ERR Invalid script shebang")
	}
	words := strings.Fields(line)
	if words[0] != "#!lua" {
		return 0, "", scriptError("ERR Unexpected engine in script shebang: " + words[0])
	}
	flags := Declared
	for _, word := range words[1:] {
		list, ok := strings.CutPrefix(word, "flags=")
		if !ok {
			return 0, "", scriptError("ERR Unknown lua shebang option: " + word)
		}
		if list == "" {
			continue
		}
		for name := range strings.SplitSeq(list, ",") {
			f, ok := flagNames[name]
			if !ok {
				return 0, "", scriptError(fmt.Sprintf("ERR Unexpected flag in script shebang: %s", name))
			}
			flags |= f
		}
	}
	return flags, "\n" + rest, nil
}
