package hw

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Comparer is a model made ready for many machines. It may be used by several goroutines at once, as long as nobody
// changes the model.
type Comparer struct {
	nothing  bool
	sections []func(f *Facts) []Difference
}

// Compare returns all differences in a fixed order: that of the sections in a model, parts by their places, fields as
// a model lists them. For many machines, [Model.Comparer] is faster.
func (m *Model) Compare(f *Facts) []Difference { return m.Comparer().Compare(f) }

// Comparer prepares m. A nil model wants nothing. A field of which [Model.Validate] says that it is wrong is met by no
// machine.
func (m *Model) Comparer() *Comparer {
	if m == nil {
		return &Comparer{nothing: true}
	}
	c := &Comparer{}
	add := func(section func(f *Facts) []Difference) { c.sections = append(c.sections, section) }
	add(one(m, "system", "system", systemFields, nil, m.System, func(f *Facts) System { return f.System },
		func(p *System, u []Unknown) { p.Unknown = u }))
	add(one(m, "board", "board", boardFields, nil, m.Board, func(f *Facts) Board { return f.Board },
		func(p *Board, u []Unknown) { p.Unknown = u }))
	add(one(m, "bios", "BIOS", biosFields, nil, m.BIOS, func(f *Facts) BIOS { return f.BIOS },
		func(p *BIOS, u []Unknown) { p.Unknown = u }))
	add(one(m, "chassis", "chassis", chassisFields, nil, m.Chassis, func(f *Facts) Chassis { return f.Chassis },
		func(p *Chassis, u []Unknown) { p.Unknown = u }))
	add(many(m, "cpus", cpuSort, m.CPUs, filledCPUs))
	add(one(m, "memory", "memory", memoryFields, memoryChecks, m.Memory, func(f *Facts) Memory { return f.Memory },
		func(p *Memory, u []Unknown) { p.Unknown = u }))
	var dimms []DIMMModel
	if m.Memory != nil {
		dimms = m.Memory.DIMMs
	}
	add(many(m, "memory", dimmSort, dimms, modules))
	add(many(m, "controllers", controllerSort, m.Controllers, storageControllers))
	add(many(m, "disks", diskSort, m.Disks, physicalDisks))
	add(many(m, "nics", nicSort, m.NICs, interfaces))
	add(many(m, "gpus", gpuSort, m.GPUs, graphics))
	add(many(m, "psus", psuSort, m.PSUs, filledPSUs))
	add(one(m, "bmc", "BMC", bmcFields, nil, m.BMC, func(f *Facts) BMC { return f.BMC },
		func(p *BMC, u []Unknown) { p.Unknown = u }))
	c.sections = slices.DeleteFunc(c.sections, func(s func(*Facts) []Difference) bool { return s == nil })
	return c
}

// Compare returns what [Model.Compare] does.
func (c *Comparer) Compare(f *Facts) []Difference {
	if c.nothing {
		return nil
	}
	if f == nil {
		return []Difference{{Want: "the facts of a machine", Got: "none", Severity: Fail,
			Text: "want the facts of a machine, got none"}}
	}
	var all []Difference
	for _, section := range c.sections {
		all = append(all, section(f)...)
	}
	return all
}

// The parts of a machine, and why the list may be incomplete.
type partList[P any] struct {
	parts []P
	// total is how many the machine lists; more than MaxParts are not looked at.
	total   int
	unknown string
}

func listed[P any](f *Facts, total int, paths ...string) partList[P] {
	l := partList[P]{total: total}
	for _, path := range paths {
		if reason, not := sectionUnknown(f.Unknown, path); not {
			l.unknown = unknownWord(reason)
		}
	}
	return l
}

// sectionUnknown is notKnown for lists that are as long as a machine likes.
func sectionUnknown(unknown []Unknown, path string) (string, bool) {
	for _, u := range unknown {
		if u.Path == path {
			return u.Reason, true
		}
	}
	return "", false
}

