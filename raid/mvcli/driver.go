package mvcli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/project-loda/loda/raid"
)

// Name of the driver.
const Name = "mvcli"

// Driver speaks to Marvell's boot cards.
type Driver struct {
	// Patience is how long a command that changes something may take before the state is read without its answer; 0: five
	// minutes.
	Patience time.Duration

	run  raid.Runner
	tool string
	// nvme: the tool is mnv_cli.
	nvme  bool
	cards []raid.ControllerID
}

var _ raid.Driver = (*Driver)(nil)

// New makes a driver that runs tool, which is mnv_cli if its name says so, and mvcli otherwise. cards are the PCI
// addresses of the cards that it is for, in their order.
func New(run raid.Runner, tool string, cards ...raid.ControllerID) *Driver {
	base := strings.ToLower(path.Base(tool))
	sorted := slices.Clone(cards)
	slices.Sort(sorted)
	return &Driver{run: run, tool: tool, nvme: strings.HasPrefix(base, "mnv"), cards: sorted}
}

// Name is mvcli.
func (d *Driver) Name() string { return Name }

// Probe lists the cards. Without one, nothing is run.
func (d *Driver) Probe(ctx context.Context) ([]raid.Controller, error) {
	if len(d.cards) == 0 {
		return nil, nil
	}
	l, err := d.list(ctx, "hba")
	if err != nil {
		return nil, err
	}
	if len(l.cards) != len(d.cards) {
		return nil, fmt.Errorf("mvcli: %s sees %d cards, and there are %d: %v", d.tool, len(l.cards), len(d.cards), d.cards)
	}
	var all []raid.Controller
	for i := range d.cards {
		c := d.controller(l, i)
		if i > 0 {
			c.Capabilities = raid.Capabilities{Levels: []raid.LevelCapability{}}
		}
		all = append(all, c)
	}
	return all, nil
}

// controller gives a card its address: its own if it tells, or the one in its place.
func (d *Driver) controller(l *listing, i int) raid.Controller {
	c := l.cards[i].controller()
	c.Driver = Name
	c.ToolID = l.cards[i]["is"]
	if !slices.Contains(d.cards, c.ID) {
		c.ID = d.cards[i]
	}
	return c
}

// Inventory reads the first card.
func (d *Driver) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	l, err := d.list(ctx, "hba", "pd", "vd")
	switch {
	case err != nil:
		return nil, err
	case len(l.cards) == 0:
		return nil, fmt.Errorf("mvcli: %s sees no card at %s", d.tool, id)
	case len(d.cards) == 0 || d.controller(l, 0).ID != id:
		return nil, fmt.Errorf("mvcli: %s speaks to the first card only, and %s is not that one", d.tool, id)
	}
	inv := l.inventory()
	inv.Controller = d.controller(l, 0)
	return inv, l.whole()
}

// whole holds the lists against each other: a list that could not be read looks like an empty one.
func (l *listing) whole() error {
	for _, list := range []struct {
		name string
		n    int
	}{{"pd", len(l.drives)}, {"vd", len(l.volumes)}} {
		if want, told := l.total[list.name]; told && want != list.n {
			return fmt.Errorf("mvcli: of %d in the list of %ss only %d could be read", want, list.name, list.n)
		} else if !told && list.n == 0 && list.name == "pd" {
			return errors.New("mvcli: the tool lists no drives, and does not say that there are none")
		}
	}
	for _, r := range l.drives {
		for _, id := range strings.FieldsFunc(r["associated vds"], func(c rune) bool { return c == ' ' || c == ',' }) {
			listed := slices.ContainsFunc(l.volumes, func(v record) bool { return v["is"] == id })
			if strings.Trim(id, "0123456789") == "" && !listed {
				return fmt.Errorf("mvcli: drive %s is in volume %s, which the tool does not list", r["is"], id)
			}
		}
		in := slices.ContainsFunc(l.volumes, func(v record) bool { return slices.Contains(v.members(), r["is"]) })
		if strings.EqualFold(r["assigned"], "yes") && !in {
			return fmt.Errorf("mvcli: drive %s is in a volume, and the tool does not list which", r["is"])
		}
	}
	return nil
}

