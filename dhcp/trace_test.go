package dhcp

import (
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// trace sends a packet and returns what a server would observe.
func (b *bench) trace(kind dhcpv4.MessageType, mac net.HardwareAddr, change ...dhcpv4.Modifier) Trace {
	b.t.Helper()
	reply, req, err := b.send(kind, mac, change...)
	e := newExchange(req)
	e.Duration, e.Reason, e.Reply = 400*time.Microsecond, req.Reason, reply
	if err != nil {
		var on Ignored
		require.ErrorAs(b.t, err, &on)
		e.Reason = string(on)
	}
	if reply != nil {
		e.Answered, e.To, e.Addr = reply.MessageType(), DestinationOf(req, reply), fromIP(reply.YourIPAddr)
		e.BootFile = reply.BootFileNameOption()
	}
	// As it is stored.
	doc, err := json.Marshal(e.Trace())
	require.NoError(b.t, err)
	var t Trace
	require.NoError(b.t, json.Unmarshal(doc, &t))
	require.Equal(b.t, e.Trace(), t)
	return t
}

func TestTraceTellsWhatWasAskedAnsweredAndWhy(t *testing.T) {
	b := newBench(t, knows(StaticReservations{alice.String(): {Addr: ip("10.7.0.77")}}), netboots(BootFiles{}))
	b.relay = ip("10.7.0.254")
	tr := b.trace(dhcpv4.MessageTypeDiscover, alice, efiROM...)
	require.Equal(t, "OFFER", tr.Answered)
	require.Equal(t, `PXE ROM on eth1, through relay 10.7.0.254
  asked       DISCOVER, xid 01020304
  who         EFI x86-64, vendor class PXEClient:Arch:00007:UNDI:003016, uuid 4c4c4544-004b-3010-8048-b4c04f334d32
  answered    OFFER of 10.7.0.77, for 2h0m0s, as 10.7.0.1, to 10.7.0.254:67, after 400µs
  boot file   snponly.efi from 10.7.0.1
  why         reserved for this machine
`, tr.Explain())
	require.Subset(t, tr.Sent, []int{53, 54, 51, 66, 67})

	b.relay = ip("10.7.0.254")
	tr = b.trace(dhcpv4.MessageTypeRequest, alice, asks(ip("10.7.0.77")), names(ip("10.7.0.9")), raw(12, []byte("al\x1b[2Jice")...),
		raw(61, 1, 2, 3), raw(55, 1, 3, 121), raw(57, 5, 0xdc), dhcpv4.WithBroadcast(true),
		raw(82, append([]byte{1, 4, 'g', 'e', '-', '7', 2, 2, 0, 9}, 5, 4, 10, 7, 0, 0)...))
	require.Equal(t, Trace{
		Stage: StageOS, Interface: "eth1", Micros: 400, Asked: "REQUEST", XID: "01020304", Requested: ip("10.7.0.77"),
		Named: ip("10.7.0.9"), ClientID: "010203", Hostname: "al[2Jice", Wants: []int{1, 3, 121}, MaxSize: 1500, Broadcast: true,
		Relay: ip("10.7.0.254"), CircuitID: "ge-7", RemoteID: "0x0009", LinkSelection: ip("10.7.0.0"), Address: ip("10.7.0.77"),
		Reason: "it names another server, 10.7.0.9",
	}, tr)
	require.Equal(t, `OS on eth1, through relay 10.7.0.254
  relay says  circuit ge-7, remote id 0x0009, link 10.7.0.0
  asked       REQUEST, for 10.7.0.77, from server 10.7.0.9, xid 01020304
  who         host name al[2Jice, client id 010203
  answered    nothing
  why not     it names another server, 10.7.0.9
`, tr.Explain())
}
