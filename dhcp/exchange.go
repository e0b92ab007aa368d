package dhcp

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// A Stage is which of a machine's programs speaks DHCP, as far as its options tell.
type Stage string

const (
	StagePXE       Stage = "PXE ROM"   // firmware, by TFTP
	StageHTTP      Stage = "UEFI HTTP" // firmware, by HTTP
	StageIPXE      Stage = "iPXE"
	StageBootOS    Stage = "bootOS"    // vendor class [VendorClassBootOS]
	StageInstaller Stage = "installer" // debian-installer, anaconda
	StageOS        Stage = "OS"        // whatever else
)

// VendorClassBootOS is how option 60 begins when Loda's RAM disk asks.
const VendorClassBootOS = "loda-bootos"

// An Exchange is one request and what became of it.
type Exchange struct {
	// Time is when the request was received, Duration how long it took to answer, the time in the queue included.
	Time     time.Time
	Duration time.Duration
	// Interface is where it was received.
	Interface string
	// MAC is the client's hardware address.
	MAC net.HardwareAddr
	// UUID is what option 97 said, empty if nothing; see [BootRequest.UUID].
	UUID string
	// Asked is the type of the request.
	Asked dhcpv4.MessageType
	// Answered is the type of the reply; dhcpv4.MessageTypeNone means that none was sent.
	Answered dhcpv4.MessageType
	// Addr is the address that was offered or acknowledged, else the one that was asked for, else the zero Addr.
	Addr netip.Addr
	// Relay is giaddr, the zero Addr if the client asked directly.
	Relay netip.Addr
	// Place is what the relay said of where the client is plugged in.
	Place Place
	// To is where the reply was sent.
	To Destination
	// Stage is a guess at who asked.
	Stage Stage
	// BootFile is what the reply said to boot.
	BootFile string
	// Reason says why this was answered, or why not.
	Reason string
	// Err is set if something failed: the responder, or sending.
	Err error
	// Request and Reply are the packets; Reply is nil if none was sent. They must not be changed.
	Request, Reply *dhcpv4.DHCPv4
}

// String is one English sentence, for a timeline: `iPXE sent DISCOVER, got OFFER of 10.7.0.5 (the machine's lease),
// boot file http://10.7.0.1:8080/boot.ipxe`.
func (e Exchange) String() string {
	s := fmt.Sprintf("%s sent %s", e.Stage, e.Asked)
	if e.Relay.IsValid() {
		s += " through relay " + e.Relay.String()
	}
	if e.Reply == nil {
		s += ", got no answer"
		if e.Reason != "" {
			s += ": " + e.Reason
		}
		return s
	}
	s += ", got " + e.Answered.String()
	if e.Addr.IsValid() {
		s += " of " + e.Addr.String()
	}
	if e.Reason != "" {
		s += " (" + e.Reason + ")"
	}
	if e.BootFile != "" {
		s += ", boot file " + e.BootFile
	}
	return s
}
