package arcconftool

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

type printer struct {
	w io.Writer
	c *raidtest.Controller
}

const (
	ruler = "----------------------------------------------------------------------"
	short = "--------------------------------------------------------"
)

func (p printer) line(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

func (p printer) title(s string) { p.line("%s\n%s\n%s", ruler, s, ruler) }

func (p printer) part(s string) { p.line("   %s\n   %s\n   %s", short, s, short) }

// field of a controller or volume; inner is one of a drive.
func (p printer) field(label string, value any) { p.line("   %-42s : %v", label, value) }
func (p printer) inner(label string, value any) { p.line("         %-36s : %v", label, value) }

func modeText(c *raidtest.Controller, mode raid.Mode) string {
	switch {
	case mode == raid.ModeHBA:
		return "HBA"
	case mode == raid.ModeMixed:
		return "Mixed"
	case smart(c):
		return "RAID"
	}
	return "RAID (Expose RAW)"
}

// list is the answer to LIST.
func (p printer) list(controllers []*raidtest.Controller) {
	p.title("Controller information")
	p.line("   Controller ID             : Status, Slot, Mode, Name, SerialNumber, WWN\n%s", ruler)
	for i, c := range controllers {
		p.line("   Controller %d:             : Optimal, Slot %s, %s, %s, %s, 50000D1%09d", i+1, c.Slot, modeText(c, c.Mode),
			c.Model, c.Serial, i)
	}
}

func (p printer) adapter() {
	c := p.c
	p.title("Controller information")
	p.field("Controller Status", "Optimal")
	p.field("Controller Mode", modeText(c, c.Mode))
	if c.PendingMode != "" {
		p.field("Pending Controller Mode", modeText(c, c.PendingMode))
	}
	p.field("Controller Model", c.Model)
	p.field("Controller Serial Number", c.Serial)
	p.field("Physical Slot", c.Slot)
	battery := map[raid.BatteryStateKind]string{raid.BatteryGood: "Ok", raid.BatteryCharging: "Charging",
		raid.BatteryFailed: "Failed", raid.BatteryMissing: "Not Present"}[c.Cache.Battery.Is]
	if !smart(c) {
		p.field("Installed memory", fmt.Sprintf("%d MB", c.Cache.Bytes>>20))
		p.part("Controller Version Information")
		p.field("Firmware", c.Firmware)
		p.part("Controller Cache Backup Unit Information")
		p.field("Overall Backup Unit Status", strings.Replace(battery, "Ok", "Ready", 1))
		return
	}
	// 0:af:0:0
	id := strings.FieldsFunc(string(c.ID), func(r rune) bool { return r == ':' || r == '.' })
	for i, part := range id {
		if id[i] = strings.TrimLeft(part, "0"); id[i] == "" {
			id[i] = "0"
		}
	}
	p.field("PCI Address (Domain:Bus:Device:Function)", strings.Join(id, ":"))
	boot := "None"
	for _, v := range c.Volumes {
		if v.Boot {
			boot = fmt.Sprintf("Logical device %d(%s)", v.Number, v.Name)
		}
	}
	p.field("Primary Boot Volume", boot)
	p.field("Driver Name", "smartpqi")
	p.part("Cache Properties")
	p.field("Cache memory", fmt.Sprintf("%d MB", c.Cache.Bytes>>20))
	p.part("Green Backup Information")
	p.field("Backup Power Status", battery)
	p.part("Controller Version Information")
	p.field("Firmware", c.Firmware)
}

func (p printer) volumes() {
	p.title("Logical device information")
	if len(p.c.Volumes) == 0 {
		p.line("   No logical devices configured\n")
	}
	for _, v := range p.c.Volumes {
		p.volume(v)
	}
}

func (p printer) volume(v *raidtest.Volume) {
	word := "device"
	if smart(p.c) {
		word = "Device"
	}
	p.line("Logical %s number %d", word, v.Number)
	p.field("Logical "+word+" name", v.Name)
	if smart(p.c) {
		p.field("Disk Name", fmt.Sprintf("/dev/sd%c", 'a'+rune(v.Number%26)))
		p.field("Array", p.array(v))
	}
	p.field("RAID level", v.Level)
	p.field("Status of Logical "+word, map[raid.VolumeStateKind]string{raid.VolumeOptimal: "Optimal",
		raid.VolumeInitializing: "Build", raid.VolumeDegraded: "Degraded", raid.VolumePartial: "Suboptimal, Fault Tolerant",
		raid.VolumeRebuilding: "Rebuilding", raid.VolumeOffline: "Failed"}[p.c.State(v)])
	p.field("Size", fmt.Sprintf("%d MB", v.Bytes>>20))
	if v.Strip != 0 {
		p.field("Stripe-unit size", fmt.Sprintf("%d KB", v.Strip>>10))
	}
	now := p.c.Current(v)
	if smart(p.c) {
		p.field("Boot Type", map[bool]string{true: "Primary", false: "None"}[v.Boot])
		p.field("Caching", map[bool]string{true: "Enabled", false: "Disabled"}[now.Write == raid.WriteBack])
		p.field("Volume Unique Identifier", strings.ToUpper(v.WWN))
	} else {
		p.field("Unique Identifier", strings.ToUpper(v.WWN[len(v.WWN)-8:]))
		ahead := now.Read == raid.ReadAhead
		p.field("Read-cache setting", map[bool]string{true: "Enabled", false: "Disabled"}[ahead])
		p.field("Read-cache status", map[bool]string{true: "On", false: "Off"}[ahead])
		p.field("Write-cache setting", map[raid.WritePolicy]string{raid.WriteThrough: "Disabled",
			raid.WriteBack: "On when protected by battery/ZMM", raid.WriteAlwaysBack: "Enabled"}[v.Policies.Write])
		p.field("Write-cache status", map[bool]string{true: "Off", false: "On"}[now.Write == raid.WriteThrough])
	}
	p.part("Logical Device segment information")
	groups := map[raid.Level]int{raid.Level10: len(v.Members) / 2, raid.Level50: 2, raid.Level60: 2}[v.Level]
	for i, serial := range v.Members {
		label := fmt.Sprintf("Segment %d", i)
		if groups > 0 {
			each := len(v.Members) / groups
			label = fmt.Sprintf("Group %d, Segment %d", i/each, i%each)
		}
		d := p.c.Drive(serial)
		if d == nil {
			p.field(label, "Missing")
			continue
		}
		state := "Present"
		if d.State == raid.DiskRebuilding {
			state = "Rebuilding"
		}
		p.field(label, fmt.Sprintf("%s (%dMB, %s, %s, Connector:CN0, Enclosure:1, Slot:%d) %s", state, d.Bytes>>20, bus(d),
			strings.ToUpper(string(d.Medium)), d.Slot, d.Serial))
	}
	p.line("\n")
}

func (p printer) array(v *raidtest.Volume) int {
	return slices.IndexFunc(p.c.Groups(), func(g []*raidtest.Volume) bool { return slices.Contains(g, v) })
}

func bus(d *raidtest.Drive) string {
	return map[hw.Bus]string{hw.BusATA: "SATA", hw.BusSAS: "SAS", hw.BusNVMe: "NVMe"}[d.Bus]
}

func (p printer) drives() {
	p.title("Physical Device information")
	for _, d := range p.c.Drives {
		if !d.Pulled {
			p.drive(d)
		}
	}
	p.line("      Device #99\n         Device is an Enclosure Services Device")
	p.inner("Reported Channel,Device(T:L)", "2,0(0:0)")
	p.inner("Serial number", "ENCLOSURE")
}

func (p printer) drive(d *raidtest.Drive) {
	p.line("      Device #%d\n         Device is a Hard drive", d.Device)
	state := map[raid.DiskStateKind]string{raid.DiskReady: "Ready", raid.DiskOnline: "Online", raid.DiskFailed: "Failed",
		raid.DiskBad: "Failed", raid.DiskOffline: "Offline", raid.DiskRebuilding: "Rebuilding", raid.DiskSpare: "Hot Spare",
		raid.DiskJBOD: "Online (JBOD)"}[d.State]
	if p.c.Mode == raid.ModeHBA {
		state = "Raw (Pass Through)"
	}
	var arrays, volumes []string
	for _, v := range p.c.Volumes {
		if slices.Contains(v.Members, d.Serial) || slices.Contains(d.SpareFor, v.Number) {
			if a := fmt.Sprint(p.array(v)); !slices.Contains(arrays, a) {
				arrays = append(arrays, a)
			}
			volumes = append(volumes, fmt.Sprint(v.Number))
		}
	}
	if !smart(p.c) && d.State == raid.DiskSpare {
		state = "Global Hot-Spare"
		if len(d.SpareFor) > 0 {
			state = "Dedicated Hot-Spare"
		}
	}
	p.inner("State", state)
	if state == "Dedicated Hot-Spare" {
		p.inner("Dedicated Hot-Spare for", strings.Join(volumes, ", "))
	}
	p.inner("Block Size", fmt.Sprintf("%d Bytes", d.LogicalSector))
	p.inner("Physical Block Size", "4K Bytes")
	p.inner("Transfer Speed", bus(d)+" 12.0 Gb/s")
	p.inner("Reported Channel,Device(T:L)", fmt.Sprintf("0,%d(%d:0)", d.Device, d.Device))
	p.inner("Reported Location", fmt.Sprintf("Enclosure 1, Slot %d(Connector 0:CN0)", d.Slot))
	if smart(p.c) && len(arrays) > 0 {
		p.inner("Array", strings.Join(arrays, ", "))
	}
	p.inner("Vendor", d.Vendor)
	p.inner("Model", d.Model)
	p.inner("Firmware", d.Firmware)
	p.inner("Serial number", d.Serial)
	p.inner("World-wide name", strings.ToUpper(d.WWN))
	p.inner("Total Size", fmt.Sprintf("%d MB", d.Bytes>>20))
	p.inner("S.M.A.R.T.", map[bool]string{true: "Yes", false: "No"}[d.SMARTAlert])
	p.inner("SSD", map[bool]string{true: "Yes", false: "No"}[d.Medium != hw.HDD])
	p.line("      %s\n      Device Error Counters\n      %s", ruler[:64], ruler[:64])
	p.inner("Hardware Errors", d.OtherErrors)
	p.inner("Media Failures", d.MediaErrors)
	p.line("")
}

// tasks is the answer to GETSTATUS.
func (p printer) tasks() {
	any := false
	for _, v := range p.c.Volumes {
		for _, serial := range v.Members {
			if d := p.c.Drive(serial); d != nil && d.State == raid.DiskRebuilding {
				any = true
				p.line("Logical device Task:")
				p.field("Logical device", v.Number)
				p.field("Task ID", 100+v.Number)
				p.field("Current operation", "Rebuild")
				p.field("Status", "In Progress")
				p.field("Percentage complete", int(d.Rebuild*100))
			}
		}
	}
	if !any {
		p.line("Logical device Task:\n   None")
	}
}
