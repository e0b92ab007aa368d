package dhcp

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

func from(machine byte, kind dhcpv4.MessageType, id byte) job {
	p := &dhcpv4.DHCPv4{TransactionID: dhcpv4.TransactionID{id}}
	return job{req: &Request{Packet: p}, kind: kind, mac: hwaddr{2, 0, 0, 0, 0, machine}}
}

func popped(t *testing.T, q *queue) job {
	t.Helper()
	require.Positive(t, q.size, "pop would wait for ever")
	j, ok := q.pop()
	require.True(t, ok)
	return j
}

func id(j job) byte { return j.req.Packet.TransactionID[0] }

func TestRequestsGoBeforeDiscovers(t *testing.T) {
	q := newQueue(10)
	q.push(from(1, dhcpv4.MessageTypeDiscover, 1))
	q.push(from(2, dhcpv4.MessageTypeRequest, 2))
	q.push(from(3, dhcpv4.MessageTypeInform, 3))
	for _, want := range []byte{2, 3, 1} {
		require.Equal(t, want, id(popped(t, q)))
	}
}

func TestDiscoversAreNotKeptWaitingForEver(t *testing.T) {
	q := newQueue(100)
	q.push(from(99, dhcpv4.MessageTypeDiscover, 99))
	seen := false
	for i := range byte(8) {
		q.push(from(i, dhcpv4.MessageTypeRequest, i))
		q.push(from(i+10, dhcpv4.MessageTypeRequest, i))
		seen = seen || id(popped(t, q)) == 99
	}
	require.True(t, seen)
}

func TestWhatOneMachineSendsIsAnsweredInItsOrder(t *testing.T) {
	q := newQueue(10)
	q.push(from(1, dhcpv4.MessageTypeDiscover, 1))
	q.push(from(2, dhcpv4.MessageTypeDiscover, 2))
	q.push(from(1, dhcpv4.MessageTypeRequest, 3)) // takes its DISCOVER along
	q.push(from(1, dhcpv4.MessageTypeRequest, 4))
	first := popped(t, q)
	require.Equal(t, byte(1), id(first))
	other := popped(t, q)
	require.Equal(t, byte(2), id(other), "meanwhile others are worked on")
	q.done(other.mac)
	q.done(first.mac)
	for _, want := range []byte{3, 4} {
		j := popped(t, q)
		require.Equal(t, want, id(j))
		q.done(j.mac)
	}
	require.Empty(t, q.busy)
	require.Empty(t, q.latest)
	require.Zero(t, q.size)
}

func TestOneMachineCannotFillTheQueue(t *testing.T) {
	q := newQueue(1000)
	var lost []byte
	q.lost = func(j job) { lost = append(lost, id(j)) }
	q.push(from(1, dhcpv4.MessageTypeRequest, 0))
	busy := popped(t, q)
	for i := range byte(maxBehind + 3) {
		q.push(from(1, dhcpv4.MessageTypeRequest, i+1))
	}
	q.push(from(2, dhcpv4.MessageTypeRequest, 100))
	require.Equal(t, byte(100), id(popped(t, q)))
	require.Equal(t, []byte{1, 2, 3}, lost, "the oldest went")
	require.Equal(t, maxBehind, q.size)
	q.done(busy.mac)
	require.Equal(t, byte(4), id(popped(t, q)))
}

func TestPeekFindsWhatAParserFinds(t *testing.T) {
	p, err := dhcpv4.NewDiscovery(alice)
	require.NoError(t, err)
	b := p.ToBytes()
	kind, mac, ok := peek(b)
	require.True(t, ok)
	require.Equal(t, dhcpv4.MessageTypeDiscover, kind)
	require.Equal(t, alice.String(), mac.String())
	for n := range b {
		_, _, _ = peek(b[:n])
	}
	b[0] = byte(dhcpv4.OpcodeBootReply)
	_, _, ok = peek(b)
	require.False(t, ok, "an answer is no question")
}

func FuzzPeek(f *testing.F) {
	p, err := dhcpv4.NewDiscovery(alice)
	require.NoError(f, err)
	f.Add(p.ToBytes())
	f.Add(append(make([]byte, 236), 0x63, 0x82, 0x53, 0x63, 53, 0, 53, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, mac, ok := peek(b)
		p, err := dhcpv4.FromBytes(b)
		if !ok || err != nil || p.Options.Get(dhcpv4.OptionDHCPMessageType) == nil {
			return
		}
		if len(p.Options.Get(dhcpv4.OptionDHCPMessageType)) == 1 { // given once
			require.Equal(t, p.MessageType(), kind)
		}
		if len(p.ClientHWAddr) == 6 {
			require.Equal(t, p.ClientHWAddr.String(), mac.String())
		}
	})
}
