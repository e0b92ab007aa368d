package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/stretchr/testify/require"
)

var (
	start   = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	gateway = netip.MustParseAddr("10.7.0.1")
	alice   = mustMAC("52:54:00:00:00:0a")
	bob     = mustMAC("52:54:00:00:00:0b")
	carol   = mustMAC("52:54:00:00:00:0c")
)

func mustMAC(s string) net.HardwareAddr {
	mac, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return mac
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func rack7() Subnet {
	return Subnet{
		Name: "rack-7", Prefix: netip.MustParsePrefix("10.7.0.0/24"),
		Pool:   Range{First: ip("10.7.0.2"), Last: ip("10.7.0.251")},
		Router: gateway, LeaseTime: 2 * time.Hour, Unknown: UnknownLease,
		Settings: Settings{DNS: []netip.Addr{ip("10.7.0.253")}, NTP: []netip.Addr{ip("10.7.0.252")},
			Domain: "rack7.example", MTU: 9000},
	}
}

// bench is an Authority on a table, with a clock and a wire that goes from bytes to bytes.
type bench struct {
	t         *testing.T
	authority *Authority
	leases    *MemoryLeases
	now       time.Time
	// What the next packets come with.
	local  netip.Addr
	relay  netip.Addr
	direct bool // sent to local and not broadcast
	port   uint16
}

func newBench(t *testing.T, change ...func(*AuthorityConfig)) *bench {
	b := &bench{t: t, leases: NewMemoryLeases(), now: start, local: gateway}
	b.leases.Now = func() time.Time { return b.now }
	b.restart(change...)
	return b
}

func (b *bench) restart(change ...func(*AuthorityConfig)) {
	cfg := AuthorityConfig{Subnets: []Subnet{rack7()}, Leases: b.leases}
	for _, c := range change {
		c(&cfg)
	}
	a, err := NewAuthority(cfg)
	require.NoError(b.t, err)
	b.authority = a
}

func subnet(change func(*Subnet)) func(*AuthorityConfig) {
	return func(c *AuthorityConfig) { change(&c.Subnets[0]) }
}

func (b *bench) send(
	kind dhcpv4.MessageType, mac net.HardwareAddr, change ...dhcpv4.Modifier,
) (*dhcpv4.DHCPv4, *Request, error) {
	b.t.Helper()
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(kind), dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4}),
	}, change...)...)
	require.NoError(b.t, err)
	if b.relay.IsValid() {
		p.GatewayIPAddr = toIP(b.relay)
	}
	p, err = dhcpv4.FromBytes(p.ToBytes())
	require.NoError(b.t, err)
	req := &Request{
		Packet: p, Interface: "eth1", InterfaceIndex: 2, Local: b.local, Broadcast: !b.direct && !b.relay.IsValid(),
		Addrs: []netip.Prefix{netip.PrefixFrom(b.local, 24)}, Peer: netip.MustParseAddrPort("0.0.0.0:68"), Port: b.port,
		Time: b.now,
	}
	reply, err := Answer(context.Background(), b.authority, req)
	if reply != nil {
		require.NoError(b.t, err)
		reply, err = dhcpv4.FromBytes(reply.ToBytes())
		require.NoError(b.t, err, "the reply must survive the wire")
		require.Equal(b.t, dhcpv4.OpcodeBootReply, reply.OpCode)
		require.Equal(b.t, p.TransactionID, reply.TransactionID)
		require.Equal(b.t, p.ClientHWAddr, reply.ClientHWAddr)
	}
	return reply, req, err
}

func (b *bench) answer(want, kind dhcpv4.MessageType, mac net.HardwareAddr, change ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	b.t.Helper()
	reply, req, err := b.send(kind, mac, change...)
	require.NoError(b.t, err)
	require.NotNil(b.t, reply)
	require.Equal(b.t, want, reply.MessageType(), "%s (%s)", req.Reason, reply.Message())
	require.NotEmpty(b.t, req.Reason, "each answer says why")
	return reply
}

// silence sends a packet that must not be answered, on purpose.
func (b *bench) silence(kind dhcpv4.MessageType, mac net.HardwareAddr, change ...dhcpv4.Modifier) string {
	b.t.Helper()
	reply, _, err := b.send(kind, mac, change...)
	require.Nil(b.t, reply)
	var why Ignored
	require.ErrorAs(b.t, err, &why)
	return string(why)
}

func (b *bench) offer(mac net.HardwareAddr, change ...dhcpv4.Modifier) netip.Addr {
	b.t.Helper()
	return fromIP(b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, mac, change...).YourIPAddr)
}

