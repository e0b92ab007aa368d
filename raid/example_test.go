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
