//go:build linux

package dhcp_test

import (
	"bytes"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/mdlayher/packet"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/scripts/need"
)

// production is a rack whose first client is the production DHCP server: dnsmasq, at 10.7.0.2.
func production(t *testing.T, machines int, args ...string) *rack {
	t.Helper()
	need.Command(t, "dnsmasq")
	r := newRack(t, machines+1)
	prod := r.clients[0]
	prod.run("ip", "addr", "add", "10.7.0.2/24", "dev", "eth0")
	_, out := prod.start(nil, "sh", append([]string{"-c", `exec dnsmasq "$@" 2>&1`, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
		"--port=0", "--interface=eth0", "--bind-dynamic", "--dhcp-range=10.7.0.100,10.7.0.150,1h", "--dhcp-authoritative",
		"--leasefile-ro", "--no-ping", "--log-dhcp", "--log-facility=-", "--user=root", "--pid-file="}, args...)...)
	out.wait(t, "dnsmasq", func(l string) bool { return strings.Contains(l, "IP range 10.7.0.100") })
	return r
}

// proxySubnet is rack-7 where another server gives the addresses.
func proxySubnet(unknown dhcp.Unknown) dhcp.Subnet {
	return dhcp.Subnet{Name: "rack-7", Prefix: netip.MustParsePrefix("10.7.0.0/24"), Mode: dhcp.ModeProxy, Unknown: unknown}
}

// capture is every frame that an interface sends or receives.
type capture struct {
	mu     sync.Mutex
	frames [][]byte
}

func (s *space) capture(name string) *capture {
	s.t.Helper()
	var conn *packet.Conn
	var err error
	s.inside(func() {
		var ifi *net.Interface
		if ifi, err = net.InterfaceByName(name); err == nil {
			conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
		}
	})
	require.NoError(s.t, err)
	c := &capture{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			c.mu.Lock()
			c.frames = append(c.frames, bytes.Clone(buf[:n]))
			c.mu.Unlock()
		}
	}()
	s.t.Cleanup(func() { conn.Close(); <-done })
	return c
}

// about returns the frames from one station that are sent to another or carry its hardware address: DHCP's chaddr, ARP's
// target.
func (c *capture) about(from, station string) (found [][]byte) {
	src, _ := net.ParseMAC(from)
	mac, _ := net.ParseMAC(station)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.frames {
		if len(f) >= 14 && bytes.Equal(f[6:12], src) && (bytes.Equal(f[:6], mac) || bytes.Contains(f[14:], mac)) {
			found = append(found, f)
		}
	}
	return found
}

// hardware is the hardware address of an interface.
func (s *space) hardware(name string) string {
	s.t.Helper()
	return strings.TrimSpace(s.run("cat", "/sys/class/net/"+name+"/address"))
}

// offers broadcasts a DHCPDISCOVER and returns the offers of two seconds, by the server that they name.
func (s *space) offers(hw string, change ...dhcpv4.Modifier) map[string]*dhcpv4.DHCPv4 {
	s.t.Helper()
	seen := s.capture("eth0")
	addr, err := net.ParseMAC(hw)
	require.NoError(s.t, err)
	p, err := dhcpv4.NewDiscovery(addr, append([]dhcpv4.Modifier{dhcpv4.WithBroadcast(true)}, change...)...)
	require.NoError(s.t, err)
	s.inside(func() {
		var conn net.PacketConn
		lc := net.ListenConfig{}
		if conn, err = lc.ListenPacket(s.t.Context(), "udp4", "0.0.0.0:68"); err != nil {
			return
		}
		defer conn.Close()
		_, err = conn.WriteTo(p.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 67})
	})
	require.NoError(s.t, err)
	time.Sleep(2 * time.Second)
	got := make(map[string]*dhcpv4.DHCPv4)
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, f := range seen.frames {
		if len(f) < 42 || f[12] != 8 || f[13] != 0 || f[23] != 17 {
			continue
		}
		q, err := dhcpv4.FromBytes(f[42:])
		if err == nil && q.OpCode == dhcpv4.OpcodeBootReply && q.TransactionID == p.TransactionID {
			got[q.ServerIdentifier().String()] = q
		}
	}
	return got
}

