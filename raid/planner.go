package raid

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/project-loda/loda/hw"
)

// planner plans one controller.
type planner struct {
	at   string // controllers[0]
	inv  *Inventory
	want *ControllerLayout

	disks map[DiskID]int
	// twice are drives that cannot be told from another one, by index: two paths to one drive, or a maker's carelessness.
	twice map[int]int
	// kept is the volume of the inventory that is what the layout wants, by index of the layout; -1: none.
	kept []int
	// fate of each volume of the inventory.
	fate []fate
	// taken says what each drive is for, "" if nothing.
	taken []string

	steps    []Step
	problems []Problem
	notes    []string
	reboot   []string
}

// fate is what becomes of a volume that is there.
type fate int

const (
	leave   fate = iota // the layout does not list it, and leaves it
	keep                // it is what the layout wants
	destroy             // it must go
)

func newPlanner(at string, inv *Inventory, want *ControllerLayout) *planner {
	p := &planner{at: at, inv: inv, want: want, disks: map[DiskID]int{}, twice: map[int]int{},
		kept: make([]int, len(want.Volumes)), fate: make([]fate, len(inv.Volumes)), taken: make([]string, len(inv.Disks))}
	serials, wwns := map[string]int{}, map[string]int{}
	for i := range inv.Disks {
		d := &inv.Disks[i]
		p.disks[d.ID] = i
		for _, by := range []struct {
			seen map[string]int
			key  string
		}{{serials, d.Serial}, {wwns, plainWWN(d.WWN)}} {
			if by.key = strings.TrimSpace(by.key); by.key == "" {
				continue
			}
			if first, ok := by.seen[by.key]; ok {
				p.twice[i], p.twice[first] = first, i
			} else {
				by.seen[by.key] = i
			}
		}
	}
	for i := range p.kept {
		p.kept[i] = -1
	}
	return p
}

func (p *planner) problem(path, format string, args ...any) {
	p.problems = append(p.problems, Problem{Path: p.at + path, Controller: p.inv.Controller.ID,
		Text: fmt.Sprintf(format, args...)})
}

func (p *planner) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf("controller %s: ", p.inv.Controller.ID)+fmt.Sprintf(format, args...))
}

func (p *planner) step(s Step) {
	s.Controller = p.inv.Controller.ID
	slices.Sort(s.Needs)
	s.Needs = slices.Compact(s.Needs)
	p.steps = append(p.steps, s)
}

// mode plans the change of the controller's mode, and what must go for it.
func (p *planner) mode() {
	c := &p.inv.Controller
	switch {
	case p.want.Mode == "" || p.want.Mode == c.Mode && (c.PendingMode == "" || c.PendingMode == c.Mode):
		if c.PendingMode != "" && c.PendingMode != c.Mode {
			p.note("it will be in mode %s after the next start; it was told so before", c.PendingMode)
		}
		return
	case p.want.Mode == c.PendingMode:
		p.reboot = append(p.reboot, fmt.Sprintf("controller %s is in mode %s after the next start", c.ID, c.PendingMode))
		return
	case !slices.Contains(c.Capabilities.Modes, p.want.Mode):
		p.problem(".mode", "the controller is in mode %s and cannot be switched to %s; %s", orUnknown(c.Mode), p.want.Mode,
			can("modes", c.Capabilities.Modes))
		return
	}
	if p.want.Mode == ModeHBA || p.want.Mode == ModeJBOD {
		for i := range p.inv.Volumes {
			v := &p.inv.Volumes[i]
			listed := slices.ContainsFunc(p.want.Volumes, func(w Volume) bool { return w.Name == v.Name })
			if p.want.Unlisted != UnlistedRemove || listed {
				p.problem(".mode", "%s must go before the controller can be in mode %s; delete it, or let unlisted be remove "+
					"and do not list it", p.describe(v), p.want.Mode)
				continue
			}
			p.discardCache()
			p.delete(v, fmt.Sprintf("%s.mode: in mode %s there are no volumes", p.at, p.want.Mode))
		}
	}
	s := Step{Kind: StepMode, Mode: p.want.Mode, Reboot: c.Capabilities.ModeNeedReboot,
		Reason: fmt.Sprintf("%s.mode wants %s, and it is %s", p.at, p.want.Mode, orUnknown(c.Mode))}
	if len(c.PreservedCache) > 0 {
		p.discardCache()
	}
	for i := range p.inv.Volumes {
		if p.want.Mode != ModeHBA && p.want.Mode != ModeJBOD && !whole(&p.inv.Volumes[i]) {
			s.Needs = append(s.Needs, AllowDegraded)
		}
	}
	p.step(s)
	if s.Reboot {
		p.reboot = append(p.reboot, fmt.Sprintf("controller %s is in mode %s after the next start", c.ID, p.want.Mode))
	}
}