func filledCPUs(f *Facts) partList[CPU] {
	l := listed[CPU](f, len(f.CPUs), "cpus")
	l.parts = make([]CPU, 0, min(len(f.CPUs), MaxParts))
	for _, c := range f.CPUs[:min(len(f.CPUs), MaxParts)] {
		if !c.Empty {
			l.parts = append(l.parts, c)
		}
	}
	return l
}

func modules(f *Facts) partList[dimmPart] {
	dimms := f.Memory.DIMMs
	l := listed[dimmPart](f, len(dimms), "memory", "memory/dimms")
	if reason, not := sectionUnknown(f.Memory.Unknown, "dimms"); not {
		l.unknown = unknownWord(reason)
	}
	dimms = dimms[:min(len(dimms), MaxParts)]
	used := make(map[string]bool, len(dimms))
	var twice map[string]bool
	for i := range dimms {
		name := printable(dimms[i].Slot)
		if used[name] {
			if twice == nil {
				twice = map[string]bool{}
			}
			twice[name] = true
		}
		used[name] = true
	}
	l.parts = make([]dimmPart, 0, len(dimms))
	for i := range dimms {
		d := &dimms[i]
		if d.Empty {
			continue
		}
		name := printable(d.Slot)
		if bank := printable(d.Bank); twice[name] && bank != "" && name != "" {
			name = bank + "/" + name
		}
		l.parts = append(l.parts, dimmPart{d, name})
	}
	return l
}

func storageControllers(f *Facts) partList[PCIDevice] {
	l := listed[PCIDevice](f, len(f.Controllers), "controllers")
	l.parts = f.Controllers[:min(len(f.Controllers), MaxParts)]
	return l
}

func physicalDisks(f *Facts) partList[Disk] {
	l := listed[Disk](f, len(f.Disks), "disks")
	l.parts = make([]Disk, 0, min(len(f.Disks), MaxParts))
	for i := range f.Disks[:min(len(f.Disks), MaxParts)] {
		if f.Disks[i].Kind != RAIDVolume {
			l.parts = append(l.parts, f.Disks[i])
		}
	}
	return l
}

// maxFunctions is among how many PCI functions that of a NIC is looked for.
const maxFunctions = 8192

func interfaces(f *Facts) partList[nicPart] {
	l := listed[nicPart](f, len(f.NICs), "nics")
	nics := f.NICs[:min(len(f.NICs), MaxParts)]
	functions := f.PCI[:min(len(f.PCI), maxFunctions)]
	l.parts = make([]nicPart, len(nics))
	for i := range nics {
		l.parts[i].NIC = &nics[i]
		if nics[i].PCI == "" {
			continue
		}
		for j := range functions {
			if functions[j].Address == nics[i].PCI {
				l.parts[i].function = &functions[j]
				break
			}
		}
	}
	return l
}

func graphics(f *Facts) partList[PCIDevice] {
	gpus := f.GPUs()
	l := listed[PCIDevice](f, len(gpus), "pci")
	l.parts = gpus[:min(len(gpus), MaxParts)]
	return l
}

func filledPSUs(f *Facts) partList[PSU] {
	l := listed[PSU](f, len(f.PSUs), "psus")
	if f.PSUs == nil && l.unknown == "" { // detection lists none as an empty list; it was not always able to look
		l.unknown = unknownWord("the facts are of a release that did not look")
	}
	l.parts = make([]PSU, 0, min(len(f.PSUs), MaxParts))
	for _, p := range f.PSUs[:min(len(f.PSUs), MaxParts)] {
		if !p.Empty {
			l.parts = append(l.parts, p)
		}
	}
	return l
}

