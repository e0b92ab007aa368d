package raid

import (
	"cmp"
	"fmt"
	"slices"
)

// write turns what was decided into steps: what goes, what drives must become, what is made, what is set.
func (p *planner) write(a *assignment) {
	caps := &p.inv.Controller.Capabilities
	creates, deletes := 0, 0
	for i := range p.want.Volumes {
		if p.kept[i] < 0 {
			creates++
			p.check(i, a)
		}
	}
	left := 0
	for _, f := range p.fate {
		if f == destroy {
			deletes++
		} else {
			left++
		}
	}
	if caps.MaxVolumes > 0 && left+creates > caps.MaxVolumes && creates > 0 {
		p.problem(".volumes", "%d volumes would be there, and the controller allows %d", left+creates, caps.MaxVolumes)
	}
	if creates+deletes > 0 {
		p.discardCache()
	}
	p.freeSpares(a)
	for _, e := range p.byPlace() {
		if p.fate[e] == destroy {
			v := &p.inv.Volumes[e]
			p.delete(v, p.whyDelete(v))
		}
	}
	incomplete := slices.ContainsFunc(p.inv.Foreign, func(f Foreign) bool { return f.Incomplete })
	if a.foreign || incomplete && creates > 0 {
		p.clearForeign()
	}
	if len(a.ready) > 0 {
		s := Step{Kind: StepReady, Needs: []Permission{AllowDestroy},
			Reason: "volumes and spares want drives that are shown to the operating system"}
		for _, d := range a.ready {
			disk := &p.inv.Disks[d]
			s.Disks = append(s.Disks, ref(disk))
			s.Destroys = append(s.Destroys, p.content(disk))
		}
		p.step(s)
	}
	for i := range p.want.Volumes {
		if p.kept[i] < 0 {
			p.create(i, a)
		}
	}
	p.spares(a)
	p.policies()
	p.boot()
	p.rest(a)
}

// content is what is lost of a drive that the operating system sees.
func (p *planner) content(d *PhysicalDisk) string {
	text := fmt.Sprintf("all that is on %s", ref(d))
	if d.Path != "" {
		text += ", which the operating system sees as " + clip(d.Path)
	}
	return text
}

// byPlace are the volumes of the inventory in natural order.
func (p *planner) byPlace() []int {
	order := make([]int, len(p.inv.Volumes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return CompareLocations(string(p.inv.Volumes[a].ID), string(p.inv.Volumes[b].ID))
	})
	return order
}

func (p *planner) whyDelete(v *VirtualDisk) string {
	if p.inv.Controller.Capabilities.Names {
		for i := range p.want.Volumes {
			if p.want.Volumes[i].Name == v.Name && p.kept[i] < 0 {
				return fmt.Sprintf("%s.volumes[%d] wants it otherwise, and this cannot be changed: %s", p.at, i,
					enumerate(append(p.differences(i, v), p.elsewhere(i, v)...), 8))
			}
		}
	}
	return p.at + " does not list it, and its unlisted is remove"
}

// freeSpares plans that spares stop being spares, before the volumes go that they wait for.
func (p *planner) freeSpares(a *assignment) {
	if len(a.freed) == 0 {
		return
	}
	s := Step{Kind: StepRemoveSpare,
		Reason: p.at + " wants these drives for something else, or does not list these spares"}
	for _, d := range a.freed {
		s.Disks = append(s.Disks, ref(&p.inv.Disks[d]))
	}
	p.step(s)
}

