package raid

import (
	"encoding"
	"encoding/json"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
)

// good is a layout that uses everything.
func good() *Layout {
	index := 1
	return &Layout{Controllers: []ControllerLayout{
		{Controller: ControllerChoice{Slot: "3", Model: "PERC H7*"}, Mode: ModeRAID, Rest: RestJBOD, Unlisted: UnlistedRemove,
			Volumes: []Volume{
				{Name: "os", Level: Level1, Disks: DiskChoice{Count: 2, Medium: hw.SSD, Size: SizeRange{Min: 470e9, Max: 490e9}},
					Size: 100e9, Strip: 64 << 10, Boot: true, Read: ReadNone, Write: WriteThrough, IO: IODirect,
					DiskCache: DiskCacheDisable, Initialize: InitializeFast},
				{Name: "logs", Level: Level0, Disks: DiskChoice{SameAs: "os"}},
				{Name: "data", Level: Level60, Disks: DiskChoice{Count: 12, Bus: hw.BusSAS, Model: "ST12*"}, Spans: 3},
				{Name: "fast", Level: Level10, Disks: DiskChoice{Slots: []string{"252:0", "252:1", "252:2", "252:3"}}},
			},
			Spares: []Spare{{Disks: DiskChoice{Count: 1, Bus: hw.BusSAS}, For: []string{"data", "fast"}},
				{Disks: DiskChoice{Serials: []string{"S1"}}}}},
		{Controller: ControllerChoice{Index: &index}, Mode: ModeHBA},
		{Controller: ControllerChoice{PCI: "0000:3B:00.0"}, Volumes: []Volume{{Name: "b", Level: Level5,
			Disks: DiskChoice{All: true}}}},
		{Controller: ControllerChoice{MD: true}, Volumes: []Volume{{Name: "m", Level: Level1, Disks: DiskChoice{Count: 3}}},
			Spares: []Spare{{Disks: DiskChoice{Count: 1}, For: []string{"m"}}}},
	}}
}

func TestALayoutThatUsesEverythingIsValidAndComesBackFromJSON(t *testing.T) {
	require.NoError(t, good().Validate())
	text, err := json.Marshal(good())
	require.NoError(t, err)
	var back Layout
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, *good(), back)
}

func TestALayoutAllowsWhatMayBeLostButNeverWhatIsInUse(t *testing.T) {
	l := good()
	l.Allow = []Permission{AllowDestroy, AllowForeign, AllowDegraded, AllowPreservedCache}
	require.NoError(t, l.Validate())
	l.Allow = []Permission{AllowMounted, "everything", AllowDestroy, AllowDestroy}
	require.EqualError(t, l.Validate(), `allow[0]: what is in use cannot be given up in advance; want destroy, foreign, degraded or preserved-cache
allow[1]: "everything"; want destroy, foreign, degraded or preserved-cache
allow[3]: destroy is there twice`)
	require.Equal(t, "os", good().BootVolume().Name)
	require.Nil(t, (&Layout{}).BootVolume())
}

func TestALayoutWritesYAMLWithTheKeysThatItReads(t *testing.T) {
	text, err := yaml.Marshal(&Layout{Controllers: []ControllerLayout{{Volumes: []Volume{{Name: "os", Level: Level1,
		Disks: DiskChoice{Count: 2, Size: SizeRange{Min: 1e12}}, Size: 100 << 30, Strip: 64 << 10}}}}})
	require.NoError(t, err)
	require.Equal(t, `controllers:
- volumes:
  - name: os
    level: "1"
    disks:
      count: 2
      size: 1TB..
    size: 100GiB
    strip: 64KiB
`, string(text))
}

