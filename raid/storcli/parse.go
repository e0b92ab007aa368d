package storcli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// Parse reads what the tools printed on one machine, a file for each command, in any order: `show`, `/call show all`,
// `/cX/eall/sall show all`, `/cX/vall show all`, `/cX/fall show all` and whatever else is there, as JSON or as text. It
// returns an inventory for each controller that they are about. No controller is no error.
//
// A controller whose PCI address nobody printed has the tool's name for it as its ID: c0.
func Parse(outputs ...[]byte) ([]*raid.Inventory, error) {
	var c collection
	for i, out := range outputs {
		replies, err := readReplies(raid.Captured(out))
		if err != nil {
			return nil, fmt.Errorf("output %d of %d: %w", i+1, len(outputs), err)
		}
		c.add(replies, false)
	}
	var all []*raid.Inventory
	for _, f := range c.sorted() {
		all = append(all, f.inventory())
	}
	return all, nil
}

// collection is what several answers say about the controllers of one machine.
type collection struct{ byNumber map[int]*found }

// found is what was said about one controller.
type found struct {
	number  int
	version string
	// facts are its properties by name, of whatever section they stood in.
	facts    map[string]string
	disks    map[raid.DiskID]*disk
	volumes  map[int]*volume
	topology map[string]member
	spans    map[int]map[string]bool
	foreign  []raid.Foreign
	// foreignDisks is the number of drives with a foreign configuration that was told beside a list, or -1.
	foreignDisks int
	incomplete   bool
	preserved    []string
	boot         *string
	battery      raid.BatteryState
	listed       map[string]int
	warnings     []string
	decimal      bool
	// generation 8 has words of its own.
	eight bool
}

type disk struct {
	raid.PhysicalDisk
	enclosure, slot int
	state, status   string
	group           string
	printed         string
	sectors         int64
	jbod            bool
	erasing         bool
}

type volume struct {
	raid.VirtualDisk
	group, number int
	printed       string
	blocks        int64
	block         int
	perSpan       int
	members       []raid.DiskID
	initial       raid.WritePolicy
	diskCache     raid.DiskCache
	cache         raid.Policies
	seen          bool
}

// member is a place of a drive group.
type member struct {
	group    int
	arm, row int
	id       raid.DiskID
	state    string
}

func (c *collection) at(number int) *found {
	if c.byNumber == nil {
		c.byNumber = map[int]*found{}
	}
	f := c.byNumber[number]
	if f == nil {
		f = &found{number: number, facts: map[string]string{}, disks: map[raid.DiskID]*disk{}, volumes: map[int]*volume{},
			topology: map[string]member{}, spans: map[int]map[string]bool{}, listed: map[string]int{}, foreignDisks: -1}
		c.byNumber[number] = f
	}
	return f
}

func (c *collection) sorted() []*found {
	var all []*found
	for _, f := range c.byNumber {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *found) int { return cmp.Compare(a.number, b.number) })
	return all
}

var noController = regexp.MustCompile(`(?i)^(controller \d+ not found|no controllers? (was |were )?found)`)

// nothing is what tools answer where there is nothing, or where the firmware has no such thing.
var nothing = regexp.MustCompile(`(?i)^(none|failure|no .*|couldn't find any .*|.*(not found|un-?supported|` +
	`not supported|no (vd|pd|drive|virtual|foreign|configuration)|invalid).*)$`)

// add reads answers. With optional, it is not worth a warning that there is nothing.
func (c *collection) add(replies []reply, optional bool) {
	for i := range replies {
		r := &replies[i]
		if noController.MatchString(r.description) {
			continue
		}
		if r.controller < 0 {
			c.overview(r)
			continue
		}
		if r.controller > 1023 {
			continue
		}
		f := c.at(r.controller)
		f.read(r)
		for _, w := range r.words() {
			if !optional || !nothing.MatchString(w) {
				f.warn(w)
			}
		}
	}
}

func (f *found) warn(w string) {
	if w = clip(w); !slices.Contains(f.warnings, w) && len(f.warnings) < 100 {
		f.warnings = append(f.warnings, w)
	}
}

