package hw

import (
	"encoding/json"
	"fmt"
)

// Version of the facts document that this package writes.
const Version = 1

// Facts is what is known of a machine. Lists are in a fixed order: CPUs by package, DIMMs as the firmware lists them,
// disks and NICs by persistent path, PCI functions by address.
type Facts struct {
	// Version is 1.
	Version int `json:"version"`

	System  System  `json:"system"`
	Board   Board   `json:"board"`
	BIOS    BIOS    `json:"bios"`
	Chassis Chassis `json:"chassis"`
	CPUs    []CPU   `json:"cpus"`
	Memory  Memory  `json:"memory"`
	// Disks are what an operating system can be put on: whole disks and the volumes of RAID controllers. Never md, dm,
	// loop, RAM and network block devices, CD drives or floppies.
	Disks []Disk `json:"disks"`
	// NICs are the physical network interfaces: no bridges, bonds, VLANs, loopbacks.
	NICs []NIC `json:"nics"`
	// Controllers are the PCI functions of class 01 (mass storage): RAID controllers, HBAs, AHCI, NVMe.
	Controllers []PCIDevice `json:"controllers"`
	// PCI has every PCI function, the controllers and GPUs among them.
	PCI []PCIDevice `json:"pci"`
	BMC BMC         `json:"bmc"`
	// PSUs are the power supplies that the firmware tells of, empty bays too.
	PSUs []PSU `json:"psus"`

	// Unknown lists what could not be learnt about whole sections, such as `memory/dimms`. What could not be learnt of
	// one part is on that part; [Facts.Unknowns] has both.
	Unknown []Unknown `json:"unknown,omitempty"`
}

// Unknown is a field that could not be learnt, and why.
type Unknown struct {
	// Path of the field by its JSON names, relative to the object that holds this entry: `serial` on a disk,
	// `memory/dimms` on the document.
	Path string `json:"path"`
	// Reason is a sentence for people: which source said what.
	Reason string `json:"reason"`
}

// System is the machine as its maker sells it (SMBIOS type 1). The values are the firmware's own: whether a serial
// number such as `To be filled by O.E.M.` identifies anything is for the reader to judge.
type System struct {
	Vendor  string `json:"vendor,omitempty"`
	Product string `json:"product,omitempty"`
	Version string `json:"version,omitempty"`
	SKU     string `json:"sku,omitempty"`
	Family  string `json:"family,omitempty"`
	Serial  string `json:"serial,omitempty"`
	// UUID in the form that Linux and iPXE show, lower case. Absent when the firmware has none (all zero, all ones).
	UUID string `json:"uuid,omitempty"`
	// AssetTag is the chassis' (SMBIOS type 3), or else the board's: the system itself has none.
	AssetTag string    `json:"asset_tag,omitempty"`
	Unknown  []Unknown `json:"unknown,omitempty"`
}

// Board is the main board (SMBIOS type 2).
type Board struct {
	Vendor   string    `json:"vendor,omitempty"`
	Product  string    `json:"product,omitempty"`
	Version  string    `json:"version,omitempty"`
	Serial   string    `json:"serial,omitempty"`
	AssetTag string    `json:"asset_tag,omitempty"`
	Unknown  []Unknown `json:"unknown,omitempty"`
}

// BIOS is the system firmware (SMBIOS type 0).
type BIOS struct {
	Vendor  string `json:"vendor,omitempty"`
	Version string `json:"version,omitempty"`
	// Date as the firmware writes it, mostly MM/DD/YYYY.
	Date string `json:"date,omitempty"`
	// Revision is the system BIOS major.minor release, if the maker uses it.
	Revision string `json:"revision,omitempty"`
	// UEFI says that this very boot went through UEFI (the kernel has EFI runtime data), not what the firmware could do.
	UEFI *bool `json:"uefi,omitempty"`
	// SMBIOS is the version of the tables, such as 3.3.
	SMBIOS  string    `json:"smbios,omitempty"`
	Unknown []Unknown `json:"unknown,omitempty"`
}

// Chassis is the enclosure (SMBIOS type 3).
type Chassis struct {
	Vendor string `json:"vendor,omitempty"`
	// Type in the words of the SMBIOS specification, such as `Rack Mount Chassis`.
	Type     string    `json:"type,omitempty"`
	Version  string    `json:"version,omitempty"`
	Serial   string    `json:"serial,omitempty"`
	SKU      string    `json:"sku,omitempty"`
	AssetTag string    `json:"asset_tag,omitempty"`
	Unknown  []Unknown `json:"unknown,omitempty"`
}

