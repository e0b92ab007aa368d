package hw

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// A Model says what a machine must look like. It is mostly generated from a known-good machine ([Generate]) and then
// edited; README.md beside this file is its manual.
//
// The world of a model is closed, section by section. A section that is absent (nil) is not looked at, so that a model
// may be written for the disks alone. A list that is present is complete: a part that is missing differs, a part too
// many differs, and an empty list says that there may be none. Within an entry, a field that is absent is not looked
// at. What is unknown of a machine equals nothing, whatever is wanted, `ignore` aside.
//
// Parts of a list are matched by assignment: as many as possible get an entry, and among all ways to do that the one
// with the fewest differences counts, those that fail first. The order of parts and of entries never matters. Volumes
// of RAID controllers are no disks; empty sockets, slots and bays are no parts.
type Model struct {
	System      *SystemModel      `json:"system,omitempty" yaml:"system,omitempty"`
	Board       *BoardModel       `json:"board,omitempty" yaml:"board,omitempty"`
	BIOS        *BIOSModel        `json:"bios,omitempty" yaml:"bios,omitempty"`
	Chassis     *ChassisModel     `json:"chassis,omitempty" yaml:"chassis,omitempty"`
	CPUs        []CPUModel        `json:"cpus,omitzero" yaml:"cpus,omitzero"`
	Memory      *MemoryModel      `json:"memory,omitempty" yaml:"memory,omitempty"`
	Controllers []ControllerModel `json:"controllers,omitzero" yaml:"controllers,omitzero"`
	Disks       []DiskModel       `json:"disks,omitzero" yaml:"disks,omitzero"`
	NICs        []NICModel        `json:"nics,omitzero" yaml:"nics,omitzero"`
	GPUs        []GPUModel        `json:"gpus,omitzero" yaml:"gpus,omitzero"`
	PSUs        []PSUModel        `json:"psus,omitzero" yaml:"psus,omitzero"`
	BMC         *BMCModel         `json:"bmc,omitempty" yaml:"bmc,omitempty"`
	// Health is looked at if it is there, be it empty; also that of parts whose own section is absent.
	Health *HealthModel `json:"health,omitempty" yaml:"health,omitempty"`
	// Severity of the differences of a section, by its name, where neither the field nor the entry has its own. Absent:
	// fail.
	Severity map[string]Severity `json:"severity,omitempty" yaml:"severity,omitempty"`
}

// Entry is what the entries of all lists have in common.
type Entry struct {
	// Count of parts that this entry stands for. Absent: one, or one for each of Slots.
	Count *Count `json:"count,omitempty" yaml:"count,omitempty"`
	// Slot is where all parts of the entry must be, by the board's name. A DIMM slot whose name is not unique is named
	// with its bank: `Bank 0/DIMM 1`.
	Slot Text `json:"slot,omitempty" yaml:"slot,omitempty"`
	// Slots must hold one part each.
	Slots []Text `json:"slots,omitempty" yaml:"slots,flow,omitempty"`
	// Severity of the differences of these parts, where the field has none.
	Severity Severity `json:"severity,omitempty" yaml:"severity,omitempty"`
}

// SystemModel is the wanted [System].
type SystemModel struct {
	Vendor  *WantText `json:"vendor,omitempty" yaml:"vendor,omitempty"`
	Product *WantText `json:"product,omitempty" yaml:"product,omitempty"`
	Version *WantText `json:"version,omitempty" yaml:"version,omitempty"`
	SKU     *WantText `json:"sku,omitempty" yaml:"sku,omitempty"`
	Family  *WantText `json:"family,omitempty" yaml:"family,omitempty"`
}

// BoardModel is the wanted [Board].
type BoardModel struct {
	Vendor  *WantText `json:"vendor,omitempty" yaml:"vendor,omitempty"`
	Product *WantText `json:"product,omitempty" yaml:"product,omitempty"`
	Version *WantText `json:"version,omitempty" yaml:"version,omitempty"`
}

