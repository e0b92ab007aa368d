package raid

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/project-loda/loda/hw"
)

// assignment is which drives volumes and spares get, as indexes of the inventory.
type assignment struct {
	// volumes: the drives of each volume of the layout that must be made; of one that is there, none.
	volumes [][]int
	// spares: the drives that each spare choice gets beside those that are spares as it wants already.
	spares [][]int
	// freed are spares that stop being spares. ready are drives that are taken from the operating system.
	freed, ready []int
	// foreign: a foreign configuration is in the way.
	foreign bool
}

// class is what drives of one volume must have in common.
type class struct {
	medium hw.Medium
	sector int
}

func (p *planner) class(d int) class {
	disk := &p.inv.Disks[d]
	c := class{medium: disk.Medium, sector: disk.LogicalSector}
	if p.inv.Controller.Capabilities.MixedMedia {
		c.medium = ""
	}
	return c
}

// seeker is a choice that looks for drives.
type seeker struct {
	path   string
	what   string // volume os
	choice DiskChoice
	need   int
	// volume is an index of the layout, -1 for a spare; spare is one of its spares.
	volume, spare int
	fits          []bool // by position in order
	classes       []class
	class         *class
}

// assign finds drives for what must be made. It returns nil if that cannot be, and says so.
func (p *planner) assign() *assignment {
	a := &assignment{volumes: make([][]int, len(p.want.Volumes)), spares: make([][]int, len(p.want.Spares))}
	before := len(p.problems)
	keptSpares := p.keepSpares()
	usable, rank, why := p.usable(keptSpares)
	// Drives that are no trouble come first, then smaller ones, then by place.
	order := []int{}
	for d := range p.inv.Disks {
		if usable[d] != nil {
			order = append(order, d)
		}
	}
	slices.SortStableFunc(order, func(x, y int) int {
		dx, dy := &p.inv.Disks[x], &p.inv.Disks[y]
		return cmp.Or(cmp.Compare(rank[x], rank[y]), cmp.Compare(dx.Bytes, dy.Bytes),
			CompareLocations(dx.Location, dy.Location), cmp.Compare(dx.ID, dy.ID))
	})

	var seekers []*seeker
	for i := range p.want.Volumes {
		if p.base(i) != i || p.anchor(i) >= 0 {
			continue
		}
		w := &p.want.Volumes[i]
		s := &seeker{path: fmt.Sprintf(".volumes[%d].disks", i), what: "volume " + w.Name, choice: w.Disks,
			need: p.least(w), volume: i, spare: -1}
		seekers = append(seekers, s)
	}
	for i := range p.want.Spares {
		s := &p.want.Spares[i]
		need := 1
		if !s.Disks.All {
			need = max(s.Disks.number()-len(keptSpares[i])-p.standIns(i), 0)
		} else if len(keptSpares[i]) > 0 {
			need = 0
		}
		what := "spare"
		if len(s.For) > 0 {
			what += " for " + enumerate(s.For, 8)
		}
		seekers = append(seekers, &seeker{path: fmt.Sprintf(".spares[%d].disks", i), what: what, choice: s.Disks, need: need,
			volume: -1, spare: i})
	}
	for _, s := range seekers {
		p.listed(s)
		s.fits = make([]bool, len(order))
		for k, d := range order {
			if s.fits[k] = usable[d](s) == "" && len(against(&p.inv.Disks[d], s.choice)) == 0 && p.bigEnough(s, d); !s.fits[k] {
				continue
			}
			if s.volume >= 0 && !slices.Contains(s.classes, p.class(d)) {
				s.classes = append(s.classes, p.class(d))
			}
		}
	}
	if len(p.problems) > before {
		return nil
	}
	owner, ok := p.solve(order, seekers)
	if !ok {
		p.shortage(order, seekers, owner, usable, why)
		return nil
	}
	given := make([][]int, len(seekers))
	for k, g := range owner {
		if g >= 0 {
			given[g] = append(given[g], order[k])
		}
	}
	// What is left goes to those that take all.
	for g, s := range seekers {
		if !s.choice.All {
			continue
		}
		for k, d := range order {
			if owner[k] < 0 && s.fits[k] && p.allowed(seekers, s, d, given[g]) {
				owner[k] = g
				given[g] = append(given[g], d)
			}
		}
	}
	freed := map[int]bool{}
	for g, s := range seekers {
		slices.SortFunc(given[g], func(x, y int) int {
			return CompareLocations(p.inv.Disks[x].Location, p.inv.Disks[y].Location)
		})
		for _, d := range given[g] {
			disk := &p.inv.Disks[d]
			p.taken[d] = s.what
			switch {
			case disk.Foreign:
				a.foreign = true
			case disk.State.Is == DiskJBOD && p.inv.Controller.ID != MD:
				a.ready = append(a.ready, d)
			case disk.State.Is == DiskSpare:
				freed[d] = true
			}
		}
		if s.volume >= 0 {
			a.volumes[s.volume] = given[g]
		} else {
			a.spares[s.spare] = given[g]
		}
	}
	for i := range p.want.Volumes { // volumes that share drives
		switch b := p.base(i); {
		case p.kept[i] >= 0:
		case p.anchor(b) >= 0:
			a.volumes[i] = p.memberIndexes(&p.inv.Volumes[p.anchor(b)])
		case b != i:
			a.volumes[i] = a.volumes[b]
		}
	}
	for i := range p.want.Volumes {
		w := &p.want.Volumes[i]
		if e := p.kept[i]; e >= 0 && w.Disks.All {
			more, have := 0, p.memberIndexes(&p.inv.Volumes[e])
			for k, d := range order {
				disk := &p.inv.Disks[d]
				if owner[k] < 0 && disk.State.Is == DiskReady && len(against(disk,
					w.Disks)) == 0 && p.class(d) == p.class(have[0]) {
					more++
				}
			}
			if more > 0 {
				p.note("%d more drives are there for %s, which takes all; it stays on those that it has", more,
					refVolume(p.inv, &p.inv.Volumes[e]))
			}
		}
	}
	p.spareSizes(a)
	// Spares that nothing wants any more.
	for d := range p.inv.Disks {
		disk := &p.inv.Disks[d]
		if disk.State.Is == DiskSpare && p.taken[d] == "" && (p.want.Unlisted == UnlistedRemove || p.orphan(disk)) {
			freed[d] = true
		}
	}
	for d := range p.inv.Disks {
		if freed[d] {
			a.freed = append(a.freed, d)
		}
	}
	slices.Sort(a.ready)
	if len(p.problems) > before {
		return nil
	}
	return a
}

