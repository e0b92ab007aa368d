package storcli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// card is a controller with the number that the tool has for it.
type card struct {
	*raidtest.Controller
	number int
}

func (c card) extra(name, otherwise string) string { return cmp.Or(c.Extra[name], otherwise) }

func (c card) size(bytes int64) string { return size(bytes, c.Extra["sizes"] == "short") }

// drives that are there, by place.
func (c card) drives() []*raidtest.Drive {
	all := slices.DeleteFunc(slices.Clone(c.Drives), func(d *raidtest.Drive) bool { return d.Pulled })
	slices.SortFunc(all, func(a, b *raidtest.Drive) int {
		return cmp.Or(cmp.Compare(a.Enclosure, b.Enclosure), cmp.Compare(a.Slot, b.Slot))
	})
	return all
}

// place is `252:4`, or ` :4` where there is no enclosure.
func place(d *raidtest.Drive) string {
	if d.Enclosure < 0 {
		return fmt.Sprintf(" :%d", d.Slot)
	}
	return fmt.Sprintf("%d:%d", d.Enclosure, d.Slot)
}

func (c card) path(d *raidtest.Drive) string {
	if d.Enclosure < 0 {
		return fmt.Sprintf("/c%d/s%d", c.number, d.Slot)
	}
	return fmt.Sprintf("/c%d/e%d/s%d", c.number, d.Enclosure, d.Slot)
}

var driveWords = map[raid.DiskStateKind]string{raid.DiskReady: "UGood", raid.DiskOnline: "Onln",
	raid.DiskOffline: "Offln", raid.DiskFailed: "Failed", raid.DiskMissing: "Msng", raid.DiskRebuilding: "Rbld",
	raid.DiskJBOD: "JBOD", raid.DiskBad: "UBad", raid.DiskErasing: "Sntze"}

func driveWord(d *raidtest.Drive) string {
	if d.State == raid.DiskSpare {
		if len(d.SpareFor) > 0 {
			return "DHS"
		}
		return "GHS"
	}
	return driveWords[d.State]
}

// group is the number of the drive group that a volume is in.
func (c card) group(v *raidtest.Volume) int {
	return slices.IndexFunc(c.Groups(), func(g []*raidtest.Volume) bool { return slices.Contains(g, v) })
}

// groupWord is the DG column of a drive.
func (c card) groupWord(d *raidtest.Drive) any {
	switch on := c.VolumesOn(d.Serial); {
	case len(on) > 0:
		return c.group(on[0])
	case d.Foreign != nil:
		return "F"
	case len(d.SpareFor) > 0:
		var groups []string
		for _, n := range d.SpareFor {
			if v := c.Volume(n); v != nil {
				if g := strconv.Itoa(c.group(v)); !slices.Contains(groups, g) {
					groups = append(groups, g)
				}
			}
		}
		if len(groups) == 1 {
			n, _ := strconv.Atoi(groups[0])
			return n
		}
		return strings.Join(groups, ",")
	}
	return "-"
}

func sectorWord(n int) string {
	if n >= 4096 {
		return fmt.Sprintf("%d KB", n>>10)
	}
	return fmt.Sprintf("%dB", max(n, 512))
}

func mediumWords(d *raidtest.Drive) (intf, med string) {
	switch d.Bus {
	case hw.BusATA:
		intf = "SATA"
	case hw.BusNVMe:
		intf = "NVMe"
	default:
		intf = "SAS"
	}
	if d.Medium == hw.HDD {
		return intf, "HDD"
	}
	return intf, "SSD"
}

// driveLine is a line of PD LIST.
func (c card) driveLine(d *raidtest.Drive) object {
	intf, med := mediumWords(d)
	state := driveWord(d)
	if c.isHBA() {
		state = "UGood"
	}
	o := object{{"EID:Slt", place(d)}, {"DID", d.Device}, {"State", state}, {"DG", c.groupWord(d)},
		{"Size", c.size(d.Bytes)}, {"Intf", intf}, {"Med", med}, {"SED", "N"}, {"PI", "N"},
		{"SeSz", sectorWord(d.LogicalSector)}, {"Model", d.Model}, {"Sp", cmp.Or(d.Extra["Sp"], "U")}}
	if c.isHBA() {
		return o
	}
	return append(o, field{"Type", cmp.Or(d.Extra["Type"], "-")})
}

