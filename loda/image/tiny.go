package image

import (
	"context"
	"errors"
)

// TinyOptions of [BuildTiny].
type TinyOptions struct {
	// Dir is where the image goes, Name its name. An image of that name is replaced.
	Dir  *Dir
	Name string
	// Kernel is a vmlinuz file; Modules are the module files to load, in that order.
	Kernel  string
	Modules []string
	// Init is the static binary of loda/image/tinyinit. Empty: built with the go command from this module's source.
	Init string
	// Progress gets one line per step. It may be nil.
	Progress func(line string)
}

// BuildTiny builds a test system that boots from its disk by BIOS and UEFI in seconds, reads loda.json of the seed
// and reports its first boot exactly as a real system does. It is for rehearsals and for tests of the rack.
func BuildTiny(ctx context.Context, o TinyOptions) (Image, error) {
	return Image{}, errors.ErrUnsupported
}
