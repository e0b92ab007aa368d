package dhcp

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/iana"
)

// BootFiles is a [Booter] that serves the same files to everybody, by architecture. In each field `{server}` stands for
// the address at which the machine reaches this server. What is empty has the default that its comment names.
type BootFiles struct {
	// NextServer is the TFTP server; the zero Addr means this server.
	NextServer netip.Addr
	// BIOS is for architecture 0: undionly.kpxe.
	BIOS string
	// EFIX64 is for architectures 7 and 9: snponly.efi.
	EFIX64 string
	// EFIARM64 is for architecture 11: snponly-arm64.efi.
	EFIARM64 string
	// EFIIA32 is for architecture 6: snponly-ia32.efi.
	EFIIA32 string
	// HTTP is the URL of the folder that holds the EFI files, for UEFI HTTP boot (architectures 15, 16, 19, or
	// 60=HTTPClient): http://{server}/boot. An HTTP client gets the EFI file of its architecture below it.
	HTTP string
	// Script is what iPXE is told to load: http://{server}/boot.ipxe.
	Script string
	// UserClass, if set, is what the iPXE of these files sends as its user class. An iPXE without it, such as the one
	// in a NIC's ROM, is then made to load that file first, by a full tftp:// URL, which is the only form that every
	// ROM's iPXE accepts. If it is empty, each iPXE is given the Script at once.
	UserClass string
}

// Boot chooses the file. A machine of an architecture that there is no file for gets an address and nothing to boot.
func (f BootFiles) Boot(_ context.Context, req BootRequest) (*Boot, error) {
	next := f.NextServer
	if !next.IsValid() {
		next = req.Server
	}
	fill := func(s, fallback string) string {
		if s == "" {
			s = fallback
		}
		return strings.ReplaceAll(s, "{server}", req.Server.String())
	}
	boot := &Boot{NextServer: next}

	if req.IPXE && (f.UserClass == "" || slices.Contains(req.UserClass, f.UserClass)) {
		boot.File = fill(f.Script, "http://{server}/boot.ipxe")
		return boot, nil
	}
	var file string
	http := req.HTTPClient
	for _, arch := range req.Arch {
		switch arch {
		case iana.INTEL_X86PC:
			file = fill(f.BIOS, "undionly.kpxe")
		case iana.EFI_X86_64, iana.EFI_BC:
			file = fill(f.EFIX64, "snponly.efi")
		case iana.EFI_X86_64_HTTP, iana.EFI_BC_HTTP:
			file, http = fill(f.EFIX64, "snponly.efi"), true
		case iana.EFI_ARM64:
			file = fill(f.EFIARM64, "snponly-arm64.efi")
		case iana.EFI_ARM64_HTTP:
			file, http = fill(f.EFIARM64, "snponly-arm64.efi"), true
		case iana.EFI_IA32:
			file = fill(f.EFIIA32, "snponly-ia32.efi")
		case iana.EFI_X86_HTTP:
			file, http = fill(f.EFIIA32, "snponly-ia32.efi"), true
		default:
			continue
		}
		break
	}
	switch {
	case file == "":
		return nil, nil
	case strings.Contains(file, "://"):
		boot.File = file
	case http:
		boot.File = strings.TrimSuffix(fill(f.HTTP, "http://{server}/boot"), "/") + "/" + file
	case req.IPXE:
		boot.File = "tftp://" + next.String() + "/" + file
	default:
		boot.File = file
	}
	return boot, nil
}
