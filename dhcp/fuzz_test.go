package dhcp

import (
	"context"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// FuzzRespond feeds what can arrive on a socket. Nothing may panic, and what is answered must be a proper question, the
// answer a proper packet, and the address one that may be given.
func FuzzRespond(f *testing.F) {
	seed := func(kind dhcpv4.MessageType, change ...dhcpv4.Modifier) {
		p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(alice), dhcpv4.WithMessageType(kind)}, change...)...)
		require.NoError(f, err)
		for _, port := range []uint16{ServerPort, PXEPort} {
			f.Add(p.ToBytes(), port, true)
			f.Add(p.ToBytes(), port, false)
		}
	}
	for _, m := range [][]dhcpv4.Modifier{nil, biosROM, efiROM, httpROM, ipxeBIOS} {
		seed(dhcpv4.MessageTypeDiscover, m...)
		seed(dhcpv4.MessageTypeRequest, plus(m, asks(ip("10.7.0.9")), names(gateway))...)
	}
	seed(dhcpv4.MessageTypeRequest, has(ip("10.7.0.9")))
	seed(dhcpv4.MessageTypeRequest, asks(ip("10.7.0.9")))
	seed(dhcpv4.MessageTypeDecline, asks(ip("10.7.0.9")))
	seed(dhcpv4.MessageTypeRelease, has(ip("10.7.0.9")))
	seed(dhcpv4.MessageTypeInform, has(ip("10.7.0.9")))
	seed(dhcpv4.MessageTypeDiscover, dhcpv4.WithGatewayIP(toIP(ip("10.7.0.254"))),
		raw(82, 5, 4, 10, 7, 0, 1, 11, 4, 10, 7, 0, 254, 19, 0))
	seed(dhcpv4.MessageTypeDiscover, raw(82, 5, 200), raw(57, 0, 0), raw(77, 255), raw(93, 1), raw(97, 0))

	subnet := rack7()
	store := NewMemoryLeases()
	authority, err := NewAuthority(AuthorityConfig{
		Subnets: []Subnet{subnet}, Leases: store, Boot: BootFiles{UserClass: "loda"},
		Reservations: StaticReservations{bob.String(): {Addr: ip("10.7.0.9"), Hostname: "bob"}},
	})
	require.NoError(f, err)

	f.Fuzz(func(t *testing.T, data []byte, port uint16, broadcast bool) {
		p, err := dhcpv4.FromBytes(data)
		if err != nil {
			return
		}
		req := &Request{
			Packet: p, Interface: "eth1", Local: gateway, Addrs: []netip.Prefix{netip.MustParsePrefix("10.7.0.1/24")},
			Broadcast: broadcast, Port: port, Time: start,
		}
		before := p.ToBytes()
		reply, err := authority.Respond(context.Background(), req)
		require.Equal(t, before, p.ToBytes(), "the request was changed")
		_ = stageOf(p)
		if reply == nil {
			require.Error(t, err, "silence has a reason")
			return
		}
		require.NoError(t, err)
		require.Equal(t, dhcpv4.OpcodeBootRequest, p.OpCode)
		_, err = ethernet(p.ClientHWAddr)
		require.NoError(t, err)
		require.Contains(t, []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest,
			dhcpv4.MessageTypeInform}, p.MessageType())
		if id := p.Options.Get(dhcpv4.OptionServerIdentifier); id != nil {
			require.Len(t, id, 4)
		}

		wire := reply.ToBytes()
		parsed, err := dhcpv4.FromBytes(wire)
		require.NoError(t, err, hex.EncodeToString(wire))
		require.Equal(t, dhcpv4.OpcodeBootReply, parsed.OpCode)
		require.Equal(t, p.TransactionID, parsed.TransactionID)
		if given := fromIP(parsed.YourIPAddr); given.IsValid() {
			require.True(t, subnet.Prefix.Contains(given))
			require.False(t, subnet.infrastructure(given))
			if given == ip("10.7.0.9") {
				require.Equal(t, bob.String(), p.ClientHWAddr.String(), "reserved for bob")
			}
		}
		to := DestinationOf(req, reply)
		require.True(t, to.Addr.IsValid())
	})
}

func FuzzUserClass(f *testing.F) {
	f.Add([]byte("iPXE"))
	f.Add([]byte("\x04iPXE\x03abc"))
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, class := range userClass(b) {
			for _, r := range class {
				require.True(t, r >= ' ' && r < 0x7f)
			}
		}
	})
}
