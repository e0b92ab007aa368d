package dhcp

import (
	"context"
	"errors"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Deferred is the error of a [Responder] whose answer waits for something that takes long and no work, such as the
// silence of a network. The [Server] calls Finish from a goroutine of its own, so that no worker waits, with the deadline
// of the request; its results are those of Respond, another Deferred excepted. It is called once, or not at all if too
// many wait already. The request must not be changed before it returned.
type Deferred struct {
	Finish func(ctx context.Context) (*dhcpv4.DHCPv4, error)
}

// Error says that there is no answer yet.
func (*Deferred) Error() string { return "dhcp: the answer takes longer" }

// Answer calls Respond, and Finish if the answer is [Deferred]: for programs without a [Server].
func Answer(ctx context.Context, r Responder, req *Request) (*dhcpv4.DHCPv4, error) {
	reply, err := r.Respond(ctx, req)
	var later *Deferred
	if errors.As(err, &later) {
		return later.Finish(ctx)
	}
	return reply, err
}

// maxDeferred is how many answers a [Server] lets wait at a time.
const maxDeferred = 2048