var pxeROM = []dhcpv4.Modifier{
	dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007:UNDI:003016")),
	dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 7})),
}

func TestProxyBesideDnsmasqServesOurMachinesAndTouchesNoOthers(t *testing.T) {
	need.Command(t, "udhcpc")
	r := production(t, 2)
	ours, theirs := r.clients[1], r.clients[2]
	for _, c := range []*space{ours, theirs} {
		c.run("ip", "route", "add", "255.255.255.255", "dev", "eth0")
	}
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Ports: []uint16{dhcp.ServerPort, dhcp.PXEPort},
		Subnets: []dhcp.Subnet{proxySubnet(dhcp.UnknownIgnore)}, Known: dhcp.StaticReservations{mac(1): {}}})
	us := r.server.hardware("br0")
	wires := []*capture{r.server.capture("p1"), r.server.capture("p2")}

	got := ours.offers(mac(1), pxeROM...)
	require.Len(t, got, 2)
	require.True(t, got["10.7.0.1"].YourIPAddr.IsUnspecified())
	require.Equal(t, "snponly.efi", got["10.7.0.1"].BootFileName)
	require.Equal(t, "PXEClient", got["10.7.0.1"].ClassIdentifier())
	require.Contains(t, got["10.7.0.2"].YourIPAddr.String(), "10.7.0.1")
	require.Equal(t, "10.7.0.2", ours.udhcpc()["serverid"], "an installed system of ours has its address from dnsmasq")

	got = theirs.offers(mac(2), pxeROM...)
	require.Len(t, got, 1)
	require.Contains(t, got, "10.7.0.2")
	require.Equal(t, "10.7.0.2", theirs.udhcpc("-V", "PXEClient:Arch:00000")["serverid"])
	d.exchange(line{MAC: mac(2), Asked: request, Reason: "another server"})

	require.NotEmpty(t, wires[0].about(us, mac(1)), "the capture works")
	require.Empty(t, wires[1].about(us, mac(2)), "not one packet for a machine that is not ours")
	require.Empty(t, wires[0].about(us, mac(2)))
}

func TestNoPacketLeavesForAnUnknownMachineInAnyMode(t *testing.T) {
	need.Command(t, "udhcpc")
	for _, mode := range []dhcp.Mode{dhcp.ModeAuthoritative, dhcp.ModeReserved, dhcp.ModeProxy} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRack(t, 2)
			s := rackSubnet()
			s.Mode, s.Unknown, s.Probe = mode, dhcp.UnknownIgnore, true
			if mode != dhcp.ModeAuthoritative {
				s.Pool = dhcp.Range{}
			}
			d := r.server.serve(setup{Interfaces: []string{"br0"}, Ports: []uint16{dhcp.ServerPort, dhcp.PXEPort}, Probe: true,
				Subnets: []dhcp.Subnet{s}, Known: dhcp.StaticReservations{mac(0): {Addr: netip.MustParseAddr("10.7.0.42")}}})
			wire, us := r.server.capture("br0"), r.server.hardware("br0")
			for _, args := range [][]string{{"-V", "PXEClient:Arch:00007"}, {"-r", "10.7.0.42"}} {
				out, err := exec.Command("ip", append([]string{"netns", "exec", r.clients[1].name, "udhcpc", "-i", "eth0", "-f", "-q",
					"-n", "-t", "2", "-T", "1", "-s", "/bin/true"}, args...)...).CombinedOutput()
				require.Error(t, err, "%s", out)
			}
			d.exchange(line{MAC: mac(1), Asked: discover, Reason: "unknown machine"})
			require.Empty(t, wire.about(us, mac(1)))
			r.clients[0].run("ip", "route", "add", "255.255.255.255", "dev", "eth0")
			require.Len(t, r.clients[0].offers(mac(0), pxeROM...), 1)
			require.NotEmpty(t, wire.about(us, mac(0)), "the capture works")
		})
	}
}

