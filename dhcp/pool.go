package dhcp

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// ExhaustedError says that a subnet has no address left for a machine: all are leased, held, declined or reserved.
type ExhaustedError struct {
	// Subnet is the name of the subnet.
	Subnet string
	// Pool is what was searched.
	Pool Range
	// Leased, Offered and Declined count what the addresses of the subnet are used for, reserved ones included.
	Leased, Offered, Declined int
}

// Error says what is full and what to do about it.
func (e *ExhaustedError) Error() string {
	if e.Pool.IsZero() {
		return fmt.Sprintf("subnet %s has no pool and no free reservation for this machine: reserve an address or add a pool",
			e.Subnet)
	}
	return fmt.Sprintf("subnet %s has no free address in %s (%d leased, %d offered, %d declined): enlarge the pool or "+
		"shorten the lease time", e.Subnet, e.Pool, e.Leased, e.Offered, e.Declined)
}

// pool is what one subnet remembers. Leases mirror the lease store; offers live here only.
type pool struct {
	subnet *Subnet

	mu      sync.Mutex
	leases  map[hwaddr]held // by who holds, or last held, the address
	leased  map[netip.Addr]hwaddr
	offers  map[hwaddr]offer
	offered map[netip.Addr]hwaddr
	seq     uint64 // counts changes of leases

	counted   *ExhaustedError
	countedAt time.Time
}

// held is a lease, and when in the sequence of changes it was put here.
type held struct {
	Lease
	seq uint64
}

// offer holds an address for a machine between DISCOVER and REQUEST, and while its lease is being saved.
type offer struct {
	addr  netip.Addr
	at    time.Time // when it was last made
	until time.Time
}

func newPool(s *Subnet) *pool {
	return &pool{
		subnet: s,
		leases: make(map[hwaddr]held), leased: make(map[netip.Addr]hwaddr),
		offers: make(map[hwaddr]offer), offered: make(map[netip.Addr]hwaddr),
	}
}

// lease returns what mac holds or held last, declined addresses aside.
func (p *pool) lease(mac hwaddr) (Lease, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.leases[mac]
	return l.Lease, ok && !l.Declined
}

// holder returns who, other than mac, may count on address a at this time.
func (p *pool) holder(mac hwaddr, a netip.Addr, now time.Time) (hwaddr, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holderLocked(mac, a, now)
}

func (p *pool) holderLocked(mac hwaddr, a netip.Addr, now time.Time) (hwaddr, bool) {
	if other, ok := p.leased[a]; ok && other != mac && p.leases[other].ExpiresAt.After(now) {
		return other, true
	}
	if other, ok := p.offered[a]; ok && other != mac && p.offers[other].until.After(now) {
		return other, true
	}
	return hwaddr{}, false
}

// hold reserves a for mac, unless another may count on it.
func (p *pool) hold(mac hwaddr, a netip.Addr, now time.Time, d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, taken := p.holderLocked(mac, a, now); taken {
		return false
	}
	p.holdLocked(mac, a, now, d)
	return true
}

func (p *pool) holdLocked(mac hwaddr, a netip.Addr, now time.Time, d time.Duration) {
	p.dropOfferLocked(mac)
	if other, ok := p.offered[a]; ok {
		p.dropOfferLocked(other)
	}
	p.offers[mac], p.offered[a] = offer{addr: a, at: now, until: now.Add(d)}, mac
}

func (p *pool) dropOfferLocked(mac hwaddr) {
	if o, ok := p.offers[mac]; ok {
		delete(p.offers, mac)
		delete(p.offered, o.addr)
	}
}

func (p *pool) dropOffer(mac hwaddr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropOfferLocked(mac)
}

// offerTo returns the address that is held for mac.
func (p *pool) offerTo(mac hwaddr, now time.Time) (netip.Addr, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok := p.offers[mac]
	return o.addr, ok && o.until.After(now)
}

// usable reports whether a can be leased from the pool at all.
func (p *pool) usable(a netip.Addr, self netip.Addr) bool {
	return p.subnet.Pool.Contains(a) && a != self && !p.subnet.infrastructure(a)
}

