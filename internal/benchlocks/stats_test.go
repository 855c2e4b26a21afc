package main

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Ensure that quantiles are values of the sample, and that nothing has none.
func TestQuantile(t *testing.T) {
	hundred := make([]int64, 101)
	for i := range hundred {
		hundred[i] = int64(i)
	}
	assert.EqualValues(t, 0, quantile(hundred, 0))
	assert.EqualValues(t, 50, quantile(hundred, 0.5))
	assert.EqualValues(t, 99, quantile(hundred, 0.99))
	assert.EqualValues(t, 100, quantile(hundred, 1))
	assert.EqualValues(t, 7, quantile([]float64{7}, 0.99))
	assert.True(t, math.IsNaN(quantile([]float64(nil), 0.5)))
}

// Ensure that a median needs no order, and passes over what is not known.
func TestMedian(t *testing.T) {
	nan := math.NaN()
	values := []float64{9, 1, 5}
	assert.EqualValues(t, 5, median(values))
	assert.Equal(t, []float64{9, 1, 5}, values, "the values stay as they are")
	assert.EqualValues(t, 3, median([]float64{5, 1}))
	assert.EqualValues(t, 4, median([]float64{nan, 4, nan}))
	assert.EqualValues(t, math.Inf(1), median([]float64{math.Inf(1), math.Inf(1), 2}))
	assert.True(t, math.IsNaN(median([]float64{nan})))
	assert.True(t, math.IsNaN(median(nil)))
	assert.EqualValues(t, 8, largest([]float64{3, nan, 8}))
	assert.True(t, math.IsNaN(largest([]float64{nan})))
}

// Ensure that a curve goes from the smallest to the largest value.
func TestCurve(t *testing.T) {
	assert.Equal(t, []float64{1, 2, 3}, curve([]float64{3, 1, 2}, 3))
	assert.Nil(t, curve(nil, 3))
}