func (b *bench) take(
	want dhcpv4.MessageType, mac net.HardwareAddr, a netip.Addr, change ...dhcpv4.Modifier,
) *dhcpv4.DHCPv4 {
	b.t.Helper()
	return b.answer(want, dhcpv4.MessageTypeRequest, mac, append([]dhcpv4.Modifier{asks(a), names(gateway)}, change...)...)
}

// lease goes the whole way.
func (b *bench) lease(mac net.HardwareAddr, change ...dhcpv4.Modifier) netip.Addr {
	b.t.Helper()
	a := b.offer(mac, change...)
	ack := b.take(dhcpv4.MessageTypeAck, mac, a, change...)
	require.Equal(b.t, a, fromIP(ack.YourIPAddr))
	return a
}

func (b *bench) stored(mac net.HardwareAddr) (Lease, bool) {
	all, err := b.leases.Leases(context.Background())
	require.NoError(b.t, err)
	for _, l := range all {
		if l.MAC.String() == mac.String() {
			return l, true
		}
	}
	return Lease{}, false
}

func asks(a netip.Addr) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(toIP(a)))
}

func names(server netip.Addr) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(toIP(server)))
}

func has(a netip.Addr) dhcpv4.Modifier { return dhcpv4.WithClientIP(toIP(a)) }

func raw(code uint8, v ...byte) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), v))
}

func knows(r StaticReservations) func(*AuthorityConfig) {
	return func(c *AuthorityConfig) { c.Reservations = r }
}

func TestMachineGetsAddressAndWhatItsSubnetSays(t *testing.T) {
	b := newBench(t, knows(StaticReservations{alice.String(): {Hostname: "alice"}}))
	everything := raw(55, 1, 3, 6, 12, 15, 26, 28, 42, 51, 54)

	offer := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, everything)
	_, stored := b.stored(alice)
	require.False(t, stored, "an offer is not a lease")
	ack := b.take(dhcpv4.MessageTypeAck, alice, fromIP(offer.YourIPAddr), everything,
		dhcpv4.WithOption(dhcpv4.OptHostName("what-it-says-of-itself")))

	for _, p := range []*dhcpv4.DHCPv4{offer, ack} {
		require.True(t, rack7().Pool.Contains(fromIP(p.YourIPAddr)))
		require.Equal(t, net.CIDRMask(24, 32), p.SubnetMask())
		require.Equal(t, "10.7.0.1", p.Router()[0].String())
		require.Equal(t, "10.7.0.1", p.ServerIdentifier().String())
		require.Equal(t, "10.7.0.253", p.DNS()[0].String())
		require.Equal(t, "10.7.0.252", p.NTPServers()[0].String())
		require.Equal(t, "10.7.0.255", p.BroadcastAddress().String())
		require.Equal(t, "rack7.example", p.DomainName())
		require.Equal(t, "alice", p.HostName())
		require.Equal(t, []byte{0x23, 0x28}, p.Options.Get(dhcpv4.OptionInterfaceMTU))
		require.Equal(t, 2*time.Hour, p.IPAddressLeaseTime(0))
		require.Equal(t, time.Hour, p.IPAddressRenewalTime(0))
		require.Equal(t, 105*time.Minute, p.IPAddressRebindingTime(0))
		require.Empty(t, p.BootFileName, "it did not ask to be netbooted")
		require.False(t, p.Options.Has(dhcpv4.OptionBootfileName))
	}
	l, stored := b.stored(alice)
	require.True(t, stored)
	require.Equal(t, Lease{
		MAC: alice, Addr: fromIP(ack.YourIPAddr), Subnet: "rack-7", Hostname: "what-it-says-of-itself",
		GrantedAt: start, ExpiresAt: start.Add(2 * time.Hour),
	}, l)
}

func TestOptionsNobodyAskedForAreNotSent(t *testing.T) {
	b := newBench(t)
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, raw(55, 1, 3))
	require.False(t, p.Options.Has(dhcpv4.OptionInterfaceMTU))
	require.False(t, p.Options.Has(dhcpv4.OptionNTPServers))
}

