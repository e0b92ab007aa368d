package storcli

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// said is what an output says of one controller: lines by `Section/Name`, tables by title. It is read here apart from
// the driver, so that a mistake of the driver's is not made twice.
type said struct {
	lines  map[string]string
	order  []string
	tables map[string][]map[string]string
	titles []string
}

func (s *said) line(section, name, value string) {
	at := section + "/" + strings.TrimSpace(name)
	if _, there := s.lines[at]; !there {
		s.order = append(s.order, at)
		s.lines[at] = strings.TrimSpace(value)
	}
}

func (s *said) lastLine() string {
	if len(s.order) == 0 {
		return ""
	}
	return s.order[len(s.order)-1]
}

func (s *said) row(title string, row map[string]string) {
	if s.tables[title] == nil {
		s.titles = append(s.titles, title)
	}
	s.tables[title] = append(s.tables[title], row)
}

func newSaid() *said {
	return &said{lines: map[string]string{}, tables: map[string][]map[string]string{}}
}

func saidInJSON(t *testing.T, data []byte) []*said {
	var document struct {
		Controllers []struct {
			Head map[string]any  `json:"Command Status"`
			Data json.RawMessage `json:"Response Data"`
		}
	}
	require.NoError(t, json.Unmarshal(data, &document))
	var all []*said
	for _, c := range document.Controllers {
		s := newSaid()
		for name, v := range c.Head {
			s.line("", name, fmt.Sprint(v))
		}
		if len(c.Data) > 0 {
			s.walk(t, "", ordered(t, c.Data))
		}
		all = append(all, s)
	}
	return all
}

func (s *said) walk(t *testing.T, section string, v any) {
	o, ok := v.(object)
	if !ok { // some answers are a table alone
		o = object{{section, v}}
	}
	for _, f := range o {
		switch v := f.value.(type) {
		case object:
			s.walk(t, f.name, v)
		case []any:
			for _, item := range v {
				row := map[string]string{}
				for _, cell := range item.(object) {
					row[strings.TrimSpace(cell.name)] = fmt.Sprint(cell.value)
				}
				s.row(f.name, row)
			}
		default:
			s.line(section, f.name, fmt.Sprint(v))
		}
	}
}

// rows of tables in text. A column that the oldest releases lack may be missing.
var textRows = []struct {
	title string
	row   *regexp.Regexp
}{
	{`^TOPOLOGY$`, regexp.MustCompile(`^\s*(?P<DG>\d+)\s+(?P<Arr>\S+)\s+(?P<Row>\S+)\s+(?P<EID_Slot>-|\d*:\d+)\s+(?P<DID>\S+)\s+` +
		`(?P<Type>\S+)\s+(?P<State>\S+)\s+(?P<BT>\S)\s+(?P<Size>\S+ [KMGT]B)\s+(?P<PDC>\S+)\s+\S\s+\S\s+(?P<DS3>\S+)\s+` +
		`(?P<FSpace>\S)`)},
	{`^VD LIST$`, regexp.MustCompile(`^(?P<DG_VD>\d+/\d+)\s+(?P<TYPE>\S+)\s+(?P<State>\S+)\s+\S+\s+(?P<Consist>\S+)\s+` +
		`(?P<Cache>\S+)\s+(?:-\s+)?(?P<sCC>ON|OFF|-)\s+(?P<Size>\S+ [KMGT]B)\s*(?P<Name>.*?)\s*$`)},
	{`^PD LIST$|^Drive /c\d+/\S+$`, regexp.MustCompile(`^(?P<EID_Slt>[ \d]*:\d+)\s+(?P<DID>\d+)\s+(?P<State>\S+)\s+` +
		`(?P<DG>\S+)\s+(?P<Size>\S+ [KMGT]B)\s+(?P<Intf>\S+)\s+(?P<Med>\S+)\s+(?P<SED>\S)\s+(?P<PI>\S)\s+(?P<SeSz>\S+)\s` +
		`(?P<Model>.*?)\s+(?P<Sp>\S)\s*$`)},
	{`^Policies Table$`, regexp.MustCompile(`^(?P<Policy>[^=\s][^=]*?)\s+(?P<Current>\d+ ?(?:%|s|sec|us)?)\s*(?:30%)?\s*$`)},
	{`^Advanced Software Option$`, regexp.MustCompile(`^(?P<Adv_S_W_Opt>\S.*?)\s{2,}(?P<Time_Remaining>\S.*?)\s{2,}` +
		`(?P<Mode>\S+)\s*$`)},
	{`^Cachevault_Info$`, regexp.MustCompile(`^(?P<Model>\S+)\s+(?P<State>\S+)\s+(?P<Temp>\d+C)\s+-\s+(?P<MfgDate>\S+)`)},
	{`^BBU_Info$`, regexp.MustCompile(`^(?P<Model>\S+)\s+(?P<State>\S+)\s+(?P<RetentionTime>\S.*?)\s+(?P<Temp>\d+C)\s+` +
		`(?P<Mode>\d+)\s+(?P<MfgDate>\S+)\s+(?P<Next_Learn>\S.*?)\s*$`)},
	{`^Enclosure Information$`, regexp.MustCompile(`^\s*(?P<EID>\d+)\s+OK\s+(?P<Slots>\d+)\s+(?P<PD>\d+)\s+(?P<PS>\d+)\s+` +
		`(?P<Fans>\d+)\s+(?P<TSs>\d+)\s+(?P<Alms>\d+)\s+(?P<SIM>\d+)\s+(?P<ProdID>\S+)\s+(?P<VendorSpecific>.*?)\s*$`)},
	{`^Port Information$`, regexp.MustCompile(`^\s*(?P<Port>\d+)\s+Active\s+(?P<Linkspeed>\S+)\s+(?P<SAS_address>\S+)`)},
	{`^Detailed Status$`, regexp.MustCompile(`^\s*\d+\s+Failed\s+(?P<ErrCd>\d+)\s+(?P<ErrMsg>\S.*?)\s*$`)},
}

