package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// Defaults of [AuthorityConfig].
const (
	DefaultOfferHold   = time.Minute
	DefaultDeclineHold = time.Hour
)

// AuthorityConfig says what an [Authority] leases, to whom, and where it keeps that.
type AuthorityConfig struct {
	// Subnets are the subnets to serve, at least one. Where prefixes overlap the longest that fits is chosen.
	Subnets []Subnet
	// Leases is where leases are kept. It is required.
	Leases LeaseStore
	// Reservations says which machines are known. nil means that none is.
	Reservations Reservations
	// Boot says what machines boot. nil gives addresses only.
	Boot Booter
	// Quirks says how firmware must be answered, after [DefaultQuirks].
	Quirks []Quirk
	// Prober looks for who uses an address before it is first offered, in subnets with Probe, and in all of them before an
	// address that was declined is used again. Relayed clients are on a link where that cannot be done. Such answers are
	// [Deferred]. nil: addresses are not looked for.
	Prober Prober
	// OfferHold is how long an offered address waits for its machine; 0 means [DefaultOfferHold]. When nothing else is
	// free, an offer that was not repeated for a quarter of that goes to the next machine.
	OfferHold time.Duration
	// DeclineHold is how long an address stays unused that a machine found to be taken (DHCPDECLINE); 0 means
	// [DefaultDeclineHold].
	DeclineHold time.Duration
}

// An Authority is a [Responder] that leases addresses in one or several subnets, keyed on hardware addresses, and says
// what to boot. It is safe for concurrent use.
//
// It keeps a copy of all leases in memory and reads them from the store with the first request, and again when another
// server that shares the store turns out to have changed them. The store has the last word on who holds an address, and
// no DHCPACK leaves before the lease is durable there. Leases that wait at the same time are stored together, if the store
// is a [LeaseBatchStore]. If the store cannot be read or written, requests fail and clients
// ask again.
type Authority struct {
	cfg   AuthorityConfig
	pools []*pool // longest prefix first
	saves *commits
	links map[string][]*pool
	// quirks are those that everybody has, and the site's.
	quirks []quirk
	probes probes

	loading  sync.Mutex
	loaded   bool
	loadedAt time.Time
}

// NewAuthority checks cfg. The error names every subnet in which something is wrong.
func NewAuthority(cfg AuthorityConfig) (*Authority, error) {
	var bad []error
	if len(cfg.Subnets) == 0 {
		bad = append(bad, errors.New("there is no subnet to serve"))
	}
	if cfg.Leases == nil {
		bad = append(bad, errors.New("there is no lease store; NewMemoryLeases makes one for tests"))
	}
	if cfg.OfferHold == 0 {
		cfg.OfferHold = DefaultOfferHold
	}
	if cfg.DeclineHold == 0 {
		cfg.DeclineHold = DefaultDeclineHold
	}
	if cfg.Reservations == nil {
		cfg.Reservations = StaticReservations(nil)
	}
	cfg.Subnets = slices.Clone(cfg.Subnets)
	a := &Authority{cfg: cfg, saves: &commits{store: cfg.Leases}, links: make(map[string][]*pool)}
	rows := slices.Concat(DefaultQuirks(), cfg.Quirks)
	for i := range rows {
		if err := rows[i].Check(); err != nil {
			bad = append(bad, err)
		}
		a.quirks = append(a.quirks, compile(&rows[i]))
	}
	names, prefixes := map[string]bool{}, map[netip.Prefix]string{}
	for i := range cfg.Subnets {
		s := &cfg.Subnets[i]
		if err := s.check(); err != nil {
			bad = append(bad, err)
			continue
		}
		if names[s.Name] {
			bad = append(bad, fmt.Errorf("subnet %q: the name is used twice", s.Name))
		}
		if other, dup := prefixes[s.Prefix]; dup {
			bad = append(bad, fmt.Errorf("subnet %q: prefix %v is that of subnet %q", s.Name, s.Prefix, other))
		}
		names[s.Name], prefixes[s.Prefix] = true, s.Name
		a.pools = append(a.pools, newPool(s))
		if s.Link != "" {
			a.links[s.Link] = append(a.links[s.Link], a.pools[len(a.pools)-1])
		}
	}
	bad = append(bad, checkLinks(cfg.Subnets)...)
	if bad != nil {
		return nil, fmt.Errorf("dhcp: %w", errors.Join(bad...))
	}
	slices.SortStableFunc(a.pools, func(x, y *pool) int { return y.subnet.Prefix.Bits() - x.subnet.Prefix.Bits() })
	return a, nil
}

