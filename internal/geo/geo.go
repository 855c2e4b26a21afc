// Package geo places points on the earth as Redis does: a point is a cell of a grid of 2^26 columns and rows,
// and the bits of column and row, interleaved, are the 52 bits of a sorted set's score. Cells that are near
// to each other so lie in few ranges of scores, which is how an area is searched.
//
// Everything is computed in the same operations and the same order as in Redis, so that results are the same
// to the last bit. Where a product is added to something it is rounded explicitly, because Go may otherwise
// fuse the two.
package geo

import "math"

// A Point is a place on the earth, in degrees.
type Point struct{ Lon, Lat float64 }

// The part of the earth that has cells: that of web maps.
const (
	maxLon = 180
	maxLat = 85.05112878
)

// Valid reports whether the point has a cell.
func (p Point) Valid() bool {
	return p.Lon >= -maxLon && p.Lon <= maxLon && p.Lat >= -maxLat && p.Lat <= maxLat
}

// maxStep is the number of bits of a column and of a row in the finest grid.
const maxStep = 26

// A cell is one field of the grid that has 2^step columns and rows.
type cell struct {
	lat, lon uint32
	step     uint
}

// cellAt returns the cell of a point that is at most latitude limit away from the equator.
func cellAt(p Point, limit float64, step uint) cell {
	scale := float64(uint64(1) << step)
	return cell{
		lat:  uint32((p.Lat + limit) / (limit + limit) * scale),
		lon:  uint32((p.Lon + maxLon) / (maxLon + maxLon) * scale),
		step: step,
	}
}

// bits interleaves row and column; the column has the higher bit of each pair.
func (c cell) bits() uint64 { return spread(c.lat) | spread(c.lon)<<1 }

// spread puts a zero bit before each bit of v.
func spread(v uint32) uint64 {
	x := uint64(v)
	x = (x | x<<16) & 0x0000FFFF0000FFFF
	x = (x | x<<8) & 0x00FF00FF00FF00FF
	x = (x | x<<4) & 0x0F0F0F0F0F0F0F0F
	x = (x | x<<2) & 0x3333333333333333
	return (x | x<<1) & 0x5555555555555555
}

// squeeze is the reverse of spread; bits between those that count are ignored.
func squeeze(x uint64) uint32 {
	x &= 0x5555555555555555
	x = (x | x>>1) & 0x3333333333333333
	x = (x | x>>2) & 0x0F0F0F0F0F0F0F0F
	x = (x | x>>4) & 0x00FF00FF00FF00FF
	x = (x | x>>8) & 0x0000FFFF0000FFFF
	return uint32(x | x>>16)
}

// An area is what a cell covers.
type area struct{ minLon, maxLon, minLat, maxLat float64 }

func (c cell) area() area {
	scale := float64(uint64(1) << c.step)
	edge := func(i uint32, limit float64) float64 {
		return -limit + float64(float64(i)/scale*(limit+limit))
	}
	return area{edge(c.lon, maxLon), edge(c.lon+1, maxLon), edge(c.lat, maxLat), edge(c.lat+1, maxLat)}
}

// move returns the cell so many columns to the east and rows to the north. The grid has no edges.
func (c cell) move(east, north int) cell {
	mask := uint32(1)<<c.step - 1
	if east != 0 {
		c.lon = (c.lon + uint32(east)) & mask
	}
	if north != 0 {
		c.lat = (c.lat + uint32(north)) & mask
	}
	return c
}

// Encode returns the score of a valid point.
func Encode(p Point) uint64 { return cellAt(p, maxLat, maxStep).bits() }

// Decode returns the middle of the cell that a score stands for. Any score stands for one.
func Decode(score float64) Point {
	bits := bitsOf(score)
	a := cell{lat: squeeze(bits), lon: squeeze(bits >> 1), step: maxStep}.area()
	return Point{
		Lon: min(max((a.minLon+a.maxLon)/2, -maxLon), maxLon),
		Lat: min(max((a.minLat+a.maxLat)/2, -maxLat), maxLat),
	}
}

// bitsOf converts a score as an x86 processor does, also one that no point has.
func bitsOf(score float64) uint64 {
	switch {
	case score < -1<<63 || math.IsInf(score, 0):
		if score > 0 {
			return 0
		}
		return 1 << 63
	case score < 1<<63:
		return uint64(int64(score))
	case score < 1<<64:
		return uint64(int64(score-1<<63)) ^ 1<<63
	}
	return 0
}

const alphabet = "0123456789bcdefghjkmnpqrstuvwxyz"

// Hash returns the standard geohash of a point, in eleven characters, of which the last is always 0: there
// are bits for ten only.
func Hash(p Point) string {
	bits := cellAt(p, 90, maxStep).bits()
	var text [11]byte
	for i := range text {
		text[i] = alphabet[0]
		if i < 10 {
			text[i] = alphabet[bits>>(2*maxStep-5*(i+1))&31]
		}
	}
	return string(text[:])
}

// earthRadius is in meters.
const earthRadius = 6372797.560856

// degree is in radians, as it is when both numbers are rounded first.
var degree = func(pi, half float64) float64 { return pi / half }(math.Pi, 180)

// Distance returns the meters between two points on a sphere, by the haversine formula.
func Distance(p, q Point) float64 {
	lat1, lat2 := p.Lat*degree, q.Lat*degree
	u := sin((lat2 - lat1) / 2)
	v := sin((float64(q.Lon*degree) - float64(p.Lon*degree)) / 2)
	a := float64(u*u) + float64(cos(lat1)*cos(lat2)*v*v)
	return 2.0 * earthRadius * asin(math.Sqrt(a))
}
