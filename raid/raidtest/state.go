package raidtest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// State is all of a chassis. It is plain data: a test builds any, including what no firmware would have let happen.
type State struct {
	Controllers []*Controller `json:"controllers"`
	// Off: the power was cut.
	Off bool `json:"off,omitempty"`
	// Commands counts those that write.
	Commands int     `json:"commands,omitempty"`
	Faults   []Fault `json:"faults,omitempty"`
	// Journal is what commands did.
	Journal []Entry `json:"journal,omitempty"`
}

// Entry is one command that wrote.
type Entry struct {
	Number int    `json:"number"`
	Op     string `json:"op"`
	// Drives that it touched, by serial number: those whose state changed, and members of volumes that did.
	Drives []string `json:"drives,omitempty"`
	// Refused is why it did nothing.
	Refused string `json:"refused,omitempty"`
}

// Controller is a simulated controller.
type Controller struct {
	raid.Controller
	Kind    Kind      `json:"kind,omitempty"`
	Drives  []*Drive  `json:"drives"`
	Volumes []*Volume `json:"volumes"`
	// CountDown: new volumes get numbers from 239 downwards, as newer MegaRAIDs do. Else the lowest free one.
	CountDown bool `json:"count_down,omitempty"`
	// Renumber: the volumes behind a deleted one move up, as arrays of Smart Arrays do.
	Renumber bool `json:"renumber,omitempty"`
	// WWNs counts those that were given away. None is given twice.
	WWNs int `json:"wwns,omitempty"`
	// WWNPrefix is what they begin with, in hexadecimal; empty: what follows from the serial number.
	WWNPrefix string `json:"wwn_prefix,omitempty"`
	// Round is what the size of a volume is rounded down to on each of its drives; 0: 1 MiB.
	Round int64 `json:"round,omitempty"`
	// Reserve is what the firmware keeps of each drive for itself.
	Reserve int64 `json:"reserve,omitempty"`
	// DefaultStrip, DefaultPolicies are those of volumes that ask for none.
	DefaultStrip    hw.Size       `json:"default_strip,omitempty"`
	DefaultPolicies raid.Policies `json:"default_policies,omitzero"`
	// Parts are on its cables and board besides drives.
	Parts []Part `json:"parts,omitempty"`
	// Enclosures are those that the controller tells of.
	Enclosures []Enclosure `json:"enclosures,omitempty"`
	// Components are the parts of its firmware, in its order, which differs between cards under the same tool.
	Components []Component `json:"components,omitempty"`
	// Extra are words that only one tool prints, for its emulator. What follows from the state is never taken from there.
	Extra map[string]string `json:"extra,omitempty"`

	state *State // for the journal
}

// Part is what tools tell of a controller that is neither drive nor volume and never changes: a cage, an expander, a
// connector, a sensor.
type Part struct {
	// Kind is of the emulator's choice.
	Kind   string            `json:"kind"`
	Name   string            `json:"name,omitempty"`
	Number int               `json:"number,omitempty"`
	Port   string            `json:"port,omitempty"`
	Box    int               `json:"box,omitempty"`
	Extra  map[string]string `json:"extra,omitempty"`
}

// Enclosure is what drives are in. Which are in it follows from their Enclosure.
type Enclosure struct {
	ID       int    `json:"id"`
	Slots    int    `json:"slots"`
	Product  string `json:"product,omitempty"`
	Revision string `json:"revision,omitempty"`
	// Port is the connector, `Multipath` where there are two; empty: it is none of the controller's.
	Port          string `json:"port,omitempty"`
	PowerSupplies int    `json:"power_supplies,omitempty"`
	Fans          int    `json:"fans,omitempty"`
	Sensors       int    `json:"sensors,omitempty"`
	Alarms        int    `json:"alarms,omitempty"`
	Modules       int    `json:"modules,omitempty"`
}