// BIOSModel is the wanted [BIOS].
type BIOSModel struct {
	Vendor   *WantText `json:"vendor,omitempty" yaml:"vendor,omitempty"`
	Version  *WantText `json:"version,omitempty" yaml:"version,omitempty"`
	Date     *WantText `json:"date,omitempty" yaml:"date,omitempty"`
	Revision *WantText `json:"revision,omitempty" yaml:"revision,omitempty"`
	UEFI     *WantBool `json:"uefi,omitempty" yaml:"uefi,omitempty"`
}

// ChassisModel is the wanted [Chassis].
type ChassisModel struct {
	Vendor  *WantText `json:"vendor,omitempty" yaml:"vendor,omitempty"`
	Type    *WantText `json:"type,omitempty" yaml:"type,omitempty"`
	Version *WantText `json:"version,omitempty" yaml:"version,omitempty"`
	SKU     *WantText `json:"sku,omitempty" yaml:"sku,omitempty"`
}

// CPUModel is one or several wanted [CPU]s. Their slots are the sockets.
type CPUModel struct {
	Entry       `yaml:",inline"`
	Vendor      *WantText   `json:"vendor,omitempty" yaml:"vendor,omitempty"`
	Model       *WantText   `json:"model,omitempty" yaml:"model,omitempty"`
	Family      *WantNumber `json:"family,omitempty" yaml:"family,omitempty"`
	ModelNumber *WantNumber `json:"model_number,omitempty" yaml:"model_number,omitempty"`
	Stepping    *WantNumber `json:"stepping,omitempty" yaml:"stepping,omitempty"`
	Microcode   *WantText   `json:"microcode,omitempty" yaml:"microcode,omitempty"`
	Cores       *WantNumber `json:"cores,omitempty" yaml:"cores,omitempty"`
	Threads     *WantNumber `json:"threads,omitempty" yaml:"threads,omitempty"`
}

// MemoryModel is the wanted [Memory].
type MemoryModel struct {
	ErrorCorrection *WantText   `json:"error_correction,omitempty" yaml:"error_correction,omitempty"`
	DIMMs           []DIMMModel `json:"dimms,omitzero" yaml:"dimms,omitzero"`
}

// DIMMModel is one or several wanted [DIMM]s.
type DIMMModel struct {
	Entry         `yaml:",inline"`
	Bytes         *WantSize   `json:"bytes,omitempty" yaml:"bytes,omitempty"`
	Type          *WantText   `json:"type,omitempty" yaml:"type,omitempty"`
	FormFactor    *WantText   `json:"form_factor,omitempty" yaml:"form_factor,omitempty"`
	Manufacturer  *WantText   `json:"manufacturer,omitempty" yaml:"manufacturer,omitempty"`
	PartNumber    *WantText   `json:"part_number,omitempty" yaml:"part_number,omitempty"`
	Rank          *WantNumber `json:"rank,omitempty" yaml:"rank,omitempty"`
	ECC           *WantBool   `json:"ecc,omitempty" yaml:"ecc,omitempty"`
	RatedMTs      *WantNumber `json:"rated_mts,omitempty" yaml:"rated_mts,omitempty"`
	ConfiguredMTs *WantNumber `json:"configured_mts,omitempty" yaml:"configured_mts,omitempty"`
}

// LinkModel is the wanted [PCILink]. Width and speed that are given here are not held against what the function could
// do.
type LinkModel struct {
	Speed    *WantNumber `json:"speed_gts,omitempty" yaml:"speed_gts,omitempty"`
	Width    *WantNumber `json:"width,omitempty" yaml:"width,omitempty"`
	MaxSpeed *WantNumber `json:"max_speed_gts,omitempty" yaml:"max_speed_gts,omitempty"`
	MaxWidth *WantNumber `json:"max_width,omitempty" yaml:"max_width,omitempty"`
}

