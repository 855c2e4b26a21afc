package geo

import "math"

// A Shape is an area to search: a circle, or a box whose sides point north and east.
type Shape struct {
	Center        Point
	Box           bool
	Radius        float64 // of a circle
	Width, Height float64 // of a box
	Unit          float64 // of these lengths, in meters
}

// Contains returns how many meters a point is away from the center, and whether it lies in the shape.
func (s *Shape) Contains(p Point) (distance float64, ok bool) {
	if s.Box {
		if Distance(Point{p.Lon, p.Lat}, Point{p.Lon, s.Center.Lat}) > s.Height*s.Unit/2 ||
			Distance(p, Point{s.Center.Lon, p.Lat}) > s.Width*s.Unit/2 {
			return 0, false
		}
		return Distance(s.Center, p), true
	}
	distance = Distance(s.Center, p)
	return distance, distance <= s.Radius*s.Unit
}

// bounds returns the shape's extent.
func (s *Shape) bounds() area {
	height, width := s.Unit*s.Radius, s.Unit*s.Radius
	if s.Box {
		height, width = s.Unit*(s.Height/2), s.Unit*(s.Width/2)
	}
	lat := height / earthRadius / degree
	// The side that is nearer to a pole spans more degrees.
	nearer := s.Center.Lat + lat
	if s.Center.Lat < 0 {
		nearer = s.Center.Lat - lat
	}
	lon := width / earthRadius / cos(nearer*degree) / degree
	return area{s.Center.Lon - lon, s.Center.Lon + lon, s.Center.Lat - lat, s.Center.Lat + lat}
}

// reach returns the meters from the center to the farthest point.
func (s *Shape) reach() float64 {
	if s.Box {
		return math.Sqrt(float64(s.Width/2*(s.Width/2))+float64(s.Height/2*(s.Height/2))) * s.Unit
	}
	return s.Radius * s.Unit
}

// mapEdge is half of the length of the equator on a web map, in meters.
const mapEdge = 20037726.37

// estimateStep returns how fine a grid may be so that a cell and its neighbours cover what is within reach.
func estimateStep(reach, lat float64) uint {
	if reach == 0 {
		return maxStep
	}
	step := 1
	for ; reach < mapEdge; step++ {
		reach *= 2
	}
	step -= 2
	if math.Abs(lat) > 66 {
		step--
	}
	if math.Abs(lat) > 80 {
		step--
	}
	return uint(min(max(step, 1), maxStep))
}

// A Range is the scores from Min to below Max.
type Range struct{ Min, Max float64 }

// directions are the cells that are searched, in Redis' order, which is the order of unsorted answers.
var directions = [9]struct{ east, north int }{{0, 0}, {0, 1}, {0, -1}, {1, 0}, {-1, 0}, {1, 1}, {-1, 1}, {1, -1}, {-1, -1}}

// Ranges returns the scores among which those of the points in the shape are.
func (s *Shape) Ranges() []Range {
	bounds := s.bounds()
	center := cellAt(s.Center, maxLat, estimateStep(s.reach(), s.Center.Lat))
	if center.step > 1 && !covers(center, bounds) {
		center = cellAt(s.Center, maxLat, center.step-1)
	}
	within := center.area()
	var ranges []Range
	last := cell{}
	for i, d := range directions {
		if center.step >= 2 && (d.north < 0 && within.minLat < bounds.minLat || d.north > 0 && within.maxLat > bounds.maxLat ||
			d.east < 0 && within.minLon < bounds.minLon || d.east > 0 && within.maxLon > bounds.maxLon) {
			continue // the shape does not reach there
		}
		c := center.move(d.east, d.north)
		// In a very coarse grid a neighbour may be the one before. The center itself is not looked at.
		if c == last {
			continue
		}
		if i > 0 {
			last = c
		}
		shift := 2 * (maxStep - c.step)
		ranges = append(ranges, Range{float64(c.bits() << shift), float64((c.bits() + 1) << shift)})
	}
	return ranges
}

// covers reports whether a cell with its neighbours reaches as far as bounds does.
func covers(c cell, bounds area) bool {
	return c.move(0, 1).area().maxLat >= bounds.maxLat && c.move(0, -1).area().minLat <= bounds.minLat &&
		c.move(1, 0).area().maxLon >= bounds.maxLon && c.move(-1, 0).area().minLon <= bounds.minLon
}
