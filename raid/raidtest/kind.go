package raidtest

import (
	"fmt"
	"slices"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// Kind is what sort of thing a simulated controller is.
type Kind string

const (
	// KindCard is a controller with firmware of its own, the zero value.
	KindCard Kind = ""
	// KindMD is the kernel's software RAID. Its arrays are records on drives, which firmware brings up by no means: they
	// are stopped when the machine starts, until somebody assembles them.
	KindMD Kind = "md"
	// KindNVMe is one drive, whose namespaces are volumes. One that is not attached is stopped.
	KindNVMe Kind = "nvme"
)

// Record is what md left on a drive: it belonged to an array, and is no member of it now.
type Record struct {
	// WWN of the array.
	WWN string `json:"wwn"`
	// Spare: it waited. Whoever assembles the array finds it, and it waits again. A member that was lost is behind the
	// others, and stays out.
	Spare bool `json:"spare,omitempty"`
	// Role is the place that a member had.
	Role int `json:"role,omitempty"`
}

// SoftwareRAID is the kernel's RAID without drives, as mdadm 4.2 drives it with whole drives.
func SoftwareRAID(serial string) *Controller {
	var strips []hw.Size
	for s := hw.Size(4 << 10); s <= 4<<20; s *= 2 {
		strips = append(strips, s)
	}
	return &Controller{Kind: KindMD, DefaultStrip: 512 << 10,
		Controller: raid.Controller{ID: raid.MD, Vendor: "Linux", Model: "software RAID", Serial: serial, Driver: "mdadm",
			Mode: raid.ModeRAID, Capabilities: raid.Capabilities{
				Levels: []raid.LevelCapability{{Level: raid.Level0, MinDisks: 1}, {Level: raid.Level1, MinDisks: 2},
					{Level: raid.Level5, MinDisks: 3}, {Level: raid.Level6, MinDisks: 4},
					{Level: raid.Level10, MinDisks: 4, Multiple: 2}},
				Strips: strips, DedicatedSpares: true, ClearForeign: true, BootVolume: true,
				Initialize: []raid.Initialization{raid.InitializeFull}, MaxName: 27, Names: true, MixedMedia: true}}}
}

// NVMe is a drive without namespaces, which can be managed, formatted and erased.
func NVMe(id raid.ControllerID, serial string, bytes int64) *Controller {
	c := &Controller{Kind: KindNVMe, Round: 512,
		Controller: raid.Controller{ID: id, Model: "LODA NVME " + human(bytes), Serial: serial, Firmware: "L0010131",
			Driver: "nvmens", Capabilities: raid.Capabilities{
				Levels:          []raid.LevelCapability{{Level: raid.Level0, MinDisks: 1, MaxDisks: 1}},
				Initialize:      []raid.Initialization{raid.InitializeNone, raid.InitializeFast, raid.InitializeFull},
				InitializeWaits: true, PartialVolumes: true, MaxVolumes: 128}}}
	c.Drives = []*Drive{{Model: c.Model, Firmware: c.Firmware, Serial: serial, Bytes: bytes, LogicalSector: 512,
		PhysicalSector: 512, Medium: hw.NVMe, Bus: hw.BusNVMe, State: raid.DiskReady}}
	return c
}

func human(bytes int64) string { return fmt.Sprintf("%dGB", bytes/1e9) }

// newWWN is the next name that the operating system knows a volume by.
func (c *Controller) newWWN() string {
	c.WWNs++
	id := fmt.Sprintf("6%015x%016x", digits(c.Serial), c.WWNs)
	if c.WWNPrefix != "" {
		id = fmt.Sprintf("%.16s%08x%08x", c.WWNPrefix, digits(c.Serial)&0xffffffff, c.WWNs)
	}
	switch c.Kind {
	case KindMD:
		return "uuid." + id
	case KindNVMe:
		return "eui." + id
	}
	return id
}

// node is the operating system's name for something with a WWN.
func (c *Controller) node(wwn string) string {
	switch c.Kind {
	case KindMD:
		return "/dev/disk/by-id/" + wwn
	case KindNVMe:
		return "/dev/disk/by-id/nvme-" + wwn
	}
	return "/dev/disk/by-id/wwn-0x" + wwn
}

// Stop takes a volume from the operating system: an array is stopped, a namespace is detached. It stays on its drives.
func (c *Controller) Stop(number int) error {
	v := c.Volume(number)
	switch {
	case v == nil:
		return refuse(RefusedNoVolume, "volume %d is not there", number)
	case v.Stopped:
		return refuse(RefusedState, "volume %d does not run", number)
	}
	v.Stopped = true
	c.touch(v.Members...)
	return nil
}

// Start is the opposite of [Controller.Stop]. An array that lost more than it bears does not start; its spares come
// with it.
func (c *Controller) Start(number int) error {
	v := c.Volume(number)
	switch {
	case v == nil:
		return refuse(RefusedNoVolume, "volume %d is not there", number)
	case !v.Stopped:
		return refuse(RefusedState, "volume %d runs already", number)
	}
	v.Stopped = false
	if s := c.State(v); s == raid.VolumeFailed || s == raid.VolumeOffline {
		v.Stopped = true
		return refuse(RefusedState, "volume %d misses too many drives", number)
	}
	for _, d := range c.Drives {
		if r := d.Record; r != nil && r.WWN == v.WWN && r.Spare && !d.Pulled && d.State == raid.DiskReady {
			d.Record, d.State, d.SpareFor = nil, raid.DiskSpare, []int{number}
		}
	}
	return nil
}

// waitsFor is the array that a drive will be a spare of when that is assembled the next time; nil: none.
func (c *Controller) waitsFor(d *Drive) *Volume {
	for _, v := range c.Volumes {
		if r := d.Record; r != nil && r.Spare && r.WWN == v.WWN && d.State == raid.DiskReady {
			return v
		}
	}
	return nil
}

// Join adds a drive to an array: it takes the place of one that is missing, or waits.
func (c *Controller) Join(number int, serial string) error {
	v := c.Volume(number)
	if v == nil || v.Stopped {
		return refuse(RefusedNoVolume, "volume %d does not run", number)
	}
	if err := c.AddSpare(serial, number); err != nil {
		return err
	}
	d := c.Drive(serial)
	d.Record = nil
	for i, m := range v.Members {
		if o := c.Drive(m); o == nil || o.State == raid.DiskFailed {
			if o != nil {
				o.Record = &Record{WWN: v.WWN, Role: i}
			}
			v.Members[i], d.State, d.SpareFor = serial, raid.DiskRebuilding, nil
			break
		}
	}
	return nil
}

// Leave takes a spare, or a drive that failed, out of an array. What md has written on it stays.
func (c *Controller) Leave(number int, serial string) error {
	v, d := c.Volume(number), c.Drive(serial)
	if v == nil || v.Stopped {
		return refuse(RefusedNoVolume, "volume %d does not run", number)
	}
	lost := d != nil && d.State == raid.DiskFailed &&
		(slices.Contains(v.Members, serial) || d.Record != nil && d.Record.WWN == v.WWN)
	waits := d != nil && d.State == raid.DiskSpare && slices.Contains(d.SpareFor, number)
	if !lost && !waits {
		return refuse(RefusedState, "drive %s is no spare of volume %d, and has not failed in it", serial, number)
	}
	left := &Record{WWN: v.WWN, Spare: waits}
	if i := slices.Index(v.Members, serial); i >= 0 {
		v.Members[i], left.Role = "", i
	} else if lost {
		left.Role = d.Record.Role
	}
	d.State, d.SpareFor, d.Record = raid.DiskReady, nil, left
	c.touch(serial)
	return nil
}

// Holder is the volume that runs on a drive, or for which the drive waits; nil: none does.
func (c *Controller) Holder(serial string) *Volume {
	d := c.Drive(serial)
	for _, v := range c.Volumes {
		if !v.Stopped && (slices.Contains(v.Members, serial) || d != nil && (slices.Contains(d.SpareFor, v.Number) ||
			d.State == raid.DiskFailed && d.Record != nil && d.Record.WWN == v.WWN)) {
			return v
		}
	}
	return nil
}

// Recorded reports whether md, or the firmware of another RAID, has written on a drive.
func (c *Controller) Recorded(serial string) bool {
	d := c.Drive(serial)
	return d != nil && (d.Record != nil || d.Foreign != nil || len(d.SpareFor) > 0 || len(c.VolumesOn(serial)) > 0)
}

// Erase takes the records of RAIDs from a drive, and with everything also what else is on it. An array that runs is in
// the way of it, unless it is forced.
func (c *Controller) Erase(serial string, everything, force bool) error {
	d := c.Drive(serial)
	if d == nil {
		return refuse(RefusedNoDrive, "drive %s is not there", serial)
	}
	if v := c.Holder(serial); v != nil && !force {
		return refuse(RefusedInUse, "drive %s is in use by volume %d", serial, v.Number)
	}
	for _, v := range c.VolumesOn(serial) {
		v.Members[slices.Index(v.Members, serial)] = ""
	}
	c.Volumes = slices.DeleteFunc(c.Volumes, func(v *Volume) bool { // nothing says any more that it was there
		return !slices.ContainsFunc(v.Members, func(m string) bool { return m != "" })
	})
	d.Record, d.Foreign, d.SpareFor, d.Rebuild = nil, nil, nil, 0
	if d.State != raid.DiskFailed {
		d.State = raid.DiskReady
	}
	if everything {
		d.Data = ""
	}
	c.touch(serial)
	return nil
}

// off is what the kernel forgets when the machine is off: which arrays ran, and which drives failed in them.
func (c *Controller) off() {
	for _, v := range c.Volumes {
		v.Stopped = true
		for i, m := range v.Members {
			if d := c.Drive(m); d == nil {
				v.Members[i] = ""
			} else if d.State == raid.DiskFailed {
				v.Members[i], d.Record = "", &Record{WWN: v.WWN, Role: i}
			}
		}
	}
	for _, d := range c.Drives {
		switch {
		case d.State == raid.DiskFailed:
			d.State = raid.DiskReady
		case d.State == raid.DiskSpare && len(d.SpareFor) > 0:
			if v := c.Volume(d.SpareFor[0]); v != nil {
				d.State, d.SpareFor, d.Record = raid.DiskReady, nil, &Record{WWN: v.WWN, Spare: true}
			}
		}
	}
}
