package megacli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/project-loda/loda/raid"
)

// Name of the driver.
const Name = string(raid.Megacli)

// Driver drives controllers through MegaCli. It may be used by several goroutines; commands run one at a time.
type Driver struct {
	run  raid.Runner
	tool string

	mu sync.Mutex
	// known is the number of each controller when it was last read.
	known map[raid.ControllerID]int
}

var _ raid.Driver = (*Driver)(nil)

// New returns a driver over MegaCli or MegaCli64, by name or path. It runs nothing yet.
func New(run raid.Runner, tool string) *Driver {
	return &Driver{run: run, tool: tool, known: map[raid.ControllerID]int{}}
}

// Name is megacli.
func (d *Driver) Name() string { return Name }

const (
	readLimit  = 3 * time.Minute
	writeLimit = 15 * time.Minute
)

// Probe lists the adapters that MegaCli finds.
func (d *Driver) Probe(ctx context.Context) ([]raid.Controller, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.probe(ctx)
}

func (d *Driver) probe(ctx context.Context) ([]raid.Controller, error) {
	var c collection
	for _, question := range []string{"-AdpGetPciInfo", "-AdpAllInfo"} {
		if err := d.ask(ctx, &c, question, "-aALL"); err != nil {
			return nil, err
		}
	}
	clear(d.known)
	controllers := []raid.Controller{}
	for _, a := range c.sorted() {
		controllers = append(controllers, a.controller())
		d.known[a.controller().ID] = a.number
	}
	slices.SortFunc(controllers, func(a, b raid.Controller) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return controllers, nil
}

// Inventory reads an adapter anew.
func (d *Driver) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inventory(ctx, id)
}

func (d *Driver) inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	// Numbers of adapters change when one is added or fails.
	if _, err := d.probe(ctx); err != nil {
		return nil, err
	}
	number, ok := d.known[id]
	if !ok {
		return nil, fmt.Errorf("%s finds no controller %s", filepath.Base(d.tool), id)
	}
	on := "-a" + strconv.Itoa(number)
	var c collection
	for _, question := range [][]string{{"-AdpGetPciInfo"}, {"-AdpAllInfo"}, {"-PDList"}, {"-LdPdInfo"},
		{"-CfgForeign", "-Scan"}, {"-GetPreservedCacheList"}, {"-AdpBootDrive", "-Get"}, {"-AdpBbuCmd", "-GetBbuStatus"}} {
		if err := d.ask(ctx, &c, append(question, on)...); err != nil {
			return nil, err
		}
	}
	a := c.at(number)
	for _, disk := range a.disks {
		if disk.State.Is == raid.DiskRebuilding {
			if err := d.ask(ctx, &c, "-PDRbld", "-ShowProg", "-PhysDrv"+bracket(disk.ID), on); err != nil {
				return nil, err
			}
		}
	}
	c.spread(a)
	return a.inventory(), nil
}

func (d *Driver) ask(ctx context.Context, c *collection, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	out, err := d.run.Run(ctx, d.argv(args)...)
	if err != nil {
		return fmt.Errorf("%s: %w", d.line(args), err)
	}
	if err := c.read(out.Stdout); err != nil {
		return fmt.Errorf("%s (exit status %d): %w", d.line(args), out.ExitCode, err)
	}
	return nil
}

func (d *Driver) argv(args []string) []string {
	// Without it the tool writes a log into the current directory.
	return append(append([]string{d.tool}, args...), "-NoLog")
}

func (d *Driver) line(args []string) string {
	return filepath.Base(d.tool) + " " + strings.Join(args, " ")
}

// Commands are what Exec would run. NEW stands for the number of a volume that is not there yet.
func (d *Driver) Commands(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	number, err := strconv.Atoi(inv.Controller.ToolID)
	if err != nil || number < 0 {
		return nil, fmt.Errorf("controller %s: the inventory does not tell what MegaCli calls it", inv.Controller.ID)
	}
	commands, err := makeCommands(number, inv, s, true)
	if err != nil {
		return nil, err
	}
	if s.Kind == raid.StepCreateVolume {
		commands = append(commands, afterwards(number, placeholder, s.Create)...)
	}
	var lines [][]string
	for _, c := range commands {
		lines = append(lines, d.argv(c.args))
	}
	return lines, nil
}

