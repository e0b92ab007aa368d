package loda

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
)

func TestEveryTransitionIsBetweenKnownStates(t *testing.T) {
	for trigger, edges := range transitions {
		for from, to := range edges {
			require.Contains(t, inventory.States, from, trigger)
			require.Contains(t, inventory.States, to, trigger)
		}
	}
}

func TestClosedInstallationsNeverReopen(t *testing.T) {
	for trigger, edges := range transitions {
		require.NotContains(t, edges, inventory.Installed, trigger)
		require.NotContains(t, edges, inventory.Canceled, trigger)
	}
}

// From every open state a person can end the installation, and a machine cannot get stuck: each state has either a
// deadline or waits for a person or for a power-on.
func TestNoOpenStateIsATrap(t *testing.T) {
	waits := map[inventory.State]bool{inventory.Held: true, inventory.Queued: true, inventory.Failed: true, inventory.Quarantined: true}
	for _, s := range inventory.States {
		if !s.Open() {
			continue
		}
		require.Equal(t, inventory.Canceled, transitions[CancelAsked][s], s)
		if !waits[s] {
			require.Positive(t, Deadlines{}.in(s), s)
			require.Equal(t, inventory.Failed, transitions[Stalled][s], s)
		}
	}
}

func TestRefusedTransitionLeavesTheInstallationAsItIs(t *testing.T) {
	inst := inventory.Installation{ID: "i", Serial: "S", State: inventory.Installed}
	before := inst
	_, err := Transition(&inst, ScriptGiven, "", time.Now(), Deadlines{})
	require.ErrorIs(t, err, ErrTransition)
	require.Equal(t, before, inst)
}

func TestDeadlinesThatCannotBeMeantAreRefused(t *testing.T) {
	require.NoError(t, Deadlines{}.Validate())
	require.NoError(t, DefaultDeadlines().Validate())
	err := Deadlines{Netbooting: 15, Detecting: -time.Minute, Installing: time.Hour}.Validate()
	require.ErrorContains(t, err, "netbooting: 15ns")
	require.ErrorContains(t, err, "detecting: -1m0s")
	require.NotContains(t, err.Error(), "installing")
}
