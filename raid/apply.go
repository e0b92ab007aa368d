package raid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Event is what [Apply] tells while it works.
type Event struct {
	Kind EventKind `json:"kind"`
	// Index of the step, from 0, of so many.
	Index int  `json:"index"`
	Of    int  `json:"of"`
	Step  Step `json:"step"`
	// Commands that are run, with [StepStarted].
	Commands [][]string `json:"commands,omitempty"`
	// Progress, with [StepProgress].
	Progress *Progress `json:"progress,omitempty"`
	// Text says what was found afterwards.
	Text string `json:"text,omitempty"`
}

// EventKind is the kind of an [Event].
type EventKind string

const (
	StepStarted  EventKind = "started"
	StepProgress EventKind = "progress"
	// StepDone: it was done, and the state that was read afterwards shows it.
	StepDone EventKind = "done"
	// StepSkipped: an earlier step had that effect already.
	StepSkipped EventKind = "skipped"
	StepFailed  EventKind = "failed"
)

// ChangedError says that a controller is no longer what a plan was made for. Nothing was done.
type ChangedError struct {
	Controller ControllerID
	// Gone are lines of [Seen] that do not hold any more, New are those that hold instead.
	Gone, New []string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("controller %s has changed since the plan was made: it had %s; it has %s; read it and plan again",
		e.Controller, enumerate(orNothing(e.Gone), 4), enumerate(orNothing(e.New), 4))
}

func orNothing(list []string) []string {
	if len(list) == 0 {
		return []string{"nothing else"}
	}
	return list
}

// StepError is a step that was not done, or not as it should be. What was before it is done, and nothing after it is
// begun. The way on is to read, plan again, and look at that plan.
type StepError struct {
	Index int
	Step  Step
	// Err is what the driver said; nil if it said that all is well.
	Err error
	// State is what was found afterwards.
	State string
}

func (e *StepError) Error() string {
	said := "the tool reported success"
	if e.Err != nil {
		said = e.Err.Error()
	}
	return fmt.Sprintf("RAID step %d, %s on controller %s, failed: %s; now %s", e.Index+1, e.Step.Summary(),
		e.Step.Controller, said, e.State)
}

func (e *StepError) Unwrap() error { return e.Err }

// RebootError says that all is done that can be, and that the machine must be restarted before the rest can. It is no
// failure: afterwards, read and plan again.
type RebootError struct{ Why []string }

func (e *RebootError) Error() string {
	return "the machine must be restarted to go on with its RAID layout: " + enumerate(e.Why, 4)
}

// rereadWithin bounds the reading after a step, also when the caller has given up meanwhile.
const rereadWithin = 2 * time.Minute

// Apply does the steps of a plan. It begins nothing before everything that the plan saw still stands and the guard has
// let all its steps pass. After each step it reads the controller again, whatever the driver said, and goes on only if
// the step's result is there: the new volume with its level, drives and size, the deleted one gone, and no other volume
// lost or made. A step is never done twice: one that failed is looked at, and ends Apply unless it was done all the
// same.
//
// When ctx ends, the step that is running is finished and read back, and none is begun.
//
// Errors are *[ChangedError], *[RefusedError], *[StepError] and, when everything is well so far, *[RebootError].
// observe may be nil.
func Apply(ctx context.Context, d Driver, p *Plan, g Guard, observe func(Event)) error {
	if observe == nil {
		observe = func(Event) {}
	}
	if err := g.Check(p); err != nil {
		return err
	}
	r := &run{driver: d, plan: p, guard: &g, observe: observe, now: map[ControllerID]*Inventory{},
		made: map[string]VolumeRef{}}
	for _, s := range p.Steps {
		if !slices.ContainsFunc(p.Seen, func(seen Seen) bool { return seen.Controller == s.Controller }) {
			return fmt.Errorf("RAID plan: it does not say what controller %s looked like; plan again", s.Controller)
		}
	}
	for _, seen := range p.Seen {
		inv, err := d.Inventory(ctx, seen.Controller)
		if err != nil {
			return fmt.Errorf("read controller %s before its plan is begun: %w", seen.Controller, err)
		}
		if gone, fresh := compareLines(seen.Lines, see(inv).Lines); len(gone)+len(fresh) > 0 {
			return &ChangedError{seen.Controller, gone, fresh}
		}
		r.now[seen.Controller] = inv
	}
	// What is in use is refused before the first step, not after half of them.
	for _, s := range p.Steps {
		if err := g.free(ctx, p, r.now[s.Controller], s); err != nil {
			return err
		}
	}
	for i := range p.Steps {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("RAID plan: stopped before step %d of %d: %w", i+1, len(p.Steps), context.Cause(ctx))
		}
		if err := r.step(ctx, i); err != nil {
			return err
		}
	}
	if len(p.Reboot) > 0 {
		return &RebootError{p.Reboot}
	}
	return nil
}

