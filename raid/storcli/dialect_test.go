package storcli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

func only(t *testing.T, text string) *raid.Inventory {
	t.Helper()
	all, err := Parse([]byte(text))
	require.NoError(t, err)
	require.Len(t, all, 1)
	return all[0]
}

func TestTheRAIDOfAnHBAsFirmwareHasNoDriveGroups(t *testing.T) {
	inv := only(t, `{"Controllers": [{"Command Status": {"CLI Version": "007.3503.0000.0000 Aug 05, 2025", "Controller": 0,
		"Status": "Success", "Description": "None"}, "Response Data": {"Product Name": "LAB3008-IR",
		"PCI Address": "00:01:00:00", "Driver Name": "mpt3sas", "Physical Drives": 2, "PD LIST": [
		{"EID:Slt": " :0", "State": "Online", "DG": "-", "Size": "893.137 GB", "Intf": "SATA", "Med": "SSD", "SeSz": "512B"},
		{"EID:Slt": " :1", "State": "Online", "DG": "-", "Size": "893.137 GB", "Intf": "SATA", "Med": "SSD", "SeSz": "512B"},
		{"EID:Slt": " :2", "State": "UGood", "DG": "-", "Size": "6.984 TB", "Intf": "SATA", "Med": "SSD", "SeSz": "512B"}],
		"Virtual Drives": 1, "VD LIST": [{"VD": "0", "TYPE": "RAID1", "State": "Optl", "Access": "RW", "Consist": "No",
		"Cache": "NRWTD", "Size": "893.137 GB", "Name": ""}]}}]}`)
	require.Equal(t, raid.ModeMixed, inv.Controller.Mode, "the third drive is shown as it is")
	require.Len(t, inv.Volumes, 1)
	v := inv.Volumes[0]
	require.Equal(t, raid.VolumeID("0"), v.ID)
	require.Empty(t, v.Group)
	require.Equal(t, raid.Level1, v.Level.Is)
	require.Equal(t, []raid.DiskID{":0", ":1"}, v.Members)
	require.Equal(t, raid.DiskState{Is: raid.DiskOnline, Raw: "Online"}, inv.Disks[0].State)
	require.Equal(t, raid.DiskJBOD, inv.Disks[2].State.Is)
}

func TestGBIsDecimalWhereTheToolAlsoHasGiB(t *testing.T) {
	const answer = `{"Controllers": [{"Command Status": {"CLI Version": "007.3503.0000.0000 Aug 05, 2025", "Controller": 0,
		"Status": "Success", "Description": "None"}, "Response Data": {"Arrays": 1, "VD LIST": [{"DG/VD": "0/239",
		"TYPE": "RAID1", "State": "Optl", "Cache": "RWBD", "Size": "278.875 %", "Name": "OS"}], "Physical Drives": 1,
		"Drive LIST": [{"EID:Slt": "252:1", "DID": 0, "State": "Onln", "DG": 0, "Size": "300.00 GB", "Intf": "SAS",
		"Med": "HDD", "SeSz": "512B", "Model": "LABHDD300   ", "Sp": "U"}]}}]}`
	inv := only(t, strings.Replace(answer, "%", "GiB", 1))
	require.EqualValues(t, 300e9, inv.Disks[0].Bytes)
	require.Equal(t, giga(278.875), inv.Volumes[0].Bytes)
	require.Equal(t, []raid.DiskID{"252:1"}, inv.Volumes[0].Members)
	inv = only(t, strings.Replace(answer, "%", "GB", 1))
	require.Equal(t, giga(300), inv.Disks[0].Bytes)
}

const generation8Text = `PS C:\> storcli2 /c0/eall/sall show
CLI Version = 008.0011.0000.0014 Sep 26, 2024
Operating system = Windows Server 2022
Controller = 0
Status = Success
Description = Show Drive Information Succeeded.


Drive Information :
=================

--------------------------------------------------------------------------------------------------------
EID:Slt PID State Status  DG        Size Intf Med SED_Type SeSz Model             Sp LU/NS Count Alt-EID
--------------------------------------------------------------------------------------------------------
308:0   283 Conf  Online   0 223.062 GiB SATA SSD Opal     512B LAB SSD 240-00000 U            1 -
308:12  291 Conf  Rebuild  1   6.985 TiB NVMe SSD Opal     512B LAB NVM 768-00000 U            1 -
308:20  294 UConf Good     -   6.985 TiB NVMe SSD Opal     512B LAB NVM 768-00000 U            1 -
--------------------------------------------------------------------------------------------------------


LU/NS Information :
=================

--------------------------------------
PID LUN/NSID Index Status        Size
--------------------------------------
283 0/-          0 Online 223.062 GiB
291 0/1          0 Online   6.985 TiB
294 0/1          0 Online   6.985 TiB
--------------------------------------

EID-Enclosure Persistent ID|Slt-Slot Number|PID-Persistent ID|DG-DriveGroup
`

