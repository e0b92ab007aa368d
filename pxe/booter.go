package pxe

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Booter says what a machine boots.
//
// Boot is asked several times in one boot (retries, several NICs, a person at the console) and must answer the same
// until something has happened that changes what the machine should do. It must be safe for concurrent use and should
// return soon after ctx is done: the deadline is [Handler.BootTimeout].
//
// An error means "cannot decide now": it is logged, and the machine asks again later (see the package documentation).
// It is not shown on the machine's console, since errors of databases and the like are not for everyone who stands
// there; a refusal with a reason is a [LocalDisk] or a [Wait]. A nil Instruction without an error counts as an error.
type Booter interface {
	Boot(ctx context.Context, c Client) (Instruction, error)
}

// BooterFunc is a function as a [Booter].
type BooterFunc func(ctx context.Context, c Client) (Instruction, error)

// Boot calls f.
func (f BooterFunc) Boot(ctx context.Context, c Client) (Instruction, error) { return f(ctx, c) }

// A Client is a machine in iPXE or GRUB, as it describes itself. Nothing in it is verified: whoever can reach the server can
// claim to be any machine. So hand out nothing secret for it but what is worthless to others.
type Client struct {
	// MACs are the hardware addresses of all NICs that iPXE drives: first the one that it booted through, then net0
	// to net7, without duplicates. A chainloaded undionly.kpxe or snponly.efi sees only the NIC that it was loaded
	// through.
	MACs []net.HardwareAddr
	// UUID is SMBIOS' system UUID in the usual notation, lower case; empty if unknown. It is often shared or junk.
	UUID string
	// Serial is SMBIOS' system serial number exactly as the firmware has it, blanks and vendor junk included, cut at
	// 256 bytes. So are Manufacturer, Product and Asset (the chassis' asset tag).
	Serial       string
	Manufacturer string
	Product      string
	Asset        string
	// Platform is the kind of firmware that iPXE runs on.
	Platform Platform
	// Loader is what asks: iPXE (empty), or GRUB.
	Loader Loader
	// Arch is iPXE's build architecture: i386, x86_64, arm32, arm64. iPXE for BIOS says i386 on 64 bit CPUs too.
	Arch string
	// Version is iPXE's version, such as 1.0.0+ or 1.21.1+ (g5e62b).
	Version string
	// Remote is the address that the request came from. Behind a proxy it is the proxy's.
	Remote netip.Addr
	// Local is the address and port of this server that the request came to; zero if unknown.
	Local netip.AddrPort
	// BaseURL is where the machine reaches this server, such as http://10.77.0.1:8080, without a trailing slash.
	BaseURL string
	// ArtifactsURL is where it fetches what is below /artifacts/; empty means BaseURL.
	ArtifactsURL string
	// Attempt counts, from 0, how often the machine has asked in vain in this boot.
	Attempt int
}

// Platform is iPXE's ${platform}: how a machine was booted and how it is left to its local disk.
type Platform string

const (
	BIOS Platform = "pcbios"
	EFI  Platform = "efi"
)

// Loader is the program that asks what its machine boots.
type Loader string

const (
	LoaderIPXE Loader = ""
	LoaderGRUB Loader = "grub"
)

// Instruction is what a machine shall do: one of [Kernel], [LocalDisk], [Wait] and [Script].
type Instruction interface {
	instruction()
}

// Kernel boots a Linux kernel, or whatever else iPXE's `kernel` command can start (a UEFI application, wimboot).
//
// Locations are absolute URLs (http, https, tftp, ftp, nfs: what the machine's iPXE was built with; Debian's has no
// https) or paths on this server such as /artifacts/bootos/vmlinuz.
type Kernel struct {
	// Kernel is the location of the kernel.
	Kernel string
	// Initrds are the locations of initial RAM disks. Linux sees them as one, in this order. On UEFI, where the
	// kernel loads them itself, the `initrd=` arguments that it wants are added to the command line.
	Initrds []string
	// Args is the kernel command line. It may be at most 2,000 bytes of printable ASCII, since Linux silently cuts
	// at 2,048. iPXE has no quoting: runs of blanks become one blank, and these cannot be said and are refused:
	// `${`, the words `||`, `&&` and `;`, words that begin with `#`.
	Args string
	// Message is shown on the console first; may be empty.
	Message string
}

// LocalDisk leaves the network boot: BIOS boots the first disk that can boot, UEFI goes on with the next entry of its
// boot order. It is also the answer to a machine that has no business here.
type LocalDisk struct {
	// Message is shown on the console first, such as the reason why the machine is refused; may be empty.
	Message string
	// Pause is how long the message stays before the disk boots; at most an hour. A key press ends it.
	Pause time.Duration
}

// Wait makes the machine ask again later, as often as it takes.
type Wait struct {
	// Message is shown on the console; may be empty.
	Message string
	// Retry is how long to wait; 0 means 30 seconds. It is brought between 1 second and 1 hour.
	Retry time.Duration
}

// Script is an iPXE script that is sent as it is. It must begin with a line #!ipxe. Its author is responsible for
// what is in it: nothing that a machine said may enter it unless it has been through [Escape].
type Script string

func (Kernel) instruction()    {}
func (LocalDisk) instruction() {}
func (Wait) instruction()      {}
func (Script) instruction()    {}
