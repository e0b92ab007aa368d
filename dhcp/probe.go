package dhcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// A Prober finds out whether an address is in use. [ARPProber] is one.
type Prober interface {
	// Probe asks on the link of an interface who uses an address. It returns the hardware address of who answered, or nil
	// if nobody did. It takes as long as an answer may take, some tenths of a second, and returns early with an error if
	// ctx ends, or if it cannot ask. It must be safe for concurrent use.
	Probe(ctx context.Context, ifIndex int, addr netip.Addr) (net.HardwareAddr, error)
}

// maxConflicts is how many addresses are tried for one DHCPDISCOVER.
const maxConflicts = 3

// mustProbe reports whether somebody else could be using an address that is about to be offered: it is the first time
// that this machine gets it, and it can be asked for on the wire. Addresses that were declined are always asked for
// before they are used again.
func (t *talk) mustProbe(a netip.Addr) bool {
	if t.cfg.Prober == nil || !t.subnet.Probe && !t.pool.wasDeclined(a) {
		return false
	}
	if fromIP(t.packet.GatewayIPAddr).IsValid() || !t.req.Broadcast || t.req.InterfaceIndex == 0 {
		return false // not on this link
	}
	if l, ok := t.pool.lease(t.mac); ok && l.Addr == a && l.ExpiresAt.After(t.now) {
		return false
	}
	return !t.probes.fresh(a, t.now, t.cfg.OfferHold)
}

// probeFirst puts an offer off until nobody answered at its address.
func (t *talk) probeFirst(a netip.Addr, why string) error {
	return &Deferred{Finish: func(ctx context.Context) (*dhcpv4.DHCPv4, error) {
		var found string
		for range maxConflicts {
			user, err := t.cfg.Prober.Probe(ctx, t.req.InterfaceIndex, a)
			if ctx.Err() != nil {
				return nil, fmt.Errorf("dhcp: ask who uses %s before it is offered to %s: %w", a, t.mac, ctx.Err())
			}
			switch {
			case err != nil:
				// A machine that cannot boot is worse than an address that could not be looked for.
				return t.offer(ctx, a, fmt.Sprintf("%s, without a look for who uses it: %v%s", why, err, found))
			case user == nil || user.String() == t.mac.String():
				t.probes.note(a, t.now, t.cfg.OfferHold)
				return t.offer(ctx, a, why+found)
			}
			found += fmt.Sprintf("; %s is in use by %s, which it is not leased to", a, user)
			if err := t.setAside(ctx, a, "in use by "+user.String()); err != nil {
				return nil, err
			}
			if a, why, err = t.allocateOnLink(ctx); err != nil {
				return nil, fmt.Errorf("%w%s", err, found)
			}
			if !t.mustProbe(a) {
				return t.offer(ctx, a, why+found)
			}
		}
		t.pool.dropOffer(t.mac)
		return nil, Ignored(fmt.Sprintf("all of %d addresses for it are taken%s", maxConflicts, found))
	}}
}

// setAside keeps an address from being used until DeclineHold has passed, and remembers why.
func (t *talk) setAside(ctx context.Context, a netip.Addr, why string) error {
	t.pool.dropOffer(t.mac)
	mark := Lease{
		MAC: DeclinedMAC(a), Addr: a, Subnet: t.subnet.Name, Hostname: why,
		GrantedAt: t.now, ExpiresAt: t.now.Add(t.cfg.DeclineHold), Declined: true,
	}
	if err := t.cfg.Leases.SaveLease(ctx, mark); err != nil {
		return fmt.Errorf("dhcp: mark %s as in use: %w", a, err)
	}
	t.pool.put(hwaddr(mark.MAC), mark)
	return nil
}

// wasDeclined reports whether the last that is known of an address is that somebody else uses it.
func (p *pool) wasDeclined(a netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	owner, ok := p.leased[number4Of(a)]
	return ok && p.leases[owner].declined
}

// probes remembers at which addresses nobody answered lately: clients repeat themselves.
type probes struct {
	mu sync.Mutex
	at map[netip.Addr]time.Time
}

const maxProbes = 1 << 14

func (p *probes) fresh(a netip.Addr, now time.Time, age time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.at[a]
	return ok && now.Sub(at) < age
}

func (p *probes) note(a netip.Addr, now time.Time, age time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.at) >= maxProbes {
		for a, at := range p.at {
			if now.Sub(at) >= age {
				delete(p.at, a)
			}
		}
	}
	if p.at == nil || len(p.at) >= maxProbes {
		p.at = make(map[netip.Addr]time.Time)
	}
	p.at[a] = now
}
