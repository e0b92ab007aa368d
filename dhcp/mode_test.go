package dhcp

import (
	"context"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// beside is rack-7 where another server gives the addresses.
func beside(unknown Unknown) func(*AuthorityConfig) {
	return subnet(func(s *Subnet) { s.Mode, s.Pool, s.Unknown = ModeProxy, Range{}, unknown })
}

var everyKind = []dhcpv4.MessageType{
	dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDecline, dhcpv4.MessageTypeRelease,
	dhcpv4.MessageTypeInform,
}

func TestProxyTellsOurMachinesWhatToBootAndGivesNoAddress(t *testing.T) {
	b := newBench(t, beside(UnknownIgnore), netboots(BootFiles{HTTP: "http://{server}/efi"}),
		knows(StaticReservations{alice.String(): {Addr: ip("10.7.0.9"), Hostname: "alice"}}))
	for name, c := range map[string]struct {
		sent []dhcpv4.Modifier
		file string
	}{
		"BIOS": {biosROM, "undionly.kpxe"}, "UEFI": {efiROM, "snponly.efi"}, "iPXE": {ipxeBIOS, "http://10.7.0.1/boot.ipxe"},
		"HTTP boot": {httpROM, "http://10.7.0.1/efi/snponly.efi"},
	} {
		t.Run(name, func(t *testing.T) {
			for asked, answered := range map[dhcpv4.MessageType]dhcpv4.MessageType{
				dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeInform: dhcpv4.MessageTypeAck,
			} {
				p := b.answer(answered, asked, alice, c.sent...)
				require.True(t, p.YourIPAddr.IsUnspecified())
				require.Equal(t, c.file, p.BootFileNameOption())
				require.Equal(t, "10.7.0.1", p.ServerIdentifier().String())
				require.Contains(t, []string{"PXEClient", "HTTPClient"}, p.ClassIdentifier(), "else it is no ProxyDHCP offer")
				for _, code := range []uint8{1, 3, 6, 12, 15, 42, 51, 58, 59, 175} {
					require.False(t, p.Options.Has(dhcpv4.GenericOptionCode(code)), "option %d is the other server's", code)
				}
				to := DestinationOf(&Request{Packet: &dhcpv4.DHCPv4{ClientHWAddr: alice}}, p)
				require.Equal(t, "255.255.255.255:68", to.Addr.String(), "it has no address to be reached at")
			}
		})
	}
	b.silence(dhcpv4.MessageTypeRequest, alice, plus(biosROM, asks(ip("10.7.0.50")), names(ip("10.7.0.2")))...)
	b.silence(dhcpv4.MessageTypeRequest, alice, plus(biosROM, asks(ip("10.7.0.50")), names(gateway))...)
	b.silence(dhcpv4.MessageTypeRequest, alice, asks(ip("192.0.2.7")))
	_, stored := b.stored(alice)
	require.False(t, stored)

	b.port, b.direct = PXEPort, true
	p := b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, alice, plus(efiROM, has(ip("10.7.0.50")))...)
	require.Equal(t, "snponly.efi", p.BootFileName)
	require.True(t, p.YourIPAddr.IsUnspecified())
}

func TestProxyIsSilentToOurMachinesWhenTheyDoNotNetboot(t *testing.T) {
	b := newBench(t, beside(UnknownBoot), netboots(BootFiles{}), knows(StaticReservations{alice.String(): {}}))
	for _, kind := range everyKind {
		for _, port := range []uint16{ServerPort, PXEPort} {
			b.port = port
			b.silence(kind, alice)
			b.silence(kind, alice, raw(93, 0, 7)) // no vendor class: no PXE client
		}
	}
}

// Whatever a machine sends that is not ours, nothing leaves for it.
func TestMachineThatIsNotOursGetsSilenceInEveryMode(t *testing.T) {
	for _, mode := range []Mode{"", ModeAuthoritative, ModeReserved, ModeProxy} {
		t.Run(string(mode), func(t *testing.T) {
			b := newBench(t, netboots(BootFiles{}), knows(StaticReservations{alice.String(): {Addr: ip("10.7.0.9")}}),
				subnet(func(s *Subnet) {
					s.Mode, s.Unknown, s.RapidCommit = mode, "", true
					if mode == ModeReserved || mode == ModeProxy {
						s.Pool = Range{}
					}
				}))
			for _, kind := range everyKind {
				for _, sent := range [][]dhcpv4.Modifier{
					nil, biosROM, efiROM, httpROM, ipxeBIOS, {has(ip("10.7.0.9"))}, {asks(ip("10.7.0.9"))}, {raw(80)},
					{asks(ip("192.0.2.1"))}, {asks(ip("10.7.0.9")), names(gateway)},
					plus(efiROM, has(ip("10.7.0.9"))),
				} {
					for _, port := range []uint16{ServerPort, PXEPort} {
						b.port = port
						b.silence(kind, bob, sent...)
					}
				}
			}
		})
	}
}

