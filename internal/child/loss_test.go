package child

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that what --on-lost takes is read, and written as it is read.
func TestParseLoss(t *testing.T) {
	for text, want := range map[string]Loss{
		"term": {}, "kill": {action: kill}, "ignore": {action: ignore},
		"term:5s": {grace: 5 * time.Second}, "term:1ns": {grace: 1}, "term:1m30s": {grace: 90 * time.Second},
	} {
		got, err := ParseLoss(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		assert.Equal(t, text, got.String())
		assert.Equal(t, want.grace, got.Grace())
		assert.Equal(t, text == "ignore", got.Ignored())
	}
}

// Ensure that nothing else is read, and that the error says what could be.
func TestParseLoss_Refused(t *testing.T) {
	for text, says := range map[string]string{
		"": "none of term", "TERM": "none of term", " term": "none of term", "none": "none of term", "kill:5s": "none of term",
		"ignore:": "none of term", "term5s": "none of term", "terminate:5s": "none of term",
		"term:": "duration", "term:5": "duration", "term:5s:5s": "duration", "term: 5s": "duration",
		"term:0s": "positive", "term:-1s": "positive",
	} {
		_, err := ParseLoss(text)
		assert.ErrorContains(t, err, says, text)
	}
}

// Ensure that whatever is read is written so that it is read again as the same.
func FuzzParseLoss(f *testing.F) {
	for _, s := range []string{"term", "term:5s", "kill", "ignore", "term:", "term:-1h", "kill:1s", "term:9223372036854775807ns"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLoss(s)
		if err != nil {
			return
		}
		again, err := ParseLoss(l.String())
		require.NoError(t, err)
		assert.Equal(t, l, again)
		assert.GreaterOrEqual(t, l.Grace(), time.Duration(0))
	})
}
