//go:build linux

package dhcp_test

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/scripts/need"
)

// dnsmasq takes port 67 of the whole host, and serves whom we do not.
func TestTwoServersOnOneInterfaceOfOneHostWithRawSockets(t *testing.T) {
	need.Command(t, "dnsmasq", "udhcpc")
	r := newRack(t, 2)
	_, out := r.server.start(nil, "sh", "-c", `exec dnsmasq "$@" 2>&1`, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
		"--port=0", "--interface=br0", "--dhcp-range=10.7.0.100,10.7.0.150,1h", "--dhcp-authoritative", "--dhcp-host="+mac(0)+",ignore",
		"--leasefile-ro", "--no-ping", "--log-dhcp", "--log-facility=-", "--user=root", "--pid-file=")
	out.wait(t, "dnsmasq", func(l string) bool { return strings.Contains(l, "IP range 10.7.0.100") })

	subnet := rackSubnet()
	subnet.Mode, subnet.Unknown, subnet.Pool = dhcp.ModeReserved, dhcp.UnknownIgnore, dhcp.Range{}
	cfg := setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{subnet},
		Known: dhcp.StaticReservations{mac(0): {Addr: netip.MustParseAddr("10.7.0.42")}}}
	self, err := os.Executable()
	require.NoError(t, err)
	text, err := json.Marshal(cfg)
	require.NoError(t, err)
	cmd := exec.Command("ip", "netns", "exec", r.server.name, self)
	cmd.Env = append(os.Environ(), serverEnv+"="+string(text))
	said, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(said), "another program has the port, and does not share it; use raw sockets to run beside it")

	cfg.Raw = true
	d := r.server.serve(cfg)
	got := r.clients[0].udhcpc()
	require.Equal(t, "10.7.0.42", got["ip"])
	require.Equal(t, "10.7.0.1", got["serverid"])
	d.exchange(line{MAC: mac(0), Asked: request, Answered: acked, To: "10.7.0.42:68", ToMAC: mac(0)})
	require.Contains(t, r.clients[1].udhcpc()["ip"], "10.7.0.1", "dnsmasq's")
	d.exchange(line{MAC: mac(1), Reason: "unknown machine"})

	// Renewing is unicast from an address that the kernel can reach: the answer takes its ways.
	require.Equal(t, "10.7.0.42", r.clients[0].dora(t, mac(0)).YourIPAddr.String())
	cmd, renewing := r.clients[0].start(nil, "udhcpc", "-i", "eth0", "-f", "-s", udhcpcScript(t))
	renewing.wait(t, "a lease", func(l string) bool { return l == "event=bound" })
	require.NoError(t, cmd.Process.Signal(syscall.SIGUSR1))
	renewing.wait(t, "the renewal", func(l string) bool { return l == "event=renew" })
	d.exchange(line{MAC: mac(0), Asked: request, Answered: acked, Reason: "renewed", To: "10.7.0.42:68"})
	for _, e := range d.exchanges() {
		require.True(t, e.MAC == mac(0) || e.Answered == "", "%+v", e)
		require.NotEqual(t, dhcpv4.MessageTypeNak.String(), e.Answered)
	}
}

func TestRawSocketsServeMachinesBehindARelay(t *testing.T) {
	r := newRelayed(t, true, "-a")
	got := r.client.udhcpc("-t", "15")
	require.Contains(t, got["ip"], "10.9.0.")
	r.daemon.exchange(line{Asked: request, Answered: acked, Relay: "10.9.0.1", To: "10.9.0.1:67"})
}

// A packet socket sees what the host routes as well.
func TestRawSocketsLeaveAloneWhatTheHostRoutesToAnotherServer(t *testing.T) {
	need.Command(t, "udhcpc")
	r := newRack(t, 1)
	other := newSpace(t)
	cable(t, r.server, "far", other, "eth0")
	r.server.run("ip", "addr", "add", "10.8.0.1/24", "dev", "far")
	r.server.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	other.run("ip", "addr", "add", "10.8.0.2/24", "dev", "eth0")
	other.run("ip", "route", "add", "default", "via", "10.8.0.1")
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{rackSubnet()}, Raw: true})
	c := r.clients[0]
	require.Equal(t, "bound", c.udhcpc()["event"])
	c.run("ip", "route", "add", "default", "via", "10.7.0.1")
	before := len(d.exchanges())
	hw, err := net.ParseMAC(mac(0))
	require.NoError(t, err)
	inform, err := dhcpv4.NewInform(hw, net.IPv4(10, 7, 0, 240))
	require.NoError(t, err)
	c.inside(func() {
		var conn *net.UDPConn
		if conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: dhcp.ClientPort}); err != nil {
			return
		}
		defer conn.Close()
		for _, server := range []net.IP{net.IPv4(10, 8, 0, 2), net.IPv4(10, 7, 0, 1)} {
			if _, err = conn.WriteTo(inform.ToBytes(), &net.UDPAddr{IP: server, Port: dhcp.ServerPort}); err != nil {
				return
			}
		}
	})
	require.NoError(t, err)
	d.exchange(line{Asked: dhcpv4.MessageTypeInform.String(), Answered: acked})
	require.Len(t, d.exchanges(), before+1, "the first was not for this host")
}