// least is how many drives a new volume must have.
func (p *planner) least(w *Volume) int {
	if n := w.Disks.number(); n > 0 {
		return n
	}
	l := levels[w.Level]
	n := l.least
	if l.grouped {
		n *= max(w.Spans, 2)
	}
	for _, c := range p.inv.Controller.Capabilities.Levels {
		if c.Level == w.Level {
			n = max(n, c.MinDisks)
		}
	}
	return n
}

// keepSpares finds the drives that are spares as the layout wants them, for each of its choices.
func (p *planner) keepSpares() [][]int {
	var spares []int
	for d := range p.inv.Disks {
		if p.inv.Disks[d].State.Is == DiskSpare {
			spares = append(spares, d)
		}
	}
	slices.SortStableFunc(spares, func(x, y int) int {
		return CompareLocations(p.inv.Disks[x].Location, p.inv.Disks[y].Location)
	})
	demands := make([]demand, len(p.want.Spares))
	for i := range p.want.Spares {
		s := &p.want.Spares[i]
		fits := make([]bool, len(spares))
		count := 0
		for k, d := range spares {
			disk := &p.inv.Disks[d]
			if fits[k] = len(against(disk, s.Disks)) == 0 && p.serves(disk, s); fits[k] {
				count++
			}
		}
		need := s.Disks.number()
		if s.Disks.All {
			need = len(spares)
		}
		demands[i] = demand{min(need, count), fits}
	}
	owner, _ := match(len(spares), demands)
	kept := make([][]int, len(p.want.Spares))
	for k, i := range owner {
		if i >= 0 {
			kept[i] = append(kept[i], spares[k])
			p.taken[spares[k]] = "spare"
		}
	}
	return kept
}

