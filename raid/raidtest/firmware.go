package raidtest

import (
	"fmt"
	"slices"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// Refusal is the firmware's no. Emulators put it into their tool's words.
type Refusal struct {
	Code RefusalCode
	Text string
}

func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Text }

// RefusalCode is the reason of a [Refusal].
type RefusalCode string

const (
	RefusedNoDrive      RefusalCode = "no-such-drive"
	RefusedNoVolume     RefusalCode = "no-such-volume"
	RefusedState        RefusalCode = "wrong-state"
	RefusedLevel        RefusalCode = "level"
	RefusedCount        RefusalCode = "number-of-drives"
	RefusedRoom         RefusalCode = "no-room"
	RefusedName         RefusalCode = "name"
	RefusedStrip        RefusalCode = "strip"
	RefusedPolicy       RefusalCode = "policy"
	RefusedMixed        RefusalCode = "mixed-drives"
	RefusedForeign      RefusalCode = "foreign"
	RefusedIncomplete   RefusalCode = "incomplete-foreign"
	RefusedCache        RefusalCode = "preserved-cache"
	RefusedUnsupported  RefusalCode = "not-supported"
	RefusedLimit        RefusalCode = "limit"
	RefusedInUse        RefusalCode = "in-use"
	RefusedLockedDrive  RefusalCode = "locked"
	RefusedForeignDrive RefusalCode = "foreign-drive"
)

