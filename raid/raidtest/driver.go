package raidtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/project-loda/loda/raid"
)

// Driver is a [raid.Driver] straight over a chassis: what a vendor's tool and the driver for it are together.
type Driver struct {
	Chassis *Chassis
	// Patience is how long a command may take before it is ended; 0: a second.
	Patience time.Duration
}

var _ raid.Driver = (*Driver)(nil)

// Name is chassis.
func (d *Driver) Name() string { return "chassis" }

// Probe lists all controllers.
func (d *Driver) Probe(ctx context.Context) ([]raid.Controller, error) {
	s, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	var all []raid.Controller
	for _, c := range s.Controllers {
		all = append(all, c.Controller)
	}
	return all, nil
}

// Inventory is [Controller.Inventory].
func (d *Driver) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	s, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	c := s.Controller(id)
	if c == nil {
		return nil, fmt.Errorf("chassis: controller %s is not there", id)
	}
	return c.Inventory(), nil
}

// look reads, whatever the exit status: what was printed is complete.
func (d *Driver) look(ctx context.Context) (*State, error) {
	ctx, cancel := d.patience(ctx)
	defer cancel()
	s, _, err := d.Chassis.Read(ctx, "show")
	if err == nil && s == nil {
		err = errors.New("chassis: the tool refused to list its controllers; look at its log")
	}
	return s, err
}

func (d *Driver) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, cmp.Or(d.Patience, time.Second))
}

// Commands are not run by anything; they show what a tool with a grammar would be told.
func (d *Driver) Commands(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	argv := []string{"chassis", string(s.Controller), string(s.Kind)}
	if s.Volume != nil {
		argv = append(argv, "volume="+string(s.Volume.ID))
	}
	for _, disk := range s.Disks {
		argv = append(argv, string(disk.ID))
	}
	if n := s.Create; n != nil {
		argv = append(argv, "name="+n.Name, "level="+string(n.Level), "bytes="+strconv.FormatInt(n.Bytes, 10))
	}
	return [][]string{argv}, nil
}

// Exec does a step.
func (d *Driver) Exec(ctx context.Context, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	// A caller who gives up does not end a command that writes.
	ctx, cancel := d.patience(context.WithoutCancel(ctx))
	defer cancel()
	answer, err := d.Chassis.Change(ctx, string(s.Kind), func(state *State) error {
		c := state.Controller(s.Controller)
		if c == nil {
			return fmt.Errorf("chassis: controller %s is not there", s.Controller)
		}
		return c.step(s)
	})
	if err != nil {
		return err
	}
	if answer.Refused != nil {
		return answer.Refused
	}
	return nil // an exit status proves nothing
}

// step does a step whose ids are those of [Controller.Inventory].
func (c *Controller) step(s raid.Step) error {
	var serials []string
	for _, ref := range s.Disks {
		enclosure, slot, _ := strings.Cut(string(ref.ID), ":")
		e, err1 := strconv.Atoi(enclosure)
		n, err2 := strconv.Atoi(slot)
		if errors.Join(err1, err2) != nil {
			return refuse(RefusedNoDrive, "%q is no drive", ref.ID)
		}
		drive := c.At(e, n)
		if drive == nil {
			return refuse(RefusedNoDrive, "drive %s is not there", ref.ID)
		}
		serials = append(serials, drive.Serial)
	}
	number := -1
	if s.Volume != nil {
		n, err := strconv.Atoi(string(s.Volume.ID))
		if err != nil {
			return refuse(RefusedNoVolume, "%q is no volume", s.Volume.ID)
		}
		number = n
	}
	each := func(do func(string) error) error {
		for _, serial := range serials {
			if err := do(serial); err != nil {
				return err
			}
		}
		return nil
	}
	switch s.Kind {
	case raid.StepMode:
		return c.SetMode(s.Mode)
	case raid.StepDiscardCache:
		return c.DiscardCache()
	case raid.StepClearForeign:
		return c.ClearForeign()
	case raid.StepImportForeign:
		return c.ImportForeign()
	case raid.StepDeleteVolume:
		return c.DeleteVolume(number)
	case raid.StepRemoveSpare:
		return each(c.RemoveSpare)
	case raid.StepAddSpare:
		var volumes []int
		for _, v := range s.SpareFor {
			n, err := strconv.Atoi(string(v.ID))
			if err != nil {
				return refuse(RefusedNoVolume, "%q is no volume", v.ID)
			}
			volumes = append(volumes, n)
		}
		return each(func(serial string) error { return c.AddSpare(serial, volumes...) })
	case raid.StepReady:
		return each(c.SetReady)
	case raid.StepJBOD:
		return each(c.SetJBOD)
	case raid.StepCreateVolume:
		_, err := c.CreateVolume(NewVolume{Name: s.Create.Name, Level: s.Create.Level, Spans: s.Create.Spans,
			Bytes: s.Create.Bytes, Strip: s.Create.Strip, Policies: s.Create.Policies, Drives: serials,
			Initialize: s.Create.Initialize, Boot: s.Create.Boot})
		return err
	case raid.StepPolicies:
		return c.SetPolicies(number, s.Policies)
	case raid.StepBoot:
		return c.SetBoot(number)
	case raid.StepInitialize:
		return c.Initialize(number, s.Initialize)
	}
	return refuse(RefusedUnsupported, "step %s is not known", s.Kind)
}
