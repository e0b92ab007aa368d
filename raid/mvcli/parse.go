package mvcli

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

// record is a paragraph of `key: value` lines. Keys are in lower case: their spelling changes between versions.
type record map[string]string

// listing is what `info -o hba`, `pd` and `vd` print, together.
type listing struct {
	cards, drives, volumes []record
	// total counts what a list says that it has: hba, pd, vd.
	total map[string]int
}

// first are the keys that a paragraph starts with. `controller id` is in outputs that passed through other tools.
var first = map[string]string{"adapter id": "hba", "controller id": "hba", "nvme controller id": "hba", "pd id": "pd",
	"id": "vd", "vd id": "vd"}

// maxRecords bounds what is read; a card has two drives.
const maxRecords = 256

func parse(outputs ...[]byte) *listing {
	l := &listing{total: map[string]int{}}
	for _, output := range outputs {
		output = raid.Captured(output)
		var r record
		for line := range strings.Lines(string(output)) {
			line = strings.ToValidUTF8(strings.TrimSpace(line[:min(len(line), 4096)]), "?")
			key, value, ok := strings.Cut(line, ":")
			key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
			// mnv_cli leaves the colon out of one line.
			if rest, is := strings.CutPrefix(line, "NVMe Controller ID"); is && !ok {
				key, value, ok = "nvme controller id", strings.TrimSpace(rest), true
			}
			if list, is := strings.CutPrefix(key, "total # of "); is && ok {
				if n, err := strconv.Atoi(value); err == nil && n >= 0 {
					l.total[list] = n
				}
			}
			switch kind := first[key]; {
			case !ok || key == "adapter":
				r = nil
			case kind != "" && value != "":
				r = record{key: value, "is": value}
				switch kind {
				case "hba":
					l.cards = appendBounded(l.cards, r)
				case "pd":
					l.drives = appendBounded(l.drives, r)
				case "vd":
					l.volumes = appendBounded(l.volumes, r)
				}
			case r != nil && r[key] == "":
				r[key] = value
			}
		}
	}
	// Other tools have lines like these as well.
	l.cards = slices.DeleteFunc(l.cards, func(r record) bool { return r.get("supported raid mode", "product") == "" })
	l.drives = slices.DeleteFunc(l.drives, func(r record) bool { return r.get("size", "model", "serial") == "" })
	l.volumes = slices.DeleteFunc(l.volumes, func(r record) bool { return r["raid mode"] == "" })
	return l
}

func appendBounded(list []record, r record) []record {
	if len(list) >= maxRecords {
		return list
	}
	return append(list, r)
}

// get is the value of the first key that is there.
func (r record) get(keys ...string) string {
	for _, k := range keys {
		if v := r[k]; v != "" {
			return v
		}
	}
	return ""
}

// Parse reads outputs of `info -o hba`, `info -o pd` and `info -o vd` of one card, of mvcli or mnv_cli, in any order.
// What is missing of them is missing in the inventory.
func Parse(outputs ...[]byte) (*raid.Inventory, error) {
	l := parse(outputs...)
	if len(l.cards)+len(l.drives)+len(l.volumes)+len(l.total) == 0 {
		return nil, errors.New("mvcli: none of this is an output of mvcli or mnv_cli info -o hba, pd or vd")
	}
	if len(l.cards) > 1 {
		return nil, fmt.Errorf("mvcli: outputs of %d cards; want those of one", len(l.cards))
	}
	return l.inventory(), nil
}

func (l *listing) inventory() *raid.Inventory {
	inv := &raid.Inventory{Disks: []raid.PhysicalDisk{}, Volumes: []raid.VirtualDisk{}}
	if len(l.cards) > 0 {
		inv.Controller = l.cards[0].controller()
	}
	inv.Controller.Driver = Name
	for _, r := range l.drives {
		inv.Disks = append(inv.Disks, r.drive())
	}
	slices.SortStableFunc(inv.Disks, func(a, b raid.PhysicalDisk) int {
		return int(number(string(a.ID)) - number(string(b.ID)))
	})
	for _, r := range l.volumes {
		if importable := strings.EqualFold(r["importable"], "yes"); importable {
			inv.Foreign = append(inv.Foreign, r.foreign(inv))
		} else {
			inv.Volumes = append(inv.Volumes, r.volume(inv))
		}
	}
	for i := range inv.Disks {
		d := &inv.Disks[i]
		if raw := strings.ToLower(d.State.Raw); d.State.Is == "" && (raw == "" || raw == "idle" || raw == "online") {
			if d.State.Is = raid.DiskReady; len(d.Volumes) > 0 { // the tool tells nothing but that it is well
				d.State.Is = raid.DiskOnline
			}
		}
	}
	return inv
}

// Sub-vendors, as PCI ids.
var makers = map[string]string{"1028": "Dell", "1b4b": "Marvell", "1d49": "Lenovo", "1590": "HPE", "103c": "HPE"}

