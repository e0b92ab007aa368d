package hw_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/project-loda/loda/hw"
)

// What is this machine made of?
func ExampleDetect() {
	facts, err := hw.Detect(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("facts version", facts.Version)
	if err := facts.WriteText(io.Discard); err != nil { // os.Stdout shows it
		log.Fatal(err)
	}
	// Output: facts version 1
}

// A facts document from elsewhere; what is missing in it is either known to be empty or listed with a reason.
func ExampleDecode() {
	facts, err := hw.Decode([]byte(`{
		"version": 1,
		"system": {"vendor": "Maker", "serial": "ABC1234"},
		"disks": [{"name": "sda", "kind": "disk", "bus": "sas", "medium": "unknown", "bytes": 8001563222016,
			"unknown": [{"path": "medium", "reason": "the device does not report a rotation rate"}]}]
	}`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(facts.System.Serial)
	for _, u := range facts.Unknowns() {
		fmt.Printf("%s: %s\n", u.Path, u.Reason)
	}
	// Output:
	// ABC1234
	// disks[sda]/medium: the device does not report a rotation rate
}

// The disk for the operating system: two that fit are an error with the way out, never a guess.
func ExampleDiskRule_Choose() {
	no := false
	disks := []hw.Disk{
		{Name: "sda", Kind: hw.PhysicalDisk, Bus: hw.BusATA, Medium: hw.SSD, Serial: "BTYF1", Bytes: 480103981056,
			Removable: &no, ReadOnly: &no},
		{Name: "sdb", Kind: hw.PhysicalDisk, Bus: hw.BusATA, Medium: hw.SSD, Serial: "BTYF2", Bytes: 480103981056,
			Removable: &no, ReadOnly: &no},
		{Name: "sdc", Kind: hw.PhysicalDisk, Bus: hw.BusSAS, Medium: hw.HDD, Serial: "ZA1", Bytes: 8001563222016,
			Removable: &no, ReadOnly: &no},
	}
	_, err := hw.DiskRule{Medium: hw.SSD}.Choose(disks)
	var ambiguous *hw.AmbiguousError
	fmt.Println(errors.As(err, &ambiguous), ambiguous.Remedy)

	disk, err := hw.DiskRule{Prefer: hw.Largest}.Choose(disks)
	fmt.Println(disk.Name, err)
	// Output:
	// true any of these would make it unique: `serial`
	// sdc <nil>
}
