package ssacli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
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

// New makes a driver that runs tool: ssacli, hpssacli or hpacucli, or a path to one. pci are the addresses of the
// machine's controllers that are for it, if they are known. Tools before 2.4 do not tell addresses; the only controller
// of such a tool is then the only one of the machine. Without addresses a missing tool means that there is
// no controller.
func New(run raid.Runner, tool string, pci ...string) *Driver {
	return &Driver{run: run, tool: tool, pci: slices.Clone(pci)}
}

// Name is ssacli, whatever the tool's name.
func (d *Driver) Name() string { return Name }

// Probe lists the tool's controllers.
func (d *Driver) Probe(ctx context.Context) ([]raid.Controller, error) {
	inventories, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	controllers := make([]raid.Controller, len(inventories))
	for i, inv := range inventories {
		controllers[i] = inv.Controller
	}
	return controllers, nil
}

// Inventory reads one controller.
func (d *Driver) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	inventories, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	var seen []string
	for _, inv := range inventories {
		if inv.Controller.ID == id {
			return inv, nil
		}
		seen = append(seen, string(inv.Controller.ID))
	}
	return nil, fmt.Errorf("%s: no controller %s; the tool sees %s", d.tool, id, list(seen))
}

// A read takes seconds, on a controller that scans its ports a minute. A write returns when the firmware has it.
const (
	readTime  = 5 * time.Minute
	writeTime = 15 * time.Minute
)

func (d *Driver) read(ctx context.Context) ([]*raid.Inventory, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.Patience, readTime))
	defer cancel()
	argv := []string{d.tool, "ctrl", "all", "show", "config", "detail"}
	out, err := d.run.Run(ctx, argv...)
	switch {
	case err != nil && len(d.pci) == 0 && (errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist)):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	inventories, err := Parse(out.Stdout, out.Stderr)
	if err != nil {
		return nil, fmt.Errorf("%s (exit status %d): %w", strings.Join(argv, " "), out.ExitCode, err)
	}
	for _, inv := range inventories {
		if inv.Controller.ID == "" && len(inventories) == 1 && len(d.pci) == 1 {
			inv.Controller.ID = raid.ControllerID(d.pci[0])
			inv.Warnings = slices.DeleteFunc(inv.Warnings, func(w string) bool { return w == noAddress })
		}
		if inv.Controller.ID == "" {
			// Better an odd name than a controller that nobody can see.
			inv.Controller.ID = raid.ControllerID(inv.Controller.ToolID)
		}
	}
	return inventories, nil
}

// Exec runs the commands of a step. The tool's own words decide, not its exit status alone.
func (d *Driver) Exec(ctx context.Context, inv *raid.Inventory, s raid.Step, _ func(raid.Progress)) error {
	if s.Volume != nil {
		if _, err := find(inv, s.Volume); err != nil {
			return err
		}
	}
	commands, err := d.Commands(inv, s)
	if err != nil {
		return err
	}
	for _, argv := range commands {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s was not begun: %w", strings.Join(argv, " "), err)
		}
		if err := d.write(ctx, argv); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
		}
	}
	return nil
}

// write is waited for even when ctx ends: nobody could tell what a tool that is stopped has done.
func (d *Driver) write(ctx context.Context, argv []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(d.Patience, writeTime))
	defer cancel()
	out, err := d.run.Run(ctx, argv...)
	if err != nil {
		return err
	}
	var r reader
	r.output(string(out.Stdout))
	r.output(string(out.Stderr))
	if len(r.errors) > 0 {
		return r.errors[0]
	}
	if out.ExitCode != 0 {
		return fmt.Errorf("exit status %d: %s", out.ExitCode,
			clip(strings.TrimSpace(string(out.Stderr)+" "+string(out.Stdout))))
	}
	return nil
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
