package storcli

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// NotSaid is the value of a setting in a controller's Extra that its firmware does not know, and which is not printed.
const NotSaid = "(not said)"

var (
	//go:embed settings.txt
	settingsText string
	//go:embed hba.txt
	hbaText string

	ofRAID = sync.OnceValue(func() []section { return readSections(settingsText) })
	ofHBA  = sync.OnceValue(func() []section { return readSections(hbaText) })
)

// section of `show all`. That without a name holds lines that stand in none.
type section struct {
	name     string
	settings []setting
}

// setting is a line. One whose value is @ is worked out.
type setting struct {
	name, value string
	// generation: 0 is all.
	generation int
}

func readSections(text string) []section {
	var all []section
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			all = append(all, section{name: strings.Trim(line, "[]")})
			continue
		}
		var s setting
		for _, generation := range []int{1, 7} {
			if rest, only := strings.CutPrefix(line, fmt.Sprintf("%d:", generation)); only {
				line, s.generation = rest, generation
			}
		}
		s.name, s.value, _ = strings.Cut(line, " =")
		s.value = strings.TrimSpace(s.value)
		last := &all[len(all)-1]
		last.settings = append(last.settings, s)
	}
	return all
}

// SettingsOf are the names, as `Section/Name`, of what `show all` says that no state of a chassis decides. A controller's
// Extra has values for them, or [NotSaid].
func SettingsOf(c *raidtest.Controller) []string {
	var names []string
	k := card{c, 0}
	for _, s := range k.schema() {
		for _, line := range s.settings {
			if k.says(line) && line.value != "@" {
				names = append(names, s.name+"/"+line.name)
			}
		}
	}
	return append(names, "Capabilities/Enable JBOD")
}

func (c card) schema() []section {
	if c.isHBA() {
		return ofHBA()
	}
	return ofRAID()
}

func (c card) says(s setting) bool {
	return s.generation == 0 || s.generation == 1 && !c.release().heads() || s.generation == 7 && c.release().heads()
}

// id16 is a number that text has as 0x5D.
type id16 int

// sections of `show all`, in order.
func (c card) sections() object {
	var o object
	var policies table
	for _, s := range c.schema() {
		var lines object
		for _, line := range s.settings {
			if !c.says(line) {
				continue
			}
			var value any
			at := s.name + "/" + line.name
			if line.value == "@" {
				value = c.workedOut(at)
			} else if value = number(c.extraOr(at, line.value)); value == NotSaid {
				continue
			}
			lines = append(lines, field{line.name, value})
		}
		switch s.name {
		case "":
			o = append(o, lines...)
			continue
		case "Version":
			lines = c.versions()
		case "Advanced Software Option":
			o = append(o, field{s.name, c.options()})
			continue
		case "Policies Table":
			for _, l := range lines {
				usual := ""
				if strings.HasSuffix(l.name, "Rate") {
					usual = "30%"
				}
				policies = append(policies, object{{"Policy", l.name}, {"Current", word(l.value)}, {"Default", usual}})
			}
			continue
		case "Policies":
			lines = append(object{{"Policies Table", policies}}, lines...)
		}
		if len(lines) > 0 {
			o = append(o, field{s.name, lines})
		}
	}
	return o
}

// extraOr is the word of Extra even where it is empty.
func (c card) extraOr(name, otherwise string) string {
	if v, said := c.Extra[name]; said {
		return v
	}
	return otherwise
}

// number is what JSON has without quotes.
func number(v string) any {
	if n, err := strconv.Atoi(v); err == nil && strconv.Itoa(n) == v {
		return n
	}
	return v
}

