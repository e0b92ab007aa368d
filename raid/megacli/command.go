package megacli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/raid"
)

// command is one run of the tool.
type command struct {
	args []string
	// done reports from a later reading whether it was done, whatever the tool said.
	done func(after *reading) bool
	// prove: it is looked at in any case, since what follows would be refused without it.
	prove bool
}

// reading is an adapter as it was read.
type reading struct {
	*raid.Inventory
	known
}

// known is what a reading tells beside the neutral inventory.
type known struct {
	// number of the adapter.
	number int
	// jbodOff: no drive can be shown to the operating system before that is enabled.
	jbodOff bool
	// badBBU tells of each volume whether it may write back with a bad battery. A volume keeps that while it writes
	// through, where it means nothing.
	badBBU map[raid.VolumeID]bool
}

// placeholder stands in a dry run for the number of a volume that is not there yet.
const placeholder = "NEW"

// makeCommands says a step in MegaCli's grammar. What is in the step is looked up in before by who it is; with dry, a
// volume may be missing.
func makeCommands(adapter int, before *reading, s raid.Step, dry bool) ([]command, error) {
	inv := before.Inventory
	on := "-a" + strconv.Itoa(adapter)
	one := func(done func(*reading) bool, args ...string) []command {
		return []command{{args: append(args, on), done: done}}
	}
	switch s.Kind {
	case raid.StepDiscardCache:
		var commands []command
		for _, v := range inv.Controller.PreservedCache {
			if _, err := strconv.ParseUint(v, 10, 16); err != nil {
				return nil, fmt.Errorf("controller %s preserves the cache of %q, which is no number of a volume",
					inv.Controller.ID, v)
			}
			gone := func(after *reading) bool { return !slices.Contains(after.Controller.PreservedCache, v) }
			commands = append(commands, one(gone, "-DiscardPreservedCache", "-L"+v, "-force")...)
		}
		return commands, nil
	case raid.StepClearForeign:
		return one(noForeign, "-CfgForeign", "-Clear"), nil
	case raid.StepImportForeign:
		return one(noForeign, "-CfgForeign", "-Import"), nil
	case raid.StepDeleteVolume:
		v, err := findVolume(inv, s.Volume)
		if err != nil {
			return nil, err
		}
		gone := func(after *reading) bool {
			return !slices.ContainsFunc(after.Volumes, func(o raid.VirtualDisk) bool { return sameVolume(v, &o) })
		}
		return one(gone, "-CfgLdDel", "-L"+string(v.ID), "-Force"), nil
	case raid.StepBoot:
		v, err := volumeFlag(inv, s.Volume, dry)
		if err != nil {
			return nil, err
		}
		boots := is(s.Volume, func(v *raid.VirtualDisk) bool { return v.Boot != nil && *v.Boot })
		return one(boots, "-AdpBootDrive", "-Set", v), nil
	case raid.StepInitialize:
		v, err := volumeFlag(inv, s.Volume, dry)
		if err != nil {
			return nil, err
		}
		if s.Initialize != raid.InitializeFast && s.Initialize != raid.InitializeFull {
			return nil, fmt.Errorf("there is no initialization %q to start", s.Initialize)
		}
		return []command{initialize(adapter, strings.TrimPrefix(v, "-L"), s.Initialize, is(s.Volume, inProgress))}, nil
	case raid.StepPolicies:
		v, err := volumeFlag(inv, s.Volume, dry)
		if err != nil {
			return nil, err
		}
		words, err := policyWords(s.Policies)
		if err != nil {
			return nil, err
		}
		words = append(words, diskCacheWord(s.Policies.DiskCache)...)
		var commands []command
		for _, w := range words {
			// What is so already is not said: a refusal would be no failure.
			bad, told := before.badBBU[raid.VolumeID(strings.TrimPrefix(v, "-L"))]
			if told && (w == "CachedBadBBU" && bad || w == "NoCachedBadBBU" && !bad) {
				continue
			}
			set := is(s.Volume, func(v *raid.VirtualDisk) bool { return hasPolicy(v.Policies, w) })
			commands = append(commands, one(set, "-LDSetProp", w, v)...)
		}
		if len(commands) == 0 {
			return nil, errors.New("no policy is to be set")
		}
		return commands, nil
	case raid.StepRemoveSpare:
		return eachDisk(inv, s.Disks, func(d *raid.PhysicalDisk) []command {
			return one(isDrive(d, raid.DiskReady), "-PDHSP", "-Rmv", "-PhysDrv"+bracket(d.ID))
		})
	case raid.StepAddSpare:
		var arrays []string
		for i := range s.SpareFor {
			v, err := findVolume(inv, &s.SpareFor[i])
			if err != nil {
				if dry && errors.Is(err, errNoVolume) && s.SpareFor[i].ID == "" {
					arrays = append(arrays, placeholder)
					continue
				}
				return nil, err
			}
			if v.Group == "" {
				return nil, fmt.Errorf("nothing tells the drive group of volume %s", v.ID)
			}
			if !slices.Contains(arrays, v.Group) {
				arrays = append(arrays, v.Group)
			}
		}
		return eachDisk(inv, s.Disks, func(d *raid.PhysicalDisk) []command {
			args := []string{"-PDHSP", "-Set"}
			if len(arrays) > 0 {
				args = append(args, "-Dedicated", "-Array"+strings.Join(arrays, ","))
			}
			return one(isDrive(d, raid.DiskSpare), append(args, "-PhysDrv"+bracket(d.ID))...)
		})
	case raid.StepReady:
		return eachDisk(inv, s.Disks, func(d *raid.PhysicalDisk) []command {
			if d.State.Is == raid.DiskReady {
				return nil
			}
			return one(isDrive(d, raid.DiskReady), "-PDMakeGood", "-PhysDrv"+bracket(d.ID), "-Force")
		})
	case raid.StepJBOD:
		commands, err := eachDisk(inv, s.Disks, func(d *raid.PhysicalDisk) []command {
			if d.State.Is == raid.DiskJBOD {
				return nil
			}
			return one(isDrive(d, raid.DiskJBOD), "-PDMakeJBOD", "-PhysDrv"+bracket(d.ID))
		})
		if err == nil && len(commands) > 0 && before.jbodOff {
			enabled := func(after *reading) bool { return !after.jbodOff }
			commands = append([]command{{[]string{"-AdpSetProp", "-EnableJBOD", "-1", on}, enabled, true}}, commands...)
		}
		return commands, err
	case raid.StepCreateVolume:
		args, err := createCommand(inv, s)
		if err != nil {
			return nil, err
		}
		made := func(after *reading) bool { return newVolume(inv, after.Inventory, s) != nil }
		return one(made, args...), nil
	}
	return nil, fmt.Errorf("%s: MegaCli cannot", s.Kind)
}

