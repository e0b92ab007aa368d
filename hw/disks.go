//go:build linux

package hw

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// notDisks are block devices that never hold an operating system of this machine: made by software other than the
// kernel's RAID, read-only by nature, or parts of another device.
var notDisks = regexp.MustCompile(`^(loop|ram|zram|dm-|sr|scd|fd|nbd|drbd|rbd|zd|mtdblock|pmem|bcache|ublkb)\d|` +
	`^mmcblk\d+(boot|rpmb|gp)`)

var nvmeHiddenPath = regexp.MustCompile(`^nvme\d+c\d+n\d+$`)

// disks reads /sys/block.
func (t *tree) disks() ([]Disk, unknowns) {
	var missing unknowns
	disks := []Disk{}
	names, err := t.list("sys/block")
	if err != nil {
		missing.addErr("disks", err)
		return disks, missing
	}
	var arrays []string
	for _, name := range names {
		dir := t.real("sys/block/" + name)
		if arrayName.MatchString(name) {
			arrays = append(arrays, name)
			continue
		}
		if notDisks.MatchString(name) || nvmeHiddenPath.MatchString(name) ||
			strings.HasPrefix(dir, "sys/devices/virtual/") && !strings.Contains(dir, "/nvme-subsystem/") {
			continue
		}
		if hidden, err := t.number(dir + "/hidden"); err == nil && hidden == 1 {
			continue
		}
		if kind, err := t.number(dir + "/device/type"); err == nil && !slices.Contains([]int64{0, 7, 14, 20}, kind) {
			continue // SCSI peripheral types: 0 disk, 7 optical memory, 14 simplified disk, 20 zoned disk
		}
		disks = append(disks, t.disk(name, dir))
	}
	ordered := func(a, b Disk) int {
		if c := byPath(a.Path, b.Path); c != 0 {
			return c
		}
		return natural(a.Name, b.Name)
	}
	slices.SortFunc(disks, ordered)
	first := len(disks)
	for _, name := range arrays {
		if d := t.array(name, disks); d != nil {
			disks = append(disks, *d)
		}
	}
	slices.SortFunc(disks[first:], ordered)
	return disks, missing
}

func (t *tree) disk(name, dir string) Disk {
	d := Disk{Name: legible(name), Kind: PhysicalDisk, Medium: MediumUnknown}
	var missing unknowns
	place := t.device(dir)
	if d.Path = place.persistentPath(); d.Path == "" {
		missing.add("path", "/%s is on no bus with persistent addresses", dir)
	}
	if sectors, err := t.number(dir + "/size"); err != nil {
		missing.addErr("bytes", err)
	} else if sectors < 0 || sectors > 1<<53 {
		missing.add("bytes", "/%s/size: %d is no size", dir, sectors)
	} else {
		d.Bytes = sectors * 512 // always in units of 512, whatever the disk's sectors are
	}
	d.Removable = t.flag(&missing, "removable", dir+"/removable")
	d.ReadOnly = t.flag(&missing, "read_only", dir+"/ro")
	d.LogicalSector = t.sector(&missing, "logical_sector", dir+"/queue/logical_block_size")
	d.PhysicalSector = t.sector(&missing, "physical_sector", dir+"/queue/physical_block_size")

	switch {
	case strings.HasPrefix(name, "nvme"):
		d.Bus, d.Medium = BusNVMe, NVMe
		d.Model = t.attr(&missing, "model", dir+"/device/model")
		d.Serial = t.attr(&missing, "serial", dir+"/device/serial")
		d.Firmware = t.attr(&missing, "firmware", dir+"/device/firmware_rev")
		d.WWN = t.wwid(&missing, dir+"/wwid")
	case strings.HasPrefix(name, "vd"):
		d.Bus = BusVirtio // a virtio disk has neither model nor firmware nor WWN
		d.Serial = t.attr(&missing, "serial", dir+"/serial")
		missing.add("medium", "a virtio disk does not tell")
	case strings.HasPrefix(name, "mmcblk"):
		d.Bus, d.Medium = BusMMC, SSD
		d.Model = t.attr(&missing, "model", dir+"/device/name")
		d.Serial = t.attr(&missing, "serial", dir+"/device/serial")
		d.Firmware, _ = t.text(dir + "/device/fwrev") // since eMMC 5.0
	case strings.HasPrefix(name, "xvd"):
		d.Bus = BusXen
		missing.add("medium", "a Xen disk does not tell")
		missing.add("serial", "a Xen disk does not tell")
	default:
		t.scsiDisk(&d, &missing, dir, place)
	}
	d.Unknown = missing
	return d
}

