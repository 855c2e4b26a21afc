package geo

import "math"

// The functions of package math may be off in the last bit, and differ between processors. What a C library
// returns, and Redis with it, is nearly always the nearest number there is: glibc misses it once in some five
// hundred times. These always return it: they compute with twice the precision.

// A pair is the sum of two numbers, of which lo is what hi has no room for.
type pair struct{ hi, lo float64 }

// sum returns a+b, of which a must not be the smaller in size.
func sum(a, b float64) pair {
	s := a + b
	return pair{s, b - (s - a)}
}

func (p pair) plus(q pair) pair {
	s := p.hi + q.hi
	t := s - p.hi
	lo := (p.hi - (s - t)) + (q.hi - t)
	return sum(s, lo+(p.lo+q.lo))
}

func (p pair) times(q pair) pair {
	product := p.hi * q.hi
	rest := math.FMA(p.hi, q.hi, -product)
	rest += float64(p.hi*q.lo) + float64(p.lo*q.hi)
	return sum(product, rest)
}

// over returns p divided by a small integer.
func (p pair) over(n float64) pair {
	q := p.hi / n
	rest := math.FMA(-q, n, p.hi) + p.lo
	return sum(q, rest/n)
}

const (
	halvings = 4  // of the angle, before the series
	terms    = 12 // of the series, enough for angles up to a quarter
)

// sincos returns sine and cosine of an angle of at most pi in size: their series at a sixteenth of the
// angle, and the formulas for the double angle.
func sincos(x float64) (sine, cosine pair) {
	y := pair{hi: math.Ldexp(x, -halvings)}
	square := y.times(y)
	square.hi, square.lo = -square.hi, -square.lo
	sine, cosine = y, pair{hi: 1}
	s, c := y, pair{hi: 1}
	for i := 1.0; i <= terms; i++ {
		c = c.times(square).over((2*i - 1) * (2 * i))
		s = s.times(square).over((2 * i) * (2*i + 1))
		cosine, sine = cosine.plus(c), sine.plus(s)
	}
	for range halvings {
		product := sine.times(cosine)
		squared := sine.times(sine)
		sine = product.plus(product)
		cosine = pair{hi: 1}.plus(pair{-2 * squared.hi, -2 * squared.lo})
	}
	return sine, cosine
}

func sin(x float64) float64 {
	s, _ := sincos(x)
	return s.hi
}

func cos(x float64) float64 {
	_, c := sincos(x)
	return c.hi
}

// asin corrects what package math returns by one step of Newton's method.
func asin(y float64) float64 {
	x := math.Asin(y)
	s, c := sincos(x)
	if math.IsNaN(x) || c.hi < 1e-8 { // a right angle, where the step would only add noise
		return x
	}
	return x + ((y-s.hi)-s.lo)/c.hi
}
