package arcconf_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/arcconf"
)

// ruled is a heading as the tool prints it.
func ruled(title string) string {
	return strings.Repeat("-", 70) + "\n" + title + "\n" + strings.Repeat("-", 70) + "\n"
}

func only(t *testing.T, text string) *raid.Inventory {
	t.Helper()
	all, err := arcconf.Parse([]byte(text))
	require.NoError(t, err)
	require.Len(t, all, 1)
	return all[0]
}

func TestReleasesNameLevelsAndWorkInMoreWords(t *testing.T) {
	inv := only(t, "Controllers found: 1\n"+ruled("Logical device information")+
		"Logical Device number 0\n   RAID level                               : 6 Reed-Solomon\n"+
		"   Status of Logical Device                 : Impacted ( Build/Verify with fix : 90 % )\n"+
		"   Size                                     : 22886390 MB\n\n"+
		"Logical Device number 1\n   RAID level                               : 1\n"+
		"   Status of Logical Device                 : Optimal\n   Size                                     : 953344 MB\n")
	require.Len(t, inv.Volumes, 2)
	v := inv.Volumes[0]
	assert.Equal(t, raid.LevelState{Is: raid.Level6, Raw: "6 Reed-Solomon"}, v.Level)
	assert.Equal(t, raid.VolumeInitializing, v.State.Is)
	assert.Equal(t, &raid.Progress{What: "Build/Verify with fix", Fraction: 0.9}, v.Progress)
	assert.Nil(t, inv.Volumes[1].Progress)
}

func TestNamesThatSeriesFiveMakesUpForSATADrivesAreNone(t *testing.T) {
	inv := only(t, "Controllers found: 1\n"+ruled("Physical Device information")+
		"   Channel #0:\n      Transfer Speed                        : Ultra320\n      Initiator at SCSI ID 7\n"+
		"      Device #0\n         Device is a Hard drive\n         State                              : Online\n"+
		"         Transfer Speed                     : SATA 3.0 Gb/s\n"+
		"         Reported Channel,Device(T:L)       : 0,1(1:0)\n"+
		"         Reported Location                  : Connector 0, Device 1\n"+
		"         Serial number                      : LAB0A0001\n"+
		"         World-wide name                    : 50000D1101000111\n"+
		"         Total Size                         : 953869 MB\n"+
		"      Device #1\n         Device is a Hard drive\n         State                              : Online\n"+
		"         Transfer Speed                     : Ultra320\n         Reported Channel,Device(T:L)       : 0,2(2:0)\n"+
		"         Serial number                      : LAB0A0002\n         Size                               : 140014 MB\n"+
		"      Device #6\n         Device is an Enclosure\n         Type                               : SAF-TE\n"+
		"   Channel #1:\n      Transfer Speed                        : Ultra320\n      No physical drives attached\n")
	require.Len(t, inv.Disks, 2)
	assert.Empty(t, inv.Disks[1].WWN)
	assert.Equal(t, "LAB0A0001", inv.Disks[1].Serial)
	assert.Equal(t, hw.BusSCSI, inv.Disks[0].Bus)
	assert.Equal(t, "Channel 0, Device 2", inv.Disks[0].Location)
}
