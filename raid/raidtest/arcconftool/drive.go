package arcconftool

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// drive with what it is in, or waits for.
type drive struct {
	*raidtest.Drive
	c               *raidtest.Controller
	arrays, volumes []string
}

func (p printer) of(d *raidtest.Drive) drive {
	out := drive{Drive: d, c: p.c}
	for _, v := range p.c.Volumes {
		if slices.Contains(v.Members, d.Serial) || slices.Contains(d.SpareFor, v.Number) {
			if a := fmt.Sprint(p.array(v)); !slices.Contains(out.arrays, a) {
				out.arrays = append(out.arrays, a)
			}
			out.volumes = append(out.volumes, fmt.Sprint(v.Number))
		}
	}
	return out
}

func (d drive) state() string {
	switch {
	case d.c.Mode == raid.ModeHBA:
		return "Raw (Pass Through)"
	case smart(d.c) || d.State != raid.DiskSpare:
		return map[raid.DiskStateKind]string{raid.DiskReady: "Ready", raid.DiskOnline: "Online", raid.DiskFailed: "Failed",
			raid.DiskBad: "Failed", raid.DiskOffline: "Offline", raid.DiskRebuilding: "Rebuilding",
			raid.DiskSpare: "Hot Spare", raid.DiskJBOD: "Online (JBOD)", raid.DiskErasing: "Erasing"}[d.State]
	case len(d.SpareFor) > 0:
		return "Dedicated Hot-Spare"
	}
	return "Global Hot-Spare"
}

func (d drive) hba() bool { return d.c.Mode == raid.ModeHBA }

// exposed says whether the operating system sees it: a SmartRAID hides the drives of volumes alone.
func (d drive) exposed() bool {
	return smart(d.c) && (d.hba() || d.c.Mode == raid.ModeMixed && len(d.arrays) == 0)
}

// used is what the volumes on it take; the whole of it where they leave nothing of the smallest drive beside it.
func (d drive) used() int64 {
	var taken int64
	room := d.Bytes - d.c.Reserve
	for _, v := range d.c.VolumesOn(d.Serial) {
		taken += v.Bytes / int64(max(d.c.DataDrives(v), 1))
		for _, serial := range v.Members {
			if o := d.c.Drive(serial); o != nil {
				room = min(room, o.Bytes-d.c.Reserve)
			}
		}
	}
	if taken >= room {
		return d.Bytes - d.c.Reserve
	}
	return taken
}

func mb(n int64) string { return fmt.Sprintf("%d MB", n>>20) }

func yesNo(is bool) string { return map[bool]string{true: "Yes", false: "No"}[is] }

func trueFalse(is bool) string { return map[bool]string{true: "True", false: "False"}[is] }

var driveLines = raidtest.Table[drive]{}.
	Is("State", drive.state).
	Is("Dedicated Hot-Spare for", func(d drive) string {
		return map[bool]string{true: strings.Join(d.volumes, ", ")}[d.state() == "Dedicated Hot-Spare"]
	}).
	Is("Drive has stale RIS data", func(d drive) string {
		return map[bool]string{true: trueFalse(d.Foreign != nil)}[smart(d.c)]
	}).
	Own("Disk Name").
	Is("Block Size", func(d drive) string { return blocks(d.LogicalSector) }).
	Is("Physical Block Size", func(d drive) string { return blocks(d.PhysicalSector) }).
	Is("Transfer Speed", func(d drive) string {
		speed, ok := d.Extra["speed"]
		if !ok {
			speed = "12.0 Gb/s"
		}
		return bus(d.Drive) + " " + speed
	}).
	Is("Reported Channel,Device(T:L)", func(d drive) string { return fmt.Sprintf("0,%d(%d:0)", d.Device, d.Device) }).
	Is("Reported Location", func(d drive) string {
		n, name := connectorOf(d.Drive)
		return fmt.Sprintf("Enclosure %s, Slot %d(Connector %s:%s)", box(d.Drive), d.Slot, n, name)
	}).
	Is("Array", func(d drive) string { return map[bool]string{true: strings.Join(d.arrays, ", ")}[smart(d.c)] }).
	Is("Vendor", func(d drive) string { return d.Vendor }).
	Is("Model", func(d drive) string { return d.Model }).
	Is("Firmware", func(d drive) string { return d.Firmware }).
	Is("Serial number", func(d drive) string { return d.Serial }).
	Is("World-wide name", func(d drive) string { return strings.ToUpper(d.WWN) }).
	Is("Reserved Size", func(d drive) string {
		return map[bool]string{true: fmt.Sprintf("%d KB", d.c.Reserve>>10)}[d.c.Reserve != 0]
	}).
	Is("Used Size", func(d drive) string { return map[bool]string{true: mb(d.used())}[smart(d.c) && !d.hba()] }).
	Is("Unused Size", func(d drive) string {
		return map[bool]string{true: mb(d.Bytes - d.c.Reserve - d.used())}[smart(d.c) && !d.hba()]
	}).
	Is("Total Size", func(d drive) string { return mb(d.Bytes) }).
	Own("Write Cache").
	Is("S.M.A.R.T.", func(d drive) string { return yesNo(d.SMARTAlert) }).
	Is("S.M.A.R.T. warnings", func(d drive) string { return map[bool]string{true: "1", false: "0"}[d.SMARTAlert] }).
	Is("SSD", func(d drive) string { return yesNo(d.Medium != hw.HDD) }).
	Own("NCQ supported", "NCQ status").
	Is("Boot Type", func(d drive) string { return map[bool]string{true: "None"}[smart(d.c)] }).
	Own("Rotational Speed", "Current Temperature", "Maximum Temperature", "Threshold Temperature", "PHY Count").
	Is("Drive Configuration Type", func(d drive) string {
		switch {
		case !smart(d.c):
			return ""
		case d.hba():
			return "HBA"
		case d.State == raid.DiskSpare:
			return "Dedicated Spare"
		case len(d.arrays) > 0:
			return "Data"
		}
		return "Unassigned"
	}).
	Is("Mount Point(s)", func(d drive) string { return map[bool]string{true: "Not Mounted"}[d.exposed()] }).
	Is("Drive Exposed to OS", func(d drive) string { return map[bool]string{true: trueFalse(d.exposed())}[smart(d.c)] }).
	Own("Sanitize Erase Support", "Sanitize Lock Freeze Support", "Sanitize Lock Anti-Freeze Support",
		"Sanitize Lock Setting", "Usage Remaining", "Estimated Life Remaining", "SSD Smart Trip Wearout",
		"56 Day Warning Present", "Drive Unique ID", "Drive SKU Number", "Drive Part Number", "Last Failure Reason")

