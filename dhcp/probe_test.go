package dhcp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// neighbours is a [Prober] that knows who is there, and what it was asked for.
type neighbours struct {
	mu    sync.Mutex
	users map[netip.Addr]net.HardwareAddr
	asked []netip.Addr
	err   error
}

func (n *neighbours) Probe(_ context.Context, _ int, a netip.Addr) (net.HardwareAddr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, a)
	return n.users[a], n.err
}

func (n *neighbours) askedSince() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer func() { n.asked = nil }()
	return n.asked
}

// probing is a small pool whose addresses are looked for.
func probing(n *neighbours) func(*AuthorityConfig) {
	return func(c *AuthorityConfig) {
		c.Prober = n
		c.Subnets[0].Probe = true
		c.Subnets[0].Pool = Range{First: ip("10.7.0.10"), Last: ip("10.7.0.15")}
	}
}

func TestAddressIsLookedForBeforeItsFirstOffer(t *testing.T) {
	n := &neighbours{}
	b := newBench(t, probing(n))
	a := b.offer(alice)
	require.Equal(t, []netip.Addr{a}, n.askedSince())
	require.Equal(t, a, b.offer(alice))
	require.Empty(t, n.askedSince(), "clients repeat themselves")
	b.take(dhcpv4.MessageTypeAck, alice, a)
	b.now = b.now.Add(time.Hour)
	require.Equal(t, a, b.offer(alice))
	require.Empty(t, n.askedSince(), "who would answer is the machine itself, in its next stage")
	b.now = b.now.Add(24 * time.Hour)
	require.Equal(t, a, b.offer(alice))
	require.Equal(t, []netip.Addr{a}, n.askedSince(), "its lease ran out: anybody could have moved in")
}

func TestAddressThatSomebodyUsesIsPutAside(t *testing.T) {
	n := &neighbours{users: map[netip.Addr]net.HardwareAddr{}}
	b := newBench(t, probing(n))
	s := b.authority.cfg.Subnets[0]
	candidate := func(i int) netip.Addr { return s.at(s.start(hwaddr(alice)), i, s.Pool.Size()) }
	taken := []netip.Addr{candidate(0), candidate(1)}
	for _, a := range taken {
		n.users[a] = carol
	}
	reply, req, err := b.send(dhcpv4.MessageTypeDiscover, alice)
	require.NoError(t, err)
	require.Equal(t, candidate(2), fromIP(reply.YourIPAddr))
	require.Contains(t, req.Reason, taken[0].String()+" is in use by "+carol.String())
	n.askedSince()
	for i := range 4 { // of six addresses, two are aside
		a := b.lease(machine(i))
		require.NotContains(t, taken, a)
		b.silence(dhcpv4.MessageTypeRelease, machine(i), has(a))
		b.now = b.now.Add(time.Minute)
	}
	require.NotContains(t, n.askedSince(), taken[0])
	marks, err := b.leases.Leases(t.Context())
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(marks, func(l Lease) bool {
		return l.Declined && l.Addr == taken[0] && l.Hostname == "in use by "+carol.String()
	}), "and it is known after a restart")
}

func TestMachineThatAnswersForItsOwnAddressMayHaveIt(t *testing.T) {
	n := &neighbours{users: map[netip.Addr]net.HardwareAddr{ip("10.7.0.12"): alice}}
	b := newBench(t, probing(n))
	require.Equal(t, "10.7.0.12", b.offer(alice, asks(ip("10.7.0.12"))).String())
}

func TestReservedAddressThatSomebodyUsesIsNotOffered(t *testing.T) {
	n := &neighbours{users: map[netip.Addr]net.HardwareAddr{ip("10.7.0.40"): bob}}
	b := newBench(t, probing(n), knows(StaticReservations{alice.String(): {Addr: ip("10.7.0.40")}}))
	require.NotEqual(t, "10.7.0.40", b.offer(alice).String())
}

func TestLinkWhereEverybodyAnswersEndsInSilence(t *testing.T) {
	n := &neighbours{users: map[netip.Addr]net.HardwareAddr{}}
	for i := range 6 {
		n.users[addr(number(ip("10.7.0.10"))+uint32(i))] = carol
	}
	b := newBench(t, probing(n))
	require.Contains(t, b.silence(dhcpv4.MessageTypeDiscover, alice), "all of 3 addresses for it are taken")
	require.Len(t, n.askedSince(), 3, "bounded")
	_, _, err := b.send(dhcpv4.MessageTypeDiscover, alice)
	require.ErrorAs(t, err, new(*ExhaustedError))
}