func (c card) driveLines() table {
	var t table
	for _, d := range c.drives() {
		t = append(t, c.driveLine(d))
	}
	return t
}

func yes(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}

// driveDetails is what `show all` of a drive adds.
func (c card) driveDetails(d *raidtest.Drive) object {
	name := "Drive " + c.path(d)
	sectors := fmt.Sprintf("%s [0x%x Sectors]", c.size(d.Bytes), d.Bytes/512)
	position := "-"
	if on := c.VolumesOn(d.Serial); len(on) > 0 {
		position = fmt.Sprintf("DriveGroup:%d, Span:0, Row:%d", c.group(on[0]), slices.Index(on[0].Members, d.Serial))
	}
	predictive := 0
	if d.SMARTAlert {
		predictive = 1
	}
	return object{
		{name + " State", object{{"Shield Counter", 0}, {"Media Error Count", int(d.MediaErrors)},
			{"Other Error Count", int(d.OtherErrors)}, {"Drive Temperature", " 29C (84.20 F)"},
			{"Predictive Failure Count", predictive}, {"S.M.A.R.T alert flagged by drive", yes(d.SMARTAlert)}}},
		{name + " Device attributes", object{{"SN", d.Serial}, {"Manufacturer Id", d.Vendor}, {"Model Number", d.Model},
			{"NAND Vendor", "NA"}, {"WWN", strings.ToUpper(d.WWN)}, {"Firmware Revision", d.Firmware},
			{"Raw size", sectors}, {"Coerced size", sectors}, {"Non Coerced size", sectors}, {"Device Speed", "12.0Gb/s"},
			{"Link Speed", "12.0Gb/s"}, {"Logical Sector Size", sectorWord(d.LogicalSector)},
			{"Physical Sector Size", sectorWord(d.PhysicalSector)}, {"Connector Name", "Port 0 - 3 x1"}}},
		{name + " Policies/Settings", object{{"Drive position", position}, {"Enclosure position", "1"},
			{"Connected Port Number", "0(path0) "}, {"Sequence Number", 2}, {"Commissioned Spare", "No"},
			{"Emergency Spare", "No"}, {"SED Capable", yes(d.Locked)}, {"SED Enabled", yes(d.Locked)},
			{"Secured", yes(d.Locked)}, {"Locked", yes(d.Locked)}, {"Needs EKM Attention", "No"}, {"PI Eligible", "No"},
			{"Certified", "Yes"}, {"Wide Port Capable", "No"}}}}
}

var volumeWords = map[raid.VolumeStateKind]string{raid.VolumeOptimal: "Optl", raid.VolumeDegraded: "Dgrd",
	raid.VolumePartial: "Pdgd", raid.VolumeOffline: "OfLn", raid.VolumeFailed: "OfLn", raid.VolumeInitializing: "Optl",
	raid.VolumeRebuilding: "Dgrd"}

func cacheWord(p raid.Policies) string {
	read := map[raid.ReadPolicy]string{raid.ReadNone: "NR"}[p.Read]
	write := map[raid.WritePolicy]string{raid.WriteThrough: "WT", raid.WriteAlwaysBack: "AWB"}[p.Write]
	io := map[raid.IOPolicy]string{raid.IOCached: "C"}[p.IO]
	return cmp.Or(read, "R") + cmp.Or(write, "WB") + cmp.Or(io, "D")
}

func (c card) volumes() []*raidtest.Volume {
	all := slices.Clone(c.Volumes)
	slices.SortStableFunc(all, func(a, b *raidtest.Volume) int {
		return cmp.Or(cmp.Compare(c.group(a), c.group(b)), cmp.Compare(a.Number, b.Number))
	})
	return all
}

