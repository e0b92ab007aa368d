//go:build linux

package dhcp_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/scripts/need"
)

func TestDhcpcdKeepsTheAddressOfOtherClientsOfItsMachine(t *testing.T) {
	need.Command(t, "dhcpcd", "udhcpc")
	r := newRack(t, 1)
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{rackSubnet()}})
	first := r.clients[0].udhcpc()["ip"]
	r.clients[0].run("ip", "addr", "flush", "dev", "eth0")
	told := r.clients[0].dhcpcd("option ntp_servers, interface_mtu")
	require.Equal(t, first, told["new_ip_address"], "its client identifier is a DUID")
	require.Equal(t, "10.7.0.1", told["new_routers"])
	require.Equal(t, "1400", told["new_interface_mtu"])
	require.Equal(t, "rack7.example", told["new_domain_name"])
	d.exchange(line{Asked: request, Answered: acked, Addr: first})
}

func TestDhcpcdIsLeasedAnAddressByTwoPacketsAndUnderstandsTheSettings(t *testing.T) {
	need.Command(t, "dhcpcd")
	r := newRack(t, 1)
	s := rackSubnet()
	s.RapidCommit = true
	route, err := dhcp.ParseRoute("10.99.0.0/16 via 10.7.0.9")
	require.NoError(t, err)
	s.Settings = dhcp.Settings{Search: []string{"rack7.example", "example"}, Routes: []dhcp.Route{route}}
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{s}})

	told := r.clients[0].dhcpcd("option rapid_commit\noption domain_search, classless_static_routes")
	require.Equal(t, "rack7.example example", told["new_domain_search"])
	require.Equal(t, "10.99.0.0/16 10.7.0.9 0.0.0.0/0 10.7.0.1", strings.TrimSpace(told["new_classless_static_routes"]))
	d.exchange(line{Asked: discover, Answered: acked, Addr: told["new_ip_address"], Reason: "leased at once"})
	for _, e := range d.exchanges() {
		require.NotEqual(t, request, e.Asked)
	}
}

// dhcpcd gets a lease, configures eth0 with it, and returns what it was told.
func (s *space) dhcpcd(config string) map[string]string {
	s.t.Helper()
	dir := s.t.TempDir()
	conf, script := filepath.Join(dir, "conf"), filepath.Join(dir, "script")
	require.NoError(s.t, os.WriteFile(conf, []byte("duid\nnoipv6\noption domain_name\n"+config+"\n"), 0o644))
	require.NoError(s.t, os.WriteFile(script, []byte("#!/bin/sh\n[ \"$reason\" = BOUND ] && env >"+dir+"/told.new && mv "+dir+
		"/told.new "+dir+"/told\nexit 0\n"), 0o755))
	// Its files lie at fixed places: it gets empty ones, which nobody else sees.
	out, err := s.try("sh", "-ec", "mount -t tmpfs tmpfs /run; mkdir -p /var/lib/dhcpcd; mount -t tmpfs tmpfs /var/lib/dhcpcd; "+
		"exec timeout 60 dhcpcd --oneshot --nobackground -4 --noarp -f "+conf+" -c "+script+" eth0")
	require.NoError(s.t, err, out)
	text, err := os.ReadFile(filepath.Join(dir, "told"))
	require.NoError(s.t, err, out)
	return environment(strings.ReplaceAll(string(text), "\x00", ""))
}
