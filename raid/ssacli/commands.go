package ssacli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/raid"
)

// Commands are what Exec would run. A volume that an earlier step will make stands in them as `<name>`.
func (d *Driver) Commands(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	if s.Controller != inv.Controller.ID {
		return nil, fmt.Errorf("%s: the step is for controller %s, the inventory of %s", s.Kind, s.Controller,
			inv.Controller.ID)
	}
	if !strings.HasPrefix(inv.Controller.ToolID, "slot=") {
		return nil, fmt.Errorf("%s: controller %s has no slot, by which the tool would find it", s.Kind, s.Controller)
	}
	commands, err := d.arguments(inv, s)
	if err != nil {
		return nil, fmt.Errorf("%s on controller %s: %w", s.Kind, s.Controller, err)
	}
	for i := range commands {
		commands[i] = append([]string{d.tool, "ctrl", inv.Controller.ToolID}, commands[i]...)
	}
	return commands, nil
}

var errCannot = errors.New("the controller or its tool cannot do that")

func (d *Driver) arguments(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	caps := &inv.Controller.Capabilities
	switch s.Kind {
	case raid.StepMode:
		if !slices.Contains(caps.Modes, s.Mode) {
			return nil, errCannot
		}
		return [][]string{{"modify", "hbamode=" + map[raid.Mode]string{raid.ModeHBA: "on", raid.ModeRAID: "off"}[s.Mode],
			"forced"}}, nil
	case raid.StepDeleteVolume:
		id, _, err := volume(inv, s.Volume)
		return [][]string{{"ld", id, "delete", "forced"}}, err
	case raid.StepBoot:
		if !caps.BootVolume {
			return nil, errCannot
		}
		id, _, err := volume(inv, s.Volume)
		return [][]string{{"ld", id, "modify", "bootvolume=primary"}}, err
	case raid.StepPolicies:
		caching, err := caching(caps, s.Policies)
		if err != nil {
			return nil, err
		}
		id, _, err := volume(inv, s.Volume)
		return [][]string{{"ld", id, "modify", "caching=" + caching, "forced"}}, err
	case raid.StepAddSpare, raid.StepRemoveSpare:
		return spares(inv, s)
	case raid.StepReady:
		return ready(inv, s.Disks)
	case raid.StepCreateVolume:
		return create(inv, s)
	}
	return nil, errCannot
}

// caching is `enable` or `disable`: the tool has one switch for reading and writing.
func caching(caps *raid.Capabilities, p raid.Policies) (string, error) {
	if p.Read != "" || p.IO != "" || p.DiskCache != "" || !slices.Contains(caps.Write, p.Write) {
		return "", fmt.Errorf("%w: of the policies, a volume here has write: through and write: back", errCannot)
	}
	return map[raid.WritePolicy]string{raid.WriteThrough: "disable", raid.WriteBack: "enable"}[p.Write], nil
}

// spares go to arrays, and so to all volumes of those.
func spares(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	drives, _, err := drives(inv, s.Disks)
	if err != nil {
		return nil, err
	}
	if len(s.SpareFor) == 0 {
		return nil, fmt.Errorf("%w: it has no global spares, name the volumes", errCannot)
	}
	verb := "add"
	if s.Kind == raid.StepRemoveSpare {
		verb = "remove"
	}
	var commands [][]string
	var arrays []string
	for i := range s.SpareFor {
		_, array, err := volume(inv, &s.SpareFor[i])
		if err != nil {
			return nil, err
		}
		if !slices.Contains(arrays, array) {
			arrays = append(arrays, array)
			commands = append(commands, []string{"array", array, verb, "spares=" + drives, "forced"})
		}
	}
	return commands, nil
}

// ready takes drives back that were erased. What else is not ready here is bad, and stays so.
func ready(inv *raid.Inventory, refs []raid.DiskRef) ([][]string, error) {
	_, disks, err := drives(inv, refs)
	if err != nil {
		return nil, err
	}
	var commands [][]string
	for _, disk := range disks {
		switch {
		case disk.State.Is == raid.DiskReady:
		case disk.State.Is == raid.DiskBad && strings.HasPrefix(disk.State.Raw, "Erase"):
			commands = append(commands, []string{"pd", string(disk.ID), "modify", "enableerasedrive"})
		default:
			return nil, fmt.Errorf("%w: drive %s is %s", errCannot, disk.Location, disk.State)
		}
	}
	return commands, nil
}

