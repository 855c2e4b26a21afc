package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that flags choose subjects, scenarios and rounds, in the tables' order.
func TestParsePlan(t *testing.T) {
	p, err := parsePlan(nil)
	require.NoError(t, err)
	assert.Len(t, p.subjects, len(subjects))
	assert.Len(t, p.scenarios, len(scenarios))

	p, err = parsePlan([]string{"-quick", "-subjects", "redsync,ours", "-scenarios", "names", "-rounds", "50", "-leases", "7"})
	require.NoError(t, err)
	assert.Equal(t, []string{"ours", "redsync"}, namesOf(p.subjects, subject.id))
	assert.Equal(t, []string{"names"}, namesOf(p.scenarios, scenario.id))
	assert.Equal(t, 50, p.rounds)
	assert.Equal(t, 7, p.leases)
	assert.Less(t, p.lock, fullPlan().lock)
}

// Ensure that what cannot be run is refused, with what can.
func TestParsePlan_Refused(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-subjects", "ours,zookeeper"}, `-subjects: no "zookeeper"; there are ours, ours-nodes`},
		{[]string{"-subjects", ""}, `no ""`},
		{[]string{"-scenarios", "all,lock"}, `-scenarios: no "all"`},
		{[]string{"-rounds", "51"}, "-rounds 51: must be from 1 to 50"},
		{[]string{"-rounds", "-1"}, "must be from 1"},
		{[]string{"-leases", "1000001"}, "-leases 1000001"},
		{[]string{"quick"}, `what is "quick"?`},
	} {
		_, err := parsePlan(test.args)
		assert.ErrorContains(t, err, test.want)
	}
}

// Ensure that long scenarios have fewer rounds, but never none.
func TestPlan_Rounds(t *testing.T) {
	p := fullPlan()
	for rounds, long := range map[int]int{1: 1, 2: 1, 3: 1, 5: 3, 50: 30} {
		p.rounds = rounds
		assert.Equal(t, rounds, p.roundsOf(scenario{name: lockScenario}))
		assert.Equal(t, long, p.roundsOf(scenario{name: contendedScenario}))
		assert.Equal(t, 1, p.roundsOf(scenario{name: leasesScenario}))
	}
}
