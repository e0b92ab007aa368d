package raid

import "github.com/project-loda/loda/hw"

// StepKind names what a [Step] does.
type StepKind string

const (
	// StepMode switches the controller's mode: Step.Mode.
	StepMode StepKind = "set-mode"
	// StepDiscardCache throws unwritten data of volumes that are gone away.
	StepDiscardCache StepKind = "discard-cache"
	// StepClearForeign and StepImportForeign are about all foreign configurations of the controller.
	StepClearForeign  StepKind = "clear-foreign"
	StepImportForeign StepKind = "import-foreign"
	// StepDeleteVolume deletes Step.Volume.
	StepDeleteVolume StepKind = "delete-volume"
	// StepRemoveSpare makes spares ready drives, StepAddSpare the other way round: Step.Disks, for Step.SpareFor.
	StepRemoveSpare StepKind = "remove-spare"
	StepAddSpare    StepKind = "add-spare"
	// StepReady makes drives ready for a volume (from JBOD, bad or offline); StepJBOD shows them to the operating system.
	StepReady StepKind = "ready-disks"
	StepJBOD  StepKind = "jbod-disks"
	// StepCreateVolume makes Step.Create on Step.Disks, in that order.
	StepCreateVolume StepKind = "create-volume"
	// StepPolicies sets Step.Policies on Step.Volume.
	StepPolicies StepKind = "set-policies"
	// StepBoot makes Step.Volume the one that the firmware starts from.
	StepBoot StepKind = "set-boot-volume"
	// StepInitialize starts Step.Initialize on Step.Volume.
	StepInitialize StepKind = "initialize"
)

// A Step is one change of one controller. It says everything that a driver needs, and everything that a person wants to
// know before it is done.
type Step struct {
	Kind       StepKind     `json:"kind"`
	Controller ControllerID `json:"controller"`
	// Volume that the step is about, as it was seen: its ID, and the WWN and members that prove it. A volume that is made
	// by an earlier step of the plan has only a Name.
	Volume *VolumeRef `json:"volume,omitempty"`
	// Disks that the step is about, as they were seen.
	Disks []DiskRef `json:"disks,omitempty"`
	// Create is the volume to make.
	Create *NewVolume `json:"create,omitempty"`
	// SpareFor are the volumes of a dedicated spare, empty for a global one.
	SpareFor   []VolumeRef    `json:"spare_for,omitempty"`
	Mode       Mode           `json:"mode,omitempty"`
	Policies   Policies       `json:"policies,omitzero"`
	Initialize Initialization `json:"initialize,omitempty"`

	// Reason says why, in a sentence: which line of the layout wants it, and what is there instead.
	Reason string `json:"reason"`
	// Destroys lists what is lost by it, in words; empty: nothing is.
	Destroys []string `json:"destroys,omitempty"`
	// Needs names what a person must have allowed for it; see Guard.
	Needs []Permission `json:"needs,omitempty"`
	// Reboot: it takes effect at the next start of the machine, and nothing after it can be done before.
	Reboot bool `json:"reboot,omitempty"`
}

// Summary is a step in a few words: what is done, to what, with which drives.
func (s *Step) Summary() string {
	text := string(s.Kind)
	if s.Create != nil {
		text += " " + s.Create.Name
	}
	if s.Volume != nil {
		text += " of " + s.Volume.String()
	}
	if s.Mode != "" {
		text += " " + string(s.Mode)
	}
	var where []string
	for _, d := range s.Disks {
		where = append(where, d.Location)
	}
	if len(where) > 0 {
		text += " with drives " + enumerate(where, 16)
	}
	return text
}

// VolumeRef is a volume as a plan saw it.
type VolumeRef struct {
	ID   VolumeID `json:"id,omitempty"`
	WWN  string   `json:"wwn,omitempty"`
	Name string   `json:"name,omitempty"`
	// Level, Bytes and Members are the proof where there is no WWN.
	Level   Level          `json:"level,omitempty"`
	Bytes   int64          `json:"bytes,omitempty"`
	Members []DiskIdentity `json:"members,omitempty"`
}

// DiskRef is a drive as a plan saw it.
type DiskRef struct {
	ID       DiskID `json:"id"`
	Location string `json:"location"`
	DiskIdentity
}

// NewVolume is a volume to be made. Every number is decided: drivers choose nothing.
type NewVolume struct {
	Name  string `json:"name,omitempty"`
	Level Level  `json:"level"`
	Spans int    `json:"spans,omitempty"`
	// Bytes of the volume; 0: all that its drives have left.
	Bytes      int64          `json:"bytes,omitempty"`
	Strip      hw.Size        `json:"strip,omitempty"`
	Policies   Policies       `json:"policies,omitzero"`
	Initialize Initialization `json:"initialize,omitempty"`
	// Boot: the firmware is going to start from it. Controllers are told afterwards ([StepBoot]); the kernel's RAID has to
	// know beforehand, since it decides where on the drives it keeps its own records.
	Boot bool `json:"boot,omitempty"`
}

// Permission is what a person or a profile must have named before a step may be done.
type Permission string

const (
	// AllowDestroy: data on drives or volumes is lost.
	AllowDestroy Permission = "destroy"
	// AllowForeign: a foreign configuration is cleared, or drives that carry one are used.
	AllowForeign Permission = "foreign"
	// AllowDegraded: a volume that is not whole is deleted, or lives on with a changed controller.
	AllowDegraded Permission = "degraded"
	// AllowPreservedCache: unwritten data is thrown away.
	AllowPreservedCache Permission = "preserved-cache"
	// AllowMounted: a disk that this system has mounted, or runs from, is touched.
	AllowMounted Permission = "mounted"
)
