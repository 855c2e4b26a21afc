package ds

import (
	"bytes"
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// bitStrings draws strings with long runs of equal bytes, which the loops over words skip.
func bitStrings() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) (b []byte) {
		for range rapid.IntRange(1, 6).Draw(t, "runs") {
			c := rapid.SampledFrom([]byte{0, 0xff, 1, 0x80, 0x5a}).Draw(t, "byte")
			for range rapid.SampledFrom([]int{1, 3, 7, 8, 16, 33}).Draw(t, "length") {
				b = append(b, c)
			}
		}
		return b
	})
}

func bitAt(b []byte, i int64) bool { return b[i>>3]>>(7-i&7)&1 == 1 }

// Ensure that counting and finding bits is what looking at one bit after the other finds.
func TestBits_CountAndFind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := bitStrings().Draw(t, "b")
		first := rapid.Int64Range(0, int64(len(b))*8-1).Draw(t, "first")
		last := rapid.Int64Range(first, int64(len(b))*8-1).Draw(t, "last")
		count, found := int64(0), map[bool]int64{false: -1, true: -1}
		for i := last; i >= first; i-- {
			if bitAt(b, i) {
				count++
			}
			found[bitAt(b, i)] = i
		}
		assert.Equal(t, count, CountBits(b, first, last))
		assert.Equal(t, found[true], FindBit(b, true, first, last))
		assert.Equal(t, found[false], FindBit(b, false, first, last))
	})
}

// Ensure that a field holds what was written, that nothing around it changes, and that bits past the end
// read as zeros.
func TestBits_ReadAndWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := append(bitStrings().Draw(t, "b"), make([]byte, 8)...)
		n := rapid.IntRange(1, 64).Draw(t, "n")
		offset := rapid.Uint64Range(0, uint64(len(b)*8-n)).Draw(t, "offset")
		v := rapid.Uint64().Draw(t, "v")
		want := append([]byte(nil), b...)
		for i := range n {
			at := offset + uint64(i)
			want[at>>3] &^= 1 << (7 - at&7)
			want[at>>3] |= byte(v>>(n-1-i)&1) << (7 - at&7)
		}
		WriteBits(b, offset, n, v)
		assert.Equal(t, want, b)
		assert.Equal(t, v<<(64-n)>>(64-n), ReadBits(b, offset, n))

		padded := append(append([]byte(nil), b...), make([]byte, 20)...)
		past := rapid.Uint64Range(0, uint64(len(padded)*8-64)).Draw(t, "past")
		assert.Equal(t, ReadBits(padded, past, n), ReadBits(b, past, n))
		assert.Zero(t, ReadBits(b, math.MaxUint64-7, n))
	})
}

// Ensure that sums wrap, saturate and fail as unbounded arithmetic says.
func TestBits_Overflow(t *testing.T) {
	edges := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-300, 300),
		rapid.SampledFrom([]int64{math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, math.MinInt64 + 1, 1 << 62, -1 << 62}))
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 64).Draw(t, "n")
		v, by := edges.Draw(t, "v"), edges.Draw(t, "by")
		// The field's value fits unless it is about to be set, when nothing is added.
		if rapid.Bool().Draw(t, "set") {
			by = 0
		} else {
			v = v << (64 - n) >> (64 - n)
		}
		exact := new(big.Int).Add(big.NewInt(v), big.NewInt(by))
		highest := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(n-1)), big.NewInt(1))
		lowest := new(big.Int).Sub(new(big.Int).Neg(highest), big.NewInt(1))
		over := exact.Cmp(highest) > 0 || exact.Cmp(lowest) < 0

		sum, overflow := AddSigned(v, by, n, OverflowWrap)
		assert.Equal(t, over, overflow)
		diff := new(big.Int).Sub(exact, big.NewInt(sum))
		assert.Zero(t, diff.Mod(diff, new(big.Int).Lsh(big.NewInt(1), uint(n))).Sign(), "congruent")
		assert.True(t, big.NewInt(sum).Cmp(lowest) >= 0 && big.NewInt(sum).Cmp(highest) <= 0)

		clamped := exact
		if exact.Cmp(highest) > 0 {
			clamped = highest
		} else if exact.Cmp(lowest) < 0 {
			clamped = lowest
		}
		sum, overflow = AddSigned(v, by, n, OverflowSaturate)
		assert.Equal(t, over, overflow)
		assert.Equal(t, clamped.Int64(), sum)
		_, overflow = AddSigned(v, by, n, OverflowFail)
		assert.Equal(t, over, overflow)
	})
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 63).Draw(t, "n")
		highest := uint64(1)<<n - 1
		v, by := rapid.Uint64Range(0, highest).Draw(t, "v"), edges.Draw(t, "by")
		exact := new(big.Int).Add(new(big.Int).SetUint64(v), big.NewInt(by))
		over := exact.Sign() < 0 || exact.Cmp(new(big.Int).SetUint64(highest)) > 0
		sum, overflow := AddUnsigned(v, by, n, OverflowWrap)
		assert.Equal(t, over, overflow)
		assert.Equal(t, new(big.Int).And(exact, new(big.Int).SetUint64(highest)).Uint64(), sum)
		sum, _ = AddUnsigned(v, by, n, OverflowSaturate)
		switch {
		case !over:
			assert.Equal(t, exact.Uint64(), sum)
		case exact.Sign() < 0:
			assert.Zero(t, sum)
		default:
			assert.Equal(t, highest, sum)
		}
	})
}

// Ensure that operations over strings are those over their bytes, with zeros after the end of the shorter.
func TestBits_Combine(t *testing.T) {
	ops := map[BitOp]func(a, b byte) byte{
		BitAnd: func(a, b byte) byte { return a & b },
		BitOr:  func(a, b byte) byte { return a | b },
		BitXor: func(a, b byte) byte { return a ^ b },
	}
	rapid.Check(t, func(t *rapid.T) {
		strings := rapid.SliceOfN(rapid.OneOf(bitStrings(), rapid.Just([]byte(nil))), 1, 4).Draw(t, "strings")
		longest := 0
		for _, s := range strings {
			longest = max(longest, len(s))
		}
		for op, f := range ops {
			want := make([]byte, longest)
			copy(want, strings[0])
			for _, s := range strings[1:] {
				s = append(append([]byte(nil), s...), make([]byte, longest-len(s))...)
				for i := range want {
					want[i] = f(want[i], s[i])
				}
			}
			got := bytes.Repeat([]byte("x"), longest)
			CombineBits(got, op, strings)
			assert.Equal(t, want, got)
		}
		not := make([]byte, len(strings[0]))
		CombineBits(not, BitNot, strings[:1])
		for i, c := range strings[0] {
			assert.Equal(t, ^c, not[i])
		}
	})
}