const (
	readTime  = time.Minute
	writeTime = 5 * time.Minute
)

// list asks for lists. Noise about device nodes comes on either stream.
func (d *Driver) list(ctx context.Context, lists ...string) (*listing, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var outputs [][]byte
	for _, what := range lists {
		out, err := d.run.Run(ctx, d.tool, "info", "-o", what)
		if err != nil {
			return nil, fmt.Errorf("mvcli: run %s info -o %s: %w", d.tool, what, err)
		}
		outputs = append(outputs, out.Stdout)
	}
	return parse(outputs...), nil
}

// Commands are what Exec runs.
func (d *Driver) Commands(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	if len(d.cards) == 0 || s.Controller != inv.Controller.ID {
		return nil, fmt.Errorf("mvcli: %s is no card that %s speaks to", s.Controller, d.tool)
	}
	switch s.Kind {
	case raid.StepCreateVolume:
		return d.create(inv, s)
	case raid.StepDeleteVolume:
		v, err := seen(inv, s.Volume)
		if err != nil || v == nil {
			return nil, err
		}
		argv := []string{d.tool, "delete", "-o", "vd", "-i", string(v.ID)}
		if !d.nvme {
			argv = append(argv, "-f")
		}
		return [][]string{append(argv, "--waiveconfirmation")}, nil
	}
	return nil, fmt.Errorf("mvcli: %s is nothing that the tool can do", s.Kind)
}

