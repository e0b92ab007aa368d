package lab

import (
	"fmt"
	"strconv"
	"strings"
)

// qemuHost is what a machine's command line needs to know of the world around it.
type qemuHost struct {
	accel          string
	ovmfCode       string
	nvram          string   // this machine's own copy of the OVMF variables
	disks          []string // raw images
	taps           []string
	smbios         []string // binary SMBIOS structures
	consoleLog     string
	consoleSocket  string
	monitorSocket  string
	order          BootOrder
	captures       []string // pcap files, one for each NIC; nil: no capture
	ownMonitorFile int      // inherited file descriptor of the owner's QMP connection
}

// qemuArgs is the command line of a completed machine. QEMU starts it paused (-S), so that the owner is connected
// before the first instruction runs.
func (m MachineSpec) qemuArgs(h qemuHost) []string {
	var args []string
	add := func(a ...string) { args = append(args, a...) }
	opt := func(parts ...string) string { return strings.Join(parts, ",") }

	add("-name", "loda-lab-"+m.Name, "-S", "-no-user-config", "-nodefaults", "-nographic")
	if m.SecureBoot {
		// The variables belong to the firmware alone, in system management mode (OVMF's README, SMM support).
		add("-machine", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on")
	} else {
		add("-machine", "q35")
	}
	switch h.accel {
	case "tcg":
		// The translation cache grows to a gigabyte for each machine if it may. la57 (five-level paging) confuses
		// old kernels; "max" brings RDRAND, without which getrandom blocks in early user space.
		add("-accel", "tcg,tb-size=64", "-cpu", "max,la57=off")
	default:
		add("-accel", h.accel, "-cpu", "host")
	}
	add("-smp", strconv.Itoa(m.CPUs), "-m", fmt.Sprintf("%dM", m.Memory/MiB))

	if m.Firmware == UEFI {
		add("-drive", opt("if=pflash,unit=0,format=raw,readonly=on", "file="+escape(h.ovmfCode)))
		add("-drive", opt("if=pflash,unit=1,format=raw", "file="+escape(h.nvram)))
		// Without these OVMF spends minutes on protocols that the rack does not speak.
		add("-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")
		if m.Boot == BootHTTP {
			add("-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n")
		}
	} else {
		// A server whose boot sources all fail tries again for ever, rather than stand still.
		add("-boot", "menu=off,reboot-timeout=5000")
	}
	if m.Direct != nil {
		add("-kernel", m.Direct.Kernel)
		if m.Direct.Initrd != "" {
			add("-initrd", m.Direct.Initrd)
		}
		if m.Direct.Cmdline != "" {
			add("-append", m.Direct.Cmdline)
		}
	}

	if m.BIOSVersion != "" {
		add("-smbios", opt("type=0", "vendor="+escape(m.Vendor), "version="+escape(m.BIOSVersion)))
	}
	// Without an empty version QEMU puts the name of its machine type there.
	identity := opt("manufacturer="+escape(m.Vendor), "version=", "serial="+escape(m.Serial))
	system := opt("type=1", identity, "product="+escape(m.Product), "uuid="+m.UUID)
	if m.SKU != "" {
		system = opt(system, "sku="+escape(m.SKU))
	}
	add("-smbios", system)
	add("-smbios", opt("type=2", identity, "product="+escape(m.Product)))
	add("-smbios", opt("type=3", identity))
	for _, file := range h.smbios {
		add("-smbios", "file="+escape(file))
	}

	add("-device", "virtio-rng-pci")
	if m.BMC {
		add("-device", "ipmi-bmc-sim,id=bmc0", "-device", "isa-ipmi-kcs,bmc=bmc0")
	}
	boot := map[string]string{}
	for i, device := range m.bootDevices(h.order) {
		boot[device] = fmt.Sprintf(",bootindex=%d", i+1)
	}
	for i, n := range m.NICs {
		id := fmt.Sprintf("net%d", i)
		add("-netdev", opt("tap", "id="+id, "ifname="+h.taps[i], "script=no,downscript=no"))
		device := opt(map[NICModel]string{VirtioNet: "virtio-net-pci", E1000: "e1000", E1000E: "e1000e"}[n.Model],
			"id="+nicID(i), "netdev="+id, "mac="+n.MAC)
		if n.NoBoot || m.Boot != BootIPXEROM {
			device = opt(device, "romfile=")
		}
		add("-device", device+boot[nicID(i)])
		if h.captures != nil {
			add("-object", opt("filter-dump", "id=dump"+strconv.Itoa(i), "netdev="+id, "file="+escape(h.captures[i])))
		}
	}
	args = append(args, m.diskArgs(h.disks, boot)...)

	// The serial port is a log file, which is appended to over power cycles, and a socket for a person at once.
	add("-chardev", opt("socket,id=console", "path="+escape(h.consoleSocket), "server=on,wait=off",
		"logfile="+escape(h.consoleLog), "logappend=on"))
	add("-serial", "chardev:console")
	add("-chardev", opt("socket,id=owner", "fd="+strconv.Itoa(h.ownMonitorFile)), "-mon", "chardev=owner,mode=control")
	add("-chardev", opt("socket,id=monitor", "path="+escape(h.monitorSocket), "server=on,wait=off"),
		"-mon", "chardev=monitor,mode=control")
	return append(args, m.QEMUArgs...)
}

func (m MachineSpec) diskArgs(images []string, boot map[string]string) []string {
	var args []string
	add := func(a ...string) { args = append(args, a...) }
	// Controllers that several disks share, in the order of their first disk.
	controllers := map[Bus]string{BusSCSI: "virtio-scsi-pci", BusMegaSAS: "megasas-gen2", BusMPTSAS: "mptsas1068"}
	count := map[Bus]int{}
	// Behind the random number generator and the network cards. QEMU would give out the same slots, but to the next card
	// where a disk is pulled, and a disk is known by its place as well.
	slot := 1 + len(m.NICs)
	card := func() string {
		slot++
		return fmt.Sprintf(",addr=0x%x", slot)
	}
	for i, d := range m.Disks {
		if controller := controllers[d.Bus]; controller != "" && count[d.Bus] == 0 {
			add("-device", controller+",id="+string(d.Bus)+"0"+card())
		}
		n := count[d.Bus]
		count[d.Bus]++
		address := ""
		if d.Bus == BusVirtio || d.Bus == BusNVMe {
			address = card()
		}
		if d.Pulled {
			continue
		}

		drive := fmt.Sprintf("disk%d", i)
		// A raw image with the host's page cache and no flushes survives the death of QEMU, as everything that the
		// guest wrote is in the host's kernel by then: fast, and right for a power cut. (A qcow2 would not be: its
		// metadata stays in QEMU.)
		add("-drive", "if=none,id="+drive+",format=raw,cache=unsafe,discard=unmap,file="+escape(images[i]))

		place := ",id=" + bayID(i) + ",drive=" + drive + boot[bayID(i)]
		identity := place + ",serial=" + escape(d.Serial)
		switch d.Bus {
		case BusVirtio:
			add("-device", "virtio-blk-pci"+identity+address)
		case BusNVMe:
			id := fmt.Sprintf("nvme%d", n)
			add("-device", "nvme,id="+id+",serial="+escape(d.Serial)+address)
			add("-device", "nvme-ns,bus="+id+place+",eui64=0x"+d.WWN)
		case BusAHCI:
			device := fmt.Sprintf("ide-hd,bus=ide.%d%s,wwn=0x%s,rotation_rate=%d", n, identity, d.WWN, d.rotation())
			add("-device", device+optional("model", d.Model)+optional("ver", d.Firmware))
		default:
			device := fmt.Sprintf("scsi-hd,bus=%s0.0,scsi-id=%d%s,wwn=0x%s,rotation_rate=%d", d.Bus, n, identity, d.WWN,
				d.rotation())
			add("-device", device+optional("product", d.Model)+optional("ver", d.Firmware))
		}
	}
	return args
}

// rotation is the ATA and SCSI notion of a rotation rate, where 1 means a solid-state drive (ACS-3 section 7.12.7.80).
func (d Disk) rotation() int {
	if d.Medium == HDD {
		return 7200
	}
	return 1
}

// bootDevices lists the ids of the devices (nic0, bay0, …) that the firmware tries, in turn.
func (m MachineSpec) bootDevices(order BootOrder) []string {
	var nics, disks []string
	for i, n := range m.NICs {
		if !n.NoBoot {
			nics = append(nics, nicID(i))
		}
	}
	for i, d := range m.Disks {
		if !d.Pulled {
			disks = append(disks, bayID(i))
		}
	}
	switch order {
	case OrderNVRAM:
		return nil // QEMU has no say
	case OrderDisk:
		return append(disks, nics...)
	default:
		return append(nics, disks...)
	}
}

func nicID(i int) string { return "nic" + strconv.Itoa(i) }

func bayID(i int) string { return "bay" + strconv.Itoa(i) }

func optional(key, value string) string {
	if value == "" {
		return ""
	}
	return "," + key + "=" + escape(value)
}

// escape protects commas in a value of QEMU's option syntax.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }
