package hw

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes a summary for people, about one screenful for a common server: system, CPU, memory, disks, NICs,
// storage controllers, and how much is unknown. The form may change; programs read the JSON.
func (f *Facts) WriteText(w io.Writer) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s %s\n", label, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
	s := f.System
	line("System", "%s", joined(", ", strings.TrimSpace(s.Vendor+" "+s.Product), label("serial", s.Serial),
		label("SKU", s.SKU), label("UUID", s.UUID)))
	if f.Board.Product != "" {
		line("Board", "%s", joined(", ", strings.TrimSpace(f.Board.Vendor+" "+f.Board.Product), f.Board.Version,
			label("serial", f.Board.Serial)))
	}
	mode := ""
	if f.BIOS.UEFI != nil {
		mode = map[bool]string{true: "UEFI boot", false: "BIOS boot"}[*f.BIOS.UEFI]
	}
	line("Firmware", "%s", joined(", ", strings.TrimSpace(f.BIOS.Vendor+" "+f.BIOS.Version), f.BIOS.Date, mode))

	group(f.CPUs, func(c CPU) string {
		if c.Empty {
			return "socket empty"
		}
		stepping := ""
		if c.Stepping != nil {
			stepping = fmt.Sprintf("stepping %d", *c.Stepping)
		}
		return joined(", ", orUnknown(c.Model), count(c.Cores, "core"), count(c.Threads, "thread"), stepping,
			label("microcode", c.Microcode))
	}, func(n int, text string) { line("CPU", "%d x %s", n, text) })

	memory := "installed unknown"
	if f.Memory.InstalledBytes > 0 {
		memory = binaryBytes(f.Memory.InstalledBytes) + " installed"
	}
	usable := ""
	if f.Memory.UsableBytes > 0 {
		usable = binaryBytes(f.Memory.UsableBytes) + " usable"
	}
	line("Memory", "%s", joined(", ", memory, usable, f.Memory.ErrorCorrection,
		counted(f.Memory.CorrectedErrors, "corrected error"), counted(f.Memory.UncorrectedErrors, "UNCORRECTED ERROR")))
	group(f.Memory.DIMMs, func(d DIMM) string {
		if d.Empty {
			return "slot empty"
		}
		size := "size unknown"
		if d.Bytes > 0 {
			size = binaryBytes(d.Bytes)
		}
		rank := ""
		if d.Rank > 0 {
			rank = fmt.Sprintf("rank %d", d.Rank)
		}
		speed := ""
		switch {
		case d.ConfiguredMTs > 0 && d.RatedMTs > 0 && d.ConfiguredMTs != d.RatedMTs:
			speed = fmt.Sprintf("%d of %d MT/s", d.ConfiguredMTs, d.RatedMTs)
		case d.ConfiguredMTs+d.RatedMTs > 0:
			speed = fmt.Sprintf("%d MT/s", max(d.ConfiguredMTs, d.RatedMTs))
		}
		return joined(", ", joined(" ", size, d.Type, d.Manufacturer, d.PartNumber), speed, rank)
	}, func(n int, text string) { line("  DIMM", "%d x %s", n, text) })

	if len(f.Disks) == 0 {
		line("Disk", "%s", f.noneOr("disks"))
	}
	for _, d := range f.Disks {
		kind, medium, flag := "", string(d.Medium), ""
		if d.Kind == RAIDVolume {
			kind = "RAID volume"
		}
		if d.Medium == MediumUnknown || d.Medium == NVMe && d.Bus == BusNVMe {
			medium = ""
		}
		if d.Removable != nil && *d.Removable {
			flag = "removable"
		}
		if d.ReadOnly != nil && *d.ReadOnly {
			flag = strings.TrimSpace(flag + " read-only")
		}
		size := "size unknown"
		if d.Bytes > 0 {
			size = humanBytes(d.Bytes)
		} else if d.why("bytes") == "" {
			size = "no medium"
		}
		line("Disk", "%-8s %s", d.Name, joined(", ", joined(" ", size, string(d.Bus), medium, kind),
			joined(" ", d.Vendor, d.Model), label("firmware", d.Firmware), label("serial", d.Serial), d.WWN,
			d.Path, label("member of", d.MemberOf), flag, d.Health.text()))
	}
	if len(f.NICs) == 0 {
		line("NIC", "%s", f.noneOr("nics"))
	}
	for _, n := range f.NICs {
		mac := n.MAC
		if mac == "" {
			mac = joined(" ", n.CurrentMAC, "(permanent address unknown)")
		}
		link := "link unknown"
		switch {
		case n.LinkUp != nil && !*n.LinkUp:
			link = "link down"
		case n.LinkUp != nil && n.SpeedMbps > 0:
			link = fmt.Sprintf("link up at %d Mbit/s", n.SpeedMbps)
			if n.MaxSpeedMbps > n.SpeedMbps {
				link = fmt.Sprintf("link up at %d of %d Mbit/s", n.SpeedMbps, n.MaxSpeedMbps)
			}
		case n.LinkUp != nil:
			link = "link up"
		}
		line("NIC", "%-8s %s", n.Name, joined(", ", mac, link, n.Driver, label("firmware", n.Firmware), n.Path))
	}
	for _, c := range f.Controllers {
		driver := "no driver"
		if c.Driver != "" {
			driver = c.Driver
		}
		line("Controller", "%s %s", c.Address, joined(", ", storageClass(c.Class),
			pciIDs(c), driver, label("firmware", c.Firmware), c.Slot))
	}
	for _, g := range f.GPUs() {
		line("GPU", "%s %s", g.Address, joined(", ", strings.TrimSpace(g.Vendor+":"+g.Device+" "+g.Driver), g.Slot))
	}
	group(f.PSUs, func(p PSU) string {
		if p.Empty {
			return "bay empty"
		}
		watts, mains := "", ""
		if p.MaxWatts > 0 {
			watts = fmt.Sprintf("%d W", p.MaxWatts)
		}
		if p.Plugged != nil && !*p.Plugged {
			mains = "no mains"
		}
		return joined(", ", joined(" ", p.Manufacturer, orUnknown(p.Model)), watts, p.Status, mains)
	}, func(n int, text string) { line("PSU", "%d x %s", n, text) })
	switch {
	case f.BMC.Present == nil:
		line("BMC", "unknown")
	case !*f.BMC.Present:
		line("BMC", "none")
	default:
		device := f.BMC.Device
		if device == "" {
			device = "no driver"
		}
		line("BMC", "%s", joined(", ", joined(" ", f.BMC.Interface, label("IPMI", f.BMC.IPMI)),
			label("firmware", f.BMC.Firmware), device))
	}
	if len(f.Unknown) > 0 {
		for _, u := range f.Unknown {
			line("Unknown", "%s: %s", u.Path, u.Reason)
		}
	}
	if n := len(f.Unknowns()) - len(f.Unknown); n > 0 {
		line("Unknown", "%s of single parts; the JSON names each with the reason", count(n, "field"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// text is what of a disk's health a person must see. A nil health is a disk that was not asked.
func (h *DiskHealth) text() string {
	if h == nil {
		return ""
	}
	verdict := "health unknown"
	if h.Passed != nil {
		verdict = map[bool]string{true: "healthy", false: "SMART ALERT"}[*h.Passed]
	}
	wear := ""
	if h.WearPercent != nil {
		wear = fmt.Sprintf("%d%% worn", *h.WearPercent)
	}
	return joined(", ", verdict, wear, counted(h.MediaErrors, "media error"), counted(h.Reallocated, "reallocated sector"),
		counted(h.Pending, "pending sector"))
}

// counted is empty for none and for what is not known.
func counted(n *int64, noun string) string {
	if n == nil || *n <= 0 {
		return ""
	}
	return count(int(*n), noun)
}

func pciIDs(d PCIDevice) string {
	if d.Vendor == "" || d.Device == "" {
		return "ids unknown"
	}
	ids := d.Vendor + ":" + d.Device
	if d.SubVendor != "" && d.SubDevice != "" {
		ids += " sub " + d.SubVendor + ":" + d.SubDevice
	}
	return ids
}

// noneOr says why a list is empty.
func (f *Facts) noneOr(section string) string {
	for _, u := range f.Unknown {
		if u.Path == section {
			return "unknown"
		}
	}
	return "none"
}

// group counts parts that read the same, in the order in which they first come.
func group[T any](parts []T, text func(T) string, write func(n int, text string)) {
	var order []string
	counts := map[string]int{}
	for _, p := range parts {
		s := text(p)
		if counts[s] == 0 {
			order = append(order, s)
		}
		counts[s]++
	}
	for _, s := range order {
		write(counts[s], s)
	}
}

func joined(separator string, parts ...string) string {
	var set []string
	for _, p := range parts {
		if p != "" {
			set = append(set, p)
		}
	}
	return strings.Join(set, separator)
}

func label(name, value string) string {
	if value == "" {
		return ""
	}
	return name + " " + value
}

func count(n int, noun string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// binaryBytes is how memory is sold.
func binaryBytes(n int64) string {
	for _, u := range []struct {
		name  string
		bytes float64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if v := float64(n) / u.bytes; v >= 1 {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + u.name
		}
	}
	return fmt.Sprintf("%d B", n)
}

// storageClass names the subclasses of PCI class 01 (PCI Code and ID Assignment, 1.2).
func storageClass(class string) string {
	if len(class) != 6 {
		return "storage"
	}
	switch class[2:4] {
	case "00":
		return "SCSI"
	case "01":
		return "IDE"
	case "02":
		return "floppy"
	case "04":
		return "RAID"
	case "06":
		return "SATA"
	case "07":
		return "SAS"
	case "08":
		return "NVMe"
	}
	return "storage"
}
