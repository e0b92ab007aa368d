package loda

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/raid"
)

// A machine's RAID layout is made in rounds: the agent reads the controllers and plans, this side looks at the plan and
// approves it or not, the agent does it and plans again. Nothing is remembered of a round that the next could not read:
// a power cut in the middle begins with a look.

// RAIDRun is how far a machine is with its RAID layout.
type RAIDRun struct {
	// Done: the layout is there. Boot is the volume that it starts from, if the layout names one.
	Done bool        `json:"done,omitempty"`
	Boot *RAIDVolume `json:"boot,omitempty"`
	// Approved is the plan that the agent may do next; nil: it looks.
	Approved *raid.Approval `json:"approved,omitempty"`
	// Refused are steps that need what the profile does not give, each in a sentence with all that it would destroy, and
	// Accepted those that a person has released the machine with.
	Refused  []string `json:"refused,omitempty"`
	Accepted []string `json:"accepted,omitempty"`
	// Rebooting: the machine is leaving bootOS in the middle of it.
	Rebooting bool `json:"rebooting,omitempty"`
	// Rounds, Reboots and Failures of this attempt; see the constants.
	Rounds   int `json:"rounds,omitempty"`
	Reboots  int `json:"reboots,omitempty"`
	Failures int `json:"failures,omitempty"`
}