func TestIPXEOfARealROMBootsFromAProxyBesideDnsmasq(t *testing.T) {
	need.QEMU(t)
	f := newFirmwareIn(t, production(t, 0), setup{Interfaces: []string{"br0"}, Ports: []uint16{dhcp.ServerPort, dhcp.PXEPort},
		Subnets: []dhcp.Subnet{proxySubnet(dhcp.UnknownIgnore)}, Known: dhcp.StaticReservations{mac(9): {}}})
	f.power("-device", "virtio-net-pci,netdev=n0,mac="+mac(9), "-boot", "n")
	require.Equal(t, "http GET /boot.ipxe", f.asked())
	for _, e := range f.daemon.exchanges() {
		require.NotEqual(t, acked, e.Answered, "its address is dnsmasq's")
	}
}

func TestPXEOfOVMFBootsFromAProxyBesideDnsmasq(t *testing.T) {
	need.QEMU(t)
	for name, quirks := range map[string][]dhcp.Quirk{
		"at once":   nil,
		"port 4011": {{Name: "all ask again", Match: dhcp.QuirkMatch{Client: dhcp.QuirkPXE}, Discover: true}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFirmwareIn(t, production(t, 0), setup{Interfaces: []string{"br0"}, Ports: []uint16{dhcp.ServerPort, dhcp.PXEPort},
				Subnets: []dhcp.Subnet{proxySubnet(dhcp.UnknownBoot)}, Quirks: quirks})
			f.power(append(ovmf(t), "-device", "virtio-net-pci,netdev=n0,mac="+mac(9)+",romfile=,bootindex=0")...)
			require.Equal(t, "tftp snponly.efi", f.asked())
			f.daemon.exchange(line{MAC: mac(9), Asked: discover, Answered: offered, Addr: ""})
			if quirks != nil {
				f.daemon.exchange(line{MAC: mac(9), Asked: request, Answered: acked, Reason: "boot server"})
			}
		})
	}
}

func TestTwoSubnetsBehindOneRelay(t *testing.T) {
	r := newRelayedTwice(t)
	for i, c := range r.clients {
		got := c.udhcpc("-t", "15")
		want := []string{"10.9.0.", "10.10.0."}[i]
		require.Contains(t, got["ip"], want)
		require.Equal(t, want+"1", got["router"])
		r.daemon.exchange(line{MAC: mac(i), Asked: request, Answered: acked, Relay: want + "1", To: want + "1:67"})
	}
}

// twice is a relay with two machines on a wire each.
type twice struct {
	clients []*space
	daemon  *daemon
}

func newRelayedTwice(t *testing.T) *twice {
	t.Helper()
	need.Root(t)
	need.Command(t, "ip", "sysctl", "dhcrelay", "udhcpc")
	server, relay := newSpace(t), newSpace(t)
	r := &twice{clients: []*space{newSpace(t), newSpace(t)}}
	cable(t, server, "up0", relay, "north")
	server.run("ip", "addr", "add", "10.8.0.1/24", "dev", "up0")
	relay.run("ip", "addr", "add", "10.8.0.2/24", "dev", "north")
	relay.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	args := []string{"-4", "-d", "--no-pid", "-a", "-iu", "north"}
	var subnets []dhcp.Subnet
	for i, net := range []string{"10.9.0.", "10.10.0."} {
		south := []string{"south0", "south1"}[i]
		cable(t, relay, south, r.clients[i], "eth0")
		r.clients[i].run("ip", "link", "set", "eth0", "address", mac(i))
		relay.run("ip", "addr", "add", net+"1/24", "dev", south)
		server.run("ip", "route", "add", net+"0/24", "via", "10.8.0.2")
		args = append(args, "-id", south)
		subnets = append(subnets, dhcp.Subnet{Name: net, Prefix: netip.MustParsePrefix(net + "0/24"), Unknown: dhcp.UnknownLease,
			Pool:   dhcp.Range{First: netip.MustParseAddr(net + "10"), Last: netip.MustParseAddr(net + "20")},
			Router: netip.MustParseAddr(net + "1")})
	}
	r.daemon = server.serve(setup{Interfaces: []string{"up0"}, Subnets: subnets})
	relay.start(nil, "dhcrelay", append(args, "10.8.0.1")...)
	return r
}

