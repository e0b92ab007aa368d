//go:build linux

package dhcp_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/scripts/need"
)

func TestUdhcpcGetsALeaseByEthernetUnicast(t *testing.T) {
	need.Command(t, "udhcpc")
	r := newRack(t, 1)
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{rackSubnet()},
		Known: dhcp.StaticReservations{mac(0): {Addr: netip.MustParseAddr("10.7.0.42"), Hostname: "node-0"}}})

	got := r.clients[0].udhcpc("-O", "mtu")
	require.Equal(t, "10.7.0.42", got["ip"])
	require.Equal(t, "24", got["mask"])
	require.Equal(t, "10.7.0.1", got["router"])
	require.Equal(t, "10.7.0.1", got["serverid"])
	require.Equal(t, "rack7.example", got["domain"])
	require.Equal(t, "node-0", got["hostname"])
	require.Equal(t, "1400", got["mtu"])
	require.Equal(t, "3600", got["lease"])

	for asked, answered := range map[string]string{discover: offered, request: acked} {
		d.exchange(line{MAC: mac(0), Asked: asked, Answered: answered, Addr: "10.7.0.42", To: "10.7.0.42:68", ToMAC: mac(0)})
	}
}

func TestUdhcpcGetsALeaseByBroadcastIfItAsksForThat(t *testing.T) {
	need.Command(t, "udhcpc")
	r := newRack(t, 1)
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{rackSubnet()}})
	require.Equal(t, "bound", r.clients[0].udhcpc("-B")["event"])
	d.exchange(line{Asked: discover, Answered: offered, To: "255.255.255.255:68", ToMAC: "ff:ff:ff:ff:ff:ff"})
}

func TestUdhcpcRenewsByUnicastAndReleases(t *testing.T) {
	need.Command(t, "udhcpc")
	r := newRack(t, 1)
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{rackSubnet()}})
	cmd, out := r.clients[0].start(nil, "udhcpc", "-i", "eth0", "-f", "-R", "-s", udhcpcScript(t))
	out.wait(t, "a lease", func(l string) bool { return l == "event=bound" })
	first := d.exchange(line{Asked: request, Answered: acked})

	require.NoError(t, cmd.Process.Signal(syscall.SIGUSR1))
	out.wait(t, "the renewal", func(l string) bool { return l == "event=renew" })
	renewed := d.exchange(line{Asked: request, Answered: acked, Reason: "renewed"})
	require.Equal(t, first.Addr, renewed.Addr)
	require.Equal(t, first.Addr+":68", renewed.To)
	require.Empty(t, renewed.ToMAC, "the client has its address: the kernel's routing and ARP do it")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	d.exchange(line{Asked: dhcpv4.MessageTypeRelease.String(), Reason: "is released"})
}

func TestUdhcpcDeclinesAnAddressThatIsInUse(t *testing.T) {
	need.Command(t, "udhcpc")
	r := newRack(t, 2)
	s := rackSubnet()
	s.Pool = dhcp.Range{First: netip.MustParseAddr("10.7.0.10"), Last: netip.MustParseAddr("10.7.0.11")}
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{s},
		Known: dhcp.StaticReservations{mac(0): {Addr: netip.MustParseAddr("10.7.0.10")}}})
	squatter := r.clients[1]
	squatter.run("ip", "addr", "add", "10.7.0.10/24", "dev", "eth0")

	require.Equal(t, "10.7.0.11", r.clients[0].udhcpc("-a", "-A", "1", "-t", "3")["ip"])
	d.exchange(line{Asked: dhcpv4.MessageTypeDecline.String(), Addr: "10.7.0.10", Reason: "found to be in use"})
}

func TestDhclientGetsALeaseAndRemembersItAfterAReboot(t *testing.T) {
	need.Command(t, "dhclient")
	r := newRack(t, 1)
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{rackSubnet()}})
	dir := t.TempDir()
	first := r.clients[0].dhclient(dir, "")
	d.exchange(line{Asked: request, Answered: acked, Reason: "took our offer"})
	require.Equal(t, first, r.clients[0].dhclient(dir, ""))
	d.exchange(line{Asked: request, Answered: acked, Reason: "after a reboot"})
}