func TestWhatIsWrongWithALayoutIsSaidWithItsPath(t *testing.T) {
	one := func(v Volume) *ControllerLayout { return &ControllerLayout{Volumes: []Volume{v}} }
	disks := func(d DiskChoice) *ControllerLayout { return one(Volume{Name: "v", Level: Level0, Disks: d}) }
	level := func(l Level, n, spans int) *ControllerLayout {
		return one(Volume{Name: "v", Level: l, Disks: DiskChoice{Count: n}, Spans: spans})
	}
	md := func(v Volume) *ControllerLayout {
		return &ControllerLayout{Controller: ControllerChoice{MD: true}, Volumes: []Volume{v}}
	}
	two := Volume{Name: "v", Level: Level1, Disks: DiskChoice{Count: 2}}
	with := func(v Volume, change func(*Volume)) Volume { change(&v); return v }
	minus := -1
	for _, tc := range []struct {
		says string
		c    *ControllerLayout
	}{
		{"controllers[0]: says nothing", &ControllerLayout{}},
		{`controllers[0].mode: "ahci"; want raid, hba, jbod or mixed`, &ControllerLayout{Mode: "ahci"}},
		{`controllers[0].rest: "wipe"; want leave or jbod`, &ControllerLayout{Rest: "wipe"}},
		{`controllers[0].unlisted: "wipe"; want keep or remove`, &ControllerLayout{Unlisted: "wipe"}},
		{"controllers[0].mode: a controller in mode hba has no volumes", &ControllerLayout{Mode: ModeHBA,
			Volumes: []Volume{two}}},
		{`controllers[0].controller.pci: "18:00.0"`, &ControllerLayout{Controller: ControllerChoice{PCI: "18:00.0"},
			Mode: ModeHBA}},
		{"controllers[0].controller.index: -1", &ControllerLayout{Controller: ControllerChoice{Index: &minus},
			Mode: ModeHBA}},
		{`controllers[0].controller.model: "[" is not a glob`,
			&ControllerLayout{Controller: ControllerChoice{Model: "["}, Mode: ModeHBA}},
		{"controllers[0].controller.slot: ", &ControllerLayout{Controller: ControllerChoice{Slot: " 3"}, Mode: ModeHBA}},
		{"controllers[0].controller: md is no card", &ControllerLayout{Controller: ControllerChoice{MD: true,
			Slot: "3"}, Rest: RestLeave}},
		{"controllers[0].mode: md has no modes", &ControllerLayout{Controller: ControllerChoice{MD: true}, Mode: ModeRAID}},
		{"controllers[0].rest: md has no jbod", &ControllerLayout{Controller: ControllerChoice{MD: true}, Rest: RestJBOD}},
		{"controllers[0].volumes: 257 volumes", &ControllerLayout{Volumes: make([]Volume, 257)}},
		{"controllers[0].spares: 65 spares", &ControllerLayout{Spares: make([]Spare, 65)}},

		{`controllers[0].volumes[0].name: ""`, one(with(two, func(v *Volume) { v.Name = "" }))},
		{`controllers[0].volumes[0].name: "a b"`, one(with(two, func(v *Volume) { v.Name = "a b" }))},
		{`controllers[0].volumes[1].name: "v" is the name of controllers[0].volumes[0] already`,
			&ControllerLayout{Volumes: []Volume{two, two}}},
		{"controllers[0].volumes[0].strip: 96KiB; want a power of two", one(with(two,
			func(v *Volume) { v.Strip = 96 << 10 }))},
		{"controllers[0].volumes[0].strip: 2KiB", one(with(two, func(v *Volume) { v.Strip = 2 << 10 }))},
		{"controllers[0].volumes[0].strip: ", one(with(two, func(v *Volume) { v.Strip = -64 << 10 }))},
		{"controllers[0].volumes[0].size: is below zero", one(with(two, func(v *Volume) { v.Size = -1 }))},
		{`controllers[0].volumes[0].read: "always"; want none, ahead or adaptive`, one(with(two,
			func(v *Volume) { v.Read = "always" }))},
		{"controllers[0].volumes[0].write: ", one(with(two, func(v *Volume) { v.Write = "x" }))},
		{"controllers[0].volumes[0].io: ", one(with(two, func(v *Volume) { v.IO = "x" }))},
		{"controllers[0].volumes[0].disk_cache: ", one(with(two, func(v *Volume) { v.DiskCache = "on" }))},
		{"controllers[0].volumes[0].initialize: ", one(with(two, func(v *Volume) { v.Initialize = "x" }))},
		{"controllers[0].volumes[0].write: md has no such policy", md(with(two, func(v *Volume) { v.Write = WriteBack }))},
		{"controllers[0].volumes[0].strip: md's level 1", md(with(two, func(v *Volume) { v.Strip = 64 << 10 }))},
		{"controllers[0].volumes[0].level: md has no level 50", md(Volume{Name: "v", Level: Level50,
			Disks: DiskChoice{Count: 6}})},
		{"controllers[0].volumes[0].spans: md has none", md(Volume{Name: "v", Level: Level10,
			Disks: DiskChoice{Count: 4}, Spans: 2})},

		{`controllers[0].volumes[0].level: "4"`, level("4", 3, 0)},
		{"controllers[0].volumes[0].disks: 1 are too few: level 1 wants at least 2", level(Level1, 1, 0)},
		{"controllers[0].volumes[0].disks: 2 are too few: level 5 wants at least 3", level(Level5, 2, 0)},
		{"controllers[0].volumes[0].disks: 3 are too few: level 6 wants at least 4", level(Level6, 3, 0)},
		{"controllers[0].volumes[0].disks: 2 are too few: level 10 wants at least 4", level(Level10, 2, 0)},
		{"controllers[0].volumes[0].disks: 5 are an odd number", level(Level10, 5, 0)},
		{"controllers[0].volumes[0].disks: 8 cannot be shared equally between the 3 spans of level 10", level(Level10, 8, 3)},
		{"controllers[0].volumes[0].disks: 6 cannot be shared equally between the 2 spans of level 10", level(Level10, 6, 2)},
		{"controllers[0].volumes[0].disks: 5 are too few: level 50 wants at least 6", level(Level50, 5, 0)},
		{"controllers[0].volumes[0].disks: 7 cannot be shared equally between the 2 spans of level 50", level(Level50, 7, 0)},
		{"controllers[0].volumes[0].disks: 8 are too few: level 50 over 3 spans wants at least 9", level(Level50, 8, 3)},
		{"controllers[0].volumes[0].disks: 7 are too few: level 60 wants at least 8", level(Level60, 7, 0)},
		{"controllers[0].volumes[0].spans: level 5 has none", level(Level5, 6, 2)},
		{"controllers[0].volumes[0].spans: 1; want 2 to 64", level(Level50, 6, 1)},
		{"controllers[0].volumes[0].spans: -2", level(Level10, 4, -2)},

		{"controllers[0].volumes[0].disks: want one of count, all, a list", disks(DiskChoice{})},
		{"controllers[0].volumes[0].disks: want one of count, all, a list", disks(DiskChoice{Count: 2, All: true})},
		{"controllers[0].volumes[0].disks: want one of count, all, a list", disks(DiskChoice{Count: 2,
			Slots: []string{"1"}})},
		{"controllers[0].volumes[0].disks.count: -1; want 1 to 1000", disks(DiskChoice{Count: -1})},
		{`controllers[0].volumes[0].disks.medium: "flash"`, disks(DiskChoice{Count: 1, Medium: "flash"})},
		{`controllers[0].volumes[0].disks.medium: "unknown"`, disks(DiskChoice{Count: 1, Medium: hw.MediumUnknown})},
		{`controllers[0].volumes[0].disks.bus: "scsi3"`, disks(DiskChoice{Count: 1, Bus: "scsi3"})},
		{"controllers[0].volumes[0].disks.medium: ssd on bus nvme cannot be", disks(DiskChoice{Count: 1,
			Medium: hw.SSD, Bus: hw.BusNVMe})},
		{"controllers[0].volumes[0].disks.medium: nvme on bus sas cannot be", disks(DiskChoice{Count: 1,
			Medium: hw.NVMe, Bus: hw.BusSAS})},
		{"controllers[0].volumes[0].disks.size: 2TB..1TB", disks(DiskChoice{Count: 1, Size: SizeRange{Min: 2e12,
			Max: 1e12}})},
		{"controllers[0].volumes[0].disks.model: ", disks(DiskChoice{Count: 1, Model: "a["})},
		{"controllers[0].volumes[0].disks.slots[1]: is empty", disks(DiskChoice{Slots: []string{"1", ""}})},
		{`controllers[0].volumes[0].disks.slots[1]: "1" is controllers[0].volumes[0].disks.slots[0] already`,
			disks(DiskChoice{Slots: []string{"1", "1"}})},
		{"controllers[0].volumes[0].disks.serials: 1001 disks", disks(DiskChoice{Serials: make([]string, 1001)})},
		{`controllers[0].volumes[0].disks.same_as: "os" is no volume before this one`, disks(DiskChoice{SameAs: "os"})},
		{"controllers[0].volumes[0].disks: the disks of", disks(DiskChoice{SameAs: "os", Medium: hw.SSD})},
		{`controllers[0].volumes[1].disks.same_as: "v" takes all of its disks`,
			&ControllerLayout{Volumes: []Volume{two, {Name: "w", Level: Level1, Disks: DiskChoice{SameAs: "v"}}}}},
		{`controllers[0].volumes[1].disks: 2 are too few: level 5`,
			&ControllerLayout{Volumes: []Volume{with(two, func(v *Volume) { v.Size = 1e9 }),
				{Name: "w", Level: Level5, Disks: DiskChoice{SameAs: "v"}}}}},
		{`controllers[0].spares[0].disks.slots[0]: "7" is controllers[0].volumes[0].disks.slots[0] already`,
			&ControllerLayout{Volumes: []Volume{{Name: "v", Level: Level0, Disks: DiskChoice{Slots: []string{"7"}}}},
				Spares: []Spare{{Disks: DiskChoice{Slots: []string{"7"}}}}}},
		{`controllers[0].spares[0].for[0]: "data" is no volume of this controller`,
			&ControllerLayout{Spares: []Spare{{Disks: DiskChoice{Count: 1}, For: []string{"data"}}}}},
		{`controllers[0].spares[0].for[0]: "v" has level 0`, &ControllerLayout{
			Volumes: []Volume{{Name: "v", Level: Level0, Disks: DiskChoice{Count: 1}}},
			Spares:  []Spare{{Disks: DiskChoice{Count: 1}, For: []string{"v"}}}}},
		{`controllers[0].spares[0].for[1]: "v" is named twice`, &ControllerLayout{Volumes: []Volume{two},
			Spares: []Spare{{Disks: DiskChoice{Count: 1}, For: []string{"v", "v"}}}}},
		{"controllers[0].spares[0].disks.same_as: a spare has disks of its own", &ControllerLayout{Volumes: []Volume{two},
			Spares: []Spare{{Disks: DiskChoice{SameAs: "v"}}}}},
		{"controllers[0].spares[0].for: md has no global spares", &ControllerLayout{Controller: ControllerChoice{MD: true},
			Volumes: []Volume{two}, Spares: []Spare{{Disks: DiskChoice{Count: 1}}}}},
	} {
		err := (&Layout{Controllers: []ControllerLayout{*tc.c}}).Validate()
		require.ErrorContains(t, err, tc.says)
		if !strings.Contains(tc.says, "257") && !strings.Contains(tc.says, "65") {
			require.LessOrEqual(t, strings.Count(err.Error(), "\n"), 1, "one mistake: %v", err)
		}
	}
	require.ErrorContains(t, (&Layout{}).Validate(), "controllers: none is given")
	require.ErrorContains(t, (&Layout{Controllers: make([]ControllerLayout, 33)}).Validate(), "33 controllers")
}