func TestFullSubnetFallsOverToTheNextOnTheSameWire(t *testing.T) {
	need.Command(t, "udhcpc")
	r := newRack(t, 2)
	a, b := rackSubnet(), rack8()
	a.Link, b.Link, a.Pool.First = "row", "row", a.Pool.Last
	r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{a, b}})
	require.Equal(t, "10.7.0.251", r.clients[0].udhcpc()["ip"])
	require.Contains(t, r.clients[1].udhcpc()["ip"], "10.8.0.")
	require.Equal(t, "10.7.0.251", r.clients[0].udhcpc()["ip"])
}

func TestAddressThatASquatterUsesIsNotOffered(t *testing.T) {
	need.Command(t, "udhcpc")
	r := newRack(t, 2)
	s := rackSubnet()
	s.Probe = true
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{s}, Probe: true,
		Known: dhcp.StaticReservations{mac(0): {Addr: netip.MustParseAddr("10.7.0.10")}}})
	r.clients[1].run("ip", "addr", "add", "10.7.0.10/24", "dev", "eth0")

	got := r.clients[0].udhcpc()
	require.NotEqual(t, "10.7.0.10", got["ip"])
	d.exchange(line{MAC: mac(0), Asked: discover, Answered: offered, Addr: got["ip"], Reason: "10.7.0.10 is in use by " + mac(1)})
	require.NoError(t, d.cmd.Process.Signal(unix.SIGTERM))
	d.out.wait(t, "the server to stop, and all of its goroutines", func(l string) bool { return l == "stopped" })
}

func TestRogueServerIsReportedWithItsMAC(t *testing.T) {
	need.Command(t, "udhcpc")
	for name, c := range map[string]struct {
		args  []string
		watch watched
		want  string
	}{
		"DHCP, by what it answers to a machine": {nil, watched{}, "a DHCP server that is not ours answers on br0: " + mac(0) + " (10.7.0.2) sent OFFER of 10.7.0.1"},
		"DHCP, when asked":                      {nil, watched{Every: time.Minute}, "a DHCP server that is not ours answers on br0: " + mac(0) + " (10.7.0.2) sent OFFER"},
		"ProxyDHCP, when asked": {[]string{"--dhcp-range=10.7.0.0,proxy", "--pxe-service=X86-64_EFI,evil,evil.efi"}, watched{Every: time.Minute, BootOnly: true},
			"a ProxyDHCP server that is not ours answers on br0: " + mac(0) + " (10.7.0.2) sent OFFER"},
	} {
		t.Run(name, func(t *testing.T) {
			r := production(t, 1, c.args...)
			c.watch.Interfaces = []string{"br0"}
			d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{proxySubnet(dhcp.UnknownIgnore)}, Watch: &c.watch})
			if c.watch.Every == 0 {
				require.Equal(t, "10.7.0.2", r.clients[1].udhcpc("-B")["serverid"])
			}
			d.out.wait(t, "the report", func(l string) bool { return strings.HasPrefix(l, "rogue: "+c.want) })
		})
	}
	t.Run("and those that are allowed are not", func(t *testing.T) {
		r := production(t, 1)
		d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{proxySubnet(dhcp.UnknownIgnore)},
			Watch: &watched{Interfaces: []string{"br0"}, Servers: []netip.Addr{netip.MustParseAddr("10.7.0.2")}, Every: time.Second}})
		require.Equal(t, "10.7.0.2", r.clients[1].udhcpc("-B")["serverid"])
		time.Sleep(2 * time.Second)
		for _, l := range d.out.all() {
			require.NotContains(t, l, "rogue")
		}
	})
}

func TestHTTPBootOfOVMFBootsFromAProxyBesideDnsmasq(t *testing.T) {
	need.QEMU(t)
	f := newFirmwareIn(t, production(t, 0), setup{Interfaces: []string{"br0"}, Ports: []uint16{dhcp.ServerPort, dhcp.PXEPort},
		Subnets: []dhcp.Subnet{proxySubnet(dhcp.UnknownBoot)}})
	f.power(append(ovmf(t), "-device", "virtio-net-pci,netdev=n0,mac="+mac(9)+",romfile=,bootindex=0",
		"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n",
		"-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")...)
	require.Equal(t, "http HEAD /boot/snponly.efi", f.asked())
}