// plan plans everything else.
func (p *planner) plan() {
	c := &p.inv.Controller
	if c.Mode == ModeHBA && len(p.want.Volumes)+len(p.want.Spares) > 0 {
		p.problem("", "the controller is in mode hba, which has no volumes; %s", can("modes", c.Capabilities.Modes))
		return
	}
	before := len(p.problems)
	p.capabilities()
	p.keep()
	if len(p.problems) > before {
		return
	}
	a := p.assign()
	if a == nil || len(p.problems) > before {
		return
	}
	p.write(a)
}

// capabilities holds the layout against what the controller can do, whatever drives there are.
func (p *planner) capabilities() {
	caps := &p.inv.Controller.Capabilities
	for i := range p.want.Volumes {
		w := &p.want.Volumes[i]
		at := fmt.Sprintf(".volumes[%d]", i)
		if caps.Names && caps.MaxName > 0 && len(w.Name) > caps.MaxName {
			p.problem(at+".name", "%q has %d characters, and the controller allows %d", w.Name, len(w.Name), caps.MaxName)
		}
		supported(p, at+".read", "read policy", w.Read, caps.Read)
		supported(p, at+".write", "write policy", w.Write, caps.Write)
		supported(p, at+".io", "I/O policy", w.IO, caps.IO)
		supported(p, at+".disk_cache", "disk cache", w.DiskCache, caps.DiskCache)
	}
	for i, s := range p.want.Spares {
		at := fmt.Sprintf(".spares[%d]", i)
		switch {
		case len(s.For) == 0 && !caps.GlobalSpares:
			p.problem(at, "the controller has no global spares%s",
				map[bool]string{true: "; name the volumes in for"}[caps.DedicatedSpares])
		case len(s.For) > 0 && !caps.DedicatedSpares:
			p.problem(at, "the controller has no spares for single volumes%s",
				map[bool]string{true: "; leave for away"}[caps.GlobalSpares])
		}
	}
}

func supported[T ~string](p *planner, at, what string, value T, allowed []T) {
	if value != "" && !slices.Contains(allowed, value) {
		p.problem(at, "the controller has no %s %s that can be set; %s", what, value, can("values", allowed))
	}
}

func can[T ~string](what string, list []T) string {
	if len(list) == 0 {
		return "it has no choice of " + what
	}
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return "its " + what + " are " + enumerate(words, 16)
}

func orUnknown[T ~string](s T) string { return cmp.Or(string(s), "unknown") }

// base is the volume that decides about the drives of volume i: itself, or the one of same_as.
func (p *planner) base(i int) int {
	name := p.want.Volumes[i].Disks.SameAs
	if name == "" {
		return i
	}
	return slices.IndexFunc(p.want.Volumes, func(w Volume) bool { return w.Name == name })
}

