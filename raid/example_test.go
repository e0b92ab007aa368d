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
