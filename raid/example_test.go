package raid_test

import (
	"fmt"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

func ExampleRecognize() {
	perc := hw.PCIDevice{Address: "0000:18:00.0", Class: "010400", Vendor: "1000", Device: "005d", SubVendor: "1028",
		SubDevice: "1f49"}
	if r, ok := raid.Recognize(perc); ok {
		fmt.Printf("%s is a %s (%s), managed by %s or %s\n", perc.Address, r.Family, r.Kind, r.Tool, r.Fallback)
	}
	// Output: 0000:18:00.0 is a PERC SAS-3 3108 (raid), managed by perccli or storcli
}

func ExampleLayout_Validate() {
	layout := raid.Layout{Controllers: []raid.ControllerLayout{{
		Volumes: []raid.Volume{
			{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2, Medium: hw.SSD}, Boot: true},
			{Name: "data", Level: raid.Level6, Disks: raid.DiskChoice{Count: 3}},
		},
		Spares: []raid.Spare{{Disks: raid.DiskChoice{Count: 1}, For: []string{"date"}}},
	}}}
	fmt.Println(layout.Validate())
	// Output:
	// controllers[0].volumes[1].disks: 3 are too few: level 6 wants at least 4
	// controllers[0].spares[0].for[0]: "date" is no volume of this controller
}

// Two SSDs, of which the layout makes a mirror to start from.
func ExampleNewPlan() {
	inventory := &raid.Inventory{Controller: raid.Controller{ID: "0000:18:00.0", Mode: raid.ModeRAID,
		Capabilities: raid.Capabilities{Levels: []raid.LevelCapability{{Level: raid.Level1, MinDisks: 2}}}}}
	for _, slot := range []string{"252:0", "252:1"} {
		inventory.Disks = append(inventory.Disks, raid.PhysicalDisk{ID: raid.DiskID(slot), Location: slot, Serial: "S" + slot,
			Bytes: 480e9, Medium: hw.SSD, State: raid.DiskState{Is: raid.DiskReady}})
	}
	layout := &raid.Layout{Controllers: []raid.ControllerLayout{{Volumes: []raid.Volume{
		{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2, Medium: hw.SSD}},
	}}}}
	plan, err := raid.NewPlan([]*raid.Inventory{inventory}, layout)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range plan.Steps {
		fmt.Println(s.Kind, s.Create.Name, "level", s.Create.Level, "on", s.Disks)
	}

	layout.Controllers[0].Volumes[0].Disks.Size = raid.SizeRange{Min: 900e9}
	_, err = raid.NewPlan([]*raid.Inventory{inventory}, layout)
	fmt.Println(err)
	// Output:
	// create-volume os level 1 on [drive 252:0 (serial S252:0) drive 252:1 (serial S252:1)]
	// the RAID layout cannot be had on this machine
	// - controllers[0].volumes[0].disks (controller 0000:18:00.0): volume os wants 2 disks, medium ssd, size 900GB.., and 0 of 2 are to be had
	//   - drive 252:0 (serial S252:0): size 480 GB
	//   - drive 252:1 (serial S252:1): size 480 GB
}