// overview reads `show`: a line for each controller.
func (c *collection) overview(r *reply) {
	walk(r.data, func(name string, v any) {
		if !strings.Contains(name, "System Overview") {
			return
		}
		for _, line := range rows(v) {
			n, err := strconv.Atoi(line.text("Ctl", "Ctrl"))
			if err != nil || n < 0 || n > 1023 {
				continue
			}
			f := c.at(n)
			f.version = cmp.Or(f.version, r.version)
			f.fact("Overview Model", line.text("Model", "Product Name"))
			f.fact("Serial Number", line.text("SerialNumber"))
			f.fact("PCI Address", line.text("PCI Address"))
			f.fact("Adapter Type", line.text("AdapterType"))
			f.fact("Current Personality", line.text("Personality"))
			if f.battery.IsZero() {
				if b := known(line.text("BBU", "EPack")); b != "" {
					f.battery = batteryState(b)
				}
			}
		}
	})
}

func (f *found) fact(name, value string) {
	if value != "" && f.facts[name] == "" {
		f.facts[name] = value
	}
}

var (
	volumeProperties = regexp.MustCompile(`^VD ?(\d{1,4}) Properties$`)
	volumeDrives     = regexp.MustCompile(`^PDs for VD (\d{1,4})$`)
	driveSection     = regexp.MustCompile(`^Drive (/c\d+(?:/e\d+)?/s\d+) (State|Device attributes|Policies/Settings)$`)
	drivePath        = regexp.MustCompile(`^/c\d{1,4}(?:/e(\d{1,5}))?/s(\d{1,4})$`)
	place            = regexp.MustCompile(`^\s*(\d{0,5}):(\d{1,4})\s*$`)
	percent          = regexp.MustCompile(`(\d{1,3})\s*%`)
	bootVolume       = regexp.MustCompile(`(?i)^VD ?: ?(\d{1,4})$`)
	about            = regexp.MustCompile(`(?i)^Show (?:Drive|VD|PD) (\w+) `)
)

func (f *found) read(r *reply) {
	f.version = cmp.Or(f.version, r.version)
	if strings.HasPrefix(f.version, "008.") {
		f.eight = true
	}
	if strings.Contains(strings.ToLower(r.description+strings.Join(r.words(), " ")), "incomplete foreign") {
		f.incomplete = true
	}
	if top, ok := r.data.(map[string]any); ok {
		f.readFacts(top)
	}
	// `show erase` answers with a list and no name for it.
	walk(map[string]any{"": r.data}, func(name string, v any) {
		if m := driveSection.FindStringSubmatch(name); m != nil {
			f.readDriveSection(m[1], v)
			return
		}
		if m := volumeProperties.FindStringSubmatch(name); m != nil {
			number, _ := strconv.Atoi(m[1])
			for _, line := range rows(v) {
				f.volume(number).properties(line)
			}
			return
		}
		drives := volumeDrives.FindStringSubmatch(name)
		switch name {
		case "FOREIGN CONFIGURATION":
			f.readForeign(rows(v))
			return
		case "Total Foreign PDs":
			if n := count(scalar(v)); n != nil && *n > 0 {
				f.foreignDisks = int(*n)
			}
		case "Drives List":
			f.readDrivesList(v)
		case "Virtual Drives":
			f.readVirtualDrives(v)
		case "Cachevault_Info", "BBU_Info", "Energy Pack Info":
			for _, line := range rows(v) {
				if s := known(line.text("State", "Status")); s != "" {
					f.battery = batteryState(s)
				}
			}
		case "Physical Drives":
			if n, ok := v.(json.Number); ok {
				if n, err := strconv.Atoi(n.String()); err == nil {
					f.listed[name] = n
				}
			}
		}
		preserved := strings.Contains(strings.ToLower(name+r.description), "preserved")
		for _, line := range rows(v) {
			switch {
			case line.has("EID:Slt"):
				id := f.readDrive(line, name == "JBOD LIST")
				if drives != nil && id != "" && !strings.HasSuffix(line.text("State"), "HS") {
					number, _ := strconv.Atoi(drives[1])
					f.volume(number).addMember(id)
				}
			case line.has("DG/VD"), line.has("VD") && line.has("TYPE") && line.has("Size"):
				f.readVolume(line)
			case line.has("EID:Slot") && line.has("Row"):
				f.readTopology(line)
			case line.has("Ctrl_Prop"):
				f.readProperty(line)
			case line.has("Drive-ID"):
				f.readDriveProgress(line, r.description)
			case line.has("VD") && line.has("Progress%"):
				f.readVolumeProgress(line)
			case preserved && line.text("VD", "VDID", "VD ID") != "":
				f.preserve(line.text("VD", "VDID", "VD ID"))
			}
		}
	})
}

