package megacli

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// maxOutput bounds what is read of one command.
const maxOutput = 16 << 20

var errNotUnderstood = errors.New("this is no answer of MegaCli")

// Parse reads what MegaCli printed on one machine, a file for each command, in any order: -AdpAllInfo, -AdpGetPciInfo,
// -PDList, -LDInfo or -LdPdInfo, -CfgForeign -Scan, -GetPreservedCacheList, -AdpBootDrive -Get, -AdpBbuCmd, each with
// -aALL. It returns an inventory for each adapter that they are about.
//
// An adapter whose PCI address nobody printed has the tool's name for it as its ID: a0.
func Parse(outputs ...[]byte) ([]*raid.Inventory, error) {
	var c collection
	none := false
	for i, out := range outputs {
		out = raid.Captured(out)
		if err := c.read(out); err != nil {
			return nil, fmt.Errorf("output %d of %d: %w", i+1, len(outputs), err)
		}
		none = none || noAdapter.Match(out)
	}
	if len(c.adapters) == 0 && !none {
		// Refused, for one: that ends with an exit code as well.
		return nil, fmt.Errorf("%w about any adapter: %s", errNotUnderstood, firstLine(outputs))
	}
	var all []*raid.Inventory
	for _, a := range c.sorted() {
		c.spread(a)
		all = append(all, a.inventory())
	}
	return all, nil
}

func firstLine(outputs [][]byte) string {
	line := ""
	if len(outputs) > 0 {
		line, _, _ = strings.Cut(strings.TrimSpace(string(raid.Captured(outputs[0]))), "\n")
	}
	return strconv.Quote(line[:min(len(line), 120)])
}

type collection struct {
	adapters map[int]*adapter
	// progress of drives, of whatever adapter.
	progress map[raid.DiskID]*raid.Progress
}

// adapter is what was said about one controller.
type adapter struct {
	number    int
	facts     map[string]string
	disks     map[raid.DiskID]*disk
	volumes   map[int]*volume
	preserved []string
	foreign   int
	boot      int // target id; -1: none; -2: not asked
	battery   raid.BatteryState
	warnings  []string
}

type disk struct {
	raid.PhysicalDisk
	enclosure, slot        int
	group, span, arm       int
	inquiry, coerced, kind string
	spareOf                []int
	dedicated              bool
}

type volume struct {
	raid.VirtualDisk
	number, group, spans int
	// drives of one span
	drives   int
	levelRaw string
	// cacheCade: a cache made of SSDs, which has no level and which no operating system sees.
	cacheCade bool
	members   []raid.DiskID
	// badBBU: the cache is used although its battery is bad, wherever it is used.
	badBBU bool
}

func (c *collection) at(number int) *adapter {
	if c.adapters == nil {
		c.adapters = map[int]*adapter{}
	}
	a := c.adapters[number]
	if a == nil {
		a = &adapter{number: number, facts: map[string]string{}, disks: map[raid.DiskID]*disk{}, volumes: map[int]*volume{},
			boot: -2}
		c.adapters[number] = a
	}
	return a
}

func (c *collection) sorted() []*adapter {
	var all []*adapter
	for _, a := range c.adapters {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b *adapter) int { return cmp.Compare(a.number, b.number) })
	return all
}

// spread gives progress to the drives that it can be of.
func (c *collection) spread(a *adapter) {
	for id, p := range c.progress {
		if d := a.disks[id]; d != nil && d.State.Is == raid.DiskRebuilding {
			d.Progress = p
		}
	}
}

