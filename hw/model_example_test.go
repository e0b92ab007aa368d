package hw_test

import (
	"encoding/json"
	"fmt"
	"log"

	"github.com/project-loda/loda/hw"
)

// A model from a known-good machine, and what another machine of the rack is not. In a repository models are YAML of
// the same shape.
func ExampleModel_Compare() {
	good, err := hw.Decode([]byte(`{"version": 1,
		"memory": {"dimms": [
			{"slot": "A1", "bytes": 34359738368, "manufacturer": "Samsung", "part_number": "M393A4K40DB3-CWE"},
			{"slot": "A2", "bytes": 34359738368, "manufacturer": "Samsung", "part_number": "M393A4K40DB3-CWE"}]},
		"disks": [
			{"name": "sda", "kind": "disk", "medium": "ssd", "model": "MZ7LH960", "firmware": "HXT7404Q",
				"serial": "S45N1", "path": "pci-0000:00:17.0-ata-1.0", "bytes": 960197124096}]}`))
	if err != nil {
		log.Fatal(err)
	}
	model := hw.Generate(good)

	other := *good
	other.Memory.DIMMs = []hw.DIMM{good.Memory.DIMMs[0], {Slot: "A2", Empty: true}}
	other.Disks = []hw.Disk{good.Disks[0]}
	other.Disks[0].Serial, other.Disks[0].Firmware = "S45N2", "HXT7304Q"
	for _, d := range model.Compare(&other) {
		fmt.Printf("%s: %s\n", d.Severity, d)
	}
	// Output:
	// fail: DIMM A2: want 32 GiB Samsung M393A4K40DB3-CWE, got no module
	// fail: disk pci-0000:00:17.0-ata-1.0 (serial S45N2): firmware: want HXT7404Q, got HXT7304Q
}

// A model that somebody wrote for the disks alone: what it does not name is not looked at.
func ExampleModel() {
	var model hw.Model
	if err := json.Unmarshal([]byte(`{"disks": [
		{"count": 2, "bytes": "480GB", "firmware": {"at_least": "2.0.1"}},
		{"count": {"min": 4, "max": 8}, "medium": "hdd"}]}`), &model); err != nil {
		log.Fatal(err)
	}
	facts := &hw.Facts{}
	for i := range 6 {
		disk := hw.Disk{Medium: hw.HDD, Path: fmt.Sprintf("pci-0000:18:00.0-scsi-0:0:%d:0", i), Bytes: 8001563222016}
		if i < 2 {
			disk.Medium, disk.Bytes, disk.Firmware = hw.SSD, 480103981056, "2.0.10"
		}
		facts.Disks = append(facts.Disks, disk)
	}
	facts.Disks[1].Firmware = "1.9.9"
	fmt.Println(model.Compare(facts))
	// Output: [disk pci-0000:18:00.0-scsi-0:0:1:0: firmware: want at least 2.0.1, got 1.9.9]
}
