package arcconf

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/project-loda/loda/raid"
)

// Driver drives all controllers that one tool sees. It keeps nothing between calls.
type Driver struct {
	// Patience is how long a command may take before it is ended; 0: five minutes for one that reads, a quarter of an
	// hour for one that writes.
	Patience time.Duration

	run  raid.Runner
	tool string
	pci  []string
}

// New makes a driver that runs tool, arcconf or a path to it. pci are the addresses of the machine's controllers that
// are for it, if they are known. Series 2 to 8 do not tell addresses; the tool's only controller is then the only one
// of the machine. Without addresses a missing tool means that there is no controller.
func New(run raid.Runner, tool string, pci ...string) *Driver {
	return &Driver{run: run, tool: tool, pci: slices.Clone(pci)}
}

// Name is arcconf.
func (d *Driver) Name() string { return Name }

// Probe lists the tool's controllers.
func (d *Driver) Probe(ctx context.Context) ([]raid.Controller, error) {
	all, err := d.read(ctx, "AD")
	if err != nil {
		return nil, err
	}
	controllers := make([]raid.Controller, len(all))
	for i, inv := range all {
		controllers[i] = inv.Controller
	}
	return controllers, nil
}

// Inventory reads one controller. The others are only asked who they are, since numbers move.
func (d *Driver) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	controllers, err := d.Probe(ctx)
	if err != nil {
		return nil, err
	}
	var seen []string
	for _, c := range controllers {
		if c.ID != id {
			seen = append(seen, string(c.ID))
			continue
		}
		inv, err := d.controller(ctx, c.ToolID, "AL", len(controllers) == 1)
		if err == nil && inv.Controller.ID != id {
			err = fmt.Errorf("%s: controller %s was %s and is now %s", d.tool, c.ToolID, id, inv.Controller.ID)
		}
		return inv, err
	}
	if len(seen) == 0 {
		seen = []string{"none"}
	}
	return nil, fmt.Errorf("%s: no controller %s; the tool sees %s", d.tool, id, strings.Join(seen, ", "))
}

// A read takes seconds. A write of a volume that is cleared first returns when that has begun.
const (
	readTime  = 5 * time.Minute
	writeTime = 15 * time.Minute
	most      = 32 // controllers
)

var errNoTool = errors.New("the tool is missing")

func (d *Driver) ask(ctx context.Context, args ...string) (*raid.Output, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.Patience, readTime))
	defer cancel()
	out, err := d.run.Run(ctx, append([]string{d.tool}, args...)...)
	switch {
	case err != nil && (errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist)):
		return nil, fmt.Errorf("%s: %w: %w", d.tool, errNoTool, err)
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", d.tool, strings.Join(args, " "), err)
	}
	return out, nil
}

// read asks all controllers for a part of their configuration.
func (d *Driver) read(ctx context.Context, part string) ([]*raid.Inventory, error) {
	numbers, err := d.numbers(ctx)
	if errors.Is(err, errNoTool) && len(d.pci) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []*raid.Inventory
	for _, number := range numbers {
		inv, err := d.controller(ctx, number, part, len(numbers) == 1)
		if err != nil {
			return nil, err
		}
		all = append(all, inv)
	}
	return all, nil
}

// numbers of the controllers, from LIST; tools that have no LIST say at the head of any answer how many there are.
func (d *Driver) numbers(ctx context.Context) ([]string, error) {
	out, err := d.ask(ctx, "LIST")
	if err != nil {
		return nil, err
	}
	var numbers []string
	r := reader{found: -1}
	r.output(string(out.Stdout))
	for _, c := range r.controllers {
		if c.number != "" {
			numbers = append(numbers, c.number)
		}
	}
	if len(numbers) > 0 {
		return numbers, nil
	}
	if r.found < 0 {
		if out, err = d.ask(ctx, "GETCONFIG", "1", "AD"); err != nil {
			return nil, err
		}
		r.output(string(out.Stdout))
	}
	if r.found < 0 || r.found > most {
		return nil, fmt.Errorf("%s does not say how many controllers it has found: %w", d.tool, verdict(out))
	}
	for n := range r.found {
		numbers = append(numbers, strconv.Itoa(n+1))
	}
	return numbers, nil
}

