package arcconf_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/arcconf"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write golden files")

func read(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return text
}

// states of all drives, by channel and device.
func states(inv *raid.Inventory) string {
	var all []string
	for _, d := range inv.Disks {
		all = append(all, string(d.ID)+" "+d.State.Raw)
	}
	return strings.Join(all, "; ")
}

func TestCapturesAreWhatTheManifestSays(t *testing.T) {
	dir := filepath.Join(raidtest.Captures(t), "arcconf")
	for file, check := range map[string]func(*testing.T, *raid.Inventory){
		"pyarc_3x_ld.txt": func(t *testing.T, inv *raid.Inventory) {
			require.Len(t, inv.Volumes, 2)
			one, ten := inv.Volumes[0], inv.Volumes[1]
			assert.Equal(t, raid.VolumeID("0"), one.ID)
			assert.Equal(t, raid.Level1, one.Level.Is)
			assert.Equal(t, int64(11364320)<<20, one.Bytes)
			assert.Equal(t, "RAID1", one.Name)
			assert.Equal(t, "/dev/sdb", one.Path)
			assert.Equal(t, raid.VolumeID("1"), ten.ID)
			assert.Equal(t, raid.Level10, ten.Level.Is)
			assert.Equal(t, 2, ten.Spans)
			assert.Equal(t, int64(22728640)<<20, ten.Bytes)
			assert.Equal(t, "RAID10", ten.Name)
			assert.Equal(t, "/dev/sdc", ten.Path)
			assert.Len(t, one.Members, 2)
			assert.Len(t, ten.Members, 4)
		},
		"pyarc_3x_pd.txt": func(t *testing.T, inv *raid.Inventory) {
			assert.Equal(t, "0,8 Online; 0,9 Online; 0,10 Ready; 0,11 Online; 0,12 Online; 0,13 Online; 0,14 Online; "+
				"0,15 Ready", states(inv))
			assert.Equal(t, []int{4096, 4096}, []int{inv.Disks[0].LogicalSector, inv.Disks[0].PhysicalSector})
			assert.Equal(t, []int{512, 4096}, []int{inv.Disks[2].LogicalSector, inv.Disks[2].PhysicalSector})
		},
		"pyarc_3204_unconfigured.txt": func(t *testing.T, inv *raid.Inventory) {
			assert.Equal(t, "Adaptec SmartRAID 3204-8i", inv.Controller.Model)
			assert.Equal(t, raid.ModeMixed, inv.Controller.Mode)
			assert.Equal(t, raid.ControllerID("0000:60:00.0"), inv.Controller.ID)
			assert.Equal(t, "10", inv.Controller.Slot)
			assert.Equal(t, "03.01.02.042", inv.Controller.Firmware)
			assert.Len(t, inv.Disks, 8)
			assert.Empty(t, inv.Volumes)
		},
		"pyarc_no_ld.txt": func(t *testing.T, inv *raid.Inventory) {
			assert.Empty(t, inv.Volumes)
			assert.Empty(t, inv.Disks)
		},
		"pyarc_hba1100.txt": func(t *testing.T, inv *raid.Inventory) {
			assert.Equal(t, "MSCC Adaptec HBA 1100-16i", inv.Controller.Model)
			assert.Equal(t, raid.ModeHBA, inv.Controller.Mode)
			assert.Equal(t, raid.ControllerID("0000:d9:00.0"), inv.Controller.ID)
			assert.Len(t, inv.Disks, 7)
			for _, d := range inv.Disks {
				assert.Equal(t, raid.DiskState{Is: raid.DiskJBOD, Raw: "Raw (Pass Through)"}, d.State)
				assert.Equal(t, hw.SSD, d.Medium)
			}
		},
		"pyarc_list.txt": func(t *testing.T, inv *raid.Inventory) {
			assert.Equal(t, "1", inv.Controller.ToolID, "ids start at 1")
			assert.Equal(t, "Adaptec SmartRAID 3204-8i", inv.Controller.Model)
			assert.Equal(t, "10", inv.Controller.Slot)
			assert.Equal(t, raid.ModeMixed, inv.Controller.Mode)
			assert.Equal(t, "1A32345456BA", inv.Controller.Serial)
		},
		"pyarc_8k_impacted.txt": func(t *testing.T, inv *raid.Inventory) {
			require.Len(t, inv.Volumes, 1)
			assert.Equal(t, raid.Level5, inv.Volumes[0].Level.Is)
			assert.Equal(t, "Impacted", inv.Volumes[0].State.Raw)
			assert.Equal(t, raid.VolumeDegraded, inv.Volumes[0].State.Is)
			assert.Equal(t, []raid.DiskID{"0,0", "0,1", "0,2"}, inv.Volumes[0].Members)
			assert.Len(t, inv.Disks, 3, "the enclosure is none")
		},
	} {
		t.Run(file, func(t *testing.T) {
			all, err := arcconf.Parse(read(t, filepath.Join(dir, file)))
			require.NoError(t, err)
			require.Len(t, all, 1)
			check(t, all[0])
		})
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	assert.Len(t, files, 7, "a capture that no fact is stated of")

	t.Run("one controller listed and told of is one", func(t *testing.T) {
		all, err := arcconf.Parse(read(t, filepath.Join(dir, "pyarc_list.txt")),
			read(t, filepath.Join(dir, "pyarc_3204_unconfigured.txt")), read(t, filepath.Join(dir, "pyarc_no_ld.txt")))
		require.NoError(t, err)
		require.Len(t, all, 1)
		assert.Len(t, all[0].Disks, 8)
		assert.Equal(t, "15234F3002555BA", all[0].Controller.Serial)
	})
	t.Run("volumes find their drives in another output", func(t *testing.T) {
		all, err := arcconf.Parse(read(t, filepath.Join(dir, "pyarc_3x_ld.txt")),
			read(t, filepath.Join(dir, "pyarc_3x_pd.txt")))
		require.NoError(t, err)
		require.Len(t, all, 1)
		assert.Len(t, all[0].Disks, 8)
		assert.Equal(t, []raid.DiskID{"0,8", "0,9"}, all[0].Volumes[0].Members)
		assert.Equal(t, []raid.DiskID{"0,11", "0,13", "0,12", "0,14"}, all[0].Volumes[1].Members)
		assert.Len(t, all[0].Warnings, 3, "three serial numbers were made unreadable differently")
	})
}

func TestOutputsBecomeTheseInventories(t *testing.T) {
	for name, files := range map[string][]string{"smartraid": {"smartraid.txt"},
		"series8": {"series8.txt", "series8-status.txt"}} {
		t.Run(name, func(t *testing.T) {
			var outputs [][]byte
			for _, file := range files {
				outputs = append(outputs, read(t, filepath.Join("testdata", file)))
			}
			all, err := arcconf.Parse(outputs...)
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

func TestTheCaseOfLabelsAndTheBlanksAroundThemDoNotMatter(t *testing.T) {
	plain := read(t, filepath.Join("testdata", "series8.txt"))
	want, err := arcconf.Parse(plain)
	require.NoError(t, err)
	other := bytes.ReplaceAll(plain, []byte("Logical device number"), []byte("Logical Drive number"))
	other = bytes.ReplaceAll(other, []byte("Status of logical device"), []byte("Status of Logical Device"))
	other = bytes.ReplaceAll(other, []byte("Logical device name"), []byte("Logical Device Name"))
	other = bytes.ReplaceAll(other, []byte("Logical device information"), []byte("Logical drive information"))
	other = bytes.ReplaceAll(other, []byte("Reported Channel,Device(T:L)"), []byte("Reported Channel,Device"))
	other = bytes.ReplaceAll(other, []byte("\n   "), []byte("\n"))
	other = bytes.ReplaceAll(other, []byte("\n"), []byte("\r\n"))
	got, err := arcconf.Parse(other)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestPartsOfOneControllerArePutTogether(t *testing.T) {
	whole := string(read(t, filepath.Join("testdata", "smartraid.txt")))
	want, err := arcconf.Parse([]byte(whole))
	require.NoError(t, err)
	var outputs [][]byte
	ruler := "\n" + strings.Repeat("-", 70) + "\n"
	body, _ := strings.CutPrefix(whole, "Controllers found: 1")
	for _, title := range []string{"Array Information", "Logical device information", "Physical Device information"} {
		before, after, ok := strings.Cut(body, ruler+title)
		require.True(t, ok)
		outputs = append(outputs, []byte("Controllers found: 1"+before+"\n\nCommand completed successfully.\n"))
		body = ruler + title + after
	}
	outputs = append(outputs, []byte("Controllers found: 1"+body))
	got, err := arcconf.Parse(outputs...)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestNoControllerIsNoError(t *testing.T) {
	all, err := arcconf.Parse([]byte("Controllers found: 0\n\nCommand completed successfully.\n"))
	require.NoError(t, err)
	assert.Empty(t, all)

	_, err = arcconf.Parse([]byte("Controllers found: 1\n\nInvalid controller number.\n\nCommand aborted.\n"))
	var refused *arcconf.ToolError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "Invalid controller number. Command aborted.", refused.Message)
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"smartraid.txt", "series8.txt", "series8-status.txt"} {
		f.Add(read(f, filepath.Join("testdata", name)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := arcconf.Parse(text)
		if err != nil {
			return
		}
		valid := strings.ToValidUTF8(string(text), "\uFFFD")
		for _, inv := range all {
			for i, d := range inv.Disks {
				channel, device, _ := strings.Cut(string(d.ID), ",")
				if !strings.Contains(valid, strings.TrimPrefix(channel, "serial:")) || !strings.Contains(valid, device) {
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
