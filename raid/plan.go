package raid

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// A Plan is what must be done to a machine's controllers, in this order, for a layout. It is bound to what it was made
// from: [Apply] does nothing when that no longer stands.
type Plan struct {
	Steps []Step `json:"steps"`
	// Seen is what each controller that has steps looked like.
	Seen []Seen `json:"seen,omitempty"`
	// Notes are what a person should know and what is no step: a volume that lives on degraded, a cache without battery.
	Notes []string `json:"notes,omitempty"`
	// Reboot says why the machine must be restarted when the steps are done; empty: it need not.
	Reboot []string `json:"reboot,omitempty"`
	// Continues: what the layout wants beyond these steps shows only when they are in force. Read and plan again.
	Continues bool `json:"continues,omitempty"`
}

// Seen is what stands of a controller while a plan does: a line for itself, and for each drive and volume.
type Seen struct {
	Controller ControllerID `json:"controller"`
	Lines      []string     `json:"lines"`
}

// Empty reports whether there is nothing to do: the machine is as the layout wants it.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 && len(p.Reboot) == 0 && !p.Continues }

// Digest names the plan: its steps, and what they were planned for. It is what a person approves.
func (p *Plan) Digest() string {
	data, err := json.Marshal(struct {
		Steps  []Step
		Seen   []Seen
		Reboot []string
	}{p.Steps, p.Seen, p.Reboot})
	if err != nil { // strings and numbers; there is nothing that could fail
		panic("raid: digest of a plan: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Needs are all permissions that its steps need, sorted.
func (p *Plan) Needs() []Permission {
	var all []Permission
	for _, s := range p.Steps {
		all = append(all, s.Needs...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Destroys is everything that is lost by its steps.
func (p *Plan) Destroys() []string {
	var all []string
	for _, s := range p.Steps {
		all = append(all, s.Destroys...)
	}
	return all
}

// maxDisks bounds what a controller may claim to have.
const maxDisks = 4096

// NewPlan decides what is to be done so that the controllers become what the layout wants. It is pure: the same
// inventories, in whatever order, and the same layout give the same plan. A machine that is as the layout wants it gives
// an empty one.
//
// A layout that the controllers cannot have is an *[ImpossibleError] with everything that stands against it. What a
// layout says of data that it would destroy becomes a step that needs a permission, never an error: see [Guard].
//
// unread are RAID controllers that the machine has as well, and that nobody could read: by ID, and what else is known.
// A layout that counts controllers (only, index) is impossible where one of them may be the one that it means: a tool
// that is missing, or fails for once, must not send a layout to another controller.
func NewPlan(inventories []*Inventory, layout *Layout, unread ...Controller) (*Plan, error) {
	if layout == nil {
		return nil, errors.New("RAID layout: none is given")
	}
	if err := layout.Validate(); err != nil {
		return nil, fmt.Errorf("RAID layout: %w", err)
	}
	inventories = slices.Clone(inventories)
	slices.SortFunc(inventories, func(a, b *Inventory) int { return cmp.Compare(a.Controller.ID, b.Controller.ID) })
	for i, inv := range inventories {
		if i > 0 && inv.Controller.ID == inventories[i-1].Controller.ID {
			return nil, fmt.Errorf("controller %s was read twice, by %s and by %s: two tools know it; plan with one of them",
				inv.Controller.ID, inventories[i-1].Controller.Driver, inv.Controller.Driver)
		}
		if len(inv.Disks) > maxDisks || len(inv.Volumes) > maxDisks {
			return nil, fmt.Errorf("controller %s: %d drives and %d volumes are more than any has",
				inv.Controller.ID, len(inv.Disks), len(inv.Volumes))
		}
	}
	plan, impossible := &Plan{Steps: []Step{}}, &ImpossibleError{}
	planners := make([]*planner, 0, len(layout.Controllers))
	taken := map[ControllerID]string{}
	for i := range layout.Controllers {
		at := fmt.Sprintf("controllers[%d]", i)
		want := layout.Controllers[i].Controller
		inv, err := choose(inventories, want)
		if err == nil {
			err = uncounted(inventories, want, inv, unread)
		}
		if err == nil && taken[inv.Controller.ID] != "" {
			err = fmt.Errorf("it is %s, which is %s already", inv.Controller.ID, taken[inv.Controller.ID])
		}
		if err != nil {
			impossible.Problems = append(impossible.Problems, Problem{Path: at + ".controller", Text: err.Error()})
			continue
		}
		taken[inv.Controller.ID] = at
		planners = append(planners, newPlanner(at, inv, &layout.Controllers[i]))
	}
	// Modes first, of all controllers: what else there is to do shows only when they are in force.
	for _, p := range planners {
		p.mode()
		plan.Reboot = append(plan.Reboot, p.reboot...)
		plan.Continues = plan.Continues || len(p.steps) > 0 || len(p.reboot) > 0
	}
	for _, p := range planners {
		if !plan.Continues {
			p.plan()
		}
		impossible.Problems = append(impossible.Problems, p.problems...)
		plan.Steps = append(plan.Steps, p.steps...)
		plan.Notes = append(plan.Notes, p.notes...)
		if len(p.steps) > 0 {
			plan.Seen = append(plan.Seen, see(p.inv))
		}
	}
	if len(impossible.Problems) > 0 {
		return nil, impossible
	}
	return plan, nil
}

// isRAID reports whether it is a RAID controller in the sense of `only` and `index`: one that can mirror, or could in
// another mode. A single NVMe disk with namespaces is none.
func isRAID(c *Controller) bool {
	return c.ID != MD && (len(c.Capabilities.Modes) > 0 || slices.ContainsFunc(c.Capabilities.Levels,
		func(l LevelCapability) bool { return l.Level != Level0 }))
}

// choose finds the one controller that is meant.
func choose(inventories []*Inventory, want ControllerChoice) (*Inventory, error) {
	var fit []*Inventory
	var have []string
	index := -1
	raids := slices.ContainsFunc(inventories, func(inv *Inventory) bool { return isRAID(&inv.Controller) })
	for _, inv := range inventories {
		c := &inv.Controller
		have = append(have, controllerText(c))
		if c.ID == MD || want.MD {
			if c.ID == MD && want.MD {
				fit = append(fit, inv)
			}
			continue
		}
		if isRAID(c) {
			index++
		}
		switch {
		case want.isOnly() && raids && !isRAID(c),
			want.Slot != "" && !strings.EqualFold(want.Slot, strings.TrimSpace(c.Slot)),
			want.PCI != "" && !strings.EqualFold(want.PCI, string(c.ID)),
			want.Model != "" && !glob(want.Model, c.Model) && !glob(want.Model, c.Vendor+" "+c.Model),
			want.Index != nil && (!isRAID(c) || *want.Index != index):
			continue
		}
		fit = append(fit, inv)
	}
	there := "there is none"
	if len(have) > 0 {
		there = "there are " + enumerate(have, 8)
	}
	switch len(fit) {
	case 1:
		return fit[0], nil
	case 0:
		return nil, fmt.Errorf("%s: no controller is meant; %s", want, there)
	}
	return nil, fmt.Errorf("%s: %d controllers are meant, and it must be one; %s", want, len(fit), there)
}

// uncounted tells which controller that was not read would have been counted before the one that was found.
func uncounted(inventories []*Inventory, want ControllerChoice, found *Inventory, unread []Controller) error {
	var others []string
	for i := range unread {
		u := &unread[i]
		if slices.ContainsFunc(inventories, func(inv *Inventory) bool { return inv.Controller.ID == u.ID }) {
			continue
		}
		if want.isOnly() || want.Index != nil && u.ID < found.Controller.ID {
			others = append(others, controllerText(u))
		}
	}
	if len(others) == 0 {
		return nil
	}
	slices.Sort(others)
	return fmt.Errorf("%s: that is %s only as long as %s cannot be read; have that read, or say which controller is "+
		"meant by its slot or pci", want, controllerText(&found.Controller), enumerate(others, 8))
}

func controllerText(c *Controller) string {
	parts := []string{string(c.ID)}
	if c.Model != "" {
		parts = append(parts, clip(c.Model))
	}
	if c.Slot != "" {
		parts = append(parts, "in slot "+clip(c.Slot))
	}
	return strings.Join(parts, " ")
}

// glob is [path.Match] without regard to case. Patterns were validated.
func glob(pattern, name string) bool {
	ok, _ := path.Match(strings.ToLower(pattern), strings.ToLower(strings.TrimSpace(name)))
	return ok
}

// see is what a plan is bound to. What changes by itself, such as progress and temperature, is not in it.
func see(inv *Inventory) Seen {
	c := &inv.Controller
	s := Seen{Controller: c.ID, Lines: []string{fmt.Sprintf("controller %s, serial %q, mode %s, pending %s", c.ID,
		c.Serial,
		orNone(c.Mode), orNone(c.PendingMode))}}
	for i := range inv.Disks {
		d := &inv.Disks[i]
		line := fmt.Sprintf("drive %s, serial %q, WWN %q, %d bytes, %s", d.Location, d.Serial, d.WWN, d.Bytes, d.State)
		if d.Foreign {
			line += ", foreign"
		}
		if d.Locked {
			line += ", locked"
		}
		if len(d.SpareFor) > 0 {
			line += fmt.Sprintf(", spare for %q", d.SpareFor)
		}
		s.Lines = append(s.Lines, line)
	}
	for i := range inv.Volumes {
		v := &inv.Volumes[i]
		health := "whole"
		if !whole(v) {
			health = "not whole"
		}
		s.Lines = append(s.Lines,
			fmt.Sprintf("volume %s, WWN %q, name %q, level %s, %d bytes, strip %s, %s, on %s, %d missing",
				v.ID, v.WWN, v.Name, v.Level, v.Bytes, v.Strip, health, members(inv, v), v.Missing))
	}
	for _, f := range inv.Foreign {
		s.Lines = append(s.Lines, fmt.Sprintf("foreign %q, level %s, on %q, incomplete %t", f.ID, f.Level, f.Disks,
			f.Incomplete))
	}
	if len(c.PreservedCache) > 0 {
		s.Lines = append(s.Lines, fmt.Sprintf("preserved cache of %q", c.PreservedCache))
	}
	slices.Sort(s.Lines)
	return s
}

// members are the serial numbers, else WWNs, of a volume's drives.
func members(inv *Inventory, v *VirtualDisk) []string {
	var all []string
	for _, ref := range memberRefs(inv, v) {
		all = append(all, fmt.Sprintf("%q", cmp.Or(ref.Serial, ref.WWN)))
	}
	slices.Sort(all)
	return all
}

func memberRefs(inv *Inventory, v *VirtualDisk) []DiskRef {
	var refs []DiskRef
	for _, id := range v.Members {
		if i := slices.IndexFunc(inv.Disks, func(d PhysicalDisk) bool { return d.ID == id }); i >= 0 {
			refs = append(refs, ref(&inv.Disks[i]))
		}
	}
	return refs
}

func ref(d *PhysicalDisk) DiskRef {
	return DiskRef{ID: d.ID, Location: d.Location, DiskIdentity: d.Identity()}
}

func refVolume(inv *Inventory, v *VirtualDisk) VolumeRef {
	r := VolumeRef{ID: v.ID, WWN: v.WWN, Name: v.Name, Level: v.Level.Is, Bytes: v.Bytes}
	for _, m := range memberRefs(inv, v) {
		r.Members = append(r.Members, m.DiskIdentity)
	}
	return r
}

// whole reports whether a volume has all the redundancy that it should have.
func whole(v *VirtualDisk) bool {
	return v.Missing == 0 && (v.State.Is == VolumeOptimal || v.State.Is == VolumeInitializing)
}

func orNone[T ~string](s T) string { return cmp.Or(string(s), "none") }

// enumerate writes a list for a message, and no more than so many of it.
func enumerate(list []string, most int) string {
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}

// human is how people say a size: decimal, three digits.
func human(n int64) string {
	for _, u := range []struct {
		name  string
		bytes float64
	}{{"PB", 1e15}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if v := float64(n) / u.bytes; v >= 1 {
			return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".") + " " + u.name
		}
	}
	return fmt.Sprintf("%d B", n)
}
