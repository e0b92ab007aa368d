package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

var noAddr netip.Addr

// checkLinks refuses subnets that claim to share a link and contradict each other about what is done there.
func checkLinks(subnets []Subnet) []error {
	first := make(map[string]*Subnet)
	var bad []error
	for i := range subnets {
		s := &subnets[i]
		if s.Link == "" {
			continue
		}
		other, ok := first[s.Link]
		if !ok {
			first[s.Link] = s
			continue
		}
		for _, difference := range []struct {
			what   string
			differ bool
		}{
			{"mode", s.Mode != other.Mode},
			{"unknown", s.Unknown != other.Unknown},
			{"server id", s.ServerID != other.ServerID},
		} {
			if difference.differ {
				bad = append(bad, fmt.Errorf("subnet %q: its %s is another than that of subnet %q, and both are on link %q",
					s.Name, difference.what, other.Name, s.Link))
			}
		}
	}
	return bad
}

// link returns the subnets that are on the link where the client is, in the order of the configuration; nil if there is
// only one.
func (t *talk) link() []*pool {
	if t.subnet.Link == "" {
		return nil
	}
	return t.links[t.subnet.Link]
}

// leaseOnLink returns what the machine holds, or held last, in any subnet of the link.
func (t *talk) leaseOnLink() (last Lease, ok bool) {
	last, ok = t.pool.lease(t.mac)
	for _, p := range t.link() {
		if l, held := p.lease(t.mac); held && l.ExpiresAt.After(last.ExpiresAt) {
			last, ok = l, true
		}
	}
	return last, ok
}

// place finds the subnet of a machine on a link that has several. What it uses or took an offer of comes first, as no
// machine is moved in the middle of its work; then what is reserved, what it remembers, its lease, what it was offered.
// Everybody else begins with the first subnet, and goes on to the next when that is full.
func (t *talk) place() {
	pools := t.link()
	if len(pools) < 2 {
		return
	}
	enter := func(fits func(*pool) bool) bool {
		i := slices.IndexFunc(pools, fits)
		if i >= 0 {
			t.enter(pools[i])
		}
		return i >= 0
	}
	within := func(a netip.Addr) bool {
		return a.IsValid() && enter(func(p *pool) bool { return p.subnet.Prefix.Contains(a) })
	}
	kind := t.packet.MessageType()
	wish := noAddr
	if kind != dhcpv4.MessageTypeDiscover {
		wish = fromIP(t.packet.Options.Get(dhcpv4.OptionRequestedIPAddress))
	}
	switch {
	case within(fromIP(t.packet.ClientIPAddr)):
	case t.packet.Options.Has(dhcpv4.OptionServerIdentifier) && within(wish):
	case t.reservation.Addr.IsValid() && enter(func(p *pool) bool {
		_, taken := p.holder(t.mac, t.reservation.Addr, t.now) // by another NIC of the machine
		return p.subnet.Prefix.Contains(t.reservation.Addr) && !p.subnet.infrastructure(t.reservation.Addr) && !taken
	}):
	case within(wish):
	case enter(func(p *pool) bool { l, ok := p.lease(t.mac); return ok && l.ExpiresAt.After(t.now) }):
	case enter(func(p *pool) bool { _, ok := p.offerTo(t.mac, t.now); return ok }):
	case enter(func(p *pool) bool { _, ok := p.lease(t.mac); return ok }):
	default:
		t.enter(pools[0])
	}
}

func (t *talk) enter(p *pool) { t.pool, t.subnet = p, p.subnet }

// allocateOnLink is allocate in the client's subnet, and in the others of its link while one after the other is full.
func (t *talk) allocateOnLink(ctx context.Context) (netip.Addr, string, error) {
	a, why, err := t.allocate(ctx)
	var full *ExhaustedError
	if !errors.As(err, &full) {
		return a, why, err
	}
	begun := t.pool
	for _, p := range t.link() {
		if p == begun {
			continue
		}
		t.enter(p)
		reserved := t.reservation.Addr
		t.reservation.Addr = noAddr // it is in the first subnet, and in use there
		a, why, next := t.allocate(ctx)
		if next == nil {
			return a, why + ", as subnet " + begun.subnet.Name + " is full", nil
		}
		if !errors.As(next, new(*ExhaustedError)) {
			return a, "", next
		}
		t.reservation.Addr = reserved
		err = fmt.Errorf("%w; %w", err, next)
	}
	t.enter(begun)
	return noAddr, "", err
}

// leaveOthers forgets what the machine had in other subnets of its link: it has one address at a time. What cannot be
// deleted runs out by itself.
func (t *talk) leaveOthers(ctx context.Context) {
	for _, p := range t.link() {
		if p == t.pool {
			continue
		}
		p.dropOffer(t.mac)
		if l, ok := p.lease(t.mac); ok && t.cfg.Leases.DeleteLease(ctx, p.subnet.Name, l.MAC) == nil {
			p.forget(t.mac)
		}
	}
}

// own reports whether a is an address of this server on the interface where the client is.
func (t *talk) own(a netip.Addr) bool {
	return a == t.req.Local || slices.ContainsFunc(t.req.Addrs, func(p netip.Prefix) bool { return p.Addr() == a })
}
