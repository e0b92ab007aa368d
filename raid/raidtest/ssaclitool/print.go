package ssaclitool

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// drives that are there, in the order of their places.
func drives(c *raidtest.Controller) []*raidtest.Drive {
	there := slices.DeleteFunc(slices.Clone(c.Drives), func(d *raidtest.Drive) bool { return d.Pulled })
	slices.SortStableFunc(there, func(a, b *raidtest.Drive) int { return raid.CompareLocations(name(a), name(b)) })
	return there
}

type printer struct {
	w io.Writer
	c *raidtest.Controller
}

func (p printer) line(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

func (p printer) field(indent int) func(label, value string) {
	return func(label, value string) { p.line("%*s%s: %s", indent, "", label, value) }
}

var controllerLines = raidtest.Table[*raidtest.Controller]{}.
	Own("Bus Interface").
	Is("Slot", func(c *raidtest.Controller) string { return c.Slot }).
	Is("Serial Number", func(c *raidtest.Controller) string { return c.Serial }).
	Own("Cache Serial Number").
	Is("RAID 6 (ADG) Status", func(c *raidtest.Controller) string {
		return map[bool]string{true: "Enabled", false: "Disabled"}[slices.ContainsFunc(c.Capabilities.Levels,
			func(l raid.LevelCapability) bool { return l.Level == raid.Level6 })]
	}).
	Own("Controller Status", "Hardware Revision").
	Is("Firmware Version", func(c *raidtest.Controller) string { return c.Firmware }).
	Own("Rebuild Priority", "Expand Priority", "Surface Scan Delay", "Surface Scan Mode",
		"Parallel Surface Scan Supported", "Queue Depth", "Monitor and Performance Delay", "Elevator Sort",
		"Degraded Performance Optimization", "Inconsistency Repair Policy", "Wait for Cache Room",
		"Surface Analysis Inconsistency Notification", "Post Prompt Timeout").
	Is("Cache Board Present", func(c *raidtest.Controller) string { return yes(caches(c)) }).
	Is("Cache Status", func(c *raidtest.Controller) string {
		switch {
		case !caches(c):
			return ""
		case c.Cache.Battery.Is == raid.BatteryGood:
			return "OK"
		}
		return "Temporarily Disabled"
	}).
	Own("Cache Ratio", "Drive Write Cache").
	Is("Total Cache Size", func(c *raidtest.Controller) string { return cacheSize(c.Cache.Bytes) }).
	Own("Total Cache Memory Available", "No-Battery Write Cache",
		"SSD Caching RAID5 WriteBack Enabled", "SSD Caching Version", "Cache Backup Power Source").
	Is("Battery/Capacitor Count", func(c *raidtest.Controller) string {
		return map[bool]string{true: "1"}[c.Cache.Battery.Is != ""]
	}).
	Is("Battery/Capacitor Status", func(c *raidtest.Controller) string {
		return map[raid.BatteryStateKind]string{raid.BatteryGood: "OK", raid.BatteryCharging: "Recharging",
			raid.BatteryFailed: "Failed", raid.BatteryMissing: "Not Present"}[c.Cache.Battery.Is]
	}).
	Own("SATA NCQ Supported", "Spare Activation Mode", "Controller Temperature (C)",
		"Cache Module Temperature (C)", "Capacitor Temperature  (C)", "Number of Ports", "Encryption",
		"Encryption Login Status", "Encryption Allow Plaintext Volumes", "Encryption Key Management Mode",
		"Encryption Supported", "Encryption RTC SRAM Status", "Encryption Master Key reset in Progress",
		"Encryption Local Key Cache Enabled", "Encryption Crypto Officer Password", "Encryption User Password",
		"Encryption License Installed", "Encryption FW Locked for Update", "Encryption Controller Password",
		"Encryption Local Key Cache Supported", "Encryption Controller Locked",
		"Encryption Has Suspended Controller Password", "Encryption Controller Password Unlock Attempts Remaining",
		"Encryption Logical Drive(s) Locked For Missing Controller Password", "Encryption Password Recovery Parameters Set",
		"Encryption Master Key", "Encryption Remote Mode Master Key Mismatch",
		"Encryption/HP SSD Smart Path Mixing Supported", "Encryption/HP SmartCache Mixing Supported", "Driver Name",
		"Driver Version", "Driver Supports HP SSD Smart Path", "Driver Supports HPE SSD Smart Path",
		"Negotiated PCIe Data Rate").
	Is("PCI Address (Domain:Bus:Device.Function)", func(c *raidtest.Controller) string {
		return strings.ToUpper(string(c.ID))
	}).
	Is("Controller Mode", func(c *raidtest.Controller) string { return mode(c, c.Mode) }).
	// The newer tool tells it always, the older one whether there is one.
	Is("Pending Controller Mode", func(c *raidtest.Controller) string {
		switch {
		case c.PendingMode != "":
			return mode(c, c.PendingMode)
		case hba(c):
			return ""
		}
		return mode(c, c.Mode)
	}).
	Is("Controller Mode Reboot", func(c *raidtest.Controller) string {
		if !hba(c) {
			return ""
		}
		return map[bool]string{true: "Required", false: "Not Required"}[c.PendingMode != ""]
	}).
	Own("Latency Scheduler Setting", "Current Power Mode", "Host Serial Number",
		"Sanitize Erase Supported").
	Is("Primary Boot Volume", func(c *raidtest.Controller) string {
		for _, v := range c.Volumes {
			if v.Boot {
				return fmt.Sprintf("logicaldrive %d (%s)", v.Number+1, strings.ToUpper(v.WWN))
			}
		}
		return map[bool]string{true: "None"}[c.Capabilities.BootVolume]
	}).
	Is("Secondary Boot Volume", func(c *raidtest.Controller) string {
		return map[bool]string{true: "None"}[c.Capabilities.BootVolume]
	})

// caches says whether it has a cache that it can write back from.
func caches(c *raidtest.Controller) bool {
	return slices.Contains(c.Capabilities.Write, raid.WriteBack)
}

// config is `show config detail` of one controller.
func (p printer) config() {
	c := p.c
	title := heading(c)
	if c.Mode == raid.ModeHBA || hba(c) {
		title += " (" + modes[c.Mode] + " Mode)"
	}
	p.line("\n%s", title)
	controllerLines.Print(c, c.Extra, p.field(3))
	p.line("\n")
	p.attached()
	told := map[string]bool{}
	for i, group := range c.Groups() {
		p.array(i, group, told)
	}
	var rest []*raidtest.Drive
	for _, d := range drives(c) {
		if !told[d.Serial] {
			rest = append(rest, d)
		}
	}
	if len(rest) > 0 {
		p.line("\n\n   %s", map[bool]string{true: "HBA Drives", false: "unassigned"}[c.Mode == raid.ModeHBA])
	}
	for _, d := range rest {
		p.drive(d, map[bool]string{true: "HBA Mode Drive", false: "Unassigned Drive"}[c.Mode == raid.ModeHBA])
	}
	p.line("\n")
	p.parts(enclosure)
	p.parts(expander)
	p.parts(processor)
}

// Kinds of parts.
const (
	port      = "port"
	cage      = "cage"
	expander  = "expander"
	enclosure = "enclosure"
	processor = "processor"
)

func partPort(part raidtest.Part) string { return part.Port }

func partBox(part raidtest.Part) string {
	return map[bool]string{true: fmt.Sprint(part.Box)}[part.Port != ""]
}

var partLines = func() map[string]raidtest.Table[raidtest.Part] {
	t := raidtest.Table[raidtest.Part]{}
	processors := t.Is("Device Number", number).Own("Firmware Version", "WWID")
	expanders := processors.Is("Port", partPort).Is("Box", partBox).Own("Vendor ID")
	return map[string]raidtest.Table[raidtest.Part]{
		port: t.Own("Port ID", "Port Connection Number", "SAS Address", "Port Location"),
		cage: t.Own("Power Supply Status", "Vendor ID", "Serial Number", "Firmware Version", "Drive Bays").
			Is("Port", partPort).Is("Box", partBox).Own("Location"),
		expander:  expanders,
		enclosure: slices.Clone(expanders).Own("Model"),
		processor: slices.Clone(processors).Own("Vendor ID", "Model"),
	}
}()

func number(part raidtest.Part) string { return fmt.Sprint(part.Number) }

func (p printer) parts(kind string) {
	for _, part := range p.c.Parts {
		if part.Kind == kind {
			p.part(part)
		}
	}
}

func (p printer) part(part raidtest.Part) {
	switch part.Kind {
	case port:
		p.line("   Port Name: %s", part.Name)
	case cage:
		p.line("   %s at Port %s, Box %d, OK", part.Name, part.Port, part.Box)
	case expander:
		p.line("   Expander %d", part.Number)
	default:
		name := map[string]string{enclosure: "Enclosure SEP", processor: "SEP"}[part.Kind]
		p.line("   %s (Vendor ID %s, Model %s) %d", name, part.Extra["Vendor ID"], part.Extra["Model"], part.Number)
	}
	partLines[part.Kind].Print(part, part.Extra, p.field(6))
	p.line("")
}

// attached are the cages with the drives that are in them.
func (p printer) attached() {
	p.parts(port)
	listed := map[string]bool{}
	last := -1
	for i, part := range p.c.Parts {
		if part.Kind == cage {
			last = i
		}
	}
	for i, part := range p.c.Parts {
		if part.Kind != cage {
			continue
		}
		p.part(part)
		p.parts(expander)
		p.parts(enclosure)
		p.line("   Physical Drives")
		none := true
		for _, d := range drives(p.c) {
			// What is in no cage that is known stands in the last one.
			if in := d.Port == part.Port && box(d) == part.Box; (in || i == last) && !listed[d.Serial] {
				p.summary(d)
				listed[d.Serial], none = true, false
			}
		}
		if none {
			p.line("      None attached")
		}
		p.line("")
	}
}

func (p printer) summary(d *raidtest.Drive) {
	if old(p.c) && hba(p.c) {
		p.line("%s", heading(p.c))
	}
	role := ""
	if d.State == raid.DiskSpare {
		role = ", spare"
	}
	p.line("      physicaldrive %s (port %s:box %d:bay %d, %s, %s, %s%s)", name(d), d.Port, box(d), d.Slot+1, kind(d),
		driveSize(p.c, d.Bytes), status(d), role)
}

func (p printer) array(i int, group []*raidtest.Volume, told map[string]bool) {
	c, first := p.c, group[0]
	var whole, used int64
	interfaces := "SAS"
	for i, serial := range first.Members {
		if d := c.Drive(serial); d != nil {
			whole += d.Bytes - c.Reserve
			if i == 0 {
				interfaces = kind(d)
			}
		}
	}
	for _, v := range group {
		used += v.Bytes / int64(max(c.DataDrives(v), 1)) * int64(len(v.Members))
	}
	free := max(whole-used, 0)
	p.line("\n\n   Array: %s\n      Interface Type: %s", letter(i), interfaces)
	if old(c) {
		p.line("      Unused Space: %d  MB", free>>20)
	} else {
		p.line("      Unused Space: %d  MB %s\n      Used Space: %s %s", free>>20, percent(free, whole), volumeSize(used),
			percent(used, whole))
	}
	p.line("      Status: OK")
	raidtest.Table[*raidtest.Volume]{}.Own("MultiDomain Status").Print(first, first.Extra, p.field(6))
	p.line("      Array Type: Data")
	raidtest.Table[*raidtest.Volume]{}.Own("HP SSD Smart Path", "HPE SSD Smart Path").Print(first, first.Extra, p.field(6))
	for _, v := range group {
		p.volume(v)
	}
	for _, d := range drives(c) {
		switch {
		case slices.Contains(first.Members, d.Serial):
			p.drive(d, "Data Drive")
		case d.State == raid.DiskSpare && slices.ContainsFunc(group, func(v *raidtest.Volume) bool {
			return slices.Contains(d.SpareFor, v.Number)
		}):
			p.drive(d, "Spare Drive")
		default:
			continue
		}
		told[d.Serial] = true
	}
	for _, serial := range first.Members {
		if c.Drive(serial) == nil { // it is gone, and so is its place
			p.line("\n      physicaldrive ?:?:?\n         Status: Failed\n         Drive Type: Data Drive\n" +
				"         Size: --- GB")
		}
	}
}

// volume with its controller, without which its state is not known.
type volume struct {
	*raidtest.Volume
	c *raidtest.Controller
}

func (v volume) status() string {
	switch v.c.State(v.Volume) {
	case raid.VolumeDegraded, raid.VolumePartial:
		if v.Impacted && !slices.ContainsFunc(v.Members, func(serial string) bool {
			d := v.c.Drive(serial)
			return d == nil || d.State != raid.DiskOnline
		}) {
			return "OK" // the tool tells it of the parity alone
		}
		return "Interim Recovery Mode"
	case raid.VolumeOffline:
		return "Failed"
	case raid.VolumeRebuilding:
		for _, serial := range v.Members {
			if d := v.c.Drive(serial); d != nil && d.State == raid.DiskRebuilding {
				return fmt.Sprintf("Recovering, %.0f%% complete", d.Rebuild*100)
			}
		}
	}
	return "OK"
}

func (v volume) writesBack() bool { return v.Policies.Write == raid.WriteBack }

var sizeLines = raidtest.Table[volume]{}.
	Is("Size", func(v volume) string { return volumeSize(v.Bytes) }).
	Is("Fault Tolerance", func(v volume) string { return level(v.Level, len(v.Members)) }).
	Is("Heads", func(volume) string { return "255" }).
	Is("Sectors Per Track", func(volume) string { return "32" }).
	Is("Cylinders", func(v volume) string { return fmt.Sprint(min(v.Bytes/512/(255*32), 65535)) }).
	Is("Strip Size", func(v volume) string {
		return map[bool]string{true: fmt.Sprintf("%d KB", v.Strip>>10)}[v.Strip != 0]
	}).
	Is("Full Stripe Size", func(v volume) string {
		return map[bool]string{true: fmt.Sprintf("%d KB", int(v.Strip>>10)*v.c.DataDrives(v.Volume))}[v.Strip != 0]
	}).
	Is("Status", volume.status).
	Own("MultiDomain Status").
	Is("Caching", func(v volume) string { return map[bool]string{true: " Enabled", false: " Disabled"}[v.writesBack()] }).
	Is("Parity Initialization Status", func(v volume) string {
		switch {
		case v.Initializing != "":
			return "In Progress"
		case v.Impacted:
			return "Queued"
		}
		return ""
	}).
	Is("Parity Initialization Progress", func(v volume) string {
		return map[bool]string{true: fmt.Sprintf("%.0f%%", v.Initialized*100)}[v.Initializing != ""]
	}).
	Is("Unique Identifier", func(v volume) string { return strings.ToUpper(v.WWN) }).
	Is("Disk Name", func(v volume) string { return fmt.Sprintf("/dev/sd%c ", 'a'+rune(v.Number%26)) }).
	Own("Mount Points").
	Is("OS Status", func(v volume) string {
		mounted := v.Extra["Mount Points"]
		return map[bool]string{true: "LOCKED"}[mounted != "" && mounted != "None"]
	}).
	Own("Logical Drive Label")

var accelerationLines = raidtest.Table[volume]{}.
	Is("Drive Type", func(volume) string { return "Data" }).
	Is("LD Acceleration Method", func(v volume) string {
		return map[bool]string{true: "Controller Cache", false: "All disabled"}[v.writesBack()]
	})

func (p printer) volume(v *raidtest.Volume) {
	of := volume{v, p.c}
	p.line("\n      Logical Drive: %d", v.Number+1)
	extra := raidtest.With(map[string]string{"Mount Points": "None",
		"Logical Drive Label": fmt.Sprintf("%08X%s", v.Number, p.c.Serial)}, v.Extra)
	sizeLines.Print(of, extra, p.field(9))
	first, n, title := 1, 0, "Mirror Group"
	if old(p.c) {
		first = 0
	}
	switch v.Level {
	case raid.Level1:
		n = len(v.Members)
	case raid.Level10:
		n = 2
	case raid.Level50, raid.Level60:
		n, first, title = max(v.Spans, 2), 0, "Parity Group"
	}
	for i := range n {
		p.line("         %s %d:", title, first+i)
		p.group(v.Members[i*len(v.Members)/n : (i+1)*len(v.Members)/n])
	}
	accelerationLines.Print(of, v.Extra, p.field(9))
}

func (p printer) group(serials []string) {
	for _, serial := range serials {
		if d := p.c.Drive(serial); d != nil {
			p.summary(d)
		} else {
			p.line("            physicaldrive ?:?:? (port ?:box ?:bay ?, SAS, --- GB, Failed)")
		}
	}
}

// drive with its role and controller.
type drive struct {
	*raidtest.Drive
	c    *raidtest.Controller
	role string
}

var driveLines = raidtest.Table[drive]{}.
	Is("Port", func(d drive) string { return d.Port }).
	Is("Box", func(d drive) string { return fmt.Sprint(box(d.Drive)) }).
	Is("Bay", func(d drive) string { return fmt.Sprint(d.Slot + 1) }).
	Is("Status", func(d drive) string { return status(d.Drive) }).
	Is("Drive Type", func(d drive) string { return d.role }).
	Is("Interface Type", func(d drive) string { return kind(d.Drive) }).
	Is("Size", func(d drive) string { return driveSize(d.c, d.Bytes) }).
	Is("Drive exposed to OS", func(d drive) string {
		if old(d.c) {
			return ""
		}
		return yes(d.State == raid.DiskJBOD)
	}).
	Is("Native Block Size", func(d drive) string {
		return map[bool]string{true: fmt.Sprint(d.LogicalSector)}[d.PhysicalSector == 0]
	}).
	Is("Logical/Physical Block Size", func(d drive) string {
		return map[bool]string{true: fmt.Sprintf("%d/%d", d.LogicalSector, d.PhysicalSector)}[d.PhysicalSector != 0]
	}).
	Own("Rotational Speed").
	Is("Firmware Revision", func(d drive) string { return d.Firmware }).
	Is("Serial Number", func(d drive) string { return d.Serial }).
	Is("WWID", func(d drive) string { return strings.ToUpper(d.WWN) }).
	Is("Model", func(d drive) string { return fmt.Sprintf("%-8s%s", d.Vendor, d.Model) }).
	Own("SATA NCQ Capable", "SATA NCQ Enabled", "Current Temperature (C)", "Maximum Temperature (C)", "PHY Count",
		"PHY Transfer Rate", "Drive Authentication Status", "Carrier Application Version", "Carrier Bootloader Version",
		"Sanitize Erase Supported", "Sanitize Estimated Max Erase Time", "Unrestricted Sanitize Supported")

func (p printer) drive(d *raidtest.Drive, role string) {
	p.line("\n      physicaldrive %s", name(d))
	driveLines.Print(drive{d, p.c, role}, d.Extra, p.field(9))
}
