package disk

import "errors"

// EFIVars is where efivarfs is mounted.
const EFIVars = "/sys/firmware/efi/efivars"

// BootOptions of [SetBootEntry].
type BootOptions struct {
	// Device is the disk with the EFI system partition.
	Device string
	// Label names the entry, such as "Loda". Entries with the same label are replaced.
	Label string
	// Vars is where efivarfs is mounted. Default [EFIVars].
	Vars string
}

// BootEntry is what [SetBootEntry] made.
type BootEntry struct {
	// Number of the variable Boot####.
	Number uint16
	// Loader is the path on the EFI system partition.
	Loader string
	// Order is the boot order now, the entry first.
	Order []uint16
}

// SetBootEntry makes a UEFI boot entry for the loader on the device's EFI system partition and puts it first in the
// boot order, so that the firmware does not wander through PXE again. Older entries with the same label are removed;
// all others keep their order. It returns [ErrNoEFI] where there is no UEFI.
func SetBootEntry(o BootOptions) (BootEntry, error) {
	return BootEntry{}, errors.ErrUnsupported
}
