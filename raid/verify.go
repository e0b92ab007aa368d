package raid

import (
	"fmt"
	"slices"
	"strings"
)

// already reports whether an earlier step had the effect of a step that can only be had once.
func already(inv *Inventory, s Step) bool {
	switch s.Kind {
	case StepCreateVolume, StepInitialize, StepImportForeign:
		return false
	case StepBoot:
		v := findVolume(inv, *s.Volume)
		return v != nil && v.Boot != nil && *v.Boot
	case StepPolicies:
		return false
	}
	_, done := verify(inv, inv, s)
	return done
}

// provable reports whether the state shows that a step was done. Where it does not, the driver's word decides.
func provable(before, after *Inventory, s Step) bool {
	switch s.Kind {
	case StepCreateVolume:
		// That the volume is there does not show that its initialization has begun.
		if how := s.Create.Initialize; how == InitializeFast || how == InitializeFull {
			fresh := created(before, after)
			return len(fresh) == 1 && fresh[0].Progress != nil
		}
	case StepInitialize:
		return false
	case StepBoot:
		v := findVolume(after, *s.Volume)
		return v != nil && v.Boot != nil
	}
	return true
}

// verify tells from the state before and after a step what is there now, and whether that is what the step is for.
func verify(before, after *Inventory, s Step) (string, bool) {
	switch s.Kind {
	case StepMode:
		c := &after.Controller
		done := c.Mode == s.Mode && !s.Reboot || s.Reboot && (c.PendingMode == s.Mode || c.Mode == s.Mode)
		return fmt.Sprintf("the controller is in mode %s, pending %s", orUnknown(c.Mode), orNone(c.PendingMode)), done
	case StepDiscardCache:
		if n := len(after.Controller.PreservedCache); n > 0 {
			return fmt.Sprintf("the unwritten data of %d volumes is still held", n), false
		}
		return "no cache is preserved", true
	case StepClearForeign, StepImportForeign:
		n := len(after.Foreign)
		for i := range after.Disks {
			if after.Disks[i].Foreign {
				n++
			}
		}
		if n > 0 {
			return "there is still a foreign configuration", false
		}
		return "there is no foreign configuration", true
	case StepDeleteVolume:
		if v := findVolume(after, *s.Volume); v != nil {
			return fmt.Sprintf("%s is still there", s.Volume), false
		}
		return fmt.Sprintf("%s is gone", s.Volume), true
	case StepRemoveSpare:
		return states(after, s, func(d *PhysicalDisk) bool { return d.State.Is == DiskReady || d.State.Is == DiskJBOD })
	case StepReady:
		return states(after, s, func(d *PhysicalDisk) bool { return d.State.Is == DiskReady && !d.Foreign })
	case StepJBOD:
		return states(after, s, func(d *PhysicalDisk) bool { return d.State.Is == DiskJBOD })
	case StepAddSpare:
		var want []VolumeID
		for _, r := range s.SpareFor {
			if v := findVolume(after, r); v != nil {
				want = append(want, v.ID)
			}
		}
		slices.Sort(want)
		return states(after, s, func(d *PhysicalDisk) bool {
			// In a volume that lacks a drive, a spare is at work at once.
			if d.State.Is == DiskRebuilding && len(want) == len(s.SpareFor) && (len(want) == 0 ||
				slices.ContainsFunc(d.Volumes, func(id VolumeID) bool { return slices.Contains(want, id) })) {
				return true
			}
			return d.State.Is == DiskSpare && len(want) == len(s.SpareFor) && slices.Equal(want,
				slices.Sorted(slices.Values(d.SpareFor)))
		})
	case StepCreateVolume:
		return verifyCreate(before, after, s)
	case StepPolicies:
		v := findVolume(after, *s.Volume)
		if v == nil {
			return fmt.Sprintf("%s is not there any more", s.Volume), false
		}
		wrong := wrongPolicies(s.Policies, v)
		if len(wrong) > 0 {
			return fmt.Sprintf("%s has %s", s.Volume, strings.Join(wrong, ", ")), false
		}
		return fmt.Sprintf("%s has these policies", s.Volume), true
	case StepBoot:
		v := findVolume(after, *s.Volume)
		switch {
		case v == nil:
			return fmt.Sprintf("%s is not there any more", s.Volume), false
		case v.Boot == nil:
			return "whether the machine starts from it is not told", true
		case !*v.Boot:
			return fmt.Sprintf("the machine does not start from %s", s.Volume), false
		}
		return fmt.Sprintf("the machine starts from %s", s.Volume), true
	case StepInitialize:
		v := findVolume(after, *s.Volume)
		if v == nil {
			return fmt.Sprintf("%s is not there any more", s.Volume), false
		}
		return fmt.Sprintf("%s is %s", s.Volume, v.State), true
	}
	return fmt.Sprintf("step %s is none that can be read back", s.Kind), false
}

