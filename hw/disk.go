package hw

import "strings"

// Medium is what a disk stores on.
type Medium string

const (
	HDD Medium = "hdd"
	SSD Medium = "ssd"
	// NVMe is a solid-state disk on the NVMe bus.
	NVMe Medium = "nvme"
	// MediumUnknown: the device does not tell, as most virtual disks and RAID volumes. Unknown then has the reason.
	MediumUnknown Medium = "unknown"
)

// Bus is the interface that the disk itself speaks: a SATA disk behind a SAS HBA is on ata.
type Bus string

const (
	BusATA    Bus = "ata"
	BusSAS    Bus = "sas"
	BusSCSI   Bus = "scsi"
	BusNVMe   Bus = "nvme"
	BusVirtio Bus = "virtio"
	BusUSB    Bus = "usb"
	BusMMC    Bus = "mmc"
	BusXen    Bus = "xen"
)

// DiskKind tells a disk from what a controller makes of several.
type DiskKind string

const (
	// PhysicalDisk is a disk, real or emulated.
	PhysicalDisk DiskKind = "disk"
	// RAIDVolume is a logical drive of a RAID controller, whose serial number and WWN are the volume's, or a running array
	// of the kernel's RAID (md), whose WWN is the array's UUID.
	RAIDVolume DiskKind = "raid-volume"
)

// Disk is something that an operating system can be put on.
type Disk struct {
	// Name is the kernel's, such as sda, for people: it may be another one after the next boot.
	Name string   `json:"name"`
	Kind DiskKind `json:"kind"`
	// Bus is empty for an array of the kernel's RAID: its members may be on several.
	Bus    Bus    `json:"bus,omitempty"`
	Medium Medium `json:"medium"`
	Vendor string `json:"vendor,omitempty"`
	Model  string `json:"model,omitempty"`
	// Firmware revision.
	Firmware string `json:"firmware,omitempty"`
	Serial   string `json:"serial,omitempty"`
	// WWN is the kernel's name for the world-wide identifier: naa.…, eui.… or uuid.…, lower case. That of an array of the
	// kernel's RAID is uuid. and the 32 hexadecimal digits that mdadm shows in four groups.
	WWN string `json:"wwn,omitempty"`
	// Path is the persistent path by bus topology, as udev's ID_PATH and /dev/disk/by-path spell it:
	// pci-0000:00:04.0, pci-0000:00:1f.2-ata-1.0, pci-0000:3b:00.0-nvme-1. An array of the kernel's RAID is on no bus, and
	// has the name that udev gives it below /dev/disk/by-id: md-uuid-5daa311c:a110a222:a525aec7:91e2358c.
	Path string `json:"path,omitempty"`
	// Bytes is 0 for a drive without a medium in it.
	Bytes int64 `json:"bytes,omitempty"`
	// LogicalSector and PhysicalSector in bytes.
	LogicalSector  int `json:"logical_sector,omitempty"`
	PhysicalSector int `json:"physical_sector,omitempty"`
	// Removable media, and media that cannot be written.
	Removable *bool `json:"removable,omitempty"`
	ReadOnly  *bool `json:"read_only,omitempty"`
	// MemberOf is the kernel's name of the array of the kernel's RAID that holds the disk, or a partition of it, such as
	// md127; several are separated by commas. Such a disk is never written to.
	MemberOf string `json:"member_of,omitempty"`
	// Health is what the disk says of itself; nil for one that was not asked (a RAID volume, a captured tree).
	Health  *DiskHealth `json:"health,omitempty"`
	Unknown []Unknown   `json:"unknown,omitempty"`
}

// Matches says whether d is the disk that was seen earlier with this serial number, WWN, persistent path and size.
// Every argument that is not empty (not 0) must be equal; an argument that is empty says nothing. What is unknown of d
// equals nothing. With no argument at all nothing is identified, and Matches is false.
//
// Serial numbers and paths are compared exactly but for surrounding blanks. WWNs are compared without regard to case
// and to the prefixes `naa.`, `eui.`, `uuid.`, `0x` under which tools show them.
//
// Two disks may both match (virtual disks without serial number, one disk seen over two paths), so a caller that is
// about to write looks for exactly one.
func (d *Disk) Matches(serial, wwn, path string, bytes int64) bool {
	serial, wwn, path = strings.TrimSpace(serial), plainWWN(wwn), strings.TrimSpace(path)
	if serial == "" && wwn == "" && path == "" && bytes == 0 {
		return false
	}
	return (serial == "" || serial == strings.TrimSpace(d.Serial)) &&
		(wwn == "" || wwn == plainWWN(d.WWN)) &&
		(path == "" || path == d.Path) &&
		(bytes == 0 || bytes == d.Bytes)
}

// plainWWN is a WWN without what tools put around it.
func plainWWN(wwn string) string {
	wwn = strings.ToLower(strings.TrimSpace(wwn))
	for _, prefix := range []string{"naa.", "eui.", "uuid.", "wwn-", "0x"} {
		wwn = strings.TrimPrefix(wwn, prefix)
	}
	return wwn
}

// why returns the reason why a field of d is not known, or "".
func (d *Disk) why(field string) string {
	for _, u := range d.Unknown {
		if u.Path == field {
			return u.Reason
		}
	}
	return ""
}