// serves reports whether a spare waits for exactly the volumes that it should.
func (p *planner) serves(d *PhysicalDisk, s *Spare) bool {
	var want []VolumeID
	for _, name := range s.For {
		i := slices.IndexFunc(p.want.Volumes, func(w Volume) bool { return w.Name == name })
		if p.kept[i] < 0 {
			return false
		}
		want = append(want, p.inv.Volumes[p.kept[i]].ID)
	}
	slices.Sort(want)
	return slices.Equal(want, slices.Sorted(slices.Values(d.SpareFor)))
}

// orphan reports whether all volumes that a spare waits for are going.
func (p *planner) orphan(d *PhysicalDisk) bool {
	return len(d.SpareFor) > 0 && !slices.ContainsFunc(d.SpareFor, func(id VolumeID) bool {
		e := slices.IndexFunc(p.inv.Volumes, func(v VirtualDisk) bool { return v.ID == id })
		return e < 0 || p.fate[e] != destroy
	})
}

// standIns counts spares that are taking the place of a lost drive, of volumes that a choice of spares is for: they are
// what it asked for, at work.
func (p *planner) standIns(i int) int {
	s, n := &p.want.Spares[i], 0
	for w, e := range p.kept {
		if e < 0 || len(s.For) > 0 && !slices.Contains(s.For, p.want.Volumes[w].Name) {
			continue
		}
		for _, id := range p.inv.Volumes[e].Members {
			k, ok := p.disks[id]
			if ok && p.inv.Disks[k].State.Is == DiskRebuilding && len(against(&p.inv.Disks[k], s.Disks)) == 0 {
				n++
				p.note("%s is being rebuilt in %s, and is missed as its spare until a drive is replaced",
					ref(&p.inv.Disks[k]), refVolume(p.inv, &p.inv.Volumes[e]))
			}
		}
	}
	return n
}

// usable says of each drive for whom it could be used: nil for nobody, then why says it. rank is how much trouble it
// is.
func (p *planner) usable(keptSpares [][]int) (usable []func(*seeker) string, rank []int, why []string) {
	n := len(p.inv.Disks)
	usable, rank, why = make([]func(*seeker) string, n), make([]int, n), make([]string, n)
	caps := &p.inv.Controller.Capabilities
	anyone := func(*seeker) string { return "" }
	forSpares := func(text string) func(*seeker) string {
		return func(s *seeker) string {
			if s.spare >= 0 {
				return ""
			}
			return text
		}
	}
	for d := range p.inv.Disks {
		disk := &p.inv.Disks[d]
		member := ""
		for e := range p.inv.Volumes {
			v := &p.inv.Volumes[e]
			if p.fate[e] != destroy && (slices.Contains(v.Members, disk.ID) || slices.Contains(disk.Volumes, v.ID)) {
				member = "it is in " + refVolume(p.inv,
					v).String() + map[bool]string{true: ", which the layout does not list and leaves"}[p.fate[e] == leave]
			}
		}
		// A member of a volume that goes is ready when that is gone.
		freed := member == "" && (len(disk.Volumes) > 0 || slices.ContainsFunc(p.inv.Volumes, func(v VirtualDisk) bool {
			return slices.Contains(v.Members, disk.ID)
		}))
		other, twice := p.twice[d]
		switch {
		case !disk.Identity().Known():
			why[d] = "it has neither serial number nor WWN to recognise it by"
		case twice:
			why[d] = fmt.Sprintf("it has the same serial number or WWN as drive %s", p.inv.Disks[other].Location)
		case member != "":
			why[d] = member
		case disk.Bytes <= 0:
			why[d] = "its size is unknown"
		case disk.Locked:
			why[d] = "it is locked"
		case disk.SMARTAlert != nil && *disk.SMARTAlert:
			why[d] = "it says that it will fail"
		case disk.Foreign && !caps.ClearForeign:
			why[d] = "it carries a foreign configuration, which cannot be cleared here"
		case disk.Foreign && (disk.State.Is == DiskReady || disk.State.Is == DiskBad || disk.State.Is == ""):
			usable[d], rank[d] = anyone, 2
		case disk.State.Is == DiskReady, freed && (disk.State.Is == DiskOnline || disk.State.Is == DiskRebuilding):
			usable[d] = anyone
		case disk.State.Is == DiskJBOD && (caps.JBOD || p.inv.Controller.ID == MD):
			usable[d], rank[d] = anyone, 1
		case disk.State.Is == DiskJBOD:
			why[d] = "it is shown to the operating system, and this controller cannot take it back"
		case disk.State.Is == DiskSpare && slices.ContainsFunc(keptSpares, func(k []int) bool {
			return slices.Contains(k,
				d)
		}):
			why[d] = "it is a spare that the layout wants"
		case disk.State.Is == DiskSpare && (p.want.Unlisted == UnlistedRemove || p.orphan(disk)):
			usable[d] = anyone
		case disk.State.Is == DiskSpare:
			usable[d], rank[d] = forSpares("it is a spare that the layout does not list and leaves"), 1
		default:
			why[d] = "its state is " + disk.State.String()
		}
	}
	return usable, rank, why
}

