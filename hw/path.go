//go:build linux

package hw

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

var (
	pciAddress = regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)
	scsiHCTL   = regexp.MustCompile(`^(\d+):(\d+):(\d+):(\d+)$`)
	usbName    = regexp.MustCompile(`^\d+-([\d.]+(:[\d.]+)?)$`)
	ataPort    = regexp.MustCompile(`^ata\d+$`)
)

// device is a place in the device topology: its directory below sys/devices and those above it, nearest first.
type device struct {
	tree  *tree
	chain []string
}

func (t *tree) device(dir string) device {
	d := device{tree: t}
	for dir != "sys/devices" && strings.HasPrefix(dir, "sys/devices/") {
		d.chain = append(d.chain, dir)
		dir = path.Dir(dir)
	}
	return d
}

// subsystem of one directory in the chain. The name decides where a captured tree has no link.
func (d device) subsystem(dir string) string {
	if s := d.tree.linkBase(dir + "/subsystem"); s != "" {
		return s
	}
	switch name := path.Base(dir); {
	case pciAddress.MatchString(name):
		return "pci"
	case scsiHCTL.MatchString(name):
		return "scsi"
	case usbName.MatchString(name):
		return "usb"
	case strings.HasPrefix(name, "virtio") && digits(name[6:]) == len(name)-6:
		return "virtio"
	case strings.HasPrefix(name, "nvme-subsys"):
		return "nvme-subsystem"
	}
	return ""
}

// find returns the nearest directory whose name the pattern matches, "" if none.
func (d device) find(pattern *regexp.Regexp) string {
	for _, dir := range d.chain {
		if pattern.MatchString(path.Base(dir)) {
			return dir
		}
	}
	return ""
}

// findPrefix returns the nearest directory whose name starts with prefix, "" if none.
func (d device) findPrefix(prefix string) string {
	for _, dir := range d.chain {
		if strings.HasPrefix(path.Base(dir), prefix) {
			return dir
		}
	}
	return ""
}

// pci returns the address of the PCI function that d is, with nothing but its own driver in between: for what hangs
// on a USB controller it returns "".
func (d device) pci() string {
	for _, dir := range d.chain {
		if name := path.Base(dir); pciAddress.MatchString(name) {
			return name
		}
		if d.subsystem(dir) == "usb" {
			return ""
		}
	}
	return ""
}

// persistentPath is udev's ID_PATH (systemd, builtin path_id) for disks and NICs: the names of the buses from the PCI
// function down, without any number that the kernel hands out in order of discovery. "" where udev would give none
// as well: a path that is not persistent is worse than none.
func (d device) persistentPath() string {
	var parts []string // from the device upwards
	var onBus, rooted bool
	prepend := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	for i := 0; i < len(d.chain); i++ {
		name, subsystem := path.Base(d.chain[i]), d.subsystem(d.chain[i])
		// Several levels of one bus (PCI bridges, USB hubs) are one element.
		skip := func() {
			for i+1 < len(d.chain) && d.subsystem(d.chain[i+1]) == subsystem {
				i++
			}
		}
		switch subsystem {
		case "scsi":
			if !scsiHCTL.MatchString(name) {
				continue
			}
			part, ok := d.scsiPath(d.chain[i])
			if !ok {
				return ""
			}
			prepend("%s", part)
			onBus = true
			skip()
		case "usb":
			m := usbName.FindStringSubmatch(name)
			if m == nil {
				continue
			}
			prepend("usb-0:%s", m[1])
			onBus = true
			skip()
		case "virtio":
			onBus = true
		case "nvme", "nvme-subsystem":
			nsid, err := d.tree.text(d.chain[0] + "/nsid")
			if err != nil {
				continue
			}
			prepend("nvme-%s", nsid)
			onBus, rooted = true, true
			if subsystem == "nvme-subsystem" {
				// With the kernel's multipathing the block device is virtual; the controller of the same number is
				// where it sits.
				controller := path.Base(d.chain[0])
				if n := digits(controller[min(4, len(controller)):]); n > 0 {
					controller = controller[:4+n]
				}
				real := d.tree.device(d.tree.real("sys/class/nvme/" + controller))
				if len(real.chain) == 0 || strings.HasPrefix(real.chain[0], "sys/devices/virtual/") {
					return ""
				}
				d, i = real, -1
				for i+1 < len(d.chain) && d.subsystem(d.chain[i+1]) == "nvme" {
					i++
				}
				continue
			}
			skip()
		case "pci", "platform", "acpi", "xen":
			prepend("%s-%s", subsystem, name)
			rooted = true
			if subsystem == "platform" {
				onBus = true
			}
			skip()
		}
	}
	// The parts above the bus count only with a root that has a stable address.
	if !rooted || len(parts) == 0 {
		return ""
	}
	isBlock := d.subsystem(d.chain[0]) == "block" || strings.Contains(d.chain[0], "/block/")
	if isBlock && !onBus && !strings.HasPrefix(parts[0], "xen-") {
		return ""
	}
	for l, r := 0, len(parts)-1; l < r; l, r = l+1, r-1 {
		parts[l], parts[r] = parts[r], parts[l]
	}
	return legible(strings.Join(parts, "-"))
}