// RAIDVolume is a volume, as the operating system finds it.
type RAIDVolume struct {
	Name  string `json:"name,omitempty"`
	WWN   string `json:"wwn,omitempty"`
	Path  string `json:"path,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
}

// A layout takes two rounds, and more where a controller's mode is changed first. Whoever wants more than these goes round
// in circles.
const (
	maxRAIDRounds   = 24
	maxRAIDReboots  = 4
	maxRAIDFailures = 3
)

// ForRAID: its RAID layout cannot be had, or would cost what the profile does not allow.
const ForRAID Quarantine = "raid"

// startOver forgets what the machine has said since it booted. What is counted, and what was accepted, stays.
func (r *RAIDRun) startOver() *RAIDRun {
	if r == nil {
		return nil
	}
	return &RAIDRun{Accepted: r.Accepted, Rounds: r.Rounds, Reboots: r.Reboots, Failures: r.Failures}
}

// again is for an attempt that begins anew. accept: a person has released the machine with the plan that was refused.
func (r *RAIDRun) again(accept bool) *RAIDRun {
	switch {
	case r == nil:
		return nil
	case accept:
		return &RAIDRun{Accepted: append(slices.Clone(r.Accepted), r.Refused...)}
	}
	return &RAIDRun{Accepted: r.Accepted}
}

// refuses are the steps of a plan that need what neither the profile gives nor a person has accepted, and the permissions
// that they need. What was accepted is accepted of a plan that is shorter too: the power may have gone in its middle.
func (r *RAIDRun) refuses(p *raid.Plan, allow []raid.Permission) (steps []string, missing []raid.Permission) {
	for _, s := range p.Steps {
		lacks := slices.DeleteFunc(slices.Clone(s.Needs), func(n raid.Permission) bool { return slices.Contains(allow, n) })
		sentence := raidCost(&s)
		if len(lacks) == 0 || slices.Contains(r.Accepted, sentence) {
			continue
		}
		steps, missing = append(steps, sentence), append(missing, lacks...)
	}
	slices.Sort(missing)
	return steps, slices.Compact(missing)
}

// raidCost is all that is lost by a step. One that is too long to be shown ends with a fingerprint of the whole: two that
// differ never read the same.
func raidCost(s *raid.Step) string {
	text := fmt.Sprintf("%s on controller %s", s.Summary(), s.Controller)
	if len(s.Destroys) > 0 {
		text += " destroys " + strings.Join(s.Destroys, ", ")
	}
	const limit = 1000
	whole := cleaned(text, len(text))
	if len(whole) <= limit {
		return whole
	}
	return fmt.Sprintf("%s… (cut; fingerprint of all %d bytes %.16x)", cleaned(whole, limit), len(whole), sha256.Sum256([]byte(text)))
}

// proceedRAID adds the next round.
func (p *Plan) proceedRAID() {
	if p.RAID == nil {
		p.RAID = &RAIDRun{}
	}
	p.RAID.Rounds++
	title := "read the RAID controllers and plan"
	if a := p.RAID.Approved; a != nil {
		title = fmt.Sprintf("do RAID plan %.12s", a.Plan)
	}
	p.add(agentapi.ActionConfigureRAID, title)
}

// raidAnswer moves an installation on after the agent has looked at its controllers, or changed them.
func (in *Installer) raidAnswer(inst *inventory.Installation, plan *Plan, data json.RawMessage, now time.Time) ([]inventory.Event, error) {
	var said agentapi.ConfigureRAIDResult
	if err := json.Unmarshal(data, &said); err != nil {
		return in.raidBroke(inst, fmt.Sprintf("its agent's report on the RAID layout cannot be read: %v", err), nil, now)
	}
	run := plan.RAID
	approved := run.Approved
	run.Approved = nil
	events := raidEvents(inst, &said, now)
	switch {
	case said.Impossible != "":
		return in.raidQuarantine(inst, plan, "the RAID layout of profile "+plan.Profile.Name+at(plan.Profile.Revision)+" is not possible: "+
			said.Impossible, events, now)
	case said.Failed != "":
		run.Failures++
		if run.Failures >= maxRAIDFailures {
			return in.raidBroke(inst, said.Failed, events, now)
		}
		events = append(events, event(inst, inventory.KindAlarm, now, nil, "%s; the controllers are read again, try %d of %d",
			printableLong(said.Failed), run.Failures+1, maxRAIDFailures))
		return events, nil
	case said.Reboot != "":
		if run.Reboots++; run.Reboots > maxRAIDReboots {
			return in.raidBroke(inst, fmt.Sprintf("the RAID layout wants reboot %d of this attempt: %s", run.Reboots, said.Reboot), events, now)
		}
		run.Rebooting = true
		plan.add(agentapi.ActionBoot, "reboot to go on with the RAID layout: "+printable(said.Reboot))
		return events, nil
	case said.Plan == nil:
		return in.raidBroke(inst, "its agent neither planned the RAID layout nor said why", events, now)
	case said.Plan.Empty():
		run.Done, run.Boot = true, bootVolume(plan.Profile.RAID, said.Inventories)
		plan.add(agentapi.ActionDetect, "look at the disks again, with the volumes of the RAID layout")
		return append(events, event(inst, inventory.KindAction, now, nil, "the RAID layout is there")), nil
	case run.Rounds >= maxRAIDRounds:
		return in.raidBroke(inst, fmt.Sprintf("the RAID layout is not there after %d rounds, of which each planned more", run.Rounds), events, now)
	}
	digest := said.Plan.Digest()
	if steps, missing := run.refuses(said.Plan, plan.Profile.RAID.Allow); len(missing) > 0 {
		run.Refused = steps
		return in.raidQuarantine(inst, plan, raidRefusal(plan, steps, missing), events, now)
	}
	if approved != nil && approved.Plan == digest {
		// It was approved, nothing failed, and it still is to be done.
		run.Failures++
		if run.Failures >= maxRAIDFailures {
			return in.raidBroke(inst, "the RAID plan was done, and the same is planned again", events, now)
		}
	}
	run.Approved = &raid.Approval{Machine: string(inst.Serial), Plan: digest, Allow: said.Plan.Needs()}
	return append(events, event(inst, inventory.KindAction, now, run.Approved, "RAID plan %.12s is approved%s", digest, permitted(run.Approved.Allow))), nil
}

func permitted(allow []raid.Permission) string {
	if len(allow) == 0 {
		return ": it destroys nothing"
	}
	return ", with permission for " + permissionWords(allow)
}

func permissionWords(list []raid.Permission) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = string(p)
	}
	return strings.Join(words, ", ")
}

// raidRefusal says what a plan would cost, and what to do.
func raidRefusal(plan *Plan, steps []string, missing []raid.Permission) string {
	const most = 5
	text := fmt.Sprintf("the RAID layout of profile %s%s needs permission for %s: %s", plan.Profile.Name, at(plan.Profile.Revision),
		permissionWords(missing), strings.Join(steps[:min(len(steps), most)], "; "))
	if n := len(steps) - most; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return text + ". Name it under raid.allow in the profile, or release the machine to lose just this"
}

func (in *Installer) raidQuarantine(inst *inventory.Installation, plan *Plan, reason string, events []inventory.Event, now time.Time) ([]inventory.Event, error) {
	plan.Quarantine = ForRAID
	moved, err := Transition(inst, Differs, printableLong(reason), now, in.deadlines)
	return append(events, moved...), err
}

func (in *Installer) raidBroke(inst *inventory.Installation, reason string, events []inventory.Event, now time.Time) ([]inventory.Event, error) {
	broke, err := Transition(inst, Broke, printableLong(reason), now, in.deadlines)
	return append(events, broke...), err
}

// maxRAIDEvents bounds the lines that one report makes in the timeline.
const maxRAIDEvents = 200

// raidEvents tell what the agent saw and what is to be done. Documents that are too large for the timeline are left out;
// their line says what is in them.
func raidEvents(inst *inventory.Installation, said *agentapi.ConfigureRAIDResult, now time.Time) []inventory.Event {
	var events []inventory.Event
	add := func(kind inventory.Kind, data any, format string, args ...any) {
		if len(events) >= maxRAIDEvents {
			return
		}
		if doc, err := json.Marshal(data); err != nil || len(doc) > maxResult {
			data = nil
		}
		e := event(inst, kind, now, data, "%s", "")
		e.Message = printableLong(fmt.Sprintf(format, args...))
		events = append(events, e)
	}
	if said.Done > 0 {
		add(inventory.KindAction, nil, "RAID: %d steps are done", said.Done)
	}
	for _, inv := range said.Inventories {
		if inv == nil {
			continue
		}
		add(inventory.KindAction, inv, "RAID controller %s", inv.Summary())
		for _, w := range inv.Warnings {
			add(inventory.KindAlarm, nil, "RAID controller %s: %s", inv.Controller.ID, w)
		}
	}
	for _, why := range said.Unmanaged {
		add(inventory.KindAlarm, nil, "RAID: %s", why)
	}
	if p := said.Plan; p != nil && !p.Empty() {
		add(inventory.KindAction, p, "RAID plan %.12s: %d steps", p.Digest(), len(p.Steps))
		for i, s := range p.Steps {
			lost := ""
			if len(s.Destroys) > 0 {
				lost = "; destroys " + strings.Join(s.Destroys, "; ")
			}
			add(inventory.KindLog, nil, "RAID step %d of %d: %s: %s%s", i+1, len(p.Steps), s.Summary(), s.Reason, lost)
		}
		for _, note := range p.Notes {
			add(inventory.KindLog, nil, "RAID: %s", note)
		}
	}
	return events
}

// bootVolume finds the layout's boot volume among what is there now.
func bootVolume(l *raid.Layout, inventories []*raid.Inventory) *RAIDVolume {
	want := l.BootVolume()
	if want == nil {
		return nil
	}
	var found []*raid.VirtualDisk
	for _, inv := range inventories {
		if inv == nil {
			continue
		}
		for i := range inv.Volumes {
			v := &inv.Volumes[i]
			if v.Name == want.Name || v.Name == "" && v.Boot != nil && *v.Boot {
				found = append(found, v)
			}
		}
	}
	if len(found) != 1 {
		return nil // the profile's disk rule has to tell
	}
	return &RAIDVolume{Name: want.Name, WWN: found[0].WWN, Path: found[0].Path, Bytes: found[0].Bytes}
}

// rootDisk chooses the disk that the operating system goes to. Where a layout has a volume to boot from and the profile
// has no rule of its own, it is that volume.
func (r *RAIDRun) rootDisk(p *Profile, facts *hw.Facts) (*hw.Disk, error) {
	if r == nil || p.RAID == nil || p.RAID.BootVolume() == nil || p.Disk != (hw.DiskRule{}) {
		return p.Disk.Choose(facts.Disks)
	}
	if r.Boot == nil {
		// The only disk that there is might be somebody's.
		return nil, fmt.Errorf("which volume is %s of the RAID layout cannot be told from what its tool says: give the profile a rule "+
			"that chooses the disk", p.RAID.BootVolume().Name)
	}
	var found []*hw.Disk
	for i := range facts.Disks {
		d := &facts.Disks[i]
		switch {
		case r.Boot.WWN != "" && d.WWN != "":
			if d.Matches("", r.Boot.WWN, "", 0) {
				found = append(found, d)
			}
		case r.Boot.Path != "" && "/dev/"+d.Name == r.Boot.Path && d.Kind == hw.RAIDVolume:
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d disks of the machine are volume %s of its RAID layout (WWN %s, %s): give the profile a rule that "+
			"chooses the disk", len(found), r.Boot.Name, orDash(r.Boot.WWN), orDash(r.Boot.Path))
	}
	return found[0], nil
}

// settleRAID takes the machine's facts once its volumes are there.
func (in *Installer) settleRAID(inst *inventory.Installation, plan *Plan, v verdict, now time.Time) ([]inventory.Event, error) {
	if v.broke == nil && v.profile == nil {
		v.broke = errors.New("no profile is for the machine any more, now that its volumes are there: " + v.reason)
	}
	if v.broke != nil {
		return Transition(inst, Broke, oneLine(v.broke), now, in.deadlines)
	}
	return plan.settle(inst, v, now), nil
}
