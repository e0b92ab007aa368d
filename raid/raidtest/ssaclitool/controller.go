package ssaclitool

import (
	"fmt"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// SmartArray is a controller that can do what a P440ar can, without drives.
func SmartArray(id raid.ControllerID, serial, slot string) *raidtest.Controller {
	var strips []hw.Size
	for kib := hw.Size(8); kib <= 1024; kib *= 2 {
		strips = append(strips, kib<<10)
	}
	return &raidtest.Controller{
		Controller: raid.Controller{ID: id, Vendor: "HPE", Model: "Smart Array P440ar", Serial: serial, Firmware: "7.00",
			Slot: slot, Mode: raid.ModeRAID,
			Cache: raid.Cache{Bytes: 2 << 30, Battery: raid.BatteryState{Is: raid.BatteryGood, Raw: "OK"}},
			Capabilities: raid.Capabilities{
				Levels: []raid.LevelCapability{{Level: raid.Level0, MinDisks: 1}, {Level: raid.Level1, MinDisks: 2, MaxDisks: 2},
					{Level: raid.Level10, MinDisks: 4, Multiple: 2}, {Level: raid.Level5, MinDisks: 3},
					{Level: raid.Level6, MinDisks: 4}, {Level: raid.Level50, MinDisks: 6}, {Level: raid.Level60, MinDisks: 8}},
				Strips: strips, DedicatedSpares: true, BootVolume: true, PartialVolumes: true,
				Modes: []raid.Mode{raid.ModeRAID, raid.ModeHBA}, ModeNeedReboot: true,
				Write: []raid.WritePolicy{raid.WriteThrough, raid.WriteBack}, MaxVolumes: 64}},
		DefaultStrip:    256 << 10,
		DefaultPolicies: raid.Policies{Write: raid.WriteBack},
		Parts: []raidtest.Part{
			{Kind: cage, Name: "Internal Drive Cage", Port: "1I", Box: 1, Extra: map[string]string{
				"Power Supply Status": "Not Redundant", "Drive Bays": "8", "Serial Number": "CAGE", "Location": "Internal"}},
			{Kind: processor, Number: 380, Extra: map[string]string{"Firmware Version": "RevB",
				"WWID": fmt.Sprintf("500143800000%04X", len(serial)), "Vendor ID": "PMCSIERA", "Model": "SRCv8x6G"}}},
		Extra: map[string]string{"place": "Embedded", "Bus Interface": "PCI", "Controller Status": "OK"},
	}
}
