package dhcp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// A Quirk says how netboot clients of a kind must be answered. It is a row of a table: [DefaultQuirks] come first, then
// [AuthorityConfig.Quirks]. All rows that fit a client apply, in that order, and a later one replaces what an earlier one
// says of the same thing. What a [Boot] says comes after all of them.
type Quirk struct {
	// Name is for people: which firmware, and what is wrong with it.
	Name string
	// Match says which clients the row is for.
	Match QuirkMatch

	// Arch, if not empty, are the architectures that the client is taken for, whatever it says.
	Arch []iana.Arch
	// File, if set, is what the client is told to boot, in place of what the [Booter] says. `{server}` stands for the
	// address at which it reaches this server.
	File string
	// FullURL turns a file without a scheme into tftp://SERVER/FILE.
	FullURL bool
	// Discover makes the client ask on [PXEPort], as [Boot.Discover] does.
	Discover bool
	// NoServerName leaves out sname and option 66.
	NoServerName bool
	// Options are added to answers that say what to boot, whether they were asked for or not. Drop are left out of them.
	Options []Option
	Drop    []uint8
}

// A QuirkMatch describes clients. What is empty fits everybody; what is not must fit all together.
type QuirkMatch struct {
	// Client is which program asks.
	Client QuirkClient
	// Mode is [ModeAuthoritative] for answers that give an address, [ModeProxy] for those that only say what to boot.
	Mode Mode
	// VendorClass is how option 60 begins.
	VendorClass string
	// UserClass is one of the texts of option 77.
	UserClass string
	// Arch holds the client's first architecture (option 93).
	Arch []iana.Arch
	// OUI holds the first bytes of the hardware address, such as `b8:27:eb`.
	OUI []string
	// Model is a shell pattern for [Reservation.Model], in which case does not matter: `hp* proliant dl360*`.
	Model string
}

// QuirkClient tells programs apart that netboot.
type QuirkClient string

// Programs that netboot.
const (
	QuirkPXE  QuirkClient = "pxe"  // a PXE ROM, by TFTP
	QuirkHTTP QuirkClient = "http" // UEFI HTTP boot
	QuirkIPXE QuirkClient = "ipxe" // iPXE, in a ROM or loaded
)

// DefaultQuirks is what is known of firmware in general. Each call returns a new slice.
func DefaultQuirks() []Quirk {
	text := func(code uint8, s string) Option { return Option{Code: code, Data: []byte(s)} }
	return []Quirk{
		{
			// A ROM that sees 60=PXEClient without 43 asks on port 4011, and fails with PXE-E55 if nobody listens.
			Name:    "PXE ROMs boot the file of the offer at once",
			Match:   QuirkMatch{Client: QuirkPXE, VendorClass: "PXEClient"},
			Options: []Option{text(60, "PXEClient"), {Code: 43, Data: DiscoveryBypass}},
		},
		{
			// UEFI 2.10 section 24.7.3.1: without this, the answer is no answer for UEFI's HTTP boot.
			Name:         "UEFI HTTP boot takes answers to HTTPClient only",
			Match:        QuirkMatch{Client: QuirkHTTP},
			NoServerName: true,
			Options:      []Option{text(60, "HTTPClient")},
		},
		{
			// iPXE says PXEClient, too, but needs neither 60 nor 43, and with them an old one looks for a boot menu.
			Name:    "iPXE waits three seconds for a ProxyDHCP server unless it is told that there is none",
			Match:   QuirkMatch{Client: QuirkIPXE, Mode: ModeAuthoritative},
			Options: []Option{{Code: 175, Data: noProxyDHCP}},
		},
		{
			// src/net/udp/dhcp.c: an offer without an address and without this class is no ProxyDHCP offer. With a file name
			// in it, iPXE does not ask on port 4011.
			Name:    "iPXE takes ProxyDHCP offers of PXEClient only",
			Match:   QuirkMatch{Client: QuirkIPXE, Mode: ModeProxy},
			Options: []Option{text(60, "PXEClient")},
		},
		{
			// The boot ROM says that it is a BIOS, takes no file name, and fetches its own files from the server whose
			// boot menu has exactly this text (43.9, 43.10).
			Name: "Raspberry Pi boots from servers that offer Raspberry Pi Boot only",
			Match: QuirkMatch{
				Client: QuirkPXE, Arch: []iana.Arch{iana.INTEL_X86PC},
				OUI: []string{"b8:27:eb", "dc:a6:32", "e4:5f:01", "d8:3a:dd", "28:cd:c1", "2c:cf:67", "88:a2:9e"},
			},
			Arch:    []iana.Arch{iana.EFI_ARM64},
			Options: []Option{text(43, "\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot\xff")},
		},
	}
}

