package main

import (
	"math"
	"slices"
)

// quantile returns the value below which the share q of the values lies: 0.5 is the median. The values must be
// sorted. It is NaN if there are none.
func quantile[T ~int64 | ~float64](sorted []T, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	return float64(sorted[int(q*float64(len(sorted)-1))])
}

// median returns the middle of the values, or the mean of the two in the middle. It leaves out NaN, which stands
// for what could not be measured.
func median(values []float64) float64 {
	known := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	n := len(known)
	if n == 0 {
		return math.NaN()
	}
	slices.Sort(known)
	return (known[(n-1)/2] + known[n/2]) / 2
}

// largest returns the largest of the values that are known.
func largest(values []float64) float64 {
	known := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(known) == 0 {
		return math.NaN()
	}
	return slices.Max(known)
}

// curve returns n quantiles of the values, from the smallest to the largest.
func curve(values []float64, n int) []float64 {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	points := make([]float64, n)
	for i := range points {
		points[i] = quantile(values, float64(i)/float64(n-1))
	}
	return points
}
