package raid

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
)

// card is a controller that can do everything, with the drives given.
func card(id ControllerID, disks ...PhysicalDisk) *Inventory {
	return &Inventory{Disks: disks, Controller: Controller{ID: id, Model: "MegaRAID 9361", Serial: "C" + string(id),
		Driver: "storcli",
		Mode:   ModeRAID, Cache: Cache{Battery: BatteryState{Is: BatteryGood}},
		Capabilities: Capabilities{
			Levels: []LevelCapability{{Level0, 1, 32, 0}, {Level1, 2, 32, 2}, {Level5, 3, 32, 0}, {Level6, 4, 32, 0}, {Level10,
				4, 0, 2},
				{Level50, 6, 0, 0}, {Level60, 8, 0, 0}},
			Strips: []hw.Size{64 << 10, 256 << 10}, GlobalSpares: true, DedicatedSpares: true, JBOD: true, ClearForeign: true,
			ImportForeign: true, BootVolume: true, Modes: []Mode{ModeRAID, ModeHBA}, ModeNeedReboot: true,
			Read: []ReadPolicy{ReadNone, ReadAhead}, Write: []WritePolicy{WriteThrough, WriteBack, WriteAlwaysBack},
			IO: []IOPolicy{IODirect, IOCached}, DiskCache: []DiskCache{DiskCacheEnable, DiskCacheDisable},
			Initialize:     []Initialization{InitializeFast, InitializeFull},
			PartialVolumes: true, MaxVolumes: 64, MaxName: 15, Names: true}}}
}

// drives are equal, in slots from first on.
func drives(first, n int, medium hw.Medium, bytes int64) []PhysicalDisk {
	var all []PhysicalDisk
	bus := hw.BusSAS
	if medium == hw.SSD {
		bus = hw.BusATA
	}
	for i := first; i < first+n; i++ {
		where := fmt.Sprintf("252:%d", i)
		all = append(all, PhysicalDisk{ID: DiskID(where), Location: where, Serial: fmt.Sprintf("S%d", i),
			WWN: fmt.Sprintf("5000c500%08d", i), Bytes: bytes, LogicalSector: 512, Medium: medium, Bus: bus,
			Model: "ST" + string(medium),
			State: DiskState{Is: DiskReady, Raw: "UGood"}})
	}
	return all
}

// with puts a volume onto a controller, on the drives in the slots given.
func with(inv *Inventory, id, name string, level Level, bytes int64, slots ...int) *VirtualDisk {
	v := VirtualDisk{ID: VolumeID(id), WWN: "naa.6000" + id, Name: name, Level: LevelState{Is: level}, Bytes: bytes,
		State: VolumeState{Is: VolumeOptimal}, Policies: Policies{ReadAhead, WriteBack, IODirect, DiskCacheDisable},
		Boot: new(false)}
	v.Current = v.Policies
	for _, s := range slots {
		v.Members = append(v.Members, DiskID(fmt.Sprintf("252:%d", s)))
		for i := range inv.Disks {
			if inv.Disks[i].ID == v.Members[len(v.Members)-1] {
				inv.Disks[i].State = DiskState{Is: DiskOnline, Raw: "Onln"}
				inv.Disks[i].Volumes = append(inv.Disks[i].Volumes, v.ID)
			}
		}
	}
	inv.Volumes = append(inv.Volumes, v)
	return &inv.Volumes[len(inv.Volumes)-1]
}

func layoutOf(t testing.TB, text string) *Layout {
	t.Helper()
	var l Layout
	require.NoError(t, json.Unmarshal([]byte(text), &l))
	require.NoError(t, l.Validate())
	return &l
}

// one is a layout of the only controller.
func one(t testing.TB, text string) *Layout {
	return layoutOf(t, `{"controllers":[{`+text+`}]}`)
}

// words is a plan in a few.
func words(p *Plan) []string {
	all := []string{}
	for _, s := range p.Steps {
		w := string(s.Kind)
		if s.Create != nil {
			w += " " + s.Create.Name
		}
		if s.Volume != nil {
			w += " " + s.Volume.Name
		}
		for _, v := range s.SpareFor {
			w += " for " + v.Name
		}
		var slots []string
		for _, d := range s.Disks {
			slots = append(slots, strings.TrimPrefix(d.Location, "252:"))
		}
		if len(slots) > 0 {
			w += " on " + strings.Join(slots, " ")
		}
		all = append(all, w)
	}
	return all
}

func planned(t testing.TB, inv *Inventory, l *Layout) *Plan {
	t.Helper()
	p, err := NewPlan([]*Inventory{inv}, l)
	require.NoError(t, err)
	return p
}

