package dhcp

import (
	"context"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// A Booter says what a machine boots. It is asked for each DISCOVER, REQUEST and INFORM of a client that wants to be
// netbooted, several times in one boot, and must answer the same each time. It must be safe for concurrent use.
//
// nil, nil means: an address, but nothing to boot. An error means silence: the firmware will ask again, whereas an
// answer without a boot file would send it to its disk.
type Booter interface {
	Boot(ctx context.Context, req BootRequest) (*Boot, error)
}

// A BootRequest is what a client said of itself when it asked to be netbooted. Nothing of it is verified.
type BootRequest struct {
	// MAC is the hardware address that asks.
	MAC net.HardwareAddr
	// UUID is option 97 in the usual notation (lower case, bytes in the order of the wire), empty if it was absent or
	// malformed. It can change with BIOS settings and be the same in a whole batch: never the only key of a machine.
	UUID string
	// Arch is the client's architectures (option 93, else what option 60 says), most wanted first. It may be empty.
	Arch []iana.Arch
	// PXEClient and HTTPClient say how option 60 (vendor class) begins: a PXE ROM or UEFI's HTTP boot.
	PXEClient, HTTPClient bool
	// IPXE reports that iPXE asks: by user class `iPXE`, or by its encapsulated options (option 175), which it also
	// sends after a script gave it another user class.
	IPXE bool
	// UserClass is option 77: as RFC 3004 encodes it, or as the raw text that iPXE sends.
	UserClass []string
	// VendorClass is option 60.
	VendorClass string
	// Subnet is the name of the subnet that the machine is in.
	Subnet string
	// Addr is the address that the machine is given; the zero Addr on [PXEPort] and in a DHCPINFORM without one.
	Addr netip.Addr
	// Server is the address at which the machine reaches this server.
	Server netip.Addr
}

// A Boot is what a machine is told to boot.
type Boot struct {
	// File is a path on the TFTP server, or a URL. UEFI HTTP boot takes URLs only.
	File string
	// NextServer is the TFTP server (siaddr, and options 66 and sname as text); the zero Addr means
	// [BootRequest.Server].
	NextServer netip.Addr
	// ServerName replaces the text of option 66 and sname.
	ServerName string
	// Discover makes a PXE ROM ask again on [PXEPort] before it boots, by leaving out [DiscoveryBypass]. Some UEFI
	// firmware boots only that way. The server must then listen on that port.
	Discover bool
	// Options are added to the answer, in place of what would have been sent.
	Options []dhcpv4.Option
}

// DiscoveryBypass is the content of option 43 that tells a PXE ROM to boot the file of the offer at once: PXE discovery
// control (tag 6) with bit 3 set, then the end (PXE specification 2.1, table 2-1). Without it a ROM that sees
// 60=PXEClient asks on [PXEPort], and fails with PXE-E55 if nobody listens.
var DiscoveryBypass = []byte{6, 1, 8, 255}