// volumeLine is a line of VD LIST.
func (c card) volumeLine(v *raidtest.Volume) object {
	return object{{"DG/VD", fmt.Sprintf("%d/%d", c.group(v), v.Number)}, {"TYPE", "RAID" + string(v.Level)},
		{"State", volumeWords[c.State(v)]}, {"Access", "RW"}, {"Consist", cmp.Or(v.Extra["Consist"], "Yes")},
		{"Cache", cacheWord(c.Current(v))}, {"Cac", "-"}, {"sCC", cmp.Or(v.Extra["sCC"], "ON")}, {"Size", c.size(v.Bytes)},
		{"Name", v.Name}}
}

func (c card) volumeLines() table {
	var t table
	for _, v := range c.volumes() {
		t = append(t, c.volumeLine(v))
	}
	return t
}

// spans of a volume.
func spans(v *raidtest.Volume) int {
	switch v.Level {
	case raid.Level10:
		return cmp.Or(v.Spans, len(v.Members)/2)
	case raid.Level50, raid.Level60:
		return cmp.Or(v.Spans, 2)
	}
	return 1
}

func (c card) volumeProperties(v *raidtest.Volume) object {
	cache := map[raid.DiskCache]string{raid.DiskCacheEnable: "Enabled", raid.DiskCacheDisable: "Disabled"}
	write := "WriteBack"
	if v.Policies.Write == raid.WriteThrough {
		write = "WriteThrough"
	}
	doing := "None"
	if v.Initializing != "" {
		doing = fmt.Sprintf("Initialization (%d%%)", int(v.Initialized*100))
	}
	o := object{{"Strip Size", stripWord(v.Strip)}, {"Number of Blocks", int(v.Bytes / 512)},
		{"VD has Emulated PD", cmp.Or(v.Extra["VD has Emulated PD"], "No")}, {"Span Depth", spans(v)},
		{"Number of Drives Per Span", len(v.Members) / spans(v)}, {"Write Cache(initial setting)", write},
		{"Disk Cache Policy", cmp.Or(cache[v.Policies.DiskCache], "Disk's Default")}, {"Encryption", "None"},
		{"Data Protection", cmp.Or(v.Extra["Data Protection"], "Disabled")}, {"Active Operations", doing},
		{"Exposed to OS", "Yes"}}
	if device := v.Extra["OS Drive Name"]; device != "" {
		o = append(o, field{"OS Drive Name", device})
	}
	o = append(o, object{{"Creation Date", cmp.Or(v.Extra["Creation Date"], "19-05-2026")},
		{"Creation Time", cmp.Or(v.Extra["Creation Time"], "12:00:00 PM")}, {"Emulation type", "default"},
		{"Cachebypass size", "Cachebypass-64k"}, {"Cachebypass Mode", "Cachebypass Intelligent"},
		{"Is LD Ready for OS Requests", "Yes"}, {"SCSI NAA Id", v.WWN}}...)
	if v.Extra["Unmap Enabled"] != "" {
		o = append(o, field{"Unmap Enabled", v.Extra["Unmap Enabled"]})
	}
	return o
}

func stripWord(s hw.Size) string {
	if s >= 1<<20 {
		return fmt.Sprintf("%d.0 MB", s>>20)
	}
	return fmt.Sprintf("%d KB", s>>10)
}

func (c card) topologyLine(group int, arm, row, at, device, kind, state, size, free any) object {
	return object{{"DG", group}, {"Arr", arm}, {"Row", row}, {"EID:Slot", at}, {"DID", device}, {"Type", kind},
		{"State", state}, {"BT", "N"}, {"Size", size}, {"PDC", "dflt"}, {"PI", "N"}, {"SED", "N"},
		{"DS3", c.extra("DS3", "dflt")},
		{"FSpace", free}, {"TR", "N"}}
}

