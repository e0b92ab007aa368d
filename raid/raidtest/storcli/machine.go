package storcli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// MachineChassis is where the executable keeps the chassis of the machine that it runs on. It is gone after a restart, and
// so are the volumes in it.
const MachineChassis = "/run/storcli64-chassis.json"

// Machine opens the chassis in a file. If there is none yet, it is made: for the first MegaRAID on the PCI bus, with four
// SSDs. So a virtual machine with such a device has what a driver can work on, with nothing but the executable. sys is
// /sys.
func Machine(file string, sys fs.FS) (*raidtest.Chassis, error) {
	switch _, err := os.Stat(file); {
	case err == nil:
		return raidtest.Open(file)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("simulated chassis: %w", err)
	}
	c, err := megaRAID(sys)
	if err != nil {
		return nil, err
	}
	// Several may be first at once, and one wins: a link is made only where nothing is.
	dir, err := os.MkdirTemp(filepath.Dir(file), filepath.Base(file)+".")
	if err != nil {
		return nil, fmt.Errorf("simulated chassis: %w", err)
	}
	defer os.RemoveAll(dir)
	made, err := raidtest.Create(filepath.Join(dir, "chassis"), &raidtest.State{Controllers: []*raidtest.Controller{c}})
	if err != nil {
		return nil, err
	}
	if err := os.Link(made.Path(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("simulated chassis: %w", err)
	}
	return raidtest.Open(file)
}

// megaRAID is the first controller of Broadcom's on the bus whose class is RAID.
func megaRAID(sys fs.FS) (*raidtest.Controller, error) {
	const bus = "bus/pci/devices"
	devices, err := fs.ReadDir(sys, bus)
	if err != nil {
		return nil, fmt.Errorf("simulated chassis for this machine: %w", err)
	}
	for _, d := range devices { // in the order of their addresses
		id := func(name string) string {
			return strings.TrimPrefix(firstWords(sys, path.Join(bus, d.Name(), name)), "0x")
		}
		if id("vendor") != "1000" || !strings.HasPrefix(id("class"), "0104") {
			continue
		}
		c := raidtest.MegaRAID(raid.ControllerID(d.Name()), "SV"+serialNumber(sys))
		c.AddDrives(4, hw.SSD, hw.BusATA, 480103981056)
		if known, ok := raid.Recognize(hw.PCIDevice{Vendor: id("vendor"), Device: id("device"),
			SubVendor: id("subsystem_vendor"), Class: id("class")}); ok {
			c.Model = known.Family
		}
		c.Extra = map[string]string{}
		for name, file := range map[string]string{"Device Id": "device", "SubVendor Id": "subsystem_vendor",
			"SubDevice Id": "subsystem_device"} {
			if n, err := strconv.ParseUint(id(file), 16, 16); err == nil {
				c.Extra[name] = strconv.FormatUint(n, 10)
			}
		}
		return c, nil
	}
	return nil, fmt.Errorf("simulated chassis for this machine: no MegaRAID (vendor 1000, class 0104) is on its PCI bus: "+
		"give it one, or name a chassis in %s", raidtest.ChassisVariable)
}

// firstWords is the beginning of a small file, "" if it cannot be read.
func firstWords(sys fs.FS, name string) string {
	f, err := sys.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	data := make([]byte, 64)
	n, _ := f.Read(data)
	return strings.ToLower(strings.TrimSpace(string(data[:n])))
}

// serialNumber tells drives of one machine from those of another.
func serialNumber(sys fs.FS) string {
	for _, name := range []string{"product_serial", "product_uuid", "board_serial"} {
		serial := strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, firstWords(sys, "class/dmi/id/"+name))
		if serial != "" {
			return strings.ToUpper(serial[max(0, len(serial)-16):])
		}
	}
	return "0"
}
