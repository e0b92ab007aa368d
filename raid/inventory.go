package raid

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/project-loda/loda/hw"
)

// ControllerID is the PCI address of a controller, such as 0000:18:00.0, or [MD].
type ControllerID string

// MD is the kernel's software RAID, which is a controller without hardware.
const MD ControllerID = "md"

// DiskID names a physical drive to its driver, and to nobody else: `252:4` to one tool, `1I:1:4` to the next. It is
// stable as long as the drive stays where it is, and so never the proof that a drive is the one that a plan saw; see
// [PhysicalDisk.Identity].
type DiskID string

// VolumeID names a logical drive to its driver. Controllers give the number of a deleted volume to the next one, so it is
// no proof either; see [VirtualDisk.Identity].
type VolumeID string

// Inventory is all that one controller has, as a driver reads it. Lists are in the order of locations; nothing in it
// depends on the order in which a tool prints.
type Inventory struct {
	Controller Controller     `json:"controller"`
	Disks      []PhysicalDisk `json:"disks"`
	Volumes    []VirtualDisk  `json:"volumes"`
	// Foreign are configurations of other controllers that were found on drives here.
	Foreign []Foreign `json:"foreign,omitempty"`
	// Warnings are what the tool said beside the facts, or what could not be read, for people.
	Warnings []string `json:"warnings,omitempty"`
}

// Summary is a controller in a sentence: what it is, how many drives it has and which are not well, and its volumes.
func (inv *Inventory) Summary() string {
	text := controllerText(&inv.Controller)
	if m := inv.Controller.Mode; m != "" {
		text += ", mode " + string(m)
	}
	var ill []string
	for _, d := range inv.Disks {
		switch d.State.Is {
		case DiskReady, DiskOnline, DiskSpare, DiskJBOD:
		default:
			ill = append(ill, fmt.Sprintf("%s %s", d.Location, d.State))
		}
	}
	text += fmt.Sprintf(": %d drives", len(inv.Disks))
	if len(ill) > 0 {
		text += ", of which " + enumerate(ill, 8)
	}
	var volumes []string
	for _, v := range inv.Volumes {
		volumes = append(volumes, fmt.Sprintf("%s level %s %s %s", cmp.Or(v.Name, string(v.ID)), v.Level, human(v.Bytes), v.State))
	}
	if len(volumes) == 0 {
		return text + "; no volume"
	}
	return text + "; volumes " + enumerate(volumes, 16)
}

// Controller is a RAID controller or HBA.
type Controller struct {
	ID       ControllerID `json:"id"`
	Vendor   string       `json:"vendor,omitempty"`
	Model    string       `json:"model,omitempty"`
	Serial   string       `json:"serial,omitempty"`
	Firmware string       `json:"firmware,omitempty"`
	// Slot is the board's name for its slot, where the tool or SMBIOS tells.
	Slot string `json:"slot,omitempty"`
	// Driver is the name of the driver that read this, such as storcli.
	Driver string `json:"driver,omitempty"`
	// ToolID is what the tool itself calls the controller in its commands: `0` to storcli, `slot=0` to ssacli, `1` to
	// arcconf. Numbers move when a card is added, so it is no name for anything that outlives a reading.
	ToolID string `json:"tool_id,omitempty"`
	// Mode is how it treats its drives now, and PendingMode how after the next reboot, if that is another.
	Mode        Mode  `json:"mode,omitempty"`
	PendingMode Mode  `json:"pending_mode,omitempty"`
	Cache       Cache `json:"cache,omitzero"`
	// PreservedCache are volumes that are gone, and whose unwritten data the controller still holds.
	PreservedCache []string     `json:"preserved_cache,omitempty"`
	Capabilities   Capabilities `json:"capabilities"`
}

// Cache is the controller's memory and what keeps it alive.
type Cache struct {
	Bytes int64 `json:"bytes,omitempty"`
	// Battery is the state of the battery or capacitor; absent means that there is none.
	Battery BatteryState `json:"battery,omitzero"`
}