func TestOneMachineWithFiveClientIDsKeepsOneAddress(t *testing.T) {
	b := newBench(t)
	ids := [][]byte{
		nil,                                // OVMF, nclient4
		append([]byte{1}, alice...),        // iPXE, udhcpc
		[]byte("\xff\x00\x00\x00\x01duid"), // systemd-networkd, dhclient with RFC 4361
		[]byte("\x00installer"),
		append([]byte{0}, make([]byte, 16)...), // PXE ROMs that send their UUID
	}
	var first netip.Addr
	for i, id := range ids {
		var change []dhcpv4.Modifier
		if id != nil {
			change = append(change, raw(61, id...))
		}
		a := b.lease(alice, change...)
		if i == 0 {
			first = a
		}
		require.Equal(t, first, a)
		b.now = b.now.Add(20 * time.Second)
	}
	all, err := b.leases.Leases(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
}

func machine(i int) net.HardwareAddr {
	return net.HardwareAddr{0x52, 0x54, 0, 0x12, byte(i >> 8), byte(i)}
}

func TestPoolOfSlash24Carries250Machines(t *testing.T) {
	b := newBench(t)
	seen := make(map[netip.Addr]int)
	for stage := range 3 { // PXE ROM, iPXE, OS: each with another client id
		for i := range 250 {
			a := b.lease(machine(i), raw(61, byte(stage), byte(i)))
			if stage == 0 {
				_, twice := seen[a]
				require.False(t, twice, "%s was leased twice", a)
				seen[a] = i
			}
			require.Equal(t, i, seen[a], "machine %d moved", i)
		}
		b.now = b.now.Add(time.Minute)
	}
	require.Len(t, seen, 250)

	_, _, err := b.send(dhcpv4.MessageTypeDiscover, machine(250))
	var full *ExhaustedError
	require.ErrorAs(t, err, &full)
	require.Equal(t, &ExhaustedError{Subnet: "rack-7", Pool: rack7().Pool, Leased: 250}, full)
	require.ErrorContains(t, err, "rack-7", "an alarm that does not name the subnet helps nobody")
}

func TestLostLeaseDatabaseMovesNoMachineThatRuns(t *testing.T) {
	b := newBench(t)
	before := make(map[int]netip.Addr)
	for i := range 250 {
		before[i] = b.lease(machine(i))
	}
	b.leases = NewMemoryLeases()
	b.restart()
	for i := 249; i >= 0; i-- {
		b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, machine(i), has(before[i]))
	}
}

func TestLostLeaseDatabaseGivesTheSameAddressesToTheSameMachines(t *testing.T) {
	b := newBench(t)
	before := make(map[int]netip.Addr)
	for i := range 20 {
		before[i] = b.lease(machine(i))
	}
	b.leases = NewMemoryLeases()
	b.restart()
	for i := 0; i < 20; i++ {
		require.Equal(t, before[i], b.lease(machine(i)))
	}
}

// The hash is part of what users rely on: a change moves machines at an upgrade that lost its leases.
func TestFirstCandidateOfAMachineNeverChanges(t *testing.T) {
	s := rack7()
	require.Equal(t, "10.7.0.64", s.at(s.start(hwaddr(alice)), 0, s.Pool.Size()).String())
	seen := make(map[netip.Addr]bool)
	for i := range s.Pool.Size() {
		seen[s.at(s.start(hwaddr(alice)), i, s.Pool.Size())] = true
	}
	require.Len(t, seen, 250, "the search comes by each address once")
}

func TestRestartKeepsLeases(t *testing.T) {
	b := newBench(t)
	// Something that the hash would not give.
	a := fromIP(b.take(dhcpv4.MessageTypeAck, alice, ip("10.7.0.200")).YourIPAddr)
	b.restart()
	require.Equal(t, a, b.offer(alice))
}

func TestRequestNamingAnotherServerIsIgnored(t *testing.T) {
	b := newBench(t)
	a := b.offer(alice)
	other := ip("10.7.0.254")
	require.Contains(t, b.silence(dhcpv4.MessageTypeRequest, alice, asks(a), names(other)), "another server, 10.7.0.254")
	require.Contains(t, b.silence(dhcpv4.MessageTypeRequest, alice, asks(ip("192.0.2.9")), names(other)), "another server")
	require.Contains(t, b.silence(dhcpv4.MessageTypeRequest, alice, asks(a), names(ip("0.0.0.0"))), "another server")
	require.Contains(t, b.silence(dhcpv4.MessageTypeRequest, alice, asks(a), raw(54, 1, 2)), "another server")
	_, stored := b.stored(alice)
	require.False(t, stored)
}

func TestNoACKBeforeTheLeaseIsDurable(t *testing.T) {
	b := newBench(t)
	broken := &brokenLeases{LeaseStore: b.leases}
	b.restart(func(c *AuthorityConfig) { c.Leases = broken })
	a := b.offer(alice)

	broken.save = errors.New("disk full")
	reply, _, err := b.send(dhcpv4.MessageTypeRequest, alice, asks(a), names(gateway))
	require.Nil(t, reply)
	require.ErrorContains(t, err, "disk full")
	require.ErrorContains(t, err, alice.String())
	require.NotErrorAs(t, err, new(Ignored))

	broken.save = nil
	b.take(dhcpv4.MessageTypeAck, alice, a)
}

// brokenLeases fails when told to.
type brokenLeases struct {
	LeaseStore
	save, read error
}

func (b *brokenLeases) SaveLease(ctx context.Context, l Lease) error {
	if b.save != nil {
		return b.save
	}
	return b.LeaseStore.SaveLease(ctx, l)
}

