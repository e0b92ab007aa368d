package pxe

import (
	"net"
	"net/netip"
	"strconv"
	"time"
)

// A link is an interface that requests come in by.
type link struct {
	name      string
	mtu       int                 // bytes of an IP packet; 0 if unknown
	broadcast map[netip.Addr]bool // of its IPv4 subnets
	read      time.Time
}

// links remember interfaces, since to ask the kernel of one costs more than to answer a request. They are for one
// goroutine.
type links map[int]link

// linkTime is how long an interface is believed to be as it was.
const linkTime = 5 * time.Second

func (l *links) get(index int, now time.Time) link {
	if index == 0 {
		return link{}
	}
	if known, ok := (*l)[index]; ok && now.Sub(known.read) < linkTime {
		return known
	}
	found := link{read: now}
	if iface, err := net.InterfaceByIndex(index); err == nil {
		found.name, found.mtu = iface.Name, iface.MTU
		found.broadcast = broadcasts(iface)
	}
	if *l == nil || len(*l) > 4096 {
		// Interfaces of virtual machines come and go, each with a number of its own.
		*l = make(links)
	}
	(*l)[index] = found
	return found
}

func broadcasts(iface *net.Interface) map[netip.Addr]bool {
	addrs, err := iface.Addrs()
	if err != nil {
		return nil
	}
	all := make(map[netip.Addr]bool)
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil {
			continue
		}
		if ones, bits := n.Mask.Size(); bits != 32 || ones > 30 {
			continue
		}
		ip := n.IP.To4()
		all[netip.AddrFrom4([4]byte{ip[0] | ^n.Mask[0], ip[1] | ^n.Mask[1], ip[2] | ^n.Mask[2], ip[3] | ^n.Mask[3]})] = true
	}
	return all
}

// zone is the number of the interface that a link-local IPv6 address names; 0 if it names none.
func zone(a netip.Addr) uint32 {
	if a.Zone() == "" {
		return 0
	}
	if n, err := strconv.Atoi(a.Zone()); err == nil {
		return uint32(n)
	}
	iface, err := net.InterfaceByName(a.Zone())
	if err != nil {
		return 0
	}
	return uint32(iface.Index)
}
