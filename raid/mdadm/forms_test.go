package mdadm_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/mdadm"
)

func parsed(t *testing.T, outputs ...string) *raid.Inventory {
	t.Helper()
	var all [][]byte
	for _, o := range outputs {
		all = append(all, []byte(o))
	}
	inv, err := mdadm.Parse(all...)
	require.NoError(t, err)
	return inv
}

// states of drives, by device.
func states(inv *raid.Inventory) map[string]raid.DiskStateKind {
	all := map[string]raid.DiskStateKind{}
	for _, d := range inv.Disks {
		all[d.Path] = d.State.Is
	}
	return all
}

const recovery = `$ cat /proc/mdstat
Personalities : [raid1] [raid6] [raid5] [raid4]
md1 : active raid1 sdb2[1]
      972574976 blocks [2/1] [_U]

md0 : active raid1 sda1[2] sdb1[1]
      208704 blocks [2/1] [_U]
      [>....................]  recovery =  3.6% (7680/208704) finish=259.6min speed=12K/sec

md2 : active raid1 sdc3[2] sdd3[0]
      208704 blocks [2/2] [UU]
      [==========>..........]  check = 50.0% (104352/208704) finish=1.0min speed=12K/sec

unused devices: <none>
`

func TestARecoveryInMdstatIsForTheNewestMember(t *testing.T) {
	inv := parsed(t, recovery)
	require.Len(t, inv.Volumes, 3)
	assert.Equal(t, raid.VolumeRebuilding, inv.Volumes[0].State.Is)
	assert.InDelta(t, 0.0368, inv.Volumes[0].Progress.Fraction, 0.0001)
	assert.Equal(t, raid.VolumeDegraded, inv.Volumes[1].State.Is)
	assert.Equal(t, 1, inv.Volumes[1].Missing)
	assert.Equal(t, raid.VolumeOptimal, inv.Volumes[2].State.Is, "a check changes nothing")
	assert.Equal(t, map[string]raid.DiskStateKind{"/dev/sda1": raid.DiskRebuilding, "/dev/sdb1": raid.DiskOnline,
		"/dev/sdb2": raid.DiskOnline, "/dev/sdc3": raid.DiskOnline, "/dev/sdd3": raid.DiskOnline}, states(inv))
}

const exports = `MD_LEVEL=raid1
MD_DEVICES=2
MD_METADATA=1.2
MD_UUID=00000001:00000002:00000003:00000004
MD_NAME=lab:os
MD_DEVICE_dev_sda_ROLE=0
MD_DEVICE_dev_sda_DEV=/dev/sda
MD_DEVICE_dev_sdb_ROLE=1
MD_DEVICE_dev_sdb_DEV=/dev/sdb
MD_LEVEL=raid0
MD_DEVICES=2
MD_CONTAINER=/dev/md/imsm0
MD_MEMBER=0
MD_UUID=00000001:00000002:00000003:00000005
MD_DEVNAME=Volume0
MD_DEVICE_ev_sdc_ROLE=0
MD_DEVICE_ev_sdc_DEV=/dev/sdc
MD_DEVICE_ev_sdd_ROLE=1
MD_DEVICE_ev_sdd_DEV=/dev/sdd
`

func TestEachArrayOfAnExportIsOne(t *testing.T) {
	inv := parsed(t, exports)
	require.Len(t, inv.Volumes, 1)
	assert.Equal(t, []raid.DiskID{"/dev/sda", "/dev/sdb"}, inv.Volumes[0].Members)
	require.Len(t, inv.Foreign, 1, "what is in a firmware's container is the firmware's")
	assert.Equal(t, []raid.DiskID{"/dev/sdc", "/dev/sdd"}, inv.Foreign[0].Disks)

	_, err := mdadm.Parse([]byte("MD_LEVEL=raid1\nMD_DEVICES=2\nMD_NAME=lab:os\n" +
		"MD_UUID=00000001:00000002:00000003:00000004\nMD_DEV_UUID=00000001:00000002:00000003:00000009\nMD_EVENTS=17\n"))
	require.ErrorContains(t, err, "none of this", "--examine --export does not name the device")
}

func TestAVolumeOfAFirmwareIsForeignInDetailToo(t *testing.T) {
	inv := parsed(t, "/dev/md126:\n         Container : /dev/md/imsm, member 0\n        Raid Level : raid1\n"+
		"        Array Size : 234428416 (223.57 GiB 240.05 GB)\n      Raid Devices : 2\n             State : clean \n\n"+
		"    Number   Major   Minor   RaidDevice State\n       1       8        0        0      active sync   /dev/sda\n"+
		"       0       8       16        1      active sync   /dev/sdb\n")
	assert.Empty(t, inv.Volumes)
	require.Len(t, inv.Foreign, 1)
	assert.Equal(t, raid.Level1, inv.Foreign[0].Level.Is)
}

const scan = "ARRAY /dev/md/os level=raid1 num-devices=2 metadata=1.2 name=lab:os " +
	"UUID=00000001:00000002:00000003:00000004\n   devices=/dev/sda,/dev/sdb\n" +
	"ARRAY /dev/md0 metadata=1.2 name=lab:0 UUID=00000001:00000002:00000003:00000006\n"

func TestAScanTellsWhatIsThereAndNotHowItIs(t *testing.T) {
	inv := parsed(t, scan)
	require.Len(t, inv.Volumes, 2)
	os := inv.Volumes[1]
	assert.Equal(t, "os", os.Name)
	assert.Equal(t, raid.VolumeState{}, os.State)
	assert.Equal(t, []raid.DiskID{"/dev/sda", "/dev/sdb"}, os.Members)
	assert.Equal(t, map[string]raid.DiskStateKind{"/dev/sda": "", "/dev/sdb": ""}, states(inv), "they are not free")

	both := parsed(t, recovery, scan)
	require.Len(t, both.Volumes, 3, "no array is there twice")
	for _, v := range both.Volumes {
		if v.Path == "/dev/md0" {
			assert.Equal(t, raid.VolumeID("00000001:00000002:00000003:00000006"), v.ID, "the scan tells who it is")
		}
	}
	assert.Contains(t, both.Warnings[0], "names arrays that nothing else tells of: os")

	all := parsed(t, scan+exports)
	require.Len(t, all.Volumes, 2)
	assert.Equal(t, raid.VolumeOptimal, all.Volumes[1].State.Is, "of the export")
}
