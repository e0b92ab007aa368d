package dhcp

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

func TestPlaceOfAMachineIsWhatItsRelaySays(t *testing.T) {
	place := func(relay string, info ...byte) Place {
		p, err := dhcpv4.NewDiscovery(alice, raw(82, info...))
		require.NoError(t, err)
		if relay != "" {
			p.GatewayIPAddr = toIP(ip(relay))
		}
		return PlaceOf(p)
	}
	require.Equal(t, Place{ip("10.7.0.1"), "Ethernet1/7", "de:ad:be:ef"},
		place("10.7.0.1", append([]byte{1, 12}, "Ethernet1/7\x00\x02\x04\xde\xad\xbe\xef"...)...))
	require.Equal(t, Place{Relay: ip("10.7.0.1")}, place("10.7.0.1"))
	require.Equal(t, Place{Relay: ip("10.7.0.1")}, place("10.7.0.1", 1, 200, 'x'), "malformed")
	require.Zero(t, place("", 1, 1, 'x'), "a client cannot place itself")
	require.Equal(t, "1b:5b:32:4a", place("10.7.0.1", 1, 4, 0x1b, '[', '2', 'J').Circuit)
}

func TestRackIsThatOfTheFirstRuleThatFits(t *testing.T) {
	rules := []RackRule{
		{Circuit: "ethernet1/[1-4]", Remote: "leaf-7", Rack: "r7-top"},
		{Remote: "leaf-7", Rack: "r7"},
		{Relay: netip.MustParsePrefix("10.8.0.0/16"), Rack: "r8"},
		{Circuit: "00:04:*", Rack: "binary"},
	}
	for _, r := range rules {
		require.NoError(t, r.Check())
	}
	for want, p := range map[string]Place{
		"r7-top": {ip("10.7.0.1"), "Ethernet1/3", "LEAF-7"}, "r7": {ip("10.7.0.1"), "Ethernet1/30", "leaf-7"},
		"r8": {ip("10.8.3.1"), "Ethernet1/3", ""}, "binary": {ip("10.9.0.1"), "00:04:00:01", ""}, "": {ip("10.9.0.1"), "Ethernet1/3", "leaf-9"},
	} {
		require.Equal(t, want, RackOf(rules, p))
	}
	require.Empty(t, RackOf(rules, Place{}))
	for want, r := range map[string]RackRule{
		"malformed": {Circuit: "[", Rack: "r"}, "without a rack": {Circuit: "x"}, "every machine": {Rack: "r"},
	} {
		require.ErrorContains(t, r.Check(), want)
	}
}

// placed is a CMDB that knows machines by the port that they are plugged into.
type placed struct {
	StaticReservations
	ports map[Place]Reservation
}

func (p placed) ReservationAt(ctx context.Context, mac net.HardwareAddr, at Place) (Reservation, bool, error) {
	if r, ok := p.ports[at]; ok {
		return r, true, nil
	}
	return p.Reservation(ctx, mac)
}

func TestReservationsAreToldWhereTheMachineIsPluggedIn(t *testing.T) {
	port := Place{ip("10.7.0.254"), "eth7", ""}
	b := newBench(t, subnet(func(s *Subnet) { s.Unknown = UnknownIgnore }), func(c *AuthorityConfig) {
		c.Reservations = placed{ports: map[Place]Reservation{port: {Addr: ip("10.7.0.77")}}}
	})
	info := raw(82, 1, 4, 'e', 't', 'h', '7')
	b.silence(dhcpv4.MessageTypeDiscover, alice, info)
	b.relay = port.Relay
	require.Equal(t, "10.7.0.77", b.lease(alice, info).String())
	b.silence(dhcpv4.MessageTypeDiscover, alice, raw(82, 1, 4, 'e', 't', 'h', '8'))
}
