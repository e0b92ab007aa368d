package dhcp

import (
	"context"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// FuzzRespondInEveryMode holds that a machine that is not ours gets no answer where the subnet says so, whatever it sends,
// and that nobody gets an address of a subnet that gives none.
func FuzzRespondInEveryMode(f *testing.F) {
	for _, kind := range everyKind {
		for _, m := range [][]dhcpv4.Modifier{nil, biosROM, efiROM, httpROM, ipxeBIOS} {
			p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(alice), dhcpv4.WithMessageType(kind)}, m...)...)
			require.NoError(f, err)
			for mode := range 6 {
				f.Add(p.ToBytes(), uint8(mode), uint16(ServerPort), true)
				f.Add(p.ToBytes(), uint8(mode), uint16(PXEPort), false)
			}
		}
	}
	var authorities []*Authority
	for _, mode := range []Mode{ModeAuthoritative, ModeReserved, ModeProxy} {
		for _, unknown := range []Unknown{UnknownIgnore, UnknownBoot} {
			s := rack7()
			if s.Mode, s.Unknown, s.RapidCommit = mode, unknown, true; mode != ModeAuthoritative {
				s.Pool = Range{}
			}
			s.Settings = Settings{Search: []string{"example"}, Routes: []Route{{netip.MustParsePrefix("10.0.0.0/8"), gateway}},
				Vendor: []VendorOption{{"PXE", []byte{1}}}, Other: []Option{{Code: 150, Data: []byte{1, 2, 3, 4}, Always: true}}}
			a, err := NewAuthority(AuthorityConfig{Subnets: []Subnet{s}, Leases: NewMemoryLeases(), Boot: BootFiles{},
				Reservations: StaticReservations{bob.String(): {Addr: ip("10.7.0.9")}}})
			require.NoError(f, err)
			authorities = append(authorities, a)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, mode uint8, port uint16, broadcast bool) {
		p, err := dhcpv4.FromBytes(data)
		if err != nil {
			return
		}
		_ = PlaceOf(p)
		a := authorities[int(mode)%len(authorities)]
		s := a.cfg.Subnets[0]
		reply, err := Answer(context.Background(), a, &Request{Packet: p, Interface: "eth1", Local: gateway, Broadcast: broadcast,
			Addrs: []netip.Prefix{netip.MustParsePrefix("10.7.0.1/24")}, Port: port, Time: start})
		if reply == nil {
			require.Error(t, err, "silence has a reason")
			return
		}
		ours := p.ClientHWAddr.String() == bob.String()
		require.True(t, ours || s.Unknown == UnknownBoot, "it is not ours")
		if !ours || s.Mode == ModeProxy {
			require.True(t, reply.YourIPAddr.IsUnspecified())
			require.NotEqual(t, dhcpv4.MessageTypeNak, reply.MessageType())
			_, netboots := ParseBootRequest(p)
			require.True(t, netboots)
		}
		_, err = dhcpv4.FromBytes(reply.ToBytes())
		require.NoError(t, err)
	})
}