func (b *brokenLeases) Leases(ctx context.Context) ([]Lease, error) {
	if b.read != nil {
		return nil, b.read
	}
	return b.LeaseStore.Leases(ctx)
}

func TestUnreadableLeaseStoreMeansSilenceUntilItIsBack(t *testing.T) {
	b := newBench(t)
	broken := &brokenLeases{LeaseStore: b.leases, read: errors.New("database is locked")}
	b.restart(func(c *AuthorityConfig) { c.Leases = broken })
	_, _, err := b.send(dhcpv4.MessageTypeDiscover, alice)
	require.ErrorContains(t, err, "database is locked")
	broken.read = nil
	b.offer(alice)
}

func TestAddressLeasedByAnotherInstanceIsRefusedAndLearnt(t *testing.T) {
	b := newBench(t)
	a := b.offer(alice)
	// Another instance, over the same store, was faster.
	require.NoError(t, b.leases.SaveLease(t.Context(), Lease{
		MAC: bob, Addr: a, Subnet: "rack-7", GrantedAt: start, ExpiresAt: start.Add(time.Hour),
	}))
	b.now = b.now.Add(2 * time.Second)
	b.take(dhcpv4.MessageTypeNak, alice, a)
	require.NotEqual(t, a, b.offer(alice))
	require.Equal(t, a, b.offer(bob))
}

func TestReservations(t *testing.T) {
	reserved := StaticReservations{
		alice.String(): {Addr: ip("10.7.0.10"), Hostname: "alice"},
		bob.String():   {},
		carol.String(): {Addr: ip("192.168.1.1")},
	}
	t.Run("a reserved address goes to its machine, from inside and outside of the pool", func(t *testing.T) {
		b := newBench(t, knows(reserved), subnet(func(s *Subnet) { s.Pool.First = ip("10.7.0.100") }))
		require.Equal(t, "10.7.0.10", b.lease(alice).String())
		b = newBench(t, knows(reserved))
		require.Equal(t, "10.7.0.10", b.lease(alice).String())
	})
	t.Run("and never to another", func(t *testing.T) {
		b := newBench(t, knows(reserved), subnet(func(s *Subnet) {
			s.Pool = Range{First: ip("10.7.0.10"), Last: ip("10.7.0.11")}
		}))
		require.Equal(t, "10.7.0.11", b.offer(bob, asks(ip("10.7.0.10"))).String())
		require.Equal(t, "10.7.0.11", b.lease(bob).String())
		_, _, err := b.send(dhcpv4.MessageTypeDiscover, carol)
		require.ErrorAs(t, err, new(*ExhaustedError))
		b.take(dhcpv4.MessageTypeNak, carol, ip("10.7.0.10"))
	})
	t.Run("known machines without one get one of the pool", func(t *testing.T) {
		b := newBench(t, knows(reserved), subnet(func(s *Subnet) { s.Unknown = UnknownIgnore }))
		require.True(t, rack7().Pool.Contains(b.lease(bob)))
		require.True(t, rack7().Pool.Contains(b.lease(carol)), "its reservation is for another subnet")
	})
	t.Run("unknown machines get no answer outside of a provisioning subnet", func(t *testing.T) {
		for _, policy := range []Unknown{"", UnknownIgnore} {
			b := newBench(t, knows(reserved), subnet(func(s *Subnet) { s.Unknown = policy }))
			stranger := machine(1)
			require.Contains(t, b.silence(dhcpv4.MessageTypeDiscover, stranger), "unknown machine")
			b.silence(dhcpv4.MessageTypeRequest, stranger, asks(ip("10.7.0.10")), names(gateway))
			b.silence(dhcpv4.MessageTypeRequest, stranger, asks(ip("192.0.2.1")))
			b.silence(dhcpv4.MessageTypeRequest, stranger, has(ip("10.7.0.10")))
			b.silence(dhcpv4.MessageTypeInform, stranger, has(ip("10.7.0.10")))
		}
	})
	t.Run("a reservation made later holds from the next DISCOVER, and does not disturb what runs", func(t *testing.T) {
		b := newBench(t)
		before := b.lease(alice)
		b.restart(knows(reserved))
		b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, alice, has(before))
		require.Equal(t, "10.7.0.10", b.lease(alice).String())
		require.Equal(t, before, b.lease(bob, asks(before)), "its old address is free again")
	})
	t.Run("an address that is reserved for somebody else later stays until its machine asks anew", func(t *testing.T) {
		b := newBench(t)
		a := b.lease(bob, asks(ip("10.7.0.10")))
		b.restart(knows(reserved))
		require.Equal(t, ip("10.7.0.10"), a)
		b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, bob, has(a))
		require.NotEqual(t, a, b.offer(alice), "not while bob uses it")
		require.NotEqual(t, a, b.lease(bob))
		require.Equal(t, a, b.lease(alice))
	})
	t.Run("an inventory that is away stops no machine that runs, and lets no stranger in", func(t *testing.T) {
		b := newBench(t, knows(reserved))
		a := b.lease(alice)
		b.restart(func(c *AuthorityConfig) { c.Reservations = awayInventory{} })
		b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, alice, has(a))
		require.Equal(t, a, b.offer(alice))
		_, _, err := b.send(dhcpv4.MessageTypeDiscover, bob)
		require.ErrorContains(t, err, "inventory is away")
	})
}