// listed finds what is listed and not there, or there twice.
func (p *planner) listed(s *seeker) {
	missing := func(kind, value string, is func(*PhysicalDisk) bool) {
		n := 0
		for d := range p.inv.Disks {
			if is(&p.inv.Disks[d]) {
				n++
			}
		}
		if n == 1 {
			return
		}
		have := make([]string, len(p.inv.Disks))
		for d := range p.inv.Disks {
			have[d] = p.inv.Disks[d].Location
		}
		p.problem(s.path, "%d drives have the %s %q that %s wants; there are drives %s", n, kind, value, s.what,
			enumerate(have, 48))
	}
	for _, slot := range s.choice.Slots {
		missing("slot", slot, func(d *PhysicalDisk) bool { return isSlot(d, slot) })
	}
	for _, serial := range s.choice.Serials {
		missing("serial number", serial, func(d *PhysicalDisk) bool { return isSerial(d, serial) })
	}
}

// bigEnough reports whether a drive can stand in for those of the volumes that a spare is for, as far as these are
// there.
func (p *planner) bigEnough(s *seeker, d int) bool {
	if s.spare < 0 {
		return true
	}
	for _, name := range p.want.Spares[s.spare].For {
		i := slices.IndexFunc(p.want.Volumes, func(w Volume) bool { return w.Name == name })
		if e := p.kept[i]; e >= 0 && p.inv.Disks[d].Bytes < p.smallest(p.memberIndexes(&p.inv.Volumes[e])) {
			return false
		}
	}
	return true
}

func (p *planner) smallest(disks []int) int64 {
	least := int64(0)
	for _, d := range disks {
		if b := p.inv.Disks[d].Bytes; least == 0 || b < least {
			least = b
		}
	}
	return least
}

// memberIndexes are the drives of a volume that another one is to share.
func (p *planner) memberIndexes(v *VirtualDisk) []int {
	var all []int
	for _, id := range v.Members {
		if k, ok := p.disks[id]; ok {
			all = append(all, k)
		}
	}
	return all
}

// maxAttempts bounds the search over media. A layout that says which medium it wants needs one.
const maxAttempts = 256

// solve matches drives with seekers, and decides about the class of each new volume that could be of several: the first
// combination in which everybody is served, with the volumes at the front preferred.
func (p *planner) solve(order []int, seekers []*seeker) ([]int, bool) {
	var open []*seeker
	for _, s := range seekers {
		switch {
		case s.volume < 0:
		case len(s.classes) == 1:
			s.class = &s.classes[0]
		case len(s.classes) > 1:
			open = append(open, s)
		}
	}
	attempts := 0
	try := func() (*matching, bool) {
		attempts++
		demands := make([]demand, len(seekers))
		for g, s := range seekers {
			fits := make([]bool, len(order))
			for k, d := range order {
				fits[k] = s.fits[k] && p.allowed(seekers, s, d, nil)
			}
			demands[g] = demand{s.need, fits}
		}
		return serve(len(order), demands)
	}
	found, ok := try() // with all classes left open: without a solution there is none at all
	if !ok {
		return found.owner, false
	}
	var dig func(n int) bool
	dig = func(n int) bool {
		for i := range open[n].classes {
			if attempts > maxAttempts {
				break
			}
			open[n].class = &open[n].classes[i]
			if found, ok = try(); ok && (n+1 == len(open) || dig(n+1)) {
				return true
			}
		}
		open[n].class = nil
		return false
	}
	if len(open) == 0 || dig(0) {
		found.refine()
		return found.owner, true
	}
	for _, s := range open {
		s.class = &s.classes[0]
	}
	found, _ = try() // for the message
	return found.owner, false
}

