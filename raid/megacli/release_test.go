package megacli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

func read(t *testing.T, outputs ...string) *raid.Inventory {
	t.Helper()
	var all [][]byte
	for _, o := range outputs {
		all = append(all, []byte(o))
	}
	inventories, err := Parse(all...)
	require.NoError(t, err)
	require.Len(t, inventories, 1)
	return inventories[0]
}

// drive as releases before 8.02 print it, among them their spelling of position.
func drive(slot, group, state, serial string) string {
	position := ""
	if group != "" {
		position = "Drive's postion: DiskGroup: " + group + ", Span: 0, Arm: 0\n"
	}
	return "Enclosure Device ID: 32\nSlot Number: " + slot + "\n" + position + "Device Id: 1\nPD Type: SAS\n" +
		"Coerced Size: 67.986 GB [0x87f9000 Sectors]\nFirmware state: " + state + "\nInquiry Data: LABVEND LABHDD73-15K    " +
		"LABA" + serial + "        \nForeign State: None \nMedia Type: Hard Disk Device\n\n\n"
}

func TestTheDisplayOfAConfigurationHasVolumesThatShareDrives(t *testing.T) {
	for _, title := range []string{"DISK GROUP: 1", "DISK GROUPS: 1"} {
		inv := read(t, "                                     \n"+strings.Repeat("=", 78)+"\nAdapter: 0\n"+
			"Product Name: LAB SAS 8888\nMemory: 128MB\nBBU: Present\nSerial No: LAB0M0001\n"+strings.Repeat("=", 78)+
			"\nNumber of DISK GROUPS: 1\n\n"+title+
			"\nNumber of Spans: 1\nSPAN: 0\nSpan Reference: 0x01\nNumber of PDs: 2\nNumber of VDs: 2\n"+
			"Number of dedicated Hotspares: 1\nVirtual Disk Information:\nVirtual Disk: 0 (Target Id: 3)\nName:os\n"+
			"RAID Level: Primary-1, Secondary-0, RAID Level Qualifier-0\nSize:40960MB\nState: Optimal\nStripe Size: 128kB\n"+
			"Number Of Drives:2\nSpan Depth:1\nVirtual Disk: 1 (Target Id: 4)\nName:data\n"+
			"RAID Level: Primary-1, Secondary-0, RAID Level Qualifier-0\nSize:27.986 GB\nState: Optimal\nStripe Size: 64 KB\n"+
			"Number Of Drives:2\nSpan Depth:1\nPhysical Disk Information:\nPhysical Disk: 0\n"+
			drive("4", "1", "Online", "LAB0001")+
			"Physical Disk: 1\n"+drive("5", "1", "Online", "LAB0002")+"Dedicated Hotspare: 0\n"+
			strings.Replace(drive("6", "", "Hotspare, Spun Up", "LAB0003"), "Foreign", "Hotspare Information: \n"+
				"Type: Dedicated, is revertible\nArray #: 1\nForeign", 1)+"\nExit Code: 0x00\n")
		require.EqualValues(t, 128<<20, inv.Controller.Cache.Bytes)
		require.Len(t, inv.Volumes, 2)
		for i, v := range inv.Volumes {
			require.Equal(t, []raid.VolumeID{"3", "4"}[i], v.ID)
			require.Equal(t, []raid.DiskID{"32:4", "32:5"}, v.Members, title)
			require.Equal(t, []raid.DiskID{"32:6"}, v.Spares)
			require.Equal(t, "1", v.Group)
			require.Zero(t, v.Missing)
		}
		require.Equal(t, hw.Size(128<<10), inv.Volumes[0].Strip)
		require.Equal(t, "LAB0001", inv.Disks[0].Serial)
		require.Equal(t, int64(0x87f9000*512), inv.Disks[0].Bytes)
		require.Equal(t, []raid.VolumeID{"3", "4"}, inv.Disks[2].SpareFor)
	}
}

func TestASpareOfADiskGroupThatNobodyTellsIsNotPassedOffAsGlobal(t *testing.T) {
	inv := read(t, "Adapter #0\n\n"+drive("6", "", "Hotspare, Spun Up", "LAB0003")+
		"Hotspare Information:\nType: Dedicated, is revertible\nArray #: 0\n\n\nExit Code: 0x00\n")
	require.Equal(t, raid.DiskSpare, inv.Disks[0].State.Is)
	require.Contains(t, strings.Join(inv.Warnings, "\n"), "drive 32:6 is a spare of array 0")
}

func TestACacheOfSSDsHasNoLevel(t *testing.T) {
	inv := read(t, "\n\nAdapter 0 -- Virtual Drive Information:\nCacheCade Virtual Drive: 1 (Target Id: 1)\n"+
		"Virtual Drive Type: CacheCade \nName:cache0\nSize:512.0 GB\n"+
		"Target Id of the Associated LDs : None\n\n\nExit Code: 0x00\n")
	require.Equal(t, raid.LevelState{Raw: "CacheCade"}, inv.Volumes[0].Level)
	require.Equal(t, "cache0", inv.Volumes[0].Name)
}

func TestABatteryIsBadInSeveralWords(t *testing.T) {
	for text, want := range map[string]raid.BatteryStateKind{
		"Battery State     : Non Operational\n":                                                  raid.BatteryFailed,
		"  Battery Replacement required : Yes\n  Battery Pack Missing : No\n\nBattery state: \n": raid.BatteryFailed,
		"Battery State: Optimal\n  Battery Replacement required            : Yes\n":              raid.BatteryFailed,
		"  Battery Pack Missing         : Yes\n  Battery Replacement required : Yes\n":           raid.BatteryMissing,
		"Battery State: Optimal\n  Battery Replacement required            : No\n":               raid.BatteryGood,
	} {
		inv := read(t, "BBU status for Adapter: 0\n\nBatteryType: iBBU\n"+text+"\nExit Code: 0x00\n")
		require.Equal(t, want, inv.Controller.Cache.Battery.Is, text)
	}
}

func TestARefusalIsNoEmptyMachine(t *testing.T) {
	_, err := Parse([]byte("Invalid input at or near token -a             \n\nExit Code: 0x01\n"))
	require.ErrorContains(t, err, "Invalid input at or near token -a")
	none, err := Parse([]byte("\nController Count: 0.\n\nExit Code: 0x00\n"))
	require.NoError(t, err)
	require.Empty(t, none)
}
