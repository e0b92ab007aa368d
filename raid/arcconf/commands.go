package arcconf

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/raid"
)

var errCannot = errors.New("the controller or its tool cannot do that")

// Commands are what Exec would run. A volume that is still to be made stands in them as `<name>`.
func (d *Driver) Commands(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	if s.Controller != inv.Controller.ID {
		return nil, fmt.Errorf("%s: the step is for controller %s, the inventory of %s", s.Kind, s.Controller,
			inv.Controller.ID)
	}
	if !digits(inv.Controller.ToolID) {
		return nil, fmt.Errorf("%s: controller %s has no number, by which the tool would find it", s.Kind, s.Controller)
	}
	w := writing{inv: inv, caps: &inv.Controller.Capabilities, step: s}
	commands, err := w.commands()
	if err != nil {
		return nil, fmt.Errorf("%s on controller %s: %w", s.Kind, s.Controller, err)
	}
	for i, c := range commands {
		// CREATE 1 LOGICALDRIVE ... noprompt; TASK START 1 DEVICE ... noprompt
		verb := strings.Fields(c[0])
		commands[i] = slices.Concat([]string{d.tool}, verb, []string{inv.Controller.ToolID}, c[1:], []string{"noprompt"})
	}
	return commands, nil
}

// writing is a step on its way to commands: verb and arguments, without the controller between them.
type writing struct {
	inv  *raid.Inventory
	caps *raid.Capabilities
	step raid.Step
}

// smart tells the family by what only Series 2 to 8 have.
func (w *writing) smart() bool { return !w.caps.GlobalSpares }

func (w *writing) commands() ([][]string, error) {
	switch w.step.Kind {
	case raid.StepMode:
		return w.mode()
	case raid.StepDeleteVolume:
		id, _, err := w.volume(w.step.Volume)
		return [][]string{{"DELETE", "LOGICALDRIVE", id}}, err
	case raid.StepBoot:
		if !w.caps.BootVolume {
			return nil, errCannot
		}
		id, _, err := w.volume(w.step.Volume)
		return [][]string{{"SETBOOT", "LOGICALDRIVE", id, "TYPE", "Primary"}}, err
	case raid.StepPolicies:
		id, _, err := w.volume(w.step.Volume)
		if err != nil {
			return nil, err
		}
		return w.policies(id, w.step.Policies)
	case raid.StepAddSpare:
		return w.spares()
	case raid.StepRemoveSpare:
		return w.drives("a spare", func(disk *raid.PhysicalDisk) []string {
			if disk.State.Is != raid.DiskSpare {
				return nil
			}
			return []string{"SETSTATE", "DEVICE", "", "RDY"}
		})
	case raid.StepReady:
		return w.drives("to be made ready", w.ready)
	case raid.StepJBOD:
		if !w.caps.JBOD {
			return nil, errCannot
		}
		return w.drives("ready", func(disk *raid.PhysicalDisk) []string {
			if disk.State.Is != raid.DiskReady {
				return nil
			}
			return []string{"CREATE", "JBOD", ""}
		})
	case raid.StepCreateVolume:
		return w.create()
	}
	return nil, errCannot
}

// mode numbers of SETCONTROLLERMODE: 0 RAID with raw drives exposed, 2 HBA, 3 RAID with raw drives hidden, 5 mixed.
func (w *writing) mode() ([][]string, error) {
	if !slices.Contains(w.caps.Modes, w.step.Mode) {
		return nil, errCannot
	}
	number := map[raid.Mode]string{raid.ModeRAID: "0", raid.ModeHBA: "2", raid.ModeMixed: "5"}[w.step.Mode]
	if w.step.Mode == raid.ModeRAID && slices.Contains(w.caps.Modes, raid.ModeMixed) {
		number = "3" // a SmartRAID with raw drives exposed is mixed
	}
	return [][]string{{"SETCONTROLLERMODE", number}}, nil
}

func (w *writing) policies(id string, p raid.Policies) ([][]string, error) {
	if p.IO != "" || p.DiskCache != "" || p.Read != "" && !slices.Contains(w.caps.Read, p.Read) ||
		p.Write != "" && !slices.Contains(w.caps.Write, p.Write) || p.Read == "" && p.Write == "" {
		return nil, fmt.Errorf("%w: of these policies", errCannot)
	}
	var commands [][]string
	if p.Read != "" {
		commands = append(commands, []string{"SETCACHE", "LOGICALDRIVE", id, readWords[p.Read]})
	}
	if p.Write != "" {
		word := writeWords[p.Write]
		if w.smart() {
			word = map[raid.WritePolicy]string{raid.WriteThrough: "COFF", raid.WriteBack: "CON"}[p.Write]
		}
		commands = append(commands, []string{"SETCACHE", "LOGICALDRIVE", id, word})
	}
	return commands, nil
}

