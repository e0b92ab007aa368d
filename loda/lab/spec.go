package lab

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
)

// Spec describes a rack. The zero value of each field means its default, filled in by [Spec.Complete].
type Spec struct {
	// Name of the rack: lower-case letters, digits and dashes, at most 24. Default "lab".
	Name string `yaml:"name,omitempty"`
	// Subnet of the bridge, IPv4. It exists only inside the rack's namespace, so racks may share one.
	// Default 10.77.0.0/24.
	Subnet netip.Prefix `yaml:"subnet"`
	// Server is the bridge's own address, where the programs of [Rack.Command] listen. Default: the subnet's first.
	Server netip.Addr `yaml:"server"`
	// AllowDuplicates permits two machines with the same MAC, serial number or UUID. Real batches have them, and a
	// provisioner must be tested with them; nowhere else are they anything but a mistake.
	AllowDuplicates bool `yaml:"allow_duplicates,omitempty"`
	// Machines, in the order of the rack.
	Machines []MachineSpec `yaml:"machines"`
}

// Firmware is what a machine's board starts with.
type Firmware string

// Firmware kinds.
const (
	BIOS Firmware = "bios" // SeaBIOS
	UEFI Firmware = "uefi" // OVMF (EDK II)
)

// Boot is the way in which a machine's firmware boots from the network.
type Boot string

// Boot paths. A BIOS machine always has iPXE in its network card's ROM: QEMU brings no other BIOS PXE ROM. To see the
// chain through undionly.kpxe, let the server offer that to iPXE clients once.
const (
	// BootIPXEROM: the network card carries iPXE as its option ROM.
	BootIPXEROM Boot = "ipxe-rom"
	// BootPXE: plain PXE by the UEFI firmware itself, which loads its program over TFTP.
	BootPXE Boot = "pxe"
	// BootHTTP: UEFI HTTP boot; the firmware's PXE is off.
	BootHTTP Boot = "http"
)

// BootOrder says what the firmware tries first.
type BootOrder string

// Boot orders.
const (
	// OrderNetwork: network first, then disks, at every boot, whatever order an installed system wrote to the NVRAM.
	// The entries that it made there for a disk are still the ones used to start that disk, and its BootNext counts.
	// Mind that OVMF, once its PXE has been told to go on, tries HTTP boot over IPv4 and IPv6 before any disk, which
	// takes minutes if nobody answers; OrderNVRAM with a system that puts itself first has no such delay.
	OrderNetwork BootOrder = "network"
	// OrderDisk: disks first, then network.
	OrderDisk BootOrder = "disk"
	// OrderNVRAM: UEFI only. The order that stands in the NVRAM counts, as on most real servers: a new machine's says
	// network first, and what efibootmgr writes has effect.
	OrderNVRAM BootOrder = "nvram"
)

// MachineSpec describes one server.
type MachineSpec struct {
	// Name within the rack: lower-case letters, digits and dashes, at most 24. Default m1, m2, …
	Name string `yaml:"name,omitempty"`

	// What SMBIOS types 1 to 3 say. Defaults: vendor "Loda", product "Lab Server", serial LAB-<rack>-<machine> in
	// upper case, a UUID derived from the same names.
	Vendor  string `yaml:"vendor,omitempty"`
	Product string `yaml:"product,omitempty"`
	Serial  string `yaml:"serial,omitempty"`
	UUID    string `yaml:"uuid,omitempty"`
	SKU     string `yaml:"sku,omitempty"`
	// BIOSVersion is what SMBIOS type 0 says; default: what the firmware says of itself.
	BIOSVersion string `yaml:"bios_version,omitempty"`

	// Firmware, default bios.
	Firmware Firmware `yaml:"firmware,omitempty"`
	// SecureBoot, for uefi: the firmware runs only what Microsoft has signed, or shim with Debian's key. Its own iPXE is not.
	SecureBoot bool `yaml:"secure_boot,omitempty"`
	// Boot path, default ipxe-rom for bios and pxe for uefi.
	Boot Boot `yaml:"boot,omitempty"`
	// BootOrder, default network.
	BootOrder BootOrder `yaml:"boot_order,omitempty"`
	// Direct, if set, starts a kernel without any firmware netboot.
	Direct *Direct `yaml:"direct,omitempty"`

	// CPUs, default 1.
	CPUs int `yaml:"cpus,omitempty"`
	// Memory that the machine really gets. Default: the sum of its DIMMs, or 1GiB.
	Memory Size `yaml:"memory,omitempty"`
	// DIMMs as SMBIOS tells them. With an explicit Memory they may claim anything, so that a profile for 1 TiB can be
	// rehearsed on a laptop. Default: two that share Memory.
	DIMMs []DIMM `yaml:"dimms,omitempty"`
	// Disks, default one virtio disk of 4GiB. An empty, non-nil list is a diskless machine.
	Disks []Disk `yaml:"disks"`
	// NICs, default one virtio-net card.
	NICs []NIC `yaml:"nics,omitempty"`
	// BMC adds a simulated IPMI controller (KCS), seen by the guest as /dev/ipmi0.
	BMC bool `yaml:"bmc,omitempty"`

	// QEMUArgs are appended to QEMU's command line as they are.
	QEMUArgs []string `yaml:"qemu_args,omitempty"`
}