// readFacts keeps the scalars of the answer and of its sections, but not those of drives and volumes.
func (f *found) readFacts(top map[string]any) {
	for name, v := range top {
		f.fact(strings.TrimSpace(name), scalar(v))
	}
	var sections []string
	for name := range top {
		sections = append(sections, name)
	}
	slices.Sort(sections)
	for _, section := range sections {
		m, ok := top[section].(map[string]any)
		if !ok || strings.HasPrefix(section, "Drive ") || strings.HasPrefix(section, "VD") ||
			strings.HasPrefix(section, "/c") || section == "Defaults" || section == "Port Information" {
			continue
		}
		for name, v := range m {
			f.fact(strings.TrimSpace(name), scalar(v))
		}
	}
}

func diskID(enclosure, slot string) raid.DiskID { return raid.DiskID(enclosure + ":" + slot) }

// disk finds or makes the drive of a place that the tool printed, `252:4` or ` :4`.
func (f *found) disk(at string) *disk {
	m := place.FindStringSubmatch(at)
	if m == nil {
		return nil
	}
	id := diskID(trimZeros(m[1]), trimZeros(m[2]))
	if d := f.disks[id]; d != nil {
		return d
	}
	if len(f.disks) >= 4096 {
		return nil
	}
	d := &disk{enclosure: -1}
	d.ID, d.Location = id, strings.TrimPrefix(string(id), ":")
	if m[1] != "" {
		d.enclosure, _ = strconv.Atoi(m[1])
	}
	d.slot, _ = strconv.Atoi(m[2])
	f.disks[id] = d
	return d
}

func trimZeros(digits string) string {
	if t := strings.TrimLeft(digits, "0"); t != "" || digits == "" {
		return t
	}
	return "0"
}

func (f *found) diskAtPath(path string) *disk {
	m := drivePath.FindStringSubmatch(path)
	if m == nil {
		return nil
	}
	return f.disk(m[1] + ":" + m[2])
}

// readDrive reads a line of PD LIST and its kin.
func (f *found) readDrive(line row, jbod bool) raid.DiskID {
	raw, _ := line["EID:Slt"].(string)
	d := f.disk(raw)
	if d == nil {
		return ""
	}
	d.jbod = d.jbod || jbod
	if !jbod || d.state == "" {
		d.state, d.status = line.text("State"), line.text("Status")
	}
	if line.has("PID") && line.has("Status") {
		f.eight = true
	}
	d.group = cmp.Or(d.group, line.text("DG"))
	d.printed = cmp.Or(d.printed, line.text("Size"))
	f.decimal = f.decimal || binaryUnit.MatchString(line.text("Size"))
	d.Bus = cmp.Or(d.Bus, bus(line.text("Intf")))
	d.Medium = cmp.Or(d.Medium, medium(line.text("Med"), line.text("Intf")))
	d.Model = cmp.Or(d.Model, known(line.text("Model")))
	d.Vendor = cmp.Or(d.Vendor, known(line.text("Vendor")))
	d.LogicalSector = cmp.Or(d.LogicalSector, sectorSize(line.text("SeSz")))
	return d.ID
}

func (f *found) readDriveSection(path string, v any) {
	d := f.diskAtPath(path)
	if d == nil {
		return
	}
	for _, line := range rows(v) {
		d.detail(line)
	}
}

// detail reads the lines about one drive, whose names differ a little by release.
func (d *disk) detail(line row) {
	if n := count(line.text("Media Error Count")); n != nil {
		d.MediaErrors = n
	}
	if n := count(line.text("Other Error Count")); n != nil {
		d.OtherErrors = n
	}
	if b := yes(line.text("S.M.A.R.T alert flagged by drive")); b != nil {
		d.SMARTAlert = b
	}
	d.Serial = cmp.Or(d.Serial, known(line.text("SN", "Serial Number")))
	d.Vendor = cmp.Or(d.Vendor, known(line.text("Manufacturer Id", "Vendor")))
	d.Model = cmp.Or(d.Model, known(line.text("Model Number", "Model")))
	d.Firmware = cmp.Or(d.Firmware, known(line.text("Firmware Revision", "Firmware Revision Level")))
	d.WWN = cmp.Or(d.WWN, worldWide(line.text("WWN")))
	d.LogicalSector = cmp.Or(d.LogicalSector, sectorSize(line.text("Logical Sector Size", "Sector Size")))
	d.PhysicalSector = cmp.Or(d.PhysicalSector, sectorSize(line.text("Physical Sector Size")))
	if coerced := line.text("Coerced size"); coerced != "" && d.sectors == 0 {
		d.sectors, d.printed = sectors(coerced), coerced
	}
	if b := yes(line.text("Locked")); b != nil && *b {
		d.Locked = true
	}
	if path := line.text("OS Drive Name"); strings.HasPrefix(path, "/dev/") {
		d.Path = path
	}
}

