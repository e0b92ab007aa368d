package storcli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/raid"
)

// Exec does one step. It reads the controller first, and finds the step's volumes and drives by who they are: numbers
// may have changed hands since the plan. When the tool reports a failure, or nothing that can be understood, the
// controller is read again, and what is there decides.
func (d *Driver) Exec(ctx context.Context, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := inv.Controller.ID
	before, err := d.inventory(ctx, id)
	if err != nil {
		return err
	}
	at := d.known[id]
	commands, err := makeCommands(at, before, s, false)
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
		err := d.write(work, c)
		if err == nil {
			continue
		}
		if c.part != nil && len(commands) > 1 {
			// What is there decides for each drive, and not for all at the end: the rest is still to be done.
			after, unread := d.inventory(work, id)
			if unread == nil && done(before, after, *c.part) {
				continue
			}
		}
		trouble = append(trouble, err)
		if !c.mayFail {
			break
		}
	}
	if s.Kind == raid.StepCreateVolume {
		return d.created(work, before, s, trouble)
	}
	if len(trouble) == 0 {
		return nil
	}
	after, err := d.inventory(work, id)
	if err != nil {
		return errors.Join(append(trouble, fmt.Errorf("and afterwards it could not be read what is there: %w", err))...)
	}
	if done(before, after, s) {
		return nil
	}
	return fmt.Errorf("controller %s: %s: %w", id, s.Kind, errors.Join(trouble...))
}

// write runs a command that changes something, once, and judges it by what the tool says of each target.
func (d *Driver) write(ctx context.Context, c command) error {
	quiet := d.quiet
	if quiet == nil {
		quiet = quiets[0]
	}
	ctx, cancel := context.WithTimeout(ctx, d.writes)
	defer cancel()
	replies, err := d.ask(ctx, c.args, quiet)
	if err != nil {
		return err
	}
	var words []string
	for i := range replies {
		words = append(words, replies[i].words()...)
		// Generation 8 tells of each new volume in the data.
		walk(replies[i].data, func(name string, v any) {
			if name != "VD Information" {
				return
			}
			told := reply{details: rows(v)}
			for _, line := range told.details {
				if line.has("VDID") && line.has("Status") {
					words = append(words, told.words()...)
					return
				}
			}
		})
	}
	if len(words) > 0 {
		return fmt.Errorf("%s: %s", d.line(c.args), strings.Join(words, "; "))
	}
	return nil
}

// created finds the volume that was made: the only one whose WWN was not there before.
func (d *Driver) created(ctx context.Context, before *raid.Inventory, s raid.Step, trouble []error) error {
	id := before.Controller.ID
	if len(trouble) == 0 && !starts(s.Create.Initialize) {
		return nil
	}
	after, err := d.inventory(ctx, id)
	if err != nil {
		return errors.Join(append(trouble, fmt.Errorf("controller %s: whether volume %q was made could not be read: %w", id,
			s.Create.Name, err))...)
	}
	v := newVolume(before, after, s)
	if v == nil {
		if len(trouble) > 0 {
			return fmt.Errorf("controller %s: volume %q: %w", id, s.Create.Name, errors.Join(trouble...))
		}
		return fmt.Errorf("controller %s: volume %q is not there, although %s has accepted it", id, s.Create.Name, d.Name())
	}
	if !starts(s.Create.Initialize) {
		return nil
	}
	number, _ := volumeNumber(v.ID)
	if err := d.write(ctx, initialize(d.known[id], strconv.Itoa(number), s.Create.Initialize)); err != nil {
		// Whatever the tool said, an initialization that is seen has begun.
		now, unread := d.inventory(ctx, id)
		if unread == nil && slices.ContainsFunc(now.Volumes, func(o raid.VirtualDisk) bool {
			return sameVolume(v, &o) && o.Progress != nil
		}) {
			return nil
		}
		return fmt.Errorf("controller %s: volume %s is made, but is not being initialized: %w", id, v.ID, err)
	}
	return nil
}

func newVolume(before, after *raid.Inventory, s raid.Step) *raid.VirtualDisk {
	var made *raid.VirtualDisk
	for i := range after.Volumes {
		v := &after.Volumes[i]
		if slices.ContainsFunc(before.Volumes, func(old raid.VirtualDisk) bool { return sameVolume(&old, v) }) {
			continue
		}
		if v.Level.Is != s.Create.Level || len(v.Members) != len(s.Disks) {
			continue
		}
		if slices.ContainsFunc(s.Disks, func(d raid.DiskRef) bool { return !slices.Contains(v.Members, d.ID) }) {
			continue
		}
		if made != nil {
			return nil
		}
		made = v
	}
	return made
}

func sameVolume(a, b *raid.VirtualDisk) bool {
	if a.WWN != "" || b.WWN != "" {
		return a.WWN == b.WWN
	}
	return a.ID == b.ID
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
	case raid.StepMode:
		if after.Controller.PendingMode != "" {
			return after.Controller.PendingMode == s.Mode
		}
		return after.Controller.Mode == s.Mode
	case raid.StepDiscardCache:
		return len(after.Controller.PreservedCache) == 0
	case raid.StepClearForeign, raid.StepImportForeign:
		return len(after.Foreign) == 0
	case raid.StepDeleteVolume:
		old, err := findVolume(before, s.Volume)
		return err == nil && !slices.ContainsFunc(after.Volumes, func(v raid.VirtualDisk) bool { return sameVolume(old, &v) })
	case raid.StepRemoveSpare, raid.StepReady:
		return all(func(d *raid.PhysicalDisk) bool { return d.State.Is == raid.DiskReady })
	case raid.StepJBOD:
		return all(func(d *raid.PhysicalDisk) bool { return d.State.Is == raid.DiskJBOD })
	case raid.StepAddSpare:
		var want []raid.VolumeID
		for i := range s.SpareFor {
			v, err := findVolume(after, &s.SpareFor[i])
			if err != nil {
				return false
			}
			want = append(want, v.ID)
		}
		return all(func(d *raid.PhysicalDisk) bool {
			return d.State.Is == raid.DiskSpare && (len(want) > 0) == (len(d.SpareFor) > 0) &&
				!slices.ContainsFunc(want, func(v raid.VolumeID) bool { return !slices.Contains(d.SpareFor, v) })
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