type awayInventory struct{}

func (awayInventory) Reservation(context.Context, net.HardwareAddr) (Reservation, bool, error) {
	return Reservation{}, false, errors.New("inventory is away")
}

func (awayInventory) Reserved(context.Context, netip.Addr) (bool, error) {
	return false, errors.New("inventory is away")
}

func TestRequestInInitReboot(t *testing.T) {
	b := newBench(t)
	a := b.lease(alice)
	b.lease(bob)
	request := dhcpv4.MessageTypeRequest

	b.answer(dhcpv4.MessageTypeAck, request, alice, asks(a))
	nak := b.answer(dhcpv4.MessageTypeNak, request, alice, asks(ip("10.7.0.99")))
	require.Contains(t, nak.Message(), "10.7.0.99")
	require.True(t, nak.YourIPAddr.IsUnspecified())
	require.False(t, nak.Options.Has(dhcpv4.OptionIPAddressLeaseTime))
	b.answer(dhcpv4.MessageTypeNak, request, alice, asks(ip("192.168.0.5")))
	b.answer(dhcpv4.MessageTypeNak, request, bob, asks(a))
	b.answer(dhcpv4.MessageTypeNak, request, carol, asks(a))
	require.Contains(t, b.silence(request, carol, asks(ip("10.7.0.98"))), "no record")
	require.Contains(t, b.silence(request, carol, asks(ip("192.168.0.5"))), "not ours")

	b.now = b.now.Add(3 * time.Hour)
	b.answer(dhcpv4.MessageTypeAck, request, alice, asks(a))
}

func TestRequestInRenewingAndRebinding(t *testing.T) {
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("unicast=%v", direct), func(t *testing.T) {
			b := newBench(t)
			a := b.lease(alice)
			b.direct = direct
			request := dhcpv4.MessageTypeRequest

			b.now = b.now.Add(time.Hour)
			ack := b.answer(dhcpv4.MessageTypeAck, request, alice, has(a))
			require.Equal(t, a, fromIP(ack.YourIPAddr))
			require.Equal(t, a, fromIP(ack.ClientIPAddr))
			l, _ := b.stored(alice)
			require.Equal(t, b.now.Add(2*time.Hour), l.ExpiresAt)

			b.answer(dhcpv4.MessageTypeNak, request, bob, has(a))
			_, _, err := b.send(request, carol, has(ip("10.7.0.77")))
			require.NoError(t, err, "what the pool lost its record of is taken over")
			l, _ = b.stored(carol)
			require.Equal(t, "10.7.0.77", l.Addr.String())
		})
	}
	t.Run("an address that is not leased here is not ours to deny to a broadcast", func(t *testing.T) {
		b := newBench(t)
		b.silence(dhcpv4.MessageTypeRequest, bob, has(ip("10.7.0.252")))
		b.silence(dhcpv4.MessageTypeRequest, bob, has(ip("10.99.0.1")))
		b.direct = true
		b.answer(dhcpv4.MessageTypeNak, dhcpv4.MessageTypeRequest, bob, has(ip("10.7.0.252")))
	})
}

func TestClientMayAskForAShorterLease(t *testing.T) {
	b := newBench(t)
	for asked, want := range map[time.Duration]time.Duration{
		10 * time.Minute: 10 * time.Minute, 24 * time.Hour: 2 * time.Hour, time.Second: time.Minute,
	} {
		p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice,
			dhcpv4.WithOption(dhcpv4.OptIPAddressLeaseTime(asked)))
		require.Equal(t, want, p.IPAddressLeaseTime(0))
	}
}

func TestDeclinedAddressIsNotUsedAgainForAWhile(t *testing.T) {
	b := newBench(t)
	a := b.lease(alice)
	require.Contains(t, b.silence(dhcpv4.MessageTypeDecline, bob, asks(a), names(gateway)), "did not get from us")
	b.silence(dhcpv4.MessageTypeDecline, alice, asks(a), names(ip("10.7.0.254")))
	require.Equal(t, a, b.offer(alice), "neither a stranger nor a message to another server takes it away")

	require.Contains(t, b.silence(dhcpv4.MessageTypeDecline, alice, asks(a), names(gateway)), "found to be in use")
	next := b.lease(alice)
	require.NotEqual(t, a, next)
	b.restart()
	require.NotEqual(t, a, b.offer(bob, asks(a)), "not even after a restart")
	require.Equal(t, next, b.offer(alice))

	b.now = b.now.Add(DefaultDeclineHold + time.Minute)
	b.leases.Now = func() time.Time { return b.now }
	b.take(dhcpv4.MessageTypeAck, carol, a)
}

