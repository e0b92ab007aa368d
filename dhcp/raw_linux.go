package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// rawSocket receives and sends UDP of one port by packet sockets, past the kernel's UDP: another program may have the
// port. See [Server.Raw].
type rawSocket struct {
	port   uint16
	buf    []byte
	link   *packet.Conn  // IP datagrams of one interface, with Ethernet addresses
	routed *ipv4.RawConn // IP datagrams that the kernel routes

	// Used by the receiving goroutine only.
	host   []netip.Prefix // the addresses of the host
	hostAt time.Time
}

func openRaw(ifi *net.Interface, port uint16) (socket, error) {
	link, err := openPacket(ifi, udpTo(port, unix.PACKET_BROADCAST))
	if err != nil {
		return nil, err
	}
	ip, err := net.ListenPacket("ip4:255", "0.0.0.0") // IPPROTO_RAW only sends
	if err != nil {
		link.Close()
		return nil, fmt.Errorf("open the raw IP socket (needs CAP_NET_RAW): %w", err)
	}
	routed, err := ipv4.NewRawConn(ip)
	if err != nil {
		link.Close()
		ip.Close()
		return nil, fmt.Errorf("open the raw IP socket: %w", err)
	}
	return &rawSocket{port: port, buf: make([]byte, maxPacket), link: link, routed: routed}, nil
}

// openPacket opens a packet socket for IPv4 without Ethernet headers, which receives what the filter accepts.
func openPacket(ifi *net.Interface, accept []bpf.Instruction) (*packet.Conn, error) {
	filter, err := bpf.Assemble(accept)
	if err != nil {
		return nil, fmt.Errorf("assemble the filter: %w", err)
	}
	conn, err := packet.Listen(ifi, packet.Datagram, unix.ETH_P_IP, &packet.Config{Filter: filter})
	if err != nil {
		return nil, fmt.Errorf("open the packet socket (needs CAP_NET_RAW): %w", err)
	}
	return conn, nil
}

// udpTo accepts whole UDP datagrams to a port on this very interface: a packet socket on a trunk also sees what is tagged
// for a VLAN, which is a link of its own. kinds is the last of the kinds of packets that are accepted, in the order of
// packet(7): PACKET_BROADCAST leaves out what is for others, and what this host sends. Offsets count from the IP header.
func udpTo(port uint16, kinds uint32) []bpf.Instruction {
	const drop = 13
	to := func(at int) uint8 { return uint8(drop - at - 1) }
	return []bpf.Instruction{
		0:    bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		1:    bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: to(1)},
		2:    bpf.LoadExtension{Num: bpf.ExtType},
		3:    bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: kinds, SkipTrue: to(3)},
		4:    bpf.LoadAbsolute{Off: 9, Size: 1},
		5:    bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocolUDP, SkipTrue: to(5)},
		6:    bpf.LoadAbsolute{Off: 6, Size: 2},
		7:    bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: to(7)}, // a fragment
		8:    bpf.LoadMemShift{Off: 0},                                        // the length of the IP header
		9:    bpf.LoadIndirect{Off: 2, Size: 2},
		10:   bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: to(10)},
		11:   bpf.LoadExtension{Num: bpf.ExtLen},
		12:   bpf.RetA{},
		drop: bpf.RetConstant{Val: 0},
	}
}

func (r *rawSocket) receive(got func([]byte, netip.AddrPort, netip.Addr)) error {
	n, _, err := r.link.ReadFrom(r.buf)
	if err != nil {
		return err
	}
	// The checksum is not looked at: what comes from the same host, as from a virtual machine, has none yet.
	if data, from, to, err := parseDatagram(r.buf[:n]); err == nil && r.ours(to.Addr()) {
		got(slices.Clone(data), from, to.Addr())
	}
	return nil
}

// ours reports whether a packet is for this host, and not one that it routes to another DHCP server.
func (r *rawSocket) ours(to netip.Addr) bool {
	if to == limitedBroadcast {
		return true
	}
	if now := time.Now(); now.Sub(r.hostAt) > time.Second {
		r.host, r.hostAt = hostAddrs(), now
	}
	return broadcastOf(r.host, to) || slices.ContainsFunc(r.host, func(p netip.Prefix) bool { return p.Addr() == to })
}

func (r *rawSocket) setReadDeadline(t time.Time) error { return r.link.SetReadDeadline(t) }

// send sends data from an address of this host.
func (r *rawSocket) send(data []byte, from netip.Addr, to Destination) error {
	b := datagram(from, r.port, to.Addr, data)
	if to.MAC != nil {
		_, err := r.link.WriteTo(b, &packet.Addr{HardwareAddr: to.MAC})
		return err
	}
	header, err := ipv4.ParseHeader(b)
	if err != nil {
		return err
	}
	return r.routed.WriteTo(header, b[header.Len:], nil)
}

func (r *rawSocket) close() { _ = errors.Join(r.link.Close(), r.routed.Close()) }

// hostAddrs returns the IPv4 addresses of all interfaces, as far as they can be found out.
func hostAddrs() []netip.Prefix {
	addrs, _ := net.InterfaceAddrs()
	return prefixes(addrs)
}
