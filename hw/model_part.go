package hw

import (
	"fmt"
	"strconv"
	"strings"
)

// What is compared of each part and of each section of one thing, in the order in which differences are listed. Serial
// numbers, MACs, WWNs, UUIDs, asset tags, kernel names and addresses on a bus are no fields: they are never compared.

var systemFields = func() []partField[SystemModel, System] {
	type (
		M = SystemModel
		P = System
	)
	u := func(p *P) []Unknown { return p.Unknown }
	return []partField[M, P]{
		text("vendor", "", u, func(m *M) **WantText { return &m.Vendor }, func(p *P) string { return p.Vendor }),
		text("product", "", u, func(m *M) **WantText { return &m.Product }, func(p *P) string { return p.Product }),
		text("version", "", u, func(m *M) **WantText { return &m.Version }, func(p *P) string { return p.Version }),
		text("sku", "SKU", u, func(m *M) **WantText { return &m.SKU }, func(p *P) string { return p.SKU }),
		text("family", "", u, func(m *M) **WantText { return &m.Family }, func(p *P) string { return p.Family }),
	}
}()

var boardFields = func() []partField[BoardModel, Board] {
	type (
		M = BoardModel
		P = Board
	)
	u := func(p *P) []Unknown { return p.Unknown }
	return []partField[M, P]{
		text("vendor", "", u, func(m *M) **WantText { return &m.Vendor }, func(p *P) string { return p.Vendor }),
		text("product", "", u, func(m *M) **WantText { return &m.Product }, func(p *P) string { return p.Product }),
		text("version", "", u, func(m *M) **WantText { return &m.Version }, func(p *P) string { return p.Version }),
	}
}()

var biosFields = func() []partField[BIOSModel, BIOS] {
	type (
		M = BIOSModel
		P = BIOS
	)
	u := func(p *P) []Unknown { return p.Unknown }
	return []partField[M, P]{
		text("vendor", "", u, func(m *M) **WantText { return &m.Vendor }, func(p *P) string { return p.Vendor }),
		text("version", "", u, func(m *M) **WantText { return &m.Version }, func(p *P) string { return p.Version }),
		text("date", "", u, func(m *M) **WantText { return &m.Date }, func(p *P) string { return p.Date }),
		text("revision", "", u, func(m *M) **WantText { return &m.Revision },
			func(p *P) string { return p.Revision }),
		yesNo("uefi", "boot mode", "UEFI", "legacy BIOS", u, func(m *M) **WantBool { return &m.UEFI },
			func(p *P) *bool { return p.UEFI }),
	}
}()

var chassisFields = func() []partField[ChassisModel, Chassis] {
	type (
		M = ChassisModel
		P = Chassis
	)
	u := func(p *P) []Unknown { return p.Unknown }
	return []partField[M, P]{
		text("vendor", "", u, func(m *M) **WantText { return &m.Vendor }, func(p *P) string { return p.Vendor }),
		text("type", "", u, func(m *M) **WantText { return &m.Type }, func(p *P) string { return p.Type }),
		text("version", "", u, func(m *M) **WantText { return &m.Version }, func(p *P) string { return p.Version }),
		text("sku", "SKU", u, func(m *M) **WantText { return &m.SKU }, func(p *P) string { return p.SKU }),
	}
}()

var memoryFields = func() []partField[MemoryModel, Memory] {
	type (
		M = MemoryModel
		P = Memory
	)
	u := func(p *P) []Unknown { return p.Unknown }
	return []partField[M, P]{
		text("error_correction", "", u, func(m *M) **WantText { return &m.ErrorCorrection },
			func(p *P) string { return p.ErrorCorrection }),
	}
}()

var bmcFields = func() []partField[BMCModel, BMC] {
	type (
		M = BMCModel
		P = BMC
	)
	u := func(p *P) []Unknown { return p.Unknown }
	return []partField[M, P]{
		yesNo("present", "", "yes", "no", u, func(m *M) **WantBool { return &m.Present },
			func(p *P) *bool { return p.Present }),
		text("interface", "", u, func(m *M) **WantText { return &m.Interface },
			func(p *P) string { return p.Interface }),
		text("ipmi", "IPMI version", u, func(m *M) **WantText { return &m.IPMI },
			func(p *P) string { return p.IPMI }),
		text("firmware", "", u, func(m *M) **WantText { return &m.Firmware },
			func(p *P) string { return p.Firmware }),
		text("manufacturer_id", "manufacturer id", u, func(m *M) **WantText { return &m.ManufacturerID },
			func(p *P) string { return p.ManufacturerID }),
		text("product_id", "product id", u, func(m *M) **WantText { return &m.ProductID },
			func(p *P) string { return p.ProductID }),
	}
}()