func TestUnknownMachineIsDiscoveredWithoutAnAddress(t *testing.T) {
	b := newBench(t, subnet(func(s *Subnet) { s.Unknown = UnknownBoot }), netboots(BootFiles{}),
		knows(StaticReservations{alice.String(): {}}))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, bob, efiROM...)
	require.True(t, p.YourIPAddr.IsUnspecified())
	require.Equal(t, "snponly.efi", p.BootFileName)
	b.silence(dhcpv4.MessageTypeDiscover, bob)
	b.silence(dhcpv4.MessageTypeRequest, bob, asks(ip("192.0.2.1")))
	require.True(t, rack7().Pool.Contains(b.lease(alice)), "and known ones have one of us")
}

func TestReservedModeGivesReservedAddressesOnly(t *testing.T) {
	for _, unknown := range []Unknown{UnknownIgnore, UnknownBoot} {
		b := newBench(t, netboots(BootFiles{}), subnet(func(s *Subnet) { s.Mode, s.Pool, s.Unknown = ModeReserved, Range{}, unknown }),
			knows(StaticReservations{alice.String(): {Addr: ip("10.7.0.9")}, bob.String(): {}, carol.String(): {Addr: ip("10.8.0.1")}}))
		require.Equal(t, "10.7.0.9", b.lease(alice).String())
		require.Contains(t, b.silence(dhcpv4.MessageTypeDiscover, bob), "rack-7")
		require.Contains(t, b.silence(dhcpv4.MessageTypeDiscover, carol), "rack-7")
		if unknown == UnknownBoot {
			p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, bob, biosROM...)
			require.True(t, p.YourIPAddr.IsUnspecified())
			require.Equal(t, "undionly.kpxe", p.BootFileName)
		} else {
			b.silence(dhcpv4.MessageTypeDiscover, bob, biosROM...)
		}
		b.restart(subnet(func(s *Subnet) { s.Mode, s.Pool, s.Unknown = ModeReserved, Range{}, unknown }),
			func(c *AuthorityConfig) { c.Reservations = awayInventory{} })
		b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, alice, has(ip("10.7.0.9")))
	}
}

func TestProxyWithNothingToBootIsSilent(t *testing.T) {
	b := newBench(t, beside(UnknownBoot))
	require.Contains(t, b.silence(dhcpv4.MessageTypeDiscover, bob, biosROM...), "nothing for it to boot")
	b = newBench(t, beside(UnknownBoot), netboots(booterFunc(func(context.Context, BootRequest) (*Boot, error) { return nil, nil })))
	require.Contains(t, b.silence(dhcpv4.MessageTypeDiscover, bob, biosROM...), "nothing for it to boot")
}

func TestModesThatContradictThemselvesAreRefused(t *testing.T) {
	for want, change := range map[string]func(*Subnet){
		"leave the pool out":                    func(s *Subnet) { s.Mode, s.Unknown = ModeProxy, UnknownIgnore },
		"unknown machines cannot get a lease":   func(s *Subnet) { s.Mode, s.Pool = ModeReserved, Range{} },
		`mode is "relay"`:                       func(s *Subnet) { s.Mode = "relay" },
		`want "ignore", "boot" or "lease"`:      func(s *Subnet) { s.Unknown = "yes" },
		"option 53 belongs to the protocol":     func(s *Subnet) { s.Settings.Other = []Option{{Code: 53, Data: []byte{1}}} },
		`search domain "a..b": "" is not a lab`: func(s *Subnet) { s.Settings.Search = []string{"a..b"} },
	} {
		cfg := AuthorityConfig{Subnets: []Subnet{rack7()}, Leases: NewMemoryLeases()}
		change(&cfg.Subnets[0])
		_, err := NewAuthority(cfg)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, `subnet "rack-7"`)
	}
}

func TestMachinesOfAnotherServerAreNotSentAwayFromIt(t *testing.T) {
	b := newBench(t, knows(StaticReservations{alice.String(): {Addr: ip("10.7.0.77")}}), subnet(func(s *Subnet) {
		s.Unknown, s.Pool = UnknownIgnore, Range{First: ip("10.7.0.2"), Last: ip("10.7.0.99")}
	}))
	require.Contains(t, b.silence(dhcpv4.MessageTypeRequest, alice, asks(ip("10.7.0.150")), names(gateway)), "not ours",
		"that of a server on this host, which has the same address")
	b.relay = ip("10.7.0.254")
	require.Contains(t, b.silence(dhcpv4.MessageTypeRequest, alice, has(ip("10.7.0.150"))), "not ours",
		"it asks everybody, and the relay asks us")
}

func TestServersAndGatewaysInSettingsAreNotLeased(t *testing.T) {
	s := rack7()
	route, err := ParseRoute("10.99.0.0/16 via 10.7.0.9")
	require.NoError(t, err)
	s.Settings = Settings{DNS: []netip.Addr{ip("10.7.0.10")}, NTP: []netip.Addr{ip("10.7.0.11")}, Routes: []Route{route}}
	for _, a := range []string{"10.7.0.9", "10.7.0.10", "10.7.0.11"} {
		require.True(t, s.infrastructure(ip(a)), a)
	}
	require.False(t, s.infrastructure(ip("10.7.0.12")))
}
