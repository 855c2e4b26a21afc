package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// turn makes a record in milliseconds.
func turn(asked, got, leaving, left time.Duration) record {
	return record{asked * ms, got * ms, leaving * ms, left * ms}
}

// Ensure that the records of several processes are merged by when they had the lock: a gap spans from one
// process's leaving to another's having, whoever has written first.
func TestJudge_Gaps(t *testing.T) {
	c := judge([][]record{
		{turn(0, 10, 11, 12), turn(12, 17, 18, 19)},
		{turn(0, 13, 14, 15)},
	}, 0, 100*ms)
	assert.Equal(t, 3, c.cycles)
	assert.Equal(t, []float64{float64(2 * ms), float64(3 * ms)}, c.gaps)
	assert.Equal(t, []float64{float64(5 * ms), float64(10 * ms), float64(13 * ms)}, c.waits)
	assert.Equal(t, []int{2, 1}, c.perEach)
	assert.EqualValues(t, 2, c.unfairness())
	assert.EqualValues(t, 30, c.perSecond())
	assert.EqualValues(t, 1, c.handovers())
	assert.Zero(t, c.overlaps)
}

// Ensure that only what began in the window counts, and that the first gap in it may have begun before.
func TestJudge_Window(t *testing.T) {
	log := []record{turn(0, 1, 2, 2), turn(2, 5, 6, 6), turn(6, 9, 10, 10), turn(10, 15, 16, 16)}
	c := judge([][]record{log}, 5*ms, 15*ms)
	assert.Equal(t, 2, c.cycles)
	assert.Equal(t, []float64{float64(3 * ms), float64(3 * ms)}, c.gaps)
	assert.Len(t, c.waits, 2)
	assert.EqualValues(t, 200, c.perSecond())
}

// Ensure that a contender that takes the lock again is told from one that passes it on.
func TestJudge_Handovers(t *testing.T) {
	c := judge([][]record{
		{turn(0, 1, 2, 2), turn(2, 3, 4, 4), turn(4, 5, 6, 6)},
		{turn(0, 7, 8, 8)},
		{turn(0, 9, 10, 10)},
	}, 0, 100*ms)
	assert.EqualValues(t, 0.5, c.handovers())
	assert.True(t, math.IsNaN(judge(nil, 0, ms).handovers()))
}

// Ensure that two holders at a time are told, at the boundary and beyond.
func TestJudge_Overlaps(t *testing.T) {
	touching := judge([][]record{{turn(0, 1, 5, 6)}, {turn(0, 5, 8, 9)}}, 0, 10*ms)
	assert.Zero(t, touching.overlaps)
	assert.Equal(t, []float64{0}, touching.gaps)
	both := judge([][]record{{turn(0, 1, 6, 7)}, {turn(0, 5, 8, 9)}}, 0, 10*ms)
	assert.Equal(t, 1, both.overlaps)
	assert.Empty(t, both.gaps, "no gap is there between them")
}

// Ensure that a holder is compared with all before it, not only with the latest: one long turn may
// overlap several short ones.
func TestJudge_LongOverlap(t *testing.T) {
	c := judge([][]record{{turn(0, 1, 20, 21)}, {turn(0, 2, 3, 4), turn(4, 10, 11, 12)}}, 0, 100*ms)
	assert.Equal(t, 2, c.overlaps)
}

// Ensure that a contender without a turn makes it infinitely unfair, and that nobody's turn says nothing.
func TestContest_Starvation(t *testing.T) {
	c := judge([][]record{{turn(0, 1, 2, 3)}, nil}, 0, 10*ms)
	assert.True(t, math.IsInf(c.unfairness(), 1))
	assert.True(t, math.IsNaN(judge([][]record{nil, nil}, 0, 10*ms).unfairness()))
}

// Ensure that records survive their file, and that a torn file is refused.
func TestRecords_File(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records")
	want := []record{turn(1, 2, 3, 4), turn(5, 6, 7, 8)}
	require.NoError(t, writeRecords(path, want))
	got, err := readRecords(path)
	require.NoError(t, err)
	assert.Equal(t, want, got)

	require.NoError(t, writeRecords(path, nil))
	got, err = readRecords(path)
	require.NoError(t, err)
	assert.Empty(t, got)

	require.NoError(t, os.WriteFile(path, make([]byte, 33), 0o600))
	_, err = readRecords(path)
	assert.ErrorContains(t, err, "33 bytes")
}
