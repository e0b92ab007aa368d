package dhcp

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

func TestRapidCommitLeasesAtTheDiscover(t *testing.T) {
	b := newBench(t, subnet(func(s *Subnet) { s.RapidCommit = true }))
	ack := b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeDiscover, alice, raw(80))
	require.True(t, ack.Options.Has(optRapidCommit), "without it, the client must not take a DHCPACK")
	l, stored := b.stored(alice)
	require.True(t, stored)
	require.Equal(t, l.Addr, fromIP(ack.YourIPAddr))
	require.Equal(t, l.Addr, b.lease(alice), "and the slow way gives the same")
	b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, bob)
}

func TestRapidCommitIsOffUnlessTheSubnetHasIt(t *testing.T) {
	b := newBench(t)
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, raw(80))
	require.False(t, p.Options.Has(optRapidCommit))
	_, stored := b.stored(alice)
	require.False(t, stored)
}

func TestRapidCommitThatAnotherServerWinsIsSilent(t *testing.T) {
	b := newBench(t, subnet(func(s *Subnet) {
		s.RapidCommit, s.Pool = true, Range{First: ip("10.7.0.10"), Last: ip("10.7.0.10")}
	}))
	b.silence(dhcpv4.MessageTypeRequest, alice, asks(ip("10.7.0.9"))) // so that it has read the leases
	require.NoError(t, b.leases.SaveLease(t.Context(), Lease{MAC: bob, Addr: ip("10.7.0.10"), Subnet: "rack-7",
		GrantedAt: start, ExpiresAt: start.Add(rack7().LeaseTime)}))
	b.silence(dhcpv4.MessageTypeDiscover, alice, raw(80))
}