// CPU is one processor package, or an empty socket.
type CPU struct {
	// Socket is the board's name for it (SMBIOS type 4), such as `CPU1`.
	Socket string `json:"socket,omitempty"`
	// Empty sockets have nothing but their name.
	Empty bool `json:"empty,omitempty"`
	// Vendor as CPUID says it, such as GenuineIntel.
	Vendor string `json:"vendor,omitempty"`
	Model  string `json:"model,omitempty"`
	// Family, ModelNumber and Stepping as CPUID counts them.
	Family      *int `json:"family,omitempty"`
	ModelNumber *int `json:"model_number,omitempty"`
	Stepping    *int `json:"stepping,omitempty"`
	// Microcode is the revision that runs now, as the kernel writes it, such as 0x2b000571.
	Microcode string `json:"microcode,omitempty"`
	// Cores and Threads of this package that the kernel runs.
	Cores   int       `json:"cores,omitempty"`
	Threads int       `json:"threads,omitempty"`
	Serial  string    `json:"serial,omitempty"`
	Unknown []Unknown `json:"unknown,omitempty"`
}

// Memory is what is plugged in and what the kernel has of it.
type Memory struct {
	// InstalledBytes is the sum of the modules; unknown if the size of one of them is.
	InstalledBytes int64 `json:"installed_bytes,omitempty"`
	// UsableBytes is the kernel's MemTotal: always a little less than what is installed.
	UsableBytes int64 `json:"usable_bytes,omitempty"`
	// CorrectedErrors and UncorrectedErrors are what the kernel's EDAC drivers have counted since it booted, of all
	// memory controllers together; unknown where no driver counts.
	CorrectedErrors   *int64 `json:"corrected_errors,omitempty"`
	UncorrectedErrors *int64 `json:"uncorrected_errors,omitempty"`
	// ErrorCorrection of the memory array in the words of the SMBIOS specification, such as `Multi-bit ECC`.
	ErrorCorrection string `json:"error_correction,omitempty"`
	// DIMMs has every slot, empty ones too.
	DIMMs   []DIMM    `json:"dimms"`
	Unknown []Unknown `json:"unknown,omitempty"`
}

// DIMM is one memory slot and what is in it (SMBIOS type 17).
type DIMM struct {
	// Slot is the board's name for it (device locator), such as `A3`; Bank is the bank locator. Boards exist where only
	// both together are unique.
	Slot string `json:"slot,omitempty"`
	Bank string `json:"bank,omitempty"`
	// Empty slots have nothing but Slot and Bank.
	Empty bool  `json:"empty,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`
	// Type such as DDR4, FormFactor such as DIMM.
	Type       string `json:"type,omitempty"`
	FormFactor string `json:"form_factor,omitempty"`
	// RatedMTs is what the module can do and ConfiguredMTs what it runs at, in MT/s.
	RatedMTs      int    `json:"rated_mts,omitempty"`
	ConfiguredMTs int    `json:"configured_mts,omitempty"`
	Manufacturer  string `json:"manufacturer,omitempty"`
	PartNumber    string `json:"part_number,omitempty"`
	Serial        string `json:"serial,omitempty"`
	// Rank is the number of ranks.
	Rank int `json:"rank,omitempty"`
	// ECC says that the module's total width is larger than its data width.
	ECC *bool `json:"ecc,omitempty"`
	// CorrectedErrors and UncorrectedErrors are what EDAC has counted for this module, where it can name it.
	CorrectedErrors   *int64    `json:"corrected_errors,omitempty"`
	UncorrectedErrors *int64    `json:"uncorrected_errors,omitempty"`
	Unknown           []Unknown `json:"unknown,omitempty"`
}

// PCIDevice is one PCI function. IDs are four lower-case hexadecimal digits.
type PCIDevice struct {
	// Address such as 0000:3b:00.0.
	Address string `json:"address"`
	// Class has six digits: class, subclass, programming interface, such as 010802 for NVMe.
	Class     string `json:"class,omitempty"`
	Vendor    string `json:"vendor,omitempty"`
	Device    string `json:"device,omitempty"`
	SubVendor string `json:"subvendor,omitempty"`
	SubDevice string `json:"subdevice,omitempty"`
	// Revision has two digits.
	Revision string `json:"revision,omitempty"`
	// Driver that is bound; absent if none is.
	Driver string `json:"driver,omitempty"`
	// Slot is the board's name for the slot that the function is in (SMBIOS type 9), such as `PCIe Slot 3`.
	Slot string `json:"slot,omitempty"`
	// Firmware of a storage controller, where its driver tells.
	Firmware string `json:"firmware,omitempty"`
	// Link is set for PCI Express functions that tell.
	Link    *PCILink  `json:"link,omitempty"`
	Unknown []Unknown `json:"unknown,omitempty"`
}