// take finds an address for mac and holds it. In this order: an address that nobody ever had, beginning with the hash
// of mac; the one whose lease ran out longest ago; the one whose offer was not used for longest, if that is at least
// patience ago. skip says which addresses are known to be reserved for others.
func (p *pool) take(
	mac hwaddr, self netip.Addr, now time.Time, hold, patience time.Duration, skip map[netip.Addr]bool,
) (a netip.Addr, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var expired, stale netip.Addr
	var expiredAt, staleAt time.Time
	start, size := p.subnet.start(mac), p.subnet.Pool.Size()
	for i := range size {
		a := p.subnet.at(start, i, size)
		if skip[a] || !p.usable(a, self) {
			continue
		}
		if other, ok := p.offered[a]; ok && other != mac && p.offers[other].until.After(now) {
			if at := p.offers[other].at; now.Sub(at) >= patience && (!stale.IsValid() || at.Before(staleAt)) {
				// Only an offer of an address that is not leased to a third machine at the same time.
				if l, leased := p.leased[a]; !leased || !p.leases[l].ExpiresAt.After(now) {
					stale, staleAt = a, at
				}
			}
			continue
		}
		owner, leased := p.leased[a]
		if !leased || owner == mac {
			p.holdLocked(mac, a, now, hold)
			return a, true
		}
		if at := p.leases[owner].ExpiresAt; !at.After(now) && (!expired.IsValid() || at.Before(expiredAt)) {
			expired, expiredAt = a, at
		}
	}
	for _, a := range []netip.Addr{expired, stale} {
		if a.IsValid() {
			p.holdLocked(mac, a, now, hold)
			return a, true
		}
	}
	return netip.Addr{}, false
}

// put remembers a lease that is in the store, and ends the offer that led to it.
func (p *pool) put(mac hwaddr, l Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropOfferLocked(mac)
	p.seq++
	p.putLocked(mac, held{l, p.seq})
}

func (p *pool) putLocked(mac hwaddr, l held) {
	if old, ok := p.leases[mac]; ok && p.leased[old.Addr] == mac {
		delete(p.leased, old.Addr)
	}
	if other, ok := p.leased[l.Addr]; ok && other != mac {
		delete(p.leases, other)
	}
	p.leases[mac], p.leased[l.Addr] = l, mac
}

func (p *pool) forget(mac hwaddr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropOfferLocked(mac)
	if old, ok := p.leases[mac]; ok && p.leased[old.Addr] == mac {
		delete(p.leased, old.Addr)
	}
	delete(p.leases, mac)
}

// sequence returns the number of the latest change, for replace.
func (p *pool) sequence() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seq
}

// replace takes over what the store holds, as read after sequence returned since. Leases put here after that stay: the
// store may not have had them yet when it was read.
func (p *pool) replace(stored map[hwaddr]Lease, since uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	recent := make(map[hwaddr]held)
	for mac, l := range p.leases {
		if l.seq > since {
			recent[mac] = l
		}
	}
	clear(p.leases)
	clear(p.leased)
	for mac, l := range stored {
		p.putLocked(mac, held{l, since})
	}
	for mac, l := range recent {
		p.putLocked(mac, l)
	}
}

// exhausted counts what the addresses are used for. In a storm it is asked for each packet: it counts once a second.
func (p *pool) exhausted(now time.Time) *ExhaustedError {
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := now.Sub(p.countedAt); p.counted != nil && age >= 0 && age < time.Second {
		return p.counted
	}
	e := &ExhaustedError{Subnet: p.subnet.Name, Pool: p.subnet.Pool}
	for _, l := range p.leases {
		switch {
		case !l.ExpiresAt.After(now):
		case l.Declined:
			e.Declined++
		default:
			e.Leased++
		}
	}
	for _, o := range p.offers {
		if o.until.After(now) {
			e.Offered++
		}
	}
	p.counted, p.countedAt = e, now
	return e
}

// lastHolder returns who, other than mac, holds address a or held it last.
func (p *pool) lastHolder(a netip.Addr, mac hwaddr) (hwaddr, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	other, ok := p.leased[a]
	return other, ok && other != mac
}

// declines counts the addresses that mac made unusable.
func (p *pool) declines(mac hwaddr, now time.Time) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	by := declinedBy(mac)
	for _, l := range p.leases {
		if l.Declined && l.Hostname == by && l.ExpiresAt.After(now) {
			n++
		}
	}
	return n
}

// declinedBy is how the mark of a declined address remembers who did that, in its Hostname.
func declinedBy(mac hwaddr) string { return "declined by " + mac.String() }
