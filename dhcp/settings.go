package dhcp

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Settings are what machines are told of their network besides address, mask and lease. A [Subnet] has some, and the
// [Reservation] of a machine may have others, which come first. Everything is sent to clients that ask for it (option
// 55), or that ask for nothing in particular; DNS, Domain, vendor options by class, and what is marked Always, to all.
type Settings struct {
	// Routes are classless static routes (option 121, RFC 3442; also as option 249 to clients that ask for that). As a
	// client that gets them ignores the router option, the default route by the router is added unless there is one.
	Routes []Route
	// DNS are name servers (option 6), NTP time servers (option 42).
	DNS, NTP []netip.Addr
	// Domain is the DNS domain (option 15), Search the list of domains to search (option 119, RFC 3397).
	Domain string
	Search []string
	// MTU of the link in bytes (option 26); 0 sends none.
	MTU uint16
	// Vendor is option 43, by vendor class.
	Vendor []VendorOption
	// Other options, by number.
	Other []Option
}

// A Route says by which router a network is reached; by 0.0.0.0 if it is on the link (RFC 3442).
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// A VendorOption is the content of option 43 for clients whose vendor class (option 60) begins with Class. An empty
// Class is for all that ask for option 43; the longest that fits wins.
type VendorOption struct {
	Class string
	Data  []byte
}

// An Option is any option by its number. Options that are longer than 255 bytes are split (RFC 3396).
type Option struct {
	Code uint8
	Data []byte
	// Always sends it also to clients that do not ask for it.
	Always bool
}

// optMSRoutes is option 121 under the number that old Windows asks for ([MS-DHCPE] section 2.2.8).
const optMSRoutes = dhcpv4.GenericOptionCode(249)

// maxOption bounds the bytes of one option: a reply has room for little more.
const maxOption = 1024

// ParseRoute reads `10.0.0.0/8 via 10.7.0.1`; without `via`, the network is on the link.
func ParseRoute(s string) (Route, error) {
	to, via, routed := strings.Cut(s, " via ")
	prefix, err := netip.ParsePrefix(strings.TrimSpace(to))
	if err != nil || !prefix.Addr().Is4() {
		return Route{}, fmt.Errorf("route %q: want a network such as 10.0.0.0/8 via 10.7.0.1", s)
	}
	r := Route{To: prefix.Masked(), Via: netip.IPv4Unspecified()}
	if routed {
		if r.Via, err = netip.ParseAddr(strings.TrimSpace(via)); err != nil || !r.Via.Is4() {
			return Route{}, fmt.Errorf("route %q: %q is not an IPv4 address", s, strings.TrimSpace(via))
		}
	}
	return r, nil
}

// ParseOption reads the content of an option. Kind is hex (`0a:01` or `0a01`), text, ip (one or several IPv4 addresses,
// separated by commas), u8, u16, u32 (numbers, in the order of the network) or bool (true, false).
func ParseOption(code uint8, kind, value string) (Option, error) {
	o := Option{Code: code}
	fail := func(want string) (Option, error) {
		return Option{}, fmt.Errorf("option %d: %q is not %s", code, value, want)
	}
	switch kind {
	case "hex":
		b, err := ParseHex(value)
		if err != nil {
			return Option{}, fmt.Errorf("option %d: %w", code, err)
		}
		o.Data = b
	case "text":
		o.Data = []byte(value)
	case "ip":
		for part := range strings.SplitSeq(value, ",") {
			a, err := netip.ParseAddr(strings.TrimSpace(part))
			if err != nil || !a.Is4() {
				return fail("IPv4 addresses, separated by commas")
			}
			o.Data = append(o.Data, a.AsSlice()...)
		}
	case "u8", "u16", "u32":
		bits, _ := strconv.Atoi(kind[1:])
		n, err := strconv.ParseUint(value, 0, bits)
		if err != nil {
			return fail("a number of " + kind[1:] + " bits")
		}
		o.Data = binary.BigEndian.AppendUint32(nil, uint32(n))[4-bits/8:]
	case "bool":
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fail("true or false")
		}
		if o.Data = []byte{0}; b {
			o.Data[0] = 1
		}
	default:
		return Option{}, fmt.Errorf("option %d: type %q is unknown; want hex, text, ip, u8, u16, u32 or bool", code, kind)
	}
	return o, o.check()
}

// ParseHex reads bytes as `06:01:08:ff`, `06 01 08 ff` or `060108ff`.
func ParseHex(s string) ([]byte, error) {
	b, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(s))
	if err != nil {
		return nil, fmt.Errorf("%q is not hexadecimal bytes such as 06:01:08:ff", s)
	}
	return b, nil
}

