package image

import (
	"context"
	"errors"
)

// ImportOptions of [Import].
type ImportOptions struct {
	// Name of the image. An image of that name is replaced.
	Name string
	// Format of the source: raw, qcow2, vmdk, vhdx. Empty: by content.
	Format string
	// Source is for people. Default: the source's file name.
	Source string
	// BIOS and UEFI as in [Image]. Neither: found out from the partition table.
	BIOS, UEFI bool
	// Progress gets the fraction done, 0 to 1, about once a second. It may be nil.
	Progress func(fraction float64)
}

// Import converts a disk image (qcow2, vmdk, vhdx or raw; raw may be compressed by gzip, xz or zstd) to NAME.img.zst in
// dir. All but raw need qemu-img.
func Import(ctx context.Context, src string, dir *Dir, o ImportOptions) (Image, error) {
	return Image{}, errors.ErrUnsupported
}