func TestNumbersOfDisksThatALevelAllowsAreValid(t *testing.T) {
	for _, tc := range []struct {
		level    Level
		n, spans int
	}{{Level0, 1, 0}, {Level0, 7, 0}, {Level1, 2, 0}, {Level1, 3, 0}, {Level5, 3, 0}, {Level6, 4, 0}, {Level6, 5, 0},
		{Level10, 4, 0}, {Level10, 6, 0}, {Level10, 6, 3}, {Level10, 8, 2}, {Level50, 6, 0}, {Level50, 9, 3}, {Level50, 8, 2},
		{Level60, 8, 0}, {Level60, 12, 3}} {
		l := Layout{Controllers: []ControllerLayout{{Volumes: []Volume{{Name: "v", Level: tc.level,
			Disks: DiskChoice{Count: tc.n}, Spans: tc.spans}}}}}
		require.NoError(t, l.Validate(), "%+v", tc)
	}
}

func TestSeveralControllersMustBeToldApart(t *testing.T) {
	hba := func(c ControllerChoice) ControllerLayout { return ControllerLayout{Controller: c, Mode: ModeHBA} }
	zero := 0
	for says, l := range map[string]Layout{
		"controllers[1].controller: only is controllers[0] already": {Controllers: []ControllerLayout{
			hba(ControllerChoice{}), hba(ControllerChoice{})}},
		"controllers[1].controller: index 0 is controllers[0] already": {Controllers: []ControllerLayout{
			hba(ControllerChoice{Index: &zero}), hba(ControllerChoice{Index: new(int)})}},
		"controllers[0].controller: one of several is not the only one": {Controllers: []ControllerLayout{
			hba(ControllerChoice{}), hba(ControllerChoice{Slot: "1"})}},
	} {
		require.ErrorContains(t, l.Validate(), says)
	}
	both := Layout{Controllers: []ControllerLayout{hba(ControllerChoice{}), {Controller: ControllerChoice{MD: true},
		Unlisted: UnlistedRemove}}}
	require.NoError(t, both.Validate(), "one card, and the kernel's RAID")
	boots := good()
	boots.Controllers[3].Volumes[0].Boot = true
	require.ErrorContains(t, boots.Validate(),
		"controllers[3].volumes[0].boot: controllers[0].volumes[0] is the volume to boot from already")
	boots.Controllers[3].Volumes[0].Name = "os"
	require.Equal(t, 3, strings.Count(boots.Validate().Error(), "\n")+1, "all at once: %v", boots.Validate())
}

