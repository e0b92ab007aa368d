package lab

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	nameRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$`)
	uuidRE = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	wwnRE  = regexp.MustCompile(`^[0-9a-f]{16}$`)
)

// Validate checks a completed Spec (see [Spec.Complete]) and reports everything that is wrong with it at once, joined
// by [errors.Join], each with its place such as machines[1] (m2).disks[0].
func (s Spec) Validate() error {
	var c checker
	c.check(nameRE.MatchString(s.Name), "name", "%q: want lower-case letters, digits and dashes, at most 24", s.Name)
	switch {
	case !s.Subnet.IsValid() || !s.Subnet.Addr().Is4():
		c.fail("subnet", "%s: want an IPv4 prefix such as 10.77.0.0/24", s.Subnet)
	case s.Subnet != s.Subnet.Masked():
		c.fail("subnet", "%s has host bits set: want %s", s.Subnet, s.Subnet.Masked())
	case s.Subnet.Bits() > 30:
		c.fail("subnet", "%s is too small for a server and a machine", s.Subnet)
	case !s.Subnet.Contains(s.Server) || s.Server == s.Subnet.Addr():
		c.fail("server", "%s is no host address in %s", s.Server, s.Subnet)
	}
	c.check(len(s.Machines) > 0, "machines", "the rack is empty")
	c.check(len(s.Machines) <= 250, "machines", "%d are too many: at most 250", len(s.Machines))

	seen := map[string]string{}
	unique := func(kind, value, at string, always bool) {
		key := kind + " " + strings.ToLower(value)
		if first, ok := seen[key]; ok && (always || !s.AllowDuplicates) {
			hint := ""
			if !always {
				hint = " (allow_duplicates: true permits it)"
			}
			c.fail(at, "%s %q is used by %s already%s", kind, value, first, hint)
			return
		}
		seen[key] = at
	}
	for i, m := range s.Machines {
		at := fmt.Sprintf("machines[%d] (%s)", i, m.Name)
		m.validate(&c, at)
		unique("machine name", m.Name, at, true)
		unique("serial number", m.Serial, at, false)
		unique("uuid", m.UUID, at, false)
		for j, n := range m.NICs {
			unique("mac", n.MAC, fmt.Sprintf("%s.nics[%d]", at, j), false)
		}
		for j, d := range m.Disks {
			if d.WWN != "" {
				unique("wwn", d.WWN, fmt.Sprintf("%s.disks[%d]", at, j), false)
			}
		}
	}
	return errors.Join(c.errs...)
}

func (m MachineSpec) validate(c *checker, at string) {
	c.check(nameRE.MatchString(m.Name), at+".name", "%q: want lower-case letters, digits and dashes, at most 24", m.Name)
	for _, f := range [][2]string{
		{"vendor", m.Vendor}, {"product", m.Product}, {"serial", m.Serial}, {"sku", m.SKU}, {"bios_version", m.BIOSVersion},
	} {
		c.text(at+"."+f[0], f[1], 64)
	}
	c.check(uuidRE.MatchString(m.UUID), at+".uuid", "%q: want 8-4-4-4-12 hexadecimal digits", m.UUID)
	one(c, at+".firmware", m.Firmware, BIOS, UEFI)
	c.check(!m.SecureBoot || m.Firmware == UEFI, at+".secure_boot", "needs firmware uefi")
	c.check(!m.SecureBoot || m.Boot != BootIPXEROM, at+".boot", "%s is not signed, and secure_boot refuses it", m.Boot)
	one(c, at+".boot", m.Boot, BootIPXEROM, BootPXE, BootHTTP)
	one(c, at+".boot_order", m.BootOrder, OrderNetwork, OrderDisk, OrderNVRAM)
	if m.Firmware == BIOS {
		c.check(m.Boot == BootIPXEROM, at+".boot", "%s needs firmware uefi: QEMU's BIOS network ROM is iPXE", m.Boot)
		c.check(m.BootOrder != OrderNVRAM, at+".boot_order", "nvram needs firmware uefi")
	}
	if m.Direct != nil {
		c.check(m.Direct.Kernel != "", at+".direct.kernel", "is missing")
	}
	c.check(m.CPUs >= 1 && m.CPUs <= 64, at+".cpus", "%d: want 1 to 64", m.CPUs)
	c.check(m.Memory >= 64*MiB && m.Memory%MiB == 0, at+".memory", "%s: want whole MiB, at least 64MiB", m.Memory)

	slots := map[string]bool{}
	for i, d := range m.DIMMs {
		at := fmt.Sprintf("%s.dimms[%d]", at, i)
		c.check(!slots[d.Slot], at+".slot", "%q is taken already", d.Slot)
		slots[d.Slot] = true
		c.check(d.Size >= 0 && d.Size%MiB == 0 && d.Size < 1<<31*MiB, at+".size", "%s: want whole MiB below 2048TiB", d.Size)
		c.check(d.Rank >= 0 && d.Rank <= 15, at+".rank", "%d: want 1 to 15", d.Rank)
		for _, f := range [][2]string{
			{"slot", d.Slot}, {"bank", d.Bank}, {"manufacturer", d.Manufacturer}, {"part", d.Part}, {"serial", d.Serial},
		} {
			c.text(at+"."+f[0], f[1], 64)
		}
		c.check(d.Speed >= 0 && d.Speed < 65535, at+".speed", "%d MT/s: want below 65535", d.Speed)
		c.check(d.ConfiguredSpeed >= 0 && d.ConfiguredSpeed < 65535, at+".configured_speed", "%d MT/s: want below 65535",
			d.ConfiguredSpeed)
	}

	perBus := map[Bus]int{}
	serials := map[string]int{}
	for i, d := range m.Disks {
		at := fmt.Sprintf("%s.disks[%d]", at, i)
		d.validate(c, at)
		perBus[d.Bus]++
		if first, ok := serials[d.Serial]; ok {
			c.fail(at+".serial", "%q is disks[%d]'s already", d.Serial, first)
		}
		serials[d.Serial] = i
	}
	c.check(perBus[BusAHCI] <= 6, at+".disks", "%d on ahci: the controller has 6 ports", perBus[BusAHCI])
	c.check(perBus[BusMPTSAS] <= 8, at+".disks", "%d on mptsas: the controller has 8 ports", perBus[BusMPTSAS])
	cards := perBus[BusVirtio] + perBus[BusNVMe] + len(m.NICs)
	c.check(cards <= 22, at, "%d PCI cards (virtio and nvme disks, nics): at most 22", cards)

	for i, n := range m.NICs {
		at := fmt.Sprintf("%s.nics[%d]", at, i)
		one(c, at+".model", n.Model, VirtioNet, E1000, E1000E)
		hw, err := net.ParseMAC(n.MAC)
		c.check(err == nil && len(hw) == 6 && hw[0]&1 == 0 && strings.Count(n.MAC, ":") == 5, at+".mac",
			"%q: want a unicast address such as 52:54:00:12:34:56", n.MAC)
		c.check(m.Firmware != UEFI || m.Boot == BootIPXEROM || n.NoBoot || n.Model == VirtioNet, at+".model",
			"%s cannot boot by %s: OVMF has a driver for virtio-net only (or set no_boot, or boot: ipxe-rom)", n.Model, m.Boot)
	}
}

func (d Disk) validate(c *checker, at string) {
	one(c, at+".bus", d.Bus, BusVirtio, BusAHCI, BusNVMe, BusSCSI, BusMegaSAS, BusMPTSAS)
	c.check(d.Size > 0 && d.Size%512 == 0, at+".size", "%s: want a positive multiple of 512 bytes", d.Size)
	c.text(at+".serial", d.Serial, 20)
	c.check(d.WWN == "" || wwnRE.MatchString(d.WWN), at+".wwn", "%q: want 16 hexadecimal digits", d.WWN)
	if d.WWN != "" {
		c.check(d.Bus != BusVirtio, at+".wwn", "virtio disks have none")
	}
	if d.Medium != "" {
		one(c, at+".medium", d.Medium, SSD, HDD)
		c.check(d.Bus != BusVirtio, at+".medium", "a virtio disk cannot tell its medium: use ahci or scsi")
		c.check(d.Bus != BusNVMe || d.Medium == SSD, at+".medium", "an nvme disk is always ssd")
	}
	model, firmware := 16, 4
	switch d.Bus {
	case BusVirtio, BusNVMe:
		model, firmware = 0, 0
	case BusAHCI:
		model, firmware = 40, 8
	}
	c.text(at+".model", d.Model, model)
	c.text(at+".firmware", d.Firmware, firmware)
}

// checker gathers what is wrong.
type checker struct{ errs []error }

func (c *checker) fail(at, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

func (c *checker) check(ok bool, at, format string, args ...any) {
	if !ok {
		c.fail(at, format, args...)
	}
}

// text allows printable ASCII: what goes into SMBIOS and drive identities.
func (c *checker) text(at, value string, limit int) {
	if i := strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		c.fail(at, "%s: want printable ASCII", strconv.QuoteToASCII(value))
	}
	switch {
	case limit == 0 && value != "":
		c.fail(at, "this bus cannot carry it")
	case len(value) > limit:
		c.fail(at, "%q is %d characters long: at most %d", value, len(value), limit)
	}
}

func one[T ~string](c *checker, at string, value T, allowed ...T) {
	if !slices.Contains(allowed, value) {
		c.fail(at, "%q: want one of %q", value, allowed)
	}
}
