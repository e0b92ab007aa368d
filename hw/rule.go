package hw

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// DiskRule says which disk an operating system is put on. All conditions that are set must hold. A disk whose value is
// unknown does not meet a condition on it.
//
// Whatever the rule says, a disk that is read-only, has no known size or belongs to an array of the kernel's RAID never
// fits, while the array itself may; a removable one fits only with Removable, one on USB only with `bus: usb`.
type DiskRule struct {
	// MinSize and MaxSize bound the size, both inclusive. 0 sets no bound.
	MinSize Size `json:"min_size,omitempty" yaml:"min_size,omitempty"`
	MaxSize Size `json:"max_size,omitempty" yaml:"max_size,omitempty"`
	// Medium is hdd, ssd or nvme. An SSD on the NVMe bus is nvme, not ssd.
	Medium Medium `json:"medium,omitempty" yaml:"medium,omitempty"`
	Bus    Bus    `json:"bus,omitempty" yaml:"bus,omitempty"`
	// Kind is disk or raid-volume.
	Kind DiskKind `json:"kind,omitempty" yaml:"kind,omitempty"`
	// Serial, WWN and Path are compared as [Disk.Matches] does.
	Serial string `json:"serial,omitempty" yaml:"serial,omitempty"`
	WWN    string `json:"wwn,omitempty" yaml:"wwn,omitempty"`
	Path   string `json:"path,omitempty" yaml:"path,omitempty"`
	// Model is a glob as [path.Match] reads it, without regard to case: `INTEL SSDSC2KB*`.
	Model string `json:"model,omitempty" yaml:"model,omitempty"`
	// Removable lets removable media fit as well.
	Removable bool `json:"removable,omitempty" yaml:"removable,omitempty"`
	// Prefer decides between several that fit: smallest or largest by size. Empty: several are an error.
	Prefer Preference `json:"prefer,omitempty" yaml:"prefer,omitempty"`
}

// Preference is an explicit tie-breaker.
type Preference string

const (
	Smallest Preference = "smallest"
	Largest  Preference = "largest"
)

// Validate reports everything that is wrong with the rule itself, whatever disks there are.
func (r DiskRule) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("disk rule: "+format, args...)) }
	if r.MinSize < 0 || r.MaxSize < 0 {
		bad("a size is below zero")
	}
	if r.MaxSize > 0 && r.MinSize > r.MaxSize {
		bad("min_size %s is more than max_size %s, nothing can fit", r.MinSize, r.MaxSize)
	}
	if !slices.Contains([]Medium{"", HDD, SSD, NVMe}, r.Medium) {
		bad("medium %q: want hdd, ssd or nvme", r.Medium)
	}
	if !slices.Contains([]Bus{"", BusATA, BusSAS, BusSCSI, BusNVMe, BusVirtio, BusUSB, BusMMC, BusXen}, r.Bus) {
		bad("bus %q: want ata, sas, scsi, nvme, virtio, usb, mmc or xen", r.Bus)
	}
	if !slices.Contains([]DiskKind{"", PhysicalDisk, RAIDVolume}, r.Kind) {
		bad("kind %q: want disk or raid-volume", r.Kind)
	}
	if !slices.Contains([]Preference{"", Smallest, Largest}, r.Prefer) {
		bad("prefer %q: want smallest or largest", r.Prefer)
	}
	if r.Medium == NVMe && r.Bus != "" && r.Bus != BusNVMe {
		bad("medium nvme on bus %s cannot be", r.Bus)
	}
	if r.Bus == BusNVMe && r.Medium != "" && r.Medium != NVMe {
		bad("medium %s on bus nvme cannot be: a disk on that bus has medium nvme", r.Medium)
	}
	if _, err := path.Match(r.Model, ""); err != nil {
		bad("model %q is not a glob: %v (a literal [ is written \\[)", r.Model, err)
	}
	if r.WWN != "" && plainWWN(r.WWN) == "" {
		bad("wwn %q has no number", r.WWN)
	}
	for name, value := range map[string]string{"serial": r.Serial, "path": r.Path} {
		if value != "" && strings.TrimSpace(value) == "" {
			bad("%s is blank", name)
		}
	}
	if strings.HasPrefix(r.Path, "/dev/") {
		bad("path %q is a device node, which changes from boot to boot: want the persistent path, such as "+
			"pci-0000:00:04.0 (the name below /dev/disk/by-path)", r.Path)
	}
	return errors.Join(errs...)
}

// UnmarshalJSON refuses keys that it does not know and rules that [DiskRule.Validate] refuses.
func (r *DiskRule) UnmarshalJSON(data []byte) error {
	type plain DiskRule // without this method
	var rule plain
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&rule); err != nil {
		return fmt.Errorf("disk rule: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("disk rule: something follows the rule")
	}
	if err := DiskRule(rule).Validate(); err != nil {
		return err
	}
	*r = DiskRule(rule)
	return nil
}

