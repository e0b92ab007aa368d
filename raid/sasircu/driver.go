package sasircu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/project-loda/loda/raid"
)

// Name of the driver.
const Name = "sasircu"

// Driver speaks to Fusion-MPT controllers of one generation.
type Driver struct {
	// Patience is how long a command that changes something may take before the state is read without its answer; 0: ten
	// minutes.
	Patience time.Duration

	run  raid.Runner
	tool string
}

var _ raid.Driver = (*Driver)(nil)

// New makes a driver that runs tool: sas2ircu or sas3ircu. Each sees only the controllers of its own generation.
func New(run raid.Runner, tool string) *Driver { return &Driver{run: run, tool: tool} }

// Name is sasircu.
func (d *Driver) Name() string { return Name }

// Probe lists the controllers that the tool sees.
func (d *Driver) Probe(ctx context.Context) ([]raid.Controller, error) {
	list, err := d.list(ctx)
	if err != nil {
		return nil, err
	}
	var all []raid.Controller
	for _, l := range list {
		inv, err := d.display(ctx, l)
		if err != nil {
			return nil, err
		}
		all = append(all, inv.Controller)
	}
	return all, nil
}

func (d *Driver) list(ctx context.Context) ([]listed, error) {
	out, err := d.read(ctx, "LIST")
	if err != nil {
		return nil, err
	}
	list := parseList(out.Stdout)
	// Without a controller it ends with an error that says so (MPTLib2 Error 1).
	if text := string(out.Stdout) + string(out.Stderr); len(list) == 0 && out.ExitCode != 0 &&
		!strings.Contains(text, "MPTLib2 Error 1") && !strings.Contains(text, "Cannot find") {
		return nil, fmt.Errorf("sasircu: %s LIST: exit status %d: %s", d.tool, out.ExitCode, words(out))
	}
	return list, nil
}

// Inventory reads one controller anew.
func (d *Driver) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	l, err := d.find(ctx, id)
	if err != nil {
		return nil, err
	}
	return d.display(ctx, l)
}

// find looks a controller's number up: it counts what is there at the moment.
func (d *Driver) find(ctx context.Context, id raid.ControllerID) (listed, error) {
	list, err := d.list(ctx)
	if err != nil {
		return listed{}, err
	}
	for _, l := range list {
		if l.address == id {
			return l, nil
		}
	}
	return listed{}, fmt.Errorf("sasircu: %s sees no controller at %s", d.tool, id)
}

func (d *Driver) display(ctx context.Context, l listed) (*raid.Inventory, error) {
	out, err := d.read(ctx, strconv.Itoa(l.index), "DISPLAY")
	if err != nil {
		return nil, err
	}
	p := parse(out.Stdout)
	if !p.completed || p.controller == nil {
		return nil, fmt.Errorf("sasircu: %s %d DISPLAY did not get to its end: exit status %d: %s", d.tool, l.index, out.ExitCode,
			words(out))
	}
	inv := p.inventory()
	inv.Controller.ID, inv.Controller.ToolID = l.address, strconv.Itoa(l.index)
	// Progress is only told by STATUS, and only for one operation at a time.
	if out, err := d.read(ctx, strconv.Itoa(l.index), "STATUS"); err == nil {
		progress(inv, out.Stdout)
	}
	return inv, nil
}

// progress reads STATUS: `Current operation : Synchronize`, `Percentage complete : 12.34%` under a `Volume ID`.
func progress(inv *raid.Inventory, output []byte) {
	var id, what string
	for line := range strings.Lines(string(output)) {
		key, value, _ := strings.Cut(line[:min(len(line), 4096)], ":")
		switch key, value = strings.TrimSpace(key), strings.TrimSpace(value); key {
		case "Volume ID":
			id, what = value, ""
		case "Current operation":
			what = value
		case "Percentage complete":
			n, err := strconv.ParseFloat(strings.TrimSuffix(value, "%"), 64)
			if err != nil || n < 0 || n > 100 || what == "" || strings.EqualFold(what, "None") {
				continue
			}
			for i := range inv.Volumes {
				if v := &inv.Volumes[i]; string(v.ID) == id {
					v.Progress = &raid.Progress{What: what, Fraction: n / 100}
				}
			}
		}
	}
}

const (
	readTime  = 2 * time.Minute
	writeTime = 10 * time.Minute
)