var cpuFields = func() []partField[CPUModel, CPU] {
	type (
		M = CPUModel
		P = CPU
	)
	u := func(p *P) []Unknown { return p.Unknown }
	return []partField[M, P]{
		text("vendor", "", u, func(m *M) **WantText { return &m.Vendor }, func(p *P) string { return p.Vendor }),
		text("model", "", u, func(m *M) **WantText { return &m.Model }, func(p *P) string { return p.Model }),
		num("family", "", u, func(m *M) **WantNumber { return &m.Family },
			func(p *P) (float64, bool) { return pointed(p.Family) }, plainNumber),
		num("model_number", "", u, func(m *M) **WantNumber { return &m.ModelNumber },
			func(p *P) (float64, bool) { return pointed(p.ModelNumber) }, plainNumber),
		num("stepping", "", u, func(m *M) **WantNumber { return &m.Stepping },
			func(p *P) (float64, bool) { return pointed(p.Stepping) }, plainNumber),
		text("microcode", "", u, func(m *M) **WantText { return &m.Microcode },
			func(p *P) string { return p.Microcode }),
		num("cores", "", u, func(m *M) **WantNumber { return &m.Cores },
			func(p *P) (float64, bool) { return told(p.Cores) }, plainNumber),
		num("threads", "", u, func(m *M) **WantNumber { return &m.Threads },
			func(p *P) (float64, bool) { return told(p.Threads) }, plainNumber),
	}
}()

var dimmFields = func() []partField[DIMMModel, dimmPart] {
	type (
		M = DIMMModel
		P = dimmPart
	)
	u := func(p *P) []Unknown { return p.Unknown }
	return []partField[M, P]{
		size("bytes", "size", u, func(m *M) **WantSize { return &m.Bytes },
			func(p *P) int64 { return p.Bytes }, binaryBytes, binarySize, false),
		text("type", "", u, func(m *M) **WantText { return &m.Type }, func(p *P) string { return p.Type }),
		text("form_factor", "", u, func(m *M) **WantText { return &m.FormFactor },
			func(p *P) string { return p.FormFactor }),
		text("manufacturer", "", u, func(m *M) **WantText { return &m.Manufacturer },
			func(p *P) string { return p.Manufacturer }),
		text("part_number", "", u, func(m *M) **WantText { return &m.PartNumber },
			func(p *P) string { return p.PartNumber }),
		num("rank", "", u, func(m *M) **WantNumber { return &m.Rank },
			func(p *P) (float64, bool) { return told(p.Rank) }, plainNumber),
		yesNo("ecc", "ECC", "yes", "no", u, func(m *M) **WantBool { return &m.ECC },
			func(p *P) *bool { return p.ECC }),
		num("rated_mts", "rated speed", u, func(m *M) **WantNumber { return &m.RatedMTs },
			func(p *P) (float64, bool) { return told(p.RatedMTs) }, in("MT/s")),
		num("configured_mts", "configured speed", u, func(m *M) **WantNumber { return &m.ConfiguredMTs },
			func(p *P) (float64, bool) { return told(p.ConfiguredMTs) }, in("MT/s")),
	}
}()

