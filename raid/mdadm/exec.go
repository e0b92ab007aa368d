package mdadm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/raid"
)

// Commands are what Exec runs. A step that needs none has none: a mirror with metadata 1.0 is one that the firmware
// starts from.
func (d *Driver) Commands(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	if s.Controller != raid.MD {
		return nil, fmt.Errorf("mdadm: %s is no controller of this driver, which has only %s", s.Controller, raid.MD)
	}
	devices := make([]string, len(s.Disks))
	for i, ref := range s.Disks {
		device, err := deviceOf(inv, ref.ID)
		if err != nil {
			return nil, err
		}
		devices[i] = device
	}
	switch s.Kind {
	case raid.StepCreateVolume:
		return d.create(s.Create, devices)
	case raid.StepDeleteVolume:
		v := findVolume(inv, s.Volume)
		if v == nil {
			return nil, nil // it is gone already
		}
		return d.remove(v), nil
	case raid.StepAddSpare, raid.StepRemoveSpare:
		return d.spare(inv, s, devices)
	case raid.StepReady:
		return d.ready(inv, s, devices)
	case raid.StepClearForeign:
		return d.clearForeign(inv)
	case raid.StepBoot:
		v := findVolume(inv, s.Volume)
		switch {
		case v == nil:
			return nil, errors.New("mdadm: the volume to start from is not there")
		case v.Boot == nil || !*v.Boot:
			return nil, fmt.Errorf("mdadm: no firmware starts from array %s: that takes level 1 on whole drives with "+
				"metadata 1.0, which is decided when it is made; remove it and make it anew", v.Name)
		}
		return nil, nil
	}
	return nil, fmt.Errorf("mdadm: %s is nothing that md can do", s.Kind)
}

func (d *Driver) create(n *raid.NewVolume, devices []string) ([][]string, error) {
	switch {
	case n == nil || len(devices) == 0:
		return nil, errors.New("mdadm: a volume without drives")
	case n.Bytes != 0:
		return nil, fmt.Errorf("mdadm: volume %s: an array takes its drives whole, and has no other size", n.Name)
	case n.Boot && n.Level != raid.Level1:
		return nil, fmt.Errorf("mdadm: volume %s: no firmware starts from level %s of md; want level 1", n.Name, n.Level)
	case n.Name == "" || len(n.Name) > maxName || strings.ContainsAny(n.Name, "/ \t\n:") || n.Name[0] == '-':
		return nil, fmt.Errorf("mdadm: volume %q: want a name of at most %d characters without slash, colon and blanks",
			n.Name, maxName)
	case n.Policies != (raid.Policies{}):
		return nil, fmt.Errorf("mdadm: volume %s: md has no policies", n.Name)
	case n.Initialize != "" && n.Level == raid.Level0:
		return nil, fmt.Errorf("mdadm: volume %s: level 0 has nothing that could be synchronised", n.Name)
	case n.Initialize != "" && n.Initialize != raid.InitializeFull:
		return nil, fmt.Errorf("mdadm: volume %s: md always synchronises a new array", n.Name)
	case n.Spans > 1 && (n.Level != raid.Level10 || n.Spans*2 != len(devices)):
		return nil, fmt.Errorf("mdadm: volume %s: md has no spans", n.Name)
	}
	metadata := "1.2"
	if n.Boot {
		metadata = "1.0"
	}
	// --run answers what mdadm would ask a person; --force makes level 0 of one drive, and level 5 whole from the start
	// instead of one drive short.
	argv := []string{d.tool, "--create", "/dev/md/" + n.Name, "--run", "--force", "--homehost=any", "--name=" + n.Name,
		"--metadata=" + metadata, "--level=" + string(n.Level), "--raid-devices=" + strconv.Itoa(len(devices))}
	switch n.Level {
	case raid.Level1:
		if n.Strip != 0 {
			return nil, fmt.Errorf("mdadm: volume %s: level 1 of md has no strips", n.Name)
		}
	case raid.Level0, raid.Level5, raid.Level6, raid.Level10:
		if n.Strip%1024 != 0 {
			return nil, fmt.Errorf("mdadm: volume %s: strip %s is no whole number of KiB", n.Name, n.Strip)
		}
		if n.Strip != 0 {
			argv = append(argv, "--chunk="+strconv.FormatInt(int64(n.Strip)>>10, 10))
		}
		if n.Level == raid.Level10 {
			argv = append(argv, "--layout=n2")
		}
	default:
		return nil, fmt.Errorf("mdadm: volume %s: md has no level %s", n.Name, n.Level)
	}
	return append(d.wipe(devices), append(argv, devices...)), nil
}

// wipe takes md's metadata, and then whatever else says that there is something on a device: an old array, a partition
// table or a file system that outlived its array would be found by the next kernel, beside the new one.
func (d *Driver) wipe(devices []string) [][]string {
	if len(devices) == 0 {
		return nil
	}
	return [][]string{append([]string{d.tool, "--zero-superblock"}, devices...),
		append([]string{d.wipefs, "--all", "--force"}, devices...)}
}

