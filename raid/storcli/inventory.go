package storcli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// inventory puts together what was found about a controller.
func (f *found) inventory() *raid.Inventory {
	inv := &raid.Inventory{Controller: f.controller(), Disks: []raid.PhysicalDisk{}, Volumes: []raid.VirtualDisk{}}
	for _, d := range f.disks {
		// One whose size is known tells of what kind the units of all are.
		_, decimal, exact := measure(d.sectors, d.printed, d.LogicalSector)
		f.decimal = f.decimal || exact && decimal
	}
	volumes := f.makeVolumes(inv)
	f.makeDisks(inv, volumes)
	for i := range f.foreign {
		g := f.foreign[i]
		g.Incomplete = g.Incomplete || f.incomplete
		inv.Foreign = append(inv.Foreign, g)
	}
	var carriers []raid.DiskID
	for _, d := range inv.Disks {
		if d.Foreign {
			carriers = append(carriers, d.ID)
		}
	}
	switch {
	case len(inv.Foreign) == 0 && (f.incomplete || f.foreignDisks > 0 || len(carriers) > 0):
		// The firmware lists nothing of a configuration whose drives are not all here.
		inv.Foreign = []raid.Foreign{{Disks: carriers, Incomplete: f.incomplete}}
	case len(inv.Foreign) == 1 && len(inv.Foreign[0].Disks) == 0:
		inv.Foreign[0].Disks = carriers
	}
	if f.foreignDisks > 0 && f.foreignDisks != len(carriers) {
		f.warn(fmt.Sprintf("%d drives carry a foreign configuration; %d of them are known", f.foreignDisks, len(carriers)))
	}
	if n, ok := f.listed["Physical Drives"]; ok && n != len(inv.Disks) {
		f.warn(fmt.Sprintf("the controller has %d drives; %d of them were listed", n, len(inv.Disks)))
	}
	inv.Warnings = f.warnings
	return inv
}

func (f *found) makeDisks(inv *raid.Inventory, volumes []*volume) {
	hba := f.isHBA()
	var disks []*disk
	for _, d := range f.disks {
		disks = append(disks, d)
	}
	slices.SortFunc(disks, func(a, b *disk) int {
		return cmp.Or(cmp.Compare(a.enclosure, b.enclosure), cmp.Compare(a.slot, b.slot))
	})
	for _, d := range disks {
		out := d.PhysicalDisk
		bytes, decimal, exact := measure(d.sectors, d.printed, d.LogicalSector)
		f.decimal = f.decimal || exact && decimal
		out.Bytes = bytes
		if !exact {
			out.Bytes, out.Rounded = size(d.printed, f.decimal), true
		}
		out.State = d.meaning(f.eight, hba)
		if d.group == "F" {
			out.Foreign = true
		}
		for _, m := range f.topology {
			if m.id == d.ID && m.state == "DHS" {
				out.SpareFor = f.ofGroup(volumes, m.group, out.SpareFor)
			}
		}
		if strings.EqualFold(d.state, "DHS") {
			for _, g := range strings.Split(d.group, ",") {
				if n, err := strconv.Atoi(strings.TrimSpace(g)); err == nil {
					out.SpareFor = f.ofGroup(volumes, n, out.SpareFor)
				}
			}
		}
		sortVolumeIDs(out.SpareFor)
		for _, v := range volumes {
			if slices.Contains(v.Members, d.ID) {
				out.Volumes = append(out.Volumes, v.ID)
			}
		}
		inv.Disks = append(inv.Disks, out)
	}
	for i := range inv.Volumes {
		for _, d := range inv.Disks {
			if slices.Contains(d.SpareFor, inv.Volumes[i].ID) {
				inv.Volumes[i].Spares = append(inv.Volumes[i].Spares, d.ID)
			}
		}
	}
}

func (d *disk) meaning(eight, hba bool) raid.DiskState {
	switch {
	case d.state == "" && d.erasing:
		return raid.DiskState{Is: raid.DiskErasing, Raw: "erase in progress"}
	case d.state == "":
		return raid.DiskState{}
	case eight:
		return diskState8(d.state, d.status)
	case d.jbod && strings.EqualFold(d.state, "Onln"):
		return raid.DiskState{Is: raid.DiskJBOD, Raw: d.state}
	}
	s := diskState(d.state)
	if hba && s.Is == raid.DiskReady {
		// An HBA has nothing that a drive could be configured for: the operating system sees it.
		s.Is = raid.DiskJBOD
	}
	return s
}

// ofGroup adds the volumes of a drive group.
func (f *found) ofGroup(volumes []*volume, group int, ids []raid.VolumeID) []raid.VolumeID {
	for _, v := range volumes {
		if v.group == group && !slices.Contains(ids, v.ID) {
			ids = append(ids, v.ID)
		}
	}
	return ids
}

