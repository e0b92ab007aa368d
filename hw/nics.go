//go:build linux

package hw

import (
	"context"
	"errors"
	"net"
	"path"
	"slices"
	"strings"
	"syscall"
)

// nics reads /sys/class/net. Only interfaces with a device behind them count, and no virtual functions: those are not
// parts of the machine.
func (t *tree) nics(ctx context.Context, pci []PCIDevice) ([]NIC, unknowns) {
	var missing unknowns
	nics := []NIC{}
	names, err := t.list("sys/class/net")
	if err != nil {
		missing.addErr("nics", err)
		return nics, missing
	}
	var ask *kernelNICs
	if t.live {
		ask = openKernelNICs()
		defer ask.close()
	}
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		dir := t.real("sys/class/net/" + name)
		if strings.HasPrefix(dir,
			"sys/devices/virtual/") || !t.exists(dir+"/device") || t.exists(dir+"/device/physfn") {
			continue
		}
		if kind, err := t.number(dir + "/type"); err == nil && kind != 1 && kind != 32 { // Ethernet, InfiniBand
			continue
		}
		nics = append(nics, t.nic(name, dir, pci, ask))
	}
	slices.SortFunc(nics, func(a, b NIC) int {
		if c := byPath(a.Path, b.Path); c != 0 {
			return c
		}
		if a.Port != b.Port {
			return a.Port - b.Port
		}
		return natural(a.Name, b.Name)
	})
	return nics, missing
}

func (t *tree) nic(name, dir string, pci []PCIDevice, ask *kernelNICs) NIC {
	n := NIC{Name: legible(name)}
	var missing unknowns
	place := t.device(dir)
	if n.Path = place.persistentPath(); n.Path == "" {
		missing.add("path", "/%s is on no bus with persistent addresses", dir)
	}
	if port, err := t.number(dir + "/dev_port"); err == nil && port > 0 && port < 1<<16 {
		n.Port = int(port)
	}
	if n.Driver = t.linkBase(dir + "/device/driver"); n.Driver == "" {
		missing.add("driver", "/%s/device/driver is not there", dir)
	}
	n.PCI = place.pci()
	if i := slices.IndexFunc(pci, func(d PCIDevice) bool { return d.Address == n.PCI }); i >= 0 {
		n.Vendor, n.Device, n.SubVendor, n.SubDevice = pci[i].Vendor, pci[i].Device, pci[i].SubVendor,
			pci[i].SubDevice
	} else if n.PCI != "" {
		missing.add("vendor", "/sys/bus/pci/devices/%s is not there", n.PCI)
		missing.add("device", "/sys/bus/pci/devices/%s is not there", n.PCI)
	}

	address, err := t.text(dir + "/address")
	if err != nil {
		missing.addErr("current_mac", err)
	} else if mac, err := net.ParseMAC(address); err != nil {
		missing.add("current_mac", "/%s/address: %q is not a hardware address", dir, address)
	} else {
		n.CurrentMAC = mac.String()
	}
	t.permanentMAC(&n, &missing, name, dir, ask)

	firmware, err := t.ask("ethtool/"+name+"/firmware", func() ([]byte, error) { return ask.firmware(name) })
	if err != nil {
		missing.add("firmware", "ethtool %s: %v", name, err)
	}
	n.Firmware = clean(firmware)
	t.maxSpeed(&n, &missing, name, ask)

	t.link(&n, &missing, dir)
	n.Unknown = missing
	return n
}

// permanentMAC is what the maker burnt in: the current address may be set by a bond or by a person.
func (t *tree) permanentMAC(n *NIC, missing *unknowns, name, dir string, ask *kernelNICs) {
	answer, why := t.ask("ethtool/"+name+"/permanent", func() ([]byte, error) { return ask.permanent(name) })
	if why == nil {
		var mac net.HardwareAddr
		if mac, why = net.ParseMAC(clean(answer)); why == nil && strings.Trim(mac.String(), "0:") != "" {
			n.MAC = mac.String()
			return
		}
		if why == nil {
			why = errors.New("all zero")
		}
	}
	// NET_ADDR_PERM 0: the address in use is the permanent one (Documentation/ABI/testing/sysfs-class-net).
	kind, err := t.number(dir + "/addr_assign_type")
	switch {
	case err != nil:
		missing.addErr("mac", err)
	case kind == 0 && n.CurrentMAC != "":
		n.MAC = n.CurrentMAC
	default:
		missing.add("mac", "the address in use is not the permanent one, and ethtool says: %v", why)
	}
}

// maxSpeed is the fastest link mode that the port supports; drivers tell it without a link too.
func (t *tree) maxSpeed(n *NIC, missing *unknowns, name string, ask *kernelNICs) {
	answer, err := t.ask("ethtool/"+name+"/link_modes", func() ([]byte, error) {
		modes, err := ask.linkModes(name)
		return formatLinkModes(modes), err
	})
	var modes []uint32
	if err == nil {
		modes, err = parseLinkModes(answer)
	}
	if err != nil {
		missing.add("max_speed_mbps", "ethtool %s: %v", n.Name, err)
		return
	}
	if n.MaxSpeedMbps = fastest(modes); n.MaxSpeedMbps == 0 {
		missing.add("max_speed_mbps", "driver %s tells no link modes", n.Driver)
	}
}

func (t *tree) link(n *NIC, missing *unknowns, dir string) {
	carrier, err := t.number(dir + "/carrier")
	if err != nil {
		if errors.Is(err, syscall.EINVAL) {
			missing.add("link_up", "the interface is down, and the kernel tells the link only of one that is up")
		} else {
			missing.addErr("link_up", err)
		}
		missing.add("speed_mbps", "known only while the link is up")
		return
	}
	up := carrier == 1
	n.LinkUp = &up
	if !up {
		return // without link there is no speed: known to be none
	}
	speed, err := t.number(dir + "/speed")
	switch {
	case err == nil && speed > 0 && speed < 1<<30:
		n.SpeedMbps = int(speed)
	case err == nil || errors.Is(err, syscall.EINVAL): // -1: SPEED_UNKNOWN, as of virtual NICs
		missing.add("speed_mbps", "driver %s does not tell", path.Base(n.Driver))
	default:
		missing.addErr("speed_mbps", err)
	}
}
