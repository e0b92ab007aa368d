package disk

import "errors"

// Growth says what [Grow] did.
type Growth struct {
	// Grown is false when the table covered the disk already.
	Grown bool
	// Free is how many bytes lie unpartitioned after the last partition.
	Free int64
}

// GrowOptions of [Grow] and [WriteSeed] are needed only for files.
type GrowOptions struct {
	// AllowFile and SectorSize as in [Options].
	AllowFile  bool
	SectorSize int
}

// Grow makes the GUID partition table of device cover all of it: backup header and entries move to the end, the
// last usable sector and the protective MBR follow. Partitions stay as they are; the installed system extends its
// last one (cloud-init's growpart). [Write] does this itself. It returns [ErrNoGPT] when there is no valid table.
func Grow(device string, o GrowOptions) (Growth, error) {
	return Growth{}, errors.ErrUnsupported
}
