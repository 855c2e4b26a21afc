package client

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Meta shows others what the holder wants them to know beside its owner label: which job, which request, whom to
// call. Texts are UTF-8. It is never secret, and it stays as it was when the lock was taken. Whoever meets the lock finds it, as
// text that ParseMeta reads, in HeldError.Meta (also that in a WaitError), and in the Holder of Inspect and List.
//
// As JSON, the form in which it is kept, it must have at most redlock.MaxMeta bytes (4096); each lock costs the
// nodes that much more memory, and each renewal that much more to send.
func Meta(m map[string]string) LockOption {
	return func(s *lockSettings) { s.meta, s.metaErr = formatMeta(m), checkMeta(m) }
}

// checkMeta refuses texts that would come back as others: JSON has no form for what is not UTF-8.
func checkMeta(m map[string]string) error {
	for key, text := range m {
		if !utf8.ValidString(key) || !utf8.ValidString(text) {
			return fmt.Errorf("%w: meta %q is not UTF-8", ErrInvalid, key)
		}
	}
	return nil
}

func formatMeta(m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings always have a form
	}
	return string(text)
}

// ParseMeta reads the Meta of a HeldError or a Holder; "" has none, nil. Errors: ErrInvalid, for what was not
// written by Meta: those who use package redlock may show any text.
func ParseMeta(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	var m map[string]string
	if err := json.Unmarshal([]byte(text), &m); err != nil || m == nil {
		return nil, fmt.Errorf("%w: meta is no JSON object of strings", ErrInvalid)
	}
	return m, nil
}

// Meta returns what others are shown beside the owner label; nil: nothing.
func (l *Lease) Meta() map[string]string {
	m, err := ParseMeta(l.grant.Meta())
	if err != nil {
		return nil // of a Handle that was not made by this package
	}
	return m
}