func (p *planner) clearForeign() {
	if !p.inv.Controller.Capabilities.ClearForeign {
		p.problem("", "a foreign configuration that is not complete is in the way of new volumes, and cannot be cleared here")
		return
	}
	s := Step{Kind: StepClearForeign, Needs: []Permission{AllowForeign, AllowDestroy},
		Reason: "drives carry the configuration of another controller, which is in the way; if it is this machine's own, " +
			"import it instead"}
	for i := range p.inv.Disks {
		if d := &p.inv.Disks[i]; d.Foreign {
			s.Disks = append(s.Disks, ref(d))
		}
	}
	for _, f := range p.inv.Foreign {
		text := fmt.Sprintf("foreign configuration %s, level %s", clip(cmp.Or(f.ID, "without a name")), f.Level)
		if f.Bytes > 0 {
			text += ", " + human(f.Bytes)
		}
		var where []string
		for _, id := range f.Disks {
			if k, ok := p.disks[id]; ok {
				where = append(where, p.inv.Disks[k].Location)
			}
		}
		if len(where) > 0 {
			text += ", on drives " + enumerate(where, 16)
		}
		if f.Incomplete {
			text += ", of which some are not here"
		}
		s.Destroys = append(s.Destroys, text)
	}
	if len(s.Destroys) == 0 {
		s.Destroys = []string{"all foreign configurations"}
	}
	p.step(s)
}

// check holds a volume that is to be made against what the controller can do with its drives.
func (p *planner) check(i int, a *assignment) {
	w, disks, caps := &p.want.Volumes[i], a.volumes[i], &p.inv.Controller.Capabilities
	at, n := fmt.Sprintf(".volumes[%d]", i), len(a.volumes[i])
	if k := slices.IndexFunc(caps.Levels, func(l LevelCapability) bool { return l.Level == w.Level }); k < 0 {
		have := make([]Level, len(caps.Levels))
		for k, l := range caps.Levels {
			have[k] = l.Level
		}
		p.problem(at+".level", "the controller has no level %s; %s", w.Level, can("levels", have))
	} else if l := caps.Levels[k]; n < l.MinDisks || l.MaxDisks > 0 && n > l.MaxDisks || n%max(l.Multiple, 1) != 0 {
		text := fmt.Sprintf("at least %d", l.MinDisks)
		if l.MaxDisks > 0 {
			text += fmt.Sprintf(" and at most %d", l.MaxDisks)
		}
		if l.Multiple > 1 {
			text += fmt.Sprintf(", a multiple of %d", l.Multiple)
		}
		p.problem(at+".disks", "%d drives (%s); the controller's level %s wants %s", n, p.listDisks(disks), w.Level, text)
	}
	spans := p.newSpans(w, n)
	if grouped := levels[w.Level].grouped; grouped && p.inv.Controller.ID != MD && (spans < 1 || n%spans != 0 ||
		w.Level == Level10 && n/spans%2 != 0 || n/spans < levels[w.Level].least) {
		p.problem(at+".disks", "%d drives (%s) cannot be shared equally between %d spans of level %s", n, p.listDisks(disks),
			spans, w.Level)
	}
	if w.Strip != 0 && !slices.Contains(caps.Strips, w.Strip) {
		p.problem(at+".strip", "the controller has no strips of %s; %s", w.Strip, can("strips", stripWords(caps.Strips)))
	}
	supported(p, at+".initialize", "initialization", w.Initialize, caps.Initialize)
	parts := int64(dataDisks(w.Level, n, spans))
	if parts <= 0 {
		return // said above
	}
	for _, d := range disks { // of a volume beside that is there
		if disk := &p.inv.Disks[d]; p.anchor(p.base(i)) >= 0 && disk.State.Is != DiskOnline && p.inv.Controller.ID != MD {
			p.problem(at+".disks", "%s, which it is to share, is %s", ref(disk), disk.State)
		}
	}
	all := p.smallest(disks)
	room, beside := all, 0
	share := func(bytes int64, level Level, spans int) {
		if d := int64(dataDisks(level, n, spans)); d > 0 {
			room -= bytes / d
			beside++
		}
	}
	for e := range p.inv.Volumes { // on the same drives, and staying
		if v := &p.inv.Volumes[e]; p.fate[e] != destroy && len(v.Members) > 0 && slices.Contains(v.Members,
			p.inv.Disks[disks[0]].ID) {
			share(v.Bytes, v.Level.Is, v.Spans)
			if v.Missing > 0 {
				p.problem(at+".disks", "%s misses drives, so that nothing can be made beside it", p.describe(v))
			}
		}
	}
	for o := range i { // made before it
		if p.kept[o] < 0 && p.base(o) == p.base(i) {
			share(int64(p.want.Volumes[o].Size), p.want.Volumes[o].Level, p.newSpans(&p.want.Volumes[o], n))
		}
	}
	want := int64(w.Size)
	switch {
	case (want != 0 && !maxFits(want, all*parts) || beside > 0) && !caps.PartialVolumes:
		p.problem(at+".size", "the controller makes only volumes that take all of their drives, which is %s; want size max",
			human(all*parts))
	case room <= 0 || (want+parts-1)/parts > room:
		p.problem(at+".size", "%s is wanted, and drives %s have room for %s", wantedSize(w), p.listDisks(disks),
			human(max(room, 0)*parts))
	}
}