// Capabilities are what a controller can do with the driver that found it. What is not here is refused when a plan is
// made, and never found out when it runs.
type Capabilities struct {
	Levels []LevelCapability `json:"levels"`
	// Strips that volumes can have; empty: the driver cannot choose.
	Strips []hw.Size `json:"strips,omitempty"`
	// GlobalSpares and DedicatedSpares can be made.
	GlobalSpares    bool `json:"global_spares,omitempty"`
	DedicatedSpares bool `json:"dedicated_spares,omitempty"`
	// JBOD: single drives can be shown to the operating system and hidden again.
	JBOD bool `json:"jbod,omitempty"`
	// Foreign configurations can be cleared and imported.
	ClearForeign  bool `json:"clear_foreign,omitempty"`
	ImportForeign bool `json:"import_foreign,omitempty"`
	// BootVolume can be chosen.
	BootVolume bool `json:"boot_volume,omitempty"`
	// Modes that it can be switched to, and whether that takes a reboot.
	Modes          []Mode `json:"modes,omitempty"`
	ModeNeedReboot bool   `json:"mode_need_reboot,omitempty"`
	// Policies that can be set on a volume, now or later.
	Read      []ReadPolicy  `json:"read,omitempty"`
	Write     []WritePolicy `json:"write,omitempty"`
	IO        []IOPolicy    `json:"io,omitempty"`
	DiskCache []DiskCache   `json:"disk_cache,omitempty"`
	// Initialize is what a volume can go through when it is made.
	Initialize []Initialization `json:"initialize,omitempty"`
	// InitializeWaits: it is over when its command is, and shows no progress. Only the driver's word tells that it was done.
	InitializeWaits bool `json:"initialize_waits,omitempty"`
	// PartialVolumes can be made: smaller than their drives, with others beside them.
	PartialVolumes bool `json:"partial_volumes,omitempty"`
	// MaxVolumes and MaxName bound what can be made; 0: not known.
	MaxVolumes int `json:"max_volumes,omitempty"`
	MaxName    int `json:"max_name,omitempty"`
	// Names: volumes keep the name that they are given.
	Names bool `json:"names,omitempty"`
	// MixedMedia: drives of several media can be in one volume.
	MixedMedia bool `json:"mixed_media,omitempty"`
}

// LevelCapability bounds the volumes of one level.
type LevelCapability struct {
	Level Level `json:"level"`
	// MinDisks and MaxDisks of a volume, and what their number must be a multiple of; 0: no bound, 1.
	MinDisks int `json:"min_disks"`
	MaxDisks int `json:"max_disks,omitempty"`
	Multiple int `json:"multiple,omitempty"`
}

// PhysicalDisk is a physical drive behind a controller.
type PhysicalDisk struct {
	ID DiskID `json:"id"`
	// Location is what people and the maker's labels call its place: enclosure and slot, or port, box and bay.
	Location string `json:"location"`
	Vendor   string `json:"vendor,omitempty"`
	Model    string `json:"model,omitempty"`
	Firmware string `json:"firmware,omitempty"`
	Serial   string `json:"serial,omitempty"`
	WWN      string `json:"wwn,omitempty"`
	// Bytes is the usable size. Rounded: the tool only tells a few digits of it.
	Bytes          int64 `json:"bytes"`
	Rounded        bool  `json:"rounded,omitempty"`
	LogicalSector  int   `json:"logical_sector,omitempty"`
	PhysicalSector int   `json:"physical_sector,omitempty"`

	Medium hw.Medium `json:"medium,omitempty"`
	Bus    hw.Bus    `json:"bus,omitempty"`
	State  DiskState `json:"state"`
	// SMARTAlert: the drive says that it will fail. Nil: unknown.
	SMARTAlert *bool `json:"smart_alert,omitempty"`
	// MediaErrors and OtherErrors that the controller has counted. Nil: unknown.
	MediaErrors *int64 `json:"media_errors,omitempty"`
	OtherErrors *int64 `json:"other_errors,omitempty"`
	// Foreign: it carries a configuration of another controller. Locked: it cannot be read without a key.
	Foreign bool `json:"foreign,omitempty"`
	Locked  bool `json:"locked,omitempty"`
	// Volumes that it is a member of, and SpareFor those that it waits for; a spare with none is global.
	Volumes  []VolumeID `json:"volumes,omitempty"`
	SpareFor []VolumeID `json:"spare_for,omitempty"`
	// Progress of a rebuild, erase or copyback, 0 to 1; nil if there is none.
	Progress *Progress `json:"progress,omitempty"`
	// Path is the operating system's device if it sees the drive itself (JBOD, HBA), such as /dev/sda.
	Path string `json:"path,omitempty"`
}