func TestShortForms(t *testing.T) {
	one := 1
	for _, tc := range []struct {
		text string
		want any
	}{
		{"2", DiskChoice{Count: 2}}, {"all", DiskChoice{All: true}},
		{"only", ControllerChoice{}}, {"md", ControllerChoice{MD: true}}, {"slot Slot 3", ControllerChoice{Slot: "Slot 3"}},
		{"pci 0000:18:00.0", ControllerChoice{PCI: "0000:18:00.0"}}, {"model PERC H7*", ControllerChoice{Model: "PERC H7*"}},
		{"index 1", ControllerChoice{Index: &one}},
		{"1", Level1}, {"raid1", Level1}, {"RAID 10", Level10}, {"1+0", Level10}, {"Raid-5+0", Level50}, {"6+0", Level60},
		{"max", Max}, {"100GiB", VolumeSize(100 << 30)},
		{"480GB", SizeRange{Min: 470_400_000_000, Max: 489_600_000_000}}, {"1TB..", SizeRange{Min: 1e12}},
		{"..2TB", SizeRange{Max: 2e12}}, {"400GB..500GB", SizeRange{Min: 400e9, Max: 500e9}},
	} {
		decode := func(unmarshal func(any) error) any {
			switch tc.want.(type) {
			case DiskChoice:
				return decoded[DiskChoice](t, unmarshal)
			case ControllerChoice:
				return decoded[ControllerChoice](t, unmarshal)
			case Level:
				return decoded[Level](t, unmarshal)
			case VolumeSize:
				return decoded[VolumeSize](t, unmarshal)
			}
			return decoded[SizeRange](t, unmarshal)
		}
		require.Equal(t, tc.want, decode(func(into any) error {
			return into.(encoding.TextUnmarshaler).UnmarshalText([]byte(tc.text))
		}))
		quoted, err := json.Marshal(tc.text)
		require.NoError(t, err)
		require.Equal(t, tc.want, decode(func(into any) error { return json.Unmarshal(quoted, into) }))
	}
	var v Volume
	require.NoError(t, json.Unmarshal([]byte(`{"level":5,"disks":4,"size":1000000000}`), &v))
	require.Equal(t, Volume{Level: Level5, Disks: DiskChoice{Count: 4}, Size: 1e9}, v)
	for _, text := range []string{"", "0", "-1", "two", "07", "2 disks", "99999999999999999999"} {
		require.Error(t, new(DiskChoice).UnmarshalText([]byte(text)), text)
	}
	for _, text := range []string{"", "slot", "slot ", "Only", "index x", "serial 3"} {
		require.Error(t, new(ControllerChoice).UnmarshalText([]byte(text)), text)
	}
	for _, text := range []string{"", "4", "+0", "1+", "raid", "100", "1 0", "01"} {
		require.Error(t, new(Level).UnmarshalText([]byte(text)), text)
	}
	for _, text := range []string{"", "0", "0GB", "Max", "100G", "-1GB"} {
		require.Error(t, new(VolumeSize).UnmarshalText([]byte(text)), text)
	}
	for _, text := range []string{"", "..", "0", "2TB..1TB", "1T..", "a..b", "9000PB"} {
		require.Error(t, new(SizeRange).UnmarshalText([]byte(text)), text)
	}
}