// columns have names that regular expressions do not allow.
var columns = strings.NewReplacer("EID_", "EID:", "DG_VD", "DG/VD", "S_W", "S/W", "_", " ")

func saidInText(data []byte) []*said {
	var all []*said
	lines := strings.Split(string(data), "\n")
	head, section, drive := newSaid(), "", ""
	s := head
	for i, line := range lines {
		next := ""
		if i+1 < len(lines) {
			next = lines[i+1]
		}
		name, value, isLine := strings.Cut(line, " =")
		switch {
		case strings.HasPrefix(line, "Controller = ") && strings.HasPrefix(next, "Status = "):
			s, section = newSaid(), ""
			s.lines["/CLI Version"], s.lines["/Operating system"] = head.lines["/CLI Version"], head.lines["/Operating system"]
			all = append(all, s)
		case strings.HasSuffix(line, " :") && strings.HasPrefix(next, "=="):
			section = strings.TrimSuffix(line, " :")
			if at := regexp.MustCompile(`^Drive (/c\d+\S*)$`).FindStringSubmatch(section); at != nil {
				drive = at[1]
			}
		case strings.HasPrefix(line, "=="):
		case strings.HasPrefix(line, "Inquiry Data ="):
			section = "Inquiry Data"
		case section == "Inquiry Data" && regexp.MustCompile(`^([0-9a-f]{2} )+$`).MatchString(line):
			s.lines[drive+"/Inquiry Data"] += strings.ReplaceAll(line, " ", "")
		default:
			row := false
			for _, kind := range textRows {
				m := kind.row.FindStringSubmatch(line)
				if m == nil || !regexp.MustCompile(kind.title).MatchString(section) {
					continue
				}
				cells := map[string]string{}
				for i, column := range kind.row.SubexpNames() {
					cells[columns.Replace(column)] = m[i]
				}
				title := section
				if title == "Port Information" {
					title += " " + drive
				}
				s.row(title, cells)
				row = true
			}
			if last := s.lastLine(); !row && !isLine && strings.HasPrefix(line, "RAID") && strings.HasSuffix(last, "Supported") {
				s.lines[last] += line // the value goes on
			}
			if !row && isLine {
				in := section
				switch {
				case in == "Policies Table":
					in = "Policies"
				case name == "Safe ID" || name == "Scheduled Tasks":
					in = ""
				}
				s.line(in, name, value)
			}
		}
	}
	return all
}

// least is the smallest number of bytes that the tool has these words for.
func least(words string) int64 {
	number, unit, _ := strings.Cut(words, " ")
	f, _ := strconv.ParseFloat(number, 64)
	step := map[string]int64{"MB": 1 << 20, "GB": 1 << 20, "TB": 1 << 30}[unit]
	if step == 0 {
		return 0
	}
	n := int64(f * map[string]float64{"MB": 1, "GB": 1024, "TB": 1024}[unit])
	for n -= 2; !prints(n*step, words); n++ {
		if float64(n) > f*1024+2 {
			panic("no size is printed as " + words)
		}
	}
	return n * step
}

