package arcconftool

import (
	"fmt"
	"slices"
	"strings"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// serveraid is a controller of the years in which a volume was a logical drive.
func serveraid(c *raidtest.Controller) bool { return strings.Contains(c.Model, "ServeRAID") }

var serveraidSections = func() []section {
	t := raidtest.Table[*raidtest.Controller]{}
	return []section{
		{title: "Controller Version Information", table: t.Own("BIOS").
			Is("Firmware", func(c *raidtest.Controller) string { return c.Firmware }).Own("Driver", "Boot Flash")},
		{title: "Controller Battery Information",
			table: t.Is("Status", func(c *raidtest.Controller) string { return strings.Replace(battery(c), "Ok", "Okay", 1) }).
				Own("Over temperature", "Capacity remaining", "Time remaining (at current draw)")},
		{title: "Controller Vital Product Data",
			table: t.Own("VPD Assigned#", "EC Version#", "Controller FRU#", "Battery FRU#")},
	}
}()

var serveraidLines = raidtest.Table[*raidtest.Controller]{}.
	Is("Controller Status", fixed("Okay")).
	Own("Channel description").
	Is("Controller Model", func(c *raidtest.Controller) string { return c.Model }).
	Is("Controller Serial Number", func(c *raidtest.Controller) string { return c.Serial }).
	Is("Physical Slot", func(c *raidtest.Controller) string { return c.Slot }).
	Is("Installed memory", func(c *raidtest.Controller) string { return mb(c.Cache.Bytes) }).
	Own("Copyback", "Data scrubbing").
	Is("Defunct disk drive count", func(c *raidtest.Controller) string { return fmt.Sprint(defunct(c, nil)) }).
	Is("Logical drives/Offline/Critical", func(c *raidtest.Controller) string {
		offline, critical := 0, 0
		for _, v := range c.Volumes {
			switch c.State(v) {
			case raid.VolumeOffline:
				offline++
			case raid.VolumeDegraded, raid.VolumeRebuilding:
				if defunct(c, v) > 0 {
					critical++
				}
			}
		}
		return fmt.Sprintf("%d/%d/%d", len(c.Volumes), offline, critical)
	})

// defunct drives, of all or of a volume.
func defunct(c *raidtest.Controller, v *raidtest.Volume) (n int) {
	if v != nil {
		for _, serial := range v.Members {
			if d := c.Drive(serial); d == nil || d.State != raid.DiskOnline {
				n++
			}
		}
		return n
	}
	for _, d := range c.Drives {
		if !d.Pulled && (d.State == raid.DiskFailed || d.State == raid.DiskBad) {
			n++
		}
	}
	return n
}

func (p printer) serveraidAdapter() {
	p.title("Controller information")
	serveraidLines.Print(p.c, p.c.Extra, p.text)
	for _, s := range serveraidSections {
		p.part(s.title)
		s.table.Print(p.c, within(p.c.Extra, s.title), p.text)
	}
	p.line("\n")
}

func writeMode(w raid.WritePolicy) string {
	if w == raid.WriteThrough {
		return "Disabled (write-through)"
	}
	return "Enabled (write-back)"
}

var logicalDriveLines = raidtest.Table[volume]{}.
	Is("Logical drive name", func(v volume) string { return v.Name }).
	Is("RAID level", func(v volume) string { return string(v.Level) }).
	Is("Status of logical drive", func(v volume) string {
		return strings.Replace(volumeStatus(v.p.c, v.Volume), "Optimal", "Okay", 1)
	}).
	Is("Size", func(v volume) string { return mb(v.Bytes) }).
	Is("Read-cache mode", func(v volume) string {
		return map[bool]string{true: "Enabled", false: "Disabled"}[v.Policies.Read == raid.ReadAhead]
	}).
	Is("Write-cache mode", func(v volume) string { return writeMode(v.p.c.Current(v.Volume).Write) }).
	Is("Write-cache setting", func(v volume) string {
		if v.Policies.Write == raid.WriteBack {
			return writeMode(v.Policies.Write) + " when protected by battery"
		}
		return writeMode(v.Policies.Write)
	}).
	Own("Partitioned").
	Is("Number of segments", func(v volume) string { return fmt.Sprint(len(v.Members)) }).
	Is("Stripe-unit size", func(v volume) string { return fmt.Sprintf("%d KB", v.Strip>>10) }).
	Is("Stripe order (Channel,Device)", func(v volume) string {
		var order []string
		for _, serial := range v.Members {
			if d := v.p.c.Drive(serial); d != nil {
				order = append(order, fmt.Sprintf("0,%d", d.Device))
			}
		}
		return strings.Join(order, " ")
	}).
	Is("Defunct segments", func(v volume) string { return yesNo(defunct(v.p.c, v.Volume) > 0) }).
	Own("Defunct stripes")

func (p printer) logicalDrives() {
	p.title("Logical drive information")
	for _, v := range p.c.Volumes {
		p.line("Logical drive number %d", v.Number)
		logicalDriveLines.Print(volume{v, p}, v.Extra, p.text)
	}
	if len(p.c.Volumes) == 0 {
		p.line("   No logical drives configured")
	}
	p.line("\n")
}

var oldDriveLines = raidtest.Table[drive]{}.
	Is("State", drive.state).
	Own("Supported").
	Is("Transfer Speed", func(d drive) string { return bus(d.Drive) + " " + d.Extra["speed"] }).
	Is("Reported Channel,Device", func(d drive) string { return fmt.Sprintf("0,%d", d.Device) }).
	Is("Reported Location", func(d drive) string { return fmt.Sprintf("Enclosure %d, Slot %d", d.Box, d.Slot) }).
	Own("Reported ESD").
	Is("Vendor", func(d drive) string { return d.Vendor }).
	Is("Model", func(d drive) string { return d.Model }).
	Is("Firmware", func(d drive) string { return d.Firmware }).
	Is("Serial number", func(d drive) string { return d.Serial }).
	Is("Size", func(d drive) string { return mb(d.Bytes) }).
	Own("Write Cache", "FRU").
	Is("PFA", func(d drive) string { return yesNo(d.SMARTAlert) })

var oldProcessorLines = raidtest.Table[raidtest.Part]{}.
	Is("Reported Channel,Device", func(part raidtest.Part) string { return fmt.Sprintf("2,%d", part.Box) }).
	Own("Enclosure ID", "Type", "Vendor", "Model", "Firmware")

func (p printer) oldDrives() {
	p.title("Physical Device information")
	there := slices.DeleteFunc(slices.Clone(p.c.Drives), func(d *raidtest.Drive) bool { return d.Pulled })
	for i, d := range there {
		p.line("     Device #%d\n        Device is a Hard drive", i)
		oldDriveLines.Print(p.of(d), d.Extra, p.inner)
	}
	for i, part := range p.c.Parts {
		p.line("     Device #%d\n        Device is an Enclosure services device", len(there)+i)
		oldProcessorLines.Print(part, part.Extra, p.inner)
		p.line("        Status of Enclosure services device")
		raidtest.Table[raidtest.Part]{}.Own("Temperature").Print(part, part.Extra, p.inner)
	}
}
