package raid

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
)

// A Layout says what a machine's storage must look like, controller by controller. A controller that it does not name
// stays as it is. The zero value of every field below is the choice that changes nothing, so that a layout destroys
// only what it says.
//
// In YAML and JSON its keys are those of the fields' tags; JSON refuses keys that it does not know. What makes sense is
// not looked at when a layout is read: that is [Layout.Validate].
type Layout struct {
	Controllers []ControllerLayout `json:"controllers" yaml:"controllers"`
}

// ControllerLayout is the layout of one controller, or of the kernel's software RAID.
type ControllerLayout struct {
	Controller ControllerChoice `json:"controller,omitzero" yaml:"controller,omitempty"`
	// Mode of the controller; a change may need a reboot. Empty: as it is.
	Mode    Mode     `json:"mode,omitempty" yaml:"mode,omitempty"`
	Volumes []Volume `json:"volumes,omitempty" yaml:"volumes,omitempty"`
	Spares  []Spare  `json:"spares,omitempty" yaml:"spares,omitempty"`
	// Rest is what becomes of disks that no volume and no spare takes.
	Rest Rest `json:"rest,omitempty" yaml:"rest,omitempty"`
	// Unlisted is what becomes of volumes that are there and that Volumes does not describe.
	Unlisted Unlisted `json:"unlisted,omitempty" yaml:"unlisted,omitempty"`
}

// Volume is a logical drive, or an array of the kernel's.
type Volume struct {
	// Name is unique in the layout. Controllers allow 11 to 64 characters.
	Name  string     `json:"name" yaml:"name"`
	Level Level      `json:"level" yaml:"level"`
	Disks DiskChoice `json:"disks" yaml:"disks"`
	// Spans is the number of mirrors or parity groups that levels 10, 50 and 60 are striped over. 0: mirrors of two
	// disks, two parity groups.
	Spans int `json:"spans,omitempty" yaml:"spans,omitempty"`
	// Size of the volume. Max, the zero value: all that its disks have left.
	Size VolumeSize `json:"size,omitempty" yaml:"size,omitempty"`
	// Strip is what goes to one disk before the next one's turn: 64KiB, 256KiB. It cannot be changed afterwards. 0: the
	// controller's default.
	Strip hw.Size `json:"strip,omitempty" yaml:"strip,omitempty"`
	// Read, Write, IO and DiskCache are policies of the controller. Empty: its default for a new volume, and not looked
	// at in one that is there.
	Read      ReadPolicy  `json:"read,omitempty" yaml:"read,omitempty"`
	Write     WritePolicy `json:"write,omitempty" yaml:"write,omitempty"`
	IO        IOPolicy    `json:"io,omitempty" yaml:"io,omitempty"`
	DiskCache DiskCache   `json:"disk_cache,omitempty" yaml:"disk_cache,omitempty"`
	// Boot makes this the volume that the machine starts from. At most one in a layout.
	Boot bool `json:"boot,omitempty" yaml:"boot,omitempty"`
	// Initialize is what a new volume goes through. Empty: the controller's default.
	Initialize Initialization `json:"initialize,omitempty" yaml:"initialize,omitempty"`
}

// Spare are disks that wait for others to fail.
type Spare struct {
	Disks DiskChoice `json:"disks" yaml:"disks"`
	// For names the volumes that they are for. Empty: all of the controller's (a global spare).
	For []string `json:"for,omitempty" yaml:"for,omitempty"`
}

// DiskChoice says which disks: how many of those that meet all conditions, or exactly these. A disk whose value is
// unknown does not meet a condition on it. The short forms are a number, and `all`.
//
// All choices of a controller are made together: one that is picky never goes without because one that is not took
// its disk.
type DiskChoice struct {
	// One of these four must be given. All takes what the other choices leave.
	Count   int      `json:"count,omitempty" yaml:"count,omitempty"`
	All     bool     `json:"all,omitempty" yaml:"all,omitempty"`
	Slots   []string `json:"slots,omitempty" yaml:"slots,omitempty"`
	Serials []string `json:"serials,omitempty" yaml:"serials,omitempty"`
	// SameAs puts a volume onto the disks of an earlier one, beside it.
	SameAs string `json:"same_as,omitempty" yaml:"same_as,omitempty"`

	Medium hw.Medium `json:"medium,omitempty" yaml:"medium,omitempty"`
	Bus    hw.Bus    `json:"bus,omitempty" yaml:"bus,omitempty"`
	Size   SizeRange `json:"size,omitzero" yaml:"size,omitempty"`
	// Model is a glob as [path.Match] reads it, without regard to case.
	Model string `json:"model,omitempty" yaml:"model,omitempty"`
}

