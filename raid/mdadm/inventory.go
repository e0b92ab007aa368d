package mdadm

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// maxName is what mdadm 4.2 keeps of a name beside the `any:` of its home: super1.c has 32 bytes for both.
const maxName = 27

// capabilities of md, whatever the drives. Initialize is always a full synchronisation: without it, the first drive of
// a level 5 that fails takes data with it that was never in the parity, so `none` is not offered.
func capabilities() raid.Capabilities {
	var strips []hw.Size
	for s := hw.Size(4 << 10); s <= 4<<20; s *= 2 {
		strips = append(strips, s)
	}
	return raid.Capabilities{
		Levels: []raid.LevelCapability{{Level: raid.Level0, MinDisks: 1}, {Level: raid.Level1, MinDisks: 2},
			{Level: raid.Level5, MinDisks: 3}, {Level: raid.Level6, MinDisks: 4},
			{Level: raid.Level10, MinDisks: 4, Multiple: 2}},
		Strips: strips, DedicatedSpares: true, ClearForeign: true, BootVolume: true,
		Initialize: []raid.Initialization{raid.InitializeFull}, MaxName: maxName, Names: true, MixedMedia: true,
	}
}

// Parse reads outputs of one machine, in any order, several in one file as well: of `mdadm --detail`, `mdadm --detail
// --export`, `mdadm --detail --scan`, `mdadm --examine` and /proc/mdstat. The drives of the inventory are the devices
// that these name, and nothing is known of them but that; [Driver.Inventory] knows what hw knows.
func Parse(outputs ...[]byte) (*raid.Inventory, error) {
	var details, exports, stats, scans []array
	var found []superblock
	known := false
	for _, o := range outputs {
		o = raid.Captured(o)
		known = known || personalities.Match(o)
		stats = append(stats, parseStat(o)...)
		exports = append(exports, parseExports(o)...)
		details = append(details, parseDetail(o)...)
		found = append(found, parseExamine(o)...)
		scans = append(scans, parseScanned(o)...)
	}
	if !known && len(details)+len(found)+len(exports)+len(stats)+len(scans) == 0 {
		return nil, errors.New("mdadm: none of this is an output of mdadm --detail, --detail --export, --examine, or " +
			"/proc/mdstat")
	}
	for _, e := range exports {
		i := slices.IndexFunc(details, func(a array) bool { return a.uuid != "" && a.uuid == e.uuid })
		if i < 0 {
			details = append(details, e)
		} else {
			details[i].improve(e)
		}
	}
	for _, s := range stats {
		i := slices.IndexFunc(details, func(a array) bool { return a.device != "" && a.device == s.device })
		if i < 0 {
			details = append(details, s)
		} else {
			details[i].improve(s)
		}
	}
	all := merge(details, offline(found))
	var nowhere []string
	for _, s := range scans {
		i := slices.IndexFunc(all, func(a array) bool {
			return a.uuid != "" && a.uuid == s.uuid || a.device == s.device ||
				a.device == strings.Replace(s.device, "/dev/md/", "/dev/md", 1)
		})
		switch {
		case i >= 0:
			all[i].improve(s)
		case known:
			// Whatever runs is in /proc/mdstat, under a name of the kernel's: twice would be one too many.
			nowhere = append(nowhere, s.label())
		default:
			all = append(all, s)
		}
	}
	inv := build(all, nil)
	if len(nowhere) > 0 {
		inv.Warnings = append(inv.Warnings, "a scan names arrays that nothing else tells of: "+strings.Join(nowhere, ", "))
	}
	return inv, nil
}

// leftSpare is the state of a drive whose metadata says that it waits for an array that runs without it: it was taken
// out, and not cleared. Whoever assembles the array the next time finds it, and it waits again.
const leftSpare = "spare left"

// merge adds arrays that do not run to those that do, and to those the spares that left them.
func merge(running, examined []array) []array {
	for _, e := range examined {
		if i := slices.IndexFunc(running, func(a array) bool { return a.uuid != "" && a.uuid == e.uuid }); i >= 0 {
			for _, m := range e.members {
				if m.state == "spare" && !slices.ContainsFunc(running[i].members, func(o member) bool {
					return o.device == m.device
				}) {
					running[i].members = append(running[i].members, member{device: m.device, role: -1, state: leftSpare})
				}
			}
		}
		if !slices.ContainsFunc(running, func(a array) bool {
			return a.uuid != "" && a.uuid == e.uuid || slices.ContainsFunc(a.members, func(m member) bool {
				return slices.ContainsFunc(e.members, func(o member) bool { return o.device == m.device })
			})
		}) {
			running = append(running, e)
		}
	}
	return running
}

