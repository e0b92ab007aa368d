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

func (c card) size(bytes int64) string { return size(bytes, c.release().shortSizes()) }

// drives that are there, by place. An HBA has them in the order in which it found them.
func (c card) drives() []*raidtest.Drive {
	all := slices.DeleteFunc(slices.Clone(c.Drives), func(d *raidtest.Drive) bool { return d.Pulled })
	if c.isHBA() {
		return all
	}
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

// group is the number of the drive group that a volume is in: its place among them. A controller keeps the numbers of
// groups when one before them is deleted; Extra has such a number as DG.
func (c card) group(v *raidtest.Volume) int {
	if n, err := strconv.Atoi(v.Extra["DG"]); err == nil {
		return n
	}
	return slices.IndexFunc(c.Groups(), func(g []*raidtest.Volume) bool { return slices.Contains(g, v) })
}

// groupWord is the DG column of a drive.
func (c card) groupWord(d *raidtest.Drive) any {
	if c.isHBA() {
		if c.release().from(7, 1000) {
			return "-"
		}
		return 0
	}
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

// model of a drive. What SCSI calls product identification has sixteen characters, and the blanks at its end are kept.
func model(d *raidtest.Drive) string {
	if d.Bus == hw.BusSAS {
		return fmt.Sprintf("%-16s", d.Model)
	}
	return d.Model
}

// driveLine is a line of PD LIST.
func (c card) driveLine(d *raidtest.Drive) object {
	intf, med := mediumWords(d)
	state := driveWord(d)
	if c.isHBA() {
		state = "UGood"
		if d.State == raid.DiskOnline { // in a volume of IR firmware, of which the tool knows nothing
			state = "-"
		}
	}
	o := object{{"EID:Slt", place(d)}, {"DID", d.Device}, {"State", state}, {"DG", c.groupWord(d)},
		{"Size", c.size(d.Bytes)}, {"Intf", intf}, {"Med", med}, {"SED", cmp.Or(d.Extra["SED"], "N")},
		{"PI", cmp.Or(d.Extra["PI"], "N")}, {"SeSz", sectorWord(d.LogicalSector)}, {"Model", model(d)},
		{"Sp", cmp.Or(d.Extra["Sp"], "U")}}
	if c.isHBA() || !c.release().driveType() {
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
	o := object{{"DG/VD", fmt.Sprintf("%d/%d", c.group(v), v.Number)}, {"TYPE", "RAID" + string(v.Level)},
		{"State", volumeWords[c.State(v)]}, {"Access", "RW"}, {"Consist", cmp.Or(v.Extra["Consist"], "Yes")},
		{"Cache", cacheWord(c.Current(v))}}
	if c.release().cacheCade() {
		o = append(o, field{"Cac", "-"})
	}
	return append(o, object{{"sCC", cmp.Or(v.Extra["sCC"], "ON")}, {"Size", c.size(v.Bytes)}, {"Name", v.Name}}...)
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
	o := object{{"Strip Size", c.strip(v.Strip)}, {"Number of Blocks", int(v.Bytes / 512)},
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

// pci is `00:3b:00:00`.
func (c card) pci() string {
	n := c.function()
	return fmt.Sprintf("%02x:%02x:%02x:%02x", n[0], n[1], n[2], n[3])
}

// function is domain, bus, device and function.
func (c card) function() (n [4]int) {
	fmt.Sscanf(string(c.ID), "%x:%x:%x.%x", &n[0], &n[1], &n[2], &n[3])
	return n
}

var modeWords = map[raid.Mode]string{raid.ModeRAID: "RAID-Mode ", raid.ModeHBA: "HBA-Mode ",
	raid.ModeJBOD: "JBOD-Mode "}

// modeWord is the tool's word for a mode: `RAID-Mode `, in generation 1 `RAID `.
func (c card) modeWord(m raid.Mode) string {
	if !c.release().heads() {
		return strings.Replace(modeWords[m], "-Mode", "", 1)
	}
	return modeWords[m]
}

// battery is the table about what keeps the cache alive.
func (c card) battery(o object) object {
	if c.Cache.Battery.IsZero() {
		return o
	}
	word := cmp.Or(map[raid.BatteryStateKind]string{raid.BatteryGood: "Optimal", raid.BatteryFailed: "Failed",
		raid.BatteryCharging: "Charging", raid.BatteryMissing: "Missing"}[c.Cache.Battery.Is], c.Cache.Battery.Raw)
	if model := c.Extra["BBU Model"]; model != "" {
		return append(o, field{"BBU_Info", table{{{"Model", model}, {"State", word},
			{"RetentionTime", c.extra("BBU RetentionTime", "48 hours +")}, {"Temp", c.extra("BBU Temp", "28C")},
			{"Mode", c.extra("BBU Mode", "5")}, {"MfgDate", c.extra("BBU MfgDate", "2012/12/20")},
			{"Next Learn", c.extra("BBU Next Learn", "2015/06/10  21:01:26")}}}})
	}
	return append(o, field{"Cachevault_Info", table{{{"Model", c.extra("Cachevault Model", "CVPM02")}, {"State", word},
		{"Temp", c.extra("Cachevault Temp", "28C")}, {"Mode", "-"},
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
	if enclosures := c.enclosures(); len(enclosures) > 0 {
		o = append(o, field{"Enclosures", len(enclosures)}, field{"Enclosure LIST", enclosures})
	}
	return c.battery(o)
}

// enclosures are those that the chassis tells of, with the drives that are in them.
func (c card) enclosures() table {
	var t table
	for _, e := range c.Enclosures {
		drives := 0
		for _, d := range c.drives() {
			if d.Enclosure == e.ID {
				drives++
			}
		}
		o := object{{"EID", e.ID}, {"State", "OK"}, {"Slots", e.Slots}, {"PD", drives}, {"PS", e.PowerSupplies},
			{"Fans", e.Fans}, {"TSs", e.Sensors}, {"Alms", e.Alarms}, {"SIM", e.Modules}}
		if c.release().ports() {
			o = append(o, field{"Port#", cmp.Or(e.Port, "-")})
		}
		t = append(t, append(o, object{{"ProdID", e.Product}, {"VendorSpecific", cmp.Or(e.Revision, " ")}}...))
	}
	return t
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
	pci := c.function()
	o := object{{"Product Name", c.Model}, {"Serial Number", c.Serial},
		{"SAS Address", " " + c.extra("SAS Address", "500605b00a110001")}, {"PCI Address", c.pci()},
		{"System Time", c.extra("System Time", "01/02/2026 03:04:05")}, {"FW Package Build", "00.00.00.00"},
		{"FW Version", c.Firmware}, {"BIOS Version", c.extra("BIOS Version", "08.37.00.00_18.00.00.00")},
		{"NVDATA Version", c.extra("NVDATA Version", "14.01.48.40")}, {"Driver Name", "mpt3sas"},
		{"Driver Version", c.extra("Driver Version", "33.100.00.00")}, {"Bus Number", pci[1]}, {"Device Number", pci[2]},
		{"Function Number", pci[3]}, {"Domain ID", pci[0]}, {"Vendor Id", 4096}, {"Device Id", c.number16("Device Id", 151)},
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
	pci := c.function()
	o := object{{"Product Name", c.Model}, {"Serial Number", c.Serial},
		{"SAS Address", " " + c.extra("SAS Address", "500605b00a110002")}, {"PCI Address", c.pci()},
		{"System Time", c.extra("System Time", "01/02/2026 03:04:05")}, {"Mfg. Date", c.extra("Mfg. Date", "00/00/00")},
		{"Controller Time", c.extra("Controller Time", "01/02/2026 03:04:05")},
		{"FW Package Build", c.Firmware}, {"BIOS Version", c.extra("BIOS Version", "6.36.00.2_4.19.08.00_0x06180202")},
		{"FW Version", c.extra("FW Version", "4.680.00-8290")}, {"Driver Name", "megaraid_sas"},
		{"Driver Version", c.extra("Driver Version", "07.705.02.00-rh1")}, {"Current Personality", c.modeWord(c.Mode)}}
	if len(c.Capabilities.Modes) == 0 {
		o = o[:len(o)-1]
	}
	o = append(o, object{{"Vendor Id", 4096}, {"Device Id", c.number16("Device Id", 93)},
		{"SubVendor Id", c.number16("SubVendor Id", 5593)},
		{"SubDevice Id", c.number16("SubDevice Id", 2057)}, {"Host Interface", "PCI-E"}, {"Device Interface", "SAS-12G"},
		{"Bus Number", pci[1]}, {"Device Number", pci[2]}, {"Function Number", pci[3]}}...)
	if p := c.Extra["Security Protocol"]; p != "" {
		o = append(o, object{{"Domain ID", pci[0]}, {"Security Protocol", p}}...)
	}
	return c.lists(o)
}

func (c card) number16(name string, otherwise int) int {
	if n, err := strconv.Atoi(c.Extra[name]); err == nil {
		return n
	}
	return otherwise
}

// showAll is `/cX show all`.
func (c card) showAll() object {
	o := c.sections()
	if !c.isHBA() {
		return c.lists(o)
	}
	if enclosures := c.enclosures(); len(enclosures) > 0 {
		o = append(o, field{"Enclosure Information", enclosures})
	}
	var drives object
	for _, d := range c.drives() {
		drives = append(drives, c.driveAnswer(d)...)
	}
	return append(o, field{"Physical Device Information", drives})
}