// FunctionModel is what is wanted of a [PCIDevice].
type FunctionModel struct {
	Class     *WantText  `json:"class,omitempty" yaml:"class,omitempty"`
	Vendor    *WantText  `json:"vendor,omitempty" yaml:"vendor,omitempty"`
	Device    *WantText  `json:"device,omitempty" yaml:"device,omitempty"`
	SubVendor *WantText  `json:"subvendor,omitempty" yaml:"subvendor,omitempty"`
	SubDevice *WantText  `json:"subdevice,omitempty" yaml:"subdevice,omitempty"`
	Revision  *WantText  `json:"revision,omitempty" yaml:"revision,omitempty"`
	Driver    *WantText  `json:"driver,omitempty" yaml:"driver,omitempty"`
	Firmware  *WantText  `json:"firmware,omitempty" yaml:"firmware,omitempty"`
	Link      *LinkModel `json:"link,omitempty" yaml:"link,omitempty"`
}

// ControllerModel is one or several wanted storage controllers.
type ControllerModel struct {
	Entry         `yaml:",inline"`
	FunctionModel `yaml:",inline"`
}

// GPUModel is one or several wanted [Facts.GPUs].
type GPUModel struct {
	Entry         `yaml:",inline"`
	FunctionModel `yaml:",inline"`
}

// DiskModel is one or several wanted [Disk]s that are no RAID volumes. The facts do not know their bays, so Slot and
// Slots cannot be given.
type DiskModel struct {
	Entry          `yaml:",inline"`
	Bus            *WantText   `json:"bus,omitempty" yaml:"bus,omitempty"`
	Medium         *WantText   `json:"medium,omitempty" yaml:"medium,omitempty"`
	Vendor         *WantText   `json:"vendor,omitempty" yaml:"vendor,omitempty"`
	Model          *WantText   `json:"model,omitempty" yaml:"model,omitempty"`
	Firmware       *WantText   `json:"firmware,omitempty" yaml:"firmware,omitempty"`
	Bytes          *WantSize   `json:"bytes,omitempty" yaml:"bytes,omitempty"`
	LogicalSector  *WantNumber `json:"logical_sector,omitempty" yaml:"logical_sector,omitempty"`
	PhysicalSector *WantNumber `json:"physical_sector,omitempty" yaml:"physical_sector,omitempty"`
	Removable      *WantBool   `json:"removable,omitempty" yaml:"removable,omitempty"`
	ReadOnly       *WantBool   `json:"read_only,omitempty" yaml:"read_only,omitempty"`
}

// NICModel is one or several wanted [NIC]s. Slot is that of the PCI function behind them.
type NICModel struct {
	Entry     `yaml:",inline"`
	Vendor    *WantText `json:"vendor,omitempty" yaml:"vendor,omitempty"`
	Device    *WantText `json:"device,omitempty" yaml:"device,omitempty"`
	SubVendor *WantText `json:"subvendor,omitempty" yaml:"subvendor,omitempty"`
	SubDevice *WantText `json:"subdevice,omitempty" yaml:"subdevice,omitempty"`
	Driver    *WantText `json:"driver,omitempty" yaml:"driver,omitempty"`
	Firmware  *WantText `json:"firmware,omitempty" yaml:"firmware,omitempty"`
	// LinkUp and SpeedMbps that are given here take the place of the checks of [HealthModel]. The speed of a link that
	// is down is no difference of its own.
	LinkUp       *WantBool   `json:"link_up,omitempty" yaml:"link_up,omitempty"`
	SpeedMbps    *WantNumber `json:"speed_mbps,omitempty" yaml:"speed_mbps,omitempty"`
	MaxSpeedMbps *WantNumber `json:"max_speed_mbps,omitempty" yaml:"max_speed_mbps,omitempty"`
	// Link is the PCI Express link of the function behind the interface.
	Link *LinkModel `json:"link,omitempty" yaml:"link,omitempty"`
}