func TestDrivesAreChosen(t *testing.T) {
	ssds := drives(0, 2, hw.SSD, 480e9)
	hdds := drives(2, 10, hw.HDD, 4e12)
	mixed := slices.Concat(ssds, hdds)
	for _, c := range []struct {
		name   string
		disks  []PhysicalDisk
		layout string
		want   []string
	}{
		{"smaller ones first, then by slot, and slot 10 after slot 2", mixed,
			`"volumes":[{"name":"d","level":1,"disks":{"count":2,"medium":"hdd"}}]`, []string{"create-volume d on 2 3"}},
		{"a choice that is not picky does not take the drive of one that is", mixed,
			`"volumes":[{"name":"any","level":0,"disks":{"count":1,"size":"50GB.."}},
				{"name":"x","level":0,"disks":{"slots":["252:0"]}}]`,
			[]string{"create-volume any on 1", "create-volume x on 0"}},
		{"three that depend on each other", slices.Concat(drives(0, 1, hw.SSD, 480e9), drives(1, 1, hw.SSD, 960e9), drives(2,
			1, hw.HDD, 480e9)),
			`"volumes":[{"name":"a","level":0,"disks":{"count":1,"size":"480GB"}},{"name":"b","level":0,"disks":{"count":1,
				"medium":"ssd"}},
				{"name":"c","level":0,"disks":{"count":1,"medium":"hdd"}}]`,
			[]string{"create-volume a on 0", "create-volume b on 1", "create-volume c on 2"}},
		{"all takes what the others leave, whatever the order", mixed,
			`"volumes":[{"name":"data","level":6,"disks":{"all":true,"medium":"hdd"}},{"name":"os","level":1,"disks":{"count":2,
				"medium":"hdd"}}],
			"spares":[{"disks":{"count":1,"medium":"hdd"},"for":["data"]}]`,
			[]string{"create-volume data on 2 3 4 5 9 10 11", "create-volume os on 6 7", "add-spare for data on 8"}},
		{"drives of one medium for a volume that does not say which", slices.Concat(drives(0, 2, hw.SSD, 480e9), drives(2, 4,
			hw.HDD, 4e12)),
			`"volumes":[{"name":"d","level":10,"disks":{"count":4}}]`, []string{"create-volume d on 2 3 4 5"}},
		{"media of two volumes that share a pool", slices.Concat(drives(0, 4, hw.SSD, 480e9), drives(4, 2, hw.HDD, 4e12)),
			`"volumes":[{"name":"a","level":1,"disks":2},{"name":"b","level":10,"disks":4}]`,
			[]string{"create-volume a on 4 5", "create-volume b on 0 1 2 3"}},
		{"drives by serial number and slot, in the order of their places", mixed,
			`"volumes":[{"name":"x","level":5,"disks":{"serials":["S10","S4"],"slots":["252:3"]}}]`,
			[]string{"create-volume x on 3 4 10"}},
		{"two volumes on the same drives", mixed,
			`"volumes":[{"name":"os","level":1,"disks":{"count":2,"medium":"ssd"},"size":"100GB"},{"name":"log","level":0,
				"disks":{"same_as":"os"}}]`,
			[]string{"create-volume os on 0 1", "create-volume log on 0 1"}},
		{"the rest for the operating system", mixed,
			`"volumes":[{"name":"d","level":6,"disks":{"count":8,"medium":"hdd"}}],"rest":"jbod"`,
			[]string{"create-volume d on 2 3 4 5 6 7 8 9", "jbod-disks on 0 1 10 11"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inv := card("0000:18:00.0", slices.Clone(c.disks)...)
			p := planned(t, inv, one(t, c.layout))
			require.Equal(t, c.want, words(p))
			require.Empty(t, p.Needs())
		})
	}
}

// server has an `os` mirror on two SSDs, `data` on six HDDs with a spare, and three drives left: what full wants.
func server() *Inventory {
	inv := card("0000:18:00.0", slices.Concat(drives(0, 2, hw.SSD, 480e9), drives(2, 8, hw.HDD, 4e12))...)
	with(inv, "239", "os", Level1, 100e9, 0, 1).Boot = new(true)
	with(inv, "238", "log", Level1, 380e9, 0, 1)
	with(inv, "237", "data", Level6, 16e12, 2, 3, 4, 5, 6, 7)
	inv.Disks[8].State, inv.Disks[8].SpareFor = DiskState{Is: DiskSpare, Raw: "DHS"}, []VolumeID{"237"}
	return inv
}

const full = `"volumes":[
	{"name":"os","level":1,"disks":{"count":2,"medium":"ssd"},"size":"100GB","boot":true,"write":"back"},
	{"name":"log","level":1,"disks":{"same_as":"os"}},
	{"name":"data","level":6,"disks":{"count":6,"medium":"hdd"},"read":"ahead"}],
	"spares":[{"disks":{"count":1,"medium":"hdd"},"for":["data"]}]`

func TestWhatIsThereStays(t *testing.T) {
	p := planned(t, server(), one(t, full))
	require.True(t, p.Empty(), "%v", words(p))
	require.Empty(t, p.Notes)
	require.Empty(t, p.Seen)
	p = planned(t, server(), one(t, full+`,"unlisted":"remove"`))
	require.True(t, p.Empty(), "%v", words(p))
}