// Respond answers DISCOVER, REQUEST, DECLINE, RELEASE and INFORM (RFC 2131 section 4.3), and on [PXEPort] the boot
// server requests of PXE.
func (a *Authority) Respond(ctx context.Context, req *Request) (*dhcpv4.DHCPv4, error) {
	t, err := a.open(ctx, req)
	if err != nil {
		return nil, err
	}
	if t.bootOnly {
		return t.proxy(ctx)
	}
	if req.Port == PXEPort {
		return t.bootServer(ctx)
	}
	switch t.packet.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return t.discover(ctx)
	case dhcpv4.MessageTypeRequest:
		return t.request(ctx)
	case dhcpv4.MessageTypeDecline:
		return t.decline(ctx)
	case dhcpv4.MessageTypeRelease:
		return t.release(ctx)
	case dhcpv4.MessageTypeInform:
		return t.inform(ctx)
	case dhcpv4.MessageTypeNone:
		return nil, Ignored("BOOTP without a DHCP message type")
	}
	return nil, Ignored("a " + t.packet.MessageType().String() + " is not for servers")
}

// talk is one request on its way to its answer.
type talk struct {
	*Authority
	req      *Request
	packet   *dhcpv4.DHCPv4
	now      time.Time
	mac      hwaddr
	pool     *pool
	subnet   *Subnet
	serverID netip.Addr // what we call ourselves to this client

	reservation Reservation // its Addr is zero unless it can be leased in this subnet
	known       bool
	bootOnly    bool // its address is another server's: it is only told what to boot
}

// open finds out who asks, from which subnet, and whether it is any of our business.
func (a *Authority) open(ctx context.Context, req *Request) (*talk, error) {
	p := req.Packet
	if p == nil || p.OpCode != dhcpv4.OpcodeBootRequest {
		return nil, Ignored("not a request")
	}
	if p.HWType != iana.HWTypeEthernet {
		return nil, Ignored("hardware type " + p.HWType.String() + " is not Ethernet")
	}
	mac, err := ethernet(p.ClientHWAddr)
	if err != nil {
		return nil, Ignored(err.Error())
	}
	t := &talk{Authority: a, req: req, packet: p, now: req.Time, mac: mac}
	if t.now.IsZero() {
		t.now = time.Now()
	}
	if t.pool, err = a.choose(req); err != nil {
		return nil, err
	}
	t.subnet = t.pool.subnet
	if err := t.identifyServer(); err != nil {
		return nil, err
	}
	if err := a.load(ctx, t.now, 0); err != nil {
		return nil, err
	}

	t.reservation, t.known, err = t.reservationOf(ctx)
	if err != nil {
		// An inventory that is away must not take running machines off the network.
		lease, ok := t.leaseOnLink()
		if !ok || !lease.ExpiresAt.After(t.now) {
			return nil, fmt.Errorf("dhcp: look %s up in the reservations: %w", mac, err)
		}
		t.reservation, t.known = Reservation{Hostname: lease.Hostname}, true
		if t.subnet.Mode == ModeReserved {
			t.reservation.Addr = lease.Addr
		}
	}
	t.place()
	if r := t.reservation.Addr; r.IsValid() && (!t.subnet.Prefix.Contains(r) || t.subnet.infrastructure(r)) {
		t.reservation.Addr = netip.Addr{}
	}
	if err := t.admit(); err != nil {
		return nil, err
	}
	return t, nil
}