// The five introduce themselves as the five stages of an installation do: by another client identifier each.
func TestFiveRealClientsOfOneMachineKeepOneAddress(t *testing.T) {
	need.Command(t, "udhcpc", "dhclient")
	r := newRack(t, 1)
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{rackSubnet()}})
	c := r.clients[0]

	addrs := []string{
		c.udhcpc()["ip"],                            // 61 = 01 and the hardware address, as iPXE
		c.udhcpc("-C")["ip"],                        // no 61, as OVMF
		c.udhcpc("-x", "0x3d:00112233445566")["ip"], // some other
	}
	c.run("ip", "addr", "flush", "dev", "eth0")
	addrs = append(addrs, c.dhclient(t.TempDir(), "send dhcp-client-identifier \"installer\";"))
	ack := c.dora(t, mac(0), dhcpv4.WithOption(dhcpv4.OptClientIdentifier([]byte("\xff\x00\x00\x00\x01duid"))))
	addrs = append(addrs, ack.YourIPAddr.String())

	for _, a := range addrs {
		require.Equal(t, addrs[0], a)
	}
	require.NotEmpty(t, addrs[0])
	for _, e := range d.exchanges() {
		require.Equal(t, addrs[0], e.Addr)
	}
}

// dhclient gets a lease, is killed, and leaves its lease file in dir. It does not touch the interface.
func (s *space) dhclient(dir, config string) string {
	s.t.Helper()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(s.t, os.WriteFile(path, []byte(content), mode))
		return path
	}
	cmd, out := s.start(nil, "dhclient", "-4", "-1", "-d", "-lf", filepath.Join(dir, "leases"),
		"-cf", file("conf", config+"\n", 0o644), "-pf", filepath.Join(dir, "pid"),
		"-sf", file("script", "#!/bin/sh\n[ -n \"$new_ip_address\" ] && echo address=$new_ip_address\nexit 0\n", 0o755), "eth0")
	line := out.wait(s.t, "dhclient's lease", func(l string) bool { return strings.HasPrefix(l, "address=") })
	require.NoError(s.t, cmd.Process.Kill())
	<-out.done
	return strings.TrimPrefix(line, "address=")
}

// dora goes the whole way with the client that bootOS uses.
func (s *space) dora(t *testing.T, hw string, change ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	lease, err := s.tryDora(hw, change...)
	require.NoError(t, err)
	return lease.ACK
}

func (s *space) tryDora(hw string, change ...dhcpv4.Modifier) (*nclient4.Lease, error) {
	addr, err := net.ParseMAC(hw)
	if err != nil {
		return nil, err
	}
	var client *nclient4.Client
	s.inside(func() {
		client, err = nclient4.New("eth0", nclient4.WithHWAddr(addr), nclient4.WithTimeout(2*time.Second),
			nclient4.WithRetry(5))
	})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Request(s.t.Context(), change...)
}

func TestOneHundredMachinesAtOnceOnOneWire(t *testing.T) {
	r := newRack(t, 1)
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{rackSubnet()}})
	var mu sync.Mutex
	seen := make(map[string]string)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			lease, err := r.clients[0].tryDora(mac(1000+i), dhcpv4.WithBroadcast(true))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("machine %d: %v", i, err)
				return
			}
			a := lease.ACK.YourIPAddr.String()
			if other, twice := seen[a]; twice {
				t.Errorf("%s went to %s and %s", a, other, mac(1000+i))
			}
			seen[a] = mac(1000 + i)
		})
	}
	wg.Wait()
	require.Len(t, seen, 100)
	d.exchange(line{MAC: mac(1000), Asked: request, Answered: acked})
}

func TestUnknownMachineGetsNoAnswerOnAProductionLink(t *testing.T) {
	need.Command(t, "udhcpc")
	r := newRack(t, 2)
	s := rackSubnet()
	s.Unknown = dhcp.UnknownIgnore
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{s},
		Known: dhcp.StaticReservations{mac(0): {}}})
	out, err := exec.Command("ip", "netns", "exec", r.clients[1].name, "udhcpc", "-i", "eth0", "-f", "-q", "-n",
		"-t", "2", "-T", "1", "-s", "/bin/true").CombinedOutput()
	require.Error(t, err, "%s", out)
	d.exchange(line{MAC: mac(1), Asked: discover, Reason: "unknown machine"})
	for _, e := range d.exchanges() {
		require.Empty(t, e.Answered)
	}
	require.Equal(t, "bound", r.clients[0].udhcpc()["event"])
}

// A machine, a relay and a server, on two wires.
type relayed struct {
	server, relay, client *space
	daemon                *daemon
}