func wantedSize(w *Volume) string {
	if w.Size == Max {
		return "max"
	}
	return human(int64(w.Size))
}

// newSpans is the number of spans that a new volume gets.
func (p *planner) newSpans(w *Volume, n int) int {
	switch {
	case !levels[w.Level].grouped || p.inv.Controller.ID == MD:
		return 0
	case w.Spans != 0:
		return w.Spans
	case w.Level == Level10:
		return n / 2
	}
	return 2
}

func (p *planner) create(i int, a *assignment) {
	w, caps := &p.want.Volumes[i], &p.inv.Controller.Capabilities
	n := &NewVolume{Name: w.Name, Level: w.Level, Spans: p.newSpans(w, len(a.volumes[i])), Bytes: int64(w.Size),
		Strip:    w.Strip,
		Policies: w.policies(), Initialize: w.Initialize, Boot: w.Boot}
	if !caps.PartialVolumes {
		n.Bytes = 0 // it is all that there is, as far as a label can tell
	}
	s := Step{Kind: StepCreateVolume, Create: n,
		Reason: fmt.Sprintf("%s.volumes[%d] wants volume %s, and it is not there", p.at, i, w.Name)}
	for _, d := range a.volumes[i] {
		disk := &p.inv.Disks[d]
		s.Disks = append(s.Disks, ref(disk))
		// The kernel's RAID makes volumes of what the operating system sees and may be using.
		if p.inv.Controller.ID == MD && p.base(i) == i && p.anchor(i) < 0 {
			s.Destroys = append(s.Destroys, p.content(disk))
			s.Needs = append(s.Needs, AllowDestroy)
		}
	}
	p.step(s)
}

func (w *Volume) policies() Policies {
	return Policies{Read: w.Read, Write: w.Write, IO: w.IO, DiskCache: w.DiskCache}
}

// volumeRef names a volume of the layout: as it was seen, or only by name if it is to be made.
func (p *planner) volumeRef(i int) VolumeRef {
	if e := p.kept[i]; e >= 0 {
		r := refVolume(p.inv, &p.inv.Volumes[e])
		return r
	}
	return VolumeRef{Name: p.want.Volumes[i].Name}
}

func (p *planner) spares(a *assignment) {
	for i, given := range a.spares {
		if len(given) == 0 {
			continue
		}
		s := Step{Kind: StepAddSpare, Reason: fmt.Sprintf("%s.spares[%d] wants %s", p.at, i, p.want.Spares[i].Disks)}
		for _, name := range p.want.Spares[i].For {
			s.SpareFor = append(s.SpareFor, p.volumeRef(slices.IndexFunc(p.want.Volumes,
				func(w Volume) bool { return w.Name == name })))
		}
		for _, d := range given {
			disk := &p.inv.Disks[d]
			s.Disks = append(s.Disks, ref(disk))
			if p.inv.Controller.ID == MD {
				s.Destroys = append(s.Destroys, p.content(disk))
				s.Needs = append(s.Needs, AllowDestroy)
			}
		}
		p.step(s)
	}
}