// choose finds the subnet that a client is in.
func (a *Authority) choose(req *Request) (*pool, error) {
	p := req.Packet
	if relay := fromIP(p.GatewayIPAddr); relay.IsValid() {
		link := relay
		if info := p.RelayAgentInfo(); info != nil {
			// RFC 3527: the relay is reached at giaddr, but the client is on another link.
			if sel := fromIP(info.Get(dhcpv4.LinkSelectionSubOption)); sel.IsValid() {
				link = sel
			}
		}
		if pool := a.containing(link); pool != nil {
			return pool, nil
		}
		return nil, Ignored(fmt.Sprintf("no subnet contains %s, for which relay %s asks", link, relay))
	}
	// A client that has an address and uses it is where that address is, whatever interface its router sent the packet
	// through: RFC 2131 section 4.3.2 says to trust ciaddr when renewing. A broadcast is different: it shows on which
	// link the client is.
	if client := fromIP(p.ClientIPAddr); client.IsValid() && !req.Broadcast {
		if pool := a.containing(client); pool != nil {
			return pool, nil
		}
	}
	if pool := a.containing(req.Local); pool != nil {
		return pool, nil
	}
	for _, prefix := range req.Addrs {
		if pool := a.containing(prefix.Addr()); pool != nil {
			return pool, nil
		}
	}
	return nil, Ignored("no subnet contains an address of interface " + req.Interface)
}

func (a *Authority) containing(addr netip.Addr) *pool {
	for _, p := range a.pools {
		if p.subnet.Prefix.Contains(addr) {
			return p
		}
	}
	return nil
}

// identifyServer decides what we call ourselves, and refuses what is said to another server.
func (t *talk) identifyServer() error {
	t.serverID = t.subnet.ServerID
	if !t.serverID.IsValid() {
		t.serverID = t.req.Local
	}
	var override netip.Addr
	if fromIP(t.packet.GatewayIPAddr).IsValid() {
		if info := t.packet.RelayAgentInfo(); info != nil {
			// RFC 5107: the relay wants to see all of the client's packets and so poses as the server.
			override = fromIP(info.Get(dhcpv4.ServerIdentifierOverrideSubOption))
		}
	}
	named := fromIP(t.packet.Options.Get(dhcpv4.OptionServerIdentifier))
	ours := !t.packet.Options.Has(dhcpv4.OptionServerIdentifier) ||
		named.IsValid() && (named == t.serverID || named == t.req.Local || named == override ||
			slices.ContainsFunc(t.req.Addrs, func(p netip.Prefix) bool { return p.Addr() == named }))
	if !ours {
		return Ignored("it names another server, " + net.IP(t.packet.Options.Get(dhcpv4.OptionServerIdentifier)).String())
	}
	if override.IsValid() {
		t.serverID = override
	}
	if !t.serverID.IsValid() {
		return Ignored("interface " + t.req.Interface + " has no IPv4 address, and subnet " + t.subnet.Name + " no server id")
	}
	return nil
}

// load reads the leases from the store, unless that was done less than age ago; with age 0, unless it was done at all.
func (a *Authority) load(ctx context.Context, now time.Time, age time.Duration) error {
	a.loading.Lock()
	defer a.loading.Unlock()
	if a.loaded && (age == 0 || now.Sub(a.loadedAt) < age) {
		return nil
	}
	since := make([]uint64, len(a.pools))
	for i, p := range a.pools {
		since[i] = p.sequence()
	}
	leases, err := a.cfg.Leases.Leases(ctx)
	if err != nil {
		return fmt.Errorf("dhcp: read the leases: %w", err)
	}
	bySubnet := make(map[string]map[hwaddr]Lease)
	for _, l := range leases {
		mac, err := ethernet(l.MAC)
		if err != nil || !l.Addr.Is4() {
			continue // not written by us; nothing that could be renewed
		}
		if bySubnet[l.Subnet] == nil {
			bySubnet[l.Subnet] = make(map[hwaddr]Lease)
		}
		bySubnet[l.Subnet][mac] = l
	}
	for i, p := range a.pools {
		p.replace(bySubnet[p.subnet.Name], since[i])
	}
	a.loaded, a.loadedAt = true, now
	return nil
}

