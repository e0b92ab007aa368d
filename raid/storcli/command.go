package storcli

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
	// mayFail: the firmware may refuse it, and what follows can still do.
	mayFail bool
	// part of the step that it is, where it is not all of it: one drive, or one policy.
	part *raid.Step
}

// placeholder stands in a dry run for the number of a volume that is not there yet: the controller chooses it.
const placeholder = "NEW"

// Commands are what Exec would run. The number of a volume that an earlier step makes is not known before; NEW stands
// for it.
func (d *Driver) Commands(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	number, err := strconv.Atoi(inv.Controller.ToolID)
	if err != nil || number < 0 {
		return nil, fmt.Errorf("controller %s: the inventory does not tell what %s calls it", inv.Controller.ID, d.Name())
	}
	at, ok := d.known[inv.Controller.ID]
	if !ok || at.number != number {
		at = address{number: number, dialect: (&found{version: "007"}).dialect(d.tool)}
	}
	commands, err := makeCommands(at, inv, s, true)
	if err != nil {
		return nil, err
	}
	if c := s.Create; s.Kind == raid.StepCreateVolume && starts(c.Initialize) {
		commands = append(commands, initialize(at, placeholder, c.Initialize))
	}
	quiet := d.quiet
	if quiet == nil {
		quiet = quiets[0]
	}
	var lines [][]string
	for _, c := range commands {
		lines = append(lines, append(append([]string{d.tool}, c.args...), quiet...))
	}
	return lines, nil
}

// makeCommands says a step in the tool's grammar. What is in the step is looked up in inv by who it is; with dry, a
// volume may be missing.
func makeCommands(at address, inv *raid.Inventory, s raid.Step, dry bool) ([]command, error) {
	c := "/c" + strconv.Itoa(at.number)
	switch s.Kind {
	case raid.StepMode:
		if at.dialect != generation7 {
			return nil, unable(at, s.Kind)
		}
		word, ok := map[raid.Mode]string{raid.ModeRAID: "RAID", raid.ModeHBA: "HBA", raid.ModeJBOD: "JBOD"}[s.Mode]
		if !ok {
			return nil, fmt.Errorf("controller %s has no mode %q", inv.Controller.ID, s.Mode)
		}
		return one(c, "set", "personality="+word), nil
	case raid.StepDiscardCache:
		var commands []command
		for _, v := range inv.Controller.PreservedCache {
			if _, err := strconv.ParseUint(v, 10, 16); err != nil && v != unknownVolume {
				return nil, fmt.Errorf("controller %s preserves the cache of %q, which is no number of a volume",
					inv.Controller.ID, v)
			}
			commands = append(commands, one(c+"/v"+v, "delete", "preservedcache", "force")...)
		}
		return commands, nil
	case raid.StepClearForeign:
		return one(c+"/fall", "delete"), nil
	case raid.StepImportForeign:
		return one(c+"/fall", "import"), nil
	case raid.StepDeleteVolume:
		v, err := volumePath(inv, s.Volume, false)
		if err != nil {
			return nil, err
		}
		return one(c+v, "delete", "force"), nil
	case raid.StepBoot:
		if at.dialect == generation8 {
			return nil, unable(at, s.Kind)
		}
		v, err := volumePath(inv, s.Volume, dry)
		if err != nil {
			return nil, err
		}
		return one(c+v, "set", "bootdrive=on"), nil
	case raid.StepInitialize:
		v, err := volumePath(inv, s.Volume, dry)
		if err != nil {
			return nil, err
		}
		if !starts(s.Initialize) {
			return nil, fmt.Errorf("volume %s: there is no initialization %q to start", v, s.Initialize)
		}
		return []command{initialize(at, strings.TrimPrefix(v, "/v"), s.Initialize)}, nil
	case raid.StepPolicies:
		return policyCommands(at, c, inv, s, dry)
	case raid.StepRemoveSpare:
		return eachDisk(inv, s, func(d *raid.PhysicalDisk) []command {
			return one(c+diskPath(d.ID), "delete", "hotsparedrive")
		})
	case raid.StepAddSpare:
		groups, err := spareGroups(inv, s.SpareFor, dry)
		if err != nil {
			return nil, err
		}
		return eachDisk(inv, s, func(d *raid.PhysicalDisk) []command {
			return one(append([]string{c + diskPath(d.ID), "add", "hotsparedrive"}, groups...)...)
		})
	case raid.StepReady:
		return eachDisk(inv, s, func(d *raid.PhysicalDisk) []command { return readyDisk(at, c, d) })
	case raid.StepJBOD:
		commands, err := eachDisk(inv, s, func(d *raid.PhysicalDisk) []command {
			if d.State.Is == raid.DiskJBOD {
				return nil
			}
			return one(c+diskPath(d.ID), "set", "jbod")
		})
		if err != nil || at.dialect == generation8 || len(commands) == 0 {
			return commands, err
		}
		shown := func(d raid.PhysicalDisk) bool { return d.State.Is == raid.DiskJBOD }
		if !at.jbod && !slices.ContainsFunc(inv.Disks, shown) {
			// The controller must allow it first. Those that do not say whether they do always do, and refuse the question.
			commands = append([]command{{args: []string{c, "set", "jbod=on"}, mayFail: true}}, commands...)
		}
		return commands, nil
	case raid.StepCreateVolume:
		args, err := createCommand(at, inv, s)
		if err != nil {
			return nil, err
		}
		return one(append([]string{c}, args...)...), nil
	}
	return nil, unable(at, s.Kind)
}

