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

func TestDhcpcdIsLeasedAnAddressByTwoPacketsAndUnderstandsTheSettings(t *testing.T) {
	need.Command(t, "dhcpcd")
	r := newRack(t, 1)
	s := rackSubnet()
	s.RapidCommit = true
	route, err := dhcp.ParseRoute("10.99.0.0/16 via 10.7.0.9")
	require.NoError(t, err)
	s.Settings = dhcp.Settings{Search: []string{"rack7.example", "example"}, Routes: []dhcp.Route{route}}
	d := r.server.serve(setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{s}})

	dir := t.TempDir()
	conf, script := filepath.Join(dir, "conf"), filepath.Join(dir, "script")
	require.NoError(t, os.WriteFile(conf, []byte("duid\nnoipv6\noption rapid_commit\noption domain_search, classless_static_routes\n"), 0o644))
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n[ \"$reason\" = BOUND ] && env\nexit 0\n"), 0o755))
	// Its files lie at fixed places: it gets empty ones, which nobody else sees.
	told := environment(r.clients[0].run("sh", "-ec", "mount -t tmpfs tmpfs /run; mkdir -p /var/lib/dhcpcd; "+
		"mount -t tmpfs tmpfs /var/lib/dhcpcd; exec timeout 60 dhcpcd --oneshot --nobackground -4 --noarp -f "+conf+" -c "+script+" eth0"))
	require.Equal(t, "rack7.example example", told["new_domain_search"])
	require.Equal(t, "10.99.0.0/16 10.7.0.9 0.0.0.0/0 10.7.0.1", strings.TrimSpace(told["new_classless_static_routes"]))
	d.exchange(line{Asked: discover, Answered: acked, Addr: told["new_ip_address"], Reason: "leased at once"})
	for _, e := range d.exchanges() {
		require.NotEqual(t, request, e.Asked)
	}
}
