package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/raid"
)

// Controllers are the RAID controllers of this machine, such as a host.Host.
type Controllers interface {
	// Read reads all of them. One that cannot be read is an error beside the others.
	Read(ctx context.Context) ([]*raid.Inventory, error)
	// Driver is all their drivers as one.
	Driver() raid.Driver
	// Unmanaged says of each controller that has no driver why.
	Unmanaged() []string
	// Unread are RAID controllers that the last Read did not read; see raid.NewPlan.
	Unread() []raid.Controller
}

// Report is where a round tells how far it is.
type Report interface {
	Progress(p agentapi.Progress)
	// Log adds a line to the timeline.
	Log(text string)
}

// Round does one round. machine is the serial number of this machine, as its firmware has it, and inUse tells which of
// its disks are in use.
//
// The result may come together with an error. A layout that is impossible, a step that failed and a plan that is not the
// approved one are no errors: the result says so.
func Round(ctx context.Context, c Controllers, in agentapi.ConfigureRAID, machine string,
	inUse func(context.Context) ([]raid.Use, error), report Report) (*agentapi.ConfigureRAIDResult, error) {
	report.Progress(agentapi.Progress{Text: "reading the RAID controllers"})
	result, err := look(ctx, c, &in.Layout)
	if err != nil || in.Approval == nil || result.Plan == nil || result.Plan.Empty() {
		return result, err
	}
	if digest := result.Plan.Digest(); digest != in.Approval.Plan {
		report.Log(fmt.Sprintf("RAID: what is to be done now is plan %.12s, and approved is %.12s: nothing was done", digest,
			in.Approval.Plan))
		return result, nil
	}
	// A mode that comes into force with the next start needs no step, and no permission.
	w := &watch{report: report}
	guard := raid.Guard{Machine: machine, Approval: in.Approval, InUse: inUse}
	applied := raid.Apply(ctx, c.Driver(), result.Plan, guard, w.event)
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	var reboot *raid.RebootError
	var refused *raid.RefusedError
	var failed *raid.StepError
	var changed *raid.ChangedError
	switch {
	case errors.As(applied, &refused):
		return nil, applied
	case errors.As(applied, &reboot):
		report.Log(applied.Error())
	case errors.As(applied, &failed), errors.As(applied, &changed):
		report.Log(applied.Error())
	case applied != nil:
		return nil, applied
	}
	report.Progress(agentapi.Progress{Text: "reading the RAID controllers again", Fraction: 1})
	after, err := look(ctx, c, &in.Layout)
	if after != nil {
		after.Done = w.done
		switch {
		case reboot != nil:
			after.Reboot = strings.Join(reboot.Why, "; ")
		case failed != nil:
			after.Failed = failed.Error()
		}
	}
	return after, err
}

// look reads all controllers and plans.
func look(ctx context.Context, c Controllers, layout *raid.Layout) (*agentapi.ConfigureRAIDResult, error) {
	inventories, err := c.Read(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	result := &agentapi.ConfigureRAIDResult{Inventories: inventories, Unmanaged: c.Unmanaged()}
	if err != nil {
		// The layout may not want the one that cannot be read; if it does, it is impossible and says so beside this.
		result.Unmanaged = append(result.Unmanaged, err.Error())
	}
	plan, err := raid.NewPlan(inventories, layout, c.Unread()...)
	var impossible *raid.ImpossibleError
	switch {
	case errors.As(err, &impossible):
		result.Impossible = strings.Join(append([]string{err.Error()}, result.Unmanaged...), "; ")
		return result, nil
	case err != nil:
		return result, err
	}
	result.Plan = plan
	for _, s := range plan.Steps {
		inv := find(inventories, s.Controller)
		// Those of a step that needs what an earlier one makes are known when that is done.
		commands, _ := c.Driver().Commands(inv, s)
		result.Commands = append(result.Commands, commands)
	}
	return result, nil
}

func find(inventories []*raid.Inventory, id raid.ControllerID) *raid.Inventory {
	for _, inv := range inventories {
		if inv.Controller.ID == id {
			return inv
		}
	}
	return nil
}

// watch tells what Apply does.
type watch struct {
	report Report
	done   int
}

func (w *watch) event(e raid.Event) {
	at := fmt.Sprintf("RAID step %d of %d, %s", e.Index+1, e.Of, e.Step.Summary())
	fraction := float64(e.Index) / float64(max(e.Of, 1))
	switch e.Kind {
	case raid.StepStarted:
		w.report.Progress(agentapi.Progress{Fraction: fraction, Text: at})
		w.report.Log(at)
		for _, argv := range e.Commands {
			w.report.Log("RAID command: " + strings.Join(argv, " "))
		}
	case raid.StepProgress:
		if p := e.Progress; p != nil {
			w.report.Progress(agentapi.Progress{Fraction: fraction, Text: fmt.Sprintf("%s: %s %.0f %%", at, p.What, 100*p.Fraction)})
		}
	case raid.StepDone:
		w.done++
		w.report.Log(at + ": done, " + e.Text)
	case raid.StepSkipped:
		w.done++
		w.report.Log(at + ": " + e.Text)
	case raid.StepFailed:
		w.report.Log(at + ": FAILED: " + e.Text)
	}
}