func one(args ...string) []command { return []command{{args: args}} }

func unable(at address, kind raid.StepKind) error {
	return fmt.Errorf("%s: generation %d of the tool cannot, or nobody here knows how", kind, at.dialect)
}

func starts(i raid.Initialization) bool { return i == raid.InitializeFast || i == raid.InitializeFull }

func initialize(at address, number string, how raid.Initialization) command {
	args := []string{fmt.Sprintf("/c%d/v%s", at.number, number), "start", "init"}
	if how == raid.InitializeFull {
		args = append(args, "full")
	}
	return command{args: append(args, "force")}
}

func readyDisk(at address, c string, d *raid.PhysicalDisk) []command {
	switch {
	case d.State.Is == raid.DiskReady:
		return nil
	case at.dialect == generation8 && d.State.Is == raid.DiskJBOD:
		return one(c+diskPath(d.ID), "set", "uconf")
	case d.State.Is == raid.DiskBad:
		return one(c+diskPath(d.ID), "set", "good")
	}
	// What the drive has on it makes the tool ask otherwise.
	return one(c+diskPath(d.ID), "set", "good", "force")
}

// diskPath is `/e252/s4`, or `/s4` without an enclosure.
func diskPath(id raid.DiskID) string {
	enclosure, slot, _ := strings.Cut(string(id), ":")
	if enclosure == "" {
		return "/s" + slot
	}
	return "/e" + enclosure + "/s" + slot
}