// refreshAge is how often the leases are read again at most when something is not as we remember it.
const refreshAge = time.Second

func (t *talk) discover(ctx context.Context) (*dhcpv4.DHCPv4, error) {
	addr, why, err := t.allocateOnLink(ctx)
	if err != nil {
		return nil, err
	}
	if t.mustProbe(addr) {
		return nil, t.probeFirst(addr, why)
	}
	return t.offer(ctx, addr, why)
}

// offer offers an address, or leases it at once.
func (t *talk) offer(ctx context.Context, addr netip.Addr, why string) (*dhcpv4.DHCPv4, error) {
	if t.subnet.RapidCommit && t.packet.Options.Has(optRapidCommit) {
		return t.rapidCommit(ctx, addr, why)
	}
	t.req.Reason = why
	return t.reply(ctx, dhcpv4.MessageTypeOffer, addr)
}

// allocate chooses and holds an address. In this order: the reservation; what the machine has or last had (RFC 2131
// section 4.3.1), or was offered; what it asks for, if free; the pool.
func (t *talk) allocate(ctx context.Context) (netip.Addr, string, error) {
	hold := t.cfg.OfferHold
	wish := netip.Addr{}
	var why string
	if r := t.reservation.Addr; r.IsValid() {
		if t.pool.hold(t.mac, r, t.now, hold) {
			return r, "reserved for this machine", nil
		}
		other, _ := t.pool.holder(t.mac, r, t.now)
		why = fmt.Sprintf("; its reservation %s is in use by %s", r, holderName(r, other))
	}
	if l, ok := t.pool.lease(t.mac); ok {
		if ok, err := t.free(ctx, l.Addr); err != nil {
			return wish, "", err
		} else if ok && t.pool.hold(t.mac, l.Addr, t.now, hold) {
			return l.Addr, "the machine's lease" + why, nil
		}
	}
	if o, ok := t.pool.offerTo(t.mac, t.now); ok {
		if ok, err := t.free(ctx, o); err != nil {
			return wish, "", err
		} else if ok && t.pool.hold(t.mac, o, t.now, hold) {
			return o, "offered before" + why, nil
		}
	}
	if wish = fromIP(t.packet.Options.Get(dhcpv4.OptionRequestedIPAddress)); wish.IsValid() {
		if ok, err := t.free(ctx, wish); err != nil {
			return wish, "", err
		} else if _, taken := t.pool.lastHolder(wish, t.mac); ok && !taken && t.pool.hold(t.mac, wish, t.now, hold) {
			return wish, "asked for, and free" + why, nil
		}
	}
	skip := make(map[netip.Addr]bool)
	for _, own := range t.req.Addrs {
		skip[own.Addr()] = true
	}
	refreshed := false
	for {
		a, ok := t.pool.take(t.mac, t.req.Local, t.now, hold, hold/4, skip)
		if !ok {
			if refreshed {
				return a, "", t.pool.exhausted(t.now)
			}
			refreshed = true
			if err := t.load(ctx, t.now, refreshAge); err != nil {
				return a, "", err
			}
			continue
		}
		reserved, err := t.cfg.Reservations.Reserved(ctx, a)
		if err != nil {
			t.pool.dropOffer(t.mac)
			return a, "", fmt.Errorf("dhcp: look %s up in the reservations: %w", a, err)
		}
		if !reserved {
			return a, "from the pool" + why, nil
		}
		t.pool.dropOffer(t.mac)
		skip[a] = true
	}
}