func refuse(code RefusalCode, format string, args ...any) error {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

// touch notes in the journal which drives a command changes.
func (c *Controller) touch(serials ...string) {
	if c.state == nil || len(c.state.Journal) == 0 {
		return
	}
	e := &c.state.Journal[len(c.state.Journal)-1]
	for _, s := range serials {
		if !slices.Contains(e.Drives, s) {
			e.Drives = append(e.Drives, s)
		}
	}
}

// NewVolume is what [Controller.CreateVolume] is asked for. What is zero is the controller's choice.
type NewVolume struct {
	Name     string
	Level    raid.Level
	Spans    int
	Bytes    int64 // 0: all that there is
	Strip    hw.Size
	Policies raid.Policies
	// Drives are serial numbers.
	Drives     []string
	Initialize raid.Initialization
}

// CreateVolume makes a volume and returns it.
func (c *Controller) CreateVolume(n NewVolume) (*Volume, error) {
	caps := c.Capabilities
	if len(c.PreservedCache) > 0 {
		return nil, refuse(RefusedCache, "unwritten data of %d volumes is held", len(c.PreservedCache))
	}
	for _, d := range c.Drives {
		if d.Foreign != nil && !d.Pulled && !c.complete(d.Foreign) {
			return nil, refuse(RefusedIncomplete, "an incomplete foreign configuration is there")
		}
	}
	i := slices.IndexFunc(caps.Levels, func(l raid.LevelCapability) bool { return l.Level == n.Level })
	if i < 0 {
		return nil, refuse(RefusedLevel, "level %s is not supported", n.Level)
	}
	level := caps.Levels[i]
	if have := len(n.Drives); have < level.MinDisks || level.MaxDisks != 0 && have > level.MaxDisks ||
		have%max(level.Multiple, 1) != 0 || have == 0 {
		return nil, refuse(RefusedCount, "level %s does not work with %d drives", n.Level, have)
	}
	v := &Volume{Name: n.Name, Level: n.Level, Spans: n.Spans, Strip: n.Strip, Policies: n.Policies,
		Members: slices.Clone(n.Drives)}
	if groups := c.groups(v); groups < 1 || len(n.Drives)%groups != 0 {
		return nil, refuse(RefusedCount, "%d drives cannot be shared between %d spans", len(n.Drives), n.Spans)
	}
	switch {
	case caps.MaxVolumes != 0 && len(c.Volumes) >= caps.MaxVolumes:
		return nil, refuse(RefusedLimit, "there are %d volumes already", len(c.Volumes))
	case caps.MaxName != 0 && len(n.Name) > caps.MaxName:
		return nil, refuse(RefusedName, "name %q is longer than %d characters", n.Name, caps.MaxName)
	case n.Strip != 0 && !slices.Contains(caps.Strips, n.Strip):
		return nil, refuse(RefusedStrip, "strip size %s is not supported", n.Strip)
	case n.Bytes < 0 || n.Bytes != 0 && !caps.PartialVolumes:
		return nil, refuse(RefusedUnsupported, "the size of a volume cannot be chosen")
	}
	if err := c.policies(n.Policies); err != nil {
		return nil, err
	}
	var smallest int64
	media := map[hw.Medium]bool{}
	for k, serial := range n.Drives {
		d := c.Drive(serial)
		beside := c.VolumesOn(serial)
		switch {
		case d == nil:
			return nil, refuse(RefusedNoDrive, "drive %s is not there", serial)
		case slices.Contains(n.Drives[:k], serial):
			return nil, refuse(RefusedState, "drive %s is given twice", d.Location())
		case d.Foreign != nil:
			return nil, refuse(RefusedForeignDrive, "drive %s carries a foreign configuration", d.Location())
		case d.Locked:
			return nil, refuse(RefusedLockedDrive, "drive %s is locked", d.Location())
		case d.State == raid.DiskReady:
		case d.State == raid.DiskOnline && caps.PartialVolumes && len(beside) > 0 && sameMembers(beside[0], v):
		default:
			return nil, refuse(RefusedState, "drive %s is %s", d.Location(), d.State)
		}
		media[d.Medium] = true
		if smallest == 0 || d.Bytes < smallest {
			smallest = d.Bytes
		}
	}
	if len(media) > 1 && !caps.MixedMedia {
		return nil, refuse(RefusedMixed, "drives of several media cannot be in one volume")
	}
	round := c.Round
	if round == 0 {
		round = 1 << 20
	}
	parts := int64(c.dataDrives(v))
	var used int64
	for _, other := range c.VolumesOn(n.Drives[0]) {
		used += other.Bytes / int64(c.dataDrives(other))
	}
	room := (smallest - used) / round * round
	share := (n.Bytes + parts - 1) / parts
	share = (share + round - 1) / round * round
	if n.Bytes == 0 {
		share = room
	}
	if room <= 0 || share > room {
		return nil, refuse(RefusedRoom, "%d bytes of each drive are left", room)
	}
	v.Bytes = share * parts
	if v.Strip == 0 && n.Level != raid.Level1 {
		v.Strip = c.DefaultStrip
	}
	if !caps.Names {
		v.Name = ""
	}
	v.Policies = overlay(c.DefaultPolicies, n.Policies)
	v.Number = c.nextNumber()
	c.WWNs++
	v.WWN = fmt.Sprintf("6%015x%016x", digits(c.Serial), c.WWNs)
	if c.WWNPrefix != "" {
		v.WWN = fmt.Sprintf("%.16s%08x%08x", c.WWNPrefix, digits(c.Serial)&0xffffffff, c.WWNs)
	}
	if n.Initialize == raid.InitializeFull || n.Initialize == raid.InitializeFast {
		v.Initializing = n.Initialize
	}
	for _, serial := range n.Drives {
		d := c.Drive(serial)
		d.State, d.Data = raid.DiskOnline, ""
	}
	c.touch(n.Drives...)
	c.Volumes = append(c.Volumes, v)
	return v, nil
}

// digits makes a number of a serial number, so that two controllers never give out the same WWN.
func digits(serial string) uint64 {
	n := uint64(14695981039346656037)
	for _, b := range []byte(serial) {
		n = (n ^ uint64(b)) * 1099511628211
	}
	return n >> 4
}

func (c *Controller) nextNumber() int {
	if c.CountDown {
		for n := 239; ; n-- {
			if c.Volume(n) == nil {
				return n
			}
		}
	}
	for n := 0; ; n++ {
		if c.Volume(n) == nil {
			return n
		}
	}
}

// dataDrives is how many drives' worth of room a volume has.
func (c *Controller) dataDrives(v *Volume) int {
	n, groups := len(v.Members), c.groups(v)
	switch v.Level {
	case raid.Level1:
		return 1
	case raid.Level10:
		return groups
	case raid.Level5, raid.Level50:
		return n - groups
	case raid.Level6, raid.Level60:
		return n - 2*groups
	}
	return n
}

func overlay(base, over raid.Policies) raid.Policies {
	if over.Read != "" {
		base.Read = over.Read
	}
	if over.Write != "" {
		base.Write = over.Write
	}
	if over.IO != "" {
		base.IO = over.IO
	}
	if over.DiskCache != "" {
		base.DiskCache = over.DiskCache
	}
	return base
}

func (c *Controller) policies(p raid.Policies) error {
	caps := c.Capabilities
	switch {
	case p.Read != "" && !slices.Contains(caps.Read, p.Read):
		return refuse(RefusedPolicy, "read policy %s is not supported", p.Read)
	case p.Write != "" && !slices.Contains(caps.Write, p.Write):
		return refuse(RefusedPolicy, "write policy %s is not supported", p.Write)
	case p.IO != "" && !slices.Contains(caps.IO, p.IO):
		return refuse(RefusedPolicy, "I/O policy %s is not supported", p.IO)
	case p.DiskCache != "" && !slices.Contains(caps.DiskCache, p.DiskCache):
		return refuse(RefusedPolicy, "disk cache %s is not supported", p.DiskCache)
	}
	return nil
}

// DeleteVolume deletes a volume. Drives that no other volume is on are ready again, its dedicated spares wait for the
// others that they are for, or are ready.
func (c *Controller) DeleteVolume(number int) error {
	v := c.Volume(number)
	if v == nil {
		return refuse(RefusedNoVolume, "volume %d is not there", number)
	}
	c.Volumes = slices.DeleteFunc(c.Volumes, func(o *Volume) bool { return o == v })
	for _, serial := range v.Members {
		d := c.Drive(serial)
		if d == nil || len(c.VolumesOn(serial)) > 0 {
			continue
		}
		switch d.State {
		case raid.DiskOnline, raid.DiskRebuilding:
			d.State, d.Rebuild = raid.DiskReady, 0
		case raid.DiskFailed, raid.DiskOffline:
			d.State = raid.DiskBad
		}
	}
	c.touch(v.Members...)
	for _, d := range c.Drives {
		if !slices.Contains(d.SpareFor, number) {
			continue
		}
		d.SpareFor = slices.DeleteFunc(d.SpareFor, func(n int) bool { return n == number })
		if len(d.SpareFor) == 0 && d.State == raid.DiskSpare {
			d.State = raid.DiskReady
			c.touch(d.Serial)
		}
	}
	if c.Renumber {
		for _, o := range c.Volumes {
			if o.Number > number {
				o.Number--
			}
		}
		for _, d := range c.Drives {
			for i, n := range d.SpareFor {
				if n > number {
					d.SpareFor[i]--
				}
			}
		}
	}
	return nil
}

// SetPolicies changes policies of a volume; those that are empty stay.
func (c *Controller) SetPolicies(number int, p raid.Policies) error {
	v := c.Volume(number)
	if v == nil {
		return refuse(RefusedNoVolume, "volume %d is not there", number)
	}
	if err := c.policies(p); err != nil {
		return err
	}
	v.Policies = overlay(v.Policies, p)
	c.touch(v.Members...)
	return nil
}

// SetBoot makes a volume the one that the firmware starts from.
func (c *Controller) SetBoot(number int) error {
	v := c.Volume(number)
	switch {
	case !c.Capabilities.BootVolume:
		return refuse(RefusedUnsupported, "a boot volume cannot be chosen")
	case v == nil:
		return refuse(RefusedNoVolume, "volume %d is not there", number)
	}
	for _, o := range c.Volumes {
		o.Boot = o == v
	}
	c.touch(v.Members...)
	return nil
}

// Initialize starts an initialization of a volume. What was in it is lost.
func (c *Controller) Initialize(number int, kind raid.Initialization) error {
	v := c.Volume(number)
	switch {
	case v == nil:
		return refuse(RefusedNoVolume, "volume %d is not there", number)
	case !slices.Contains(c.Capabilities.Initialize, kind):
		return refuse(RefusedUnsupported, "initialization %s is not supported", kind)
	case v.Initializing != "":
		return refuse(RefusedState, "volume %d is being initialized", number)
	}
	v.Data = ""
	if kind != raid.InitializeNone {
		v.Initializing, v.Initialized = kind, 0
	}
	c.touch(v.Members...)
	return nil
}

// AddSpare makes a ready drive a spare, for the volumes given or for all.
func (c *Controller) AddSpare(serial string, volumes ...int) error {
	d := c.Drive(serial)
	switch {
	case d == nil:
		return refuse(RefusedNoDrive, "drive %s is not there", serial)
	case len(volumes) == 0 && !c.Capabilities.GlobalSpares, len(volumes) > 0 && !c.Capabilities.DedicatedSpares:
		return refuse(RefusedUnsupported, "such spares are not supported")
	case d.Foreign != nil:
		return refuse(RefusedForeignDrive, "drive %s carries a foreign configuration", d.Location())
	case d.State != raid.DiskReady:
		return refuse(RefusedState, "drive %s is %s", d.Location(), d.State)
	}
	for _, n := range volumes {
		if v := c.Volume(n); v == nil {
			return refuse(RefusedNoVolume, "volume %d is not there", n)
		} else if v.Level == raid.Level0 {
			return refuse(RefusedLevel, "volume %d has no redundancy", n)
		}
	}
	d.State, d.SpareFor, d.Data = raid.DiskSpare, slices.Clone(volumes), ""
	c.touch(serial)
	return nil
}

// RemoveSpare makes a spare a ready drive.
func (c *Controller) RemoveSpare(serial string) error {
	d := c.Drive(serial)
	switch {
	case d == nil:
		return refuse(RefusedNoDrive, "drive %s is not there", serial)
	case d.State != raid.DiskSpare:
		return refuse(RefusedState, "drive %s is %s, no spare", d.Location(), d.State)
	}
	d.State, d.SpareFor = raid.DiskReady, nil
	c.touch(serial)
	return nil
}

// SetReady takes a drive from the operating system, or trusts a bad one again.
func (c *Controller) SetReady(serial string) error {
	d := c.Drive(serial)
	switch {
	case d == nil:
		return refuse(RefusedNoDrive, "drive %s is not there", serial)
	case len(c.VolumesOn(serial)) > 0, d.State == raid.DiskReady:
		return refuse(RefusedState, "drive %s is %s", d.Location(), d.State)
	case d.State == raid.DiskJBOD && !c.Capabilities.JBOD:
		return refuse(RefusedUnsupported, "a drive cannot be hidden in this mode")
	case !slices.Contains([]raid.DiskStateKind{raid.DiskJBOD, raid.DiskBad, raid.DiskOffline}, d.State):
		return refuse(RefusedState, "drive %s is %s", d.Location(), d.State)
	}
	d.State = raid.DiskReady
	c.touch(serial)
	return nil
}

// SetJBOD shows a ready drive to the operating system.
func (c *Controller) SetJBOD(serial string) error {
	d := c.Drive(serial)
	switch {
	case d == nil:
		return refuse(RefusedNoDrive, "drive %s is not there", serial)
	case !c.Capabilities.JBOD:
		return refuse(RefusedUnsupported, "a drive cannot be shown as it is")
	case d.Foreign != nil:
		return refuse(RefusedForeignDrive, "drive %s carries a foreign configuration", d.Location())
	case d.State != raid.DiskReady:
		return refuse(RefusedState, "drive %s is %s", d.Location(), d.State)
	}
	d.State = raid.DiskJBOD
	c.touch(serial)
	return nil
}

// SetMode switches the controller, at once or at the next start.
func (c *Controller) SetMode(mode raid.Mode) error {
	switch {
	case !slices.Contains(c.Capabilities.Modes, mode):
		return refuse(RefusedUnsupported, "mode %s is not supported", mode)
	case len(c.Volumes) > 0 && mode != raid.ModeRAID && mode != raid.ModeMixed:
		return refuse(RefusedInUse, "there are volumes")
	}
	c.PendingMode = mode
	if mode == c.Mode {
		c.PendingMode = ""
	} else if !c.Capabilities.ModeNeedReboot {
		c.start()
	}
	return nil
}

// start is what happens when the machine starts.
func (c *Controller) start() {
	if c.PendingMode == "" {
		return
	}
	c.Mode, c.PendingMode = c.PendingMode, ""
	for _, d := range c.Drives {
		switch {
		case d.State == raid.DiskReady && (c.Mode == raid.ModeHBA || c.Mode == raid.ModeJBOD):
			d.State = raid.DiskJBOD
		case d.State == raid.DiskJBOD && c.Mode == raid.ModeRAID:
			d.State = raid.DiskReady
		}
	}
}

// DiscardCache throws the data of volumes that are gone away.
func (c *Controller) DiscardCache() error {
	if len(c.PreservedCache) == 0 {
		return refuse(RefusedState, "no cache is preserved")
	}
	c.PreservedCache = nil
	return nil
}

// complete reports whether all drives of a foreign configuration are here.
func (c *Controller) complete(f *ForeignVolume) bool {
	missing := 0
	for _, serial := range f.Members {
		if d := c.Drive(serial); d == nil || d.Foreign == nil || d.Foreign.ID != f.ID {
			missing++
		}
	}
	return missing == 0
}

// ClearForeign removes all foreign configurations.
func (c *Controller) ClearForeign() error {
	if !c.Capabilities.ClearForeign {
		return refuse(RefusedUnsupported, "foreign configurations cannot be cleared")
	}
	found := false
	for _, d := range c.Drives {
		if d.Foreign != nil && !d.Pulled {
			d.Foreign, d.State, found = nil, raid.DiskReady, true
			c.touch(d.Serial)
		}
	}
	if !found {
		return refuse(RefusedState, "there is no foreign configuration")
	}
	return nil
}

// ImportForeign makes all foreign configurations volumes here.
func (c *Controller) ImportForeign() error {
	if !c.Capabilities.ImportForeign {
		return refuse(RefusedUnsupported, "foreign configurations cannot be imported")
	}
	var all []*ForeignVolume
	for _, d := range c.Drives {
		if d.Foreign == nil || d.Pulled {
			continue
		}
		if !c.complete(d.Foreign) {
			return refuse(RefusedIncomplete, "foreign configuration %s is incomplete", d.Foreign.ID)
		}
		if !slices.ContainsFunc(all, func(f *ForeignVolume) bool { return f.ID == d.Foreign.ID }) {
			all = append(all, d.Foreign)
		}
	}
	if len(all) == 0 {
		return refuse(RefusedState, "there is no foreign configuration")
	}
	for _, f := range all {
		for _, f := range append([]ForeignVolume{*f}, f.Beside...) {
			c.Volumes = append(c.Volumes, &Volume{Number: c.nextNumber(), WWN: f.WWN, Name: f.Name, Level: f.Level,
				Bytes: f.Bytes, Strip: f.Strip, Policies: c.DefaultPolicies, Members: f.Members, Data: f.Data})
		}
		for _, serial := range f.Members {
			d := c.Drive(serial)
			d.Foreign, d.State = nil, raid.DiskOnline
		}
		c.touch(f.Members...)
	}
	return nil
}
