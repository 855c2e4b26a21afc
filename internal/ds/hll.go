package ds

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"
)

// An HLL is a HyperLogLog: an estimate of how many different elements were added, in 12 KB at most and with a
// standard error of 0.81 %. It is the string that Redis keeps, byte for byte, so that a value can move between
// servers; and therefore it may come from anybody, and every method is ready for bytes that nobody added to.
//
// A header of 16 bytes ("HYLL", encoding, 3 bytes unused, the last count in little-endian order) is followed by
// 16384 registers of 6 bits. The dense encoding packs them one after the other, low bits first. The sparse
// encoding is a row of runs:
//
//	00nnnnnn           n+1 registers are 0
//	01nnnnnn nnnnnnnn  n+1 registers are 0
//	1vvvvvnn           n+1 registers are v+1
//
// The highest bit of the header's count says that it is out of date.
//
// The estimator is that of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017.
type HLL []byte

const (
	hllHeader    = 16
	hllPrecision = 14 // bits of an element's hash that choose its register
	hllRegisters = 1 << hllPrecision
	hllRankBits  = 64 - hllPrecision
	hllWidth     = 6
	hllSize      = hllHeader + hllRegisters*hllWidth/8 // of the dense encoding

	hllEncoding = 4 // where in the header the encoding is
	hllDense    = 0
	hllSparse   = 1

	hllZeroRun  = 64           // longest run that one byte holds
	hllXZeroRun = hllRegisters // and two bytes
	hllValueRun = 4            // and that of a value
	hllValueMax = 32           // the highest value of a run; a register may hold more
)

// ErrHLL is the error of a value that has the header of a HyperLogLog and makes no sense.
var ErrHLL = errors.New("ds: corrupted HyperLogLog")

// HLLRegisters are the registers of a HyperLogLog, or of the union of several.
type HLLRegisters [hllRegisters]uint8

// NewHLL returns an empty HyperLogLog.
func NewHLL() HLL {
	h := make(HLL, hllHeader, hllHeader+8)
	copy(h, "HYLL")
	h[hllEncoding] = hllSparse
	return appendZeros(h, hllRegisters)
}

// AsHLL returns b as a HyperLogLog if it looks like one from outside.
func AsHLL(b []byte) (h HLL, ok bool) {
	ok = len(b) >= hllHeader && string(b[:4]) == "HYLL" && b[hllEncoding] <= hllSparse &&
		(b[hllEncoding] != hllDense || len(b) == hllSize)
	return HLL(b), ok
}

// Dense reports whether all registers are stored.
func (h HLL) Dense() bool { return h[hllEncoding] == hllDense }

// Cached returns the count that was stored last; ok is false if it is out of date.
func (h HLL) Cached() (n uint64, ok bool) {
	n = binary.LittleEndian.Uint64(h[8:])
	return n, n>>63 == 0
}

// SetCached stores the count, in place.
func (h HLL) SetCached(n uint64) { binary.LittleEndian.PutUint64(h[8:], n) }

// Invalidate marks the stored count as out of date, in place.
func (h HLL) Invalidate() { h[hllHeader-1] |= 1 << 7 }

// Add adds an element and returns the HyperLogLog, which may lie elsewhere now; h is no longer to be used.
// It reports whether a register has changed. A sparse one that would take more than sparseMax bytes becomes
// dense. The stored count stays as it is unless the encoding is sparse and remains so.
func (h HLL) Add(element []byte, sparseMax int64) (next HLL, changed bool, err error) {
	register, value := hllPlace(element)
	return h.Raise(register, value, sparseMax)
}

// hllPlace returns the register of an element, and the value that this has at least then.
func hllPlace(element []byte) (register int, value uint8) {
	hash := murmur64(element, 0xadc83b19)
	rest := hash>>hllPrecision | 1<<hllRankBits
	return int(hash & (hllRegisters - 1)), uint8(bits.TrailingZeros64(rest) + 1)
}

// murmur64 is MurmurHash64A of A. Appleby, on all machines as on little-endian ones.
func murmur64(b []byte, seed uint64) uint64 {
	const m, r = 0xc6a4a7935bd1e995, 47
	h := seed ^ uint64(len(b))*m
	for ; len(b) >= 8; b = b[8:] {
		k := binary.LittleEndian.Uint64(b) * m
		k ^= k >> r
		h = (h ^ k*m) * m
	}
	if len(b) > 0 {
		var tail [8]byte
		copy(tail[:], b)
		h = (h ^ binary.LittleEndian.Uint64(tail[:])) * m
	}
	h ^= h >> r
	h *= m
	return h ^ h>>r
}