var (
	adapterTitle = regexp.MustCompile(`^(?:Adapter:? #?|PCI information for Controller |` +
		`BBU status for Adapter: ?)(\d{1,3})\b`)
	noAdapter = regexp.MustCompile(`(?i)controller count: 0\b|` +
		`no (?:adapter|controller)s? (?:is |are |was |were )?found`)
	volumeTitle = regexp.MustCompile(`^(?:Virtual Drive|Virtual Disk|CacheCade Virtual Drive): (\d{1,4}) ` +
		`\(Target Id: (\d{1,4})\)`)
	spanTitle    = regexp.MustCompile(`^Span: (\d+) - Number of PDs: (\d+)`)
	driveTitle   = regexp.MustCompile(`^Enclosure Device ID: ?(\S*)`)
	position     = regexp.MustCompile(`^Drive's posi?tion: DiskGroup: (\d+), Span: (\d+), Arm: (\d+)`)
	groupTitle   = regexp.MustCompile(`(?m)^DISK GROUPS?: \d+`)
	preservedOf  = regexp.MustCompile(`^Virtual Drive\(Target ID 0*(\d+)\): Missing`)
	foreignCount = regexp.MustCompile(`^There (?:is|are) (\d+|no) foreign configuration(?:\(s\)|s)? on controller (\d+)`)
	bootDrive    = regexp.MustCompile(`^Adapter (\d+): Boot (?:Virtual )?Drive - #?(\d+)`)
	noBootDrive  = regexp.MustCompile(`^Adapter (\d+): .*No Boot`)
	rebuilding   = regexp.MustCompile(`^(Rebuild|Copyback|Clear) Progress on Device at Enclosure (\S+), ` +
		`Slot (\d+) Completed (\d+)%`)
	ongoing = regexp.MustCompile(`^\s+([A-Z][A-Za-z ]+?)\s*: Completed (\d+)%`)
)