func noForeign(after *reading) bool { return len(after.Foreign) == 0 }

// is asks something of a volume.
func is(ref *raid.VolumeRef, what func(*raid.VirtualDisk) bool) func(*reading) bool {
	return func(after *reading) bool {
		v, err := findVolume(after.Inventory, ref)
		return err == nil && what(v)
	}
}

// inProgress: one that the firmware began of itself, in the background, is none that was asked for.
func inProgress(v *raid.VirtualDisk) bool {
	return v.Progress != nil && strings.HasSuffix(v.Progress.What, "nitialization") &&
		!strings.HasPrefix(v.Progress.What, "Back")
}

// isDrive asks whether a drive is in a state.
func isDrive(d *raid.PhysicalDisk, state raid.DiskStateKind) func(*reading) bool {
	ref := raid.DiskRef{ID: d.ID, Location: d.Location, DiskIdentity: d.Identity()}
	return func(after *reading) bool {
		d, err := findDisk(after.Inventory, ref)
		return err == nil && d.State.Is == state
	}
}

// afterwards is what is asked of a volume once it has a number: MegaCli cannot name one while it makes it.
func afterwards(adapter int, number string, n *raid.NewVolume) []command {
	on := "-a" + strconv.Itoa(adapter)
	is := func(what func(*raid.VirtualDisk) bool) func(*reading) bool {
		return func(after *reading) bool {
			i := slices.IndexFunc(after.Volumes, func(v raid.VirtualDisk) bool { return string(v.ID) == number })
			return i >= 0 && what(&after.Volumes[i])
		}
	}
	var commands []command
	if n.Name != "" {
		named := is(func(v *raid.VirtualDisk) bool { return v.Name == n.Name })
		commands = append(commands, command{args: []string{"-LDSetProp", "-Name", n.Name, "-L" + number, on}, done: named})
	}
	for _, w := range diskCacheWord(n.Policies.DiskCache) {
		set := is(func(v *raid.VirtualDisk) bool { return hasPolicy(v.Policies, w) })
		commands = append(commands, command{args: []string{"-LDSetProp", w, "-L" + number, on}, done: set})
	}
	if n.Initialize == raid.InitializeFast || n.Initialize == raid.InitializeFull {
		commands = append(commands, initialize(adapter, number, n.Initialize, is(inProgress)))
	}
	return commands
}

func initialize(adapter int, number string, how raid.Initialization, done func(*reading) bool) command {
	args := []string{"-LDInit", "-Start"}
	if how == raid.InitializeFull {
		args = append(args, "-full")
	}
	return command{args: append(args, "-L"+number, "-a"+strconv.Itoa(adapter)), done: done}
}

