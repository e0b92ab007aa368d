package raid

import (
	"strings"

	"github.com/project-loda/loda/hw"
)

// Tool is the program that manages a controller. All but mdadm are the vendors' own and come from the operator.
type Tool string

const (
	Storcli  Tool = "storcli"  // Broadcom MegaRAID and SAS3 HBAs, storcli64 007.x
	Storcli2 Tool = "storcli2" // Broadcom 24G, 008.x, a grammar of its own
	Perccli  Tool = "perccli"  // Dell's storcli
	Perccli2 Tool = "perccli2" // Dell's storcli2
	Megacli  Tool = "megacli"  // MegaRAID before storcli
	Ssacli   Tool = "ssacli"   // HPE Smart Array
	Arcconf  Tool = "arcconf"  // Adaptec, Microchip SmartRAID and their OEMs
	Mvcli    Tool = "mvcli"    // Marvell 88SE92xx, Dell BOSS-S1 and S2
	Mnvcli   Tool = "mnvcli"   // Marvell 88NR2241, Dell BOSS-N1
	Sas2ircu Tool = "sas2ircu" // LSI SAS2 in IT and IR mode
	Sas3ircu Tool = "sas3ircu" // LSI SAS3 in IT and IR mode
	// Mdadm: the controller shows its disks one by one, and RAID is the kernel's.
	Mdadm Tool = "mdadm"
	// Nvme is nvme-cli, for the namespaces of a drive. No controller needs it.
	Nvme Tool = "nvme"
)

// Kind is what a controller does with its disks.
type Kind string

const (
	// RAID: makes volumes of its own; single disks may be hidden.
	RAID Kind = "raid"
	// HBA: shows every disk; some have a firmware that can mirror as well.
	HBA  Kind = "hba"
	AHCI Kind = "ahci"
	NVMe Kind = "nvme"
	// Virtio is the storage of a virtual machine.
	Virtio Kind = "virtio"
)

// Recognition is what a controller was found to be.
type Recognition struct {
	// Family such as `MegaRAID SAS-3 3108`, with the maker's name for it where that decides about the tool.
	Family string
	Kind   Kind
	// Tool is the first choice; Fallback does the same where the operator has only that one, "" if there is none.
	Tool     Tool
	Fallback Tool
}

// Recognize tells a PCI function by its ids. It is pure: the same ids give the same answer, whatever driver is bound.
// False means that this is no storage controller, or one that no tool is known for.
func Recognize(d hw.PCIDevice) (Recognition, bool) {
	vendor, device := strings.ToLower(d.Vendor), strings.ToLower(d.Device)
	subvendor, class := strings.ToLower(d.SubVendor), strings.ToLower(d.Class)
	if !strings.HasPrefix(class, "01") {
		return Recognition{}, false
	}
	for _, m := range models {
		if m.vendor != vendor || !strings.Contains(" "+m.devices+" ", " "+device+" ") || device == "" {
			continue
		}
		if m.subvendors != "" && (subvendor == "" || !strings.Contains(" "+m.subvendors+" ", " "+subvendor+" ")) {
			continue
		}
		return m.is, true
	}
	for _, c := range classes {
		if strings.HasPrefix(class, c.class) && (c.vendor == "" || c.vendor == vendor) {
			return c.is, true
		}
	}
	return Recognition{}, false
}

// Subsystem vendors whose name on a card decides about the tool.
const (
	dell = "1028"
	// HPE has the id of Hewlett-Packard and, since 2015, its own.
	hpe = "103c 1590"
)