// remove takes an array apart.
func (d *Driver) remove(v *raid.VirtualDisk) [][]string {
	var argvs [][]string
	if v.Path != "" {
		argvs = append(argvs, []string{d.tool, "--stop", v.Path})
	}
	return append(argvs, d.wipe(v.Parts)...)
}

func (d *Driver) spare(inv *raid.Inventory, s raid.Step, devices []string) ([][]string, error) {
	if len(devices) == 0 {
		return nil, errors.New("mdadm: no spare is named")
	}
	if s.Kind == raid.StepRemoveSpare {
		var argvs [][]string
		for i, ref := range s.Disks {
			left := slices.ContainsFunc(inv.Disks, func(disk raid.PhysicalDisk) bool {
				return disk.ID == ref.ID && disk.State.Raw == leftSpare
			})
			known := false
			for _, v := range inv.Volumes {
				if slices.Contains(v.Spares, ref.ID) && v.Path != "" {
					if known = true; !left {
						argvs = append(argvs, []string{d.tool, "--manage", v.Path, "--remove", devices[i]})
					}
				}
			}
			if !known {
				return nil, fmt.Errorf("mdadm: drive %s is no spare of an array that runs", ref.ID)
			}
		}
		return append(argvs, d.wipe(devices)...), nil
	}
	if len(s.SpareFor) != 1 {
		return nil, fmt.Errorf("mdadm: a spare of md is for one array; %d are named", len(s.SpareFor))
	}
	path := "/dev/md/" + s.SpareFor[0].Name // made by an earlier step
	if v := findVolume(inv, &s.SpareFor[0]); v != nil {
		if path = v.Path; path == "" {
			return nil, fmt.Errorf("mdadm: array %s does not run", v.Name)
		}
	} else if s.SpareFor[0].ID != "" || s.SpareFor[0].Name == "" {
		return nil, fmt.Errorf("mdadm: array %s is not there", s.SpareFor[0].ID)
	}
	return append(d.wipe(devices), append([]string{d.tool, "--manage", path, "--add"}, devices...)), nil
}

// ready frees drives that are in no array, or whose array has given them up.
func (d *Driver) ready(inv *raid.Inventory, s raid.Step, devices []string) ([][]string, error) {
	var argvs [][]string
	for i, ref := range s.Disks {
		for _, disk := range inv.Disks {
			if disk.ID != ref.ID || len(disk.Volumes)+len(disk.SpareFor) == 0 {
				continue
			}
			v := findVolume(inv, &raid.VolumeRef{ID: first(disk.Volumes, disk.SpareFor)})
			if disk.State.Is != raid.DiskFailed || len(disk.Volumes) != 1 || v == nil || v.Path == "" ||
				!slices.Contains(v.Parts, devices[i]) {
				return nil, fmt.Errorf("mdadm: drive %s is in use by an array", ref.ID)
			}
			argvs = append(argvs, []string{d.tool, "--manage", v.Path, "--remove", devices[i]})
		}
	}
	return append(argvs, d.wipe(devices)...), nil
}

func first(lists ...[]raid.VolumeID) raid.VolumeID {
	for _, l := range lists {
		if len(l) > 0 {
			return l[0]
		}
	}
	return ""
}

func (d *Driver) clearForeign(inv *raid.Inventory) ([][]string, error) {
	var devices []string
	var stop, last [][]string // a container can be stopped when nothing in it runs any more
	for _, f := range inv.Foreign {
		if !strings.HasPrefix(f.ID, "/dev/") {
			continue
		}
		if argv := []string{d.tool, "--stop", f.ID}; f.Level.Raw == "container" {
			last = append(last, argv)
		} else {
			stop = append(stop, argv)
		}
	}
	for _, disk := range inv.Disks {
		if disk.Foreign {
			device, err := deviceOf(inv, disk.ID)
			if err != nil {
				return nil, err
			}
			devices = append(devices, device)
		}
	}
	return slices.Concat(stop, last, d.wipe(devices)), nil
}

// findVolume finds what a plan saw. An id is a UUID and proves itself; a volume that the plan made has only a name.
func findVolume(inv *raid.Inventory, ref *raid.VolumeRef) *raid.VirtualDisk {
	if ref == nil {
		return nil
	}
	for i := range inv.Volumes {
		v := &inv.Volumes[i]
		if ref.ID != "" && v.ID == ref.ID || ref.ID == "" && ref.Name != "" && v.Name == ref.Name {
			return v
		}
	}
	return nil
}