// keep finds the volumes that are what the layout wants, and decides about the others.
func (p *planner) keep() {
	names := p.inv.Controller.Capabilities.Names
	// Volumes that bear the name come first, then those without any, by place.
	order := make([]int, len(p.inv.Volumes))
	for i := range order {
		order[i] = i
	}
	named := func(v *VirtualDisk) bool {
		return names && slices.ContainsFunc(p.want.Volumes, func(w Volume) bool { return w.Name == v.Name })
	}
	slices.SortStableFunc(order, func(a, b int) int {
		va, vb := &p.inv.Volumes[a], &p.inv.Volumes[b]
		if named(va) != named(vb) {
			if named(va) {
				return -1
			}
			return 1
		}
		return CompareLocations(string(va.ID), string(vb.ID))
	})
	demands := make([]demand, len(p.want.Volumes))
	for i := range p.want.Volumes {
		fits, some := make([]bool, len(order)), 0
		for k, e := range order {
			v := &p.inv.Volumes[e]
			if names && v.Name != "" && v.Name != p.want.Volumes[i].Name {
				continue
			}
			if fits[k] = len(p.differences(i, v)) == 0; fits[k] {
				some = 1
			}
		}
		demands[i] = demand{some, fits}
	}
	owner, _ := match(len(order), demands)
	for k, i := range owner {
		if i >= 0 {
			p.kept[i] = order[k]
		}
	}
	// Volumes that share drives are kept together or not at all.
	for i := range p.want.Volumes {
		if b := p.base(i); b != i && p.kept[i] >= 0 {
			anchor := p.anchor(b)
			if !sameDisks(&p.inv.Volumes[anchor], &p.inv.Volumes[p.kept[i]]) {
				p.kept[i] = -1
			}
		}
	}
	for i, e := range p.kept {
		if e >= 0 && len(p.crowds(i, &p.inv.Volumes[e])) > 0 {
			p.kept[i] = -1
		}
	}
	for _, e := range p.kept {
		if e >= 0 {
			p.fate[e] = keep
		}
	}
	for e := range p.inv.Volumes {
		v := &p.inv.Volumes[e]
		if p.fate[e] == keep {
			if !whole(v) {
				p.note("%s is %s; the layout keeps it", p.describe(v), v.State)
			}
			continue
		}
		i := -1
		if names {
			i = slices.IndexFunc(p.want.Volumes, func(w Volume) bool { return w.Name == v.Name })
		}
		switch {
		case p.want.Unlisted == UnlistedRemove:
			p.fate[e] = destroy
		case i >= 0 && p.kept[i] < 0:
			p.problem(fmt.Sprintf(".volumes[%d]", i),
				"%s is there and is another: %s; it is replaced only where unlisted is remove",
				p.describe(v), enumerate(append(p.differences(i, v), p.elsewhere(i, v)...), 8))
		}
	}
}

// anchor is the volume of the inventory whose drives a group of volumes has: that of its base, else of the first that
// is there; -1 if none is.
func (p *planner) anchor(base int) int {
	for i := range p.want.Volumes {
		if p.base(i) == base && p.kept[i] >= 0 {
			if p.kept[base] >= 0 {
				return p.kept[base]
			}
			return p.kept[i]
		}
	}
	return -1
}

// elsewhere says that a volume is not on the drives that it should share.
func (p *planner) elsewhere(i int, v *VirtualDisk) []string {
	if b := p.base(i); b != i && p.anchor(b) >= 0 && !sameDisks(&p.inv.Volumes[p.anchor(b)], v) {
		return []string{"it is not on the drives of " + p.want.Volumes[b].Name}
	}
	return p.crowds(i, v)
}

// crowds says that a volume which is to have all that is left has more, so that one which is to be made beside it would
// have no room: the one namespace of a new NVMe drive, where the layout wants two.
func (p *planner) crowds(i int, v *VirtualDisk) []string {
	if p.want.Volumes[i].Size != Max || len(v.Members) == 0 {
		return nil
	}
	n := len(v.Members) + v.Missing
	room := p.smallest(p.memberIndexes(v))
	take := func(bytes int64, level Level, spans int) {
		if d := int64(dataDisks(level, n, spans)); d > 0 {
			room -= (bytes + d - 1) / d
		}
	}
	for e := range p.inv.Volumes {
		o := &p.inv.Volumes[e]
		stays := o == v || p.want.Unlisted != UnlistedRemove || slices.Contains(p.kept, e)
		if stays && sameDisks(o, v) {
			take(o.Bytes, o.Level.Is, o.Spans)
		}
	}
	var words []string
	for k := range p.want.Volumes {
		if o := &p.want.Volumes[k]; k != i && p.base(k) == p.base(i) && p.kept[k] < 0 {
			if take(int64(o.Size), o.Level, p.newSpans(o, n)); room < 0 {
				words = append(words, "it leaves no room for volume "+o.Name)
			}
		}
	}
	return words
}

func sameDisks(a, b *VirtualDisk) bool {
	return slices.Equal(slices.Sorted(slices.Values(a.Members)), slices.Sorted(slices.Values(b.Members)))
}