func (c card) versions() object {
	if c.isHBA() {
		return object{{"Firmware Package Build", "00.00.00.00"}, {"Firmware Version", c.Firmware},
			{"Bios Version", c.extra("BIOS Version", "08.37.00.00_18.00.00.00")},
			{"NVDATA Version", c.extra("NVDATA Version", "14.01.48.40")}, {"Driver Name", "mpt3sas"},
			{"Driver Version", c.extra("Driver Version", "33.100.00.00")}}
	}
	o := object{{"Firmware Package Build", c.Firmware}, {"Firmware Version", c.extra("FW Version", "4.680.00-8290")}}
	parts := c.Components
	if parts == nil {
		parts = []raidtest.Component{{Name: "Bios", Version: c.extra("BIOS Version", "6.36.00.2_4.19.08.00_0x06180202")},
			{Name: "NVDATA", Version: "3.1705.00-0020"}, {Name: "Boot Block", Version: "3.07.00.00-0004"}}
	}
	for _, p := range parts {
		o = append(o, field{p.Name + " Version", p.Version})
	}
	return append(o, object{{"Driver Name", "megaraid_sas"},
		{"Driver Version", c.extra("Driver Version", "07.705.02.00-rh1")}}...)
}

// options that were bought. Extra has one in each line: name, time and mode, with bars between.
func (c card) options() table {
	all := strings.FieldsFunc(c.Extra["Advanced Software Option"], func(r rune) bool { return r == '\n' })
	if len(all) == 0 {
		return table{{{"Prop", "ASO opt"}, {"Description", "No Advanced Software Options activated"}}}
	}
	var t table
	for _, line := range all {
		words := append(strings.Split(line, "|"), "Unlimited", "-")
		if len(words) > 4 {
			words = words[:3]
		}
		t = append(t, object{{"Adv S/W Opt", words[0]}, {" Time Remaining", " " + words[1]}, {" Mode", " " + words[2]}})
	}
	return t
}

var readDefaults = map[raid.ReadPolicy]string{raid.ReadNone: "No Read Ahead", raid.ReadAhead: "RA",
	raid.ReadAdaptive: "Adaptive"}

// workedOut is a setting that follows from the state.
func (c card) workedOut(at string) any {
	caps, cache := c.Capabilities, c.Cache
	pci := c.function()
	switch at {
	case "Basics/Controller":
		return c.number
	case "Basics/Model":
		return c.Model
	case "Basics/Serial Number":
		return c.Serial
	case "Basics/PCI Address":
		return c.pci()
	case "Bus/Vendor Id", "PCI Version/Vendor Id":
		return id16(c.number16("Vendor Id", 4096))
	case "Bus/Device Id", "PCI Version/Device Id":
		return id16(c.number16("Device Id", c.usualDevice()))
	case "Bus/SubVendor Id", "PCI Version/SubVendor Id":
		return id16(c.number16("SubVendor Id", 5593))
	case "Bus/SubDevice Id", "PCI Version/SubDevice Id":
		return id16(c.number16("SubDevice Id", 2057))
	case "Bus/Bus Number", "PCI Version/Bus Number":
		return pci[1]
	case "Bus/Device Number", "PCI Version/Device Number":
		return pci[2]
	case "Bus/Function Number", "PCI Version/Function Number":
		return pci[3]
	case "Bus/Domain ID":
		return pci[0]
	case "Status/Controller Status":
		if c.impaired() {
			return "Needs Attention"
		}
		return "Optimal"
	case "Status/Any Offline VD Cache Preserved":
		return yes(len(c.PreservedCache) > 0)
	case "Status/BBU Status":
		if cache.Battery.IsZero() {
			return "NA"
		}
		return 0
	case "Supported Adapter Operations/BBU":
		return yes(!cache.Battery.IsZero())
	case "Supported Adapter Operations/Dedicated Hot Spare":
		return yes(caps.DedicatedSpares)
	case "Supported Adapter Operations/Foreign Config Import":
		return yes(caps.ImportForeign)
	case "Supported Adapter Operations/Global Hot Spares":
		return yes(caps.GlobalSpares)
	case "Supported Adapter Operations/Support JBOD":
		return yes(caps.JBOD)
	case "Capabilities/Enable JBOD":
		return c.jbod()
	case "Supported VD Operations/Read Policy":
		return yes(len(caps.Read) > 0)
	case "Supported VD Operations/Write Policy":
		return yes(len(caps.Write) > 0)
	case "Supported VD Operations/IO Policy":
		return yes(len(caps.IO) > 0)
	case "Supported VD Operations/Disk Cache Policy":
		return yes(len(caps.DiskCache) > 0)
	case "HwCfg/BBU":
		return map[bool]string{true: "Absent", false: "Present"}[cache.Battery.IsZero()]
	case "HwCfg/On Board Memory Size":
		return fmt.Sprintf("%dMB", cache.Bytes>>20)
	case "Defaults/Strip Size":
		if c.release().heads() {
			return c.strip(c.DefaultStrip)
		}
		return fmt.Sprintf("%dkB", c.DefaultStrip>>10)
	case "Defaults/Write Policy":
		return cmp.Or(map[raid.WritePolicy]string{raid.WriteThrough: "WT"}[c.DefaultPolicies.Write], "WB")
	case "Defaults/Read Policy":
		return cmp.Or(readDefaults[c.DefaultPolicies.Read], "RA")
	case "Defaults/Cached IO":
		return map[bool]string{true: "On", false: "Off"}[c.DefaultPolicies.IO == raid.IOCached]
	case "Capabilities/RAID Level Supported":
		return c.levels()
	case "Capabilities/Mix of SSD/HDD in VD":
		return map[bool]string{true: "Allowed", false: "Not Allowed"}[caps.MixedMedia]
	case "Capabilities/Max Number of VDs":
		return caps.MaxVolumes
	case "Capabilities/Min Strip Size", "Capabilities/Max Strip Size":
		if len(caps.Strips) == 0 {
			return "NA"
		}
		if strings.Contains(at, "Min") {
			return c.strip(slices.Min(caps.Strips))
		}
		return c.strip(slices.Max(caps.Strips))
	}
	return ""
}

