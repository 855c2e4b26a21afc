package ds

import (
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
)

// Bits of a string are numbered from the most significant bit of its first byte on, which is bit 0. So a
// field of several bits reads like a number in big-endian order, wherever it begins.

// CountBits returns how many of the bits from first to last, both included and both within b, are 1.
func CountBits(b []byte, first, last int64) int64 {
	if first > last {
		return 0
	}
	from, to := first>>3, last>>3
	// What the edges have outside of the range is taken off again.
	n := onesOf(b[from : to+1])
	n -= bits.OnesCount8(b[from] &^ (0xff >> (first & 7)))
	n -= bits.OnesCount8(b[to] & (0x7f >> (last & 7)))
	return int64(n)
}

func onesOf(b []byte) (n int) {
	for ; len(b) >= 8; b = b[8:] {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(b))
	}
	for _, c := range b {
		n += bits.OnesCount8(c)
	}
	return n
}

// FindBit returns the first bit from first to last, both included and both within b, that is as asked for,
// and -1 if none is.
func FindBit(b []byte, one bool, first, last int64) int64 {
	var flip byte
	if !one {
		flip = 0xff
	}
	for at := first >> 3; at <= last>>3; at++ {
		if at > first>>3 {
			at += int64(skipBytes(b[at:last>>3+1], flip))
			if at > last>>3 {
				break
			}
		}
		c := b[at] ^ flip
		if at == first>>3 {
			c &= 0xff >> (first & 7)
		}
		if c != 0 {
			if pos := at<<3 + int64(bits.LeadingZeros8(c)); pos <= last {
				return pos
			}
			break
		}
	}
	return -1
}

// skipBytes returns how many bytes at the beginning of b are skip.
func skipBytes(b []byte, skip byte) int {
	word := uint64(skip) * 0x0101010101010101
	n := 0
	for len(b)-n >= 32 {
		w := b[n : n+32]
		if binary.LittleEndian.Uint64(w) != word || binary.LittleEndian.Uint64(w[8:]) != word ||
			binary.LittleEndian.Uint64(w[16:]) != word || binary.LittleEndian.Uint64(w[24:]) != word {
			break
		}
		n += 32
	}
	for n < len(b) && b[n] == skip {
		n++
	}
	return n
}

// ReadBits returns the field of n bits (1 to 64) from bit offset on. Bits past the end of b are 0.
func ReadBits(b []byte, offset uint64, n int) uint64 {
	var window [9]byte
	if at := offset >> 3; at < uint64(len(b)) {
		copy(window[:], b[at:])
	}
	skip := int(offset & 7)
	v := binary.BigEndian.Uint64(window[:]) << skip
	v |= uint64(window[8]) >> (8 - skip)
	return v >> (64 - n)
}

// WriteBits sets the field of n bits (1 to 64) from bit offset on, which lies within b, to the low bits of v.
func WriteBits(b []byte, offset uint64, n int, v uint64) {
	for n > 0 {
		// As many bits as this byte has room for, from its high end on.
		room := 8 - int(offset&7)
		take := min(room, n)
		shift := room - take
		mask := byte(1<<take-1) << shift
		chunk := byte(v>>(n-take)) << shift
		b[offset>>3] = b[offset>>3]&^mask | chunk&mask
		offset += uint64(take)
		n -= take
	}
}

// An Overflow says what becomes of a number that its field cannot hold.
type Overflow uint8

const (
	OverflowWrap     Overflow = iota // its low bits are kept
	OverflowSaturate                 // the largest or smallest number that fits is kept
	OverflowFail                     // nothing is stored
)

// AddSigned returns v+by as a two's complement field of n bits (1 to 64) holds it, and whether it does not
// fit; v itself may be too large for the field.
func AddSigned(v, by int64, n int, o Overflow) (sum int64, overflow bool) {
	highest := int64(1)<<(n-1) - 1 // wraps to the right number for 64 bits
	lowest := -highest - 1
	above := v > highest || by > 0 && v > highest-by
	below := v < lowest || by < 0 && v < lowest-by
	switch {
	case !above && !below:
		return v + by, false
	case o == OverflowSaturate && above:
		return highest, true
	case o == OverflowSaturate:
		return lowest, true
	}
	return (v + by) << (64 - n) >> (64 - n), true
}

