package dhcp

import (
	"bytes"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// A Destination is where a reply goes to.
type Destination struct {
	// Addr is the IP address and port.
	Addr netip.AddrPort
	// MAC is the Ethernet address, if the reply must not be left to the kernel's routing and ARP: the client has no
	// address yet to be resolved. It is ff:ff:ff:ff:ff:ff for a broadcast, and nil if the kernel routes.
	MAC net.HardwareAddr
}

// String is `10.7.0.5:68`, with `at 52:54:00:12:34:56` if Ethernet must not be left to the kernel.
func (d Destination) String() string {
	switch {
	case d.MAC == nil:
		return d.Addr.String()
	case bytes.Equal(d.MAC, ethernetAll):
		return "everybody"
	}
	return d.Addr.String() + " at " + d.MAC.String()
}

var (
	limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	ethernetAll      = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

// DestinationOf says where the reply to a request goes to (RFC 2131 section 4.1):
//
//   - to the relay, if there is one: giaddr, port 67, or the relay's own source port if it asks for that (RFC 8357);
//   - on [PXEPort], to the source of the request;
//   - for a DHCPNAK, to everybody: the client has no address that can be relied on;
//   - to the client's own address (ciaddr), if it has one;
//   - to everybody, if the client cannot receive unicast before it is configured (the broadcast flag);
//   - else to the client's hardware address and the address that it is just being given.
func DestinationOf(req *Request, reply *dhcpv4.DHCPv4) Destination {
	p := req.Packet
	if relay := fromIP(p.GatewayIPAddr); relay.IsValid() {
		port := uint16(ServerPort)
		if info := p.RelayAgentInfo(); info != nil && info.Has(dhcpv4.RelaySourcePortSubOption) && req.Peer.Port() != 0 {
			port = req.Peer.Port()
		}
		return Destination{Addr: netip.AddrPortFrom(relay, port)}
	}
	if req.Port != 0 && req.Port != ServerPort && req.Peer.Addr().IsValid() && !req.Peer.Addr().IsUnspecified() {
		return Destination{Addr: req.Peer}
	}
	everybody := Destination{Addr: netip.AddrPortFrom(limitedBroadcast, ClientPort), MAC: ethernetAll}
	if reply.MessageType() == dhcpv4.MessageTypeNak {
		return everybody
	}
	if client := fromIP(p.ClientIPAddr); client.IsValid() {
		return Destination{Addr: netip.AddrPortFrom(client, ClientPort)}
	}
	given := fromIP(reply.YourIPAddr)
	if p.IsBroadcast() || !given.IsValid() || len(p.ClientHWAddr) != 6 {
		return everybody
	}
	return Destination{Addr: netip.AddrPortFrom(given, ClientPort), MAC: p.ClientHWAddr}
}