// one compares a section of one thing. nil: there is nothing to compare.
func one[M, P any](model *Model, section, noun string, fields []partField[M, P], checks []healthCheck[M, P], m *M,
	get func(*Facts) P, setUnknown func(*P, []Unknown)) func(*Facts) []Difference {
	var tests []test[P]
	if m != nil {
		for _, f := range fields {
			if t := f.test(m); t != nil {
				t.name, t.label = f.name, f.label
				t.severity = cmp.Or(t.severity, model.severity(section))
				tests = append(tests, *t)
			}
		}
	} else {
		m = new(M)
	}
	tests = append(tests, healthTests(model, checks, m)...)
	if len(tests) == 0 {
		return nil
	}
	return func(f *Facts) []Difference {
		p := get(f)
		if reason, not := sectionUnknown(f.Unknown, section); not {
			setUnknown(&p, []Unknown{{Reason: reason}})
		}
		var all []Difference
		for i := range tests {
			if t := &tests[i]; !t.ok(&p) {
				want, got := t.words(&p)
				all = append(all, Difference{Path: section + "/" + t.name, Severity: t.severity}.
					sentence(noun+": "+t.label, want, got))
			}
		}
		return all
	}
}

func healthTests[M, P any](model *Model, checks []healthCheck[M, P], m *M) []test[P] {
	if model.Health == nil {
		return nil
	}
	var tests []test[P]
	for _, check := range checks {
		if t := check(m, model.Health); t != nil {
			t.severity = cmp.Or(t.severity, model.severity("health"))
			tests = append(tests, *t)
		}
	}
	return tests
}

// sentence completes a difference. Want and Got end up in one line, printable and of bounded length.
func (d Difference) sentence(what, want, got string) Difference {
	d.Want, d.Got = clip(want), clip(got)
	d.Text = fmt.Sprintf("%s: want %s, got %s", what, d.Want, d.Got)
	return d
}

// entry is an entry of a model, ready to be compared.
type entry[P any] struct {
	tests []test[P]
	// want is a part of the entry in words.
	want     string
	severity Severity
}

// place is where parts of an entry can go: a slot, or all of them together.
type place struct {
	entry int
	// pin is the slot that they must be in, "" for any.
	pin      string
	capacity int
	// required places that stay empty are a difference.
	required bool
	// of is how many parts the entry wants at least, for a sentence.
	of int
}

// many compares a list. nil: there is nothing to compare.
func many[M, P any](model *Model, section string, s *sortOfPart[M, P], list []M,
	get func(*Facts) partList[P]) func(*Facts) []Difference {
	open := list == nil // nothing is wanted but health
	if open {
		if len(healthTests(model, s.checks, new(M))) == 0 {
			return nil
		}
		list = []M{*new(M)}
	}
	c := &listComparer[M, P]{sort: s, open: open, severity: model.severity(section),
		health: model.severity("health"), pinned: map[string][]int{}}
	for i := range list[:min(len(list), MaxParts)] {
		c.add(model, &list[i])
	}
	for i, p := range c.places {
		if p.pin != "" {
			c.pinned[p.pin] = append(c.pinned[p.pin], i)
		} else {
			c.unpinned = append(c.unpinned, i)
		}
	}
	return func(f *Facts) []Difference { return c.compare(get(f)) }
}

type listComparer[M, P any] struct {
	sort *sortOfPart[M, P]
	// open: parts are neither missing nor unexpected.
	open             bool
	severity, health Severity
	entries          []entry[P]
	places           []place
	// pinned and unpinned are indices of places.
	pinned   map[string][]int
	unpinned []int
}

