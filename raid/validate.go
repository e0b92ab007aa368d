package raid

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/project-loda/loda/hw"
)

// levels says how many disks make a group, and whether the level is striped over groups.
var levels = map[Level]struct {
	least   int
	grouped bool
}{
	Level0: {1, false}, Level1: {2, false}, Level5: {3, false}, Level6: {4, false},
	Level10: {2, true}, Level50: {3, true}, Level60: {4, true},
}

var (
	volumeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	pciAddress = regexp.MustCompile(`^(?i)[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)
)

// Validate reports everything that is wrong with the layout itself, whatever controllers and disks there are. Each
// error starts with the path of the field: `controllers[0].volumes[1].level: ...`.
func (l *Layout) Validate() error {
	v := &validation{volumes: map[string]string{}}
	if len(l.Controllers) == 0 {
		v.bad("controllers", "none is given; want at least one, or no layout at all")
	}
	if v.atMost("controllers", "controllers", len(l.Controllers), 32) {
		seen := map[string]string{}
		for i := range l.Controllers {
			c, at := &l.Controllers[i], fmt.Sprintf("controllers[%d]", i)
			choice := strings.ToLower(c.Controller.String())
			if first, ok := seen[choice]; ok {
				v.bad(at+".controller", "%s is %s already", c.Controller, first)
			}
			seen[choice] = at
			if c.Controller.isOnly() && slices.ContainsFunc(l.Controllers, func(o ControllerLayout) bool {
				return !o.Controller.MD && !o.Controller.isOnly()
			}) {
				v.bad(at+".controller", "one of several is not the only one: want slot, pci, model or index")
			}
			v.controller(at, c)
		}
	}
	for i, p := range l.Allow {
		at := fmt.Sprintf("allow[%d]", i)
		switch {
		case p == AllowMounted:
			v.bad(at, "what is in use cannot be given up in advance; want destroy, foreign, degraded or preserved-cache")
		case !slices.Contains(layoutPermissions, p):
			v.bad(at, "%q; want destroy, foreign, degraded or preserved-cache", p)
		case slices.Contains(l.Allow[:i], p):
			v.bad(at, "%s is there twice", p)
		}
	}
	return errors.Join(v.errs...)
}

// layoutPermissions are those that a layout can give.
var layoutPermissions = []Permission{AllowDestroy, AllowForeign, AllowDegraded, AllowPreservedCache}

// validation collects errors.
type validation struct {
	errs []error
	// volumes are the names of the layout and where they are; boot is the volume to start from.
	volumes map[string]string
	boot    string
}

func (v *validation) bad(at, format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf("%s: "+format, append([]any{at}, args...)...))
}

// atMost keeps what is looked at within bounds.
func (v *validation) atMost(at, what string, n, most int) bool {
	if n > most {
		v.bad(at, "%d %s are more than any machine has; want at most %d", n, what, most)
	}
	return n <= most
}

func (v *validation) controller(at string, c *ControllerLayout) {
	v.choice(at+".controller", c.Controller)
	oneOf(v, at+".mode", c.Mode, ModeRAID, ModeHBA, ModeJBOD, ModeMixed)
	oneOf(v, at+".rest", c.Rest, RestLeave, RestJBOD)
	oneOf(v, at+".unlisted", c.Unlisted, UnlistedKeep, UnlistedRemove)
	if c.Mode == "" && c.Rest == "" && c.Unlisted == "" && len(c.Volumes)+len(c.Spares) == 0 {
		v.bad(at, "says nothing about its controller; want volumes, spares, mode, rest or unlisted")
	}
	if c.Mode == ModeHBA && len(c.Volumes)+len(c.Spares) > 0 {
		v.bad(at+".mode", "a controller in mode hba has no volumes and no spares")
	}
	if c.Controller.MD {
		if c.Mode != "" {
			v.bad(at+".mode", "md has no modes")
		}
		if c.Rest == RestJBOD {
			v.bad(at+".rest", "md has no jbod: every disk that it does not use is one")
		}
	}
	if !v.atMost(at+".volumes", "volumes", len(c.Volumes), 256) || !v.atMost(at+".spares", "spares", len(c.Spares), 64) {
		return
	}
	listed := map[string]string{} // slots and serial numbers
	for i := range c.Volumes {
		v.volume(fmt.Sprintf("%s.volumes[%d]", at, i), c, i, listed)
	}
	for i, s := range c.Spares {
		v.spare(fmt.Sprintf("%s.spares[%d]", at, i), c, s, listed)
	}
}

func (v *validation) choice(at string, c ControllerChoice) {
	if c.MD && c != (ControllerChoice{MD: true}) {
		v.bad(at, "md is no card: want no slot, pci, model or index beside it")
	}
	if c.PCI != "" && !pciAddress.MatchString(c.PCI) {
		v.bad(at+".pci", "%q is no PCI address; want it as in 0000:18:00.0", clip(c.PCI))
	}
	if c.Index != nil && (*c.Index < 0 || *c.Index > 31) {
		v.bad(at+".index", "%d; want 0 to 31", *c.Index)
	}
	v.text(at+".slot", c.Slot)
	v.glob(at+".model", c.Model)
}

func (v *validation) text(at, s string) {
	if len(s) > 256 || s != strings.TrimSpace(s) {
		v.bad(at, "%q is longer than 256 bytes, or has blanks at its ends", clip(s))
	}
}

func (v *validation) glob(at, s string) {
	v.text(at, s)
	if _, err := path.Match(s, ""); err != nil {
		v.bad(at, `%q is not a glob: %v (a literal [ is written \[)`, clip(s), err)
	}
}

func (v *validation) volume(at string, c *ControllerLayout, index int, listed map[string]string) {
	vol := &c.Volumes[index]
	switch first, again := v.volumes[vol.Name]; {
	case !volumeName.MatchString(vol.Name):
		v.bad(at+".name", "%q; want 1 to 64 letters, digits, dots, dashes and underscores", clip(vol.Name))
	case again:
		v.bad(at+".name", "%q is the name of %s already", vol.Name, first)
	default:
		v.volumes[vol.Name] = at
	}
	v.disks(at+".disks", vol.Disks, listed)
	n := vol.Disks.number()
	if vol.Disks.SameAs != "" {
		n = v.sameAs(at+".disks.same_as", c.Volumes[:index], vol.Disks.SameAs)
	}
	v.level(at, vol, c.Controller.MD, n)
	if vol.Size < 0 {
		v.bad(at+".size", "is below zero; want max or a size such as 100GB")
	}
	if vol.Strip != 0 && (vol.Strip < 4<<10 || vol.Strip > 4<<20 || vol.Strip&(vol.Strip-1) != 0) {
		v.bad(at+".strip", "%s; want a power of two from 4KiB to 4MiB, such as 64KiB", vol.Strip)
	}
	oneOf(v, at+".read", vol.Read, ReadNone, ReadAhead, ReadAdaptive)
	oneOf(v, at+".write", vol.Write, WriteThrough, WriteBack, WriteAlwaysBack)
	oneOf(v, at+".io", vol.IO, IODirect, IOCached)
	oneOf(v, at+".disk_cache", vol.DiskCache, DiskCacheEnable, DiskCacheDisable)
	oneOf(v, at+".initialize", vol.Initialize, InitializeNone, InitializeFast, InitializeFull)
	if c.Controller.MD {
		for _, p := range []struct{ name, value string }{{"read", string(vol.Read)}, {"write", string(vol.Write)},
			{"io", string(vol.IO)}, {"disk_cache", string(vol.DiskCache)}} {
			if p.value != "" {
				v.bad(at+"."+p.name, "md has no such policy")
			}
		}
		if _, known := levels[vol.Level]; known && vol.Boot && vol.Level != Level1 {
			v.bad(at+".boot", "no firmware starts from level %s of md; want level 1, or another volume to start from", vol.Level)
		}
		if vol.Level == Level0 && vol.Initialize != "" {
			v.bad(at+".initialize", "level 0 of md has nothing that could be synchronised; leave it away")
		}
	}
	if vol.Boot {
		if v.boot != "" {
			v.bad(at+".boot", "%s is the volume to boot from already", v.boot)
		}
		v.boot = at
	}
}

// sameAs returns how many disks the earlier volume has, 0 if that is not known.
func (v *validation) sameAs(at string, earlier []Volume, name string) int {
	i := slices.IndexFunc(earlier, func(o Volume) bool { return o.Name == name })
	switch {
	case i < 0:
		v.bad(at, "%q is no volume before this one on the same controller", clip(name))
		return 0
	case earlier[i].Disks.SameAs != "":
		v.bad(at, "%q is itself on the disks of %q; want that one", name, clip(earlier[i].Disks.SameAs))
		return 0
	case earlier[i].Size == Max:
		v.bad(at, "%q takes all of its disks; give it a size", name)
	}
	return earlier[i].Disks.number()
}

// level holds a level against the number of disks, if that is known (not 0).
func (v *validation) level(at string, vol *Volume, md bool, n int) {
	l, ok := levels[vol.Level]
	switch {
	case !ok:
		v.bad(at+".level", "%q; want 0, 1, 5, 6, 10, 50 or 60", clip(string(vol.Level)))
		return
	case md && (vol.Level == Level50 || vol.Level == Level60):
		v.bad(at+".level", "md has no level %s; want 0, 1, 5, 6 or 10", vol.Level)
		return
	case md && vol.Level == Level1 && vol.Strip != 0:
		v.bad(at+".strip", "md's level 1 has no strips")
	}
	if vol.Spans != 0 {
		switch {
		case !l.grouped:
			v.bad(at+".spans", "level %s has none", vol.Level)
			return
		case md:
			v.bad(at+".spans", "md has none")
			return
		case vol.Spans < 2 || vol.Spans > 64:
			v.bad(at+".spans", "%d; want 2 to 64", vol.Spans)
			return
		}
	}
	if n == 0 {
		return
	}
	spans := max(vol.Spans, 1)
	if l.grouped && vol.Spans == 0 {
		spans = 2
	}
	switch {
	case n < l.least*spans && vol.Spans != 0:
		v.bad(at+".disks", "%d are too few: level %s over %d spans wants at least %d", n, vol.Level, spans, l.least*spans)
	case n < l.least*spans:
		v.bad(at+".disks", "%d are too few: level %s wants at least %d", n, vol.Level, l.least*spans)
	case vol.Level == Level10 && n%2 != 0:
		v.bad(at+".disks", "%d are an odd number, and level 10 is made of pairs", n)
	case vol.Level == Level10 && vol.Spans == 0: // as many mirrors as there are pairs
	case n%spans != 0 || vol.Level == Level10 && n/spans%2 != 0:
		v.bad(at+".disks", "%d cannot be shared equally between the %d spans of level %s", n, spans, vol.Level)
	}
}

func (v *validation) disks(at string, d DiskChoice, listed map[string]string) {
	ways := 0
	for _, given := range []bool{d.Count != 0, d.All, len(d.Slots)+len(d.Serials) > 0, d.SameAs != ""} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		v.bad(at, "want one of count, all, a list of slots or serials, and (in a volume) same_as; %d are given", ways)
	}
	if d.SameAs != "" && (d.Medium != "" || d.Bus != "" || d.Size != (SizeRange{}) || d.Model != "") {
		v.bad(at, "the disks of %q are chosen there; want no conditions beside same_as", clip(d.SameAs))
	}
	if d.Count < 0 || d.Count > 1000 {
		v.bad(at+".count", "%d; want 1 to 1000", d.Count)
	}
	oneOf(v, at+".medium", d.Medium, hw.HDD, hw.SSD, hw.NVMe)
	oneOf(v, at+".bus", d.Bus, hw.BusATA, hw.BusSAS, hw.BusSCSI, hw.BusNVMe, hw.BusVirtio, hw.BusUSB)
	if d.Medium != "" && d.Bus != "" && (d.Medium == hw.NVMe) != (d.Bus == hw.BusNVMe) {
		v.bad(at+".medium", "%s on bus %s cannot be: medium nvme and bus nvme go together", d.Medium, d.Bus)
	}
	if d.Size.Min < 0 || d.Size.Max < 0 || d.Size.Max != 0 && d.Size.Min > d.Size.Max {
		v.bad(at+".size", "%s; no disk is of such a size", d.Size)
	}
	v.glob(at+".model", d.Model)
	for kind, list := range map[string][]string{"slots": d.Slots, "serials": d.Serials} {
		if !v.atMost(at+"."+kind, "disks", len(list), 1000) {
			continue
		}
		for i, s := range list {
			where := fmt.Sprintf("%s.%s[%d]", at, kind, i)
			v.text(where, s)
			if s == "" {
				v.bad(where, "is empty")
			} else if first, ok := listed[kind+s]; ok {
				v.bad(where, "%q is %s already", clip(s), first)
			} else {
				listed[kind+s] = where
			}
		}
	}
}

func (v *validation) spare(at string, c *ControllerLayout, s Spare, listed map[string]string) {
	v.disks(at+".disks", s.Disks, listed)
	if s.Disks.SameAs != "" {
		v.bad(at+".disks.same_as", "a spare has disks of its own")
	}
	if c.Controller.MD && len(s.For) == 0 {
		v.bad(at+".for", "md has no global spares; name the volume")
	}
	if c.Controller.MD && len(s.For) > 1 {
		v.bad(at+".for", "a spare of md is for one volume, and %d are named; give each of them its own", len(s.For))
	}
	if !v.atMost(at+".for", "volumes", len(s.For), 256) {
		return
	}
	for i, name := range s.For {
		where := fmt.Sprintf("%s.for[%d]", at, i)
		vol := slices.IndexFunc(c.Volumes, func(vol Volume) bool { return vol.Name == name })
		switch {
		case vol < 0:
			v.bad(where, "%q is no volume of this controller", clip(name))
		case c.Volumes[vol].Level == Level0:
			v.bad(where, "%q has level 0, which no spare can save", name)
		case slices.Index(s.For, name) < i:
			v.bad(where, "%q is named twice", name)
		}
	}
}

// oneOf takes the empty value for not given.
func oneOf[T ~string](v *validation, at string, value T, allowed ...T) {
	if value == "" || slices.Contains(allowed, value) {
		return
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	last := len(words) - 1
	v.bad(at, "%q; want %s or %s", clip(string(value)), strings.Join(words[:last], ", "), words[last])
}

// clip keeps errors readable.
func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "..."
	}
	return s
}
