package dhcp

import (
	"context"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Well-known ports.
const (
	// ServerPort is where servers and relays listen (RFC 2131 section 4.1).
	ServerPort = 67
	// ClientPort is where clients listen (RFC 2131 section 4.1).
	ClientPort = 68
	// PXEPort is where PXE clients ask for their boot file when the offer did not carry [DiscoveryBypass]
	// (PXE specification 2.1, section 2.2.5). List it in [Server.Ports] to answer there as well.
	PXEPort = 4011
)

// A Responder decides what is answered to a request. It is a function of the request and of what it remembers; it never
// touches a socket and never sends anything by itself.
//
// A nil reply means: stay silent. The error then says why: an [Ignored] is a decision, and the [Server] only mentions
// it to its observer; any other error is a failure, which it logs. nil, nil is silence without a reason.
//
// Implementations must be safe for concurrent use, and must return soon after ctx is done. They must not keep req.
type Responder interface {
	Respond(ctx context.Context, req *Request) (*dhcpv4.DHCPv4, error)
}

// ResponderFunc makes a [Responder] of a function.
type ResponderFunc func(ctx context.Context, req *Request) (*dhcpv4.DHCPv4, error)

// Respond calls f.
func (f ResponderFunc) Respond(ctx context.Context, req *Request) (*dhcpv4.DHCPv4, error) {
	return f(ctx, req)
}

// A Request is a packet and how it reached us.
type Request struct {
	// Packet is what was received. Responders must not change it.
	Packet *dhcpv4.DHCPv4
	// Interface and InterfaceIndex say where it was received.
	Interface      string
	InterfaceIndex int
	// Local is the address under which the client or its relay knows this server: the destination of a unicast packet,
	// otherwise the first IPv4 address of the interface. It is the zero Addr on an interface without an address.
	Local netip.Addr
	// Addrs are all IPv4 addresses of the interface, with their prefixes.
	Addrs []netip.Prefix
	// Broadcast reports that the packet was sent to a broadcast address, and so comes from a client on this very link.
	Broadcast bool
	// Peer is the packet's source; 0.0.0.0:68 while a client has no address.
	Peer netip.AddrPort
	// Port is the port that it was received on: [ServerPort], or [PXEPort]. Zero means ServerPort.
	Port uint16
	// Time is when it was received. Zero means now.
	Time time.Time

	// Reason may be set by the responder: one sentence that says why it answered as it did. It reaches
	// [Exchange.Reason]. Reasons for silence are errors of type [Ignored] instead.
	Reason string
}

// Ignored is the error of a [Responder] that stays silent on purpose; its text says why.
type Ignored string

// Error returns the reason.
func (i Ignored) Error() string { return "ignored: " + string(i) }
