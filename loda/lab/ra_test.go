package lab

import (
	"net"
	"net/netip"
	"testing"

	"github.com/mdlayher/packet"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
	"time"

	"github.com/project-loda/loda/scripts/need"
)

func TestAdvertisementOffersNoRouter(t *testing.T) {
	mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
	f := routerAdvertisement(mac)
	require.Equal(t, "33:33:00:00:00:01", net.HardwareAddr(f[0:6]).String())
	header, err := ipv6.ParseHeader(f[14:])
	require.NoError(t, err)
	require.Equal(t, "fe80::5054:ff:fe00:1", header.Src.String())
	require.Equal(t, "ff02::1", header.Dst.String())
	require.Equal(t, 255, header.HopLimit)
	require.Equal(t, len(f)-54, header.PayloadLen)

	message, err := icmp.ParseMessage(58, f[54:])
	require.NoError(t, err)
	require.Equal(t, ipv6.ICMPTypeRouterAdvertisement, message.Type)
	body := message.Body.(*icmp.RawBody).Data
	require.Equal(t, []byte{64, 0, 0, 0}, body[:4], "hop limit, neither managed nor other, lifetime 0")

	// The same message with its checksum computed by x/net.
	again, err := message.Marshal(icmp.IPv6PseudoHeader(header.Src, header.Dst))
	require.NoError(t, err)
	require.Equal(t, again, f[54:])
}

func FuzzSolicitationsAreToldFromOtherFrames(f *testing.F) {
	f.Add(routerAdvertisement(net.HardwareAddr{2, 0, 0, 0, 0, 1}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if isRouterSolicitation(frame) {
			require.Equal(t, byte(133), frame[54])
		}
	})
}

// TestAHostThatSolicitsIsAnsweredAtOnce plugs a veth pair into the bridge, as if it were a machine.
func TestAHostThatSolicitsIsAnsweredAtOnce(t *testing.T) {
	need.Root(t)
	ns, err := createNamespace("loda-ra-" + derivedHex(t.TempDir(), 4))
	require.NoError(t, err)
	t.Cleanup(func() {
		ns.close()
		require.NoError(t, removeNamespace(ns.name))
	})
	require.NoError(t, ns.addBridge(netip.MustParsePrefix("10.77.0.1/24")))
	var conn *packet.Conn
	require.NoError(t, ns.do(func() error {
		bridge, err := netlink.LinkByName(bridgeName)
		if err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MasterIndex = "port", bridge.Attrs().Index
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "host"}); err != nil {
			return err
		}
		for _, name := range []string{"port", "host"} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return err
			}
		}
		host, err := net.InterfaceByName("host")
		if err != nil {
			return err
		}
		conn, err = packet.Listen(host, packet.Raw, unix.ETH_P_IPV6, nil)
		return err
	}))
	defer conn.Close()
	ra, err := startAdvertiser(ns)
	require.NoError(t, err)
	defer ra.close()

	advertised := func(within time.Duration) bool {
		buf := make([]byte, 2048)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(within)))
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return false
			}
			if n > 54 && buf[14+6] == 58 && buf[54] == typeAdvertisement {
				return true
			}
		}
	}
	require.True(t, advertised(5*time.Second), "unasked")
	solicitation := routerAdvertisement(net.HardwareAddr{2, 0, 0, 0, 0, 9})
	solicitation[54] = typeSolicitation
	_, err = conn.WriteTo(solicitation, &packet.Addr{HardwareAddr: solicitation[0:6]})
	require.NoError(t, err)
	require.True(t, advertised(advertiseEvery/2), "asked for right behind an unasked one")
}