// PCILink is what a PCI Express link was negotiated to and what the function could do.
type PCILink struct {
	// Speed in GT/s, such as 8; Width in lanes.
	Speed    float64 `json:"speed_gts,omitempty"`
	MaxSpeed float64 `json:"max_speed_gts,omitempty"`
	Width    int     `json:"width,omitempty"`
	MaxWidth int     `json:"max_width,omitempty"`
}

// NIC is one physical network interface.
type NIC struct {
	// Name is the kernel's, for people: it may be another one after the next boot.
	Name string `json:"name"`
	// MAC is the permanent address, lower case with colons. CurrentMAC is what the interface uses now.
	MAC        string `json:"mac,omitempty"`
	CurrentMAC string `json:"current_mac,omitempty"`
	Driver     string `json:"driver,omitempty"`
	Firmware   string `json:"firmware,omitempty"`
	// LinkUp is the carrier; nil while the interface is down, since the kernel does not say then.
	LinkUp *bool `json:"link_up,omitempty"`
	// SpeedMbps is the negotiated speed in Mbit/s.
	SpeedMbps int `json:"speed_mbps,omitempty"`
	// MaxSpeedMbps is the fastest link mode that the port supports, in Mbit/s.
	MaxSpeedMbps int `json:"max_speed_mbps,omitempty"`
	// Path is the persistent path of the device, such as pci-0000:00:03.0. The ports of one device may share it.
	Path string `json:"path,omitempty"`
	// Port tells such ports apart.
	Port int `json:"port,omitempty"`
	// PCI address of the function behind it, absent for others (USB).
	PCI       string    `json:"pci,omitempty"`
	Vendor    string    `json:"vendor,omitempty"`
	Device    string    `json:"device,omitempty"`
	SubVendor string    `json:"subvendor,omitempty"`
	SubDevice string    `json:"subdevice,omitempty"`
	Unknown   []Unknown `json:"unknown,omitempty"`
}

// BMC is the management controller.
type BMC struct {
	// Present is true if the firmware tables or the kernel know one, false if the firmware tables were read and neither
	// does, nil if nobody can tell.
	Present *bool `json:"present,omitempty"`
	// Device is the kernel's node, such as /dev/ipmi0; absent if no driver is bound (ipmi_si, ipmi_devintf).
	Device string `json:"device,omitempty"`
	// Interface is KCS, SMIC, BT or SSIF (SMBIOS type 38).
	Interface string `json:"interface,omitempty"`
	// IPMI is the version of the specification, such as 2.0.
	IPMI string `json:"ipmi,omitempty"`
	// Firmware, ManufacturerID, ProductID and GUID come from the kernel's driver.
	Firmware       string    `json:"firmware,omitempty"`
	ManufacturerID string    `json:"manufacturer_id,omitempty"`
	ProductID      string    `json:"product_id,omitempty"`
	GUID           string    `json:"guid,omitempty"`
	Unknown        []Unknown `json:"unknown,omitempty"`
}