// policies plans what can be changed of volumes that stay. What is asked for is compared with what was asked for: a
// write-back cache that writes through because its battery is empty is no difference, and no step would help.
func (p *planner) policies() {
	for i := range p.want.Volumes {
		e := p.kept[i]
		if e < 0 {
			continue
		}
		v, w := &p.inv.Volumes[e], p.want.Volumes[i].policies()
		batteryBad := p.inv.Controller.Cache.Battery.Is != BatteryGood
		var set Policies
		var words []string
		differ(&set.Read, w.Read, v.Policies.Read, v.Current.Read, "read", &words)
		differ(&set.IO, w.IO, v.Policies.IO, v.Current.IO, "io", &words)
		differ(&set.DiskCache, w.DiskCache, v.Policies.DiskCache, v.Current.DiskCache, "disk_cache", &words)
		asked := v.Policies.Write
		if asked == "" && w.Write == WriteBack && v.Current.Write == WriteThrough && batteryBad {
			asked = WriteBack // all that can be told
		}
		differ(&set.Write, w.Write, asked, v.Current.Write, "write", &words)
		if w.Write == WriteBack && v.Current.Write == WriteThrough && set.Write == "" {
			p.note("%s writes through, although it is to write back: the battery of the cache is %s", refVolume(p.inv, v),
				p.inv.Controller.Cache.Battery)
		}
		if set == (Policies{}) {
			continue
		}
		r := p.volumeRef(i)
		p.step(Step{Kind: StepPolicies, Volume: &r, Policies: set,
			Reason: fmt.Sprintf("%s.volumes[%d] wants other policies: %s", p.at, i, enumerate(words, 8))})
	}
}

// differ sets what must be changed. What is not known of a volume cannot be compared, and is left.
func differ[T ~string](set *T, want, asked, current T, what string, words *[]string) {
	have := cmp.Or(asked, current)
	if want == "" || have == "" || have == want {
		return
	}
	*set = want
	*words = append(*words, fmt.Sprintf("%s %s instead of %s", what, want, have))
}

func (p *planner) boot() {
	for i := range p.want.Volumes {
		if !p.want.Volumes[i].Boot || p.inv.Controller.ID == MD {
			continue
		}
		if !p.inv.Controller.Capabilities.BootVolume {
			others := 0
			for e := range p.inv.Volumes {
				if p.fate[e] == leave {
					others++
				}
			}
			if len(p.want.Volumes)+others > 1 {
				p.note("the firmware cannot be told to start from volume %s; it takes the first one that boots",
					p.want.Volumes[i].Name)
			}
			continue
		}
		if e := p.kept[i]; e >= 0 {
			if b := p.inv.Volumes[e].Boot; b == nil || *b {
				continue
			}
		}
		r := p.volumeRef(i)
		p.step(Step{Kind: StepBoot, Volume: &r,
			Reason: fmt.Sprintf("%s.volumes[%d].boot: the machine is to start from it", p.at, i)})
	}
}

// rest plans what becomes of drives that nothing takes.
func (p *planner) rest(a *assignment) {
	if p.want.Rest != RestJBOD {
		return
	}
	s := Step{Kind: StepJBOD, Reason: p.at + ".rest is jbod, and nothing takes these drives"}
	freed := map[int]bool{}
	for _, d := range a.freed {
		freed[d] = true
	}
	for d := range p.inv.Disks {
		disk := &p.inv.Disks[d]
		if p.taken[d] != "" || disk.Foreign || disk.Locked || !disk.Identity().Known() {
			continue
		}
		if _, twice := p.twice[d]; twice {
			continue
		}
		going := len(disk.Volumes) > 0 && (disk.State.Is == DiskOnline || disk.State.Is == DiskRebuilding)
		for e := range p.inv.Volumes {
			if slices.Contains(p.inv.Volumes[e].Members, disk.ID) || slices.Contains(disk.Volumes, p.inv.Volumes[e].ID) {
				going = (going || disk.State.Is == DiskOnline) && p.fate[e] == destroy
				if !going {
					break
				}
			}
		}
		if disk.State.Is == DiskReady || freed[d] || going {
			s.Disks = append(s.Disks, ref(disk))
		}
	}
	if len(s.Disks) == 0 {
		return
	}
	if !p.inv.Controller.Capabilities.JBOD {
		p.problem(".rest", "the controller cannot show single drives to the operating system; %d would be: want leave",
			len(s.Disks))
		return
	}
	p.step(s)
}
