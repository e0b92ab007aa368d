package ssaclitool

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// name of a drive: port, box, bay. The chassis counts slots from 0.
func name(d *raidtest.Drive) string { return fmt.Sprintf("%s:1:%d", d.Port, d.Slot+1) }

// letter of an array: A to Z, then AA.
func letter(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return letter(i/26-1) + letter(i%26)
}

func size(n int64, base float64) string {
	if n == 0 {
		return "--- GB"
	}
	v, unit := float64(n)/math.Pow(base, 2), "MB"
	for _, next := range []string{"GB", "TB", "PB"} {
		if v >= base {
			v, unit = v/base, next
		}
	}
	digits := 1
	if base == 1024 {
		digits = 2
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	return strings.TrimSuffix(text, ".0") + " " + unit
}

func kind(d *raidtest.Drive) string {
	bus := map[hw.Bus]string{hw.BusATA: "SATA", hw.BusSAS: "SAS"}[d.Bus]
	switch d.Medium {
	case hw.SSD:
		return "Solid State " + bus
	case hw.NVMe:
		return "NVMe SSD"
	}
	return bus
}

func status(d *raidtest.Drive) string {
	switch d.State {
	case raid.DiskFailed, raid.DiskBad:
		return "Failed"
	case raid.DiskRebuilding:
		return "Rebuilding"
	case raid.DiskOffline:
		return "Offline"
	case raid.DiskErasing:
		return "Erase In Progress"
	}
	if d.SMARTAlert {
		return "Predictive Failure"
	}
	return "OK"
}

// drives that are there, in the order of their places.
func drives(c *raidtest.Controller) []*raidtest.Drive {
	there := slices.DeleteFunc(slices.Clone(c.Drives), func(d *raidtest.Drive) bool { return d.Pulled })
	slices.SortStableFunc(there, func(a, b *raidtest.Drive) int { return raid.CompareLocations(name(a), name(b)) })
	return there
}

type printer struct{ w io.Writer }

func (p printer) line(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

// config is `show config detail` of one controller.
func (p printer) config(c *raidtest.Controller) {
	p.line("\n%s in Slot %s (Embedded)%s", c.Model, c.Slot, map[bool]string{true: " (HBA Mode)"}[c.Mode == raid.ModeHBA])
	p.line("   Bus Interface: PCI\n   Slot: %s\n   Serial Number: %s\n   RAID 6 (ADG) Status: Enabled", c.Slot, c.Serial)
	p.line("   Controller Status: OK\n   Firmware Version: %s\n   Cache Board Present: True", c.Firmware)
	good := c.Cache.Battery.Is == raid.BatteryGood
	p.line("   Cache Status: %s", map[bool]string{true: "OK", false: "Temporarily Disabled"}[good])
	p.line("   Total Cache Size: %.1f GB", float64(c.Cache.Bytes)/(1<<30))
	if c.Cache.Battery.Is != "" {
		p.line("   Battery/Capacitor Count: 1\n   Battery/Capacitor Status: %s", map[raid.BatteryStateKind]string{
			raid.BatteryGood: "OK", raid.BatteryCharging: "Recharging", raid.BatteryFailed: "Failed",
			raid.BatteryMissing: "Not Present"}[c.Cache.Battery.Is])
	}
	p.line("   PCI Address (Domain:Bus:Device.Function): %s", strings.ToUpper(string(c.ID)))
	mode := map[raid.Mode]string{raid.ModeRAID: "RAID", raid.ModeHBA: "HBA"}
	p.line("   Controller Mode: %s Mode", mode[c.Mode])
	if c.PendingMode != "" {
		p.line("   Pending Controller Mode: %s", mode[c.PendingMode])
	}
	boot := "None"
	for _, v := range c.Volumes {
		if v.Boot {
			boot = fmt.Sprintf("logicaldrive %d (%s)", v.Number+1, strings.ToUpper(v.WWN))
		}
	}
	p.line("   Primary Boot Volume: %s\n   Secondary Boot Volume: None\n\n", boot)
	p.line("   Internal Drive Cage at Port 1I, Box 1, OK\n      Drive Bays: %d\n      Serial Number: CAGE\n", len(c.Drives))
	p.line("   Physical Drives")
	for _, d := range drives(c) {
		p.summary(c, d)
	}
	told := map[string]bool{}
	for i, group := range c.Groups() {
		p.array(c, i, group, told)
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
	p.line("\n\n   SEP (Vendor ID PMCSIERA, Model SRCv8x6G) 380\n      Device Number: 380\n      Firmware Version: RevB\n"+
		"      WWID: 500143800000%04X\n      Vendor ID: PMCSIERA\n      Model: SRCv8x6G", len(c.Serial))
}

func (p printer) summary(c *raidtest.Controller, d *raidtest.Drive) {
	role := ""
	if d.State == raid.DiskSpare {
		role = ", spare"
	}
	p.line("      physicaldrive %s (port %s:box 1:bay %d, %s, %s, %s%s)", name(d), d.Port, d.Slot+1, kind(d),
		size(d.Bytes, 1000), status(d), role)
}

func (p printer) array(c *raidtest.Controller, i int, group []*raidtest.Volume, told map[string]bool) {
	p.line("\n\n   Array: %s\n      Interface Type: SAS\n      Unused Space: 0  MB\n      Status: OK\n      Array Type: Data\n",
		letter(i))
	for _, v := range group {
		p.volume(c, v)
	}
	for _, d := range drives(c) {
		switch {
		case slices.Contains(group[0].Members, d.Serial):
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
	for _, serial := range group[0].Members {
		if c.Drive(serial) == nil { // it is gone, and so is its place
			p.line("\n      physicaldrive ?:?:?\n         Status: Failed\n         Drive Type: Data Drive\n         Size: --- GB")
		}
	}
}

var levels = map[raid.Level]string{raid.Level0: "0", raid.Level1: "1", raid.Level5: "5", raid.Level6: "6",
	raid.Level10: "1+0", raid.Level50: "50", raid.Level60: "60"}

func (p printer) volume(c *raidtest.Controller, v *raidtest.Volume) {
	p.line("\n      Logical Drive: %d\n         Size: %s\n         Fault Tolerance: %s", v.Number+1, size(v.Bytes, 1024),
		levels[v.Level])
	if v.Strip != 0 {
		p.line("         Strip Size: %d KB", v.Strip>>10)
	}
	words := map[raid.VolumeStateKind]string{raid.VolumeOptimal: "OK", raid.VolumeInitializing: "OK",
		raid.VolumeDegraded: "Interim Recovery Mode", raid.VolumePartial: "Interim Recovery Mode",
		raid.VolumeOffline: "Failed"}
	word := words[c.State(v)]
	for _, serial := range v.Members {
		if d := c.Drive(serial); d != nil && d.State == raid.DiskRebuilding && word == "" {
			word = fmt.Sprintf("Recovering, %.0f%% complete", d.Rebuild*100)
		}
	}
	p.line("         Status: %s", word)
	p.line("         Caching:  %s", map[bool]string{true: "Enabled", false: "Disabled"}[v.Policies.Write == raid.WriteBack])
	if v.Initializing != "" {
		p.line("         Parity Initialization Status: In Progress\n         Parity Initialization Progress: %.0f%%",
			v.Initialized*100)
	}
	p.line("         Unique Identifier: %s\n         Disk Name: /dev/sd%c \n         Mount Points: None", strings.ToUpper(v.WWN),
		'a'+rune(v.Number%26))
	p.line("         Logical Drive Label: %08X%s", v.Number, c.Serial)
	if v.Level == raid.Level1 || v.Level == raid.Level10 {
		half := len(v.Members) / 2
		p.group(c, "Mirror Group 1", v.Members[:half])
		p.group(c, "Mirror Group 2", v.Members[half:])
	}
	if v.Level == raid.Level50 || v.Level == raid.Level60 {
		n := max(v.Spans, 2)
		for i := range n {
			p.group(c, fmt.Sprintf("Parity Group %d", i), v.Members[i*len(v.Members)/n:(i+1)*len(v.Members)/n])
		}
	}
	p.line("         Drive Type: Data\n         LD Acceleration Method: Controller Cache")
}

func (p printer) group(c *raidtest.Controller, title string, serials []string) {
	p.line("         %s:", title)
	for _, serial := range serials {
		if d := c.Drive(serial); d != nil {
			p.line("            physicaldrive %s (port %s:box 1:bay %d, %s, %s, %s)", name(d), d.Port, d.Slot+1, kind(d),
				size(d.Bytes, 1000), status(d))
		} else {
			p.line("            physicaldrive ?:?:? (port ?:box ?:bay ?, SAS, --- GB, Failed)")
		}
	}
}

func (p printer) drive(d *raidtest.Drive, role string) {
	p.line("\n      physicaldrive %s\n         Port: %s\n         Box: 1\n         Bay: %d\n         Status: %s", name(d), d.Port,
		d.Slot+1, status(d))
	p.line("         Drive Type: %s\n         Interface Type: %s\n         Size: %s", role, kind(d), size(d.Bytes, 1000))
	p.line("         Logical/Physical Block Size: %d/%d", d.LogicalSector, d.PhysicalSector)
	if d.Medium == hw.HDD {
		p.line("         Rotational Speed: 10000")
	}
	p.line("         Firmware Revision: %s\n         Serial Number: %s\n         WWID: %s\n         Model: %-8s%s", d.Firmware,
		d.Serial, strings.ToUpper(d.WWN), d.Vendor, d.Model)
}