// free reports whether this machine could have address a, other machines' leases aside.
func (t *talk) free(ctx context.Context, a netip.Addr) (bool, error) {
	if a == t.reservation.Addr {
		return true, nil
	}
	if !t.pool.usable(a, t.req.Local) || t.own(a) {
		return false, nil
	}
	reserved, err := t.cfg.Reservations.Reserved(ctx, a)
	if err != nil {
		if l, ok := t.pool.lease(t.mac); ok && l.Addr == a && l.ExpiresAt.After(t.now) {
			return true, nil // see open: what runs goes on
		}
		return false, fmt.Errorf("dhcp: look %s up in the reservations: %w", a, err)
	}
	return !reserved, nil
}

func (t *talk) request(ctx context.Context) (*dhcpv4.DHCPv4, error) {
	wish := fromIP(t.packet.Options.Get(dhcpv4.OptionRequestedIPAddress))
	client := fromIP(t.packet.ClientIPAddr)
	named := t.packet.Options.Has(dhcpv4.OptionServerIdentifier)
	switch {
	case client.IsValid():
		return t.renew(ctx, client)
	case named && wish.IsValid():
		return t.selected(ctx, wish)
	case wish.IsValid():
		return t.reboot(ctx, wish)
	}
	return nil, Ignored("a DHCPREQUEST for no address")
}

// selected answers a machine that took our offer (RFC 2131 section 4.3.2, SELECTING).
func (t *talk) selected(ctx context.Context, a netip.Addr) (*dhcpv4.DHCPv4, error) {
	free, err := t.free(ctx, a)
	if err != nil {
		return nil, err
	}
	if offer, ok := t.pool.offerTo(t.mac, t.now); !free && ok && offer == a && t.subnet.Prefix.Contains(a) {
		free = true // it was reserved for somebody else after we offered it: this machine was first
	}
	if !free {
		if t.subnet.Unknown != UnknownLease && !t.gave(a) {
			// Another server on this host, which has the same address, may have offered it.
			return nil, Ignored(fmt.Sprintf("it takes an offer of %s, which was not ours", a))
		}
		return t.nak(fmt.Sprintf("%s is not for this machine", a))
	}
	return t.grant(ctx, a, "took our offer")
}

// reboot answers a machine that remembers an address from before (RFC 2131 section 4.3.2, INIT-REBOOT).
func (t *talk) reboot(ctx context.Context, a netip.Addr) (*dhcpv4.DHCPv4, error) {
	lease, leased, err := t.record(ctx)
	if err != nil {
		return nil, err
	}
	if !t.subnet.Prefix.Contains(a) {
		if t.known || leased {
			return t.nak(fmt.Sprintf("%s is not in subnet %s", a, t.subnet.Name))
		}
		return nil, Ignored(fmt.Sprintf("it asks for %s, which is not ours, and we do not know it", a))
	}
	if r := t.reservation.Addr; r.IsValid() && r != a {
		if _, taken := t.pool.holder(t.mac, r, t.now); !taken {
			return t.nak(fmt.Sprintf("%s is reserved for this machine, not %s", r, a))
		}
	}
	free, err := t.free(ctx, a)
	if err != nil {
		return nil, err
	}
	other, taken := t.pool.holder(t.mac, a, t.now)
	switch {
	case taken:
		return t.nak(fmt.Sprintf("%s belongs to %s", a, holderName(a, other)))
	case leased && lease.Addr != a && t.reservation.Addr != a:
		return t.nak(fmt.Sprintf("this machine's lease is %s, not %s", lease.Addr, a))
	case !free && (leased || t.pool.subnet.Pool.Contains(a)):
		return t.nak(fmt.Sprintf("%s is not for this machine", a))
	case !leased && t.reservation.Addr != a:
		// "If the DHCP server has no record of this client, then it MUST remain silent".
		return nil, Ignored(fmt.Sprintf("it asks for %s, of which there is no record", a))
	}
	return t.grant(ctx, a, "still has it after a reboot")
}