var (
	readWords  = map[raid.ReadPolicy]string{raid.ReadNone: "ROFF", raid.ReadAhead: "RON"}
	writeWords = map[raid.WritePolicy]string{raid.WriteThrough: "WT", raid.WriteBack: "WBB", raid.WriteAlwaysBack: "WB"}
)

// spares are of arrays on a SmartRAID, of volumes or of all on the others.
func (w *writing) spares() ([][]string, error) {
	tail := []string{"HSP"}
	if len(w.step.SpareFor) == 0 && !w.caps.GlobalSpares {
		return nil, fmt.Errorf("%w: it has no global spares, name the volumes", errCannot)
	}
	for i := range w.step.SpareFor {
		id, array, err := w.volume(&w.step.SpareFor[i])
		if err != nil {
			return nil, err
		}
		word := "LOGICALDRIVE"
		if w.smart() {
			word, id = "ARRAY", array
		}
		if i == 0 {
			tail = append(tail, word)
		}
		if !slices.Contains(tail, id) {
			tail = append(tail, id)
		}
	}
	return w.drives("ready", func(disk *raid.PhysicalDisk) []string {
		if disk.State.Is != raid.DiskReady && disk.State.Is != raid.DiskSpare {
			return nil
		}
		return append([]string{"SETSTATE", "DEVICE", ""}, tail...)
	})
}

// ready makes drives ready: JBODs are deleted, raw drives initialised, failed ones trusted again.
func (w *writing) ready(disk *raid.PhysicalDisk) []string {
	switch raw := strings.ToLower(disk.State.Raw); {
	case disk.State.Is == raid.DiskFailed || disk.State.Is == raid.DiskOffline:
		return []string{"SETSTATE", "DEVICE", "", "RDY"}
	case disk.State.Is != raid.DiskJBOD || !w.caps.JBOD:
		return nil
	case strings.Contains(raw, "jbod"):
		return []string{"DELETE", "JBOD", ""}
	}
	return []string{"TASK START", "DEVICE", "", "INITIALIZE"}
}

// drives makes a command for each drive, in which an empty argument stands for its channel and device. No command means
// that the drive is not as it should be.
func (w *writing) drives(want string, command func(*raid.PhysicalDisk) []string) ([][]string, error) {
	disks, err := w.disks()
	if err != nil {
		return nil, err
	}
	var commands [][]string
	for _, disk := range disks {
		argv := command(disk)
		if argv == nil {
			return nil, fmt.Errorf("%w: drive %s is %s; want one that is %s", errCannot, disk.Location, disk.State, want)
		}
		channel, device, _ := strings.Cut(string(disk.ID), ",")
		at := slices.Index(argv, "")
		commands = append(commands, slices.Concat(argv[:at], []string{channel, device}, argv[at+1:]))
	}
	return commands, nil
}

