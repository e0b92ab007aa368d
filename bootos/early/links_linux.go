package early

import (
	"context"
	"net"
	"time"

	"github.com/vishvananda/netlink"
)

// RaiseLinks starts all interfaces, and waits until each has a link or for at most wait. None gets an address by it.
// The kernel says nothing of the link of an interface that is down, so that the facts of a machine would depend on which
// of its ports it was booted by.
func (n *Network) RaiseLinks(ctx context.Context, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		links, err := n.interfaces()
		if err != nil {
			return err
		}
		missing := false
		for _, link := range links {
			if link.Attrs().Flags&net.FlagUp == 0 {
				// One that cannot be started stays without a link, which its facts say.
				_ = netlink.LinkSetUp(link)
			}
			missing = missing || !carrier(link.Attrs().Name)
		}
		if !missing {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}
