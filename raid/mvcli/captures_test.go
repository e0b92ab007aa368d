package mvcli_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/mvcli"
	"github.com/project-loda/loda/raid/raidtest"
)

func TestCapturesOfRealCards(t *testing.T) {
	volume := func(t *testing.T, inv *raid.Inventory) raid.VirtualDisk {
		require.Len(t, inv.Volumes, 1)
		return inv.Volumes[0]
	}
	levels := func(inv *raid.Inventory) []raid.Level {
		var all []raid.Level
		for _, l := range inv.Controller.Capabilities.Levels {
			all = append(all, l.Level)
		}
		return all
	}
	for name, fact := range map[string]func(t *testing.T, inv *raid.Inventory){
		"mvcli/ironlib_info-hba.txt": func(t *testing.T, inv *raid.Inventory) {
			c := inv.Controller
			assert.Equal(t, "Dell", c.Vendor)
			assert.Equal(t, "BOSS-S1", c.Model)
			assert.Equal(t, "2.5.13.1210", c.Firmware)
			assert.Equal(t, []raid.LevelCapability{{Level: raid.Level1, MinDisks: 2, MaxDisks: 2}}, c.Capabilities.Levels)
			assert.Equal(t, 1, c.Capabilities.MaxVolumes)
			assert.Equal(t, []hw.Size{64 << 10}, c.Capabilities.Strips)
		},
		"mvcli/ironlib_info-vd.txt": func(t *testing.T, inv *raid.Inventory) {
			v := volume(t, inv)
			assert.Equal(t, raid.VolumeID("0"), v.ID)
			assert.Equal(t, raid.VolumeState{Is: raid.VolumeOptimal, Raw: "functional"}, v.State)
			assert.Equal(t, raid.Level1, v.Level.Is)
			assert.EqualValues(t, 64<<10, v.Strip)
			assert.EqualValues(t, 228872<<20, v.Bytes)
			assert.True(t, v.Rounded)
			assert.Equal(t, []raid.DiskID{"0", "1"}, v.Members)
			assert.Empty(t, inv.Disks, "nothing is told of drives")
		},
		"mvcli/pyarc_vd_offline.txt": func(t *testing.T, inv *raid.Inventory) {
			v := volume(t, inv)
			assert.Equal(t, raid.VolumeID("0"), v.ID)
			assert.Equal(t, "created_ra", v.Name)
			assert.Equal(t, raid.VolumeOffline, v.State.Is)
			assert.Equal(t, raid.Level0, v.Level.Is)
			assert.Equal(t, []raid.DiskID{"0"}, v.Members)
			assert.Zero(t, v.Missing)
		},
		"mvcli/pyarc_hba.txt": func(t *testing.T, inv *raid.Inventory) {
			assert.Equal(t, "88SE9230", inv.Controller.Model)
			assert.Equal(t, []raid.Level{raid.Level0, raid.Level1}, levels(inv))
			assert.Equal(t, []hw.Size{32 << 10, 64 << 10}, inv.Controller.Capabilities.Strips)
		},
		"mnvcli/drp_hba.txt": func(t *testing.T, inv *raid.Inventory) {
			c := inv.Controller
			assert.Equal(t, "Lenovo", c.Vendor)
			assert.Equal(t, "M.2 NVMe 2-Bay RAID Kit", c.Model)
			assert.Equal(t, "R2SH08B004S", c.Serial)
			assert.Equal(t, raid.ControllerID("0000:e5:00.0"), c.ID)
			assert.Equal(t, []raid.Level{raid.Level0, raid.Level1}, levels(inv))
			assert.Equal(t, 2, c.Capabilities.Levels[0].MaxDisks)
			assert.Equal(t, 2, c.Capabilities.MaxVolumes)
			assert.Equal(t, []hw.Size{128 << 10, 256 << 10, 512 << 10}, c.Capabilities.Strips)
		},
		"mnvcli/drp_pd.txt": func(t *testing.T, inv *raid.Inventory) {
			require.Len(t, inv.Disks, 2)
			for i, serial := range []string{"S50NNA0NA00240", "S50NNA0NA00193"} {
				d := inv.Disks[i]
				assert.Equal(t, serial, d.Serial)
				assert.EqualValues(t, 1875385008*512, d.Bytes)
				assert.False(t, d.Rounded)
				assert.Equal(t, "Idle", d.State.Raw)
				assert.False(t, *d.SMARTAlert)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inv, err := mvcli.Parse(raidtest.Capture(t, name))
			require.NoError(t, err)
			fact(t, inv)
		})
	}
	t.Run("mvcli/ironlib_create-ok.txt", func(t *testing.T) {
		_, err := mvcli.Parse(raidtest.Capture(t, "mvcli/ironlib_create-ok.txt"))
		assert.ErrorContains(t, err, "none of this", "success says nothing")
	})
}