func (d *Driver) controller(ctx context.Context, number, part string, only bool) (*raid.Inventory, error) {
	out, err := d.ask(ctx, "GETCONFIG", number, part)
	if err != nil {
		return nil, err
	}
	r := reader{found: -1}
	r.output(strings.ToValidUTF8(string(out.Stdout), "\uFFFD"))
	if part == "AL" {
		// Tasks are only told here; without them nothing but their progress is missing.
		if status, err := d.ask(ctx, "GETSTATUS", number); err == nil {
			r.output(strings.ToValidUTF8(string(status.Stdout), "\uFFFD"))
		}
	}
	if len(r.controllers) != 1 || r.controllers[0].fields == nil {
		err := verdict(out)
		if err == nil {
			err = errors.New("nothing of a controller in the answer")
		}
		return nil, fmt.Errorf("%s GETCONFIG %s %s (exit status %d): %w", d.tool, number, part, out.ExitCode, err)
	}
	r.controllers[0].number = number
	inv := r.controllers[0].inventory()
	if part == "AL" && verdict(out) != nil {
		inv.Warnings = append(inv.Warnings, "the tool did not come to an end: "+clip(verdict(out).Error()))
	}
	if inv.Controller.ID == "" && only && len(d.pci) == 1 {
		inv.Controller.ID = raid.ControllerID(d.pci[0])
		inv.Warnings = slices.DeleteFunc(inv.Warnings, func(w string) bool { return w == noAddress })
	}
	if inv.Controller.ID == "" {
		// Better an odd name than a controller that nobody can see.
		inv.Controller.ID = raid.ControllerID("controller " + number)
	}
	return inv, nil
}

// Exec runs the commands of a step. What the tool says at its end decides, not its exit status.
func (d *Driver) Exec(ctx context.Context, inv *raid.Inventory, s raid.Step, _ func(raid.Progress)) error {
	if s.Volume != nil {
		if _, err := volume(inv, s.Volume); err != nil {
			return err
		}
	}
	commands, err := d.Commands(inv, s)
	if err != nil {
		return err
	}
	var said error
	for i, argv := range commands {
		if err := ctx.Err(); err != nil && said == nil {
			return fmt.Errorf("%s was not begun: %w", strings.Join(argv, " "), err)
		}
		if s.Kind == raid.StepCreateVolume && i > 0 {
			if argv, err = d.made(ctx, inv, s, argv); err != nil {
				return errors.Join(said, err)
			}
		}
		if err := d.write(ctx, argv); err != nil {
			said = errors.Join(said, fmt.Errorf("%s: %w", strings.Join(argv, " "), err))
			if s.Kind != raid.StepCreateVolume || i > 0 {
				break
			}
			// Whatever was said, the volume may be there, and then it has to be what was asked for.
		}
	}
	return said
}

// made puts the number of the volume that has just been made into the commands that follow.
func (d *Driver) made(ctx context.Context, before *raid.Inventory, s raid.Step, argv []string) ([]string, error) {
	at := slices.Index(argv, placeholder(s.Create.Name))
	if at < 0 {
		return argv, nil
	}
	now, err := d.Inventory(context.WithoutCancel(ctx), s.Controller)
	if err != nil {
		return nil, fmt.Errorf("the volume was made; of its policies nothing is known: %w", err)
	}
	var fresh []string
	for _, v := range now.Volumes {
		if !slices.ContainsFunc(before.Volumes, func(o raid.VirtualDisk) bool {
			return v.WWN != "" && o.WWN == v.WWN || v.WWN == "" && o.ID == v.ID
		}) {
			fresh = append(fresh, string(v.ID))
		}
	}
	if len(fresh) != 1 {
		return nil, fmt.Errorf("after %s there are %d new volumes; want one", s.Kind, len(fresh))
	}
	argv = slices.Clone(argv)
	argv[at] = fresh[0]
	return argv, nil
}

// write is waited for even when ctx ends: nobody could tell what a tool that is stopped has done.
func (d *Driver) write(ctx context.Context, argv []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(d.Patience, writeTime))
	defer cancel()
	out, err := d.run.Run(ctx, argv...)
	if err != nil {
		return err
	}
	return verdict(out)
}