var columns = regexp.MustCompile(`\s{2,}`)

func (r record) controller() raid.Controller {
	c := raid.Controller{Firmware: r["firmware version"], Mode: raid.ModeRAID, Capabilities: r.capabilities()}
	vendor, _, _ := strings.Cut(r["sub product"], "-")
	c.Vendor = makers[strings.ToLower(vendor)]
	switch {
	case strings.EqualFold(r["sub product"], "1028-1fe2"):
		c.Model = "BOSS-S1"
	case r["product"] != "":
		_, chip, _ := strings.Cut(r["product"], "-")
		c.Model = "88SE" + chip
	}
	if r.nvme() {
		c.Vendor = makers[strings.TrimPrefix(strings.ToLower(r["svid"]), "0x")]
		c.Model = "88NR" + strings.TrimPrefix(r["did"], "0x")
		// It has serial number, model and a number in columns.
		if f := columns.Split(r["subnqn"], 4); len(f) >= 2 && !strings.HasPrefix(f[0], "nqn.") {
			c.Serial, c.Model = f[0], f[1]
		}
		c.ID = address(r["bus device fun"])
	}
	if s := r["slot number"]; s != "" && s != "0" {
		c.Slot = s
	}
	return c
}

func (r record) nvme() bool { return r["nvme controller id"] != "" }

var function = regexp.MustCompile(`^(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([0-9a-f]{2})\.0?([0-7])$`)

// address is a PCI address in Linux' spelling, of one such as e5:00.00.
func address(s string) raid.ControllerID {
	m := function.FindStringSubmatch(strings.ToLower(s))
	if m == nil {
		return ""
	}
	domain := m[1]
	if domain == "" {
		domain = "0000"
	}
	return raid.ControllerID(domain + ":" + m[2] + ":" + m[3] + "." + m[4])
}

// maxName: mvcli's help says 11 characters, and a card was seen to keep 10 of them.
const maxName = 10

func (r record) capabilities() raid.Capabilities {
	c := raid.Capabilities{Levels: []raid.LevelCapability{}, Names: true, MaxName: maxName,
		MaxVolumes: int(number(r.get("maximum supported vd", "max vd")))}
	most := int(number(r.get("maximum disk in one vd", "max pd of per vd")))
	for _, word := range strings.Fields(r["supported raid mode"]) {
		l := raid.LevelCapability{Level: levelOf(word).Is, MaxDisks: most}
		switch l.Level {
		case raid.Level0:
			if l.MinDisks = 1; r.nvme() {
				l.MinDisks = 2
			}
		case raid.Level1:
			l.MinDisks, l.MaxDisks = 2, 2
		case raid.Level10:
			l.MinDisks, l.Multiple = 4, 2
		default:
			continue // JBOD is what a drive without a volume is; others are no levels here
		}
		if most == 0 || most >= l.MinDisks {
			c.Levels = append(c.Levels, l)
		}
	}
	for _, word := range strings.Fields(r.get("stripe size supported", "support stripe size")) {
		if s := kib(word); s > 0 {
			c.Strips = append(c.Strips, s)
		}
	}
	if !r.nvme() {
		c.Initialize = []raid.Initialization{raid.InitializeNone, raid.InitializeFast}
	}
	return c
}

func (r record) drive() raid.PhysicalDisk {
	id := r["is"]
	d := raid.PhysicalDisk{ID: raid.DiskID(id), Location: id, Model: r["model"], Serial: r["serial"],
		Firmware: r["firmware version"], State: driveState(r.get("pd status", "status"))}
	if wwn := r["wwn"]; wwn != "" {
		d.WWN = "naa." + strings.ToLower(wwn)
	}
	if r.get("lba", "ssd backend rc/slot id") != "" { // mnv_cli
		d.Bus, d.Medium = hw.BusNVMe, hw.NVMe
		d.LogicalSector = int(number(r["sector size"]))
		if n := number(r["lba"]); n > 0 && d.LogicalSector > 0 && n < 1<<50/int64(d.LogicalSector) {
			d.Bytes = n * int64(d.LogicalSector)
		}
		if w := r.get("smart critical warning", "smart critical"); w != "" {
			alert := !strings.EqualFold(w, "no")
			d.SMARTAlert = &alert
		}
	} else {
		if strings.Contains(strings.ToUpper(r["type"]), "SATA") {
			d.Bus = hw.BusATA
		}
		switch strings.ToUpper(r["ssd type"]) {
		case "SSD":
			d.Medium = hw.SSD
		case "HDD":
			d.Medium = hw.HDD
		}
		if s := r["linked at"]; s != "" {
			d.Location = s
		}
	}
	if d.Bytes == 0 {
		d.Bytes, d.Rounded = size(r["size"])
	}
	if strings.EqualFold(d.State.Raw, "foreign") {
		d.Foreign = true
	}
	return d
}