var diskFields = func() []partField[DiskModel, Disk] {
	type (
		M = DiskModel
		P = Disk
	)
	u := func(p *P) []Unknown { return p.Unknown }
	return []partField[M, P]{
		oneOf(text("bus", "", u, func(m *M) **WantText { return &m.Bus }, func(p *P) string { return string(p.Bus) }),
			func(m *M) **WantText { return &m.Bus }, "ata", "sas", "scsi", "nvme", "virtio", "usb", "mmc", "xen"),
		oneOf(textIf("medium", "", u, func(m *M) **WantText { return &m.Medium }, func(p *P) (string, bool) {
			if p.Medium == MediumUnknown {
				return "", false
			}
			return string(p.Medium), p.Medium != ""
		}),
			func(m *M) **WantText { return &m.Medium }, "hdd", "ssd", "nvme"),
		text("vendor", "", u, func(m *M) **WantText { return &m.Vendor }, func(p *P) string { return p.Vendor }),
		text("model", "", u, func(m *M) **WantText { return &m.Model }, func(p *P) string { return p.Model }),
		text("firmware", "", u, func(m *M) **WantText { return &m.Firmware },
			func(p *P) string { return p.Firmware }),
		size("bytes", "size", u, func(m *M) **WantSize { return &m.Bytes },
			func(p *P) int64 { return p.Bytes },
			humanBytes, func(n int64) string { return strconv.FormatInt(n, 10) }, true),
		num("logical_sector", "logical sector size", u, func(m *M) **WantNumber { return &m.LogicalSector },
			func(p *P) (float64, bool) { return told(p.LogicalSector) }, in("bytes")),
		num("physical_sector", "physical sector size", u, func(m *M) **WantNumber { return &m.PhysicalSector },
			func(p *P) (float64, bool) { return told(p.PhysicalSector) }, in("bytes")),
		yesNo("removable", "", "yes", "no", u, func(m *M) **WantBool { return &m.Removable },
			func(p *P) *bool { return p.Removable }),
		yesNo("read_only", "", "yes", "no", u, func(m *M) **WantBool { return &m.ReadOnly },
			func(p *P) *bool { return p.ReadOnly }),
	}
}()

var psuFields = func() []partField[PSUModel, PSU] {
	type (
		M = PSUModel
		P = PSU
	)
	u := func(p *P) []Unknown { return p.Unknown }
	return []partField[M, P]{
		text("manufacturer", "", u, func(m *M) **WantText { return &m.Manufacturer },
			func(p *P) string { return p.Manufacturer }),
		text("model", "", u, func(m *M) **WantText { return &m.Model }, func(p *P) string { return p.Model }),
		text("revision", "", u, func(m *M) **WantText { return &m.Revision },
			func(p *P) string { return p.Revision }),
		num("max_watts", "power", u, func(m *M) **WantNumber { return &m.MaxWatts },
			func(p *P) (float64, bool) { return told(p.MaxWatts) }, in("W")),
		text("status", "", u, func(m *M) **WantText { return &m.Status }, func(p *P) string { return p.Status }),
		yesNo("plugged", "mains", "yes", "no", u, func(m *M) **WantBool { return &m.Plugged },
			func(p *P) *bool { return p.Plugged }),
	}
}()

var nicFields = func() []partField[NICModel, nicPart] {
	type (
		M = NICModel
		P = nicPart
	)
	u := func(p *P) []Unknown { return p.Unknown }
	return []partField[M, P]{
		hexID(4, text("vendor", "vendor id", u, func(m *M) **WantText { return &m.Vendor },
			func(p *P) string { return p.Vendor }),
			func(m *M) **WantText { return &m.Vendor }),
		hexID(4, text("device", "device id", u, func(m *M) **WantText { return &m.Device },
			func(p *P) string { return p.Device }),
			func(m *M) **WantText { return &m.Device }),
		hexID(4, text("subvendor", "subsystem vendor id", u, func(m *M) **WantText { return &m.SubVendor },
			func(p *P) string { return p.SubVendor }),
			func(m *M) **WantText { return &m.SubVendor }),
		hexID(4, text("subdevice", "subsystem device id", u, func(m *M) **WantText { return &m.SubDevice },
			func(p *P) string { return p.SubDevice }),
			func(m *M) **WantText { return &m.SubDevice }),
		text("driver", "", u, func(m *M) **WantText { return &m.Driver }, func(p *P) string { return p.Driver }),
		text("firmware", "", u, func(m *M) **WantText { return &m.Firmware },
			func(p *P) string { return p.Firmware }),
		yesNo("link_up", "link", "up", "down", u, func(m *M) **WantBool { return &m.LinkUp },
			func(p *P) *bool { return p.LinkUp }),
		num("speed_mbps", "link speed", u, func(m *M) **WantNumber { return &m.SpeedMbps },
			func(p *P) (float64, bool) { return told(p.SpeedMbps) }, in("Mbit/s")),
		num("max_speed_mbps", "fastest link speed", u, func(m *M) **WantNumber { return &m.MaxSpeedMbps },
			func(p *P) (float64, bool) { return told(p.MaxSpeedMbps) }, in("Mbit/s")),
	}
}()

