package hw

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Generate makes a model from a known-good machine, to be read and edited. The machine equals its model, and so does
// any other with the same parts in the same slots.
//
// What is known of every part gets into it, exactly, empty fields too; but never a serial number, MAC, WWN or UUID, an
// asset tag, the kernel's names, numbers and drivers, an address on a bus, a temperature. Equal parts become one entry.
// What is unknown of this machine is left out, a list that may be incomplete too: [GenerateNotes] says what that is.
// The microcode of a CPU counts as `info`, since the kernel may load another one, and the PCIe speed of a GPU as
// `warn`, since idle ones save power.
//
// The health section is there, which turns on every check, with limits raised to what this machine shows where that is
// more than the default; a check of disks, memory and power supplies is required where this machine's parts all tell.
func Generate(f *Facts) *Model {
	if f == nil {
		return &Model{}
	}
	m := &Model{
		System:  learned(f, "system", systemFields, f.System),
		Board:   learned(f, "board", boardFields, f.Board),
		BIOS:    learned(f, "bios", biosFields, f.BIOS),
		Chassis: learned(f, "chassis", chassisFields, f.Chassis),
		Memory:  learned(f, "memory", memoryFields, f.Memory),
		BMC:     learned(f, "bmc", bmcFields, f.BMC),
	}
	m.CPUs = entries(f, cpuSort, filledCPUs, func(c *CPUModel, _ *CPU) {
		if c.Microcode != nil {
			c.Microcode.Severity = Info
		}
	})
	if dimms := entries(f, dimmSort, modules, nil); dimms != nil {
		if m.Memory == nil {
			m.Memory = &MemoryModel{}
		}
		m.Memory.DIMMs = dimms
	}
	m.Controllers = entries(f, controllerSort, storageControllers, func(c *ControllerModel, _ *PCIDevice) {
		c.forget()
	})
	m.Disks = entries(f, diskSort, physicalDisks, nil)
	m.NICs = entries(f, nicSort, interfaces, func(n *NICModel, p *nicPart) {
		n.Driver = nil
		n.Link = n.Link.negotiated()
	})
	m.GPUs = entries(f, gpuSort, graphics, func(g *GPUModel, _ *PCIDevice) {
		g.forget()
		if g.Link != nil && g.Link.Speed != nil {
			g.Link.Speed.Severity = Warn
		}
	})
	m.PSUs = entries(f, psuSort, filledPSUs, func(p *PSUModel, _ *PSU) {
		// Good states are for the health section to want.
		if p.Status != nil && (*p.Status.Value == "OK" || *p.Status.Value == "") {
			p.Status = nil
		}
		if p.Plugged != nil && *p.Plugged.Value {
			p.Plugged = nil
		}
	})
	m.Health = healthOf(f)
	return m
}

// forget what the kernel decides, and what follows from the ids.
func (m *FunctionModel) forget() {
	m.Driver = nil
	if m.Firmware != nil && *m.Firmware.Value == "" { // most drivers do not tell
		m.Firmware = nil
	}
	m.Link = m.Link.negotiated()
}

func (l *LinkModel) negotiated() *LinkModel {
	if l == nil || l.Speed == nil && l.Width == nil {
		return nil
	}
	return &LinkModel{Speed: l.Speed, Width: l.Width}
}

// learned is a section of one thing, nil if nothing is known of it.
func learned[M, P any](f *Facts, section string, fields []partField[M, P], p P) *M {
	if _, not := sectionUnknown(f.Unknown, section); not {
		return nil
	}
	m := new(M)
	learnAll(fields, m, &p)
	if reflect.ValueOf(m).Elem().IsZero() {
		return nil
	}
	return m
}

// learnAll writes all fields of p into m, but for those that no model may want, such as a bus that nobody knows.
func learnAll[M, P any](fields []partField[M, P], m *M, p *P) {
	for _, f := range fields {
		f.learn(m, p)
		if f.validate(m) != nil {
			f.drop(m)
		}
	}
}