// allowed reports whether a drive has the class that its volume, or the volumes of a spare, were given; without a
// decision, that of the drives that it has.
func (p *planner) allowed(seekers []*seeker, s *seeker, d int, with []int) bool {
	c := p.class(d)
	if s.spare < 0 {
		if len(with) > 0 && p.class(with[0]) != c {
			return false
		}
		return s.class == nil || *s.class == c
	}
	for _, name := range p.want.Spares[s.spare].For {
		i := slices.IndexFunc(p.want.Volumes, func(w Volume) bool { return w.Name == name })
		if e := p.kept[i]; e >= 0 {
			if m := p.memberIndexes(&p.inv.Volumes[e]); len(m) > 0 && p.class(m[0]) != c {
				return false
			}
			continue
		}
		for _, o := range seekers {
			if o.volume == p.base(i) && o.class != nil && *o.class != c {
				return false
			}
		}
	}
	return true
}

// shortage says who did not get enough, and why each drive did not help.
func (p *planner) shortage(order []int, seekers []*seeker, owner []int, usable []func(*seeker) string, why []string) {
	got := make([]int, len(seekers))
	by := map[int]int{}
	for k, g := range owner {
		if g >= 0 {
			got[g]++
			by[order[k]] = g
		}
	}
	for g, s := range seekers {
		if got[g] >= s.need {
			continue
		}
		problem := Problem{Path: p.at + s.path, Controller: p.inv.Controller.ID,
			Text: fmt.Sprintf("%s wants %s, and %d of %d are to be had", s.what, s.choice, got[g], s.need)}
		if len(s.classes) > 1 && s.class != nil && s.class.medium != "" && s.choice.Medium == "" {
			problem.Text += fmt.Sprintf(" of medium %s (drives of several media cannot be in one volume here)", s.class.medium)
		}
		for d := range p.inv.Disks {
			disk := &p.inv.Disks[d]
			var reasons []string
			if taken, ok := by[d]; ok && taken == g {
				continue
			} else if ok {
				reasons = append(reasons, seekers[taken].what+" takes it")
			}
			if why[d] != "" {
				reasons = append(reasons, why[d])
			} else if text := usable[d](s); text != "" {
				reasons = append(reasons, text)
			}
			reasons = append(reasons, against(disk, s.choice)...)
			if !p.bigEnough(s, d) {
				reasons = append(reasons, human(disk.Bytes)+", too small to stand in")
			}
			if len(reasons) == 0 && !p.allowed(seekers, s, d, nil) {
				reasons = append(reasons, fmt.Sprintf("medium %s, sectors of %d bytes: another sort than the others",
					orUnknown(disk.Medium), disk.LogicalSector))
			}
			if len(reasons) == 0 {
				reasons = append(reasons, "others need it")
			}
			problem.Considered = append(problem.Considered, Considered{ref(disk), reasons})
		}
		slices.SortStableFunc(problem.Considered, func(a, b Considered) int {
			return CompareLocations(a.Disk.Location, b.Disk.Location)
		})
		if len(p.inv.Disks) == 0 {
			problem.Text += "; the controller has no drives"
		}
		p.problems = append(p.problems, problem)
	}
}

// spareSizes holds spares against the volumes that are made with them.
func (p *planner) spareSizes(a *assignment) {
	for i, given := range a.spares {
		for _, name := range p.want.Spares[i].For {
			v := slices.IndexFunc(p.want.Volumes, func(w Volume) bool { return w.Name == name })
			need := p.smallest(a.volumes[v])
			for _, d := range given {
				if disk := &p.inv.Disks[d]; disk.Bytes < need {
					p.problem(fmt.Sprintf(".spares[%d].disks", i), "%s has %s, too little to stand in for drives of %s, which have %s",
						ref(disk), human(disk.Bytes), name, human(need))
				}
			}
		}
	}
}

// listDisks is for messages.
func (p *planner) listDisks(disks []int) string {
	words := make([]string, len(disks))
	for i, d := range disks {
		words[i] = p.inv.Disks[d].Location
	}
	return strings.Join(words, ", ")
}
