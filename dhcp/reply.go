package dhcp

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// blank returns what each reply has in common (RFC 2131 table 3).
func (t *talk) blank(kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	p := t.packet
	reply := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        p.HWType,
		TransactionID: p.TransactionID,
		// The broadcast flag as well: relays look for it in our reply.
		Flags:         p.Flags,
		ClientIPAddr:  toIP(netip.Addr{}),
		YourIPAddr:    toIP(netip.Addr{}),
		ServerIPAddr:  toIP(netip.Addr{}),
		GatewayIPAddr: toIP(fromIP(p.GatewayIPAddr)),
		ClientHWAddr:  p.ClientHWAddr,
		Options:       make(dhcpv4.Options, 16),
	}
	reply.UpdateOption(dhcpv4.OptMessageType(kind))
	reply.UpdateOption(dhcpv4.OptServerIdentifier(toIP(t.serverID)))
	// RFC 6842 (option 61) and RFC 3046 section 2.2 (option 82): as they came.
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionClientIdentifier, dhcpv4.OptionRelayAgentInformation} {
		if v := p.Options.Get(code); v != nil {
			reply.UpdateOption(dhcpv4.OptGeneric(code, v))
		}
	}
	return reply
}

func (t *talk) nak(why string) (*dhcpv4.DHCPv4, error) {
	t.req.Reason = why
	reply := t.blank(dhcpv4.MessageTypeNak)
	if fromIP(t.packet.GatewayIPAddr).IsValid() {
		// RFC 2131 section 4.3.2: so that the relay broadcasts it; the client may not have a usable address.
		reply.SetBroadcast()
	}
	reply.UpdateOption(dhcpv4.OptMessage(why))
	return reply, nil
}

// reply builds an OFFER or ACK. Without an address it answers a client that has one already.
func (t *talk) reply(ctx context.Context, kind dhcpv4.MessageType, a netip.Addr) (*dhcpv4.DHCPv4, error) {
	reply := t.blank(kind)
	s := t.subnet
	seconds := func(code dhcpv4.OptionCode, d time.Duration) {
		v := binary.BigEndian.AppendUint32(nil, uint32(d/time.Second))
		reply.UpdateOption(dhcpv4.OptGeneric(code, v))
	}
	if t.req.Port != PXEPort && !t.bootOnly {
		if kind == dhcpv4.MessageTypeAck {
			reply.ClientIPAddr = toIP(fromIP(t.packet.ClientIPAddr))
		}
		if a.IsValid() {
			reply.YourIPAddr = toIP(a)
			d := t.leaseTime()
			seconds(dhcpv4.OptionIPAddressLeaseTime, d)
			seconds(dhcpv4.OptionRenewTimeValue, d/2)
			seconds(dhcpv4.OptionRebindingTimeValue, d/8*7)
		}
		t.writeNetwork(reply)
	}

	client, netboot := ParseBootRequest(t.packet)
	if netboot && t.cfg.Boot != nil {
		client.Subnet, client.Addr, client.Server = s.Name, a, t.local()
		rows := t.quirksOf(&client)
		pretend(rows, &client)
		boot, err := t.cfg.Boot.Boot(ctx, client)
		if err != nil {
			return nil, fmt.Errorf("dhcp: find out what %s boots: %w", t.mac, err)
		}
		if boot != nil {
			corrected := correct(rows, *boot, client.Server)
			writeBoot(reply, t.packet, &client, rows, &corrected)
		} else if t.req.Port == PXEPort || t.bootOnly {
			return nil, Ignored("there is nothing for it to boot")
		}
	} else if t.bootOnly {
		return nil, Ignored("there is nothing for it to boot")
	}
	if t.req.Port != PXEPort && !t.bootOnly {
		t.writeVendor(reply)
	}
	fit(reply, t.packet)
	return reply, nil
}

// local is the address at which the client reaches this server for other things than DHCP.
func (t *talk) local() netip.Addr {
	if t.req.Local.IsValid() {
		return t.req.Local
	}
	return t.subnet.ServerID
}

// writeNetwork adds what the subnet says. Mask, router, DNS, domain and host name go to everybody, as firmware is known
// to use them without asking; the rest to clients that ask for it (option 55), or that ask for nothing.
func (t *talk) writeNetwork(reply *dhcpv4.DHCPv4) {
	s := t.subnet
	asked := t.packet.ParameterRequestList()
	wants := func(code dhcpv4.OptionCode) bool { return len(asked) == 0 || asked.Has(code) }

	reply.UpdateOption(dhcpv4.OptSubnetMask(s.mask()))
	if s.Router.IsValid() {
		reply.UpdateOption(dhcpv4.OptRouter(toIP(s.Router)))
	}
	if t.reservation.Hostname != "" {
		reply.UpdateOption(dhcpv4.OptHostName(t.reservation.Hostname))
	}
	if wants(dhcpv4.OptionBroadcastAddress) && s.Prefix.Bits() < 31 {
		reply.UpdateOption(dhcpv4.OptBroadcastAddress(toIP(s.broadcast())))
	}
	t.writeSettings(reply)
	for _, o := range s.Options {
		reply.UpdateOption(o)
	}
}

// fit drops options, the least important first, until the reply is as short as the client can take: 576 bytes with IP
// and UDP headers (RFC 2131 section 2) unless it says more (option 57).
func fit(reply, request *dhcpv4.DHCPv4) {
	const headers, least, most = 20 + 8, 576, 1500
	room := least
	if n, err := request.MaxMessageSize(); err == nil {
		room = min(max(int(n), least), most)
	}
	drop := []dhcpv4.OptionCode{
		dhcpv4.OptionNTPServers, dhcpv4.OptionBroadcastAddress, dhcpv4.OptionTFTPServerName,
		dhcpv4.OptionRebindingTimeValue, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionDomainName, dhcpv4.OptionHostName,
		dhcpv4.OptionInterfaceMTU,
	}
	if reply.BootFileName != "" {
		drop = append([]dhcpv4.OptionCode{dhcpv4.OptionBootfileName}, drop...)
	}
	length := replyLength(reply)
	for _, code := range drop {
		if length+headers <= room {
			return
		}
		if v, ok := reply.Options[code.Code()]; ok {
			length -= optionLength(v)
			delete(reply.Options, code.Code())
		}
	}
	shed(reply, room-headers)
}

// replyLength is that of reply.ToBytes(), without the work; padding to the least length of a packet aside.
func replyLength(reply *dhcpv4.DHCPv4) int {
	n := 240 + 1 // RFC 2131 section 2, and the end
	for _, v := range reply.Options {
		n += optionLength(v)
	}
	return n
}

// optionLength is that of an option with its code and length; a long one is split (RFC 3396).
func optionLength(v []byte) int { return len(v) + 2*max(1, (len(v)+254)/255) }
