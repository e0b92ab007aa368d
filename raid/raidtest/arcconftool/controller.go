package arcconftool

import (
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

func strips() (all []hw.Size) {
	for kib := hw.Size(16); kib <= 1024; kib *= 2 {
		all = append(all, kib<<10)
	}
	return all
}

func levelsOf(least int) []raid.LevelCapability {
	return []raid.LevelCapability{{Level: raid.Level0, MinDisks: least}, {Level: raid.Level1, MinDisks: 2, MaxDisks: 2},
		{Level: raid.Level5, MinDisks: 3}, {Level: raid.Level6, MinDisks: 4}, {Level: raid.Level10, MinDisks: 4, Multiple: 2},
		{Level: raid.Level50, MinDisks: 6, Multiple: 2}, {Level: raid.Level60, MinDisks: 8, Multiple: 2}}
}

// parts have a serial number that is no drive's.
func parts() []raidtest.Part {
	return []raidtest.Part{{Kind: processor, Extra: map[string]string{"Serial number": "ENCLOSURE"}}}
}

// SmartRAID is a controller that can do what a SmartRAID 3154 can, without drives.
func SmartRAID(id raid.ControllerID, serial, slot string) *raidtest.Controller {
	return &raidtest.Controller{
		Controller: raid.Controller{ID: id, Model: "Adaptec SmartRAID 3154-8i", Serial: serial, Firmware: "4.11[0]", Slot: slot,
			Mode:  raid.ModeRAID,
			Cache: raid.Cache{Bytes: 3644 << 20, Battery: raid.BatteryState{Is: raid.BatteryGood, Raw: "Ok"}},
			Capabilities: raid.Capabilities{Levels: levelsOf(1), Strips: strips(), DedicatedSpares: true, BootVolume: true,
				Modes: []raid.Mode{raid.ModeRAID, raid.ModeHBA, raid.ModeMixed}, ModeNeedReboot: true,
				Write: []raid.WritePolicy{raid.WriteThrough, raid.WriteBack}, MaxVolumes: 64, MaxName: 64, Names: true}},
		DefaultStrip:    256 << 10,
		DefaultPolicies: raid.Policies{Write: raid.WriteBack},
		Reserve:         32 << 20,
		Parts:           parts(),
		Extra:           map[string]string{"Driver Name": "smartpqi"},
	}
}

// Series8 is a controller that can do what an ASR-8885 can, without drives.
func Series8(id raid.ControllerID, serial, slot string) *raidtest.Controller {
	return &raidtest.Controller{
		Controller: raid.Controller{ID: id, Model: "Adaptec ASR8885", Serial: serial, Firmware: "7.18-0 (33556)", Slot: slot,
			Mode:  raid.ModeRAID,
			Cache: raid.Cache{Bytes: 1 << 30, Battery: raid.BatteryState{Is: raid.BatteryGood, Raw: "Ready"}},
			Capabilities: raid.Capabilities{Levels: levelsOf(2), Strips: strips(), GlobalSpares: true, DedicatedSpares: true,
				JBOD: true, Modes: []raid.Mode{raid.ModeRAID, raid.ModeHBA}, ModeNeedReboot: true,
				Read:       []raid.ReadPolicy{raid.ReadNone, raid.ReadAhead},
				Write:      []raid.WritePolicy{raid.WriteThrough, raid.WriteBack, raid.WriteAlwaysBack},
				Initialize: []raid.Initialization{raid.InitializeNone, raid.InitializeFast, raid.InitializeFull},
				MaxVolumes: 64, MaxName: 15, Names: true, PartialVolumes: true}},
		DefaultStrip:    256 << 10,
		DefaultPolicies: raid.Policies{Read: raid.ReadAhead, Write: raid.WriteBack},
		Parts:           parts(),
	}
}

// smart is a SmartRAID, SmartHBA or HBA of their generation; what came before is Series 8 and its elders.
func smart(c *raidtest.Controller) bool {
	return strings.Contains(c.Model, "Smart") || strings.Contains(c.Model, "HBA 1")
}