// check refuses what would contradict the protocol, and what no reply has room for.
func (o Option) check() error {
	switch {
	case o.Code == 0, o.Code == 255, o.Code == 1, o.Code >= 50 && o.Code <= 59 && o.Code != 56, o.Code == 61, o.Code == 80,
		o.Code == 82, o.Code == 90:
		return fmt.Errorf("option %d belongs to the protocol and cannot be set", o.Code)
	case len(o.Data) == 0:
		return fmt.Errorf("option %d is empty", o.Code)
	case len(o.Data) > maxOption:
		return fmt.Errorf("option %d has %d bytes, at most %d are supported", o.Code, len(o.Data), maxOption)
	}
	return nil
}

// Check says everything that is wrong with s.
func (s *Settings) Check() error {
	var bad []error
	for _, r := range s.Routes {
		if !r.To.IsValid() || !r.To.Addr().Is4() || !r.Via.Is4() {
			bad = append(bad, fmt.Errorf("route to %v via %v is not one of IPv4", r.To, r.Via))
		}
	}
	for _, a := range slices.Concat(s.DNS, s.NTP) {
		if !a.Is4() {
			bad = append(bad, fmt.Errorf("DNS or NTP server %v is not an IPv4 address", a))
		}
	}
	if len(s.Domain) > 255 {
		bad = append(bad, fmt.Errorf("domain has %d characters, at most 255 are possible", len(s.Domain)))
	}
	if _, err := searchList(s.Search); err != nil {
		bad = append(bad, err)
	}
	if s.MTU != 0 && s.MTU < 576 {
		bad = append(bad, fmt.Errorf("MTU %d is under 576, the least that IPv4 hosts accept", s.MTU))
	}
	for _, v := range s.Vendor {
		if len(v.Data) == 0 || len(v.Data) > maxOption {
			bad = append(bad, fmt.Errorf("vendor options for class %q have %d bytes, want 1 to %d", v.Class, len(v.Data),
				maxOption))
		}
	}
	for _, o := range s.Other {
		if err := o.check(); err != nil {
			bad = append(bad, err)
		}
	}
	if bad == nil && s.Routes != nil {
		if n := len(classless(s.Routes, netip.Addr{})); n > maxOption {
			bad = append(bad, fmt.Errorf("%d routes take %d bytes, at most %d are supported", len(s.Routes), n, maxOption))
		}
	}
	return errors.Join(bad...)
}

// Over returns s with what it leaves out taken from under. Vendor and Other are merged by class and by code.
func (s Settings) Over(under Settings) Settings {
	first := func(a, b []netip.Addr) []netip.Addr {
		if a != nil {
			return a
		}
		return b
	}
	s.DNS, s.NTP = first(s.DNS, under.DNS), first(s.NTP, under.NTP)
	if s.Routes == nil {
		s.Routes = under.Routes
	}
	if s.Domain == "" {
		s.Domain = under.Domain
	}
	if s.Search == nil {
		s.Search = under.Search
	}
	if s.MTU == 0 {
		s.MTU = under.MTU
	}
	s.Vendor, s.Other = slices.Clone(s.Vendor), slices.Clone(s.Other)
	for _, v := range under.Vendor {
		if !slices.ContainsFunc(s.Vendor, func(w VendorOption) bool { return w.Class == v.Class }) {
			s.Vendor = append(s.Vendor, v)
		}
	}
	for _, o := range under.Other {
		if !slices.ContainsFunc(s.Other, func(p Option) bool { return p.Code == o.Code }) {
			s.Other = append(s.Other, o)
		}
	}
	return s
}

// write adds s to a reply; what was there before is replaced.
func (s *Settings) write(reply *dhcpv4.DHCPv4, router netip.Addr, asked dhcpv4.OptionCodeList) {
	// Not asked.Has, which tells dhcpv4's own names of codes from bare numbers.
	has := func(code dhcpv4.OptionCode) bool {
		return slices.ContainsFunc(asked, func(c dhcpv4.OptionCode) bool { return c.Code() == code.Code() })
	}
	wants := func(code dhcpv4.OptionCode) bool { return len(asked) == 0 || has(code) }
	if len(s.DNS) > 0 {
		reply.UpdateOption(dhcpv4.OptDNS(toIPs(s.DNS)...))
	}
	if s.Domain != "" {
		reply.UpdateOption(dhcpv4.OptDomainName(s.Domain))
	}
	if len(s.NTP) > 0 && wants(dhcpv4.OptionNTPServers) {
		reply.UpdateOption(dhcpv4.OptNTPServers(toIPs(s.NTP)...))
	}
	if s.MTU != 0 && wants(dhcpv4.OptionInterfaceMTU) {
		reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, binary.BigEndian.AppendUint16(nil, s.MTU)))
	}
	if len(s.Search) > 0 && wants(dhcpv4.OptionDNSDomainSearchList) {
		if b, err := searchList(s.Search); err == nil {
			reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionDNSDomainSearchList, b))
		}
	}
	if len(s.Routes) > 0 {
		routes := classless(s.Routes, router)
		if wants(dhcpv4.OptionClasslessStaticRoute) {
			reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClasslessStaticRoute, routes))
		}
		if has(optMSRoutes) {
			reply.UpdateOption(dhcpv4.OptGeneric(optMSRoutes, routes))
		}
	}
	for _, o := range s.Other {
		if code := dhcpv4.GenericOptionCode(o.Code); o.Always || wants(code) {
			reply.UpdateOption(dhcpv4.OptGeneric(code, o.Data))
		}
	}
	if data, class := s.vendor(""); class == "" && data != nil && wants(dhcpv4.OptionVendorSpecificInformation) {
		reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, data))
	}
}