// entries are a list with equal parts folded, nil if the list may be incomplete.
func entries[M, P any](f *Facts, s *sortOfPart[M, P], get func(*Facts) partList[P], edit func(*M, *P)) []M {
	l := get(f)
	if l.unknown != "" || l.total > MaxParts {
		return nil
	}
	type group struct {
		model M
		slots []Text
	}
	var groups []*group
	byContent := map[string]*group{}
	for _, k := range s.know(l.parts) {
		var m M
		learnAll(s.fields, &m, k.p)
		if edit != nil {
			edit(&m, k.p)
		}
		content, err := json.Marshal(m)
		if err != nil { // no field can do that; such a part would be one of its own
			content = fmt.Append(nil, len(groups))
		}
		key := fmt.Sprintf("%t %s", k.name != "", content)
		g := byContent[key]
		if g == nil {
			g = &group{model: m}
			byContent[key] = g
			groups = append(groups, g)
		}
		g.slots = append(g.slots, Text(k.name))
	}
	models := make([]M, 0, len(groups))
	for _, g := range groups {
		distinct := slices.Compact(slices.Clone(g.slots)) // the parts came in the order of their slots
		if len(distinct) == len(g.slots) && len(g.slots) > 1 {
			s.entry(&g.model).Slots = g.slots
			models = append(models, g.model)
			continue
		}
		for _, slot := range distinct {
			m := g.model
			n := 0
			for _, other := range g.slots {
				if other == slot {
					n++
				}
			}
			s.entry(&m).Slot = slot
			if n > 1 {
				s.entry(&m).Count = Exactly(n)
			}
			models = append(models, m)
		}
	}
	return models
}

// healthOf is a health section that f meets.
func healthOf(f *Facts) *HealthModel {
	h := &HealthModel{}
	disks := physicalDisks(f).parts
	limit := func(byDefault int64, counts []*int64, required bool) *Limit {
		l := &Limit{Max: &byDefault, Required: required && len(counts) > 0}
		for _, n := range counts {
			if n == nil {
				l.Required = false
			} else if *n > *l.Max {
				most := *n
				l.Max = &most
			}
		}
		return l
	}
	ofDisks := func(byDefault int64, get func(*DiskHealth) *int64) *Limit {
		var counts []*int64
		for i := range disks {
			n, _ := ofDisk(&disks[i], "", get)
			counts = append(counts, n)
		}
		return limit(byDefault, counts, true)
	}
	h.SMART = &Check{Required: true}
	for i := range disks {
		passed, _ := ofDisk(&disks[i], "", func(h *DiskHealth) *bool { return h.Passed })
		if passed == nil {
			h.SMART.Required = false
		} else if !*passed {
			h.SMART = &Check{Ignore: true}
			break
		}
	}
	if len(disks) == 0 || *h.SMART == (Check{}) {
		h.SMART = nil
	}
	h.MediaErrors = ofDisks(0, func(h *DiskHealth) *int64 { return h.MediaErrors })
	h.Reallocated = ofDisks(0, func(h *DiskHealth) *int64 { return h.Reallocated })
	h.Pending = ofDisks(0, func(h *DiskHealth) *int64 { return h.Pending })
	h.WearPercent = ofDisks(defaultWear, func(h *DiskHealth) *int64 {
		if h.WearPercent == nil {
			return nil
		}
		n := int64(*h.WearPercent)
		return &n
	})
	errors := func(total *int64, get func(*DIMM) *int64) *Limit {
		l := limit(0, []*int64{total}, true)
		for i := range f.Memory.DIMMs {
			if n := get(&f.Memory.DIMMs[i]); n != nil && *n > *l.Max {
				l.Max = n
			}
		}
		return l
	}
	h.CorrectedErrors = errors(f.Memory.CorrectedErrors, func(d *DIMM) *int64 { return d.CorrectedErrors })
	h.UncorrectedErrors = errors(f.Memory.UncorrectedErrors, func(d *DIMM) *int64 { return d.UncorrectedErrors })
	psus := filledPSUs(f).parts
	if len(psus) > 0 && !slices.ContainsFunc(psus, func(p PSU) bool { return p.Status == "" }) {
		h.PSU = &Check{Required: true}
	}
	return h
}

// GenerateNotes says what a person should know of the model that [Generate] makes of f, one line each, such as for
// comments above it: what is unknown and therefore not in it, and what of this machine is not as it should be.
func GenerateNotes(f *Facts) []string {
	if f == nil {
		return nil
	}
	var notes []string
	unknown := f.Unknowns()
	const most = 200
	for i, u := range unknown {
		if i == most {
			notes = append(notes, fmt.Sprintf("%d more fields are not known", len(unknown)-most))
			break
		}
		notes = append(notes, fmt.Sprintf("not known: %s: %s", clip(u.Path), clip(u.Reason)))
	}
	healthy := &Model{Health: &HealthModel{}}
	for _, d := range healthy.Compare(f) {
		notes = append(notes, "not healthy here, and therefore allowed: "+strings.ReplaceAll(d.Text, "\n", " "))
	}
	return notes
}
