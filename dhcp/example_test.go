package dhcp_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/project-loda/loda/dhcp"
)

// A DHCP server for a rack, with network boot and a line for each exchange, in twenty lines.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	authority, err := dhcp.NewAuthority(dhcp.AuthorityConfig{
		Leases: dhcp.NewMemoryLeases(),
		Boot:   dhcp.BootFiles{Script: "http://{server}:8080/boot.ipxe"},
		Subnets: []dhcp.Subnet{{
			Name:    "rack-7",
			Prefix:  netip.MustParsePrefix("10.7.0.0/24"),
			Pool:    dhcp.Range{First: netip.MustParseAddr("10.7.0.2"), Last: netip.MustParseAddr("10.7.0.251")},
			Router:  netip.MustParseAddr("10.7.0.1"),
			Unknown: dhcp.UnknownLease,
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &dhcp.Server{
		Responder:  authority,
		Interfaces: []string{"eth1"},
		Observe:    func(e dhcp.Exchange) { fmt.Println(e.MAC, e) },
	}
	if err := server.ListenAndServe(ctx); err != nil {
		log.Fatal(err)
	}
}

// A responder is called with a struct; no socket, no root, no waiting.
func ExampleAuthority_Respond() {
	authority, err := dhcp.NewAuthority(dhcp.AuthorityConfig{
		Leases: dhcp.NewMemoryLeases(),
		Boot:   dhcp.BootFiles{},
		Reservations: dhcp.StaticReservations{
			"52:54:00:12:34:56": {Addr: netip.MustParseAddr("10.7.0.20"), Hostname: "node-20"},
		},
		Subnets: []dhcp.Subnet{{Name: "rack-7", Prefix: netip.MustParsePrefix("10.7.0.0/24")}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, mac := range []net.HardwareAddr{{0x52, 0x54, 0, 0x12, 0x34, 0x56}, {0x52, 0x54, 0, 0xff, 0xff, 0xff}} {
		packet, err := dhcpv4.NewDiscovery(mac,
			dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007:UNDI:003016")))
		if err != nil {
			log.Fatal(err)
		}
		reply, err := authority.Respond(context.Background(), &dhcp.Request{
			Packet: packet, Interface: "eth1", Local: netip.MustParseAddr("10.7.0.1"), Broadcast: true,
		})
		if reply == nil {
			fmt.Println(mac, err)
			continue
		}
		fmt.Println(mac, reply.MessageType(), reply.YourIPAddr, reply.HostName(), reply.BootFileName)
	}
	// Output:
	// 52:54:00:12:34:56 OFFER 10.7.0.20 node-20 snponly.efi
	// 52:54:00:ff:ff:ff ignored: unknown machine, and subnet rack-7 is not for provisioning
}

// Responders compose: this one leaves alone what asks with a vendor class of its own, and lets another answer the rest.
func ExampleResponderFunc() {
	var authority dhcp.Responder = dhcp.ResponderFunc(func(context.Context, *dhcp.Request) (*dhcpv4.DHCPv4, error) {
		return dhcpv4.New(dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer))
	})
	noPhones := dhcp.ResponderFunc(func(ctx context.Context, req *dhcp.Request) (*dhcpv4.DHCPv4, error) {
		if req.Packet.ClassIdentifier() == "phone" {
			return nil, dhcp.Ignored("phones have a server of their own")
		}
		return authority.Respond(ctx, req)
	})

	packet, _ := dhcpv4.NewDiscovery(net.HardwareAddr{2, 0, 0, 0, 0, 1},
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("phone")))
	_, err := noPhones.Respond(context.Background(), &dhcp.Request{Packet: packet})
	fmt.Println(err)
	// Output: ignored: phones have a server of their own
}

// What is written of a machine's timeline.
func ExampleExchange_String() {
	fmt.Println(dhcp.Exchange{
		Stage: dhcp.StageIPXE, Asked: dhcpv4.MessageTypeDiscover, Answered: dhcpv4.MessageTypeOffer,
		Reply: &dhcpv4.DHCPv4{}, Addr: netip.MustParseAddr("10.7.0.5"), Reason: "the machine's lease",
		BootFile: "http://10.7.0.1:8080/boot.ipxe",
	})
	// Output: iPXE sent DISCOVER, got OFFER of 10.7.0.5 (the machine's lease), boot file http://10.7.0.1:8080/boot.ipxe
}
