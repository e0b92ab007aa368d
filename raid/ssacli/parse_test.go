package ssacli_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/ssacli"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write golden files")

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return text
}

// diskFacts says of each drive what most captures are about.
func diskFacts(inv *raid.Inventory) []string {
	var facts []string
	for _, d := range inv.Disks {
		facts = append(facts, strings.Join([]string{string(d.ID), string(d.Bus), string(d.Medium), gb(d.Bytes, 1000),
			d.State.String(), d.Serial}, " "))
	}
	return facts
}

func gb(n int64, base int64) string {
	b := float64(base)
	return strconv.FormatFloat(math.Round(float64(n)/(b*b*b)*10)/10, 'f', -1, 64)
}

func TestCapturesAreWhatTheManifestSays(t *testing.T) {
	dir := filepath.Join(raidtest.Captures(t), "ssacli")
	for file, check := range map[string]func(*testing.T, []*raid.Inventory, error){
		"mox_h240ar_repeated_header.txt": func(t *testing.T, all []*raid.Inventory, err error) {
			require.NoError(t, err)
			require.Len(t, all, 1, "1 controller, not 13")
			inv := all[0]
			assert.Equal(t, "Smart HBA H240ar", inv.Controller.Model)
			assert.Equal(t, "0", inv.Controller.Slot)
			assert.Equal(t, "PDNLN0BRH8O054", inv.Controller.Serial, "not the cage's")
			assert.Equal(t, raid.ModeRAID, inv.Controller.Mode)
			require.Len(t, inv.Disks, 12)
			for _, d := range inv.Disks {
				assert.Equal(t, "ata 4000700000000 true", strings.Join([]string{string(d.Bus),
					jsonText(t, d.Bytes), jsonText(t, d.Rounded)}, " "))
				assert.Equal(t, raid.DiskOnline, d.State.Is)
			}
			assert.Equal(t, "1I:1:2", inv.Disks[1].Location)
			assert.Equal(t, "1I:1:12", inv.Disks[11].Location)
			require.Len(t, inv.Volumes, 1)
			v := inv.Volumes[0]
			assert.Equal(t, raid.VolumeID("1"), v.ID)
			assert.Equal(t, "21.8", gb(v.Bytes/1024, 1024), "TB, binary")
			assert.Equal(t, raid.Level10, v.Level.Is)
			assert.Equal(t, 6, v.Spans)
			assert.Len(t, v.Members, 12)
			assert.Equal(t, "/dev/sda", v.Path, "the next field stands on the same line")
		},
		"mox_unassigned.txt": func(t *testing.T, all []*raid.Inventory, err error) {
			require.NoError(t, err)
			require.Len(t, all, 1)
			require.Len(t, all[0].Volumes, 1)
			v := all[0].Volumes[0]
			assert.Equal(t, "A", v.Group)
			assert.Equal(t, raid.Level1, v.Level.Is)
			assert.Equal(t, "279.4", gb(v.Bytes+1<<20, 1024))
			assert.Equal(t, []string{"1I:1:1 sas hdd 300 online JTYA9PEM", "1I:1:2 sas hdd 300 online JTYBTR2J",
				"1I:1:3 sas hdd 300 ready JTYBZM7J", "1I:1:4 sas hdd 300 ready JTYBMM8J"}, diskFacts(all[0]))
		},
		"mox_p420_r10.txt": func(t *testing.T, all []*raid.Inventory, err error) {
			require.NoError(t, err)
			require.Len(t, all, 1)
			inv := all[0]
			assert.Equal(t, "Smart Array P420", inv.Controller.Model)
			assert.Equal(t, "2", inv.Controller.Slot)
			assert.Equal(t, raid.ControllerID("0000:04:00.0"), inv.Controller.ID)
			require.Len(t, inv.Volumes, 1)
			v := inv.Volumes[0]
			assert.Equal(t, raid.LevelState{Is: raid.Level10, Raw: "1+0"}, v.Level)
			assert.InDelta(t, 1.6*(1<<40), v.Bytes, 1)
			assert.Equal(t, "naa.600508b1001c1bd85f342b5b6bdc3c2c", v.WWN)
			assert.Equal(t, false, *v.Boot)
			require.Len(t, inv.Disks, 4)
			for _, d := range inv.Disks {
				assert.Equal(t, int64(900100000000), d.Bytes)
			}
		},
		"mox_ctrl_all_2.txt": func(t *testing.T, all []*raid.Inventory, err error) {
			require.NoError(t, err)
			require.Len(t, all, 2)
			assert.Equal(t, "0", all[0].Controller.Slot)
			assert.Equal(t, "Dynamic Smart Array B120i RAID", all[0].Controller.Model)
			assert.Empty(t, all[0].Controller.Serial)
			assert.Equal(t, "1", all[1].Controller.Slot)
			assert.Equal(t, "Smart Array P420i", all[1].Controller.Model)
			assert.Equal(t, "PCFBB0HLM7S0LW", all[1].Controller.Serial)
		},
		"prol_erase_in_progress.txt": func(t *testing.T, all []*raid.Inventory, err error) {
			require.NoError(t, err)
			require.Len(t, all[0].Disks, 1)
			assert.Equal(t, raid.DiskID("1I:2:1"), all[0].Disks[0].ID)
			assert.Equal(t, raid.DiskState{Is: raid.DiskErasing, Raw: "Erase In Progress"}, all[0].Disks[0].State)
		},
		"prol_erase_complete.txt": func(t *testing.T, all []*raid.Inventory, err error) {
			require.NoError(t, err)
			require.Len(t, all[0].Disks, 1)
			assert.Equal(t, raid.DiskState{Is: raid.DiskBad, Raw: "Erase Complete. Reenable Before Using."},
				all[0].Disks[0].State)
		},
		"prol_two_ld.txt": func(t *testing.T, all []*raid.Inventory, err error) {
			require.NoError(t, err)
			require.Len(t, all, 1)
			require.Len(t, all[0].Volumes, 2)
			a, b := all[0].Volumes[0], all[0].Volumes[1]
			assert.Equal(t, "A", a.Group)
			assert.Equal(t, raid.Level5, a.Level.Is)
			assert.Equal(t, int64(100)<<30, a.Bytes)
			assert.Equal(t, "B", b.Group)
			assert.Equal(t, raid.Level1, b.Level.Is)
			assert.Equal(t, int64(50)<<30, b.Bytes)
			assert.Equal(t, []string{"5I:1:1 sas hdd 500 online 6SL7G55D0000N4173JLT",
				"5I:1:2 sas hdd 500 online 6SL7H2DM0000B41800Y0", "5I:1:3 sas hdd 400 online 6SL7G4ZN0000B41707PD",
				"5I:1:4 sas hdd 400 online 6SL7H27F0000B41800S0", "6I:1:5 sas hdd 400 online 6SL7H2BR0000B41800V8",
				"6I:1:6 sas hdd 600 ready 6SL7G4WD0000N4180GEJ", "6I:1:7 sas hdd 600 ready 6SL7G54Q0000N4180W34"},
				diskFacts(all[0]))
		},
		"prol_raid_invalid.txt": func(t *testing.T, all []*raid.Inventory, err error) {
			assert.Empty(t, all)
			var refused *ssacli.ToolError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, `"raid=1" is not a valid option for array A`, refused.Message)
			assert.Equal(t, []string{"0", "1adm", "5"}, refused.Options)
		},
	} {
		t.Run(file, func(t *testing.T) {
			all, err := ssacli.Parse(read(t, filepath.Join(dir, file)))
			check(t, all, err)
		})
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	assert.Len(t, files, 8, "a capture that no fact is stated of")
}

