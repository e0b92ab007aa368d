package dhcp

import (
	"context"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Mode says what a [Subnet] gives to machines that are ours.
type Mode string

const (
	// ModeAuthoritative gives addresses: reserved ones, and those of the pool. It is what the zero value means.
	ModeAuthoritative Mode = "authoritative"
	// ModeReserved gives reserved addresses and no others. A known machine without one counts as unknown.
	ModeReserved Mode = "reserved"
	// ModeProxy never gives an address, as another DHCP server does that. Clients that netboot are told what to boot, by an
	// offer of 0.0.0.0 beside that server's, and on [PXEPort] (ProxyDHCP, PXE specification 2.1, section 2.2).
	ModeProxy Mode = "proxy"
)

// admit decides what a machine gets in its subnet, by the subnet's mode and by whether the machine is known.
func (t *talk) admit() error {
	s := t.subnet
	if s.Mode == ModeProxy && t.known || s.Unknown == UnknownBoot && !t.known {
		t.bootOnly = true
		return nil
	}
	switch {
	case !t.known && s.Unknown != UnknownLease:
		return Ignored("unknown machine, and subnet " + s.Name + " is not for provisioning")
	case s.Mode == ModeReserved && !t.reservation.Addr.IsValid():
		if s.Unknown == UnknownBoot {
			t.bootOnly = true
			return nil
		}
		return Ignored("no address is reserved for this machine in subnet " + s.Name + ", which gives no others")
	}
	return nil
}

// proxy answers a machine that gets its address from another server.
func (t *talk) proxy(ctx context.Context) (*dhcpv4.DHCPv4, error) {
	client, _ := ParseBootRequest(t.packet)
	if !client.PXEClient && !client.HTTPClient && !client.IPXE {
		return nil, Ignored("it does not netboot, and gets no address in subnet " + t.subnet.Name)
	}
	if t.req.Port == PXEPort {
		return t.bootServer(ctx)
	}
	switch t.packet.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		t.req.Reason = "told what to boot, beside the server that gives it an address"
		return t.reply(ctx, dhcpv4.MessageTypeOffer, noAddr)
	case dhcpv4.MessageTypeInform:
		t.req.Reason = "told what to boot; its address is another server's"
		return t.reply(ctx, dhcpv4.MessageTypeAck, noAddr)
	case dhcpv4.MessageTypeRequest:
		// Also if it names us: a DHCPACK on this port would be taken for an address.
		return nil, Ignored("it gets no address in subnet " + t.subnet.Name + ", and asks for its boot server on port 4011")
	}
	return nil, Ignored("it gets no address in subnet " + t.subnet.Name + ", so its " + t.packet.MessageType().String() +
		" is for another server")
}