func (d *Driver) create(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	n := s.Create
	if n == nil {
		return nil, errors.New("mvcli: no volume to make is given")
	}
	caps := inv.Controller.Capabilities
	level := slices.IndexFunc(caps.Levels, func(l raid.LevelCapability) bool { return l.Level == n.Level })
	switch {
	case level < 0:
		return nil, fmt.Errorf("mvcli: volume %s: the card has no level %s", n.Name, n.Level)
	case len(s.Disks) < caps.Levels[level].MinDisks ||
		caps.Levels[level].MaxDisks > 0 && len(s.Disks) > caps.Levels[level].MaxDisks:
		return nil, fmt.Errorf("mvcli: volume %s: level %s of %d drives is not what the card can make", n.Name, n.Level,
			len(s.Disks))
	case n.Bytes != 0:
		return nil, fmt.Errorf("mvcli: volume %s: a volume takes its drives whole", n.Name)
	case n.Policies != (raid.Policies{}):
		return nil, fmt.Errorf("mvcli: volume %s: the card has no policies", n.Name)
	case n.Strip != 0 && !slices.Contains(caps.Strips, n.Strip):
		return nil, fmt.Errorf("mvcli: volume %s: the card has no strip of %s", n.Name, n.Strip)
	case n.Name == "" || len(n.Name) > maxName || strings.Trim(n.Name, letters) != "" || n.Name[0] == '-':
		return nil, fmt.Errorf("mvcli: volume %q: want a name of at most %d letters, digits, dots, dashes and underscores",
			n.Name, maxName)
	case n.Initialize != "" && !slices.Contains(caps.Initialize, n.Initialize):
		return nil, fmt.Errorf("mvcli: volume %s: the tool has no initialization %s", n.Name, n.Initialize)
	}
	var ids []string
	for _, ref := range s.Disks {
		if !slices.ContainsFunc(inv.Disks, func(p raid.PhysicalDisk) bool { return p.ID == ref.ID }) {
			return nil, fmt.Errorf("mvcli: drive %s is not there", ref.ID)
		}
		ids = append(ids, string(ref.ID))
	}
	argv := []string{d.tool, "create"}
	if !d.nvme {
		argv = append(argv, "-o", "vd")
	}
	argv = append(argv, "-r"+string(n.Level), "-d", strings.Join(ids, ","), "-n", n.Name)
	if n.Strip != 0 {
		argv = append(argv, "-b", strconv.FormatInt(int64(n.Strip)>>10, 10))
	}
	switch n.Initialize {
	case raid.InitializeNone:
		argv = append(argv, "-i", "none")
	case raid.InitializeFast:
		argv = append(argv, "-i", "quick")
	}
	if !d.nvme {
		argv = append(argv, "--waiveconfirmation")
	}
	return [][]string{argv}, nil
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// seen finds the volume that a plan saw; nil if it is gone. Numbers are given again, so its drives must be the same.
func seen(inv *raid.Inventory, ref *raid.VolumeRef) (*raid.VirtualDisk, error) {
	if ref == nil || ref.ID == "" {
		return nil, errors.New("mvcli: no volume is named")
	}
	for i := range inv.Volumes {
		v := &inv.Volumes[i]
		if v.ID != ref.ID {
			continue
		}
		if len(ref.Members) > 0 {
			var now []raid.DiskIdentity
			for _, id := range v.Members {
				for _, p := range inv.Disks {
					if p.ID == id {
						now = append(now, p.Identity())
					}
				}
			}
			if len(now) != len(ref.Members) ||
				slices.ContainsFunc(ref.Members, func(m raid.DiskIdentity) bool { return !slices.Contains(now, m) }) {
				return nil, fmt.Errorf("mvcli: volume %s has other drives than the one that was planned for", v.ID)
			}
		}
		return v, nil
	}
	return nil, nil
}

// Exec does a step on the state that is there now, and looks at what came of it.
func (d *Driver) Exec(ctx context.Context, _ *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	before, err := d.Inventory(ctx, s.Controller)
	if err != nil {
		return err
	}
	for _, ref := range s.Disks {
		for _, p := range before.Disks {
			if p.ID == ref.ID && ref.Known() && p.Identity() != ref.DiskIdentity {
				return fmt.Errorf("mvcli: drive %s is another one than planned: serial number %q, and not %q", ref.ID, p.Serial,
					ref.Serial)
			}
		}
	}
	argvs, err := d.Commands(before, s)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("mvcli: %s was not begun: %w", s.Kind, err)
	}
	ctx = context.WithoutCancel(ctx)
	var said error
	for _, argv := range argvs {
		timed, cancel := context.WithTimeout(ctx, cmp.Or(d.Patience, writeTime))
		out, err := d.run.Run(timed, argv...)
		cancel()
		if err != nil {
			said = fmt.Errorf("mvcli: run %s: %w", strings.Join(argv, " "), err)
			break
		}
		said = fmt.Errorf("mvcli: %s: exit status %d: %s", strings.Join(argv, " "), out.ExitCode, words(out))
	}
	after, err := d.Inventory(ctx, s.Controller)
	if err != nil {
		return errors.Join(said, err)
	}
	if wrong := check(s, before, after); wrong != nil {
		return errors.Join(said, wrong)
	}
	if report != nil && s.Kind == raid.StepCreateVolume {
		for _, v := range after.Volumes {
			if v.Progress != nil {
				report(*v.Progress)
			}
		}
	}
	return nil
}

func words(out *raid.Output) string {
	s := strings.ToValidUTF8(strings.Join(strings.Fields(string(out.Stderr)+" "+string(out.Stdout)), " "), "?")
	return s[:min(len(s), 500)]
}

// check holds what is there after a step against what the step was for.
func check(s raid.Step, before, after *raid.Inventory) error {
	switch s.Kind {
	case raid.StepDeleteVolume:
		if v, _ := seen(after, s.Volume); v != nil {
			return fmt.Errorf("mvcli: volume %s is still there", v.ID)
		}
	case raid.StepCreateVolume:
		for _, v := range after.Volumes {
			// A number that was there before belongs to another volume.
			if v.Level.Is != s.Create.Level || len(v.Members) != len(s.Disks) ||
				s.Create.Strip != 0 && v.Strip != s.Create.Strip ||
				slices.ContainsFunc(before.Volumes, func(o raid.VirtualDisk) bool { return o.ID == v.ID }) ||
				slices.ContainsFunc(s.Disks, func(r raid.DiskRef) bool { return !slices.Contains(v.Members, r.ID) }) {
				continue
			}
			if v.Name != s.Create.Name {
				return fmt.Errorf("mvcli: volume %s was made, and is called %s", s.Create.Name, v.Name)
			}
			return nil
		}
		return fmt.Errorf("mvcli: volume %s is not there", s.Create.Name)
	}
	return nil
}