// Exec does one step, as raid.Driver says. The controller is read first, and again when the tool reports a failure or
// nothing that can be understood: then what is there decides.
func (d *Driver) Exec(ctx context.Context, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := inv.Controller.ID
	before, err := d.inventory(ctx, id)
	if err != nil {
		return err
	}
	number := d.known[id]
	commands, err := makeCommands(number, before, s, false)
	if err != nil {
		return fmt.Errorf("controller %s: %w", id, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// From here on a command that was begun is waited for.
	work := context.WithoutCancel(ctx)
	var trouble []error
	for _, c := range commands {
		if err := d.write(work, c); err != nil {
			trouble = append(trouble, err)
			if !c.mayFail {
				break
			}
		}
	}
	rest := s.Kind == raid.StepCreateVolume && len(afterwards(number, placeholder, s.Create)) > 0
	if len(trouble) == 0 && !rest {
		return nil
	}
	after, err := d.inventory(work, id)
	if err != nil {
		return errors.Join(append(trouble, fmt.Errorf("controller %s: what is there now could not be read: %w", id, err))...)
	}
	if s.Kind != raid.StepCreateVolume {
		if done(before, after, s) {
			return nil
		}
		return fmt.Errorf("controller %s: %s: %w", id, s.Kind, errors.Join(trouble...))
	}
	v := newVolume(before, after, s)
	if v == nil {
		if len(trouble) == 0 {
			return fmt.Errorf("controller %s: volume %q is not there, although MegaCli has accepted it", id, s.Create.Name)
		}
		return fmt.Errorf("controller %s: volume %q: %w", id, s.Create.Name, errors.Join(trouble...))
	}
	target, _ := targetOf(v.ID)
	for _, c := range afterwards(number, strconv.Itoa(target), s.Create) {
		if err := d.write(work, c); err != nil {
			return fmt.Errorf("controller %s: volume %s is made, but not all that was asked of it: %w", id, v.ID, err)
		}
	}
	return nil
}

var (
	exitCode = regexp.MustCompile(`(?m)^Exit Code: 0x([0-9A-Fa-f]+)\s*$`)
	failure  = regexp.MustCompile(`(?im)^.*\b(?:failed|failure|error description:?|not possible|invalid|cannot|` +
		`does not have the appropriate)\b.*$`)
)

// write runs a command that changes something, once. MegaCli tells its verdict as text.
func (d *Driver) write(ctx context.Context, c command) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	out, err := d.run.Run(ctx, d.argv(c.args)...)
	if err != nil {
		return fmt.Errorf("%s: %w", d.line(c.args), err)
	}
	text := strings.ReplaceAll(string(out.Stdout)+"\n"+string(out.Stderr), "\r", "")
	m := exitCode.FindStringSubmatch(text)
	said := failure.FindString(text)
	if m != nil && strings.Trim(m[1], "0") == "" && said == "" {
		return nil
	}
	// The reason stands in the line after `FW error description:`.
	if _, reason, ok := strings.Cut(text, "FW error description:"); ok {
		said, _, _ = strings.Cut(strings.TrimSpace(reason), "\n")
	}
	said = strings.Join(strings.Fields(said), " ")
	if m == nil {
		return fmt.Errorf("%s: it did not tell whether it was done: %q", d.line(c.args), said[:min(len(said), 200)])
	}
	return fmt.Errorf("%s: %s (0x%s)", d.line(c.args), said[:min(len(said), 200)], m[1])
}

func newVolume(before, after *raid.Inventory, s raid.Step) *raid.VirtualDisk {
	var made *raid.VirtualDisk
	for i := range after.Volumes {
		v := &after.Volumes[i]
		is := func(old raid.VirtualDisk) bool { return sameVolume(&old, v) }
		if slices.ContainsFunc(before.Volumes, is) {
			continue
		}
		if v.Level.Is != s.Create.Level || len(v.Members) != len(s.Disks) ||
			slices.ContainsFunc(s.Disks, func(d raid.DiskRef) bool { return !slices.Contains(v.Members, d.ID) }) {
			continue
		}
		if made != nil {
			return nil
		}
		made = v
	}
	return made
}

// sameVolume: the target id is the same, and so are the drives.
func sameVolume(a, b *raid.VirtualDisk) bool {
	ta, _ := targetOf(a.ID)
	tb, _ := targetOf(b.ID)
	return ta == tb && slices.Equal(a.Members, b.Members)
}

// done reports whether a step's result is there.
func done(before, after *raid.Inventory, s raid.Step) bool {
	all := func(is func(d *raid.PhysicalDisk) bool) bool {
		for _, ref := range s.Disks {
			d, err := findDisk(after, ref)
			if err != nil || !is(d) {
				return false
			}
		}
		return len(s.Disks) > 0
	}
	switch s.Kind {
	case raid.StepDiscardCache:
		return len(after.Controller.PreservedCache) == 0
	case raid.StepClearForeign, raid.StepImportForeign:
		return len(after.Foreign) == 0
	case raid.StepDeleteVolume:
		old, err := findVolume(before, s.Volume)
		return err == nil && !slices.ContainsFunc(after.Volumes, func(v raid.VirtualDisk) bool {
			return sameVolume(old, &v)
		})
	case raid.StepRemoveSpare, raid.StepReady:
		return all(func(d *raid.PhysicalDisk) bool { return d.State.Is == raid.DiskReady })
	case raid.StepJBOD:
		return all(func(d *raid.PhysicalDisk) bool { return d.State.Is == raid.DiskJBOD })
	case raid.StepAddSpare:
		return all(func(d *raid.PhysicalDisk) bool {
			return d.State.Is == raid.DiskSpare && (len(s.SpareFor) > 0) == (len(d.SpareFor) > 0)
		})
	case raid.StepPolicies:
		v, err := findVolume(after, s.Volume)
		if err != nil {
			return false
		}
		p, w := v.Policies, s.Policies
		return (w.Read == "" || p.Read == w.Read) && (w.Write == "" || p.Write == w.Write) && (w.IO == "" || p.IO == w.IO) &&
			(w.DiskCache == "" || p.DiskCache == w.DiskCache)
	case raid.StepBoot:
		v, err := findVolume(after, s.Volume)
		return err == nil && v.Boot != nil && *v.Boot
	case raid.StepInitialize:
		v, err := findVolume(after, s.Volume)
		return err == nil && v.Progress != nil
	}
	return false
}
