package dhcp

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// BenchmarkRespond is one exchange (DISCOVER, OFFER, REQUEST, ACK with a lease in memory) of a fleet of machines that
// come back again and again, on all processors.
func BenchmarkRespond(b *testing.B) {
	s := rack7()
	s.Prefix, s.Router, s.Settings = netip.MustParsePrefix("10.0.0.0/16"), ip("10.0.0.1"), Settings{Domain: s.Settings.Domain, MTU: s.Settings.MTU}
	s.Pool = Range{First: ip("10.0.0.2"), Last: ip("10.0.255.254")}
	authority, err := NewAuthority(AuthorityConfig{Subnets: []Subnet{s}, Leases: NewMemoryLeases(), Boot: BootFiles{}})
	require.NoError(b, err)
	var next atomic.Uint32
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0}
			binary.BigEndian.PutUint16(mac[4:], uint16(next.Add(1)%20000))
			ask := func(kind dhcpv4.MessageType, change ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
				p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(kind)}, change...)...)
				if err != nil {
					b.Error(err)
				}
				reply, err := authority.Respond(context.Background(), &Request{Packet: p, Local: ip("10.0.0.1"), Broadcast: true})
				if err != nil {
					b.Error(err)
				}
				return reply
			}
			offer := ask(dhcpv4.MessageTypeDiscover, biosROM...)
			ask(dhcpv4.MessageTypeRequest, asks(fromIP(offer.YourIPAddr)), names(ip("10.0.0.1")))
		}
	})
}
