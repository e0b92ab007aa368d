package dhcp

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
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

// pool is what one subnet remembers. Leases mirror the lease store; offers live here only. There can be 65,536 of each,
// so they hold no pointers: the garbage collector need not look at them.
type pool struct {
	subnet *Subnet

	mu      sync.Mutex
	leases  map[hwaddr]held // by who holds, or last held, the address
	leased  map[number4]hwaddr
	names   map[hwaddr]string // what clients that have a lease called themselves, if anything
	offers  map[hwaddr]offer
	offered map[number4]hwaddr
	seq     uint64 // counts changes of leases

	counted   *ExhaustedError
	countedAt time.Time
}

// number4 is an IPv4 address.
type number4 uint32

func number4Of(a netip.Addr) number4 { return number4(number(a)) }

func (n number4) addr() netip.Addr { return addr(uint32(n)) }

// instant is a time in nanoseconds since 1970.
type instant int64

func (i instant) time() time.Time { return time.Unix(0, int64(i)) }

// held is a lease, and when in the sequence of changes it was put here.
type held struct {
	addr             number4
	declined         bool
	by               hwaddr // who declined it
	granted, expires instant
	seq              uint64
}

func holding(l Lease, seq uint64) held {
	h := held{addr: number4Of(l.Addr), declined: l.Declined, granted: instant(l.GrantedAt.UnixNano()),
		expires: instant(l.ExpiresAt.UnixNano()), seq: seq}
	if l.Declined {
		h.by = declinerOf(l.Hostname)
	}
	return h
}

// offer holds an address for a machine between DISCOVER and REQUEST, and while its lease is being saved.
type offer struct {
	addr  number4
	at    instant // when it was last made
	until instant
}

func newPool(s *Subnet) *pool {
	return &pool{
		subnet: s,
		leases: make(map[hwaddr]held), leased: make(map[number4]hwaddr), names: make(map[hwaddr]string),
		offers: make(map[hwaddr]offer), offered: make(map[number4]hwaddr),
	}
}

// lease returns what mac holds or held last, declined addresses aside.
func (p *pool) lease(mac hwaddr) (Lease, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.leases[mac]
	if !ok || l.declined {
		return Lease{}, false
	}
	return Lease{MAC: net.HardwareAddr(mac[:]), Addr: l.addr.addr(), Subnet: p.subnet.Name, Hostname: p.names[mac],
		GrantedAt: l.granted.time(), ExpiresAt: l.expires.time()}, true
}

// holder returns who, other than mac, may count on address a at this time.
func (p *pool) holder(mac hwaddr, a netip.Addr, now time.Time) (hwaddr, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holderLocked(mac, a, instant(now.UnixNano()))
}

func (p *pool) holderLocked(mac hwaddr, a netip.Addr, now instant) (hwaddr, bool) {
	n := number4Of(a)
	if other, ok := p.leased[n]; ok && other != mac && p.leases[other].expires > now {
		return other, true
	}
	if other, ok := p.offered[n]; ok && other != mac && p.offers[other].until > now {
		return other, true
	}
	return hwaddr{}, false
}

// hold reserves a for mac, unless another may count on it.
func (p *pool) hold(mac hwaddr, a netip.Addr, now time.Time, d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := instant(now.UnixNano())
	if _, taken := p.holderLocked(mac, a, at); taken {
		return false
	}
	p.holdLocked(mac, number4Of(a), at, d)
	return true
}

func (p *pool) holdLocked(mac hwaddr, a number4, now instant, d time.Duration) {
	p.dropOfferLocked(mac)
	if other, ok := p.offered[a]; ok {
		p.dropOfferLocked(other)
	}
	p.offers[mac], p.offered[a] = offer{addr: a, at: now, until: now + instant(d)}, mac
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
	if !ok || o.until <= instant(now.UnixNano()) {
		return netip.Addr{}, false
	}
	return o.addr.addr(), true
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
	at := instant(now.UnixNano())
	var expired, stale number4 // 0 is none
	var expiredAt, staleAt instant
	start, size := p.subnet.start(mac), p.subnet.Pool.Size()
	for i := range size {
		a := p.subnet.at(start, i, size)
		if skip[a] || !p.usable(a, self) {
			continue
		}
		n := number4Of(a)
		if other, ok := p.offered[n]; ok && other != mac && p.offers[other].until > at {
			if made := p.offers[other].at; at-made >= instant(patience) && (stale == 0 || made < staleAt) {
				// Only an offer of an address that is not leased to a third machine at the same time.
				if l, leased := p.leased[n]; !leased || p.leases[l].expires <= at {
					stale, staleAt = n, made
				}
			}
			continue
		}
		owner, leased := p.leased[n]
		if !leased || owner == mac {
			p.holdLocked(mac, n, at, hold)
			return a, true
		}
		if ended := p.leases[owner].expires; ended <= at && (expired == 0 || ended < expiredAt) {
			expired, expiredAt = n, ended
		}
	}
	for _, n := range []number4{expired, stale} {
		if n != 0 {
			p.holdLocked(mac, n, at, hold)
			return n.addr(), true
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
	p.putLocked(mac, holding(l, p.seq), l.Hostname)
}

func (p *pool) putLocked(mac hwaddr, l held, name string) {
	p.removeLocked(mac)
	if other, ok := p.leased[l.addr]; ok {
		p.removeLocked(other)
	}
	p.leases[mac], p.leased[l.addr] = l, mac
	if name != "" && !l.declined {
		p.names[mac] = name
	}
}

func (p *pool) removeLocked(mac hwaddr) {
	if old, ok := p.leases[mac]; ok && p.leased[old.addr] == mac {
		delete(p.leased, old.addr)
	}
	delete(p.leases, mac)
	delete(p.names, mac)
}

func (p *pool) forget(mac hwaddr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropOfferLocked(mac)
	p.removeLocked(mac)
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
	recent, names := make(map[hwaddr]held), p.names
	for mac, l := range p.leases {
		if l.seq > since {
			recent[mac] = l
		}
	}
	clear(p.leases)
	clear(p.leased)
	p.names = make(map[hwaddr]string)
	for mac, l := range stored {
		p.putLocked(mac, holding(l, since), l.Hostname)
	}
	for mac, l := range recent {
		p.putLocked(mac, l, names[mac])
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
		case l.expires <= instant(now.UnixNano()):
		case l.declined:
			e.Declined++
		default:
			e.Leased++
		}
	}
	for _, o := range p.offers {
		if o.until > instant(now.UnixNano()) {
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
	other, ok := p.leased[number4Of(a)]
	return other, ok && other != mac
}

// declines counts the addresses that mac made unusable.
func (p *pool) declines(mac hwaddr, now time.Time) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.leases {
		if l.declined && l.by == mac && l.expires > instant(now.UnixNano()) {
			n++
		}
	}
	return n
}

// declinedBy is how the mark of a declined address remembers who did that, in its Hostname.
func declinedBy(mac hwaddr) string { return declinedPrefix + mac.String() }

const declinedPrefix = "declined by "

// declinerOf reads what declinedBy wrote; it is zero for anything else.
func declinerOf(name string) hwaddr {
	text, ok := strings.CutPrefix(name, declinedPrefix)
	if !ok {
		return hwaddr{}
	}
	hw, err := net.ParseMAC(text)
	if err != nil {
		return hwaddr{}
	}
	mac, _ := ethernet(hw)
	return mac
}