func (w *writing) create() ([][]string, error) {
	n := w.step.Create
	if n == nil {
		return nil, errors.New("the step says nothing of the volume to make")
	}
	disks, err := w.disks()
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(w.caps.Levels, func(l raid.LevelCapability) bool { return l.Level == n.Level })
	if at < 0 {
		return nil, fmt.Errorf("%w: level %s", errCannot, n.Level)
	}
	if l := w.caps.Levels[at]; len(disks) < l.MinDisks || l.MaxDisks > 0 && len(disks) > l.MaxDisks ||
		l.Multiple > 1 && len(disks)%l.Multiple != 0 {
		return nil, fmt.Errorf("%w: level %s over %d drives", errCannot, n.Level, len(disks))
	}
	spans := map[raid.Level]int{raid.Level10: len(disks) / 2, raid.Level50: 2, raid.Level60: 2}[n.Level]
	if n.Spans != 0 && n.Spans != spans {
		return nil, fmt.Errorf("%w: %d spans of level %s over %d drives; it makes %d", errCannot, n.Spans, n.Level,
			len(disks), spans)
	}
	argv := []string{"CREATE", "LOGICALDRIVE"}
	if n.Name != "" {
		if len(n.Name) > w.caps.MaxName {
			return nil, fmt.Errorf("%w: the name %q is longer than %d characters", errCannot, n.Name, w.caps.MaxName)
		}
		argv = append(argv, "Name", n.Name)
	}
	if n.Strip != 0 {
		if !slices.Contains(w.caps.Strips, n.Strip) {
			return nil, fmt.Errorf("%w: strip %s", errCannot, n.Strip)
		}
		argv = append(argv, "Stripesize", strconv.FormatInt(int64(n.Strip>>10), 10))
	}
	if n.Initialize != "" {
		if !slices.Contains(w.caps.Initialize, n.Initialize) {
			return nil, fmt.Errorf("%w: initialize %s", errCannot, n.Initialize)
		}
		argv = append(argv, "Method", map[raid.Initialization]string{raid.InitializeNone: "SKIP",
			raid.InitializeFast: "QUICK", raid.InitializeFull: "CLEAR"}[n.Initialize])
	}
	var after [][]string
	if n.Policies != (raid.Policies{}) {
		// Checks the policies for both families; SmartRAID takes them only once the volume is there.
		if after, err = w.policies(placeholder(n.Name), n.Policies); err != nil {
			return nil, err
		}
		if !w.smart() {
			after = nil
			if n.Policies.Read != "" {
				argv = append(argv, "Rcache", readWords[n.Policies.Read])
			}
			if n.Policies.Write != "" {
				argv = append(argv, "Wcache", writeWords[n.Policies.Write])
			}
		}
	}
	switch mib := n.Bytes >> 20; {
	case n.Bytes == 0:
		argv = append(argv, "MAX")
	case mib == 0:
		return nil, fmt.Errorf("a volume of %d bytes is less than the tool's smallest unit, 1 MiB", n.Bytes)
	default:
		argv = append(argv, strconv.FormatInt(mib, 10))
	}
	argv = append(argv, string(n.Level))
	for _, disk := range disks {
		if disk.State.Is != raid.DiskReady && !(disk.State.Is == raid.DiskOnline && w.caps.PartialVolumes) {
			return nil, fmt.Errorf("drive %s is %s; want it ready", disk.Location, disk.State)
		}
		channel, device, _ := strings.Cut(string(disk.ID), ",")
		argv = append(argv, channel, device)
	}
	return append([][]string{argv}, after...), nil
}

// disks finds what the step saw: the same drives, wherever they are now.
func (w *writing) disks() ([]*raid.PhysicalDisk, error) {
	if len(w.step.Disks) == 0 {
		return nil, errors.New("the step names no drives")
	}
	var disks []*raid.PhysicalDisk
	for _, ref := range w.step.Disks {
		at := slices.IndexFunc(w.inv.Disks, func(p raid.PhysicalDisk) bool {
			if !ref.Known() {
				return p.ID == ref.ID && !p.Identity().Known()
			}
			return p.Identity() == ref.DiskIdentity
		})
		switch {
		case at < 0:
			return nil, fmt.Errorf("drive %s (serial number %q) is not here any more", ref.Location, ref.Serial)
		case slices.Contains(disks, &w.inv.Disks[at]):
			return nil, fmt.Errorf("drive %s is named twice", ref.Location)
		case !strings.Contains(string(w.inv.Disks[at].ID), ","):
			return nil, fmt.Errorf("drive %s has no channel and device", ref.Location)
		}
		disks = append(disks, &w.inv.Disks[at])
	}
	return disks, nil
}

func placeholder(name string) string { return "<" + name + ">" }

// volume returns number and array, or a placeholder for both if the volume is still to be made.
func (w *writing) volume(ref *raid.VolumeRef) (id, array string, err error) {
	v, err := volume(w.inv, ref)
	switch {
	case err == nil:
		return string(v.ID), v.Group, nil
	case ref != nil && ref.ID == "" && ref.WWN == "" && ref.Name != "":
		return placeholder(ref.Name), placeholder(ref.Name), nil
	}
	return "", "", err
}

// volume finds one by what proves it: its WWN, else its members, else a name that no other has. Its number proves
// nothing.
func volume(inv *raid.Inventory, ref *raid.VolumeRef) (*raid.VirtualDisk, error) {
	if ref == nil {
		return nil, errors.New("the step names no volume")
	}
	var found []*raid.VirtualDisk
	for i := range inv.Volumes {
		v := &inv.Volumes[i]
		same := ref.Name != "" && v.Name == ref.Name
		if ref.WWN != "" {
			same = v.WWN == ref.WWN
		} else if len(ref.Members) > 0 {
			same = sameMembers(inv, v, ref.Members) && (ref.ID == "" || v.ID == ref.ID)
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