// Direct is a kernel that QEMU loads itself, for tests of a RAM disk that do not care how it came over the network.
type Direct struct {
	Kernel  string `yaml:"kernel"`
	Initrd  string `yaml:"initrd,omitempty"`
	Cmdline string `yaml:"cmdline,omitempty"`
}

// Bus says how a disk is attached.
type Bus string

// Buses.
const (
	BusVirtio  Bus = "virtio"
	BusAHCI    Bus = "ahci"    // SATA; at most six
	BusNVMe    Bus = "nvme"    // one controller for each disk
	BusSCSI    Bus = "scsi"    // virtio-scsi
	BusMegaSAS Bus = "megasas" // an LSI MegaRAID SAS 9260 (megasas-gen2), disks passed through as volumes
	BusMPTSAS  Bus = "mptsas"  // an LSI SAS1068 host bus adapter; each disk gets a WWN
)

// Medium of a disk, as it tells the operating system.
type Medium string

// Media.
const (
	SSD Medium = "ssd"
	HDD Medium = "hdd"
)

// Disk is one drive, empty at first.
type Disk struct {
	// Bus, default virtio.
	Bus Bus `yaml:"bus,omitempty"`
	// Size, default 4GiB; a multiple of 512 bytes.
	Size Size `yaml:"size,omitempty"`
	// Serial, at most 20 characters (the limit of virtio, ATA and NVMe). Default <MACHINE>-D<number from 0>.
	Serial string `yaml:"serial,omitempty"`
	// WWN (16 hexadecimal digits, with or without 0x) for ahci, scsi, megasas and mptsas, an EUI-64 for nvme. Default:
	// derived from rack and machine where the bus has one; virtio has none. Linux does not believe the EUI-64 of QEMU's
	// NVMe controller (quirk BOGUS_NID in drivers/nvme/host/pci.c) and tells none.
	WWN string `yaml:"wwn,omitempty"`
	// Medium, for ahci, scsi, megasas and mptsas; default ssd. NVMe is always ssd, and virtio cannot tell.
	Medium Medium `yaml:"medium,omitempty"`
	// Model (ahci 40 characters; scsi, megasas and mptsas 16) and Firmware version (8, scsi 4), where the bus has them.
	Model    string `yaml:"model,omitempty"`
	Firmware string `yaml:"firmware,omitempty"`
	// Image, if set, is a file in any format that qemu-img reads, copied to the disk when the rack is built.
	Image string `yaml:"image,omitempty"`
	// Pulled: the disk is not in its bay. What is on it stays, and the other disks keep their places on their buses; see
	// [Machine.PullDisk].
	Pulled bool `yaml:"pulled,omitempty"`
}

// NICModel is the kind of a network card.
type NICModel string

// Network cards.
const (
	VirtioNet NICModel = "virtio-net"
	E1000     NICModel = "e1000"
	E1000E    NICModel = "e1000e"
)

