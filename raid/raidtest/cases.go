package raidtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/project-loda/loda/raid"
)

func (s Suite) lists(t *testing.T) error {
	r, err := s.rig(t)
	if err != nil {
		return err
	}
	if err := r.agree(t.Context()); err != nil {
		return err
	}
	state, err := r.chassis.State()
	if err != nil {
		return err
	}
	if len(state.Journal) > 0 {
		return fmt.Errorf("looking has changed something: %v", state.Journal)
	}
	if inv, err := r.driver.Inventory(t.Context(), "ffff:ff:1f.7"); err == nil {
		return fmt.Errorf("a controller that is not there has an inventory: %v", inv)
	}
	return nil
}

func (s Suite) reaches(t *testing.T) error {
	r, err := s.rig(t)
	if err != nil {
		return err
	}
	for range 4 { // as often as modes must be switched and the machine started
		done, err := r.once(t.Context())
		if done {
			break
		}
		if reboot := (*raid.RebootError)(nil); errors.As(err, &reboot) {
			err = r.start()
		}
		if err != nil {
			return err
		}
		if err := r.agree(t.Context()); err != nil {
			return fmt.Errorf("after the plan: %w", err)
		}
	}
	if p, err := r.plan(t.Context()); err != nil {
		return fmt.Errorf("second plan: %w", err)
	} else if !p.Empty() {
		return fmt.Errorf("the second plan is not empty: %s", steps(p))
	}
	if err := r.settled(); err != nil {
		return err
	}
	state, err := r.chassis.State()
	if err != nil {
		return err
	}
	for _, e := range state.Journal {
		if e.Refused != "" {
			return fmt.Errorf("command %d, %s, was refused: %s", e.Number, e.Op, e.Refused)
		}
	}
	return nil
}

func (s Suite) refusesChanged(t *testing.T) error {
	r, err := s.rig(t)
	if err != nil {
		return err
	}
	p, err := r.plan(t.Context())
	if err != nil {
		return err
	}
	if err := r.chassis.Edit(func(state *State) error {
		d := state.Controllers[0].Drives[0]
		d.Serial += "X" // another drive in its place
		for _, v := range state.Controllers[0].Volumes {
			for i, m := range v.Members {
				if m+"X" == d.Serial {
					v.Members[i] = d.Serial
				}
			}
		}
		return nil
	}); err != nil {
		return err
	}
	err = raid.Apply(t.Context(), r.driver, p, approved(p), nil)
	if changed := (*raid.ChangedError)(nil); !errors.As(err, &changed) {
		return fmt.Errorf("a drive was replaced after the plan was made, and Apply says: %v", err)
	}
	return r.untouched()
}

func (s Suite) refusesUnapproved(t *testing.T) error {
	r, err := s.rig(t)
	if err != nil {
		return err
	}
	p, err := r.plan(t.Context())
	if err != nil || len(p.Needs()) == 0 {
		return err
	}
	g := approved(p)
	g.Approval.Allow = nil
	err = raid.Apply(t.Context(), r.driver, p, g, nil)
	if refused := (*raid.RefusedError)(nil); !errors.As(err, &refused) {
		return fmt.Errorf("nobody approved what is destroyed, and Apply says: %v", err)
	}
	return r.untouched()
}

// untouched reports what was done where nothing should have been.
func (r *rig) untouched() error {
	state, err := r.chassis.State()
	if err == nil && len(state.Journal) > 0 {
		err = fmt.Errorf("something was done all the same: %v", state.Journal)
	}
	return err
}

func (s Suite) readFails(t *testing.T) error {
	r, err := s.rig(t, Fault{Kind: DoneExit1, Op: AnyRead})
	if err != nil {
		return err
	}
	return r.agree(t.Context())
}

// maxCommands bounds how many commands a layout takes.
const maxCommands = 200

// cuts cuts the power at the first command, then in another machine at the second, until the layout is reached first.
func (s Suite) cuts(t *testing.T, kind FaultKind) error {
	for n := 1; n <= maxCommands; n++ {
		r, err := s.rig(t, Fault{Kind: kind, Command: n})
		if err != nil {
			return err
		}
		if err := r.reach(t.Context()); err != nil {
			return fmt.Errorf("power %s command %d: %w", kind, n, err)
		}
		state, err := r.chassis.State()
		if err != nil {
			return err
		}
		if err := noReplay(state); err != nil {
			return fmt.Errorf("power %s command %d: %w", kind, n, err)
		}
		if len(state.Faults) > 0 { // it had not come to that command
			if n == 1 {
				return errors.New("the layout is reached without a command")
			}
			return nil
		}
	}
	return fmt.Errorf("the layout takes more than %d commands", maxCommands)
}

// noReplay finds commands that were tried again although they were done: firmware refuses the second one.
func noReplay(state *State) error {
	for _, e := range state.Journal {
		if e.Refused != "" {
			return fmt.Errorf("command %d, %s, was refused: %s; after a failure the state must be read before anything is done",
				e.Number, e.Op, e.Refused)
		}
	}
	return nil
}