// ControllerChoice says which controller. All conditions that are set must hold, and exactly one controller must meet
// them. Without any: the only RAID controller of the machine.
//
// The short forms are `only`, `md`, and a key with its value: `slot 3`, `pci 0000:18:00.0`, `model PERC H7*`, `index 0`.
type ControllerChoice struct {
	// MD is the kernel's software RAID, over the disks that the operating system sees.
	MD bool `json:"md,omitempty" yaml:"md,omitempty"`
	// Slot is the name of the slot on the board, as SMBIOS and the vendors' tools have it.
	Slot string `json:"slot,omitempty" yaml:"slot,omitempty"`
	// PCI is the address: 0000:18:00.0.
	PCI string `json:"pci,omitempty" yaml:"pci,omitempty"`
	// Model is a glob as [path.Match] reads it, without regard to case.
	Model string `json:"model,omitempty" yaml:"model,omitempty"`
	// Index counts RAID controllers from 0, by PCI address.
	Index *int `json:"index,omitempty" yaml:"index,omitempty"`
}

// Level is a RAID level. `raid1`, `RAID 1` and `1+0` are understood as well.
type Level string

const (
	Level0  Level = "0"
	Level1  Level = "1"
	Level5  Level = "5"
	Level6  Level = "6"
	Level10 Level = "10"
	Level50 Level = "50"
	Level60 Level = "60"
)

// Mode is how a controller treats its disks.
type Mode string

const (
	ModeRAID Mode = "raid"
	ModeHBA  Mode = "hba"
	// ModeJBOD: a RAID controller that shows disks without a volume.
	ModeJBOD  Mode = "jbod"
	ModeMixed Mode = "mixed"
)

// Rest is what becomes of disks that nothing takes.
type Rest string

const (
	RestLeave Rest = "leave" // the default
	RestJBOD  Rest = "jbod"
)

// Unlisted is what becomes of volumes that a layout does not describe.
type Unlisted string

const (
	UnlistedKeep   Unlisted = "keep" // the default
	UnlistedRemove Unlisted = "remove"
)

// ReadPolicy of a controller.
type ReadPolicy string

const (
	ReadNone     ReadPolicy = "none"
	ReadAhead    ReadPolicy = "ahead"
	ReadAdaptive ReadPolicy = "adaptive"
)

// WritePolicy of a controller.
type WritePolicy string

const (
	WriteThrough WritePolicy = "through"
	// WriteBack holds writes in the cache as long as its battery is good, WriteAlwaysBack in any case.
	WriteBack       WritePolicy = "back"
	WriteAlwaysBack WritePolicy = "always-back"
)

// IOPolicy of a controller.
type IOPolicy string

const (
	IODirect IOPolicy = "direct"
	IOCached IOPolicy = "cached"
)

// DiskCache is the write cache of the disks themselves.
type DiskCache string

const (
	DiskCacheEnable  DiskCache = "enable"
	DiskCacheDisable DiskCache = "disable"
)

// Initialization is what a new volume goes through.
type Initialization string

const (
	InitializeNone Initialization = "none"
	// InitializeFast clears beginning and end.
	InitializeFast Initialization = "fast"
	InitializeFull Initialization = "full"
)

// VolumeSize is a number of bytes, or [Max].
type VolumeSize hw.Size

// Max is all that there is room for.
const Max VolumeSize = 0

// SizeRange bounds the size of a disk, both ends inclusive; 0 sets no bound. As text it is `400GB..500GB`, `1TB..`,
// `..2TB`, or the size on the label: `480GB` is that size within [LabelTolerance].
type SizeRange struct {
	Min hw.Size `json:"min,omitempty" yaml:"min,omitempty"`
	Max hw.Size `json:"max,omitempty" yaml:"max,omitempty"`
}

