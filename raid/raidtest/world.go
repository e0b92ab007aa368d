package raidtest

import (
	"fmt"
	"slices"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// FailDrive lets a drive fail. A spare that is for one of its volumes begins to take its place.
func (c *Controller) FailDrive(serial string) error {
	d := c.Drive(serial)
	if d == nil {
		return fmt.Errorf("fail drive %s: it is not there", serial)
	}
	d.State = raid.DiskFailed
	c.replace(serial)
	return nil
}

// Pull takes a drive out.
func (c *Controller) Pull(serial string) error {
	d := c.Drive(serial)
	if d == nil {
		return fmt.Errorf("pull drive %s: it is not there", serial)
	}
	d.Pulled = true
	c.replace(serial)
	return nil
}

// Insert puts a drive back. One that was a member carries the configuration that it had: it is offline where its volume
// lives, and foreign where that is gone.
func (c *Controller) Insert(serial string) error {
	for _, d := range c.Drives {
		if d.Serial != serial || !d.Pulled {
			continue
		}
		if d.Pulled = false; c.Kind == KindMD {
			for _, v := range c.VolumesOn(serial) { // the array goes on without it
				i := slices.Index(v.Members, serial)
				v.Members[i] = ""
				d.Record, d.State = &Record{WWN: v.WWN, Role: i}, raid.DiskReady
			}
			return nil
		}
		if d.State == raid.DiskOnline {
			d.State = raid.DiskOffline
			if len(c.VolumesOn(serial)) == 0 {
				d.State = raid.DiskReady
				d.Foreign = &ForeignVolume{ID: "left-" + serial, Level: raid.Level1, Bytes: d.Bytes,
					Members: []string{serial, "gone"}}
			}
		}
		return nil
	}
	return fmt.Errorf("insert drive %s: it was not pulled", serial)
}

// replace lets a spare take the place of a lost member.
func (c *Controller) replace(serial string) {
	lost := c.VolumesOn(serial)
	if len(lost) == 0 || slices.ContainsFunc(lost, func(v *Volume) bool { return v.Level == raid.Level0 }) {
		return
	}
	size := int64(0)
	for _, d := range c.Drives {
		if d.Serial == serial {
			size = d.Bytes
		}
	}
	for _, s := range c.Drives {
		if s.Pulled || s.State != raid.DiskSpare || s.Bytes < size || len(s.SpareFor) > 0 &&
			!slices.ContainsFunc(lost, func(v *Volume) bool { return slices.Contains(s.SpareFor, v.Number) }) {
			continue
		}
		s.State, s.SpareFor, s.Rebuild = raid.DiskRebuilding, nil, 0
		if d := c.Drive(serial); d != nil && c.Kind == KindMD {
			d.Record = &Record{WWN: lost[0].WWN, Role: slices.Index(lost[0].Members, serial)}
		}
		for _, v := range lost {
			v.Members[slices.Index(v.Members, serial)] = s.Serial
		}
		return
	}
}

// Advance lets rebuilds and initializations go on by a fraction; at 1 they are done.
func (c *Controller) Advance(by float64) {
	for _, d := range c.Drives {
		if d.State == raid.DiskRebuilding {
			if d.Rebuild += by; d.Rebuild >= 1 {
				d.State, d.Rebuild = raid.DiskOnline, 0
			}
		}
	}
	for _, v := range c.Volumes {
		if v.Initializing != "" {
			if v.Initialized += by; v.Initialized >= 1 {
				v.Initializing, v.Initialized, v.Impacted = "", 0, false
			}
		}
	}
}

// GoForeign makes a volume the configuration of another controller, as when its drives come from another machine.
func (c *Controller) GoForeign(number int) error {
	v := c.Volume(number)
	if v == nil {
		return fmt.Errorf("make volume %d foreign: it is not there", number)
	}
	group := slices.DeleteFunc(slices.Clone(c.Volumes), func(o *Volume) bool { return !sameMembers(o, v) })
	c.Volumes = slices.DeleteFunc(c.Volumes, func(o *Volume) bool { return sameMembers(o, v) })
	f := foreignVolume(v)
	for _, o := range group {
		if o != v {
			f.Beside = append(f.Beside, foreignVolume(o))
		}
	}
	for _, serial := range v.Members {
		if d := c.Drive(serial); d != nil {
			d.Foreign, d.State = new(f), raid.DiskReady
		}
	}
	return nil
}

func foreignVolume(v *Volume) ForeignVolume {
	return ForeignVolume{ID: fmt.Sprintf("foreign-%d", v.Number), Level: v.Level, Bytes: v.Bytes, Strip: v.Strip,
		Name: v.Name, WWN: v.WWN, Members: v.Members, Data: v.Data}
}

// LoseVolume removes a volume with all its drives, and lets the controller keep what it had not written yet.
func (c *Controller) LoseVolume(number int) error {
	v := c.Volume(number)
	if v == nil {
		return fmt.Errorf("lose volume %d: it is not there", number)
	}
	c.Volumes = slices.DeleteFunc(c.Volumes, func(o *Volume) bool { return o == v })
	for _, serial := range v.Members {
		if d := c.Drive(serial); d != nil {
			d.Pulled = true
		}
	}
	c.PreservedCache = append(c.PreservedCache, fmt.Sprint(number))
	return nil
}

// AddDrives puts n equal drives into the next free slots of enclosure 252.
func (c *Controller) AddDrives(n int, medium hw.Medium, bus hw.Bus, bytes int64) {
	for range n {
		slot := 0
		for c.At(252, slot) != nil {
			slot++
		}
		k := len(c.Drives) + 1
		c.Drives = append(c.Drives, &Drive{Enclosure: 252, Slot: slot, Device: 8 + k, Port: fmt.Sprintf("%dI", 1+slot/4),
			Vendor: "LODA", Model: fmt.Sprintf("%s-%dG", medium, bytes/1e9), Firmware: "L001",
			Serial: fmt.Sprintf("%s-D%03d", c.Serial, k), WWN: fmt.Sprintf("5%07x%08x", digits(c.Serial)&0xfffffff, k),
			Bytes: bytes, LogicalSector: 512, PhysicalSector: 4096, Medium: medium, Bus: bus, State: raid.DiskReady})
	}
}

// MegaRAID is a controller that can do everything, without drives.
func MegaRAID(id raid.ControllerID, serial string) *Controller {
	strips := []hw.Size{64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20}
	return &Controller{
		Controller: raid.Controller{ID: id, Vendor: "LODA", Model: "MegaRAID SAS 9361-8i", Serial: serial,
			Firmware: "4.680.00-8519", Driver: "chassis", Mode: raid.ModeRAID,
			Cache: raid.Cache{Bytes: 1 << 30, Battery: raid.BatteryState{Is: raid.BatteryGood, Raw: "Optimal"}},
			Capabilities: raid.Capabilities{
				Levels: []raid.LevelCapability{{Level: raid.Level0, MinDisks: 1, MaxDisks: 32},
					{Level: raid.Level1, MinDisks: 2, MaxDisks: 32, Multiple: 2}, {Level: raid.Level5, MinDisks: 3, MaxDisks: 32},
					{Level: raid.Level6, MinDisks: 4, MaxDisks: 32}, {Level: raid.Level10, MinDisks: 4, Multiple: 2},
					{Level: raid.Level50, MinDisks: 6}, {Level: raid.Level60, MinDisks: 8}},
				Strips: strips, GlobalSpares: true, DedicatedSpares: true, JBOD: true, ClearForeign: true, ImportForeign: true,
				BootVolume: true, Modes: []raid.Mode{raid.ModeRAID, raid.ModeHBA, raid.ModeJBOD}, ModeNeedReboot: true,
				Read:       []raid.ReadPolicy{raid.ReadNone, raid.ReadAhead},
				Write:      []raid.WritePolicy{raid.WriteThrough, raid.WriteBack, raid.WriteAlwaysBack},
				IO:         []raid.IOPolicy{raid.IODirect, raid.IOCached},
				DiskCache:  []raid.DiskCache{raid.DiskCacheEnable, raid.DiskCacheDisable},
				Initialize: []raid.Initialization{raid.InitializeNone, raid.InitializeFast, raid.InitializeFull},
				MaxVolumes: 64, MaxName: 15, Names: true, PartialVolumes: true}},
		DefaultStrip: 256 << 10,
		DefaultPolicies: raid.Policies{Read: raid.ReadAhead, Write: raid.WriteBack, IO: raid.IODirect,
			DiskCache: raid.DiskCacheDisable},
	}
}