func prints(bytes int64, words string) bool {
	return size(bytes, true) == words || size(bytes, false) == words
}

func inverse[K, V comparable](m map[K]V) map[V]K {
	n := map[V]K{}
	for k, v := range m {
		n[v] = k
	}
	return n
}

// stateOf builds the controller of which an output says this. What the tool prints of drives, volumes, groups and
// capabilities has to come out of these again; Extra has only words that are nothing but words to a chassis.
func stateOf(t *testing.T, s *said) *raidtest.Controller {
	c := raidtest.MegaRAID("0000:01:00.0", "X")
	c.Extra, c.Components = map[string]string{}, nil
	c.DefaultPolicies = raid.Policies{}
	first := func(names ...string) string {
		for _, n := range names {
			if v := s.lines[n]; v != "" {
				return v
			}
		}
		return ""
	}
	// Who it is.
	c.Model, c.Serial = first("/Product Name", "Basics/Model"), first("/Serial Number", "Basics/Serial Number")
	c.Extra["CLI Version"] = first("/CLI Version")
	if system := first("/Operating system"); system != "" {
		c.Extra["Operating system"] = system
	}
	pci := strings.Split(first("/PCI Address", "Basics/PCI Address"), ":")
	require.Len(t, pci, 4)
	c.ID = raid.ControllerID(fmt.Sprintf("00%s:%s:%s.%s", pci[0], pci[1], pci[2], strings.TrimPrefix(pci[3], "0")))
	c.Firmware = first("/FW Package Build", "Version/Firmware Package Build")
	c.Extra["FW Version"] = first("/FW Version", "Version/Firmware Version")
	hba := first("/Driver Name", "Version/Driver Name") == "mpt3sas"
	if hba {
		c.Mode, c.Firmware, c.Extra["Driver Name"] = raid.ModeHBA, c.Extra["FW Version"], "mpt3sas"
	}
	for _, name := range []string{"SAS Address", "System Time", "Mfg. Date", "Controller Time", "BIOS Version",
		"NVDATA Version", "Driver Version", "Device Id", "SubVendor Id", "SubDevice Id", "Security Protocol"} {
		if v := first("/"+name, "Version/"+name, "Bus/"+name, "PCI Version/"+name); v != "" {
			if n, err := strconv.ParseInt(v, 0, 32); err == nil && strings.HasSuffix(name, "Id") {
				v = strconv.FormatInt(n, 10)
			}
			c.Extra[name] = v
		}
	}
	if v := s.lines["Version/Bios Version"]; v != "" {
		c.Extra["BIOS Version"] = v
	}
	for _, at := range s.order {
		if name, ok := strings.CutSuffix(at, " Version"); ok && strings.HasPrefix(at, "Version/") {
			if name = strings.TrimPrefix(name, "Version/"); name != "Firmware" && name != "Driver" {
				c.Components = append(c.Components, raidtest.Component{Name: name, Version: s.lines[at]})
			}
		}
	}
	if s.lines["/Current Personality"] == "" {
		c.Capabilities.Modes = nil
	}
	if s.lines["Basics/Model"] != "" {
		capabilitiesOf(c, s)
	}
	// What keeps the cache.
	c.Cache.Battery = raid.BatteryState{}
	for title, prefix := range map[string]string{"Cachevault_Info": "Cachevault", "BBU_Info": "BBU"} {
		for _, row := range s.tables[title] {
			c.Cache.Battery = raid.BatteryState{Is: raid.BatteryGood, Raw: row["State"]}
			require.Equal(t, "Optimal", row["State"])
			for name, v := range row {
				c.Extra[prefix+" "+name] = v
			}
		}
	}
	for _, title := range []string{"Enclosure LIST", "Enclosure Information"} {
		for _, row := range s.tables[title] {
			n := func(name string) int { n, _ := strconv.Atoi(row[name]); return n }
			c.Enclosures = append(c.Enclosures, raidtest.Enclosure{ID: n("EID"), Slots: n("Slots"), PowerSupplies: n("PS"),
				Fans: n("Fans"), Sensors: n("TSs"), Alarms: n("Alms"), Modules: n("SIM"), Port: row["Port#"],
				Product: row["ProdID"], Revision: strings.TrimSpace(row["VendorSpecific"])})
		}
	}
	for _, title := range s.titles {
		if title == "PD LIST" || regexp.MustCompile(`^Drive /c\d+/\S+$`).MatchString(title) {
			for _, row := range s.tables[title] {
				c.Drives = append(c.Drives, driveOf(s, row, strings.TrimPrefix(title, "Drive "), hba))
			}
		}
	}
	volumesOf(t, c, s)
	return c
}