func (c *listComparer[M, P]) add(model *Model, m *M) {
	e := entry[P]{severity: c.severity}
	of := c.sort.entry(m)
	if of.Severity != "" {
		e.severity = of.Severity
	}
	wants := map[string]string{}
	for _, f := range c.sort.fields {
		t := f.test(m)
		if t == nil {
			continue
		}
		t.name, t.label = f.name, f.label
		t.severity = cmp.Or(t.severity, e.severity)
		wants[f.name] = t.want
		if t.want == "none" {
			wants[f.name] = ""
		}
		if c.sort.moot != nil {
			if moot := c.sort.moot(f.name, m, model.Health); moot != nil {
				ok := t.ok
				t.ok = func(p *P) bool { return moot(p) || ok(p) }
			}
		}
		e.tests = append(e.tests, *t)
	}
	e.tests = append(e.tests, healthTests(model, c.sort.checks, m)...)
	e.want = c.sort.describe(func(name string) string { return wants[name] })
	if e.want == "" {
		e.want = "a " + c.sort.noun
	}
	index := len(c.entries)
	c.entries = append(c.entries, e)

	if len(of.Slots) > 0 {
		for _, slot := range of.Slots[:min(len(of.Slots), MaxParts)] {
			c.places = append(c.places, place{entry: index, pin: printable(string(slot)), capacity: 1, required: true})
		}
		return
	}
	least, most := of.Count.bounds()
	if c.open {
		least, most = 0, -1
	}
	if most < 0 || most > MaxParts {
		most = MaxParts
	}
	least = max(0, min(least, most))
	pin := printable(string(of.Slot))
	if least > 0 {
		c.places = append(c.places, place{index, pin, least, true, least})
	}
	if most > least {
		c.places = append(c.places, place{index, pin, most - least, false, least})
	}
}

// fits says whether a part in these slots may go to a place, and whether that is only because nobody knows its slot.
func (p *place) fits(name, other string) (fits, unknown bool) {
	switch {
	case p.pin == "":
		return true, false
	case name == "" && other == "":
		return true, true
	}
	return p.pin == name || p.pin == other, false
}

func (c *listComparer[M, P]) compare(l partList[P]) []Difference {
	d := Difference{Path: c.sort.section, Severity: c.severity}
	if c.open {
		d.Severity = c.health
	}
	if l.total > MaxParts {
		return []Difference{d.sentence(c.sort.noun+"s", fmt.Sprintf("at most %d", MaxParts),
			fmt.Sprintf("%d: a list this long is not compared", l.total))}
	}
	if l.unknown == "" && c.allMatch(l.parts) {
		return nil
	}
	var all []Difference
	if l.unknown != "" && !c.open {
		all = append(all, d.sentence(c.sort.noun+"s", c.wanted(), l.unknown))
	}
	return append(all, c.assigned(l.parts, l.unknown != "")...)
}

