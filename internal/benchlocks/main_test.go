package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fake returns a bench without servers and a report; its one scenario calls run.
func fake(t *testing.T, run func(s subject, round int) (figures, error)) (*bench, *report) {
	p, err := parsePlan([]string{"-subjects", "ours,redsync,etcd", "-rounds", "3"})
	require.NoError(t, err)
	p.scenarios = []scenario{{name: lockScenario, title: "Fake", suits: everybody,
		run: func(_ context.Context, _ *bench, s subject, round int) (figures, error) { return run(s, round) }}}
	return &bench{plan: p, fleet: &fleet{}}, newReport(p)
}

// Ensure that each subject has one turn in each round, and that another one begins each time.
func TestMeasure_Turns(t *testing.T) {
	var turns []string
	b, r := fake(t, func(s subject, round int) (figures, error) {
		turns = append(turns, s.name)
		return figures{p50: float64(round)}, nil
	})
	require.NoError(t, b.measure(t.Context(), r, io.Discard))
	assert.Equal(t, []string{"ours", "redsync", "etcd", "redsync", "etcd", "ours", "etcd", "ours", "redsync"}, turns)
	assert.EqualValues(t, 1, r.value(lockScenario, "etcd", p50))
}

// Ensure that a failed turn is told and costs no other, and that only one of ours fails the run.
func TestMeasure_Failures(t *testing.T) {
	for _, test := range []struct {
		who  string
		want error
	}{{"ours", errFailures}, {"etcd", nil}} {
		b, r := fake(t, func(s subject, round int) (figures, error) {
			if s.name == test.who && round == 1 {
				return nil, errors.New("tired")
			}
			return figures{p50: 1}, nil
		})
		var progress bytes.Buffer
		assert.ErrorIs(t, b.measure(t.Context(), r, &progress), test.want)
		told := "lock, round 2, " + test.who + ": tired"
		assert.Equal(t, []string{told}, r.failures)
		assert.Contains(t, progress.String(), "FAILED: "+told+"\n")
		assert.Len(t, r.rounds[lockScenario][test.who], 2)
		assert.Len(t, r.rounds[lockScenario]["redsync"], 3)
	}
}

// Ensure that a skipped turn is no failure, and that a cancelled run ends at once.
func TestMeasure_Ends(t *testing.T) {
	b, r := fake(t, func(subject, int) (figures, error) { return nil, errSkipped })
	require.NoError(t, b.measure(t.Context(), r, io.Discard))
	assert.Empty(t, r.failures)

	ctx, cancel := context.WithCancel(t.Context())
	turns := 0
	b, r = fake(t, func(subject, int) (figures, error) {
		turns++
		cancel()
		return nil, errors.New("interrupted")
	})
	assert.ErrorIs(t, b.measure(ctx, r, io.Discard), context.Canceled)
	assert.Equal(t, 1, turns)
	assert.Empty(t, r.failures)
}
