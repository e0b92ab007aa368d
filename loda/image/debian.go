package image

import (
	"context"
	"errors"
)

// DebianOptions of [BuildDebian]; the zero value with Dir and Name set builds a Debian 12.
type DebianOptions struct {
	// Dir is where the image goes, Name its name. An image of that name is replaced.
	Dir  *Dir
	Name string
	// Suite is the Debian release. Default bookworm.
	Suite string
	// Mirrors are one-line apt sources ("deb http://deb.debian.org/debian bookworm main"). Default: those of the
	// host that name Debian's own archive.
	Mirrors []string
	// KernelPackage is linux-image-amd64 by default; linux-image-cloud-amd64 is smaller and only for virtual machines.
	KernelPackage string
	// Packages to install besides.
	Packages []string
	// SSH installs openssh-server; host keys are made at first boot.
	SSH bool
	// RootBytes is the size of the root file system in the image, which grows at first boot. Default: what is used
	// and some room.
	RootBytes int64
	// Progress gets one line per step. It may be nil.
	Progress func(line string)
}

// BuildDebian builds a Debian that boots by BIOS and UEFI, with cloud-init (NoCloud), from Debian packages by
// mmdebstrap. It needs root, mmdebstrap, mke2fs, mtools, grub-pc-bin and grub-efi-amd64-bin; no loop devices, no
// mounts.
func BuildDebian(ctx context.Context, o DebianOptions) (Image, error) {
	return Image{}, errors.ErrUnsupported
}