// models are looked through in order: the first entry that fits decides.
//
// Sources: the PCI tables of Linux 6.1 (megaraid_sas, mpt3sas, mptsas, mpi3mr, hpsa, smartpqi, aacraid), which say what
// the chips are and that they exist; pci.ids of 2023-04-11 for their names and the subsystems; outputs of storcli64
// 007.x on 1000:005b, 005d, 0073 and 0097 and of perccli on PERC H730P, which print these ids.
var models = []struct {
	vendor, devices string
	subvendors      string // "" is any
	is              Recognition
}{
	// MegaRAID before SAS2: storcli does not know them. PERC 5 and 6 are among them. QEMU's megasas is 1000:0060.
	{"1000", "0060 007c 0411 0413", "", Recognition{"MegaRAID SAS 1078", RAID, Megacli, ""}},
	{"1028", "0015", "", Recognition{"PERC 5", RAID, Megacli, ""}},
	// SAS2. QEMU's megasas-gen2 is 1000:0079.
	{"1000", "0078 0079", dell, Recognition{"PERC SAS 2108", RAID, Perccli, Megacli}},
	{"1000", "0078 0079", "", Recognition{"MegaRAID SAS 2108", RAID, Storcli, Megacli}},
	{"1000", "0071 0073", dell, Recognition{"PERC SAS 2008", RAID, Perccli, Megacli}},
	{"1000", "0071 0073", "", Recognition{"MegaRAID SAS 2008", RAID, Storcli, Megacli}},
	{"1000", "002f 005b", dell, Recognition{"PERC SAS 2208", RAID, Perccli, Megacli}},
	{"1000", "002f 005b", "", Recognition{"MegaRAID SAS 2208", RAID, Storcli, Megacli}},
	// SAS3.
	{"1000", "005d", dell, Recognition{"PERC SAS-3 3108", RAID, Perccli, Storcli}},
	{"1000", "005d", "", Recognition{"MegaRAID SAS-3 3108", RAID, Storcli, Megacli}},
	{"1000", "005f", dell, Recognition{"PERC SAS-3 3008", RAID, Perccli, Storcli}},
	{"1000", "005f", "", Recognition{"MegaRAID SAS-3 3008", RAID, Storcli, Megacli}},
	{"1000", "0052 0053 00ce 00cf", dell, Recognition{"PERC SAS-3 32xx/33xx", RAID, Perccli, Storcli}},
	{"1000", "0052 0053 00ce 00cf", "", Recognition{"MegaRAID SAS-3 32xx/33xx", RAID, Storcli, ""}},
	// Tri-mode.
	{"1000", "0014 0015 0016 0017 001b 001c", dell, Recognition{"PERC Tri-Mode SAS34xx/35xx", RAID, Perccli,
		Storcli}},
	{"1000", "0014 0015 0016 0017 001b 001c", "", Recognition{"MegaRAID Tri-Mode SAS34xx/35xx", RAID, Storcli, ""}},
	{"1000", "10e0 10e1 10e2 10e3 10e4 10e5 10e6 10e7", dell,
		Recognition{"PERC Tri-Mode SAS38xx/39xx", RAID, Perccli, Storcli}},
	{"1000", "10e0 10e1 10e2 10e3 10e4 10e5 10e6 10e7", "",
		Recognition{"MegaRAID Tri-Mode SAS38xx/39xx", RAID, Storcli, ""}},
	// 24G (driver mpi3mr): MegaRAID 96xx and eHBA 96xx share the id, PERC 12.
	{"1000", "00a5", dell, Recognition{"PERC 24G SAS40xx", RAID, Perccli2, Storcli2}},
	{"1000", "00a5", "", Recognition{"MegaRAID 24G SAS40xx", RAID, Storcli2, ""}},

	// Fusion-MPT HBAs. QEMU's mptsas1068 is 1000:0054. The first generation has no tool that is still to be had.
	{"1000", "0050 0054 0056 0058 0059 0062", "", Recognition{"Fusion-MPT SAS", HBA, Mdadm, ""}},
	{"1000", "0064 0065 006e 0070 0072 0074 0076 0077 007e 0080 0081 0082 0083 0084 0085 0086 0087", "",
		Recognition{"Fusion-MPT SAS-2", HBA, Sas2ircu, ""}},
	{"1000", "0090 0091 0094 0095 0096 0097", dell, Recognition{"Dell HBA SAS-3", HBA, Perccli, Sas3ircu}},
	{"1000", "0090 0091 0094 0095 0096 0097", "", Recognition{"Fusion-MPT SAS-3", HBA, Sas3ircu, Storcli}},
	{"1000", hbaTriMode, dell, Recognition{"Dell HBA Tri-Mode", HBA, Perccli, Storcli}},
	{"1000", hbaTriMode, "", Recognition{"Fusion-MPT SAS-3 and Tri-Mode", HBA, Storcli, ""}},

	// HPE. The kernel's hpsa takes any RAID function of vendor 103c, so does the class table below.
	{"103c", "3239 323a 323b 323c 333f", "", Recognition{"Smart Array", RAID, Ssacli, ""}},
	{"9005", "0290", "", Recognition{"Smart Array", RAID, Ssacli, ""}},
	{"9005", "028f", hpe, Recognition{"Smart Array PQI", RAID, Ssacli, ""}},
	// Microchip: Adaptec, and what Lenovo, Inspur, H3C, Huawei and others build of it.
	{"9005", "028f", "", Recognition{"SmartRAID PQI", RAID, Arcconf, ""}},
	{"9005", "028b", "", Recognition{"Adaptec Series 6", RAID, Arcconf, ""}},
	{"9005", "028c", "", Recognition{"Adaptec Series 7", RAID, Arcconf, ""}},
	{"9005", "028d", "", Recognition{"Adaptec Series 8", RAID, Arcconf, ""}},
	{"9005", "0285 0286", "", Recognition{"Adaptec AAC-RAID", RAID, Arcconf, ""}},

	// Marvell boot cards: a mirror of two M.2 disks. 88SE9230 announces itself as AHCI.
	{"1b4b", "9230", dell, Recognition{"Dell BOSS-S1/S2 (88SE9230)", RAID, Mvcli, ""}},
	{"1b4b", "9220 9230", "", Recognition{"Marvell 88SE92xx", RAID, Mvcli, ""}},
	{"1b4b", "2241", dell, Recognition{"Dell BOSS-N1 (88NR2241)", RAID, Mnvcli, ""}},
	{"1b4b", "2241", "", Recognition{"Marvell 88NR2241", RAID, Mnvcli, ""}},

	// virtio: block and SCSI, transitional and modern (Virtio 1.2, 4.1.2 and 5).
	{"1af4", "1001 1042", "", Recognition{"virtio-blk", Virtio, Mdadm, ""}},
	{"1af4", "1004 1048", "", Recognition{"virtio-scsi", Virtio, Mdadm, ""}},

	// Intel VMD: NVMe behind a function of class RAID (Linux drivers/pci/controller/vmd.c). RAID is IMSM metadata.
	{"8086", "201d 28c0 467f 4c3d 7d0b 9a0b a77f ad0b", "", Recognition{"Intel VMD", NVMe, Mdadm, ""}},
}

// hbaTriMode are SAS3 HBAs of the 32xx/33xx generation and the tri-mode ones, which storcli has taken over.
const hbaTriMode = "00aa 00ab 00ac 00ad 00ae 00af 00b2 00c0 00c1 00c2 00c3 00c4 00c5 00c6 00c7 00c8 00c9 00d0 00d1 " +
	"00e0 00e1 00e2 00e3 00e4 00e5 00e6 00e7"

// classes decide for what the models do not name: standard interfaces, behind which disks are disks.
var classes = []struct {
	class, vendor string
	is            Recognition
}{
	{"0104", "103c", Recognition{"Smart Array", RAID, Ssacli, ""}},
	// A chipset's SATA ports in RAID mode: the RAID is the kernel's (mdadm with IMSM metadata).
	{"0104", "8086", Recognition{"Intel SATA in RAID mode", AHCI, Mdadm, ""}},
	{"010601", "", Recognition{"AHCI", AHCI, Mdadm, ""}},
	{"0108", "", Recognition{"NVMe", NVMe, Mdadm, ""}},
	{"0107", "", Recognition{"SAS HBA", HBA, Mdadm, ""}},
	{"0100", "", Recognition{"SCSI HBA", HBA, Mdadm, ""}},
}