// attr reads a string that the kernel has for every device of that sort.
func (t *tree) attr(missing *unknowns, field, name string) string {
	s, err := t.text(name)
	if err != nil {
		missing.addErr(field, err)
	}
	return s
}

func (t *tree) flag(missing *unknowns, field, name string) *bool {
	n, err := t.number(name)
	if err != nil {
		missing.addErr(field, err)
		return nil
	}
	v := n != 0
	return &v
}

func (t *tree) sector(missing *unknowns, field, name string) int {
	n, err := t.number(name)
	if err != nil {
		missing.addErr(field, err)
		return 0
	}
	if n <= 0 || n > 1<<20 {
		missing.add(field, "/%s: %d is no sector size", name, n)
		return 0
	}
	return int(n)
}

// wwid reads the kernel's identifier, if it is a world-wide one. Names that the kernel or the device put together from
// model and serial number (t10., nvme.) are none.
func (t *tree) wwid(missing *unknowns, name string) string {
	s, err := t.text(name)
	switch {
	case errors.Is(err, syscall.ENXIO): // no such page on this device: it has no WWN
	case err != nil:
		missing.addErr("wwn", err)
	case strings.HasPrefix(s, "naa."), strings.HasPrefix(s, "eui."), strings.HasPrefix(s, "uuid."):
		if plain := strings.Trim(plainWWN(s), "0-"); plain != "" {
			return strings.ToLower(s)
		}
	}
	return ""
}

// raidDrivers are SCSI host drivers of RAID controllers: what they show on which channel is a volume. -1 means all.
var raidDrivers = map[string]string{
	"megaraid_sas": "23",  // MEGASAS_MAX_PD_CHANNELS 2: channels 0 and 1 are disks, 2 and 3 volumes
	"aacraid":      "0",   // CONTAINER_CHANNEL 0
	"mpt3sas":      "1",   // RAID_CHANNEL 1
	"mpt2sas":      "1",   //
	"mptsas":       "1",   // MPTSAS_RAID_CHANNEL 1
	"3w-9xxx":      "all", //
	"3w-sas":       "all", //
	"arcmsr":       "all", //
	"megaraid":     "all", //
	"hpsa":         "",    // tell by raid_level, below
	"smartpqi":     "",    //
}

// sasDrivers are hosts whose disks are SAS unless they say that they are ATA.
var sasDrivers = []string{"megaraid_sas", "mpt3sas", "mpt2sas", "mptsas", "hpsa", "smartpqi", "aacraid",
	"pm80xx", "isci",
	"mvsas", "hisi_sas"}

// scsiDisk fills a disk that the kernel drives by SCSI commands, which are SATA and USB disks and RAID volumes too.
func (t *tree) scsiDisk(d *Disk, missing *unknowns, dir string, place device) {
	device := dir + "/device"
	d.Vendor = t.attr(missing, "vendor", device+"/vendor")
	d.Model = t.attr(missing, "model", device+"/model")
	d.Firmware = t.attr(missing, "firmware", device+"/rev")
	identify := t.ataIdentify(device + "/vpd_pg89")

	driver, channel := "", ""
	if host := place.findPrefix("host"); host != "" {
		driver, _ = t.text(host + "/scsi_host/" + path.Base(host) + "/proc_name")
	}
	if hctl := scsiHCTL.FindStringSubmatch(path.Base(place.find(scsiHCTL))); hctl != nil {
		channel = hctl[2]
	}
	level, _ := t.text(device + "/raid_level") // hpsa and smartpqi: "RAID 1(1+0)", or "N/A" for a disk
	volumes := raidDrivers[driver]
	if volumes == "all" || channel != "" && strings.Contains(volumes, channel) || strings.HasPrefix(level, "RAID") ||
		d.Model == "DELLBOSS VD" {
		d.Kind = RAIDVolume
	}

	onUSB := slices.ContainsFunc(place.chain, func(dir string) bool { return place.subsystem(dir) == "usb" })
	switch {
	case onUSB:
		d.Bus = BusUSB
	case d.Kind == RAIDVolume:
		d.Bus = BusSCSI
	case place.find(ataPort) != "", d.Vendor == "ATA", identify != nil:
		d.Bus = BusATA
	case d.Vendor == "NVMe": // behind a tri-mode controller
		d.Bus = BusNVMe
	case place.findPrefix("end_device-") != "", slices.Contains(sasDrivers, driver):
		d.Bus = BusSAS
	default:
		d.Bus = BusSCSI
	}

	if d.Bus == BusATA {
		if d.Vendor == "ATA" { // the translation layer's word for itself
			d.Vendor = ""
		}
		// INQUIRY has 16 bytes for the model and 4 for the firmware, IDENTIFY DEVICE 40 and 8.
		if identify != nil {
			d.Model, d.Firmware, d.Serial = identify.model, identify.firmware, identify.serial
		}
	}
	if onUSB {
		// The kernel does not ask USB disks for VPD pages, many hang on it; the USB descriptor has a serial number.
		for _, above := range place.chain {
			if s, err := t.text(above + "/serial"); err == nil && place.subsystem(above) == "usb" {
				d.Serial = s
				break
			}
		}
	}
	if d.Serial == "" {
		page, err := t.vpd(device+"/vpd_pg80", 0x80)
		switch {
		case err == nil:
			d.Serial = clean(page)
		case errors.Is(err, fs.ErrNotExist) && onUSB:
			missing.add("serial", "neither the USB descriptor nor the disk tells")
		case errors.Is(err, fs.ErrNotExist):
			missing.add("serial", "the device has no unit serial number page (VPD 80)")
		default:
			missing.addErr("serial", err)
		}
	}
	t.scsiWWN(d, missing, device, onUSB)

	rotational, err := t.number(dir + "/queue/rotational")
	rate, rateErr := t.vpd(device+"/vpd_pgb1", 0xb1)
	switch {
	case d.Bus == BusNVMe:
		d.Medium = NVMe
	case err != nil:
		missing.addErr("medium", err)
	case rotational == 0:
		d.Medium = SSD // the kernel says so only if the device did
	// The kernel's 1 is the default as well. SBC-4 6.6.3 and ACS-4 word 217: 0 is not reported, 1 solid state, from
	// 0401h revolutions per minute.
	case rateErr == nil && len(rate) >= 2 && spins(binary.BigEndian.Uint16(rate)),
		identify != nil && spins(identify.rotation):
		d.Medium = HDD
	case d.Kind == RAIDVolume:
		missing.add("medium", "a RAID volume does not tell what its disks are")
	default:
		missing.add("medium", "the device does not report a rotation rate")
	}
}

