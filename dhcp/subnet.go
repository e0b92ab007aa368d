package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Unknown says what a machine gets that [Reservations] does not know.
type Unknown string

const (
	// UnknownIgnore gives unknown machines no answer. It is what the zero value means.
	UnknownIgnore Unknown = "ignore"
	// UnknownLease gives unknown machines an address of the pool: this is a provisioning subnet.
	UnknownLease Unknown = "lease"
	// UnknownBoot tells unknown machines what to boot and gives them no address: that is another server's. They are
	// discovered so on a production link.
	UnknownBoot Unknown = "boot"
)

// DefaultLeaseTime is how long a lease lasts where [Subnet.LeaseTime] is zero.
const DefaultLeaseTime = time.Hour

// A Range is a run of IPv4 addresses, both ends included. The zero Range is empty.
type Range struct {
	First, Last netip.Addr
}

// IsZero reports whether r is the zero Range.
func (r Range) IsZero() bool { return !r.First.IsValid() && !r.Last.IsValid() }

// Contains reports whether a lies in r.
func (r Range) Contains(a netip.Addr) bool {
	return !r.IsZero() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

// Size is the number of addresses in r.
func (r Range) Size() int {
	if r.IsZero() {
		return 0
	}
	return int(number(r.Last)) - int(number(r.First)) + 1
}

// String returns r as `10.0.0.2-10.0.0.250`.
func (r Range) String() string {
	if r.IsZero() {
		return "none"
	}
	return r.First.String() + "-" + r.Last.String()
}

// A Subnet is one IPv4 subnet and what its machines are told.
type Subnet struct {
	// Name appears in leases, logs and alarms. It must be unique.
	Name string
	// Prefix is the subnet, such as 10.7.0.0/24. A request belongs here if the relay's address (giaddr, or link
	// selection, option 82.5, RFC 3527) lies in it; without a relay, an address of the interface that it came in on.
	Prefix netip.Prefix
	// Link names the wire that this subnet shares with other subnets (a "shared network"): those with the same Link. A
	// request belongs to all of them if it belongs to one. A machine that has no address yet gets one of the first of
	// them in [AuthorityConfig.Subnets] that has any left. They must have the same Mode, Unknown and ServerID. Empty: the
	// subnet is alone.
	Link string
	// Mode says what machines get here; the zero value means [ModeAuthoritative].
	Mode Mode
	// Pool is what is leased to machines without a reservation. It may be empty. Addresses in it that are the server's,
	// Router, servers or gateways of Settings, or the network's first and last, are left out by themselves; reserved ones
	// are left to their owners.
	Pool Range
	// Router is the default gateway (option 3), none if it is the zero Addr.
	Router netip.Addr
	// LeaseTime is how long a lease lasts; 0 means [DefaultLeaseTime]. Clients that ask for less get less, but not
	// below one minute. It is at least a minute.
	LeaseTime time.Duration
	// ServerID is the address that this server is known by (option 54). The zero Addr means the address at which the
	// request arrived. Several servers on one link need different ones; one server that moves between hosts needs a
	// fixed one.
	ServerID netip.Addr
	// Unknown says what machines get that are not in [Reservations]; the zero value means [UnknownIgnore].
	Unknown Unknown
	// Probe looks for who uses an address before it is first offered to a machine; see [AuthorityConfig.Prober]. An
	// address that somebody uses is put aside like a declined one.
	Probe bool
	// RapidCommit answers a DHCPDISCOVER that asks for it (option 80, RFC 4039) with a DHCPACK at once. Only for links
	// where this is the only server: another one that does the same would give the machine a second address.
	RapidCommit bool
	// Settings are what machines are told of the network besides: name servers, routes, any option.
	Settings Settings
	// Options are added to each answer, in place of what would have been sent.
	Options []dhcpv4.Option
}

// check fills in defaults and refuses what cannot work.
func (s *Subnet) check() error {
	var bad []string
	complain := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }

	if s.Name == "" {
		complain("it has no name")
	}
	if !s.Prefix.IsValid() || !s.Prefix.Addr().Is4() {
		complain("prefix %v is not an IPv4 prefix such as 10.7.0.0/24", s.Prefix)
		return fmt.Errorf("subnet %q: %s", s.Name, strings.Join(bad, "; "))
	}
	s.Prefix = s.Prefix.Masked()
	if !s.Pool.IsZero() {
		switch {
		case !s.Pool.First.Is4() || !s.Pool.Last.Is4():
			complain("half a pool: first %v, last %v, want two IPv4 addresses", s.Pool.First, s.Pool.Last)
		case !s.Prefix.Contains(s.Pool.First) || !s.Prefix.Contains(s.Pool.Last):
			complain("pool %v is not inside of %v", s.Pool, s.Prefix)
		case s.Pool.Last.Less(s.Pool.First):
			complain("pool %v ends before it begins", s.Pool)
		case s.Pool.Size() > maxPool:
			complain("pool %v has %d addresses, at most %d are supported; split the subnet", s.Pool, s.Pool.Size(), maxPool)
		}
	}
	if s.Router.IsValid() && !s.Prefix.Contains(s.Router) {
		complain("router %v is not inside of %v", s.Router, s.Prefix)
	}
	if s.ServerID.IsValid() && !s.ServerID.Is4() {
		complain("server id %v is not an IPv4 address", s.ServerID)
	}
	switch {
	case s.LeaseTime == 0:
		s.LeaseTime = DefaultLeaseTime
	case s.LeaseTime < minLeaseTime:
		complain("lease time %v is under one minute", s.LeaseTime)
	}
	if err := s.Settings.Check(); err != nil {
		complain("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	switch s.Unknown {
	case "":
		s.Unknown = UnknownIgnore
	case UnknownIgnore, UnknownLease, UnknownBoot:
	default:
		complain("unknown is %q, want %q, %q or %q", s.Unknown, UnknownIgnore, UnknownBoot, UnknownLease)
	}
	switch s.Mode {
	case "":
		s.Mode = ModeAuthoritative
	case ModeAuthoritative:
	case ModeReserved, ModeProxy:
		if !s.Pool.IsZero() {
			complain("in mode %s nobody gets an address of pool %v; leave the pool out", s.Mode, s.Pool)
		}
		if s.Unknown == UnknownLease {
			complain("in mode %s unknown machines cannot get a lease; want unknown %q or %q", s.Mode, UnknownIgnore, UnknownBoot)
		}
	default:
		complain("mode is %q, want %q, %q or %q", s.Mode, ModeAuthoritative, ModeReserved, ModeProxy)
	}
	if bad != nil {
		return fmt.Errorf("subnet %q: %s", s.Name, strings.Join(bad, "; "))
	}
	return nil
}

const (
	maxPool      = 1 << 16
	minLeaseTime = time.Minute
)

// infrastructure reports whether a is an address that must never be leased.
func (s *Subnet) infrastructure(a netip.Addr) bool {
	if a == s.Router || a == s.ServerID {
		return true
	}
	if slices.Contains(s.Settings.DNS, a) || slices.Contains(s.Settings.NTP, a) ||
		slices.ContainsFunc(s.Settings.Routes, func(r Route) bool { return r.Via == a }) {
		return true
	}
	if s.Prefix.Bits() >= 31 { // RFC 3021: point-to-point links have neither
		return false
	}
	return a == s.Prefix.Addr() || a == s.broadcast()
}

func (s *Subnet) broadcast() netip.Addr {
	return addr(number(s.Prefix.Addr()) | ^uint32(0)>>s.Prefix.Bits())
}

func (s *Subnet) mask() net.IPMask { return net.CIDRMask(s.Prefix.Bits(), 32) }

// start says where the search for a machine's address begins: at a hash of its hardware address, which depends neither
// on a lease database nor, unless two machines collide, on who asked before. Changing this function moves every machine
// that has no lease.
func (s *Subnet) start(mac hwaddr) uint64 {
	h := fnv.New64a()
	h.Write(mac[:])
	start := h.Sum64()
	return start ^ start>>32 // FNV leaves the low bits of neighbouring addresses close to each other
}

// at returns the i-th address to try after start; i runs from 0 to size-1, size is that of the pool.
func (s *Subnet) at(start uint64, i, size int) netip.Addr {
	n := uint64(size)
	return addr(number(s.Pool.First) + uint32((start%n+uint64(i))%n))
}

// hwaddr is an Ethernet address as a map key.
type hwaddr [6]byte

func (h hwaddr) String() string { return net.HardwareAddr(h[:]).String() }

// ethernet returns the six bytes of hw if it is an address that one NIC can have.
func ethernet(hw net.HardwareAddr) (hwaddr, error) {
	var h hwaddr
	if len(hw) != len(h) {
		return h, fmt.Errorf("hardware address %s has %d bytes, want 6", hw, len(hw))
	}
	copy(h[:], hw)
	if h == (hwaddr{}) {
		return h, errors.New("hardware address is all zero")
	}
	if h[0]&1 != 0 {
		return h, fmt.Errorf("hardware address %s is a multicast address", hw)
	}
	return h, nil
}

func number(a netip.Addr) uint32 { b := a.As4(); return binary.BigEndian.Uint32(b[:]) }

func addr(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// fromIP is the zero Addr for what is no IPv4 address, or 0.0.0.0.
func fromIP(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// toIP returns four bytes, which is what package dhcpv4 writes without surprises; 0.0.0.0 for the zero Addr.
func toIP(a netip.Addr) net.IP {
	if !a.Is4() {
		return net.IPv4zero.To4()
	}
	return net.IP(a.AsSlice())
}

func toIPs(as []netip.Addr) []net.IP {
	out := make([]net.IP, len(as))
	for i, a := range as {
		out[i] = toIP(a)
	}
	return out
}