func sortVolumeIDs(ids []raid.VolumeID) {
	slices.SortFunc(ids, func(a, b raid.VolumeID) int {
		x, _ := volumeNumber(a)
		y, _ := volumeNumber(b)
		return cmp.Compare(x, y)
	})
}

// volumeNumber is the number of a volume, as it stands in paths.
func volumeNumber(id raid.VolumeID) (int, bool) {
	n, err := strconv.Atoi(string(id))
	return n, err == nil && n >= 0
}

func (f *found) makeVolumes(inv *raid.Inventory) []*volume {
	var volumes []*volume
	for _, v := range f.volumes {
		// Lines about a volume that no table has are about none.
		if v.seen {
			volumes = append(volumes, v)
		}
	}
	slices.SortFunc(volumes, func(a, b *volume) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.number, b.number))
	})
	var lost []string
	for _, v := range volumes {
		if v.group >= 0 {
			v.Group = strconv.Itoa(v.group)
		}
		v.ID = raid.VolumeID(strconv.Itoa(v.number))
		bytes, decimal, exact := measure(v.blocks, v.printed, v.block)
		f.decimal = f.decimal || exact && decimal
		v.Bytes = bytes
		if !exact {
			v.Bytes, v.Rounded = size(v.printed, f.decimal), true
		}
		f.setMembers(v)
		if v.Spans == 0 {
			v.Spans = len(f.spans[v.group])
		}
		v.Current.DiskCache = v.diskCache
		v.Policies = v.Current
		if v.cache != (raid.Policies{}) {
			v.cache.DiskCache = v.diskCache
			v.Policies = v.cache
		}
		// AWB is write-back as well, to the line that tells what was asked for.
		if v.initial != "" && !(v.initial == raid.WriteBack && v.Current.Write == raid.WriteAlwaysBack) {
			v.Policies.Write = v.initial
		}
		if f.boot != nil {
			m := bootVolume.FindStringSubmatch(*f.boot)
			is := m != nil && m[1] == strconv.Itoa(v.number)
			v.Boot = &is
		}
		v.State = f.working(v)
		if len(v.Members) == 0 {
			lost = append(lost, string(v.ID))
		}
		inv.Volumes = append(inv.Volumes, v.VirtualDisk)
	}
	if len(lost) > 0 {
		f.warn("nothing tells on which drives these volumes are: " + strings.Join(lost, ", "))
	}
	return volumes
}

// working tells what the tool's word leaves out: a volume that a drive is rebuilt for is `Dgrd`, and one that is being
// initialized `Optl`.
func (f *found) working(v *volume) raid.VolumeState {
	s := v.State
	switch s.Is {
	case raid.VolumeDegraded, raid.VolumePartial:
		for _, id := range v.Members {
			if d := f.disks[id]; d != nil && d.meaning(f.eight, false).Is == raid.DiskRebuilding {
				s.Is = raid.VolumeRebuilding
			}
		}
	case raid.VolumeOptimal:
		// In the background it is as good as done.
		if v.Progress != nil && strings.HasPrefix(strings.ToLower(v.Progress.What), "init") {
			s.Is = raid.VolumeInitializing
		}
	}
	return s
}

// setMembers takes the places of the drive group in their order, or else the drives that were listed for the volume, or
// else those that name its group.
func (f *found) setMembers(v *volume) {
	v.Members = []raid.DiskID{}
	var places []member
	for _, m := range f.topology {
		if m.group == v.group && v.group >= 0 && m.state != "DHS" && m.state != "GHS" {
			places = append(places, m)
		}
	}
	slices.SortFunc(places, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.arm, b.arm), cmp.Compare(a.row, b.row), cmp.Compare(a.id, b.id))
	})
	for _, m := range places {
		switch {
		case f.disks[m.id] != nil:
			v.Members = append(v.Members, m.id)
		case m.state == "MSNG", m.state == "MISSING", m.id == "":
			v.Missing++
		default:
			// A drive that is in the topology, and in no list of drives.
			v.Members = append(v.Members, m.id)
			f.disk(string(m.id)).state = m.state
		}
	}
	if len(places) > 0 {
		return
	}
	v.Members = append(v.Members, v.members...)
	if len(v.Members) > 0 {
		v.Missing = max(v.perSpan*max(v.Spans, 1)-len(v.Members), 0)
		return
	}
	for _, d := range f.disks {
		n, err := strconv.Atoi(d.group)
		if err == nil && n == v.group || v.group < 0 && known(d.group) == "" && len(f.volumes) == 1 {
			switch d.meaning(f.eight, false).Is {
			case raid.DiskOnline, raid.DiskOffline, raid.DiskRebuilding, raid.DiskFailed, raid.DiskMissing:
				v.Members = append(v.Members, d.ID)
			}
		}
	}
	slices.SortFunc(v.Members, func(a, b raid.DiskID) int {
		x, y := f.disks[a], f.disks[b]
		return cmp.Or(cmp.Compare(x.enclosure, y.enclosure), cmp.Compare(x.slot, y.slot))
	})
}

