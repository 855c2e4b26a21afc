package redlock

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// resumableV1 is what the text of a Resumable begins with. The number is raised when a reader of today must not
// take a text for what it seems to say.
const resumableV1 = "holdfast-handle:1?"

// maxResumable bounds the text of a Resumable: each byte of a field may take three.
const maxResumable = 1024 + 3*(MaxName+MaxLabel+MaxMeta)

// String tells which lease it is, without the owner value, so that a log or an error message gives nothing away.
func (r Resumable) String() string {
	return fmt.Sprintf("handle of lock %q (token %d)", r.Name, r.Token)
}

// GoString is String: %#v must not show the owner value either.
func (r Resumable) GoString() string { return r.String() }

// LogValue implements slog.LogValuer with String; log/slog would write the whole text else.
func (r Resumable) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText returns the whole of it, the secret included, as one printable word without spaces or quotes: for a
// file that only its owner can read, a pipe, an environment variable. JSON has it as a string. Its form,
//
//	holdfast-handle:1?label=worker&name=orders%2F42&token=1795185567059923&ttl=15s&value=...
//
// stays readable for later versions. Errors: ErrInvalid, if there is no lease that it could be of.
func (r Resumable) MarshalText() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	v := url.Values{"name": {r.Name}, "value": {r.Value}, "token": {strconv.FormatInt(r.Token, 10)}, "ttl": {r.TTL.String()}}
	for field, text := range map[string]string{"label": r.Label, "meta": r.Meta} {
		if text != "" {
			v.Set(field, text)
		}
	}
	for field, set := range map[string]bool{"announce": r.Announce, "shared": r.Shared} {
		if set {
			v.Set(field, "true")
		}
	}
	return []byte(resumableV1 + v.Encode()), nil
}

// UnmarshalText reads what MarshalText wrote. A text with anything unknown in it is refused: it may be of a later
// version, which means more by it. Errors: ErrInvalid; the text is not repeated in the message.
func (r *Resumable) UnmarshalText(text []byte) error {
	if len(text) > maxResumable {
		return fmt.Errorf("%w: handle of %d bytes, must be at most %d", ErrInvalid, len(text), maxResumable)
	}
	query, ok := strings.CutPrefix(string(text), resumableV1)
	if !ok {
		return fmt.Errorf("%w: a handle begins with %q", ErrInvalid, resumableV1)
	}
	fields, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("%w: handle is garbled", ErrInvalid)
	}
	var parsed Resumable
	for field, values := range fields {
		if len(values) != 1 || !parsed.set(field, values[0]) {
			return fmt.Errorf("%w: handle has field %.40q, unknown or unfit", ErrInvalid, field)
		}
	}
	if err := parsed.check(); err != nil {
		return err
	}
	*r = parsed
	return nil
}

// set sets a field of the text; it returns false if there is none such or its value is none.
func (r *Resumable) set(field, value string) bool {
	var err error
	switch field {
	case "name":
		r.Name = value
	case "value":
		r.Value = value
	case "label":
		r.Label = value
	case "meta":
		r.Meta = value
	case "token":
		r.Token, err = strconv.ParseInt(value, 10, 64)
	case "ttl":
		r.TTL, err = time.ParseDuration(value)
	case "announce":
		r.Announce = true
		return value == "true"
	case "shared":
		r.Shared = true
		return value == "true"
	default:
		return false
	}
	return err == nil && value != ""
}

// check returns what is wrong with it, apart from a ttl that is too long: that is an option of each Quorum.
func (r Resumable) check() error {
	err := errors.Join(checkName(r.Name), checkLabel(r.Label), checkMeta(r.Meta), checkToken(r.Token))
	if r.Value == "" || len(r.Value) > MaxLabel {
		err = errors.Join(err, fmt.Errorf("%w: owner value of %d bytes, must be 1 to %d", ErrInvalid, len(r.Value), MaxLabel))
	}
	if r.TTL < MinTTL {
		err = errors.Join(err, fmt.Errorf("%w: ttl %v, must be at least %v", ErrInvalid, r.TTL, MinTTL))
	}
	return err
}