func (c *collection) read(out []byte) error {
	if len(out) > maxOutput {
		return fmt.Errorf("an answer of %d bytes; no controller has that much to say", len(out))
	}
	text := strings.ReplaceAll(string(out), "\r", "")
	if c.progress == nil {
		c.progress = map[raid.DiskID]*raid.Progress{}
	}
	understood := noAdapter.MatchString(text) || strings.Contains(text, "Exit Code: 0x")
	var a *adapter
	var v *volume
	var d *disk
	inHotspare := false
	// -CfgDsply lists the volumes of a group, then its drives; -LdPdInfo the drives of each volume.
	inGroups := groupTitle.MatchString(text)
	var together []*volume
	for _, line := range strings.Split(text, "\n") {
		if m := foreignCount.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			n, _ := strconv.Atoi(m[1])
			on, _ := strconv.Atoi(m[2])
			if on < 1000 {
				c.at(on).foreign, understood = n, true
			}
			continue
		}
		if m := bootDrive.FindStringSubmatch(line); m != nil {
			if on, err := strconv.Atoi(m[1]); err == nil && on < 1000 {
				c.at(on).boot, _ = strconv.Atoi(m[2])
				understood = true
			}
			continue
		}
		if m := noBootDrive.FindStringSubmatch(line); m != nil {
			if on, err := strconv.Atoi(m[1]); err == nil && on < 1000 {
				c.at(on).boot, understood = -1, true
			}
			continue
		}
		if m := adapterTitle.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			a, v, d, together, understood = c.at(n), nil, nil, nil, true
			continue
		}
		if m := rebuilding.FindStringSubmatch(line); m != nil {
			// Nothing tells the adapter here.
			c.progress[diskID(m[2], m[3])] = progress(m[1], m[4])
			understood = true
			continue
		}
		if a == nil {
			continue
		}
		if groupTitle.MatchString(line) {
			v, d, together = nil, nil, nil
			continue
		}
		if m := volumeTitle.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[2])
			v, d = a.volume(n), nil
			if v.cacheCade = strings.HasPrefix(line, "CacheCade"); inGroups {
				together = append(together, v)
			} else {
				together = []*volume{v}
			}
			continue
		}
		if spanTitle.MatchString(line) {
			d = nil
			continue
		}
		if m := driveTitle.FindStringSubmatch(line); m != nil {
			// The slot, in the next line, makes the name.
			d = &disk{enclosure: -1, slot: -1, group: -1}
			inHotspare = false
			if n, err := strconv.Atoi(m[1]); err == nil && n >= 0 && n < 1<<16 {
				d.enclosure = n
			}
			continue
		}
		if m := preservedOf.FindStringSubmatch(line); m != nil {
			if !slices.Contains(a.preserved, m[1]) {
				a.preserved = append(a.preserved, m[1])
			}
			continue
		}
		if m := ongoing.FindStringSubmatch(line); m != nil && v != nil && d == nil {
			v.Progress = progress(m[1], m[2])
			continue
		}
		name, value, found := strings.Cut(line, ":")
		if !found {
			continue
		}
		name, trimmed := strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case d != nil && d.slot < 0:
			if n, err := strconv.Atoi(trimmed); name == "Slot Number" && err == nil && n >= 0 && n < 1<<16 {
				d = a.keep(d, n, together)
			}
		case d != nil:
			inHotspare = inHotspare || name == "Hotspare Information"
			if m := position.FindStringSubmatch(line); m != nil {
				d.group, _ = strconv.Atoi(m[1])
				d.span, _ = strconv.Atoi(m[2])
				d.arm, _ = strconv.Atoi(m[3])
				for _, v := range together {
					v.group = d.group
				}
				continue
			}
			if inHotspare && name == "Type" {
				d.dedicated = strings.HasPrefix(trimmed, "Dedicated")
			}
			if inHotspare && strings.HasPrefix(name, "Array #") {
				for _, word := range strings.FieldsFunc(trimmed, func(r rune) bool { return r == ',' || r == ' ' }) {
					if n, err := strconv.Atoi(word); err == nil && !slices.Contains(d.spareOf, n) {
						d.spareOf = append(d.spareOf, n)
					}
				}
			}
			d.fact(name, trimmed, strings.TrimPrefix(value, " "))
		case v != nil:
			v.fact(name, trimmed)
		case strings.EqualFold(name, "Battery State") && trimmed != "":
			if a.battery.Is != raid.BatteryMissing {
				a.battery = batteryState(trimmed)
			}
		case name == "Battery Pack Missing" && trimmed == "Yes":
			a.battery = raid.BatteryState{Is: raid.BatteryMissing, Raw: name}
		case name == "Battery Replacement required" && trimmed == "Yes" && a.battery.Is != raid.BatteryMissing:
			// Whatever its state is: the controller does not trust it.
			a.battery = raid.BatteryState{Is: raid.BatteryFailed, Raw: name}
		default:
			if a.facts[name] == "" {
				a.facts[name] = trimmed
			}
		}
	}
	if !understood {
		line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
		return fmt.Errorf("%w: %q", errNotUnderstood, line[:min(len(line), 120)])
	}
	return nil
}

func progress(what, percent string) *raid.Progress {
	n, err := strconv.Atoi(percent)
	if err != nil || n < 0 || n > 100 {
		return nil
	}
	return &raid.Progress{What: what, Fraction: float64(n) / 100}
}

// diskID is `32:4`, or `:4` where there is no enclosure.
func diskID(enclosure, slot string) raid.DiskID {
	if _, err := strconv.Atoi(enclosure); err != nil {
		enclosure = ""
	}
	return raid.DiskID(enclosure + ":" + slot)
}

func (a *adapter) volume(number int) *volume {
	v := a.volumes[number]
	if v == nil {
		v = &volume{number: number, group: -1}
		a.volumes[number] = v
	}
	return v
}

// keep gives a drive its name, and puts it to those that are known and to the volumes that it is printed under.
func (a *adapter) keep(d *disk, slot int, under []*volume) *disk {
	d.slot = slot
	enclosure := ""
	if d.enclosure >= 0 {
		enclosure = strconv.Itoa(d.enclosure)
	}
	d.ID = diskID(enclosure, strconv.Itoa(slot))
	d.Location = strings.TrimPrefix(string(d.ID), ":")
	if known := a.disks[d.ID]; known != nil {
		d = known
	} else if len(a.disks) < 4096 {
		a.disks[d.ID] = d
	}
	for _, v := range under {
		if !slices.Contains(v.members, d.ID) && a.disks[d.ID] != nil {
			v.members = append(v.members, d.ID)
		}
	}
	return d
}