// compareLines returns what is only in one of two sorted lists.
func compareLines(a, b []string) (onlyA, onlyB []string) {
	for _, line := range a {
		if _, ok := slices.BinarySearch(b, line); !ok {
			onlyA = append(onlyA, line)
		}
	}
	for _, line := range b {
		if _, ok := slices.BinarySearch(a, line); !ok {
			onlyB = append(onlyB, line)
		}
	}
	if len(onlyA)+len(onlyB) == 0 && len(a) != len(b) {
		onlyB = []string{fmt.Sprintf("%d entries instead of %d", len(b), len(a))}
	}
	return onlyA, onlyB
}

// run is one Apply.
type run struct {
	driver  Driver
	plan    *Plan
	guard   *Guard
	observe func(Event)
	// now is each controller as it was last read.
	now map[ControllerID]*Inventory
	// made are the volumes that this run has made, by controller and name.
	made map[string]VolumeRef
}

func (r *run) step(ctx context.Context, i int) error {
	before := r.now[r.plan.Steps[i].Controller]
	event := func(kind EventKind, s Step, text string) Event {
		return Event{Kind: kind, Index: i, Of: len(r.plan.Steps), Step: s, Text: text}
	}
	s, err := r.bind(before, r.plan.Steps[i])
	if err != nil {
		r.observe(event(StepFailed, r.plan.Steps[i], err.Error()))
		return &StepError{Index: i, Step: r.plan.Steps[i], Err: err, State: "nothing of it was begun"}
	}
	if already(before, s) {
		r.observe(event(StepSkipped, s, "it is so already"))
		return nil
	}
	if err := r.guard.free(ctx, r.plan, before, s); err != nil {
		r.observe(event(StepFailed, s, err.Error()))
		return err
	}
	commands, err := r.driver.Commands(before, s)
	if err != nil {
		r.observe(event(StepFailed, s, err.Error()))
		return &StepError{Index: i, Step: s, Err: err, State: "nothing of it was begun"}
	}
	started := event(StepStarted, s, "")
	started.Commands = commands
	r.observe(started)
	failed := r.driver.Exec(ctx, before, s, func(p Progress) {
		e := event(StepProgress, s, "")
		e.Progress = &p
		r.observe(e)
	})
	// A caller who has given up still has to know what was done.
	rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rereadWithin)
	defer cancel()
	after, err := r.driver.Inventory(rctx, s.Controller)
	if err != nil {
		e := &StepError{Index: i, Step: s, Err: errors.Join(failed, err),
			State: "nobody knows whether it was done, since the controller cannot be read; read it and plan again"}
		r.observe(event(StepFailed, s, e.Error()))
		return e
	}
	r.now[s.Controller] = after
	text, done := verify(before, after, s)
	if beside := besides(before, after, s); beside != "" {
		text, done = strings.TrimPrefix(text+", and "+beside, ", and "), false
	}
	if !done || failed != nil && !provable(before, after, s) {
		e := &StepError{Index: i, Step: s, Err: failed, State: text}
		r.observe(event(StepFailed, s, e.Error()))
		return e
	}
	if s.Create != nil {
		r.made[string(s.Controller)+" "+s.Create.Name] = refVolume(after, created(before, after)[0])
	}
	if failed != nil {
		text += "; the tool said otherwise: " + clip(failed.Error())
	}
	r.observe(event(StepDone, s, text))
	return nil
}

