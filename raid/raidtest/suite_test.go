package raidtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
)

// quick is the in-process driver with little patience.
func quick(c *Chassis) *Driver { return &Driver{Chassis: c, Patience: 20 * time.Millisecond} }

func TestTheInProcessDriverStandsTheSuite(t *testing.T) {
	Run(t, Suite{New: func(_ *testing.T, c *Chassis) raid.Driver { return quick(c) }})
}

// mutant is a driver in which one thing is wrong.
type mutant struct {
	*Driver
	exec      func(ctx context.Context, d *Driver, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error
	inventory func(ctx context.Context, d *Driver, id raid.ControllerID) (*raid.Inventory, error)
}

func (m *mutant) Exec(ctx context.Context, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	if m.exec == nil {
		return m.Driver.Exec(ctx, inv, s, report)
	}
	return m.exec(ctx, m.Driver, inv, s, report)
}

func (m *mutant) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	if m.inventory == nil {
		return m.Driver.Inventory(ctx, id)
	}
	return m.inventory(ctx, m.Driver, id)
}

func TestTheSuiteCatchesDriversThatAreWrong(t *testing.T) {
	for _, c := range []struct {
		name   string
		make   func() *mutant
		caught map[string]string // by case
	}{
		{"a wrong unit: MB where the tool means MiB", func() *mutant {
			return &mutant{exec: func(ctx context.Context, d *Driver, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
				if s.Create != nil {
					wrong := *s.Create
					wrong.Bytes = wrong.Bytes / 1e6 << 20
					s.Create = &wrong
				}
				return d.Exec(ctx, inv, s, report)
			}}
		}, map[string]string{"a layout is reached, and then there is nothing to do": "was made, and is wrong: 104.86 GB instead of 100 GB"}},
		{"a failure that is ignored", func() *mutant {
			return &mutant{exec: func(ctx context.Context, d *Driver, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
				_ = d.Exec(ctx, inv, s, report)
				return nil
			}}
		}, map[string]string{"fault refuse at each command": "the tool said no, and the driver did not tell",
			"fault fail-exit-0 at each command": "the tool said no, and the driver did not tell"}},
		{"a forgotten re-read", func() *mutant {
			var old *raid.Inventory
			return &mutant{inventory: func(ctx context.Context, d *Driver, id raid.ControllerID) (*raid.Inventory, error) {
				var err error
				if old == nil || old.Controller.ID != id {
					old, err = d.Inventory(ctx, id)
				}
				return old, err
			}}
		}, map[string]string{"a layout is reached, and then there is nothing to do": "is still there",
			"a drive that fails, is rebuilt, is pulled": ""}},
		{"a command that is repeated when it failed", func() *mutant {
			return &mutant{exec: func(ctx context.Context, d *Driver, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
				err := d.Exec(ctx, inv, s, report)
				if errors.Is(err, context.DeadlineExceeded) {
					err = d.Exec(ctx, inv, s, report)
				}
				return err
			}}
		}, map[string]string{"fault hang-after at each command": "after a failure the state must be read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			left := len(c.caught)
			for _, one := range (Suite{New: func(_ *testing.T, chassis *Chassis) raid.Driver {
				m := c.make()
				m.Driver = quick(chassis)
				return m
			}}).Cases() {
				want, ok := c.caught[one.Name]
				if !ok {
					continue
				}
				left--
				require.ErrorContains(t, one.Run(t), want)
			}
			require.Zero(t, left, "a case is gone")
		})
	}
}