// NIC is one network card, plugged into the rack's bridge.
type NIC struct {
	// Model, default virtio-net. OVMF has a driver of its own for that one only.
	Model NICModel `yaml:"model,omitempty"`
	// MAC address, default 52:54:00 and three bytes derived from the names of rack and machine.
	MAC string `yaml:"mac,omitempty"`
	// NoBoot leaves the card out of the boot order.
	NoBoot bool `yaml:"no_boot,omitempty"`
}

// DIMM is one memory slot as SMBIOS type 17 tells it. In YAML a size alone will do. Size zero is an empty slot, and
// must then be written as {slot: A2, size: 0}.
type DIMM struct {
	// Slot is the device locator, default A1, A2, …
	Slot string `yaml:"slot,omitempty"`
	// Bank locator, default "NODE 0".
	Bank string `yaml:"bank,omitempty"`
	Size Size   `yaml:"size"`
	// Manufacturer, default "Loda"; Part number, default LAB-DIMM-<size>; Serial, default 8 hexadecimal digits derived
	// from rack, machine and slot.
	Manufacturer string `yaml:"manufacturer,omitempty"`
	Part         string `yaml:"part,omitempty"`
	Serial       string `yaml:"serial,omitempty"`
	// Speed that the module is rated for and ConfiguredSpeed that it runs at, in MT/s. Defaults 3200 and Speed.
	Speed           int `yaml:"speed,omitempty"`
	ConfiguredSpeed int `yaml:"configured_speed,omitempty"`
	// Rank, default 1.
	Rank int `yaml:"rank,omitempty"`
}

// UnmarshalYAML reads a mapping or a size alone.
func (d *DIMM) UnmarshalYAML(unmarshal func(any) error) error {
	var size Size
	if err := unmarshal(&size); err == nil {
		*d = DIMM{Size: size}
		return nil
	}
	type plain DIMM
	return unmarshal((*plain)(d))
}

// Parse reads a Spec from YAML, completes and validates it. An unknown key is an error with line and column.
func Parse(r io.Reader) (s Spec, err error) {
	// goccy/go-yaml v1.19.2 panics on some malformed text, such as a tag before a broken list; found by fuzzing.
	defer func() {
		if broken := recover(); broken != nil {
			s, err = Spec{}, fmt.Errorf("rack description: malformed YAML: %v", broken)
		}
	}()
	dec := yaml.NewDecoder(r, yaml.Strict())
	if err := dec.Decode(&s); err != nil {
		if errors.Is(err, io.EOF) {
			return Spec{}, errors.New("rack description is empty")
		}
		return Spec{}, fmt.Errorf("rack description: %w", err)
	}
	var extra any
	if err := dec.Decode(&extra); !errors.Is(err, io.EOF) {
		return Spec{}, errors.New("rack description: only one YAML document is allowed")
	}
	s = s.Complete()
	if err := s.Validate(); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// Load reads a Spec from a YAML file, see [Parse].
func Load(path string) (Spec, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Spec{}, fmt.Errorf("read rack description: %w", err)
	}
	s, err := Parse(bytes.NewReader(data))
	if err != nil {
		return Spec{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// YAML writes the Spec in the form that [Parse] reads.
func (s Spec) YAML() ([]byte, error) { return yaml.Marshal(s) }

// Default is a rack named "lab" of n machines m1, m2, …, BIOS and UEFI by turns.
func Default(n int) Spec {
	var s Spec
	for i := range n {
		m := MachineSpec{Firmware: BIOS}
		if i%2 == 1 {
			m.Firmware = UEFI
		}
		s.Machines = append(s.Machines, m)
	}
	return s.Complete()
}

// Complete returns a copy of the Spec with every default written out. The same Spec is always completed to the same
// serial numbers, MACs and so on, so that an import file written once stays right.
func (s Spec) Complete() Spec {
	s.Name = cmp.Or(s.Name, "lab")
	if !s.Subnet.IsValid() {
		s.Subnet = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, 0}), 24)
	}
	if !s.Server.IsValid() {
		s.Server = s.Subnet.Masked().Addr().Next()
	}
	machines := make([]MachineSpec, len(s.Machines))
	for i, m := range s.Machines {
		m.Name = cmp.Or(m.Name, fmt.Sprintf("m%d", i+1))
		machines[i] = m.complete(s.Name)
	}
	s.Machines = machines
	return s
}