func (f *found) volume(number int) *volume {
	v := f.volumes[number]
	if v == nil {
		v = &volume{number: number, group: -1}
		f.volumes[number] = v
	}
	return v
}

func (v *volume) addMember(id raid.DiskID) {
	if !slices.Contains(v.members, id) {
		v.members = append(v.members, id)
	}
}

// readVolume reads a line of VD LIST and its kin.
func (f *found) readVolume(line row) *volume {
	group, number, ok := strings.Cut(line.text("DG/VD"), "/")
	if !line.has("DG/VD") { // HBAs with the RAID of IR firmware have no drive groups
		group, number, ok = "", line.text("VD"), true
	}
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 || n > 9999 {
		return nil
	}
	v := f.volume(n)
	v.seen = true
	if g, err := strconv.Atoi(group); err == nil && g >= 0 {
		v.group = g
	}
	v.Level = level(line.text("TYPE"))
	v.State = volumeState(line.text("State"))
	v.Name = cmp.Or(v.Name, line.text("Name"))
	v.printed = cmp.Or(v.printed, line.text("Size"))
	f.decimal = f.decimal || binaryUnit.MatchString(v.printed)
	if line.has("CurrentCache") {
		f.eight = true
		v.Current, v.cache = cachePolicies(line.text("CurrentCache")), cachePolicies(line.text("DefaultCache"))
	} else {
		v.Current = cachePolicies(line.text("Cache"))
	}
	return v
}

func (v *volume) properties(line row) {
	v.Strip = cmp.Or(v.Strip, hw.Size(size(line.text("Strip Size"), false)))
	if n := count(line.text("Number of Blocks")); n != nil {
		v.blocks = *n
	}
	v.block = cmp.Or(v.block, sectorSize(line.text("Block Size")))
	if n := count(line.text("Span Depth")); n != nil && *n <= 64 {
		v.Spans = int(*n)
	}
	if n := count(line.text("Number of Drives Per Span")); n != nil && *n <= 256 {
		v.perSpan = int(*n)
	}
	v.initial = cmp.Or(v.initial, writePolicy(line.text("Write Cache(initial setting)")))
	v.diskCache = cmp.Or(v.diskCache, diskCache(line.text("Disk Cache Policy", "Drive Write Cache Policy")))
	v.WWN = cmp.Or(v.WWN, worldWide(line.text("SCSI NAA Id")))
	if path := line.text("OS Drive Name"); strings.HasPrefix(path, "/dev/") {
		v.Path = path
	}
	if doing := known(line.text("Active Operations")); doing != "" {
		if m := percent.FindStringSubmatch(doing); m != nil {
			v.Progress = progress(strings.TrimSpace(strings.TrimRight(doing[:strings.Index(doing, m[0])], "( ")), m[1])
		}
	}
}

func progress(what, percent string) *raid.Progress {
	n, err := strconv.ParseFloat(percent, 64)
	if err != nil || n < 0 || n > 100 {
		return nil
	}
	return &raid.Progress{What: what, Fraction: n / 100}
}

// readTopology reads a line of TOPOLOGY: a group, a span of one, or a drive in its place.
func (f *found) readTopology(line row) {
	group, err := strconv.Atoi(line.text("DG"))
	if err != nil || group < 0 {
		return
	}
	arm := line.text("Arr", "Span")
	if !strings.EqualFold(line.text("Type"), "DRIVE") {
		if arm != "-" && arm != "" {
			if f.spans[group] == nil {
				f.spans[group] = map[string]bool{}
			}
			f.spans[group][arm] = true
		}
		return
	}
	state := line.text("State")
	if s := line.text("Status"); s != "" && s != "-" && state == "Conf" {
		state = s
	}
	m := member{group: group, arm: -1, row: -1, state: strings.ToUpper(state)}
	if n, err := strconv.Atoi(arm); err == nil {
		m.arm = n
	}
	if n, err := strconv.Atoi(line.text("Row")); err == nil {
		m.row = n
	}
	raw, _ := line["EID:Slot"].(string)
	if p := place.FindStringSubmatch(raw); p != nil {
		m.id = diskID(trimZeros(p[1]), trimZeros(p[2]))
	}
	if m.id == "" && m.row < 0 || len(f.topology) >= 4096 {
		return
	}
	key := fmt.Sprint(group, "/", m.arm, "/", m.row)
	if m.row < 0 || m.arm < 0 {
		// Spares of a group have no row.
		key += "/" + string(m.id)
	}
	f.topology[key] = m
}