func TestWhatDiffersIsChanged(t *testing.T) {
	for _, c := range []struct {
		name    string
		machine func(*Inventory)
		layout  string // in place of full
		want    []string
		needs   []Permission
		note    string
	}{
		{"policies in place", func(inv *Inventory) { inv.Volumes[0].Policies.Write = WriteThrough }, full,
			[]string{"set-policies os"}, nil, ""},
		{"a write-back cache without battery is no difference", func(inv *Inventory) {
			inv.Volumes[0].Current.Write = WriteThrough
			inv.Controller.Cache.Battery = BatteryState{Is: BatteryFailed}
		}, full, []string{}, nil, "writes through, although it is to write back: the battery of the cache is failed"},
		{"nor where the tool tells only what is in force", func(inv *Inventory) {
			inv.Volumes[0].Policies.Write, inv.Volumes[0].Current.Write = "", WriteThrough
			inv.Controller.Cache.Battery = BatteryState{Is: BatteryMissing}
		}, full, []string{}, nil, "battery of the cache is missing"},
		{"the boot volume", func(inv *Inventory) { inv.Volumes[0].Boot = new(false) }, full, []string{"set-boot-volume os"},
			nil, ""},
		{"a boot volume that the tool does not tell", func(inv *Inventory) { inv.Volumes[0].Boot = nil }, full, []string{},
			nil, ""},
		{"a missing spare", func(inv *Inventory) {
			inv.Disks[8].State, inv.Disks[8].SpareFor = DiskState{Is: DiskReady}, nil
		}, full, []string{"add-spare for data on 8"}, nil, ""},
		{"a global spare that is to be a dedicated one",
			func(inv *Inventory) { inv.Disks[8].SpareFor = nil; inv.Disks[9].Locked = true }, full,
			[]string{"remove-spare on 8", "add-spare for data on 8"}, nil, ""},
		{"a spare that is at work is not missed", func(inv *Inventory) {
			inv.Disks[8].State, inv.Disks[8].SpareFor = DiskState{Is: DiskRebuilding}, nil
			inv.Disks[8].Volumes = []VolumeID{"237"}
			inv.Volumes[2].Members[0], inv.Volumes[2].State = "252:8", VolumeState{Is: VolumeRebuilding}
			inv.Disks[2].State, inv.Disks[2].Volumes = DiskState{Is: DiskFailed}, nil
			inv.Disks[9].State = DiskState{Is: DiskFailed}
		}, full, []string{}, nil, "is being rebuilt"},
		{"a degraded volume stays", func(inv *Inventory) {
			inv.Volumes[2].State, inv.Disks[2].State = VolumeState{Is: VolumePartial}, DiskState{Is: DiskFailed}
		}, full + `,"unlisted":"remove"`, []string{}, nil, "partially-degraded; the layout keeps it"},
		{"a volume that is not listed goes", func(inv *Inventory) {}, `"unlisted":"remove","rest":"leave","volumes":[
			{"name":"os","level":1,"disks":{"count":2,"medium":"ssd"},"size":"100GB"},{"name":"log","level":1,
				"disks":{"same_as":"os"}}]`,
			[]string{"remove-spare on 8", "delete-volume data on 2 3 4 5 6 7"}, []Permission{AllowDestroy}, ""},
		{"a degraded one needs a permission of its own", func(inv *Inventory) {
			inv.Volumes[2].State = VolumeState{Is: VolumeDegraded}
		}, `"unlisted":"remove","volumes":[{"name":"os","level":1,"disks":{"count":2,"medium":"ssd"},"size":"100GB"},
			{"name":"log","level":1,"disks":{"same_as":"os"}}]`,
			[]string{"remove-spare on 8", "delete-volume data on 2 3 4 5 6 7"}, []Permission{AllowDegraded, AllowDestroy}, ""},
		{"another level", func(inv *Inventory) { inv.Volumes[2].Level = LevelState{Is: Level5} }, full + `,
			"unlisted":"remove"`,
			[]string{"remove-spare on 8", "delete-volume data on 2 3 4 5 6 7", "create-volume data on 2 3 4 5 6 7",
				"add-spare for data on 8"},
			[]Permission{AllowDestroy}, ""},
		{"another strip", func(inv *Inventory) { inv.Volumes[0].Strip = 256 << 10 },
			strings.Replace(full, `"size":"100GB"`, `"size":"100GB","strip":"64KiB"`, 1) + `,"unlisted":"remove"`,
			[]string{"delete-volume os on 0 1", "create-volume os on 0 1", "set-boot-volume os"}, []Permission{AllowDestroy},
			""},
		{"a crash between delete and create", func(inv *Inventory) {
			inv.Volumes = inv.Volumes[:2]
			for i := 2; i < 8; i++ {
				inv.Disks[i].State, inv.Disks[i].Volumes = DiskState{Is: DiskReady}, nil
			}
			inv.Disks[8].SpareFor, inv.Disks[8].State = nil, DiskState{Is: DiskReady}
		}, full, []string{"create-volume data on 2 3 4 5 6 7", "add-spare for data on 8"}, nil, ""},
		{"drives of the operating system are taken last", func(inv *Inventory) {
			inv.Disks[8].State, inv.Disks[8].Path = DiskState{Is: DiskJBOD}, "/dev/sdc"
			inv.Disks[8].SpareFor = nil
			inv.Disks[9].State = DiskState{Is: DiskReady}
		}, full, []string{"add-spare for data on 9"}, nil, ""},
		{"and only with a permission", func(inv *Inventory) {
			inv.Disks[8].State, inv.Disks[8].Path = DiskState{Is: DiskJBOD}, "/dev/sdc"
			inv.Disks[8].SpareFor = nil
			inv.Disks[9].State = DiskState{Is: DiskBad}
		}, full, []string{"ready-disks on 8", "add-spare for data on 8"}, []Permission{AllowDestroy}, ""},
		{"foreign drives are taken last, and with a permission", func(inv *Inventory) {
			inv.Disks[8].State, inv.Disks[8].SpareFor, inv.Disks[8].Foreign = DiskState{Is: DiskReady}, nil, true
			inv.Disks[9].State, inv.Disks[9].Foreign = DiskState{Is: DiskReady}, true
			inv.Foreign = []Foreign{{ID: "0", Disks: []DiskID{"252:8", "252:9"}}}
		}, full, []string{"clear-foreign on 8 9", "add-spare for data on 8"}, []Permission{AllowDestroy, AllowForeign}, ""},
		{"preserved cache and an incomplete foreign configuration are in the way", func(inv *Inventory) {
			inv.Volumes = inv.Volumes[:2]
			for i := 2; i < 8; i++ {
				inv.Disks[i].State, inv.Disks[i].Volumes = DiskState{Is: DiskReady}, nil
			}
			inv.Disks[8].SpareFor, inv.Disks[8].State = nil, DiskState{Is: DiskReady}
			inv.Disks[9].Foreign = true
			inv.Foreign = []Foreign{{ID: "0", Disks: []DiskID{"252:9"}, Incomplete: true}}
			inv.Controller.PreservedCache = []string{"5"}
		}, full, []string{"discard-cache", "clear-foreign on 9", "create-volume data on 2 3 4 5 6 7",
			"add-spare for data on 8"},
			[]Permission{AllowDestroy, AllowForeign, AllowPreservedCache}, ""},
		{"more drives for a volume that takes all leave it as it is", func(inv *Inventory) {},
			`"volumes":[{"name":"data","level":6,"disks":{"all":true,"medium":"hdd"}}]`, []string{}, nil, "more drives"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inv := server()
			c.machine(inv)
			p := planned(t, inv, one(t, c.layout))
			require.Equal(t, c.want, words(p))
			require.Equal(t, c.needs, p.Needs())
			require.Contains(t, strings.Join(p.Notes, "\n"), c.note)
			require.Equal(t, slices.Contains(p.Needs(), AllowDestroy), len(p.Destroys()) > 0)
			for _, s := range p.Steps {
				require.NotEmpty(t, s.Reason)
			}
		})
	}
}

