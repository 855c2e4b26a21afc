package lockd

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// A duration is written in JSON as Go writes it: "15s", "1m30s", "250ms". It is never negative.
type duration time.Duration

// longestDuration is the longest text that is looked at.
const longestDuration = 32

// parseDuration reads a duration. Errors are sentences for the caller.
func parseDuration(text string) (duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case len(text) > longestDuration:
		return 0, fmt.Errorf("a duration has at most %d characters", longestDuration)
	case err != nil:
		return 0, fmt.Errorf("%q is not a duration: write numbers with units, as in 15s, 1m30s or 250ms", text)
	case d < 0:
		return 0, fmt.Errorf("the duration %q is negative", text)
	}
	return duration(d), nil
}

// shown rounds to what a reader can use.
func shown(d time.Duration) duration { return duration(max(d, 0).Round(time.Millisecond)) }

// String writes the duration as Go does, but in ASCII: not every reader's language has Go's µ.
func (d duration) String() string { return strings.Replace(time.Duration(d).String(), "µ", "u", 1) }

// MarshalJSON writes the duration as a string.
func (d duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the duration from a string.
func (d *duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	parsed, err := parseDuration(text)
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// Schema describes the duration in the OpenAPI document. The pattern is a reader's help; parseDuration
// decides.
func (duration) Schema(huma.Registry) *huma.Schema {
	length := longestDuration
	return &huma.Schema{
		Type:               huma.TypeString,
		Description:        "A duration: numbers with units h, m, s, ms, us or ns.",
		Pattern:            `^\+?(0|([0-9]+\.?[0-9]*|\.[0-9]+)(h|m|s|ms|us|µs|μs|ns))+$`,
		PatternDescription: "a duration such as 15s, 1m30s or 250ms",
		MaxLength:          &length,
		Examples:           []any{"15s"},
	}
}