func jsonText(t *testing.T, v any) string {
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

func TestOutputsBecomeTheseInventories(t *testing.T) {
	for _, name := range []string{"gen10", "summary"} {
		t.Run(name, func(t *testing.T) {
			all, err := ssacli.Parse(read(t, filepath.Join("testdata", name+".txt")))
			require.NoError(t, err)
			got, err := json.MarshalIndent(all, "", "  ")
			require.NoError(t, err)
			golden := filepath.Join("testdata", name+".json")
			if *update {
				require.NoError(t, os.WriteFile(golden, append(got, '\n'), 0o644))
			}
			assert.Equal(t, string(read(t, golden)), string(got)+"\n")
		})
	}
}

func TestRepeatedControllerNamesChangeNothing(t *testing.T) {
	plain := read(t, filepath.Join("testdata", "gen10.txt"))
	want, err := ssacli.Parse(plain)
	require.NoError(t, err)
	repeated := bytes.ReplaceAll(plain, []byte("      physicaldrive"),
		[]byte("HPE Smart Array P408i-a SR Gen10 in Slot 0 (Embedded)\n      physicaldrive"))
	got, err := ssacli.Parse(repeated)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestTextWithoutIndentationIsUnderstood(t *testing.T) {
	plain := read(t, filepath.Join("testdata", "gen10.txt"))
	want, err := ssacli.Parse(plain)
	require.NoError(t, err)
	var flat bytes.Buffer
	for line := range bytes.Lines(plain) {
		flat.WriteString(strings.TrimSpace(string(line)) + "\r\n")
	}
	got, err := ssacli.Parse(flat.Bytes())
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestSeveralOutputsOfOneControllerArePutTogether(t *testing.T) {
	list := []byte("\nSmart Array P420i in Slot 1               (sn: TESTSN1)\n")
	volumes := []byte("\nSmart Array P420i in Slot 1\n\n   array A\n\n      Logical Drive: 1\n         Size: 1.0 TB\n" +
		"         Fault Tolerance: 0\n         Status: OK\n")
	drives := []byte("\nSmart Array P420i in Slot 1\n\n   array A\n\n      physicaldrive 1I:1:1\n         Status: OK\n" +
		"         Drive Type: Data Drive\n         Size: 1 TB\n         Interface Type: SATA\n")
	all, err := ssacli.Parse(list, volumes, drives)
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Equal(t, "TESTSN1", all[0].Controller.Serial)
	require.Len(t, all[0].Volumes, 1)
	assert.Equal(t, []raid.DiskID{"1I:1:1"}, all[0].Volumes[0].Members)
	assert.Equal(t, raid.DiskOnline, all[0].Disks[0].State.Is)
}

func TestNoControllerAndNoVolumeAreNoErrors(t *testing.T) {
	for _, text := range []string{
		"\nError: No controllers detected. Possible causes:\n\n        - The driver for the controller is not loaded.\n",
		"\nError: The specified device does not have any logical drives.\n",
	} {
		all, err := ssacli.Parse([]byte(text))
		assert.NoError(t, err)
		assert.Empty(t, all)
	}
	_, err := ssacli.Parse([]byte("bash: ssacli: command not found\n"))
	assert.ErrorContains(t, err, "ctrl all show config detail")
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"gen10.txt", "summary.txt"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte("Error: x\n\nAvailable options are:\n 0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := ssacli.Parse(text)
		if err != nil {
			return
		}
		valid := strings.ToValidUTF8(string(text), "\uFFFD")
		for _, inv := range all {
			for i, d := range inv.Disks {
				if !strings.Contains(valid, "physicaldrive "+string(d.ID)) {
					t.Fatalf("drive %q is made up", d.ID)
				}
				if slices.ContainsFunc(inv.Disks[:i], func(o raid.PhysicalDisk) bool { return o.ID == d.ID }) {
					t.Fatalf("drive %q is there twice", d.ID)
				}
			}
			for _, v := range inv.Volumes {
				for _, m := range append(slices.Clone(v.Members), v.Spares...) {
					if !slices.ContainsFunc(inv.Disks, func(d raid.PhysicalDisk) bool { return d.ID == m }) {
						t.Fatalf("member %q is no drive", m)
					}
				}
			}
		}
	})
}

func TestTheNameOfAPortIsNotTheNameOfTheSATADriveThere(t *testing.T) {
	text := "Smart Array P840 in Slot 1\n\n   Unassigned\n\n      physicaldrive 1I:1:1\n         Status: OK\n" +
		"         Interface Type: Solid State SATA\n         Size: 500 GB\n         WWID: 51402EC001CBE440\n" +
		"         Model: ATA     LABSSD500\n\n" +
		"      physicaldrive 1I:1:2\n         Status: OK\n         Interface Type: SAS\n         Size: 300 GB\n" +
		"         WWID: 5000C50012345678\n         Model: HP      LABHDD300\n"
	all, err := ssacli.Parse([]byte(text))
	require.NoError(t, err)
	assert.Empty(t, all[0].Disks[0].WWN)
	assert.Equal(t, "naa.5000c50012345678", all[0].Disks[1].WWN)
}
