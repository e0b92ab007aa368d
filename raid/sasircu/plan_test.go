package sasircu_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/sasircu"
)

func TestLayoutIsReachedAndThenThereIsNothingToDo(t *testing.T) {
	h := newHBA("PHWA0", "PHWA1", "PHWA2", "PHWA3", "PHWA4")
	h.change([]string{"CREATE", "RAID0", "MAX", "2:8", "2:9", "noprompt"})
	d := sasircu.New(h, "sas3ircu")
	layout := &raid.Layout{Controllers: []raid.ControllerLayout{{
		Controller: raid.ControllerChoice{PCI: string(address)}, Unlisted: raid.UnlistedRemove,
		Volumes: []raid.Volume{{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2}, Boot: true},
			{Name: "data", Level: raid.Level0, Disks: raid.DiskChoice{Count: 2}}},
		Spares: []raid.Spare{{Disks: raid.DiskChoice{Count: 1}}},
	}}}
	p, err := raid.NewPlan([]*raid.Inventory{inventory(t, d)}, layout)
	require.NoError(t, err)
	g := raid.Guard{Machine: "SN1", Approval: &raid.Approval{Machine: "SN1", Plan: p.Digest(), Allow: p.Needs()},
		InUse: func(context.Context) ([]raid.Use, error) { return nil, nil }}
	require.NoError(t, raid.Apply(t.Context(), d, p, g, nil))
	inv := inventory(t, d)
	require.Len(t, inv.Volumes, 2)
	again, err := raid.NewPlan([]*raid.Inventory{inv}, layout)
	require.NoError(t, err)
	assert.True(t, again.Empty(), "%+v", again.Steps)
}
