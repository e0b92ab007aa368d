package storcli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

func tera(n float64) int64 { return int64(n * (1 << 40)) }
func giga(n float64) int64 { return int64(n * (1 << 30)) }

func TestCapturesOfRealToolsSayWhatTheirManifestSays(t *testing.T) {
	dir := raidtest.Captures(t)
	read := func(t *testing.T, name string) []byte {
		out, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return out
	}
	parse := func(t *testing.T, name string) []*raid.Inventory {
		all, err := Parse(read(t, name))
		require.NoError(t, err)
		return all
	}
	only := func(t *testing.T, name string) *raid.Inventory {
		all := parse(t, name)
		require.Len(t, all, 1)
		return all[0]
	}
	replies := func(t *testing.T, name string) []reply {
		all, err := readReplies(read(t, name))
		require.NoError(t, err)
		return all
	}
	disk := func(t *testing.T, inv *raid.Inventory, id raid.DiskID) raid.PhysicalDisk {
		for _, d := range inv.Disks {
			if d.ID == id {
				return d
			}
		}
		require.Fail(t, "no drive "+string(id))
		return raid.PhysicalDisk{}
	}
	states := func(inv *raid.Inventory) map[string]int {
		n := map[string]int{}
		for _, d := range inv.Disks {
			n[d.State.Raw]++
		}
		return n
	}
	// near: rounded to the digits that the tool printed.
	near := func(t *testing.T, want int64, v raid.VirtualDisk) {
		require.True(t, v.Rounded)
		require.InDelta(t, want, v.Bytes, 1<<20)
	}
	tests := map[string]func(t *testing.T, name string){
		"storcli/puppet_call_show_3ctrl.json": func(t *testing.T, name string) {
			all := parse(t, name)
			require.Len(t, all, 3)
			for i, inv := range all[:2] {
				require.Equal(t, "AVAGO 3108 MegaRAID", inv.Controller.Model)
				require.Equal(t, map[string]int{"Onln": 18}, states(inv))
				for _, d := range inv.Disks {
					require.Equal(t, hw.SSD, d.Medium)
					require.InDelta(t, tera(3.492), d.Bytes, 1<<20)
				}
				require.Equal(t, raid.VolumeID("0"), inv.Volumes[0].ID)
				require.Equal(t, raid.Level6, inv.Volumes[0].Level.Is)
				require.Equal(t, []string{"storage1", "storage2"}[i], inv.Volumes[0].Name)
				near(t, tera(55.881), inv.Volumes[0])
			}
			require.Len(t, all[0].Volumes, 1)
			require.Equal(t, raid.ControllerID("0000:3b:00.0"), all[0].Controller.ID)
			require.Len(t, all[1].Volumes, 2)
			require.Equal(t, raid.VolumeID("234"), all[1].Volumes[1].ID)
			require.Equal(t, "0", all[1].Volumes[1].Group)
			require.Equal(t, raid.Level1, all[1].Volumes[1].Level.Is)
			require.Equal(t, "OS", all[1].Volumes[1].Name)
			near(t, giga(893.750), all[1].Volumes[1])
			require.Equal(t, "LSI3008-IR", all[2].Controller.Model)
			require.Empty(t, all[2].Volumes)
			require.Equal(t, map[string]int{"-": 2, "UGood": 1}, states(all[2]))
			require.Equal(t, []raid.DiskID{":0", ":1", ":2"}, ids(all[2]))
		},
		"storcli/puppet_call_show_cc_mixed_status.json": func(t *testing.T, name string) {
			all := replies(t, name)
			require.Len(t, all, 3)
			require.False(t, all[0].failed())
			require.False(t, all[1].failed())
			require.True(t, all[2].failed())
			require.Equal(t, []string{"Un-supported Command"}, all[2].words())
			require.Equal(t, 2, all[2].controller)
		},
		"storcli/pystorcli_errcd59_incomplete_foreign.json": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Contains(t, inv.Warnings, "Incomplete foreign configuration (59)")
			require.Contains(t, inv.Controller.Model, "RS3DC080")
			require.Equal(t, raid.VolumeID("1"), inv.Volumes[0].ID)
			require.Equal(t, "2", inv.Volumes[0].Group)
			require.Equal(t, raid.Level0, inv.Volumes[0].Level.Is)
			near(t, tera(43.655), inv.Volumes[0])
			require.Equal(t, map[string]int{"UGood": 12}, states(inv))
			require.Equal(t, []raid.Foreign{{Incomplete: true}}, inv.Foreign)
		},
		"storcli/pystorcli_foreign_raid60.json": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Equal(t, []raid.Foreign{{ID: "0", Level: raid.LevelState{Is: raid.Level60, Raw: "RAID60"}}}, inv.Foreign)
		},
		"storcli/pystorcli_foreign_incomplete.json": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Equal(t, []raid.Foreign{{Incomplete: true}}, inv.Foreign)
			require.Contains(t, strings.Join(inv.Warnings, "\n"), "15 drives carry a foreign configuration")
		},
		"storcli/pystorcli_del_ok.json": func(t *testing.T, name string) {
			require.Empty(t, replies(t, name)[0].words())
			require.Equal(t, "Delete VD succeeded", replies(t, name)[0].description)
			require.Nil(t, replies(t, name)[0].data)
		},
		"storcli/pystorcli_add_ok.json": func(t *testing.T, name string) {
			require.Empty(t, replies(t, name)[0].words())
			require.Equal(t, "Add VD Succeeded.", replies(t, name)[0].description)
			require.Empty(t, only(t, name).Volumes)
		},
		"storcli/pystorcli_drive_offln.json": func(t *testing.T, name string) {
			d := disk(t, only(t, name), "35:12")
			require.Equal(t, raid.DiskState{Is: raid.DiskOffline, Raw: "Offln"}, d.State)
			require.Equal(t, hw.BusSAS, d.Bus)
			require.Equal(t, hw.HDD, d.Medium)
			require.InDelta(t, tera(3.637), d.Bytes, 1<<20)
		},
		"storcli/sdflex_vall_r10.json": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Len(t, inv.Volumes, 1)
			v := inv.Volumes[0]
			require.Equal(t, raid.VolumeID("0"), v.ID)
			require.Equal(t, raid.Level10, v.Level.Is)
			require.Equal(t, raid.VolumeOptimal, v.State.Is)
			require.Equal(t, 2, v.Spans)
			require.Equal(t, hw.Size(256<<10), v.Strip)
			require.Equal(t, int64(107374182400), v.Bytes)
			require.False(t, v.Rounded)
			require.Equal(t, "naa.600605b00cb1675024ef50150f64bf30", v.WWN)
			require.Equal(t, raid.Policies{Read: raid.ReadAhead, Write: raid.WriteBack, IO: raid.IODirect}, v.Current)
			require.Equal(t, []raid.DiskID{"252:0", "252:1", "252:2", "252:3"}, v.Members)
			require.Equal(t, hw.HDD, disk(t, inv, "252:2").Medium)
			require.Equal(t, hw.SSD, disk(t, inv, "252:3").Medium)
			require.InDelta(t, giga(465.25), disk(t, inv, "252:2").Bytes, 1<<20)
			require.InDelta(t, giga(111.281), disk(t, inv, "252:0").Bytes, 1<<20)
		},
		"storcli/sdflex_vall_r5.json": func(t *testing.T, name string) {
			v := only(t, name).Volumes[0]
			require.Equal(t, raid.VolumeID("0"), v.ID)
			require.Equal(t, raid.Level5, v.Level.Is)
			require.Equal(t, int64(60<<30), v.Bytes)
			require.Equal(t, raid.VolumeOptimal, v.State.Is)
		},
		"storcli/sdflex_vall_none.json": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Empty(t, inv.Volumes)
			require.Empty(t, inv.Warnings)
			require.Equal(t, "No VDs have been configured", replies(t, name)[0].description)
		},
		"storcli/sdflex_erase_39pct.json": func(t *testing.T, name string) {
			d := disk(t, only(t, name), "252:0")
			require.Equal(t, raid.DiskErasing, d.State.Is)
			require.Equal(t, &raid.Progress{What: "erase", Fraction: 0.39}, d.Progress)
		},
		"storcli/sdflex_freespace.json": func(t *testing.T, name string) {
			free, err := ParseFreeSpace(read(t, name))
			require.NoError(t, err)
			require.Equal(t, []FreeSpace{{Group: 0, After: 0, Bytes: size("172.562 GB", false)}}, free)
		},
		"storcli/sdflex_personality_raid.json": func(t *testing.T, name string) {
			require.Equal(t, raid.ModeRAID, only(t, name).Controller.Mode)
			require.Contains(t, only(t, name).Controller.Capabilities.Modes, raid.ModeJBOD)
		},
		"storcli/sdflex_personality_jbod.json": func(t *testing.T, name string) {
			require.Equal(t, raid.ModeJBOD, only(t, name).Controller.Mode)
			require.Contains(t, only(t, name).Controller.Capabilities.Modes, raid.ModeRAID)
		},
		"storcli/ironlib_lsi3008it_show.json": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Equal(t, "LSI3008-IT", inv.Controller.Model)
			require.Equal(t, raid.ControllerID("0000:3d:00.0"), inv.Controller.ID)
			require.Equal(t, raid.ModeHBA, inv.Controller.Mode)
			require.Equal(t, map[string]int{"UGood": 12}, states(inv))
			require.Equal(t, raid.DiskJBOD, inv.Disks[0].State.Is)
			require.Empty(t, inv.Volumes)
			require.Empty(t, inv.Controller.Capabilities.Levels)
		},
		"storcli/ironlib_nocontrollers.json": func(t *testing.T, name string) { require.Empty(t, parse(t, name)) },
		"storcli/mtik_text_3ctrl_ok.txt": func(t *testing.T, name string) {
			all := parse(t, name)
			require.Len(t, all, 3)
			require.Contains(t, all[0].Controller.Model, "9286CV-8e")
			require.Empty(t, all[0].Disks)
			require.Empty(t, all[0].Volumes)
			require.Contains(t, all[1].Controller.Model, "9240-8i")
			require.Equal(t, map[string]int{"Onln": 2, "UGood": 6}, states(all[1]))
			require.Equal(t, raid.Level1, all[1].Volumes[0].Level.Is)
			require.Equal(t, raid.Policies{Read: raid.ReadNone, Write: raid.WriteThrough, IO: raid.IODirect},
				all[1].Volumes[0].Current)
			near(t, giga(465.25), all[1].Volumes[0])
			require.Contains(t, all[2].Controller.Model, "9286CV-8e")
			require.Equal(t, map[string]int{"Onln": 8, "UGood": 4}, states(all[2]))
			v := all[2].Volumes[0]
			require.Equal(t, raid.VolumeID("0"), v.ID)
			require.Equal(t, raid.Level10, v.Level.Is)
			require.Len(t, v.Members, 8)
			require.Equal(t, 4, v.Spans)
			near(t, giga(100), v)
		},
		"storcli/mtik_text_c2_offline.txt": func(t *testing.T, name string) {
			inv := parse(t, name)[2]
			require.Equal(t, raid.VolumeState{Is: raid.VolumeOffline, Raw: "OfLn"}, inv.Volumes[0].State)
			for _, id := range []raid.DiskID{"88:9", "88:2"} {
				require.Equal(t, raid.DiskState{Is: raid.DiskOffline, Raw: "Offln"}, disk(t, inv, id).State)
			}
		},
		"storcli/mtik_text_m5110e_status_failure.txt": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Contains(t, inv.Warnings, "command invalid (2)")
			require.Equal(t, map[string]int{"Onln": 16}, states(inv))
			require.Len(t, inv.Volumes, 2)
			require.Equal(t, raid.Level1, inv.Volumes[0].Level.Is)
			near(t, giga(278.464), inv.Volumes[0])
			require.Equal(t, raid.VolumeID("1"), inv.Volumes[1].ID)
			require.Equal(t, raid.Level10, inv.Volumes[1].Level.Is)
			near(t, tera(1.903), inv.Volumes[1])
			require.Equal(t, 7, inv.Volumes[1].Spans)
			require.Len(t, inv.Volumes[1].Members, 14)
			require.Equal(t, raid.VolumeOptimal, inv.Volumes[1].State.Is)
		},
		"storcli/mtik_text_m5110e_degraded_EDITED.txt": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Equal(t, raid.VolumeDegraded, inv.Volumes[1].State.Is)
			require.Equal(t, raid.DiskOffline, disk(t, inv, "24:10").State.Is)
		},
		"storcli/mtik_text_n2226_blank_eid.txt": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Equal(t, 1, replies(t, name)[0].controller)
			require.Equal(t, []raid.DiskID{":0", ":1", ":2", ":3", ":4", ":5", ":6", ":7", ":8", ":9", ":10", ":11"}, ids(inv))
			require.Equal(t, map[string]int{"UGood": 12}, states(inv))
			for _, d := range inv.Disks {
				require.Equal(t, int64(0x2baa0f4af*512), d.Bytes)
				require.False(t, d.Rounded)
				require.Equal(t, hw.BusSAS, d.Bus)
				require.NotEmpty(t, d.Serial)
				require.NotEmpty(t, d.WWN)
			}
			require.Empty(t, inv.Volumes)
		},
		"storcli/mtik_text_9361_blank_eid.txt": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Contains(t, inv.Controller.Model, "9361-8i")
			require.Len(t, inv.Disks, 16)
			require.Equal(t, raid.DiskID(":25"), inv.Disks[0].ID)
			require.Equal(t, raid.DiskID(":40"), inv.Disks[15].ID)
			require.Equal(t, map[string]int{"Onln": 2, "UGood": 14}, states(inv))
			require.Equal(t, "OS", inv.Volumes[0].Name)
			require.Equal(t, raid.Level1, inv.Volumes[0].Level.Is)
			near(t, giga(476.375), inv.Volumes[0])
			require.ElementsMatch(t, []raid.DiskID{":25", ":26"}, inv.Volumes[0].Members)
			for _, d := range inv.Disks {
				require.Equal(t, "Samsung SSD 850 PRO 512GB", d.Model)
				require.InDelta(t, giga(476.437), d.Bytes, 1<<20)
			}
		},
		"storcli/textfile_ep420i_show_all.json": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Equal(t, "PRAID EP420i", inv.Controller.Model)
			require.Equal(t, raid.VolumeID("0"), inv.Volumes[0].ID)
			require.Equal(t, raid.Level6, inv.Volumes[0].Level.Is)
			require.Equal(t, raid.VolumeOptimal, inv.Volumes[0].State.Is)
			require.Equal(t, raid.WriteBack, inv.Volumes[0].Current.Write)
			near(t, tera(1.745), inv.Volumes[0])
			require.Equal(t, []raid.DiskID{"252:0", "252:1", "252:4", "252:5"}, ids(inv))
			require.Equal(t, map[string]int{"Onln": 4}, states(inv))
			require.Equal(t, hw.SSD, inv.Disks[0].Medium)
			require.Equal(t, raid.BatteryGood, inv.Controller.Cache.Battery.Is)
			require.Equal(t, int64(2<<30), inv.Controller.Cache.Bytes)
			require.Equal(t, 64, inv.Controller.Capabilities.MaxVolumes)
		},
		"perccli/lt_h730p_show.json": func(t *testing.T, name string) {
			require.Equal(t, "PERCH730PAdapter", only(t, name).Controller.Model)
		},
		"perccli/lt_h730p_vall_show.json": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Len(t, inv.Volumes, 6)
			for i, v := range inv.Volumes {
				require.Equal(t, []raid.VolumeID{"0", "1", "2", "3", "4", "5"}[i], v.ID)
				require.Equal(t, []raid.Level{"1", "0", "0", "0", "0", "5"}[i], v.Level.Is)
				near(t, []int64{giga(446.625), tera(3.637), tera(3.637), tera(3.637), tera(3.637), tera(7.276)}[i], v)
				require.Equal(t, raid.VolumeOptimal, v.State.Is)
				require.Equal(t, raid.WriteBack, v.Current.Write)
			}
		},
		"perccli/lt_h730p_vall_show_all.json": func(t *testing.T, name string) {
			inv := only(t, name)
			require.Len(t, inv.Volumes, 6)
			require.Len(t, inv.Disks, 9)
			require.Equal(t, []raid.DiskID{"32:6", "32:7", "32:8"}, inv.Volumes[5].Members)
			require.Equal(t, int64(936640512*512), inv.Volumes[0].Bytes)
			require.False(t, inv.Volumes[0].Rounded)
			require.Equal(t, "/dev/sda", inv.Volumes[0].Path)
		},
	}
	manifest := string(read(t, "MANIFEST.tsv"))
	for _, line := range strings.Split(manifest, "\n") {
		if tool, rest, _ := strings.Cut(line, "\t"); tool == "storcli" || tool == "perccli" {
			name, _, _ := strings.Cut(rest, "\t")
			require.Contains(t, tests, name, "a capture whose facts nobody states")
		}
	}
	for name, facts := range tests {
		t.Run(name, func(t *testing.T) { facts(t, name) })
	}
}

func ids(inv *raid.Inventory) []raid.DiskID {
	var all []raid.DiskID
	for _, d := range inv.Disks {
		all = append(all, d.ID)
	}
	return all
}