// topology has each group, its spans and their drives.
func (c card) topology() table {
	var t table
	for g, group := range c.Groups() {
		v := group[0]
		var bytes int64
		for _, o := range group {
			bytes += o.Bytes
		}
		free := "N"
		state := volumeWords[c.State(v)]
		t = append(t, c.topologyLine(g, "-", "-", "-", "-", "RAID"+string(v.Level), state, c.size(bytes), free))
		n := spans(v)
		each := len(v.Members) / n
		kind := map[raid.Level]string{raid.Level10: "RAID1", raid.Level50: "RAID5", raid.Level60: "RAID6"}[v.Level]
		for arm := range n {
			t = append(t, c.topologyLine(g, arm, "-", "-", "-", cmp.Or(kind, "RAID"+string(v.Level)), state,
				c.size(bytes/int64(n)), free))
			for row, serial := range v.Members[arm*each : (arm+1)*each] {
				d := c.Drive(serial)
				if d == nil {
					t = append(t, c.topologyLine(g, arm, row, "-", "-", "DRIVE", "Msng", "-", "-"))
					continue
				}
				t = append(t, c.topologyLine(g, arm, row, place(d), d.Device, "DRIVE", driveWord(d), c.size(d.Bytes), "-"))
			}
		}
		for _, d := range c.drives() {
			if d.State == raid.DiskSpare && slices.ContainsFunc(d.SpareFor, func(n int) bool {
				o := c.Volume(n)
				return o != nil && c.group(o) == g
			}) {
				t = append(t, c.topologyLine(g, "-", "-", place(d), d.Device, "DRIVE", "DHS", c.size(d.Bytes), "-"))
			}
		}
	}
	return t
}

// pci is `00:3b:00:00`.
func (c card) pci() string {
	var domain, bus, device, function int
	fmt.Sscanf(string(c.ID), "%x:%x:%x.%x", &domain, &bus, &device, &function)
	return fmt.Sprintf("%02x:%02x:%02x:%02x", domain, bus, device, function)
}

func (c card) busNumber() int {
	n, _ := strconv.ParseInt(strings.Split(c.pci(), ":")[1], 16, 32)
	return int(n)
}

var modeWords = map[raid.Mode]string{raid.ModeRAID: "RAID-Mode ", raid.ModeHBA: "HBA-Mode ",
	raid.ModeJBOD: "JBOD-Mode "}

// modeWord is the tool's word for a mode: `RAID-Mode `, in other releases `RAID `.
func (c card) modeWord(m raid.Mode) string {
	if c.Extra["personalities"] == "short" {
		return strings.Replace(modeWords[m], "-Mode", "", 1)
	}
	return modeWords[m]
}

// battery is the table about what keeps the cache alive.
func (c card) battery(o object) object {
	if c.Cache.Battery.IsZero() {
		return o
	}
	word := map[raid.BatteryStateKind]string{raid.BatteryGood: "Optimal", raid.BatteryFailed: "Failed",
		raid.BatteryCharging: "Charging", raid.BatteryMissing: "Missing"}[c.Cache.Battery.Is]
	return append(o, field{"Cachevault_Info", table{{{"Model", c.extra("Cachevault Model", "CVPM02")},
		{"State", cmp.Or(word, c.Cache.Battery.Raw)}, {"Temp", c.extra("Cachevault Temp", "28C")}, {"Mode", "-"},
		{"MfgDate", c.extra("Cachevault MfgDate", "2018/11/21")}}}})
}

// lists are what both forms of `show` end with.
func (c card) lists(o object) object {
	if groups := c.Groups(); len(groups) > 0 {
		o = append(o, field{"Drive Groups", len(groups)}, field{"TOPOLOGY", c.topology()},
			field{"Virtual Drives", len(c.Volumes)}, field{"VD LIST", c.volumeLines()})
	}
	if foreign := c.foreign(); len(foreign) > 0 {
		o = append(o, field{"FOREIGN CONFIGURATION", foreign}, field{"Total foreign Drive Groups", len(foreign)})
	}
	if drives := c.driveLines(); len(drives) > 0 {
		o = append(o, field{"Physical Drives", len(drives)}, field{"PD LIST", drives})
	}
	return c.battery(o)
}

