package main

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// A contest is what the records of all contenders for one lock say together.
type contest struct {
	cycles   int           // turns that began in the window
	window   time.Duration // how long was measured
	gaps     []float64     // from the beginning of a release to when the next had the lock, in nanoseconds
	waits    []float64     // from asking to having
	perEach  []int         // turns of each contender
	passed   int           // turns that followed another contender's: the others took the lock again themselves
	overlaps int           // turns that began before the one before had begun to leave: broken exclusion
}

// judge merges the records of the contenders. What counts is what happened from begin to end on the clock that
// they share; a turn belongs to the time when it began, and a gap to the turn that ends it.
func judge(logs [][]record, begin, end time.Duration) contest {
	c := contest{window: end - begin}
	type turn struct {
		record
		of int
	}
	var all []turn
	for i, log := range logs {
		turns := 0
		for _, r := range log {
			if begin <= r.Got && r.Got < end {
				turns++
				c.waits = append(c.waits, float64(r.Got-r.Asked))
			}
			all = append(all, turn{r, i})
		}
		c.perEach = append(c.perEach, turns)
		c.cycles += turns
	}
	slices.SortFunc(all, func(a, b turn) int { return cmp.Compare(a.Got, b.Got) })
	for i, free := 0, time.Duration(math.MinInt64); i < len(all); i++ {
		r := all[i]
		switch {
		case i == 0:
		case r.Got < free:
			c.overlaps++
		case begin <= r.Got && r.Got < end:
			c.gaps = append(c.gaps, float64(r.Got-free))
			if r.of != all[i-1].of {
				c.passed++
			}
		}
		free = max(free, r.Leaving)
	}
	slices.Sort(c.gaps)
	slices.Sort(c.waits)
	return c
}

// perSecond returns how many turns there were in a second.
func (c contest) perSecond() float64 { return float64(c.cycles) / c.window.Seconds() }

// handovers returns the share of the gaps at whose ends different contenders stand.
func (c contest) handovers() float64 { return float64(c.passed) / float64(len(c.gaps)) }

// unfairness returns how many turns the luckiest contender had for each of the unluckiest's; it is infinite if
// one had none.
func (c contest) unfairness() float64 {
	if len(c.perEach) == 0 || c.cycles == 0 {
		return math.NaN()
	}
	return float64(slices.Max(c.perEach)) / float64(slices.Min(c.perEach))
}