// vendor returns option 43 for a vendor class, and the class that it was given for.
func (s *Settings) vendor(class string) (data []byte, fits string) {
	for _, v := range s.Vendor {
		if strings.HasPrefix(class, v.Class) && (data == nil || len(v.Class) > len(fits)) {
			data, fits = v.Data, v.Class
		}
	}
	return data, fits
}

// writeSettings adds what the subnet and the machine's reservation say.
func (t *talk) writeSettings(reply *dhcpv4.DHCPv4) {
	asked := t.packet.ParameterRequestList()
	t.subnet.Settings.write(reply, t.subnet.Router, asked)
	t.reservation.Settings.write(reply, t.subnet.Router, asked)
}

// writeVendor adds option 43 for the client's vendor class, if the site has one: also for PXE clients, which otherwise
// get [DiscoveryBypass].
func (t *talk) writeVendor(reply *dhcpv4.DHCPv4) {
	class := string(t.packet.Options.Get(dhcpv4.OptionClassIdentifier))
	for _, s := range []*Settings{&t.reservation.Settings, &t.subnet.Settings} {
		if data, fits := s.vendor(class); fits != "" {
			reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, data))
			return
		}
	}
}

// classless encodes routes (RFC 3442): the significant bytes of each network, and its router.
func classless(routes []Route, router netip.Addr) []byte {
	if router.IsValid() && !slices.ContainsFunc(routes, func(r Route) bool { return r.To.Bits() == 0 }) {
		routes = append(slices.Clone(routes), Route{netip.PrefixFrom(netip.IPv4Unspecified(), 0), router})
	}
	var b []byte
	for _, r := range routes {
		if !r.To.Addr().Is4() || !r.Via.Is4() {
			continue // see [Settings.Check]; a reservation may not have been checked
		}
		b = append(b, byte(r.To.Bits()))
		b = append(b, r.To.Masked().Addr().AsSlice()[:(r.To.Bits()+7)/8]...)
		b = append(b, r.Via.AsSlice()...)
	}
	return b
}

// searchList encodes domains as RFC 3397 says, without the compression that it allows.
func searchList(domains []string) ([]byte, error) {
	var b []byte
	for _, d := range domains {
		name := strings.TrimSuffix(d, ".")
		if name == "" || len(name) > 253 {
			return nil, fmt.Errorf("search domain %q has %d characters, want 1 to 253", d, len(name))
		}
		for label := range strings.SplitSeq(name, ".") {
			if label == "" || len(label) > 63 || printable([]byte(label)) != label || strings.Contains(label, " ") {
				return nil, fmt.Errorf("search domain %q: %q is not a label of 1 to 63 letters, digits and hyphens", d, label)
			}
			b = append(append(b, byte(len(label))), label...)
		}
		b = append(b, 0)
	}
	if len(b) > maxOption {
		return nil, fmt.Errorf("the search domains take %d bytes, at most %d are supported", len(b), maxOption)
	}
	return b, nil
}

// shed drops what a client can live without until the reply fits, the highest numbers first, routes last.
func shed(reply *dhcpv4.DHCPv4, room int) {
	needed := []uint8{1, 3, 6, 43, 51, 53, 54, 60, 61, 67, 80, 82, 97, 175}
	var codes []uint8
	for code := range reply.Options {
		if !slices.Contains(needed, code) {
			codes = append(codes, code)
		}
	}
	routes := func(c uint8) bool { return c == 121 || c == 249 }
	slices.SortFunc(codes, func(a, b uint8) int {
		if routes(a) != routes(b) {
			if routes(a) {
				return 1
			}
			return -1
		}
		return int(b) - int(a)
	})
	for _, code := range codes {
		if len(reply.ToBytes()) <= room {
			return
		}
		reply.DeleteOption(dhcpv4.GenericOptionCode(code))
	}
}
