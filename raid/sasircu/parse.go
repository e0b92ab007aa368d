package sasircu

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// record is a group of `Key : value` lines.
type record struct {
	keys map[string]string
	// phys are the places of a volume's members: `1:0`.
	phys []string
}

func (r *record) get(keys ...string) string {
	if r == nil {
		return ""
	}
	for _, k := range keys {
		if v := r.keys[k]; v != "" {
			return v
		}
	}
	return ""
}

// display is what `N DISPLAY` prints.
type display struct {
	controller *record
	volumes    []*record
	drives     []*record
	// completed: the tool says that it got to the end.
	completed bool
}

var (
	volumeHead = regexp.MustCompile(`^IR volume \d+$`)
	deviceHead = regexp.MustCompile(`^Device is an? (.+)$`)
	phy        = regexp.MustCompile(`^PHY\[\d+\] Enclosure#/Slot#$`)
	place      = regexp.MustCompile(`^\d{1,5}:\d{1,5}$`)
)

// maxRecords bounds what is read: the firmware knows 255 devices on some, 1024 on others.
const maxRecords = 4096

func parse(output []byte) *display {
	d := &display{}
	var r *record
	n := 0
	add := func(list *[]*record) {
		r = nil
		if n++; n <= maxRecords {
			r = &record{keys: map[string]string{}}
			*list = append(*list, r)
		}
	}
	for line := range strings.Lines(string(output)) {
		line = strings.ToValidUTF8(strings.TrimSpace(line[:min(len(line), 4096)]), "?")
		switch {
		case strings.HasPrefix(line, "-----"):
			r = nil
			continue
		case line == "Controller information", line == "IR Volume information", line == "Physical device information",
			line == "Enclosure information":
			r = nil
			continue
		case strings.Contains(line, "Command DISPLAY Completed Successfully"):
			d.completed = true
			continue
		case volumeHead.MatchString(line):
			add(&d.volumes)
			continue
		case strings.HasPrefix(line, "Initiator at ID"):
			r = nil
			continue
		}
		if m := deviceHead.FindStringSubmatch(line); m != nil {
			if strings.EqualFold(m[1], "Hard disk") {
				add(&d.drives)
			} else {
				r = nil // an enclosure, a tape
			}
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if r == nil && key == "Controller type" && d.controller == nil {
			r = &record{keys: map[string]string{}}
			d.controller = r
		}
		if r == nil {
			continue
		}
		if phy.MatchString(key) {
			if place.MatchString(value) && len(r.phys) < maxRecords {
				r.phys = append(r.phys, value)
			}
		} else if _, again := r.keys[key]; !again {
			r.keys[key] = value
		}
	}
	return d
}

// nowhere is the place of everything that is missing.
const nowhere = "0:0"

// Parse reads outputs of one controller: of `sas2ircu N DISPLAY` or `sas3ircu N DISPLAY`, which may be in several
// parts, and of STATUS.
func Parse(outputs ...[]byte) (*raid.Inventory, error) {
	all, err := ParseAll(outputs...)
	switch {
	case err != nil:
		return nil, err
	case len(all) > 1:
		return nil, errors.New("sasircu: outputs of two controllers; want those of one")
	}
	return all[0], nil
}

var controllerHead = regexp.MustCompile(`(?m)^[ \t]*Controller information[ \t]*$`)

// ParseAll reads outputs of all controllers of a machine. Each begins with what DISPLAY tells of the controller itself;
// what comes before the first belongs to it. Of LIST and STATUS, what DISPLAY does not tell is taken.
func ParseAll(outputs ...[]byte) ([]*raid.Inventory, error) {
	all := []*display{{}}
	var lists []listed
	var captured [][]byte
	for _, o := range outputs {
		o = raid.Captured(o)
		captured = append(captured, o)
		lists = append(lists, parseList(o)...)
		starts := []int{0}
		for _, at := range controllerHead.FindAllIndex(o, 256) {
			starts = append(starts, at[0])
		}
		for i, start := range starts {
			end := len(o)
			if i+1 < len(starts) {
				end = starts[i+1]
			}
			d := parse(o[start:end])
			last := all[len(all)-1]
			if d.controller != nil && last.controller != nil {
				last = &display{}
				all = append(all, last)
			}
			if d.controller != nil {
				last.controller = d.controller
			}
			last.volumes = append(last.volumes, d.volumes...)
			last.drives = append(last.drives, d.drives...)
		}
	}
	if len(all) == 1 && all[0].controller == nil && len(all[0].volumes)+len(all[0].drives) == 0 {
		return nil, errors.New("sasircu: none of this is an output of sas2ircu or sas3ircu DISPLAY")
	}
	var inventories []*raid.Inventory
	for _, d := range all {
		inv := d.inventory()
		for _, l := range lists {
			if l.address == inv.Controller.ID {
				inv.Controller.ToolID = strconv.Itoa(l.index)
			}
		}
		if len(all) == 1 { // STATUS does not tell of which controller it is
			for _, o := range captured {
				progress(inv, o)
			}
		}
		inventories = append(inventories, inv)
	}
	return inventories, nil
}

func (d *display) inventory() *raid.Inventory {
	inv := &raid.Inventory{Controller: controller(d.controller), Disks: []raid.PhysicalDisk{}, Volumes: []raid.VirtualDisk{}}
	seen := map[raid.DiskID]bool{}
	for _, r := range d.drives {
		disk := drive(r)
		if seen[disk.ID] {
			inv.Warnings = append(inv.Warnings, fmt.Sprintf("two drives are called %s", disk.ID))
			continue
		}
		seen[disk.ID] = true
		inv.Disks = append(inv.Disks, disk)
	}
	slices.SortStableFunc(inv.Disks, func(a, b raid.PhysicalDisk) int { return byPlace(string(a.ID), string(b.ID)) })
	for _, r := range d.volumes {
		v := volume(r)
		if v.ID == "" {
			inv.Warnings = append(inv.Warnings, "a volume without an id is left out")
			continue
		}
		for i := range inv.Disks {
			p := &inv.Disks[i]
			if !slices.Contains(v.Members, p.ID) {
				continue
			}
			p.Volumes = append(p.Volumes, v.ID)
			if v.State.Is == raid.VolumeDegraded && p.State.Is == raid.DiskRebuilding {
				v.State.Is = raid.VolumeRebuilding // told of the drive only
			}
		}
		inv.Volumes = append(inv.Volumes, v)
	}
	return inv
}

// byPlace sorts enclosures and slots as numbers, and what is missing last.
func byPlace(a, b string) int {
	e1, s1, ok1 := split(a)
	e2, s2, ok2 := split(b)
	switch {
	case !ok1 || !ok2:
		if ok1 != ok2 {
			if ok1 {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	case e1 != e2:
		return e1 - e2
	}
	return s1 - s2
}

func split(id string) (enclosure, slot int, ok bool) {
	e, s, _ := strings.Cut(id, ":")
	enclosure, err1 := strconv.Atoi(e)
	slot, err2 := strconv.Atoi(s)
	return enclosure, slot, err1 == nil && err2 == nil
}

func controller(r *record) raid.Controller {
	c := raid.Controller{Vendor: "LSI", Model: r.get("Controller type"), Firmware: r.get("Firmware version"), Driver: Name,
		Capabilities: raid.Capabilities{Levels: []raid.LevelCapability{}}}
	var at [4]int
	known := true
	for i, key := range []string{"Segment", "Bus", "Device", "Function"} {
		n, err := strconv.Atoi(r.get(key))
		known = known && err == nil && n >= 0 && n <= 0xffff
		at[i] = n
	}
	if known {
		c.ID = raid.ControllerID(fmt.Sprintf("%04x:%02x:%02x.%x", at[0], at[1], at[2], at[3]))
	}
	if s := r.get("Slot"); s != "" && s != "0" {
		c.Slot = s
	}
	switch support := r.get("RAID Support"); {
	case strings.EqualFold(support, "no"):
		c.Mode = raid.ModeHBA
	case strings.EqualFold(support, "yes"):
		// Drives without a volume are shown all the same.
		c.Mode = raid.ModeMixed
		c.Capabilities = raid.Capabilities{
			// SAS-3 Integrated RAID Solution User Guide: two volumes, ten drives in one.
			Levels: []raid.LevelCapability{{Level: raid.Level0, MinDisks: 2, MaxDisks: 10},
				{Level: raid.Level1, MinDisks: 2, MaxDisks: 2},
				{Level: raid.Level10, MinDisks: 4, MaxDisks: 10, Multiple: 2}},
			GlobalSpares: true, BootVolume: true, MaxVolumes: 2,
		}
	}
	return c
}

func drive(r *record) raid.PhysicalDisk {
	at := r.get("Enclosure #") + ":" + r.get("Slot #")
	d := raid.PhysicalDisk{ID: raid.DiskID(at), Location: at, Vendor: r.get("Manufacturer"), Model: r.get("Model Number"),
		Firmware: r.get("Firmware Revision"), Serial: r.get("Serial No", "Unit Serial No(VPD)"),
		State: driveState(r.get("State"))}
	if !place.MatchString(at) || d.State.Is == raid.DiskMissing && at == nowhere {
		d.ID, d.Location = raid.DiskID("missing "+d.Serial), ""
	}
	if strings.EqualFold(d.Vendor, "ATA") { // what SAS calls the maker of every SATA drive
		d.Vendor = ""
	}
	if guid := strings.ToLower(r.get("GUID")); hexadecimal.MatchString(guid) {
		d.WWN = "naa." + guid
	}
	d.Bytes, d.LogicalSector, d.Rounded = size(r.get("Size (in MB)/(in sectors)"))
	switch t := strings.ToUpper(r.get("Drive Type")); {
	case strings.HasSuffix(t, "_SSD"):
		d.Medium = hw.SSD
	case strings.HasSuffix(t, "_HDD"):
		d.Medium = hw.HDD
	}
	switch strings.ToUpper(r.get("Protocol")) {
	case "SATA":
		d.Bus = hw.BusATA
	case "SAS":
		d.Bus = hw.BusSAS
	case "PCIE", "NVME":
		d.Bus, d.Medium = hw.BusNVMe, hw.NVMe
	}
	return d
}

var hexadecimal = regexp.MustCompile(`^[0-9a-f]{16}$`)

// size reads `381554/781422767`: MiB, and the last sector. The sector's size is what makes one the other.
func size(s string) (bytes int64, sector int, rounded bool) {
	megabytes, last, _ := strings.Cut(s, "/")
	mib, err := strconv.ParseInt(strings.TrimSpace(megabytes), 10, 64)
	if err != nil || mib < 0 || mib > 1<<40 {
		mib = 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(last), 10, 64)
	if err != nil || n <= 0 || n > 1<<48 {
		return mib << 20, 0, mib > 0
	}
	for _, sector := range []int{512, 4096} {
		if bytes := (n + 1) * int64(sector); bytes>>20 == mib {
			return bytes, sector, false
		}
	}
	return mib << 20, 0, mib > 0
}

func driveState(word string) raid.DiskState {
	s := raid.DiskState{Raw: word}
	switch abbreviation(word) {
	case "OPT", "ONL":
		s.Is = raid.DiskOnline
	case "RDY":
		s.Is = raid.DiskReady
	case "HSP":
		s.Is = raid.DiskSpare
	case "AVL": // might not be ready, and is not suitable for a volume
		s.Is = raid.DiskBad
	case "FLD":
		s.Is = raid.DiskFailed
	case "MIS":
		s.Is = raid.DiskMissing
	case "RBLD", "OSY", "DGD":
		s.Is = raid.DiskRebuilding
	}
	return s
}

func abbreviation(word string) string {
	_, after, ok := strings.Cut(word, "(")
	if !ok {
		return ""
	}
	short, _, _ := strings.Cut(after, ")")
	return strings.ToUpper(strings.TrimSpace(short))
}

func volume(r *record) raid.VirtualDisk {
	v := raid.VirtualDisk{ID: raid.VolumeID(r.get("Volume ID")), Level: levelOf(r.get("RAID level")),
		State: volumeState(r.get("Status of volume")), Members: []raid.DiskID{}}
	if wwid := strings.ToLower(r.get("Volume wwid")); hexadecimal.MatchString(wwid) {
		v.WWN = wwn(wwid)
	}
	if mib, err := strconv.ParseInt(r.get("Size (in MB)"), 10, 64); err == nil && mib > 0 && mib < 1<<40 {
		v.Bytes, v.Rounded = mib<<20, true
	}
	// Only of the volume that it is anything is said. Taken for unknown, a choice that a crash has prevented would never
	// be made.
	boot := strings.EqualFold(r.get("Boot"), "Primary")
	v.Boot = &boot
	for _, at := range r.phys {
		if at == nowhere {
			v.Missing++
		} else if !slices.Contains(v.Members, raid.DiskID(at)) {
			v.Members = append(v.Members, raid.DiskID(at))
		}
	}
	return v
}

// wwn is how Linux sees a volume: NAA format 6 of LSI (00508e), with the tool's WWID behind it, its bytes in reverse.
// Volumes in /dev/disk/by-id end in a byte that starts with 0, WWIDs start with one.
func wwn(wwid string) string {
	b := []byte("naa.600508e000000000")
	for i := len(wwid) - 2; i >= 0; i -= 2 {
		b = append(b, wwid[i], wwid[i+1])
	}
	return string(b)
}

func volumeState(word string) raid.VolumeState {
	s := raid.VolumeState{Raw: word}
	if strings.HasPrefix(strings.ToLower(word), "inactive") { // another controller's, or its drives were away
		s.Is = raid.VolumeOffline
		return s
	}
	switch abbreviation(word) {
	case "OKY", "ONL", "OPT":
		s.Is = raid.VolumeOptimal
	case "DGD":
		s.Is = raid.VolumeDegraded
	case "FLD":
		s.Is = raid.VolumeFailed
	case "MIS":
		s.Is = raid.VolumeOffline
	case "INIT":
		s.Is = raid.VolumeInitializing
	case "RBLD", "SYN":
		s.Is = raid.VolumeRebuilding
	}
	return s
}

// levelOf: RAID1E has no level of its own here.
func levelOf(word string) raid.LevelState {
	l := raid.LevelState{Raw: word}
	switch strings.ToUpper(word) {
	case "RAID0":
		l.Is = raid.Level0
	case "RAID1":
		l.Is = raid.Level1
	case "RAID10":
		l.Is = raid.Level10
	}
	return l
}

// listed is a line of `LIST`.
type listed struct {
	index   int
	model   string
	address raid.ControllerID
}

var listLine = regexp.MustCompile(`^\s*(\d+)\s+(\S+)\s+[0-9a-fA-F]+h\s+[0-9a-fA-F]+h\s+` +
	`([0-9a-fA-F]+)h:([0-9a-fA-F]+)h:([0-9a-fA-F]+)h:([0-9a-fA-F]+)h`)

// parseList reads what `LIST` prints; addresses are hexadecimal there, and decimal in DISPLAY.
func parseList(output []byte) []listed {
	var all []listed
	for line := range strings.Lines(string(output)) {
		m := listLine.FindStringSubmatch(line)
		if m == nil || len(all) == 256 {
			continue
		}
		var at [4]uint64
		for i := range at {
			at[i], _ = strconv.ParseUint(m[3+i], 16, 16)
		}
		index, err := strconv.Atoi(m[1])
		if err != nil || index > 255 {
			continue
		}
		address := fmt.Sprintf("%04x:%02x:%02x.%x", at[0], at[1], at[2], at[3])
		all = append(all, listed{index, m[2], raid.ControllerID(address)})
	}
	return all
}
