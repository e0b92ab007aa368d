package mdadm_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/mdadm"
	"github.com/project-loda/loda/raid/raidtest"
)

func TestCapturesOfRealMachines(t *testing.T) {
	volume := func(t *testing.T, inv *raid.Inventory) raid.VirtualDisk {
		require.Len(t, inv.Volumes, 1)
		return inv.Volumes[0]
	}
	for name, fact := range map[string]func(t *testing.T, inv *raid.Inventory){
		"ipa_detail_nvme.txt": func(t *testing.T, inv *raid.Inventory) {
			v := volume(t, inv)
			assert.Equal(t, raid.Level1, v.Level.Is)
			assert.EqualValues(t, 439221248<<10, v.Bytes)
			assert.False(t, v.Rounded)
			assert.Equal(t, raid.VolumeState{Is: raid.VolumeOptimal, Raw: "clean"}, v.State)
			assert.Equal(t, []raid.DiskID{"/dev/nvme0n1p1", "/dev/nvme1n1p1"}, v.Members)
			assert.Equal(t, raid.VolumeID("abe222bc:98735860:ab324674:e4076313"), v.ID)
			for _, d := range inv.Disks {
				assert.Equal(t, raid.DiskOnline, d.State.Is)
			}
		},
		"ipa_broken_raid0.txt": func(t *testing.T, inv *raid.Inventory) {
			v := volume(t, inv)
			assert.Equal(t, raid.Level0, v.Level.Is)
			assert.Equal(t, raid.VolumeState{Is: raid.VolumeOffline, Raw: "inactive"}, v.State)
			assert.Equal(t, []raid.DiskID{"/dev/sda2"}, v.Members)
			require.Len(t, inv.Disks, 1)
			assert.Equal(t, raid.DiskOffline, inv.Disks[0].State.Is)
		},
		"ipa_poisoned.txt": func(t *testing.T, inv *raid.Inventory) {
			v := volume(t, inv)
			assert.Equal(t, []raid.DiskID{"/dev/vda1", "/dev/vdb1"}, v.Members)
			assert.Equal(t, []string{"/dev/vda1", "/dev/vdb1"}, v.Parts)
			assert.Len(t, inv.Disks, 2)
			assert.Equal(t, "/dev/md0", v.Name)
			assert.EqualValues(t, 4673536<<10, v.Bytes)
		},
		"ipa_detail_name.txt": func(t *testing.T, inv *raid.Inventory) {
			v := volume(t, inv)
			assert.Equal(t, "this_name", v.Name)
			assert.Equal(t, []raid.DiskID{"/dev/vde1", "/dev/vdf1"}, v.Members)
			assert.False(t, *v.Boot, "metadata is at the end, but of partitions")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inv, err := mdadm.Parse(raidtest.Capture(t, filepath.Join("mdadm", name)))
			require.NoError(t, err)
			fact(t, inv)
		})
	}
}