func TestTheImpossibleIsExplained(t *testing.T) {
	for _, c := range []struct {
		name    string
		machine func(*Inventory)
		layout  string
		want    []string
	}{
		{"each drive, and why", func(inv *Inventory) {
			inv.Disks[8].SMARTAlert = new(true)
			inv.Disks[8].State = DiskState{Is: DiskReady}
			inv.Disks[9].State = DiskState{Raw: "Frob"}
		}, `"volumes":[{"name":"x","level":1,"disks":{"count":2,"medium":"hdd","size":"8TB"}}]`,
			[]string{"controllers[0].volumes[0].disks (controller 0000:18:00.0): volume x wants 2 disks, medium hdd, size 7840GB..8160GB, and 0 of 2 are to be had",
				"drive 252:0 (serial S0): it is in volume log (naa.6000238), which the layout does not list and leaves, medium ssd, size 480 GB",
				"drive 252:8 (serial S8): it says that it will fail, size 4 TB",
				"drive 252:9 (serial S9): its state is unknown (Frob), size 4 TB"}},
		{"who took it", func(inv *Inventory) {}, `"volumes":[{"name":"a","level":0,"disks":{"count":1}},{"name":"b",
			"level":0,"disks":{"slots":["252:9"]}}]`,
			[]string{"volume b wants disks, slots 252:9, and 0 of 1 are to be had",
				"drive 252:9 (serial S9): volume a takes it"}},
		{"another volume of that name", func(inv *Inventory) { inv.Volumes[2].Level = LevelState{Is: Level5} }, full,
			[]string{"volumes[2]", "level 5 instead of 6", "it is replaced only where unlisted is remove"}},
		{"a level", func(inv *Inventory) { inv.Controller.Capabilities.Levels = inv.Controller.Capabilities.Levels[:2] },
			full + `,"unlisted":"remove"`, nil},
		{"a slot that is not there", func(inv *Inventory) {}, `"volumes":[{"name":"b","level":0,
			"disks":{"slots":["252:77"]}}]`,
			[]string{`0 drives have the slot "252:77" that volume b wants; there are drives 252:0, 252:1`}},
		{"two drives with one serial number", func(inv *Inventory) { inv.Disks[9].Serial = "S8" }, `"volumes":[{"name":"b",
			"level":0,"disks":{"count":1,"medium":"hdd"}}]`,
			[]string{"it has the same serial number or WWN as drive 252:8"}},
		{"a drive without serial number", func(inv *Inventory) { inv.Disks[9].Serial, inv.Disks[9].WWN = " ", "" },
			`"volumes":[{"name":"b","level":0,"disks":{"count":1,"medium":"hdd"}}]`,
			[]string{"neither serial number nor WWN"}},
		{"a spare that is too small", func(inv *Inventory) {
			inv.Disks[8].State, inv.Disks[8].SpareFor, inv.Disks[8].Bytes = DiskState{Is: DiskReady}, nil, 3e12
			inv.Disks[9].Bytes = 3e12
		}, full, []string{"spare for data wants 1 disk", "3 TB, too small to stand in"}},
		{"drives of one volume in two media", func(inv *Inventory) {
			*inv = *card("0000:18:00.0", slices.Concat(drives(0, 2, hw.SSD, 480e9), drives(2, 2, hw.HDD, 4e12))...)
		},
			`"volumes":[{"name":"b","level":5,"disks":{"count":3}}]`, []string{"2 of 3 are to be had of medium ssd",
				"medium hdd, sectors of 512 bytes: another sort than the others"}},
		{"a size", func(inv *Inventory) { *inv = *card("0000:18:00.0", drives(0, 2, hw.SSD, 480e9)...) },
			`"volumes":[{"name":"b","level":1,"disks":{"count":2},"size":"500GB"}]`,
			[]string{"500 GB is wanted, and drives 252:0, 252:1 have room for 480 GB"}},
		{"a strip, a name, a policy", func(inv *Inventory) { *inv = *card("0000:18:00.0", drives(0, 2, hw.SSD, 480e9)...) },
			`"volumes":[{"name":"sixteencharacter","level":1,"disks":{"count":2},"read":"adaptive"}]`,
			[]string{`"sixteencharacter" has 16 characters, and the controller allows 15`,
				"no read policy adaptive that can be set; its values are none, ahead"}},
		{"a strip", func(inv *Inventory) { *inv = *card("0000:18:00.0", drives(0, 2, hw.SSD, 480e9)...) },
			`"volumes":[{"name":"b","level":0,"disks":{"count":2},"strip":"128KiB"}]`,
			[]string{"the controller has no strips of 128KiB; its strips are 64KiB, 256KiB"}},
		{"a serial number that is not there", func(inv *Inventory) {},
			`"volumes":[{"name":"b","level":0,"disks":{"serials":["S77"]}}]`,
			[]string{`0 drives have the serial number "S77" that volume b wants`}},
		{"a mode", func(inv *Inventory) {}, `"mode":"mixed"`,
			[]string{"is in mode raid and cannot be switched to mixed; its modes are raid, hba"}},
		{"volumes in the way of a mode", func(inv *Inventory) {}, `"mode":"hba"`,
			[]string{"must go before the controller can be in mode hba"}},
		{"an odd number of drives for level 10", func(inv *Inventory) {
			*inv = *card("0000:18:00.0", drives(0, 5, hw.SSD,
				480e9)...)
		},
			`"volumes":[{"name":"b","level":10,"disks":"all"}]`, []string{"5 drives (252:0, 252:1, 252:2, 252:3, 252:4)",
				"multiple of 2"}},
		{"the rest", func(inv *Inventory) { inv.Controller.Capabilities.JBOD = false }, `"rest":"jbod"`,
			[]string{"cannot show single drives"}},
		{"spares of a kind", func(inv *Inventory) { inv.Controller.Capabilities.DedicatedSpares = false }, full,
			[]string{"no spares for single volumes; leave for away"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inv := server()
			c.machine(inv)
			_, err := NewPlan([]*Inventory{inv}, one(t, c.layout))
			if c.want == nil {
				require.NoError(t, err) // what is kept is not asked for again
				return
			}
			var impossible *ImpossibleError
			require.ErrorAs(t, err, &impossible)
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
			require.Less(t, len(err.Error()), 8000)
		})
	}
}

