package ds

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// hllOf returns the registers of h, which must be sound.
func hllOf(t require.TestingT, h HLL) (registers HLLRegisters) {
	require.NoError(t, h.MergeInto(&registers))
	return registers
}

// Ensure that either encoding is an array of registers that only grow, wherever the borders of runs are, and
// that the encodings agree on the count.
func TestHLL_Model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int64{0, 20, 60, 3000, 100_000}).Draw(t, "limit")
		h, model := NewHLL(), HLLRegisters{}
		places := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(hllRegisters-10, hllRegisters-1), rapid.IntRange(0, hllRegisters-1))
		values := rapid.OneOf(rapid.Uint8Range(1, 3), rapid.Uint8Range(30, 33), rapid.Uint8Range(1, 51))
		for range rapid.IntRange(0, 300).Draw(t, "n") {
			place := places.Draw(t, "place")
			value := values.Draw(t, "value")
			next, changed, err := h.Raise(place, value, limit)
			require.NoError(t, err)
			assert.Equal(t, model[place] < value, changed)
			assert.True(t, next.Dense() || int64(len(next)) <= max(limit, int64(len(NewHLL()))))
			model[place] = max(model[place], value)
			h = next
		}
		got := hllOf(t, h)
		require.Equal(t, model, got)
		n, err := h.Count()
		require.NoError(t, err)
		assert.Equal(t, model.Count(), n)

		dense, err := h.ToDense()
		require.NoError(t, err)
		assert.True(t, dense.Dense())
		assert.Equal(t, model, hllOf(t, dense))
		n, err = dense.Count()
		require.NoError(t, err)
		assert.Equal(t, model.Count(), n)
	})
}

// Ensure that estimates are within what the method promises: 0.81 % standard error, here five times that.
func TestHLL_Estimate(t *testing.T) {
	h, added := NewHLL(), 0
	for _, n := range []int{0, 1, 10, 100, 1000, 10_000, 100_000, 1_000_000} {
		for ; added < n; added++ {
			var err error
			h, _, err = h.Add(fmt.Appendf(nil, "element %d", added), 3000)
			require.NoError(t, err)
		}
		got, err := h.Count()
		require.NoError(t, err)
		assert.InDelta(t, n, got, math.Max(0.5, 0.0405*float64(n)))
	}
}

// Ensure that the stored count is believed until the registers change.
func TestHLL_Cached(t *testing.T) {
	h := NewHLL()
	n, ok := h.Cached()
	assert.True(t, ok)
	assert.Zero(t, n)
	h, _, err := h.Add([]byte("a"), 3000)
	require.NoError(t, err)
	_, ok = h.Cached()
	assert.False(t, ok)
	h.SetCached(12345)
	n, ok = h.Cached()
	assert.True(t, ok)
	assert.EqualValues(t, 12345, n)
	dense, err := h.ToDense()
	require.NoError(t, err)
	n, ok = dense.Cached()
	assert.True(t, ok)
	assert.EqualValues(t, 12345, n)
}

// Ensure that bytes which no HyperLogLog consists of are refused.
func TestHLL_Corrupt(t *testing.T) {
	sound := string(NewHLL())
	for name, text := range map[string]string{
		"empty":         "",
		"short":         sound[:hllHeader-1],
		"magic":         "hYLL" + sound[4:],
		"encoding":      "HYLL\x02" + sound[5:],
		"dense and not": "HYLL\x00" + sound[5:],
	} {
		_, ok := AsHLL([]byte(text))
		assert.False(t, ok, name)
	}
	for name, runs := range map[string]string{
		"none":      "",
		"too few":   "\x7f\xfe",
		"too many":  "\x7f\xff\x00",
		"values":    "\x7f\xff\x80",
		"truncated": "\x7f",
	} {
		h, ok := AsHLL([]byte(sound[:hllHeader] + runs))
		require.True(t, ok, name)
		_, err := h.Count()
		assert.ErrorIs(t, err, ErrHLL, name)
		assert.ErrorIs(t, h.MergeInto(new(HLLRegisters)), ErrHLL, name)
		_, err = h.ToDense()
		assert.ErrorIs(t, err, ErrHLL, name)
	}
}

// FuzzHLL feeds bytes of unknown origin to everything that reads or changes a HyperLogLog: it may be refused,
// but nothing panics, and what one reader takes for sound every reader does.
func FuzzHLL(f *testing.F) {
	f.Add([]byte(NewHLL()), []byte("a"))
	f.Add([]byte("HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xfe\x81"), []byte("b"))
	f.Add([]byte("HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x83\xff\x7f"), []byte(""))
	f.Add(append([]byte("HYLL"), make([]byte, hllSize-4)...), []byte("c"))
	f.Fuzz(func(t *testing.T, b, element []byte) {
		h, ok := AsHLL(b)
		if !ok {
			return
		}
		var registers HLLRegisters
		mergeErr := h.MergeInto(&registers)
		n, countErr := h.Count()
		dense, denseErr := h.ToDense()
		require.Equal(t, mergeErr, countErr)
		require.Equal(t, mergeErr, denseErr)
		if mergeErr == nil {
			require.Equal(t, registers.Count(), n)
			require.True(t, registers == hllOf(t, dense))
		}
		for _, limit := range []int64{0, 3000, math.MaxInt64} {
			next, changed, err := append(HLL(nil), b...).Add(element, limit)
			if mergeErr != nil || err != nil {
				require.True(t, mergeErr != nil, "a sound one cannot be added to: %v", err)
				continue
			}
			place, value := hllPlace(element)
			want := registers
			want[place] = max(want[place], value)
			require.True(t, want == hllOf(t, next))
			require.Equal(t, registers[place] < value, changed)
		}
	})
}