// String writes the conditions in a form that reads well in a message: `min_size 40GB, medium ssd, prefer smallest`.
func (r DiskRule) String() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	if r.MinSize != 0 {
		add("min_size", r.MinSize.String())
	}
	if r.MaxSize != 0 {
		add("max_size", r.MaxSize.String())
	}
	add("medium", string(r.Medium))
	add("bus", string(r.Bus))
	add("kind", string(r.Kind))
	add("serial", r.Serial)
	add("wwn", r.WWN)
	add("path", r.Path)
	add("model", r.Model)
	if r.Removable {
		add("removable", "true")
	}
	add("prefer", string(r.Prefer))
	if len(parts) == 0 {
		return "the only disk"
	}
	return strings.Join(parts, ", ")
}

// Choose returns the one disk that the rule means. It never guesses: when no disk fits, or when more than one does and
// Prefer does not decide, it returns a *[NoDiskError], *[NoMatchError] or *[AmbiguousError]. A rule that is itself
// wrong is the error of [DiskRule.Validate]. The order of disks does not matter; the result points into disks.
func (r DiskRule) Choose(disks []Disk) (*Disk, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if len(disks) == 0 {
		return nil, &NoDiskError{Rule: r}
	}
	var fit []*Disk
	var considered []Considered
	for i := range disks {
		if against := r.against(&disks[i]); len(against) > 0 {
			considered = append(considered, Considered{Disk: disks[i], Against: against})
		} else {
			fit = append(fit, &disks[i])
		}
	}
	if len(fit) == 0 {
		return nil, &NoMatchError{Rule: r, Considered: considered}
	}
	if r.Prefer != "" {
		best := fit[0].Bytes
		for _, d := range fit {
			if r.Prefer == Smallest {
				best = min(best, d.Bytes)
			} else {
				best = max(best, d.Bytes)
			}
		}
		fit = slices.DeleteFunc(fit, func(d *Disk) bool { return d.Bytes != best })
	}
	if len(fit) > 1 {
		e := &AmbiguousError{Rule: r, Remedy: remedy(r, fit)}
		for _, d := range fit {
			e.Candidates = append(e.Candidates, *d)
		}
		return nil, e
	}
	return fit[0], nil
}

// against lists what speaks against a disk.
func (r DiskRule) against(d *Disk) []string {
	var against []string
	no := func(format string, args ...any) { against = append(against, fmt.Sprintf(format, args...)) }
	// unknown is never equal: say why it is not known.
	got := func(field, value string) string {
		if value != "" && value != string(MediumUnknown) {
			return value
		}
		if why := d.why(field); why != "" {
			return "unknown (" + why + ")"
		}
		if value == "" {
			return "none"
		}
		return value
	}
	switch {
	case d.Bytes < 0 || d.Bytes == 0 && d.why("bytes") != "":
		no("size is %s", got("bytes", ""))
	case d.Bytes == 0:
		no("no medium in the drive")
	default:
		if r.MinSize > 0 && d.Bytes < int64(r.MinSize) {
			no("size %s (%d bytes) is below min_size %s", humanBytes(d.Bytes), d.Bytes, r.MinSize)
		}
		if r.MaxSize > 0 && d.Bytes > int64(r.MaxSize) {
			no("size %s (%d bytes) is above max_size %s", humanBytes(d.Bytes), d.Bytes, r.MaxSize)
		}
	}
	if d.MemberOf != "" {
		no("it belongs to the array %s", d.MemberOf)
	}
	switch {
	case d.ReadOnly == nil:
		no("whether it can be written is %s", got("read_only", ""))
	case *d.ReadOnly:
		no("read-only")
	}
	switch {
	case r.Removable:
	case d.Removable == nil:
		no("whether it is removable is %s", got("removable", ""))
	case *d.Removable:
		no("removable, and the rule does not say removable: true")
	}
	if d.Bus == BusUSB && r.Bus != BusUSB {
		no("on USB, and the rule does not say bus: usb")
	}
	if r.Medium != "" && d.Medium != r.Medium {
		no("medium is %s, want %s", got("medium", string(d.Medium)), r.Medium)
	}
	if r.Bus != "" && d.Bus != r.Bus {
		no("bus is %s, want %s", got("bus", string(d.Bus)), r.Bus)
	}
	if r.Kind != "" && d.Kind != r.Kind {
		no("kind is %s, want %s", got("kind", string(d.Kind)), r.Kind)
	}
	if r.Serial != "" && !d.Matches(r.Serial, "", "", 0) {
		no("serial is %s, want %s", got("serial", d.Serial), r.Serial)
	}
	if r.WWN != "" && !d.Matches("", r.WWN, "", 0) {
		no("wwn is %s, want %s", got("wwn", d.WWN), r.WWN)
	}
	if r.Path != "" && !d.Matches("", "", r.Path, 0) {
		no("path is %s, want %s", got("path", d.Path), r.Path)
	}
	if r.Model != "" {
		if ok, _ := path.Match(strings.ToLower(r.Model), strings.ToLower(d.Model)); !ok || d.Model == "" {
			no("model is %s, want %s", got("model", d.Model), r.Model)
		}
	}
	return against
}

