package raid

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
)

// card is a controller that can do everything, with the drives given.
func card(id ControllerID, disks ...PhysicalDisk) *Inventory {
	return &Inventory{Disks: disks, Controller: Controller{ID: id, Model: "MegaRAID 9361", Serial: "C" + string(id), Driver: "storcli",
		Mode: ModeRAID, Cache: Cache{Battery: BatteryState{Is: BatteryGood}},
		Capabilities: Capabilities{
			Levels: []LevelCapability{{Level0, 1, 32, 0}, {Level1, 2, 32, 2}, {Level5, 3, 32, 0}, {Level6, 4, 32, 0}, {Level10, 4, 0, 2},
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
			WWN: fmt.Sprintf("5000c500%08d", i), Bytes: bytes, LogicalSector: 512, Medium: medium, Bus: bus, Model: "ST" + string(medium),
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
		{"three that depend on each other", slices.Concat(drives(0, 1, hw.SSD, 480e9), drives(1, 1, hw.SSD, 960e9), drives(2, 1, hw.HDD, 480e9)),
			`"volumes":[{"name":"a","level":0,"disks":{"count":1,"size":"480GB"}},{"name":"b","level":0,"disks":{"count":1,"medium":"ssd"}},
				{"name":"c","level":0,"disks":{"count":1,"medium":"hdd"}}]`,
			[]string{"create-volume a on 0", "create-volume b on 1", "create-volume c on 2"}},
		{"all takes what the others leave, whatever the order", mixed,
			`"volumes":[{"name":"data","level":6,"disks":{"all":true,"medium":"hdd"}},{"name":"os","level":1,"disks":{"count":2,"medium":"hdd"}}],
			"spares":[{"disks":{"count":1,"medium":"hdd"},"for":["data"]}]`,
			[]string{"create-volume data on 2 3 4 5 9 10 11", "create-volume os on 6 7", "add-spare for data on 8"}},
		{"drives of one medium for a volume that does not say which", slices.Concat(drives(0, 2, hw.SSD, 480e9), drives(2, 4, hw.HDD, 4e12)),
			`"volumes":[{"name":"d","level":10,"disks":{"count":4}}]`, []string{"create-volume d on 2 3 4 5"}},
		{"media of two volumes that share a pool", slices.Concat(drives(0, 4, hw.SSD, 480e9), drives(4, 2, hw.HDD, 4e12)),
			`"volumes":[{"name":"a","level":1,"disks":2},{"name":"b","level":10,"disks":4}]`,
			[]string{"create-volume a on 4 5", "create-volume b on 0 1 2 3"}},
		{"two volumes on the same drives", mixed,
			`"volumes":[{"name":"os","level":1,"disks":{"count":2,"medium":"ssd"},"size":"100GB"},{"name":"log","level":0,"disks":{"same_as":"os"}}]`,
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