// driveState: the words that say less than the lists of volumes do are decided when these are known.
func driveState(word string) raid.DiskState {
	s := raid.DiskState{Raw: word}
	switch w := strings.ToLower(word); w {
	case "unassigned", "unconfigured", "free", "ready", "foreign":
		s.Is = raid.DiskReady
	case "spare", "hot spare", "hotspare", "global spare":
		s.Is = raid.DiskSpare
	case "offline":
		s.Is = raid.DiskOffline
	case "failed", "dead", "bad":
		s.Is = raid.DiskFailed
	case "missing":
		s.Is = raid.DiskMissing
	case "rebuilding":
		s.Is = raid.DiskRebuilding
	}
	return s
}

func (r record) volume(inv *raid.Inventory) raid.VirtualDisk {
	id := raid.VolumeID(r["is"])
	v := raid.VirtualDisk{ID: id, Name: r["name"], Level: levelOf(r["raid mode"]), Strip: kib(r.get("stripe size",
		"stripe block size")), Members: []raid.DiskID{}, Progress: progress(r["bga progress"])}
	v.Bytes, v.Rounded = size(r["size"])
	v.State = volumeState(r["status"], v.Progress)
	for _, pd := range r.members() {
		v.Members = append(v.Members, raid.DiskID(pd))
		for i := range inv.Disks {
			if d := &inv.Disks[i]; string(d.ID) == pd {
				d.Volumes = append(d.Volumes, id)
			}
		}
	}
	v.Missing = max(min(int(number(r.get("# of pds", "pd count"))), maxRecords)-len(v.Members), 0)
	return v
}

func (r record) members() []string {
	var all []string
	for _, f := range strings.Fields(r.get("pd raid setup", "pds")) {
		if strings.Trim(f, "0123456789") == "" && !slices.Contains(all, f) && len(all) < maxRecords {
			all = append(all, f)
		}
	}
	return all
}

// foreign is a volume that another card wrote, and that this one could import.
func (r record) foreign(inv *raid.Inventory) raid.Foreign {
	f := raid.Foreign{ID: r["is"], Level: levelOf(r["raid mode"])}
	f.Bytes, _ = size(r["size"])
	for _, pd := range r.members() {
		f.Disks = append(f.Disks, raid.DiskID(pd))
		for i := range inv.Disks {
			if string(inv.Disks[i].ID) == pd {
				inv.Disks[i].Foreign = true
			}
		}
	}
	return f
}

func volumeState(word string, p *raid.Progress) raid.VolumeState {
	s := raid.VolumeState{Raw: word}
	switch strings.ToLower(word) {
	case "functional", "optimal":
		s.Is = raid.VolumeOptimal
	case "degraded", "degrade":
		if s.Is = raid.VolumeDegraded; p != nil && strings.Contains(strings.ToLower(p.What), "rebuild") {
			s.Is = raid.VolumeRebuilding
		}
	case "rebuilding":
		s.Is = raid.VolumeRebuilding
	case "offline":
		s.Is = raid.VolumeOffline
	case "failed":
		s.Is = raid.VolumeFailed
	}
	return s
}

var running = regexp.MustCompile(`^(.*?)\s+is\s.*?(\d{1,3})%`)

// progress reads `rebuilding is 15% done` and `Rebuilding is running in 21%`.
func progress(s string) *raid.Progress {
	m := running.FindStringSubmatch(s)
	if m == nil {
		return nil
	}
	return &raid.Progress{What: m[1], Fraction: min(float64(number(m[2]))/100, 1)}
}

func levelOf(word string) raid.LevelState {
	l := raid.LevelState{Raw: word}
	switch n, ok := strings.CutPrefix(strings.ToUpper(word), "RAID"); {
	case !ok:
	case n == "0" || n == "1" || n == "5" || n == "6" || n == "10":
		l.Is = raid.Level(n)
	}
	return l
}

// number is the number at the beginning, 0 if there is none.
func number(s string) int64 {
	n, err := strconv.ParseInt(s[:len(s)-len(strings.TrimLeft(s, "0123456789"))], 10, 64)
	if err != nil || n > 1<<50 {
		return 0
	}
	return n
}

// size reads `468851544 K` and `228872 M`, and `894 GB` of mnv_cli: all of them are binary. Only the first is exact.
func size(s string) (bytes int64, rounded bool) {
	n := number(s)
	unit := strings.ToUpper(strings.TrimSpace(strings.TrimLeft(s, "0123456789.")))
	shift := map[string]int{"K": 10, "KB": 10, "M": 20, "MB": 20, "G": 30, "GB": 30, "T": 40, "TB": 40}[unit]
	if shift == 0 || n == 0 || n > 1<<(60-shift) {
		return 0, false
	}
	return n << shift, shift > 10
}

// kib reads 64, 64K and 128KB.
func kib(s string) hw.Size {
	n := number(s)
	if n > 1<<20 {
		return 0
	}
	return hw.Size(n << 10)
}