func (d *Driver) read(ctx context.Context, args ...string) (*raid.Output, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	out, err := d.run.Run(ctx, append([]string{d.tool}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("sasircu: run %s %s: %w", d.tool, strings.Join(args, " "), err)
	}
	return out, nil
}

func words(out *raid.Output) string {
	s := strings.ToValidUTF8(strings.Join(strings.Fields(string(out.Stderr)+" "+string(out.Stdout)), " "), "?")
	return s[:min(len(s), 500)]
}

// Commands are what Exec runs. The tool counts controllers anew each time: the number is the one of the last inventory.
func (d *Driver) Commands(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	if s.Controller != inv.Controller.ID {
		return nil, fmt.Errorf("sasircu: the step is for %s, and the inventory of %s", s.Controller, inv.Controller.ID)
	}
	for _, ref := range s.Disks {
		if !place.MatchString(string(ref.ID)) || !slices.ContainsFunc(inv.Disks, func(p raid.PhysicalDisk) bool {
			return p.ID == ref.ID
		}) {
			return nil, fmt.Errorf("sasircu: drive %s is not there", ref.ID)
		}
	}
	switch s.Kind {
	case raid.StepCreateVolume:
		return d.create(inv, s)
	case raid.StepDeleteVolume, raid.StepBoot:
		v, err := seen(inv, s.Volume, s.Disks)
		switch {
		case err != nil:
			return nil, err
		case v == nil && s.Kind == raid.StepDeleteVolume:
			return nil, nil // it is gone already
		case v == nil:
			return nil, errors.New("sasircu: the volume to start from is not there")
		case s.Kind == raid.StepBoot:
			return [][]string{{d.tool, inv.Controller.ToolID, "BOOTIR", string(v.ID)}}, nil
		}
		return [][]string{{d.tool, inv.Controller.ToolID, "DELETEVOLUME", string(v.ID), "noprompt"}}, nil
	case raid.StepAddSpare, raid.StepRemoveSpare:
		if len(s.SpareFor) > 0 {
			return nil, errors.New("sasircu: spares are for all volumes of the controller")
		}
		var argvs [][]string
		for _, ref := range s.Disks {
			argv := []string{d.tool, inv.Controller.ToolID, "HOTSPARE"}
			if s.Kind == raid.StepRemoveSpare {
				argv = append(argv, "DELETE")
			}
			argvs = append(argvs, append(argv, string(ref.ID)))
		}
		return argvs, nil
	}
	return nil, fmt.Errorf("sasircu: %s is nothing that the tool can do", s.Kind)
}

func (d *Driver) create(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	n := s.Create
	if n == nil {
		return nil, errors.New("sasircu: no volume to make is given")
	}
	levels := inv.Controller.Capabilities.Levels
	i := slices.IndexFunc(levels, func(l raid.LevelCapability) bool { return l.Level == n.Level })
	switch {
	case i < 0:
		return nil, fmt.Errorf("sasircu: volume %s: the controller has no level %s", n.Name, n.Level)
	case len(s.Disks) < levels[i].MinDisks || len(s.Disks) > levels[i].MaxDisks ||
		levels[i].Multiple > 0 && len(s.Disks)%levels[i].Multiple != 0:
		return nil, fmt.Errorf("sasircu: volume %s: level %s of %d drives is not what the controller can make", n.Name, n.Level,
			len(s.Disks))
	case n.Bytes != 0 || n.Strip != 0 || n.Policies != (raid.Policies{}) || n.Initialize != "":
		return nil, fmt.Errorf("sasircu: volume %s: the tool has no size, strip, policies or initialization to choose", n.Name)
	}
	argv := []string{d.tool, inv.Controller.ToolID, "CREATE", "RAID" + string(n.Level), "MAX"}
	for _, ref := range s.Disks {
		argv = append(argv, string(ref.ID))
	}
	// A name can be given and is never shown, so the controller is said to keep none.
	return [][]string{append(argv, "noprompt")}, nil
}

// seen finds the volume that a plan saw, by its WWID; nil if it is gone. A volume that the plan made has neither that
// nor a name: it is the one on the step's drives.
func seen(inv *raid.Inventory, ref *raid.VolumeRef, disks []raid.DiskRef) (*raid.VirtualDisk, error) {
	if ref == nil {
		return nil, errors.New("sasircu: no volume is named")
	}
	for i := range inv.Volumes {
		v := &inv.Volumes[i]
		switch {
		case ref.WWN != "" && v.WWN == ref.WWN:
			return v, nil
		case ref.WWN != "" || ref.ID != "":
			if ref.WWN == "" && v.ID == ref.ID {
				return v, nil
			}
		case len(disks) > 0 && len(v.Members) == len(disks) &&
			!slices.ContainsFunc(disks, func(r raid.DiskRef) bool { return !slices.Contains(v.Members, r.ID) }):
			return v, nil
		case len(ref.Members) > 0 && sameDrives(inv, v, ref.Members):
			return v, nil
		}
	}
	return nil, nil
}

func sameDrives(inv *raid.Inventory, v *raid.VirtualDisk, members []raid.DiskIdentity) bool {
	n := 0
	for _, p := range inv.Disks {
		if slices.Contains(v.Members, p.ID) {
			if !slices.Contains(members, p.Identity()) {
				return false
			}
			n++
		}
	}
	return n == len(members)
}

// Exec does a step on the state that is there now, and looks at what came of it.
func (d *Driver) Exec(ctx context.Context, _ *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	l, err := d.find(ctx, s.Controller)
	if err != nil {
		return err
	}
	before, err := d.display(ctx, l)
	if err != nil {
		return err
	}
	for _, ref := range s.Disks {
		for _, p := range before.Disks {
			if p.ID == ref.ID && ref.Known() && p.Identity() != ref.DiskIdentity {
				return fmt.Errorf("sasircu: drive %s is another one than planned: serial number %q, and not %q", ref.ID, p.Serial,
					ref.Serial)
			}
		}
	}
	argvs, err := d.Commands(before, s)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sasircu: %s was not begun: %w", s.Kind, err)
	}
	ctx = context.WithoutCancel(ctx)
	var said error
	for i, argv := range argvs {
		timed, cancel := context.WithTimeout(ctx, cmp.Or(d.Patience, writeTime))
		out, err := d.run.Run(timed, argv...)
		cancel()
		if err == nil {
			said = fmt.Errorf("sasircu: %s: exit status %d: %s", strings.Join(argv, " "), out.ExitCode, words(out))
		} else {
			said = fmt.Errorf("sasircu: run %s: %w", strings.Join(argv, " "), err)
		}
		if err == nil && out.ExitCode == 0 || i == len(argvs)-1 {
			continue
		}
		// What is there decides whether the rest of the step is done.
		now, err := d.display(ctx, l)
		if err != nil {
			return errors.Join(said, err)
		}
		part := s
		part.Disks = s.Disks[:i+1] // only spares take several commands, one for each
		if _, wrong := check(part, before, now); wrong != nil {
			return errors.Join(said, wrong)
		}
	}
	after, err := d.display(ctx, l)
	if err != nil {
		return errors.Join(said, err)
	}
	v, wrong := check(s, before, after)
	if wrong != nil {
		return errors.Join(said, wrong)
	}
	if report != nil && v != nil && v.Progress != nil {
		report(*v.Progress)
	}
	return nil
}