// jbod: a firmware that can show drives as they are can have that switched off.
func (c card) jbod() string { return c.extra("Capabilities/Enable JBOD", yes(c.Capabilities.JBOD)) }

func (c card) usualDevice() int {
	if c.isHBA() {
		return 0x97
	}
	return 0x5d
}

// levels in the tool's words. Those of generation 1 are put together with less care than one would think: without
// level 50, nothing stands between 10 and what follows.
func (c card) levels() string {
	has := func(level raid.Level) bool {
		return slices.ContainsFunc(c.Capabilities.Levels, func(l raid.LevelCapability) bool { return l.Level == level })
	}
	if c.release().heads() {
		said := map[raid.Level]string{raid.Level1: "RAID1(2 or more drives)",
			raid.Level10: "RAID10(2 or more drives per span)"}
		var all []string
		for _, level := range []raid.Level{raid.Level0, raid.Level1, raid.Level5, raid.Level6, "00", raid.Level10,
			raid.Level50, raid.Level60} {
			if has(level) || level == "00" && has(raid.Level0) {
				all = append(all, cmp.Or(said[level], "RAID"+string(level)))
			}
		}
		return strings.Join(all, ", ")
	}
	text := "RAID0, RAID1, "
	if has(raid.Level5) {
		text += "RAID5, "
	}
	if has(raid.Level6) {
		text += "RAID6, "
	}
	text += "RAID00, RAID10"
	if has(raid.Level50) {
		text += ", RAID50, \n"
	}
	if has(raid.Level60) {
		text += "RAID60"
	}
	return text + ", PRL 11, PRL 11 with spanning, SRL 3 supported, \n" +
		"PRL11-RLQ0 DDF layout with no span, PRL11-RLQ0 DDF layout with span"
}

// impaired: something needs to be seen to.
func (c card) impaired() bool {
	return c.notOptimal(c.Volumes) > 0 || slices.ContainsFunc(c.drives(), func(d *raidtest.Drive) bool {
		return d.State == raid.DiskFailed
	})
}

func (c card) notOptimal(volumes []*raidtest.Volume) int {
	n := 0
	for _, v := range volumes {
		if volumeWords[c.State(v)] != "Optl" {
			n++
		}
	}
	return n
}

// strip is a strip size: `256 KB`, `1.000 MB`.
func (c card) strip(s hw.Size) string {
	if s >= 1<<20 {
		return c.size(int64(s))
	}
	return fmt.Sprintf("%d KB", s>>10)
}