// bracket is `[32:4]`.
func bracket(id raid.DiskID) string { return "[" + string(id) + "]" }

func createCommand(inv *raid.Inventory, s raid.Step) ([]string, error) {
	n := s.Create
	if n == nil {
		return nil, errors.New("the step has no volume to make")
	}
	if err := checkName(n.Name); err != nil {
		return nil, err
	}
	var drives []string
	if _, err := eachDisk(inv, s.Disks, func(d *raid.PhysicalDisk) []command {
		drives = append(drives, string(d.ID))
		return nil
	}); err != nil {
		return nil, err
	}
	if len(drives) == 0 {
		return nil, fmt.Errorf("volume %q has no drives", n.Name)
	}
	spans := n.Spans
	var args []string
	switch n.Level {
	case raid.Level0, raid.Level1, raid.Level5, raid.Level6:
		args = []string{"-CfgLdAdd", "-r" + string(n.Level) + "[" + strings.Join(drives, ",") + "]"}
	case raid.Level10, raid.Level50, raid.Level60:
		if spans == 0 {
			spans = 2
			if n.Level == raid.Level10 {
				spans = len(drives) / 2
			}
		}
		if spans < 2 || spans > 8 || len(drives)%spans != 0 {
			return nil, fmt.Errorf("volume %q: %d drives cannot be parted into %d spans; 2 to 8 are possible",
				n.Name, len(drives), spans)
		}
		args = []string{"-CfgSpanAdd", "-r" + string(n.Level)}
		each := len(drives) / spans
		for i := range spans {
			args = append(args, fmt.Sprintf("-Array%d[%s]", i, strings.Join(drives[i*each:(i+1)*each], ",")))
		}
	default:
		return nil, fmt.Errorf("volume %q: there is no level %q", n.Name, n.Level)
	}
	words, err := policyWords(n.Policies)
	if err != nil {
		return nil, fmt.Errorf("volume %q: %w", n.Name, err)
	}
	args = append(args, words...)
	switch {
	case n.Bytes < 0 || n.Bytes > 0 && n.Bytes < 1<<20:
		return nil, fmt.Errorf("volume %q: %d bytes are too few for a volume", n.Name, n.Bytes)
	case n.Bytes > 0:
		args = append(args, fmt.Sprintf("-sz%d", n.Bytes>>20))
	}
	if n.Strip != 0 {
		if n.Strip < 1<<10 || n.Strip%(1<<10) != 0 {
			return nil, fmt.Errorf("volume %q: a strip of %s is no number of KiB", n.Name, n.Strip)
		}
		args = append(args, fmt.Sprintf("-strpsz%d", n.Strip>>10))
	}
	return args, nil
}

// policyWords are in the order of the tool's help.
func policyWords(p raid.Policies) ([]string, error) {
	var words []string
	switch p.Write {
	case "":
	case raid.WriteThrough:
		words = append(words, "WT")
	case raid.WriteBack, raid.WriteAlwaysBack:
		words = append(words, "WB")
	default:
		return nil, fmt.Errorf("MegaCli has no policy %q", p.Write)
	}
	switch p.Read {
	case "":
	case raid.ReadNone:
		words = append(words, "NORA")
	case raid.ReadAhead:
		words = append(words, "RA")
	case raid.ReadAdaptive:
		words = append(words, "ADRA")
	default:
		return nil, fmt.Errorf("MegaCli has no policy %q", p.Read)
	}
	switch p.IO {
	case "":
	case raid.IODirect:
		words = append(words, "Direct")
	case raid.IOCached:
		words = append(words, "Cached")
	default:
		return nil, fmt.Errorf("MegaCli has no policy %q", p.IO)
	}
	switch p.Write {
	case raid.WriteBack:
		words = append(words, "NoCachedBadBBU")
	case raid.WriteAlwaysBack:
		words = append(words, "CachedBadBBU")
	}
	return words, nil
}

// hasPolicy reports whether a volume has the policy that a word asks for.
func hasPolicy(p raid.Policies, word string) bool {
	switch word {
	case "WT":
		return p.Write == raid.WriteThrough
	case "WB":
		return p.Write == raid.WriteBack || p.Write == raid.WriteAlwaysBack
	case "NoCachedBadBBU":
		return p.Write == raid.WriteBack
	case "CachedBadBBU":
		return p.Write == raid.WriteAlwaysBack
	case "NORA":
		return p.Read == raid.ReadNone
	case "RA":
		return p.Read == raid.ReadAhead
	case "ADRA":
		return p.Read == raid.ReadAdaptive
	case "Direct":
		return p.IO == raid.IODirect
	case "Cached":
		return p.IO == raid.IOCached
	}
	return slices.Equal(diskCacheWord(p.DiskCache), []string{word})
}

