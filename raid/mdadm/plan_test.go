package mdadm_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/mdadm"
)

func applied(t *testing.T, d *mdadm.Driver, layout *raid.Layout) *raid.Plan {
	t.Helper()
	p, err := raid.NewPlan([]*raid.Inventory{inventory(t, d)}, layout)
	require.NoError(t, err)
	g := raid.Guard{Machine: "SN1", Approval: &raid.Approval{Machine: "SN1", Plan: p.Digest(), Allow: p.Needs()},
		InUse: func(context.Context) ([]raid.Use, error) { return nil, nil }}
	require.NoError(t, raid.Apply(t.Context(), d, p, g, nil))
	return p
}

func TestLayoutIsReachedAndThenThereIsNothingToDo(t *testing.T) {
	k := fourDisks()
	k.disks = append(k.disks, disk("sde", "pci-0000:00:1f.2-ata-5.0"))
	d := driver(k)
	layout := &raid.Layout{Controllers: []raid.ControllerLayout{{
		Controller: raid.ControllerChoice{MD: true}, Unlisted: raid.UnlistedRemove,
		Volumes: []raid.Volume{
			{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2}, Boot: true},
			{Name: "scratch", Level: raid.Level0, Disks: raid.DiskChoice{Count: 2}, Strip: 128 << 10},
		},
		Spares: []raid.Spare{{Disks: raid.DiskChoice{Count: 1}, For: []string{"os"}}},
	}}}
	assert.False(t, applied(t, d, layout).Empty())
	inv := inventory(t, d)
	require.Len(t, inv.Volumes, 2)
	assert.True(t, *inv.Volumes[0].Boot)
	require.Len(t, inv.Volumes[0].Spares, 1)
	assert.EqualValues(t, 128<<10, inv.Volumes[1].Strip)
	again, err := raid.NewPlan([]*raid.Inventory{inv}, layout)
	require.NoError(t, err)
	assert.True(t, again.Empty(), "%+v", again.Steps)

	// The machine was off, and comes back.
	clear(k.running)
	_, err = driver(k, mdadm.WithAssembly()).Probe(t.Context())
	require.NoError(t, err)
	again, err = raid.NewPlan([]*raid.Inventory{inventory(t, d)}, layout)
	require.NoError(t, err)
	assert.True(t, again.Empty(), "%+v", again.Steps)

	layout.Controllers[0].Volumes = layout.Controllers[0].Volumes[:1]
	layout.Controllers[0].Spares = nil
	assert.False(t, applied(t, d, layout).Empty())
	inv = inventory(t, d)
	require.Len(t, inv.Volumes, 1)
	assert.Equal(t, "os", inv.Volumes[0].Name)
}

func TestSizeOrSharedDrivesAreRefusedWhenTheyArePlanned(t *testing.T) {
	d := driver(fourDisks())
	_, err := raid.NewPlan([]*raid.Inventory{inventory(t, d)}, &raid.Layout{Controllers: []raid.ControllerLayout{{
		Controller: raid.ControllerChoice{MD: true},
		Volumes: []raid.Volume{{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2}, Size: 1 << 29},
			{Name: "rest", Level: raid.Level0, Disks: raid.DiskChoice{SameAs: "os"}}},
	}}})
	assert.ErrorContains(t, err, "only volumes that take all of their drives")
}