// Exec does a step on the state that is there now, and looks at what came of it.
func (d *Driver) Exec(ctx context.Context, _ *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	before, err := d.Inventory(ctx, s.Controller)
	if err != nil {
		return err
	}
	for _, ref := range s.Disks {
		for _, disk := range before.Disks {
			if disk.ID == ref.ID && ref.Known() && disk.Identity() != ref.DiskIdentity {
				return fmt.Errorf("mdadm: drive %s is another one than planned: serial number %q, WWN %q, and not %q, %q",
					ref.ID, disk.Serial, disk.WWN, ref.Serial, ref.WWN)
			}
		}
	}
	if s.Kind == raid.StepCreateVolume || s.Kind == raid.StepAddSpare {
		// wipefs --force would not mind. A dry run cannot tell: a step before this one may free the drive.
		for _, ref := range s.Disks {
			for _, disk := range before.Disks {
				if disk.ID == ref.ID && len(disk.Volumes)+len(disk.SpareFor) > 0 {
					return fmt.Errorf("mdadm: drive %s is in use by array %s", ref.ID, first(disk.Volumes, disk.SpareFor))
				}
			}
		}
	}
	argvs, err := d.Commands(before, s)
	if err != nil {
		return err
	}
	var said error
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("mdadm: %s was not begun: %w", s.Kind, err)
	}
	ctx = context.WithoutCancel(ctx) // half of a step is worse than all of it
	for _, argv := range argvs {
		out, err := d.write(ctx, argv...)
		if err == nil && out.ExitCode != 0 {
			err = fmt.Errorf("mdadm: %s: exit status %d: %s", strings.Join(argv, " "), out.ExitCode, words(out))
		}
		known, wrong := d.happened(ctx, argv)
		switch {
		case known && wrong != nil: // also where the tool reported success
			said = errors.Join(said, err, wrong)
		case known:
			err = nil // it is done, and a tool that says otherwise, or hangs, does not matter
		case err != nil:
			said = errors.Join(said, err)
		}
		if known && wrong != nil || err != nil {
			break
		}
	}
	after, err := d.Inventory(ctx, s.Controller)
	if err != nil {
		return errors.Join(said, err)
	}
	if wrong := check(s, after); wrong != nil {
		return errors.Join(said, wrong)
	}
	if report != nil {
		if v := findVolume(after, result(s)); v != nil && v.Progress != nil {
			report(*v.Progress)
		}
	}
	return nil
}

// words are what a tool said, for an error.
func words(out *raid.Output) string {
	s := strings.Join(strings.Fields(string(out.Stderr)+" "+string(out.Stdout)), " ")
	if len(s) > 500 {
		s = s[:500] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// result is the volume that a step leaves behind.
func result(s raid.Step) *raid.VolumeRef {
	switch {
	case s.Create != nil:
		return &raid.VolumeRef{Name: s.Create.Name}
	case len(s.SpareFor) == 1:
		return &s.SpareFor[0]
	}
	return nil
}

// check holds what is there after a step against what the step was for.
func check(s raid.Step, after *raid.Inventory) error {
	disk := func(id raid.DiskID) *raid.PhysicalDisk {
		i := slices.IndexFunc(after.Disks, func(d raid.PhysicalDisk) bool { return d.ID == id })
		if i < 0 {
			return nil
		}
		return &after.Disks[i]
	}
	switch s.Kind {
	case raid.StepCreateVolume:
		v := findVolume(after, result(s))
		switch {
		case v == nil:
			return fmt.Errorf("mdadm: array %s is not there", s.Create.Name)
		case v.Path == "":
			return fmt.Errorf("mdadm: array %s was made, but does not run", s.Create.Name)
		case v.Level.Is != s.Create.Level:
			return fmt.Errorf("mdadm: array %s has level %s, and not %s", v.Name, v.Level, s.Create.Level)
		case s.Create.Boot && (v.Boot == nil || !*v.Boot):
			return fmt.Errorf("mdadm: array %s was made, but no firmware could start from it", v.Name)
		}
		members := slices.Concat(v.Members, v.Spares)
		for _, ref := range s.Disks {
			if !slices.Contains(members, ref.ID) {
				return fmt.Errorf("mdadm: array %s was made without drive %s", v.Name, ref.ID)
			}
		}
		if len(members) != len(s.Disks) {
			return fmt.Errorf("mdadm: array %s has %d members, and not %d", v.Name, len(members), len(s.Disks))
		}
	case raid.StepDeleteVolume:
		if v := findVolume(after, s.Volume); v != nil {
			return fmt.Errorf("mdadm: array %s is still there", v.Name)
		}
	case raid.StepAddSpare:
		v := findVolume(after, &s.SpareFor[0])
		if v == nil {
			return fmt.Errorf("mdadm: array %s is not there any more", s.SpareFor[0].Name)
		}
		for _, ref := range s.Disks {
			// A spare of a degraded array is put to work at once.
			if !slices.Contains(v.Spares, ref.ID) && !slices.Contains(v.Members, ref.ID) {
				return fmt.Errorf("mdadm: drive %s is no spare of array %s", ref.ID, v.Name)
			}
		}
	case raid.StepRemoveSpare:
		for _, ref := range s.Disks {
			if d := disk(ref.ID); d == nil || len(d.SpareFor) > 0 {
				return fmt.Errorf("mdadm: drive %s is still a spare", ref.ID)
			}
		}
	case raid.StepReady:
		for _, ref := range s.Disks {
			if d := disk(ref.ID); d == nil || d.State.Is != raid.DiskReady || d.Foreign {
				return fmt.Errorf("mdadm: drive %s is not ready", ref.ID)
			}
		}
	case raid.StepClearForeign:
		if len(after.Foreign) > 0 {
			return fmt.Errorf("mdadm: %d configurations of other RAIDs are still there", len(after.Foreign))
		}
	}
	return nil
}