func TestOneMachineCannotDeclineThePoolAway(t *testing.T) {
	b := newBench(t)
	for i := range 5 {
		why := b.silence(dhcpv4.MessageTypeDecline, alice, asks(b.lease(alice)), names(gateway))
		if i < maxDeclines {
			require.Contains(t, why, "found to be in use")
		} else {
			require.Contains(t, why, "declined 3 addresses already")
		}
	}
}

func TestReleasedAddressIsKeptForItsMachineWhilePossible(t *testing.T) {
	b := newBench(t, subnet(func(s *Subnet) { s.Pool = Range{First: ip("10.7.0.10"), Last: ip("10.7.0.11")} }))
	a := b.lease(alice)
	b.now = b.now.Add(time.Minute)
	b.silence(dhcpv4.MessageTypeRelease, bob, has(a), names(gateway))
	l, _ := b.stored(alice)
	require.True(t, l.ExpiresAt.After(b.now), "only its owner can release it")
	require.Contains(t, b.silence(dhcpv4.MessageTypeRelease, alice, has(a), names(gateway)), "is released")

	b.now = b.now.Add(time.Minute)
	require.NotEqual(t, a, b.lease(bob))
	require.Equal(t, a, b.offer(alice))
	b.now = b.now.Add(time.Hour)
	require.Equal(t, a, b.lease(carol), "but not when another needs it")
}

func TestExpiredLeasesAreReclaimedOldestFirst(t *testing.T) {
	b := newBench(t, subnet(func(s *Subnet) { s.Pool = Range{First: ip("10.7.0.10"), Last: ip("10.7.0.12")} }))
	first := b.lease(alice)
	b.now = b.now.Add(time.Minute)
	second := b.lease(bob)
	b.now = b.now.Add(time.Minute)
	b.lease(carol)
	b.now = b.now.Add(2 * time.Hour)
	require.Equal(t, first, b.lease(machine(1)))
	require.Equal(t, second, b.lease(machine(2)))
	_, stored := b.stored(alice)
	require.False(t, stored)
}

func TestLeastRecentlyUsedOfferIsReclaimedFirst(t *testing.T) {
	b := newBench(t, subnet(func(s *Subnet) { s.Pool = Range{First: ip("10.7.0.10"), Last: ip("10.7.0.11")} }))
	a := b.offer(alice)
	b.now = b.now.Add(10 * time.Second)
	c := b.offer(bob)
	b.now = b.now.Add(time.Second)
	require.Equal(t, a, b.offer(alice), "asks again: now bob's is the oldest")

	b.now = b.now.Add(2 * time.Second)
	_, _, err := b.send(dhcpv4.MessageTypeDiscover, carol)
	require.ErrorAs(t, err, new(*ExhaustedError), "both may still come for theirs")
	b.now = b.now.Add(12 * time.Second)
	require.Equal(t, c, b.offer(carol))
	b.take(dhcpv4.MessageTypeNak, bob, c)
	b.take(dhcpv4.MessageTypeAck, alice, a)
}

func TestInformGetsOptionsAndNoLease(t *testing.T) {
	b := newBench(t)
	p := b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeInform, alice, has(ip("10.7.0.240")))
	require.True(t, p.YourIPAddr.IsUnspecified())
	require.False(t, p.Options.Has(dhcpv4.OptionIPAddressLeaseTime))
	require.Equal(t, "10.7.0.1", p.Router()[0].String())
	_, stored := b.stored(alice)
	require.False(t, stored)
}