// remedy says what would tell candidates apart.
func remedy(r DiskRule, fit []*Disk) string {
	differ := func(value func(*Disk) string) bool { // all set, no two equal
		seen := map[string]bool{}
		for _, d := range fit {
			v := value(d)
			if v == "" || seen[v] {
				return false
			}
			seen[v] = true
		}
		return true
	}
	if !differ(func(d *Disk) string { return d.Name }) {
		return "the same disk is listed twice"
	}
	wwns := map[string]bool{}
	for _, d := range fit {
		wwns[plainWWN(d.WWN)] = true
	}
	if len(wwns) == 1 && !wwns[""] {
		return "all have the same WWN: one disk seen over several paths; give `path`"
	}
	var by []string
	if r.Prefer == "" {
		smallest, largest := fit[0].Bytes, fit[0].Bytes
		for _, d := range fit {
			smallest, largest = min(smallest, d.Bytes), max(largest, d.Bytes)
		}
		var nSmallest, nLargest int
		for _, d := range fit {
			if d.Bytes == smallest {
				nSmallest++
			}
			if d.Bytes == largest {
				nLargest++
			}
		}
		if nSmallest == 1 {
			by = append(by, "`prefer: smallest`")
		}
		if nLargest == 1 {
			by = append(by, "`prefer: largest`")
		}
	}
	set := func(name string, value func(*Disk) string) {
		if differ(value) {
			by = append(by, "`"+name+"`")
		}
	}
	if r.Medium == "" {
		set("medium", func(d *Disk) string { return strings.TrimPrefix(string(d.Medium), string(MediumUnknown)) })
	}
	if r.Bus == "" {
		set("bus", func(d *Disk) string { return string(d.Bus) })
	}
	if r.Kind == "" {
		set("kind", func(d *Disk) string { return string(d.Kind) })
	}
	if r.Model == "" {
		set("model", func(d *Disk) string { return strings.ToLower(d.Model) })
	}
	set("serial", func(d *Disk) string { return d.Serial })
	set("wwn", func(d *Disk) string { return plainWWN(d.WWN) })
	set("path", func(d *Disk) string { return d.Path })
	if len(by) == 0 {
		return "no single condition tells them apart; combine several or remove a disk"
	}
	return "any of these would make it unique: " + strings.Join(by, ", ")
}

// NoDiskError says that the machine shows no disk at all.
type NoDiskError struct{ Rule DiskRule }

func (e *NoDiskError) Error() string {
	return "choose disk: the machine shows no disk at all (a controller without driver in the boot system, a RAID " +
		"controller without a volume, or nothing plugged in)"
}

// NoMatchError says that no disk fits the rule.
type NoMatchError struct {
	Rule DiskRule
	// Considered has every disk with what speaks against it.
	Considered []Considered
}

// Considered is a disk that does not fit, and why not: one phrase for each condition.
type Considered struct {
	Disk    Disk
	Against []string
}

func (e *NoMatchError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "choose disk: none of %d fits the rule (%s)", len(e.Considered), e.Rule)
	for _, c := range e.Considered {
		fmt.Fprintf(&b, "; %s: %s", c.Disk.describe(), strings.Join(c.Against, ", "))
	}
	return b.String()
}

// AmbiguousError says that several disks fit the rule equally well.
type AmbiguousError struct {
	Rule       DiskRule
	Candidates []Disk
	// Remedy says which conditions would make the rule unique.
	Remedy string
}

func (e *AmbiguousError) Error() string {
	var names []string
	for _, d := range e.Candidates {
		names = append(names, d.describe())
	}
	return fmt.Sprintf("choose disk: the rule (%s) is ambiguous, %d disks fit: %s; %s", e.Rule, len(names),
		strings.Join(names, "; "), e.Remedy)
}

// describe names a disk to a person who may stand in front of it.
func (d *Disk) describe() string {
	var parts []string
	if d.Bytes > 0 {
		parts = append(parts, humanBytes(d.Bytes))
	}
	if d.Model != "" {
		parts = append(parts, d.Model)
	}
	if d.Serial != "" {
		parts = append(parts, "serial "+d.Serial)
	}
	if d.Path != "" {
		parts = append(parts, d.Path)
	}
	if len(parts) == 0 {
		return d.Name
	}
	return d.Name + " (" + strings.Join(parts, ", ") + ")"
}
