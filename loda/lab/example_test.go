package lab_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/project-loda/loda/loda/lab"
)

// A rack with two machines, one BIOS and one UEFI, and a server that they boot from.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	rack, err := lab.Up(ctx, lab.Default(2), lab.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer rack.Down(context.WithoutCancel(ctx))

	// A program on the rack's side of the wire, listening on rack.Server() and rack.Interface().
	server := rack.Command(ctx, "lodad", "serve", "--config", "lodad.yaml")
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	// Code outside reaches it.
	client := &http.Client{Transport: &http.Transport{DialContext: rack.Dial}}
	if _, err := client.Get("http://" + rack.Server().String() + ":8080/healthz"); err != nil {
		log.Fatal(err)
	}

	for _, m := range rack.Machines() {
		if err := m.PowerOn(ctx); err != nil {
			log.Fatal(err)
		}
	}
	line, err := rack.Machine("m1").Console().Wait(ctx, regexp.MustCompile(`login:`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(line)
}

// A power cut in the middle of something must not be seen by the disk of another machine.
func ExampleMachine_DiskDigest() {
	ctx := context.Background()
	rack, err := lab.Up(ctx, lab.Default(2), lab.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer rack.Down(ctx)
	bystander := rack.Machine("m2")
	before, err := bystander.DiskDigest(ctx, 0)
	if err != nil {
		log.Fatal(err)
	}
	m := rack.Machine("m1")
	if err := m.PowerOn(ctx); err != nil {
		log.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if err := m.Cut(ctx); err != nil {
		log.Fatal(err)
	}
	after, err := bystander.DiskDigest(ctx, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(before == after)
}

// A rack is described by what matters; the rest has defaults.
func ExampleParse() {
	spec, err := lab.Parse(strings.NewReader(`
name: rehearsal
machines:
  - name: db1
    vendor: Dell Inc.
    product: PowerEdge R650
    serial: 7XK2P13
    firmware: uefi
    memory: 1GiB              # what it really gets ...
    dimms: [32GiB, 32GiB]     # ... and what its SMBIOS claims
    disks:
      - {bus: scsi, size: 480GB, medium: ssd}
      - {bus: nvme, size: 1.92TB}
  - name: web1
`))
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range spec.Machines {
		fmt.Println(m.Name, m.Vendor, m.Serial, m.Firmware, m.Boot, m.Memory, len(m.DIMMs), m.Disks[0].Size, m.NICs[0].MAC)
	}
	// Output:
	// db1 Dell Inc. 7XK2P13 uefi pxe 1GiB 2 480GB 52:54:00:70:b3:67
	// web1 Loda LAB-REHEARSAL-WEB1 bios ipxe-rom 1GiB 2 4GiB 52:54:00:40:f3:2c
}

// All that is wrong with a description is said at once.
func ExampleSpec_Validate() {
	spec := lab.Spec{Machines: []lab.MachineSpec{
		{Name: "a", Boot: lab.BootHTTP, Serial: "S1"},
		{Name: "b", Serial: "S1", Disks: []lab.Disk{{Medium: lab.HDD}}},
	}}
	fmt.Println(spec.Complete().Validate())
	// Output:
	// machines[0] (a).boot: http needs firmware uefi: QEMU's BIOS network ROM is iPXE
	// machines[1] (b).disks[0].medium: a virtio disk cannot tell its medium: use ahci or scsi
	// machines[1] (b): serial number "S1" is used by machines[0] (a) already (allow_duplicates: true permits it)
}
