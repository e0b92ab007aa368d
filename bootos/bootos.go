package bootos

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Files in [Options.OutDir] after a build.
const (
	KernelFile    = "vmlinuz"
	InitramfsFile = "initramfs"
	BaseFile      = "base.cpio.zst"
	ManifestFile  = "bootos.json"
)

// DefaultKernelPackage is Debian's kernel with the drivers of real servers. Debian's linux-image-cloud-amd64 boots
// faster in virtual machines and has virtio drivers only.
const DefaultKernelPackage = "linux-image-amd64"

// DefaultFirmwarePackage has what Debian knows as free firmware. What most network cards want is in packages that are
// not free, see the README.
const DefaultFirmwarePackage = "firmware-linux-free"

// Options say what goes into a bootOS. OutDir and CA are required.
type Options struct {
	// OutDir is where the result goes; it is made if it is not there. The files are written beside their final names
	// and renamed at the end, so that a failed build leaves the previous one as it was.
	OutDir string

	// CA is the certificate authority (PEM) that the agent trusts, and the only one.
	CA []byte

	// Kernel is where kernel and modules come from; the zero value is [DefaultKernelPackage], downloaded.
	Kernel Kernel

	// Drivers are the names of the kernel modules to include, and of those that the agent can load. nil means
	// [DefaultDrivers]. What they depend on comes along. A name that is in the kernel itself is fine; one of
	// [DefaultDrivers] that this kernel does not have is left out and listed in the manifest; any other that is
	// missing is an error.
	Drivers []string
	// ModuleFiles are further modules (.ko, .ko.xz or .ko.zst files, built for this kernel), such as a vendor's newer
	// driver. A module of the same name replaces the kernel's own.
	ModuleFiles []string
	// Firmware are directories laid out like /lib/firmware, and Debian's firmware packages: .deb files, or names such as
	// firmware-bnx2x, which are downloaded. Only files that the included modules name (modinfo's firmware field) are
	// taken; of several, the first. nil means [DefaultFirmwarePackage] if the kernel is downloaded too.
	Firmware []string

	// Tools are programs that come from Debian's packages with their libraries: mdadm and wipefs. nil means
	// [DefaultTools] if the kernel is downloaded too; an empty list is an image without software RAID.
	Tools []string
	// Files are added to the image: path in the image to a file or directory of this host.
	Files map[string]string
	// Plugins are programs for /usr/lib/loda/plugins.
	Plugins []string
	// EmergencyShell gives everyone at the console a root shell when the agent cannot go on.
	EmergencyShell bool
	// Console is the list of devices for the agent's messages besides /dev/console, such as ttyS1.
	Console []string

	// Base is a base layer made by an earlier build. Empty: build it, or take it from the cache if it is there.
	Base string
	// Source is a directory inside a checkout of Loda, which the base layer is built from; empty: the working
	// directory. Not used when Base is given.
	Source string
	// CacheDir keeps base layers and downloaded kernel packages between builds; empty: the user's cache directory.
	CacheDir string

	// Log gets what is going on; nil discards it.
	Log *slog.Logger
}

// Kernel says where the kernel comes from. The zero value downloads [DefaultKernelPackage].
type Kernel struct {
	// Package is the name of a Debian kernel package, which `apt-get download` fetches (a meta package such as
	// linux-image-cloud-amd64 leads to the current one), or the path of a .deb file.
	Package string
	// Image and Modules are a kernel and the directory of its modules (lib/modules/RELEASE) instead. Modules may be
	// empty for a kernel that has everything built in.
	Image   string
	Modules string
}

// fromArchive reports whether the kernel is downloaded.
func (k Kernel) fromArchive() bool { return k.Image == "" && !strings.HasSuffix(k.Package, ".deb") }

// Result is what a build made.
type Result struct {
	// Kernel, Initramfs and Base are the paths of the files.
	Kernel, Initramfs, Base string
	Manifest                Manifest
}

// Manifest describes a built bootOS; it is the content of bootos.json. Sizes are in bytes, digests are SHA-256 in
// hexadecimal.
type Manifest struct {
	// Format is 1.
	Format int `json:"format"`
	// Version names agent and base layer; the agent reports it.
	Version string     `json:"version"`
	Kernel  KernelInfo `json:"kernel"`
	// Files are vmlinuz and initramfs.
	Files map[string]FileInfo `json:"files"`
	// Layers are the parts of the initramfs in their order.
	Layers []LayerInfo `json:"layers"`
	// Modules are the names of all included modules, with dependencies.
	Modules []string `json:"modules"`
	// Builtin are drivers that were asked for and are part of the kernel itself.
	Builtin []string `json:"builtin,omitempty"`
	// Missing are default drivers that this kernel does not have.
	Missing []string `json:"missing,omitempty"`
	// Firmware are the included firmware files, MissingFirmware those that included modules name and nobody gave.
	Firmware        []string `json:"firmware,omitempty"`
	MissingFirmware []string `json:"missing_firmware,omitempty"`
	// Tools are names and versions of the packages that programs and libraries were taken from.
	Tools          []string `json:"tools,omitempty"`
	EmergencyShell bool     `json:"emergency_shell"`
	// CA is the digest of the certificate that is trusted.
	CA string `json:"ca"`
}

// KernelInfo names the kernel.
type KernelInfo struct {
	// Release is what `uname -r` prints.
	Release string `json:"release"`
	// Package is name and version of the Debian package, if it came from one.
	Package string `json:"package,omitempty"`
}

// FileInfo is the size and digest of a file.
type FileInfo struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// LayerInfo is a part of the initramfs.
type LayerInfo struct {
	Name string `json:"name"`
	FileInfo
	// Unpacked is the size of the cpio archive, and about what it takes in the machine's memory.
	Unpacked int64 `json:"unpacked"`
}

// ReadManifest reads what is in a built bootOS from its directory.
func ReadManifest(dir string) (*Manifest, error) {
	file := filepath.Join(dir, ManifestFile)
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("%s: format %d, want %d: built by another version of Loda, build it anew", file, m.Format,
			manifestFormat)
	}
	return &m, nil
}

const manifestFormat = 1
