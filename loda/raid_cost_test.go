package loda

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
)

// What a person has accepted is known again by its sentence.
func TestStepsThatDestroyDifferentThingsNeverReadTheSame(t *testing.T) {
	long := raid.Step{Kind: raid.StepClearForeign, Controller: "0"}
	for i := range 60 {
		long.Destroys = append(long.Destroys, fmt.Sprintf("the foreign configuration of the drive in slot %d", i))
	}
	other := long
	other.Destroys = append(append([]string{}, long.Destroys[:59]...), "the only copy of the payroll, in slot 59")
	a, b := raidCost(&long), raidCost(&other)
	require.Equal(t, a, raidCost(&long))
	require.Equal(t, a[:1000], b[:1000])
	require.NotEqual(t, a, b)
	require.Regexp(t, `fingerprint of all \d{4} bytes [0-9a-f]{32}\)$`, a)
}