func (d *disk) fact(name, value, untrimmed string) {
	switch name {
	case "WWN":
		d.WWN = cmp.Or(d.WWN, worldWide(value))
	case "PD Type":
		d.kind, d.Bus = value, bus(value)
	case "Coerced Size":
		d.coerced = value
	case "Sector Size", "Logical Sector Size":
		if n, err := strconv.Atoi(value); err == nil && n >= 512 && n <= 1<<16 {
			d.LogicalSector = n
		}
	case "Physical Sector Size":
		if n, err := strconv.Atoi(value); err == nil && n >= 512 && n <= 1<<16 {
			d.PhysicalSector = n
		}
	case "Firmware state":
		d.State = diskState(value)
	case "Device Firmware Level":
		d.Firmware = value
	case "Inquiry Data":
		d.inquiry = untrimmed
	case "Media Type":
		d.Medium = medium(value)
	case "Media Error Count":
		d.MediaErrors = count(value)
	case "Other Error Count":
		d.OtherErrors = count(value)
	case "Drive has flagged a S.M.A.R.T alert":
		if value == "Yes" || value == "No" {
			alert := value == "Yes"
			d.SMARTAlert = &alert
		}
	case "Foreign State":
		d.Foreign = strings.EqualFold(value, "Foreign")
	case "Locked":
		d.Locked = strings.EqualFold(value, "Locked")
	}
}

func count(raw string) *int64 {
	if n, err := strconv.ParseInt(raw, 10, 64); err == nil && n >= 0 {
		return &n
	}
	return nil
}

func (v *volume) fact(name, value string) {
	switch name {
	case "Name":
		v.Name = value
	case "RAID Level":
		v.levelRaw = value
	case "Size":
		v.Bytes, v.Rounded = size(value), true
	case "State":
		v.State = volumeState(value)
	case "Strip Size", "Stripe Size":
		v.Strip = hw.Size(size(value))
	case "Span Depth":
		if n, err := strconv.Atoi(value); err == nil && n > 0 && n <= 64 {
			v.spans = n
		}
	case "Number Of Drives", "Number Of Drives per span":
		if n, err := strconv.Atoi(value); err == nil && n > 0 && n <= 256 {
			v.drives = n
		}
	case "Default Cache Policy":
		v.Policies = merge(policies(value), v.Policies.DiskCache)
		v.badBBU = strings.Contains(strings.ToLower(value), "write cache ok if bad bbu")
	case "Current Cache Policy":
		v.Current = merge(policies(value), v.Current.DiskCache)
	case "Disk Cache Policy":
		v.Policies.DiskCache, v.Current.DiskCache = diskCache(value), diskCache(value)
	}
}

func merge(p raid.Policies, cache raid.DiskCache) raid.Policies {
	p.DiskCache = cache
	return p
}