func TestDeclinedAddressIsLookedForBeforeItIsUsedAgainAlsoWhereProbingIsOff(t *testing.T) {
	n := &neighbours{users: map[netip.Addr]net.HardwareAddr{}}
	only := func(c *AuthorityConfig) {
		probing(n)(c)
		c.Subnets[0].Probe, c.Subnets[0].Pool.Last = false, c.Subnets[0].Pool.First
	}
	b := newBench(t, only)
	a := b.lease(alice)
	require.Empty(t, n.askedSince())
	b.silence(dhcpv4.MessageTypeDecline, alice, asks(a), names(gateway))
	_, _, err := b.send(dhcpv4.MessageTypeDiscover, alice)
	require.ErrorAs(t, err, new(*ExhaustedError))

	b.now = b.now.Add(DefaultDeclineHold + time.Second)
	n.users[a] = carol
	_, _, err = b.send(dhcpv4.MessageTypeDiscover, bob)
	require.ErrorAs(t, err, new(*ExhaustedError))
	require.ErrorContains(t, err, "is in use by "+carol.String())
	require.Equal(t, []netip.Addr{a}, n.askedSince())

	b.now = b.now.Add(DefaultDeclineHold + time.Second)
	delete(n.users, a)
	require.Equal(t, a, b.lease(bob))
	require.Equal(t, []netip.Addr{a}, n.askedSince())
	b.silence(dhcpv4.MessageTypeRelease, bob, has(a))
	b.now = b.now.Add(DefaultDeclineHold)
	require.Equal(t, a, b.lease(alice))
	require.Empty(t, n.askedSince(), "it is like any other again")
}

func TestNobodyIsAskedBehindARelay(t *testing.T) {
	n := &neighbours{}
	b := newBench(t, probing(n))
	b.relay = ip("10.7.0.254")
	b.offer(alice)
	require.Empty(t, n.askedSince())
}

func TestProbeThatFailsKeepsNoMachineFromBooting(t *testing.T) {
	b := newBench(t, probing(&neighbours{err: errors.New("no such device")}))
	_, req, err := b.send(dhcpv4.MessageTypeDiscover, alice)
	require.NoError(t, err)
	require.Contains(t, req.Reason, "without a look for who uses it: no such device")
}

func TestNobodyIsAskedForAMachineThatIsNotOurs(t *testing.T) {
	n := &neighbours{}
	b := newBench(t, probing(n), subnet(func(s *Subnet) { s.Unknown = UnknownIgnore }))
	for _, kind := range everyKind {
		b.silence(kind, alice, asks(ip("10.7.0.12")))
	}
	require.Empty(t, n.askedSince())
}

// One worker is enough for a rack whose addresses are all looked for at the same time.
func TestAnswersThatWaitKeepNoWorker(t *testing.T) {
	const machines = 200
	begun, release := make(chan struct{}, machines), make(chan struct{})
	s := &Server{Workers: 1, Observe: func(Exchange) {}}
	s.Responder = ResponderFunc(func(context.Context, *Request) (*dhcpv4.DHCPv4, error) {
		return nil, &Deferred{Finish: func(ctx context.Context) (*dhcpv4.DHCPv4, error) {
			begun <- struct{}{}
			select {
			case <-release:
				return nil, Ignored("at last")
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
	})
	seen := make(chan Exchange, machines)
	for range machines {
		s.work(job{req: discoverOf(t)}, seen) // on this goroutine: it must come back
	}
	for range machines {
		<-begun
	}
	close(release)
	s.waiting.Wait()
	for range machines {
		require.Equal(t, "at last", (<-seen).Reason)
	}
	require.Equal(t, uint64(machines), s.Stats().Ignored)
}

func TestDeferredAnswersAreBoundedAndSurvived(t *testing.T) {
	hang := make(chan struct{})
	s := &Server{Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)}
	s.Responder = ResponderFunc(func(context.Context, *Request) (*dhcpv4.DHCPv4, error) {
		return nil, &Deferred{Finish: func(context.Context) (*dhcpv4.DHCPv4, error) { <-hang; panic("boom") }}
	})
	for range maxDeferred {
		s.work(job{req: discoverOf(t)}, nil)
	}
	require.Contains(t, exchanges(t, s, discoverOf(t)).Reason, "overloaded")
	s.Observe = nil
	close(hang)
	s.waiting.Wait()
	require.Equal(t, uint64(maxDeferred), s.Stats().Failed)
}