// states tells what the drives of a step are now, and whether all are as they should be.
func states(after *Inventory, s Step, is func(*PhysicalDisk) bool) (string, bool) {
	done := true
	var words []string
	for _, r := range s.Disks {
		d, err := findDisk(after, r)
		if err != nil {
			words, done = append(words, err.Error()), false
			continue
		}
		text := fmt.Sprintf("drive %s is %s", d.Location, d.State)
		if len(d.SpareFor) > 0 {
			text += fmt.Sprintf(" for volumes %s", d.SpareFor)
		}
		words = append(words, text)
		done = done && is(d)
	}
	return enumerate(words, 16), done
}

// created are the volumes that were not there before.
func created(before, after *Inventory) []*VirtualDisk {
	var fresh []*VirtualDisk
	for i := range after.Volumes {
		if v := &after.Volumes[i]; !sameVolumeIn(before, after, v) {
			fresh = append(fresh, v)
		}
	}
	return fresh
}

// sameVolumeIn reports whether a volume of one inventory is also in another. Without a WWN it is the one with the same
// name, level and size whose drives are the same but for one that a spare has replaced; its number proves nothing.
func sameVolumeIn(other, inv *Inventory, v *VirtualDisk) bool {
	members := refVolume(inv, v).Members
	return slices.ContainsFunc(other.Volumes, func(o VirtualDisk) bool {
		if o.WWN != "" || v.WWN != "" {
			return plainWWN(o.WWN) == plainWWN(v.WWN)
		}
		return o.ID == v.ID && o.Name == v.Name && o.Level.Is == v.Level.Is && o.Bytes == v.Bytes &&
			sameMembers(refVolume(other, &o).Members, members)
	})
}