func (a *adapter) inventory() *raid.Inventory {
	inv := &raid.Inventory{Controller: a.controller(), Disks: []raid.PhysicalDisk{}, Volumes: []raid.VirtualDisk{}}
	var volumes []*volume
	for _, v := range a.volumes {
		volumes = append(volumes, v)
	}
	slices.SortFunc(volumes, func(x, y *volume) int {
		return cmp.Or(cmp.Compare(x.group, y.group), cmp.Compare(x.number, y.number))
	})
	var disks []*disk
	for _, d := range a.disks {
		disks = append(disks, d)
	}
	slices.SortFunc(disks, func(x, y *disk) int {
		return cmp.Or(cmp.Compare(x.enclosure, y.enclosure), cmp.Compare(x.slot, y.slot))
	})
	var carriers []raid.DiskID
	for _, v := range volumes {
		if v.group >= 0 {
			v.Group = strconv.Itoa(v.group)
		}
		v.ID = raid.VolumeID(strconv.Itoa(v.number))
		v.Spans = v.spans
		v.Level = level(v.levelRaw, v.spans)
		if v.cacheCade && v.levelRaw == "" {
			v.Level.Raw = "CacheCade"
		}
		v.Members = slices.DeleteFunc(append([]raid.DiskID{}, v.members...), func(id raid.DiskID) bool {
			return a.disks[id].State.Is == raid.DiskSpare // of its group
		})
		if n := v.drives * max(v.spans, 1); len(v.Members) > 0 && n > len(v.Members) {
			v.Missing = n - len(v.Members)
		}
		if a.boot >= -1 {
			is := a.boot == v.number
			v.Boot = &is
		}
	}
	for _, d := range disks {
		out := d.PhysicalDisk
		vendor, model, serial := inquiry(d.inquiry, d.Bus)
		out.Vendor, out.Model, out.Serial = vendor, model, serial
		bytes, exact := exactSize(d.coerced, d.LogicalSector)
		if out.Bytes = bytes; !exact {
			out.Bytes, out.Rounded = size(d.coerced), true
		}
		for _, v := range volumes {
			if slices.Contains(v.Members, d.ID) {
				out.Volumes = append(out.Volumes, v.ID)
			}
			if d.dedicated && v.group >= 0 && slices.Contains(d.spareOf, v.group) {
				out.SpareFor = append(out.SpareFor, v.ID)
				v.Spares = append(v.Spares, d.ID)
			}
		}
		if d.dedicated && len(out.SpareFor) == 0 {
			a.warnings = append(a.warnings, fmt.Sprintf("drive %s is a spare of array %s, and nothing tells which volumes "+
				"are on it", d.ID, strings.Trim(fmt.Sprint(d.spareOf), "[]")))
		}
		if out.Foreign {
			carriers = append(carriers, d.ID)
		}
		inv.Disks = append(inv.Disks, out)
	}
	for _, v := range volumes {
		v.State = a.working(v)
		inv.Volumes = append(inv.Volumes, v.VirtualDisk)
	}
	for i := range min(max(a.foreign, min(len(carriers), 1)), 1024) {
		f := raid.Foreign{ID: strconv.Itoa(i)}
		if max(a.foreign, 1) == 1 {
			f.Disks = carriers
		}
		inv.Foreign = append(inv.Foreign, f)
	}
	inv.Warnings = a.warnings
	return inv
}

// working tells what the tool's word leaves out: a volume that a drive is rebuilt for is `Degraded`, and one that is
// being initialized `Optimal`.
func (a *adapter) working(v *volume) raid.VolumeState {
	s := v.State
	switch s.Is {
	case raid.VolumeDegraded, raid.VolumePartial:
		if slices.ContainsFunc(v.Members, func(id raid.DiskID) bool { return a.disks[id].State.Is == raid.DiskRebuilding }) {
			s.Is = raid.VolumeRebuilding
		}
	case raid.VolumeOptimal:
		if inProgress(&v.VirtualDisk) {
			s.Is = raid.VolumeInitializing
		}
	}
	return s
}

func (a *adapter) controller() raid.Controller {
	c := raid.Controller{ID: raid.ControllerID("a" + strconv.Itoa(a.number)), Driver: Name, ToolID: strconv.Itoa(a.number),
		Mode:  raid.ModeRAID,
		Model: a.facts["Product Name"], Serial: a.facts["Serial No"],
		Firmware: cmp.Or(a.facts["FW Package Build"], a.facts["FW Version"])}
	if address := a.address(); address != "" {
		c.ID = raid.ControllerID(address)
	}
	c.Cache.Bytes = size(cmp.Or(a.facts["Memory Size"], a.facts["Memory"]))
	c.Cache.Battery = a.battery
	if a.battery.IsZero() && a.facts["BBU"] == "Present" {
		c.Cache.Battery = raid.BatteryState{Raw: "Present"}
	}
	c.PreservedCache = slices.Clone(a.preserved)
	slices.Sort(c.PreservedCache)
	c.Capabilities = a.capabilities()
	return c
}