func decoded[T any](t *testing.T, unmarshal func(any) error) T {
	t.Helper()
	var v T
	require.NoError(t, unmarshal(&v))
	return v
}

func TestASizeOnALabelIncludesTheDisksThatAreSoldUnderIt(t *testing.T) {
	for label, disks := range map[string][2][]int64{
		// As they are, and as controllers of the MegaRAID family cut them off; and the neighbours.
		"480GB":  {{480_103_981_056, 479_559_942_144}, {450_098_159_616, 500_107_862_016}},
		"960GB":  {{960_197_124_096, 959_119_884_288}, {800_166_076_416, 1_000_204_886_016}},
		"1.92TB": {{1_920_383_410_176}, {1_800_360_124_416, 2_000_398_934_016}},
		"3.84TB": {{3_840_755_982_336}, {3_600_000_000_000, 4_000_787_030_016}},
		"600GB":  {{600_127_266_816, 598_999_040_000}, {500_107_862_016, 640_135_028_736}},
	} {
		var r SizeRange
		require.NoError(t, r.UnmarshalText([]byte(label)))
		for _, n := range disks[0] {
			require.True(t, r.Includes(n), "%s %d", label, n)
		}
		for _, n := range disks[1] {
			require.False(t, r.Includes(n), "%s %d", label, n)
		}
		require.False(t, r.Includes(0), "an unknown size")
	}
}