func verifyCreate(before, after *Inventory, s Step) (string, bool) {
	fresh := created(before, after)
	if len(fresh) == 0 {
		return "no new volume is there", false
	}
	if len(fresh) > 1 {
		return fmt.Sprintf("%d new volumes are there", len(fresh)), false
	}
	v, n := fresh[0], s.Create
	var wrong []string
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if v.Level.Is != n.Level {
		add("level %s instead of %s", v.Level, n.Level)
	}
	// A full initialization takes hours, and tools tell how far it is. A fast one may be over before it is seen.
	if n.Initialize == InitializeFull && v.Progress == nil && !after.Controller.Capabilities.InitializeWaits {
		add("no full initialization at work")
	}
	if n.Spans != 0 && v.Spans != 0 && n.Spans != v.Spans {
		add("%d spans instead of %d", v.Spans, n.Spans)
	}
	var want []DiskIdentity
	smallest := int64(0)
	for _, r := range s.Disks {
		want = append(want, r.DiskIdentity)
		if d, err := findDisk(after, r); err == nil && (smallest == 0 || d.Bytes < smallest) {
			smallest = d.Bytes
		}
	}
	if got := refVolume(after, v).Members; !sameMembers(got, want) {
		add("it is on drives %s", members(after, v))
	}
	for i := range after.Volumes {
		if o := &after.Volumes[i]; o.ID != v.ID && sameDisks(o, v) {
			if d := int64(dataDisks(o.Level.Is, len(want), o.Spans)); d > 0 {
				smallest -= o.Bytes / d
			}
		}
	}
	room := smallest * int64(dataDisks(n.Level, len(want), n.Spans))
	if n.Bytes != 0 && !sizeFits(v.Bytes, v.Rounded, n.Bytes) {
		add("%s instead of %s", human(v.Bytes), human(n.Bytes))
	} else if n.Bytes == 0 && room > 0 && !maxFits(v.Bytes, room) {
		add("%s instead of all that its drives have, %s", human(v.Bytes), human(room))
	}
	if n.Strip != 0 && v.Strip != 0 && v.Strip != n.Strip {
		add("strip %s instead of %s", v.Strip, n.Strip)
	}
	if after.Controller.Capabilities.Names && v.Name != n.Name {
		add("name %q instead of %q", v.Name, n.Name)
	}
	wrong = append(wrong, wrongPolicies(n.Policies, v)...)
	if v.State.Is == VolumeFailed || v.State.Is == VolumeOffline || v.Missing > 0 {
		add("it is %s", v.State)
	}
	text := refVolume(after, v).String()
	if len(wrong) > 0 {
		return fmt.Sprintf("%s was made, and is wrong: %s", text, strings.Join(wrong, ", ")), false
	}
	return fmt.Sprintf("%s is there, %s, %s", text, human(v.Bytes), v.State), true
}

// wrongPolicies are those that were asked for, are told, and are others.
func wrongPolicies(want Policies, v *VirtualDisk) []string {
	var set Policies
	var words []string
	differ(&set.Read, want.Read, v.Policies.Read, v.Current.Read, "read", &words)
	differ(&set.IO, want.IO, v.Policies.IO, v.Current.IO, "io", &words)
	differ(&set.DiskCache, want.DiskCache, v.Policies.DiskCache, v.Current.DiskCache, "disk_cache", &words)
	// Which write policy is in force depends on the battery; only what was asked for can be wrong.
	differ(&set.Write, want.Write, v.Policies.Write, "", "write", &words)
	return words
}

// besides tells of volumes that came or went and that the step is not about.
func besides(before, after *Inventory, s Step) string {
	var words []string
	for i := range before.Volumes {
		v := &before.Volumes[i]
		if s.Kind == StepDeleteVolume && s.Volume.WWN == v.WWN && s.Volume.ID == v.ID {
			continue
		}
		if !stillThere(before, after, v) {
			words = append(words, refVolume(before, v).String()+" is not there any more")
		}
	}
	if s.Kind != StepCreateVolume && s.Kind != StepImportForeign {
		for i := range after.Volumes {
			if v := &after.Volumes[i]; !stillThere(after, before, v) {
				words = append(words, refVolume(after, v).String()+" is new")
			}
		}
	}
	return enumerate(words, 8)
}

// stillThere is sameVolumeIn for a volume without WWN that may have got another number or another drive meanwhile.
func stillThere(inv, other *Inventory, v *VirtualDisk) bool {
	if v.WWN != "" {
		return sameVolumeIn(other, inv, v)
	}
	mine := refVolume(inv, v).Members
	return slices.ContainsFunc(other.Volumes, func(o VirtualDisk) bool {
		if o.WWN != "" || o.Level.Is != v.Level.Is || o.Name != v.Name {
			return false
		}
		theirs := refVolume(other, &o).Members
		return len(mine) == 0 || slices.ContainsFunc(mine, func(a DiskIdentity) bool {
			return slices.ContainsFunc(theirs, func(b DiskIdentity) bool { return sameIdentity(a, b) })
		})
	})
}