// capabilitiesOf reads what only `show all` says.
func capabilitiesOf(c *raidtest.Controller, s *said) {
	caps := &c.Capabilities
	yes := func(at string) bool { return s.lines[at] == "Yes" }
	for _, at := range SettingsOf(c) {
		v, there := s.lines[at]
		if !there {
			v = NotSaid
		}
		c.Extra[at] = v
	}
	for _, row := range s.tables["Policies Table"] {
		c.Extra["Policies Table/"+row["Policy"]] = row["Current"]
	}
	var options []string
	for _, row := range s.tables["Advanced Software Option"] {
		if row["Adv S/W Opt"] != "Adv S/W Opt" {
			options = append(options, strings.Join([]string{strings.TrimSpace(row["Adv S/W Opt"]),
				strings.TrimSpace(row["Time Remaining"]), strings.TrimSpace(row["Mode"])}, "|"))
		}
	}
	c.Extra["Advanced Software Option"] = strings.Join(options, "\n")
	caps.DedicatedSpares = yes("Supported Adapter Operations/Dedicated Hot Spare")
	caps.GlobalSpares = yes("Supported Adapter Operations/Global Hot Spares")
	caps.ImportForeign = yes("Supported Adapter Operations/Foreign Config Import")
	caps.JBOD = yes("Supported Adapter Operations/Support JBOD")
	if !yes("Supported VD Operations/Read Policy") {
		caps.Read = nil
	}
	if !yes("Supported VD Operations/Write Policy") {
		caps.Write = nil
	}
	if !yes("Supported VD Operations/IO Policy") {
		caps.IO = nil
	}
	if !yes("Supported VD Operations/Disk Cache Policy") {
		caps.DiskCache = nil
	}
	memory, _ := strconv.Atoi(strings.TrimSuffix(s.lines["HwCfg/On Board Memory Size"], "MB"))
	c.Cache.Bytes = int64(memory) << 20
	fields := strings.Fields(strings.Replace(s.lines["Defaults/Strip Size"], "kB", " KB", 1))
	if len(fields) == 2 {
		n, _ := strconv.Atoi(fields[0])
		c.DefaultStrip = hw.Size(n) << 10
	}
	c.DefaultPolicies.Read = inverse(readDefaults)[s.lines["Defaults/Read Policy"]]
	if s.lines["Defaults/Write Policy"] == "WT" {
		c.DefaultPolicies.Write = raid.WriteThrough
	}
	caps.Levels = nil
	for _, word := range regexp.MustCompile(`RAID[1-9]0?|RAID0\b`).FindAllString(s.lines["Capabilities/RAID Level Supported"], -1) {
		caps.Levels = append(caps.Levels, raid.LevelCapability{Level: raid.Level(strings.TrimPrefix(word, "RAID"))})
	}
	caps.MixedMedia = s.lines["Capabilities/Mix of SSD/HDD in VD"] == "Allowed"
	caps.MaxVolumes, _ = strconv.Atoi(s.lines["Capabilities/Max Number of VDs"])
	caps.Strips = nil
	for _, at := range []string{"Capabilities/Min Strip Size", "Capabilities/Max Strip Size"} {
		number, unit, _ := strings.Cut(s.lines[at], " ")
		f, _ := strconv.ParseFloat(number, 64)
		caps.Strips = append(caps.Strips, hw.Size(f*map[string]float64{"KB": 1 << 10, "MB": 1 << 20}[unit]))
	}
}