func TestAnUnknownKeyInJSONIsRefusedAtEveryDepth(t *testing.T) {
	for _, text := range []string{
		`{"controler":[]}`, `{"controllers":[{"unlistd":"remove"}]}`, `{"controllers":[{"controller":{"slots":"1"}}]}`,
		`{"controllers":[{"volumes":[{"sise":"1GB"}]}]}`, `{"controllers":[{"volumes":[{"disks":{"cuont":1}}]}]}`,
		`{"controllers":[{"spares":[{"disk":1}]}]}`, `{"controllers":[{"volumes":[{"disks":true}]}]}`,
		`{"controllers":[{"volumes":[{"level":null}]}]}`, `{"controllers":[{"volumes":[{"disks":1.5}]}]}`,
	} {
		l := *good()
		require.ErrorContains(t, json.Unmarshal([]byte(text), &l), "RAID layout: ", text)
		require.Equal(t, *good(), l, "left as it was")
	}
}

func TestChoicesReadWellInAMessage(t *testing.T) {
	require.Equal(t, "2 disks, medium ssd, bus sas, size 1TB.., model X*",
		DiskChoice{Count: 2, Medium: hw.SSD, Bus: hw.BusSAS, Size: SizeRange{Min: 1e12}, Model: "X*"}.String())
	require.Equal(t, "disks, slots 1 2, serials A", DiskChoice{Slots: []string{"1", "2"}, Serials: []string{"A"}}.String())
	require.Equal(t, "1 disk", DiskChoice{Count: 1}.String())
	require.Equal(t, "all disks", DiskChoice{All: true}.String())
	require.Equal(t, "the disks of os", DiskChoice{SameAs: "os"}.String())
	require.Equal(t, "no disks", DiskChoice{}.String())
	require.Equal(t, "slot 3, model PERC H7*", good().Controllers[0].Controller.String())
}

// Whatever is read: no panic; and what is written of a valid layout reads as the same.
func FuzzLayout(f *testing.F) {
	text, err := json.Marshal(good())
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{"controllers":[{"controller":"slot 1","volumes":[{"name":"a","level":"1+0","disks":"all","size":"max"}]}]}`))
	f.Add([]byte(`{"controllers":[{"volumes":[{"level":5,"disks":3,"size":12},{"disks":{"same_as":"a","size":"480GB"}}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var l Layout
		if json.Unmarshal(text, &l) != nil {
			return
		}
		first := l.Validate()
		for _, c := range l.Controllers {
			_ = c.Controller.String()
		}
		written, err := json.Marshal(&l)
		require.NoError(t, err)
		if first != nil {
			return
		}
		var back Layout
		require.NoError(t, json.Unmarshal(written, &back), "%s", written)
		require.NoError(t, back.Validate(), "%s", written)
		again, err := json.Marshal(&back)
		require.NoError(t, err)
		require.Equal(t, string(written), string(again))
	})
}
