package raidtest

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// OpenHere opens the chassis of the machine that an emulator runs on, for a machine that has such a controller and no
// tool for it, such as a virtual one. The first time it is made: a [MegaRAID] with four SSDs for each MegaRAID that is on
// the PCI bus. root is the machine's file system.
func OpenHere(file string, root fs.FS) (*Chassis, error) {
	c, err := Open(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	devices, err := fs.ReadDir(root, "sys/bus/pci/devices")
	if err != nil {
		return nil, fmt.Errorf("what is on the PCI bus: %w", err)
	}
	s := &State{}
	for _, d := range devices {
		attribute := func(name string) string {
			text, _ := fs.ReadFile(root, path.Join("sys/bus/pci/devices", d.Name(), name)) // of a device that is gone there is none
			return strings.TrimPrefix(strings.TrimSpace(string(text)), "0x")
		}
		is, ok := raid.Recognize(hw.PCIDevice{Address: d.Name(), Class: attribute("class"), Vendor: attribute("vendor"),
			Device: attribute("device"), SubVendor: attribute("subsystem_vendor")})
		if !ok || is.Kind != raid.RAID || attribute("vendor") != "1000" {
			continue
		}
		ctl := MegaRAID(raid.ControllerID(d.Name()), fmt.Sprintf("SV%d", len(s.Controllers)+1))
		ctl.AddDrives(4, hw.SSD, hw.BusATA, 480e9)
		s.Controllers = append(s.Controllers, ctl)
	}
	return Create(file, s)
}