// findDisk looks a drive of a step up: what is in its place must be the drive that was meant.
func findDisk(inv *raid.Inventory, ref raid.DiskRef) (*raid.PhysicalDisk, error) {
	for i := range inv.Disks {
		d := &inv.Disks[i]
		if d.ID != ref.ID {
			continue
		}
		if !place.MatchString(string(d.ID)) {
			return nil, fmt.Errorf("drive %q has no name that the tool would know", d.ID)
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

func eachDisk(inv *raid.Inventory, s raid.Step, do func(*raid.PhysicalDisk) []command) ([]command, error) {
	var commands []command
	for _, ref := range s.Disks {
		d, err := findDisk(inv, ref)
		if err != nil {
			return nil, err
		}
		part := s
		part.Disks = []raid.DiskRef{ref}
		for _, c := range do(d) {
			c.part = &part
			commands = append(commands, c)
		}
	}
	return commands, nil
}

var errNoVolume = errors.New("is not there")

// findVolume looks a volume of a step up: by its WWN, which no other ever has; else by name; else by its number, if it
// is on the drives that were seen.
func findVolume(inv *raid.Inventory, ref *raid.VolumeRef) (*raid.VirtualDisk, error) {
	if ref == nil {
		return nil, errors.New("the step names no volume")
	}
	var fits []*raid.VirtualDisk
	for i := range inv.Volumes {
		v := &inv.Volumes[i]
		switch {
		case ref.WWN != "" && v.WWN != "":
			if ref.WWN != v.WWN {
				continue
			}
		case ref.ID != "":
			if ref.ID != v.ID || !sameMembers(inv, v, ref.Members) {
				continue
			}
		case ref.Name == "" || ref.Name != v.Name:
			continue
		}
		fits = append(fits, v)
	}
	switch len(fits) {
	case 1:
		if _, ok := volumeNumber(fits[0].ID); !ok {
			return nil, fmt.Errorf("volume %q has no number that the tool would know", fits[0].ID)
		}
		return fits[0], nil
	case 0:
		return nil, fmt.Errorf("volume %s %w", describe(ref), errNoVolume)
	}
	return nil, fmt.Errorf("there are %d volumes %s", len(fits), describe(ref))
}

func describe(ref *raid.VolumeRef) string {
	for _, s := range []string{ref.Name, string(ref.ID), ref.WWN} {
		if s != "" {
			return strconv.Quote(s)
		}
	}
	return "without a name"
}

func sameMembers(inv *raid.Inventory, v *raid.VirtualDisk, members []raid.DiskIdentity) bool {
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

// volumePath is `/v239`.
func volumePath(inv *raid.Inventory, ref *raid.VolumeRef, dry bool) (string, error) {
	v, err := findVolume(inv, ref)
	if err != nil {
		if dry && errors.Is(err, errNoVolume) && ref.ID == "" && ref.WWN == "" {
			return "/v" + placeholder, nil
		}
		return "", err
	}
	number, _ := volumeNumber(v.ID)
	return "/v" + strconv.Itoa(number), nil
}

// spareGroups is `DGs=0,1`: dedicated spares belong to drive groups.
func spareGroups(inv *raid.Inventory, refs []raid.VolumeRef, dry bool) ([]string, error) {
	var groups []string
	for i := range refs {
		v, err := findVolume(inv, &refs[i])
		if err != nil {
			if dry && errors.Is(err, errNoVolume) && refs[i].ID == "" && refs[i].WWN == "" {
				groups = append(groups, placeholder)
				continue
			}
			return nil, err
		}
		if _, err := strconv.ParseUint(v.Group, 10, 16); err != nil {
			return nil, fmt.Errorf("nothing tells the drive group of volume %s", v.ID)
		}
		if !slices.Contains(groups, v.Group) {
			groups = append(groups, v.Group)
		}
	}
	if len(groups) == 0 {
		return nil, nil
	}
	return []string{"DGs=" + strings.Join(groups, ",")}, nil
}

var (
	readWords  = map[raid.ReadPolicy]string{raid.ReadNone: "nora", raid.ReadAhead: "ra"}
	writeWords = map[raid.WritePolicy]string{raid.WriteThrough: "wt", raid.WriteBack: "wb", raid.WriteAlwaysBack: "awb"}
	ioWords    = map[raid.IOPolicy]string{raid.IODirect: "direct", raid.IOCached: "cached"}
	cacheWords = map[raid.DiskCache]string{raid.DiskCacheEnable: "on", raid.DiskCacheDisable: "off"}
)

// policyWord is the tool's word for a policy; empty where nothing is asked for.
func policyWord[T ~string](words map[T]string, want T, at address) (string, error) {
	word, ok := words[want]
	if want != "" && !ok {
		return "", fmt.Errorf("generation %d of the tool has no policy %q", at.dialect, want)
	}
	return word, nil
}

type policyWordsSet struct{ read, write, io, cache string }

func policyWords(at address, p raid.Policies) (w policyWordsSet, err error) {
	var errs [4]error
	w.read, errs[0] = policyWord(readWords, p.Read, at)
	w.write, errs[1] = policyWord(writeWords, p.Write, at)
	if at.dialect == generation8 {
		w.io, errs[2] = policyWord(map[raid.IOPolicy]string{}, p.IO, at)
	} else {
		w.io, errs[2] = policyWord(ioWords, p.IO, at)
	}
	w.cache, errs[3] = policyWord(cacheWords, p.DiskCache, at)
	return w, errors.Join(errs[:]...)
}

// policyCommands sets one at a time: the tools refuse two in one line.
func policyCommands(at address, c string, inv *raid.Inventory, s raid.Step, dry bool) ([]command, error) {
	v, err := volumePath(inv, s.Volume, dry)
	if err != nil {
		return nil, err
	}
	w, err := policyWords(at, s.Policies)
	if err != nil {
		return nil, err
	}
	var commands []command
	for _, p := range []struct {
		name, word string
		only       raid.Policies
	}{
		{"wrcache", w.write, raid.Policies{Write: s.Policies.Write}},
		{"rdcache", w.read, raid.Policies{Read: s.Policies.Read}},
		{"iopolicy", w.io, raid.Policies{IO: s.Policies.IO}},
		{"pdcache", w.cache, raid.Policies{DiskCache: s.Policies.DiskCache}},
	} {
		if p.word != "" {
			part := s
			part.Policies = p.only
			commands = append(commands, command{args: []string{c + v, "set", p.name + "=" + p.word}, part: &part})
		}
	}
	if len(commands) == 0 {
		return nil, fmt.Errorf("volume %s: no policy is to be set", v)
	}
	return commands, nil
}

// createCommand is `add vd …`. Older tools want the options in the order of their help, which is this one.
func createCommand(at address, inv *raid.Inventory, s raid.Step) ([]string, error) {
	n := s.Create
	if n == nil {
		return nil, errors.New("the step has no volume to make")
	}
	if _, ok := levels["RAID"+string(n.Level)]; !ok {
		return nil, fmt.Errorf("volume %q: there is no level %q", n.Name, n.Level)
	}
	args := []string{"add", "vd"}
	if at.dialect == generation1 {
		args = append(args, "type=raid"+string(n.Level))
	} else {
		args = append(args, "r"+string(n.Level))
	}
	switch {
	case n.Bytes < 0 || n.Bytes > 0 && n.Bytes < 1<<20:
		return nil, fmt.Errorf("volume %q: %d bytes are too few for a volume", n.Name, n.Bytes)
	case n.Bytes > 0 && at.dialect == generation8:
		return nil, fmt.Errorf("volume %q: nobody here knows how generation 8 of the tool wants a size", n.Name)
	case n.Bytes > 0:
		// MB of these tools are MiB. What is over is left.
		args = append(args, fmt.Sprintf("size=%dMB", n.Bytes>>20))
	case at.dialect == generation1:
		args = append(args, "size=all")
	}
	if n.Name != "" {
		if err := checkName(n.Name); err != nil {
			return nil, err
		}
		args = append(args, "name="+n.Name)
	}
	var drives []string
	if _, err := eachDisk(inv, s, func(d *raid.PhysicalDisk) []command {
		drives = append(drives, strings.TrimPrefix(string(d.ID), ":"))
		return nil
	}); err != nil {
		return nil, err
	}
	if len(drives) == 0 {
		return nil, fmt.Errorf("volume %q has no drives", n.Name)
	}
	args = append(args, "drives="+strings.Join(drives, ","))
	if spans, err := spansOf(n, len(drives)); err != nil {
		return nil, err
	} else if spans > 0 {
		args = append(args, fmt.Sprintf("PDperArray=%d", len(drives)/spans))
	}
	w, err := policyWords(at, n.Policies)
	if err != nil {
		return nil, fmt.Errorf("volume %q: %w", n.Name, err)
	}
	if w.cache != "" {
		args = append(args, "pdcache="+w.cache)
	}
	for _, word := range []string{w.write, w.read, w.io} {
		if word != "" {
			args = append(args, word)
		}
	}
	if n.Strip != 0 {
		if n.Strip < 1<<10 || n.Strip%(1<<10) != 0 {
			return nil, fmt.Errorf("volume %q: a strip of %s is no number of KiB", n.Name, n.Strip)
		}
		args = append(args, fmt.Sprintf("Strip=%d", n.Strip>>10))
	}
	return args, nil
}

// maxSpans is what all firmware of the family allows.
const maxSpans = 8

// spansOf is 0 for levels without spans.
func spansOf(n *raid.NewVolume, drives int) (int, error) {
	spans := n.Spans
	switch n.Level {
	case raid.Level10:
		if spans == 0 {
			spans = drives / 2
		}
	case raid.Level50, raid.Level60:
		if spans == 0 {
			spans = 2
		}
	default:
		return 0, nil
	}
	if spans < 1 || drives%spans != 0 {
		return 0, fmt.Errorf("volume %q: %d drives cannot be parted into %d spans", n.Name, drives, spans)
	}
	if spans > maxSpans {
		return 0, fmt.Errorf("volume %q: %d spans, and the controller knows at most %d; ask for fewer, larger ones",
			n.Name, spans, maxSpans)
	}
	return spans, nil
}

// checkName refuses what the tool would read as something else: a comma begins the next volume's name.
func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("volume %q: a name has at most %d characters", name, maxName)
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.' {
			return fmt.Errorf("volume %q: a name has letters, digits, and `_`, `-` or `.`", name)
		}
	}
	return nil
}