func newRelayed(t *testing.T, raw bool, relayArgs ...string) *relayed {
	t.Helper()
	need.Root(t)
	need.Command(t, "ip", "sysctl", "dhcrelay", "udhcpc")
	r := &relayed{server: newSpace(t), relay: newSpace(t), client: newSpace(t)}
	cable(t, r.server, "up0", r.relay, "north")
	cable(t, r.relay, "south", r.client, "eth0")
	r.client.run("ip", "link", "set", "eth0", "address", mac(0))
	r.server.run("ip", "addr", "add", "10.8.0.1/24", "dev", "up0")
	r.server.run("ip", "route", "add", "10.9.0.0/24", "via", "10.8.0.2")
	r.relay.run("ip", "addr", "add", "10.8.0.2/24", "dev", "north")
	r.relay.run("ip", "addr", "add", "10.9.0.1/24", "dev", "south")
	r.relay.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	subnet := func(name, prefix string) dhcp.Subnet {
		p := netip.MustParsePrefix(prefix)
		a := p.Addr().As4()
		a[3] = 100
		first := netip.AddrFrom4(a)
		a[3] = 200
		router := p.Addr().Next()
		return dhcp.Subnet{Name: name, Prefix: p, Pool: dhcp.Range{First: first, Last: netip.AddrFrom4(a)}, Router: router,
			Unknown: dhcp.UnknownLease}
	}
	r.daemon = r.server.serve(setup{Interfaces: []string{"up0"}, Raw: raw,
		Subnets: []dhcp.Subnet{subnet("up", "10.8.0.0/24"), subnet("down", "10.9.0.0/24")}})
	r.relay.start(nil, "dhcrelay", append(append([]string{"-4", "-d", "--no-pid"}, relayArgs...),
		"-id", "south", "-iu", "north", "10.8.0.1")...)
	return r
}

func TestMachineBehindARelay(t *testing.T) {
	for name, args := range map[string][]string{"plain": nil, "with option 82": {"-a"}} {
		t.Run(name, func(t *testing.T) {
			r := newRelayed(t, false, args...)
			got := r.client.udhcpc("-t", "15")
			require.Contains(t, got["ip"], "10.9.0.")
			require.Equal(t, "10.9.0.1", got["router"])
			require.Equal(t, "10.8.0.1", got["serverid"])
			r.daemon.exchange(line{Asked: request, Answered: acked, Relay: "10.9.0.1", To: "10.9.0.1:67"})
		})
	}
}

func TestMachineBehindARelayRenewsWithoutIt(t *testing.T) {
	r := newRelayed(t, false)
	script := filepath.Join(t.TempDir(), "script")
	require.NoError(t, os.WriteFile(script, []byte(`#!/bin/sh
[ "$1" = bound ] && { ip addr add $ip/$mask dev $interface; ip route add default via $router; }
echo "event=$1"
`), 0o755))
	cmd, out := r.client.start(nil, "udhcpc", "-i", "eth0", "-f", "-t", "15", "-T", "1", "-s", script)
	out.wait(t, "a lease", func(l string) bool { return l == "event=bound" })
	require.NoError(t, cmd.Process.Signal(syscall.SIGUSR1))
	out.wait(t, "the renewal", func(l string) bool { return l == "event=renew" })
	// ISC's relay overhears the unicast and forwards it, too; the other one has come by IP routing alone.
	leased := r.daemon.exchange(line{Asked: request, Answered: acked}).Addr
	r.daemon.exchange(line{Asked: request, Answered: acked, Addr: leased, Reason: "renewed", To: leased + ":68"})
}

func rack8() dhcp.Subnet {
	return dhcp.Subnet{
		Name: "rack-8", Prefix: netip.MustParsePrefix("10.8.0.0/24"),
		Pool:    dhcp.Range{First: netip.MustParseAddr("10.8.0.2"), Last: netip.MustParseAddr("10.8.0.200")},
		Unknown: dhcp.UnknownLease,
	}
}