func create(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	n, caps := s.Create, &inv.Controller.Capabilities
	if n == nil {
		return nil, errors.New("the step says nothing of the volume to make")
	}
	names, disks, err := drives(inv, s.Disks)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(caps.Levels, func(l raid.LevelCapability) bool { return l.Level == n.Level })
	if at < 0 {
		return nil, fmt.Errorf("%w: level %s", errCannot, n.Level)
	}
	if l := caps.Levels[at]; len(disks) < l.MinDisks || l.MaxDisks > 0 && len(disks) > l.MaxDisks ||
		l.Multiple > 1 && len(disks)%l.Multiple != 0 {
		return nil, fmt.Errorf("%w: level %s over %d drives", errCannot, n.Level, len(disks))
	}
	if n.Initialize != "" {
		return nil, fmt.Errorf("%w: initialize %s", errCannot, n.Initialize)
	}
	argv := []string{"create", "type=ld"}
	array, err := where(inv, disks)
	if err != nil {
		return nil, err
	}
	if array == "" {
		argv = append(argv, "drives="+names)
	} else {
		argv = append([]string{"array", array}, argv...)
	}
	argv = append(argv, "raid="+map[raid.Level]string{raid.Level0: "0", raid.Level1: "1", raid.Level5: "5",
		raid.Level6: "6", raid.Level10: "1+0", raid.Level50: "50", raid.Level60: "60"}[n.Level])
	switch {
	case n.Level == raid.Level50 || n.Level == raid.Level60:
		argv = append(argv, "pg="+strconv.Itoa(max(n.Spans, 2)))
	case n.Level == raid.Level10 && n.Spans != 0 && n.Spans != len(disks)/2:
		return nil, fmt.Errorf("%w: level 10 is made of pairs here, and %d drives are not %d pairs", errCannot, len(disks),
			n.Spans)
	}
	switch mib := n.Bytes >> 20; {
	case n.Bytes == 0:
		argv = append(argv, "size=max")
	case mib == 0:
		return nil, fmt.Errorf("a volume of %d bytes is less than the tool's smallest unit, 1 MiB", n.Bytes)
	default:
		argv = append(argv, "size="+strconv.FormatInt(mib, 10))
	}
	if n.Strip != 0 {
		if !slices.Contains(caps.Strips, n.Strip) {
			return nil, fmt.Errorf("%w: strip %s", errCannot, n.Strip)
		}
		argv = append(argv, "stripsize="+strconv.FormatInt(int64(n.Strip>>10), 10))
	}
	if n.Policies != (raid.Policies{}) {
		caching, err := caching(caps, n.Policies)
		if err != nil {
			return nil, err
		}
		argv = append(argv, "aa="+caching) // array accelerator, the older name of caching, which all versions take
	}
	return [][]string{append(argv, "forced")}, nil
}

// where returns the array that the drives already are, or "" for drives that are in none.
func where(inv *raid.Inventory, disks []*raid.PhysicalDisk) (string, error) {
	free := 0
	array := ""
	for _, disk := range disks {
		switch {
		case disk.State.Is == raid.DiskReady && len(disk.Volumes) == 0:
			free++
			continue
		case len(disk.Volumes) == 0:
			return "", fmt.Errorf("drive %s is %s; want it ready", disk.Location, disk.State)
		}
		for i := range inv.Volumes {
			v := &inv.Volumes[i]
			if !slices.Contains(disk.Volumes, v.ID) {
				continue
			}
			if v.Group == "" || array != "" && array != v.Group || len(v.Members) != len(disks) {
				return "", fmt.Errorf("drive %s is one of array %s, which has other drives too", disk.Location, v.Group)
			}
			array = v.Group
		}
	}
	if free != 0 && free != len(disks) {
		return "", fmt.Errorf("some of the drives are in array %s, some in none", array)
	}
	return array, nil
}

// drives finds what the step saw: the same drives, wherever they are now.
func drives(inv *raid.Inventory, refs []raid.DiskRef) (string, []*raid.PhysicalDisk, error) {
	if len(refs) == 0 {
		return "", nil, errors.New("the step names no drives")
	}
	names := make([]string, len(refs))
	disks := make([]*raid.PhysicalDisk, len(refs))
	for i, ref := range refs {
		at := slices.IndexFunc(inv.Disks, func(p raid.PhysicalDisk) bool {
			if !ref.Known() {
				return p.ID == ref.ID && !p.Identity().Known()
			}
			return p.Identity() == ref.DiskIdentity
		})
		if at < 0 {
			return "", nil, fmt.Errorf("drive %s (serial number %q) is not here any more", ref.Location, ref.Serial)
		}
		disks[i] = &inv.Disks[at]
		names[i] = string(inv.Disks[at].ID)
		if slices.Contains(names[:i], names[i]) {
			return "", nil, fmt.Errorf("drive %s is named twice", ref.Location)
		}
	}
	return strings.Join(names, ","), disks, nil
}

// volume returns number and array, or `<name>` for both if the volume is still to be made.
func volume(inv *raid.Inventory, ref *raid.VolumeRef) (id, array string, err error) {
	if ref != nil && ref.ID == "" && ref.WWN == "" && ref.Name != "" {
		if v, err := find(inv, ref); err == nil {
			return string(v.ID), v.Group, nil
		}
		return "<" + ref.Name + ">", "<" + ref.Name + ">", nil
	}
	v, err := find(inv, ref)
	if err != nil {
		return "", "", err
	}
	return string(v.ID), v.Group, nil
}

// find a volume by what proves it: its WWN, else its members, else a name that no other has. Its number proves nothing.
func find(inv *raid.Inventory, ref *raid.VolumeRef) (*raid.VirtualDisk, error) {
	if ref == nil {
		return nil, errors.New("the step names no volume")
	}
	var found []*raid.VirtualDisk
	for i := range inv.Volumes {
		v := &inv.Volumes[i]
		var same bool
		switch {
		case ref.WWN != "":
			same = v.WWN == ref.WWN
		case len(ref.Members) > 0:
			same = sameMembers(inv, v, ref.Members) && (ref.ID == "" || v.ID == ref.ID)
		default:
			same = ref.Name != "" && v.Name == ref.Name
		}
		if same {
			found = append(found, v)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d volumes here are %s (number %q, %q); want one", len(found), ref.Name, ref.ID, ref.WWN)
	}
	return found[0], nil
}

func sameMembers(inv *raid.Inventory, v *raid.VirtualDisk, members []raid.DiskIdentity) bool {
	if len(v.Members) != len(members) {
		return false
	}
	for _, id := range v.Members {
		at := slices.IndexFunc(inv.Disks, func(p raid.PhysicalDisk) bool { return p.ID == id })
		if at < 0 || !inv.Disks[at].Identity().Known() || !slices.Contains(members, inv.Disks[at].Identity()) {
			return false
		}
	}
	return true
}