// improve takes from another output of the same array what that one knows better.
func (a *array) improve(o array) {
	for _, f := range []struct{ mine, others *string }{{&a.uuid, &o.uuid}, {&a.level, &o.level}, {&a.state, &o.state},
		{&a.metadata, &o.metadata}, {&a.device, &o.device}} {
		if *f.mine == "" {
			*f.mine = *f.others
		}
	}
	if o.name != "" { // --export ends it at a line break
		a.name = o.name
	}
	for _, f := range []struct{ mine, others *int64 }{{&a.kib, &o.kib}, {&a.chunk, &o.chunk}} {
		if *f.mine == 0 {
			*f.mine = *f.others
		}
	}
	if a.devices == 0 {
		a.devices = o.devices
	}
	if o.progress != nil && (a.progress == nil || a.progress.What == o.progress.What) { // mdstat has more digits
		a.progress = o.progress
	}
	if len(a.members) == 0 {
		a.members = o.members
	}
}

// build makes an inventory. Without disks (nil) the members' devices stand for them.
func build(arrays []array, disks []hw.Disk) *raid.Inventory {
	inv := &raid.Inventory{
		Controller: raid.Controller{ID: raid.MD, Vendor: "Linux", Model: "software RAID", Driver: Name, Mode: raid.ModeRAID,
			Capabilities: capabilities()},
		Disks: []raid.PhysicalDisk{}, Volumes: []raid.VirtualDisk{},
	}
	b := builder{inv: inv, byDevice: map[string]int{}}
	for i := range disks {
		b.disk(&disks[i])
	}
	if disks == nil {
		var devices []string
		for _, a := range arrays {
			for _, m := range a.members {
				devices = append(devices, m.device)
			}
		}
		slices.SortFunc(devices, natural)
		for _, device := range slices.Compact(devices) {
			b.device(device)
		}
	}
	slices.SortStableFunc(arrays, func(x, y array) int {
		if c := natural(x.name, y.name); c != 0 {
			return c
		}
		return strings.Compare(x.uuid+x.device, y.uuid+y.device)
	})
	for i := range arrays {
		b.array(&arrays[i])
	}
	return inv
}

// builder fills an inventory.
type builder struct {
	inv *raid.Inventory
	// byDevice finds a disk by its device.
	byDevice map[string]int
}

// usable reports whether md may have the disk: not what a controller made of several, and nothing that a person or a
// BMC puts in.
func usable(d *hw.Disk) bool {
	no := func(b *bool) bool { return b == nil || !*b }
	return d.Kind != hw.RAIDVolume && d.Bytes > 0 && no(d.Removable) && no(d.ReadOnly)
}

func (b *builder) disk(d *hw.Disk) {
	if !usable(d) {
		return
	}
	device := "/dev/" + d.Name
	id := d.Path
	if id == "" || slices.ContainsFunc(b.inv.Disks, func(o raid.PhysicalDisk) bool { return string(o.ID) == id }) {
		id = device
	}
	p := raid.PhysicalDisk{ID: raid.DiskID(id), Location: id, Vendor: d.Vendor, Model: d.Model, Firmware: d.Firmware,
		Serial: d.Serial, WWN: d.WWN, Bytes: d.Bytes, LogicalSector: d.LogicalSector, PhysicalSector: d.PhysicalSector,
		Bus: d.Bus, State: raid.DiskState{Is: raid.DiskReady}, Path: device}
	if d.Medium != hw.MediumUnknown {
		p.Medium = d.Medium
	}
	if h := d.Health; h != nil {
		if h.Passed != nil {
			alert := !*h.Passed
			p.SMARTAlert = &alert
		}
		p.MediaErrors = h.MediaErrors
	}
	b.add(device, p)
}

// device is a disk of which nothing else is known.
func (b *builder) device(device string) {
	b.add(device, raid.PhysicalDisk{ID: raid.DiskID(device), Location: device, Path: device,
		State: raid.DiskState{Is: raid.DiskReady}})
}