// VirtualDisk is a logical drive.
type VirtualDisk struct {
	ID VolumeID `json:"id"`
	// WWN is what the operating system finds it by, in the form of hw.Disk (naa.…, uuid.…). It is the one name that no
	// other volume ever has.
	WWN  string `json:"wwn,omitempty"`
	Name string `json:"name,omitempty"`
	// Group is the tool's name of the set of drives that the volume is on, maybe with others beside it: drive group 0,
	// array A. Spares are given to groups. Names move to other groups when one is deleted.
	Group string      `json:"group,omitempty"`
	Level LevelState  `json:"level"`
	Spans int         `json:"spans,omitempty"`
	Bytes int64       `json:"bytes"`
	State VolumeState `json:"state"`
	// Rounded: the tool only tells a few digits of Bytes.
	Rounded bool    `json:"rounded,omitempty"`
	Strip   hw.Size `json:"strip,omitempty"`
	// Policies that were asked for, and those in force: a write-back cache whose battery is empty writes through.
	Policies Policies `json:"policies,omitzero"`
	Current  Policies `json:"current_policies,omitzero"`
	// Progress of an initialization, rebuild, migration or check; nil if there is none.
	Progress *Progress `json:"progress,omitempty"`
	// Members are drives by [DiskID]. Missing counts members that are not there.
	Members []DiskID `json:"members"`
	Missing int      `json:"missing,omitempty"`
	Spares  []DiskID `json:"spares,omitempty"`
	// Parts are the operating system's devices that a volume of its own making is made of, spares and failed ones as well:
	// drives, or partitions of them. Controllers have none.
	Parts []string `json:"parts,omitempty"`
	// Boot: the firmware starts from it. Nil: unknown.
	Boot *bool `json:"boot,omitempty"`
	// Path is the operating system's device, such as /dev/sda; it may appear seconds after the volume.
	Path string `json:"path,omitempty"`
}

// Policies of a volume.
type Policies struct {
	Read      ReadPolicy  `json:"read,omitempty"`
	Write     WritePolicy `json:"write,omitempty"`
	IO        IOPolicy    `json:"io,omitempty"`
	DiskCache DiskCache   `json:"disk_cache,omitempty"`
}

// Foreign is a configuration that another controller wrote.
type Foreign struct {
	// ID is the tool's name for it; empty if it has none.
	ID    string     `json:"id,omitempty"`
	Level LevelState `json:"level,omitzero"`
	Bytes int64      `json:"bytes,omitempty"`
	// Disks that carry it. Incomplete: some of its drives are not here.
	Disks      []DiskID `json:"disks,omitempty"`
	Incomplete bool     `json:"incomplete,omitempty"`
}

// Progress of something that takes long.
type Progress struct {
	// What is going on, in the tool's word.
	What string `json:"what"`
	// Fraction is 0 to 1.
	Fraction float64 `json:"fraction"`
}

// Identity is what a drive is recognised by after anything has happened: its serial number and WWN.
func (d *PhysicalDisk) Identity() DiskIdentity { return DiskIdentity{Serial: d.Serial, WWN: d.WWN} }