// renew answers a machine that uses its address and wants to keep it (RFC 2131 section 4.3.2, RENEWING and REBINDING).
// A machine in the pool that we have no record of is taken over: it had the address from us before the leases were
// lost.
func (t *talk) renew(ctx context.Context, a netip.Addr) (*dhcpv4.DHCPv4, error) {
	lease, leased, err := t.record(ctx)
	if err != nil {
		return nil, err
	}
	if !t.subnet.Prefix.Contains(a) {
		if t.known || leased {
			return t.nak(fmt.Sprintf("%s is not in subnet %s", a, t.subnet.Name))
		}
		return nil, Ignored(fmt.Sprintf("it renews %s, which is not ours, and we do not know it", a))
	}
	free, err := t.free(ctx, a)
	if err != nil {
		return nil, err
	}
	if other, taken := t.pool.holder(t.mac, a, t.now); taken {
		return t.nak(fmt.Sprintf("%s belongs to %s", a, holderName(a, other)))
	}
	mine := leased && lease.Addr == a
	switch {
	case mine && t.subnet.Prefix.Contains(a):
		// Also when it was reserved for somebody else since: no machine is moved in the middle of its work.
		return t.grant(ctx, a, "renewed")
	case free:
		return t.grant(ctx, a, "renewed, and taken over: there was no record of it")
	case t.subnet.Pool.Contains(a) || !t.req.Broadcast && !fromIP(t.packet.GatewayIPAddr).IsValid():
		// It asked this very server. What a relay sends was a broadcast, and perhaps for the server that gave the address.
		return t.nak(fmt.Sprintf("%s is not for this machine", a))
	}
	return nil, Ignored(fmt.Sprintf("it rebinds %s, which is not ours", a))
}

// holderName says who holds address a.
func holderName(a netip.Addr, h hwaddr) string {
	if h == hwaddr(DeclinedMAC(a)) {
		return "a host that another machine saw using it"
	}
	return h.String()
}

// record looks the machine's lease up, in the store as well if it is not in memory: another server may have given it.
func (t *talk) record(ctx context.Context) (Lease, bool, error) {
	lease, ok := t.pool.lease(t.mac)
	if ok {
		return lease, true, nil
	}
	if err := t.load(ctx, t.now, refreshAge); err != nil {
		return lease, false, err
	}
	lease, ok = t.pool.lease(t.mac)
	return lease, ok, nil
}

// grant makes a lease durable and acknowledges it.
func (t *talk) grant(ctx context.Context, a netip.Addr, why string) (*dhcpv4.DHCPv4, error) {
	// The hold keeps others off the address while the store is being written to, without a lock across that.
	if !t.pool.hold(t.mac, a, t.now, t.cfg.OfferHold) {
		other, _ := t.pool.holder(t.mac, a, t.now)
		return t.nak(fmt.Sprintf("%s belongs to %s", a, holderName(a, other)))
	}
	t.req.Reason = why
	ack, err := t.reply(ctx, dhcpv4.MessageTypeAck, a)
	if err != nil {
		return nil, err
	}
	lease := Lease{
		MAC: net.HardwareAddr(t.mac[:]), Addr: a, Subnet: t.subnet.Name,
		Hostname:  printable(t.packet.Options.Get(dhcpv4.OptionHostName)),
		GrantedAt: t.now, ExpiresAt: t.now.Add(t.leaseTime()),
	}
	err = t.saves.save(ctx, lease)
	if errors.Is(err, ErrAddressTaken) {
		t.pool.dropOffer(t.mac)
		if err := t.load(ctx, t.now, refreshAge); err != nil {
			return nil, err
		}
		return t.nak(fmt.Sprintf("%s was leased to another machine by another server", a))
	}
	if err != nil {
		return nil, &UnstoredError{Lease: lease, Err: err}
	}
	t.pool.put(t.mac, lease)
	t.leaveOthers(ctx)
	return ack, nil
}