// PSU is one power supply, or an empty bay (SMBIOS type 39).
type PSU struct {
	// Slot is the board's name for the bay (location), such as `PSU1`.
	Slot string `json:"slot,omitempty"`
	// Empty bays have nothing but their name.
	Empty        bool   `json:"empty,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	// Model is the model part number.
	Model    string `json:"model,omitempty"`
	Serial   string `json:"serial,omitempty"`
	Revision string `json:"revision,omitempty"`
	// MaxWatts is the maximum power capacity.
	MaxWatts int `json:"max_watts,omitempty"`
	// Status in the words of the SMBIOS specification: `OK`, `Non-critical`, `Critical`, `Other`.
	Status string `json:"status,omitempty"`
	// Plugged says that the firmware sees mains on it.
	Plugged *bool     `json:"plugged,omitempty"`
	Unknown []Unknown `json:"unknown,omitempty"`
}

// DiskHealth is what a disk says of itself (SMART for ATA, the informational exceptions and error counter pages for
// SCSI, the SMART log for NVMe). Each field is nil if unknown.
type DiskHealth struct {
	// Passed is the disk's own verdict: false is an alert.
	Passed *bool `json:"passed,omitempty"`
	// WearPercent is how much of the rated endurance of an SSD is used up; it can be more than 100.
	WearPercent *int `json:"wear_percent,omitempty"`
	// MediaErrors counts what could not be read or written: media and data integrity errors of NVMe, uncorrected errors
	// of SCSI, reported uncorrectable errors (attribute 187) of ATA.
	MediaErrors *int64 `json:"media_errors,omitempty"`
	// Reallocated and Pending count sectors (ATA attributes 5 and 197; grown defects of SCSI are Reallocated).
	Reallocated *int64 `json:"reallocated,omitempty"`
	Pending     *int64 `json:"pending,omitempty"`
	// PowerOnHours and TemperatureC are for people; they are never compared.
	PowerOnHours *int64    `json:"power_on_hours,omitempty"`
	TemperatureC *int      `json:"temperature_c,omitempty"`
	Unknown      []Unknown `json:"unknown,omitempty"`
}

// Decode reads a facts document. It refuses versions that it does not know, and ignores fields that it does not know.
func Decode(data []byte) (*Facts, error) {
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("decode hardware facts: %w", err)
	}
	if head.Version == nil {
		return nil, fmt.Errorf("decode hardware facts: no version; is this a facts document?")
	}
	if *head.Version != Version {
		return nil,
			fmt.Errorf("decode hardware facts: version %d, this program knows version %d; use the matching release",
				*head.Version, Version)
	}
	f := new(Facts)
	if err := json.Unmarshal(data, f); err != nil {
		return nil, fmt.Errorf("decode hardware facts: %w", err)
	}
	return f, nil
}

// GPUs returns the display controllers (PCI class 03) and processing accelerators (class 12).
func (f *Facts) GPUs() []PCIDevice {
	var gpus []PCIDevice
	for _, d := range f.PCI {
		if len(d.Class) == 6 && (d.Class[:2] == "03" || d.Class[:2] == "12") {
			gpus = append(gpus, d)
		}
	}
	return gpus
}

// MACs returns the permanent addresses of all NICs, or where that is unknown the current one, in the order of the
// NICs, each once.
func (f *Facts) MACs() []string {
	var macs []string
	seen := map[string]bool{}
	for _, n := range f.NICs {
		mac := n.MAC
		if mac == "" {
			mac = n.CurrentMAC
		}
		if mac != "" && !seen[mac] {
			seen[mac] = true
			macs = append(macs, mac)
		}
	}
	return macs
}

// Unknowns returns everything that could not be learnt, with paths from the top of the document. Parts of a list are
// named by what people call them: `disks[sda]/serial`, `memory/dimms[A3]/rank`.
func (f *Facts) Unknowns() []Unknown {
	all := append([]Unknown(nil), f.Unknown...)
	add := func(prefix string, list []Unknown) {
		for _, u := range list {
			all = append(all, Unknown{Path: prefix + "/" + u.Path, Reason: u.Reason})
		}
	}
	add("system", f.System.Unknown)
	add("board", f.Board.Unknown)
	add("bios", f.BIOS.Unknown)
	add("chassis", f.Chassis.Unknown)
	for i, c := range f.CPUs {
		name := c.Socket
		if name == "" {
			name = fmt.Sprint(i)
		}
		add("cpus["+name+"]", c.Unknown)
	}
	add("memory", f.Memory.Unknown)
	slots := map[string]int{}
	for _, d := range f.Memory.DIMMs {
		slots[d.Slot]++
	}
	for i, d := range f.Memory.DIMMs {
		name := d.Slot
		switch {
		case name == "":
			name = fmt.Sprint(i)
		case slots[name] > 1 && d.Bank != "": // boards exist that call all of them DIMM
			name = d.Bank + " " + name
		case slots[name] > 1:
			name = fmt.Sprintf("%s %d", name, i)
		}
		add("memory/dimms["+name+"]", d.Unknown)
	}
	for _, d := range f.Disks {
		add("disks["+d.Name+"]", d.Unknown)
		if d.Health != nil {
			add("disks["+d.Name+"]/health", d.Health.Unknown)
		}
	}
	for _, n := range f.NICs {
		add("nics["+n.Name+"]", n.Unknown)
	}
	for _, p := range f.PCI {
		add("pci["+p.Address+"]", p.Unknown)
	}
	add("bmc", f.BMC.Unknown)
	for i, p := range f.PSUs {
		name := p.Slot
		if name == "" {
			name = fmt.Sprint(i)
		}
		add("psus["+name+"]", p.Unknown)
	}
	return all
}