// functionFields are those of a PCI function, as a controller and as a GPU.
func functionFields[M any](function func(m *M) *FunctionModel) []partField[M, PCIDevice] {
	type P = PCIDevice
	u := func(p *P) []Unknown { return p.Unknown }
	id := func(name, said string, digits int, at func(*FunctionModel) **WantText, get func(*P) string) partField[M, P] {
		in := func(m *M) **WantText { return at(function(m)) }
		return hexID(digits, text(name, said, u, in, get), in)
	}
	return append([]partField[M, P]{
		id("class", "PCI class", 6, func(m *FunctionModel) **WantText { return &m.Class },
			func(p *P) string { return p.Class }),
		id("vendor", "vendor id", 4, func(m *FunctionModel) **WantText { return &m.Vendor },
			func(p *P) string { return p.Vendor }),
		id("device", "device id", 4, func(m *FunctionModel) **WantText { return &m.Device },
			func(p *P) string { return p.Device }),
		id("subvendor", "subsystem vendor id", 4, func(m *FunctionModel) **WantText { return &m.SubVendor },
			func(p *P) string { return p.SubVendor }),
		id("subdevice", "subsystem device id", 4, func(m *FunctionModel) **WantText { return &m.SubDevice },
			func(p *P) string { return p.SubDevice }),
		id("revision", "", 2, func(m *FunctionModel) **WantText { return &m.Revision },
			func(p *P) string { return p.Revision }),
		text("driver", "", u, func(m *M) **WantText { return &function(m).Driver },
			func(p *P) string { return p.Driver }),
		text("firmware", "", u, func(m *M) **WantText { return &function(m).Firmware },
			func(p *P) string { return p.Firmware }),
	}, linkFields(u, func(m *M) **LinkModel { return &function(m).Link }, func(p *P) *PCILink { return p.Link })...)
}

// linkFields are those of the PCI Express link of a part.
func linkFields[M, P any](u reasonOf[P], at func(m *M) **LinkModel, link func(p *P) *PCILink) []partField[M, P] {
	one := func(name, said string, want func(*LinkModel) **WantNumber, get func(*PCILink) float64,
		unit func(float64) string) partField[M, P] {
		absent := func(m *M) **WantNumber { // a link model that nobody wrote; what is put into it is lost
			if l := *at(m); l != nil {
				return want(l)
			}
			return new(*WantNumber)
		}
		f := num("link/"+name, said, u, absent, func(p *P) (float64, bool) {
			if l := link(p); l != nil {
				return get(l), get(l) != 0
			}
			return 0, false
		}, unit)
		learn := f.learn
		f.learn = func(m *M, p *P) {
			if *at(m) == nil {
				*at(m) = &LinkModel{}
			}
			learn(m, p)
			if **at(m) == (LinkModel{}) {
				*at(m) = nil
			}
		}
		drop := f.drop
		f.drop = func(m *M) {
			drop(m)
			if l := *at(m); l != nil && *l == (LinkModel{}) {
				*at(m) = nil
			}
		}
		return f
	}
	return []partField[M, P]{
		one("width", "PCIe width", func(l *LinkModel) **WantNumber { return &l.Width },
			func(l *PCILink) float64 { return float64(l.Width) }, lanes),
		one("speed_gts", "PCIe speed", func(l *LinkModel) **WantNumber { return &l.Speed },
			func(l *PCILink) float64 { return l.Speed }, in("GT/s")),
		one("max_width", "PCIe width of the function", func(l *LinkModel) **WantNumber { return &l.MaxWidth },
			func(l *PCILink) float64 { return float64(l.MaxWidth) }, lanes),
		one("max_speed_gts", "PCIe speed of the function", func(l *LinkModel) **WantNumber { return &l.MaxSpeed },
			func(l *PCILink) float64 { return l.MaxSpeed }, in("GT/s")),
	}
}