func (b *builder) add(device string, p raid.PhysicalDisk) {
	b.byDevice[device] = len(b.inv.Disks)
	b.inv.Disks = append(b.inv.Disks, p)
}

// find returns the disk that a member is, or is on.
func (b *builder) find(device string) *raid.PhysicalDisk {
	if i, ok := b.byDevice[device]; ok {
		return &b.inv.Disks[i]
	}
	for disk, i := range b.byDevice {
		if isOn(device, disk) {
			return &b.inv.Disks[i]
		}
	}
	return nil
}

// firmwareRAID reports whether an array is what a firmware's RAID needs, and none by itself.
func (a *array) firmwareRAID() bool {
	return a.level == "container" || strings.HasPrefix(a.metadata, "imsm") || strings.HasPrefix(a.metadata, "ddf") ||
		strings.HasPrefix(a.metadata, "/")
}

func (b *builder) array(a *array) {
	if a.firmwareRAID() {
		b.foreign(a)
		return
	}
	id := a.uuid
	if id == "" {
		id = a.device
	}
	v := raid.VirtualDisk{ID: raid.VolumeID(id), Name: a.name, Level: levelOf(a.level), Bytes: a.kib << 10,
		Strip: hw.Size(a.chunk), Path: a.device, Progress: a.progress, Members: []raid.DiskID{}}
	if a.uuid != "" {
		v.WWN = "uuid." + strings.ToLower(strings.ReplaceAll(a.uuid, ":", "")) // as hw.Disk has it
	}
	whole, present, online := true, 0, 0
	for _, m := range a.members {
		state := a.memberState(m)
		v.Parts = append(v.Parts, m.device)
		whole = whole && !isPartition(m.device)
		disk := b.find(m.device)
		diskID := raid.DiskID(m.device)
		if disk == nil {
			b.warn("array %s has the member %s, which is no drive that md may have here", a.label(), m.device)
		} else {
			whole = whole && disk.Path == m.device
			diskID = disk.ID
			disk.Volumes = appendNew(disk.Volumes, v.ID)
			if worse(state.Is, disk.State.Is) {
				disk.State = state
				disk.Progress = nil
				if state.Is == raid.DiskRebuilding {
					disk.Progress = a.progress
				}
			}
		}
		switch state.Is {
		case raid.DiskSpare:
			if state.Raw == leftSpare {
				b.warn("%s is not in array %s, and will wait for it as a spare again when that is assembled the next time",
					m.device, a.label())
			}
			v.Spares = appendNew(v.Spares, diskID)
			if disk != nil {
				disk.Volumes = slices.DeleteFunc(disk.Volumes, func(id raid.VolumeID) bool { return id == v.ID })
				disk.SpareFor = appendNew(disk.SpareFor, v.ID)
			}
		case raid.DiskFailed: // it has lost its place to the next spare
		default:
			present++
			if state.Is == raid.DiskOnline {
				online++
			}
			v.Members = appendNew(v.Members, diskID)
		}
	}
	v.Missing = max(a.devices-present, 0)
	v.State = a.volumeState(a.devices - online)
	// The firmware starts from each member alone if it looks like the array.
	boot := v.Level.Is == raid.Level1 && (a.metadata == "1.0" || a.metadata == "0.90") && whole && len(v.Members) > 0
	v.Boot = &boot
	b.inv.Volumes = append(b.inv.Volumes, v)
}

// foreign notes what a firmware's RAID has on the drives, Intel's (imsm) or the SNIA's format for controllers (ddf):
// the container, and arrays inside that run. Where something runs, its device is the name.
func (b *builder) foreign(a *array) {
	f := raid.Foreign{ID: a.device, Level: levelOf(a.level), Bytes: a.kib << 10}
	if f.ID == "" {
		f.ID = a.uuid
	}
	if a.level == "container" {
		f.Level, f.Bytes = raid.LevelState{Raw: a.level}, 0
	}
	for _, m := range a.members {
		if disk := b.find(m.device); disk != nil {
			disk.Foreign = true
			f.Disks = appendNew(f.Disks, disk.ID)
		}
	}
	b.inv.Foreign = append(b.inv.Foreign, f)
}