func TestTextOfGeneration8HasItsDrives(t *testing.T) {
	inv := only(t, generation8Text)
	require.Equal(t, []raid.DiskID{"308:0", "308:12", "308:20"}, ids(inv))
	require.Equal(t, "LAB NVM 768-00000", inv.Disks[1].Model)
	require.Equal(t, raid.DiskRebuilding, inv.Disks[1].State.Is)
	require.Equal(t, hw.NVMe, inv.Disks[1].Medium)
	require.Equal(t, raid.DiskReady, inv.Disks[2].State.Is)
	require.Equal(t, giga(223.062), inv.Disks[0].Bytes)
}

func TestABatteryThatNeedsAttentionHasFailed(t *testing.T) {
	inv := only(t, `{"Controllers": [{"Command Status": {"Controller": 0, "Status": "Success"}, "Response Data":
		{"BBU_Info": [{"Model": "iBBU", "State": "Dgd (Needs Attention)", "Temp": "21C"}]}}]}`)
	require.Equal(t, raid.BatteryState{Is: raid.BatteryFailed, Raw: "Dgd (Needs Attention)"}, inv.Controller.Cache.Battery)
}

func TestAMemberThatIsNotListedIsMissing(t *testing.T) {
	inv := only(t, `{"Controllers": [{"Command Status": {"Controller": 0, "Status": "Success"}, "Response Data": {
		"/c0/v2": [{"DG/VD": "3/2", "TYPE": "RAID5", "State": "Dgrd", "Cache": "NRWBD", "Size": "14.551 TB", "Name": ""}],
		"PDs for VD 2": [{"EID:Slt": "56:1", "State": "Onln", "DG": 3, "Size": "7.276 TB"},
		{"EID:Slt": "56:2", "State": "Onln", "DG": 3, "Size": "7.276 TB"}],
		"VD2 Properties": {"Strip Size": "128 KB", "Number of Blocks": 31248613376, "Span Depth": 1,
		"Number of Drives Per Span": 3, "SCSI NAA Id": "600600b0000000000000000000000001"}}}]}`)
	require.Equal(t, 1, inv.Volumes[0].Missing)
	require.Equal(t, []raid.DiskID{"56:1", "56:2"}, inv.Volumes[0].Members)
}

func TestSeveralAnswersInOneFileAreAllRead(t *testing.T) {
	const first = `{"Controllers": [{"Command Status": {"Controller": 0, "Status": "Success"}, "Response Data":
		{"Product Name": "LAB} 9361", "PD LIST": [{"EID:Slt": "8:0", "State": "UGood", "DG": "-", "Size": "1.0 TB"}]}}]}`
	const second = `{ "Controllers":[{"Command Status": {"Controller": 1, "Status": "Success"}, "Response Data":
		{"PD LIST": [{"EID:Slt": "9:1", "State": "JBOD", "DG": "-", "Size": "1.0 TB"}]}}]}`
	all, err := Parse([]byte("Generating detailed summary {of} the adapter\n" + first +
		"\n[root@lab ~]# storcli64 /c1 show J\n" + second + "\n[root@lab ~]# storcli2 /c0/eall/sall show\n" +
		generation8Text))
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "LAB} 9361", all[0].Controller.Model)
	require.Equal(t, []raid.DiskID{"8:0", "308:0", "308:12", "308:20"}, ids(all[0]))
	require.Equal(t, []raid.DiskID{"9:1"}, ids(all[1]))

	_, err = Parse([]byte(first + "\n" + second[:len(second)-40]))
	require.ErrorContains(t, err, "JSON cannot be read")
}
