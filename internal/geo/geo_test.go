package geo

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// points draws valid points, often near the edges of the map.
func points() *rapid.Generator[Point] {
	degrees := func(limit float64) *rapid.Generator[float64] {
		return rapid.OneOf(rapid.Float64Range(-limit, limit), rapid.SampledFrom([]float64{-limit, limit, 0, limit - 1e-9, 1e-9 - limit}))
	}
	return rapid.Custom(func(t *rapid.T) Point {
		return Point{degrees(maxLon).Draw(t, "lon"), degrees(maxLat).Draw(t, "lat")}
	})
}

// Ensure that a score leads back to a point that is less than a meter away. The very corner of the map is a
// cell too far: it comes back on the other side.
func TestEncode_Decode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := points().Draw(t, "point")
		if p.Lon == maxLon || p.Lat == maxLat {
			t.Skip("in no cell of the grid")
		}
		q := Decode(float64(Encode(p)))
		require.True(t, q.Valid())
		assert.InDelta(t, 0, Distance(p, q), 1)
	})
}

// Ensure that any score is a point, also one that no point has.
func TestDecode_Any(t *testing.T) {
	for _, score := range []float64{-1, 1e300, -1e300, math.Inf(1), math.Inf(-1), 1.5, 1 << 52, 1 << 63, 1 << 64} {
		p := Decode(score)
		assert.True(t, p.Valid(), "%v is %v", score, p)
	}
}

// Ensure that geohashes are those that everybody uses, of known places.
func TestHash(t *testing.T) {
	tests := map[string]Point{
		"sqc8b49rny0": {13.361389, 38.115556},
		"s0000000000": {0, 0},
		"u4pruydqqv0": {10.40744, 57.64911},
	}
	for want, p := range tests {
		assert.Equal(t, want, Hash(p))
	}
}

// Ensure that the ranges of a shape hold every point in it.
func TestShape_Ranges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Shape{Center: points().Draw(t, "center"), Unit: 1000, Box: rapid.Bool().Draw(t, "box")}
		// Around the poles and across the date line Redis' search leaves places out; so do we.
		s.Center.Lat *= 0.5
		s.Center.Lon *= 0.8
		length := rapid.Float64Range(0, 1500)
		s.Radius, s.Width, s.Height = length.Draw(t, "radius"), length.Draw(t, "width"), length.Draw(t, "height")
		within := s.bounds()
		p := Point{
			Lon: rapid.Float64Range(within.minLon, within.maxLon).Draw(t, "lon"),
			Lat: rapid.Float64Range(within.minLat, within.maxLat).Draw(t, "lat"),
		}
		score := float64(Encode(p))
		if _, ok := s.Contains(Decode(score)); !ok {
			t.Skip("outside")
		}
		for _, r := range s.Ranges() {
			if r.Min <= score && score < r.Max {
				return
			}
		}
		t.Fatalf("%v is in %+v and in none of its ranges", p, s)
	})
}

// Ensure that sine, cosine and arc sine are the nearest numbers there are: what is left of the identities of
// the angle is far below the last bit.
func TestTrig_Nearest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float64Range(-math.Pi, math.Pi).Draw(t, "x")
		s, c := sincos(x)
		one := new(big.Float).SetPrec(300).Add(square(s), square(c))
		rest, _ := one.Sub(one, big.NewFloat(1)).Float64()
		assert.InDelta(t, 0, rest, 1e-28)
		assert.InDelta(t, math.Sin(x), s.hi, 4e-16)
		assert.InDelta(t, math.Cos(x), c.hi, 4e-16)
		y := rapid.Float64Range(0, 0.99).Draw(t, "y")
		back, _ := sincos(asin(y))
		assert.InDelta(t, y, back.hi, 2e-16)
	})
	assert.True(t, math.IsNaN(asin(1.5)))
	assert.Equal(t, math.Pi/2, asin(1))
}

func square(p pair) *big.Float {
	v := new(big.Float).SetPrec(300).Add(new(big.Float).SetPrec(300).SetFloat64(p.hi), new(big.Float).SetPrec(300).SetFloat64(p.lo))
	return v.Mul(v, v)
}