// binarySize writes the size of a memory module as people do, and exactly.
func binarySize(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n != 0 && n%u.bytes == 0 {
			return fmt.Sprintf("%d%s", n/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(n, 10)
}

// A dimmPart is a module with the name of its slot: the slot's own, or with the bank where that is not unique.
type dimmPart struct {
	*DIMM
	name string
}

// A nicPart is an interface with the PCI function behind it, nil if the facts have none.
type nicPart struct {
	*NIC
	function *PCIDevice
}

// A sortOfPart is what there can be several of in a machine: P in the facts, M in a model.
type sortOfPart[M, P any] struct {
	// section is the path of the list in the facts.
	section string
	// noun is what one is called, and none what there is instead of it.
	noun, none string
	hasSlots   bool
	fields     []partField[M, P]
	checks     []healthCheck[M, P]
	entry      func(m *M) *Entry
	// slot is the name of the slot, "" if nobody knows, and another name for it; why has the reason.
	slot func(p *P) (name, other string)
	why  func(p *P) string
	// place is where a part is found that has no slot. It never gets into a model.
	place  func(p *P) string
	serial func(p *P) string
	// describe makes words of fields, given by name.
	describe func(get func(name string) string) string
	// moot says of a field that its difference would only repeat another one.
	moot func(name string, m *M, h *HealthModel) func(p *P) bool
}

func slotReason[P any](u func(p *P) []Unknown, name string) func(p *P) string {
	return func(p *P) string {
		reason, _ := notKnown(u(p), name)
		return unknownWord(reason)
	}
}

func words(get func(string) string, names ...string) string {
	var all []string
	for _, n := range names {
		all = append(all, get(n))
	}
	return joined(" ", all...)
}

var cpuSort = &sortOfPart[CPUModel, CPU]{section: "cpus", noun: "CPU", none: "no processor", hasSlots: true,
	fields: cpuFields,
	entry:  func(m *CPUModel) *Entry { return &m.Entry },
	slot:   func(p *CPU) (string, string) { return p.Socket, "" },
	why:    slotReason(func(p *CPU) []Unknown { return p.Unknown }, "socket"),
	place:  func(*CPU) string { return "" },
	serial: func(p *CPU) string { return p.Serial },
	describe: func(get func(string) string) string {
		name := get("model")
		if name == "" {
			name = get("vendor")
		}
		return joined(", ", name, label("stepping", get("stepping")), with(get("cores"), "cores"))
	}}

var dimmSort = &sortOfPart[DIMMModel, dimmPart]{section: "memory/dimms", noun: "DIMM", none: "no module",
	hasSlots: true,
	fields:   dimmFields,
	checks:   dimmChecks,
	entry:    func(m *DIMMModel) *Entry { return &m.Entry },
	slot:     func(p *dimmPart) (string, string) { return p.name, p.Slot },
	why:      slotReason(func(p *dimmPart) []Unknown { return p.Unknown }, "slot"),
	place:    func(p *dimmPart) string { return p.Bank },
	serial:   func(p *dimmPart) string { return p.Serial },
	describe: func(get func(string) string) string {
		part := get("part_number")
		if part == "" {
			part = get("type")
		}
		return joined(" at ", joined(" ", get("bytes"), get("manufacturer"), part), get("configured_mts"))
	}}

var diskSort = &sortOfPart[DiskModel, Disk]{section: "disks", noun: "disk", none: "no disk",
	fields: diskFields,
	checks: diskChecks,
	entry:  func(m *DiskModel) *Entry { return &m.Entry },
	slot:   func(*Disk) (string, string) { return "", "" },
	why:    func(*Disk) string { return "" },
	place: func(p *Disk) string {
		if p.Path == "" {
			return p.Name
		}
		return p.Path
	},
	serial: func(p *Disk) string { return p.Serial },
	describe: func(get func(string) string) string {
		return joined(", ", words(get, "bytes", "bus", "medium"), words(get, "vendor", "model"))
	}}

var nicSort = &sortOfPart[NICModel, nicPart]{section: "nics", noun: "NIC", none: "no NIC", hasSlots: true,
	fields: append(nicFields, linkFields(
		func(p *nicPart) []Unknown {
			if p.function == nil {
				return nil
			}
			return p.function.Unknown
		}, func(m *NICModel) **LinkModel { return &m.Link },
		func(p *nicPart) *PCILink {
			if p.function == nil {
				return nil
			}
			return p.function.Link
		})...),
	checks: nicChecks,
	entry:  func(m *NICModel) *Entry { return &m.Entry },
	slot: func(p *nicPart) (string, string) {
		if p.function == nil {
			return "", ""
		}
		return p.function.Slot, ""
	},
	why: slotReason(func(p *nicPart) []Unknown {
		if p.function == nil {
			return nil
		}
		return p.function.Unknown
	}, "slot"),
	place: func(p *nicPart) string {
		switch {
		case p.Path == "":
			return p.Name
		case p.Port != 0:
			return fmt.Sprintf("%s port %d", p.Path, p.Port)
		}
		return p.Path
	},
	serial: func(p *nicPart) string {
		if p.MAC == "" {
			return p.CurrentMAC
		}
		return p.MAC
	},
	describe: func(get func(string) string) string {
		return joined(", ", joined(":", get("vendor"), get("device")), get("speed_mbps"))
	},
	moot: func(name string, m *NICModel, h *HealthModel) func(*nicPart) bool {
		if name != "speed_mbps" || (m.LinkUp == nil || m.LinkUp.Ignore) && !h.looksAtLinks(m) {
			return nil
		}
		return func(p *nicPart) bool { return p.LinkUp != nil && !*p.LinkUp && p.SpeedMbps == 0 }
	}}

func functionSort[M any](section, noun, none string, entry func(*M) *Entry,
	function func(*M) *FunctionModel, savesPower bool) *sortOfPart[M, PCIDevice] {
	return &sortOfPart[M, PCIDevice]{section: section, noun: noun, none: none, hasSlots: true,
		fields: functionFields(function),
		checks: []healthCheck[M, PCIDevice]{linkCheck(
			func(m *M) *LinkModel { return function(m).Link },
			func(p *PCIDevice) *PCILink { return p.Link }, !savesPower)},
		entry:  entry,
		slot:   func(p *PCIDevice) (string, string) { return p.Slot, "" },
		why:    slotReason(func(p *PCIDevice) []Unknown { return p.Unknown }, "slot"),
		place:  func(p *PCIDevice) string { return p.Address },
		serial: func(*PCIDevice) string { return "" },
		describe: func(get func(string) string) string {
			kind := ""
			if section == "controllers" {
				kind = storageClass(get("class"))
			}
			ids := joined(":", get("vendor"), get("device"))
			return joined(" ", kind, ids, label("sub", joined(":", get("subvendor"), get("subdevice"))))
		}}
}

var controllerSort = functionSort("controllers", "controller", "no controller",
	func(m *ControllerModel) *Entry { return &m.Entry },
	func(m *ControllerModel) *FunctionModel { return &m.FunctionModel }, false)

var gpuSort = functionSort("gpus", "GPU", "no GPU",
	func(m *GPUModel) *Entry { return &m.Entry }, func(m *GPUModel) *FunctionModel { return &m.FunctionModel }, true)

var psuSort = &sortOfPart[PSUModel, PSU]{section: "psus", noun: "PSU", none: "no power supply", hasSlots: true,
	fields: psuFields,
	checks: psuChecks,
	entry:  func(m *PSUModel) *Entry { return &m.Entry },
	slot:   func(p *PSU) (string, string) { return p.Slot, "" },
	why:    slotReason(func(p *PSU) []Unknown { return p.Unknown }, "slot"),
	place:  func(*PSU) string { return "" },
	serial: func(p *PSU) string { return p.Serial },
	describe: func(get func(string) string) string {
		return words(get, "max_watts", "manufacturer", "model")
	}}

func with(value, unit string) string {
	if value == "" {
		return ""
	}
	return value + " " + unit
}

// titled is what people call a part: by its slot, or by where it is found.
func titled(noun, slot, place string) string {
	switch {
	case slot == "":
		return joined(" ", noun, place)
	case strings.Contains(strings.ToLower(slot), strings.ToLower(noun)):
		return slot
	}
	return noun + " " + slot
}