// differences are what a volume is that the layout does not want it to be, and what no step can change. What can be
// changed is no difference.
func (p *planner) differences(i int, v *VirtualDisk) []string {
	w, choice := &p.want.Volumes[i], p.want.Volumes[p.base(i)].Disks
	var diff []string
	add := func(format string, args ...any) { diff = append(diff, fmt.Sprintf(format, args...)) }
	if v.Level.Is != w.Level {
		add("level %s instead of %s", v.Level, w.Level)
	}
	if v.State.Is == VolumeOffline || v.State.Is == VolumeFailed {
		add("it is %s", v.State)
	}
	if w.Spans != 0 && v.Spans != 0 && v.Spans != w.Spans {
		add("%d spans instead of %d", v.Spans, w.Spans)
	}
	if w.Boot && p.inv.Controller.ID == MD && v.Boot != nil && !*v.Boot {
		add("no firmware starts from it: that takes level 1 on whole drives, with md's own records at their end " +
			"(metadata 1.0), which is decided when an array is made")
	}
	if w.Strip != 0 && v.Strip != 0 && v.Strip != w.Strip {
		add("strip %s instead of %s", v.Strip, w.Strip)
	}
	n := len(v.Members) + v.Missing
	if want := choice.number(); want != 0 && n != want {
		add("%d drives instead of %d", n, want)
	}
	if len(v.Members) == 0 {
		add("none of its drives is known")
	}
	smallest := int64(0)
	for _, id := range v.Members {
		k, ok := p.disks[id]
		if !ok {
			add("drive %s is not known", id)
			continue
		}
		d := &p.inv.Disks[k]
		if smallest == 0 || d.Bytes < smallest {
			smallest = d.Bytes
		}
		// A spare that took the place of another drive is where it may be.
		if why := against(d, choice); len(why) > 0 && !slices.ContainsFunc(p.want.Spares, func(s Spare) bool {
			return (len(s.For) == 0 || slices.Contains(s.For, w.Name)) && len(against(d, s.Disks)) == 0
		}) {
			add("%s: %s", ref(d), strings.Join(why, ", "))
		}
	}
	if n > 0 {
		if text := p.sizeDifference(i, v, smallest, n); text != "" {
			add("%s", text)
		}
	}
	return diff
}

// sizeDifference holds the size of a volume against what is wanted.
func (p *planner) sizeDifference(i int, v *VirtualDisk, smallest int64, n int) string {
	w := &p.want.Volumes[i]
	if w.Size != Max {
		if !sizeFits(v.Bytes, v.Rounded, int64(w.Size)) {
			return fmt.Sprintf("%s instead of %s", human(v.Bytes), human(int64(w.Size)))
		}
		return ""
	}
	parts := int64(dataDisks(v.Level.Is, n, cmp.Or(v.Spans, w.Spans)))
	room := smallest
	for k := range p.inv.Volumes {
		if o := &p.inv.Volumes[k]; o != v && o.ID != v.ID && sameDisks(o, v) {
			if share := int64(dataDisks(o.Level.Is, n, o.Spans)); share > 0 {
				room -= o.Bytes / share
			}
		}
	}
	if parts <= 0 || room <= 0 {
		return ""
	}
	if !maxFits(v.Bytes, room*parts) {
		return fmt.Sprintf("%s instead of all that its drives have, %s", human(v.Bytes), human(room*parts))
	}
	return ""
}

// sizeFits reports whether a volume has the size that was asked for. Controllers round to strips, cylinders and
// megabytes; tools print three digits. A number that was taken for another unit (MB for MiB: 4.9 percent) does not pass.
func sizeFits(got int64, rounded bool, want int64) bool {
	tolerance := max(want/50, 4<<20)
	if rounded {
		tolerance = want / 100 * 3
	}
	return got >= want-tolerance && got <= want+tolerance
}

// maxFits reports whether a volume takes all that its drives have. Controllers keep some of it for themselves, and a
// drive that was replaced may be a little larger than the one that the volume was made on.
func maxFits(got, room int64) bool { return got >= room/10*9 && got <= room/50*51 }

// dataDisks is how many drives' worth of data a volume holds; 0: not known.
func dataDisks(level Level, n, spans int) int {
	switch level {
	case Level0:
		return n
	case Level1:
		return 1
	case Level5:
		return n - 1
	case Level6:
		return n - 2
	case Level10:
		return cmp.Or(spans, n/2)
	case Level50:
		return n - cmp.Or(spans, 2)
	case Level60:
		return n - 2*cmp.Or(spans, 2)
	}
	return 0
}

