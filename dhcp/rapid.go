package dhcp

import (
	"context"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// optRapidCommit is the option without content of RFC 4039 section 3.
const optRapidCommit = dhcpv4.GenericOptionCode(80)

// rapidCommit leases an address at the DHCPDISCOVER (RFC 4039 section 3.1).
func (t *talk) rapidCommit(ctx context.Context, a netip.Addr, why string) (*dhcpv4.DHCPv4, error) {
	reply, err := t.grant(ctx, a, why+", leased at once")
	if err != nil || reply.MessageType() != dhcpv4.MessageTypeAck {
		if err == nil {
			// Somebody else was faster. To a DHCPDISCOVER there is no DHCPNAK; the machine asks again.
			err = Ignored(t.req.Reason)
		}
		return nil, err
	}
	reply.UpdateOption(dhcpv4.OptGeneric(optRapidCommit, nil))
	fit(reply, t.packet)
	return reply, nil
}