// DiskIdentity is a drive whatever slot it is in.
type DiskIdentity struct {
	Serial string `json:"serial,omitempty"`
	WWN    string `json:"wwn,omitempty"`
}

// Known reports whether there is anything to recognise the drive by.
func (i DiskIdentity) Known() bool {
	return strings.TrimSpace(i.Serial) != "" || strings.TrimSpace(i.WWN) != ""
}

// Word is a word of a tool, and what it means. Raw is kept, so that a word that nobody here has seen is told as it is.
type Word[T ~string] struct {
	// Is the meaning; empty: unknown.
	Is T
	// Raw is the tool's own word.
	Raw string
}

// IsZero reports whether there is no word at all.
func (w Word[T]) IsZero() bool { return w.Is == "" && w.Raw == "" }

func (w Word[T]) String() string {
	if w.Is == "" {
		if w.Raw == "" {
			return "unknown"
		}
		return "unknown (" + w.Raw + ")"
	}
	return string(w.Is)
}

type wordJSON struct {
	Is  string `json:"is,omitempty"`
	Raw string `json:"raw,omitempty"`
}

// MarshalJSON writes `{"is": …, "raw": …}`.
func (w Word[T]) MarshalJSON() ([]byte, error) { return json.Marshal(wordJSON{string(w.Is), w.Raw}) }

// UnmarshalJSON reads what MarshalJSON writes.
func (w *Word[T]) UnmarshalJSON(data []byte) error {
	var j wordJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	w.Is, w.Raw = T(j.Is), j.Raw
	return nil
}

type (
	// DiskState is what a drive is doing.
	DiskState = Word[DiskStateKind]
	// VolumeState is how a volume is.
	VolumeState = Word[VolumeStateKind]
	// LevelState is a volume's level.
	LevelState = Word[Level]
	// BatteryState is how the cache's battery or capacitor is.
	BatteryState = Word[BatteryStateKind]
)

// DiskStateKind is the meaning of a [DiskState].
type DiskStateKind string

const (
	// DiskReady can be put into a volume: unconfigured and good.
	DiskReady DiskStateKind = "ready"
	// DiskOnline is a working member of a volume.
	DiskOnline     DiskStateKind = "online"
	DiskOffline    DiskStateKind = "offline"
	DiskFailed     DiskStateKind = "failed"
	DiskMissing    DiskStateKind = "missing"
	DiskRebuilding DiskStateKind = "rebuilding"
	// DiskSpare waits; DiskJBOD is shown to the operating system as it is.
	DiskSpare DiskStateKind = "spare"
	DiskJBOD  DiskStateKind = "jbod"
	// DiskBad is unconfigured, and the controller does not trust it.
	DiskBad     DiskStateKind = "bad"
	DiskErasing DiskStateKind = "erasing"
)

// VolumeStateKind is the meaning of a [VolumeState].
type VolumeStateKind string

const (
	VolumeOptimal VolumeStateKind = "optimal"
	// VolumeDegraded lives with less redundancy than it should have; VolumePartial (RAID 6 and 60) has some left.
	VolumeDegraded VolumeStateKind = "degraded"
	VolumePartial  VolumeStateKind = "partially-degraded"
	VolumeOffline  VolumeStateKind = "offline"
	VolumeFailed   VolumeStateKind = "failed"
	// VolumeInitializing, VolumeRebuilding and VolumeMigrating work beside.
	VolumeInitializing VolumeStateKind = "initializing"
	VolumeRebuilding   VolumeStateKind = "rebuilding"
	VolumeMigrating    VolumeStateKind = "migrating"
)

// BatteryStateKind is the meaning of a [BatteryState].
type BatteryStateKind string

const (
	BatteryGood     BatteryStateKind = "good"
	BatteryCharging BatteryStateKind = "charging"
	BatteryFailed   BatteryStateKind = "failed"
	BatteryMissing  BatteryStateKind = "missing"
)
