package dhcp

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// Options that package dhcpv4 has no name for.
const (
	optIPXE = dhcpv4.GenericOptionCode(175) // iPXE encapsulated options (https://ipxe.org/howto/dhcpd)
)

// noProxyDHCP is iPXE's setting no-pxedhcp (tag 176 in option 175) set to one: do not wait three seconds for a
// ProxyDHCP server, there is none.
var noProxyDHCP = []byte{0xb0, 1, 1}

// ParseBootRequest describes a client that wants to be netbooted. ok is false for all others: those that send neither
// an architecture (option 93) nor a vendor class of PXE or UEFI HTTP boot (option 60) nor iPXE's user class or options
// (77, 175). Subnet, Addr and Server are left empty.
//
// It is lenient, because firmware is not strict: option 94, which the PXE specification demands, is not looked at, and
// a malformed option 97 is as good as none.
func ParseBootRequest(p *dhcpv4.DHCPv4) (req BootRequest, ok bool) {
	req.MAC = p.ClientHWAddr
	req.VendorClass = printable(p.Options.Get(dhcpv4.OptionClassIdentifier))
	req.PXEClient = strings.HasPrefix(req.VendorClass, "PXEClient")
	req.HTTPClient = strings.HasPrefix(req.VendorClass, "HTTPClient")
	req.UserClass = userClass(p.Options.Get(dhcpv4.OptionUserClassInformation))
	req.IPXE = p.Options.Has(optIPXE)
	for _, class := range req.UserClass {
		// gPXE is what iPXE was called before 2010.
		req.IPXE = req.IPXE || class == "iPXE" || class == "gPXE"
	}
	req.UUID = uuid(p.Options.Get(dhcpv4.OptionClientMachineIdentifier))

	arch := p.Options.Get(dhcpv4.OptionClientSystemArchitectureType)
	for ; len(arch) >= 2; arch = arch[2:] {
		req.Arch = append(req.Arch, iana.Arch(uint16(arch[0])<<8|uint16(arch[1])))
	}
	if len(req.Arch) == 0 {
		req.Arch = vendorArch(req.VendorClass)
	}
	return req, req.PXEClient || req.HTTPClient || req.IPXE || p.Options.Has(dhcpv4.OptionClientSystemArchitectureType)
}

// userClass accepts what RFC 3004 says, a list of strings that are each preceded by their length, and what iPXE and
// many others do: raw text. The two can hardly be confused, as no length is a printable character of a short class
// name.
func userClass(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	var classes []string
	for rest := b; len(rest) > 0; {
		n := int(rest[0])
		if n == 0 || n >= len(rest) {
			return []string{printable(b)}
		}
		classes = append(classes, printable(rest[1:1+n]))
		rest = rest[1+n:]
	}
	return classes
}

// uuid formats option 97 (RFC 4578 section 2.3): type 0 and sixteen bytes.
func uuid(b []byte) string {
	if len(b) != 17 || b[0] != 0 {
		return ""
	}
	h := hex.EncodeToString(b[1:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// vendorArch reads `PXEClient:Arch:00007:UNDI:003016`, for firmware that sends no option 93.
func vendorArch(class string) []iana.Arch {
	_, rest, found := strings.Cut(class, ":Arch:")
	if !found {
		return nil
	}
	digits, _, _ := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return nil
	}
	return []iana.Arch{iana.Arch(n)}
}

// printable drops what must not reach a log or a terminal: some firmware pads with NUL, anybody may send escapes.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return -1
		}
		return r
	}, string(b))
}

// stageOf guesses who is asking.
func stageOf(p *dhcpv4.DHCPv4) Stage {
	req, netboot := ParseBootRequest(p)
	switch {
	case req.IPXE:
		return StageIPXE
	case req.HTTPClient:
		return StageHTTP
	case strings.HasPrefix(req.VendorClass, VendorClassBootOS):
		return StageBootOS
	case req.VendorClass == "d-i", strings.HasPrefix(req.VendorClass, "anaconda"):
		return StageInstaller
	case netboot:
		return StagePXE
	}
	return StageOS
}

// writeBoot puts b into each place where some firmware looks for it, and adds what the table says of such firmware.
func writeBoot(reply, request *dhcpv4.DHCPv4, client *BootRequest, rows []*Quirk, b *Boot) {
	next := b.NextServer
	if !next.IsValid() {
		next = client.Server
	}
	name := b.ServerName
	if name == "" && next.IsValid() {
		name = next.String()
	}

	// siaddr, sname and file as well as 66 and 67: firmware reads one or the other. siaddr cannot be a name.
	reply.ServerIPAddr = toIP(next)
	if len(b.File) <= maxFile {
		reply.BootFileName = b.File
	}
	if b.File != "" {
		reply.UpdateOption(dhcpv4.OptBootFileName(b.File))
	}
	if name != "" {
		if len(name) <= maxSname {
			reply.ServerHostName = name
		}
		reply.UpdateOption(dhcpv4.OptTFTPServerName(name))
	}

	writeQuirks(reply, rows)
	if b.Discover {
		reply.DeleteOption(dhcpv4.OptionVendorSpecificInformation)
	}
	// RFC 4578 section 2.3 wants the machine identifier mirrored; ROMs drop an answer without it.
	if client.UUID != "" {
		id := request.Options.Get(dhcpv4.OptionClientMachineIdentifier)
		reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClientMachineIdentifier, id))
	}
	for _, o := range b.Options {
		reply.UpdateOption(o)
	}
}

// maxSname and maxFile are what sname and file hold with their final NUL.
const (
	maxSname = 63
	maxFile  = 127
)
