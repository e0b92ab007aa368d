package ssacli

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

func (c *controllerItem) virtual(v *volumeItem) raid.VirtualDisk {
	out := raid.VirtualDisk{ID: raid.VolumeID(v.id), Group: v.array, WWN: naa(v.get("Unique Identifier")),
		Name: v.get("Logical Drive Label"), Path: path(v.get("Disk Name"))}
	out.Bytes, out.Rounded = bytesOf(v.get("Size"), 1024)
	if strip, _ := bytesOf(v.get("Strip Size", "Stripe Size"), 1024); strip > 0 {
		out.Strip = hw.Size(strip)
	}
	c.members(v, &out)
	out.Level = level(v.get("Fault Tolerance"))
	disks := len(out.Members) + out.Missing
	switch out.Level.Is {
	case raid.Level10:
		if disks == 2 {
			out.Level.Is = raid.Level1 // firmware before the P4xx calls any mirror 1+0
		} else {
			out.Spans = disks / 2
		}
	case raid.Level50, raid.Level60:
		if v.parity {
			out.Spans = len(v.groups)
		}
	}
	out.State, out.Progress = volumeState(v)
	out.Policies, out.Current = c.policies(v)
	switch primary, boot := c.get("Primary Boot Volume"), v.get("Boot Volume"); {
	case boot != "" || primary != "":
		is := boot == "Primary" || strings.HasPrefix(primary+" ", "logicaldrive "+v.id+" ")
		out.Boot = &is
	}
	return out
}

// members in the order of the groups that the tool lists, or all data drives of the array.
func (c *controllerItem) members(v *volumeItem, out *raid.VirtualDisk) {
	out.Members = []raid.DiskID{}
	add := func(id string) {
		switch {
		case strings.Contains(id, "?"):
			out.Missing++
		case !slices.Contains(out.Members, raid.DiskID(id)):
			out.Members = append(out.Members, raid.DiskID(id))
		}
	}
	for _, group := range v.groups {
		for _, id := range group {
			add(id)
		}
	}
	if len(v.groups) > 0 || v.array == "" {
		return
	}
	for _, d := range c.drives {
		if slices.Contains(d.arrays, v.array) && d.role() != spare {
			add(d.id)
		}
	}
	slices.SortFunc(out.Members, func(a, b raid.DiskID) int { return raid.CompareLocations(string(a), string(b)) })
}

// level of `1+0`, `RAID 6 (ADG)`, `1adm` (a mirror of three) and `1+0adm`.
func level(raw string) raid.LevelState {
	s := strings.ToLower(raw)
	s = strings.TrimSpace(strings.TrimPrefix(s, "raid"))
	s = strings.TrimSpace(strings.TrimSuffix(s, "(adg)"))
	s = strings.TrimSpace(strings.TrimSuffix(strings.TrimSuffix(s, "(adm)"), "adm"))
	switch l := raid.Level(strings.Replace(s, "+", "", 1)); l {
	case raid.Level0, raid.Level1, raid.Level5, raid.Level6, raid.Level10, raid.Level50, raid.Level60:
		return raid.LevelState{Is: l, Raw: raw}
	}
	return raid.LevelState{Raw: raw}
}

var percent = regexp.MustCompile(`([0-9]{1,3}(?:\.[0-9]+)?) ?%`)

// progress of `Recovering, 26% complete`.
func progress(what, text string) *raid.Progress {
	m := percent.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n > 100 {
		return nil
	}
	return &raid.Progress{What: what, Fraction: n / 100}
}

func volumeState(v *volumeItem) (raid.VolumeState, *raid.Progress) {
	raw := v.get("Status")
	state := raid.VolumeState{Raw: raw}
	word, _, _ := strings.Cut(raw, ",")
	going := progress(word, raw)
	for key, text := range v.fields {
		if going == nil && (strings.HasSuffix(key, "Progress") || key == "Percent Complete") {
			going = progress(strings.TrimSuffix(key, " Progress"), text)
		}
	}
	switch s := strings.ToLower(word); {
	case s == "ok":
		state.Is = raid.VolumeOptimal
		if strings.HasPrefix(v.get("Parity Initialization Status"), "In Progress") {
			state.Is = raid.VolumeInitializing
			going = cmp.Or(going, progress("Parity Initialization", v.get("Parity Initialization Status")))
		}
	case s == "interim recovery mode", strings.HasPrefix(s, "ready for re"), strings.HasPrefix(s, "waiting for re"),
		strings.Contains(s, "spare rebuild ready"):
		state.Is = raid.VolumeDegraded
	case strings.HasPrefix(s, "recovering"), strings.HasPrefix(s, "rebuild"):
		state.Is = raid.VolumeRebuilding
	case strings.HasPrefix(s, "transform"), strings.Contains(s, "expan"), strings.Contains(s, "migrat"),
		strings.Contains(s, "shrink"), s == "queued for transformation":
		state.Is = raid.VolumeMigrating
	case strings.Contains(s, "initializ"):
		state.Is = raid.VolumeInitializing
	case strings.HasPrefix(s, "failed"):
		state.Is = raid.VolumeFailed
	case strings.HasPrefix(s, "disabled"), s == "offline", s == "not available",
		s == "not yet available", s == "locked":
		state.Is = raid.VolumeOffline
	}
	return state, going
}

// partial tells a RAID 6 that has lost one drive from one that has lost two: the tool calls both the same.
func partial(v *raid.VirtualDisk, disks []raid.PhysicalDisk) {
	if v.State.Is != raid.VolumeDegraded || v.Level.Is != raid.Level6 {
		return
	}
	lost := v.Missing
	for _, d := range disks {
		if slices.Contains(v.Members, d.ID) && d.State.Is != raid.DiskOnline {
			lost++
		}
	}
	if lost == 1 {
		v.State.Is = raid.VolumePartial
	}
}

// policies: caching is writing back while the controller trusts its battery, or always if it was told not to need one.
func (c *controllerItem) policies(v *volumeItem) (asked, current raid.Policies) {
	switch v.get("Caching", "Array Accelerator") {
	case "Enabled":
		asked.Write, current.Write = raid.WriteBack, raid.WriteBack
		if status := c.get("Cache Status"); status != "" && status != "OK" || c.get("Cache Board Present") == "False" {
			current.Write = raid.WriteThrough
		}
	case "Disabled":
		asked.Write, current.Write = raid.WriteThrough, raid.WriteThrough
	}
	return asked, current
}