// bind finds what a step is about in a controller as it is now. Drives and volumes may have other ids than they had;
// they are who they were by serial number and WWN.
func (r *run) bind(inv *Inventory, s Step) (Step, error) {
	disks := make([]DiskRef, len(s.Disks))
	for i, want := range s.Disks {
		d, err := findDisk(inv, want)
		if err != nil {
			return s, err
		}
		disks[i] = ref(d)
		if err := ready(inv, d, s); err != nil {
			return s, err
		}
	}
	if len(disks) > 0 {
		s.Disks = disks
	}
	volume := func(want VolumeRef) (VolumeRef, error) {
		if want.ID == "" && want.WWN == "" {
			made, ok := r.made[string(s.Controller)+" "+want.Name]
			if !ok {
				return want, fmt.Errorf("%s was to be made before", want)
			}
			want = made
		}
		v := findVolume(inv, want)
		if v == nil {
			if s.Kind == StepDeleteVolume && !slices.ContainsFunc(inv.Volumes,
				func(o VirtualDisk) bool { return o.ID == want.ID }) {
				return want, nil // and so it is done
			}
			return want, fmt.Errorf("%s is not there any more, or not on the drives that it was on", want)
		}
		return refVolume(inv, v), nil
	}
	if s.Volume != nil {
		v, err := volume(*s.Volume)
		if err != nil {
			return s, err
		}
		s.Volume = &v
	}
	spareFor := make([]VolumeRef, len(s.SpareFor))
	for i, want := range s.SpareFor {
		v, err := volume(want)
		if err != nil {
			return s, err
		}
		spareFor[i] = v
	}
	if len(spareFor) > 0 {
		s.SpareFor = spareFor
	}
	return s, nil
}

// findDisk returns the one drive that has the identity of r.
func findDisk(inv *Inventory, r DiskRef) (*PhysicalDisk, error) {
	var found *PhysicalDisk
	for i := range inv.Disks {
		if d := &inv.Disks[i]; sameIdentity(d.Identity(), r.DiskIdentity) {
			if found != nil {
				return nil, fmt.Errorf("%s is there twice, as %s and %s", r, found.Location, d.Location)
			}
			found = d
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%s is not there any more", r)
	}
	return found, nil
}

// sameIdentity reports whether everything that is known of both is equal, and something is.
func sameIdentity(a, b DiskIdentity) bool {
	as, bs, aw, bw := strings.TrimSpace(a.Serial), strings.TrimSpace(b.Serial), plainWWN(a.WWN), plainWWN(b.WWN)
	known := as != "" && as == bs || aw != "" && aw == bw
	return known && (as == bs || as == "" || bs == "") && (aw == bw || aw == "" || bw == "")
}

// findVolume returns the volume that r proves, nil if there is none. Its number decides only between volumes that
// nothing else tells apart: controllers give the number of a deleted volume to another one.
func findVolume(inv *Inventory, r VolumeRef) *VirtualDisk {
	var same []*VirtualDisk
	for i := range inv.Volumes {
		v := &inv.Volumes[i]
		if r.WWN != "" || v.WWN != "" {
			if plainWWN(v.WWN) == plainWWN(r.WWN) {
				return v
			}
			continue
		}
		if v.Name == r.Name && v.Level.Is == r.Level && v.Bytes == r.Bytes && sameMembers(refVolume(inv, v).Members,
			r.Members) {
			same = append(same, v)
		}
	}
	if len(same) == 1 {
		return same[0]
	}
	for _, v := range same {
		if v.ID == r.ID {
			return v
		}
	}
	return nil
}

func sameMembers(a, b []DiskIdentity) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x DiskIdentity) bool {
		return !slices.ContainsFunc(b, func(y DiskIdentity) bool { return sameIdentity(x, y) })
	})
}

// ready reports why a step cannot be done with a drive as it is now.
func ready(inv *Inventory, d *PhysicalDisk, s Step) error {
	if s.Kind != StepCreateVolume && s.Kind != StepAddSpare && s.Kind != StepJBOD {
		return nil
	}
	usable := d.State.Is == DiskReady || inv.Controller.ID == MD
	if s.Kind == StepCreateVolume && d.State.Is == DiskOnline {
		// It has a place in a volume beside, if all drives of the step have.
		usable = slices.ContainsFunc(inv.Volumes, func(v VirtualDisk) bool {
			return slices.Contains(v.Members, d.ID) && len(v.Members) == len(s.Disks)
		})
	}
	if !usable || d.Foreign || d.Locked {
		return fmt.Errorf("%s is %s, and not ready for it%s", ref(d), d.State,
			map[bool]string{true: ": it carries a foreign configuration"}[d.Foreign])
	}
	return nil
}