func diskCacheWord(c raid.DiskCache) []string {
	switch c {
	case raid.DiskCacheEnable:
		return []string{"EnDskCache"}
	case raid.DiskCacheDisable:
		return []string{"DisDskCache"}
	}
	return nil
}

// checkName refuses what the tool would take for something else.
func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("volume %q: a name has at most %d characters", name, maxName)
	}
	for i, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' &&
			(r != '-' && r != '.' || i == 0) {
			return fmt.Errorf("volume %q: a name has letters, digits, and `_`, `-` or `.`", name)
		}
	}
	return nil
}

// findDisk looks a drive of a step up: what is in its place must be the drive that was meant.
func findDisk(inv *raid.Inventory, ref raid.DiskRef) (*raid.PhysicalDisk, error) {
	for i := range inv.Disks {
		d := &inv.Disks[i]
		if d.ID != ref.ID {
			continue
		}
		if ref.Known() && !sameDisk(ref.DiskIdentity, d.Identity()) {
			return nil, fmt.Errorf("drive %s is another one now: serial number %q and WWN %q, and not %q and %q", d.ID, d.Serial,
				d.WWN, ref.Serial, ref.WWN)
		}
		return d, nil
	}
	return nil, fmt.Errorf("drive %s (%s) is not there any more", ref.ID, ref.Location)
}

// sameDisk: nothing that both tell differs, and there is something that both tell.
func sameDisk(a, b raid.DiskIdentity) bool {
	if a.Serial != "" && b.Serial != "" && a.Serial != b.Serial || a.WWN != "" && b.WWN != "" && a.WWN != b.WWN {
		return false
	}
	return a.Serial != "" && a.Serial == b.Serial || a.WWN != "" && a.WWN == b.WWN
}

func eachDisk(inv *raid.Inventory, refs []raid.DiskRef, do func(*raid.PhysicalDisk) []command) ([]command, error) {
	var commands []command
	for _, ref := range refs {
		d, err := findDisk(inv, ref)
		if err != nil {
			return nil, err
		}
		commands = append(commands, do(d)...)
	}
	return commands, nil
}

var errNoVolume = errors.New("is not there")

// targetOf is the target id that a volume is named by.
func targetOf(id raid.VolumeID) (int, bool) {
	n, err := strconv.Atoi(string(id))
	return n, err == nil && n >= 0
}

// findVolume looks a volume of a step up: by target id and the drives that it was seen on, or by name if the step knows
// no more.
func findVolume(inv *raid.Inventory, ref *raid.VolumeRef) (*raid.VirtualDisk, error) {
	if ref == nil {
		return nil, errors.New("the step names no volume")
	}
	var fits []*raid.VirtualDisk
	for i := range inv.Volumes {
		v := &inv.Volumes[i]
		if ref.ID != "" {
			want, ok := targetOf(ref.ID)
			if is, _ := targetOf(v.ID); !ok || is != want || !onDisks(inv, v, ref.Members) {
				continue
			}
		} else if ref.Name == "" || ref.Name != v.Name {
			continue
		}
		fits = append(fits, v)
	}
	name := strconv.Quote(ref.Name)
	if ref.ID != "" {
		name = string(ref.ID)
	}
	switch len(fits) {
	case 1:
		return fits[0], nil
	case 0:
		return nil, fmt.Errorf("volume %s, on the drives that were seen, %w", name, errNoVolume)
	}
	return nil, fmt.Errorf("there are %d volumes %s", len(fits), name)
}

func onDisks(inv *raid.Inventory, v *raid.VirtualDisk, members []raid.DiskIdentity) bool {
	if len(members) == 0 {
		return true
	}
	if len(members) != len(v.Members) {
		return false
	}
	for _, id := range v.Members {
		i := slices.IndexFunc(inv.Disks, func(d raid.PhysicalDisk) bool { return d.ID == id })
		is := func(m raid.DiskIdentity) bool { return sameDisk(m, inv.Disks[i].Identity()) }
		if i < 0 || !slices.ContainsFunc(members, is) {
			return false
		}
	}
	return true
}

// volumeFlag is `-L2`.
func volumeFlag(inv *raid.Inventory, ref *raid.VolumeRef, dry bool) (string, error) {
	v, err := findVolume(inv, ref)
	if err != nil {
		if dry && errors.Is(err, errNoVolume) && ref.ID == "" {
			return "-L" + placeholder, nil
		}
		return "", err
	}
	target, _ := targetOf(v.ID)
	return "-L" + strconv.Itoa(target), nil
}
