package dhcp

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

func TestReplyIsSentWhereRFC2131Says(t *testing.T) {
	relayed := dhcpv4.WithGatewayIP(toIP(ip("10.9.0.1")))
	flag := dhcpv4.WithBroadcast(true)
	sourcePort := dhcpv4.WithOption(dhcpv4.OptRelayAgentInfo(dhcpv4.OptGeneric(dhcpv4.RelaySourcePortSubOption, nil)))
	everybody := to("255.255.255.255:68", "ff:ff:ff:ff:ff:ff")
	relay := to("10.9.0.1:67", "")
	client := has(ip("10.7.0.5"))
	offer, ack, nak := dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak
	for name, c := range map[string]struct {
		sent  []dhcpv4.Modifier
		port  uint16
		reply dhcpv4.MessageType
		given string
		want  Destination
	}{
		"relay":                              {[]dhcpv4.Modifier{relayed}, 67, offer, "10.9.0.5", relay},
		"relay, whatever the broadcast flag": {[]dhcpv4.Modifier{relayed, flag}, 67, offer, "10.9.0.5", relay},
		"relay, NAK":                         {[]dhcpv4.Modifier{relayed}, 67, nak, "", relay},
		"relay, renewing":                    {[]dhcpv4.Modifier{relayed, has(ip("10.9.0.5"))}, 67, ack, "10.9.0.5", relay},
		"relay with a port of its own": {[]dhcpv4.Modifier{relayed, sourcePort}, 67, offer, "10.9.0.5",
			to("10.9.0.1:1067", "")},
		"new client":                       {nil, 67, offer, "10.7.0.5", to("10.7.0.5:68", alice.String())},
		"new client that wants broadcast":  {[]dhcpv4.Modifier{flag}, 67, ack, "10.7.0.5", everybody},
		"NAK":                              {nil, 67, nak, "", everybody},
		"NAK to a client with an address":  {[]dhcpv4.Modifier{client}, 67, nak, "", everybody},
		"renewing":                         {[]dhcpv4.Modifier{client}, 67, ack, "10.7.0.5", to("10.7.0.5:68", "")},
		"renewing with the broadcast flag": {[]dhcpv4.Modifier{client, flag}, 67, ack, "10.7.0.5", to("10.7.0.5:68", "")},
		"INFORM":                           {[]dhcpv4.Modifier{client}, 67, ack, "", to("10.7.0.5:68", "")},
		"INFORM without an address":        {nil, 67, ack, "", everybody},
		"boot server request":              {[]dhcpv4.Modifier{client}, 4011, ack, "", to("10.7.0.77:1067", "")},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(alice)}, c.sent...)...)
			require.NoError(t, err)
			mods := []dhcpv4.Modifier{dhcpv4.WithMessageType(c.reply)}
			if c.given != "" {
				mods = append(mods, dhcpv4.WithYourIP(toIP(ip(c.given))))
			}
			reply, err := dhcpv4.New(mods...)
			require.NoError(t, err)
			got := DestinationOf(&Request{Packet: p, Port: c.port, Peer: netip.MustParseAddrPort("10.7.0.77:1067")}, reply)
			require.Equal(t, c.want, got)
		})
	}
}

func to(addr, mac string) Destination {
	d := Destination{Addr: netip.MustParseAddrPort(addr)}
	if mac != "" {
		d.MAC = mustMAC(mac)
	}
	return d
}