func spins(rate uint16) bool { return rate >= 0x0401 && rate < 0xffff }

func (t *tree) scsiWWN(d *Disk, missing *unknowns, device string, onUSB bool) {
	s, err := t.text(device + "/wwid")
	if err == nil {
		if strings.HasPrefix(s, "naa.") || strings.HasPrefix(s, "eui.") || strings.HasPrefix(s, "uuid.") {
			d.WWN = strings.ToLower(s)
		}
		return
	}
	// Kernels before 4.0 and some captures have only the page.
	page, pageErr := t.vpd(device+"/vpd_pg83", 0x83)
	switch {
	case pageErr == nil:
		d.WWN = naa(page)
	case onUSB:
		missing.add("wwn", "the kernel does not ask USB disks for it")
	case errors.Is(err, syscall.ENXIO): // the device has no such page, so it has no WWN
	default:
		missing.addErr("wwn", err)
	}
}

// naa finds the logical unit's NAA name in a device identification page (SPC-4 7.8.6), the longest one.
func naa(page []byte) string {
	best := ""
	for len(page) >= 4 {
		n := int(page[3])
		if len(page) < 4+n {
			break
		}
		if page[1]&0x3f == 0x03 { // association logical unit, type NAA
			if s := hex.EncodeToString(page[4 : 4+n]); len(s) > len(best) {
				best = s
			}
		}
		page = page[4+n:]
	}
	if best == "" {
		return ""
	}
	return "naa." + best
}

// vpd returns the payload of a vital product data page.
func (t *tree) vpd(name string, page byte) ([]byte, error) {
	data, err := t.read(name)
	if err != nil {
		return nil, err
	}
	if len(data) < 4 || data[1] != page {
		return nil, &fileError{name, errors.New("not this page")}
	}
	n := int(binary.BigEndian.Uint16(data[2:]))
	return data[4:min(4+n, len(data))], nil
}

// identity is what counts of a SATA disk's IDENTIFY DEVICE.
type identity struct {
	model, firmware, serial string
	rotation                uint16
}

// ataIdentify reads it from the ATA information page (SAT-4 12.4.2). nil if there is none.
func (t *tree) ataIdentify(name string) *identity {
	page, err := t.vpd(name, 0x89)
	if err != nil || len(page) < 56+512 {
		return nil
	}
	words := page[56 : 56+512]
	text := func(first, last int) string {
		swapped := bytes.Clone(words[2*first : 2*last+2])
		for i := 0; i+1 < len(swapped); i += 2 {
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		}
		return clean(swapped)
	}
	id := &identity{serial: text(10, 19), firmware: text(23, 26), model: text(27, 46),
		rotation: binary.LittleEndian.Uint16(words[2*217:])}
	if id.model == "" {
		return nil
	}
	return id
}