// describe says what a volume is, for a person who may lose it.
func (p *planner) describe(v *VirtualDisk) string {
	where := make([]string, len(v.Members))
	for i, id := range v.Members {
		where[i] = string(id)
		if k, ok := p.disks[id]; ok {
			where[i] = p.inv.Disks[k].Location
		}
	}
	return fmt.Sprintf("%s, level %s, %s, %s, on drives %s", refVolume(p.inv, v), v.Level, human(v.Bytes), v.State,
		enumerate(where, 16))
}

// delete plans the end of a volume.
func (p *planner) delete(v *VirtualDisk, reason string) {
	if len(p.inv.Controller.Capabilities.Levels) == 0 {
		p.problem("", "%s must go, and the controller can neither make nor delete volumes; list it as it is, or let "+
			"unlisted be keep", p.describe(v))
		return
	}
	r := refVolume(p.inv, v)
	s := Step{Kind: StepDeleteVolume, Volume: &r, Reason: reason, Destroys: []string{p.describe(v)},
		Needs: []Permission{AllowDestroy}}
	for _, d := range memberRefs(p.inv, v) {
		if _, twice := p.twice[p.disks[d.ID]]; d.Known() && !twice {
			s.Disks = append(s.Disks, d)
		}
	}
	if v.WWN == "" && (len(s.Disks) == 0 || len(s.Disks) != len(v.Members)) {
		p.problem("", "%s must go, and cannot be told from another one: it has no WWN, and not all of its drives have "+
			"serial numbers; delete it by hand", p.describe(v))
		return
	}
	if !whole(v) {
		s.Needs = append(s.Needs, AllowDegraded)
	}
	p.step(s)
}

// discardCache plans once that preserved cache is thrown away.
func (p *planner) discardCache() {
	cache := p.inv.Controller.PreservedCache
	if len(cache) == 0 || slices.ContainsFunc(p.steps, func(s Step) bool { return s.Kind == StepDiscardCache }) {
		return
	}
	p.step(Step{Kind: StepDiscardCache, Needs: []Permission{AllowPreservedCache},
		Reason: "the controller holds unwritten data of volumes that are gone, and refuses changes as long as it does",
		Destroys: []string{fmt.Sprintf("unwritten data of volumes %s; it is saved by bringing their drives back",
			enumerate(cache, 16))}})
}

// plainWWN is a WWN without what tools put around it.
func plainWWN(wwn string) string {
	wwn = strings.ToLower(strings.TrimSpace(wwn))
	for _, prefix := range []string{"naa.", "eui.", "uuid.", "wwn-", "0x"} {
		wwn = strings.TrimPrefix(wwn, prefix)
	}
	return wwn
}

// against says why a drive does not meet the conditions of a choice.
func against(d *PhysicalDisk, c DiskChoice) []string {
	return append(againstConditions(d, c), againstList(d, c)...)
}

func againstConditions(d *PhysicalDisk, c DiskChoice) []string {
	var why []string
	if c.Medium != "" && d.Medium != c.Medium {
		why = append(why, "medium "+orUnknown(d.Medium))
	}
	if c.Bus != "" && d.Bus != c.Bus {
		why = append(why, "bus "+orUnknown(d.Bus))
	}
	if c.Size != (SizeRange{}) && !c.Size.Includes(d.Bytes) {
		why = append(why, "size "+human(d.Bytes))
	}
	if c.Model != "" && !glob(c.Model, d.Model) && !glob(c.Model, d.Vendor+" "+d.Model) {
		why = append(why, "model "+clip(cmp.Or(d.Model, "unknown")))
	}
	return why
}

func againstList(d *PhysicalDisk, c DiskChoice) []string {
	if len(c.Slots)+len(c.Serials) > 0 && !slices.ContainsFunc(c.Slots, func(s string) bool { return isSlot(d, s) }) &&
		!slices.ContainsFunc(c.Serials, func(s string) bool { return isSerial(d, s) }) {
		return []string{"it is not listed"}
	}
	return nil
}

func isSlot(d *PhysicalDisk, slot string) bool {
	return strings.EqualFold(slot, d.Location) || strings.EqualFold(slot, string(d.ID))
}

func isSerial(d *PhysicalDisk, serial string) bool { return strings.TrimSpace(d.Serial) == serial }

// stripWords are strips for a message.
func stripWords(strips []hw.Size) []string {
	words := make([]string, len(strips))
	for i, s := range strips {
		words[i] = s.String()
	}
	return words
}