// PSUModel is one or several wanted [PSU]s. Status and Plugged that are given here take the place of the check of
// [HealthModel].
type PSUModel struct {
	Entry        `yaml:",inline"`
	Manufacturer *WantText   `json:"manufacturer,omitempty" yaml:"manufacturer,omitempty"`
	Model        *WantText   `json:"model,omitempty" yaml:"model,omitempty"`
	Revision     *WantText   `json:"revision,omitempty" yaml:"revision,omitempty"`
	MaxWatts     *WantNumber `json:"max_watts,omitempty" yaml:"max_watts,omitempty"`
	Status       *WantText   `json:"status,omitempty" yaml:"status,omitempty"`
	Plugged      *WantBool   `json:"plugged,omitempty" yaml:"plugged,omitempty"`
}

// BMCModel is the wanted [BMC].
type BMCModel struct {
	Present        *WantBool `json:"present,omitempty" yaml:"present,omitempty"`
	Interface      *WantText `json:"interface,omitempty" yaml:"interface,omitempty"`
	IPMI           *WantText `json:"ipmi,omitempty" yaml:"ipmi,omitempty"`
	Firmware       *WantText `json:"firmware,omitempty" yaml:"firmware,omitempty"`
	ManufacturerID *WantText `json:"manufacturer_id,omitempty" yaml:"manufacturer_id,omitempty"`
	ProductID      *WantText `json:"product_id,omitempty" yaml:"product_id,omitempty"`
}

// Severity of a [Difference].
type Severity string

const (
	Fail Severity = "fail"
	Warn Severity = "warn"
	Info Severity = "info"
)

// Validate reports a word that is no severity.
func (s Severity) Validate() error {
	switch s {
	case "", Fail, Warn, Info:
		return nil
	}
	return fmt.Errorf("severity %q: want fail, warn or info", string(s))
}

// A Difference is one way in which a machine is not what its model says.
type Difference struct {
	// Path of the field by its JSON names, such as `memory/dimms[A3]/part_number`; of the part alone where one is
	// missing or unexpected, and of the list where nobody can tell which place is meant.
	Path string `json:"path"`
	// Slot is what people call the place of the part, Serial the serial number of the part that is there.
	Slot   string `json:"slot,omitempty"`
	Serial string `json:"serial,omitempty"`
	Want   string `json:"want"`
	Got    string `json:"got"`
	// Severity is fail, warn or info.
	Severity Severity `json:"severity"`
	// Text is the whole as a sentence: one line, printable.
	Text string `json:"text"`
}

func (d Difference) String() string { return d.Text }

// MaxParts is how many parts of one sort a machine or a model may have. A longer list is not compared, and that is a
// difference.
const MaxParts = 1024

// sections are the names that [Model.Severity] knows.
var sections = []string{"system", "board", "bios", "chassis", "cpus", "memory", "controllers", "disks", "nics", "gpus",
	"psus", "bmc", "health"}

// severity of a section, where nothing nearer has its own.
func (m *Model) severity(section string) Severity {
	if s := m.Severity[section]; s != "" {
		return s
	}
	return Fail
}