// AddUnsigned is AddSigned for a field of n bits (1 to 63) without a sign.
func AddUnsigned(v uint64, by int64, n int, o Overflow) (sum uint64, overflow bool) {
	highest := uint64(1)<<n - 1
	above := v > highest || by > 0 && uint64(by) > highest-v
	below := !above && by < 0 && uint64(-by) > v
	switch {
	case !above && !below:
		return v + uint64(by), false
	case o == OverflowSaturate && above:
		return highest, true
	case o == OverflowSaturate:
		return 0, true
	}
	return (v + uint64(by)) & highest, true
}

// A BitOp is an operation on whole strings, bit by bit.
type BitOp uint8

const (
	BitAnd BitOp = iota
	BitOr
	BitXor
	BitNot // of one string
)

// CombineBits sets dst to the result of op over strings. dst is as long as the longest of them and is none of
// them; shorter ones are taken to go on with zeros.
func CombineBits(dst []byte, op BitOp, strings [][]byte) {
	clear(dst[copy(dst, strings[0]):])
	if op == BitNot {
		notBytes(dst)
		return
	}
	for _, s := range strings[1:] {
		switch op {
		case BitAnd:
			andBytes(dst, s)
			clear(dst[len(s):])
		case BitOr:
			orBytes(dst, s)
		case BitXor:
			subtle.XORBytes(dst, dst, s)
		}
	}
}

// andBytes takes from dst the bits that s, which is no longer, has not.
func andBytes(dst, s []byte) {
	for ; len(s) >= 32; dst, s = dst[32:], s[32:] {
		d, w := dst[:32:32], s[:32:32]
		binary.LittleEndian.PutUint64(d, binary.LittleEndian.Uint64(d)&binary.LittleEndian.Uint64(w))
		binary.LittleEndian.PutUint64(d[8:], binary.LittleEndian.Uint64(d[8:])&binary.LittleEndian.Uint64(w[8:]))
		binary.LittleEndian.PutUint64(d[16:], binary.LittleEndian.Uint64(d[16:])&binary.LittleEndian.Uint64(w[16:]))
		binary.LittleEndian.PutUint64(d[24:], binary.LittleEndian.Uint64(d[24:])&binary.LittleEndian.Uint64(w[24:]))
	}
	for i, c := range s {
		dst[i] &= c
	}
}

// orBytes adds to dst the bits of s, which is no longer.
func orBytes(dst, s []byte) {
	for ; len(s) >= 32; dst, s = dst[32:], s[32:] {
		d, w := dst[:32:32], s[:32:32]
		binary.LittleEndian.PutUint64(d, binary.LittleEndian.Uint64(d)|binary.LittleEndian.Uint64(w))
		binary.LittleEndian.PutUint64(d[8:], binary.LittleEndian.Uint64(d[8:])|binary.LittleEndian.Uint64(w[8:]))
		binary.LittleEndian.PutUint64(d[16:], binary.LittleEndian.Uint64(d[16:])|binary.LittleEndian.Uint64(w[16:]))
		binary.LittleEndian.PutUint64(d[24:], binary.LittleEndian.Uint64(d[24:])|binary.LittleEndian.Uint64(w[24:]))
	}
	for i, c := range s {
		dst[i] |= c
	}
}

// notBytes flips every bit of b.
func notBytes(b []byte) {
	for ; len(b) >= 32; b = b[32:] {
		w := b[:32:32]
		binary.LittleEndian.PutUint64(w, ^binary.LittleEndian.Uint64(w))
		binary.LittleEndian.PutUint64(w[8:], ^binary.LittleEndian.Uint64(w[8:]))
		binary.LittleEndian.PutUint64(w[16:], ^binary.LittleEndian.Uint64(w[16:]))
		binary.LittleEndian.PutUint64(w[24:], ^binary.LittleEndian.Uint64(w[24:]))
	}
	for i, c := range b {
		b[i] = ^c
	}
}