// isHBA: the controller has no RAID firmware that this tool manages.
func (f *found) isHBA() bool {
	switch strings.ToLower(f.facts["Driver Name"]) {
	case "mpt3sas", "mpt2sas", "itsas35", "lsi_sas3":
		return true
	}
	if f.facts["Adapter Type"] != "" {
		return true
	}
	return mode(f.personality()) == raid.ModeHBA
}

func (f *found) personality() string {
	return cmp.Or(f.facts["Current Personality"], f.facts["Controller Personality"])
}

func (f *found) controller() raid.Controller {
	c := raid.Controller{ID: raid.ControllerID("c" + strconv.Itoa(f.number)), Driver: string(raid.Storcli),
		ToolID: strconv.Itoa(f.number)}
	if address := pciAddress(f.facts["PCI Address"], f.facts["Domain ID"]); address != "" {
		c.ID = raid.ControllerID(address)
	}
	c.Model = cmp.Or(known(f.facts["Product Name"]), known(f.facts["Model"]), known(f.facts["Overview Model"]))
	c.Serial = known(f.facts["Serial Number"])
	c.Slot = known(f.facts["PCI Slot Number"])
	for _, name := range []string{"FW Package Build", "Firmware Package Build", "Package Version", "FW Version",
		"Firmware Version"} {
		if v := known(f.facts[name]); v != "" && strings.Trim(v, "0.") != "" {
			c.Firmware = v
			break
		}
	}
	c.Mode = mode(f.personality())
	switch {
	case c.Mode != "":
	case f.isHBA() && len(f.volumes) > 0:
		c.Mode = raid.ModeMixed
	case f.isHBA():
		c.Mode = raid.ModeHBA
	case strings.HasPrefix(strings.ToLower(f.facts["Driver Name"]), "megaraid"), strings.HasPrefix(strings.ToLower(
		f.facts["Driver Name"]), "megasas"):
		c.Mode = raid.ModeRAID
	}
	for _, name := range []string{"Requested Personality", "Pending Personality"} {
		if m := mode(f.facts[name]); m != "" && m != c.Mode {
			c.PendingMode = m
		}
	}
	c.Cache.Bytes = size(cmp.Or(f.facts["On Board Memory Size"], f.facts["DDR Memory Size(MiB)"]+" MiB"), false)
	c.Cache.Battery = f.battery
	if f.battery.IsZero() && strings.EqualFold(cmp.Or(f.facts["BBU"], f.facts["Energy Pack"]), "Present") {
		c.Cache.Battery = raid.BatteryState{Raw: "Present"}
	}
	c.PreservedCache = slices.Clone(f.preserved)
	slices.Sort(c.PreservedCache)
	told := cmp.Or(f.facts["Any Offline VD Cache Preserved"], f.facts["Preserved Cache Present"])
	if strings.EqualFold(told, "Yes") && len(c.PreservedCache) == 0 {
		c.PreservedCache = []string{unknownVolume}
	}
	c.Capabilities = f.capabilities()
	return c
}

// unknownVolume stands for volumes whose cache is preserved, and which were not named.
const unknownVolume = "all"

// pciAddress reads `00:3b:00:00`, of generation 8 `00:16:00:0`: domain, bus, device and function in hexadecimal. A
// domain beyond 255 stands in a line of its own, in decimal.
func pciAddress(raw, domain string) string {
	parts := strings.Split(strings.TrimSpace(raw), ":")
	if len(parts) != 4 {
		return ""
	}
	var n [4]uint64
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 16, 16)
		if err != nil {
			return ""
		}
		n[i] = v
	}
	if d, err := strconv.ParseUint(domain, 10, 32); err == nil && d > n[0] {
		n[0] = d
	}
	if n[1] > 0xff || n[2] > 0x1f || n[3] > 7 {
		return ""
	}
	return fmt.Sprintf("%04x:%02x:%02x.%x", n[0], n[1], n[2], n[3])
}

