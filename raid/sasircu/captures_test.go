package sasircu_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/sasircu"
)

func TestCapturesOfRealControllers(t *testing.T) {
	for name, fact := range map[string]func(t *testing.T, inv *raid.Inventory){
		"mox_missing_member.txt": func(t *testing.T, inv *raid.Inventory) {
			assert.Equal(t, raid.ControllerID("0000:05:00.0"), inv.Controller.ID)
			assert.Equal(t, "SAS3008", inv.Controller.Model)
			assert.Equal(t, "6.00.00.00", inv.Controller.Firmware)
			assert.Equal(t, "1", inv.Controller.Slot)
			require.Len(t, inv.Volumes, 1)
			v := inv.Volumes[0]
			assert.Equal(t, raid.VolumeID("322"), v.ID)
			assert.Equal(t, raid.VolumeState{Is: raid.VolumeOffline, Raw: "Inactive, Okay (OKY)"}, v.State)
			assert.Equal(t, raid.Level0, v.Level.Is)
			assert.EqualValues(t, 1522064<<20, v.Bytes)
			assert.True(t, v.Rounded)
			assert.Empty(t, v.Members)
			assert.Equal(t, 1, v.Missing)
			require.Len(t, inv.Disks, 1)
			d := inv.Disks[0]
			assert.Equal(t, raid.DiskState{Is: raid.DiskMissing, Raw: "Missing (MIS)"}, d.State)
			assert.Equal(t, "BTHC529203WB400VGN", d.Serial)
			assert.Empty(t, d.Location)
			assert.Zero(t, d.Bytes)
		},
		"mox_2vol_failed.txt": func(t *testing.T, inv *raid.Inventory) {
			require.Len(t, inv.Volumes, 2)
			assert.Equal(t, raid.VolumeOffline, inv.Volumes[0].State.Is)
			assert.Equal(t, []raid.DiskID{"1:1"}, inv.Volumes[0].Members)
			assert.Equal(t, 3, inv.Volumes[0].Missing)
			assert.Equal(t, raid.VolumeID("323"), inv.Volumes[1].ID)
			assert.Equal(t, raid.VolumeState{Is: raid.VolumeFailed, Raw: "Failed (FLD)"}, inv.Volumes[1].State)
			assert.Equal(t, []raid.DiskID{"1:0", "1:2", "1:4"}, inv.Volumes[1].Members)
			assert.Equal(t, 1, inv.Volumes[1].Missing)
			assert.Empty(t, inv.Disks, "nothing is told of drives")
		},
		"mox_4disk_2missing.txt": func(t *testing.T, inv *raid.Inventory) {
			require.Len(t, inv.Disks, 4, "an enclosure is no drive")
			for i, id := range []raid.DiskID{"1:0", "1:4"} {
				d := inv.Disks[i]
				assert.Equal(t, id, d.ID)
				assert.Equal(t, raid.DiskOnline, d.State.Is)
				assert.EqualValues(t, 781422768*512, d.Bytes)
				assert.False(t, d.Rounded)
				assert.Equal(t, hw.SSD, d.Medium)
				assert.Equal(t, hw.BusATA, d.Bus)
			}
			assert.Equal(t, "naa.55cd2e404c08fc7e", inv.Disks[0].WWN)
			for _, d := range inv.Disks[2:] {
				assert.Equal(t, raid.DiskMissing, d.State.Is)
				assert.NotEmpty(t, d.Serial)
			}
			assert.NotEqual(t, inv.Disks[2].ID, inv.Disks[3].ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inv, err := sasircu.Parse(raidtest.Capture(t, filepath.Join("sasircu", name)))
			require.NoError(t, err)
			fact(t, inv)
		})
	}
}