// foreign is a line for each configuration that is whole.
func (c card) foreign() table {
	var t table
	var seen []string
	for _, d := range c.drives() {
		f := d.Foreign
		if f == nil || slices.Contains(seen, f.ID) || c.incomplete() {
			continue
		}
		seen = append(seen, f.ID)
		t = append(t, object{{"DG", len(seen) - 1}, {"EID:Slot", "-"}, {"Type", "RAID" + string(f.Level)}, {"State", "Frgn"},
			{"Size", c.size(f.Bytes)}, {"NoVDs", 1 + len(f.Beside)}})
	}
	return t
}

// incomplete: drives of a foreign configuration are elsewhere.
func (c card) incomplete() bool {
	for _, d := range c.drives() {
		if d.Foreign != nil && slices.ContainsFunc(d.Foreign.Members, func(serial string) bool {
			o := c.Drive(serial)
			return o == nil || o.Foreign == nil || o.Foreign.ID != d.Foreign.ID
		}) {
			return true
		}
	}
	return false
}

// isHBA: a card without RAID firmware, which the tool drives through another library with words of its own.
func (c card) isHBA() bool { return c.Extra["Driver Name"] == "mpt3sas" }

// showHBA is `/cX show` of one.
func (c card) showHBA() object {
	o := object{{"Product Name", c.Model}, {"Serial Number", c.Serial},
		{"SAS Address", " " + c.extra("SAS Address", "500304801c71e8d0")}, {"PCI Address", c.pci()},
		{"System Time", c.extra("System Time", "12/18/2020 13:47:25")}, {"FW Package Build", "00.00.00.00"},
		{"FW Version", c.Firmware}, {"BIOS Version", c.extra("BIOS Version", "08.37.00.00_18.00.00.00")},
		{"NVDATA Version", c.extra("NVDATA Version", "14.01.48.40")}, {"Driver Name", "mpt3sas"},
		{"Driver Version", c.extra("Driver Version", "33.100.00.00")}, {"Bus Number", c.busNumber()}, {"Device Number", 0},
		{"Function Number", 0}, {"Domain ID", 0}, {"Vendor Id", 4096}, {"Device Id", c.number16("Device Id", 151)},
		{"SubVendor Id", c.number16("SubVendor Id", 5593)}, {"SubDevice Id", c.number16("SubDevice Id", 2056)},
		{"Board Name", c.Model}, {"Board Assembly", "N/A"}, {"Board Tracer Number", "N/A"}}
	if p := c.Extra["Security Protocol"]; p != "" {
		o = append(o, field{"Security Protocol", p})
	}
	if drives := c.driveLines(); len(drives) > 0 {
		o = append(o, field{"Physical Drives", len(drives)}, field{"PD LIST", drives})
	}
	return append(o, field{"Requested Boot Drive", "Not Set"})
}

// show is `/cX show`.
func (c card) show() object {
	if c.isHBA() {
		return c.showHBA()
	}
	o := object{{"Product Name", c.Model}, {"Serial Number", c.Serial},
		{"SAS Address", " " + c.extra("SAS Address", "500304801cf91808")}, {"PCI Address", c.pci()},
		{"System Time", c.extra("System Time", "11/15/2019 12:33:46")}, {"Mfg. Date", "00/00/00"},
		{"Controller Time", c.extra("Controller Time", "11/15/2019 12:33:44")},
		{"FW Package Build", c.Firmware}, {"BIOS Version", c.extra("BIOS Version", "6.36.00.2_4.19.08.00_0x06180202")},
		{"FW Version", c.extra("FW Version", "4.680.00-8290")}, {"Driver Name", "megaraid_sas"},
		{"Driver Version", c.extra("Driver Version", "07.705.02.00-rh1")}, {"Current Personality", c.modeWord(c.Mode)},
		{"Vendor Id", 4096}, {"Device Id", c.number16("Device Id", 93)}, {"SubVendor Id", c.number16("SubVendor Id", 5593)},
		{"SubDevice Id", c.number16("SubDevice Id", 2057)}, {"Host Interface", "PCI-E"}, {"Device Interface", "SAS-12G"},
		{"Bus Number", c.busNumber()}, {"Device Number", 0}, {"Function Number", 0}}
	return c.lists(o)
}