func TestTwoServersForTwoInterfacesOfOneHost(t *testing.T) {
	need.Root(t)
	need.Command(t, "ip", "sysctl", "udhcpc")
	host, left, right := newSpace(t), newSpace(t), newSpace(t)
	cable(t, host, "l0", left, "eth0")
	cable(t, host, "r0", right, "eth0")
	host.run("ip", "addr", "add", "10.7.0.1/24", "dev", "l0")
	host.run("ip", "addr", "add", "10.8.0.1/24", "dev", "r0")
	a := host.serve(setup{Interfaces: []string{"l0"}, Subnets: []dhcp.Subnet{rackSubnet()}})
	b := host.serve(setup{Interfaces: []string{"r0"}, Subnets: []dhcp.Subnet{rack8()}})

	require.Contains(t, right.udhcpc()["ip"], "10.8.0.")
	require.Contains(t, left.udhcpc()["ip"], "10.7.0.")
	a.exchange(line{Asked: request, Answered: acked, Interface: "l0"})
	b.exchange(line{Asked: request, Answered: acked, Interface: "r0"})
	for _, e := range a.exchanges() {
		require.Equal(t, "l0", e.Interface)
	}
}

func TestOneServerForSeveralInterfaces(t *testing.T) {
	need.Root(t)
	need.Command(t, "ip", "sysctl", "udhcpc")
	host, left, right := newSpace(t), newSpace(t), newSpace(t)
	cable(t, host, "l0", left, "eth0")
	cable(t, host, "r0", right, "eth0")
	host.run("ip", "addr", "add", "10.7.0.1/24", "dev", "l0")
	host.run("ip", "addr", "add", "10.8.0.1/24", "dev", "r0")
	host.serve(setup{Subnets: []dhcp.Subnet{rackSubnet(), rack8()}}) // no interfaces named: all that have an address
	require.Contains(t, right.udhcpc()["ip"], "10.8.0.")
	require.Contains(t, left.udhcpc()["ip"], "10.7.0.")
}

func TestServerEndsCleanlyAndComesBackAtOnce(t *testing.T) {
	need.Command(t, "udhcpc")
	r := newRack(t, 1)
	cfg := setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{rackSubnet()}}
	d := r.server.serve(cfg)
	first := r.clients[0].udhcpc()["ip"]
	begin := time.Now()
	require.NoError(t, d.cmd.Process.Signal(syscall.SIGTERM))
	d.out.wait(t, "the server to stop", func(l string) bool { return l == "stopped" })
	require.Less(t, time.Since(begin), 5*time.Second)
	r.server.serve(cfg)
	require.Equal(t, first, r.clients[0].udhcpc()["ip"])
}

func TestServerSurvivesItsInterfaceBeingMadeAnew(t *testing.T) {
	need.Root(t)
	need.Command(t, "ip", "sysctl", "udhcpc")
	host, client := newSpace(t), newSpace(t)
	plug := func() {
		cable(t, host, "eth1", client, "eth0")
		host.run("ip", "addr", "add", "10.7.0.1/24", "dev", "eth1")
	}
	plug()
	host.serve(setup{Interfaces: []string{"eth1"}, Subnets: []dhcp.Subnet{rackSubnet()}})
	require.Equal(t, "bound", client.udhcpc()["event"])
	host.run("ip", "link", "del", "eth1")
	plug()
	require.Equal(t, "bound", client.udhcpc("-t", "20")["event"])
}

func TestPXEClientIsAnsweredOnPort4011(t *testing.T) {
	r := newRack(t, 1)
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Ports: []uint16{dhcp.ServerPort, dhcp.PXEPort},
		Subnets: []dhcp.Subnet{rackSubnet()}})
	c := r.clients[0]
	c.run("ip", "addr", "add", "10.7.0.240/24", "dev", "eth0")
	var conn *net.UDPConn
	var err error
	c.inside(func() { conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: dhcp.ClientPort}) })
	require.NoError(t, err)
	defer conn.Close()
	hw, _ := net.ParseMAC(mac(0))
	ask, err := dhcpv4.New(dhcpv4.WithHwAddr(hw), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
		dhcpv4.WithClientIP(net.IPv4(10, 7, 0, 240)), dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007")))
	require.NoError(t, err)
	_, err = conn.WriteTo(ask.ToBytes(), &net.UDPAddr{IP: net.IPv4(10, 7, 0, 1), Port: dhcp.PXEPort})
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	buf := make([]byte, 1500)
	n, from, err := conn.ReadFromUDP(buf)
	require.NoError(t, err)
	require.Equal(t, "10.7.0.1:4011", from.String())
	reply, err := dhcpv4.FromBytes(buf[:n])
	require.NoError(t, err)
	require.Equal(t, "snponly.efi", reply.BootFileName)
	d.exchange(line{To: "10.7.0.240:68", Answered: acked})
}