// check holds what is there after a step against what the step was for, and returns the volume that it made.
func check(s raid.Step, before, after *raid.Inventory) (*raid.VirtualDisk, error) {
	switch s.Kind {
	case raid.StepCreateVolume:
		for i := range after.Volumes {
			v := &after.Volumes[i]
			if slices.ContainsFunc(before.Volumes, func(o raid.VirtualDisk) bool { return o.ID == v.ID && o.WWN == v.WWN }) {
				continue
			}
			if v.Level.Is != s.Create.Level || len(v.Members) != len(s.Disks) ||
				slices.ContainsFunc(s.Disks, func(r raid.DiskRef) bool { return !slices.Contains(v.Members, r.ID) }) {
				return nil, fmt.Errorf("sasircu: volume %s was made otherwise: level %s of %v", s.Create.Name, v.Level, v.Members)
			}
			return v, nil
		}
		return nil, fmt.Errorf("sasircu: volume %s is not there", s.Create.Name)
	case raid.StepDeleteVolume:
		if v, _ := seen(after, s.Volume, s.Disks); v != nil {
			return nil, fmt.Errorf("sasircu: volume %s is still there", v.ID)
		}
	case raid.StepBoot:
		v, err := seen(after, s.Volume, s.Disks)
		if err != nil {
			return nil, err
		}
		if v == nil || v.Boot == nil || !*v.Boot {
			return nil, errors.New("sasircu: the volume is not the one to start from")
		}
	case raid.StepAddSpare, raid.StepRemoveSpare:
		for _, ref := range s.Disks {
			for _, p := range after.Disks {
				// A spare of a degraded volume is put to work at once.
				spare := p.State.Is == raid.DiskSpare || p.State.Is == raid.DiskRebuilding
				if p.ID == ref.ID && spare != (s.Kind == raid.StepAddSpare) {
					return nil, fmt.Errorf("sasircu: drive %s is %s", ref.ID, p.State)
				}
			}
		}
	}
	return nil, nil
}
