package early

import (
	"context"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/scripts/need"
)

// inNamespace runs the test again as a process with a network of its own.
func inNamespace(t *testing.T) (inside bool) {
	t.Helper()
	need.Root(t)
	const mark = "LODA_TEST_IN_NAMESPACE"
	if os.Getenv(mark) == t.Name() {
		require.NoError(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		require.NoError(t, unix.Mount("sysfs", "/sys", "sysfs", 0, ""), "a /sys that shows this network")
		return true
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return false
}

// server is a DHCP server at the other end of a cable.
type server struct {
	mu       sync.Mutex
	requests []*dhcpv4.DHCPv4
	address  net.IP
	options  []dhcpv4.Modifier
	silent   bool
}

// cable makes a pair of interfaces; the server's end has an address.
func cable(t *testing.T, client, server, address string) netlink.Link {
	t.Helper()
	require.NoError(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: client}, PeerName: server}))
	far, err := netlink.LinkByName(server)
	require.NoError(t, err)
	addr, err := netlink.ParseAddr(address)
	require.NoError(t, err)
	require.NoError(t, netlink.AddrAdd(far, addr))
	require.NoError(t, netlink.LinkSetUp(far))
	near, err := netlink.LinkByName(client)
	require.NoError(t, err)
	return near
}

func serve(t *testing.T, iface string, options ...dhcpv4.Modifier) *server {
	t.Helper()
	s := &server{address: net.IPv4(10, 9, 0, 50), options: options}
	srv, err := server4.NewServer(iface, &net.UDPAddr{Port: dhcpv4.ServerPort}, s.handle,
		server4.WithLogger(server4.ShortSummaryLogger{Printfer: log.New(io.Discard, "", 0)}))
	require.NoError(t, err)
	go func() { _ = srv.Serve() }()
	t.Cleanup(func() { _ = srv.Close() })
	return s
}

func (s *server) handle(conn net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, m)
	if s.silent {
		return
	}
	kind := dhcpv4.MessageTypeOffer
	if m.MessageType() == dhcpv4.MessageTypeRequest {
		kind = dhcpv4.MessageTypeAck
		if asked := m.RequestedIPAddress(); !m.ClientIPAddr.Equal(s.address) && !asked.Equal(s.address) {
			kind = dhcpv4.MessageTypeNak
		}
	}
	mods := append([]dhcpv4.Modifier{dhcpv4.WithReply(m), dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(s.address),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 9, 0, 1))),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(4)}, s.options...)
	reply, err := dhcpv4.New(mods...)
	if err == nil {
		_, _ = conn.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort})
	}
}

func (s *server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// count says how many messages of a kind came, which all must be good.
func (s *server) count(kind dhcpv4.MessageType) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if r.MessageType() == kind {
			n++
		}
	}
	return n
}

// start runs a network on the links; addresses arrive in the channel.
func start(t *testing.T, n *Network, links ...netlink.Link) <-chan Address {
	t.Helper()
	up := make(chan Address, 16)
	n.Up = func(a Address) { up <- a }
	n.Say = func(text string) { t.Log(text) }
	n.resolv = filepath.Join(t.TempDir(), "resolv.conf")
	n.links = func() (fresh []netlink.Link, err error) {
		for _, l := range links {
			l, err := netlink.LinkByName(l.Attrs().Name)
			if err != nil {
				return nil, err
			}
			fresh = append(fresh, l)
		}
		return fresh, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
	return up
}

func wait(t *testing.T, up <-chan Address) Address {
	t.Helper()
	select {
	case a := <-up:
		return a
	case <-time.After(20 * time.Second):
		t.Fatal("no address")
		return Address{}
	}
}

func addresses(t *testing.T, l netlink.Link) (all []string) {
	t.Helper()
	addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
	require.NoError(t, err)
	for _, a := range addrs {
		all = append(all, a.IPNet.String())
	}
	return all
}

func gateways(t *testing.T, l netlink.Link) (all []string) {
	t.Helper()
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: l.Attrs().Index},
		netlink.RT_FILTER_OIF)
	require.NoError(t, err)
	for _, r := range routes {
		if r.Gw != nil {
			all = append(all, r.Gw.String())
		}
	}
	return all
}

