// Package dhcp answers DHCPv4: addresses for machines in racks, and what they shall boot.
//
// It has two halves that know each other only through one small interface. A [Responder] decides: it gets a packet and
// how the packet came, and returns the answer, or nothing. It never touches a socket, so a test calls it with a struct
// and looks at what comes back. A [Server] does the rest: one set of sockets per interface, the addressing of answers
// (RFC 2131 section 4.1: relay, unicast, broadcast, and Ethernet unicast to a client that has no address yet), a
// bounded queue that loses the cheapest packets first in a boot storm, a deadline for each request, and an [Exchange]
// for everything that was asked, answered, or left unanswered, with the reason.
//
// The ready-made responder is the [Authority]: it leases addresses in one or several [Subnet]s.
//
//	leases := dhcp.NewMemoryLeases()
//	authority, err := dhcp.NewAuthority(dhcp.AuthorityConfig{
//		Leases: leases,
//		Boot:   dhcp.BootFiles{Script: "http://{server}:8080/boot.ipxe"},
//		Subnets: []dhcp.Subnet{{
//			Name:    "rack-7",
//			Prefix:  netip.MustParsePrefix("10.7.0.0/24"),
//			Pool:    dhcp.Range{First: netip.MustParseAddr("10.7.0.2"), Last: netip.MustParseAddr("10.7.0.251")},
//			Router:  netip.MustParseAddr("10.7.0.1"),
//			Unknown: dhcp.UnknownLease,
//		}},
//	})
//	...
//	err = (&dhcp.Server{Responder: authority, Interfaces: []string{"eth1"}}).ListenAndServe(ctx)
//
// # One address per machine
//
// A machine that is being installed speaks DHCP five times (PXE ROM, iPXE, RAM disk, installer, installed system) and
// introduces itself differently each time. Leases are therefore keyed on the hardware address and never on the client
// identifier, so that a /24 carries 250 machines and not 90. Should the lease database be lost, machines that run keep
// their addresses when they renew, and the first choice for one that asks anew is a hash of its hardware address, which
// is what it had, unless another machine was there first.
//
// # Who is answered
//
// Whether a machine is known is asked of [Reservations], which an inventory or CMDB implements. What known machines get
// is the subnet's [Mode]: addresses of the pool and reserved ones, reserved ones only, or none, as another DHCP server
// gives them and this one only says what to boot (ProxyDHCP). What the others get is its [Unknown]: an address, which is
// how a provisioning subnet is declared; what to boot, so that they are discovered with an address of another server; or
// nothing. The last is the default: no packet leaves for a machine that is not ours. A DHCPREQUEST that names another
// server (option 54) is never answered, and a DHCPNAK is only sent about addresses or machines that are this responder's
// business.
//
// Several subnets can be on one wire: give them the same Link, and the next one is used when the first is full. Relays
// are answered as RFC 3046, 3527, 5107 and 8357 say; [PlaceOf] tells where a machine is plugged in, [RackOf] in which rack
// that is, and Reservations that are [PlacedReservations] decide by it.
//
// Where others give addresses as well, an [ARPProber] looks for who uses one before it is first offered. Such an answer
// is [Deferred]: it waits without a worker. A [Watch] reports DHCP and ProxyDHCP servers that nobody wants.
//
// # What they are told
//
// [Settings] has routes, name servers, search domains, vendor options and any other option by number. A subnet has some,
// and a reservation may have others, which come first. Options go to clients that ask for them, as far as there is room
// in what they can take (option 57).
//
// # What they boot
//
// Clients that ask to be netbooted are described to a [Booter], and its [Boot] is put into each place where some
// firmware looks: siaddr, sname, file, and options 43, 54, 60, 66, 67, 97 and 175. [BootFiles] is a Booter for the
// common case: undionly.kpxe for BIOS, snponly.efi for UEFI, a URL for UEFI HTTP boot, a script for iPXE. How firmware
// wants to be answered is a table: [DefaultQuirks], and a site's own rows.
//
// # Several servers, several interfaces
//
// Sockets are bound to their interface (SO_BINDTODEVICE) and open with SO_REUSEADDR, so that servers for different
// interfaces coexist on one host. The server works in the network namespace that its process is in. It needs
// CAP_NET_RAW and CAP_NET_BIND_SERVICE, and Linux; everything but [Server] works anywhere.
package dhcp