// fails lets each command fail once, in a machine of its own.
func (s Suite) fails(t *testing.T, kind FaultKind) error {
	for n := 1; n <= maxCommands; n++ {
		r, err := s.rig(t, Fault{Kind: kind, Command: n, Delay: 1e6, Text: "simulated refusal"})
		if err != nil {
			return err
		}
		at := fmt.Sprintf("fault %s at command %d", kind, n)
		var failed error
		for range 4 {
			done, err := r.once(t.Context())
			if reboot := (*raid.RebootError)(nil); errors.As(err, &reboot) {
				err = r.start()
			}
			if failed = err; done || failed != nil {
				break
			}
		}
		state, err := r.chassis.State()
		if err != nil {
			return err
		}
		happened := len(state.Faults) == 0
		step := (*raid.StepError)(nil)
		switch {
		case !happened && failed != nil:
			return fmt.Errorf("%s, which was never run: %w", at, failed)
		case !happened:
			return r.settled()
		case (kind == Slow || kind == DoneExit1 || kind == HangAfter) && failed != nil:
			return fmt.Errorf("%s: it was done, and Apply says: %w", at, failed)
		case kind == Slow || kind == DoneExit1 || kind == HangAfter:
		case !errors.As(failed, &step):
			return fmt.Errorf("%s: it was not done, and Apply says: %v", at, failed)
		case kind != Lie && step.Err == nil:
			return fmt.Errorf("%s: the tool said no, and the driver did not tell: %w", at, failed)
		}
		if err := r.reach(t.Context()); err != nil {
			return fmt.Errorf("%s, and afterwards: %w", at, err)
		}
		if state, err = r.chassis.State(); err == nil {
			err = noReplay(state)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	return fmt.Errorf("the layout takes more than %d commands", maxCommands)
}

// degrades lets the drives of a volume that is there fail and come back. The layout keeps such a volume.
func (s Suite) degrades(t *testing.T) error {
	r, err := s.rig(t)
	if err != nil {
		return err
	}
	if err := r.reach(t.Context()); err != nil {
		return err
	}
	state, err := r.chassis.State()
	if err != nil {
		return err
	}
	ctl := state.Controllers[0]
	i := slices.IndexFunc(ctl.Volumes, func(v *Volume) bool { return redundancy(v.Level, len(v.Members)) > 0 })
	if i < 0 {
		return nil
	}
	victim := ctl.Volumes[i].Members[0]
	world := []struct {
		what string
		do   func(*Controller) error
	}{
		{"a SMART alert", func(c *Controller) error { c.Drive(victim).SMARTAlert = true; return nil }},
		{"a failed drive", func(c *Controller) error { return c.FailDrive(victim) }},
		{"a rebuild", func(c *Controller) error { c.Advance(0.4); return nil }},
		{"a pulled drive", func(c *Controller) error { return c.Pull(victim) }},
		{"a rebuild that is done", func(c *Controller) error { c.Advance(1); return nil }},
	}
	for _, w := range world {
		if err := r.chassis.Edit(func(s *State) error { return w.do(s.Controllers[0]) }); err != nil {
			return err
		}
		if err := r.agree(t.Context()); err != nil {
			return fmt.Errorf("after %s: %w", w.what, err)
		}
		p, err := r.plan(t.Context())
		if impossible := (*raid.ImpossibleError)(nil); errors.As(err, &impossible) {
			continue // a spare that was used up is missed; what is there is left alone all the same
		}
		if err != nil {
			return fmt.Errorf("after %s: %w", w.what, err)
		}
		if len(p.Destroys()) > 0 {
			return fmt.Errorf("after %s the plan destroys %v", w.what, p.Destroys())
		}
	}
	return nil
}

// foreign lets the volumes become those of another machine, and cache be left over.
func (s Suite) foreign(t *testing.T) error {
	r, err := s.rig(t)
	if err != nil {
		return err
	}
	happened, cache := false, false
	if err := r.chassis.Edit(func(state *State) error {
		c := state.Controllers[0]
		if len(c.Volumes) == 0 || !c.Capabilities.ClearForeign {
			return nil
		}
		if happened, cache = true, c.Cache.Bytes > 0; cache {
			c.PreservedCache = []string{"7"}
		}
		return c.GoForeign(c.Volumes[0].Number)
	}); err != nil || !happened {
		return err
	}
	if err := r.agree(t.Context()); err != nil {
		return err
	}
	p, err := r.plan(t.Context())
	if err != nil {
		return err
	}
	if cache && !slices.Contains(p.Needs(), raid.AllowPreservedCache) {
		return fmt.Errorf("preserved cache is thrown away without a permission: %s", steps(p))
	}
	return r.reach(context.WithoutCancel(t.Context()))
}