func TestSubnetIsChosenByWhereTheClientIs(t *testing.T) {
	more := func(c *AuthorityConfig) {
		for _, n := range []string{"10.8.0.0/24", "10.9.0.0/24"} {
			p := netip.MustParsePrefix(n)
			c.Subnets = append(c.Subnets, Subnet{
				Name: n, Prefix: p, Pool: Range{First: p.Addr().Next().Next(), Last: p.Addr().Next().Next()},
				Unknown: UnknownLease,
			})
		}
	}
	link := func(a string) dhcpv4.Modifier {
		return dhcpv4.WithOption(dhcpv4.OptRelayAgentInfo(
			dhcpv4.OptGeneric(dhcpv4.LinkSelectionSubOption, ip(a).AsSlice())))
	}
	b := newBench(t, more)
	require.True(t, rack7().Pool.Contains(b.offer(alice)), "no relay: by the interface")
	b.local = ip("10.8.0.1")
	require.Equal(t, "10.8.0.2", b.offer(alice).String())
	require.Equal(t, "10.8.0.2", b.offer(alice, link("10.9.0.1")).String(), "a client cannot choose, only a relay")
	b.local = gateway
	b.relay = ip("10.9.0.1")
	require.Equal(t, "10.9.0.2", b.offer(alice).String(), "by giaddr")
	require.Equal(t, "10.8.0.2", b.offer(alice, link("10.8.0.77")).String(), "by option 82.5")
	b.relay = ip("10.99.0.1")
	require.Contains(t, b.silence(dhcpv4.MessageTypeDiscover, alice), "10.99.0.1")
	require.Contains(t, b.silence(dhcpv4.MessageTypeDiscover, alice, link("10.99.1.1")), "10.99.1.1")

	b.relay, b.local = netip.Addr{}, ip("172.16.0.1")
	require.Contains(t, b.silence(dhcpv4.MessageTypeDiscover, alice), "eth1")
	b.direct = true
	b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, alice, has(ip("10.8.0.2")))
}

func TestLongestPrefixWins(t *testing.T) {
	b := newBench(t, func(c *AuthorityConfig) {
		c.Subnets = append([]Subnet{{
			Name: "all", Prefix: netip.MustParsePrefix("10.0.0.0/8"),
			Pool: Range{First: ip("10.1.0.0"), Last: ip("10.1.0.9")}, Unknown: UnknownLease,
		}}, c.Subnets...)
	})
	require.True(t, rack7().Pool.Contains(b.offer(alice)))
}

func TestRelayAgentInformationIsEchoed(t *testing.T) {
	b := newBench(t)
	b.relay = ip("10.7.0.254")
	info := []byte{1, 4, 'e', 't', 'h', '7', 2, 2, 0xca, 0xfe, 151, 1, 0}
	for _, p := range []*dhcpv4.DHCPv4{
		b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, raw(82, info...)),
		b.take(dhcpv4.MessageTypeNak, alice, ip("192.0.2.1"), raw(82, info...)),
	} {
		require.Equal(t, info, p.Options.Get(dhcpv4.OptionRelayAgentInformation))
		require.Equal(t, "10.7.0.254", p.GatewayIPAddr.String())
	}
}

func TestServerIDOverrideIsHonoured(t *testing.T) {
	b := newBench(t)
	b.relay = ip("10.7.0.254")
	override := dhcpv4.WithOption(dhcpv4.OptRelayAgentInfo(
		dhcpv4.OptGeneric(dhcpv4.ServerIdentifierOverrideSubOption, b.relay.AsSlice())))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, override)
	require.Equal(t, "10.7.0.254", p.ServerIdentifier().String())
	p = b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, alice, override,
		asks(fromIP(p.YourIPAddr)), names(b.relay))
	require.Equal(t, "10.7.0.254", p.ServerIdentifier().String())

	b.relay = netip.Addr{}
	p = b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, override)
	require.Equal(t, "10.7.0.1", p.ServerIdentifier().String(), "a client cannot rename us")
}

func TestServerIDOfTheSubnetIsUsed(t *testing.T) {
	vip := ip("10.7.0.254")
	b := newBench(t, subnet(func(s *Subnet) { s.ServerID = vip }))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice)
	require.Equal(t, "10.7.0.254", p.ServerIdentifier().String())
	b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, alice, asks(fromIP(p.YourIPAddr)), names(vip))
}

func TestClientIDIsEchoed(t *testing.T) {
	b := newBench(t)
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, raw(61, 0, 'x'))
	require.Equal(t, []byte{0, 'x'}, p.Options.Get(dhcpv4.OptionClientIdentifier))
	p = b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice)
	require.False(t, p.Options.Has(dhcpv4.OptionClientIdentifier))
}

func TestBroadcastFlagIsCopied(t *testing.T) {
	b := newBench(t)
	require.True(t, b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice,
		dhcpv4.WithBroadcast(true)).IsBroadcast())
	require.False(t, b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice,
		dhcpv4.WithBroadcast(false)).IsBroadcast())
}

func TestNAKThroughARelayIsBroadcast(t *testing.T) {
	b := newBench(t)
	b.relay = ip("10.7.0.254")
	require.True(t, b.take(dhcpv4.MessageTypeNak, alice, ip("192.0.2.1"), dhcpv4.WithBroadcast(false)).IsBroadcast())
}

