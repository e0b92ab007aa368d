//go:build linux

package hw

import (
	"slices"
	"strings"
)

// hostFirmware has, by driver, the attributes of its SCSI host that hold the firmware's version, newest kernel first.
// megaraid_sas has none (its attributes are crash dumps and queue depths): the RAID tool of the maker tells.
var hostFirmware = map[string][]string{
	"mpt3sas":  {"version_fw"},
	"mpt2sas":  {"version_fw"},
	"mptsas":   {"version_fw"},
	"mptspi":   {"version_fw"},
	"mpi3mr":   {"version_fw"},
	"hpsa":     {"firmware_revision"},
	"smartpqi": {"firmware_version", "version"},
	"aacraid":  {"hba_kernel_version"},
	"arcmsr":   {"host_fw_version"},
	"pm80xx":   {"fw_version"},
}

// withoutFirmware are drivers of controllers that are a part of the chipset or of the hypervisor.
var withoutFirmware = []string{"ahci", "ata_piix", "isci", "virtio-pci", "vmw_pvscsi", "ata_generic", "sym53c8xx",
	"xen-platform-pci", "vmd"}

// controllerFirmware fills the firmware of a storage controller (PCI class 01).
func (t *tree) controllerFirmware(d *PCIDevice, missing *unknowns) {
	dir := "sys/bus/pci/devices/" + d.Address
	switch {
	case d.Driver == "nvme":
		names, err := t.list(dir + "/nvme")
		if err != nil || len(names) == 0 {
			missing.add("firmware", "the driver shows no NVMe controller")
			return
		}
		slices.SortFunc(names, natural)
		d.Firmware = t.attr(missing, "firmware", dir+"/nvme/"+names[0]+"/firmware_rev")
	case slices.Contains(withoutFirmware, d.Driver):
	case d.Driver == "":
		if !strings.HasPrefix(d.Class, "0106") && !strings.HasPrefix(d.Class, "0101") { // SATA and IDE have none
			missing.add("firmware", "no driver is bound that would tell")
		}
	default:
		attributes, known := hostFirmware[d.Driver]
		if !known {
			missing.add("firmware", "the driver %s does not tell it in sysfs", d.Driver)
			return
		}
		entries, err := t.list(dir)
		if err != nil {
			missing.addErr("firmware", err)
			return
		}
		entries = slices.DeleteFunc(entries, func(name string) bool {
			number, ok := strings.CutPrefix(name, "host")
			return !ok || number == "" || digits(number) != len(number)
		})
		if len(entries) == 0 {
			missing.add("firmware", "the driver %s shows no SCSI host", d.Driver)
			return
		}
		slices.SortFunc(entries, natural)
		for i, attribute := range attributes {
			s, err := t.text(dir + "/" + entries[0] + "/scsi_host/" + entries[0] + "/" + attribute)
			if err != nil {
				if i == len(attributes)-1 {
					missing.addErr("firmware", err)
				}
				continue
			}
			if attribute == "version" { // smartpqi before Linux 4.20: "driver: 1.1.4-130 firmware: 2.65"
				_, s, _ = strings.Cut(s, "firmware:")
				s = strings.TrimSpace(s)
			}
			if s == "" {
				missing.add("firmware", "the driver %s gives an empty version", d.Driver)
			}
			d.Firmware = s
			return
		}
	}
}
