package arcconf

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

func (c *controllerItem) virtual(v *setItem, inv *raid.Inventory, arrays map[raid.DiskID][]string) raid.VirtualDisk {
	out := raid.VirtualDisk{ID: raid.VolumeID(v.id), Members: []raid.DiskID{}, Group: v.get("array"),
		WWN:  naa(v.get("volume unique identifier", "unique identifier")),
		Name: v.get("logical device name", "logical drive name"), Path: path(v.get("disk name"))}
	out.Bytes, out.Rounded = bytesOf(v.get("size"))
	if strip, ok := bytesOf(v.get("stripe-unit size", "stripe size")); ok {
		out.Strip = hw.Size(strip)
	}
	out.Level = level(v.get("raid level"))
	groups := c.members(v, &out, inv, arrays)
	switch disks := len(out.Members) + out.Missing; out.Level.Is {
	case raid.Level10:
		out.Spans = disks / 2
	case raid.Level50, raid.Level60:
		out.Spans = groups
	}
	out.State = volumeState(v.get("status of logical device", "status of logical drive"))
	out.Progress = progress(out.State.Raw)
	out.Policies, out.Current = policies(v)
	if boot := v.get("boot type"); boot != "" {
		primary := strings.EqualFold(boot, "primary") || strings.EqualFold(boot, "primary and secondary")
		out.Boot = &primary
	}
	for _, task := range c.tasks {
		percent, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(task.get("percentage complete"), "%")), 64)
		if err == nil && task.get("logical device") == v.id && percent >= 0 && percent <= 100 {
			out.Progress = &raid.Progress{What: task.get("current operation"), Fraction: percent / 100}
		}
	}
	return out
}

var working = regexp.MustCompile(`([A-Za-z][A-Za-z/ ]*?) ?: ?([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%`)

// progress of `Impacted ( Build/Verify with fix : 90 % )`.
func progress(state string) *raid.Progress {
	m := working.FindStringSubmatch(state)
	if m == nil {
		return nil
	}
	n, err := strconv.ParseFloat(m[2], 64)
	if err != nil || n > 100 {
		return nil
	}
	return &raid.Progress{What: m[1], Fraction: n / 100}
}

// members in the order of segments, and how many groups there are.
func (c *controllerItem) members(v *setItem, out *raid.VirtualDisk, inv *raid.Inventory,
	arrays map[raid.DiskID][]string) int {
	list := v.members
	if len(list) == 0 {
		for _, a := range c.arrays {
			if a.id == out.Group && out.Group != "" {
				list = a.members
			}
		}
	}
	var groups []string
	for i := range list {
		m := &list[i]
		if m.group != "" && !slices.Contains(groups, m.group) {
			groups = append(groups, m.group)
		}
		at := slices.IndexFunc(inv.Disks, m.is)
		if at < 0 && m.location() != "" {
			at = slices.IndexFunc(inv.Disks, func(d raid.PhysicalDisk) bool { return d.Location == m.location() })
			if at >= 0 {
				inv.Warnings = append(inv.Warnings, fmt.Sprintf("volume %s has the serial number %q in %s, the list of "+
					"drives %q", v.id, clip(m.serial), clip(m.location()), clip(inv.Disks[at].Serial)))
			}
		}
		switch {
		case strings.HasPrefix(m.state, "missing"):
			out.Missing++
		case at >= 0 && inv.Disks[at].State.Is != raid.DiskSpare && !slices.Contains(out.Members, inv.Disks[at].ID):
			out.Members = append(out.Members, inv.Disks[at].ID)
		}
	}
	// Stripe order (Channel,Device): 0,0 0,1 0,2
	for _, id := range strings.Fields(v.get("stripe order (channel,device)")) {
		if slices.ContainsFunc(inv.Disks, func(d raid.PhysicalDisk) bool { return string(d.ID) == id }) &&
			!slices.Contains(out.Members, raid.DiskID(id)) {
			out.Members = append(out.Members, raid.DiskID(id))
		}
	}
	if len(list) == 0 && len(out.Members) == 0 && out.Group != "" {
		for _, d := range inv.Disks {
			if slices.Contains(arrays[d.ID], out.Group) && d.State.Is != raid.DiskSpare {
				out.Members = append(out.Members, d.ID)
			}
		}
	}
	return len(groups)
}

// is says whether a drive is the one that the member names: by serial number, else by channel and device, or place.
func (m *member) is(d raid.PhysicalDisk) bool {
	switch {
	case m.serial != "":
		return d.Serial == m.serial
	case m.id() != "":
		return d.ID == m.id()
	}
	return m.location() != "" && d.Location == m.location()
}

