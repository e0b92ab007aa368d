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
	// known is what was told of each controller when it was last read.
	known map[raid.ControllerID]known
}

var _ raid.Driver = (*Driver)(nil)

// New returns a driver over MegaCli or MegaCli64, by name or path. It runs nothing yet.
func New(run raid.Runner, tool string) *Driver {
	return &Driver{run: run, tool: tool, known: map[raid.ControllerID]known{}}
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
	c, err := d.probe(ctx)
	if err != nil {
		return nil, err
	}
	controllers := []raid.Controller{}
	for _, a := range c.sorted() {
		controllers = append(controllers, a.controller())
	}
	slices.SortFunc(controllers, func(a, b raid.Controller) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return controllers, nil
}

// probe reads what the adapters are, and keeps what the tool calls them.
func (d *Driver) probe(ctx context.Context) (*collection, error) {
	c := &collection{}
	for _, question := range []string{"-AdpGetPciInfo", "-AdpAllInfo"} {
		if err := d.ask(ctx, c, question, "-aALL"); err != nil {
			return nil, err
		}
	}
	clear(d.known)
	for _, a := range c.sorted() {
		d.known[a.controller().ID] = known{number: a.number, jbodOff: a.facts["Enable JBOD"] == "No"}
	}
	return c, nil
}

// Inventory reads an adapter anew.
func (d *Driver) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inventory(ctx, id)
}

func (d *Driver) inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	// Numbers of adapters change when one is added or fails.
	c, err := d.probe(ctx)
	if err != nil {
		return nil, err
	}
	this, ok := d.known[id]
	if !ok {
		return nil, fmt.Errorf("%s finds no controller %s", filepath.Base(d.tool), id)
	}
	on := "-a" + strconv.Itoa(this.number)
	for _, question := range [][]string{{"-PDList"}, {"-LdPdInfo"}, {"-CfgForeign", "-Scan"}, {"-GetPreservedCacheList"},
		{"-AdpBootDrive", "-Get"}, {"-AdpBbuCmd", "-GetBbuStatus"}} {
		if err := d.ask(ctx, c, append(question, on)...); err != nil {
			return nil, err
		}
	}
	a := c.at(this.number)
	for _, disk := range a.disks {
		if disk.State.Is == raid.DiskRebuilding {
			if err := d.ask(ctx, c, "-PDRbld", "-ShowProg", "-PhysDrv"+bracket(disk.ID), on); err != nil {
				return nil, err
			}
		}
	}
	c.spread(a)
	inv := a.inventory()
	this.badBBU = map[raid.VolumeID]bool{}
	for _, v := range a.volumes {
		this.badBBU[v.ID] = v.badBBU
	}
	d.known[id] = this
	return inv, nil
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
	commands, err := makeCommands(number, &reading{inv, d.known[inv.Controller.ID]}, s, true)
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
// nothing that can be understood: then what is there decides whether the rest of the step is done.
func (d *Driver) Exec(ctx context.Context, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := inv.Controller.ID
	before, err := d.look(ctx, id)
	if err != nil {
		return err
	}
	number := before.number
	commands, err := makeCommands(number, before, s, false)
	if err != nil {
		return fmt.Errorf("controller %s: %w", id, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// From here on a command that was begun is waited for.
	ctx = context.WithoutCancel(ctx)
	if err := d.each(ctx, id, commands); err != nil {
		return fmt.Errorf("controller %s: %s: %w", id, s.Kind, err)
	}
	if s.Kind != raid.StepCreateVolume || len(afterwards(number, placeholder, s.Create)) == 0 {
		return nil
	}
	after, err := d.look(ctx, id)
	if err != nil {
		return fmt.Errorf("controller %s: volume %q is made, and could not be read to go on with it: %w", id,
			s.Create.Name, err)
	}
	v := newVolume(before.Inventory, after.Inventory, s)
	if v == nil {
		return fmt.Errorf("controller %s: volume %q is not there, although MegaCli has accepted it", id, s.Create.Name)
	}
	if err := d.each(ctx, id, afterwards(number, string(v.ID), s.Create)); err != nil {
		return fmt.Errorf("controller %s: volume %s is made, but not all that was asked of it: %w", id, v.ID, err)
	}
	return nil
}

// each runs commands in their order. After one that failed, or of which nothing is known, the controller is read: if it
// was done all the same, the next one follows. None is said twice.
func (d *Driver) each(ctx context.Context, id raid.ControllerID, commands []command) error {
	for _, c := range commands {
		failed := d.write(ctx, c)
		if failed == nil && !c.prove {
			continue
		}
		after, err := d.look(ctx, id)
		if err != nil {
			return errors.Join(failed, fmt.Errorf("what is there now could not be read: %w", err))
		}
		switch {
		case c.done(after):
		case failed == nil:
			return fmt.Errorf("%s: MegaCli has accepted it, and it is not done", d.line(c.args))
		default:
			return failed
		}
	}
	return nil
}

// look reads what commands are made from.
func (d *Driver) look(ctx context.Context, id raid.ControllerID) (*reading, error) {
	inv, err := d.inventory(ctx, id)
	if err != nil {
		return nil, err
	}
	return &reading{inv, d.known[id]}, nil
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
