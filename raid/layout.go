package raid

import "github.com/project-loda/loda/hw"

// A Layout says what a machine's storage must look like, controller by controller. A controller that it does not name
// stays as it is. The zero value of every field below is the choice that changes nothing, so that a layout destroys
// only what it says.
//
// In YAML and JSON its keys are those of the fields' tags; JSON refuses keys that it does not know. What makes sense is
// not looked at when a layout is read: that is [Layout.Validate].
type Layout struct {
	Controllers []ControllerLayout `json:"controllers" yaml:"controllers"`
	// Allow is what may be lost for it without anybody being asked; see [Permission]. What is mounted can never be allowed
	// in advance.
	Allow []Permission `json:"allow,omitempty" yaml:"allow,omitempty"`
}

// BootVolume is the volume that the machine is to start from; nil: the layout names none.
func (l *Layout) BootVolume() *Volume {
	for i := range l.Controllers {
		for j := range l.Controllers[i].Volumes {
			if v := &l.Controllers[i].Volumes[j]; v.Boot {
				return v
			}
		}
	}
	return nil
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
// The short forms are `only`, `md`, and a key with its value: `slot 3`, `pci 0000:18:00.0`, `model PERC H7*`,
// `index 0`.
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