// gave reports whether the machine has, or had last, or was offered address a by us.
func (t *talk) gave(a netip.Addr) bool {
	lease, leased := t.pool.lease(t.mac)
	offer, offered := t.pool.offerTo(t.mac, t.now)
	return leased && lease.Addr == a || offered && offer == a
}

// leaseTime is the subnet's, or what the client asks for if that is less.
func (t *talk) leaseTime() time.Duration {
	asked := t.packet.IPAddressLeaseTime(t.subnet.LeaseTime)
	return max(min(asked, t.subnet.LeaseTime), minLeaseTime)
}

// maxDeclines bounds how many addresses one machine can make unusable at a time.
const maxDeclines = 3

// decline takes an address out of use that the machine found to be taken (RFC 2131 section 4.3.3).
func (t *talk) decline(ctx context.Context) (*dhcpv4.DHCPv4, error) {
	a := fromIP(t.packet.Options.Get(dhcpv4.OptionRequestedIPAddress))
	if !a.IsValid() || !t.gave(a) {
		return nil, Ignored(fmt.Sprintf("it declines %s, which it did not get from us", a))
	}
	if t.pool.declines(t.mac, t.now) >= maxDeclines {
		return nil, Ignored(fmt.Sprintf("it declined %d addresses already", maxDeclines))
	}
	if lease, leased := t.pool.lease(t.mac); leased && lease.Addr == a {
		if err := t.cfg.Leases.DeleteLease(ctx, t.subnet.Name, lease.MAC); err != nil {
			return nil, fmt.Errorf("dhcp: delete the declined lease of %s to %s: %w", a, t.mac, err)
		}
		t.pool.forget(t.mac)
	}
	if err := t.setAside(ctx, a, declinedBy(t.mac)); err != nil {
		return nil, err
	}
	return nil, Ignored(fmt.Sprintf("%s was found to be in use and is not leased for %s", a, t.cfg.DeclineHold))
}

// release ends a lease. The record stays, so that the machine gets the same address when it comes back.
func (t *talk) release(ctx context.Context) (*dhcpv4.DHCPv4, error) {
	a := fromIP(t.packet.ClientIPAddr)
	lease, ok := t.pool.lease(t.mac)
	if !ok || lease.Addr != a {
		return nil, Ignored(fmt.Sprintf("it releases %s, which it did not get from us", a))
	}
	lease.ExpiresAt = t.now
	if err := t.cfg.Leases.SaveLease(ctx, lease); err != nil {
		return nil, fmt.Errorf("dhcp: end the lease of %s to %s: %w", a, t.mac, err)
	}
	t.pool.put(t.mac, lease)
	return nil, Ignored(fmt.Sprintf("%s is released", a))
}

// inform answers a machine that has an address already (RFC 2131 section 4.3.5).
func (t *talk) inform(ctx context.Context) (*dhcpv4.DHCPv4, error) {
	t.req.Reason = "has an address of its own"
	return t.reply(ctx, dhcpv4.MessageTypeAck, netip.Addr{})
}

// bootServer answers on port 4011: what to boot, and no address (PXE specification 2.1, section 2.2.5).
func (t *talk) bootServer(ctx context.Context) (*dhcpv4.DHCPv4, error) {
	switch t.packet.MessageType() {
	case dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform:
	default:
		return nil, Ignored("only a DHCPREQUEST is for port 4011")
	}
	if _, netboot := ParseBootRequest(t.packet); !netboot {
		return nil, Ignored("port 4011 is for netboot clients")
	}
	t.req.Reason = "asked for its boot server"
	return t.reply(ctx, dhcpv4.MessageTypeAck, netip.Addr{})
}