// wanted says how many parts the list wants.
func (c *listComparer[M, P]) wanted() string {
	least, most := 0, 0
	for _, p := range c.places {
		if p.required {
			least += p.capacity
		}
		most += p.capacity
	}
	switch {
	case most == 0:
		return "none"
	case least == most:
		return fmt.Sprint(least)
	case most >= MaxParts:
		return fmt.Sprintf("at least %d", least)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// allMatch is the common case: every part finds a place without a difference, in the order in which they come, and no
// place stays empty. False says nothing, since another order may do it.
func (c *listComparer[M, P]) allMatch(parts []P) bool {
	var small [64]int16
	left := small[:0]
	required := 0
	for i := range c.places {
		left = append(left, int16(c.places[i].capacity))
		if c.places[i].required {
			required += c.places[i].capacity
		}
	}
	for i := range parts {
		p := &parts[i]
		name, other := c.sort.slot(p)
		name, other = printable(name), printable(other)
		took := c.take(c.pinned[name], left, p, name != "")
		if took < 0 && other != "" && other != name {
			took = c.take(c.pinned[other], left, p, true)
		}
		if took < 0 {
			took = c.take(c.unpinned, left, p, true)
		}
		if took < 0 {
			return false
		}
		if c.places[took].required {
			required--
		}
	}
	return required == 0
}

// take finds a place with room for p, without a difference, or -1.
func (c *listComparer[M, P]) take(places []int, left []int16, p *P, known bool) int {
	if !known {
		return -1
	}
	tried := -1
	for _, i := range places {
		if left[i] == 0 || c.places[i].entry == tried {
			continue
		}
		tried = c.places[i].entry
		if c.entries[tried].matches(p) {
			left[i]--
			return i
		}
	}
	return -1
}

func (e *entry[P]) matches(p *P) bool {
	for i := range e.tests {
		if !e.tests[i].ok(p) {
			return false
		}
	}
	return true
}

// What a difference costs. The weights are so far apart that no number of differences of one severity, over all fields
// of MaxParts parts, is as much as one of the next; and all together are less than a part without a place.
const (
	costInfo   = int64(1)
	costWarn   = int64(1) << 16
	costFail   = int64(1) << 32
	costNoPair = int64(1) << 48
)

func costOf(s Severity) int64 {
	switch s {
	case Info:
		return costInfo
	case Warn:
		return costWarn
	}
	return costFail
}

// known is a part with what a sentence calls it by.
type known[P any] struct {
	p           *P
	name, other string
	place       string
	serial      string
	content     string
}

// know finds the names of parts, and puts them into an order that does not depend on how they are listed.
func (s *sortOfPart[M, P]) know(parts []P) []known[P] {
	all := make([]known[P], len(parts))
	for i := range parts {
		p := &parts[i]
		k := &all[i]
		k.p = p
		k.name, k.other = s.slot(p)
		k.name, k.other = printable(k.name), printable(k.other)
		k.place, k.serial = printable(s.place(p)), printable(s.serial(p))
	}
	order := func(a, b *known[P]) int {
		return cmp.Or(byName(a.name, b.name), byName(a.place, b.place), strings.Compare(a.serial, b.serial))
	}
	slices.SortStableFunc(all, func(a, b known[P]) int { return order(&a, &b) })
	for from := 0; from < len(all); { // those that only their fields tell apart
		to := from + 1
		for to < len(all) && order(&all[from], &all[to]) == 0 {
			to++
		}
		if to-from > 1 {
			for i := from; i < to; i++ {
				all[i].content = s.content(all[i].p)
			}
			slices.SortStableFunc(all[from:to], func(a, b known[P]) int { return strings.Compare(a.content, b.content) })
		}
		from = to
	}
	return all
}

// content is what is compared of a part, and then everything else, so that only equal parts are equal.
func (s *sortOfPart[M, P]) content(p *P) string {
	var b strings.Builder
	for _, f := range s.fields {
		b.WriteString(f.show(p))
		b.WriteByte(0)
	}
	for _, check := range s.checks {
		if t := check(new(M), &HealthModel{}); t != nil {
			fmt.Fprintf(&b, "%t%s\x00", t.ok(p), t.got(p))
		}
	}
	if data, err := json.Marshal(p); err == nil {
		b.Write(data)
	}
	return b.String()
}

// byName orders names as people count: A2 before A10; what has no name comes last.
func byName(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "":
		return 1
	case b == "":
		return -1
	}
	return cmp.Or(compareRuns(a, b), strings.Compare(a, b))
}

// assigned finds the assignment with the fewest differences, and lists them.
func (c *listComparer[M, P]) assigned(list []P, incomplete bool) []Difference {
	parts := c.sort.know(list)
	// A test is made once for a part and an entry, however many places the entry has.
	difference := make([][]int64, len(parts))
	for i := range parts {
		difference[i] = make([]int64, len(c.entries))
		for j := range c.entries {
			for k := range c.entries[j].tests {
				if t := &c.entries[j].tests[k]; !t.ok(parts[i].p) {
					difference[i][j] += costOf(t.severity)
				}
			}
		}
	}
	nowhere := len(c.places)
	capacity := make([]int, nowhere+1)
	for j := range c.places {
		capacity[j] = c.places[j].capacity
	}
	capacity[nowhere] = len(parts)
	to := assign(len(parts), capacity, func(i, j int) int64 {
		if j == nowhere {
			return 2 * costNoPair
		}
		p := &c.places[j]
		fits, unknown := p.fits(parts[i].name, parts[i].other)
		if !fits {
			return forbidden
		}
		cost := difference[i][p.entry]
		if unknown {
			cost += costOf(c.entries[p.entry].severity)
		}
		if !p.required {
			cost += costNoPair
		}
		return cost
	})

	var all []at
	load := make([]int, nowhere)
	for i := range parts {
		k := &parts[i]
		if to[i] == nowhere {
			all = append(all, c.unexpected(k))
			continue
		}
		load[to[i]]++
		all = append(all, c.differences(k, &c.places[to[i]])...)
	}
	for j := range c.places {
		p := &c.places[j]
		if !p.required || incomplete { // nobody knows whether what is not listed is there
			continue
		}
		for range p.capacity - load[j] {
			all = append(all, c.missing(p))
		}
	}
	slices.SortStableFunc(all, func(a, b at) int {
		return cmp.Or(byName(a.Slot, b.Slot), strings.Compare(a.Serial, b.Serial), cmp.Compare(a.field, b.field),
			strings.Compare(a.Text, b.Text))
	})
	differences := make([]Difference, len(all))
	for i := range all {
		differences[i] = all[i].Difference
	}
	return differences
}

// at is a difference with the place of its field in the list of fields.
type at struct {
	Difference
	field int
}

// title is how a part is called in a sentence, and the path by which a difference names it.
func (c *listComparer[M, P]) title(k *known[P], slot string) (title, path, place string) {
	place = slot
	if place == "" {
		place = k.place
	}
	title, path = titled(c.sort.noun, clip(slot), clip(k.place)), c.sort.section
	if place != "" {
		path += "[" + clip(place) + "]"
	}
	if k.serial != "" {
		title += " (serial " + clip(k.serial) + ")"
	}
	return title, path, place
}

func (c *listComparer[M, P]) differences(k *known[P], p *place) []at {
	slot := k.name
	if p.pin != "" && p.pin == k.other {
		slot = p.pin
	}
	title, path, where := c.title(k, slot)
	var all []at
	e := &c.entries[p.entry]
	if _, unknown := p.fits(k.name, k.other); unknown {
		d := Difference{Path: path + "/slot", Slot: clip(where), Serial: clip(k.serial), Severity: e.severity}
		all = append(all, at{d.sentence(title+": slot", p.pin, c.sort.why(k.p)), -1})
	}
	for i := range e.tests {
		t := &e.tests[i]
		if t.ok(k.p) {
			continue
		}
		d := Difference{Path: path + "/" + t.name, Slot: clip(where), Serial: clip(k.serial), Severity: t.severity}
		want, got := t.words(k.p)
		all = append(all, at{d.sentence(title+": "+t.label, want, got), i})
	}
	return all
}

func (c *listComparer[M, P]) unexpected(k *known[P]) at {
	title, path, where := c.title(k, k.name)
	got := c.sort.describe(func(name string) string {
		for _, f := range c.sort.fields {
			if f.name == name {
				return f.show(k.p)
			}
		}
		return ""
	})
	if got == "" {
		got = "a " + c.sort.noun + " that tells nothing of itself"
	}
	d := Difference{Path: path, Slot: clip(where), Serial: clip(k.serial), Severity: c.severity}
	return at{d.sentence(title, c.sort.none, got), -1}
}

func (c *listComparer[M, P]) missing(p *place) at {
	e := &c.entries[p.entry]
	d := Difference{Path: c.sort.section, Slot: clip(p.pin), Severity: e.severity}
	if p.pin != "" {
		d.Path += "[" + clip(p.pin) + "]"
	}
	want := e.want
	if p.of > 1 {
		want = clip(want) + fmt.Sprintf(" (one of %d)", p.of)
	}
	return at{d.sentence(titled(c.sort.noun, clip(p.pin), ""), want, c.sort.none), math.MaxInt}
}
