package arcconftool

import (
	"fmt"
	"slices"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// two is arcconf 2.x, which HBA 1100 came with: Extra["tool"] of a controller. What it says of the PCI address has
// another name, and it tells of connectors twice.
func two(c *raidtest.Controller) bool { return c.Extra["tool"] == "2" }

// Kinds of parts.
const (
	sensor    = "sensor"
	connector = "connector"
	processor = "processor"
)

// fixed is what no state changes.
func fixed(s string) func(*raidtest.Controller) string {
	return func(*raidtest.Controller) string { return s }
}

var adapterLines = raidtest.Table[*raidtest.Controller]{}.
	Is("Controller Status", fixed("Optimal")).
	Is("Controller Mode", func(c *raidtest.Controller) string { return modeText(c, c.Mode) }).
	Is("Pending Controller Mode", func(c *raidtest.Controller) string {
		if c.PendingMode == "" {
			return ""
		}
		return modeText(c, c.PendingMode)
	}).
	Own("Channel description").
	Is("Controller Model", func(c *raidtest.Controller) string { return c.Model }).
	Own("Vendor ID", "Device ID", "Subsystem Vendor ID", "Subsystem Device ID").
	Is("Controller Serial Number", func(c *raidtest.Controller) string { return c.Serial }).
	Own("Controller World Wide Name").
	Is("Physical Slot", func(c *raidtest.Controller) string { return c.Slot }).
	Own("Temperature", "Host bus type", "Host bus speed", "Host bus link width", "Negotiated PCIe Data Rate").
	Is("PCI Address (Domain:Bus:Device:Function)", func(c *raidtest.Controller) string {
		return map[bool]string{false: pci(c.ID)}[two(c)]
	}).
	Is("PCI Address (Bus:Device:Function)", func(c *raidtest.Controller) string {
		return map[bool]string{true: pci(c.ID)}[two(c)]
	}).
	Own("Number of Ports", "Internal Port Count", "External Port Count").
	Is("Defunct disk drive count", func(c *raidtest.Controller) string {
		return map[bool]string{false: fmt.Sprint(defunct(c, nil))}[two(c)]
	}).
	Own("NCQ status", "Queue Depth", "Monitor and Performance Delay", "Elevator Sort",
		"Degraded Mode Performance Optimization", "Latency", "Post Prompt Timeout", "Boot Controller").
	Is("Primary Boot Volume", func(c *raidtest.Controller) string {
		for _, v := range c.Volumes {
			if v.Boot {
				return fmt.Sprintf("Logical device %d(%s)", v.Number, v.Name)
			}
		}
		return "None"
	}).
	Is("Secondary Boot Volume", fixed("None")).
	Own("Driver Name", "Driver Supports SSD I/O Bypass", "NVMe Supported", "NVMe Configuration Supported",
		"Manufacturing Part Number", "Manufacturing Spare Part Number", "Manufacturing Wellness Log",
		"Manufacturing SKU Number", "Manufacturing Model", "NVRAM Checksum Status", "Sanitize Lock Setting",
		"Expander Minimum Scan Duration", "Expander Scan Time-out", "Reboot Required Reasons")

// section of what GETCONFIG says of a controller. Its words in Extra stand behind the title and a slash.
type section struct {
	title string
	table raidtest.Table[*raidtest.Controller]
	// always: the title stands there with nothing below it, too.
	always bool
	// parts are told of one after the other.
	parts string
}

var sections = func() []section {
	t := raidtest.Table[*raidtest.Controller]{}
	return []section{
		{title: "Power Settings",
			table: t.Own("Power Consumption", "Current Power Mode", "Pending Power Mode", "Survival Mode")},
		{title: "I2C Settings", table: t.Own("I2C Address", "I2C Clock Speed", "I2C Clock Stretching")},
		{title: "Cache Properties", always: true,
			table: t.Is("Cache Status", func(c *raidtest.Controller) string {
				switch {
				case c.Cache.Bytes == 0:
					return ""
				case slices.ContainsFunc(c.Volumes, func(v *raidtest.Volume) bool {
					return v.Policies.Write == raid.WriteBack
				}):
					return "Ok"
				}
				return "Not Configured"
			}).
				Own("Cache Serial Number").
				Is("Cache memory", func(c *raidtest.Controller) string {
					return map[bool]string{true: fmt.Sprintf("%d MB", c.Cache.Bytes>>20)}[c.Cache.Bytes > 0]
				}).
				Own("Read Cache Percentage", "Write Cache Percentage", "No-Battery Write Cache", "Wait for Cache Room",
					"Write Cache Bypass Threshold Size")},
		{title: "Green Backup Information", table: t.Is("Backup Power Status", battery)},
		{title: "Physical Drive Write Cache Policy Information",
			table: t.Own("Configured Drives", "Unconfigured Drives", "HBA Drives")},
		{title: "RAID Properties",
			table: t.Is("Logical devices/Failed/Degraded", func(c *raidtest.Controller) string {
				failed, degraded := 0, 0
				for _, v := range c.Volumes {
					switch c.State(v) {
					case raid.VolumeOffline:
						failed++
					case raid.VolumeDegraded, raid.VolumePartial, raid.VolumeRebuilding:
						degraded++
					}
				}
				return map[bool]string{true: fmt.Sprintf("%d/%d/%d", len(c.Volumes), failed, degraded)}[raids(c)]
			}).
				Own("Spare Activation Mode", "Background consistency check", "Consistency Check Delay",
					"Parallel Consistency Check Supported", "Parallel Consistency Check Count", "Inconsistency Repair Policy",
					"Consistency Check Inconsistency Notify", "Rebuild Priority", "Expand Priority")},
		{title: "Controller Version Information", always: true,
			table: t.Is("Firmware", func(c *raidtest.Controller) string { return c.Firmware }).
				Own("Driver", "Hardware Revision", "Hardware Minor Revision", "SEEPROM Version")},
		{title: "Temperature Sensors Information", parts: sensor},
		{title: "Out Of Band Interface Settings",
			table: t.Own("OOB Interface", "Pending OOB Interface", "I2C Address", "Pending I2C Address")},
		{title: "PBSI", table: t.Own("I2C Clock Speed", "I2C Clock Stretching", "Pending I2C Clock Speed",
			"Pending I2C Clock Stretching")},
		{title: "MCTP", table: t.Own("SMBus Device Type", "SMBus Channel", "Static EIDs Use On Initialization",
			"VDM Notification", "Pending SMBus Device Type", "Pending SMBus Channel",
			"Pending Static EIDs Use On Initialization", "Pending VDM Notification")},
		{title: "Connector information", parts: connector},
	}
}()

// raids says whether volumes can be made at all, in its mode.
func raids(c *raidtest.Controller) bool {
	return len(c.Capabilities.Levels) > 0 && c.Mode != raid.ModeHBA
}

// pci is 0:af:0:0.
func pci(id raid.ControllerID) string {
	parts := strings.FieldsFunc(string(id), func(r rune) bool { return r == ':' || r == '.' })
	for i, part := range parts {
		if parts[i] = strings.TrimLeft(part, "0"); parts[i] == "" {
			parts[i] = "0"
		}
	}
	return strings.Join(parts, ":")
}

func battery(c *raidtest.Controller) string {
	return map[raid.BatteryStateKind]string{raid.BatteryGood: "Ok", raid.BatteryCharging: "Charging",
		raid.BatteryFailed: "Failed", raid.BatteryMissing: "Not Present"}[c.Cache.Battery.Is]
}

// within are the words behind a title and a slash.
func within(extra map[string]string, title string) map[string]string {
	inner := map[string]string{}
	for key, value := range extra {
		if rest, ok := strings.CutPrefix(key, title+"/"); ok {
			inner[rest] = value
		}
	}
	return inner
}

func (p printer) smartAdapter() {
	p.title("Controller information")
	adapterLines.Print(p.c, p.c.Extra, p.text)
	line := ruler[:67]
	if two(p.c) {
		line = short
	}
	for _, s := range sections {
		var rows [][2]string
		s.table.Print(p.c, within(p.c.Extra, s.title), func(label, value string) {
			rows = append(rows, [2]string{label, value})
		})
		there := slices.ContainsFunc(p.c.Parts, func(part raidtest.Part) bool { return part.Kind == s.parts })
		if len(rows) == 0 && !s.always && !(there && s.parts != "") {
			continue
		}
		p.line("   %s\n   %s\n   %s", line, s.title, line)
		for _, row := range rows {
			p.text(row[0], row[1])
		}
		p.connectors(s.parts)
	}
	p.line("\n")
}

var sensorLines = raidtest.Table[raidtest.Part]{}.
	Is("Sensor ID", func(part raidtest.Part) string { return fmt.Sprint(part.Number) }).
	Own("Current Value", "Max Value Since Powered On", "Location")

// connectors are those of the controller, or its sensors. Their mode is its own.
func (p printer) connectors(kind string) {
	label := "Connector name"
	if two(p.c) {
		label = "Connector Name"
	}
	lines := raidtest.Table[raidtest.Part]{}.
		Is(label, func(part raidtest.Part) string { return part.Name }).
		Own("Connection Number").
		Is("Functional Mode", func(raidtest.Part) string { return modeText(p.c, p.c.Mode) }).
		Own("Connector Location", "SAS Address", "Current Discovery Protocol", "Pending Discovery Protocol")
	for _, part := range p.c.Parts {
		switch {
		case part.Kind != kind || kind == "":
		case kind == sensor:
			sensorLines.Print(part, part.Extra, p.text)
			p.line("")
		default:
			p.line("   Connector #%d", part.Number)
			lines.Print(part, part.Extra, func(label, value string) { p.line("      %-39s : %s", label, value) })
			p.line("\n")
		}
	}
}

// arrays are the sets of drives.
func (p printer) arrays() {
	p.title("Array Information")
	if len(p.c.Volumes) == 0 {
		p.line("   No arrays configured\n")
	}
	for i, group := range p.c.Groups() {
		p.line("Array Number %d", i)
		p.field("Name", string(rune('A'+i%26)))
		p.field("Status", "Ok")
		p.members(group[0], false)
	}
}

type volume struct {
	*raidtest.Volume
	p printer
}

var volumeLines = raidtest.Table[volume]{}.
	Is("Logical Device name", func(v volume) string { return v.Name }).
	Own("Disk Name").
	Is("Block Size of member drives", func(v volume) string { return blocks(v.sector()) }).
	Is("Array", func(v volume) string { return fmt.Sprint(v.p.array(v.Volume)) }).
	Is("RAID level", func(v volume) string { return string(v.Level) }).
	Is("Status of Logical Device", func(v volume) string { return volumeStatus(v.p.c, v.Volume) }).
	Is("Size", func(v volume) string { return fmt.Sprintf("%d MB", v.Bytes>>20) }).
	Is("Stripe-unit size", func(v volume) string {
		return map[bool]string{true: fmt.Sprintf("%d KB", v.Strip>>10)}[v.Strip != 0]
	}).
	Is("Full Stripe Size", func(v volume) string {
		return map[bool]string{true: fmt.Sprintf("%d KB", int(v.Strip>>10)*v.p.c.DataDrives(v.Volume))}[v.Strip != 0]
	}).
	Is("Interface Type", func(v volume) string {
		d := v.first()
		if d == nil {
			return ""
		}
		kind := bus(d)
		switch {
		case d.Medium == hw.SSD:
			kind += " SSD"
		case d.LogicalSector == 4096:
			kind += " 4K"
		}
		return kind
	}).
	Is("Device Type", func(volume) string { return "Data" }).
	Is("Boot Type", func(v volume) string { return map[bool]string{true: "Primary", false: "None"}[v.Boot] }).
	Is("Heads", func(volume) string { return "255" }).
	Is("Sectors Per Track", func(volume) string { return "32" }).
	Is("Cylinders", func(v volume) string {
		return fmt.Sprint(min(v.Bytes/int64(max(v.sector(), 512))/(255*32), 65535))
	}).
	Is("Caching", func(v volume) string {
		return map[bool]string{true: "Enabled", false: "Disabled"}[v.p.c.Current(v.Volume).Write == raid.WriteBack]
	}).
	Own("Mount Points").
	Is("LD Acceleration Method", func(v volume) string {
		return map[bool]string{true: "Controller Cache", false: "None"}[v.p.c.Current(v.Volume).Write == raid.WriteBack]
	}).
	Is("Volume Unique Identifier", func(v volume) string { return strings.ToUpper(v.WWN) })

// first of its members that is there.
func (v volume) first() *raidtest.Drive {
	for _, serial := range v.Members {
		if d := v.p.c.Drive(serial); d != nil {
			return d
		}
	}
	return nil
}

func (v volume) sector() int {
	if d := v.first(); d != nil {
		return d.LogicalSector
	}
	return 0
}

func (p printer) smartVolume(v *raidtest.Volume) {
	p.line("Logical Device number %d", v.Number)
	// What the operating system calls it follows from what else it sees.
	disk := map[string]string{"Disk Name": fmt.Sprintf("/dev/sd%c", 'a'+rune(v.Number%26))}
	volumeLines.Print(volume{v, p}, raidtest.With(disk, v.Extra), p.text)
	p.members(v, v.Level == raid.Level10 || v.Level == raid.Level50 || v.Level == raid.Level60)
}

// members are segments where they are in groups, else devices.
func (p printer) members(v *raidtest.Volume, segments bool) {
	title, head := "Array Physical Device Information", "Device ID"
	if segments {
		title, head = "Logical Device segment information", "Segment"
	}
	p.line("%s\n   %s\n%s", short, title, short)
	p.field(head, "Availability (SizeMB, Protocol, Type, Connector ID, Location) Serial Number")
	p.line("%s", short)
	for i, serial := range v.Members {
		label := fmt.Sprintf("Device %d", p.device(serial))
		if segments {
			label = segment(v, i)
		}
		p.field(label, p.member(serial))
	}
	p.line("\n")
}

// device is the number that a drive has, or had before it was pulled.
func (p printer) device(serial string) int {
	for _, d := range p.c.Drives {
		if d.Serial == serial {
			return d.Device
		}
	}
	return 0
}

// segment of a volume that is striped over groups.
func segment(v *raidtest.Volume, i int) string {
	groups := map[raid.Level]int{raid.Level10: len(v.Members) / 2, raid.Level50: 2, raid.Level60: 2}[v.Level]
	if groups == 0 {
		return fmt.Sprintf("Segment %d", i)
	}
	each := max(len(v.Members)/groups, 1)
	return fmt.Sprintf("Group %d, Segment %d", i/each, i%each)
}

func (p printer) member(serial string) string {
	d := p.c.Drive(serial)
	if d == nil {
		return "Missing"
	}
	state := "Present"
	if d.State == raid.DiskRebuilding {
		state = "Rebuilding"
	}
	_, name := connectorOf(d)
	return fmt.Sprintf("%s (%dMB, %s, %s, Connector:%s, Enclosure:%s, Slot:%d) %s", state, d.Bytes>>20, bus(d),
		strings.ToUpper(string(d.Medium)), name, box(d), d.Slot, d.Serial)
}

// connectorOf a drive: number and name.
func connectorOf(d *raidtest.Drive) (number, name string) {
	if n, ok := strings.CutPrefix(d.Port, "CN"); ok {
		return n, d.Port
	}
	return "0", "CN0"
}

// direct is the box of a drive that is in none.
const direct = -1

func box(d *raidtest.Drive) string {
	if d.Box == direct {
		return "Direct Attached"
	}
	return fmt.Sprint(max(d.Box, 1))
}

// blocks of 512 Bytes and 4K Bytes.
func blocks(n int) string {
	if n%1024 == 0 {
		return fmt.Sprintf("%dK Bytes", n>>10)
	}
	return fmt.Sprintf("%d Bytes", n)
}
