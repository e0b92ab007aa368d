package megaclitool

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// printer prints what is asked of one adapter after the other.
type printer struct {
	strings.Builder
	c *raidtest.Controller
	n int
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// size is binary, of three digits behind the point; what comes after them is cut off.
func size(bytes int64) string {
	unit, n := "KB", float64(bytes)/(1<<10)
	for _, u := range []string{"MB", "GB", "TB"} {
		if n < 1024 {
			break
		}
		unit, n = u, n/1024
	}
	return fmt.Sprintf("%.3f %s", math.Floor(n*1000)/1000, unit)
}

// strip of 1 MiB and more has a point.
func strip(s hw.Size) string {
	if s < 1<<20 {
		return fmt.Sprintf("%d KB", s>>10)
	}
	return fmt.Sprintf("%.1f MB", float64(s)/(1<<20))
}

func yes(is bool) string { return map[bool]string{true: "Yes", false: "No"}[is] }

func (p *printer) head() { p.line("                                     \nAdapter #%d\n", p.n) }

func (p *printer) adapter() {
	p.head()
	caps := p.c.Capabilities
	var levels []string
	for _, l := range caps.Levels {
		levels = append(levels, "RAID"+string(l.Level))
	}
	title := func(name string) {
		p.line("\n                    %s\n                ================", name)
	}
	p.WriteString(strings.Repeat("=", 78))
	title("Versions")
	p.line("Product Name    : %s\nSerial No       : %s\nFW Package Build: %s", p.c.Model, p.c.Serial, p.c.Firmware)
	title("PCI Info")
	p.line("Controller Id\t: %04d\nVendor Id       : 1000\nDevice Id       : 005d\nSubVendorId     : 1000\n"+
		"SubDeviceId     : 9361\n\nHost Interface  : PCIE", p.n)
	title("HW Configuration")
	present := map[bool]string{true: "Present", false: "Absent"}
	p.line("SAS Address      : 500605b000000000\nBBU              : %s\nMemory           : %s\nMemory Size      : %dMB",
		present[!p.c.Cache.Battery.IsZero()], present[p.c.Cache.Bytes > 0], p.c.Cache.Bytes>>20)
	title("Settings")
	p.line("Rebuild Rate                     : 30%%\nEnable JBOD                      : %s", yes(jbodEnabled(p.c)))
	title("Capabilities")
	p.line("RAID Level Supported             : %s, PRL 11, PRL 11 with spanning\n"+
		"Supported Drives                 : SAS, SATA", strings.Join(levels, ", "))
	title("Limitations")
	p.line("Max Arms Per VD          : 32 \nMax Spans Per VD         : 8 \nMax Number of VDs        : %d ",
		caps.MaxVolumes)
	if len(caps.Strips) > 0 {
		p.line("Min Strip Size           : %s\nMax Strip Size           : %s", strip(slices.Min(caps.Strips)),
			strip(slices.Max(caps.Strips)))
	}
	title("Supported Adapter Operations")
	p.line("Foreign Config Import           : %s\nGlobal Hot Spares               : %s\n"+
		"Dedicated Hot Spare             : %s\nSupport JBOD                    : %s", yes(caps.ImportForeign),
		yes(caps.GlobalSpares), yes(caps.DedicatedSpares), yes(caps.JBOD))
}

func (p *printer) pci() {
	var bus, device, function int
	_, _ = fmt.Sscanf(string(p.c.ID), "0000:%x:%x.%x", &bus, &device, &function)
	p.line("\nPCI information for Controller %d\n--------------------------------\nBus Number      : %x \n"+
		"Device Number   : %x \nFunction Number : %x \n", p.n, bus, device, function)
}

// words of a drive's state.
var words = map[raid.DiskStateKind]string{raid.DiskReady: "Unconfigured(good), Spun Up",
	raid.DiskOnline: "Online, Spun Up", raid.DiskOffline: "Offline", raid.DiskFailed: "Failed",
	raid.DiskRebuilding: "Rebuild", raid.DiskSpare: "Hotspare, Spun Up", raid.DiskJBOD: "JBOD",
	raid.DiskBad: "Unconfigured(bad)"}

func (p *printer) present() []*raidtest.Drive {
	drives := slices.DeleteFunc(slices.Clone(p.c.Drives), func(d *raidtest.Drive) bool { return d.Pulled })
	slices.SortFunc(drives, func(a, b *raidtest.Drive) int {
		return cmp.Or(cmp.Compare(a.Enclosure, b.Enclosure), cmp.Compare(a.Slot, b.Slot))
	})
	return drives
}

func (p *printer) drives() {
	p.head()
	for _, d := range p.present() {
		p.drive(d)
		p.WriteString("\n\n\n")
	}
}

// place is the number of a volume's group, and of a member's span and arm.
func (p *printer) place(v *raidtest.Volume, serial string) (group, span, arm int) {
	group = slices.IndexFunc(p.c.Groups(), func(g []*raidtest.Volume) bool { return slices.Contains(g, v) })
	each := len(v.Members) / spans(v)
	i := slices.Index(v.Members, serial)
	return group, i / each, i % each
}

func spans(v *raidtest.Volume) int {
	switch v.Level {
	case raid.Level10:
		return max(cmp.Or(v.Spans, len(v.Members)/2), 1)
	case raid.Level50, raid.Level60:
		return max(v.Spans, 2)
	}
	return 1
}

func (p *printer) drive(d *raidtest.Drive) {
	extra := func(name, otherwise string) string { return cmp.Or(d.Extra[name], otherwise) }
	p.line("Enclosure Device ID: %d\nSlot Number: %d", d.Enclosure, d.Slot)
	if on := p.c.VolumesOn(d.Serial); len(on) > 0 {
		group, span, arm := p.place(on[0], d.Serial)
		p.line("Drive's position: DiskGroup: %d, Span: %d, Arm: %d", group, span, arm)
	}
	predictive := 0
	if d.SMARTAlert {
		predictive = 1
	}
	bus := "SAS"
	if d.Bus == hw.BusATA {
		bus = "SATA"
	}
	p.line("Enclosure position: 1\nDevice Id: %d\nWWN: %s\nSequence Number: %s\nMedia Error Count: %d\n"+
		"Other Error Count: %d\nPredictive Failure Count: %d\nLast Predictive Failure Event Seq Number: 0\nPD Type: %s\n"+
		"", d.Device,
		strings.ToUpper(d.WWN), extra("sequence", "2"), d.MediaErrors, d.OtherErrors, predictive, bus)
	if d.State == raid.DiskSpare {
		p.line("Hotspare Information:")
		if len(d.SpareFor) == 0 {
			p.line("Type: Global, is revertible\n")
		} else {
			var arrays []string
			for i, g := range p.c.Groups() {
				if slices.ContainsFunc(g, func(v *raidtest.Volume) bool { return slices.Contains(d.SpareFor, v.Number) }) {
					arrays = append(arrays, strconv.Itoa(i))
				}
			}
			p.line("Type: Dedicated, is revertible\nArray #: %s\n", strings.Join(arrays, ", "))
		}
	}
	sector := int64(cmp.Or(d.LogicalSector, 512))
	// The firmware keeps 512 MiB at the end of each drive.
	const kept = 512 << 20
	p.line("Raw Size: %s [0x%x Sectors]\nNon Coerced Size: %s [0x%x Sectors]\nCoerced Size: %s [0x%x Sectors]\n"+
		"Sector Size:  %d\nLogical Sector Size:  %d\nPhysical Sector Size:  %d", size(d.Bytes+kept), (d.Bytes+kept)/sector,
		size(d.Bytes), d.Bytes/sector, size(d.Bytes), d.Bytes/sector, sector, sector, cmp.Or(d.PhysicalSector, int(sector)))
	address := fmt.Sprintf("44332211%02d000000", d.Slot)
	inquiry := fmt.Sprintf("%20s%-40s%-8s", d.Serial, strings.TrimSpace(d.Vendor+" "+d.Model), d.Firmware)
	speed := extra("speed", "6.0Gb/s")
	if bus == "SAS" {
		if n, err := strconv.ParseUint(d.WWN, 16, 64); err == nil {
			address = fmt.Sprintf("%016x", n-2)
		}
		inquiry = fmt.Sprintf("%-8.8s%-16.16s%-4.4s%-20s", d.Vendor, d.Model, d.Firmware, d.Serial)
		speed = extra("speed", "12.0Gb/s")
	}
	foreign, locked := "None", "Unlocked"
	if d.Foreign != nil {
		foreign = "Foreign"
	}
	if d.Locked {
		locked = "Locked"
	}
	p.line("Firmware state: %s\nDevice Firmware Level: %s\nShield Counter: 0\n"+
		"Successful diagnostics completion on :  N/A\n"+
		"SAS Address(0): 0x%s", cmp.Or(words[d.State], string(d.State)), d.Firmware, address)
	if bus == "SAS" {
		p.line("SAS Address(1): 0x0")
	}
	celsius, _ := strconv.Atoi(extra("celsius", "30"))
	medium := "Hard Disk Device"
	if d.Medium != hw.HDD {
		medium = "Solid State Device"
	}
	p.line("Connected Port Number: 0(path0) \nInquiry Data: %s\nFDE Capable: Not Capable\nFDE Enable: Disable\n"+
		"Secured: Unsecured\nLocked: %s\nNeeds EKM Attention: No\nForeign State: %s \nDevice Speed: %s \n"+
		"Link Speed: %s \nMedia Type: %s\n"+
		"Drive Temperature :%dC (%.2f F)\nPI Eligibility:  No ", inquiry, locked, foreign, speed, speed, medium, celsius,
		float64(celsius)*9/5+32)
	if pi := d.Extra["pi"]; pi != "" {
		p.line("Drive is formatted for PI information:  Yes \nPI: PI with %s", pi)
	}
	for port := range 2 {
		if port == 0 || bus == "SAS" {
			p.line("Port-%d :\nPort status: Active\nPort's Linkspeed: %s ", port, speed)
		}
	}
	p.line("Drive has flagged a S.M.A.R.T alert : %s", yes(d.SMARTAlert))
}

// levels are the tool's words for them: what a span is, and how spans are put together.
var levels = map[raid.Level]string{raid.Level0: "Primary-0, Secondary-0, RAID Level Qualifier-0",
	raid.Level1:  "Primary-1, Secondary-0, RAID Level Qualifier-0",
	raid.Level10: "Primary-1, Secondary-0, RAID Level Qualifier-0",
	raid.Level5:  "Primary-5, Secondary-0, RAID Level Qualifier-3",
	raid.Level50: "Primary-5, Secondary-0, RAID Level Qualifier-3",
	raid.Level6:  "Primary-6, Secondary-0, RAID Level Qualifier-3",
	raid.Level60: "Primary-6, Secondary-0, RAID Level Qualifier-3"}

// states: what goes on beside is told elsewhere.
var states = map[raid.VolumeStateKind]string{raid.VolumeOptimal: "Optimal", raid.VolumeInitializing: "Optimal",
	raid.VolumeDegraded: "Degraded", raid.VolumeRebuilding: "Degraded", raid.VolumePartial: "Partially Degraded",
	raid.VolumeOffline: "Offline", raid.VolumeFailed: "Offline"}

func (p *printer) volumes(drives bool) {
	switch {
	case drives:
		p.head()
		p.line("Number of Virtual Disks: %d", len(p.c.Volumes))
	case len(p.c.Volumes) == 0:
		p.line("\n\nAdapter %d -- No Virtual Drive Configured.", p.n)
	default:
		p.line("\n\nAdapter %d -- Virtual Drive Information:", p.n)
	}
	volumes := slices.Clone(p.c.Volumes)
	slices.SortFunc(volumes, func(a, b *raidtest.Volume) int { return cmp.Compare(a.Number, b.Number) })
	for _, v := range volumes {
		p.volume(v)
		if drives {
			each := len(v.Members) / spans(v)
			p.line("Number of Spans: %d", spans(v))
			for i, serial := range v.Members {
				if i%each == 0 {
					p.line("Span: %d - Number of PDs: %d\n", i/each, each)
				}
				// Of a drive that is not there nothing but its place is told.
				p.line("PD: %d Information", i%each)
				if d := p.c.Drive(serial); d != nil {
					p.drive(d)
				}
				p.WriteString("\n\n\n")
			}
		}
		p.WriteString("\n\n")
	}
}

func (p *printer) volume(v *raidtest.Volume) {
	// Firmware that knows of protection information tells it, and other things not.
	informed := p.c.Extra["PI"] == "Yes"
	p.line("Virtual Drive: %d (Target Id: %d)\nName                :%s\nRAID Level          : %s\n"+
		"Size                : %s", v.Number, v.Number, v.Name, cmp.Or(levels[v.Level], string(v.Level)), size(v.Bytes))
	emulated := false
	for _, serial := range v.Members {
		if d := p.c.Drive(serial); d != nil {
			emulated = emulated || d.PhysicalSector > d.LogicalSector
		}
	}
	if !informed {
		p.line("Sector Size         : 512")
	}
	p.line("Is VD emulated      : %s", yes(emulated))
	switch each := len(v.Members) / spans(v); v.Level {
	case raid.Level1, raid.Level10:
		p.line("Mirror Data         : %s", size(v.Bytes))
	case raid.Level5, raid.Level50:
		p.line("Parity Size         : %s", size(v.Bytes/int64(each-1)))
	case raid.Level6, raid.Level60:
		p.line("Parity Size         : %s", size(v.Bytes/int64(max(each-2, 1))*2))
	default:
		p.line("Parity Size         : 0")
	}
	p.line("State               : %s\nStrip Size          : %s", states[p.c.State(v)],
		strip(cmp.Or(v.Strip, p.c.DefaultStrip)))
	if n := spans(v); n > 1 {
		p.line("Number Of Drives per span:%d", len(v.Members)/n)
	} else {
		p.line("Number Of Drives    : %d", len(v.Members))
	}
	p.line("Span Depth          : %d\nDefault Cache Policy: %s\nCurrent Cache Policy: %s\n"+
		"Default Access Policy: Read/Write\nCurrent Access Policy: Read/Write\n"+
		"Disk Cache Policy   : %s", spans(v), policies(v, v.Policies),
		policies(v, p.c.Current(v)), cmp.Or(map[raid.DiskCache]string{raid.DiskCacheEnable: "Enabled",
			raid.DiskCacheDisable: "Disabled"}[v.Policies.DiskCache], "Disk's Default"))
	if v.Initializing != "" {
		p.line("Ongoing Progresses:\n  Initialization: Completed %.0f%%, Taken 0 min.", v.Initialized*100)
	}
	p.line("Encryption Type     : None")
	if informed {
		p.line("PI type: No PI\n")
	} else {
		p.line("Bad Blocks Exist: No")
	}
	p.line("Is VD Cached: No")
}

func policies(v *raidtest.Volume, p raid.Policies) string {
	write, read, io := "WriteBack", "ReadAheadNone", "Direct"
	if p.Write == raid.WriteThrough {
		write = "WriteThrough"
	}
	switch p.Read {
	case raid.ReadAhead:
		read = "ReadAhead"
	case raid.ReadAdaptive:
		read = "ReadAdaptive"
	}
	if p.IO == raid.IOCached {
		io = "Cached"
	}
	bad := "No Write Cache if Bad BBU"
	if v.Policies.Write == raid.WriteAlwaysBack || v.Extra[badBBU] == "Yes" {
		bad = "Write Cache OK if Bad BBU"
	}
	return strings.Join([]string{write, read, io, bad}, ", ")
}

func (p *printer) foreign() {
	ids := map[string]bool{}
	for _, d := range p.present() {
		if d.Foreign != nil {
			ids[d.Foreign.ID] = true
		}
	}
	if len(ids) == 0 {
		p.line("                                     \nThere is no foreign configuration on controller %d.", p.n)
		return
	}
	p.line("                                     \nThere are %d foreign configuration(s) on controller %d.", len(ids), p.n)
}

func (p *printer) preserved() {
	p.head()
	for _, v := range p.c.PreservedCache {
		p.line("Virtual Drive(Target ID %02s): Missing.", v)
	}
	if len(p.c.PreservedCache) == 0 {
		p.line("No Virtual Drive has Preserved Cache Data.")
	}
}

func (p *printer) boot() {
	i := slices.IndexFunc(p.c.Volumes, func(v *raidtest.Volume) bool { return v.Boot })
	if i < 0 {
		p.line("\nAdapter %d: No Boot Virtual Drive is set.", p.n)
		return
	}
	n := p.c.Volumes[i].Number
	p.line("\nAdapter %d: Boot Virtual Drive - #%d (target id - %d).", p.n, n, n)
}

func (p *printer) battery() bool {
	b := p.c.Cache.Battery
	if b.IsZero() || b.Is == raid.BatteryMissing {
		p.line("\nAdapter %d: Get BBU Status Failed.\n\nFW error description: \n"+
			"  The required hardware component is not present.  ", p.n)
		return false
	}
	word := cmp.Or(map[raid.BatteryStateKind]string{raid.BatteryGood: "Optimal", raid.BatteryCharging: "Charging",
		raid.BatteryFailed: "Failed"}[b.Is], b.Raw)
	p.line("\nBBU status for Adapter: %d\n\nBatteryType: CVPM02\nVoltage: 9437 mV\nTemperature: 26 C\nBattery State: %s\n"+
		"BBU Firmware Status:\n", p.n, word)
	return true
}

func (p *printer) rebuild(enclosure, slot string) bool {
	for _, d := range p.present() {
		if strconv.Itoa(d.Enclosure) == enclosure && strconv.Itoa(d.Slot) == slot && d.State == raid.DiskRebuilding {
			p.line("\nRebuild Progress on Device at Enclosure %s, Slot %s Completed %.0f%% in 22 Minutes.", enclosure, slot,
				d.Rebuild*100)
			return true
		}
	}
	p.line("\nDevice(Encl-%s Slot-%s) is not in rebuild process", enclosure, slot)
	return false
}
