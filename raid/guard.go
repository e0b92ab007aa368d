package raid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Approval is what a person or a server has allowed: one plan, on one machine, and what of it is dangerous. It is no
// secret; whoever hands it to a machine has to be trusted.
type Approval struct {
	// Machine is the serial number of the machine that the plan was made on.
	Machine string `json:"machine"`
	// Plan is [Plan.Digest].
	Plan string `json:"plan"`
	// Allow names each permission; see [Plan.Needs].
	Allow []Permission `json:"allow,omitempty"`
}

// Guard stands before every step of [Apply]. Its zero value lets nothing through that needs a permission.
type Guard struct {
	// Machine is the serial number that this machine says of itself.
	Machine string
	// Approval of the plan; nil: none was given. A plan that needs no permission needs no approval.
	Approval *Approval
	// InUse tells what of this machine's disks is in use now: mounted, swapped to, started from. It is asked before each
	// step that touches drives. Nil: nobody knows, and steps on what the operating system sees are refused.
	// [ReadInUse] reads it on Linux.
	InUse func(context.Context) ([]Use, error)
}

// Use is a disk that the operating system is using.
type Use struct {
	// Path is the device, such as /dev/sda; Serial and WWN are the disk's, as far as they are known.
	Path   string `json:"path"`
	Serial string `json:"serial,omitempty"`
	WWN    string `json:"wwn,omitempty"`
	// Why such as `mounted on /`.
	Why string `json:"why"`
}

// RefusedError is a step that the guard did not let through. Nothing was done of it.
type RefusedError struct {
	Step Step
	// Missing are permissions that were not given; empty if it is something else.
	Missing []Permission
	Why     string
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("RAID step %s on controller %s is refused: %s", e.Step.Summary(), e.Step.Controller, e.Why)
	if len(e.Step.Destroys) > 0 {
		text += "; it would destroy " + enumerate(e.Step.Destroys, 4)
	}
	return text
}

// allow checks the approval of a step.
func (g *Guard) allow(p *Plan, s Step) error {
	if len(s.Needs) == 0 {
		return nil
	}
	a := g.Approval
	refused := &RefusedError{Step: s}
	machine := strings.TrimSpace(g.Machine)
	switch {
	case a == nil:
		refused.Missing = s.Needs
		refused.Why = fmt.Sprintf("it needs %s, and nobody has approved the plan", permissions(s.Needs))
	case machine == "" || !strings.EqualFold(strings.TrimSpace(a.Machine), machine):
		refused.Why = fmt.Sprintf("the approval is for machine %q, and this is %q", clip(a.Machine), clip(machine))
	case a.Plan != p.Digest():
		refused.Why = "the approval is for another plan; look at this one and approve it"
	default:
		for _, need := range s.Needs {
			if !slices.Contains(a.Allow, need) {
				refused.Missing = append(refused.Missing, need)
			}
		}
		if len(refused.Missing) == 0 {
			return nil
		}
		refused.Why = fmt.Sprintf("it needs %s, which the approval does not name", permissions(refused.Missing))
	}
	return refused
}

func permissions(list []Permission) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = "permission " + string(p)
	}
	return strings.Join(words, " and ")
}

// free checks that the operating system uses nothing that a step touches. The step is one that [bind] has resolved.
func (g *Guard) free(ctx context.Context, p *Plan, inv *Inventory, s Step) error {
	paths, serials, wwns, nameless := touched(inv, s)
	if len(paths) == 0 {
		return nil // the operating system sees none of it
	}
	if g.Approval != nil && slices.Contains(g.Approval.Allow, AllowMounted) && g.Approval.Plan == p.Digest() &&
		strings.EqualFold(strings.TrimSpace(g.Approval.Machine), strings.TrimSpace(g.Machine)) {
		return nil
	}
	if g.InUse == nil {
		return &RefusedError{Step: s, Missing: []Permission{AllowMounted},
			Why: fmt.Sprintf("the operating system sees %s, and what it has mounted is not known", enumerate(paths, 4))}
	}
	uses, err := g.InUse(ctx)
	if err != nil {
		return &RefusedError{Step: s, Why: fmt.Sprintf("what the operating system has mounted cannot be read: %v", err)}
	}
	for _, u := range uses {
		if nameless {
			return &RefusedError{Step: s, Missing: []Permission{AllowMounted}, Why: fmt.Sprintf("it touches what has neither a "+
				"path nor a WWN, which may be %s, in use: %s", clip(u.Path), clip(u.Why))}
		}
		if slices.Contains(paths, u.Path) || u.Serial != "" && slices.Contains(serials, strings.TrimSpace(u.Serial)) ||
			u.WWN != "" && slices.Contains(wwns, plainWWN(u.WWN)) {
			return &RefusedError{Step: s, Missing: []Permission{AllowMounted},
				Why: fmt.Sprintf("%s is in use: %s", clip(u.Path), clip(u.Why))}
		}
	}
	return nil
}

// touched is what the operating system may see of that which a step changes or destroys. nameless: there is something
// among it that cannot be told from what is in use.
func touched(inv *Inventory, s Step) (paths, serials, wwns []string, nameless bool) {
	volume := func(v *VirtualDisk) { // which the operating system sees, whether the tool tells its name or not
		paths = append(paths, cmp.Or(v.Path, v.WWN, "volume "+string(v.ID)))
		wwns = append(wwns, plainWWN(v.WWN))
		nameless = nameless || v.Path == "" && v.WWN == ""
	}
	disk := func(d *PhysicalDisk) {
		if d.Path == "" && d.State.Is != DiskJBOD && inv.Controller.ID != MD {
			return
		}
		paths = append(paths, cmp.Or(d.Path, d.Location))
		serials, wwns = append(serials, strings.TrimSpace(d.Serial)), append(wwns, plainWWN(d.WWN))
	}
	if s.Kind == StepMode { // all of the controller may vanish
		for i := range inv.Volumes {
			volume(&inv.Volumes[i])
		}
		for i := range inv.Disks {
			disk(&inv.Disks[i])
		}
		return paths, serials, wwns, nameless
	}
	if s.Volume != nil && (s.Kind == StepDeleteVolume || s.Kind == StepInitialize) {
		for i := range inv.Volumes {
			if inv.Volumes[i].ID == s.Volume.ID {
				volume(&inv.Volumes[i])
			}
		}
	}
	for _, r := range s.Disks {
		for i := range inv.Disks {
			if d := &inv.Disks[i]; d.ID == r.ID && d.State.Is != DiskOnline {
				disk(d)
			}
		}
	}
	return paths, serials, wwns, nameless
}

// Check tells before anything is done whether all steps of a plan are approved, with everything that is missing.
func (g *Guard) Check(p *Plan) error {
	var errs []error
	for _, s := range p.Steps {
		if err := g.allow(p, s); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