func TestAnAddressIsGotKeptAndReplacedWhenTheServerSaysSo(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	link := cable(t, "c0", "s0", "10.9.0.1/24")
	s := serve(t, "s0", dhcpv4.WithOption(dhcpv4.OptRouter(net.IPv4(10, 9, 0, 1))),
		dhcpv4.WithOption(dhcpv4.OptDNS(net.IPv4(10, 9, 0, 2))),
		dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0x05, 0x78}))
	n := &Network{VendorClass: "loda-agent"}
	up := start(t, n, link)
	a := wait(t, up)
	require.Equal(t, "10.9.0.50/24 on c0 ("+link.Attrs().HardwareAddr.String()+"), router 10.9.0.1, "+
		"from DHCP server 10.9.0.1", a.String())
	require.Equal(t, []string{"10.9.0.50/24"}, addresses(t, link))
	require.Equal(t, []string{"10.9.0.1"}, gateways(t, link))
	resolv, err := os.ReadFile(n.resolv)
	require.NoError(t, err)
	require.Equal(t, "nameserver 10.9.0.2\n", string(resolv))
	fresh, err := netlink.LinkByName("c0")
	require.NoError(t, err)
	require.Equal(t, 1400, fresh.Attrs().MTU)
	s.mu.Lock()
	first := slices.Clone(s.requests)
	s.mu.Unlock()
	for _, r := range first {
		require.Equal(t, append([]byte{1}, link.Attrs().HardwareAddr...),
			r.Options.Get(dhcpv4.OptionClientIdentifier), "as iPXE")
		require.Equal(t, "loda-agent", r.ClassIdentifier())
	}

	// Renewed at half of its four seconds, again and again.
	require.Eventually(t, func() bool { return s.count(dhcpv4.MessageTypeRequest) >= 3 }, 15*time.Second,
		50*time.Millisecond)
	require.Equal(t, 1, s.count(dhcpv4.MessageTypeDiscover))
	require.Equal(t, []string{"10.9.0.50/24"}, addresses(t, link))

	// The server forgot, and gives another one.
	s.change(func() { s.address = net.IPv4(10, 9, 0, 51) })
	a = wait(t, up)
	require.Equal(t, "10.9.0.51", a.Net.IP.String())
	require.Equal(t, []string{"10.9.0.51/24"}, addresses(t, link), "the old one is gone")

	// The server is away for longer than the lease.
	s.change(func() { s.silent = true })
	require.Eventually(t, func() bool { return len(addresses(t, link)) == 0 }, 30*time.Second, 50*time.Millisecond)
	s.change(func() { s.silent = false })
	wait(t, up)
	require.Equal(t, []string{"10.9.0.51/24"}, addresses(t, link))
}

func TestClasslessRoutesReplaceTheRouter(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	link := cable(t, "c0", "s0", "10.9.0.1/24")
	serve(t, "s0", dhcpv4.WithOption(dhcpv4.OptRouter(net.IPv4(10, 9, 0, 99))),
		dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(
			&dhcpv4.Route{Dest: &net.IPNet{IP: net.IPv4(10, 20, 0, 0).To4(), Mask: net.CIDRMask(16, 32)},
				Router: net.IPv4(10, 9, 0, 3)},
			// A router outside the network, as clouds have it (RFC 3442 and a /32).
			&dhcpv4.Route{Dest: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
				Router: net.IPv4(172, 31, 1, 1)})))
	a := wait(t, start(t, &Network{}, link))
	require.Equal(t, "172.31.1.1", a.Gateway.String())
	require.ElementsMatch(t, []string{"10.9.0.3", "172.31.1.1"}, gateways(t, link))
}

func TestTheInterfaceThatWasBootedFromIsAskedAlone(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	boot := cable(t, "c1", "s1", "10.9.0.1/24")
	other := cable(t, "c0", "s0", "10.8.0.1/24")
	wanted, unwanted := serve(t, "s1"), serve(t, "s0")
	a := wait(t, start(t, &Network{BootMAC: boot.Attrs().HardwareAddr}, other, boot))
	require.Equal(t, "c1", a.Interface)
	require.Zero(t, unwanted.count(dhcpv4.MessageTypeDiscover))
	require.Equal(t, 1, wanted.count(dhcpv4.MessageTypeDiscover))
}

func TestOfSeveralInterfacesTheOneWithAnAnswerIsUsed(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	mute, dead := cable(t, "c0", "s0", "10.8.0.1/24"), cable(t, "c2", "s2", "10.7.0.1/24")
	far, err := netlink.LinkByName("s2")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetDown(far), "a port without a cable")
	good := cable(t, "c1", "s1", "10.9.0.1/24")
	serve(t, "s1")
	a := wait(t, start(t, &Network{}, mute, good, dead))
	require.Equal(t, "c1", a.Interface)
	require.Empty(t, addresses(t, mute))
}

func TestOnlyDevicesThatAppearAreGivenADriver(t *testing.T) {
	for event, want := range map[string]string{
		"add@/devices/x\x00ACTION=add\x00DEVPATH=/devices/x\x00MODALIAS=scsi:t-0x00\x00SEQNUM=1\x00": "scsi:t-0x00",
		"MODALIAS=a\x00ACTION=add":                      "a",
		"remove@/x\x00ACTION=remove\x00MODALIAS=a\x00":  "",
		"add@/x\x00ACTION=add\x00SUBSYSTEM=block\x00":   "",
		"libudev\x00\xfe\xed\xca\xfe\x00MODALIAS=a\x00": "",
		"": "",
	} {
		require.Equal(t, want, addedDevice([]byte(event)), "%q", event)
	}
}

func TestAllLinksAreRaisedForTheFacts(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plugged, unplugged := cable(t, "c1", "s1", "10.9.0.1/24"), cable(t, "c0", "s0", "10.8.0.1/24")
	far, err := netlink.LinkByName("s0")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetDown(far))
	n := &Network{links: func() ([]netlink.Link, error) {
		var links []netlink.Link
		for _, name := range []string{plugged.Attrs().Name, unplugged.Attrs().Name} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return nil, err
			}
			links = append(links, link)
		}
		return links, nil
	}}
	start := time.Now()
	require.NoError(t, n.RaiseLinks(t.Context(), time.Second))
	require.GreaterOrEqual(t, time.Since(start), time.Second, "one of them never gets a link")
	require.True(t, carrier("c1"))
	require.False(t, carrier("c0"))
	require.NoError(t, netlink.LinkSetUp(far))
	require.NoError(t, n.RaiseLinks(t.Context(), time.Minute), "it ends when all have one")
	require.True(t, carrier("c0"))
	for _, link := range []netlink.Link{plugged, unplugged} {
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
		require.NoError(t, err)
		require.Empty(t, addrs)
	}
}