func (m MachineSpec) complete(rack string) MachineSpec {
	seed := rack + "/" + m.Name
	m.Vendor = cmp.Or(m.Vendor, "Loda")
	m.Product = cmp.Or(m.Product, "Lab Server")
	m.Serial = cmp.Or(m.Serial, strings.ToUpper("lab-"+rack+"-"+m.Name))
	m.UUID = cmp.Or(strings.ToLower(m.UUID), derivedUUID(seed))
	m.Firmware = cmp.Or(m.Firmware, BIOS)
	if m.Boot == "" {
		m.Boot = BootIPXEROM
		if m.Firmware == UEFI {
			m.Boot = BootPXE
		}
	}
	m.BootOrder = cmp.Or(m.BootOrder, OrderNetwork)
	m.CPUs = cmp.Or(m.CPUs, 1)

	m.DIMMs = append([]DIMM(nil), m.DIMMs...)
	if len(m.DIMMs) == 0 {
		half := cmp.Or(m.Memory, GiB) / 2 / MiB * MiB
		m.DIMMs = []DIMM{{Size: half}, {Size: half}}
	}
	var installed Size
	for i, d := range m.DIMMs {
		d.Slot = cmp.Or(d.Slot, fmt.Sprintf("A%d", i+1))
		d.Bank = cmp.Or(d.Bank, "NODE 0")
		installed += d.Size
		if d.Size > 0 {
			d.Manufacturer = cmp.Or(d.Manufacturer, "Loda")
			d.Part = cmp.Or(d.Part, "LAB-DIMM-"+d.Size.String())
			d.Serial = cmp.Or(d.Serial, strings.ToUpper(derivedHex(seed+"/"+d.Slot, 4)))
			d.Speed = cmp.Or(d.Speed, 3200)
			d.ConfiguredSpeed = cmp.Or(d.ConfiguredSpeed, d.Speed)
			d.Rank = cmp.Or(d.Rank, 1)
		}
		m.DIMMs[i] = d
	}
	m.Memory = cmp.Or(m.Memory, installed)

	if m.Disks == nil {
		m.Disks = []Disk{{}}
	}
	m.Disks = append([]Disk{}, m.Disks...)
	for i, d := range m.Disks {
		d.Bus = cmp.Or(d.Bus, BusVirtio)
		d.Size = cmp.Or(d.Size, 4*GiB)
		d.Serial = cmp.Or(d.Serial, strings.ToUpper(fmt.Sprintf("%.17s-D%d", m.Name, i)))
		d.WWN = strings.TrimPrefix(strings.ToLower(d.WWN), "0x")
		if d.Bus != BusVirtio && d.WWN == "" {
			// NAA 5 (IEEE registered), OUI 52:54:00 as for the MACs.
			d.WWN = "5525400" + derivedHex(fmt.Sprintf("%s/disk%d", seed, i), 5)[:9]
		}
		if d.Bus != BusVirtio && d.Bus != BusNVMe {
			d.Medium = cmp.Or(d.Medium, SSD)
		}
		m.Disks[i] = d
	}

	m.NICs = append([]NIC(nil), m.NICs...)
	if len(m.NICs) == 0 {
		m.NICs = []NIC{{}}
	}
	for i, n := range m.NICs {
		n.Model = cmp.Or(n.Model, VirtioNet)
		if n.MAC == "" {
			h := derivedHex(fmt.Sprintf("%s/nic%d", seed, i), 3)
			n.MAC = "52:54:00:" + h[0:2] + ":" + h[2:4] + ":" + h[4:6]
		}
		n.MAC = strings.ToLower(n.MAC)
		m.NICs[i] = n
	}
	m.QEMUArgs = append([]string(nil), m.QEMUArgs...)
	return m
}

// derivedHex is n bytes in hexadecimal that depend on the seed alone.
func derivedHex(seed string, n int) string {
	sum := sha256.Sum256([]byte("loda lab " + seed))
	return hex.EncodeToString(sum[:n])
}

// derivedUUID is a version 8 (custom) UUID of RFC 9562 section 5.8.
func derivedUUID(seed string) string {
	h := []byte(derivedHex(seed, 16))
	h[12], h[16] = '8', 'a'
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[0:8], h[8:12], h[12:16], h[16:20], h[20:32])
}