func driveOf(s *said, row map[string]string, path string, hba bool) *raidtest.Drive {
	at := strings.Split(strings.TrimSpace(row["EID:Slt"]), ":")
	d := &raidtest.Drive{Enclosure: -1, Model: strings.TrimSpace(row["Model"]), Bytes: least(row["Size"]),
		Bus:    map[string]hw.Bus{"SATA": hw.BusATA, "SAS": hw.BusSAS, "NVMe": hw.BusNVMe}[row["Intf"]],
		Medium: map[string]hw.Medium{"SSD": hw.SSD, "HDD": hw.HDD}[row["Med"]], LogicalSector: 512,
		State: inverse(driveWords)[row["State"]], Extra: map[string]string{}}
	if strings.TrimSpace(at[0]) != "" {
		d.Enclosure, _ = strconv.Atoi(at[0])
	}
	d.Slot, _ = strconv.Atoi(at[1])
	d.Device, _ = strconv.Atoi(row["DID"])
	d.Serial = fmt.Sprintf("S%d-%d", d.Enclosure, d.Slot)
	if hba {
		d.State = map[string]raid.DiskStateKind{"UGood": raid.DiskJBOD, "-": raid.DiskOnline}[row["State"]]
	}
	for _, name := range []string{"Sp", "SED", "PI", "Type"} {
		if v := row[name]; v != "" {
			d.Extra[name] = v
		}
	}
	attributes := "Drive " + path + " Device attributes/"
	if serial := s.lines[attributes+"SN"]; serial != "" {
		d.Serial, d.Vendor, d.WWN = serial, s.lines[attributes+"Manufacturer Id"], s.lines[attributes+"WWN"]
		d.Firmware, d.Model = s.lines[attributes+"Firmware Revision"], s.lines[attributes+"Model Number"]
		blocks, _ := strconv.ParseInt(s.lines[attributes+"Number of Blocks"], 10, 64)
		d.Bytes = blocks * 512
		d.Extra["Link Speed"], d.Extra["Device Speed"] = s.lines[attributes+"Link Speed"], s.lines[attributes+"Device Speed"]
		d.Extra["Inquiry Data"] = s.lines[path+"/Inquiry Data"]
		for _, port := range s.tables["Port Information "+path] {
			d.Extra["SAS address"] = strings.TrimPrefix(port["SAS address"], "0x")
		}
	}
	return d
}

// volumesOf makes volumes of VD LIST with the members that TOPOLOGY has for their group.
func volumesOf(t *testing.T, c *raidtest.Controller, s *said) {
	for _, row := range s.tables["VD LIST"] {
		group, number, _ := strings.Cut(row["DG/VD"], "/")
		v := &raidtest.Volume{Name: row["Name"], Level: raid.Level(strings.TrimPrefix(row["TYPE"], "RAID")),
			Bytes: least(row["Size"]), Extra: map[string]string{"Consist": row["Consist"], "sCC": row["sCC"]}}
		v.Number, _ = strconv.Atoi(number)
		words := regexp.MustCompile(`^(NR|R)(AWB|WB|WT)(C|D)$`).FindStringSubmatch(row["Cache"])
		require.NotNil(t, words)
		v.Policies = raid.Policies{Read: map[string]raid.ReadPolicy{"NR": raid.ReadNone, "R": raid.ReadAhead}[words[1]],
			Write: map[string]raid.WritePolicy{"AWB": raid.WriteAlwaysBack, "WB": raid.WriteBack,
				"WT": raid.WriteThrough}[words[2]],
			IO: map[string]raid.IOPolicy{"C": raid.IOCached, "D": raid.IODirect}[words[3]]}
		free, arms := "", map[string]bool{}
		drive := ""
		for _, line := range s.tables["TOPOLOGY"] {
			if line["DG"] != group {
				continue
			}
			v.Policies.DiskCache = inverse(diskCacheWords)[line["PDC"]]
			c.Extra["DS3"] = line["DS3"]
			switch {
			case line["Type"] == "DRIVE":
				i := slices.IndexFunc(c.Drives, func(d *raidtest.Drive) bool {
					return strings.TrimSpace(place(d)) == strings.TrimSpace(line["EID:Slot"])
				})
				require.GreaterOrEqual(t, i, 0, line["EID:Slot"])
				v.Members, drive = append(v.Members, c.Drives[i].Serial), line["Size"]
			case line["Arr"] != "-":
				arms[line["Arr"]] = true
			default:
				free = line["FSpace"]
			}
		}
		if v.Level == raid.Level10 || v.Level == raid.Level50 || v.Level == raid.Level60 {
			v.Spans = len(arms)
		}
		c.Volumes = append(c.Volumes, v)
		if free != "N" || len(v.Members) == 0 {
			continue
		}
		// It fills its drives. How many bytes those are within what the words leave open follows.
		each := max(least(drive), (v.Bytes/dataDrives(v)+1<<20-1)>>20<<20)
		require.True(t, prints(each, drive), "%s in %s", drive, row["Size"])
		for _, serial := range v.Members {
			c.Drive(serial).Bytes = each
		}
		for _, round := range []int64{1 << 20, 64 << 20, 128 << 20, 256 << 20, 512 << 20, 1 << 30, 0} {
			require.NotZero(t, round, "%s of %s each do not make %s", v.Level, drive, row["Size"])
			if b := each / round * round * dataDrives(v); prints(b, row["Size"]) {
				v.Bytes = b
				if c.Round < round && round > 1<<20 {
					c.Round = round
				}
				break
			}
		}
	}
}
