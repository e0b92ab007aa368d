package dhcp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// twoOnOne is rack-7 with two addresses, and rack-7b with two more on the same wire, in this order.
func twoOnOne(c *AuthorityConfig) {
	a, b := rack7(), rack7()
	a.Link, a.Pool = "row-7", Range{First: ip("10.7.0.10"), Last: ip("10.7.0.11")}
	b.Link, b.Name, b.Prefix = "row-7", "rack-7b", netip.MustParsePrefix("10.70.0.0/16")
	b.Pool, b.Router, b.Settings.DNS, b.Settings.NTP = Range{First: ip("10.70.0.10"), Last: ip("10.70.0.11")}, ip("10.70.0.1"), nil, nil
	c.Subnets = []Subnet{a, b}
}

func TestFullSubnetOfALinkFallsOverToTheNext(t *testing.T) {
	for name, relay := range map[string]netip.Addr{"direct": {}, "behind a relay": ip("10.7.0.1"), "relay in the other": ip("10.70.0.1")} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, twoOnOne)
			b.relay = relay
			seen := make(map[netip.Addr]bool)
			for i := range 4 {
				a := b.lease(machine(i))
				require.False(t, seen[a])
				seen[a] = true
				require.Equal(t, i < 2, netip.MustParsePrefix("10.7.0.0/24").Contains(a), "the first subnet first")
				router := "10.7.0.1"
				if i >= 2 {
					router = "10.70.0.1"
				}
				p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, machine(i))
				require.Equal(t, a, fromIP(p.YourIPAddr), "it keeps its address")
				require.Equal(t, router, p.Router()[0].String())
				ack := b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, machine(i), has(a))
				require.Equal(t, a, fromIP(ack.YourIPAddr))
				b.take(dhcpv4.MessageTypeNak, machine(i), ip("192.0.2.1"))
			}
			_, _, err := b.send(dhcpv4.MessageTypeDiscover, machine(9))
			var full *ExhaustedError
			require.ErrorAs(t, err, &full)
			require.Equal(t, "rack-7", full.Subnet)
			require.ErrorContains(t, err, "rack-7b")
		})
	}
}

func TestReservationInAnySubnetOfTheLinkIsGiven(t *testing.T) {
	b := newBench(t, twoOnOne)
	before := b.lease(alice)
	require.True(t, netip.MustParsePrefix("10.7.0.0/24").Contains(before))
	b.restart(twoOnOne, knows(StaticReservations{alice.String(): {Addr: ip("10.70.0.5")}}))
	b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, alice, has(before))
	require.Equal(t, "10.70.0.5", b.lease(alice).String())

	all, err := b.leases.Leases(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1, "one address per machine, also on a link with several subnets")
}

func TestRenewalInitRebootAndDeclineFindTheirSubnetOfTheLink(t *testing.T) {
	b := newBench(t, twoOnOne)
	b.lease(machine(0))
	b.lease(machine(1))
	a := b.lease(alice)
	require.True(t, netip.MustParsePrefix("10.70.0.0/16").Contains(a))
	b.restart(twoOnOne)
	require.Equal(t, a, fromIP(b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, alice, asks(a)).YourIPAddr))
	require.Equal(t, a, b.offer(alice))
	b.silence(dhcpv4.MessageTypeDecline, alice, asks(a), names(gateway))
	require.NotEqual(t, a, b.offer(alice))
	b.now = b.now.Add(24 * time.Hour)
	b.restart(twoOnOne)
	require.True(t, netip.MustParsePrefix("10.7.0.0/24").Contains(b.offer(bob)), "the first subnet is free again")
}

func TestInventoryThatIsAwayStopsNoMachineOnALink(t *testing.T) {
	b := newBench(t, twoOnOne)
	b.lease(machine(0))
	b.lease(machine(1))
	a := b.lease(alice)
	b.restart(twoOnOne, func(c *AuthorityConfig) { c.Reservations = awayInventory{} })
	b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, alice, has(a))
	require.Equal(t, a, b.offer(alice))
}

func TestSubnetsOfOneLinkMustAgree(t *testing.T) {
	for want, change := range map[string]func(*Subnet){
		"its mode is another":      func(s *Subnet) { s.Mode, s.Pool, s.Unknown = ModeProxy, Range{}, "" },
		"its unknown is another":   func(s *Subnet) { s.Unknown = UnknownBoot },
		"its server id is another": func(s *Subnet) { s.ServerID = ip("10.70.0.1") },
	} {
		cfg := AuthorityConfig{Leases: NewMemoryLeases()}
		twoOnOne(&cfg)
		change(&cfg.Subnets[1])
		_, err := NewAuthority(cfg)
		require.ErrorContains(t, err, `subnet "rack-7b": `+want)
	}
}

func TestOwnAddressesOfALinkAreNotLeased(t *testing.T) {
	b := newBench(t, twoOnOne, func(c *AuthorityConfig) { c.Subnets[0].Pool = Range{} })
	p, err := dhcpv4.New(dhcpv4.WithHwAddr(alice), dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover), asks(ip("10.70.0.10")))
	require.NoError(t, err)
	reply, err := b.authority.Respond(t.Context(), &Request{
		Packet: p, Interface: "eth1", Local: gateway, Broadcast: true, Time: start,
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.7.0.1/24"), netip.MustParsePrefix("10.70.0.10/16")},
	})
	require.NoError(t, err)
	require.Equal(t, "10.70.0.11", reply.YourIPAddr.String())
}