func (c card) number16(name string, otherwise int) int {
	if n, err := strconv.Atoi(c.Extra[name]); err == nil {
		return n
	}
	return otherwise
}

// showAll is `/cX show all`, with the sections that say something.
func (c card) showAll() object {
	caps := c.Capabilities
	var levels []string
	for _, l := range caps.Levels {
		levels = append(levels, "RAID"+string(l.Level))
	}
	o := object{
		{"Basics", object{{"Controller", c.number}, {"Model", c.Model}, {"Serial Number", c.Serial},
			{"SAS Address", c.extra("SAS Address", "500304801cf91808")}, {"PCI Address", c.pci()}, {"Mfg Date", "00/00/00"},
			{"Rework Date", "00/00/00"}, {"Revision No", c.extra("Revision No", "        ")}}},
		{"Version", object{{"Firmware Package Build", c.Firmware},
			{"Firmware Version", c.extra("FW Version", "4.680.00-8290")},
			{"Bios Version", c.extra("BIOS Version", "6.36.00.2_4.19.08.00_0x06180202")}, {"Driver Name", "megaraid_sas"},
			{"Driver Version", c.extra("Driver Version", "07.705.02.00-rh1")}}},
		{"Bus", object{{"Vendor Id", 4096}, {"Device Id", c.number16("Device Id", 93)}, {"Host Interface", "PCI-E"},
			{"Device Interface", "SAS-12G"}, {"Bus Number", c.busNumber()}, {"Device Number", 0}, {"Function Number", 0},
			{"Domain ID", 0}}},
		{"Status", object{{"Controller Status", "Optimal"},
			{"Any Offline VD Cache Preserved", yes(len(c.PreservedCache) > 0)}, {"BBU Status", 0}}},
		{"Supported Adapter Operations", object{{"BBU", "Yes"}, {"Spanning", "Yes"},
			{"Dedicated Hot Spare", yes(caps.DedicatedSpares)}, {"Foreign Config Import", yes(caps.ImportForeign)},
			{"Global Hot Spares", yes(caps.GlobalSpares)}, {"Support JBOD", yes(caps.JBOD)}}},
		{"Supported VD Operations", object{{"Read Policy", yes(len(caps.Read) > 0)},
			{"Write Policy", yes(len(caps.Write) > 0)}, {"IO Policy", yes(len(caps.IO) > 0)},
			{"Disk Cache Policy", yes(len(caps.DiskCache) > 0)}}},
		{"HwCfg", object{{"BBU", map[bool]string{true: "Absent", false: "Present"}[c.Cache.Battery.IsZero()]},
			{"On Board Memory Size", fmt.Sprintf("%dMB", c.Cache.Bytes>>20)}}},
		{"Capabilities", object{{"Supported Drives", "SAS, SATA"}, {"RAID Level Supported", strings.Join(levels, ", ")},
			{"Enable JBOD", yes(caps.JBOD)}, {"Mix of SSD/HDD in VD", map[bool]string{true: "Allowed",
				false: "Not Allowed"}[caps.MixedMedia]}, {"Max Arms Per VD", 32}, {"Max Spans Per VD", 8},
			{"Max Number of VDs", caps.MaxVolumes}}},
	}
	if n := len(caps.Strips); n > 0 {
		all := o[len(o)-1].value.(object)
		o[len(o)-1].value = append(all, field{"Min Strip Size", stripWord(caps.Strips[0])},
			field{"Max Strip Size", stripWord(caps.Strips[n-1])})
	}
	return c.lists(o)
}