func TestWhatIsNotForAServerIsIgnored(t *testing.T) {
	b := newBench(t)
	b.silence(dhcpv4.MessageTypeOffer, alice)
	b.silence(dhcpv4.MessageTypeAck, alice)
	b.silence(dhcpv4.MessageType(77), alice)
	b.silence(dhcpv4.MessageTypeRequest, alice)
	bootp := dhcpv4.WithoutOption(dhcpv4.OptionDHCPMessageType)
	require.Contains(t, b.silence(dhcpv4.MessageTypeNone, alice, bootp), "BOOTP")
	b.silence(dhcpv4.MessageTypeDiscover, net.HardwareAddr{0, 0, 0, 0, 0, 0})
	b.silence(dhcpv4.MessageTypeDiscover, net.HardwareAddr{1, 0, 0, 0, 0, 0})
	b.silence(dhcpv4.MessageTypeDiscover, net.HardwareAddr{2, 0, 0, 0, 0, 0, 0, 0})
	b.silence(dhcpv4.MessageTypeDiscover, alice, func(p *dhcpv4.DHCPv4) { p.OpCode = dhcpv4.OpcodeBootReply })
	b.silence(dhcpv4.MessageTypeDiscover, alice, func(p *dhcpv4.DHCPv4) { p.HWType = iana.HWTypeInfiniband })
}

func TestServersOwnAndInfrastructureAddressesAreNotLeased(t *testing.T) {
	b := newBench(t, subnet(func(s *Subnet) {
		s.Pool = Range{First: ip("10.7.0.250"), Last: ip("10.7.0.255")} // DNS .253, NTP .252, broadcast .255
	}))
	b.local = ip("10.7.0.254")
	for i := range 2 {
		require.Contains(t, []string{"10.7.0.250", "10.7.0.251"}, b.lease(machine(i), names(b.local)).String())
	}
	_, _, err := b.send(dhcpv4.MessageTypeDiscover, machine(2))
	require.ErrorAs(t, err, new(*ExhaustedError))
}

func TestReplyFitsWhatTheClientCanTake(t *testing.T) {
	long := subnet(func(s *Subnet) {
		s.Settings.Domain = strings.Repeat("d", 200)
		s.Options = []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(224), make([]byte, 60))}
		s.Settings.NTP = []netip.Addr{ip("10.0.0.1"), ip("10.0.0.2"), ip("10.0.0.3")}
	})
	b := newBench(t, long, func(c *AuthorityConfig) { c.Boot = BootFiles{} })
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, raw(93, 0, 0),
		raw(60, []byte("PXEClient")...))
	require.LessOrEqual(t, len(p.ToBytes()), 576-28)
	require.Equal(t, "undionly.kpxe", p.BootFileName)
	require.False(t, p.Options.Has(dhcpv4.OptionBootfileName), "the first to go: the header says it already")
	require.True(t, p.Options.Has(dhcpv4.OptionIPAddressLeaseTime))

	p = b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, raw(93, 0, 0),
		dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(1500)))
	require.True(t, p.Options.Has(dhcpv4.OptionNTPServers))
	require.True(t, p.Options.Has(dhcpv4.OptionBootfileName))
}

func TestMistakesInSubnetsAreNamed(t *testing.T) {
	for want, change := range map[string]func(*AuthorityConfig){
		"has no name":                  subnet(func(s *Subnet) { s.Name = "" }),
		"not an IPv4 prefix":           subnet(func(s *Subnet) { s.Prefix = netip.MustParsePrefix("2001:db8::/64") }),
		"pool 10.7.0.2-10.8.0.1":       subnet(func(s *Subnet) { s.Pool.Last = ip("10.8.0.1") }),
		"ends before it begins":        subnet(func(s *Subnet) { s.Pool.Last, s.Pool.First = s.Pool.First, s.Pool.Last }),
		"router 10.8.0.1":              subnet(func(s *Subnet) { s.Router = ip("10.8.0.1") }),
		"lease time 1s":                subnet(func(s *Subnet) { s.LeaseTime = time.Second }),
		"MTU 100":                      subnet(func(s *Subnet) { s.Settings.MTU = 100 }),
		"unknown is \"maybe\"":         subnet(func(s *Subnet) { s.Unknown = "maybe" }),
		"no lease store":               func(c *AuthorityConfig) { c.Leases = nil },
		"no subnet to serve":           func(c *AuthorityConfig) { c.Subnets = nil },
		"the name is used twice":       func(c *AuthorityConfig) { c.Subnets = append(c.Subnets, c.Subnets[0]) },
		"is that of subnet \"rack-7\"": func(c *AuthorityConfig) { c.Subnets = append(c.Subnets, c.Subnets[0]) },
		"half a pool":                  subnet(func(s *Subnet) { s.Pool.Last = netip.Addr{} }),
	} {
		cfg := AuthorityConfig{Subnets: []Subnet{rack7()}, Leases: NewMemoryLeases()}
		change(&cfg)
		_, err := NewAuthority(cfg)
		require.ErrorContains(t, err, want)
	}
}
