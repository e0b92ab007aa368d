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
			return &mutant{exec: func(ctx context.Context, d *Driver, inv *raid.Inventory, s raid.Step,
				report func(raid.Progress)) error {
				if s.Create != nil {
					wrong := *s.Create
					wrong.Bytes = wrong.Bytes / 1e6 << 20
					s.Create = &wrong
				}
				return d.Exec(ctx, inv, s, report)
			}}
		}, map[string]string{"a layout is reached, and then there is nothing to do": "was made, and is wrong: 104.86 GB instead of 100 GB"}},
		{"a failure that is ignored", func() *mutant {
			return &mutant{exec: func(ctx context.Context, d *Driver, inv *raid.Inventory, s raid.Step,
				report func(raid.Progress)) error {
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
			return &mutant{exec: func(ctx context.Context, d *Driver, inv *raid.Inventory, s raid.Step,
				report func(raid.Progress)) error {
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

// blind does not tell what many tools do not: WWNs and names of volumes, boot volumes, strips; and it rounds sizes.
type blind struct{ *Driver }

func (b *blind) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	inv, err := b.Driver.Inventory(ctx, id)
	if err != nil {
		return nil, err
	}
	for i := range inv.Volumes {
		v := &inv.Volumes[i]
		v.WWN, v.Name, v.Boot, v.Strip = "", "", nil, 0
		v.Bytes, v.Rounded = v.Bytes/1e9*1e9, true
	}
	return inv, nil
}

// nameless is a controller of the sort that blind is the driver of: arrays move up when one is deleted.
func nameless() *State {
	s := DefaultState()
	c := s.Controllers[0]
	c.Renumber, c.Capabilities.Names, c.Capabilities.BootVolume, c.Capabilities.MaxName = true, false, false, 0
	c.Volumes[0].Name = ""
	if _, err := c.CreateVolume(NewVolume{Level: raid.Level1, Drives: []string{"SV1-D001", "SV1-D002"}}); err != nil {
		panic(err)
	}
	return s
}

func TestVolumesWithoutNamesAndWWNsAreKnownByWhatTheyAre(t *testing.T) {
	Run(t, Suite{Make: nameless, New: func(_ *testing.T, c *Chassis) raid.Driver { return &blind{quick(c)} }})
}

// bootCard mirrors two disks and can do nothing else, as Marvell's do.
func bootCard() *State {
	c := MegaRAID("0000:02:00.0", "BOSS1")
	c.Capabilities = raid.Capabilities{Levels: []raid.LevelCapability{{Level: raid.Level1, MinDisks: 2, MaxDisks: 2}},
		MaxVolumes: 1, MaxName: 10, Names: true}
	c.AddDrives(2, "ssd", "ata", 240e9)
	return &State{Controllers: []*Controller{c}}
}

func TestABootCardStandsTheSuite(t *testing.T) {
	Run(t, Suite{Make: bootCard, New: func(_ *testing.T, c *Chassis) raid.Driver { return quick(c) },
		Layout: &raid.Layout{Controllers: []raid.ControllerLayout{{Volumes: []raid.Volume{
			{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2}, Boot: true}}}}}})
}

// switched is a controller in a mode that the layout does not want, beside one of another machine's making.
func switched() *State {
	s := DefaultState()
	c := s.Controllers[0]
	c.Mode, c.Volumes = raid.ModeHBA, nil
	for _, d := range c.Drives[:11] {
		d.State = raid.DiskJBOD
	}
	other := MegaRAID("0000:3b:00.0", "SV2")
	other.AddDrives(3, "hdd", "sas", 4e12)
	s.Controllers = append(s.Controllers, other)
	return s
}

func TestAModeIsSwitchedInTheMiddleOfALayout(t *testing.T) {
	l := DefaultLayout()
	l.Controllers[0].Controller.PCI, l.Controllers[0].Mode = "0000:18:00.0", raid.ModeRAID
	l.Controllers[0].Volumes[2].Disks.Count = 6
	l.Controllers = append(l.Controllers, raid.ControllerLayout{Controller: raid.ControllerChoice{PCI: "0000:3b:00.0"},
		Rest: raid.RestJBOD, Volumes: []raid.Volume{{Name: "x", Level: raid.Level0, Disks: raid.DiskChoice{Count: 1}}}})
	Run(t, Suite{Make: switched, Layout: l, New: func(_ *testing.T, c *Chassis) raid.Driver { return quick(c) }})
}
