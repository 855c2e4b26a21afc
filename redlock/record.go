package redlock

import (
	"strconv"
	"strings"
	"time"
)

// A record is what a holder leaves beside its lock for those who wait and for operators. At a node it is one
// string, "DIGEST;TOKEN;TTL;FLAGS;N;LABELMETA": the digest of the value that it belongs to, the holder's fence
// at this node, its ttl in milliseconds, flags (a: announces changes), the length of the label, then label and
// meta, which may have any bytes. The scripts put digest and token before what the client has made.
type record struct {
	token       int64
	ttl         time.Duration
	announce    bool
	label, meta string
}

// recordRest returns what follows digest and token in the record of a request's owner.
func (r Request) recordRest() string {
	flags := ""
	if r.Announce {
		flags = "a"
	}
	return strings.Join([]string{millis(r.TTL), flags, strconv.Itoa(len(r.Label)), r.Label + r.Meta}, ";")
}

// parseRecord reads a record without its digest. What a script did not write is no record.
func parseRecord(s string) (record, bool) {
	f := strings.SplitN(s, ";", 5)
	if len(f) != 5 {
		return record{}, false
	}
	token, err1 := strconv.ParseInt(f[0], 10, 64)
	ttl, err2 := strconv.ParseInt(f[1], 10, 64)
	n, err3 := strconv.Atoi(f[3])
	if err1 != nil || err2 != nil || err3 != nil || token < 0 || token > MaxToken || ttl < 0 || ttl > longestMillis || n < 0 || n > len(f[4]) {
		return record{}, false
	}
	return record{token: token, ttl: time.Duration(ttl) * time.Millisecond, announce: strings.Contains(f[2], "a"),
		label: f[4][:n], meta: f[4][n:]}, true
}
