package storcli

import (
	"cmp"
	"slices"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

var diskCacheWords = map[raid.DiskCache]string{raid.DiskCacheEnable: "enbl", raid.DiskCacheDisable: "dsbl"}

// arm is what the lines of a part of a drive group have in common.
type arm struct {
	group         int
	number        any
	cache         string
	busy          bool
	kind, state   string
	bytes, unused int64
}

func (c card) topologyLine(a arm, row, at, device, kind, state, size, free any) object {
	o := object{{"DG", a.group}, {"Arr", a.number}, {"Row", row}, {"EID:Slot", at}, {"DID", device}, {"Type", kind},
		{"State", state}, {"BT", yes(a.busy)[:1]}, {"Size", size}, {"PDC", a.cache}, {"PI", "N"}, {"SED", "N"},
		{"DS3", c.extra("DS3", "dflt")}, {"FSpace", free}}
	if c.release().driveType() {
		o = append(o, field{"TR", "N"})
	}
	return o
}

// topology has each group, its spans and their drives.
func (c card) topology() table {
	var t table
	for _, group := range c.Groups() {
		v := group[0]
		whole := arm{group: c.group(v), number: "-", kind: "RAID" + string(v.Level), state: volumeWords[c.State(v)],
			cache: cmp.Or(diskCacheWords[v.Policies.DiskCache], "dflt"), unused: c.unused(group)}
		for _, o := range group {
			whole.bytes += o.Bytes
			whole.busy = whole.busy || o.Initializing != ""
		}
		whole.bytes += whole.unused
		part := func(a arm) object {
			return c.topologyLine(a, "-", "-", "-", a.kind, a.state, c.size(a.bytes), yes(a.unused > 0)[:1])
		}
		t = append(t, part(whole))
		n := spans(v)
		each := len(v.Members) / n
		for number := range n {
			a := whole
			a.number, a.bytes = number, whole.bytes/int64(n)
			if kind := spanKinds[v.Level]; kind != "" {
				a.kind = kind
				// A group that is lost has spans that are degraded, whether they have all their drives or none: so said
				// firmware 23.33.
				if a.state == "OfLn" {
					a.state = "Dgrd"
				}
			}
			t = append(t, part(a))
			for row, serial := range v.Members[number*each : (number+1)*each] {
				d := c.Drive(serial)
				if d == nil {
					t = append(t, c.topologyLine(a, row, "-", "-", "DRIVE", "Msng", "-", "-"))
					continue
				}
				a.busy = whole.busy || d.State == raid.DiskRebuilding
				t = append(t, c.topologyLine(a, row, place(d), d.Device, "DRIVE", driveWord(d), c.size(d.Bytes), "-"))
			}
		}
		for _, d := range c.drives() {
			if d.State == raid.DiskSpare && slices.ContainsFunc(d.SpareFor, func(n int) bool {
				o := c.Volume(n)
				return o != nil && c.group(o) == whole.group
			}) {
				t = append(t, c.topologyLine(whole, "-", place(d), d.Device, "DRIVE", "DHS", c.size(d.Bytes), "-"))
			}
		}
	}
	return t
}

var spanKinds = map[raid.Level]string{raid.Level10: "RAID1", raid.Level50: "RAID5", raid.Level60: "RAID6"}

// dataDrives is how many drives' worth of room a volume has.
func dataDrives(v *raidtest.Volume) int64 {
	n, parts := len(v.Members), spans(v)
	switch v.Level {
	case raid.Level1:
		n = 1
	case raid.Level10:
		n = parts
	case raid.Level5, raid.Level50:
		n -= parts
	case raid.Level6, raid.Level60:
		n -= 2 * parts
	}
	return int64(max(n, 1))
}

// unused is the room that the volumes of a group leave.
func (c card) unused(group []*raidtest.Volume) int64 {
	v := group[0]
	var smallest, used int64
	for _, serial := range v.Members {
		if d := c.Drive(serial); d != nil && (smallest == 0 || d.Bytes < smallest) {
			smallest = d.Bytes
		}
	}
	for _, o := range group {
		used += o.Bytes / dataDrives(o)
	}
	round := cmp.Or(c.Round, 1<<20)
	return max(smallest/round*round-used, 0) * dataDrives(v)
}

// freeSpace is a line for each group that has room. Slots are counted over all groups, those with volumes too: so said
// the one output that is known, of one volume with room behind it.
func (c card) freeSpace() table {
	var t table
	id := 0
	for _, group := range c.Groups() {
		id += len(group)
		room := c.unused(group)
		if room == 0 {
			continue
		}
		t = append(t, object{{"ID", id}, {"DG", c.group(group[0])}, {"AftrVD", group[len(group)-1].Number},
			{"Size", c.size(room)}})
		id++
	}
	return t
}