// scsiPath is the element of a SCSI device, by its transport.
func (d device) scsiPath(dir string) (string, bool) {
	hctl := scsiHCTL.FindStringSubmatch(path.Base(dir))
	channel, target, lun := hctl[2], hctl[3], hctl[4]
	attr := func(name string) string { s, _ := d.tree.text(name); return s }
	host := d.findPrefix("host")
	if host == "" {
		return "", false
	}
	if end := d.findPrefix("end_device-"); end != "" {
		base := path.Base(end)
		port := path.Dir(end)
		if attr(port+"/sas_port/"+path.Base(port)+"/num_phys") != "1" {
			// A wide port: the address of the device, since several phys lead to it.
			address := attr(end + "/sas_device/" + base + "/sas_address")
			return "sas-" + address + "-lun-" + lun, address != ""
		}
		phy := attr(end + "/sas_device/" + base + "/phy_identifier")
		if phy == "" {
			return "", false
		}
		if above := path.Dir(port); strings.HasPrefix(path.Base(above), "expander-") {
			address := attr(above + "/sas_device/" + path.Base(above) + "/sas_address")
			return "sas-exp" + address + "-phy" + phy + "-lun-" + lun, address != ""
		}
		return "sas-phy" + phy + "-lun-" + lun, true
	}
	if rport := d.findPrefix("rport-"); rport != "" {
		name := attr("sys/class/fc_transport/" + path.Base(path.Dir(dir)) + "/port_name")
		return "fc-" + name + "-lun-" + lun, name != ""
	}
	if d.findPrefix("session") != "" {
		return "", false // iSCSI: not a disk of this machine
	}
	if ata := d.find(ataPort); ata != "" {
		port := attr(ata + "/ata_port/" + path.Base(ata) + "/port_no")
		if port == "" {
			return "", false
		}
		if channel != "0" { // behind a port multiplier
			return "ata-" + port + "." + channel + ".0", true
		}
		return "ata-" + port + "." + target, true
	}
	// Any other: the host's number among those of the same function, as udev does (and warns against).
	own, err := strconv.Atoi(strings.TrimPrefix(path.Base(host), "host"))
	if err != nil {
		return "", false
	}
	lowest := own
	names, _ := d.tree.list(path.Dir(host))
	for _, n := range names {
		if v, err := strconv.Atoi(strings.TrimPrefix(n, "host")); err == nil && strings.HasPrefix(n, "host") {
			lowest = min(lowest, v)
		}
	}
	return fmt.Sprintf("scsi-%d:%s:%s:%s", own-lowest, channel, target, lun), true
}