// LabelTolerance in percent is how far a disk's size may be from its label: makers round, and controllers cut off what
// makes disks of several makers interchangeable. The next size that is sold is at least four percent away.
const LabelTolerance = 2

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
	return errors.Join(v.errs...)
}

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
	if d.Medium == hw.NVMe && d.Bus != "" && d.Bus != hw.BusNVMe || d.Bus == hw.BusNVMe && d.Medium != "" && d.Medium != hw.NVMe {
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
		v.bad(at+".for", "md has no global spares; name the volumes")
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

// number is how many disks are chosen, 0 if that depends on the machine.
func (d DiskChoice) number() int {
	if d.Count != 0 {
		return max(d.Count, 0)
	}
	return len(d.Slots) + len(d.Serials)
}

// String writes a choice for a message: `2 disks, medium ssd, size 470.4GB..489.6GB`.
func (d DiskChoice) String() string {
	var parts []string
	switch {
	case d.SameAs != "":
		return "the disks of " + d.SameAs
	case d.All:
		parts = append(parts, "all disks")
	case d.Count == 1:
		parts = append(parts, "1 disk")
	case d.Count != 0:
		parts = append(parts, strconv.Itoa(d.Count)+" disks")
	case len(d.Slots)+len(d.Serials) > 0:
		parts = append(parts, "disks")
	default:
		parts = append(parts, "no disks")
	}
	size := ""
	if d.Size != (SizeRange{}) {
		size = d.Size.String()
	}
	for _, p := range []struct{ name, value string }{{"slots", strings.Join(d.Slots, " ")},
		{"serials", strings.Join(d.Serials, " ")}, {"medium", string(d.Medium)}, {"bus", string(d.Bus)}, {"size", size},
		{"model", d.Model}} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	return strings.Join(parts, ", ")
}

// UnmarshalText reads a short form: a number, or `all`.
func (d *DiskChoice) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "all" {
		*d = DiskChoice{All: true}
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || strconv.Itoa(n) != s {
		return fmt.Errorf("disks %q: want a number of disks, all, or conditions such as {count: 2, medium: ssd}", clip(s))
	}
	*d = DiskChoice{Count: n}
	return nil
}

// UnmarshalJSON reads an object, or a short form.
func (d *DiskChoice) UnmarshalJSON(data []byte) error {
	if text, ok := scalar(data); ok {
		return d.UnmarshalText([]byte(text))
	}
	type plain DiskChoice // without this method
	return strict(data, (*plain)(d))
}

func (c ControllerChoice) isOnly() bool { return c == ControllerChoice{} }

// String writes a choice in its short form, or all conditions of one that has none.
func (c ControllerChoice) String() string {
	var parts []string
	for _, p := range []struct{ name, value string }{{"slot", c.Slot}, {"pci", c.PCI}, {"model", c.Model}} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	if c.Index != nil {
		parts = append(parts, "index "+strconv.Itoa(*c.Index))
	}
	if c.MD {
		parts = append(parts, "md")
	}
	if len(parts) == 0 {
		return "only"
	}
	return strings.Join(parts, ", ")
}

// UnmarshalText reads a short form.
func (c *ControllerChoice) UnmarshalText(text []byte) error {
	*c = ControllerChoice{}
	word, value, _ := strings.Cut(string(text), " ")
	value = strings.TrimSpace(value)
	switch {
	case string(text) == "only":
		return nil
	case string(text) == "md":
		c.MD = true
		return nil
	case value == "":
	case word == "slot":
		c.Slot = value
		return nil
	case word == "pci":
		c.PCI = value
		return nil
	case word == "model":
		c.Model = value
		return nil
	case word == "index":
		if n, err := strconv.Atoi(value); err == nil {
			c.Index = &n
			return nil
		}
	}
	return fmt.Errorf("controller %q: want only, md, slot NAME, pci ADDRESS, model GLOB or index NUMBER", clip(string(text)))
}

// UnmarshalJSON reads an object, or a short form.
func (c *ControllerChoice) UnmarshalJSON(data []byte) error {
	if text, ok := scalar(data); ok {
		return c.UnmarshalText([]byte(text))
	}
	type plain ControllerChoice // without this method
	return strict(data, (*plain)(c))
}

// UnmarshalText reads a level in the ways in which people and tools write it.
func (l *Level) UnmarshalText(text []byte) error {
	s := strings.ToLower(strings.TrimSpace(string(text)))
	s = strings.TrimLeft(strings.TrimPrefix(s, "raid"), " -")
	if len(s) == 3 {
		s = strings.Replace(s, "+", "", 1)
	}
	if _, ok := levels[Level(s)]; !ok {
		return fmt.Errorf("level %q: want 0, 1, 5, 6, 10, 50 or 60", clip(string(text)))
	}
	*l = Level(s)
	return nil
}

// UnmarshalJSON reads a number as well.
func (l *Level) UnmarshalJSON(data []byte) error {
	text, _ := scalar(data)
	return l.UnmarshalText([]byte(text))
}

// String is `max`, or the size.
func (s VolumeSize) String() string {
	if s == Max {
		return "max"
	}
	return hw.Size(s).String()
}

// MarshalText writes [VolumeSize.String].
func (s VolumeSize) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads `max`, or a size.
func (s *VolumeSize) UnmarshalText(text []byte) error {
	if string(text) == "max" {
		*s = Max
		return nil
	}
	size, err := hw.ParseSize(string(text))
	if err == nil && size == 0 {
		err = errors.New("size 0: want max or a size such as 100GB")
	}
	if err == nil {
		*s = VolumeSize(size)
	}
	return err
}

// UnmarshalJSON reads a number of bytes as well.
func (s *VolumeSize) UnmarshalJSON(data []byte) error {
	text, _ := scalar(data)
	return s.UnmarshalText([]byte(text))
}

// Includes says whether a disk of that size is meant.
func (r SizeRange) Includes(bytes int64) bool {
	return bytes > 0 && bytes >= int64(r.Min) && (r.Max == 0 || bytes <= int64(r.Max))
}

// String writes both ends.
func (r SizeRange) String() string {
	text := ".."
	if r.Min != 0 {
		text = r.Min.String() + text
	}
	if r.Max != 0 {
		text += r.Max.String()
	}
	return text
}

// MarshalText writes [SizeRange.String].
func (r SizeRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a range, or the size on a label.
func (r *SizeRange) UnmarshalText(text []byte) error {
	low, high, isRange := strings.Cut(string(text), "..")
	if !isRange {
		size, err := hw.ParseSize(low)
		if err != nil {
			return err
		}
		if size <= 0 || size > 1e18 {
			return fmt.Errorf("size %q: no disk is of such a size", clip(low))
		}
		part := size / 100 * LabelTolerance
		*r = SizeRange{Min: size - part, Max: size + part}
		return nil
	}
	var parsed SizeRange
	for _, end := range []struct {
		text string
		size *hw.Size
	}{{low, &parsed.Min}, {high, &parsed.Max}} {
		if strings.TrimSpace(end.text) == "" {
			continue
		}
		size, err := hw.ParseSize(end.text)
		if err != nil {
			return err
		}
		*end.size = size
	}
	if parsed == (SizeRange{}) || parsed.Max != 0 && parsed.Min > parsed.Max {
		return fmt.Errorf("size %q: no disk is of such a size; want a range such as 400GB..500GB, 1TB.. or ..2TB",
			clip(string(text)))
	}
	*r = parsed
	return nil
}

// UnmarshalJSON refuses keys that it does not know, at every depth.
func (l *Layout) UnmarshalJSON(data []byte) error {
	type plain Layout // without this method
	if err := strict(data, (*plain)(l)); err != nil {
		return fmt.Errorf("RAID layout: %w", err)
	}
	return nil
}

// strict decodes into what is empty first, and changes it only as a whole.
func strict[T any](data []byte, into *T) error {
	var fresh T
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&fresh); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows")
	}
	*into = fresh
	return nil
}

// scalar returns the text of a JSON string or number; false for anything else.
func scalar(data []byte) (string, bool) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 || !(data[0] == '"' || data[0] == '-' || data[0] >= '0' && data[0] <= '9') {
		return "", false
	}
	var text string
	if json.Unmarshal(data, &text) == nil {
		return text, true
	}
	return string(data), true
}