// Raise is Add for a register (0 to 16383) that is to have value (1 to 63) at least.
func (h HLL) Raise(register int, value uint8, sparseMax int64) (next HLL, changed bool, err error) {
	if h.Dense() {
		return h, h.raiseDense(register, value), nil
	}
	if value > hllValueMax {
		return h.raisePromoted(register, value)
	}
	return h.raiseSparse(register, value, sparseMax)
}

func (h HLL) raisePromoted(register int, value uint8) (HLL, bool, error) {
	next, err := h.ToDense()
	if err != nil {
		return h, false, err
	}
	return next, next.raiseDense(register, value), nil
}

func (h HLL) raiseDense(register int, value uint8) bool {
	if h.register(register) >= value {
		return false
	}
	h.setRegister(register, value)
	return true
}

// register reads a register of the dense encoding.
func (h HLL) register(i int) uint8 {
	at, shift := hllHeader+i*hllWidth/8, i*hllWidth%8
	v := h[at] >> shift
	if shift > 8-hllWidth {
		v |= h[at+1] << (8 - shift)
	}
	return v & (1<<hllWidth - 1)
}

// setRegister writes a register of the dense encoding.
func (h HLL) setRegister(i int, v uint8) {
	const mask = 1<<hllWidth - 1
	at, shift := hllHeader+i*hllWidth/8, i*hllWidth%8
	h[at] = h[at]&^(mask<<shift) | v<<shift
	if shift > 8-hllWidth {
		h[at+1] = h[at+1]&^(mask>>(8-shift)) | v>>(8-shift)
	}
}

// A run is what one word of the sparse encoding says.
type hllRun struct {
	value  uint8 // of each of its registers
	length int   // how many these are
	size   int   // bytes of the word
}

// run reads the word at position at, which lies within h. A second byte that is missing is an error.
func (h HLL) run(at int) (hllRun, error) {
	c := h[at]
	switch {
	case c&0x80 != 0:
		return hllRun{value: c>>2&0x1f + 1, length: int(c&3) + 1, size: 1}, nil
	case c&0x40 == 0:
		return hllRun{length: int(c&0x3f) + 1, size: 1}, nil
	case at+1 == len(h):
		return hllRun{}, ErrHLL
	default:
		return hllRun{length: int(c&0x3f)<<8 + int(h[at+1]) + 1, size: 2}, nil
	}
}

// appendZeros appends a run of n zeros as Redis writes it: in one byte if that holds it.
func appendZeros(b []byte, n int) []byte {
	switch {
	case n <= 0:
		return b
	case n <= hllZeroRun:
		return append(b, byte(n-1))
	default:
		return append(b, 0x40|byte((n-1)>>8), byte(n-1))
	}
}

// appendValues appends a run of n registers, at most 4, of one value.
func appendValues(b []byte, value uint8, n int) []byte {
	if n <= 0 {
		return b
	}
	return append(b, 0x80|(value-1)<<2|byte(n-1))
}

// raiseSparse splits the run that the register is in, and joins runs of equal values around it afterwards.
// Which runs are joined is Redis's choice; the bytes depend on it.
func (h HLL) raiseSparse(register int, value uint8, sparseMax int64) (HLL, bool, error) {
	at, before, first := hllHeader, hllHeader, 0 // the run, the one before it, the first register of the run
	var run hllRun
	for {
		if at >= len(h) {
			return h, false, ErrHLL
		}
		var err error
		if run, err = h.run(at); err != nil {
			return h, false, err
		}
		if register < first+run.length {
			break
		}
		first += run.length
		before, at = at, at+run.size
	}
	if run.value >= value {
		return h, false, nil
	}
	var words [5]byte
	left, right := register-first, first+run.length-1-register
	split := words[:0]
	if run.value == 0 {
		split = appendZeros(appendValues(appendZeros(split, left), value, 1), right)
	} else {
		split = appendValues(appendValues(appendValues(split, run.value, left), value, 1), run.value, right)
	}
	if more := len(split) - run.size; more > 0 && int64(len(h)+more) > sparseMax {
		return h.raisePromoted(register, value)
	}
	h = slices.Replace(h, at, at+run.size, split...)
	h = h.join(before)
	h.Invalidate()
	return h, true, nil
}