// Validate reports everything that is wrong with the model itself, whatever machine it is compared with. Each error
// starts with the path of the field, such as `disks[0].bytes`.
func (m *Model) Validate() error {
	if m == nil {
		return nil
	}
	v := validation{}
	validateOne(&v, systemFields, "system", m.System)
	validateOne(&v, boardFields, "board", m.Board)
	validateOne(&v, biosFields, "bios", m.BIOS)
	validateOne(&v, chassisFields, "chassis", m.Chassis)
	validateAll(&v, cpuSort, "cpus", m.CPUs)
	validateOne(&v, memoryFields, "memory", m.Memory)
	if m.Memory != nil {
		validateAll(&v, dimmSort, "memory.dimms", m.Memory.DIMMs)
	}
	validateAll(&v, controllerSort, "controllers", m.Controllers)
	validateAll(&v, diskSort, "disks", m.Disks)
	validateAll(&v, nicSort, "nics", m.NICs)
	validateAll(&v, gpuSort, "gpus", m.GPUs)
	validateAll(&v, psuSort, "psus", m.PSUs)
	validateOne(&v, bmcFields, "bmc", m.BMC)
	if m.Health != nil {
		m.Health.validate(&v)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Severity)) {
		if !slices.Contains(sections, name) {
			v.add("severity."+printable(name), fmt.Errorf("no section has this name; want one of %s",
				strings.Join(sections, ", ")))
		}
		v.add("severity."+printable(name), m.Severity[name].Validate())
		if m.Severity[name] == "" {
			v.add("severity."+printable(name), errors.New("empty; want fail, warn or info"))
		}
	}
	return errors.Join(v.errs...)
}

// UnmarshalJSON refuses keys that it does not know and models that [Model.Validate] refuses.
func (m *Model) UnmarshalJSON(data []byte) error {
	type plain Model // without this method
	var model plain
	if err := strictJSON(data, &model); err != nil {
		return fmt.Errorf("hardware model: %w", err)
	}
	if err := (*Model)(&model).Validate(); err != nil {
		return fmt.Errorf("hardware model: %w", err)
	}
	*m = Model(model)
	return nil
}

// strictJSON decodes one document without unknown keys.
func strictJSON(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the document")
	}
	return nil
}

// validation collects errors with the paths of their fields.
type validation struct{ errs []error }

func (v *validation) add(path string, err error) {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range many.Unwrap() {
			v.add(path, err)
		}
		return
	}
	if err != nil {
		v.errs = append(v.errs, fmt.Errorf("%s: %w", path, err))
	}
}

func validateOne[M, P any](v *validation, fields []partField[M, P], path string, m *M) {
	if m == nil {
		return
	}
	for _, f := range fields {
		v.add(path+"."+strings.ReplaceAll(f.name, "/", "."), f.validate(m))
	}
}

func validateAll[M, P any](v *validation, s *sortOfPart[M, P], path string, list []M) {
	if len(list) > MaxParts {
		v.add(path, fmt.Errorf("%d entries; want at most %d", len(list), MaxParts))
		return
	}
	most := 0
	for i := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		validateOne(v, s.fields, at, &list[i])
		e := s.entry(&list[i])
		v.add(at+".count", e.Count.Validate())
		v.add(at+".severity", e.Severity.Validate())
		if !s.hasSlots && (e.Slot != "" || len(e.Slots) > 0) {
			key := "slot"
			if e.Slot == "" {
				key = "slots"
			}
			v.add(at+"."+key, fmt.Errorf("nobody knows in which bay a %s is; leave it out", s.noun))
		}
		if e.Slot != "" && len(e.Slots) > 0 {
			v.add(at+".slots", errors.New("slot is given too; want one of the two"))
		}
		seen := map[string]bool{}
		for j, slot := range e.Slots {
			slot := printable(string(slot))
			switch {
			case slot == "":
				v.add(fmt.Sprintf("%s.slots[%d]", at, j), errors.New("blank; want the name of a slot"))
			case seen[slot]:
				v.add(fmt.Sprintf("%s.slots[%d]", at, j), fmt.Errorf("%s is named twice", slot))
			}
			seen[slot] = true
		}
		least, upTo := e.Count.bounds()
		if len(e.Slots) > 0 {
			if e.Count != nil && (least != len(e.Slots) || upTo != len(e.Slots)) {
				v.add(at+".count", fmt.Errorf("is not the number of slots, %d; leave it out", len(e.Slots)))
			}
			least = len(e.Slots)
		}
		most = min(most, MaxParts) + max(0, min(least, MaxParts+1))
	}
	if most > MaxParts {
		v.add(path, fmt.Errorf("the entries want more than %d parts", MaxParts))
	}
}