func (f *found) readForeign(lines []row) {
	for _, line := range lines {
		group := line.text("DG")
		if raw, _ := line["EID:Slot"].(string); place.MatchString(raw) {
			p := place.FindStringSubmatch(raw)
			id := diskID(trimZeros(p[1]), trimZeros(p[2]))
			for i := range f.foreign {
				if f.foreign[i].ID == group && !slices.Contains(f.foreign[i].Disks, id) {
					f.foreign[i].Disks = append(f.foreign[i].Disks, id)
				}
			}
			continue
		}
		if !strings.HasPrefix(strings.ToUpper(line.text("Type")), "RAID") && line.text("NoVDs") == "" {
			continue
		}
		if !slices.ContainsFunc(f.foreign, func(o raid.Foreign) bool { return o.ID == group }) && len(f.foreign) < 1024 {
			f.foreign = append(f.foreign, raid.Foreign{ID: group, Level: level(line.text("Type")),
				Bytes: size(line.text("Size"), false)})
		}
	}
}

// readProperty reads a line of Controller Properties, the answer to a question about one of them.
func (f *found) readProperty(line row) {
	name, value := line.text("Ctrl_Prop"), line.text("Value")
	if squeezed := strings.ToLower(strings.ReplaceAll(name, " ", "")); squeezed == "bootdrive" || squeezed == "bootvd" {
		f.boot = &value
		return
	}
	if strings.EqualFold(name, "JBOD") {
		name = "Enable JBOD"
		if strings.EqualFold(value, "ON") {
			value = "Yes"
		} else if strings.EqualFold(value, "OFF") {
			value = "No"
		}
		f.facts[name] = value
		return
	}
	f.fact(name, value)
}

// readDriveProgress reads a line of `show rebuild`, `show erase` and the like. It is the one place where a drive can
// appear by its path alone.
func (f *found) readDriveProgress(line row, description string) {
	if !strings.EqualFold(line.text("Status"), "In progress") {
		return
	}
	d := f.diskAtPath(line.text("Drive-ID"))
	if d == nil {
		return
	}
	what := "background operation"
	if m := about.FindStringSubmatch(description); m != nil {
		what = strings.ToLower(m[1])
	}
	if p := progress(what, line.text("Progress%")); p != nil {
		d.Progress = p
	}
	d.erasing = what == "erase" || what == "sanitize"
}

func (f *found) readVolumeProgress(line row) {
	n, err := strconv.Atoi(line.text("VD"))
	if err != nil || !strings.EqualFold(line.text("Status"), "In progress") {
		return
	}
	if v := f.volumes[n]; v != nil {
		if p := progress(strings.ToLower(line.text("Operation")), line.text("Progress%")); p != nil {
			v.Progress = p
		}
	}
}

// FreeSpace is room in a drive group.
type FreeSpace struct {
	// Group is the drive group, and After the volume that the space follows.
	Group, After int
	// Bytes is rounded to what the tool prints.
	Bytes int64
}

// ParseFreeSpace reads `/cX show freespace`.
func ParseFreeSpace(output []byte) ([]FreeSpace, error) {
	replies, err := readReplies(output)
	if err != nil {
		return nil, err
	}
	var free []FreeSpace
	for _, r := range replies {
		walk(r.data, func(name string, v any) {
			if !strings.HasPrefix(name, "FREE SPACE") {
				return
			}
			for _, line := range rows(v) {
				s := FreeSpace{Group: -1, After: -1, Bytes: size(line.text("Size"), false)}
				if n, err := strconv.Atoi(line.text("DG")); err == nil {
					s.Group = n
				}
				if n, err := strconv.Atoi(line.text("AftrVD", "AfterVD")); err == nil {
					s.After = n
				}
				free = append(free, s)
			}
		})
	}
	return free, nil
}

func (f *found) preserve(volume string) {
	if !slices.Contains(f.preserved, volume) && len(f.preserved) < 1024 {
		f.preserved = append(f.preserved, volume)
	}
}