// join joins neighbouring runs of equal values among the first five words from position at on.
func (h HLL) join(at int) HLL {
	for range 5 {
		if at >= len(h) {
			break
		}
		run, err := h.run(at)
		if err != nil {
			break
		}
		if run.value > 0 && at+1 < len(h) {
			next, err := h.run(at + 1)
			if err == nil && next.value == run.value && run.length+next.length <= hllValueRun {
				h = slices.Delete(h, at, at+1)
				h[at] += byte(run.length)
				continue
			}
		}
		at += run.size
	}
	return h
}

// ToDense returns the HyperLogLog in the dense encoding, with the same stored count. A dense one is returned
// itself; a sparse one stays as it is.
func (h HLL) ToDense() (HLL, error) {
	if h.Dense() {
		return h, nil
	}
	dense := make(HLL, hllSize)
	copy(dense, h[:hllHeader])
	dense[hllEncoding] = hllDense
	err := h.eachValue(dense.setRegister)
	if err != nil {
		return nil, err
	}
	return dense, nil
}

// MergeInto raises registers to those of h.
func (h HLL) MergeInto(registers *HLLRegisters) error {
	if h.Dense() {
		for i := range registers {
			registers[i] = max(registers[i], h.register(i))
		}
		return nil
	}
	return h.eachValue(func(i int, v uint8) { registers[i] = max(registers[i], v) })
}

// eachValue calls yield for every register of the sparse encoding that is not 0.
func (h HLL) eachValue(yield func(register int, value uint8)) error {
	i := 0
	for at := hllHeader; at < len(h); {
		run, err := h.run(at)
		if err != nil {
			return err
		}
		at += run.size
		if i+run.length > hllRegisters {
			return ErrHLL
		}
		if run.value > 0 {
			for j := range run.length {
				yield(i+j, run.value)
			}
		}
		i += run.length
	}
	if i != hllRegisters {
		return ErrHLL
	}
	return nil
}

// Runs calls yield for each run of the sparse encoding.
func (h HLL) Runs(yield func(value uint8, length, size int)) error {
	for at := hllHeader; at < len(h); {
		run, err := h.run(at)
		if err != nil {
			return err
		}
		yield(run.value, run.length, run.size)
		at += run.size
	}
	return nil
}

// An hllHistogram says how many registers have each value.
type hllHistogram [1 << hllWidth]int

// Count estimates the number of elements from the registers, not from what is stored.
func (h HLL) Count() (uint64, error) {
	var histogram hllHistogram
	if h.Dense() {
		for i := range hllRegisters {
			histogram[h.register(i)]++
		}
		return histogram.estimate(), nil
	}
	registers := 0
	err := h.Runs(func(value uint8, length, _ int) {
		registers += length
		histogram[value] += length
	})
	if err == nil && registers != hllRegisters {
		err = ErrHLL
	}
	if err != nil {
		return 0, err
	}
	return histogram.estimate(), nil
}

// Count estimates the number of elements of a union.
func (r *HLLRegisters) Count() uint64 {
	var histogram hllHistogram
	for _, v := range r {
		histogram[v&(1<<hllWidth-1)]++
	}
	return histogram.estimate()
}

// estimate is algorithm 6 of Ertl's paper. The products are rounded before they are added, on every machine:
// the result has to be Redis's to the last bit.
func (histogram *hllHistogram) estimate() uint64 {
	const m = float64(hllRegisters)
	z := m * hllTau((m-float64(histogram[hllRankBits+1]))/m)
	for k := hllRankBits; k >= 1; k-- {
		z = (z + float64(histogram[k])) * 0.5
	}
	z += float64(m * hllSigma(float64(histogram[0])/m))
	const alpha = 0.721347520444481703680 // 1 / (2 ln 2)
	estimate := math.Round(alpha * m * m / z)
	if estimate >= 1<<63 {
		return 1 << 63 // registers that no elements give; Redis's conversion to an integer ends here
	}
	return uint64(estimate)
}

func hllSigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for {
		x *= x
		last := z
		z += float64(x * y)
		y += y
		if z == last {
			return z
		}
	}
}

func hllTau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for {
		x = math.Sqrt(x)
		last := z
		y *= 0.5
		d := 1 - x
		square := float64(d * d)
		z -= float64(square * y)
		if z == last {
			return z / 3
		}
	}
}