// Component is a part of a firmware, such as `Boot Block`, with its version.
type Component struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Drive is a simulated drive.
type Drive struct {
	// Enclosure is negative for a drive in none.
	Enclosure int `json:"enclosure"`
	Slot      int `json:"slot"`
	// Device is the number that a controller gives to a drive apart from its slot; Port is the connector (1I, CN0), and
	// Box what hangs on it, 0 being the first one.
	Device int    `json:"device,omitempty"`
	Port   string `json:"port,omitempty"`
	Box    int    `json:"box,omitempty"`

	Vendor         string             `json:"vendor,omitempty"`
	Model          string             `json:"model,omitempty"`
	Firmware       string             `json:"firmware,omitempty"`
	Serial         string             `json:"serial"`
	WWN            string             `json:"wwn,omitempty"`
	Bytes          int64              `json:"bytes"`
	LogicalSector  int                `json:"logical_sector,omitempty"`
	PhysicalSector int                `json:"physical_sector,omitempty"`
	Medium         hw.Medium          `json:"medium,omitempty"`
	Bus            hw.Bus             `json:"bus,omitempty"`
	State          raid.DiskStateKind `json:"state"`
	SMARTAlert     bool               `json:"smart_alert,omitempty"`
	MediaErrors    int64              `json:"media_errors,omitempty"`
	OtherErrors    int64              `json:"other_errors,omitempty"`
	Locked         bool               `json:"locked,omitempty"`
	// Erased: all of it was erased, and a bad drive it is until somebody enables it again.
	Erased bool `json:"erased,omitempty"`
	// SpareFor are the numbers of the volumes that a dedicated spare waits for.
	SpareFor []int `json:"spare_for,omitempty"`
	// Foreign is the configuration of another controller that it carries.
	Foreign *ForeignVolume `json:"foreign,omitempty"`
	// Record is what md left on it.
	Record *Record `json:"record,omitempty"`
	// Rebuild is how far one is, 0 to 1; it counts in state rebuilding.
	Rebuild float64 `json:"rebuild,omitempty"`
	// Pulled: it is not there. It is remembered so that it can come back.
	Pulled bool `json:"pulled,omitempty"`
	// Data is whatever a test put onto a drive that the operating system uses; making a volume of the drive loses it.
	Data  string            `json:"data,omitempty"`
	Extra map[string]string `json:"extra,omitempty"`
}

// ForeignVolume is what a foreign configuration says of the volume whose member a drive was. Drives with the same ID
// belong together.
type ForeignVolume struct {
	ID      string     `json:"id"`
	Level   raid.Level `json:"level"`
	Bytes   int64      `json:"bytes"`
	Strip   hw.Size    `json:"strip,omitempty"`
	Name    string     `json:"name,omitempty"`
	WWN     string     `json:"wwn,omitempty"`
	Members []string   `json:"members"`
	Data    string     `json:"data,omitempty"`
	// Beside are the other volumes of the drive group: the drives of a group are all foreign, or none is.
	Beside []ForeignVolume `json:"beside,omitempty"`
}

// Volume is a simulated logical drive.
type Volume struct {
	Number int        `json:"number"`
	WWN    string     `json:"wwn"`
	Name   string     `json:"name,omitempty"`
	Level  raid.Level `json:"level"`
	Spans  int        `json:"spans,omitempty"`
	Bytes  int64      `json:"bytes"`
	Strip  hw.Size    `json:"strip,omitempty"`
	// Policies that were asked for.
	Policies raid.Policies `json:"policies,omitzero"`
	// Members are serial numbers, in the order in which they were given; "" is a place whose drive is gone for good.
	Members []string `json:"members"`
	Boot    bool     `json:"boot,omitempty"`
	// Stopped: the operating system does not see it. See [Controller.Stop].
	Stopped bool `json:"stopped,omitempty"`
	// Initializing is what is going on, and Initialized how far it is.
	Initializing raid.Initialization `json:"initializing,omitempty"`
	Initialized  float64             `json:"initialized,omitempty"`
	// Impacted: its parity was never made, or not to the end, so that it does not bear what its level does.
	Impacted bool `json:"impacted,omitempty"`
	// Data is whatever a test put into it.
	Data  string            `json:"data,omitempty"`
	Extra map[string]string `json:"extra,omitempty"`
}

// Location of a drive in the way of the in-process driver: enclosure and slot.
func (d *Drive) Location() string { return fmt.Sprintf("%d:%d", d.Enclosure, d.Slot) }