func TestOneControllerIsMeant(t *testing.T) {
	nvme := &Inventory{Controller: Controller{ID: "0000:01:00.0", Model: "NVMe disk", Capabilities: Capabilities{
		Levels: []LevelCapability{{Level: Level0, MinDisks: 1}}}}}
	a, b := card("0000:18:00.0", drives(0, 2, hw.SSD, 480e9)...), card("0000:3b:00.0", drives(0, 2, hw.SSD, 480e9)...)
	b.Controller.Slot, b.Controller.Model = "3", "PERC H740P"
	md := &Inventory{Controller: Controller{ID: MD}}
	for choice, want := range map[string]string{
		`"index 1"`: "0000:3b:00.0", `"index 0"`: "0000:18:00.0", `"slot 3"`: "0000:3b:00.0", `"model perc*"`: "0000:3b:00.0",
		`"pci 0000:3B:00.0"`: "0000:3b:00.0", `"only"`: "2 controllers are meant",
		`"index 2"`: "no controller is meant; there are 0000:01:00.0 NVMe",
		`"model *"`: "3 controllers are meant",
	} {
		p, err := NewPlan([]*Inventory{b, md, nvme, a}, layoutOf(t, `{"controllers":[{"controller":`+choice+`,
			"volumes":[{"name":"v","level":1,"disks":2}]}]}`))
		if strings.HasPrefix(want, "0000") {
			require.NoError(t, err, choice)
			require.EqualValues(t, want, p.Steps[0].Controller)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
	p, err := NewPlan([]*Inventory{md, nvme, a}, one(t, `"volumes":[{"name":"v","level":1,"disks":2}]`))
	require.NoError(t, err)
	require.EqualValues(t, "0000:18:00.0", p.Steps[0].Controller)

	_, err = NewPlan([]*Inventory{a, card("0000:18:00.0")}, one(t, `"rest":"leave"`))
	require.ErrorContains(t, err, "was read twice")
	_, err = NewPlan([]*Inventory{a, b}, layoutOf(t, `{"controllers":[{"controller":"index 0","rest":"leave"},
		{"controller":"pci 0000:18:00.0","rest":"leave"}]}`))
	require.ErrorContains(t, err, "which is controllers[0] already")
	_, err = NewPlan(nil, nil)
	require.ErrorContains(t, err, "none is given")
}

func TestModesComeFirst(t *testing.T) {
	a, b := card("0000:18:00.0", drives(0, 2, hw.SSD, 480e9)...), card("0000:3b:00.0", drives(0, 2, hw.SSD, 480e9)...)
	a.Controller.Mode = ModeHBA
	l := layoutOf(t, `{"controllers":[{"controller":"index 1","volumes":[{"name":"w","level":1,"disks":2}]},
		{"controller":"index 0","mode":"raid","volumes":[{"name":"v","level":1,"disks":2}]}]}`)
	p, err := NewPlan([]*Inventory{a, b}, l)
	require.NoError(t, err)
	require.Equal(t, []string{"set-mode"}, words(p))
	require.True(t, p.Continues)
	require.True(t, p.Steps[0].Reboot)
	require.Equal(t, []string{"controller 0000:18:00.0 is in mode raid after the next start"}, p.Reboot)

	a.Controller.PendingMode = ModeRAID
	p, err = NewPlan([]*Inventory{a, b}, l)
	require.NoError(t, err)
	require.Empty(t, p.Steps)
	require.False(t, p.Empty(), "the machine must be restarted")

	a.Controller.Mode, a.Controller.PendingMode = ModeRAID, ""
	p, err = NewPlan([]*Inventory{a, b}, l)
	require.NoError(t, err)
	require.Equal(t, []string{"create-volume w on 0 1", "create-volume v on 0 1"}, words(p))

	_, err = NewPlan([]*Inventory{a, b}, layoutOf(t, `{"controllers":[{"controller":"index 0","mode":"hba",
		"unlisted":"remove"}]}`))
	require.NoError(t, err)
}

func TestAPlanIsTheSameForTheSameMachine(t *testing.T) {
	l := layoutOf(t, `{"controllers":[{"controller":"index 0",`+full+`},
		{"controller":"index 1",`+strings.NewReplacer(`"os"`, `"os2"`,
		`"log"`, `"log2"`, `"data"`, `"data2"`, `"boot":true`, `"boot":false`).Replace(full)+`}]}`)
	make := func(reverse bool) []*Inventory {
		a, b := server(), server()
		b.Controller.ID = "0000:3b:00.0"
		for _, inv := range []*Inventory{a, b} {
			inv.Volumes = inv.Volumes[:0]
			for i := range inv.Disks {
				inv.Disks[i].State, inv.Disks[i].Volumes, inv.Disks[i].SpareFor = DiskState{Is: DiskReady}, nil, nil
			}
			if reverse {
				slices.Reverse(inv.Disks)
			}
		}
		if reverse {
			return []*Inventory{b, a}
		}
		return []*Inventory{a, b}
	}
	first, err := NewPlan(make(false), l)
	require.NoError(t, err)
	second, err := NewPlan(make(true), l)
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.Equal(t, first.Digest(), second.Digest())
	other := make(false)
	other[0].Disks[9].Serial = "another"
	third, err := NewPlan(other, l)
	require.NoError(t, err)
	require.Equal(t, words(first), words(third))
	require.NotEqual(t, first.Digest(), third.Digest(), "an approval is for the drives that were seen")

	text, err := json.Marshal(first)
	require.NoError(t, err)
	var back Plan
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, first.Digest(), back.Digest())
}

// fleet are controllers with thirty drives each, and a layout that wants something of all.
func fleet(t testing.TB, controllers int) ([]*Inventory, *Layout) {
	var all []*Inventory
	var parts []string
	for i := range controllers {
		inv := card(ControllerID(fmt.Sprintf("0000:%02x:00.0", 0x18+i)), slices.Concat(drives(0, 2, hw.SSD, 480e9), drives(2,
			4, hw.SSD, 960e9),
			drives(6, 12, hw.HDD, 4e12), drives(18, 12, hw.HDD, 8e12))...)
		all = append(all, inv)
		parts = append(parts, strings.NewReplacer("N", fmt.Sprint(i)).Replace(`{"controller":"index N","volumes":[
			{"name":"osN","level":1,"disks":{"count":2,"size":"480GB"}},{"name":"anyN","level":10,"disks":4},
			{"name":"aN","level":6,"disks":{"count":8,"medium":"hdd"}},{"name":"bN","level":60,"disks":{"all":true,
				"medium":"hdd"}}],
			"spares":[{"disks":{"count":2,"medium":"hdd"},"for":["aN","bN"]}],"rest":"jbod","unlisted":"remove"}`))
	}
	return all, layoutOf(t, `{"controllers":[`+strings.Join(parts, ",")+`]}`)
}

func TestOneControllerHas240Drives(t *testing.T) {
	inv := card("0000:18:00.0", drives(0, 240, hw.HDD, 4e12)...)
	var volumes []string
	for i := range 24 {
		volumes = append(volumes, fmt.Sprintf(`{"name":"v%d","level":6,"disks":{"count":9}}`, i))
	}
	p := planned(t, inv, one(t, `"volumes":[`+strings.Join(volumes, ",")+`],"rest":"jbod"`))
	require.Len(t, p.Steps, 25)
}

func BenchmarkPlan(b *testing.B) {
	all, l := fleet(b, 8)
	for b.Loop() {
		if _, err := NewPlan(all, l); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlanForEightControllersOf240DrivesEach(b *testing.B) {
	var all []*Inventory
	var parts []string
	for c := range 8 {
		all = append(all, card(ControllerID(fmt.Sprintf("0000:%02x:00.0", 0x18+c)),
			slices.Concat(drives(0, 120, hw.HDD, 4e12), drives(120, 120, hw.SSD, 960e9))...))
		var volumes []string
		for i := range 24 {
			volumes = append(volumes, fmt.Sprintf(`{"name":"v%d-%d","level":6,"disks":{"count":9}}`, c, i))
		}
		parts = append(parts, fmt.Sprintf(`{"controller":"index %d","volumes":[%s],"rest":"jbod"}`, c, strings.Join(volumes,
			",")))
	}
	l := layoutOf(b, `{"controllers":[`+strings.Join(parts, ",")+`]}`)
	for b.Loop() {
		if _, err := NewPlan(all, l); err != nil {
			b.Fatal(err)
		}
	}
}

// dice makes choices of the bytes of a fuzzer.
type dice []byte

func (d *dice) n(n int) int {
	if len(*d) == 0 {
		return 0
	}
	b := (*d)[0]
	*d = (*d)[1:]
	return int(b) % n
}

func pick[T any](d *dice, from ...T) T { return from[d.n(len(from))] }

// machine is a controller as no honest driver tells it: states, members and numbers need not go together.
func (d *dice) machine() *Inventory {
	inv := card(pick(d, ControllerID("0000:18:00.0"), "0000:18:00.0", MD))
	caps := &inv.Controller.Capabilities
	inv.Controller.Mode = pick(d, ModeRAID, ModeRAID, ModeRAID, ModeRAID, ModeRAID, ModeHBA, "")
	inv.Controller.PendingMode = pick(d, "", "", "", "", "", ModeHBA)
	caps.Names, caps.JBOD, caps.MixedMedia, caps.PartialVolumes = d.n(3) > 0, d.n(4) > 0, d.n(3) == 0, d.n(4) > 0
	caps.MaxVolumes, caps.ClearForeign = pick(d, 64, 2, 0), d.n(3) > 0
	if d.n(8) == 0 {
		inv.Controller.PreservedCache = []string{"7"}
	}
	honest := d.n(2) == 0
	for i := range 4 + d.n(12) {
		disk := drives(i, 1, pick(d, hw.SSD, hw.HDD), pick[int64](d, 480e9, 4e12))[0]
		if inv.Disks = append(inv.Disks, disk); honest {
			continue
		}
		inv.Disks = inv.Disks[:i]
		disk.Medium, disk.Bytes = pick(d, disk.Medium, disk.Medium, disk.Medium, ""), pick(d, disk.Bytes, disk.Bytes,
			disk.Bytes, -1, 0)
		disk.State.Is = pick(d, DiskReady, DiskReady, DiskReady, DiskOnline, DiskJBOD, DiskSpare, DiskFailed, DiskRebuilding,
			DiskBad, "")
		disk.Foreign, disk.Locked, disk.LogicalSector = d.n(8) == 0, d.n(16) == 0, pick(d, 512, 512, 4096)
		switch d.n(12) {
		case 0:
			disk.Serial, disk.WWN = "", ""
		case 1:
			disk.Serial = "S0"
		case 2:
			disk.ID = "252:0"
		case 3:
			disk.SpareFor = []VolumeID{pick(d, VolumeID("0"), "1", "x")}
		}
		inv.Disks = append(inv.Disks, disk)
	}
	for i := range d.n(4) {
		if honest {
			if slots := []int{2 * i, 2*i + 1}; slots[1] < len(inv.Disks) {
				with(inv, fmt.Sprint(i), pick(d, "a", "b", "z"), pick(d, Level0, Level1), pick[int64](d, 480e9, 100e9), slots...)
			}
			continue
		}
		v := VirtualDisk{ID: pick(d, VolumeID(fmt.Sprint(i)), "0"), WWN: pick(d, fmt.Sprintf("naa.%d", i), "", "naa.0"),
			Name: pick(d, "a", "b", "c", ""), Level: LevelState{Is: pick(d, Level0, Level1, Level5, Level10, Level60, "")},
			Spans: pick(d, 0, 0, 2, 7), Bytes: pick[int64](d, 100e9, 480e9, 380e9, 0), Missing: pick(d, 0, 0, 0, 1),
			State: VolumeState{Is: pick(d, VolumeOptimal, VolumeOptimal, VolumeDegraded, VolumeFailed, "")}}
		for range d.n(5) {
			v.Members = append(v.Members, DiskID(fmt.Sprintf("252:%d", d.n(13))))
		}
		inv.Volumes = append(inv.Volumes, v)
	}
	if d.n(6) == 0 {
		inv.Foreign = []Foreign{{Disks: []DiskID{"252:1", "x"}, Incomplete: d.n(2) == 0}}
	}
	return inv
}

// layout is one that is valid.
func (d *dice) layout() *Layout {
	c := ControllerLayout{Unlisted: pick(d, UnlistedKeep, UnlistedRemove), Rest: pick(d, RestLeave, RestJBOD),
		Mode: pick(d, "", "", "", "", ModeRAID, ModeHBA)}
	choice := func() DiskChoice {
		c := DiskChoice{Medium: pick(d, "", "", hw.SSD, hw.HDD), Size: pick(d, SizeRange{}, SizeRange{},
			SizeRange{Min: 1e12})}
		switch d.n(5) {
		case 0:
			c.All = true
		case 1:
			c.Slots = []string{fmt.Sprintf("252:%d", d.n(12))}
		default:
			c.Count = 1 + d.n(4)
		}
		return c
	}
	for _, name := range []string{"a", "b", "c"}[:d.n(4)] {
		v := Volume{Name: name, Level: pick(d, Level0, Level1, Level5, Level10), Disks: choice(),
			Size: pick(d, Max, Max, VolumeSize(100e9)), Boot: name == "a"}
		if name == "a" {
			v.Size = 100e9 // for those that share its drives
		}
		if v.Disks.Count > 0 {
			v.Disks.Count = max(v.Disks.Count, map[Level]int{Level1: 2, Level5: 3, Level10: 4}[v.Level])
		} else if len(v.Disks.Slots) > 0 {
			v.Level = Level0
		}
		if name != "a" && d.n(3) == 0 {
			v.Disks = DiskChoice{SameAs: "a"}
		}
		c.Volumes = append(c.Volumes, v)
	}
	for range d.n(2) {
		s := Spare{Disks: choice()}
		if len(c.Volumes) > 0 && d.n(2) == 0 {
			if v := c.Volumes[d.n(len(c.Volumes))]; v.Level != Level0 {
				s.For = []string{v.Name}
			}
		}
		c.Spares = append(c.Spares, s)
	}
	return &Layout{Controllers: []ControllerLayout{c}}
}

// A driver may be anybody's: whatever it tells, a plan names only drives that it told and that can be recognised, none
// for two things; it is the same a second time; and what it destroys needs a permission.
func FuzzPlan(f *testing.F) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 400 {
		seed := make([]byte, 160)
		for i := range seed {
			seed[i] = byte(rnd.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := dice(data)
		l, inv := d.layout(), d.machine()
		if inv.Controller.ID == MD {
			c := &l.Controllers[0]
			c.Controller.MD, c.Mode, c.Rest = true, "", RestLeave
		}
		p, err := NewPlan([]*Inventory{inv}, l)
		if err != nil {
			require.Less(t, len(err.Error()), 64<<10)
			return
		}
		again, err := NewPlan([]*Inventory{inv}, l)
		require.NoError(t, err)
		require.Equal(t, p.Digest(), again.Digest())
		used := map[string]string{}
		for _, s := range p.Steps {
			require.True(t, len(s.Destroys) == 0 || len(s.Needs) > 0, s.Kind)
			for _, r := range s.Disks {
				require.True(t, slices.ContainsFunc(inv.Disks,
					func(o PhysicalDisk) bool { return o.ID == r.ID && o.Serial == r.Serial }))
				require.True(t, r.Known() || s.Kind == StepClearForeign || s.Kind == StepRemoveSpare)
				if s.Kind != StepCreateVolume && s.Kind != StepAddSpare && s.Kind != StepJBOD {
					continue
				}
				what := string(s.Kind)
				if s.Create != nil { // volumes may share drives
					w := l.Controllers[0].Volumes[slices.IndexFunc(l.Controllers[0].Volumes,
						func(w Volume) bool { return w.Name == s.Create.Name })]
					what = "on the drives of " + cmp.Or(w.Disks.SameAs, w.Name)
				}
				if first, ok := used[r.Serial+" "+r.WWN]; ok {
					require.Equal(t, first, what)
				}
				used[r.Serial+" "+r.WWN] = what
			}
		}
	})
}

func TestAControllerThatNobodyCouldReadIsCounted(t *testing.T) {
	a, b := card("0000:18:00.0", drives(0, 4, hw.SSD, 480e9)...), card("0000:3b:00.0", drives(0, 4, hw.SSD, 480e9)...)
	b.Controller.Slot = "3"
	before := Controller{ID: "0000:03:00.0", Model: "Smart Array"}
	after := Controller{ID: "0000:af:00.0", Model: "PERC SAS-3 3108", Slot: "7"}
	for _, c := range []struct {
		choice string
		read   []*Inventory
		unread []Controller
		says   string // "" is possible
	}{
		{"only", []*Inventory{a}, nil, ""},
		{"only", []*Inventory{a}, []Controller{a.Controller}, ""},
		{"only", []*Inventory{a}, []Controller{before}, "only: that is 0000:18:00.0 MegaRAID 9361 only as long as 0000:03:00.0 Smart " +
			"Array cannot be read; have that read, or say which controller is meant by its slot or pci"},
		{"only", []*Inventory{a}, []Controller{after, before}, "0000:03:00.0 Smart Array, 0000:af:00.0 PERC SAS-3 3108 in slot 7"},
		{"index 0", []*Inventory{a, b}, []Controller{before}, "0000:03:00.0"},
		{"index 0", []*Inventory{a, b}, []Controller{after}, ""},
		{"index 1", []*Inventory{a, b}, []Controller{after}, ""},
		{"index 1", []*Inventory{a, b}, []Controller{{ID: "0000:1a:00.0"}}, "0000:1a:00.0"},
		{"pci 0000:18:00.0", []*Inventory{a, b}, []Controller{before, after}, ""},
		{"slot 3", []*Inventory{a, b}, []Controller{before, after}, ""},
	} {
		l := layoutOf(t, `{"controllers":[{"controller":"`+c.choice+`","volumes":[{"name":"v","level":1,"disks":2}]}]}`)
		_, err := NewPlan(c.read, l, c.unread...)
		if c.says == "" {
			require.NoError(t, err, "%s with %v", c.choice, c.unread)
			continue
		}
		var impossible *ImpossibleError
		require.ErrorAs(t, err, &impossible, "%s with %v", c.choice, c.unread)
		require.Equal(t, "controllers[0].controller", impossible.Problems[0].Path)
		require.Contains(t, err.Error(), c.says)
	}
}