// id of `Channel:0, Device:10`, or of `0,10`.
func (m *member) id() raid.DiskID {
	if ch, dev := m.part("Channel"), m.part("Device"); ch != "" && dev != "" {
		return raid.DiskID(ch + "," + dev)
	}
	if len(m.parts) == 2 && len(numbers(m.parts[0])) == 1 && len(numbers(m.parts[1])) == 1 &&
		numbers(m.parts[0])[0] == m.parts[0] && numbers(m.parts[1])[0] == m.parts[1] {
		return raid.DiskID(m.parts[0] + "," + m.parts[1])
	}
	return ""
}

func (m *member) location() string {
	enclosure, connector := m.part("Enclosure"), m.part("Connector")
	switch slot, device := m.part("Slot"), m.part("Device"); {
	case enclosure != "" && slot != "":
		return "Enclosure " + enclosure + ", Slot " + slot
	case connector != "" && device != "":
		return "Connector " + connector + ", Device " + device
	}
	return ""
}

// level of `5`, `RAID 10`, and of a simple volume, which is a single drive.
func level(raw string) raid.LevelState {
	s := strings.TrimSpace(strings.TrimPrefix(strings.ToLower(raw), "raid"))
	if parity, ok := strings.CutSuffix(s, "reed-solomon"); ok { // 6 Reed-Solomon
		s = strings.TrimSpace(parity)
	}
	switch l := raid.Level(s); l {
	case raid.Level0, raid.Level1, raid.Level5, raid.Level6, raid.Level10, raid.Level50, raid.Level60:
		return raid.LevelState{Is: l, Raw: raw}
	case "simple_volume", "simple volume", "volume":
		return raid.LevelState{Is: raid.Level0, Raw: raw}
	}
	return raid.LevelState{Raw: raw}
}

func volumeState(raw string) raid.VolumeState {
	state := raid.VolumeState{Raw: raw}
	switch s := strings.ToLower(raw); {
	case strings.Contains(s, "rebuild"), strings.HasPrefix(s, "recover"):
		state.Is = raid.VolumeRebuilding
	case s == "optimal", s == "okay", s == "ok":
		state.Is = raid.VolumeOptimal
	case strings.HasPrefix(s, "suboptimal"):
		state.Is = raid.VolumePartial // `Suboptimal, Fault Tolerant`
	case strings.HasPrefix(s, "degraded"), strings.HasPrefix(s, "interim recovery"), s == "critical",
		s == "impacted": // its parity was never made, or not to the end
		state.Is = raid.VolumeDegraded
	case strings.HasPrefix(s, "failed"), s == "dead":
		state.Is = raid.VolumeFailed
	case strings.HasPrefix(s, "offline"), strings.HasPrefix(s, "disabled"), s == "not available":
		state.Is = raid.VolumeOffline
	case strings.Contains(s, "reconfigur"), strings.Contains(s, "expan"), strings.Contains(s, "transform"),
		strings.Contains(s, "migrat"):
		state.Is = raid.VolumeMigrating
	case strings.Contains(s, "build"), strings.Contains(s, "clear"), strings.Contains(s, "initializ"):
		state.Is = raid.VolumeInitializing
	}
	return state
}

// policies: Series 2 to 8 tell what was asked for (setting) and what is in force (mode, later status); SmartRAID has
// one switch.
func policies(v *setItem) (asked, current raid.Policies) {
	if caching := v.get("caching"); caching != "" {
		asked.Write = raid.WriteThrough
		if strings.HasPrefix(strings.ToLower(caching), "enabled") {
			asked.Write = raid.WriteBack
		}
		return asked, asked
	}
	asked.Read, asked.Write = readPolicy(v.get("read-cache setting", "read-cache mode")),
		writePolicy(v.get("write-cache setting", "write-cache mode"))
	current.Read, current.Write = readPolicy(v.get("read-cache status", "read-cache mode")),
		writePolicy(v.get("write-cache status", "write-cache mode"))
	if current.Write == raid.WriteAlwaysBack && asked.Write != "" && asked.Write != raid.WriteThrough {
		current.Write = asked.Write // on, for the reason that was asked for
	}
	return asked, current
}

func readPolicy(s string) raid.ReadPolicy {
	switch s = strings.ToLower(s); {
	case strings.HasPrefix(s, "enabled"), strings.HasPrefix(s, "on"):
		return raid.ReadAhead
	case strings.HasPrefix(s, "disabled"), strings.HasPrefix(s, "off"):
		return raid.ReadNone
	}
	return ""
}

// writePolicy of `Enabled (write-back) when protected by battery`, `On when protected by battery/ZMM`, `Enabled`,
// `Disabled (write-through)`, `Off`.
func writePolicy(s string) raid.WritePolicy {
	switch s = strings.ToLower(s); {
	case strings.Contains(s, "when protected"):
		return raid.WriteBack
	case strings.HasPrefix(s, "enabled"), strings.HasPrefix(s, "on"):
		return raid.WriteAlwaysBack
	case strings.HasPrefix(s, "disabled"), strings.HasPrefix(s, "off"):
		return raid.WriteThrough
	}
	return ""
}