// capabilities are what the firmware says that it can do, as far as this driver knows how to ask for it. Without
// `show all` nothing is known, and nothing is claimed.
func (f *found) capabilities() raid.Capabilities {
	c := raid.Capabilities{Levels: []raid.LevelCapability{}}
	separator := func(r rune) bool { return r == ',' || r == '/' }
	for _, name := range strings.FieldsFunc(f.facts["Supported Personalities"], separator) {
		if m := mode(name); m != "" {
			c.Modes = append(c.Modes, m)
		}
	}
	if len(c.Modes) > 0 && !f.eight {
		if now := mode(f.personality()); now != "" && !slices.Contains(c.Modes, now) {
			c.Modes = append(c.Modes, now)
		}
		slices.Sort(c.Modes)
		c.ModeNeedReboot = true
	} else {
		c.Modes = nil
	}
	told := strings.ToUpper(cmp.Or(f.facts["RAID Level Supported"], f.facts["Supported RAID Levels"]))
	if f.isHBA() || told == "" {
		return c
	}
	arms := 32
	most := cmp.Or(f.facts["Max Arms Per VD"], f.facts["Max PD Per Array"])
	if n, err := strconv.Atoi(most); err == nil && n > 0 && n <= 256 {
		arms = n
	}
	spans := 8
	if n, err := strconv.Atoi(f.facts["Max Spans Per VD"]); err == nil && n > 0 && n <= 64 {
		spans = n
	}
	for _, l := range []raid.LevelCapability{
		{Level: raid.Level0, MinDisks: 1, MaxDisks: arms},
		// More than two drives make stripes of mirrors, which is another level.
		{Level: raid.Level1, MinDisks: 2, MaxDisks: 2},
		{Level: raid.Level5, MinDisks: 3, MaxDisks: arms},
		{Level: raid.Level6, MinDisks: 3, MaxDisks: arms},
		{Level: raid.Level10, MinDisks: 4, MaxDisks: arms * spans, Multiple: 2},
		{Level: raid.Level50, MinDisks: 6, MaxDisks: arms * spans, Multiple: 2},
		{Level: raid.Level60, MinDisks: 6, MaxDisks: arms * spans, Multiple: 2},
	} {
		if hasLevel(told, "RAID"+string(l.Level)) {
			c.Levels = append(c.Levels, l)
		}
	}
	c.Strips = f.strips()
	c.GlobalSpares = !strings.EqualFold(f.facts["Global Hot Spares"], "No")
	c.DedicatedSpares = !strings.EqualFold(f.facts["Dedicated Hot Spare"], "No")
	imports := cmp.Or(f.facts["Foreign Config Import"], f.facts["Support Foreign Config Import"])
	c.ImportForeign = !strings.EqualFold(imports, "No")
	c.ClearForeign = true
	c.JBOD = f.eight || strings.EqualFold(f.facts["Support JBOD"], "Yes") ||
		strings.EqualFold(f.facts["Enable JBOD"], "Yes")
	// storcli2 has other words for these, which nobody here has seen at work.
	c.BootVolume, c.PartialVolumes = !f.eight, !f.eight
	if !strings.EqualFold(f.facts["Read Policy"], "No") {
		c.Read = []raid.ReadPolicy{raid.ReadNone, raid.ReadAhead}
	}
	if !strings.EqualFold(f.facts["Write Policy"], "No") {
		c.Write = []raid.WritePolicy{raid.WriteThrough, raid.WriteBack, raid.WriteAlwaysBack}
	}
	if !f.eight && !strings.EqualFold(f.facts["IO Policy"], "No") {
		c.IO = []raid.IOPolicy{raid.IODirect, raid.IOCached}
	}
	if !strings.EqualFold(f.facts["Disk Cache Policy"], "No") {
		c.DiskCache = []raid.DiskCache{raid.DiskCacheEnable, raid.DiskCacheDisable}
	}
	c.Initialize = []raid.Initialization{raid.InitializeNone, raid.InitializeFast, raid.InitializeFull}
	if n, err := strconv.Atoi(f.facts["Max Number of VDs"]); err == nil && n > 0 {
		c.MaxVolumes = n
	}
	c.MaxName, c.Names = maxName, true
	c.MixedMedia = strings.EqualFold(f.facts["Mix of SSD/HDD in VD"], "Allowed")
	return c
}

// maxName is the length of a volume's name that all generations keep.
const maxName = 15

// hasLevel looks for a level in `RAID0, RAID1(2 or more drives), RAID10RAID60, …`: RAID1 is not in RAID10.
func hasLevel(told, name string) bool {
	for at := 0; ; {
		i := strings.Index(told[at:], name)
		if i < 0 {
			return false
		}
		at += i + len(name)
		if at == len(told) || told[at] < '0' || told[at] > '9' {
			return true
		}
	}
}

func (f *found) strips() []hw.Size {
	least, most := size(f.facts["Min Strip Size"], false), size(f.facts["Max Strip Size"], false)
	if f.eight && least == 0 {
		return []hw.Size{64 << 10, 256 << 10}
	}
	var strips []hw.Size
	for s := int64(4 << 10); s <= 4<<20; s *= 2 {
		if least > 0 && s >= least && s <= most {
			strips = append(strips, hw.Size(s))
		}
	}
	return strips
}