// Controller returns a controller by its id, nil if there is none.
func (s *State) Controller(id raid.ControllerID) *Controller {
	for _, c := range s.Controllers {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// At returns the drive in a slot that is there, nil if there is none.
func (c *Controller) At(enclosure, slot int) *Drive {
	for _, d := range c.Drives {
		if d.Enclosure == enclosure && d.Slot == slot && !d.Pulled {
			return d
		}
	}
	return nil
}

// Drive returns a drive that is there by its serial number, nil if there is none.
func (c *Controller) Drive(serial string) *Drive {
	for _, d := range c.Drives {
		if d.Serial == serial && !d.Pulled {
			return d
		}
	}
	return nil
}

// Volume returns a volume by its number, nil if there is none.
func (c *Controller) Volume(number int) *Volume {
	for _, v := range c.Volumes {
		if v.Number == number {
			return v
		}
	}
	return nil
}

// VolumesOn are the volumes that a drive is a member of.
func (c *Controller) VolumesOn(serial string) []*Volume {
	var on []*Volume
	for _, v := range c.Volumes {
		if slices.Contains(v.Members, serial) {
			on = append(on, v)
		}
	}
	return on
}

// Groups are the sets of drives that volumes share, each with its volumes, in the order of their first volume: what
// tools call array, drive group or disk group.
func (c *Controller) Groups() [][]*Volume {
	var groups [][]*Volume
	for _, v := range c.Volumes {
		i := slices.IndexFunc(groups, func(g []*Volume) bool { return sameMembers(g[0], v) })
		if i < 0 {
			groups = append(groups, nil)
			i = len(groups) - 1
		}
		groups[i] = append(groups[i], v)
	}
	return groups
}

func sameMembers(a, b *Volume) bool {
	as, bs := slices.Sorted(slices.Values(a.Members)), slices.Sorted(slices.Values(b.Members))
	return slices.Equal(as, bs)
}

// State of a volume follows from its members.
func (c *Controller) State(v *Volume) raid.VolumeStateKind {
	if v.Stopped {
		return raid.VolumeOffline
	}
	bad, rebuilding := make([]int, max(c.groups(v), 1)), false
	for i, serial := range v.Members {
		d := c.Drive(serial)
		if d != nil && d.State == raid.DiskRebuilding {
			rebuilding = true
		}
		if d == nil || d.State != raid.DiskOnline {
			bad[i*len(bad)/len(v.Members)]++
		}
	}
	worst := slices.Max(bad)
	switch bears := redundancy(v.Level, len(v.Members)); {
	case worst == 0 && v.Initializing != "":
		return raid.VolumeInitializing
	case worst == 0 && v.Impacted:
		return raid.VolumeDegraded
	case worst == 0:
		return raid.VolumeOptimal
	case worst > bears && c.Kind == KindMD:
		return raid.VolumeFailed
	case worst > bears:
		return raid.VolumeOffline
	case rebuilding:
		return raid.VolumeRebuilding
	case worst < bears && (v.Level == raid.Level6 || v.Level == raid.Level60):
		return raid.VolumePartial
	}
	return raid.VolumeDegraded
}

// groups is the number of parts over which a volume is striped.
func (c *Controller) groups(v *Volume) int {
	switch v.Level {
	case raid.Level10:
		if v.Spans == 0 {
			return len(v.Members) / 2
		}
		return v.Spans
	case raid.Level50, raid.Level60:
		return max(v.Spans, 2)
	}
	return 1
}

// redundancy is how many drives of one group may be lost.
func redundancy(level raid.Level, members int) int {
	switch level {
	case raid.Level1:
		return members - 1
	case raid.Level5, raid.Level50, raid.Level10:
		return 1
	case raid.Level6, raid.Level60:
		return 2
	}
	return 0
}

// Current are the policies in force: without a good battery a write-back cache writes through.
func (c *Controller) Current(v *Volume) raid.Policies {
	p := v.Policies
	if p.Write == raid.WriteBack && c.Cache.Battery.Is != raid.BatteryGood {
		p.Write = raid.WriteThrough
	}
	return p
}

// Inventory is the truth, as a perfect driver would tell it: drives are named by enclosure and slot, volumes by number.
func (c *Controller) Inventory() *raid.Inventory {
	inv := &raid.Inventory{Controller: c.Controller, Disks: []raid.PhysicalDisk{}, Volumes: []raid.VirtualDisk{}}
	drives := slices.DeleteFunc(slices.Clone(c.Drives), func(d *Drive) bool { return d.Pulled })
	slices.SortFunc(drives, func(a, b *Drive) int {
		return cmp.Or(cmp.Compare(a.Enclosure, b.Enclosure), cmp.Compare(a.Slot, b.Slot))
	})
	foreign := map[string]*raid.Foreign{}
	var foreignIDs []string
	for _, d := range drives {
		p := raid.PhysicalDisk{ID: raid.DiskID(d.Location()), Location: d.Location(), Vendor: d.Vendor, Model: d.Model,
			Firmware: d.Firmware, Serial: d.Serial, WWN: d.WWN, Bytes: d.Bytes, LogicalSector: d.LogicalSector,
			PhysicalSector: d.PhysicalSector, Medium: d.Medium, Bus: d.Bus,
			State:      raid.DiskState{Is: d.State, Raw: string(d.State)},
			SMARTAlert: &d.SMARTAlert, MediaErrors: &d.MediaErrors, OtherErrors: &d.OtherErrors,
			Foreign: d.Foreign != nil, Locked: d.Locked}
		for _, v := range c.VolumesOn(d.Serial) {
			p.Volumes = append(p.Volumes, volumeID(v.Number))
			if v.Stopped && c.Kind == KindMD {
				p.State = raid.DiskState{Is: raid.DiskOffline, Raw: "not assembled"}
			}
		}
		for _, n := range d.SpareFor {
			p.SpareFor = append(p.SpareFor, volumeID(n))
		}
		if v := c.waitsFor(d); v != nil {
			p.State, p.SpareFor = raid.DiskState{Is: raid.DiskSpare, Raw: "left"}, []raid.VolumeID{volumeID(v.Number)}
		}
		if d.State == raid.DiskRebuilding {
			p.Progress = &raid.Progress{What: "rebuild", Fraction: d.Rebuild}
		}
		if d.State == raid.DiskJBOD || c.Kind != KindCard {
			p.Path = "/dev/disk/by-id/wwn-0x" + d.WWN
		}
		if f := d.Foreign; f != nil {
			if foreign[f.ID] == nil {
				foreign[f.ID] = &raid.Foreign{ID: f.ID, Level: raid.LevelState{Is: f.Level, Raw: string(f.Level)}, Bytes: f.Bytes}
				foreignIDs = append(foreignIDs, f.ID)
			}
			foreign[f.ID].Disks = append(foreign[f.ID].Disks, p.ID)
			foreign[f.ID].Incomplete = !c.complete(f)
		}
		inv.Disks = append(inv.Disks, p)
	}
	for _, id := range foreignIDs {
		inv.Foreign = append(inv.Foreign, *foreign[id])
	}
	volumes := slices.Clone(c.Volumes)
	slices.SortFunc(volumes, func(a, b *Volume) int { return cmp.Compare(a.Number, b.Number) })
	for _, v := range volumes {
		boot := v.Boot
		state := c.State(v)
		r := raid.VirtualDisk{ID: volumeID(v.Number), WWN: v.WWN, Name: v.Name,
			Level: raid.LevelState{Is: v.Level, Raw: string(v.Level)}, Spans: v.Spans, Bytes: v.Bytes,
			State: raid.VolumeState{Is: state, Raw: string(state)}, Strip: v.Strip, Policies: v.Policies,
			Current: c.Current(v), Members: []raid.DiskID{}, Path: c.node(v.WWN)}
		if v.Stopped {
			r.Path = ""
		}
		if c.Capabilities.BootVolume {
			r.Boot = &boot
		}
		if v.Initializing != "" {
			r.Progress = &raid.Progress{What: "initialization", Fraction: v.Initialized}
		}
		for _, serial := range v.Members {
			// A drive that failed in an array of md has lost its place.
			if d := c.Drive(serial); d != nil && (c.Kind != KindMD || d.State != raid.DiskFailed) {
				r.Members = append(r.Members, raid.DiskID(d.Location()))
			} else {
				r.Missing++
			}
		}
		for _, d := range drives {
			if d.State == raid.DiskSpare && slices.Contains(d.SpareFor, v.Number) || c.waitsFor(d) == v {
				r.Spares = append(r.Spares, raid.DiskID(d.Location()))
			}
		}
		inv.Volumes = append(inv.Volumes, r)
	}
	return inv
}

func volumeID(n int) raid.VolumeID { return raid.VolumeID(strconv.Itoa(n)) }
