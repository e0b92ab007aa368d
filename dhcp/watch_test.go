//go:build linux

package dhcp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// said is an answer as it is on the wire: from an address and port to port 68.
func said(t testing.TB, from netip.Addr, port uint16, to uint16, change ...dhcpv4.Modifier) []byte {
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(alice), dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer),
		dhcpv4.WithYourIP(toIP(ip("10.7.0.99"))), names(from), func(p *dhcpv4.DHCPv4) { p.OpCode = dhcpv4.OpcodeBootReply }},
		change...)...)
	require.NoError(t, err)
	return datagram(from, port, netip.AddrPortFrom(limitedBroadcast, to), p.ToBytes())
}

func TestWhoAnswersAndIsNotOursIsARogue(t *testing.T) {
	own := []netip.Addr{gateway}
	w := &Watch{Servers: []netip.Addr{ip("10.7.0.2")}}
	none := dhcpv4.WithYourIP(toIP(noAddr))
	for name, c := range map[string]struct {
		frame []byte
		rogue bool
		want  string
	}{
		"a server": {said(t, ip("10.7.0.66"), 67, 68), true, "a DHCP server that is not ours answers on eth1: " +
			"52:54:00:00:00:0c (10.7.0.66) sent OFFER of 10.7.0.99 to 52:54:00:00:00:0a"},
		"a ProxyDHCP server": {said(t, ip("10.7.0.66"), 67, 68, none, dhcpv4.WithOption(dhcpv4.OptBootFileName("evil.efi"))), true,
			"a ProxyDHCP server that is not ours answers on eth1: 52:54:00:00:00:0c (10.7.0.66) sent OFFER, boot file evil.efi to " +
				"52:54:00:00:00:0a"},
		"who refuses":                {said(t, ip("10.7.0.66"), 67, 68, none, dhcpv4.WithMessageType(dhcpv4.MessageTypeNak)), true, ""},
		"who uses our address":       {said(t, gateway, 67, 68), true, ""},
		"our own answer, by a relay": {said(t, ip("10.7.0.254"), 67, 68, names(gateway)), false, ""},
		"a server that is allowed":   {said(t, ip("10.7.0.2"), 67, 68), false, ""},
		"a relay that is allowed":    {said(t, ip("10.7.0.2"), 67, 68, names(ip("192.0.2.1"))), false, ""},
		"a relayed server":           {said(t, ip("10.7.0.254"), 67, 68, names(ip("192.0.2.1"))), true, "calls itself 192.0.2.1"},
		"something to another port":  {said(t, ip("10.7.0.66"), 67, 69), false, ""},
		"a question":                 {said(t, ip("10.7.0.66"), 67, 68, func(p *dhcpv4.DHCPv4) { p.OpCode = dhcpv4.OpcodeBootRequest }), false, ""},
		"half of an answer":          {said(t, ip("10.7.0.66"), 67, 68)[:100], false, ""},
		"nothing":                    {nil, false, ""},
		"a fragment":                 {func() []byte { b := said(t, ip("10.7.0.66"), 67, 68); b[6] = 0x20; return b }(), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, rogue := w.heard(carol, own, c.frame)
			require.Equal(t, c.rogue, rogue)
			r.Interface = "eth1"
			if rogue {
				require.Contains(t, r.String(), c.want)
			}
		})
	}
}

func TestLinkWhereOthersGiveAddressesIsWatchedForWhatIsBootedOnly(t *testing.T) {
	w := &Watch{BootOnly: true}
	_, rogue := w.heard(carol, nil, said(t, ip("10.7.0.66"), 67, 68))
	require.False(t, rogue)
	_, rogue = w.heard(carol, nil, said(t, ip("10.7.0.66"), 67, 68, func(p *dhcpv4.DHCPv4) { p.BootFileName = "x" }))
	require.True(t, rogue)
	_, rogue = w.heard(carol, nil, said(t, ip("10.7.0.66"), 67, 68, dhcpv4.WithYourIP(net.IPv4zero)))
	require.True(t, rogue, "the file is for port 4011")
	_, rogue = w.heard(carol, nil, said(t, ip("10.7.0.66"), 67, 68, dhcpv4.WithMessageType(dhcpv4.MessageTypeNak)))
	require.False(t, rogue)
}

func TestRogueIsReportedOncePerPause(t *testing.T) {
	w := &Watch{}
	r := Rogue{Time: start, Interface: "eth1", MAC: carol, Server: ip("10.7.0.66"), Offered: ip("10.7.0.9")}
	require.True(t, w.first(r))
	require.False(t, w.first(r))
	other := r
	other.MAC = bob
	require.True(t, w.first(other))
	r.Time = start.Add(DefaultWatchPause)
	require.True(t, w.first(r))
	for i := range 2 * maxRogues {
		other.MAC = machine(i)
		w.first(other)
	}
	require.LessOrEqual(t, len(w.told), maxRogues, "who invents names costs no memory")
	other.Time = start.Add(24 * time.Hour)
	require.True(t, w.first(other))
}

func FuzzWatch(f *testing.F) {
	f.Add(said(f, ip("10.7.0.66"), 67, 68))
	f.Add([]byte{0x45})
	w := &Watch{}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, rogue := w.heard(carol, nil, b); rogue {
			require.NotEmpty(t, r.String())
			require.True(t, r.Addr.Is4())
		}
		if from, hw, ok := parseARP(b); ok {
			require.True(t, from.Is4())
			require.Len(t, hw, 6)
		}
	})
}