// Check says everything that is wrong with q.
func (q *Quirk) Check() error {
	var bad []error
	complain := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if q.Name == "" {
		complain("it has no name")
	}
	switch q.Match.Client {
	case "", QuirkPXE, QuirkHTTP, QuirkIPXE:
	default:
		complain("client is %q, want %q, %q or %q", q.Match.Client, QuirkPXE, QuirkHTTP, QuirkIPXE)
	}
	switch q.Match.Mode {
	case "", ModeAuthoritative, ModeProxy:
	default:
		complain("mode is %q, want %q or %q", q.Match.Mode, ModeAuthoritative, ModeProxy)
	}
	for _, oui := range q.Match.OUI {
		if b, err := ParseHex(oui); err != nil || len(b) == 0 || len(b) > 6 {
			complain("OUI %q is not one to six bytes such as b8:27:eb", oui)
		}
	}
	if _, err := path.Match(q.Match.Model, ""); err != nil {
		complain("model %q is not a pattern: %w", q.Match.Model, err)
	}
	for _, o := range q.Options {
		if err := o.check(); err != nil {
			bad = append(bad, err)
		}
	}
	for _, code := range q.Drop {
		if code == 0 || code == 53 || code == 54 || code == 82 || code == 255 {
			complain("option %d belongs to the protocol and cannot be dropped", code)
		}
	}
	if len(q.File) > 255 {
		complain("file has %d characters, at most 255 are possible", len(q.File))
	}
	if bad != nil {
		return fmt.Errorf("quirk %q: %w", q.Name, errors.Join(bad...))
	}
	return nil
}

// quirk is a row in the form in which it is compared: clients ask in storms.
type quirk struct {
	*Quirk
	ouis  [][]byte
	model string // flat
}

func compile(q *Quirk) quirk {
	c := quirk{Quirk: q, model: flat(q.Match.Model)}
	for _, oui := range q.Match.OUI {
		if b, err := ParseHex(oui); err == nil {
			c.ouis = append(c.ouis, b)
		}
	}
	return c
}

// fits reports whether the row is for this client.
func (q *quirk) fits(req *BootRequest, mode Mode, model string) bool {
	m := &q.Match
	switch m.Client {
	case QuirkHTTP:
		if !req.HTTPClient {
			return false
		}
	case QuirkIPXE:
		if !req.IPXE || req.HTTPClient {
			return false
		}
	case QuirkPXE:
		if req.IPXE || req.HTTPClient {
			return false
		}
	}
	return (m.Mode == "" || m.Mode == mode) &&
		strings.HasPrefix(req.VendorClass, m.VendorClass) &&
		(m.UserClass == "" || slices.Contains(req.UserClass, m.UserClass)) &&
		(m.Arch == nil || len(req.Arch) > 0 && slices.Contains(m.Arch, req.Arch[0])) &&
		(m.OUI == nil || slices.ContainsFunc(q.ouis, func(oui []byte) bool { return bytes.HasPrefix(req.MAC, oui) })) &&
		(m.Model == "" || matches(q.model, flat(model)))
}

// matches is path.Match of two flat texts.
func matches(pattern, s string) bool {
	ok, err := path.Match(pattern, s)
	return ok && err == nil
}

// flat takes away what does not count in a comparison: case, and the special meaning of the slash.
func flat(s string) string { return strings.ToLower(strings.ReplaceAll(s, "/", "_")) }

// quirksOf returns the rows for a client.
func (t *talk) quirksOf(req *BootRequest) []*Quirk {
	mode := ModeAuthoritative
	if t.bootOnly {
		mode = ModeProxy
	}
	var rows []*Quirk
	for i := range t.quirks {
		if q := &t.quirks[i]; q.fits(req, mode, t.reservation.Model) {
			rows = append(rows, q.Quirk)
		}
	}
	return rows
}

// pretend changes what a client says of itself, before the [Booter] sees it.
func pretend(rows []*Quirk, req *BootRequest) {
	for _, q := range rows {
		if len(q.Arch) > 0 {
			req.Arch = slices.Clone(q.Arch)
		}
	}
}

// correct changes what the [Booter] said. b is not touched.
func correct(rows []*Quirk, b Boot, server netip.Addr) Boot {
	for _, q := range rows {
		if q.File != "" {
			b.File = strings.ReplaceAll(q.File, "{server}", server.String())
		}
		if q.FullURL && b.File != "" && !strings.Contains(b.File, "://") {
			next := b.NextServer
			if !next.IsValid() {
				next = server
			}
			b.File = "tftp://" + next.String() + "/" + strings.TrimPrefix(b.File, "/")
		}
		b.Discover = b.Discover || q.Discover
	}
	return b
}

// writeQuirks adds and drops the options of the rows.
func writeQuirks(reply *dhcpv4.DHCPv4, rows []*Quirk) {
	for _, q := range rows {
		if q.NoServerName {
			reply.ServerHostName = ""
			reply.DeleteOption(dhcpv4.OptionTFTPServerName)
		}
		for _, o := range q.Options {
			reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(o.Code), o.Data))
		}
		for _, code := range q.Drop {
			reply.DeleteOption(dhcpv4.GenericOptionCode(code))
		}
	}
}
