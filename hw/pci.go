//go:build linux

package hw

import (
	"strconv"
	"strings"
)

// pci reads /sys/bus/pci/devices.
func (t *tree) pci() ([]PCIDevice, unknowns) {
	var missing unknowns
	devices := []PCIDevice{}
	const dir = "sys/bus/pci/devices"
	names, err := t.list(dir)
	if err != nil {
		missing.addErr("pci", err)
		missing.addErr("controllers", err)
		return devices, missing
	}
	for _, name := range names {
		if pciAddress.MatchString(name) {
			devices = append(devices, t.pciDevice(name))
		}
	}
	return devices, missing
}

func (t *tree) pciDevice(address string) PCIDevice {
	dir := "sys/bus/pci/devices/" + address + "/"
	d := PCIDevice{Address: address}
	var missing unknowns
	id := func(field, file string, length int) string {
		s, err := t.text(dir + file)
		if err != nil {
			missing.addErr(field, err)
			return ""
		}
		hex := strings.ToLower(strings.TrimPrefix(s, "0x"))
		if len(hex) != length || strings.Trim(hex, "0123456789abcdef") != "" {
			missing.add(field, "/%s: %q is not a number of %d hexadecimal digits", dir+file, s, length)
			return ""
		}
		return hex
	}
	d.Class = id("class", "class", 6)
	d.Vendor = id("vendor", "vendor", 4)
	d.Device = id("device", "device", 4)
	d.SubVendor = id("subvendor", "subsystem_vendor", 4)
	d.SubDevice = id("subdevice", "subsystem_device", 4)
	d.Revision = id("revision", "revision", 2)
	d.Driver = t.linkBase(dir + "driver")
	if d.Vendor == "ffff" {
		for _, field := range []string{"vendor", "device", "subvendor", "subdevice"} {
			missing.add(field, "the function answers with all ones: it is gone from the bus or its link is down")
		}
		d.Vendor, d.Device, d.SubVendor, d.SubDevice = "", "", "", ""
	}

	// Conventional PCI functions and those of the chipset have no link; the files are then absent or say Unknown or 0.
	link := PCILink{
		Speed: t.linkSpeed(dir + "current_link_speed"), MaxSpeed: t.linkSpeed(dir + "max_link_speed"),
		Width: t.linkWidth(dir + "current_link_width"), MaxWidth: t.linkWidth(dir + "max_link_width"),
	}
	if link.MaxSpeed != 0 && link.MaxWidth != 0 {
		d.Link = &link
		if link.Speed == 0 || link.Width == 0 {
			missing.add("link/width", "no link is negotiated")
		}
	}
	if strings.HasPrefix(d.Class, "01") {
		t.controllerFirmware(&d, &missing)
	}
	d.Unknown = missing
	return d
}

func (t *tree) linkSpeed(name string) float64 {
	s, err := t.text(name) // "8.0 GT/s PCIe"
	if err != nil {
		return 0
	}
	number, _, _ := strings.Cut(s, " ")
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 || v > 1e6 {
		return 0
	}
	return v
}

func (t *tree) linkWidth(name string) int {
	n, err := t.number(name)
	if err != nil || n < 0 || n >= 255 { // 255: not known to the kernel
		return 0
	}
	return int(n)
}