var phyLines = raidtest.Table[drive]{}.
	Own("Negotiated Physical Link Rate", "Negotiated Logical Link Rate", "Maximum Link Rate")

var counterLines = raidtest.Table[drive]{}.
	Own("Aborted Commands", "Bad Target Errors", "Ecc Recovered Read Errors", "Failed Read Recovers",
		"Failed Write Recovers", "Format Errors").
	Is("Hardware Errors", func(d drive) string { return fmt.Sprint(d.OtherErrors) }).
	Own("Hard Read Errors", "Hard Write Errors", "Hot Plug Count").
	Is("Media Failures", func(d drive) string { return fmt.Sprint(d.MediaErrors) }).
	Own("Not Ready Errors", "Other Time Out Errors", "Predictive Failures", "Retry Recovered Read Errors",
		"Retry Recovered Write Errors", "Scsi Bus Faults", "Sectors Reads", "Sectors Written", "Service Hours")

func (p printer) drives() {
	p.title("Physical Device information")
	p.line("   Channel #0:")
	for _, d := range p.c.Drives {
		if !d.Pulled {
			p.drive(d)
		}
	}
	for _, part := range p.c.Parts {
		if part.Kind == processor {
			p.processor(part)
		}
	}
}

func (p printer) drive(d *raidtest.Drive) {
	of := p.of(d)
	p.line("      Device #%d\n         Device is a Hard drive", d.Device)
	driveLines.Print(of, d.Extra, p.inner)
	phys, _ := strconv.Atoi(d.Extra["PHY Count"])
	if phys = min(phys, 8); phys > 0 {
		p.line("      %s\n      Device Phy Information\n      %s", ruler[:64], ruler[:64])
	}
	for i := range phys {
		p.line("         Phy #%d", i)
		phyLines.Print(of, within(d.Extra, fmt.Sprintf("Phy #%d", i)), func(label, value string) {
			p.line("            %-33s : %s", label, value)
		})
	}
	p.line("\n      %s\n      Device Error Counters\n      %s", ruler[:64], ruler[:64])
	counterLines.Print(of, d.Extra, p.inner)
	p.line("")
}

var processorLines = raidtest.Table[raidtest.Part]{}.
	Is("Reported Channel,Device(T:L)", func(part raidtest.Part) string {
		return fmt.Sprintf("2,%d(%d:0)", part.Number, part.Number)
	}).
	Is("Reported Location", func(part raidtest.Part) string {
		n, ok := strings.CutPrefix(part.Port, "CN")
		return map[bool]string{true: fmt.Sprintf("Connector %s:%s, Enclosure %d", n, part.Port, part.Box)}[ok]
	}).
	Own("Enclosure ID", "Enclosure Logical Identifier", "Expander ID", "Expander SAS Address", "SEP device ID", "Type",
		"Vendor", "Model", "Firmware", "Serial number")

// processor of an enclosure.
func (p printer) processor(part raidtest.Part) {
	p.line("   Channel #2:\n      Device #%d\n         Device is an Enclosure Services Device", part.Number)
	processorLines.Print(part, part.Extra, p.inner)
	p.line("         Status of Enclosure Services Device")
	raidtest.Table[raidtest.Part]{}.Own("Temperature Sensor Status 1", "Speaker status").Print(part, part.Extra,
		func(label, value string) { p.line("            %-33s : %s", label, value) })
}

func bus(d *raidtest.Drive) string {
	return map[hw.Bus]string{hw.BusATA: "SATA", hw.BusSAS: "SAS", hw.BusNVMe: "NVMe"}[d.Bus]
}