// maxWarnings bounds what metadata can make a person read.
const maxWarnings = 64

func (b *builder) warn(format string, args ...any) {
	if len(b.inv.Warnings) < maxWarnings {
		b.inv.Warnings = append(b.inv.Warnings, fmt.Sprintf(format, args...))
	}
}

func (a *array) label() string {
	for _, s := range []string{a.name, a.device, a.uuid} {
		if s != "" {
			return s
		}
	}
	return "without a name"
}

func appendNew[T comparable](list []T, x T) []T {
	if slices.Contains(list, x) {
		return list
	}
	return append(list, x)
}

// severity orders what a disk is doing, if it does several things in several arrays.
var severity = []raid.DiskStateKind{raid.DiskReady, raid.DiskSpare, raid.DiskOnline, raid.DiskOffline,
	raid.DiskRebuilding, raid.DiskFailed}

func worse(a, than raid.DiskStateKind) bool {
	if a == "" {
		return than == raid.DiskReady // it is in something, and that is all that is known
	}
	return slices.Index(severity, a) >= slices.Index(severity, than)
}

func (a *array) memberState(m member) raid.DiskState {
	s := raid.DiskState{Raw: m.state}
	words := strings.Fields(m.state)
	switch {
	case slices.Contains(words, "faulty"):
		s.Is = raid.DiskFailed
	case slices.Contains(words, "rebuilding"):
		s.Is = raid.DiskRebuilding
	case slices.Contains(words, "spare") && !a.inactive():
		s.Is = raid.DiskSpare
	case a.examined && s.Raw == "":
		s.Is, s.Raw = raid.DiskOffline, "not assembled"
	case a.inactive(): // mdstat calls all members of such an array spares
		s.Is = raid.DiskOffline
	case slices.Contains(words, "active") || slices.Contains(words, "journal"):
		s.Is = raid.DiskOnline
	}
	return s
}

// inactive: it is assembled, but was not started.
func (a *array) inactive() bool {
	return slices.Contains(a.words(), "inactive") || strings.HasPrefix(a.state, "Not Started")
}

// words of the state: `clean, degraded, recovering`.
func (a *array) words() []string {
	return strings.FieldsFunc(a.state, func(r rune) bool { return r == ' ' || r == ',' })
}

// volumeState wants to know how many members do not work.
func (a *array) volumeState(lost int) raid.VolumeState {
	if a.examined {
		return raid.VolumeState{Is: raid.VolumeOffline, Raw: "not assembled"}
	}
	s := raid.VolumeState{Raw: a.state}
	if a.scanned && a.state == "" {
		return s
	}
	words := a.words()
	has := func(w string) bool { return slices.Contains(words, w) }
	degraded := has("degraded") || lost > 0
	switch {
	case has("FAILED") || has("broken"):
		s.Is = raid.VolumeFailed
	case a.inactive():
		s.Is = raid.VolumeOffline
	case has("recovering"):
		s.Is = raid.VolumeRebuilding
	case degraded && a.level == "raid6" && lost < 2:
		s.Is = raid.VolumePartial
	case degraded:
		s.Is = raid.VolumeDegraded
	case has("reshaping"):
		s.Is = raid.VolumeMigrating
	case has("resyncing"):
		s.Is = raid.VolumeInitializing
	case has("clean") || has("active") || a.state == "" && a.device != "":
		s.Is = raid.VolumeOptimal
	}
	return s
}

func levelOf(s string) raid.LevelState {
	l := raid.LevelState{Raw: s}
	switch level := raid.Level(strings.TrimPrefix(s, "raid")); level {
	case raid.Level0, raid.Level1, raid.Level5, raid.Level6, raid.Level10:
		if s != string(level) {
			l.Is = level
		}
	}
	return l
}

// deviceOf is the device of a disk, for messages and commands.
func deviceOf(inv *raid.Inventory, id raid.DiskID) (string, error) {
	for i := range inv.Disks {
		if d := &inv.Disks[i]; d.ID == id {
			if !strings.HasPrefix(d.Path, "/dev/") || path.Clean(d.Path) != d.Path {
				return "", fmt.Errorf("mdadm: drive %s has no device", id)
			}
			return d.Path, nil
		}
	}
	return "", fmt.Errorf("mdadm: drive %s is not there", id)
}