// address is the PCI address, whose parts -AdpGetPciInfo prints in hexadecimal.
func (a *adapter) address() string {
	var n [3]uint64
	for i, name := range []string{"Bus Number", "Device Number", "Function Number"} {
		v, err := strconv.ParseUint(a.facts[name], 16, 8)
		if err != nil {
			return ""
		}
		n[i] = v
	}
	if n[1] > 0x1f || n[2] > 7 {
		return ""
	}
	return fmt.Sprintf("0000:%02x:%02x.%x", n[0], n[1], n[2])
}

// maxName is the length of a volume's name that the firmware keeps.
const maxName = 15

// capabilities are what -AdpAllInfo tells. Without it nothing is known, and nothing is claimed.
func (a *adapter) capabilities() raid.Capabilities {
	c := raid.Capabilities{Levels: []raid.LevelCapability{}}
	told := a.facts["RAID Level Supported"]
	if told == "" {
		return c
	}
	bound := func(name string, otherwise, most int) int {
		if n, err := strconv.Atoi(a.facts[name]); err == nil && n > 0 && n <= most {
			return n
		}
		return otherwise
	}
	arms, spans := bound("Max Arms Per VD", 32, 256), bound("Max Spans Per VD", 8, 64)
	for _, l := range []raid.LevelCapability{
		{Level: raid.Level0, MinDisks: 1, MaxDisks: arms},
		{Level: raid.Level1, MinDisks: 2, MaxDisks: 2},
		{Level: raid.Level5, MinDisks: 3, MaxDisks: arms},
		{Level: raid.Level6, MinDisks: 3, MaxDisks: arms},
		{Level: raid.Level10, MinDisks: 4, MaxDisks: arms * spans, Multiple: 2},
		{Level: raid.Level50, MinDisks: 6, MaxDisks: arms * spans, Multiple: 2},
		{Level: raid.Level60, MinDisks: 6, MaxDisks: arms * spans, Multiple: 2},
	} {
		if regexp.MustCompile(`RAID` + string(l.Level) + `(?:\D|$)`).MatchString(told) {
			c.Levels = append(c.Levels, l)
		}
	}
	least, most := size(a.facts["Min Strip Size"]), size(a.facts["Max Strip Size"])
	for s := int64(4 << 10); s <= 4<<20; s *= 2 {
		if least > 0 && s >= least && s <= most {
			c.Strips = append(c.Strips, hw.Size(s))
		}
	}
	c.GlobalSpares = a.facts["Global Hot Spares"] != "No"
	c.DedicatedSpares = a.facts["Dedicated Hot Spare"] != "No"
	c.ClearForeign, c.ImportForeign = true, a.facts["Foreign Config Import"] != "No"
	c.JBOD = a.facts["Support JBOD"] == "Yes" || a.facts["Enable JBOD"] == "Yes"
	c.BootVolume, c.PartialVolumes = true, true
	c.Read = []raid.ReadPolicy{raid.ReadNone, raid.ReadAhead, raid.ReadAdaptive}
	c.Write = []raid.WritePolicy{raid.WriteThrough, raid.WriteBack, raid.WriteAlwaysBack}
	c.IO = []raid.IOPolicy{raid.IODirect, raid.IOCached}
	c.DiskCache = []raid.DiskCache{raid.DiskCacheEnable, raid.DiskCacheDisable}
	c.Initialize = []raid.Initialization{raid.InitializeNone, raid.InitializeFast, raid.InitializeFull}
	c.MaxVolumes, c.MaxName, c.Names = bound("Max Number of VDs", 0, 1<<16), maxName, true
	return c
}
